import type { Tensor, TypedArray } from "./xcorr.js";

/** Shape, type and values of a result, kept apart from tensor memory. */
export interface Values {
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly data: TypedArray;
}

export function valuesOf(t: Tensor | null): Values | null {
  return t === null ? null : { shape: [...t.shape], dtype: t.dtype, data: t.data() };
}

const floating = (dtype: string): boolean => dtype.startsWith("float");

/**
 * Compares results: integers exactly, floating numbers within `tolerance` times the largest finite value of what is
 * expected (NaN and infinities must stand in the same places). Returns what differs, or null.
 */
export function difference(got: Values | null, expected: Values | null, tolerance: number): string | null {
  if (got === null || expected === null) {
    return got === expected ? null : `got ${got === null ? "nothing" : "a tensor"}, expected the opposite`;
  }
  if (got.shape.join() !== expected.shape.join()) return `shape [${got.shape}], expected [${expected.shape}]`;
  if (got.dtype !== expected.dtype && !(floating(got.dtype) && floating(expected.dtype))) {
    return `dtype ${got.dtype}, expected ${expected.dtype}`;
  }
  if (got.data.length !== expected.data.length) return `${got.data.length} values, expected ${expected.data.length}`;
  let largest = 0;
  for (const value of expected.data) if (Number.isFinite(value)) largest = Math.max(largest, Math.abs(value));
  const allowed = floating(got.dtype) ? tolerance * largest : 0;
  let worst = 0;
  let at = -1;
  for (let i = 0; i < got.data.length; i++) {
    const [a, b] = [got.data[i]!, expected.data[i]!];
    if (a === b || (Number.isNaN(a) && Number.isNaN(b))) continue;
    const off = Math.abs(a - b);
    if (Number.isNaN(off)) return `element ${i} is ${a}, expected ${b}`;
    if (off > allowed && off > worst) {
      worst = off;
      at = i;
    }
  }
  return at < 0
    ? null
    : `element ${at} of [${got.shape}] is ${got.data[at]}, expected ${expected.data[at]} (off by ${worst.toExponential(2)}, allowed ${allowed.toExponential(2)})`;
}

/** Whether two results are the same to the last bit (any NaN is like any other). */
export function differentBits(got: Values | null, expected: Values | null): string | null {
  if (got === null || expected === null) return difference(got, expected, 0);
  for (let i = 0; i < expected.data.length; i++) {
    if (!Object.is(got.data[i], expected.data[i]))
      return `element ${i} is ${got.data[i]}, expected the same bits as ${expected.data[i]}`;
  }
  return difference(got, expected, 0);
}
