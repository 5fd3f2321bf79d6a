import { unrecorded } from "../autograd/mode.js";
import { reduceCodes } from "../backend/abi.js";
import { run } from "../backend/run.js";
import { type DType, isFloating } from "../core/dtype.js";
import { ArgumentError } from "../core/errors.js";
import { checkInteger, checkOptions } from "../core/options.js";
import { describe, format, normalizeDim } from "../core/shape.js";
import { empty, type Tensor } from "../core/tensor.js";
import { readDimOptions } from "./argmax.js";
import { defineOp, type Op } from "./define.js";
import { attained, picked, type ValuesAndIndices } from "./extremes.js";
import { cat } from "./join.js";
import { around, checkTensor, contiguous } from "./kernel.js";
import { installMethods } from "./methods.js";
import { mul } from "./pointwise.js";
import { gather } from "./scatter.js";
import { type DimOption, readDim } from "./softmax.js";
import { cast, flatten, narrow, reshape } from "./view.js";

/** Order along one dimension: sorting, the largest k, medians; and running sums and products. */

/** Sorted values and where they were, unrecorded; stable, NaN is the largest. */
function sorted(x: Tensor, dim: number, descending: boolean): { values: Tensor; indices: Tensor } {
  return unrecorded(() => {
    const from = contiguous(x.dtype === "bool" || x.dtype === "uint8" ? cast(x, "int32") : x);
    const { outer, count, inner } = around(x.shape, dim);
    const values = empty(x.shape, from.dtype);
    const indices = empty(x.shape, "int32");
    run("sort", from.dtype, [Number(descending), outer, count, inner], [from, values, indices]);
    return { values, indices };
  });
}

export interface SortOptions {
  /** Default -1. */
  readonly dim?: number;
  /** Largest first; default false. */
  readonly descending?: boolean;
  /** Sorting is always stable: equal elements keep their order. */
  readonly stable?: boolean;
}

function readSort(call: string, x: unknown, given: SortOptions | number): { dim: number; descending: boolean } {
  checkTensor(call, "x", x);
  const options: SortOptions = typeof given === "number" ? { dim: given } : given;
  checkOptions(call, options, ["dim", "descending", "stable"]);
  return { dim: normalizeDim(call, options.dim ?? -1, x.rank), descending: options.descending ?? false };
}

/** The elements of dimension `dim` (default -1) in ascending (or descending) order, and where they were. NaN is largest. */
export function sort<D extends DType>(x: Tensor<D>, options: SortOptions | number = {}): ValuesAndIndices<D> {
  const { dim, descending } = readSort("sort", x, options);
  return picked(x, dim, sorted(x as Tensor, dim, descending).indices, true);
}

/** Where the elements of dimension `dim` (default -1) are in order; see `sort`. */
export function argsort(x: Tensor, options: SortOptions | number = {}): Tensor<"int32"> {
  const { dim, descending } = readSort("argsort", x, options);
  return sorted(x, dim, descending).indices as Tensor<"int32">;
}

/** The k largest (or smallest) elements of dimension `dim` (default -1), in order, and where they were. */
export function topk<D extends DType>(
  x: Tensor<D>,
  k: number,
  options: { dim?: number; largest?: boolean; sorted?: boolean } = {},
): ValuesAndIndices<D> {
  checkTensor("topk", "x", x);
  checkOptions("topk", options, ["dim", "largest", "sorted"]);
  const dim = normalizeDim("topk", options.dim ?? -1, x.rank);
  const size = x.rank === 0 ? 1 : x.shape[dim]!;
  if (!Number.isInteger(k) || k < 0 || k > size) {
    throw new ArgumentError(
      `topk: k must be from 0 to ${size}, the size of dimension ${dim} of ${format(x.shape)}, got ${describe(k)}`,
    );
  }
  const { indices } = sorted(x as Tensor, dim, options.largest ?? true);
  return picked(x, dim, x.rank === 0 ? indices : contiguous(narrow(indices, dim, 0, k)), true);
}

