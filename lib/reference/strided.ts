/** Reading operands: contiguous views, and the rows of strided ones. */

import type { Operand } from "../backend/contract.js";
import type { TypedArray } from "../core/dtype.js";

/** The `length` elements of a contiguous operand. */
export function view(operand: Operand, length: number): TypedArray {
  return operand.array.subarray(operand.offset, operand.offset + length);
}

/** As `view`, or null if the call did not give the operand. */
export function viewIfGiven(operand: Operand | null, length: number): TypedArray | null {
  return operand === null ? null : view(operand, length);
}

/** Elements in a row, which is the last dimension; an operand of rank 0 is one row of one element. */
export function rowLength(rank: number, shape: readonly number[]): number {
  return rank === 0 ? 1 : shape[rank - 1]!;
}

/** The step, in elements, from one element of a row to the next. */
export function rowStride(rank: number, stride: readonly number[]): number {
  return rank === 0 ? 0 : stride[rank - 1]!;
}

/** Where each row of a strided operand starts in its array, rows in row-major order. Strides may be 0 or negative. */
export function rowStarts(
  operand: Operand,
  rank: number,
  shape: readonly number[],
  stride: readonly number[],
): Float64Array {
  let starts = Float64Array.of(operand.offset);
  for (let d = 0; d < rank - 1; d++) {
    const size = shape[d]!;
    const step = stride[d]!;
    const next = new Float64Array(starts.length * size);
    for (let i = 0; i < starts.length; i++) {
      for (let j = 0; j < size; j++) next[i * size + j] = starts[i]! + j * step;
    }
    starts = next;
  }
  return starts;
}
