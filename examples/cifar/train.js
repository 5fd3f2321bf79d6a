// @ts-check
/**
 * ResNet-18 in its CIFAR form on CIFAR-10 or CIFAR-100 (binary version).
 *
 *   node examples/cifar/train.js --data cifar-10-batches-bin
 */
import { join } from "node:path";
import { crossEntropy, data, manualSeed, nn, optim, report, tensor, train } from "xcorr";
import { interruption, machine, readFlags, runFiles } from "../support/run.js";

const flags = readFlags(
  `Trains ResNet-18 in its CIFAR form (3 x 3 stem, no pooling before the stages).

  --data FOLDER     with the binary version of CIFAR-10 or CIFAR-100; without it, synthetic records
  --epochs N        passes over the training images (default 30; 2 for synthetic records)
  --batch-size N    images per step (default 128)
  --lr X            highest learning rate of the one-cycle schedule (default 0.1)
  --samples N       training images used, 0 for all (default 0)
  --seed N          of initialisation, order and augmentation (default 0)
  --threads N       compute threads (default: all cores)
  --run FOLDER      for checkpoints and the report (default runs/cifar)
  --resume          continue the run in that folder`,
  {
    data: "",
    epochs: 0,
    "batch-size": 128,
    lr: 0.1,
    samples: 0,
    seed: 0,
    threads: 0,
    run: "runs/cifar",
    resume: false,
  },
);

/**
 * Records in CIFAR's form: stripes whose direction and colour tell the class, with noise.
 * @param {number} count
 * @param {number} first
 */
function synthetic(count, first) {
  const images = new Uint8Array(count * 3072);
  const labels = new Int32Array(count);
  for (let n = 0; n < count; n++) {
    const label = (labels[n] = (first + n) % 10);
    const angle = (label * Math.PI) / 10;
    const phase = ((first + n) * 2.399963) % (2 * Math.PI);
    for (let i = 0; i < 3072; i++) {
      const [channel, row, column] = [i >> 10, (i >> 5) & 31, i & 31];
      const wave = Math.sin(0.7 * (row * Math.sin(angle) + column * Math.cos(angle)) + phase);
      const noise = Math.imul(i + 1, Math.imul(first + n + 1, 2654435761)) >>> 24;
      images[n * 3072 + i] = 90 + 50 * wave + (channel === label % 3 ? 25 : 0) + noise / 4;
    }
  }
  return new data.TensorDataset(tensor(images, { shape: [count, 3, 32, 32] }), tensor(labels));
}

const real = flags.data !== "";
if (!real) {
  console.log(
    [
      "!".repeat(78),
      "!! NO DATA SET: --data was not given, so this trains on SYNTHETIC striped records.",
      "!! Its accuracy says nothing about CIFAR. Give --data FOLDER for the real thing.",
      "!".repeat(78),
    ].join("\n"),
  );
}
const whole = real ? data.cifar(flags.data) : synthetic(1280, 0);
const test = real ? data.cifar(flags.data, { train: false }) : synthetic(256, 100_003);
const classCount = whole instanceof data.CifarDataset ? whole.classCount : 10;
const named = whole instanceof data.CifarDataset && whole.classes !== null ? { classes: whole.classes } : {};
const epochs = flags.epochs > 0 ? flags.epochs : real ? 30 : 2;
const samples = flags.samples > 0 ? Math.min(flags.samples, whole.length) : whole.length;
const training = new data.Subset(
  whole,
  Int32Array.from({ length: samples }, (_, i) => i),
);

// Means and standard deviations of CIFAR-10's training images.
const normalize = data.normalize([0.4914, 0.4822, 0.4465], [0.247, 0.2435, 0.2616]);
const loader = new data.DataLoader(training, {
  batchSize: flags["batch-size"],
  shuffle: true,
  dropLast: samples >= flags["batch-size"],
  seed: flags.seed,
  // Mirrored stripes are those of another class.
  transform: real
    ? data.compose(
        data.randomCrop(32, { padding: 4 }),
        data.randomHorizontalFlip(),
        normalize,
        data.randomErasing(0.25),
      )
    : data.compose(data.randomCrop(32, { padding: 4 }), normalize),
});
const validation = new data.DataLoader(test, { batchSize: 100, transform: normalize });

manualSeed(flags.seed);
const model = nn.models.resnet18Cifar({ numClasses: classCount });
const optimizer = new optim.SGD(model.parameters(), {
  lr: flags.lr,
  momentum: 0.9,
  nesterov: true,
  weightDecay: 5e-4,
});
const schedule = new optim.OneCycleLR(optimizer, flags.lr, { totalSteps: epochs * loader.length });
console.log(`${machine()}; ${samples} images of ${classCount} classes, batches of ${flags["batch-size"]}`);
const files = runFiles(flags.run);
const result = await train.fit(model, {
  train: loader,
  validation,
  loss: crossEntropy,
  optimizer,
  schedule,
  epochs,
  clipNorm: 5,
  metrics: { accuracy: train.accuracy(), top5: train.topK(5) },
  monitor: "accuracy",
  checkpoint: files.checkpoint,
  resume: flags.resume,
  signal: interruption(),
  unit: "images",
});
const last = result.history.at(-1);
if (last?.validation) {
  console.log(
    `test accuracy ${last.validation.metrics.accuracy.toFixed(4)}${real ? "" : " on SYNTHETIC records, not on CIFAR"}`,
  );
  await report.save(join(flags.run, "report.html"), {
    title: real ? `ResNet-18 on CIFAR-${classCount}` : "ResNet-18 on synthetic records (not CIFAR)",
    model,
    result,
    validation: test,
    transform: normalize,
    ...named,
    settings: { ...flags, epochs },
  });
  console.log(`report: ${join(flags.run, "report.html")}`);
}
