import type { DType } from "../core/dtype.js";
import { ArgumentError, DTypeError, ShapeError } from "../core/errors.js";
import { checkChoice, checkInteger, checkOptions } from "../core/options.js";
import { checkShape, describe, format } from "../core/shape.js";
import { named, type Tensor } from "../core/tensor.js";
import { type ConvGeometry, convOp } from "./convolution.js";
import { floating } from "./kernel.js";
import { type PaddingMode, padImages, paddingModes } from "./pad.js";
import { squeeze, unsqueeze } from "./view.js";
import {
  checkImages,
  checkTensor,
  dimensionName,
  paddedFormula,
  type PerDimension,
  perDimension,
  spatial,
} from "./window.js";

/** Convolutions as layers compute them: cross-correlation, without flipping the kernel. */

/**
 * One number for all sides; one per dimension; "same" (the output has the input's size; strides must be 1; an odd
 * total has the larger half behind); "valid" (none); or a pair [before, after] per dimension.
 */
export type ConvPadding = PerDimension | "same" | "valid" | readonly (readonly [before: number, after: number])[];

export interface ConvOptions<D extends DType = DType> {
  /** One number per output channel. */
  readonly bias?: Tensor<D> | null;
  /** Distance of neighbouring windows; default 1. */
  readonly stride?: PerDimension;
  /** Elements added around the input; default 0. */
  readonly padding?: ConvPadding;
  /** Distance of neighbouring taps; default 1. */
  readonly dilation?: PerDimension;
  /** Independent convolutions that the channels are divided into; default 1. */
  readonly groups?: number;
  /** What padding holds: zeros (default), the image mirrored, its edge, or its other end. */
  readonly paddingMode?: PaddingMode;
}

const optionNames = ["bias", "stride", "padding", "dilation", "groups", "paddingMode"];

