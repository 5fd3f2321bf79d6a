/** unary, binary, compare, where: functions of one element of each operand, looked up by the code in the sizes. */

import { binaryCodes, type CompareCode, compareCodes, type KernelSizes, unaryCodes } from "../backend/abi.js";
import type { Operands } from "../backend/contract.js";
import type { DType } from "../core/dtype.js";
import {
  binaryFunctions,
  integerBinaryFunctions,
  integerUnaryFunctions,
  saturate,
  unaryFunctions,
} from "./functions.js";
import { rowLength, rowStarts, rowStride, view } from "./strided.js";

type PointFunction = (a: number, b: number, p0: number, p1: number) => number;

const saturateInt32 = (x: number): number => saturate(x, -(2 ** 31), 2 ** 31 - 1);

export function unary(s: KernelSizes<"unary">, [x, y]: Operands<"unary">, dtype: DType): number {
  const name = unaryCodes[s.op]!;
  const exact = dtype === "int32" ? integerUnaryFunctions[name] : undefined;
  const saturates = dtype === "int32" && exact === undefined;
  const f = exact ?? unaryFunctions[name];
  const from = view(x, s.count);
  const to = view(y, s.count);
  for (let i = 0; i < s.count; i++) {
    const value = f(from[i]!, s.p0, s.p1);
    to[i] = saturates ? saturateInt32(value) : value;
  }
  return 0;
}

export function binary(s: KernelSizes<"binary">, operands: Operands<"binary">, dtype: DType): number {
  const name = binaryCodes[s.op]!;
  const f = binaryFunctions[name];
  if (dtype !== "int32") mapPairs(s, operands, f);
  else mapPairs(s, operands, integerBinaryFunctions[name] ?? ((a, b, p0, p1) => saturateInt32(f(a, b, p0, p1))));
  return 0;
}

const comparisons: Record<CompareCode, (a: number, b: number) => number> = {
  equal: (a, b) => (a === b ? 1 : 0),
  not_equal: (a, b) => (a !== b ? 1 : 0),
  less: (a, b) => (a < b ? 1 : 0),
  less_equal: (a, b) => (a <= b ? 1 : 0),
  greater: (a, b) => (a > b ? 1 : 0),
  greater_equal: (a, b) => (a >= b ? 1 : 0),
};

export function compare(s: KernelSizes<"compare">, operands: Operands<"compare">): number {
  mapPairs(s, operands, comparisons[compareCodes[s.op]!]);
  return 0;
}

function mapPairs(s: KernelSizes<"binary">, [a, b, y]: Operands<"binary">, f: PointFunction): void {
  const aStarts = rowStarts(a, s.rank, s.shape, s.a_stride);
  const bStarts = rowStarts(b, s.rank, s.shape, s.b_stride);
  const aStep = rowStride(s.rank, s.a_stride);
  const bStep = rowStride(s.rank, s.b_stride);
  const columns = rowLength(s.rank, s.shape);
  let next = y.offset;
  for (let row = 0; row < aStarts.length; row++) {
    const aStart = aStarts[row]!;
    const bStart = bStarts[row]!;
    for (let i = 0; i < columns; i++) {
      y.array[next++] = f(a.array[aStart + i * aStep]!, b.array[bStart + i * bStep]!, s.p0, s.p1);
    }
  }
}

export function where(s: KernelSizes<"where">, [condition, a, b, y]: Operands<"where">): number {
  const conditionStarts = rowStarts(condition, s.rank, s.shape, s.condition_stride);
  const aStarts = rowStarts(a, s.rank, s.shape, s.a_stride);
  const bStarts = rowStarts(b, s.rank, s.shape, s.b_stride);
  const conditionStep = rowStride(s.rank, s.condition_stride);
  const aStep = rowStride(s.rank, s.a_stride);
  const bStep = rowStride(s.rank, s.b_stride);
  const columns = rowLength(s.rank, s.shape);
  let next = y.offset;
  for (let row = 0; row < aStarts.length; row++) {
    const conditionStart = conditionStarts[row]!;
    const aStart = aStarts[row]!;
    const bStart = bStarts[row]!;
    for (let i = 0; i < columns; i++) {
      y.array[next++] =
        condition.array[conditionStart + i * conditionStep] !== 0
          ? a.array[aStart + i * aStep]!
          : b.array[bStart + i * bStep]!;
    }
  }
  return 0;
}
