/** max_pool, avg_pool, their adaptive forms, and the gradients of the averages. A plane is one channel of one image. */

import type { KernelSizes } from "../backend/abi.js";
import type { Operand, Operands } from "../backend/contract.js";
import { volume } from "./conv.js";
import { firstBadIndex } from "./index.js";

type PoolSizes = KernelSizes<"max_pool">;
type AdaptiveSizes = KernelSizes<"adaptive_max_pool">;

/** The positions begin, begin + step, ... before end that a window covers along one dimension, all inside the input. */
interface Range {
  readonly begin: number;
  readonly end: number;
  readonly step: number;
  /** Positions covered, padding included. */
  readonly padded: number;
}

/** The windows of each output position along dimension d; padding is the same on both sides. */
function slidingRanges(s: PoolSizes, d: 0 | 1 | 2): Range[] {
  const ranges: Range[] = [];
  for (let p = 0; p < s.out[d]; p++) {
    const start = p * s.stride[d] - s.pad[d];
    const step = s.dilation[d];
    const end = start + (s.kernel[d] - 1) * step + 1;
    const begin = start < 0 ? start + Math.ceil(-start / step) * step : start;
    const inPadding = Math.min(end, s.in[d] + s.pad[d]);
    ranges.push({
      begin,
      end: Math.min(end, s.in[d]),
      step,
      padded: Math.max(0, Math.ceil((inPadding - start) / step)),
    });
  }
  return ranges;
}

/** Output p of `out` covers floor(p * in / out) to ceil((p + 1) * in / out). */
function adaptiveRanges(s: AdaptiveSizes, d: 0 | 1 | 2): Range[] {
  const ranges: Range[] = [];
  for (let p = 0; p < s.out[d]; p++) {
    const begin = Math.floor((p * s.in[d]) / s.out[d]);
    const end = Math.ceil(((p + 1) * s.in[d]) / s.out[d]);
    ranges.push({ begin, end, step: 1, padded: end - begin });
  }
  return ranges;
}

function covered(range: Range): number {
  return Math.max(0, Math.ceil((range.end - range.begin) / range.step));
}

type Ranges = readonly [depth: Range[], height: Range[], width: Range[]];

/** The first of equals in row-major order; NaN wins, the first of them. A window without elements gives -inf, index 0. */
function maximaOf(
  planes: number,
  size: readonly [number, number, number],
  [depths, heights, widths]: Ranges,
  x: Operand,
  y: Operand,
  index: Operand,
): void {
  const [, height, width] = size;
  let out = 0;
  for (let plane = 0; plane < planes; plane++) {
    const first = x.offset + plane * volume(size);
    for (const depthRange of depths) {
      for (const heightRange of heights) {
        for (const widthRange of widths) {
          let best = -Infinity;
          let at = -1;
          for (let d = depthRange.begin; d < depthRange.end; d += depthRange.step) {
            for (let h = heightRange.begin; h < heightRange.end; h += heightRange.step) {
              for (let w = widthRange.begin; w < widthRange.end; w += widthRange.step) {
                const position = (d * height + h) * width + w;
                const value = x.array[first + position]!;
                if (at < 0 || value > best || (Number.isNaN(value) && !Number.isNaN(best))) {
                  best = value;
                  at = position;
                }
              }
            }
          }
          y.array[y.offset + out] = best;
          index.array[index.offset + out] = Math.max(at, 0);
          out++;
        }
      }
    }
  }
}

/** What a window's sum is divided by. */
type Divisor = (depth: Range, height: Range, width: Range) => number;

function averagesOf(
  planes: number,
  size: readonly [number, number, number],
  [depths, heights, widths]: Ranges,
  divisor: Divisor,
  x: Operand,
  y: Operand,
): void {
  const [, height, width] = size;
  let out = y.offset;
  for (let plane = 0; plane < planes; plane++) {
    const first = x.offset + plane * volume(size);
    for (const depthRange of depths) {
      for (const heightRange of heights) {
        for (const widthRange of widths) {
          let sum = 0;
          for (let d = depthRange.begin; d < depthRange.end; d += depthRange.step) {
            for (let h = heightRange.begin; h < heightRange.end; h += heightRange.step) {
              for (let w = widthRange.begin; w < widthRange.end; w += widthRange.step) {
                sum += x.array[first + (d * height + h) * width + w]!;
              }
            }
          }
          y.array[out++] = sum / divisor(depthRange, heightRange, widthRange);
        }
      }
    }
  }
}

