import type { DType } from "../core/dtype.js";
import { ArgumentError, ShapeError } from "../core/errors.js";
import { checkInteger, checkOptions } from "../core/options.js";
import { checkShape, describe, format, normalizeDim, numel, type Shape } from "../core/shape.js";
import { alias, empty, type Tensor } from "../core/tensor.js";
import { defineOp, type Op } from "./define.js";
import { checkTensor, copyInto, filled, sameDType } from "./kernel.js";
import { installMethods } from "./methods.js";
import { expand, narrow, reshape, squeeze, unsqueeze } from "./view.js";

/** Joining tensors, and cutting one into several views. */

interface Parts {
  readonly dim: number;
  /** The size of each part in dimension `dim`. */
  readonly sizes: readonly number[];
}

/** Where each part begins. */
function starts(sizes: readonly number[]): number[] {
  let at = 0;
  return sizes.map((s) => (at += s) - s);
}

const catOp: Op<"a" | "b", Parts> = defineOp<"a" | "b", Parts>({
  // Any number of inputs; the names stand for the first two.
  name: "cat",
  inputs: ["a", "b"],
  forward: (inputs, { dim, sizes }) => {
    const shape = inputs[0]!.shape.map((s, i) => (i === dim ? sizes.reduce((p, q) => p + q, 0) : s));
    const y = empty(shape, inputs[0]!.dtype);
    starts(sizes).forEach((start, i) => {
      const part = inputs[i]!;
      if (part.numel() > 0) copyInto(alias(y, part.shape, y.strides, start * y.strides[dim]!), part);
    });
    return y;
  },
  gradAll: {
    formula: (c) => {
      const { dim, sizes } = c.options;
      return starts(sizes).map((start, i) => narrow(c.dy, dim, start, sizes[i]!));
    },
  },
  samples: () => [
    { inputs: { a: [2, 3], b: [2, 3] }, options: { dim: 0, sizes: [2, 2] } },
    { inputs: { a: [2, 3, 2], b: [2, 1, 2] }, options: { dim: 1, sizes: [3, 1] } },
    { inputs: { a: [2, 0], b: [2, 3] }, options: { dim: 1, sizes: [0, 3] } },
  ],
  refusals: () => [
    {
      call: () => cat([filled([2, 3], "float32", 0), filled([3, 3], "float32", 0)], 1),
      message: /cat: tensor 1 \[3, 3\] differs from tensor 0 \[2, 3\] in dimension 0/,
    },
    { call: () => cat([]), message: /cat: needs at least one tensor/ },
  ],
});

function checkTensors(call: string, tensors: unknown): asserts tensors is readonly Tensor[] {
  if (!Array.isArray(tensors)) throw new ArgumentError(`${call}: needs a list of tensors, got ${describe(tensors)}`);
  if (tensors.length === 0) throw new ArgumentError(`${call}: needs at least one tensor, got an empty list`);
  tensors.forEach((t, i) => {
    checkTensor(call, `tensor ${i}`, t);
    if (i > 0) sameDType(call, "tensor 0", tensors[0] as Tensor, `tensor ${i}`, t);
  });
}

/**
 * The tensors one after the other along dimension `dim` (default 0). Empty vectors fit any shape.
 * @throws {ShapeError} if sizes differ in another dimension
 */
export function cat<D extends DType>(tensors: readonly Tensor<D>[], dim: number = 0): Tensor<D> {
  checkTensors("cat", tensors);
  const parts = tensors.filter((t) => !(t.rank === 1 && t.shape[0] === 0));
  const first = parts[0] ?? tensors[0]!;
  if (parts.length === 0) parts.push(first);
  if (first.rank === 0) throw new ShapeError("cat: scalars cannot be joined; use stack");
  const d = normalizeDim("cat", dim, first.rank);
  tensors.forEach((t, at) => {
    if (!parts.includes(t)) return;
    const other = t.shape.findIndex((s, i) => i !== d && s !== first.shape[i]);
    if (t.rank !== first.rank || other >= 0) {
      throw new ShapeError(
        `cat: tensor ${at} ${format(t.shape)} differs from tensor ${tensors.indexOf(first)} ${format(first.shape)} in ` +
          (t.rank !== first.rank
            ? "the number of dimensions"
            : `dimension ${other}, and only dimension ${d} may differ`),
      );
    }
  });
  return catOp(parts, { dim: d, sizes: parts.map((t) => t.shape[d]!) }) as Tensor<D>;
}

