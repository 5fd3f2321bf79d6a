import type { DType } from "../core/dtype.js";
import { ShapeError } from "../core/errors.js";
import { checkChoice, checkOptions } from "../core/options.js";
import { checkShape, format } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import {
  checkBias,
  checkPixels,
  checkWeight,
  convOutput,
  convPadding,
  type Sides,
  weightLayout,
} from "./conv_arguments.js";
import { type ConvGeometry, convOp } from "./convolution.js";
import { type PaddingMode, padImages, paddingModes } from "./padding.js";
import { squeeze, unsqueeze } from "./view.js";
import { checkImages, type PerDimension, perDimension, spatial } from "./window.js";

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
