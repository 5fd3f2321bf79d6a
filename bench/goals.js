// @ts-check
/** What the project has set out to reach, as ratios of time, theirs / ours, in one interleaved run. */

/** @import { CaseResult } from "./types.js" */

/**
 * @typedef {object} Goal
 * @property {string} what
 * @property {string} suite
 * @property {string} rival
 * @property {number} least
 * @property {"mean" | "each"} over Geometric mean of the cases, or the worst of them.
 * @property {string} [contender] Only this one of the rival's contenders.
 * @property {(each: CaseResult) => boolean} takes
 */

const group = (/** @type {string} */ name) => (/** @type {CaseResult} */ each) => each.groups.includes(name);
const named = (/** @type {RegExp} */ pattern) => (/** @type {CaseResult} */ each) => pattern.test(each.name);

const directions = /** @type {const} */ (["forward", "input", "weight"]);
const spoken = { forward: "forward", input: "input gradient", weight: "weight gradient" };

/**
 * @param {string} what
 * @param {string} key
 * @param {number} least
 * @param {string} [contender]
 * @returns {Goal[]}
 */
function eachDirection(what, key, least, contender) {
  return directions.map((direction) => ({
    what: `${what}, ${spoken[direction]}`,
    suite: "layers",
    rival: "pytorch",
    least,
    over: "mean",
    ...(contender === undefined ? {} : { contender }),
    takes: group(`${key} ${direction}`),
  }));
}

/** @type {Goal[]} */
export const goals = [
  ...eachDirection("VGG-16 layers, batch 8 and 32", "vgg16", 1.8),
  ...eachDirection("CIFAR ResNet layers, batch 128", "resnet20", 1.5),
  ...eachDirection("ResNet-50 layers, batch 8 and 32", "resnet50", 1.15),
  ...eachDirection("ResNet-50 layers, batch 8 and 32, against NCHW", "resnet50", 1.4, "pytorch nchw"),
  ...eachDirection("3x3 stride 1, 64 to 256 channels, batch 8", "3x3 64 to 256", 1.8),
  {
    what: "depthwise layers of MobileNetV2, forward",
    suite: "layers",
    rival: "pytorch",
    least: 1,
    over: "mean",
    takes: group("depthwise forward"),
  },
  {
    what: "depthwise layers of MobileNetV2, both gradients",
    suite: "layers",
    rival: "pytorch",
    least: 1,
    over: "mean",
    takes: group("depthwise gradients"),
  },
  {
    what: "depthwise layers of MobileNetV2, all, against NCHW",
    suite: "layers",
    rival: "pytorch",
    contender: "pytorch nchw",
    least: 2.5,
    over: "mean",
    takes: (each) => group("depthwise forward")(each) || group("depthwise gradients")(each),
  },
  { what: "worst single layer", suite: "layers", rival: "pytorch", least: 0.85, over: "each", takes: group("layers") },
  {
    what: "batch norm + ReLU, training, forward",
    suite: "layers",
    rival: "pytorch",
    least: 1.7,
    over: "mean",
    takes: group("batch norm forward"),
  },
  {
    what: "batch norm + ReLU, training, backward",
    suite: "layers",
    rival: "pytorch",
    least: 1.7,
    over: "mean",
    takes: group("batch norm backward"),
  },
  {
    what: "LeNet training step, batch 64 and 256",
    suite: "train",
    rival: "pytorch",
    least: 3,
    over: "each",
    takes: group("train lenet5"),
  },
  {
    what: "CIFAR ResNet-18 training step, batch 32",
    suite: "train",
    rival: "pytorch",
    least: 1.6,
    over: "each",
    takes: group("train resnet18_cifar"),
  },
  {
    what: "ResNet-50 training step, batch 8",
    suite: "train",
    rival: "pytorch",
    least: 1.2,
    over: "each",
    takes: group("train resnet50"),
  },
  {
    what: "MobileNetV2 224 training step, batch 8",
    suite: "train",
    rival: "pytorch",
    least: 1.3,
    over: "each",
    takes: group("train mobilenet_v2"),
  },
  {
    what: "ResNet-50 inference, batch 1 and 8",
    suite: "infer",
    rival: "onnxruntime",
    least: 1.1,
    over: "each",
    takes: group("infer resnet50"),
  },
  {
    what: "convolutions forward and inference, tfjs (wasm)",
    suite: "any",
    rival: "tfjs",
    least: 10,
    over: "each",
    takes: named(/forward$|^infer/),
  },
  {
    what: "gradients and training, tfjs (cpu)",
    suite: "any",
    rival: "tfjs",
    least: 500,
    over: "each",
    takes: named(/(input|weight)$|^train/),
  },
  { what: "GEMM 256 to 2048 square", suite: "gemm", rival: "openblas", least: 1, over: "mean", takes: named(/^gemm/) },
  { what: "fully connected layers", suite: "gemm", rival: "openblas", least: 1, over: "mean", takes: named(/^fc/) },
  {
    what: "one eager op on 16 elements, without recording",
    suite: "overhead",
    rival: "pytorch",
    least: 1,
    over: "each",
    takes: named(/add$/),
  },
  {
    what: "one eager op on 16 elements, recorded",
    suite: "overhead",
    rival: "pytorch",
    least: 1,
    over: "each",
    takes: named(/recorded$/),
  },
  {
    what: "add, sum, backward on it",
    suite: "overhead",
    rival: "pytorch",
    least: 2,
    over: "each",
    takes: group("overhead backward"),
  },
];
