import { run } from "../backend/run.js";
import { type DType, isFloating } from "../core/dtype.js";
import { ArgumentError, DTypeError, IndexError, ShapeError } from "../core/errors.js";
import { checkNumber, checkOptions } from "../core/options.js";
import { describe, format, normalizeDim, numel, type Shape } from "../core/shape.js";
import { alias, empty, isTensor, named, type Tensor } from "../core/tensor.js";
import { checkTensor } from "./compare.js";
import { defineOp, type Op } from "./define.js";
import { around, contiguous, copied, copyInto, filled, sameDType } from "./kernel.js";
import { installMethods } from "./methods.js";
import { mul } from "./pointwise.js";
import { cast, clone, expand, narrow, reshape } from "./view.js";

/**
 * Reading and writing along one dimension by an index tensor (int32, no negative indices). Every index is checked
 * before anything is written.
 */

/** @internal The message for the kernel's report of an index out of range. */
export function checkIndexReport(call: string, report: number, index: Tensor, size: number): void {
  if (report === 0) return;
  const flat = contiguous(index);
  let rest = report - 1;
  const value = flat.storage.array(flat.dtype)[flat.offset + rest]!;
  const at: number[] = [];
  for (let d = index.rank - 1; d >= 0; d--) {
    at.unshift(rest % index.shape[d]!);
    rest = Math.floor(rest / index.shape[d]!);
  }
  throw new IndexError(`${call}: index ${value} at ${format(at)} is out of range for a dimension of size ${size}`);
}

/** @internal An index tensor as the kernels read it. */
export function checkIndex(call: string, index: unknown, argument = "index"): Tensor<"int32"> {
  checkTensor(call, argument, index);
  if (index.dtype === "int32") return index as Tensor<"int32">;
  if (index.dtype === "uint8") return cast(index, "int32");
  throw new DTypeError(`${call}: ${named(argument, index)} must be int32; convert it with .to("int32")`);
}

/** int32 stands in for bool and uint8 where a kernel has no 8-bit numbers. */
function widened(x: Tensor): Tensor {
  return x.dtype === "bool" || x.dtype === "uint8" ? cast(x, "int32") : x;
}

const scalarShape = (shape: Shape): Shape => (shape.length === 0 ? [1] : shape);

// ---- index_select, index_add ----

interface AlongDim {
  readonly dim: number;
}

