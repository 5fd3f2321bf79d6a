// @ts-check
/**
 * Fine-tunes a network from a safetensors file (of PyTorch, torchvision or this package) on images of one's own.
 *
 *   node examples/finetune.js --weights resnet18.safetensors --model resnet18 --data photos
 *   node examples/finetune.js --weights lenet.safetensors --model LeNet5 --data /usr/share/datasets/fashion-mnist
 *
 * The folder has a sub-folder of images for each class (decoded by the package sharp; a fifth is kept for validation), or
 * the files of MNIST or CIFAR. First the new head is trained alone, then all layers with a lower rate for the old ones.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { crossEntropy, data, io, manualSeed, nn, optim, report, train } from "xcorr";
import { known } from "./support/models.js";
import { digits, interruption, machine, readFlags, runFiles } from "./support/run.js";

const flags = readFlags(
  `Fine-tunes a network.

  --weights FILE      safetensors of a trained network (required)
  --model NAME        LeNet5, resnet18Cifar, resnet18 or resnet50 (default resnet18)
  --data FOLDER       images in a sub-folder for each class, or the files of MNIST or CIFAR (required)
  --head-epochs N     passes with all but the head frozen (default 1)
  --epochs N          passes after that (default 3)
  --batch-size N      images per step (default 32)
  --lr X              of the head; the layers below take a tenth (default 0.002)
  --samples N         training images used, 0 for all (default 0)
  --seed N            (default 0)
  --threads N         compute threads (default: all cores)
  --run FOLDER        for the weights and the report (default runs/finetune)`,
  {
    weights: "",
    model: "resnet18",
    data: "",
    "head-epochs": 1,
    epochs: 3,
    "batch-size": 32,
    lr: 0.002,
    samples: 0,
    seed: 0,
    threads: 0,
    run: "runs/finetune",
  },
);
if (flags.weights === "" || flags.data === "") {
  console.error("--weights FILE and --data FOLDER are needed; see --help");
  process.exit(2);
}
const { make, head, size, mean, deviation } = known(flags.model);

/** Training and validation samples, and the names of the classes. */
async function sets() {
  if (["train-images-idx3-ubyte", "train-images-idx3-ubyte.gz"].some((f) => existsSync(join(flags.data, f)))) {
    const { training, test } = digits(flags.data);
    return { training, test, classes: Array.from({ length: 10 }, (_, i) => String(i)) };
  }
  if (["test_batch.bin", "test.bin"].some((f) => existsSync(join(flags.data, f)))) {
    const training = data.cifar(flags.data);
    const classes = training.classes ?? Array.from({ length: training.classCount }, (_, i) => String(i));
    return { training, test: data.cifar(flags.data, { train: false }), classes };
  }
  const folder = new data.ImageFolder(flags.data, { size: [size[1], size[2]], channels: size[0] === 1 ? 1 : 3 });
  console.log(`decoding ${folder.length} images of ${folder.classes.join(", ")}`);
  const [training, test] = data.randomSplit(await folder.load(), [0.8, 0.2], { seed: flags.seed });
  if (training === undefined || test === undefined) throw new Error("randomSplit gives as many parts as shares");
  return { training, test, classes: folder.classes };
}
const found = await sets();
const count = flags.samples > 0 ? Math.min(flags.samples, found.training.length) : found.training.length;
/** @type {data.Dataset<[any, any]>} */
const training = new data.Subset(
  found.training,
  Int32Array.from({ length: count }, (_, i) => i),
);

const normalize = data.normalize(mean, deviation);
const augment = data.compose(data.randomCrop([size[1], size[2]], { padding: size[1] >> 3 }), normalize);
const loader = new data.DataLoader(training, {
  batchSize: flags["batch-size"],
  shuffle: true,
  seed: flags.seed,
  transform: augment,
});
const validation = new data.DataLoader(found.test, { batchSize: 100, transform: normalize });

manualSeed(flags.seed);
const model = make(found.classes.length);
// The head of other classes stays behind; everything else must fit.
const weights = io.loadSafetensors(flags.weights);
const state = model.stateDict();
const left = Object.keys(weights).filter((key) => key.startsWith(`${head}.`));
const kept = Object.fromEntries(Object.entries(weights).filter(([key]) => !left.includes(key)));
for (const key of Object.keys(state))
  if (key.startsWith(`${head}.`)) kept[key] = /** @type {any} */ (state[key]).clone();
model.loadStateDict(kept);
console.log(
  `${machine()}; loaded ${Object.keys(weights).length - left.length} tensors; a new head for ${found.classes.length} classes`,
);

const headModule = new Map(model.namedModules()).get(head);
if (headModule === undefined) throw new Error(`${flags.model} has no ${head}`);
const headParameters = headModule.parameters();
const below = model.parameters().filter((p) => !headParameters.includes(p));
const files = runFiles(flags.run);
const shared = {
  train: loader,
  validation,
  loss: crossEntropy,
  metrics: { accuracy: train.accuracy() },
  unit: "images",
};

if (flags["head-epochs"] > 0) {
  console.log("the head alone");
  model.requiresGrad_(false);
  headModule.requiresGrad_(true);
  // fit leaves parts in evaluation mode as they are: frozen batch norms keep their statistics.
  for (const module of model.modules()) if (module instanceof nn.BatchNorm2d) module.eval();
  const optimizer = new optim.AdamW(headParameters, { lr: flags.lr });
  await train.fit(model, { ...shared, optimizer, epochs: flags["head-epochs"], signal: interruption() });
  model.requiresGrad_(true);
  model.train();
}

console.log("all layers");
const optimizer = new optim.AdamW(
  [
    { params: below, lr: flags.lr / 10 },
    { params: headParameters, lr: flags.lr },
  ],
  { lr: flags.lr },
);
const schedule = new optim.CosineAnnealingLR(optimizer, Math.max(1, flags.epochs * loader.length));
const result = await train.fit(model, {
  ...shared,
  optimizer,
  schedule,
  scheduleEvery: "step",
  epochs: flags.epochs,
  monitor: "accuracy",
  checkpoint: { path: files.checkpoint.path, best: files.checkpoint.best },
  signal: interruption(),
});
if (result.best.epoch > 0) {
  console.log(`best validation accuracy ${result.best.value.toFixed(4)} in epoch ${result.best.epoch}`);
  console.log(`weights: ${files.checkpoint.best}`);
  model.loadStateDict(io.loadSafetensors(files.checkpoint.best));
  await report.save(files.report, {
    title: `${flags.model}, fine-tuned`,
    model,
    result,
    validation: found.test,
    transform: normalize,
    classes: found.classes,
    settings: flags,
  });
  console.log(`report: ${files.report}`);
}
