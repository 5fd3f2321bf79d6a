import type { DType } from "../core/dtype.js";
import { ArgumentError, ShapeError } from "../core/errors.js";
import { checkChoice, checkOptions } from "../core/options.js";
import { checkShape, describe, format } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import { checkBias, checkPadded, checkPixels, checkWeight, convPadding, type Sides } from "./conv_arguments.js";
import { type ConvGeometry, convInputGradOp } from "./convolution.js";
import { squeeze, unsqueeze } from "./view.js";
import { checkImages, dimensionName, type PerDimension, perDimension, spatial } from "./window.js";

/** Transposed convolutions: the gradient of a convolution with respect to its input, used as a layer that enlarges. */

export interface ConvTransposeOptions<D extends DType = DType> {
  /** One number per output channel. */
  readonly bias?: Tensor<D> | null;
  /** Distance of the windows of neighbouring input elements in the output; default 1. */
  readonly stride?: PerDimension;
  /** Elements cut off the output (the padding of the convolution this is the transpose of); default 0. */
  readonly padding?: PerDimension | readonly (readonly [before: number, after: number])[];
  /** Distance of neighbouring taps; default 1. */
  readonly dilation?: PerDimension;
  /** Independent convolutions that the channels are divided into; default 1. */
  readonly groups?: number;
  /** Elements added to one end of the output, fewer than stride or dilation; default 0. They get all taps that reach. */
  readonly outputPadding?: PerDimension;
  /** The output's spatial sizes (or its whole shape), from which outputPadding is found; up to stride - 1 more than the least. */
  readonly outputSize?: readonly number[] | null;
  /** Only "zeros". */
  readonly paddingMode?: "zeros";
}

const optionNames = ["bias", "stride", "padding", "dilation", "groups", "outputPadding", "outputSize", "paddingMode"];

/** The sizes that a transposed convolution has without output padding: (in - 1) * stride - before - after + dilation * (kernel - 1) + 1. */
function leastSizes(size: readonly number[], g: Omit<ConvGeometry, "in" | "out">, after: readonly number[]): number[] {
  return size.map((s, i) => (s - 1) * g.stride[i]! - g.pad[i]! - after[i]! + g.dilation[i]! * (g.kernel[i]! - 1) + 1);
}

/** Reads `outputSize`: how much each dimension is more than its least size. */
function paddingFor(
  call: string,
  outputSize: unknown,
  x: Tensor,
  least: readonly number[],
  stride: readonly number[],
): number[] {
  const dims = least.length;
  if (!Array.isArray(outputSize) || (outputSize.length !== dims && outputSize.length !== x.rank)) {
    throw new ArgumentError(
      `${call}: outputSize must have ${dims} or ${x.rank} sizes for x ${format(x.shape)}, got ${describe(outputSize)}`,
    );
  }
  const sizes = checkShape(call, outputSize).slice(outputSize.length - dims);
  return sizes.map((s, i) => {
    const most = least[i]! + stride[i]! - 1;
    if (s < least[i]! || s > most) {
      throw new ShapeError(
        `${call}: outputSize ${format(sizes)} is not possible for x ${format(x.shape)}: sizes range from ${format(least)} to ` +
          `${format(least.map((l, j) => l + stride[j]! - 1))}, and ${s} is outside in dimension ${dimensionName(i, dims)}`,
      );
    }
    return s - least[i]!;
  });
}

function checkOutputPadding(
  call: string,
  extra: readonly number[],
  stride: readonly number[],
  dilation: readonly number[],
): void {
  extra.forEach((e, i) => {
    if (e >= stride[i]! && e >= dilation[i]!) {
      throw new ArgumentError(
        `${call}: outputPadding must be smaller than stride or dilation, but ${e} is smaller than neither stride ${stride[i]} nor ` +
          `dilation ${dilation[i]} in dimension ${dimensionName(i, extra.length)}`,
      );
    }
  });
}

