// @ts-check
/** All distinct convolution layers of five networks, from the papers' tables. */

/** @import { Case, ConvTask, Direction } from "../types.js" */

/**
 * @typedef {object} Layer
 * @property {number} inChannels
 * @property {number} outChannels
 * @property {number} size Height and width of the input.
 * @property {number} kernel
 * @property {number} [stride]
 * @property {number} [groups]
 * @property {number} [padding] Default: the output has the input's size (divided by the stride).
 */

/** LeCun et al. 1998, on MNIST's 28 pixels padded to 32. @type {Layer[]} */
const lenet5 = [
  { inChannels: 1, outChannels: 6, size: 28, kernel: 5 },
  { inChannels: 6, outChannels: 16, size: 14, kernel: 5, padding: 0 },
];

/** He et al. 2016, section 4.2, shortcuts as 1x1 convolutions. @type {Layer[]} */
const resnet20 = [
  { inChannels: 3, outChannels: 16, size: 32, kernel: 3 },
  { inChannels: 16, outChannels: 16, size: 32, kernel: 3 },
  { inChannels: 16, outChannels: 32, size: 32, kernel: 3, stride: 2 },
  { inChannels: 16, outChannels: 32, size: 32, kernel: 1, stride: 2 },
  { inChannels: 32, outChannels: 32, size: 16, kernel: 3 },
  { inChannels: 32, outChannels: 64, size: 16, kernel: 3, stride: 2 },
  { inChannels: 32, outChannels: 64, size: 16, kernel: 1, stride: 2 },
  { inChannels: 64, outChannels: 64, size: 8, kernel: 3 },
];

/** He et al. 2016, table 1, with the stride in the 3x3 layer as torchvision has it. */
function resnet50() {
  /** @type {Layer[]} */
  const layers = [{ inChannels: 3, outChannels: 64, size: 224, kernel: 7, stride: 2 }];
  let channels = 64;
  let size = 56;
  for (const [stage, width] of [64, 128, 256, 512].entries()) {
    const stride = stage === 0 ? 1 : 2;
    const wide = 4 * width;
    const out = size / stride;
    layers.push({ inChannels: channels, outChannels: width, size, kernel: 1 });
    layers.push({ inChannels: width, outChannels: width, size, kernel: 3, stride });
    layers.push({ inChannels: width, outChannels: wide, size: out, kernel: 1 });
    layers.push({ inChannels: channels, outChannels: wide, size, kernel: 1, stride });
    layers.push({ inChannels: wide, outChannels: width, size: out, kernel: 1 });
    layers.push({ inChannels: width, outChannels: width, size: out, kernel: 3 });
    channels = wide;
    size = out;
  }
  return layers;
}

/** Simonyan and Zisserman 2015, configuration D. @type {Layer[]} */
const vgg16 = [
  [3, 64, 224],
  [64, 64, 224],
  [64, 128, 112],
  [128, 128, 112],
  [128, 256, 56],
  [256, 256, 56],
  [256, 512, 28],
  [512, 512, 28],
  [512, 512, 14],
].map(([inChannels, outChannels, size]) => ({
  inChannels: /** @type {number} */ (inChannels),
  outChannels: /** @type {number} */ (outChannels),
  size: /** @type {number} */ (size),
  kernel: 3,
}));

/** Sandler et al. 2018, table 2, width 1, 224 pixels. */
function mobilenetV2() {
  /** @type {Layer[]} */
  const layers = [{ inChannels: 3, outChannels: 32, size: 224, kernel: 3, stride: 2 }];
  let channels = 32;
  let size = 112;
  for (const [expansion, width, blocks, first] of /** @type {[number, number, number, number][]} */ ([
    [1, 16, 1, 1],
    [6, 24, 2, 2],
    [6, 32, 3, 2],
    [6, 64, 4, 2],
    [6, 96, 3, 1],
    [6, 160, 3, 2],
    [6, 320, 1, 1],
  ])) {
    for (let block = 0; block < blocks; block++) {
      const wide = channels * expansion;
      const stride = block === 0 ? first : 1;
      if (expansion > 1) layers.push({ inChannels: channels, outChannels: wide, size, kernel: 1 });
      layers.push({ inChannels: wide, outChannels: wide, size, kernel: 3, stride, groups: wide });
      size /= stride;
      layers.push({ inChannels: wide, outChannels: width, size, kernel: 1 });
      channels = width;
    }
  }
  layers.push({ inChannels: 320, outChannels: 1280, size: 7, kernel: 1 });
  return layers;
}

