// @ts-check
// Loops whose memory is measured (memory.mjs), written as in PyTorch: nobody gives anything back.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bmm, cat, crossEntropy, data, mseLoss, nn, noGrad, optim, randint, randn, train } from "../../dist/index.js";

/**
 * @typedef {object} Training
 * @property {string} name
 * @property {(i: number) => any} step one step; the loss
 * @property {boolean} [asynchronous] the step is a promise: it computes off the main thread itself
 * @property {() => unknown} [close]
 */

/** @param {any} model @param {any} optimizer @param {any} x @param {any} y @param {(output: any, target: any) => any} loss */
function trainOn(model, optimizer, x, y, loss = crossEntropy) {
  optimizer.zeroGrad();
  const value = loss(model.forward(x), y);
  value.backward();
  optimizer.step();
  return value;
}

/** Batches that the loops take in turn. @param {readonly number[]} shape @param {(i: number) => number} [size] */
const batchesOf = (shape, size = () => 64) =>
  Array.from({ length: 8 }, (_, i) => [randn([size(i), ...shape]), randint(0, 10, [size(i)])]);

/** @param {any} model @param {any} optimizer @param {any[][]} batches */
const plain = (model, optimizer, batches) => (/** @type {number} */ i) => {
  const [x, y] = /** @type {any[]} */ (batches[i % batches.length]);
  return trainOn(model, optimizer, x, y);
};

const normed = () =>
  new nn.Sequential(
    new nn.Conv2d(3, 16, 3, { padding: 1 }),
    new nn.BatchNorm2d(16),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Conv2d(16, 32, 3, { padding: 1 }),
    new nn.BatchNorm2d(32),
    new nn.ReLU(),
    new nn.AdaptiveAvgPool2d(1),
    new nn.Flatten(),
    new nn.Dropout(0.3),
    new nn.Linear(32, 10),
  );