/** Tensors of one shape side by side in a new dimension `dim` (default 0). */
export function stack<D extends DType>(tensors: readonly Tensor<D>[], dim: number = 0): Tensor<D> {
  checkTensors("stack", tensors);
  const first = tensors[0]!;
  const d = normalizeDim("stack", dim, first.rank + 1);
  tensors.forEach((t, i) => {
    if (format(t.shape) !== format(first.shape)) {
      throw new ShapeError(
        `stack: all tensors must have one shape, but tensor ${i} is ${format(t.shape)} and tensor 0 ${format(first.shape)}`,
      );
    }
  });
  return cat(
    tensors.map((t) => unsqueeze(t, d)),
    d,
  );
}

const splitOp: Op<"x", Parts> = defineOp<"x", Parts>({
  name: "split",
  inputs: ["x"],
  view: true,
  forward: ([x], { dim, sizes }) =>
    starts(sizes).map((start, i) => {
      const shape = x!.shape.map((s, j) => (j === dim ? sizes[i]! : s));
      return alias(x!, shape, x!.strides, x!.offset + start * x!.strides[dim]!);
    }),
  gradAll: {
    formula: (c) => {
      const { dim, sizes } = c.options;
      const shape = c.shape("x");
      const known = c.gradients.find((g) => g !== null) as Tensor;
      return [
        catOp(
          sizes.map(
            (size, i) =>
              c.gradients[i] ??
              filled(
                shape.map((s, j) => (j === dim ? size : s)),
                known.dtype,
                0,
              ),
          ),
          { dim, sizes },
        ),
      ];
    },
  },
  samples: () => [
    { inputs: { x: [5, 3] }, options: { dim: 0, sizes: [2, 3] } },
    { inputs: { x: [2, 4] }, options: { dim: 1, sizes: [1, 0, 3] } },
  ],
});

/**
 * x cut along `dim` (default 0) into parts of `size` entries (the last may be smaller), or of the sizes of a list.
 * All parts are views of x; together they cannot be changed in place while recording.
 */
export function split<D extends DType>(x: Tensor<D>, size: number | readonly number[], dim: number = 0): Tensor<D>[] {
  checkTensor("split", "x", x);
  if (x.rank === 0) throw new ShapeError("split: a scalar cannot be cut");
  const d = normalizeDim("split", dim, x.rank);
  const whole = x.shape[d]!;
  let sizes: number[];
  if (typeof size === "number") {
    checkInteger("split", "size", size, whole === 0 ? 0 : 1);
    const count = checkPieces("split", Math.max(1, Math.ceil(whole / Math.max(size, 1))));
    sizes = Array.from({ length: count }, (_, i) => Math.min(size, whole - i * size));
  } else {
    sizes = checkShapeList("split", size);
    const total = sizes.reduce((p, q) => p + q, 0);
    if (total !== whole) {
      throw new ShapeError(
        `split: the sizes ${format(sizes)} add up to ${total}, but dimension ${dim} of x ${format(x.shape)} has ${whole} entries`,
      );
    }
  }
  return [...splitOp.all([x], { dim: d, sizes })] as Tensor<D>[];
}

/** Views cost some hundred bytes of JavaScript's heap each, and a full heap ends the process. */
const mostPieces = 2 ** 20;

function checkPieces(call: string, count: number): number {
  if (count > mostPieces)
    throw new ShapeError(`${call}: would make ${count} tensors; at most ${mostPieces} are made, cut in larger parts`);
  return count;
}

function checkShapeList(call: string, sizes: unknown): number[] {
  if (!Array.isArray(sizes))
    throw new ArgumentError(`${call}: needs a size or a list of sizes, got ${describe(sizes)}`);
  checkPieces(call, sizes.length);
  return Array.from(sizes, (s) => checkInteger(call, "every size", s, 0));
}

/** x cut along `dim` (default 0) into at most `chunks` parts of equal size (the last may be smaller). */
export function chunk<D extends DType>(x: Tensor<D>, chunks: number, dim: number = 0): Tensor<D>[] {
  checkTensor("chunk", "x", x);
  checkInteger("chunk", "chunks", chunks, 1);
  if (x.rank === 0) throw new ShapeError("chunk: a scalar cannot be cut");
  const d = normalizeDim("chunk", dim, x.rank);
  const size = Math.ceil(x.shape[d]! / chunks);
  checkPieces("chunk", size === 0 ? chunks : 1);
  return size === 0 ? split(x, new Array<number>(chunks).fill(0), d) : split(x, size, d);
}

/** The entries of dimension `dim` (default 0), which disappears, as views. */
export function unbind<D extends DType>(x: Tensor<D>, dim: number = 0): Tensor<D>[] {
  checkTensor("unbind", "x", x);
  if (x.rank === 0) throw new ShapeError("unbind: a scalar has no dimension to take apart");
  const d = normalizeDim("unbind", dim, x.rank);
  const count = checkPieces("unbind", x.shape[d]!);
  return count === 0 ? [] : split(x, new Array<number>(count).fill(1), d).map((t) => squeeze(t, d));
}

