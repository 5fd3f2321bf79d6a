import { type DType, isFloating } from "../core/dtype.js";
import { ArgumentError, DTypeError, IndexError, ShapeError } from "../core/errors.js";
import { checkBoolean, checkOptions } from "../core/options.js";
import { broadcastShapes, contiguousStrides, describe, format, numel, type Shape, sameShape } from "../core/shape.js";
import { empty, isTensor, named, type Tensor } from "../core/tensor.js";
import { indexSelect, wrapped } from "./indexing.js";
import { assign } from "./inplace.js";
import { checkTensor, filled } from "./kernel.js";
import { installMethods } from "./methods.js";
import { scatter, scatterAdd } from "./scatter.js";
import { cast, expand, permute, reshape, select, slice, unsqueeze } from "./view.js";
import { where } from "./where.js";

/**
 * Indexing by position: `x.get(1, [2, 5], "...", indices)` for reading, `x.set([1, [2, 5]], value)` for writing.
 *
 * Items, one per dimension from the first on; what is left out is taken whole:
 *   number                 that entry; the dimension disappears. Negative ones count from the end.
 *   [start, end]           the entries from start up to, not including, end, clipped like Python's slices; null leaves
 *   or { start, end, step }  an end open. Steps are positive.
 *   null                   a new dimension of size 1
 *   "..."                  whole dimensions until the items behind it fit the last ones
 *   int32 tensor           the entries it names, in its shape; several broadcast and are taken together
 *   bool tensor            the places where it is true; it stands for as many dimensions as it has
 * Numbers, ranges, null and "..." make a view; tensors make a copy. The dimensions that tensors give stand where the
 * tensors stood if these are neighbours, else in front, as in PyTorch.
 */
export type IndexItem =
  | number
  | null
  | "..."
  | readonly [start: number | null, end: number | null]
  | { readonly start?: number | null; readonly end?: number | null; readonly step?: number }
  | Tensor;

/** The places where a bool tensor is true: one int32 vector per dimension, in row-major order. */
function truePlaces(mask: Tensor): Tensor<"int32">[] {
  const values = mask.data();
  let count = 0;
  for (const v of values) count += Number(v !== 0);
  const columns = mask.shape.map(() => empty([count], "int32"));
  const arrays = columns.map((c) => c.storage.array("int32"));
  const strides = contiguousStrides(mask.shape);
  let at = 0;
  for (let i = 0; i < values.length; i++) {
    if (values[i] === 0) continue;
    for (let d = 0; d < arrays.length; d++) arrays[d]![at] = Math.floor(i / strides[d]!) % mask.shape[d]!;
    at++;
  }
  return columns;
}

/** How many dimensions of x an item uses up. */
function consumed(item: IndexItem): number {
  if (item === null || item === "...") return 0;
  return isTensor(item) && item.dtype === "bool" ? item.rank : 1;
}

function checkItem(call: string, item: unknown, at: number): asserts item is IndexItem {
  if (item === null || item === "...") return;
  if (typeof item === "number") {
    if (!Number.isInteger(item))
      throw new ArgumentError(`${call}: item ${at} must be an integer, got ${describe(item)}`);
    return;
  }
  if (isTensor(item)) {
    if (item.dtype === "int32" || item.dtype === "bool") return;
    throw new DTypeError(`${call}: ${named(`item ${at}`, item)} must be an int32 or bool tensor`);
  }
  if (Array.isArray(item) && item.length === 2) return;
  if (typeof item === "object" && !Array.isArray(item)) {
    checkOptions(`${call}: item ${at}`, item, ["start", "end", "step"]);
    return;
  }
  throw new ArgumentError(
    `${call}: item ${at} must be an integer, a range [start, end] or { start, end, step }, null, "..." or an int32 or bool ` +
      `tensor, got ${describe(item)}; give lists of indices as tensors`,
  );
}

