import { type DType, isDType } from "../core/dtype.js";
import { ArgumentError, DTypeError, IndexError, ShapeError } from "../core/errors.js";
import { checkInteger } from "../core/options.js";
import { checkShape, contiguousStrides, describe, format, isContiguous, normalizeDim, numel, type Shape } from "../core/shape.js";
import { alias, empty, isDifferentiable, type Tensor } from "../core/tensor.js";
import { defineOp, type Op } from "./define.js";
import { contiguous, converted, copied, copyInto, filled } from "./kernel.js";

/** Views and copies: what changes the window on memory, not the numbers. */

const reshapeOp = defineOp<"x", { shape: Shape }>({
  name: "reshape",
  inputs: ["x"],
  view: true,
  forward: ([x], { shape }) => alias(x!, shape, contiguousStrides(shape)),
  grad: { x: { formula: (c) => reshape(c.dy, c.shape("x")) } },
  samples: () => [{ inputs: { x: [2, 6] }, options: { shape: [3, 4] } }],
});

/** A size of -1 is whatever makes the number of elements fit. */
function inferShape(call: string, x: Tensor, wanted: readonly number[]): number[] {
  const at = wanted.indexOf(-1);
  const sizes = checkShape(call, at < 0 ? wanted : wanted.map((s, i) => (i === at ? 1 : s)));
  if (at >= 0) {
    const rest = numel(sizes);
    const count = x.numel();
    if (rest === 0 || count % rest !== 0) {
      throw new ShapeError(`${call}: ${format(x.shape)} has ${count} elements, which do not divide into ${format(wanted)}`);
    }
    sizes[at] = count / rest;
  }
  if (numel(sizes) !== x.numel()) {
    throw new ShapeError(`${call}: ${format(x.shape)} has ${x.numel()} elements, but ${format(wanted)} takes ${numel(sizes)}`);
  }
  return sizes;
}

/** The same elements in another shape: a view if they lie in row-major order, else a copy. One size may be -1. */
export function reshape<D extends DType>(x: Tensor<D>, shape: Shape): Tensor<D> {
  const sizes = inferShape("reshape", x, shape);
  return reshapeOp([x.isContiguous() ? x : clone(x)], { shape: sizes }) as Tensor<D>;
}

/** Like `reshape`, but never a copy: an error if the elements do not lie in row-major order. */
export function view<D extends DType>(x: Tensor<D>, shape: Shape): Tensor<D> {
  const sizes = inferShape("view", x, shape);
  if (!x.isContiguous()) {
    throw new ShapeError(`view: the elements of x ${format(x.shape)} (strides ${format(x.strides)}) do not lie in row-major order; use reshape()`);
  }
  return reshapeOp([x], { shape: sizes }) as Tensor<D>;
}

/** Joins dimensions `start` to `end` (both included) into one. */
export function flatten<D extends DType>(x: Tensor<D>, start = 0, end = -1): Tensor<D> {
  if (x.rank === 0) return reshape(x, [1]);
  const from = normalizeDim("flatten", start, x.rank);
  const to = normalizeDim("flatten", end, x.rank);
  if (from > to) throw new ArgumentError(`flatten: start ${start} lies behind end ${end} for ${format(x.shape)}`);
  return reshape(x, [...x.shape.slice(0, from), numel(x.shape.slice(from, to + 1)), ...x.shape.slice(to + 1)]);
}

/** Splits dimension `dim` into `sizes`; one may be -1. */
export function unflatten<D extends DType>(x: Tensor<D>, dim: number, sizes: Shape): Tensor<D> {
  const d = normalizeDim("unflatten", dim, x.rank);
  const at = sizes.indexOf(-1);
  const rest = numel(sizes.filter((s) => s !== -1));
  const filledIn = sizes.map((s, i) => (i === at ? x.shape[d]! / rest : s));
  if (numel(filledIn) !== x.shape[d]) {
    throw new ShapeError(`unflatten: dimension ${dim} of ${format(x.shape)} has ${x.shape[d]} elements, which ${format(sizes)} does not hold`);
  }
  return reshape(x, [...x.shape.slice(0, d), ...filledIn, ...x.shape.slice(d + 1)]);
}

