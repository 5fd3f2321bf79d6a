import { afterEach, describe, expect, it } from "vitest";
import { conv2d, getBackend, getPrecision, manualSeed, randn, setPrecision, type Tensor } from "./support/xcorr.js";

/**
 * Every algorithm of a float32 convolution against float64 sums, on layers of known networks with inputs of unit
 * variance: the largest error over the largest value, as docs/performance.md promises it.
 */

type Precision = ReturnType<typeof getPrecision>;
type Layer = [
  name: string,
  x: number[],
  weight: number[],
  options: { stride?: number; padding?: number; groups?: number },
];

const layers: Layer[] = [
  ["ResNet-50 3x3", [2, 64, 56, 56], [64, 64, 3, 3], { padding: 1 }],
  ["ResNet-50 3x3, deep", [2, 256, 14, 14], [256, 256, 3, 3], { padding: 1 }],
  ["ResNet-50 3x3, stride 2", [2, 128, 28, 28], [128, 128, 3, 3], { padding: 1, stride: 2 }],
  ["ResNet-50 1x1", [2, 256, 14, 14], [512, 256, 1, 1], {}],
  ["ResNet-50 1x1, stride 2", [2, 256, 28, 28], [256, 256, 1, 1], { stride: 2 }],
  ["ResNet-50 stem", [1, 3, 112, 112], [64, 3, 7, 7], { padding: 3, stride: 2 }],
  ["VGG-16 first", [1, 3, 112, 112], [64, 3, 3, 3], { padding: 1 }],
  ["CIFAR ResNet", [16, 16, 32, 32], [16, 16, 3, 3], { padding: 1 }],
  ["CIFAR ResNet, first", [16, 3, 32, 32], [16, 3, 3, 3], { padding: 1 }],
  ["CIFAR ResNet, 3x3, stride 2", [32, 32, 16, 16], [64, 32, 3, 3], { padding: 1, stride: 2 }],
  ["CIFAR ResNet, 1x1, stride 2", [32, 32, 16, 16], [64, 32, 1, 1], { stride: 2 }],
  ["LeNet-5 second", [32, 6, 14, 14], [16, 6, 5, 5], {}],
  ["MobileNetV2 depthwise", [2, 96, 56, 56], [96, 1, 3, 3], { padding: 1, groups: 96 }],
];
const most: Record<Precision, number> = { exact: 2e-6, tight: 2e-6, default: 5e-6 };

const before = getPrecision();
afterEach(() => setPrecision(before));

/** Result and both gradients of one layer. */
function computed(x: Tensor, weight: Tensor, dy: Tensor, options: Layer[3]): Tensor[] {
  const [input, kernel] = [x.detach().requiresGrad_(), weight.detach().requiresGrad_()];
  const y = conv2d(input, kernel, options);
  y.backward(dy);
  return [y.detach(), input.grad!, kernel.grad!];
}

describe.skipIf(getBackend() !== "native")("float32 convolution stays within its precision mode", () => {
  for (const [name, size, kernel, options] of layers)
    it(name, () => {
      manualSeed(11);
      const x = randn(size);
      const terms = kernel.slice(1).reduce((a, b) => a * b, 1);
      const weight = randn(kernel).div(Math.sqrt(terms));
      const dy = randn(conv2d(x, weight, options).shape);
      const expected = computed(x.to("float64"), weight.to("float64"), dy.to("float64"), options);
      for (const mode of ["exact", "tight", "default"] as const) {
        setPrecision(mode);
        computed(x, weight, dy, options).forEach((result, i) => {
          const error = result.to("float64").sub(expected[i]!).abs().max().item();
          const largest = expected[i]!.abs().max().item();
          expect(largest, name).toBeGreaterThan(1);
          const what = `${name}, ${mode}, ${["result", "input gradient", "weight gradient"][i]}`;
          expect(error / largest, what).toBeLessThan(most[mode]);
        });
      }
    });
});