/** By the number that `--network` takes. @type {readonly (() => Training)[]} */
export const trainings = [
  () => {
    const model = new nn.models.LeNet5();
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.01, momentum: 0.9 });
    return { name: "LeNet-5", step: plain(model, optimizer, batchesOf([1, 28, 28])) };
  },
  () => {
    const model = normed();
    const optimizer = new optim.Adam(model.parameters(), { lr: 1e-3 });
    return { name: "a batch norm network with Adam", step: plain(model, optimizer, batchesOf([3, 16, 16])) };
  },
  () => {
    const model = new nn.Sequential(new nn.Flatten(), new nn.Linear(784, 128), new nn.ReLU(), new nn.Linear(128, 10));
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.01, momentum: 0.9 });
    const step = plain(
      model,
      optimizer,
      batchesOf([1, 28, 28], (i) => 64 - 7 * i),
    );
    return {
      name: "a perceptron, batches of changing sizes",
      step: (i) => step(i),
    };
  },
  () => {
    const model = nn.models.resnet18Cifar();
    const optimizer = new optim.RMSprop(model.parameters(), { lr: 1e-4 });
    return {
      name: "ResNet-18 on 4 small images with RMSprop",
      step: plain(
        model,
        optimizer,
        batchesOf([3, 16, 16], () => 4),
      ),
    };
  },
  () => {
    const model = new nn.Sequential(
      new nn.Conv2d(1, 8, 3, { stride: 2, padding: 1 }),
      new nn.ReLU(),
      new nn.Conv2d(8, 16, 3, { stride: 2, padding: 1 }),
      new nn.ReLU(),
      new nn.ConvTranspose2d(16, 8, 3, { stride: 2, padding: 1, outputPadding: 1 }),
      new nn.ReLU(),
      new nn.ConvTranspose2d(8, 1, 3, { stride: 2, padding: 1, outputPadding: 1 }),
    );
    const optimizer = new optim.AdamW(model.parameters(), { lr: 1e-3 });
    const batches = batchesOf([1, 28, 28]);
    return {
      name: "an autoencoder with AdamW",
      step: (i) => {
        const x = batches[i % batches.length]?.[0];
        return trainOn(model, optimizer, x, x, mseLoss);
      },
    };
  },
  () => {
    const model = normed();
    const optimizer = new optim.Adam(model.parameters(), { lr: 1e-3 });
    const step = plain(model, optimizer, batchesOf([3, 16, 16]));
    const unseen = randn([200, 3, 16, 16]);
    return {
      name: "a batch norm network, evaluated every 20 steps",
      step: (i) => {
        const loss = step(i);
        if (i % 20 === 19) {
          model.eval();
          noGrad(() => model.forward(unseen).argmax({ dim: 1 }));
          model.train();
        }
        return loss;
      },
    };
  },
  () => {
    const model = new nn.models.LeNet5();
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.01, momentum: 0.9 });
    const dataset = data.arrays(randn([1000, 1, 28, 28]), randint(0, 10, [1000]));
    const loader = new data.DataLoader(dataset, { batchSize: 64, shuffle: true });
    let batches = loader[Symbol.iterator]();
    return {
      name: "LeNet-5 from a DataLoader",
      step: () => {
        let next = batches.next();
        if (next.done) {
          batches = loader[Symbol.iterator]();
          next = batches.next();
        }
        const [x, y] = /** @type {any} */ (next.value);
        return trainOn(model, optimizer, x, y);
      },
    };
  },
  () => {
    const model = new nn.models.LeNet5();
    const step = train.trainStep(model, new optim.Adam(model.parameters(), { lr: 1e-3 }), crossEntropy);
    const batches = batchesOf([1, 28, 28]);
    return {
      name: "LeNet-5 with trainStep",
      asynchronous: true,
      step: (i) => step(/** @type {any} */ (batches[i % batches.length])),
    };
  },
  () => {
    const model = normed().eval();
    const x = randn([8, 3, 16, 16]);
    let before = model.forwardAsync(x);
    return {
      name: "forwardAsync, two requests in flight",
      asynchronous: true,
      step: async () => {
        const done = before;
        before = model.forwardAsync(x);
        return (await done).data()[0];
      },
      close: () => before,
    };
  },
  () => {
    const model = new nn.models.LeNet5();
    const step = train.trainStep(model, new optim.Adam(model.parameters(), { lr: 1e-3 }), crossEntropy);
    /** @type {any} */
    let loader;
    /** @type {any} */
    let batches;
    const next = async () => {
      loader ??= new data.DataLoader(
        await data.fromModule(new URL("digits.mjs", import.meta.url), { export: "digits", arguments: [1000] }),
        { batchSize: 64, shuffle: true, dropLast: true, workers: 2, persistentWorkers: true },
      );
      batches ??= loader[Symbol.asyncIterator]();
      const { value, done } = await batches.next();
      if (!done) return value;
      batches = undefined;
      return next();
    };
    return {
      name: "LeNet-5 from a DataLoader with two workers",
      asynchronous: true,
      step: async () => step(await next()),
      close: async () => {
        await batches?.return();
        await loader?.close();
      },
    };
  },
  () => {
    // One block of attention and one fully connected, before each a norm, over 16 positions of 32 features.
    class Block extends nn.Module {
      project = new nn.Linear(32, 96);
      out = new nn.Linear(32, 32);
      first = new nn.LayerNorm(32);
      second = new nn.LayerNorm(32);
      wide = new nn.Sequential(new nn.Linear(32, 128), new nn.GELU(), new nn.Linear(128, 32));
      head = new nn.Linear(32, 10);
      /** @override @param {any} x */
      forward(x) {
        const [q, k, v] = /** @type {[any, any, any]} */ (
          /** @type {unknown} */ (this.project.forward(this.first.forward(x)).chunk(3, -1))
        );
        const weights = bmm(q, k.transpose(1, 2)).div(Math.sqrt(32)).softmax(-1);
        const attended = x.add(this.out.forward(bmm(weights, v)));
        const y = attended.add(this.wide.forward(this.second.forward(attended)));
        return this.head.forward(y.mean({ dim: 1 }));
      }
    }
    const model = new Block();
    const optimizer = new optim.AdamW(model.parameters(), { lr: 1e-3 });
    const batches = batchesOf([16, 32]);
    return {
      name: "a Transformer's block with AdamW and clipped gradients",
      step: (i) => {
        const [x, y] = /** @type {any[]} */ (batches[i % batches.length]);
        optimizer.zeroGrad();
        const loss = crossEntropy(model.forward(x), y);
        loss.backward();
        nn.utils.clipGradNorm_(model.parameters(), 1);
        optimizer.step();
        return loss;
      },
    };
  },
  () => {
    // Gates of a recurrent network written out, over 8 points in time.
    const gates = new nn.Linear(16 + 32, 4 * 32);
    const head = new nn.Linear(32, 10);
    const optimizer = new optim.RMSprop([...gates.parameters(), ...head.parameters()], { lr: 1e-3 });
    const batches = batchesOf([8, 16]);
    const state = randn([64, 32]).mul(0);
    return {
      name: "a recurrent network of 8 steps, by hand",
      step: (i) => {
        const [x, y] = /** @type {any[]} */ (batches[i % batches.length]);
        /** @type {any[]} */
        let [h, c] = [state, state];
        for (let t = 0; t < 8; t++) {
          const all = gates.forward(cat([x.select(1, t), h], 1));
          const [input, forget, cell, output] = /** @type {any[]} */ (/** @type {unknown} */ (all.chunk(4, 1)));
          c = forget.sigmoid().mul(c).add(input.sigmoid().mul(cell.tanh()));
          h = output.sigmoid().mul(c.tanh());
        }
        optimizer.zeroGrad();
        const loss = crossEntropy(head.forward(h), y);
        loss.backward();
        optimizer.step();
        return loss;
      },
    };
  },
  () => {
    const model = new nn.models.LeNet5();
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.01, momentum: 0.9 });
    const schedule = new optim.CosineAnnealingLR(optimizer, 5000);
    const batches = batchesOf([1, 28, 28], () => 16);
    const unseen = randn([200, 1, 28, 28]);
    const folder = mkdtempSync(join(tmpdir(), "xcorr-memory-"));
    return {
      name: "LeNet-5, gradients of 4 batches, a schedule, evaluation and checkpoints",
      step: (i) => {
        const [x, y] = /** @type {any[]} */ (batches[i % batches.length]);
        const loss = crossEntropy(model.forward(x), y).div(4);
        loss.backward();
        if (i % 4 === 3) {
          optimizer.step();
          optimizer.zeroGrad();
          schedule.step();
        }
        if (i % 100 === 99) {
          model.eval();
          noGrad(() => model.forward(unseen).argmax({ dim: 1 }).toArray());
          model.train();
        }
        if (i % 1000 === 999) train.saveCheckpoint(join(folder, "run.safetensors"), { model, optimizer });
        return loss;
      },
      close: () => rmSync(folder, { recursive: true }),
    };
  },
];
