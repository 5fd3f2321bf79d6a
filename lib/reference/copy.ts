/** fill and copy: constants, strided copies and conversions between element types. */

import type { KernelSizes } from "../backend/abi.js";
import type { Operands } from "../backend/contract.js";
import { type DType, dtypes, isFloating, type TypedArray } from "../core/dtype.js";
import { rowLength, rowStarts, rowStride, view } from "./strided.js";

const lowest: Partial<Record<DType, number>> = { int32: -(2 ** 31), uint8: 0 };
const highest: Partial<Record<DType, number>> = { int32: 2 ** 31 - 1, uint8: 255 };

/**
 * Stores a value in an element of type `dtype`: to bool it is value != 0, from a floating type to an integer it is cut
 * off and saturates, with 0 for NaN, and from integer to integer it wraps, as typed arrays do.
 */
function store(to: TypedArray, index: number, value: number, fromFloat: boolean, dtype: DType): void {
  if (dtype === "bool") to[index] = value !== 0 ? 1 : 0;
  else if (!fromFloat || isFloating(dtype)) to[index] = value;
  else to[index] = Math.min(Math.max(Math.trunc(value), lowest[dtype]!), highest[dtype]!);
}

export function fill(s: KernelSizes<"fill">, [y]: Operands<"fill">, dtype: DType): number {
  if (s.count === 0) return 0;
  store(y.array, y.offset, s.value, true, dtype);
  view(y, s.count).fill(y.array[y.offset]!);
  return 0;
}

export function copy(s: KernelSizes<"copy">, [x, y]: Operands<"copy">, dtype: DType): number {
  const xType = dtypes[s.x_type]!;
  const fromFloat = isFloating(xType);
  const converts = xType !== dtype;
  const xStarts = rowStarts(x, s.rank, s.shape, s.x_stride);
  const yStarts = rowStarts(y, s.rank, s.shape, s.y_stride);
  const xStep = rowStride(s.rank, s.x_stride);
  const yStep = rowStride(s.rank, s.y_stride);
  const columns = rowLength(s.rank, s.shape);
  for (let row = 0; row < xStarts.length; row++) {
    let from = xStarts[row]!;
    let to = yStarts[row]!;
    for (let i = 0; i < columns; i++) {
      const value = x.array[from]!;
      if (converts) store(y.array, to, value, fromFloat, dtype);
      else y.array[to] = value;
      from += xStep;
      to += yStep;
    }
  }
  return 0;
}
