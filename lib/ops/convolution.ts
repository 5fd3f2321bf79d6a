import { empty, type Tensor } from "../core/tensor.js";
import { filled } from "./kernel.js";
import { defineOp, type Op, type Sample } from "./define.js";
import { sum } from "./reduce.js";
import { expand, reshape } from "./view.js";
import { appendWindow, runContiguous, type WindowGeometry } from "./window.js";

/**
 * The three ops that convolution is closed under: each one's derivatives are written with the other two, so any order
 * of differentiation works, and a transposed convolution is conv_input_grad by another name.
 *
 * x [batch, inChannels, in...], weight [outChannels, inChannels / groups, kernel...], y [batch, outChannels, out...];
 * y[n, o, p] = bias[o] + sum over c, t of weight[o, c, t] * x[n, first channel of o's group + c, p * stride - pad + t * dilation].
 */

/** @internal All sizes of a convolution but for batch and channels; its derivatives share it. */
export interface ConvGeometry extends WindowGeometry {
  readonly groups: number;
}

/** @internal The flat ConvSizes of lib/backend/abi.ts. */
export function convSizes(batch: number, inChannels: number, outChannels: number, g: ConvGeometry): number[] {
  const sizes = [batch, g.groups, inChannels, outChannels];
  appendWindow(sizes, g);
  sizes.push(0);
  return sizes;
}

/** The gradient of a bias: the sum over everything but the channels. */
function biasGrad(dy: Tensor): Tensor {
  return sum(dy, { dim: dy.shape.map((_, i) => i).filter((i) => i !== 1) });
}

/** Shapes of legal calls: tails of vectors and tiles, strides that leave a rest, every option, all three ranks. */
interface Case {
  readonly batch: number;
  readonly inChannels: number;
  readonly outChannels: number;
  readonly geometry: ConvGeometry;
  readonly bias: boolean;
  /** Too large for finite differences: compared with the reference only. */
  readonly large?: boolean;
}

function geometry(
  size: readonly number[],
  kernel: readonly number[],
  given: { stride?: number; dilation?: number; pad?: number; after?: number; groups?: number } = {},
): ConvGeometry {
  const { stride = 1, dilation = 1, pad = 0, after = pad, groups = 1 } = given;
  const all = (v: number): number[] => size.map(() => v);
  const out = size.map((s, i) => Math.floor((s + pad + after - dilation * (kernel[i]! - 1) - 1) / stride) + 1);
  return { groups, in: size, kernel, stride: all(stride), dilation: all(dilation), pad: all(pad), out };
}

function cases(): Case[] {
  const c = (
    batch: number,
    inChannels: number,
    outChannels: number,
    g: ConvGeometry,
    more: { bias?: boolean; large?: boolean } = {},
  ): Case => ({ batch, inChannels, outChannels, geometry: g, bias: more.bias ?? true, large: more.large ?? false });
  return [
    c(2, 2, 3, geometry([5, 6], [3, 2], { pad: 1 })),
    c(1, 1, 1, geometry([4, 5], [1, 1]), { bias: false }),
    c(2, 4, 4, geometry([7, 5], [3, 3], { stride: 2, pad: 1, groups: 2 })),
    c(1, 3, 6, geometry([7, 8], [2, 3], { dilation: 2, pad: 1, after: 2, groups: 3 })), // depthwise, multiplier 2
    c(2, 2, 3, geometry([9], [3], { stride: 2, dilation: 2, pad: 2 })),
    c(1, 2, 2, geometry([3, 4, 5], [2, 2, 3], { pad: 1, stride: 2 })),
    c(0, 2, 3, geometry([5, 5], [3, 3], { pad: 1 })),
    c(1, 2, 2, geometry([8, 8], [3, 3], { stride: 3 })), // a rest that no window reaches
    c(1, 1, 2, geometry([1, 1], [3, 3], { pad: 3 })), // more padding than image
    c(2, 17, 19, geometry([13, 21], [3, 3], { pad: 1 }), { large: true }),
    c(1, 24, 24, geometry([9, 33], [5, 5], { pad: 2, groups: 24 }), { large: true }),
    c(1, 16, 32, geometry([14, 14], [3, 3], { stride: 2, pad: 1, groups: 2 }), { large: true }),
    c(3, 33, 18, geometry([7, 19], [1, 1]), { large: true }),
  ];
}

/** What the generated tests feed each of the three ops, from one list of shapes. */
function samples<I extends string, O>(
  make: (shapes: { x: number[]; weight: number[]; y: number[]; of: Case }) => Omit<Sample<I, O>, "skip">,
): Sample<I, O>[] {
  return cases().map((of) => {
    const { batch, inChannels, outChannels, geometry: g, large } = of;
    const x = [batch, inChannels, ...g.in];
    const weight = [outChannels, inChannels / g.groups, ...g.kernel];
    const y = [batch, outChannels, ...g.out];
    const sample = make({ x, weight, y, of });
    return large ? { ...sample, skip: ["gradcheck", "gradgradcheck"] } : sample;
  });
}

