import { bytesPerElement } from "../../lib/core/dtype.js";
import { Storage } from "../../lib/core/storage.js";
import { Tensor, type Shape } from "./xcorr.js";

/** The same values in other places of memory; everything around them is NaN (or -1). */

/** Copies `t` into memory of its own with the given strides and offset. */
export function arranged(t: Tensor, strides: readonly number[], offset: number): Tensor {
  const extent = t.shape.some((s) => s === 0)
    ? offset
    : offset + 1 + t.shape.reduce((sum, size, d) => sum + (size - 1) * strides[d]!, 0);
  // One more row than needed behind, so that reading past the end finds NaN too.
  const storage = new Storage((extent + 64) * bytesPerElement(t.dtype));
  storage.block.bytes.fill(0xff);
  const array = storage.array(t.dtype);
  const values = t.data();
  const index = new Array<number>(t.rank).fill(0);
  for (let i = 0; i < values.length; i++) {
    array[index.reduce((at, position, d) => at + position * strides[d]!, offset)] = values[i]!;
    for (let d = t.rank - 1; d >= 0 && ++index[d]! === t.shape[d]!; d--) index[d] = 0;
  }
  return new Tensor(t.dtype, t.shape, strides, offset, storage);
}

/** Strides of a shape whose dimensions lie in the given order, the last innermost, each step times `gap`. */
function stridesInOrder(shape: Shape, order: readonly number[], gap: number): number[] {
  const strides = new Array<number>(shape.length);
  let step = gap;
  for (const d of [...order].reverse()) {
    strides[d] = step;
    step *= Math.max(shape[d]!, 1) * gap;
  }
  return strides;
}

const ascending = (t: Tensor): number[] => t.shape.map((_, d) => d);

/** Arrangements that every op must take as it takes the contiguous one. */
export const layouts: Readonly<Record<string, (t: Tensor) => Tensor>> = {
  offset: (t) => arranged(t, stridesInOrder(t.shape, ascending(t), 1), 3),
  transposed: (t) => arranged(t, stridesInOrder(t.shape, ascending(t).reverse(), 1), 0),
  stepped: (t) => arranged(t, stridesInOrder(t.shape, ascending(t), 2), 5),
  // The last two dimensions exchanged in memory: what transpose() of a matrix gives.
  exchanged: (t) => {
    const order = ascending(t);
    const inner = order.splice(-2);
    return arranged(t, stridesInOrder(t.shape, [...order, ...inner.reverse()], 1), 1);
  },
};

/** `t` with all entries of dimension `dim` equal to the first, as a tensor that repeats it with stride 0. */
export function expanded(t: Tensor, dim: number): Tensor {
  const strides = [...t.strides];
  strides[dim] = 0;
  return new Tensor(t.dtype, t.shape, strides, t.offset, t.storage);
}
