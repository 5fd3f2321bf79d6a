import { closeSync, fstatSync, fsyncSync, openSync, readSync, renameSync, rmSync, writeSync } from "node:fs";
import { endianness } from "node:os";
import { basename, dirname, join } from "node:path";
import { ArgumentError, BackendError, FormatError } from "../core/errors.js";
import { describe } from "../core/shape.js";

/** Files as the formats need them: read in pieces, written whole or not at all. */

/** Bytes that are read by position: a file, or memory. */
export interface Source {
  /** For messages: the path, or "the bytes". */
  readonly name: string;
  readonly size: number;
  /** Fills `into` with the bytes from `position` on. */
  read(position: number, into: Uint8Array): void;
}

/** The most that one read or write call takes. */
const pieceBytes = 2 ** 30;

/** Opens a file for the time of `work`. */
export function withFile<T>(path: string, work: (source: Source) => T): T {
  const name = checkPath("load", path);
  const file = openSync(name, "r");
  try {
    const size = fstatSync(file).size;
    const read = (position: number, into: Uint8Array): void => {
      let done = 0;
      while (done < into.length) {
        const count = readSync(file, into, done, Math.min(into.length - done, pieceBytes), position + done);
        if (count === 0) throw new FormatError(`${name}: the file ends at byte ${position + done}; it was cut off`);
        done += count;
      }
    };
    return work({ name, size, read });
  } finally {
    closeSync(file);
  }
}

/** Memory as a source. */
export function fromBytes(bytes: Uint8Array): Source {
  if (!(bytes instanceof Uint8Array)) throw new ArgumentError(`needs a Uint8Array, got ${describe(bytes)}`);
  return {
    name: "the bytes",
    size: bytes.length,
    read: (position, into) => into.set(bytes.subarray(position, position + into.length)),
  };
}

export function checkPath(call: string, path: unknown): string {
  if (typeof path !== "string" || path === "")
    throw new ArgumentError(`${call}: the path must be a string, got ${describe(path)}`);
  return path;
}

/**
 * Writes a file whole or not at all: beside its place under another name, flushed to the disk, then renamed. Whoever
 * opens `path` sees the old file or the new one, also after a crash.
 */
export function writeWhole(path: string, pieces: Iterable<Uint8Array>): void {
  const name = checkPath("save", path);
  const temporary = join(dirname(name), `.${basename(name)}.${process.pid}.${Math.random().toString(36).slice(2)}.tmp`);
  let file: number | null = openSync(temporary, "wx", 0o666);
  try {
    for (const piece of pieces) {
      for (let done = 0; done < piece.length; )
        done += writeSync(file, piece, done, Math.min(piece.length - done, pieceBytes));
    }
    fsyncSync(file);
    closeSync(file);
    file = null;
    renameSync(temporary, name);
  } catch (error) {
    if (file !== null) closeSync(file);
    rmSync(temporary, { force: true });
    throw error;
  }
  flushFolder(dirname(name));
}

/** The new name itself is on the disk only after its folder is. */
function flushFolder(path: string): void {
  if (process.platform === "win32") return; // folders cannot be opened there
  const folder = openSync(path, "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

/** The formats are little-endian, and so are all machines that xcorr is built for. */
export function checkLittleEndian(): void {
  if (endianness() !== "LE")
    throw new BackendError("files of tensors can be read and written on little-endian machines only");
}
