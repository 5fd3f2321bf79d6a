import type { DType } from "../core/dtype.js";
import { ShapeError } from "../core/errors.js";
import { checkInteger, checkNumber, checkOptions } from "../core/options.js";
import { format } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import { cat } from "./join.js";
import { checkTensor, filled, floating } from "./kernel.js";
import { add, div, mul, square } from "./pointwise.js";
import { pow } from "./power.js";
import { narrow } from "./view.js";

/**
 * Local response normalisation (Krizhevsky et al. 2012): x / (k + alpha * mean of x² over `size` neighbouring channels)^beta,
 * where channels outside count as 0. alpha is 1e-4, beta 0.75, k 1 by default.
 *
 * Shapes: x [batch, channels, ...] with at least 3 dimensions; result as x.
 */
export function localResponseNorm<D extends DType>(
  x: Tensor<D>,
  size: number,
  options: { alpha?: number; beta?: number; k?: number } = {},
): Tensor<D> {
  const call = "localResponseNorm";
  checkTensor(call, "x", x);
  floating(call, "x", x);
  checkInteger(call, "size", size, 1);
  checkOptions(call, options, ["alpha", "beta", "k"]);
  const alpha = checkNumber(call, "alpha", options.alpha ?? 1e-4);
  const beta = checkNumber(call, "beta", options.beta ?? 0.75);
  const k = checkNumber(call, "k", options.k ?? 1);
  if (x.rank < 3) {
    throw new ShapeError(
      `${call}: x must be [batch, channels, ...] with at least 3 dimensions, but it is ${format(x.shape)}`,
    );
  }
  const channels = x.shape[1]!;
  const zeros = (count: number): Tensor<D> =>
    filled([x.shape[0]!, Math.min(count, channels), ...x.shape.slice(2)], x.dtype, 0);
  const squares = square(x);
  // Shifts beyond the channels see nothing but padding.
  const before = Math.min(Math.floor(size / 2), channels);
  const after = Math.min(Math.floor((size - 1) / 2), channels);
  const padded = cat([zeros(before), squares, zeros(after)], 1);
  let total = narrow(padded, 1, 0, channels);
  for (let i = 1; i <= before + after; i++) total = add(total, narrow(padded, 1, i, channels));
  return div(x, pow(add(mul(total, alpha / size), k), beta));
}
