// @ts-check
/**
 * Fashion-MNIST with two convolutions and batch norm.
 *
 *   apt-get install dataset-fashion-mnist
 *   node examples/fashion_mnist/train.js --data /usr/share/datasets/fashion-mnist
 */
import { join } from "node:path";
import { crossEntropy, data, manualSeed, nn, optim, report, train } from "xcorr";
import { digits, fashionClasses, interruption, machine, readFlags, runFiles } from "../support/run.js";

const flags = readFlags(
  `Trains two convolutions with batch norm on Fashion-MNIST.

  --data FOLDER     with the four IDX files, plain or .gz (default /usr/share/datasets/fashion-mnist)
  --epochs N        passes over the training images (default 8)
  --batch-size N    images per step (default 128)
  --lr X            highest learning rate of the one-cycle schedule (default 0.004)
  --seed N          of initialisation, order and augmentation (default 0)
  --threads N       compute threads (default: all cores)
  --run FOLDER      for checkpoints and the report (default runs/fashion-mnist)
  --resume          continue the run in that folder`,
  {
    data: "/usr/share/datasets/fashion-mnist",
    epochs: 8,
    "batch-size": 128,
    lr: 0.004,
    seed: 0,
    threads: 0,
    run: "runs/fashion-mnist",
    resume: false,
  },
);

const sets = digits(flags.data);
// Mean and standard deviation of the training images' pixels.
const normalize = data.normalize(0.286, 0.353);
const loader = new data.DataLoader(sets.training, {
  batchSize: flags["batch-size"],
  shuffle: true,
  seed: flags.seed,
  transform: data.compose(data.randomHorizontalFlip(), normalize),
});
const validation = new data.DataLoader(sets.test, { batchSize: 500, transform: normalize });

manualSeed(flags.seed);
const model = new nn.Sequential(
  new nn.Conv2d(1, 32, 3, { padding: 1, bias: false }),
  new nn.BatchNorm2d(32),
  new nn.ReLU(),
  new nn.MaxPool2d(2),
  new nn.Conv2d(32, 64, 3, { padding: 1, bias: false }),
  new nn.BatchNorm2d(64),
  new nn.ReLU(),
  new nn.MaxPool2d(2),
  new nn.Flatten(),
  new nn.Dropout(0.4),
  new nn.Linear(64 * 7 * 7, 128),
  new nn.ReLU(),
  new nn.Dropout(0.2),
  new nn.Linear(128, 10),
);
console.log(String(model.summary([1, 1, 28, 28])));
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
    title: "Fashion-MNIST: two convolutions with batch norm",
    model,
    result,
    validation: sets.test,
    transform: normalize,
    classes: fashionClasses,
    settings: flags,
  });
  console.log(`report: ${join(flags.run, "report.html")}`);
}
