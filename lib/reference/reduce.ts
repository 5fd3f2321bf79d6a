/** reduce, arg_reduce, scan, sort: over the middle of [outer, count, inner]. */

import { type KernelSizes, type ReduceCode, reduceCodes } from "../backend/abi.js";
import type { Operands } from "../backend/contract.js";
import type { DType } from "../core/dtype.js";

interface Fold {
  /** The result of folding nothing. */
  readonly start: number;
  /** Adds a value to the result so far; on ties max and min keep what came first, and NaN wins. */
  readonly next: (soFar: number, value: number) => number;
}

const floatFolds: Record<ReduceCode, Fold> = {
  sum: { start: 0, next: (soFar, value) => soFar + value },
  prod: { start: 1, next: (soFar, value) => soFar * value },
  max: { start: -Infinity, next: (soFar, value) => Math.max(soFar, value) },
  min: { start: Infinity, next: (soFar, value) => Math.min(soFar, value) },
};

/** int32 sums and products wrap; the extremes of nothing are int32's own. */
const integerFolds: Record<ReduceCode, Fold> = {
  sum: { start: 0, next: (soFar, value) => (soFar + value) | 0 },
  prod: { start: 1, next: (soFar, value) => Math.imul(soFar, value) },
  max: { start: -(2 ** 31), next: floatFolds.max.next },
  min: { start: 2 ** 31 - 1, next: floatFolds.min.next },
};

function foldOf(op: number, dtype: DType): Fold {
  return (dtype === "int32" ? integerFolds : floatFolds)[reduceCodes[op]!];
}

export function reduce(s: KernelSizes<"reduce">, [x, y]: Operands<"reduce">, dtype: DType): number {
  const { start, next } = foldOf(s.op, dtype);
  const soFar = new Float64Array(s.inner);
  let from = x.offset;
  for (let outer = 0; outer < s.outer; outer++) {
    soFar.fill(start);
    for (let i = 0; i < s.count; i++) {
      for (let inner = 0; inner < s.inner; inner++) soFar[inner] = next(soFar[inner]!, x.array[from++]!);
    }
    y.array.set(soFar, y.offset + outer * s.inner);
  }
  return 0;
}

export function arg_reduce(s: KernelSizes<"arg_reduce">, [x, y, index]: Operands<"arg_reduce">): number {
  const isMax = reduceCodes[s.op] === "max";
  for (let outer = 0; outer < s.outer; outer++) {
    for (let inner = 0; inner < s.inner; inner++) {
      const first = x.offset + outer * s.count * s.inner + inner;
      let best = x.array[first]!;
      let at = 0;
      for (let i = 1; i < s.count && !Number.isNaN(best); i++) {
        const value = x.array[first + i * s.inner]!;
        if ((isMax ? value > best : value < best) || Number.isNaN(value)) {
          best = value;
          at = i;
        }
      }
      y.array[y.offset + outer * s.inner + inner] = best;
      index.array[index.offset + outer * s.inner + inner] = at;
    }
  }
  return 0;
}

export function scan(s: KernelSizes<"scan">, [x, y]: Operands<"scan">, dtype: DType): number {
  const { start, next } = foldOf(s.op, dtype);
  const soFar = new Float64Array(s.inner);
  for (let outer = 0; outer < s.outer; outer++) {
    soFar.fill(start);
    for (let i = 0; i < s.count; i++) {
      const row = (outer * s.count + (s.reverse ? s.count - 1 - i : i)) * s.inner;
      for (let inner = 0; inner < s.inner; inner++) {
        soFar[inner] = next(soFar[inner]!, x.array[x.offset + row + inner]!);
        y.array[y.offset + row + inner] = soFar[inner]!;
      }
    }
  }
  return 0;
}

/** -1, 0 or 1 as a comes before, with or after b; NaN is the largest value and equal to NaN. */
function ascending(a: number, b: number): number {
  if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
  return a < b ? -1 : a > b ? 1 : 0;
}

export function sort(s: KernelSizes<"sort">, [x, y, index]: Operands<"sort">): number {
  const values = new Float64Array(s.count);
  const order = new Int32Array(s.count);
  // Typed arrays sort stably, so equal values keep their order in both directions.
  const before = s.descending
    ? (i: number, j: number) => ascending(values[j]!, values[i]!)
    : (i: number, j: number) => ascending(values[i]!, values[j]!);
  for (let outer = 0; outer < s.outer; outer++) {
    for (let inner = 0; inner < s.inner; inner++) {
      const first = outer * s.count * s.inner + inner;
      for (let i = 0; i < s.count; i++) {
        values[i] = x.array[x.offset + first + i * s.inner]!;
        order[i] = i;
      }
      order.sort(before);
      for (let i = 0; i < s.count; i++) {
        y.array[y.offset + first + i * s.inner] = values[order[i]!]!;
        index.array[index.offset + first + i * s.inner] = order[i]!;
      }
    }
  }
  return 0;
}
