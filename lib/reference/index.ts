/**
 * index_select, index_add, gather, scatter: along the n of [outer, n, inner]. Every index is checked before anything is
 * written; a negative one is out of range.
 */

import { type KernelSizes, scatterCodes } from "../backend/abi.js";
import type { Operand, Operands } from "../backend/contract.js";

type IndexSizes = KernelSizes<"index_select">;

/** 0, or 1 + the position of the first of `count` indices that is not in [0, n). */
export function firstBadIndex(index: Operand, count: number, n: number): number {
  for (let i = 0; i < count; i++) {
    const value = index.array[index.offset + i]!;
    if (value < 0 || value >= n) return i + 1;
  }
  return 0;
}

export function index_select(s: IndexSizes, [x, index, y]: Operands<"index_select">): number {
  const bad = firstBadIndex(index, s.m, s.n);
  if (bad !== 0) return bad;
  let to = y.offset;
  for (let outer = 0; outer < s.outer; outer++) {
    for (let i = 0; i < s.m; i++) {
      const from = x.offset + (outer * s.n + index.array[index.offset + i]!) * s.inner;
      for (let inner = 0; inner < s.inner; inner++) y.array[to++] = x.array[from + inner]!;
    }
  }
  return 0;
}

export function index_add(s: KernelSizes<"index_add">, [x, index, y]: Operands<"index_add">): number {
  const bad = firstBadIndex(index, s.m, s.n);
  if (bad !== 0) return bad;
  const sums = new Float64Array(s.n * s.inner);
  let from = x.offset;
  for (let outer = 0; outer < s.outer; outer++) {
    const start = y.offset + outer * sums.length;
    sums.set(y.array.subarray(start, start + sums.length));
    for (let i = 0; i < s.m; i++) {
      const to = index.array[index.offset + i]! * s.inner;
      for (let inner = 0; inner < s.inner; inner++) sums[to + inner]! += x.array[from++]!;
    }
    y.array.set(sums, start);
  }
  return 0;
}

export function gather(s: KernelSizes<"gather">, [x, index, y]: Operands<"gather">): number {
  const bad = firstBadIndex(index, s.outer * s.m * s.inner, s.n);
  if (bad !== 0) return bad;
  let at = 0;
  for (let outer = 0; outer < s.outer; outer++) {
    for (let i = 0; i < s.m; i++) {
      for (let inner = 0; inner < s.inner; inner++) {
        const row = outer * s.n + index.array[index.offset + at]!;
        y.array[y.offset + at] = x.array[x.offset + row * s.inner + inner]!;
        at++;
      }
    }
  }
  return 0;
}

/** Of several values assigned to one place the last in row-major order stays. */
export function scatter(s: KernelSizes<"scatter">, [x, index, y]: Operands<"scatter">): number {
  const bad = firstBadIndex(index, s.outer * s.m * s.inner, s.n);
  if (bad !== 0) return bad;
  const adds = scatterCodes[s.op] === "add";
  const values = new Float64Array(s.n * s.inner);
  let at = 0;
  for (let outer = 0; outer < s.outer; outer++) {
    const start = y.offset + outer * values.length;
    values.set(y.array.subarray(start, start + values.length));
    for (let i = 0; i < s.m; i++) {
      for (let inner = 0; inner < s.inner; inner++) {
        const to = index.array[index.offset + at]! * s.inner + inner;
        const value = x.array[x.offset + at]!;
        values[to] = adds ? values[to]! + value : value;
        at++;
      }
    }
    y.array.set(values, start);
  }
  return 0;
}
