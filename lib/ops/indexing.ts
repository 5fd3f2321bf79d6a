import { run } from "../backend/run.js";
import type { DType } from "../core/dtype.js";
import { ArgumentError, ShapeError } from "../core/errors.js";
import { checkNumber, checkOptions } from "../core/options.js";
import { describe, format, normalizeDim, type Shape } from "../core/shape.js";
import { empty, isTensor, type Tensor } from "../core/tensor.js";
import { lt } from "./compare.js";
import { defineOp, type Op } from "./define.js";
import { type AlongDim, checkIndex, checkIndexReport } from "./index_checks.js";
import { around, checkTensor, contiguous, copied, filled, sameDType } from "./kernel.js";
import { installMethods } from "./methods.js";
import { add, mul } from "./pointwise.js";
import { scatter } from "./scatter.js";
import { expand, reshape } from "./view.js";
import { where } from "./where.js";

/**
 * Reading and writing along one dimension by an index tensor (int32, no negative indices). Every index is checked
 * before anything is written.
 */

const indexSelectOp: Op<"x" | "index", AlongDim> = defineOp<"x" | "index", AlongDim>({
  name: "index_select",
  inputs: ["x", "index"],
  forward: ([x, index], { dim, call }) => {
    const { outer, count, inner } = around(x!.shape, dim);
    const m = index!.shape[0]!;
    const y = empty(
      x!.shape.map((s, i) => (i === dim ? m : s)),
      x!.dtype,
    );
    const report = run("index_select", x!.dtype, [0, outer, count, m, inner], [contiguous(x!), contiguous(index!), y]);
    checkIndexReport(call ?? "indexSelect", report, index!, count);
    return y;
  },
  grad: {
    x: {
      reads: ["index"],
      formula: (c) => indexAddOp([filled(c.shape("x"), c.dy.dtype, 0), c.input("index"), c.dy], c.options),
    },
  },
  samples: () => [
    { inputs: { x: [4, 3], index: (r) => r.integers([6], 0, 4) }, options: { dim: 0 } },
    { inputs: { x: [2, 5, 3], index: (r) => r.integers([2], 0, 5) }, options: { dim: 1 } },
    { inputs: { x: [2, 5], index: (r) => r.integers([0], 0, 5) }, options: { dim: 1 } },
  ],
  refusals: () => [
    {
      call: () => indexSelect(filled([3], "float32", 0), 0, filled([2], "int32", 3)),
      message: /indexSelect: index 3 at \[0\] is out of range for a dimension of size 3/,
    },
  ],
});

const indexAddOp: Op<"x" | "index" | "source", AlongDim> = defineOp<"x" | "index" | "source", AlongDim>({
  name: "index_add",
  inputs: ["x", "index", "source"],
  forward: ([x, index, source], { dim }) => {
    const { outer, count, inner } = around(x!.shape, dim);
    const y = copied(x!);
    const sizes = [0, outer, count, index!.shape[0]!, inner];
    const report = run("index_add", x!.dtype, sizes, [contiguous(source!), contiguous(index!), y]);
    checkIndexReport("indexAdd", report, index!, count);
    return y;
  },
  grad: {
    x: { formula: (c) => c.dy },
    source: { reads: ["index"], formula: (c) => indexSelectOp([c.dy, c.input("index")], c.options) },
  },
  samples: () => [
    { inputs: { x: [4, 3], index: (r) => r.integers([6], 0, 4), source: [6, 3] }, options: { dim: 0 } },
    { inputs: { x: [2, 5, 3], index: (r) => r.integers([2], 0, 5), source: [2, 2, 3] }, options: { dim: 1 } },
  ],
});

function vectorIndex(call: string, index: Tensor): Tensor<"int32"> {
  const checked = checkIndex(call, index);
  if (checked.rank > 1) {
    throw new ShapeError(`${call}: index must be a vector or a scalar, but it is ${format(index.shape)}; use gather`);
  }
  return checked.rank === 0 ? reshape(checked, [1]) : checked;
}

/** The entries of dimension `dim` named by a vector of indices, which may repeat. */
export function indexSelect<D extends DType>(x: Tensor<D>, dim: number, index: Tensor): Tensor<D> {
  return selectFor("indexSelect", x, dim, index);
}

/** @internal indexSelect inside of another call, which its errors name. */
export function selectFor<D extends DType>(call: string, x: Tensor<D>, dim: number, index: Tensor): Tensor<D> {
  checkTensor(call, "x", x);
  const d = normalizeDim(call, dim, x.rank);
  const at = vectorIndex(call, index);
  if (x.rank === 0) return reshape(indexSelectOp([reshape(x, [1]), at], { dim: 0, call }) as Tensor<D>, []);
  return indexSelectOp([x, at], { dim: d, call }) as Tensor<D>;
}

