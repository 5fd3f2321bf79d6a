import { dirname, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { ArgumentError } from "./errors.js";
import type { Block } from "./block.js";
import { liveBlocks, memoryStats, setLargestReport, setSiteRecorder } from "./memory.js";
import { describe, format } from "./shape.js";

/** Which tensors hold the memory, and where they were made: for messages, on demand, and at exit under XCORR_DEBUG=memory. */

/** All tensors made at one place of the program. */
export interface MemorySite {
  /** File, line and column outside the library, and the call of the library; null for what was made before recording. */
  readonly where: string | null;
  /** Tensors of this place that are held now, and their bytes. */
  readonly tensors: number;
  readonly bytes: number;
  /** Tensors ever made here since recording began. */
  readonly made: number;
  /** The largest of them, for instance "[64, 10] float32". */
  readonly largest: string;
}

export interface MemoryReport {
  readonly live: number;
  readonly tensors: number;
  /** Whether places are recorded: XCORR_DEBUG=memory, or `setMemoryDebug(true)`. */
  readonly recording: boolean;
  /** By bytes held, the most first. */
  readonly sites: readonly MemorySite[];
  /** As a table for people. */
  toString(): string;
}

/** The library's own folder: what lies outside is the caller. */
const library = dirname(dirname(fileURLToPath(import.meta.url))) + sep;
const deepestStack = 60;
const listed = 5;

let recording = false;
const made = new Map<string, number>();

/** One line of a stack: "    at name (place)" or "    at place". */
const frame = /^\s*at (?:(.*?) \()?(.*?)\)?$/;

function site(): string {
  const before = Error.stackTraceLimit;
  Error.stackTraceLimit = deepestStack;
  const { stack = "" } = new Error();
  Error.stackTraceLimit = before;
  let call = "";
  let place = "an unknown place";
  for (const line of stack.split("\n").slice(1)) {
    const [, name = "", at = ""] = frame.exec(line) ?? [];
    const path = at.replace(/^async /, "").replace(/^file:\/\//, "");
    if (path.startsWith("node:") || path === "<anonymous>") continue;
    if (path.startsWith(library)) {
      call = name.replace(/^(async|new|Module|Object|Function)[. ]/, "");
      continue;
    }
    place = path;
    break;
  }
  const found = call === "" ? place : `${place} (${call})`;
  made.set(found, (made.get(found) ?? 0) + 1);
  return found;
}

/**
 * Whether the place where each tensor is made is recorded, for `memoryReport()` and the message of MemoryLimitError. Costs some
 * microseconds per tensor. XCORR_DEBUG=memory does it from the start, and prints the report at exit.
 */
export function setMemoryDebug(on: boolean): void {
  if (typeof on !== "boolean") throw new ArgumentError(`setMemoryDebug: on must be a boolean, got ${describe(on)}`);
  recording = on;
  setSiteRecorder(on ? site : null);
}

function kind(block: Block): string {
  return block.shape === null || block.dtype === null
    ? `${block.capacity} bytes`
    : `${format(block.shape)} ${block.dtype}`;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(bytes < 1e6 ? 3 : 1)} MB`;
}

/**
 * Who holds memory now, by the place where it was made; tensors that nobody holds are collected first. A leak is a place
 * whose tensors grow from one report to the next.
 */
export function memoryReport(): MemoryReport {
  const groups = new Map<string | null, Block[]>();
  for (const block of liveBlocks(true)) {
    const group = groups.get(block.site);
    if (group === undefined) groups.set(block.site, [block]);
    else group.push(block);
  }
  const sites = [...groups].map(([where, blocks]): MemorySite => {
    const largest = blocks.reduce((a, b) => (b.capacity > a.capacity ? b : a));
    return {
      where,
      tensors: blocks.length,
      bytes: blocks.reduce((sum, b) => sum + b.capacity, 0),
      made: where === null ? blocks.length : (made.get(where) ?? 0),
      largest: kind(largest),
    };
  });
  sites.sort((a, b) => b.bytes - a.bytes);
  const { live, tensors } = memoryStats();
  return { live, tensors, recording, sites, toString: () => table(live, tensors, sites) };
}

function table(live: number, tensors: number, sites: readonly MemorySite[]): string {
  const rows = sites.map((s) => [
    megabytes(s.bytes),
    String(s.tensors),
    String(s.made),
    s.largest,
    s.where ?? "not recorded (XCORR_DEBUG=memory)",
  ]);
  const head = ["held", "tensors", "made", "largest", "where"];
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]!.length)));
  const line = (row: readonly string[]): string =>
    `  ${row.map((cell, i) => (i < 3 ? cell.padStart(widths[i]!) : i < 4 ? cell.padEnd(widths[i]!) : cell)).join("  ")}`;
  return [
    `xcorr memory: ${megabytes(live)} held by ${tensors} tensors`,
    ...(rows.length > 0 ? [head, ...rows].map(line) : []),
  ].join("\n");
}

/** The end of an error's message: the largest tensors, equal ones together. */
setLargestReport(() => {
  const groups = new Map<string, { count: number; block: Block }>();
  for (const block of liveBlocks(false)) {
    const key = `${kind(block)} ${block.site ?? ""}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { count: 1, block });
    else group.count++;
  }
  if (groups.size === 0) return "";
  const largest = [...groups.values()].sort((a, b) => b.block.capacity - a.block.capacity).slice(0, listed);
  const lines = largest.map(({ count, block }) => {
    const times = count === 1 ? "" : `${count} times `;
    return `\n  ${times}${kind(block)}, ${megabytes(block.capacity)}${block.site === null ? "" : `, made at ${block.site}`}`;
  });
  const hint = recording ? "" : "\n  (XCORR_DEBUG=memory records where they are made)";
  return `. The largest live tensors:${lines.join("")}${hint}`;
});

const debugged = (process.env.XCORR_DEBUG ?? "").split(",").filter((word) => word !== "");
for (const word of debugged) {
  if (word !== "memory") throw new ArgumentError(`XCORR_DEBUG: knows "memory", not ${JSON.stringify(word)}`);
}
if (debugged.includes("memory")) {
  setMemoryDebug(true);
  process.on("exit", () => process.stderr.write(`${memoryReport().toString()}\n`));
}