/** x after all items but tensors, with the index tensors (bool ones as places) per dimension that is left. */
function applyItems(
  call: string,
  x: Tensor,
  items: readonly IndexItem[],
): { y: Tensor; tensors: (Tensor<"int32"> | null)[] } {
  for (let i = 0; i < items.length; i++) checkItem(call, items[i], i);
  const dots = items.filter((item) => item === "...").length;
  if (dots > 1) throw new ArgumentError(`${call}: there can be only one "..."`);
  const used = items.reduce<number>((n, item) => n + consumed(item), 0);
  if (used > x.rank) {
    throw new IndexError(`${call}: ${used} items for the ${x.rank} dimensions of ${format(x.shape)}`);
  }
  let y = x;
  const tensors: (Tensor<"int32"> | null)[] = [];
  const whole = (count: number): void => {
    for (let i = 0; i < count; i++) tensors.push(null);
  };
  for (const item of items) {
    const d = tensors.length;
    if (item === "...") whole(x.rank - used);
    else if (item === null) {
      y = unsqueeze(y, d);
      tensors.push(null);
    } else if (typeof item === "number") y = chosen(call, y, d, item);
    else if (isTensor(item)) {
      if (item.dtype === "int32") {
        tensors.push(wrapped(call, item as Tensor<"int32">, y.shape[d]!));
      } else if (item.rank === 0) {
        y = unsqueeze(y, d);
        tensors.push(truePlaces(reshape(item, [1]))[0]!);
      } else {
        const own = y.shape.slice(d, d + item.rank);
        if (!sameShape(own, item.shape)) {
          throw new IndexError(
            `${call}: the mask ${format(item.shape)} must have the sizes ${format(own)} of the dimensions that it stands for`,
          );
        }
        tensors.push(...truePlaces(item));
      }
    } else {
      const range = Array.isArray(item) ? { start: item[0], end: item[1] } : (item as { start?: number; end?: number });
      y = slice(y, d, range.start, range.end, (range as { step?: number }).step ?? 1);
      tensors.push(null);
    }
  }
  whole(y.rank - tensors.length);
  return { y, tensors };
}

function chosen(call: string, x: Tensor, dim: number, index: number): Tensor {
  const size = x.shape[dim]!;
  if (index < -size || index >= size) {
    throw new IndexError(`${call}: index ${index} is out of range for dimension ${dim} of ${format(x.shape)}`);
  }
  return select(x, dim, index);
}

/** Takes the entries that index tensors name together. */
function takeTogether(call: string, y: Tensor, tensors: readonly (Tensor<"int32"> | null)[]): Tensor {
  const dims = tensors.map((_, i) => i).filter((i) => tensors[i] !== null);
  if (dims.length === 0) return y;
  let shape: Shape = [];
  for (const d of dims) shape = broadcastShapes(call, shape, tensors[d]!.shape);
  // The indexed dimensions first, as one; the places in it.
  const rest = y.shape.map((_, i) => i).filter((i) => !dims.includes(i));
  const sizes = dims.map((d) => y.shape[d]!);
  const steps = contiguousStrides(sizes);
  const places = empty([numel(shape)], "int32");
  const to = places.storage.array("int32").fill(0, 0, numel(shape));
  dims.forEach((d, i) => {
    const values = expand(tensors[d]!, shape).data();
    for (let j = 0; j < values.length; j++) to[j]! += values[j]! * steps[i]!;
  });
  const front = permute(y, [...dims, ...rest]);
  const restShape = rest.map((d) => y.shape[d]!);
  const taken = indexSelect(reshape(front, [numel(sizes), ...restShape]), 0, places);
  const result = reshape(taken, [...shape, ...restShape]);
  const neighbours = dims.every((d, i) => i === 0 || d === dims[i - 1]! + 1);
  if (!neighbours || dims[0] === 0) return result;
  const lead = dims[0]!;
  const n = shape.length;
  return permute(result, [
    ...Array.from({ length: lead }, (_, i) => n + i),
    ...shape.map((_, i) => i),
    ...Array.from({ length: rest.length - lead }, (_, i) => n + lead + i),
  ]);
}

