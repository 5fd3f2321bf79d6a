import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  type Stats,
  writeSync,
} from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { endianness, hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import { isUint8Array } from "node:util/types";
import { isAttached } from "../core/buffers.js";
import { ArgumentError, BackendError, FileError, FormatError, XcorrError } from "../core/errors.js";
import { newBytes } from "../core/memory.js";
import { describe } from "../core/shape.js";

/**
 * Files as the formats need them: read in pieces, written whole or not at all. Files are of strangers: only regular ones
 * are read (a pipe would wait for ever, a device never end), and what they say of sizes is believed only as far as
 * their own length can justify.
 */

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

/** Opening does not wait for the other end of a pipe; fstat then refuses it. */
const readFlags = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

/** How a file is opened: by default a symbolic link is followed, as a user's own path may be one. */
export interface Opening {
  readonly followLinks?: boolean;
}

function flagsOf({ followLinks = true }: Opening): number {
  return readFlags | (followLinks ? 0 : (constants.O_NOFOLLOW ?? 0));
}

function checkRegular(call: string, name: string, stats: Stats, done = "read"): void {
  if (stats.isFile()) return;
  const kind = stats.isDirectory()
    ? "a folder"
    : stats.isFIFO()
      ? "a pipe"
      : stats.isCharacterDevice() || stats.isBlockDevice()
        ? "a device"
        : "no regular file";
  throw new FileError(
    `${call}: ${name} is ${kind}; only regular files are ${done}`,
    stats.isDirectory() ? "EISDIR" : "EINVAL",
  );
}

function unreadable(call: string, name: string, error: unknown): FileError {
  const { code = "EIO", message } = error as NodeJS.ErrnoException;
  return new FileError(`${call}: ${name} cannot be read: ${message}`, code, error);
}

/** Opens a file for the time of `work`. */
export function withFile<T>(call: string, path: string, work: (source: Source) => T, opening: Opening = {}): T {
  const name = checkPath(call, path);
  const io = <R>(step: () => R): R => {
    try {
      return step();
    } catch (error) {
      throw unreadable(call, name, error);
    }
  };
  const file = io(() => openSync(name, flagsOf(opening)));
  try {
    const stats = io(() => fstatSync(file));
    checkRegular(call, name, stats);
    const read = (position: number, into: Uint8Array): void => {
      for (let done = 0; done < into.length; ) {
        const length = Math.min(into.length - done, pieceBytes);
        const count = io(() => readSync(file, into, done, length, position + done));
        if (count === 0) throw cutOff(name, position + done);
        done += count;
      }
    };
    return work({ name, size: stats.size, read });
  } finally {
    closeSync(file);
  }
}

function cutOff(name: string, at: number): FormatError {
  return new FormatError(`${name}: the file ends at byte ${at}; it was cut off`);
}

function checkSize(name: string, size: number, most: number): void {
  if (size > most) throw new FormatError(`${name}: the file has ${size} bytes; at most ${most} are read of this kind`);
}

/** All bytes of a file of at most `most`. */
export function readWhole(call: string, path: string, most: number): Uint8Array<ArrayBuffer> {
  return withFile(call, path, ({ name, size, read }) => {
    checkSize(name, size, most);
    const bytes = newBytes(size, name);
    read(0, bytes);
    return bytes;
  });
}

/** Most files that are open at once for `readWholeAsync`: a data set may ask for all of its own together. */
const mostOpen = 16;
let openNow = 0;
const waiting: (() => void)[] = [];

/** As `readWhole`, while other work goes on. */
export async function readWholeAsync(
  call: string,
  path: string,
  most: number,
  opening: Opening = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const name = checkPath(call, path);
  let file: FileHandle | undefined;
  if (openNow === mostOpen) await new Promise<void>((resolve) => waiting.push(resolve));
  else openNow++;
  try {
    file = await open(name, flagsOf(opening));
    const stats = await file.stat();
    checkRegular(call, name, stats);
    checkSize(name, stats.size, most);
    const bytes = newBytes(stats.size, name);
    for (let done = 0; done < bytes.length; ) {
      const { bytesRead } = await file.read(bytes, done, Math.min(bytes.length - done, pieceBytes), done);
      if (bytesRead === 0) throw cutOff(name, done);
      done += bytesRead;
    }
    return bytes;
  } catch (error) {
    if (error instanceof XcorrError) throw error;
    throw unreadable(call, name, error);
  } finally {
    await file?.close();
    const next = waiting.shift();
    if (next === undefined) openNow--;
    else next();
  }
}

/** Memory as a source. */
export function fromBytes(call: string, bytes: Uint8Array): Source {
  checkBytes(call, bytes);
  return {
    name: "the bytes",
    size: bytes.length,
    read: (position, into) => {
      const part = bytes.subarray(position, position + into.length);
      if (part.length < into.length) throw cutOff("the bytes", position + part.length);
      into.set(part);
    },
  };
}

/** Refuses what is no Uint8Array (of whatever realm), or one whose buffer was detached or has become too small for it. */
export function checkBytes(call: string, bytes: unknown): asserts bytes is Uint8Array {
  if (!isUint8Array(bytes)) throw new ArgumentError(`${call}: needs a Uint8Array, got ${describe(bytes)}`);
  if (bytes.length === 0 && !isAttached(bytes)) {
    throw new ArgumentError(
      `${call}: the buffer of the Uint8Array was detached, or shrunk below it; give a copy of the bytes`,
    );
  }
}

export function checkPath(call: string, path: unknown): string {
  if (typeof path !== "string" || path === "")
    throw new ArgumentError(`${call}: the path must be a string, got ${describe(path)}`);
  if (path.includes("\0"))
    throw new ArgumentError(`${call}: the path ${JSON.stringify(path.slice(0, 200))} contains a NUL character`);
  return path;
}

/**
 * The most bytes that `packed` bytes of compressed data may become. DEFLATE reaches 1,032 to one on zeros, so a small
 * file could otherwise fill the memory of a machine; real arrays rarely reach a tenth of that.
 */
export function mostUnpacked(packed: number): number {
  return Math.min(mostFile, Math.max(freelyUnpacked, 100 * packed));
}
/** What any file may become. */
const freelyUnpacked = 2 ** 28;
/** Largest array that is read of a packed file, and largest file that is read as one piece. */
export const mostFile: number = 2 ** 31;

/**
 * Writes a file whole or not at all: beside its place under another name, flushed to the disk, then renamed. Whoever
 * opens `path` sees the old file or the new one, also after a crash.
 */
export function writeWhole(path: string, pieces: Iterable<Uint8Array>): void {
  const name = checkPath("save", path);
  checkReplaceable(name);
  const temporary = join(
    dirname(name),
    `.${basename(name)}.${hostname()}.${process.pid}.${Math.random().toString(36).slice(2)}.tmp`,
  );
  try {
    const file = openSync(temporary, "wx", 0o666);
    try {
      removeAbandoned(name);
      for (const piece of pieces) {
        for (let done = 0; done < piece.length; )
          done += writeSync(file, piece, done, Math.min(piece.length - done, pieceBytes));
      }
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, name);
    flushFolder(dirname(name));
  } catch (error) {
    rmSync(temporary, { force: true });
    throw unwritable("save", name, error);
  }
}

/** Renaming would put a file in the place of a device or a pipe, for all programs. (A link is replaced, not what it leads to.) */
function checkReplaceable(name: string): void {
  let old: Stats | undefined;
  try {
    old = lstatSync(name, { throwIfNoEntry: false });
  } catch (error) {
    throw unwritable("save", name, error);
  }
  if (old !== undefined && !old.isSymbolicLink()) checkRegular("save", name, old, "written");
}

/** What a system call's error becomes; others are those of who gave what is written. */
function unwritable(call: string, name: string, error: unknown): unknown {
  const { syscall, code, message } = error as NodeJS.ErrnoException;
  if (syscall === undefined || code === undefined) return error;
  return new FileError(`${call}: ${name} cannot be written: ${message}`, code, error);
}

/** A file that grows by whole records: one that the disk has no room for leaves nothing behind. */
export class RecordFile {
  readonly #call: string;
  readonly #name: string;
  #file: number | null;

  /** Begins or continues the file; its folder is made if there is none. */
  constructor(call: string, path: string) {
    this.#call = call;
    this.#name = checkPath(call, path);
    try {
      mkdirSync(dirname(this.#name), { recursive: true });
      this.#file = openSync(this.#name, "a");
    } catch (error) {
      throw unwritable(call, this.#name, error);
    }
  }

  append(record: Uint8Array): void {
    const file = this.#file;
    if (file === null) throw new ArgumentError(`${this.#call}: is closed`);
    try {
      const { size } = fstatSync(file);
      try {
        for (let done = 0; done < record.length; ) done += writeSync(file, record, done);
      } catch (error) {
        ftruncateSync(file, size);
        throw error;
      }
    } catch (error) {
      throw unwritable(this.#call, this.#name, error);
    }
  }

  close(): void {
    if (this.#file !== null) closeSync(this.#file);
    this.#file = null;
  }
}

/** Unfinished files of processes that no longer live were left by `kill -9`, say; those of other machines may be in use. */
function removeAbandoned(name: string): void {
  const start = `.${basename(name)}.${hostname()}.`;
  for (const entry of readdirSync(dirname(name))) {
    const pid = entry.startsWith(start) ? /^(\d+)\.[0-9a-z]+\.tmp$/.exec(entry.slice(start.length))?.[1] : undefined;
    if (pid !== undefined && !lives(Number(pid))) rmSync(join(dirname(name), entry), { force: true });
  }
}

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
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

/** The pieces of a file as one, in memory. */
export function joined(pieces: Iterable<Uint8Array>, what: string): Uint8Array<ArrayBuffer> {
  const list = [...pieces];
  const all = newBytes(
    list.reduce((sum, piece) => sum + piece.length, 0),
    what,
  );
  let at = 0;
  for (const piece of list) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

/** The formats are little-endian, and so are all machines that xcorr is built for. */
export function checkLittleEndian(): void {
  if (endianness() !== "LE")
    throw new BackendError("files of tensors can be read and written on little-endian machines only");
}
