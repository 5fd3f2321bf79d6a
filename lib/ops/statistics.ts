import { type DType, isFloating } from "../core/dtype.js";
import { checkNumber, checkOptions } from "../core/options.js";
import { numel } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import { eq, isnan, ne } from "./compare.js";
import { defineOp, type Op } from "./define.js";
import { cat, stack } from "./join.js";
import { checkTensor, filled, floating } from "./kernel.js";
import { installMethods } from "./methods.js";
import { div, mul, square, sub } from "./pointwise.js";
import { dimsToReduce, mean, type ReduceOptions, reduceDims, reducedShape, reduceOptions, sum } from "./reduce.js";
import { rootOrZero } from "./vector_norm.js";
import { cast, narrow, reshape, squeeze } from "./view.js";
import { where } from "./where.js";

/** Products, deviations and counts. */

type Dims = ReduceOptions | number | readonly number[];

// ---- prod ----

/**
 * For every element of the last dimension the product of all others: a tree of products up, then down, so that zeros are
 * exact and every order of derivative exists.
 */
function productOfOthers(x: Tensor): Tensor {
  const count = x.shape.at(-1)!;
  const lead = x.shape.slice(0, -1);
  if (count <= 1) return filled(x.shape, x.dtype, 1);
  const even = Math.floor(count / 2) * 2;
  const pairs = reshape(even === count ? x : narrow(x, -1, 0, even), [...lead, even / 2, 2]);
  const left = squeeze(narrow(pairs, -1, 0, 1), -1);
  const right = squeeze(narrow(pairs, -1, 1, 1), -1);
  const products = mul(left, right);
  if (even === count) {
    const others = productOfOthers(products);
    return reshape(stack([mul(others, right), mul(others, left)], -1), x.shape);
  }
  const last = narrow(x, -1, even, 1);
  const all = productOfOthers(catLast(products, last));
  const others = narrow(all, -1, 0, even / 2);
  const paired = reshape(stack([mul(others, right), mul(others, left)], -1), [...lead, even]);
  return catLast(paired, narrow(all, -1, even / 2, 1));
}

const catLast = (a: Tensor, b: Tensor): Tensor => cat([a, b], -1);

const prodOp: Op<"x", undefined> = defineOp<"x", undefined>({
  // The product over the last dimension of [rows, count].
  name: "prod",
  inputs: ["x"],
  composite: true,
  forward: ([x]) => reshape(reduceDims("prod", x!, [1]), [x!.shape[0]!]),
  grad: {
    x: { reads: ["x"], formula: (c) => mul(reshape(c.dy, [c.dy.numel(), 1]), productOfOthers(c.input("x"))) },
  },
  samples: () =>
    [
      [3, 4],
      [2, 7],
      [4, 1],
      [1, 2],
    ].map((shape) => ({ inputs: { x: shape } })),
});

/** The product over all elements, or over `dim`; the gradient is exact where elements are 0. Integers multiply as int32. */
export function prod<D extends DType>(x: Tensor<D>, options?: Dims): Tensor<D> {
  const { dims, keepdim } = reduceOptions("prod", x, options);
  const from = isFloating(x.dtype) || x.dtype === "int32" ? (x as Tensor) : cast(x, "int32");
  const shape = reducedShape(x.shape, dims, keepdim);
  // The reduced dimensions last, as one.
  const rest = x.shape.map((_, i) => i).filter((i) => !dims.includes(i));
  const rows = numel(rest.map((i) => x.shape[i]!));
  const flat = reshape(x.rank === 0 ? from : from.permute([...rest, ...dims]), [
    rows,
    numel(dims.map((d) => x.shape[d]!)),
  ]);
  return reshape(prodOp([flat], undefined), shape) as Tensor<D>;
}

// ---- deviations ----

export interface VarianceOptions extends ReduceOptions {
  /** Taken from the count that is divided by; default 1 (Bessel's correction). */
  readonly correction?: number;
  /** false is correction 0, true 1. */
  readonly unbiased?: boolean;
}

function moments(
  call: string,
  x: Tensor,
  given: VarianceOptions | number | readonly number[] | undefined,
): { variance: Tensor; average: Tensor } {
  checkTensor(call, "x", x);
  floating(call, "x", x);
  const options: VarianceOptions =
    typeof given === "number" || Array.isArray(given) ? { dim: given as number } : ((given as VarianceOptions) ?? {});
  checkOptions(call, options, ["dim", "keepdim", "correction", "unbiased"]);
  const unbiased = options.unbiased === false ? 0 : 1;
  const correction = checkNumber(call, "correction", options.correction ?? unbiased, 0, Number.MAX_VALUE);
  const dims = dimsToReduce(call, options.dim, x.rank);
  const shape = reducedShape(x.shape, dims, options.keepdim ?? false);
  const average = x.rank === 0 ? x : mean(x, { dim: dims, keepdim: true });
  const count = numel(dims.map((d) => x.shape[d]!));
  const squares = square(sub(x, average));
  const total = x.rank === 0 ? squares : sum(squares, { dim: dims, keepdim: true });
  return {
    variance: reshape(div(total, Math.max(0, count - correction)), shape),
    average: reshape(average, shape),
  };
}

