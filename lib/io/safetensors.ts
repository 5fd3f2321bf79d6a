import { Buffer } from "node:buffer";
import { ArgumentError, FormatError } from "../core/errors.js";
import { checkOptions } from "../core/options.js";
import { describe, format, numel } from "../core/shape.js";
import { isTensor, type Tensor } from "../core/tensor.js";
import { UninitializedParameter } from "../nn/parameter.js";
import type { StateDict } from "../nn/state.js";
import { checkLittleEndian, fromBytes, joined, type Source, withFile, writeWhole } from "./file.js";
import { type Json, parseJson } from "./json.js";
import {
  allOrNone,
  bytesOf,
  checkSizes,
  type FileTypeName,
  fileTypeNames,
  fileTypes,
  isFileType,
  readTensor,
  writtenAs,
} from "./numbers.js";
import { refusePickle } from "./pickle.js";

/**
 * safetensors: 8 bytes with the header's length, the header as JSON, then the numbers, row-major and little-endian, without
 * gaps. Files are byte for byte those of Python's `safetensors` (the format: github.com/huggingface/safetensors).
 */

export interface SafetensorsOptions {
  /** Strings kept beside the tensors, such as { format: "pt" }. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/** What a file holds, without its numbers. */
export interface SafetensorsInfo {
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: readonly { readonly name: string; readonly dtype: string; readonly shape: readonly number[] }[];
}

interface Entry {
  readonly name: string;
  readonly type: FileTypeName;
  readonly shape: readonly number[];
  /** Bytes from the start of the data. */
  readonly begin: number;
  readonly end: number;
}

const metadataKey = "__metadata__";
const longestHeader = 100_000_000;
/** Lists in the entries of the header. */
const headerLevels = 3;

// ---- Reading ----

/**
 * Reads the tensors of a file by name, in the order in which they lie there. I64 becomes int32 (values must fit), F16 and
 * BF16 become float32. `model.loadStateDict(io.loadSafetensors(path))` loads weights.
 * @throws {FormatError} that names the field, if the file is damaged or not safetensors
 */
export function loadSafetensors(path: string): StateDict {
  return withFile("loadSafetensors", path, readAll);
}

/** As `loadSafetensors`, from bytes. */
export function decodeSafetensors(bytes: Uint8Array): StateDict {
  return readAll(fromBytes("decodeSafetensors", bytes));
}

/** Names, types and shapes of a file's tensors, and its metadata, without reading the numbers. */
export function inspectSafetensors(path: string): SafetensorsInfo {
  return withFile("inspectSafetensors", path, (source) => {
    const { metadata, entries } = readHeader(source);
    return { metadata, tensors: entries.map(({ name, type, shape }) => ({ name, dtype: type, shape })) };
  });
}

function readAll(source: Source): StateDict {
  checkLittleEndian();
  const { entries, start } = readHeader(source);
  return allOrNone((dict) => {
    for (const { name, type, shape, begin } of entries) {
      const where = `${source.name}: tensor ${describe(name)}`;
      dict[name] = readTensor(type, shape, where, (into) => source.read(start + begin, into));
    }
  });
}

function readHeader(source: Source): { metadata: Record<string, string>; entries: Entry[]; start: number } {
  const { name: file, size } = source;
  const fail = (what: string): never => {
    throw new FormatError(`${file}: ${what}`);
  };
  refusePickle(source);
  if (size < 8) fail(`has ${size} bytes, but a safetensors file begins with 8 bytes of length`);
  const prefix = new DataView(new ArrayBuffer(8));
  source.read(0, new Uint8Array(prefix.buffer));
  const wide = prefix.getBigUint64(0, true);
  if (wide > BigInt(longestHeader)) {
    fail(
      `the header's length is ${wide}, more than ${longestHeader} bytes: this is no safetensors file, or it is damaged`,
    );
  }
  const length = Number(wide);
  const start = 8 + length;
  if (start > size) fail(`the header's length is ${length}, but only ${size - 8} bytes follow: the file was cut off`);
  const raw = new Uint8Array(length);
  source.read(8, raw);
  if (raw[0] !== 0x7b) fail("the header must begin with {");
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(raw);
  } catch {
    return fail("the header is not valid UTF-8");
  }
  const header = parseJson(text, `${file}: header`, headerLevels);
  if (!(header instanceof Map)) return fail("the header must be an object");
  const metadata = readMetadata(header.get(metadataKey), fail);
  const entries: Entry[] = [];
  for (const [name, value] of header) {
    if (name === metadataKey) continue;
    entries.push(readEntry(name, value, fail));
    header.delete(name); // 100,000s of maps need not live beside what was made of them
  }
  checkCoverage(entries, size - start, fail);
  return { metadata, entries, start };
}

type Fail = (what: string) => never;

function readMetadata(value: Json | undefined, fail: Fail): Record<string, string> {
  const metadata = Object.create(null) as Record<string, string>;
  if (value === undefined || value === null) return metadata;
  if (!(value instanceof Map)) return fail(`${metadataKey} must be an object of strings, got ${describe(value)}`);
  for (const [key, text] of value) {
    if (typeof text !== "string") fail(`${metadataKey}.${key.slice(0, 60)} must be a string, got ${describe(text)}`);
    metadata[key] = text as string;
  }
  return metadata;
}

