import type { DType } from "../core/dtype.js";
import { ArgumentError, DTypeError, ShapeError } from "../core/errors.js";
import { checkOptions } from "../core/options.js";
import { checkShape, describe, format, sameShape, type Shape } from "../core/shape.js";
import { named, type Tensor } from "../core/tensor.js";
import type { ConvPadding } from "./conv.js";
import { checkWeight, convOutput, convPadding, weightLayout } from "./conv_arguments.js";
import { type ConvGeometry, convInputGradOp, convWeightGradOp, weightGradOptions } from "./convolution.js";
import { checkTensor } from "./kernel.js";
import { squeeze, unsqueeze } from "./view.js";
import { checkImages, imageLayout, type PerDimension, perDimension } from "./window.js";

/**
 * The gradients of a convolution as functions of their own. The size that is asked for must be given, because with a
 * stride above 1 several sizes give the same output.
 */

export interface ConvGradientOptions {
  /** Distance of neighbouring windows; default 1. */
  readonly stride?: PerDimension;
  /** Elements added around the input; default 0. */
  readonly padding?: ConvPadding;
  /** Distance of neighbouring taps; default 1. */
  readonly dilation?: PerDimension;
  /** Independent convolutions that the channels are divided into; default 1. */
  readonly groups?: number;
}

/** The geometry of a convolution from the shapes of its input and weight, and a gradient that must fit its output. */
function readGeometry(
  call: string,
  dims: number,
  x: Shape,
  weight: Shape,
  gradOutput: Tensor,
  options: ConvGradientOptions,
): ConvGeometry {
  const groups = options.groups ?? 1;
  const kernel = weight.slice(2);
  const stride = perDimension(call, "stride", options.stride ?? 1, dims, 1);
  const dilation = perDimension(call, "dilation", options.dilation ?? 1, dims, 1);
  const sides = convPadding(call, options.padding ?? 0, kernel, stride, dilation);
  const channels = x[x.length - dims - 1]!;
  if (channels !== weight[1]! * groups) {
    throw new ShapeError(
      `${call}: weight ${format(weight)} with groups ${groups} takes ${weight[1]! * groups} input channels, but the input ${format(x)} has ${channels}`,
    );
  }
  const size = x.slice(x.length - dims);
  const out = convOutput(call, size, kernel, stride, dilation, sides);
  const expected = [...x.slice(0, x.length - dims - 1), weight[0]!, ...out];
  if (!sameShape(gradOutput.shape, expected)) {
    throw new ShapeError(
      `${call}: the convolution of ${format(x)} with weight ${format(weight)} is ${format(expected)}, but gradOutput is ${format(gradOutput.shape)}`,
    );
  }
  return { groups, in: size, kernel, stride, dilation, pad: sides.before, out };
}

const optionNames = ["stride", "padding", "dilation", "groups"];

function convInput(
  call: string,
  dims: number,
  inputShape: Shape,
  weight: Tensor,
  gradOutput: Tensor,
  options: ConvGradientOptions,
): Tensor {
  checkOptions(call, options, optionNames);
  const batched = checkImages(call, "gradOutput", gradOutput, dims);
  checkWeight(call, gradOutput, weight, dims, options.groups ?? 1, weightLayout);
  const shape = checkShape(call, inputShape);
  if (shape.length !== gradOutput.rank) {
    throw new ShapeError(
      `${call}: inputShape must be ${imageLayout(dims)}, with batch if gradOutput ${format(gradOutput.shape)} has one, but it is ${format(shape)}`,
    );
  }
  const geometry = readGeometry(call, dims, shape, weight.shape, gradOutput, options);
  const dx = convInputGradOp([batched ? gradOutput : unsqueeze(gradOutput, 0), weight, null], geometry);
  return batched ? dx : squeeze(dx, 0);
}