const permuteOp = defineOp<"x", { order: readonly number[] }>({
  name: "permute",
  inputs: ["x"],
  view: true,
  forward: ([x], { order }) => alias(x!, order.map((d) => x!.shape[d]!), order.map((d) => x!.strides[d]!)),
  grad: {
    x: {
      formula: (c) => {
        const back = new Array<number>(c.options.order.length);
        c.options.order.forEach((d, i) => {
          back[d] = i;
        });
        return permute(c.dy, back);
      },
    },
  },
  samples: () => [{ inputs: { x: [2, 3, 4] }, options: { order: [2, 0, 1] } }],
  refusals: () => [{ call: () => permute(filled([2, 3], "float32", 0), [0, 0]), message: /permute: .*each dimension once/ }],
});

/** The dimensions in another order: result dimension i is dimension order[i] of x. A view. */
export function permute<D extends DType>(x: Tensor<D>, order: readonly number[]): Tensor<D> {
  const dims = order.map((d) => normalizeDim("permute", d, x.rank));
  if (dims.length !== x.rank || new Set(dims).size !== dims.length) {
    throw new ArgumentError(`permute: the order must name each dimension once, got ${format(order)} for ${format(x.shape)}`);
  }
  return permuteOp([x], { order: dims }) as Tensor<D>;
}

/** Two dimensions exchanged. A view. */
export function transpose<D extends DType>(x: Tensor<D>, dim0: number, dim1: number): Tensor<D> {
  const a = normalizeDim("transpose", dim0, x.rank);
  const b = normalizeDim("transpose", dim1, x.rank);
  if (x.rank === 0) return permute(x, []);
  const order = x.shape.map((_, i) => (i === a ? b : i === b ? a : i));
  return permute(x, order);
}

const expandOp = defineOp<"x", { shape: Shape }>({
  name: "expand",
  inputs: ["x"],
  view: true,
  forward: ([x], { shape }) => {
    const lead = shape.length - x!.shape.length;
    return alias(
      x!,
      shape,
      shape.map((size, i) => (i < lead || (x!.shape[i - lead] === 1 && size !== 1) ? 0 : x!.strides[i - lead]!)),
    );
  },
  grad: { x: { formula: (c) => sumTo(c.dy, c.shape("x")) } },
  samples: () => [{ inputs: { x: [1, 3] }, options: { shape: [4, 2, 3] } }],
  refusals: () => [{ call: () => expand(filled([2], "float32", 0), [3]), message: /expand: .*2.*3/ }],
});

/** Repeats dimensions of size 1 (and adds leading ones) without copying. A size of -1 keeps the dimension. */
export function expand<D extends DType>(x: Tensor<D>, shape: Shape): Tensor<D> {
  const lead = shape.length - x.rank;
  if (lead < 0) throw new ShapeError(`expand: ${format(shape)} has fewer dimensions than x ${format(x.shape)}`);
  const sizes = checkShape("expand", shape.map((s, i) => (s === -1 && i >= lead ? x.shape[i - lead]! : s)));
  for (let i = lead; i < sizes.length; i++) {
    const from = x.shape[i - lead]!;
    if (from !== sizes[i] && from !== 1) {
      throw new ShapeError(`expand: dimension ${i - lead} of x ${format(x.shape)} has size ${from}, which cannot repeat to ${sizes[i]} in ${format(sizes)}`);
    }
  }
  return expandOp([x], { shape: sizes }) as Tensor<D>;
}

/** @internal Sums over what was repeated, so that the result has `shape`: the derivative of broadcasting. */
export function sumTo<D extends DType>(x: Tensor<D>, shape: Shape): Tensor<D> {
  return summing(x, shape) as Tensor<D>;
}