/** One tensor's entry, checked by itself. */
function readEntry(name: string, value: Json, fail: Fail): Entry {
  const of = `of tensor ${describe(name)}`;
  if (!(value instanceof Map)) return fail(`the entry ${of} must be an object, got ${describe(value)}`);
  const type = value.get("dtype");
  if (!isFileType(type)) {
    return fail(`dtype ${of} is ${describe(type)}, which cannot be read; readable are ${fileTypeNames.join(", ")}`);
  }
  const shape = value.get("shape");
  if (!isCounts(shape)) return fail(`shape ${of} must be a list of integers of at least 0, got ${describe(shape)}`);
  checkSizes(shape, `shape ${of}`, fail);
  const offsets = value.get("data_offsets");
  if (!isCounts(offsets) || offsets.length !== 2)
    return fail(`data_offsets ${of} must be two integers of at least 0, got ${describe(offsets)}`);
  const [begin, end] = offsets as [number, number];
  const bytes = numel(shape) * fileTypes[type].bytes;
  if (end < begin || end - begin !== bytes) {
    fail(`data_offsets ${of} span ${end - begin} bytes, but ${type} ${format(shape)} takes ${bytes}`);
  }
  return { name, type, shape, begin, end };
}

function isCounts(value: Json | undefined): value is number[] {
  return Array.isArray(value) && value.every((n) => typeof n === "number" && Number.isSafeInteger(n) && n >= 0);
}

/** The tensors must lie one behind the other and fill the data. Sorts them so. */
function checkCoverage(entries: Entry[], bytes: number, fail: Fail): void {
  entries.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let reached = 0;
  for (const { name, begin, end } of entries) {
    if (begin !== reached) {
      const what = begin < reached ? "overlaps the tensor before it" : "leaves a hole before it";
      fail(`data_offsets of tensor ${describe(name)} begin at ${begin} instead of ${reached}: it ${what}`);
    }
    reached = end;
  }
  if (reached > bytes)
    fail(`the tensors take ${reached} bytes, but only ${bytes} follow the header: the file was cut off`);
  if (reached < bytes) fail(`the tensors take ${reached} bytes, but ${bytes} follow the header`);
}

// ---- Writing ----

/**
 * Writes tensors by name, such as `model.stateDict()`. The file appears whole or not at all. `num_batches_tracked` is
 * written as I64, as PyTorch has it.
 * @throws {ArgumentError} if an entry cannot be written
 */
export function saveSafetensors(
  path: string,
  tensors: Readonly<Record<string, Tensor>>,
  options: SafetensorsOptions = {},
): void {
  writeWhole(path, pieces("saveSafetensors", tensors, options));
}

/** As `saveSafetensors`, into bytes. */
export function encodeSafetensors(
  tensors: Readonly<Record<string, Tensor>>,
  options: SafetensorsOptions = {},
): Uint8Array {
  return joined(pieces("encodeSafetensors", tensors, options), "the encoded tensors");
}

function pieces(
  call: string,
  tensors: Readonly<Record<string, Tensor>>,
  options: SafetensorsOptions,
): Iterable<Uint8Array> {
  checkLittleEndian();
  checkOptions(call, options, ["metadata"]);
  if (typeof tensors !== "object" || tensors === null || isTensor(tensors))
    throw new ArgumentError(`${call}: needs an object of tensors by name, got ${describe(tensors)}`);
  const list = Object.entries(tensors).map(([name, t]) => {
    if (name === metadataKey) throw new ArgumentError(`${call}: a tensor cannot be named ${metadataKey}`);
    if (!isTensor(t)) throw new ArgumentError(`${call}: ${name} must be a tensor, got ${describe(t)}`);
    if (t instanceof UninitializedParameter) {
      throw new ArgumentError(
        `${call}: ${name} belongs to a lazy layer and has no values yet; call the model once before`,
      );
    }
    const type = t.dtype === "int32" && name.endsWith("num_batches_tracked") ? "I64" : writtenAs[t.dtype];
    return { name, t, type };
  });
  // The writer's order: the type with the largest elements first, then by name, in bytes.
  list.sort(
    (a, b) =>
      fileTypeNames.indexOf(b.type) - fileTypeNames.indexOf(a.type) ||
      Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)),
  );
  const fields: string[] = [];
  if (options.metadata !== undefined) {
    for (const [key, value] of Object.entries(options.metadata)) {
      if (typeof value !== "string")
        throw new ArgumentError(`${call}: metadata.${key} must be a string, got ${describe(value)}`);
    }
    fields.push(`${JSON.stringify(metadataKey)}:${JSON.stringify(options.metadata)}`);
  }
  let at = 0;
  for (const { name, t, type } of list) {
    const end = at + t.numel() * fileTypes[type].bytes;
    fields.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype: type, shape: t.shape, data_offsets: [at, end] })}`);
    at = end;
  }
  let header = Buffer.from(`{${fields.join(",")}}`);
  const padding = (8 - (header.length % 8)) % 8;
  header = Buffer.concat([header, Buffer.alloc(padding, " ")]);
  if (header.length > longestHeader)
    throw new ArgumentError(`${call}: the header would have ${header.length} bytes, more than ${longestHeader}`);
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(header.length));
  return (function* (): Iterable<Uint8Array> {
    yield prefix;
    yield header;
    for (const { t, type } of list) yield bytesOf(t, type);
  })();
}