function convWeight(
  call: string,
  dims: number,
  x: Tensor,
  weightShape: Shape,
  gradOutput: Tensor,
  options: ConvGradientOptions,
): Tensor {
  checkOptions(call, options, optionNames);
  const batched = checkImages(call, "x", x, dims);
  checkTensor(call, "gradOutput", gradOutput);
  if (gradOutput.dtype !== x.dtype) {
    throw new DTypeError(`${call}: ${named("x", x)} and ${named("gradOutput", gradOutput)} must have the same dtype`);
  }
  const shape = checkShape(call, weightShape);
  if (shape.length !== dims + 2) {
    throw new ShapeError(
      `${call}: weightShape must have ${dims + 2} sizes ${weightLayout}, but it is ${format(shape)}`,
    );
  }
  const groups = options.groups ?? 1;
  if (!Number.isInteger(groups) || groups < 1 || shape[0]! < groups || shape[0]! % groups !== 0) {
    throw new ArgumentError(
      `${call}: groups must be an integer of at least 1 that divides the ${shape[0]} output channels of weightShape, got ${describe(groups)}`,
    );
  }
  if (shape.slice(2).includes(0)) {
    throw new ShapeError(`${call}: the kernel needs at least one tap, but weightShape is ${format(shape)}`);
  }
  const geometry = readGeometry(call, dims, x.shape, shape, gradOutput, options);
  const [images, gradients] = batched ? [x, gradOutput] : [unsqueeze(x, 0), unsqueeze(gradOutput, 0)];
  return convWeightGradOp([images, gradients], weightGradOptions(geometry, false));
}

/**
 * The gradient of conv1d with respect to its input.
 *
 * Shapes: inputShape that of the input, weight and options those of conv1d, gradOutput that of its result; result inputShape.
 * @throws {ShapeError} if the shapes are not those of one convolution
 */
export function conv1dInput<D extends DType>(
  inputShape: Shape,
  weight: Tensor<D>,
  gradOutput: Tensor<D>,
  options: ConvGradientOptions = {},
): Tensor<D> {
  return convInput("conv1dInput", 1, inputShape, weight, gradOutput, options) as Tensor<D>;
}

/**
 * The gradient of conv1d with respect to its weight.
 *
 * Shapes: x and options those of conv1d, weightShape that of its weight, gradOutput that of its result; result weightShape.
 * @throws {ShapeError} if the shapes are not those of one convolution
 */
export function conv1dWeight<D extends DType>(
  x: Tensor<D>,
  weightShape: Shape,
  gradOutput: Tensor<D>,
  options: ConvGradientOptions = {},
): Tensor<D> {
  return convWeight("conv1dWeight", 1, x, weightShape, gradOutput, options) as Tensor<D>;
}

/**
 * The gradient of conv2d with respect to its input.
 *
 * Shapes: inputShape that of the input, weight and options those of conv2d, gradOutput that of its result; result inputShape.
 * @throws {ShapeError} if the shapes are not those of one convolution
 */
export function conv2dInput<D extends DType>(
  inputShape: Shape,
  weight: Tensor<D>,
  gradOutput: Tensor<D>,
  options: ConvGradientOptions = {},
): Tensor<D> {
  return convInput("conv2dInput", 2, inputShape, weight, gradOutput, options) as Tensor<D>;
}

/**
 * The gradient of conv2d with respect to its weight.
 *
 * Shapes: x and options those of conv2d, weightShape that of its weight, gradOutput that of its result; result weightShape.
 * @throws {ShapeError} if the shapes are not those of one convolution
 */
export function conv2dWeight<D extends DType>(
  x: Tensor<D>,
  weightShape: Shape,
  gradOutput: Tensor<D>,
  options: ConvGradientOptions = {},
): Tensor<D> {
  return convWeight("conv2dWeight", 2, x, weightShape, gradOutput, options) as Tensor<D>;
}

/**
 * The gradient of conv3d with respect to its input.
 *
 * Shapes: inputShape that of the input, weight and options those of conv3d, gradOutput that of its result; result inputShape.
 * @throws {ShapeError} if the shapes are not those of one convolution
 */
export function conv3dInput<D extends DType>(
  inputShape: Shape,
  weight: Tensor<D>,
  gradOutput: Tensor<D>,
  options: ConvGradientOptions = {},
): Tensor<D> {
  return convInput("conv3dInput", 3, inputShape, weight, gradOutput, options) as Tensor<D>;
}

/**
 * The gradient of conv3d with respect to its weight.
 *
 * Shapes: x and options those of conv3d, weightShape that of its weight, gradOutput that of its result; result weightShape.
 * @throws {ShapeError} if the shapes are not those of one convolution
 */
export function conv3dWeight<D extends DType>(
  x: Tensor<D>,
  weightShape: Shape,
  gradOutput: Tensor<D>,
  options: ConvGradientOptions = {},
): Tensor<D> {
  return convWeight("conv3dWeight", 3, x, weightShape, gradOutput, options) as Tensor<D>;
}
