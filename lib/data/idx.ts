import { newBytes } from "../core/memory.js";
import { constants, gunzipSync, type ZlibOptions } from "node:zlib";
import { FormatError } from "../core/errors.js";
import { format, numel } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import { checkBytes, mostUnpacked, withFile } from "../io/file.js";
import { checkSizes } from "../io/numbers.js";
import { tensor } from "../ops/create.js";

/**
 * The IDX format of MNIST and Fashion-MNIST: two zero bytes, a type byte, the number of dimensions, the sizes as
 * big-endian unsigned 32-bit numbers, then the elements, row-major and big-endian.
 */

const uint8 = 0x08;
const int32 = 0x0c;
const float32 = 0x0d;
const float64 = 0x0e;

interface IdxHeader {
  readonly type: number;
  readonly shape: readonly number[];
  /** Where the data begin, and how long they are. */
  readonly start: number;
  readonly dataBytes: number;
}

function isGzip(bytes: Uint8Array): boolean {
  return bytes[0] === 0x1f && bytes[1] === 0x8b;
}

/** The first bytes of IDX data; `size` is how many there are in all, or null where only unpacking tells. */
function readHeader(name: string, bytes: Uint8Array, size: number | null): IdxHeader {
  const fail = (what: string): never => {
    throw new FormatError(`${name}: ${what}`);
  };
  if (bytes.length < 4) fail(`the file has ${bytes.length} bytes, too few for the 4-byte magic number`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint16(0) !== 0) {
    fail(
      `the magic number 0x${view.getUint32(0).toString(16).padStart(8, "0")} does not start with two zero bytes; this is no IDX file`,
    );
  }
  const type = bytes[2]!;
  const rank = bytes[3]!;
  if (rank < 1 || rank > 8) fail(`the number of dimensions is ${rank}, expected 1 to 8`);
  const start = 4 + 4 * rank;
  if (bytes.length < start) fail(`the file ends inside the ${rank} sizes`);
  const width = type === uint8 ? 1 : type === int32 || type === float32 ? 4 : type === float64 ? 8 : 0;
  if (width === 0) {
    fail(
      `element type 0x${type.toString(16)} is not read; expected 0x08 (bytes), 0x0c (int32), 0x0d (float32) or 0x0e (float64)`,
    );
  }
  const shape = Array.from({ length: rank }, (_, i) => view.getUint32(4 + 4 * i));
  checkSizes(shape, "the shape", fail);
  const dataBytes = numel(shape) * width;
  if (size !== null && size - start !== dataBytes)
    fail(`sizes ${format(shape)} take ${dataBytes} bytes of data, but the file has ${size - start}`);
  return { type, shape, start, dataBytes };
}

/** Unpacks gzip as far as the header says, after looking whether so much can be in so few bytes. */
function unpacked(name: string, packed: Uint8Array): Uint8Array {
  const unpack = (bytes: Uint8Array, options: ZlibOptions): Uint8Array => {
    try {
      return gunzipSync(bytes, options);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code !== "ERR_BUFFER_TOO_LARGE")
        throw new FormatError(`${name}: the gzip data cannot be unpacked: ${message}`);
      throw new FormatError(
        `${name}: the gzip data unpack to more than the ${options.maxOutputLength} bytes of its sizes`,
      );
    }
  };
  // The sizes stand in the first 36 bytes, and those in the first few packed ones unless the name of a file stands before.
  const first = unpack(packed.subarray(0, 1024), { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: 2 ** 21 });
  const { start, dataBytes } = readHeader(name, first, null);
  if (dataBytes > mostUnpacked(packed.length)) {
    throw new FormatError(
      `${name}: the sizes take ${dataBytes} bytes, more than the ${mostUnpacked(packed.length)} that ${packed.length} packed bytes ` +
        "may become; unpack the file with gunzip if that is right",
    );
  }
  return unpack(packed, { maxOutputLength: start + dataBytes });
}

/** Parses IDX data, plain or gzipped: bytes as uint8, 32-bit integers as int32, floats as they are. */
export function parseIdx(given: Uint8Array, name = "idx"): Tensor {
  checkBytes("parseIdx", given);
  const bytes = isGzip(given) ? unpacked(name, given) : given;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { type, shape, start } = readHeader(name, bytes, bytes.length);
  if (type === uint8) return tensor(bytes.subarray(start) as Uint8Array<ArrayBuffer>, { shape, dtype: "uint8" });
  const count = numel(shape);
  const values = new (type === int32 ? Int32Array : type === float32 ? Float32Array : Float64Array)(count);
  const width = values.BYTES_PER_ELEMENT;
  for (let i = 0; i < count; i++) {
    const at = start + i * width;
    values[i] = type === int32 ? view.getInt32(at) : type === float32 ? view.getFloat32(at) : view.getFloat64(at);
  }
  return tensor(values, { shape });
}

/** Reads an IDX file, plain or gzipped. */
export function readIdx(path: string): Tensor {
  return withFile("readIdx", path, (source) => {
    // A file that is not what its first bytes say is refused before it is read.
    const head = new Uint8Array(Math.min(source.size, 36));
    source.read(0, head);
    if (!isGzip(head)) readHeader(path, head, source.size);
    const bytes = newBytes(source.size, path);
    source.read(0, bytes);
    return parseIdx(bytes, path);
  });
}