const indexSelectOp: Op<"x" | "index", AlongDim> = defineOp<"x" | "index", AlongDim>({
  name: "index_select",
  inputs: ["x", "index"],
  forward: ([x, index], { dim }) => {
    const { outer, count, inner } = around(x!.shape, dim);
    const m = index!.shape[0]!;
    const y = empty(
      x!.shape.map((s, i) => (i === dim ? m : s)),
      x!.dtype,
    );
    const report = run("index_select", x!.dtype, [0, outer, count, m, inner], [contiguous(x!), contiguous(index!), y]);
    checkIndexReport("indexSelect", report, index!, count);
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
  checkTensor("indexSelect", "x", x);
  const d = normalizeDim("indexSelect", dim, x.rank);
  const at = vectorIndex("indexSelect", index);
  if (x.rank === 0) return reshape(indexSelectOp([reshape(x, [1]), at], { dim: 0 }) as Tensor<D>, []);
  return indexSelectOp([x, at], { dim: d }) as Tensor<D>;
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
  const at = vectorIndex("indexFill", index);
  if (isTensor(value) && value.rank !== 0) {
    throw new ShapeError(`indexFill: value must be a number or a scalar tensor, but it is ${format(value.shape)}`);
  }
  const shape = x.shape.map((s, i) => (i === d ? at.shape[0]! : s));
  const source = isTensor(value) ? expand(value, shape) : filled(shape, x.dtype, value);
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

// ---- gather, scatter ----

interface ScatterOptions extends AlongDim {
  readonly add: boolean;
}

const gatherOp: Op<"x" | "index", AlongDim> = defineOp<"x" | "index", AlongDim>({
  // x and index agree in all dimensions but `dim`.
  name: "gather",
  inputs: ["x", "index"],
  forward: ([x, index], { dim }) => {
    const { outer, count, inner } = around(x!.shape, dim);
    const y = empty(index!.shape, x!.dtype);
    const sizes = [0, outer, count, index!.shape[dim] ?? 1, inner];
    const report = run("gather", x!.dtype, sizes, [contiguous(x!), contiguous(index!), y]);
    checkIndexReport("gather", report, index!, count);
    return y;
  },
  grad: {
    x: {
      reads: ["index"],
      formula: (c) =>
        scatterOp([filled(c.shape("x"), c.dy.dtype, 0), c.input("index"), c.dy], { dim: c.options.dim, add: true }),
    },
  },
  samples: () => [
    { inputs: { x: [4, 3], index: (r) => r.integers([6, 3], 0, 4) }, options: { dim: 0 } },
    { inputs: { x: [2, 5, 3], index: (r) => r.integers([2, 2, 3], 0, 5) }, options: { dim: 1 } },
    { inputs: { x: [2, 5], index: (r) => r.integers([2, 0], 0, 5) }, options: { dim: 1 } },
  ],
});

const scatterOp: Op<"x" | "index" | "source", ScatterOptions> = defineOp<"x" | "index" | "source", ScatterOptions>({
  // index and source have one shape, not larger than x outside `dim`.
  name: "scatter",
  inputs: ["x", "index", "source"],
  forward: ([x, index, source], { dim, add }) => {
    const y = copied(x!);
    const region = index!.shape.map((s, i) => (i === dim ? x!.shape[i]! : s));
    // The kernel's rows are whole: what lies outside the index's sizes is left out, and put back afterwards.
    const window = alias(y, region);
    const whole = numel(region) === y.numel();
    const target = whole ? y : copied(window);
    const { outer, count, inner } = around(region, dim);
    const sizes = [Number(add), outer, count, index!.shape[dim] ?? 1, inner];
    const report = run("scatter", x!.dtype, sizes, [contiguous(source!), contiguous(index!), target]);
    checkIndexReport(add ? "scatterAdd" : "scatter", report, index!, count);
    if (!whole) {
      copyInto(window, target);
      target.dispose();
    }
    return y;
  },
  grad: {
    x: {
      reads: ["index"],
      formula: (c) => {
        if (c.options.add) return c.dy;
        const index = c.input("index");
        return scatterOp([c.dy, index, filled(index.shape, c.dy.dtype, 0)], c.options);
      },
    },
    source: {
      reads: ["index"],
      formula: (c) => gather(c.dy, c.options.dim, c.input("index")),
    },
  },
  samples: () => [
    {
      inputs: { x: [4, 3], index: (r) => r.integers([6, 3], 0, 4), source: [6, 3] },
      options: { dim: 0, add: true },
    },
    {
      inputs: { x: [2, 5, 3], index: (r) => r.integers([1, 2, 2], 0, 5), source: [1, 2, 2] },
      options: { dim: 1, add: true },
    },
    {
      // one write per place: of several the last would win, which no derivative describes
      inputs: { x: [3, 5], index: (r) => r.integers([3, 1], 0, 5), source: [3, 1] },
      options: { dim: 1, add: false },
    },
  ],
});

/** Narrows every dimension but `dim` to the index's sizes; refuses an index that is larger. */
function fitted(call: string, name: string, x: Tensor, dim: number, index: Tensor, also: boolean): Tensor {
  if (x.rank !== index.rank) {
    throw new ShapeError(
      `${call}: index ${format(index.shape)} must have as many dimensions as ${name} ${format(x.shape)}`,
    );
  }
  let y = x;
  for (let i = 0; i < x.rank; i++) {
    if (i === dim && !also) continue;
    if (index.shape[i]! > x.shape[i]!) {
      throw new ShapeError(
        `${call}: index ${format(index.shape)} is larger than ${name} ${format(x.shape)} in dimension ${i}` +
          (also ? "" : `; only dimension ${dim} may be`),
      );
    }
    if (index.shape[i]! < x.shape[i]!) y = narrow(y, i, 0, index.shape[i]!);
  }
  return y;
}

/**
 * Elements of x along `dim`: result[i][j] = x[index[i][j]][j] for dim 0, and so on.
 *
 * Shapes: index has x's rank and is not larger than x outside `dim`; the result has its shape.
 * @throws {IndexError} if an index is out of range, naming its place
 */
export function gather<D extends DType>(x: Tensor<D>, dim: number, index: Tensor): Tensor<D> {
  checkTensor("gather", "x", x);
  const d = normalizeDim("gather", dim, x.rank);
  const at = checkIndex("gather", index);
  if (x.rank === 0 || at.rank === 0) {
    const y = gather(reshape(x, scalarShape(x.shape)), 0, reshape(at, scalarShape(at.shape)));
    return reshape(y, at.shape);
  }
  return gatherOp([fitted("gather", "x", x as Tensor, d, at, false), at], { dim: d }) as Tensor<D>;
}

function scattered<D extends DType>(
  call: string,
  x: Tensor<D>,
  dim: number,
  index: Tensor,
  source: Tensor | number,
  add: boolean,
): Tensor<D> {
  checkTensor(call, "x", x);
  const d = normalizeDim(call, dim, x.rank);
  const at = checkIndex(call, index);
  if (!isTensor(source) && typeof source !== "number") {
    throw new ArgumentError(`${call}: source must be a tensor or a number, got ${describe(source)}`);
  }
  if (x.rank === 0) {
    const from = isTensor(source) ? reshape(source, scalarShape(source.shape)) : source;
    return reshape(scattered(call, reshape(x, [1]), 0, reshape(at, scalarShape(at.shape)), from, add), []);
  }
  if (isTensor(source)) sameDType(call, "x", x, "source", source);
  if (at.numel() === 0) return clone(x);
  fitted(call, "x", x as Tensor, d, at, false);
  const from = isTensor(source)
    ? fitted(call, "source", source, d, at, true)
    : filled(at.shape, x.dtype as DType, source);
  if (isFloating(x.dtype) || x.dtype === "int32") return scatterOp([x, at, from], { dim: d, add }) as Tensor<D>;
  return cast(scatterOp([widened(x), at, widened(from)], { dim: d, add }), x.dtype);
}

/**
 * x with elements along `dim` replaced: result[index[i][j]][j] = source[i][j] for dim 0. Of several written to one place
 * the last stays. source is a number or a tensor at least as large as index.
 */
export function scatter<D extends DType>(
  x: Tensor<D>,
  dim: number,
  index: Tensor,
  source: Tensor<D> | number,
): Tensor<D> {
  return scattered("scatter", x, dim, index, source, false);
}

/** x with source added along `dim`: result[index[i][j]][j] += source[i][j] for dim 0; repeated places add up. */
export function scatterAdd<D extends DType>(
  x: Tensor<D>,
  dim: number,
  index: Tensor,
  source: Tensor<D> | number,
): Tensor<D> {
  return scattered("scatterAdd", x, dim, index, source, true);
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

/** gather whose x and index broadcast against each other outside `dim`; without dim over the flattened tensors. */
export function takeAlongDim<D extends DType>(x: Tensor<D>, index: Tensor, dim?: number): Tensor<D> {
  checkTensor("takeAlongDim", "x", x);
  const at = checkIndex("takeAlongDim", index);
  if (dim === undefined) return gather(reshape(x, [-1]), 0, reshape(at, [-1]));
  if (x.rank !== at.rank) {
    throw new ShapeError(
      `takeAlongDim: index ${format(at.shape)} must have as many dimensions as x ${format(x.shape)}`,
    );
  }
  const d = normalizeDim("takeAlongDim", dim, x.rank);
  const common = x.shape.map((s, i) => (i === d || s !== 1 ? s : at.shape[i]!));
  const own = (t: Tensor): Shape => common.map((s, i) => (i === d ? t.shape[i]! : s));
  return gather(expand(x, own(x)), d, expand(at, own(at)));
}

declare module "../core/tensor.js" {
  interface Tensor<D extends DType = DType> {
    indexSelect(dim: number, index: Tensor): Tensor<D>;
    indexAdd(dim: number, index: Tensor, source: Tensor<D>, options?: { alpha?: number }): Tensor<D>;
    indexCopy(dim: number, index: Tensor, source: Tensor<D>): Tensor<D>;
    indexFill(dim: number, index: Tensor, value: number | Tensor<D>): Tensor<D>;
    gather(dim: number, index: Tensor): Tensor<D>;
    scatter(dim: number, index: Tensor, source: Tensor<D> | number): Tensor<D>;
    scatterAdd(dim: number, index: Tensor, source: Tensor<D> | number): Tensor<D>;
    take(index: Tensor): Tensor<D>;
    takeAlongDim(index: Tensor, dim?: number): Tensor<D>;
  }
}

installMethods({ indexSelect, indexAdd, indexCopy, indexFill, gather, scatter, scatterAdd, take, takeAlongDim });
