import { type DType, isDType } from "../core/dtype.js";
import { ArgumentError, DTypeError, IndexError, ShapeError } from "../core/errors.js";
import { checkInteger } from "../core/options.js";
import {
  checkShape,
  contiguousStrides,
  describe,
  format,
  isContiguous,
  normalizeDim,
  normalizeDims,
  numel,
  type Shape,
} from "../core/shape.js";
import { alias, empty, isDifferentiable, isTensor, type Tensor } from "../core/tensor.js";
import { defineOp, type Op } from "./define.js";
import { checkTensor, contiguous, converted, copied, copyInto, filled } from "./kernel.js";

/** Views and copies: what changes the window on memory, not the numbers. */

const reshapeOp = defineOp<"x", { shape: Shape }>({
  name: "reshape",
  inputs: ["x"],
  view: true,
  forward: ([x], { shape }) => alias(x!, shape, contiguousStrides(shape)),
  grad: { x: { formula: (c) => reshape(c.dy, c.shape("x")) } },
  // The public function hands over row-major inputs only.
  samples: () => [{ inputs: { x: [2, 6] }, options: { shape: [3, 4] }, skip: ["layouts"] }],
});

/** Refuses what is no tensor, and what is no list of sizes or dimensions. */
function checkView(call: string, x: unknown, argument: string, list: unknown): void {
  if (!isTensor(x)) throw new ArgumentError(`${call}: x must be a tensor, got ${describe(x)}`);
  if (!Array.isArray(list)) throw new ArgumentError(`${call}: ${argument} must be a list, got ${describe(list)}`);
}

/** A size of -1 is whatever makes the number of elements fit. */
function inferShape(call: string, x: Tensor, wanted: readonly number[]): number[] {
  checkView(call, x, "shape", wanted);
  const at = wanted.indexOf(-1);
  const sizes = checkShape(call, at < 0 ? wanted : wanted.map((s, i) => (i === at ? 1 : s)));
  if (at >= 0) {
    const rest = numel(sizes);
    const count = x.numel();
    if (rest === 0 || count % rest !== 0) {
      throw new ShapeError(
        `${call}: ${format(x.shape)} has ${count} elements, which do not divide into ${format(wanted)}`,
      );
    }
    sizes[at] = count / rest;
  }
  if (numel(sizes) !== x.numel()) {
    throw new ShapeError(
      `${call}: ${format(x.shape)} has ${x.numel()} elements, but ${format(wanted)} takes ${numel(sizes)}`,
    );
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
    throw new ShapeError(
      `view: the elements of x ${format(x.shape)} (strides ${format(x.strides)}) do not lie in row-major order; use reshape()`,
    );
  }
  return reshapeOp([x], { shape: sizes }) as Tensor<D>;
}

/** Joins dimensions `start` to `end` (both included) into one. */
export function flatten<D extends DType>(x: Tensor<D>, start = 0, end = -1): Tensor<D> {
  checkView("flatten", x, "x", []);
  const from = normalizeDim("flatten", start, x.rank);
  const to = normalizeDim("flatten", end, x.rank);
  if (x.rank === 0) return reshape(x, [1]);
  if (from > to) throw new ArgumentError(`flatten: start ${start} lies behind end ${end} for ${format(x.shape)}`);
  return reshape(x, [...x.shape.slice(0, from), numel(x.shape.slice(from, to + 1)), ...x.shape.slice(to + 1)]);
}

/** Splits dimension `dim` into `sizes`; one may be -1. */
export function unflatten<D extends DType>(x: Tensor<D>, dim: number, sizes: Shape): Tensor<D> {
  checkView("unflatten", x, "sizes", sizes);
  const d = normalizeDim("unflatten", dim, x.rank);
  const at = sizes.indexOf(-1);
  const rest = numel(sizes.filter((s) => s !== -1));
  const filledIn = sizes.map((s, i) => (i === at ? x.shape[d]! / rest : s));
  if (numel(filledIn) !== x.shape[d]) {
    throw new ShapeError(
      `unflatten: dimension ${dim} of ${format(x.shape)} has ${x.shape[d]} elements, which ${format(sizes)} does not hold`,
    );
  }
  return reshape(x, [...x.shape.slice(0, d), ...filledIn, ...x.shape.slice(d + 1)]);
}

