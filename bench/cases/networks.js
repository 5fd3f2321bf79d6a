// @ts-check
/** Whole steps of networks. */

/** @import { Case, Network, NetworkTask } from "../types.js" */

/** @type {Record<Network, { source: string, channels: number, size: number, classes: number }>} */
const networks = {
  lenet5: { source: "LeNet-5 (LeCun et al. 1998), MNIST", channels: 1, size: 28, classes: 10 },
  resnet18_cifar: { source: "ResNet-18 (He et al. 2016) with a 3x3 stem, CIFAR", channels: 3, size: 32, classes: 10 },
  resnet50: { source: "ResNet-50 (He et al. 2016)", channels: 3, size: 224, classes: 1000 },
  mobilenet_v2: { source: "MobileNetV2 (Sandler et al. 2018)", channels: 3, size: 224, classes: 1000 },
};

/**
 * @param {"train" | "infer"} kind
 * @param {[Network, number][]} list
 * @returns {Case[]}
 */
function steps(kind, list) {
  return list.map(([network, batch]) => {
    const { source, channels, size, classes } = networks[network];
    /** @type {NetworkTask} */
    const task = { kind, network, batch, channels, size, classes };
    return { name: `${kind} ${network} b${batch}`, source, task, operations: 0, groups: [`${kind} ${network}`] };
  });
}

export function trainCases() {
  return steps("train", [
    ["lenet5", 64],
    ["lenet5", 256],
    ["resnet18_cifar", 32],
    ["resnet50", 8],
    ["mobilenet_v2", 8],
  ]);
}

export function inferCases() {
  return steps("infer", [
    ["lenet5", 1],
    ["lenet5", 64],
    ["resnet18_cifar", 1],
    ["resnet18_cifar", 32],
    ["resnet50", 1],
    ["resnet50", 8],
    ["mobilenet_v2", 1],
    ["mobilenet_v2", 8],
  ]);
}

/** The step whose memory the suite `memory` measures. @type {NetworkTask} */
export const memoryTask = { kind: "train", network: "resnet18_cifar", batch: 32, channels: 3, size: 32, classes: 10 };