/** @internal Padding before and after each spatial dimension. */
export interface Sides {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

/** @internal Reads a convolution's `padding`. `kernel` is the kernel's size, which "same" depends on. */
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

/** @internal How many windows fit, per dimension: floor((size + before + after - dilation * (kernel - 1) - 1) / stride) + 1. */
export function convOutput(
  call: string,
  size: readonly number[],
  kernel: readonly number[],
  stride: readonly number[],
  dilation: readonly number[],
  { before, after }: Sides,
): number[] {
  return size.map((s, i) => {
    const padded = s + before[i]! + after[i]!;
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

/** @internal Refuses a weight of the wrong kind, type or rank, with an empty kernel, or that groups do not divide. */
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

/** @internal Refuses a bias that is not one number of x's type per output channel. */
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

/** @internal Refuses images without pixels, unless there are no images. */
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

/** @internal The layout of a convolution's weight, for messages. */
export const weightLayout = "[out channels, in channels / groups, kernel sizes...]";

/** What a convolution computes, read from its arguments and checked before anything is done. */
interface ConvCall {
  readonly geometry: ConvGeometry;
  /** Padding to be made beforehand, where it is not zeros. */
  readonly made: Sides | null;
  readonly mode: PaddingMode;
  readonly bias: Tensor | null;
  readonly batched: boolean;
}

function readCall(call: string, dims: number, x: unknown, weight: unknown, options: ConvOptions): ConvCall {
  checkOptions(call, options, optionNames);
  const batched = checkImages(call, "x", x, dims);
  const image = x as Tensor;
  const groups = options.groups ?? 1;
  checkWeight(call, image, weight, dims, groups, weightLayout);
  const mode = checkChoice(call, "paddingMode", options.paddingMode ?? "zeros", paddingModes);
  const kernel = weight.shape.slice(2);
  const stride = perDimension(call, "stride", options.stride ?? 1, dims, 1);
  const dilation = perDimension(call, "dilation", options.dilation ?? 1, dims, 1);
  const sides = convPadding(call, options.padding ?? 0, kernel, stride, dilation);
  const channels = image.shape[image.rank - dims - 1]!;
  const takes = weight.shape[1]! * groups;
  if (channels !== takes) {
    throw new ShapeError(
      `${call}: weight ${format(weight.shape)} with groups ${groups} takes ${takes} input channels, but x ${format(image.shape)} has ${channels}`,
    );
  }
  const bias = checkBias(call, image, options.bias, weight.shape[0]!);
  checkPixels(call, "x", image, dims);
  const size = spatial(image, dims);
  const out = convOutput(call, size, kernel, stride, dilation, sides);
  checkShape(call, [batched ? image.shape[0]! : 1, weight.shape[0]!, ...out]);
  const pads = mode !== "zeros" && [...sides.before, ...sides.after].some((p) => p > 0);
  const padded = pads ? size.map((s, i) => s + sides.before[i]! + sides.after[i]!) : size;
  const pad = pads ? kernel.map(() => 0) : sides.before;
  return {
    geometry: { groups, in: padded, kernel, stride, dilation, pad, out },
    made: pads ? sides : null,
    mode,
    bias,
    batched,
  };
}

function convolution<D extends DType>(
  call: string,
  dims: number,
  x: Tensor<D>,
  weight: Tensor<D>,
  options: ConvOptions<D>,
): Tensor<D> {
  const { geometry, made, mode, bias, batched } = readCall(call, dims, x, weight, options);
  let images: Tensor = batched ? x : unsqueeze(x, 0);
  if (made !== null && mode !== "zeros") images = padImages(call, images, made, mode);
  const y = convOp([images, weight, bias], geometry);
  return (batched ? y : squeeze(y, 0)) as Tensor<D>;
}

/**
 * Cross-correlation of signals with kernels, what a 1-d convolution layer computes.
 *
 * Shapes: x [batch, inChannels, width] or [inChannels, width], weight [outChannels, inChannels / groups, kernelWidth],
 * bias [outChannels]; result [batch, outChannels, out] with out = floor((width + padding before and after -
 * dilation * (kernelWidth - 1) - 1) / stride) + 1.
 * @throws {ShapeError} if sizes do not fit; {ArgumentError} for options out of range; {DTypeError} for mixed types
 */
export function conv1d<D extends DType>(x: Tensor<D>, weight: Tensor<D>, options: ConvOptions<D> = {}): Tensor<D> {
  return convolution("conv1d", 1, x, weight, options);
}

/**
 * Cross-correlation of images with kernels, what a convolution layer computes.
 *
 * Shapes: x [batch, inChannels, height, width] or [inChannels, height, width], weight [outChannels, inChannels / groups,
 * kernelHeight, kernelWidth], bias [outChannels]; result [batch, outChannels, outHeight, outWidth], each
 * floor((size + padding before and after - dilation * (kernel - 1) - 1) / stride) + 1.
 *
 * Without input channels the result is the bias alone (PyTorch gives no output channels).
 * @throws {ShapeError} if sizes do not fit; {ArgumentError} for options out of range; {DTypeError} for mixed types
 */
export function conv2d<D extends DType>(x: Tensor<D>, weight: Tensor<D>, options: ConvOptions<D> = {}): Tensor<D> {
  return convolution("conv2d", 2, x, weight, options);
}

/**
 * Cross-correlation of volumes with kernels: conv2d with a depth.
 *
 * Shapes: x [batch, inChannels, depth, height, width] or without batch, weight [outChannels, inChannels / groups,
 * kernelDepth, kernelHeight, kernelWidth], bias [outChannels]; result [batch, outChannels, ...] as conv2d.
 * @throws {ShapeError} if sizes do not fit; {ArgumentError} for options out of range; {DTypeError} for mixed types
 */
export function conv3d<D extends DType>(x: Tensor<D>, weight: Tensor<D>, options: ConvOptions<D> = {}): Tensor<D> {
  return convolution("conv3d", 3, x, weight, options);
}
