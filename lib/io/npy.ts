import { Buffer } from "node:buffer";
import type { DType } from "../core/dtype.js";
import { ArgumentError, FormatError } from "../core/errors.js";
import { describe, format, numel } from "../core/shape.js";
import { isTensor, type Tensor } from "../core/tensor.js";
import { copied } from "../ops/kernel.js";
import { permute } from "../ops/view.js";
import { checkLittleEndian, fromBytes, joined, type Source, withFile, writeWhole } from "./file.js";
import { bytesOf, checkSizes, type FileTypeName, fileTypes, readTensor, writtenAs } from "./numbers.js";

/** NumPy's .npy: a magic word, a version, the header as a Python dict, then the numbers (numpy.lib.format). */

/** NumPy's own limit for files that are not trusted. */
const longestHeader = 10_000;
const magic = Buffer.from("\x93NUMPY", "latin1");

/** NumPy's type codes without the byte order. */
const types: ReadonlyMap<string, FileTypeName> = new Map([
  ["f2", "F16"],
  ["f4", "F32"],
  ["f8", "F64"],
  ["i1", "I8"],
  ["i2", "I16"],
  ["i4", "I32"],
  ["i8", "I64"],
  ["u1", "U8"],
  ["u2", "U16"],
  ["u4", "U32"],
  ["u8", "U64"],
  ["b1", "BOOL"],
]);
const descriptions: Readonly<Record<DType, string>> = {
  float32: "<f4",
  float64: "<f8",
  int32: "<i4",
  uint8: "|u1",
  bool: "|b1",
};

/**
 * Reads an array. int64 and smaller integers become int32 (values must fit), half precision becomes float32.
 * @throws {FormatError} that names the field, if the file is damaged or holds another kind of element
 */
export function loadNpy(path: string): Tensor {
  return withFile("loadNpy", path, readNpy);
}

/** As `loadNpy`, from bytes. */
export function decodeNpy(bytes: Uint8Array): Tensor {
  return readNpy(fromBytes("decodeNpy", bytes));
}

/** Writes an array, whole or not at all. */
export function saveNpy(path: string, t: Tensor): void {
  writeWhole(path, [npyHeader("saveNpy", t), bytesOf(t, writtenAs[t.dtype])]);
}

/** As `saveNpy`, into bytes. */
export function encodeNpy(t: Tensor): Uint8Array {
  return joined([npyHeader("encodeNpy", t), bytesOf(t, writtenAs[t.dtype])], "the encoded array");
}

/** @internal */
export function readNpy(source: Source): Tensor {
  checkLittleEndian();
  const { name: file, size } = source;
  const fail = (what: string): never => {
    throw new FormatError(`${file}: ${what}`);
  };
  const head = new Uint8Array(Math.min(size, 12));
  source.read(0, head);
  if (head.length < 12 || !magic.equals(head.subarray(0, 6))) fail("does not begin with NumPy's magic word \\x93NUMPY");
  const version = head[6]!;
  if (version < 1 || version > 3) fail(`has version ${version}.${head[7]}; versions 1 to 3 can be read`);
  const view = new DataView(head.buffer);
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  const start = (version === 1 ? 10 : 12) + length;
  if (start > size) fail(`the header has ${length} bytes, but the file only ${size}: it was cut off`);
  if (length > longestHeader) fail(`the header has ${length} bytes; at most ${longestHeader} are read, as in NumPy`);
  const raw = new Uint8Array(length);
  source.read(start - length, raw);
  const { type, swapped, fortran, shape } = readDict(Buffer.from(raw).toString("latin1"), fail);
  const bytes = numel(shape) * fileTypes[type].bytes;
  if (size - start !== bytes)
    fail(`shape ${format(shape)} takes ${bytes} bytes, but ${size - start} follow the header`);
  const stored = fortran ? [...shape].reverse() : shape;
  const t = readTensor(type, stored, file, (into) => {
    source.read(start, into);
    if (swapped) swapBytes(into, fileTypes[type].bytes);
  });
  if (!fortran || shape.length < 2) return t;
  try {
    return copied(
      permute(
        t,
        shape.map((_, i) => shape.length - 1 - i),
      ),
    );
  } finally {
    t.dispose();
  }
}

