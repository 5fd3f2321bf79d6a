import { hostname } from "node:os";
import { join } from "node:path";
import { ArgumentError } from "../core/errors.js";
import { checkInteger } from "../core/options.js";
import { describe } from "../core/shape.js";
import { checkPath, RecordFile } from "../io/file.js";
import type { FitEvent } from "../train/events.js";
import { crc32c } from "./crc.js";

/**
 * Event files that TensorBoard reads: TFRecords (length, masked crc32c of the length, content, masked crc32c of the
 * content; all little-endian) of Event messages in protocol buffers' wire format.
 */

/** TFRecord's masking, so that a crc of data that holds crcs stays useful. */
function masked(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

function record(content: Uint8Array): Buffer {
  const out = Buffer.alloc(12 + content.length + 4);
  out.writeBigUInt64LE(BigInt(content.length), 0);
  out.writeUInt32LE(masked(out.subarray(0, 8)), 8);
  out.set(content, 12);
  out.writeUInt32LE(masked(content), 12 + content.length);
  return out;
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 128) {
    bytes.push((rest % 128) + 128);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
  return Buffer.from(bytes);
}

/** Wire types of protocol buffers. */
const [asVarint, as64, asBytes, as32] = [0, 1, 2, 5];

function field(number: number, wire: number, content: Uint8Array): Buffer {
  const length = wire === asBytes ? varint(content.length) : Buffer.alloc(0);
  return Buffer.concat([varint(number * 8 + wire), length, content]);
}

function double(value: number): Buffer {
  const out = Buffer.alloc(8);
  out.writeDoubleLE(value);
  return out;
}

function float(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeFloatLE(value);
  return out;
}

/** Event: wall_time = 1 (double), step = 2 (int64), file_version = 3 (string), summary = 5. */
function event(wallTime: number, step: number, rest: Buffer): Buffer {
  return Buffer.concat([field(1, as64, double(wallTime)), field(2, asVarint, varint(step)), rest]);
}

/** Writes scalars for TensorBoard: `tensorboard --logdir FOLDER`. */
export class EventWriter {
  readonly path: string;
  readonly #file: RecordFile;

  /** Begins a new file in `folder`, which is made if there is none. */
  constructor(folder: string) {
    const name = checkPath("EventWriter", folder);
    const seconds = Date.now() / 1000;
    this.path = join(name, `events.out.tfevents.${Math.floor(seconds)}.${hostname()}.${process.pid}`);
    this.#file = new RecordFile("EventWriter", this.path);
    this.#write(event(seconds, 0, field(3, asBytes, Buffer.from("brain.Event:2"))));
  }

  #write(content: Buffer): void {
    this.#file.append(record(content));
  }

  /** One value of the curve `tag`. */
  scalar(tag: string, value: number, step: number): void {
    if (typeof tag !== "string" || typeof value !== "number")
      throw new ArgumentError(
        `EventWriter.scalar: needs a tag and a number, got ${describe(tag)} and ${describe(value)}`,
      );
    checkInteger("EventWriter.scalar", "step", step, 0, Number.MAX_SAFE_INTEGER);
    // Summary: value = 1; Value: tag = 1, simple_value = 2 (float).
    const one = Buffer.concat([field(1, asBytes, Buffer.from(tag)), field(2, as32, float(value))]);
    this.#write(event(Date.now() / 1000, step, field(5, asBytes, field(1, asBytes, one))));
  }

  /** For `train.fit({ callbacks: [writer.callback()] })`: loss and rate of every batch, all numbers of every epoch. */
  callback(): (event: FitEvent) => void {
    return (given) => {
      if (given.type === "batch") {
        this.scalar("batch/loss", given.loss, given.step);
        this.scalar("batch/lr", given.lr, given.step);
      } else if (given.type === "epoch") {
        this.#numbers("train", { loss: given.loss, ...given.metrics }, given.step);
        if (given.validation)
          this.#numbers("validation", { loss: given.validation.loss, ...given.validation.metrics }, given.step);
      } else if (given.type === "end") {
        this.close();
      }
    };
  }

  #numbers(group: string, values: Record<string, unknown>, step: number): void {
    for (const [name, value] of Object.entries(values))
      if (typeof value === "number") this.scalar(`${group}/${name}`, value, step);
  }

  close(): void {
    this.#file.close();
  }
}
