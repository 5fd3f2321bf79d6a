import { type ReduceCode, reduceCodes } from "../backend/abi.js";
import { run } from "../backend/run.js";
import type { DType } from "../core/dtype.js";
import { ArgumentError } from "../core/errors.js";
import { checkOptions } from "../core/options.js";
import { contiguousStrides, describe, normalizeDims, numel, sameShape, type Shape } from "../core/shape.js";
import { alias, empty, isTensor, type Tensor } from "../core/tensor.js";
import { defineOp } from "./define.js";
import { contiguous, floating } from "./kernel.js";
import { mul } from "./pointwise.js";
import { cast, expand, installSumTo, reshape } from "./view.js";

/** Over which dimensions, and whether they stay with size 1. */
export interface ReduceOptions {
  /** One or several, negative ones counted from the end; all if left out or []. */
  readonly dim?: number | readonly number[];
  /** Default false. */
  readonly keepdim?: boolean;
}

/** @internal Reduces the given dimensions (sorted), which stay with size 1. One kernel call per run of neighbours, in a fixed order. */
export function reduceDims(op: ReduceCode, x: Tensor, dims: readonly number[]): Tensor {
  let current = contiguous(x);
  // The last run first: it is contiguous in memory, and what remains is smaller.
  let end = dims.length;
  while (end > 0) {
    let start = end - 1;
    while (start > 0 && dims[start - 1] === dims[start]! - 1) start--;
    const first = dims[start]!;
    const last = dims[end - 1]!;
    const shape = current.shape.map((s, i) => (i >= first && i <= last ? 1 : s));
    const outer = numel(current.shape.slice(0, first));
    const count = numel(current.shape.slice(first, last + 1));
    const y = reduceTo(op, current, [outer, count, numel(current.shape.slice(last + 1))], shape);
    if (current !== x && current.storage !== x.storage) current.dispose();
    current = y;
    end = start;
  }
  return current;
}

/** @internal The shape after reducing `dims`. */
export function reducedShape(shape: Shape, dims: readonly number[], keepdim: boolean): number[] {
  return keepdim ? shape.map((s, i) => (dims.includes(i) ? 1 : s)) : shape.filter((_, i) => !dims.includes(i));
}

const sumOp = defineOp<"x", { dims: readonly number[]; keepdim: boolean }>({
  name: "sum",
  inputs: ["x"],
  forward: ([x], { dims, keepdim }) => {
    if (dims.length === 0) return reduceCopy(x!);
    const y = reduceDims("sum", x!, dims);
    const shape = reducedShape(x!.shape, dims, keepdim);
    return alias(y, shape, contiguousStrides(shape));
  },
  grad: {
    x: {
      formula: (c) => {
        const shape = c.shape("x");
        return expand(reshape(c.dy, reducedShape(shape, c.options.dims, true)), shape);
      },
    },
  },
  samples: () => [
    { inputs: { x: [2, 3, 4] }, options: { dims: [0, 1, 2], keepdim: false } },
    { inputs: { x: [2, 3, 4] }, options: { dims: [1], keepdim: false } },
    { inputs: { x: [2, 3, 4] }, options: { dims: [0, 2], keepdim: true } },
    { inputs: { x: [] }, options: { dims: [], keepdim: false } },
    { inputs: { x: [0, 3] }, options: { dims: [0], keepdim: false } },
  ],
});

function reduceCopy(x: Tensor): Tensor {
  return reduceTo("sum", x, [x.numel(), 1, 1], x.shape);
}

/** @internal x as [outer, count, inner] without `count`, in memory of its own as a tensor of `shape`. */
export function reduceTo(op: ReduceCode, x: Tensor, sizes: readonly [number, number, number], shape: Shape): Tensor {
  const y = empty(shape, x.dtype);
  run("reduce", x.dtype, [reduceCodes.indexOf(op), ...sizes], [contiguous(x), y]);
  return y;
}

/** @internal Which dimensions are reduced: an empty list means all, as in PyTorch. */
export function dimsToReduce(call: string, dim: ReduceOptions["dim"], rank: number): number[] {
  return normalizeDims(call, Array.isArray(dim) && dim.length === 0 ? undefined : dim, rank);
}

/** @internal Reads the dims and keepdim of a reduction's options (or a dim given directly). */
export function reduceOptions(
  call: string,
  x: Tensor,
  options: ReduceOptions | number | readonly number[] = {},
): { dims: number[]; keepdim: boolean } {
  if (!isTensor(x)) throw new ArgumentError(`${call}: x must be a tensor, got ${describe(x)}`);
  const given: ReduceOptions =
    typeof options === "number" || Array.isArray(options) ? { dim: options as number } : (options as ReduceOptions);
  checkOptions(call, given, ["dim", "keepdim"]);
  return { dims: dimsToReduce(call, given.dim, x.rank), keepdim: given.keepdim ?? false };
}

/** The sum over all elements, or over `dim`. Integers and booleans sum as int32. */
export function sum(
  x: Tensor<"bool"> | Tensor<"uint8">,
  options?: ReduceOptions | number | readonly number[],
): Tensor<"int32">;
export function sum<D extends DType>(x: Tensor<D>, options?: ReduceOptions | number | readonly number[]): Tensor<D>;
export function sum(x: Tensor, options?: ReduceOptions | number | readonly number[]): Tensor {
  const o = reduceOptions("sum", x, options);
  const from = x.dtype === "bool" || x.dtype === "uint8" ? cast(x, "int32") : x;
  return sumOp([from], o);
}

/** The mean over all elements, or over `dim`; NaN of nothing. */
export function mean<D extends DType>(x: Tensor<D>, options?: ReduceOptions | number | readonly number[]): Tensor<D> {
  const o = reduceOptions("mean", x, options);
  floating("mean", "x", x);
  const count = o.dims.reduce((n, d) => n * x.shape[d]!, 1);
  return mul(sumOp([x], o) as Tensor<D>, 1 / count);
}

installSumTo((x, shape) => {
  if (sameShape(x.shape, shape)) return x;
  const lead = x.rank - shape.length;
  const dims = x.shape.map((_, i) => i).filter((i) => i < lead || (shape[i - lead] === 1 && x.shape[i] !== 1));
  return reshape(dims.length === 0 ? x : sumOp([x], { dims, keepdim: false }), shape);
});
