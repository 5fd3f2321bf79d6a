/** Calling reference kernels in tests. */

import { expect } from "vitest";
import { type KernelName, type KernelSizes, kernels, sizesFields } from "../../lib/backend/abi.js";
import { decodeSizes, type Operand } from "../../lib/backend/contract.js";
import type { DType, TypedArray } from "../../lib/core/dtype.js";
import { reference } from "../../lib/reference/backend.js";

export const f64 = (...values: number[]): Float64Array => Float64Array.from(values);
export const i32 = (...values: number[]): Int32Array => Int32Array.from(values);
export const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);
/** Outputs start as something no kernel writes, so that an element left out is seen. */
export const out = (length: number): Float64Array => new Float64Array(length).fill(-12345);
export const outInt = (length: number): Int32Array => new Int32Array(length).fill(-12345);
export const range = (length: number): Float64Array => Float64Array.from({ length }, (_, i) => i);

export type Given = TypedArray | Operand | null;

/** Sizes by name; dimensions of lower rank may be given alone (see flatten). */
export type GivenSizes<K extends KernelName> = {
  readonly [F in keyof KernelSizes<K>]?: KernelSizes<K>[F] extends number ? number : readonly number[];
};

/** Runs a kernel on operands that each lie in the middle of a larger array, whose rest must stay as it was. */
export function call<K extends KernelName>(
  kernel: K,
  sizes: NoInfer<GivenSizes<K>>,
  operands: readonly Given[],
  dtype: DType = "float64",
): number {
  const margin = 3;
  const placed = operands.map((given) => {
    if (given === null || "offset" in given) return given;
    const array = new (given.constructor as new (length: number) => TypedArray)(given.length + 2 * margin).fill(77);
    array.set(given, margin);
    return { array, offset: margin };
  });
  const flat = flatten(kernel, sizes as Record<string, number | readonly number[]>);
  const run = reference[kernel] as unknown as (s: object, o: readonly (Operand | null)[], d: DType) => number;
  const status = run(decodeSizes(kernel, flat), placed, dtype);
  for (const [i, given] of operands.entries()) {
    if (given === null || "offset" in given) continue;
    const { array } = placed[i]!;
    given.set(array.subarray(margin, margin + given.length));
    expect(Array.from(array.subarray(0, margin)), `${kernel}: before operand ${i}`).toEqual([77, 77, 77]);
    expect(Array.from(array.subarray(margin + given.length)), `${kernel}: after operand ${i}`).toEqual([77, 77, 77]);
  }
  return status;
}

/** Fields that are left out are 0; triples are filled from the front with 1 (0 for pad), as ops do below rank 3. */
export function flatten(kernel: KernelName, sizes: Record<string, number | readonly number[]>): number[] {
  return sizesFields[kernels[kernel][0]].flatMap((field) => {
    const [, name, length] = /^(\w+)(?:\[(\d)\])?/.exec(field)!;
    const value = sizes[name!] ?? (length === undefined ? 0 : []);
    if (typeof value === "number") return [value];
    const missing = new Array<number>(Number(length) - value.length);
    return length === "3" ? [...missing.fill(name === "pad" ? 0 : 1), ...value] : [...value, ...missing.fill(0)];
  });
}

export const random = (length: number): Float64Array => Float64Array.from({ length }, () => 4 * Math.random() - 2);
export const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce((sum, value, i) => sum + value * b[i]!, 0);

export const nan = Number.NaN;
export const infinity = Number.POSITIVE_INFINITY;

export function expectClose(got: ArrayLike<number>, wanted: readonly number[], tolerance = 1e-13): void {
  expect(got.length).toBe(wanted.length);
  for (const [i, value] of wanted.entries()) {
    const message = `element ${i}: got ${got[i]}, wanted ${value}`;
    expect(
      Object.is(got[i], value) || Math.abs(got[i]! - value) <= tolerance * Math.max(1, Math.abs(value)),
      message,
    ).toBe(true);
  }
}