function checkItems(call: string, items: unknown): void {
  if (Array.isArray(items)) return;
  throw new ArgumentError(
    `${call}: the items must be in a list, such as x.set([0, [1, 3]], value), got ${describe(items)}`,
  );
}

/** Elements of x by position; see `IndexItem` for what items are. Gradients flow, adding up over repeated indices. */
export function getItem<D extends DType>(x: Tensor<D>, items: readonly IndexItem[]): Tensor<D> {
  checkTensor("get", "x", x);
  checkItems("get", items);
  const { y, tensors } = applyItems("get", x as Tensor, items);
  const result = takeTogether("get", y, tensors);
  return (result === (x as Tensor) ? expand(x, x.shape) : result) as Tensor<D>; // a view of its own, also of all
}

export interface SetOptions {
  /** Add to what is there instead of replacing it; repeated indices add up. Default false. */
  readonly accumulate?: boolean;
}

/**
 * Writes into x by position, in place: `x.set([0, [2, 5]], value)`. The value is a number or a tensor that broadcasts to
 * what the items select. Differentiable like every in-place operation; of several values for one place the last stays,
 * or all add up with `accumulate`.
 */
export function setItem<D extends DType>(
  x: Tensor<D>,
  items: readonly IndexItem[],
  value: Tensor | number | boolean,
  options: SetOptions = {},
): Tensor<D> {
  const call = "set";
  checkTensor(call, "x", x);
  checkOptions(call, options, ["accumulate"]);
  if (options.accumulate !== undefined) checkBoolean(call, "accumulate", options.accumulate); // fit's is a number
  checkItems(call, items);
  const accumulate = options.accumulate ?? false;
  const source: Tensor = isTensor(value)
    ? value
    : typeof value === "number" || typeof value === "boolean"
      ? filled([], x.dtype, Number(value))
      : refuse(value);
  if (isFloating(source.dtype) && isFloating(x.dtype) && source.dtype !== (x.dtype as DType)) {
    throw new DTypeError(`${call}: ${named("value", source)} must have x's dtype ${x.dtype}`);
  }
  const mask = items.length === 1 && isTensor(items[0]) && items[0].dtype === "bool" ? items[0] : null;
  if (mask !== null && !accumulate && source.numel() === 1 && sameShape(mask.shape, x.shape)) {
    assign(call, x, where(mask, reshape(cast(source, x.dtype), []) as Tensor, x as Tensor));
    return x;
  }
  if (!items.some(isTensor)) {
    const { y } = applyItems(call, x as Tensor, items);
    assign(call, y, accumulate ? y.add(source) : source);
    return x;
  }
  // The places in the flattened x, found by indexing the numbers 0, 1, 2, ... in its shape.
  const numbers = empty(x.shape, "int32");
  const array = numbers.storage.array("int32");
  for (let i = 0; i < numbers.numel(); i++) array[i] = i;
  const { y, tensors } = applyItems(call, numbers as Tensor, items);
  const places = takeTogether(call, y, tensors);
  const spread = spreadTo(call, cast(source, x.dtype), places.shape);
  const write = accumulate ? scatterAdd : scatter;
  const flat = write(reshape(x, [-1]), 0, reshape(places, [-1]), reshape(spread, [-1]));
  assign(call, x, reshape(flat, x.shape));
  return x;
}

function refuse(value: unknown): never {
  throw new ArgumentError(`set: the value must be a tensor or a number, got ${describe(value)}`);
}

