/** fill and copy: constants, strided copies and conversions between element types. */

import type { KernelSizes } from "../backend/abi.js";
import type { Operands } from "../backend/contract.js";
import { type DType, dtypes, isFloating, type TypedArray } from "../core/dtype.js";
import { saturate } from "./functions.js";
import { rowLength, rowStarts, rowStride, view } from "./strided.js";

/** To bool: value != 0. From floating to integer: saturates, NaN gives 0. Between integers: wraps, as storing does. */
function store(to: TypedArray, index: number, value: number, fromFloat: boolean, dtype: DType): void {
  if (dtype === "bool") to[index] = value !== 0 ? 1 : 0;
  else if (fromFloat && dtype === "int32") to[index] = saturate(value, -(2 ** 31), 2 ** 31 - 1);
  else if (fromFloat && dtype === "uint8") to[index] = saturate(value, 0, 255);
  else to[index] = value;
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
