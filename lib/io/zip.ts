import { Buffer } from "node:buffer";
import { crc32, deflateRawSync, inflateRawSync } from "node:zlib";
import { ArgumentError, FormatError } from "../core/errors.js";
import { describe } from "../core/shape.js";
import { mostUnpacked, type Source } from "./file.js";

/** As much of the zip format as .npz needs (APPNOTE.TXT 6.3): stored and deflated entries, zip64 when reading. */

const localSignature = 0x04034b50;
const centralSignature = 0x02014b50;
const endSignature = 0x06054b50;
const end64Signature = 0x06064b50;
const largest = 0xffffffff;
/** A local header without its name. */
const localBytes = 30;

export interface ZipEntry {
  readonly name: string;
  readonly method: number;
  readonly crc: number;
  readonly packed: number;
  readonly size: number;
  /** Where its local header begins. */
  readonly at: number;
}

/** The list of entries at the end of the file. */
export function zipEntries(source: Source): ZipEntry[] {
  const fail = (what: string): never => {
    throw new FormatError(`${source.name}: ${what}`);
  };
  const tail = read(source, Math.max(0, source.size - 65_557), source.size, fail);
  let end = tail.length - 22;
  while (end >= 0 && tail.readUInt32LE(end) !== endSignature) end--;
  if (end < 0) fail("is no zip archive: it has no end record, or was cut off");
  let count = tail.readUInt16LE(end + 10);
  let bytes = tail.readUInt32LE(end + 12);
  let from = tail.readUInt32LE(end + 16);
  if (count === 0xffff || bytes === largest || from === largest) {
    if (end < 20) fail("its zip64 record is missing");
    const at = safe(tail.readBigUInt64LE(end - 12), fail);
    const record = read(source, at, at + 56, fail);
    if (record.readUInt32LE(0) !== end64Signature) fail("its zip64 record is damaged");
    count = safe(record.readBigUInt64LE(32), fail);
    bytes = safe(record.readBigUInt64LE(40), fail);
    from = safe(record.readBigUInt64LE(48), fail);
  }
  const list = read(source, from, from + bytes, fail);
  const entries: ZipEntry[] = [];
  const names = new Set<string>();
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + 46 > list.length || list.readUInt32LE(at) !== centralSignature)
      fail(`entry ${i} of the archive's list is damaged`);
    const nameBytes = list.readUInt16LE(at + 28);
    const extraBytes = list.readUInt16LE(at + 30);
    const after = at + 46 + nameBytes + extraBytes + list.readUInt16LE(at + 32);
    if (after > list.length) fail(`entry ${i} of the archive's list is damaged`);
    const name = list.toString("utf8", at + 46, at + 46 + nameBytes);
    if (names.has(name)) fail(`the entry ${describe(name)} comes twice`);
    names.add(name);
    if (leavesFolder(name)) {
      fail(`the entry ${describe(name)} leaves the folder that it would be unpacked in, or is no file name; rename it`);
    }
    if (list.readUInt16LE(at + 8) & 1) fail(`the entry ${describe(name)} is encrypted`);
    const extra = list.subarray(at + 46 + nameBytes, at + 46 + nameBytes + extraBytes);
    const [size, packed, start] = wide(
      [list.readUInt32LE(at + 24), list.readUInt32LE(at + 20), list.readUInt32LE(at + 42)],
      extra,
      fail,
    ) as [number, number, number];
    entries.push({
      name,
      method: list.readUInt16LE(at + 10),
      crc: list.readUInt32LE(at + 16),
      packed,
      size,
      at: start,
    });
    at = after;
  }
  if (at !== list.length) fail(`its list of ${count} entries has ${list.length} bytes, but the entries take ${at}`);
  checkPlaces(entries, source.size, fail);
  return entries;
}

/** Absolute, with a drive, upwards, or cut short by a NUL: whoever writes the arrays to files by their names is safe. */
function leavesFolder(name: string): boolean {
  return /^(?:[/\\]|[A-Za-z]:)|(?:^|[/\\])\.\.(?:$|[/\\])|\0/.test(name);
}

/**
 * No two entries may share packed bytes: many entries over the same ones are how a small archive becomes any amount of
 * data. So all entries together become at most what all of the file may.
 */
function checkPlaces(entries: readonly ZipEntry[], bytes: number, fail: (what: string) => never): void {
  const sorted = [...entries].sort((a, b) => a.at - b.at);
  let reached = 0;
  let total = 0;
  for (const { name, at, packed, size } of sorted) {
    if (at < reached) fail(`the entry ${describe(name)} begins at byte ${at}, inside the entry before it`);
    reached = at + localBytes + packed;
    total += size;
  }
  if (total > mostUnpacked(bytes)) {
    fail(
      `its entries say they unpack to ${total} bytes, more than the ${mostUnpacked(bytes)} that ${bytes} packed bytes may become; ` +
        "save the arrays without compression if that is right",
    );
  }
}