/** A value broadcast to the selected places; leading sizes of 1 beyond them are dropped, as PyTorch does. */
function spreadTo<D extends DType>(call: string, value: Tensor<D>, shape: Shape): Tensor<D> {
  let v = value;
  while (v.rank > shape.length && v.shape[0] === 1) v = reshape(v, v.shape.slice(1));
  const fits = v.rank <= shape.length && v.shape.every((s, i) => s === 1 || s === shape[shape.length - v.rank + i]);
  if (!fits) {
    throw new ShapeError(
      `${call}: a value ${format(value.shape)} does not broadcast to the ${format(shape)} elements that the items select`,
    );
  }
  return expand(v, shape);
}

/** The positions of all elements that are not zero, one row each: int32 [count, rank], in row-major order. */
export function nonzero(x: Tensor): Tensor<"int32"> {
  checkTensor("nonzero", "x", x);
  const columns = truePlaces(x.dtype === "bool" ? x : cast(x, "bool"));
  const count = columns[0]?.numel() ?? Number(Number(x.item()) !== 0);
  const y = empty([count, x.rank], "int32");
  const to = y.storage.array("int32");
  columns.forEach((c, d) => {
    const from = c.storage.array("int32");
    for (let i = 0; i < count; i++) to[i * x.rank + d] = from[i]!;
  });
  return y;
}

/** Places of true elements in the flattened mask. */
function flatPlaces(mask: Tensor): Tensor<"int32"> {
  return truePlaces(reshape(mask, [-1]))[0]!;
}

function checkBool(call: string, mask: Tensor): void {
  checkTensor(call, "mask", mask);
  if (mask.dtype !== "bool") throw new DTypeError(`${call}: ${named("mask", mask)} must be bool`);
}

/** The elements of x where the mask is true, as a vector; both broadcast. */
export function maskedSelect<D extends DType>(x: Tensor<D>, mask: Tensor): Tensor<D> {
  checkTensor("maskedSelect", "x", x);
  checkBool("maskedSelect", mask);
  const shape = broadcastShapes("maskedSelect", x.shape, mask.shape);
  return indexSelect(reshape(expand(x, shape), [-1]), 0, flatPlaces(expand(mask, shape)));
}

/** x with the elements where the mask (which broadcasts to x) is true replaced by the first elements of source, in order. */
export function maskedScatter<D extends DType>(x: Tensor<D>, mask: Tensor, source: Tensor<D>): Tensor<D> {
  checkTensor("maskedScatter", "x", x);
  checkBool("maskedScatter", mask);
  checkTensor("maskedScatter", "source", source);
  if (!sameShape(broadcastShapes("maskedScatter", mask.shape, x.shape), x.shape))
    throw new ShapeError(`maskedScatter: mask ${format(mask.shape)} must broadcast to x ${format(x.shape)}`);
  const places = flatPlaces(expand(mask, x.shape));
  if (source.numel() < places.numel()) {
    throw new ShapeError(
      `maskedScatter: the mask chooses ${places.numel()} elements, but source ${format(source.shape)} has ${source.numel()}`,
    );
  }
  const values = slice(reshape(source, [-1]), 0, 0, places.numel());
  return reshape(scatter(reshape(x, [-1]), 0, places, values), x.shape);
}

declare module "../core/tensor.js" {
  interface Tensor<D extends DType = DType> {
    /** Elements by position: `x.get(0, [2, 5], "...", indices)`; see `IndexItem`. */
    get(...items: IndexItem[]): Tensor<D>;
    /** Writes by position in place: `x.set([0, [2, 5]], value)`; see `setItem`. */
    set(items: readonly IndexItem[], value: Tensor | number | boolean, options?: SetOptions): Tensor<D>;
    nonzero(): Tensor<"int32">;
    maskedSelect(mask: Tensor): Tensor<D>;
    maskedScatter(mask: Tensor, source: Tensor<D>): Tensor<D>;
  }
}

installMethods({
  get: (x: Tensor, ...items: IndexItem[]) => getItem(x, items),
  set: setItem,
  nonzero,
  maskedSelect,
  maskedScatter,
});
