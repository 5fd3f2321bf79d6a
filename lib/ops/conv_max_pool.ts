import { isGradEnabled } from "../autograd/mode.js";
import { activationCodes, blockImages } from "../backend/abi.js";
import { isFloating } from "../core/dtype.js";
import { empty, type Tensor } from "../core/tensor.js";
import { type ConvGeometry, convInputGradOp, convSizes, convWeightGradOp, weightGradOptions } from "./convolution.js";
import { defineOp, type GradContext, type Op, type Sample } from "./define.js";
import { maxPoolGradOp } from "./max_pool.js";
import { sum } from "./reduce.js";
import { where } from "./where.js";
import { runContiguous } from "./window.js";

/**
 * relu(maxPool2d(conv2d(x, weight, bias), 2)) in one pass over batches of small images, whose outputs of the convolution
 * are never written; its gradients in another.
 */

type Inputs = "x" | "weight" | "bias";

const reluCode = activationCodes.indexOf("relu");

/** Windows of 2x2 neighbouring outputs. */
function pooled(g: ConvGeometry): number[] {
  return g.out.map((n) => Math.floor(n / 2));
}

function sizesOf(x: Tensor, weight: Tensor, geometry: ConvGeometry): number[] {
  const sizes = convSizes(x.shape[0]!, x.shape[1]!, weight.shape[0]!, geometry);
  sizes[sizes.length - 1] = reluCode;
  return sizes;
}

function geometryOf(size: readonly number[], kernel: readonly number[], pad: readonly number[]): ConvGeometry {
  const ones = [1, 1];
  const out = size.map((n, i) => n + 2 * pad[i]! - kernel[i]! + 1);
  return { groups: 1, in: size, kernel, stride: ones, dilation: ones, pad, out };
}

const convMaxPoolOp: Op<Inputs, ConvGeometry> = defineOp<Inputs, ConvGeometry>({
  name: "conv_max_pool",
  inputs: ["x", "weight", "bias"],
  forward: ([x, weight, bias], g, keep) => {
    const [height, width] = pooled(g) as [number, number];
    const outChannels = weight!.shape[0]!;
    const y = empty([x!.shape[0]!, outChannels, height, width], x!.dtype);
    const place = empty([Math.ceil(x!.shape[0]! / blockImages), outChannels, height, width, blockImages], "int32");
    runContiguous("conv_max_pool", x!.dtype, sizesOf(x!, weight!, g), [x!, weight!, bias ?? null], [y, place]);
    keep(place);
    return y;
  },
  gradAll: {
    reads: (needs) => [...(needs("x") ? (["weight"] as const) : []), ...(needs("weight") ? (["x"] as const) : [])],
    formula: (c) => {
      // The kernel computes all in one pass; a gradient that is differentiated itself, or of a part, is made of ops.
      if (!c.needs("weight") || isGradEnabled()) return composedGradients(c);
      const x = c.input("x");
      const shape = [c.shape("weight")[0]!, x.shape[1]!, ...c.options.kernel];
      const dx = c.needs("x") ? empty(x.shape, x.dtype) : null;
      const dweight = empty(shape, x.dtype);
      const dbias = c.needs("bias") ? empty([shape[0]!], x.dtype) : null;
      const sizes = convSizes(x.shape[0]!, x.shape[1]!, shape[0]!, c.options);
      const weight = c.needs("x") ? c.input("weight") : null;
      runContiguous("conv_max_pool_grad", x.dtype, sizes, [x, weight, c.kept(0), c.dy], [dx, dweight, dbias]);
      return [dx, dweight, dbias];
    },
  },
  samples: () => {
    const sample = (
      [batch, channels, outChannels]: readonly [number, number, number],
      size: readonly number[],
      kernel: readonly number[],
      pad: readonly number[],
      large = false,
    ): Sample<Inputs, ConvGeometry> => ({
      inputs: {
        x: [batch, channels, ...size],
        weight: [outChannels, channels, ...kernel],
        bias: batch % 2 === 0 ? [outChannels] : null,
      },
      options: geometryOf(size, kernel, pad),
      ...(large ? { skip: ["gradcheck", "gradgradcheck"] as const } : {}),
    });
    return [
      sample([2, 1, 2], [5, 6], [2, 3], [0, 1]),
      sample([3, 2, 1], [4, 4], [3, 3], [1, 1]),
      sample([0, 2, 3], [5, 5], [3, 3], [1, 1]),
      sample([37, 1, 6], [12, 12], [5, 5], [2, 2], true),
      sample([20, 6, 16], [9, 11], [5, 5], [0, 0], true),
    ];
  },
});

