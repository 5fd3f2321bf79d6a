/** What a backend's kernels receive: operands as views of typed arrays, sizes by name. */

import type { DType, TypedArray } from "../core/dtype.js";
import { type KernelName, type KernelSizes, kernels, sizesFields } from "./abi.js";

/**
 * An operand: a typed array over the whole block, and the position of the operand's first element in it. Strided
 * operands may reach below their first element, so a subarray would not do.
 */
export interface Operand {
  readonly array: TypedArray;
  readonly offset: number;
}

type OperandsOf<Names extends readonly string[]> = {
  readonly [I in keyof Names]: Names[I] extends `${string}?` ? Operand | null : Operand;
};

/** A kernel's operands in the order of abi.ts; only those marked `?` there may be null. */
export type Operands<K extends KernelName> = OperandsOf<(typeof kernels)[K][2]>;

/**
 * A kernel as a function. `dtype` is the call's element type (T in abi.h). Returns a status: 0, or 1 + the flat position
 * of the first index out of range, in which case nothing has been written.
 */
export type Kernel<K extends KernelName> = (sizes: KernelSizes<K>, operands: Operands<K>, dtype: DType) => number;

interface Field {
  readonly name: string;
  /** Numbers the field takes in the flat list; 0 for a plain number, which takes one. */
  readonly length: number;
}

type StructName = keyof typeof sizesFields;

const layouts = new Map<StructName, readonly Field[]>();

function layoutOf(struct: StructName): readonly Field[] {
  let layout = layouts.get(struct);
  if (layout === undefined) {
    layout = sizesFields[struct].map((field) => {
      const [, name, length] = /^(\w+)(?:\[(\d)\])?\.?$/.exec(field)!;
      return { name: name!, length: Number(length ?? 0) };
    });
    layouts.set(struct, layout);
  }
  return layout;
}

/** Where a call's flat list of sizes holds a field, or its first number. */
export function sizesPosition(struct: StructName, field: string): number {
  let at = 0;
  for (const { name, length } of layoutOf(struct)) {
    if (name === field) return at;
    at += length === 0 ? 1 : length;
  }
  throw new Error(`${struct} has no field ${field}`);
}

/** Names the numbers of a call's flat list of sizes. Throws a RangeError if the list has the wrong length. */
export function decodeSizes<K extends KernelName>(kernel: K, flat: ArrayLike<number>): KernelSizes<K> {
  const sizes: Record<string, number | readonly number[]> = {};
  let next = 0;
  for (const { name, length } of layoutOf(kernels[kernel][0])) {
    if (length === 0) {
      sizes[name] = flat[next++]!;
    } else {
      const values = new Array<number>(length);
      for (let i = 0; i < length; i++) values[i] = flat[next++]!;
      sizes[name] = values;
    }
  }
  if (next !== flat.length) {
    throw new RangeError(`${kernel}: ${kernels[kernel][0]} has ${next} numbers, but the call brought ${flat.length}`);
  }
  return sizes as unknown as KernelSizes<K>;
}