/** The variance over all elements, or over `dim`: the squared distances from the mean over (count - correction). */
export function variance<D extends DType>(
  x: Tensor<D>,
  options?: VarianceOptions | number | readonly number[],
): Tensor<D> {
  return moments("var", x, options).variance as Tensor<D>;
}

export { variance as var };

/** The standard deviation over all elements, or over `dim`: the root of `variance`, with gradient 0 where it is 0. */
export function std<D extends DType>(x: Tensor<D>, options?: VarianceOptions | number | readonly number[]): Tensor<D> {
  return rootOrZero(moments("std", x, options).variance) as Tensor<D>;
}

/** Variance and mean in one. */
export function varMean<D extends DType>(
  x: Tensor<D>,
  options?: VarianceOptions | number | readonly number[],
): [variance: Tensor<D>, mean: Tensor<D>] {
  const m = moments("varMean", x, options);
  return [m.variance as Tensor<D>, m.average as Tensor<D>];
}

/** Standard deviation and mean in one. */
export function stdMean<D extends DType>(
  x: Tensor<D>,
  options?: VarianceOptions | number | readonly number[],
): [std: Tensor<D>, mean: Tensor<D>] {
  const m = moments("stdMean", x, options);
  return [rootOrZero(m.variance) as Tensor<D>, m.average as Tensor<D>];
}

// ---- counts ----

function counted(call: string, mask: Tensor, options: Dims | undefined): Tensor<"int32"> {
  return sum(cast(mask, "int32"), reduceOptions2(call, mask, options));
}

function reduceOptions2(call: string, x: Tensor, options: Dims | undefined): ReduceOptions {
  const { dims, keepdim } = reduceOptions(call, x, options);
  return x.rank === 0 ? { keepdim } : { dim: dims, keepdim };
}

/** Whether any element is not 0, over all or over `dim`; false of nothing. */
export function any(x: Tensor, options?: Dims): Tensor<"bool"> {
  checkTensor("any", "x", x);
  return cast(counted("any", ne(x, 0), options), "bool");
}

/** Whether all elements are not 0, over all or over `dim`; true of nothing. */
export function all(x: Tensor, options?: Dims): Tensor<"bool"> {
  checkTensor("all", "x", x);
  return eq(counted("all", eq(x, 0), options), 0);
}

/** How many elements are not 0, over all or over `dim`: int32. */
export function countNonzero(x: Tensor, options?: Dims): Tensor<"int32"> {
  checkTensor("countNonzero", "x", x);
  return counted("countNonzero", ne(x, 0), options);
}

/** The sum of all elements that are not NaN, over all or over `dim`. */
export function nansum<D extends DType>(x: Tensor<D>, options?: Dims): Tensor<D> {
  checkTensor("nansum", "x", x);
  return isFloating(x.dtype) ? sum(where(isnan(x), 0, x) as Tensor<D>, options) : sum(x, options);
}

/** The mean of all elements that are not NaN, over all or over `dim`. */
export function nanmean<D extends DType>(x: Tensor<D>, options?: Dims): Tensor<D> {
  checkTensor("nanmean", "x", x);
  floating("nanmean", "x", x);
  return div(nansum(x, options), sum(cast(eq(x, x), x.dtype), options));
}

declare module "../core/tensor.js" {
  interface Tensor<D extends DType = DType> {
    prod(options?: ReduceOptions | number | readonly number[]): Tensor<D>;
    var(options?: VarianceOptions | number | readonly number[]): Tensor<D>;
    std(options?: VarianceOptions | number | readonly number[]): Tensor<D>;
    any(options?: ReduceOptions | number | readonly number[]): Tensor<"bool">;
    all(options?: ReduceOptions | number | readonly number[]): Tensor<"bool">;
    countNonzero(options?: ReduceOptions | number | readonly number[]): Tensor<"int32">;
    nansum(options?: ReduceOptions | number | readonly number[]): Tensor<D>;
  }
}

installMethods({ prod, var: variance, std, any, all, countNonzero, nansum });