/**
 * Coordinate grids of vectors: result i has all their sizes and varies with vector i only. indexing "ij" (default) orders
 * the dimensions as the vectors, "xy" exchanges the first two.
 */
export function meshgrid<D extends DType>(
  vectors: readonly Tensor<D>[],
  options: { indexing?: "ij" | "xy" } = {},
): Tensor<D>[] {
  checkTensors("meshgrid", vectors);
  checkOptions("meshgrid", options, ["indexing"]);
  const indexing = options.indexing ?? "ij";
  if (indexing !== "ij" && indexing !== "xy") {
    throw new ArgumentError(`meshgrid: indexing must be "ij" or "xy", got ${describe(indexing)}`);
  }
  for (const v of vectors) {
    if (v.rank > 1) throw new ShapeError(`meshgrid: needs vectors, but one tensor is ${format(v.shape)}`);
  }
  const sizes = vectors.map((v) => v.numel());
  const order = sizes.map((_, i) => (indexing === "xy" && sizes.length > 1 && i < 2 ? 1 - i : i));
  const shape = order.map((i) => sizes[i]!);
  return vectors.map((v, i) => {
    const own = shape.map((s, j) => (order[j] === i ? s : 1));
    return expand(reshape(v, own), shape);
  });
}

/** All combinations of the elements of vectors, one a row. */
export function cartesianProd<D extends DType>(vectors: readonly Tensor<D>[]): Tensor<D> {
  checkTensors("cartesianProd", vectors);
  for (const v of vectors) {
    if (v.rank !== 1) throw new ShapeError(`cartesianProd: needs vectors, but one tensor is ${format(v.shape)}`);
  }
  if (vectors.length === 1) return vectors[0]!;
  return stack(
    meshgrid(vectors).map((g) => reshape(g, [-1])),
    1,
  );
}

// ---- repeating ----

/** x repeated `times` along dimension `dim`, each entry (`each`) or the whole. */
function repeatAlong<D extends DType>(x: Tensor<D>, dim: number, times: number, each: boolean): Tensor<D> {
  if (times === 1) return x;
  const at = each ? dim + 1 : dim;
  const shape = [...x.shape];
  shape.splice(at, 0, times);
  return reshape(
    expand(unsqueeze(x, at), shape),
    x.shape.map((s, i) => (i === dim ? s * times : s)),
  );
}

/** x repeated sizes[i] times along each dimension; more sizes than dimensions add dimensions in front. */
export function repeat<D extends DType>(x: Tensor<D>, sizes: Shape): Tensor<D> {
  checkTensor("repeat", "x", x);
  const times = checkShape("repeat", sizes);
  if (times.length < x.rank) {
    throw new ShapeError(
      `repeat: ${format(times)} must have at least as many numbers as x ${format(x.shape)} has dimensions`,
    );
  }
  let y = reshape(x, [...times.slice(x.rank).map(() => 1), ...x.shape]);
  if (numel(times) === 1) return y.clone();
  times.forEach((n, i) => {
    y = repeatAlong(y, i, n, false);
  });
  return y;
}

/** Like `repeat`, but fewer numbers than dimensions count for the last ones. */
export function tile<D extends DType>(x: Tensor<D>, sizes: Shape): Tensor<D> {
  checkTensor("tile", "x", x);
  const times = checkShape("tile", sizes);
  return repeat(x, [...x.shape.slice(times.length).map(() => 1), ...times]);
}

/** Each entry of dimension `dim` (of the flattened x if none is named) repeated `repeats` times in a row. */
export function repeatInterleave<D extends DType>(x: Tensor<D>, repeats: number, dim?: number): Tensor<D> {
  checkTensor("repeatInterleave", "x", x);
  checkInteger("repeatInterleave", "repeats", repeats, 0);
  const y = dim === undefined || x.rank === 0 ? reshape(x, [-1]) : x;
  return repeatAlong(y, dim === undefined ? 0 : normalizeDim("repeatInterleave", dim, y.rank), repeats, true);
}

declare module "../core/tensor.js" {
  interface Tensor<D extends DType = DType> {
    split(size: number | readonly number[], dim?: number): Tensor<D>[];
    chunk(chunks: number, dim?: number): Tensor<D>[];
    unbind(dim?: number): Tensor<D>[];
    repeat(sizes: Shape): Tensor<D>;
    tile(sizes: Shape): Tensor<D>;
    repeatInterleave(repeats: number, dim?: number): Tensor<D>;
  }
}

installMethods({ split, chunk, unbind, repeat, tile, repeatInterleave });
