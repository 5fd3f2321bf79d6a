import type { DType } from "../core/dtype.js";
import { ArgumentError } from "../core/errors.js";
import { describe } from "../core/shape.js";
import { checkNumber, checkOptions } from "../core/options.js";
import type { Tensor } from "../core/tensor.js";
import { relu } from "./activation.js";
import { avgPool1d, avgPool2d, avgPool3d } from "./avg_pool.js";
import { checkTensor, floating } from "./kernel.js";
import { abs, mul, sign } from "./pointwise.js";
import { pow } from "./power.js";
import { type PerDimension, perDimension } from "./window.js";

/** Power-average pooling: (sum of x^p over the window)^(1/p); p = 1 is the sum, a large p nearly the maximum. */

export interface LpPoolOptions {
  /** Distance of neighbouring windows; default: the window's size. */
  readonly stride?: PerDimension | null;
  /** Whether a last window that passes the end counts (its mean stands for the missing elements). Default false. */
  readonly ceilMode?: boolean;
}

function lpPool(
  call: string,
  dims: 1 | 2 | 3,
  x: Tensor,
  p: number,
  kernelSize: PerDimension,
  options: LpPoolOptions,
): Tensor {
  checkOptions(call, options, ["stride", "ceilMode"]);
  checkNumber(call, "p", p);
  if (p === 0 || !Number.isFinite(p))
    throw new ArgumentError(`${call}: p must be a finite number other than 0, got ${describe(p)}`);
  checkTensor(call, "x", x);
  floating(call, "x", x);
  const kernel = perDimension(call, "kernelSize", kernelSize, dims, 1);
  if (options.stride !== undefined && options.stride !== null) perDimension(call, "stride", options.stride, dims, 1);
  const pool = [avgPool1d, avgPool2d, avgPool3d][dims - 1]!;
  const means = pool(pow(x, p), kernel, options);
  // sign * relu(|.|) changes no value: it stops the infinite derivative of the root where a window is all zeros.
  const sums = mul(
    mul(sign(means), relu(abs(means))),
    kernel.reduce((a, b) => a * b, 1),
  );
  return pow(sums, 1 / p);
}

/**
 * The p-norm of each window without the absolute values, (sum of x^p)^(1/p); gradient 0 where the sum is 0.
 *
 * Shapes: as avgPool1d without padding.
 * @throws {ShapeError} if x has the wrong rank or is smaller than a window; {ArgumentError} if p is 0
 */
export function lpPool1d<D extends DType>(
  x: Tensor<D>,
  p: number,
  kernelSize: PerDimension,
  options: LpPoolOptions = {},
): Tensor<D> {
  return lpPool("lpPool1d", 1, x, p, kernelSize, options) as Tensor<D>;
}

/**
 * The p-norm of each window without the absolute values, (sum of x^p)^(1/p); gradient 0 where the sum is 0.
 *
 * Shapes: as avgPool2d without padding.
 * @throws {ShapeError} if x has the wrong rank or is smaller than a window; {ArgumentError} if p is 0
 */
export function lpPool2d<D extends DType>(
  x: Tensor<D>,
  p: number,
  kernelSize: PerDimension,
  options: LpPoolOptions = {},
): Tensor<D> {
  return lpPool("lpPool2d", 2, x, p, kernelSize, options) as Tensor<D>;
}

/**
 * The p-norm of each window without the absolute values, (sum of x^p)^(1/p); gradient 0 where the sum is 0.
 *
 * Shapes: as avgPool3d without padding.
 * @throws {ShapeError} if x has the wrong rank or is smaller than a window; {ArgumentError} if p is 0
 */
export function lpPool3d<D extends DType>(
  x: Tensor<D>,
  p: number,
  kernelSize: PerDimension,
  options: LpPoolOptions = {},
): Tensor<D> {
  return lpPool("lpPool3d", 3, x, p, kernelSize, options) as Tensor<D>;
}