/** The k-th smallest element (k counts from 1) of dimension `dim` (default -1), and where it was. */
export function kthvalue<D extends DType>(
  x: Tensor<D>,
  k: number,
  options: { dim?: number; keepdim?: boolean } | number = {},
  keepdim?: boolean,
): ValuesAndIndices<D> {
  const read = readDimOptions("kthvalue", x, options, keepdim);
  const dim = read.dim ?? Math.max(x.rank - 1, 0);
  const size = x.rank === 0 ? 1 : x.shape[dim]!;
  checkInteger("kthvalue", "k", k, 1, size);
  const { indices } = sorted(x as Tensor, dim, false);
  return picked(x, dim, x.rank === 0 ? indices : contiguous(narrow(indices, dim, k - 1, 1)), read.keepdim);
}

/** Positions [.., 1, ..] of the lower median of each row in its sorted order: the last if it is NaN. */
function medianIndices(x: Tensor, dim: number, ignoreNan: boolean): Tensor {
  const { values, indices } = sorted(x, dim, false);
  const { outer, count, inner } = around(x.shape, dim);
  const y = empty(
    x.shape.map((s, i) => (i === dim ? 1 : s)),
    "int32",
  );
  const v = values.storage.array(values.dtype);
  const from = indices.storage.array("int32");
  const to = y.storage.array("int32");
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      const at = (k: number): number => (o * count + k) * inner + i;
      let numbers = count;
      while (numbers > 0 && Number.isNaN(v[at(numbers - 1)]!)) numbers--;
      // The first NaN comes first among the last ones: sorting is stable.
      const k = numbers < count && !ignoreNan ? numbers : Math.floor((Math.max(numbers, 1) - 1) / 2);
      to[o * inner + i] = from[at(k)]!;
    }
  }
  return y;
}

function medianOf<D extends DType>(
  call: string,
  x: Tensor<D>,
  given: { dim?: number; keepdim?: boolean } | number | undefined,
  keepdim: boolean | undefined,
  ignoreNan: boolean,
): Tensor<D> | ValuesAndIndices<D> {
  const { dim, keepdim: keep } = readDimOptions(call, x, given, keepdim);
  const size = dim === null ? x.numel() : x.rank === 0 ? 1 : x.shape[dim]!;
  if (size === 0) {
    if (dim === null && isFloating(x.dtype)) return mul(x.detach().reshape([-1]).sum(), Number.NaN) as Tensor<D>;
    throw new ArgumentError(`${call}: ${format(x.shape)} has no elements to choose from`);
  }
  if (dim !== null) {
    return picked(
      x,
      dim,
      unrecorded(() => medianIndices(x as Tensor, dim, ignoreNan)),
      keep,
    );
  }
  const flat = x.rank === 0 ? reshape(x, [1]) : flatten(x);
  const index = unrecorded(() => medianIndices(flat.detach() as Tensor, 0, ignoreNan));
  const value = unrecorded(() => reshape(gather(flat.detach(), 0, index), []));
  return isFloating(x.dtype) ? attained(flat, value, [0]) : value;
}

/**
 * The lower median: of all elements (equal ones share the gradient), or with `dim` of that dimension and where it is,
 * `{ values, indices }`. NaN if there is one.
 */
export function median<D extends DType>(x: Tensor<D>): Tensor<D>;
export function median<D extends DType>(
  x: Tensor<D>,
  options: { dim: number; keepdim?: boolean } | number,
  keepdim?: boolean,
): ValuesAndIndices<D>;
export function median<D extends DType>(
  x: Tensor<D>,
  options?: { dim?: number; keepdim?: boolean } | number,
  keepdim?: boolean,
): Tensor<D> | ValuesAndIndices<D> {
  return medianOf("median", x, options, keepdim, false);
}

/** `median` of the elements that are not NaN. */
export function nanmedian<D extends DType>(x: Tensor<D>): Tensor<D>;
export function nanmedian<D extends DType>(
  x: Tensor<D>,
  options: { dim: number; keepdim?: boolean } | number,
  keepdim?: boolean,
): ValuesAndIndices<D>;
export function nanmedian<D extends DType>(
  x: Tensor<D>,
  options?: { dim?: number; keepdim?: boolean } | number,
  keepdim?: boolean,
): Tensor<D> | ValuesAndIndices<D> {
  return medianOf("nanmedian", x, options, keepdim, true);
}

