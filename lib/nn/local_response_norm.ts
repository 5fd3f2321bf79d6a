import type { DType } from "../core/dtype.js";
import { ShapeError } from "../core/errors.js";
import { checkInteger, checkNumber, checkOptions } from "../core/options.js";
import { format, numel, type Shape } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import { avgPool2d } from "../ops/avg_pool.js";
import { pad } from "../ops/pad.js";
import { add, div, mul, square } from "../ops/pointwise.js";
import { pow } from "../ops/power.js";
import { reshape } from "../ops/view.js";
import { Module } from "./module.js";
import { float } from "./print.js";

export interface LocalResponseNormOptions {
  /** Default 1e-4. */
  readonly alpha?: number;
  /** Default 0.75. */
  readonly beta?: number;
  /** Default 1. */
  readonly k?: number;
}

/**
 * x / (k + alpha * mean of x² over `size` neighbouring channels)^beta, channels past the ends being zeros (Krizhevsky et
 * al. 2012).
 *
 * Shapes: x [batch, channels, ...] with at least 3 dimensions; result as x.
 * @throws {ShapeError} if x has fewer than 3 dimensions
 */
export function localResponseNorm<D extends DType>(
  x: Tensor<D>,
  size: number,
  options: LocalResponseNormOptions = {},
): Tensor<D> {
  const call = "localResponseNorm";
  checkOptions(call, options, ["alpha", "beta", "k"]);
  checkInteger(call, "size", size, 1);
  const alpha = checkNumber(call, "alpha", options.alpha ?? 1e-4);
  const beta = checkNumber(call, "beta", options.beta ?? 0.75);
  const k = checkNumber(call, "k", options.k ?? 1);
  if (x.rank < 3)
    throw new ShapeError(
      `${call}: x must be [batch, channels, ...] with at least 3 dimensions, but it is ${format(x.shape)}`,
    );
  if (x.numel() === 0) return x;
  const [batch, channels] = x.shape as [number, number];
  // Channels as the height of an image: the mean over neighbours is an average pool.
  const image = reshape(square(x), [batch, 1, channels, numel(x.shape.slice(2))]);
  const padded = pad(image, [0, 0, Math.floor(size / 2), Math.floor((size - 1) / 2)]);
  const neighbours = reshape(avgPool2d(padded, [size, 1], { stride: 1 }), x.shape);
  return div(x, pow(add(mul(neighbours, alpha), k), beta)) as Tensor<D>;
}

/** `localResponseNorm` as a module. */
export class LocalResponseNorm extends Module {
  readonly size: number;
  readonly alpha: number;
  readonly beta: number;
  readonly k: number;

  constructor(size: number, options: LocalResponseNormOptions = {}) {
    super();
    checkOptions("LocalResponseNorm", options, ["alpha", "beta", "k"]);
    this.size = checkInteger("LocalResponseNorm", "size", size, 1);
    this.alpha = checkNumber("LocalResponseNorm", "alpha", options.alpha ?? 1e-4);
    this.beta = checkNumber("LocalResponseNorm", "beta", options.beta ?? 0.75);
    this.k = checkNumber("LocalResponseNorm", "k", options.k ?? 1);
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return localResponseNorm(x, this.size, { alpha: this.alpha, beta: this.beta, k: this.k });
  }

  override extraText(): string {
    return `${this.size}, alpha=${float(this.alpha)}, beta=${float(this.beta)}, k=${float(this.k)}`;
  }

  override flops(_input: Shape, output: Shape): number {
    return numel(output) * (this.size + 4);
  }
}
