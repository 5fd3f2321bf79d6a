import { unrecorded } from "../autograd/mode.js";
import type { DType } from "../core/dtype.js";
import { checkChoice, checkNumber, checkOptions } from "../core/options.js";
import type { Tensor } from "../core/tensor.js";
import { clampBetween } from "./activation.js";
import { eq, ne } from "./compare.js";
import { amax, amin } from "./extremes.js";
import { checkTensor, floating } from "./kernel.js";
import { installMethods } from "./methods.js";
import { abs, add, div, exp, log, mul, sqrt, square, sub } from "./pointwise.js";
import { pow } from "./power.js";
import { dimsToReduce, type ReduceOptions, reduceOptions, sum } from "./reduce.js";
import { reshape, squeeze } from "./view.js";
import { where } from "./where.js";

/** Norms of vectors, and the logarithm of a sum of exponentials. */

type Dims = ReduceOptions | number | readonly number[];

/** @internal A square root whose derivative at 0 is 0. */
export function rootOrZero(x: Tensor): Tensor {
  const zero = eq(x, 0);
  return where(zero, 0, sqrt(where(zero, 1, x)));
}

export interface NormOptions extends ReduceOptions {
  /** Which norm: any number, Infinity or -Infinity; default 2 ("fro" is the same). */
  readonly p?: number | "fro";
}

/**
 * The p-norm over all elements, or over `dim`: (sum |x|^p)^(1/p); 0 counts elements that are not 0, Infinity and
 * -Infinity are the largest and smallest |x|. The derivative of norm 0 is 0.
 */
export function norm<D extends DType>(x: Tensor<D>, options: NormOptions | number | "fro" = {}): Tensor<D> {
  checkTensor("norm", "x", x);
  floating("norm", "x", x);
  const given: NormOptions = typeof options === "object" ? options : { p: options };
  checkOptions("norm", given, ["p", "dim", "keepdim"]);
  if (typeof given.p === "string") checkChoice("norm", "p", given.p, ["fro"]);
  const p = typeof given.p === "string" ? 2 : (given.p ?? 2);
  checkNumber("norm", "p", p);
  const dims = dimsToReduce("norm", given.dim, x.rank);
  const keepdim = given.keepdim ?? false;
  const total = (t: Tensor): Tensor => (x.rank === 0 ? reshape(t, []) : sum(t, { dim: dims, keepdim }));
  const y = ((): Tensor => {
    if (p === 2) return rootOrZero(total(square(x)));
    if (p === 1) return total(abs(x));
    if (p === 0) return total(where(ne(x, 0), 1, mul(x, 0))); // part of the graph, with derivative 0
    if (p === Infinity) return amax(abs(x) as Tensor, { dim: dims, keepdim });
    if (p === -Infinity) return amin(abs(x) as Tensor, { dim: dims, keepdim });
    // Zeros take no part in the derivative: |x|^(p - 1) may be infinite there.
    const zero = eq(x, 0);
    const powers = where(zero, p > 0 ? 0 : Infinity, pow(abs(where(zero, 1, x)), p));
    const power = total(powers);
    const none = eq(power, 0);
    return where(none, 0, pow(where(none, 1, power), 1 / p));
  })();
  return y as Tensor<D>;
}

/** x divided by its p-norm (default 2) over `dim` (default 1), which is at least eps (default 1e-12). */
export function normalize<D extends DType>(
  x: Tensor<D>,
  options: { p?: number; dim?: number | readonly number[]; eps?: number } = {},
): Tensor<D> {
  checkOptions("normalize", options, ["p", "dim", "eps"]);
  const eps = checkNumber("normalize", "eps", options.eps ?? 1e-12, 0);
  const length = norm(x, { p: options.p ?? 2, dim: options.dim ?? 1, keepdim: true });
  return div(x, maximumOf(length, eps));
}

function maximumOf<D extends DType>(x: Tensor<D>, least: number): Tensor<D> {
  return clampBetween(x, least, Infinity) as Tensor<D>;
}

/** log(sum(exp(x))) over `dim` (one or several), without overflow. */
export function logsumexp<D extends DType>(x: Tensor<D>, options: Dims, keepdim?: boolean): Tensor<D> {
  const read = reduceOptions("logsumexp", x, options);
  floating("logsumexp", "x", x);
  const { dims } = read;
  const keep = keepdim ?? read.keepdim;
  if (x.rank === 0) return x;
  const largest = unrecorded(() => {
    if (x.numel() === 0) return sum(x.detach(), { dim: dims, keepdim: true }) as Tensor;
    const m: Tensor = amax(x.detach(), { dim: dims, keepdim: true });
    return where(eq(abs(m), Infinity), 0, m);
  });
  const shifted = log(sum(exp(sub(x as Tensor, largest)), { dim: dims, keepdim: true }));
  const y = add(shifted, largest);
  return (keep ? y : squeeze(y, dims)) as Tensor<D>;
}

declare module "../core/tensor.js" {
  interface Tensor<D extends DType = DType> {
    norm(options?: NormOptions | number | "fro"): Tensor<D>;
    logsumexp(options: ReduceOptions | number | readonly number[], keepdim?: boolean): Tensor<D>;
  }
}

installMethods({ norm, logsumexp });