/** Numbers that are 0xffffffff stand, in this order, in the zip64 field. */
function wide(values: number[], extra: Buffer, fail: (what: string) => never): number[] {
  let field: Buffer | null = null;
  for (let at = 0; at + 4 <= extra.length; at += 4 + extra.readUInt16LE(at + 2)) {
    if (extra.readUInt16LE(at) === 1) field = extra.subarray(at + 4, at + 4 + extra.readUInt16LE(at + 2));
  }
  let next = 0;
  return values.map((value) => {
    if (value !== largest) return value;
    if (field === null || next + 8 > field.length) return fail("a zip64 field is missing");
    next += 8;
    return safe(field.readBigUInt64LE(next - 8), fail);
  });
}

function safe(value: bigint, fail: (what: string) => never): number {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : fail(`a size of ${value} bytes cannot be right`);
}

function read(source: Source, from: number, to: number, fail: (what: string) => never): Buffer {
  if (from < 0 || to < from || to > source.size) fail(`bytes ${from} to ${to} lie outside the file of ${source.size}`);
  const bytes = Buffer.alloc(to - from);
  source.read(from, bytes);
  return bytes;
}

/** The bytes of an entry, unpacked and compared with their checksum. */
export function zipContent(source: Source, entry: ZipEntry): Uint8Array {
  const where = `${source.name}: entry ${describe(entry.name)}`;
  const fail = (what: string): never => {
    throw new FormatError(`${where}: ${what}`);
  };
  const local = read(source, entry.at, entry.at + localBytes, fail);
  if (local.readUInt32LE(0) !== localSignature) fail("its header is damaged");
  const start = entry.at + localBytes + local.readUInt16LE(26) + local.readUInt16LE(28);
  const packed = read(source, start, start + entry.packed, fail);
  if (entry.method === 0 && entry.size !== entry.packed)
    fail(`is stored in ${entry.packed} bytes, but has ${entry.size}`);
  let content: Uint8Array = packed;
  if (entry.method === 8) {
    try {
      content = inflateRawSync(packed, { maxOutputLength: Math.max(entry.size, 1) });
    } catch (error) {
      fail(`cannot be unpacked (${(error as Error).message})`);
    }
  } else if (entry.method !== 0) {
    fail(`is packed by method ${entry.method}; stored (0) and deflated (8) entries can be read`);
  }
  if (content.length !== entry.size) fail(`has ${content.length} bytes instead of ${entry.size}`);
  if (crc32(content) !== entry.crc) fail("its checksum is wrong: the file is damaged");
  return content;
}

/** The pieces of a zip archive with the given contents. */
export function* zipPieces(
  call: string,
  files: Iterable<readonly [name: string, content: Uint8Array]>,
  compress: boolean,
): Iterable<Uint8Array> {
  const list: Buffer[] = [];
  let at = 0;
  for (const [name, content] of files) {
    const title = Buffer.from(name);
    const packed = compress ? deflateRawSync(content) : content;
    if (content.length >= largest || at + packed.length >= largest)
      throw new ArgumentError(`${call}: archives of 4 GiB and more cannot be written; use saveSafetensors`);
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0); // version needed: 2.0
    common.writeUInt16LE(0x800, 2); // names are UTF-8
    common.writeUInt16LE(compress ? 8 : 0, 4);
    common.writeUInt16LE(0x21, 8); // 1 January 1980, so that the same content gives the same bytes
    common.writeUInt32LE(crc32(content), 10);
    common.writeUInt32LE(packed.length, 14);
    common.writeUInt32LE(content.length, 18);
    common.writeUInt16LE(title.length, 22);
    const local = Buffer.concat([uint32(localSignature), common, title]);
    const central = Buffer.concat([uint32(centralSignature), Buffer.from([20, 3]), common, Buffer.alloc(14), title]);
    central.writeUInt32LE((0o100644 << 16) >>> 0, 38); // an ordinary file
    central.writeUInt32LE(at, 42);
    list.push(central);
    yield local;
    yield packed;
    at += local.length + packed.length;
  }
  const directory = Buffer.concat(list);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(endSignature, 0);
  end.writeUInt16LE(list.length, 8);
  end.writeUInt16LE(list.length, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(at, 16);
  yield directory;
  yield end;
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