/** Hands every window's gradient, divided, to the positions it covers. */
function averagesGradient(
  planes: number,
  size: readonly [number, number, number],
  [depths, heights, widths]: Ranges,
  divisor: Divisor,
  dy: Operand,
  dx: Operand,
): void {
  const [, height, width] = size;
  const sums = new Float64Array(volume(size));
  let out = dy.offset;
  for (let plane = 0; plane < planes; plane++) {
    sums.fill(0);
    for (const depthRange of depths) {
      for (const heightRange of heights) {
        for (const widthRange of widths) {
          const share = dy.array[out++]! / divisor(depthRange, heightRange, widthRange);
          for (let d = depthRange.begin; d < depthRange.end; d += depthRange.step) {
            for (let h = heightRange.begin; h < heightRange.end; h += heightRange.step) {
              for (let w = widthRange.begin; w < widthRange.end; w += widthRange.step) {
                sums[(d * height + h) * width + w]! += share;
              }
            }
          }
        }
      }
    }
    dx.array.set(sums, dx.offset + plane * sums.length);
  }
}

function sliding(s: PoolSizes): Ranges {
  return [slidingRanges(s, 0), slidingRanges(s, 1), slidingRanges(s, 2)];
}

function adaptive(s: AdaptiveSizes): Ranges {
  return [adaptiveRanges(s, 0), adaptiveRanges(s, 1), adaptiveRanges(s, 2)];
}

// A window that covers nothing has the sum 0; divided by 1 it stays 0.
const inputElements: Divisor = (depth, height, width) => covered(depth) * covered(height) * covered(width) || 1;
const paddedElements: Divisor = (depth, height, width) => depth.padded * height.padded * width.padded || 1;

function slidingDivisor(s: PoolSizes): Divisor {
  if (s.divisor !== 0) return () => s.divisor;
  return s.count_include_pad ? paddedElements : inputElements;
}

export function max_pool(s: PoolSizes, [x, y, index]: Operands<"max_pool">): number {
  maximaOf(s.planes, s.in, sliding(s), x, y, index);
  return 0;
}

export function max_pool_grad(s: PoolSizes, [dy, index, dx]: Operands<"max_pool_grad">): number {
  const count = volume(s.out);
  const bad = firstBadIndex(index, s.planes * count, volume(s.in));
  if (bad !== 0) return bad;
  dx.array.fill(0, dx.offset, dx.offset + s.planes * volume(s.in));
  for (let i = 0; i < s.planes * count; i++) {
    const at = dx.offset + Math.floor(i / count) * volume(s.in) + index.array[index.offset + i]!;
    dx.array[at] = dx.array[at]! + dy.array[dy.offset + i]!;
  }
  return 0;
}

export function avg_pool(s: PoolSizes, [x, y]: Operands<"avg_pool">): number {
  averagesOf(s.planes, s.in, sliding(s), slidingDivisor(s), x, y);
  return 0;
}

export function avg_pool_grad(s: PoolSizes, [dy, dx]: Operands<"avg_pool_grad">): number {
  averagesGradient(s.planes, s.in, sliding(s), slidingDivisor(s), dy, dx);
  return 0;
}

export function adaptive_max_pool(s: AdaptiveSizes, [x, y, index]: Operands<"adaptive_max_pool">): number {
  maximaOf(s.planes, s.in, adaptive(s), x, y, index);
  return 0;
}

export function adaptive_avg_pool(s: AdaptiveSizes, [x, y]: Operands<"adaptive_avg_pool">): number {
  averagesOf(s.planes, s.in, adaptive(s), inputElements, x, y);
  return 0;
}

export function adaptive_avg_pool_grad(s: AdaptiveSizes, [dy, dx]: Operands<"adaptive_avg_pool_grad">): number {
  averagesGradient(s.planes, s.in, adaptive(s), inputElements, dy, dx);
  return 0;
}
