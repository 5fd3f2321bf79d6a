import type { DType } from "../core/dtype.js";
import { ArgumentError, DTypeError, ShapeError } from "../core/errors.js";
import { checkOptions } from "../core/options.js";
import { checkShape, describe, format, sameShape } from "../core/shape.js";
import { named, type Tensor } from "../core/tensor.js";
import { checkTensor } from "./kernel.js";
import { planeScatterOp } from "./plane.js";
import { checkPlanes } from "./pool_geometry.js";
import { dimensionName, type PerDimension, perDimension, spatial } from "./window.js";

/** The partial inverse of max pooling: every value goes back to where it was, everything else is 0. */

export interface MaxUnpoolOptions {
  /** As it was in the pooling; default: the window's size. */
  readonly stride?: PerDimension | null;
  /** As it was in the pooling; default 0. */
  readonly padding?: PerDimension;
  /** The spatial sizes (or the whole shape) of the pooling's input, which several sizes may have led to. */
  readonly outputSize?: readonly number[] | null;
}

function maxUnpool(
  call: string,
  dims: number,
  x: Tensor,
  indices: Tensor<"int32">,
  kernelSize: PerDimension,
  options: MaxUnpoolOptions,
): Tensor {
  checkOptions(call, options, ["stride", "padding", "outputSize"]);
  checkPlanes(call, x, dims);
  checkTensor(call, "indices", indices);
  if ((indices.dtype as DType) !== "int32") {
    throw new DTypeError(`${call}: ${named("indices", indices)} must be int32, as max pooling returns them`);
  }
  if (!sameShape(indices.shape, x.shape)) {
    throw new ShapeError(
      `${call}: indices must have the shape ${format(x.shape)} of x, but they are ${format(indices.shape)}`,
    );
  }
  const kernel = perDimension(call, "kernelSize", kernelSize, dims, 1);
  const stride = perDimension(call, "stride", options.stride ?? kernel, dims, 1);
  const pad = perDimension(call, "padding", options.padding ?? 0, dims, 0);
  const usual = spatial(x, dims).map((s, i) => (s - 1) * stride[i]! - 2 * pad[i]! + kernel[i]!);
  let size = usual;
  const given: unknown = options.outputSize;
  if (given !== undefined && given !== null) {
    if (!Array.isArray(given) || (given.length !== dims && given.length !== x.rank)) {
      throw new ArgumentError(
        `${call}: outputSize must have ${dims} or ${x.rank} sizes for x ${format(x.shape)}, got ${describe(given)}`,
      );
    }
    size = checkShape(call, given).slice(given.length - dims);
    size.forEach((s, i) => {
      if (s <= usual[i]! - stride[i]! || s >= usual[i]! + stride[i]!) {
        throw new ShapeError(
          `${call}: outputSize must lie between ${usual[i]! - stride[i]!} and ${usual[i]! + stride[i]!} (both excluded) in dimension ` +
            `${dimensionName(i, dims)} for x ${format(x.shape)}, but ${format(size)} has ${s}`,
        );
      }
    });
  }
  const at = size.findIndex((s) => s < 1);
  if (at >= 0) {
    throw new ShapeError(
      `${call}: the output would have size ${size[at]} in dimension ${dimensionName(at, dims)} for x ${format(x.shape)}, but it must have at least 1`,
    );
  }
  checkShape(call, [...x.shape.slice(0, x.rank - dims), ...size]);
  return planeScatterOp([x, indices], { size, add: false });
}

/**
 * The partial inverse of maxPool1d: zeros, with every value of x at its index in the plane (of equal indices the last stays).
 *
 * Shapes: x and indices [batch, channels, sizes...] or without batch; result the same with sizes
 * (size - 1) * stride - 2 * padding + kernelSize, or outputSize.
 * @throws {IndexError} if an index is outside its plane; {ShapeError} if sizes do not fit
 */
export function maxUnpool1d<D extends DType>(
  x: Tensor<D>,
  indices: Tensor<"int32">,
  kernelSize: PerDimension,
  options: MaxUnpoolOptions = {},
): Tensor<D> {
  return maxUnpool("maxUnpool1d", 1, x, indices, kernelSize, options) as Tensor<D>;
}

/**
 * The partial inverse of maxPool2d: zeros, with every value of x at its index in the plane (of equal indices the last stays).
 *
 * Shapes: x and indices [batch, channels, sizes...] or without batch; result the same with sizes
 * (size - 1) * stride - 2 * padding + kernelSize, or outputSize.
 * @throws {IndexError} if an index is outside its plane; {ShapeError} if sizes do not fit
 */
export function maxUnpool2d<D extends DType>(
  x: Tensor<D>,
  indices: Tensor<"int32">,
  kernelSize: PerDimension,
  options: MaxUnpoolOptions = {},
): Tensor<D> {
  return maxUnpool("maxUnpool2d", 2, x, indices, kernelSize, options) as Tensor<D>;
}

/**
 * The partial inverse of maxPool3d: zeros, with every value of x at its index in the plane (of equal indices the last stays).
 *
 * Shapes: x and indices [batch, channels, sizes...] or without batch; result the same with sizes
 * (size - 1) * stride - 2 * padding + kernelSize, or outputSize.
 * @throws {IndexError} if an index is outside its plane; {ShapeError} if sizes do not fit
 */
export function maxUnpool3d<D extends DType>(
  x: Tensor<D>,
  indices: Tensor<"int32">,
  kernelSize: PerDimension,
  options: MaxUnpoolOptions = {},
): Tensor<D> {
  return maxUnpool("maxUnpool3d", 3, x, indices, kernelSize, options) as Tensor<D>;
}
