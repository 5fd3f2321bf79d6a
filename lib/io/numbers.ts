import { newBytes } from "../core/memory.js";
import type { DType } from "../core/dtype.js";
import { FormatError } from "../core/errors.js";
import { format, numel, type Shape, sizeProblem } from "../core/shape.js";
import { empty, type Tensor } from "../core/tensor.js";
import { contiguous } from "../ops/kernel.js";

/** Element types of files, by safetensors' names, and how they become ours. */

export interface FileType {
  /** Bytes per element. */
  readonly bytes: number;
  /** The dtype it is read as. */
  readonly dtype: DType;
  /** Converts `count` elements; absent if the bytes are ours already. */
  readonly convert?: (bytes: Uint8Array, out: Tensor, where: string) => void;
}

/** Integers that int32 may not hold. */
function integers(bytes: Uint8Array, out: Tensor, where: string, width: 1 | 2 | 4 | 8, signed: boolean): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const to = out.storage.array("int32");
  const count = bytes.byteLength / width;
  for (let i = 0; i < count; i++) {
    const at = i * width;
    let value: number;
    if (width === 8) {
      const wide = signed ? view.getBigInt64(at, true) : view.getBigUint64(at, true);
      if (wide > 2147483647n || wide < -2147483648n) throw tooLarge(where, i, wide);
      value = Number(wide);
    } else if (width === 4) {
      value = signed ? view.getInt32(at, true) : view.getUint32(at, true);
      if (value > 2147483647) throw tooLarge(where, i, value);
    } else if (width === 2) {
      value = signed ? view.getInt16(at, true) : view.getUint16(at, true);
    } else {
      value = signed ? view.getInt8(at) : view.getUint8(at);
    }
    to[i] = value;
  }
}

function tooLarge(where: string, i: number, value: number | bigint): FormatError {
  return new FormatError(`${where}: element ${i} is ${value}, which int32 does not hold (-2147483648 to 2147483647)`);
}

/** IEEE half precision: 1 sign, 5 exponent and 10 fraction bits. */
function halves(bytes: Uint8Array, out: Tensor): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const to = out.storage.array("float32");
  for (let i = 0; i < bytes.byteLength / 2; i++) {
    const bits = view.getUint16(2 * i, true);
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    let value: number;
    if (exponent === 31) value = fraction === 0 ? Number.POSITIVE_INFINITY : Number.NaN;
    else if (exponent === 0) value = fraction * 2 ** -24;
    else value = (1 + fraction / 1024) * 2 ** (exponent - 15);
    to[i] = bits & 0x8000 ? -value : value;
  }
}

/** bfloat16: the upper half of a float32. */
function brains(bytes: Uint8Array, out: Tensor): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const to = new DataView(out.storage.block.bytes.buffer, out.storage.block.bytes.byteOffset, bytes.byteLength * 2);
  for (let i = 0; i < bytes.byteLength / 2; i++) to.setUint32(4 * i, view.getUint16(2 * i, true) << 16, true);
}

function truths(bytes: Uint8Array, out: Tensor): void {
  const to = out.storage.array("bool");
  for (let i = 0; i < bytes.byteLength; i++) to[i] = bytes[i] === 0 ? 0 : 1;
}

const integer =
  (width: 1 | 2 | 4 | 8, signed: boolean) =>
  (bytes: Uint8Array, out: Tensor, where: string): void =>
    integers(bytes, out, where, width, signed);

/** The names of readable types, in the order in which safetensors sorts them (a writer puts the last first). */
export const fileTypeNames = [
  "BOOL",
  "U8",
  "I8",
  "I16",
  "U16",
  "F16",
  "BF16",
  "I32",
  "U32",
  "F32",
  "F64",
  "I64",
  "U64",
] as const;
export type FileTypeName = (typeof fileTypeNames)[number];

export const fileTypes: Readonly<Record<FileTypeName, FileType>> = {
  BOOL: { bytes: 1, dtype: "bool", convert: truths },
  U8: { bytes: 1, dtype: "uint8" },
  I8: { bytes: 1, dtype: "int32", convert: integer(1, true) },
  I16: { bytes: 2, dtype: "int32", convert: integer(2, true) },
  U16: { bytes: 2, dtype: "int32", convert: integer(2, false) },
  F16: { bytes: 2, dtype: "float32", convert: halves },
  BF16: { bytes: 2, dtype: "float32", convert: brains },
  I32: { bytes: 4, dtype: "int32" },
  U32: { bytes: 4, dtype: "int32", convert: integer(4, false) },
  F32: { bytes: 4, dtype: "float32" },
  F64: { bytes: 8, dtype: "float64" },
  I64: { bytes: 8, dtype: "int32", convert: integer(8, true) },
  U64: { bytes: 8, dtype: "int32", convert: integer(8, false) },
};

export function isFileType(name: unknown): name is FileTypeName {
  return typeof name === "string" && Object.hasOwn(fileTypes, name);
}

/** The type each dtype is written as. */
export const writtenAs: Readonly<Record<DType, FileTypeName>> = {
  float32: "F32",
  float64: "F64",
  int32: "I32",
  uint8: "U8",
  bool: "BOOL",
};

/** Refuses sizes of a file that no tensor here can have. */
export function checkSizes(shape: Shape, field: string, fail: (what: string) => never): void {
  if (shape.length > 8) fail(`${field} has ${shape.length} dimensions; tensors here have at most 8`);
  const problem = sizeProblem(shape);
  if (problem !== null) fail(`${field} ${format(shape)} ${problem}`);
}

/** The tensors that `read` puts into a dictionary: all of them, or, where it throws, none. */
export function allOrNone(read: (into: Record<string, Tensor>) => void): Record<string, Tensor> {
  const tensors = Object.create(null) as Record<string, Tensor>;
  try {
    read(tensors);
    return tensors;
  } catch (error) {
    for (const t of Object.values(tensors)) t.dispose();
    throw error;
  }
}

/** A tensor of elements that `read` copies into the memory it is given. */
export function readTensor(type: FileTypeName, shape: Shape, where: string, read: (into: Uint8Array) => void): Tensor {
  const { bytes, dtype, convert } = fileTypes[type];
  const t = empty([...shape], dtype);
  const length = numel(shape) * bytes;
  try {
    if (convert === undefined) {
      read(t.storage.block.bytes.subarray(0, length));
    } else {
      const raw = newBytes(length, where);
      read(raw);
      convert(raw, t, where);
    }
  } catch (error) {
    t.dispose();
    throw error;
  }
  return t;
}

/** The bytes of a tensor in row-major order, as `type` (its own, or I64 for int32). A view of its memory where possible. */
export function bytesOf(t: Tensor, type: FileTypeName): Uint8Array {
  const row = contiguous(t);
  const count = row.numel();
  row.storage.array(row.dtype); // refuses what is still being computed
  let bytes: Uint8Array;
  if (type === "I64" && row.dtype === "int32") {
    const from = row.storage.array("int32");
    bytes = new Uint8Array(BigInt64Array.from({ length: count }, (_, i) => BigInt(from[row.offset + i]!)).buffer);
  } else {
    const width = fileTypes[type].bytes;
    bytes = row.storage.block.bytes.subarray(row.offset * width, (row.offset + count) * width);
  }
  if (row === t) return bytes;
  const copy = bytes.slice(); // the temporary's memory goes back to the pool
  row.dispose();
  return copy;
}
