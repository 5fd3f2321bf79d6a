import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { FormatError } from "../core/errors.js";
import { format } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import { tensor } from "../ops/create.js";

/**
 * The IDX format of MNIST and Fashion-MNIST: two zero bytes, a type byte, the number of dimensions, the sizes as
 * big-endian unsigned 32-bit numbers, then the elements, row-major and big-endian.
 */

/** Largest file that is accepted when unpacked: the formats' data sets have 47 MB. */
const mostBytes = 2 ** 31;

const uint8 = 0x08;
const int32 = 0x0c;
const float32 = 0x0d;
const float64 = 0x0e;

/** Unpacks gzip (by its first two bytes); other data is returned as it is. */
export function gunzipIfNeeded(name: string, bytes: Uint8Array): Uint8Array {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  try {
    return gunzipSync(bytes, { maxOutputLength: mostBytes });
  } catch (error) {
    throw new FormatError(`${name}: the gzip data cannot be unpacked: ${(error as Error).message}`);
  }
}

/** Parses IDX data, plain or gzipped: bytes as uint8, 32-bit integers as int32, floats as they are. */
export function parseIdx(given: Uint8Array, name = "idx"): Tensor {
  const bytes = gunzipIfNeeded(name, given);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 4)
    throw new FormatError(`${name}: the file has ${bytes.length} bytes, too few for the 4-byte magic number`);
  if (view.getUint16(0) !== 0) {
    throw new FormatError(
      `${name}: the magic number 0x${view.getUint32(0).toString(16).padStart(8, "0")} does not start with two zero bytes; this is no IDX file`,
    );
  }
  const type = bytes[2]!;
  const rank = bytes[3]!;
  if (rank < 1 || rank > 8) throw new FormatError(`${name}: the number of dimensions is ${rank}, expected 1 to 8`);
  if (bytes.length < 4 + 4 * rank) throw new FormatError(`${name}: the file ends inside the ${rank} sizes`);
  const shape = Array.from({ length: rank }, (_, i) => view.getUint32(4 + 4 * i));
  const width = type === uint8 ? 1 : type === int32 || type === float32 ? 4 : type === float64 ? 8 : 0;
  if (width === 0) {
    throw new FormatError(
      `${name}: element type 0x${type.toString(16)} is not read; expected 0x08 (bytes), 0x0c (int32), 0x0d (float32) or 0x0e (float64)`,
    );
  }
  const start = 4 + 4 * rank;
  const expected = shape.reduce((n, s) => n * s, width);
  if (bytes.length - start !== expected) {
    throw new FormatError(
      `${name}: sizes ${format(shape)} take ${expected} bytes of data, but the file has ${bytes.length - start}`,
    );
  }
  if (type === uint8) return tensor(bytes.subarray(start) as Uint8Array<ArrayBuffer>, { shape, dtype: "uint8" });
  const count = expected / width;
  const values = new (type === int32 ? Int32Array : type === float32 ? Float32Array : Float64Array)(count);
  for (let i = 0; i < count; i++) {
    const at = start + i * width;
    values[i] = type === int32 ? view.getInt32(at) : type === float32 ? view.getFloat32(at) : view.getFloat64(at);
  }
  return tensor(values, { shape });
}

/** Reads an IDX file, plain or gzipped. */
export function readIdx(path: string): Tensor {
  return parseIdx(readFileSync(path), path);
}
