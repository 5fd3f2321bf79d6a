import { ArgumentError, DTypeError, ShapeError } from "../core/errors.js";
import { checkChoice, checkInteger } from "../core/options.js";
import { describe, format } from "../core/shape.js";
import { named, type Tensor } from "../core/tensor.js";
import { checkTensor, floating } from "./kernel.js";
import { dimensionName, paddedFormula, perDimension, spatial } from "./window.js";

/** The arguments that all convolutions share: read, and refused before anything is computed. */

/** Padding before and after each spatial dimension. */
export interface Sides {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

/** Reads a convolution's `padding`. `kernel` is the kernel's size, which "same" depends on. */
export function convPadding(
  call: string,
  padding: unknown,
  kernel: readonly number[],
  stride: readonly number[],
  dilation: readonly number[],
): Sides {
  const dims = kernel.length;
  if (typeof padding === "string") {
    checkChoice(call, "padding", padding, ["same", "valid"]);
    if (padding === "valid") return { before: kernel.map(() => 0), after: kernel.map(() => 0) };
    if (stride.some((s) => s !== 1)) {
      throw new ArgumentError(
        `${call}: padding "same" needs all strides to be 1, but stride is ${format(stride)}; give the padding in numbers`,
      );
    }
    const total = kernel.map((k, i) => dilation[i]! * (k - 1));
    const before = total.map((t) => Math.floor(t / 2));
    return { before, after: total.map((t, i) => t - before[i]!) };
  }
  if (Array.isArray(padding) && padding.some((p) => Array.isArray(p))) {
    const pairs = padding.length === 1 ? new Array<unknown>(dims).fill(padding[0]) : padding;
    if (pairs.length !== dims || pairs.some((p) => !Array.isArray(p) || p.length !== 2)) {
      throw new ArgumentError(
        `${call}: padding in pairs must be ${dims} pairs [before, after], one per dimension, got ${describe(padding)}`,
      );
    }
    const side = (at: 0 | 1): number[] =>
      (pairs as unknown[][]).map((p, i) => checkInteger(call, `padding[${i}][${at}]`, p[at], 0));
    return { before: side(0), after: side(1) };
  }
  const both = perDimension(call, "padding", padding, dims, 0);
  return { before: both, after: both };
}

/** Elements along a padded dimension: kernels write positions in it, and distances between two, as int32. */
const mostPadded = 2 ** 30 - 1;

/** Refuses padding, strides and dilations that reach farther than `mostPadded`. */
export function checkPadded(call: string, padded: readonly number[]): void {
  for (const [i, length] of padded.entries()) {
    if (length > mostPadded) {
      throw new ShapeError(
        `${call}: the padded image must have at most ${mostPadded} elements in dimension ${dimensionName(i, padded.length)}, ` +
          `but padding, stride and dilation make it ${length}`,
      );
    }
  }
}

/** How many windows fit, per dimension: floor((size + before + after - dilation * (kernel - 1) - 1) / stride) + 1. */
export function convOutput(
  call: string,
  size: readonly number[],
  kernel: readonly number[],
  stride: readonly number[],
  dilation: readonly number[],
  { before, after }: Sides,
): number[] {
  const paddedSize = size.map((s, i) => s + before[i]! + after[i]!);
  checkPadded(call, paddedSize);
  return size.map((s, i) => {
    const padded = paddedSize[i]!;
    const reach = dilation[i]! * (kernel[i]! - 1) + 1;
    if (padded < reach) {
      throw new ShapeError(
        `${call}: padded input ${padded} = ${paddedFormula(s, before[i]!, after[i]!)} is smaller than the dilated kernel ` +
          `${reach} = ${dilation[i]}*(${kernel[i]}-1)+1 in dimension ${dimensionName(i, size.length)}`,
      );
    }
    return Math.floor((padded - reach) / stride[i]!) + 1;
  });
}

/** Refuses a weight of the wrong kind, type or rank, with an empty kernel, or that groups do not divide. */
export function checkWeight(
  call: string,
  x: Tensor,
  weight: unknown,
  dims: number,
  groups: unknown,
  layout: string,
): asserts weight is Tensor {
  checkTensor(call, "weight", weight);
  floating(call, "weight", weight);
  if (weight.dtype !== x.dtype) {
    throw new DTypeError(
      `${call}: ${named("x", x)} and ${named("weight", weight)} must have the same dtype; convert one with .to("${x.dtype}")`,
    );
  }
  if (weight.rank !== dims + 2) {
    throw new ShapeError(
      `${call}: weight must have ${dims + 2} dimensions ${layout}, but it is ${format(weight.shape)}`,
    );
  }
  for (let i = 2; i < weight.rank; i++) {
    if (weight.shape[i] === 0) {
      throw new ShapeError(
        `${call}: the kernel needs at least one tap in dimension ${dimensionName(i - 2, dims)}, but weight is ${format(weight.shape)}`,
      );
    }
  }
  checkInteger(call, "groups", groups, 1);
  const first = weight.shape[0]!;
  if (first < (groups as number)) {
    throw new ShapeError(
      `${call}: weight ${format(weight.shape)} with groups ${groups} needs at least ${groups} in its first dimension, but has ${first}`,
    );
  }
  if (first % (groups as number) !== 0) {
    throw new ShapeError(
      `${call}: the first dimension of weight ${format(weight.shape)} must be divisible by groups ${groups}, but ${first} is not`,
    );
  }
}

/** Refuses a bias that is not one number of x's type per output channel. */
export function checkBias(call: string, x: Tensor, bias: unknown, channels: number): Tensor | null {
  if (bias === undefined || bias === null) return null;
  checkTensor(call, "bias", bias);
  if (bias.dtype !== x.dtype) {
    throw new DTypeError(
      `${call}: ${named("x", x)} and ${named("bias", bias)} must have the same dtype; convert one with .to("${x.dtype}")`,
    );
  }
  if (bias.rank !== 1 || bias.shape[0] !== channels) {
    throw new ShapeError(
      `${call}: bias must be [${channels}], one number per output channel, but it is ${format(bias.shape)}`,
    );
  }
  return bias;
}

/** Refuses images without pixels, unless there are no images. */
export function checkPixels(call: string, argument: string, x: Tensor, dims: number): void {
  if (x.rank === dims + 2 && x.shape[0] === 0) return;
  const size = spatial(x, dims);
  const at = size.indexOf(0);
  if (at >= 0) {
    throw new ShapeError(
      `${call}: ${argument} ${format(x.shape)} has size 0 in dimension ${dimensionName(at, dims)}; only the batch or the channels may be empty`,
    );
  }
}

/** The layout of a convolution's weight, for messages. */
export const weightLayout = "[out channels, in channels / groups, kernel sizes...]";
