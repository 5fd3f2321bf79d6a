// @ts-check
/** Batch norm in training followed by ReLU: the planes of ResNet-50, VGG-16 with batch norm, and MobileNetV2. */

/** @import { Case } from "../types.js" */

/** Channels, pixels a side, batch, where from. @type {[number, number, number, string][]} */
const planes = [
  [64, 112, 8, "ResNet-50 (He et al. 2016), after the stem"],
  [256, 56, 8, "ResNet-50 (He et al. 2016), stage 1"],
  [512, 28, 8, "ResNet-50 (He et al. 2016), stage 2"],
  [256, 14, 32, "ResNet-50 (He et al. 2016), stage 3"],
  [512, 7, 32, "ResNet-50 (He et al. 2016), stage 4"],
  [64, 224, 2, "VGG-16 with batch norm (Simonyan and Zisserman 2015)"],
  [96, 112, 8, "MobileNetV2 (Sandler et al. 2018)"],
  [16, 32, 128, "CIFAR ResNet-20 (He et al. 2016)"],
];

/** @returns {Case[]} */
export function batchNormCases() {
  return planes.flatMap(([channels, size, batch, source]) =>
    /** @type {("forward" | "backward")[]} */ (["forward", "backward"]).map((direction) => ({
      name: `batch_norm b${batch} ${channels} @${size} ${direction}`,
      source,
      task: { kind: "batch_norm", direction, batch, channels, size },
      operations: 0,
      groups: ["layers", `batch norm ${direction}`],
    })),
  );
}