/** The different elements of x in ascending order, as a vector. */
export function unique<D extends DType>(x: Tensor<D>): Tensor<D> {
  checkTensor("unique", "x", x);
  const values = Array.from(x.data()).sort((a, b) => a - b || Number(Number.isNaN(a)) - Number(Number.isNaN(b)));
  const different = values.filter((v, i) => i === 0 || v !== values[i - 1]);
  const y = empty([different.length], x.dtype);
  y.storage.array(x.dtype).set(different);
  return y;
}

// ---- running sums and products ----

interface Scan {
  readonly dim: number;
  readonly reverse: boolean;
}

const cumsumOp: Op<"x", Scan> = defineOp<"x", Scan>({
  name: "cumsum",
  inputs: ["x"],
  forward: ([x], { dim, reverse }) => scanned("sum", x!, dim, reverse),
  grad: { x: { formula: (c) => cumsumOp([c.dy], { dim: c.options.dim, reverse: !c.options.reverse }) } },
  samples: () => [
    { inputs: { x: [3, 4] }, options: { dim: 0, reverse: false } },
    { inputs: { x: [2, 19, 2] }, options: { dim: 1, reverse: true } },
    { inputs: { x: [2, 0] }, options: { dim: 1, reverse: false } },
  ],
});

function scanned(op: "sum" | "prod", x: Tensor, dim: number, reverse: boolean): Tensor {
  const { outer, count, inner } = around(x.shape, dim);
  const y = empty(x.shape, x.dtype);
  run("scan", x.dtype, [reduceCodes.indexOf(op), Number(reverse), outer, count, inner], [contiguous(x), y]);
  return y;
}

function summable<D extends DType>(x: Tensor<D>): Tensor {
  return x.dtype === "bool" || x.dtype === "uint8" ? cast(x, "int32") : x;
}

/** Running sums along `dim`: element i is x_0 + ... + x_i. */
export function cumsum<D extends DType>(x: Tensor<D>, dim: DimOption): Tensor<D> {
  checkTensor("cumsum", "x", x);
  return cumsumOp([summable(x)], { dim: readDim("cumsum", x, dim), reverse: false }) as Tensor<D>;
}

/**
 * Running products along `dim`: element i is x_0 * ... * x_i. Made of log2(n) shifted products, so that gradients of any
 * order are exact, also at zeros.
 */
export function cumprod<D extends DType>(x: Tensor<D>, dim: DimOption): Tensor<D> {
  checkTensor("cumprod", "x", x);
  const d = readDim("cumprod", x, dim);
  const from = summable(x);
  if (x.rank === 0) return from.clone() as Tensor<D>;
  if (!isFloating(x.dtype)) return scanned("prod", from, d, false) as Tensor<D>;
  const size = x.shape[d]!;
  if (size < 2) return x.clone();
  let y: Tensor = x;
  for (let step = 1; step < size; step *= 2) {
    const rest = mul(narrow(y, d, step, size - step), narrow(y, d, 0, size - step));
    y = cat([narrow(y, d, 0, step), rest], d);
  }
  return y as Tensor<D>;
}

declare module "../core/tensor.js" {
  interface Tensor<D extends DType = DType> {
    sort(options?: SortOptions | number): ValuesAndIndices<D>;
    argsort(options?: SortOptions | number): Tensor<"int32">;
    topk(k: number, options?: { dim?: number; largest?: boolean; sorted?: boolean }): ValuesAndIndices<D>;
    kthvalue(k: number, options?: { dim?: number; keepdim?: boolean } | number, keepdim?: boolean): ValuesAndIndices<D>;
    median(): Tensor<D>;
    median(options: { dim: number; keepdim?: boolean } | number, keepdim?: boolean): ValuesAndIndices<D>;
    unique(): Tensor<D>;
    cumsum(dim: DimOption): Tensor<D>;
    cumprod(dim: DimOption): Tensor<D>;
  }
}

installMethods({ sort, argsort, topk, kthvalue, median, unique, cumsum, cumprod });