function convTranspose<D extends DType>(
  call: string,
  dims: number,
  x: Tensor<D>,
  weight: Tensor<D>,
  options: ConvTransposeOptions<D>,
): Tensor<D> {
  checkOptions(call, options, optionNames);
  const batched = checkImages(call, "x", x, dims);
  const groups = options.groups ?? 1;
  checkWeight(call, x, weight, dims, groups, "[in channels, out channels / groups, kernel sizes...]");
  checkChoice(call, "paddingMode (of a transposed convolution)", options.paddingMode ?? "zeros", ["zeros"]);
  const kernel = weight.shape.slice(2);
  const stride = perDimension(call, "stride", options.stride ?? 1, dims, 1);
  const dilation = perDimension(call, "dilation", options.dilation ?? 1, dims, 1);
  if (typeof options.padding === "string") {
    throw new ArgumentError(
      `${call}: padding must be in numbers for a transposed convolution, got ${describe(options.padding)}`,
    );
  }
  const sides: Sides = convPadding(call, options.padding ?? 0, kernel, stride, dilation);
  const channels = x.shape[x.rank - dims - 1]!;
  if (channels !== weight.shape[0]) {
    throw new ShapeError(
      `${call}: weight ${format(weight.shape)} takes ${weight.shape[0]} input channels, but x ${format(x.shape)} has ${channels}`,
    );
  }
  const outChannels = weight.shape[1]! * groups;
  const bias = checkBias(call, x, options.bias, outChannels);
  checkPixels(call, "x", x, dims);
  const size = spatial(x, dims);
  const part = { groups, kernel, stride, dilation, pad: sides.before };
  const least = leastSizes(size, part, sides.after);
  let extra: number[];
  if (options.outputSize === undefined || options.outputSize === null) {
    extra = perDimension(call, "outputPadding", options.outputPadding ?? 0, dims, 0);
    checkOutputPadding(call, extra, stride, dilation);
  } else {
    extra = paddingFor(call, options.outputSize, x, least, stride);
  }
  const out = least.map((l, i) => l + extra[i]!);
  const smallest = batched && x.shape[0] === 0 ? 0 : 1; // a batch of nothing may have images of nothing
  out.forEach((o, i) => {
    if (o < smallest) {
      throw new ShapeError(
        `${call}: the output would have size ${o} = (${size[i]} - 1)*${stride[i]} - ${sides.before[i]! + sides.after[i]!} + ` +
          `${dilation[i]}*(${kernel[i]}-1) + ${extra[i]} + 1 in dimension ${dimensionName(i, dims)}, but it must have at least ${smallest}`,
      );
    }
  });
  checkPadded(
    call,
    out.map((o, i) => o + sides.before[i]! + sides.after[i]!),
  );
  checkShape(call, [batched ? x.shape[0]! : 1, outChannels, ...out]);
  const y = convInputGradOp([batched ? x : unsqueeze(x, 0), weight, bias], { in: out, out: size, ...part });
  return (batched ? y : squeeze(y, 0)) as Tensor<D>;
}

/**
 * Transposed convolution of signals.
 *
 * Shapes: x [batch, inChannels, width] or [inChannels, width], weight [inChannels, outChannels / groups, kernelWidth],
 * bias [outChannels]; result [batch, outChannels, out] with out = (width - 1) * stride - 2 * padding +
 * dilation * (kernelWidth - 1) + outputPadding + 1.
 * @throws {ShapeError} if sizes do not fit; {ArgumentError} for options out of range; {DTypeError} for mixed types
 */
export function convTranspose1d<D extends DType>(
  x: Tensor<D>,
  weight: Tensor<D>,
  options: ConvTransposeOptions<D> = {},
): Tensor<D> {
  return convTranspose("convTranspose1d", 1, x, weight, options);
}

/**
 * Transposed convolution of images. With stride 1 and no padding it is the full convolution (kernel flipped).
 *
 * Shapes: x [batch, inChannels, height, width] or without batch, weight [inChannels, outChannels / groups,
 * kernelHeight, kernelWidth], bias [outChannels]; result [batch, outChannels, ...] with sizes
 * (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + outputPadding + 1.
 * @throws {ShapeError} if sizes do not fit; {ArgumentError} for options out of range; {DTypeError} for mixed types
 */
export function convTranspose2d<D extends DType>(
  x: Tensor<D>,
  weight: Tensor<D>,
  options: ConvTransposeOptions<D> = {},
): Tensor<D> {
  return convTranspose("convTranspose2d", 2, x, weight, options);
}

/**
 * Transposed convolution of volumes: convTranspose2d with a depth.
 *
 * Shapes: x [batch, inChannels, depth, height, width] or without batch, weight [inChannels, outChannels / groups,
 * kernelDepth, kernelHeight, kernelWidth], bias [outChannels]; result as convTranspose2d.
 * @throws {ShapeError} if sizes do not fit; {ArgumentError} for options out of range; {DTypeError} for mixed types
 */
export function convTranspose3d<D extends DType>(
  x: Tensor<D>,
  weight: Tensor<D>,
  options: ConvTransposeOptions<D> = {},
): Tensor<D> {
  return convTranspose("convTranspose3d", 3, x, weight, options);
}