const permuteOp = defineOp<"x", { order: readonly number[] }>({
  name: "permute",
  inputs: ["x"],
  view: true,
  forward: ([x], { order }) =>
    alias(
      x!,
      order.map((d) => x!.shape[d]!),
      order.map((d) => x!.strides[d]!),
    ),
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
  refusals: () => [
    { call: () => permute(filled([2, 3], "float32", 0), [0, 0]), message: /permute: .*each dimension once/ },
  ],
});

/** The dimensions in another order: result dimension i is dimension order[i] of x. A view. */
export function permute<D extends DType>(x: Tensor<D>, order: readonly number[]): Tensor<D> {
  checkView("permute", x, "the order", order);
  const dims = order.map((d) => normalizeDim("permute", d, x.rank));
  if (dims.length !== x.rank || new Set(dims).size !== dims.length) {
    throw new ArgumentError(
      `permute: the order must name each dimension once, got ${format(order)} for ${format(x.shape)}`,
    );
  }
  return permuteOp([x], { order: dims }) as Tensor<D>;
}

/** Two dimensions exchanged. A view. */
export function transpose<D extends DType>(x: Tensor<D>, dim0: number, dim1: number): Tensor<D> {
  checkView("transpose", x, "x", []);
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
  checkView("expand", x, "shape", shape);
  const lead = shape.length - x.rank;
  if (lead < 0) throw new ShapeError(`expand: ${format(shape)} has fewer dimensions than x ${format(x.shape)}`);
  const sizes = checkShape(
    "expand",
    shape.map((s, i) => (s === -1 && i >= lead ? x.shape[i - lead]! : s)),
  );
  for (let i = lead; i < sizes.length; i++) {
    const from = x.shape[i - lead]!;
    if (from !== sizes[i] && from !== 1) {
      throw new ShapeError(
        `expand: dimension ${i - lead} of x ${format(x.shape)} has size ${from}, which cannot repeat to ${sizes[i]} in ${format(sizes)}`,
      );
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

/** @internal A window of a storage: everything that a view is, in elements. */
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
    x: { formula: (c) => sliceScatterOp([c.dy], { into: c.shape("x"), ...c.options }) },
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
  checkView("narrow", x, "x", []);
  const d = normalizeDim("narrow", dim, x.rank);
  const size = x.shape[d];
  if (size === undefined) throw new IndexError("narrow: a scalar has no dimensions to cut");
  checkInteger("narrow", "start", start, -size, size);
  const from = start < 0 ? start + size : start;
  checkInteger("narrow", "length", length, 0);
  if (from + length > size) {
    throw new IndexError(
      `narrow: start ${start} + length ${length} passes the ${size} elements of dimension ${dim} of ${format(x.shape)}`,
    );
  }
  return sliceOp([x], { dim: d, start: from, step: 1, size: length }) as Tensor<D>;
}

/** Elements start, start + step, ... below `end` of one dimension, as Python's slices clip them. A view. */
export function slice<D extends DType>(
  x: Tensor<D>,
  dim: number,
  start?: number | null,
  end?: number | null,
  step = 1,
): Tensor<D> {
  checkView("slice", x, "x", []);
  const d = normalizeDim("slice", dim, x.rank);
  const size = x.shape[d];
  if (size === undefined) throw new IndexError("slice: a scalar has no dimensions to cut");
  checkInteger("slice", "step", step, 1);
  const clip = (given: number | null | undefined, otherwise: number): number => {
    if (given === null || given === undefined) return otherwise;
    if (!Number.isInteger(given))
      throw new ArgumentError(`slice: start and end must be integers, got ${describe(given)}`);
    return Math.min(Math.max(given < 0 ? given + size : given, 0), size);
  };
  const from = clip(start, 0);
  const to = clip(end, size);
  return sliceOp([x], { dim: d, start: from, step, size: Math.max(0, Math.ceil((to - from) / step)) }) as Tensor<D>;
}

/** One entry of a dimension, which disappears. A view. */
export function select<D extends DType>(x: Tensor<D>, dim: number, index: number): Tensor<D> {
  checkView("select", x, "x", []);
  const d = normalizeDim("select", dim, x.rank);
  const size = x.shape[d];
  if (size === undefined) throw new IndexError("select: a scalar has no dimensions to index");
  if (!Number.isInteger(index) || index < -size || index >= size) {
    throw new IndexError(
      `select: index ${describe(index)} is out of range for dimension ${dim} of ${format(x.shape)} with size ${size}`,
    );
  }
  return squeeze(sliceOp([x], { dim: d, start: index < 0 ? index + size : index, step: 1, size: 1 }) as Tensor<D>, d);
}

const squeezeOp: Op<"x", { dims: readonly number[] }> = defineOp<"x", { dims: readonly number[] }>({
  name: "squeeze",
  inputs: ["x"],
  view: true,
  forward: ([x], { dims }) => {
    const kept = x!.shape.map((_, i) => i).filter((i) => !dims.includes(i));
    return alias(
      x!,
      kept.map((i) => x!.shape[i]!),
      kept.map((i) => x!.strides[i]!),
    );
  },
  grad: { x: { formula: (c) => c.options.dims.reduce((dy, d) => unsqueezeOp([dy], { dim: d }), c.dy) } },
  samples: () => [
    { inputs: { x: [2, 1, 3] }, options: { dims: [1] } },
    { inputs: { x: [1, 3, 1, 2] }, options: { dims: [0, 2] } },
  ],
});

const unsqueezeOp: Op<"x", { dim: number }> = defineOp<"x", { dim: number }>({
  name: "unsqueeze",
  inputs: ["x"],
  view: true,
  forward: ([x], { dim }) => {
    const shape = x!.shape.slice();
    const strides = x!.strides.slice();
    strides.splice(dim, 0, (shape[dim] ?? 1) * (strides[dim] ?? 1));
    shape.splice(dim, 0, 1);
    return alias(x!, shape, strides);
  },
  grad: { x: { formula: (c) => squeezeOp([c.dy], { dims: [c.options.dim] }) } },
  samples: () => [
    { inputs: { x: [2, 3] }, options: { dim: 0 } },
    { inputs: { x: [2, 3] }, options: { dim: 2 } },
    { inputs: { x: [] }, options: { dim: 0 } },
  ],
});

/** Removes dimensions of size 1: all of them, or those named (which are kept if their size is not 1). A view. */
export function squeeze<D extends DType>(x: Tensor<D>, dim?: number | readonly number[]): Tensor<D> {
  checkView("squeeze", x, "dim", []);
  const named = dim === undefined ? null : normalizeDims("squeeze", dim, x.rank);
  const dims = x.shape.map((_, i) => i).filter((i) => x.shape[i] === 1 && (named === null || named.includes(i)));
  return squeezeOp([x], { dims }) as Tensor<D>;
}

/** Adds a dimension of size 1 before `dim`. A view. */
export function unsqueeze<D extends DType>(x: Tensor<D>, dim: number): Tensor<D> {
  checkView("unsqueeze", x, "x", []);
  const d = normalizeDim("unsqueeze", dim, x.rank + 1);
  checkShape("unsqueeze", [1, ...x.shape]);
  return unsqueezeOp([x], { dim: d }) as Tensor<D>;
}

/** @internal Whether two different positions of a window are the same element. */
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

/** @internal Where the elements of a tensor lie, relative to its first one. */
export interface Geometry {
  readonly shape: Shape;
  readonly strides: readonly number[];
}

/** Elements of memory that a geometry reaches over. */
function extent({ shape, strides }: Geometry): number {
  return numel(shape) === 0 ? 0 : shape.reduce((reach, size, d) => reach + (size - 1) * strides[d]!, 1);
}

const relayoutOp: Op<"x", { of: Geometry }> = defineOp<"x", { of: Geometry }>({
  // A copy of x that lies in memory as the geometry says, so that windows of another tensor fit it.
  name: "relayout",
  inputs: ["x"],
  forward: ([x], { of }) => {
    const y = alias(empty([extent(of)], x!.dtype), of.shape, of.strides, 0);
    copyInto(y, x!);
    return y;
  },
  grad: { x: { formula: (c) => c.dy } },
  samples: () => [
    { inputs: { x: [3, 4] }, options: { of: { shape: [3, 4], strides: [1, 3] } } },
    { inputs: { x: [2, 3] }, options: { of: { shape: [2, 3], strides: [12, 2] } } },
    { inputs: { x: [0, 3] }, options: { of: { shape: [0, 3], strides: [3, 1] } } },
  ],
});

/** x itself if its elements lie so already, else a copy that does. */
function laidOut(x: Tensor, of: Geometry): Tensor {
  const fits = x.strides.every((stride, d) => stride === of.strides[d] || of.shape[d]! <= 1);
  return fits ? x : relayoutOp([x], { of });
}

interface StridedOptions {
  /** Relative to the first element of x. */
  readonly window: Window;
  /** The geometry of x, which the window is made for. */
  readonly of: Geometry;
}

const asStridedOp: Op<"x", StridedOptions> = defineOp<"x", StridedOptions>({
  name: "as_strided",
  inputs: ["x"],
  view: true,
  forward: ([x], { window }) => alias(x!, window.shape, window.strides, x!.offset + window.offset),
  grad: { x: { formula: (c) => asStridedScatterOp([c.dy], c.options) } },
  // A window is made for one layout of x; samples come contiguous.
  samples: () =>
    stridedSamples
      .filter(({ of }) => isContiguous(of.shape, of.strides))
      .map((options) => ({ inputs: { x: options.of.shape }, options, skip: ["layouts"] })),
});

const asStridedScatterOp: Op<"dy", StridedOptions> = defineOp<"dy", StridedOptions>({
  // Adds every element of the window to where it came from, in zeros of the geometry: the derivative of as_strided.
  name: "as_strided_scatter",
  inputs: ["dy"],
  forward: ([dy], { window, of }) => {
    const y = alias(filled([extent(of)], dy!.dtype, 0), of.shape, of.strides, 0);
    if (!overlaps(window)) {
      if (dy!.numel() > 0) copyInto(alias(y, window.shape, window.strides, window.offset), dy!);
      return y;
    }
    // Positions that share elements: one after the other, in row-major order.
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
    if (flat !== dy) flat.dispose();
    return y;
  },
  grad: { dy: { formula: (c) => asStrided(laidOut(c.dy, c.options.of), c.options.window) } },
  samples: () => stridedSamples.map((options) => ({ inputs: { dy: options.window.shape }, options })),
});

const stridedSamples: readonly StridedOptions[] = [
  { window: { shape: [2, 3], strides: [10, 2], offset: 1 }, of: { shape: [4, 5], strides: [5, 1] } },
  { window: { shape: [3, 4], strides: [2, 1], offset: 0 }, of: { shape: [8], strides: [1] } },
  { window: { shape: [3], strides: [1], offset: 2 }, of: { shape: [3, 2], strides: [1, 3] } },
];

/** @internal A view with any window inside the elements of x, relative to its first. */
export function asStrided<D extends DType>(x: Tensor<D>, window: Window): Tensor<D> {
  return asStridedOp([x], { window, of: { shape: x.shape, strides: x.strides } }) as Tensor<D>;
}

const pasteOp: Op<"base" | "value", StridedOptions> = defineOp<"base" | "value", StridedOptions>({
  // base with a window of it replaced by value: the history of a base whose view was changed in place.
  name: "paste",
  inputs: ["base", "value"],
  forward: ([base, value], { window, of }) => {
    const y = relayoutOp([base!], { of });
    copyInto(alias(y, window.shape, window.strides, window.offset), value!);
    return y;
  },
  grad: {
    base: {
      formula: (c) => pasteOp([c.dy, filled(c.options.window.shape, c.dy.dtype, 0)], c.options),
    },
    value: {
      formula: (c) => asStrided(laidOut(c.dy, c.options.of), c.options.window),
    },
  },
  samples: () => [
    {
      inputs: { base: [4, 5], value: [2, 3] },
      options: { window: { shape: [2, 3], strides: [10, 2], offset: 1 }, of: { shape: [4, 5], strides: [5, 1] } },
    },
    {
      inputs: { base: [4, 5], value: [2, 5] },
      options: { window: { shape: [2, 5], strides: [1, 4], offset: 2 }, of: { shape: [4, 5], strides: [1, 4] } },
    },
  ],
});

/** @internal Gives `base`, whose window `view` now holds `value`, the history of that. */
export function recordPaste(before: Tensor, value: Tensor, view: Tensor, base: Tensor): void {
  const window = { shape: view.shape, strides: view.strides, offset: view.offset - base.offset };
  pasteOp.record([before, value], { window, of: { shape: base.shape, strides: base.strides } }, base);
}

const cloneOp = defineOp<"x">({
  name: "clone",
  inputs: ["x"],
  forward: ([x]) => copied(x!),
  grad: { x: { formula: (c) => c.dy } },
  samples: () => [{ inputs: { x: [2, 3] } }, { inputs: { x: [] } }],
});

/** @internal Gives `target`, which now holds the values of `value`, the history of a copy. */
export function recordCopy(value: Tensor, target: Tensor): void {
  cloneOp.record([value], undefined, target);
}

/** A copy with memory of its own, row-major; gradients pass through. */
export function clone<D extends DType>(x: Tensor<D>): Tensor<D> {
  checkView("clone", x, "x", []);
  return cloneOp([x], undefined) as Tensor<D>;
}

/** x itself if its elements lie in row-major order, else a copy that does; gradients pass through. */
export function toContiguous<D extends DType>(x: Tensor<D>): Tensor<D> {
  checkView("toContiguous", x, "x", []);
  return isContiguous(x.shape, x.strides) ? x : clone(x);
}

const castOp: Op<"x", { dtype: DType }> = defineOp<"x", { dtype: DType }>({
  name: "cast",
  inputs: ["x"],
  forward: ([x], { dtype }) => converted(x!, dtype),
  grad: { x: { formula: (c) => castOp([c.dy], { dtype: c.dtype("x") }) } },
  samples: () => [
    { inputs: { x: [3] }, options: { dtype: "float64" } },
    // Rounding to float32 is too coarse for difference quotients.
    { inputs: { x: [2, 3] }, options: { dtype: "float32" }, skip: ["gradcheck", "gradgradcheck"], tolerance: 1e-7 },
  ],
});

/** The values as another element type (towards integers: cut off); x itself if it has that type already. */
export function cast<D extends DType>(x: Tensor, dtype: D): Tensor<D> {
  if (!isDType(dtype)) {
    throw new DTypeError(
      `cast: dtype must be "float32", "float64", "int32", "uint8" or "bool", got ${describe(dtype)}`,
    );
  }
  if ((x.dtype as DType) === dtype) return x as unknown as Tensor<D>;
  if (isDifferentiable(x) && (dtype === "float32" || dtype === "float64")) return castOp([x], { dtype }) as Tensor<D>;
  return converted(x, dtype);
}

/** A constant that shares memory and version counter with x. */
export function detach<D extends DType>(x: Tensor<D>): Tensor<D> {
  checkView("detach", x, "x", []);
  return alias(x);
}

/** @internal An uninitialised tensor like x. */
export function emptyLike<D extends DType>(x: Tensor<D>): Tensor<D> {
  checkTensor("emptyLike", "x", x);
  return empty(x.shape, x.dtype);
}