/** The gradients by way of those of all outputs of the convolution. */
function composedGradients(c: GradContext<Inputs, ConvGeometry>): (Tensor | null)[] {
  const g = c.options;
  const pooling = { in: g.out, kernel: [2, 2], stride: [2, 2], dilation: [1, 1], pad: [0, 0], out: pooled(g) };
  const { index, passes } = placesOf(c.kept(0), c.dy.shape, g.out[1]!);
  const dz = maxPoolGradOp([where(passes, c.dy, 0), index], pooling);
  const dx = c.needs("x") ? convInputGradOp([dz, c.input("weight"), null], g) : null;
  if (!c.needs("weight")) return [dx, null, c.needs("bias") ? sum(dz, { dim: [0, 2, 3] }) : null];
  const [dweight, dbias = null] = convWeightGradOp.all([c.input("x"), dz], weightGradOptions(g, c.needs("bias")));
  return [dx, dweight!, dbias];
}

/** What the kernel has kept as max_pool_grad takes it: flat places in the planes, and where relu lets gradients through. */
function placesOf(place: Tensor, shape: readonly number[], width: number): { index: Tensor; passes: Tensor } {
  const index = empty(shape, "int32");
  const passes = empty(shape, "bool");
  const from = place.storage.array("int32");
  const at = index.storage.array("int32");
  const mask = passes.storage.array("bool");
  const [batch, channels, height, columns] = shape as [number, number, number, number];
  const windows = height * columns;
  for (let i = 0; i < batch * channels * windows; i++) {
    const window = i % windows;
    const channel = Math.floor(i / windows) % channels;
    const image = Math.floor(i / windows / channels);
    const block = Math.floor(image / blockImages);
    const code = from[((block * channels + channel) * windows + window) * blockImages + (image % blockImages)]!;
    const row = 2 * Math.floor(window / columns) + ((code >> 1) & 1);
    at[i] = row * width + 2 * (window % columns) + (code & 1);
    mask[i] = code < 4 ? 1 : 0;
  }
  return { index, passes };
}

/**
 * Enough images to fill lanes, planes that a block of them keeps in a core's cache, and more products than Winograd's
 * algorithm would save.
 */
function fits(x: Tensor, weight: Tensor, out: readonly number[]): boolean {
  const [batch, channels, height, width] = x.shape as [number, number, number, number];
  const [outChannels, , kernelHeight, kernelWidth] = weight.shape as [number, number, number, number];
  return (
    batch >= 24 &&
    Math.ceil(batch / blockImages) * blockImages * 3 <= batch * 4 &&
    channels * height * width <= 8192 &&
    outChannels * channels * kernelHeight * kernelWidth <= 2560 &&
    outChannels >= 4 &&
    kernelHeight * kernelWidth >= 16 &&
    out.every((n) => n >= 2 && n <= 64)
  );
}

/**
 * @internal relu(maxPool2d(conv2d(x, weight, { bias, padding }), 2)), in one pass; null where that does not pay, or the
 * arguments are none of a plain convolution of images.
 */
export function convMaxPoolRelu(x: Tensor, weight: Tensor, bias: Tensor | null, padding: unknown): Tensor | null {
  const plain =
    x.rank === 4 &&
    weight.rank === 4 &&
    isFloating(x.dtype) &&
    x.dtype === weight.dtype &&
    x.shape[1] === weight.shape[1] &&
    Array.isArray(padding) &&
    padding.every((n) => typeof n === "number");
  if (!plain) return null;
  const geometry = geometryOf(x.shape.slice(2), weight.shape.slice(2), padding as number[]);
  return fits(x, weight, geometry.out) ? convMaxPoolOp([x, weight, bias], geometry) : null;
}