function checkSource(call: string, x: Tensor, dim: number, index: Tensor, source: Tensor): void {
  checkTensor(call, "source", source);
  sameDType(call, "x", x, "source", source);
  const wanted = x.shape.map((s, i) => (i === dim ? index.shape[0]! : s));
  if (format(source.shape) !== format(wanted)) {
    throw new ShapeError(
      `${call}: source must be ${format(wanted)} for x ${format(x.shape)} and ${index.shape[0]} indices in dimension ${dim}, but it is ${format(source.shape)}`,
    );
  }
}

/** x with alpha * source added at the entries of `dim` named by a vector of indices; repeated ones add up. */
export function indexAdd<D extends DType>(
  x: Tensor<D>,
  dim: number,
  index: Tensor,
  source: Tensor<D>,
  options: { alpha?: number } = {},
): Tensor<D> {
  checkTensor("indexAdd", "x", x);
  checkOptions("indexAdd", options, ["alpha"]);
  const alpha = checkNumber("indexAdd", "alpha", options.alpha ?? 1);
  const d = normalizeDim("indexAdd", dim, x.rank);
  const at = vectorIndex("indexAdd", index);
  checkSource("indexAdd", x, d, at, source);
  return indexAddOp([x, at, alpha === 1 ? source : mul(source, alpha)], { dim: d }) as Tensor<D>;
}

/** x with the entries of `dim` named by a vector of indices replaced by those of source. */
export function indexCopy<D extends DType>(x: Tensor<D>, dim: number, index: Tensor, source: Tensor<D>): Tensor<D> {
  checkTensor("indexCopy", "x", x);
  const d = normalizeDim("indexCopy", dim, x.rank);
  const at = vectorIndex("indexCopy", index);
  checkSource("indexCopy", x, d, at, source);
  return scatter(x, d, alongDim(at, source.shape, d), source);
}

/** x with the entries of `dim` named by a vector of indices set to a number or scalar tensor. */
export function indexFill<D extends DType>(
  x: Tensor<D>,
  dim: number,
  index: Tensor,
  value: number | Tensor<D>,
): Tensor<D> {
  checkTensor("indexFill", "x", x);
  const d = normalizeDim("indexFill", dim, x.rank);
  const given = vectorIndex("indexFill", index);
  const at = where(lt(given, 0), add(given, x.shape[d] ?? 1), given) as Tensor<"int32">; // negative ones count from the end
  if (isTensor(value) && value.rank !== 0) {
    throw new ShapeError(`indexFill: value must be a number or a scalar tensor, but it is ${format(value.shape)}`);
  }
  if (!isTensor(value) && typeof value !== "number" && typeof value !== "boolean") {
    throw new ArgumentError(`indexFill: value must be a number or a scalar tensor, got ${describe(value)}`);
  }
  const shape = x.shape.map((s, i) => (i === d ? at.shape[0]! : s));
  const source = isTensor(value) ? expand(value, shape) : filled(shape, x.dtype, Number(value));
  return scatter(x, d, alongDim(at, shape, d), source as Tensor<D>);
}

/** A vector of indices repeated to `shape`. */
function alongDim(index: Tensor, shape: Shape, dim: number): Tensor {
  return expand(
    reshape(
      index,
      shape.map((_, i) => (i === dim ? index.shape[0]! : 1)),
    ),
    shape,
  );
}

/** Elements of the flattened x; negative indices count from the end. The result has the index's shape. */
export function take<D extends DType>(x: Tensor<D>, index: Tensor): Tensor<D> {
  checkTensor("take", "x", x);
  const at = wrapped("take", checkIndex("take", index), x.numel());
  return reshape(indexSelectOp([reshape(x, [-1]), reshape(at, [-1])], { dim: 0 }) as Tensor<D>, at.shape);
}

/** @internal Negative indices counted from the end; refuses what is out of range. */
export function wrapped(call: string, index: Tensor<"int32">, size: number): Tensor<"int32"> {
  const values = index.data();
  let negative = false;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (value < -size || value >= size) checkIndexReport(call, i + 1, index, size);
    if (value < 0) {
      values[i] = value + size;
      negative = true;
    }
  }
  if (!negative) return index;
  const y = empty(index.shape, "int32");
  y.storage.array("int32").set(values);
  return y;
}

declare module "../core/tensor.js" {
  interface Tensor<D extends DType = DType> {
    indexSelect(dim: number, index: Tensor): Tensor<D>;
    indexAdd(dim: number, index: Tensor, source: Tensor<D>, options?: { alpha?: number }): Tensor<D>;
    indexCopy(dim: number, index: Tensor, source: Tensor<D>): Tensor<D>;
    indexFill(dim: number, index: Tensor, value: number | Tensor<D>): Tensor<D>;
    take(index: Tensor): Tensor<D>;
  }
}

installMethods({ indexSelect, indexAdd, indexCopy, indexFill, take });