/** @param {Layer[]} layers */
function distinct(layers) {
  const whole = layers.map((layer) => ({ stride: 1, groups: 1, padding: (layer.kernel - 1) / 2, ...layer }));
  const key = (/** @type {Required<Layer>} */ each) =>
    [each.inChannels, each.outChannels, each.size, each.kernel, each.stride, each.groups, each.padding].join();
  return [...new Map(whole.map((layer) => [key(layer), layer])).values()];
}

const networks = [
  { name: "lenet5", source: "LeNet-5 (LeCun et al. 1998)", layers: lenet5, batches: [1, 8, 32] },
  { name: "resnet20", source: "CIFAR ResNet-20 (He et al. 2016)", layers: resnet20, batches: [128] },
  { name: "resnet50", source: "ResNet-50 (He et al. 2016)", layers: resnet50(), batches: [1, 8, 32] },
  { name: "vgg16", source: "VGG-16 (Simonyan and Zisserman 2015)", layers: vgg16, batches: [1, 8, 32] },
  { name: "mobilenet_v2", source: "MobileNetV2 (Sandler et al. 2018)", layers: mobilenetV2(), batches: [1, 8, 32] },
];

/**
 * Multiplications and additions of the direct algorithm.
 * @param {ConvTask} task
 */
export function convOperations(task) {
  const out = Math.floor((task.size + 2 * task.padding - task.kernel) / task.stride) + 1;
  const products = task.batch * task.outChannels * (task.inChannels / task.groups) * task.kernel ** 2 * out ** 2;
  return 2 * products;
}

/**
 * Rows of the goals' table.
 * @param {string} network
 * @param {ConvTask} task
 */
function groupsOf(network, task) {
  const { batch, direction } = task;
  const groups = ["layers"];
  if (network === "vgg16" && batch >= 8) groups.push(`vgg16 ${direction}`);
  if (network === "resnet20") groups.push(`resnet20 ${direction}`);
  if (network === "resnet50" && batch >= 8) groups.push(`resnet50 ${direction}`);
  const winograd = task.kernel === 3 && task.stride === 1 && task.groups === 1;
  if (
    winograd &&
    batch === 8 &&
    task.inChannels === task.outChannels &&
    task.inChannels >= 64 &&
    task.inChannels <= 256
  )
    groups.push(`3x3 64 to 256 ${direction}`);
  if (task.groups > 1) groups.push(`depthwise ${direction === "forward" ? "forward" : "gradients"}`);
  return groups;
}

/** @returns {Case[]} */
export function convCases() {
  /** @type {Case[]} */
  const cases = [];
  for (const { name, source, layers, batches } of networks) {
    for (const batch of batches) {
      for (const layer of distinct(layers)) {
        for (const direction of /** @type {Direction[]} */ (["forward", "input", "weight"])) {
          const { inChannels, outChannels, size, kernel, stride, groups } = layer;
          /** @type {ConvTask} */
          const task = { kind: "conv", direction, batch, ...layer };
          const shape = `${inChannels}>${outChannels} ${kernel}x${kernel}${stride > 1 ? ` s${stride}` : ""}${groups > 1 ? " dw" : ""} @${size}`;
          cases.push({
            name: `${name} b${batch} ${shape} ${direction}`,
            source,
            task,
            operations: convOperations(task),
            groups: groupsOf(name, task),
          });
        }
      }
    }
  }
  return cases;
}

/** Direct layers without Winograd, held against the machine's peak. @returns {Case[]} */
export function exactCases() {
  return convCases()
    .filter(({ task, name }) => {
      const conv = /** @type {ConvTask} */ (task);
      const direct = conv.groups === 1 && conv.stride === 1 && (conv.kernel === 3 || conv.kernel === 1);
      return direct && conv.inChannels >= 64 && name.startsWith("resnet50 b8");
    })
    .map((each) => ({
      ...each,
      name: `exact ${each.name}`,
      groups: ["exact"],
      precision: /** @type {const} */ ("exact"),
    }));
}