/** @internal y = bias + x correlated with weight. The bias is not saved, an operand only if the other needs a gradient. */
export const convOp: Op<"x" | "weight" | "bias", ConvGeometry> = defineOp<"x" | "weight" | "bias", ConvGeometry>({
  name: "conv",
  inputs: ["x", "weight", "bias"],
  forward: ([x, weight, bias], g) => {
    const [batch, inChannels] = x!.shape as [number, number];
    const outChannels = weight!.shape[0]!;
    const y = empty([batch, outChannels, ...g.out], x!.dtype);
    runContiguous(
      "conv",
      x!.dtype,
      convSizes(batch, inChannels, outChannels, g),
      [x!, weight!, bias ?? null, null],
      [y],
    );
    return y;
  },
  gradAll: {
    reads: (needs) => [...(needs("x") ? (["weight"] as const) : []), ...(needs("weight") ? (["x"] as const) : [])],
    formula: (c) => {
      const dx = c.needs("x") ? convInputGradOp([c.dy, c.input("weight"), null], c.options) : null;
      if (!c.needs("weight")) return [dx, null, c.needs("bias") ? biasGrad(c.dy) : null];
      const bias = c.needs("bias");
      const [dweight, dbias = null] = convWeightGradOp.all([c.input("x"), c.dy], weightGradOptions(c.options, bias));
      return [dx, dweight!, dbias];
    },
  },
  samples: () =>
    samples(({ x, weight, of }) => ({
      inputs: { x, weight, bias: of.bias ? [of.outChannels] : null },
      options: of.geometry,
    })),
});

/** @internal The gradient of conv with respect to x, plus a bias [inChannels]: a transposed convolution of dy. */
export const convInputGradOp: Op<"dy" | "weight" | "bias", ConvGeometry> = defineOp<
  "dy" | "weight" | "bias",
  ConvGeometry
>({
  name: "conv_input_grad",
  inputs: ["dy", "weight", "bias"],
  forward: ([dy, weight, bias], g) => {
    const [batch, outChannels] = dy!.shape as [number, number];
    const inChannels = weight!.shape[1]! * g.groups;
    const dx = empty([batch, inChannels, ...g.in], dy!.dtype);
    const sizes = convSizes(batch, inChannels, outChannels, g);
    runContiguous("conv_input_grad", dy!.dtype, sizes, [dy!, weight!, bias ?? null], [dx]);
    return dx;
  },
  gradAll: {
    reads: (needs) => [...(needs("dy") ? (["weight"] as const) : []), ...(needs("weight") ? (["dy"] as const) : [])],
    formula: (c) => [
      c.needs("dy") ? convOp([c.dy, c.input("weight"), null], c.options) : null,
      c.needs("weight") ? convWeightGradOp([c.dy, c.input("dy")], weightGradOptions(c.options, false)) : null,
      c.needs("bias") ? biasGrad(c.dy) : null,
    ],
  },
  samples: () =>
    samples(({ y, weight, of }) => ({
      inputs: { dy: y, weight, bias: of.bias ? [of.inChannels] : null },
      options: of.geometry,
    })),
});

interface WeightGradOptions extends ConvGeometry {
  /** Whether the gradient of the bias is a second output, from the same pass over dy. */
  readonly bias: boolean;
}

/** @internal Of a convolution's geometry, which may come from such options with another bias. */
export function weightGradOptions(g: ConvGeometry, bias: boolean): WeightGradOptions {
  const { groups, kernel, stride, dilation, pad, out } = g;
  return { groups, in: g.in, kernel, stride, dilation, pad, out, bias };
}

/** @internal The gradient of conv with respect to weight, and to the bias where asked for. */
export const convWeightGradOp: Op<"x" | "dy", WeightGradOptions> = defineOp<"x" | "dy", WeightGradOptions>({
  name: "conv_weight_grad",
  inputs: ["x", "dy"],
  forward: ([x, dy], g) => {
    const [batch, inChannels] = x!.shape as [number, number];
    const outChannels = dy!.shape[1]!;
    const dweight = empty([outChannels, inChannels / g.groups, ...g.kernel], x!.dtype);
    const dbias = g.bias ? empty([outChannels], x!.dtype) : null;
    const sizes = convSizes(batch, inChannels, outChannels, g);
    runContiguous("conv_weight_grad", x!.dtype, sizes, [x!, dy!], [dweight, dbias]);
    return dbias === null ? dweight : [dweight, dbias];
  },
  gradAll: {
    reads: (needs) => [...(needs("x") ? (["dy"] as const) : []), ...(needs("dy") ? (["x"] as const) : [])],
    formula: (c) => {
      // Its two outputs are sums of x * dy and of dy: linear in each, so their derivatives are convolutions with the
      // incoming gradients in the weight's and the bias's place.
      const [ddweight = null, ddbias = null] = c.gradients;
      const weight = ddweight ?? filled(weightShape(c.shape("x"), c.shape("dy"), c.options), c.dy.dtype, 0);
      const dx = c.needs("x") ? convInputGradOp([c.input("dy"), weight, null], c.options) : null;
      if (!c.needs("dy")) return [dx, null];
      if (ddweight !== null) return [dx, convOp([c.input("x"), weight, ddbias], c.options)];
      if (ddbias === null) return [dx, null];
      const spatial = c.options.out.map(() => 1);
      return [dx, expand(reshape(ddbias, [1, ddbias.shape[0]!, ...spatial]), c.shape("dy"))];
    },
  },
  samples: () => samples(({ x, y, of }) => ({ inputs: { x, dy: y }, options: { ...of.geometry, bias: of.bias } })),
});

function weightShape(x: readonly number[], dy: readonly number[], g: ConvGeometry): number[] {
  return [dy[1]!, x[1]! / g.groups, ...g.kernel];
}
