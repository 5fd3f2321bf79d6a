import { allocate } from "../core/memory.js";
import { parentPort, workerData } from "node:worker_threads";
import type { DType } from "../core/dtype.js";
import { bytesPerElement } from "../core/dtype.js";
import type { Shape } from "../core/shape.js";
import { scope } from "../autograd/scope.js";
import "../reference/choose.js";
import { type AsyncDataset, type Batch, type Dataset, makeBatch } from "./dataset.js";
import { type LoadedTransform, loadSource, type ModuleSource } from "./module.js";
import { batchGenerator } from "./random.js";

/** The worker thread of a loader: makes the batches it is asked for, in shared memory. */

/** @internal Asks for one batch. */
export interface BatchRequest {
  readonly id: number;
  readonly indices: Int32Array;
  readonly seed: number;
  readonly epoch: number;
  readonly batch: number;
}

/** @internal A tensor in shared memory. */
export interface SharedPart {
  readonly buffer: SharedArrayBuffer;
  readonly dtype: DType;
  readonly shape: Shape;
}

/** @internal The answer: the parts of the batch, or what went wrong. */
export type BatchAnswer =
  | { readonly id: number; readonly parts: readonly SharedPart[] }
  | { readonly id: number; readonly error: unknown; readonly name: string };

function shared(batch: Batch): SharedPart[] {
  return batch.map((t) => {
    const buffer = allocate(
      Math.max(1, t.numel()) * bytesPerElement(t.dtype),
      "a batch in shared memory",
      (bytes) => new SharedArrayBuffer(bytes),
    );
    const contiguous = t.isContiguous() ? t : t.contiguous();
    const from = contiguous.storage.array(t.dtype).subarray(contiguous.offset, contiguous.offset + t.numel());
    new Uint8Array(buffer).set(new Uint8Array(from.buffer, from.byteOffset, from.byteLength));
    return { buffer, dtype: t.dtype, shape: t.shape };
  });
}

const port = parentPort;
if (port !== null) {
  // A module that fails to load fails every request, so that the loop sees it.
  const loaded = loadSource(workerData as ModuleSource);
  loaded.catch(() => {});
  port.on("message", (request: BatchRequest) => {
    void answer(loaded, request).then((given) => port.postMessage(given));
  });
}

async function answer(
  loaded: Promise<{ dataset: Dataset | AsyncDataset; transform: LoadedTransform | null }>,
  { id, indices, seed, epoch, batch }: BatchRequest,
): Promise<BatchAnswer> {
  try {
    const { dataset, transform } = await loaded;
    const parts = await scope(async () => {
      const made = await makeBatch(dataset, indices);
      const context = { epoch, batch, random: batchGenerator(seed, epoch, batch) };
      return shared(transform === null ? made : await transform(made, context));
    });
    return { id, parts };
  } catch (error) {
    const name = error instanceof Error ? error.constructor.name : "Error";
    try {
      structuredClone(error);
      return { id, error, name };
    } catch {
      return { id, error: new Error(String(error)), name };
    }
  }
}