let summing: (x: Tensor, shape: Shape) => Tensor = (x) => x;
/** @internal reduce.ts lends its sum (it is built on views itself). */
export function installSumTo(sum: (x: Tensor, shape: Shape) => Tensor): void {
  summing = sum;
}

/** A window of a storage: everything that a view is, in elements. */
export interface Window {
  readonly shape: Shape;
  readonly strides: readonly number[];
  readonly offset: number;
}

interface SliceOptions {
  dim: number;
  start: number;
  step: number;
  size: number;
}

const sliceOp: Op<"x", SliceOptions> = defineOp<"x", SliceOptions>({
  name: "slice",
  inputs: ["x"],
  view: true,
  forward: ([x], { dim, start, step, size }) => {
    const shape = x!.shape.map((s, i) => (i === dim ? size : s));
    const strides = x!.strides.map((s, i) => (i === dim ? s * step : s));
    return alias(x!, shape, strides, x!.offset + start * x!.strides[dim]!);
  },
  grad: {
    x: { formula: (c) => sliceScatterOp([c.dy], { ...c.options, into: c.shape("x") }) },
  },
  samples: () => [
    { inputs: { x: [5, 3] }, options: { dim: 0, start: 1, step: 2, size: 2 } },
    { inputs: { x: [2, 7] }, options: { dim: 1, start: 0, step: 3, size: 3 } },
    { inputs: { x: [2, 3] }, options: { dim: 1, start: 3, step: 1, size: 0 } },
  ],
});

const sliceScatterOp: Op<"dy", SliceOptions & { into: Shape }> = defineOp<"dy", SliceOptions & { into: Shape }>({
  name: "slice_scatter",
  inputs: ["dy"],
  forward: ([dy], { dim, start, step, into }) => {
    const y = filled(into, dy!.dtype, 0);
    const strides = y.strides.map((s, i) => (i === dim ? s * step : s));
    if (dy!.numel() > 0) copyInto(alias(y, dy!.shape, strides, start * y.strides[dim]!), dy!);
    return y;
  },
  grad: { dy: { formula: (c) => sliceOp([c.dy], c.options) } },
  samples: () => [{ inputs: { dy: [2, 3] }, options: { dim: 0, start: 1, step: 2, size: 2, into: [5, 3] } }],
});

/** `length` elements of dimension `dim` from `start` on. A view. */
export function narrow<D extends DType>(x: Tensor<D>, dim: number, start: number, length: number): Tensor<D> {
  const d = normalizeDim("narrow", dim, x.rank);
  const size = x.shape[d]!;
  checkInteger("narrow", "start", start, -size, size);
  const from = start < 0 ? start + size : start;
  checkInteger("narrow", "length", length, 0);
  if (from + length > size) {
    throw new IndexError(`narrow: start ${start} + length ${length} passes the ${size} elements of dimension ${dim} of ${format(x.shape)}`);
  }
  return sliceOp([x], { dim: d, start: from, step: 1, size: length }) as Tensor<D>;
}

/** Elements start, start + step, ... below `end` of one dimension, as Python's slices clip them. A view. */
export function slice<D extends DType>(x: Tensor<D>, dim: number, start?: number | null, end?: number | null, step = 1): Tensor<D> {
  const d = normalizeDim("slice", dim, x.rank);
  const size = x.shape[d]!;
  checkInteger("slice", "step", step, 1);
  const clip = (given: number | null | undefined, otherwise: number): number => {
    if (given === null || given === undefined) return otherwise;
    if (!Number.isInteger(given)) throw new ArgumentError(`slice: start and end must be integers, got ${describe(given)}`);
    return Math.min(Math.max(given < 0 ? given + size : given, 0), size);
  };
  const from = clip(start, 0);
  const to = clip(end, size);
  return sliceOp([x], { dim: d, start: from, step, size: Math.max(0, Math.ceil((to - from) / step)) }) as Tensor<D>;
}

