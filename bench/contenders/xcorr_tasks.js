// @ts-check
/** xcorr's side of every task, by its public functions: what is timed includes all that a user pays. */
import * as xcorr from "../library.js";
import { readTensor, sampled } from "./lines.js";

/** @import { Tensor } from "../library.js" */
/** @import { BatchNormTask, ConvTask, Files, GemmTask, NetworkTask, OverheadTask, Task } from "../types.js" */
/** @import { Prepared } from "./lines.js" */

const { nn, optim } = xcorr;

/**
 * @param {Files} files
 * @param {string} name
 * @returns {Tensor}
 */
function load(files, name) {
  const file = files[name];
  if (file === undefined) throw new Error(`the task has no tensor ${name}`);
  return xcorr.tensor(readTensor(file), { shape: file.shape });
}

/**
 * A call whose result is given back at once, as in a loop that does not keep it.
 * @param {() => Tensor} compute
 * @returns {Prepared}
 */
function consumed(compute) {
  return {
    call: () => compute().dispose(),
    result: (step) => {
      const y = compute();
      const values = sampled(y.data(), step);
      y.dispose();
      return values;
    },
  };
}

/**
 * @param {ConvTask} task
 * @param {Files} files
 */
function conv({ direction, stride, padding, groups }, files) {
  const x = load(files, "x");
  const w = load(files, "w");
  const options = { stride, padding, groups };
  if (direction === "forward") return consumed(() => xcorr.conv2d(x, w, options));
  const dy = load(files, "dy");
  if (direction === "input") return consumed(() => xcorr.conv2dInput(x.shape, w, dy, options));
  return consumed(() => xcorr.conv2dWeight(x, w.shape, dy, options));
}

/**
 * @param {BatchNormTask} task
 * @param {Files} files
 * @returns {Prepared}
 */
function batchNorm(task, files) {
  const x = load(files, "x").requiresGrad_();
  const dy = load(files, "dy");
  const weight = load(files, "weight").requiresGrad_();
  const bias = load(files, "bias").requiresGrad_();
  const mean = xcorr.zeros([task.channels]);
  const variance = xcorr.ones([task.channels]);
  const forward = () => xcorr.batchNorm(x, mean, variance, { weight, bias, training: true, activation: "relu" });
  if (task.direction === "forward") return consumed(forward);
  const y = forward();
  const backward = () => xcorr.grad(y, [x, weight, bias], { gradOutputs: dy, retainGraph: true });
  return {
    call: () => {
      for (const gradient of backward()) gradient.dispose();
    },
    result: (step) => sampled(/** @type {Tensor} */ (backward()[0]).data(), step),
  };
}

/**
 * @param {GemmTask} task
 * @param {Files} files
 */
function gemm(task, files) {
  const a = load(files, "a");
  const b = load(files, "b");
  return consumed(task.transposed ? () => xcorr.linear(a, b) : () => xcorr.matmul(a, b));
}

/** @param {NetworkTask} task */
export function network({ network, channels, classes }) {
  const options = { inChannels: channels, numClasses: classes };
  switch (network) {
    case "lenet5":
      return new nn.models.LeNet5(options);
    case "resnet18_cifar":
      return nn.models.resnet18Cifar(options);
    case "resnet50":
      return nn.models.resnet50(options);
    case "mobilenet_v2":
      return nn.models.mobilenetV2({ ...options, dropout: 0 });
  }
}

/**
 * The logarithm of a gradient's norm, so that small layers count as much as large ones. A norm far below 1e-2 reads as
 * 1e-2: the bias of a batch norm in front of another one has gradient 0, of which every library has its own rounding.
 * @param {ArrayLike<number>} gradient
 */
function normLogarithm(gradient) {
  let squares = 1e-4;
  for (let i = 0; i < gradient.length; i++) squares += /** @type {number} */ (gradient[i]) ** 2;
  return Math.log(squares) / 2;
}

/**
 * @param {NetworkTask} task
 * @param {Files} files
 * @returns {Prepared}
 */
function networkStep(task, files) {
  const model = network(task);
  /** @type {Record<string, Tensor>} */
  const state = {};
  for (const name of Object.keys(files)) if (name.startsWith("state/")) state[name.slice(6)] = load(files, name);
  model.loadStateDict(state, { strict: false });
  const x = load(files, "x");
  if (task.kind === "infer") {
    // onnxruntime fuses its graph, too, when it makes a session.
    const fast = nn.optimizeForInference(model.eval());
    return consumed(() => fast.forward(x));
  }
  const target = load(files, "target");
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.001, momentum: 0.9 });
  const step = () => {
    optimizer.zeroGrad();
    const loss = nn.functional.crossEntropy(model.forward(x), target);
    loss.backward();
    optimizer.step();
    return loss.item();
  };
  const before = step();
  const norms = [...model.namedParameters()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, { grad }]) => (grad === null ? Number.NaN : normLogarithm(grad.data())));
  const results = [before, step(), ...norms];
  return { call: step, result: (every) => sampled(results, every) };
}

/**
 * @param {OverheadTask} task
 * @param {Files} files
 * @returns {Prepared}
 */
function overhead(task, files) {
  const a = load(files, "a");
  const b = load(files, "b");
  if (task.what !== "add") a.requiresGrad_();
  /** @param {number} step */
  const result = (step) => sampled(xcorr.add(a, b).data(), step);
  // Results are dropped, not disposed of: collecting them is part of the price.
  if (task.what === "add_sum_backward") return { call: () => xcorr.add(a, b).sum().backward(), result };
  return { call: () => xcorr.add(a, b), result };
}

/**
 * @param {Task} task
 * @param {Files} files
 * @returns {Prepared}
 */
export function prepareTask(task, files) {
  const { kind } = task;
  const recorded = kind === "train" || kind === "batch_norm" || (kind === "overhead" && task.what !== "add");
  const prepared = xcorr.setGradEnabled(recorded, () => {
    if (kind === "conv") return conv(task, files);
    if (kind === "batch_norm") return batchNorm(task, files);
    if (kind === "gemm") return gemm(task, files);
    if (kind === "overhead") return overhead(task, files);
    return networkStep(task, files);
  });
  return prepared;
}