interface Header {
  readonly type: FileTypeName;
  readonly swapped: boolean;
  readonly fortran: boolean;
  readonly shape: number[];
}

/** One entry of {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }: its key and one kind of value. */
const dictEntry = /\s*'(\w+)'\s*:\s*(?:'([^'\\]*)'|(True|False)|\(([^()]*)\))\s*(?:,|$)/y;
const dictKeys = ["descr", "fortran_order", "shape"];

function readDict(text: string, fail: (what: string) => never): Header {
  const dict = text.trim();
  if (dict[0] !== "{" || dict.at(-1) !== "}") fail("the header is no Python dict");
  const inside = dict.slice(1, -1).trimEnd();
  const found = new Map<string, RegExpExecArray>();
  dictEntry.lastIndex = 0;
  while (dictEntry.lastIndex < inside.length) {
    const at = dictEntry.lastIndex;
    const entry = dictEntry.exec(inside);
    if (entry === null && /^\s*'descr'\s*:\s*\[/.test(inside.slice(at)))
      fail("descr is a list: arrays of records cannot be read");
    if (entry === null)
      return fail(`the header is no Python dict that can be read, from ${describe(inside.slice(at))} on`);
    const key = entry[1]!;
    if (!dictKeys.includes(key)) fail(`the header has a key ${describe(key)}; expected ${dictKeys.join(", ")}`);
    if (found.has(key)) fail(`the header has ${key} twice`);
    found.set(key, entry);
  }
  const code = found.get("descr")?.[2] ?? fail("the header has no descr in quotes");
  const fortran = found.get("fortran_order")?.[3] ?? fail("the header has no fortran_order, True or False");
  const tuple = (found.get("shape")?.[4] ?? fail("the header has no shape in parentheses")).trim();
  const order = "<>|=".includes(code[0] ?? "") ? code[0]! : "=";
  const type = types.get(order === "=" && !code.startsWith("=") ? code : code.slice(1));
  if (type === undefined)
    return fail(`descr is ${describe(code)}, which cannot be read; readable are ${[...types.keys()].join(", ")}`);
  if (!/^(?:\d+L?\s*,\s*)*(?:\d+L?)?$/.test(tuple) || /^\d+L?$/.test(tuple))
    fail(`shape (${tuple.slice(0, 100)}) must be a tuple of integers of at least 0`);
  const shape = tuple.split(",").flatMap((part) => (part.trim() === "" ? [] : [Number.parseInt(part, 10)]));
  checkSizes(shape, "shape", fail);
  return { type, swapped: order === ">" && fileTypes[type].bytes > 1, fortran: fortran === "True", shape };
}

function swapBytes(bytes: Uint8Array, width: number): void {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (width === 2) buffer.swap16();
  else if (width === 4) buffer.swap32();
  else buffer.swap64();
}

/** @internal The header of version 1.0 as NumPy writes it: padded with spaces so that the numbers begin at a multiple of 64. */
export function npyHeader(call: string, t: Tensor): Buffer {
  checkLittleEndian();
  if (!isTensor(t)) throw new ArgumentError(`${call}: needs a tensor, got ${describe(t)}`);
  const shape = t.shape.length === 1 ? `(${t.shape[0]},)` : `(${t.shape.join(", ")})`;
  const dict = `{'descr': '${descriptions[t.dtype]}', 'fortran_order': False, 'shape': ${shape}, }`;
  const used = magic.length + 4 + dict.length + 1;
  const text = `${dict}${" ".repeat((64 - (used % 64)) % 64)}\n`;
  const head = Buffer.alloc(4);
  head[0] = 1;
  head.writeUInt16LE(text.length, 2);
  return Buffer.concat([magic, head, Buffer.from(text, "latin1")]);
}
