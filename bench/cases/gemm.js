// @ts-check
/** Square products, and the fully connected layers of the networks. */

/** @import { Case } from "../types.js" */

/** Inputs, outputs, where from. @type {[number, number, string][]} */
const connected = [
  [400, 120, "LeNet-5 (LeCun et al. 1998)"],
  [120, 84, "LeNet-5 (LeCun et al. 1998)"],
  [2048, 1000, "ResNet-50 (He et al. 2016)"],
  [1280, 1000, "MobileNetV2 (Sandler et al. 2018)"],
  [25088, 4096, "VGG-16 (Simonyan and Zisserman 2015)"],
  [4096, 4096, "VGG-16 (Simonyan and Zisserman 2015)"],
  [4096, 1000, "VGG-16 (Simonyan and Zisserman 2015)"],
];

/** @returns {Case[]} */
export function gemmCases() {
  /** @type {Case[]} */
  const cases = [];
  for (const size of [256, 512, 1024, 2048]) {
    cases.push({
      name: `gemm ${size}`,
      source: "square",
      task: { kind: "gemm", m: size, n: size, k: size, transposed: false },
      operations: 2 * size ** 3,
      groups: ["gemm"],
    });
  }
  for (const [k, n, source] of connected) {
    for (const m of [1, 8, 32, 128]) {
      cases.push({
        name: `fc b${m} ${k}>${n}`,
        source,
        task: { kind: "gemm", m, n, k, transposed: true },
        operations: 2 * m * n * k,
        groups: ["gemm"],
      });
    }
  }
  return cases;
}
