// @ts-check
// Loops whose memory is measured (memory.mjs), written as in PyTorch: nobody gives anything back.
import { crossEntropy, data, mseLoss, nn, noGrad, optim, randint, randn, train } from "../../dist/index.js";

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
      close: () => loader?.close(),
    };
  },
];
