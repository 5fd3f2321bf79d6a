import { setImmediate as nextTurn } from "node:timers/promises";
import { sizeClass } from "../core/block.js";
import { bytesPerElement, type DType } from "../core/dtype.js";
import { allocate } from "../core/memory.js";
import type { Shape } from "../core/shape.js";
import { empty, type Tensor } from "../core/tensor.js";
import type { Batch } from "./dataset.js";

/**
 * How batches come from a loader's worker: packed into one buffer, which is transferred and then copied into tensors of
 * this thread's pool. The empty buffer goes back with a later request, so that a loader lives on as many buffers as it
 * has batches ahead, and at any moment one thread alone has each.
 *
 * Why no shared memory: all threads must have let go of it, V8 does not count it and so collects it late, and a batch that
 * the program lost would hold its memory until a collection here, one in the worker and no less.
 */

/** A tensor in a packed batch. */
interface Part {
  readonly dtype: DType;
  readonly shape: Shape;
  /** Where it begins in the buffer, and its length, in bytes. */
  readonly start: number;
  readonly length: number;
}

/** @internal A batch as a message; its memory must be transferred. */
export interface PackedBatch {
  readonly memory: ArrayBuffer;
  readonly parts: readonly Part[];
}

const lineBytes = 64;
/** So many bytes are copied in one turn of the event loop: about a millisecond. */
const turnBytes = 4 * 1024 * 1024;

/** @internal Copies a batch into `memory`, or into new memory if that is too small. */
export function pack(batch: Batch, memory: ArrayBuffer | null): PackedBatch {
  let end = 0;
  const parts = batch.map((t): Part => {
    const start = Math.ceil(end / lineBytes) * lineBytes;
    const length = t.numel() * bytesPerElement(t.dtype);
    end = start + length;
    return { dtype: t.dtype, shape: t.shape, start, length };
  });
  const enough =
    memory !== null && memory.byteLength >= end
      ? memory
      : allocate(sizeClass(end), "a batch on its way to the loop", (bytes) => new ArrayBuffer(bytes));
  for (const [i, { start, length }] of parts.entries()) {
    const t = batch[i]!.contiguous();
    const from = t.storage.array(t.dtype).subarray(t.offset, t.offset + t.numel());
    new Uint8Array(enough, start, length).set(new Uint8Array(from.buffer, from.byteOffset, from.byteLength));
  }
  return { memory: enough, parts };
}

/** @internal Copies a packed batch into tensors; its memory holds nothing of them afterwards. */
export async function unpack({ memory, parts }: PackedBatch): Promise<Tensor[]> {
  const batch: Tensor[] = [];
  for (const { dtype, shape, start, length } of parts) {
    const t = empty(shape, dtype);
    const { bytes } = t.storage.block;
    for (let at = 0; at < length; at += turnBytes) {
      if (at > 0) await nextTurn();
      bytes.set(new Uint8Array(memory, start + at, Math.min(turnBytes, length - at)), at);
    }
    batch.push(t);
  }
  return batch;
}