/** One entry of a dimension, which disappears. A view. */
export function select<D extends DType>(x: Tensor<D>, dim: number, index: number): Tensor<D> {
  const d = normalizeDim("select", dim, x.rank);
  const size = x.shape[d];
  if (size === undefined) throw new IndexError("select: a scalar has no dimensions to index");
  if (!Number.isInteger(index) || index < -size || index >= size) {
    throw new IndexError(`select: index ${describe(index)} is out of range for dimension ${dim} of ${format(x.shape)} with size ${size}`);
  }
  return squeeze(sliceOp([x], { dim: d, start: index < 0 ? index + size : index, step: 1, size: 1 }) as Tensor<D>, d);
}

const strideOp = defineOp<"x", { to: Window }>({
  // squeeze, unsqueeze: sizes of 1 come and go, which reshape could not do for views that are not row-major.
  name: "squeeze",
  inputs: ["x"],
  view: true,
  forward: ([x], { to }) => alias(x!, to.shape, to.strides, to.offset),
  grad: { x: { formula: (c) => reshape(c.dy, c.shape("x")) } },
  samples: () => [{ inputs: { x: [2, 1, 3] }, options: { to: { shape: [2, 3], strides: [3, 1], offset: 0 } } }],
});

/** Removes dimensions of size 1: all of them, or those named (which are kept if their size is not 1). A view. */
export function squeeze<D extends DType>(x: Tensor<D>, dim?: number | readonly number[]): Tensor<D> {
  const named = dim === undefined ? null : (typeof dim === "number" ? [dim] : dim).map((d) => normalizeDim("squeeze", d, x.rank));
  const kept = x.shape.map((_, i) => i).filter((i) => x.shape[i] !== 1 || (named !== null && !named.includes(i)));
  const to = { shape: kept.map((i) => x.shape[i]!), strides: kept.map((i) => x.strides[i]!), offset: x.offset };
  return strideOp([x], { to }) as Tensor<D>;
}

/** Adds a dimension of size 1 before `dim`. A view. */
export function unsqueeze<D extends DType>(x: Tensor<D>, dim: number): Tensor<D> {
  const d = normalizeDim("unsqueeze", dim, x.rank + 1);
  const shape = [...x.shape];
  const strides = [...x.strides];
  strides.splice(d, 0, (shape[d] ?? 1) * (strides[d] ?? 1));
  shape.splice(d, 0, 1);
  checkShape("unsqueeze", shape);
  return strideOp([x], { to: { shape, strides, offset: x.offset } }) as Tensor<D>;
}

/** Whether two different positions of a window are the same element. */
export function overlaps({ shape, strides }: Window): boolean {
  if (numel(shape) === 0) return false;
  const dims = shape.map((size, i) => ({ size, stride: strides[i]! })).filter((d) => d.size > 1);
  dims.sort((a, b) => a.stride - b.stride);
  let reach = 0;
  for (const { size, stride } of dims) {
    if (stride <= reach) return true;
    reach += (size - 1) * stride;
  }
  return false;
}

const asStridedOp: Op<"x", Window> = defineOp<"x", Window>({
  name: "as_strided",
  inputs: ["x"],
  view: true,
  forward: ([x], { shape, strides, offset }) => alias(x!, shape, strides, offset),
  grad: { x: { formula: (c) => asStridedScatterOp([c.dy], { window: c.options, into: c.shape("x") }) } },
  samples: () => [
    { inputs: { x: [4, 5] }, options: { shape: [2, 3], strides: [10, 2], offset: 1 } },
    { inputs: { x: [8] }, options: { shape: [3, 4], strides: [2, 1], offset: 0 } },
  ],
});

