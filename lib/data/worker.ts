import { parentPort, workerData } from "node:worker_threads";
import { collectAtRest } from "../core/memory.js";
import { scope } from "../autograd/scope.js";
import "../reference/choose.js";
import { type AsyncDataset, type Dataset, makeBatch } from "./dataset.js";
import { type LoadedTransform, loadSource, type ModuleSource } from "./module.js";
import { type PackedBatch, pack } from "./packed.js";
import { batchGenerator } from "./random.js";

/** The worker thread of a loader: makes the batches it is asked for. */

/** @internal Asks for one batch. */
export interface BatchRequest {
  readonly id: number;
  readonly indices: Int32Array;
  readonly seed: number;
  readonly epoch: number;
  readonly batch: number;
  /** Transferred: memory of an earlier batch, to be used again. */
  readonly memory: ArrayBuffer | null;
}

/** @internal The answer: the batch, or what went wrong. */
export type BatchAnswer =
  | { readonly id: number; readonly packed: PackedBatch }
  | { readonly id: number; readonly error: unknown; readonly name: string };

const port = parentPort;
if (port !== null) {
  // A module that fails to load fails every request, so that the loop sees it.
  const loaded = loadSource(workerData as ModuleSource);
  loaded.catch(() => {});
  port.on("message", (request: BatchRequest) => {
    void answer(loaded, request).then((given) => {
      port.postMessage(given, "packed" in given ? [given.packed.memory] : []);
      collectAtRest(true);
    });
  });
}

async function answer(
  loaded: Promise<{ dataset: Dataset | AsyncDataset; transform: LoadedTransform | null }>,
  { id, indices, seed, epoch, batch, memory }: BatchRequest,
): Promise<BatchAnswer> {
  try {
    const { dataset, transform } = await loaded;
    const packed = await scope(async () => {
      const made = await makeBatch(dataset, indices);
      const context = { epoch, batch, random: batchGenerator(seed, epoch, batch) };
      return pack(transform === null ? made : await transform(made, context), memory);
    });
    return { id, packed };
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