const asStridedScatterOp: Op<"dy", { window: Window; into: Shape }> = defineOp<"dy", { window: Window; into: Shape }>({
  // Adds every element of the window to where it came from: the derivative of as_strided.
  name: "as_strided_scatter",
  inputs: ["dy"],
  composite: true,
  forward: ([dy], { window, into }) => {
    const y = filled(into, dy!.dtype, 0);
    if (!overlaps(window)) {
      copyInto(alias(y, window.shape, window.strides, window.offset), dy!);
      return y;
    }
    // Positions that share elements: add one row of the window after the other, in order.
    const flat = contiguous(dy!);
    const from = flat.storage.array(flat.dtype);
    const to = y.storage.array(y.dtype);
    const { shape, strides } = window;
    const at = new Array<number>(shape.length).fill(0);
    for (let i = 0; i < numel(shape); i++) {
      let position = window.offset;
      for (let d = 0; d < at.length; d++) position += at[d]! * strides[d]!;
      to[position] = to[position]! + from[flat.offset + i]!;
      for (let d = at.length - 1; d >= 0 && ++at[d]! === shape[d]; d--) at[d] = 0;
    }
    return y;
  },
  grad: { dy: { formula: (c) => asStridedOp([contiguousRecorded(c.dy)], c.options.window) } },
  samples: () => [
    { inputs: { dy: [2, 3] }, options: { window: { shape: [2, 3], strides: [10, 2], offset: 1 }, into: [4, 5] } },
    { inputs: { dy: [3, 4] }, options: { window: { shape: [3, 4], strides: [2, 1], offset: 0 }, into: [8] } },
  ],
});

/** @internal A view of a contiguous tensor with any window inside its elements. */
export function asStrided<D extends DType>(x: Tensor<D>, window: Window): Tensor<D> {
  return asStridedOp([x], window) as Tensor<D>;
}

const cloneOp = defineOp<"x">({
  name: "clone",
  inputs: ["x"],
  forward: ([x]) => copied(x!),
  grad: { x: { formula: (c) => c.dy } },
  samples: () => [{ inputs: { x: [2, 3] } }, { inputs: { x: [] } }],
});

/** A copy with memory of its own, row-major; gradients pass through. */
export function clone<D extends DType>(x: Tensor<D>): Tensor<D> {
  return cloneOp([x], undefined) as Tensor<D>;
}

function contiguousRecorded<D extends DType>(x: Tensor<D>): Tensor<D> {
  return x.isContiguous() && x.offset === 0 ? x : clone(x);
}

/** x itself if its elements lie in row-major order, else a copy that does; gradients pass through. */
export function toContiguous<D extends DType>(x: Tensor<D>): Tensor<D> {
  return isContiguous(x.shape, x.strides) ? x : clone(x);
}

const castOp: Op<"x", { dtype: DType; from: DType }> = defineOp<"x", { dtype: DType; from: DType }>({
  name: "cast",
  inputs: ["x"],
  forward: ([x], { dtype }) => converted(x!, dtype),
  grad: { x: { formula: (c) => castOp([c.dy], { dtype: c.options.from, from: c.options.dtype }) } },
  samples: () => [{ inputs: { x: [3] }, options: { dtype: "float64", from: "float64" } }],
});

/** The values as another element type (towards integers: cut off); x itself if it has that type already. */
export function cast<D extends DType>(x: Tensor, dtype: D): Tensor<D> {
  if (!isDType(dtype)) {
    throw new DTypeError(`cast: dtype must be "float32", "float64", "int32", "uint8" or "bool", got ${describe(dtype)}`);
  }
  if ((x.dtype as DType) === dtype) return x as unknown as Tensor<D>;
  if (isDifferentiable(x) && (dtype === "float32" || dtype === "float64")) return castOp([x], { dtype, from: x.dtype }) as Tensor<D>;
  return converted(x, dtype);
}

/** A constant that shares memory and version counter with x. */
export function detach<D extends DType>(x: Tensor<D>): Tensor<D> {
  return alias(x);
}

/** @internal An uninitialised tensor like x. */
export function emptyLike<D extends DType>(x: Tensor<D>): Tensor<D> {
  return empty(x.shape, x.dtype);
}
