import { Worker } from "node:worker_threads";
import * as errors from "../core/errors.js";
import type { Batch } from "./dataset.js";
import type { ModuleSource } from "./module.js";
import { type PackedBatch, unpack } from "./packed.js";
import type { BatchAnswer, BatchRequest } from "./worker.js";

/** The worker threads of a loader, and what they are working on. */
export class LoaderWorkers {
  readonly #workers: Worker[];
  readonly #waiting = new Map<
    number,
    { resolve(packed: PackedBatch): void; reject(error: unknown): void; worker: number }
  >();
  /** Memory of batches that were taken, for those to come. */
  readonly #empty: ArrayBuffer[] = [];
  #next = 0;
  #closed = false;

  constructor(source: ModuleSource, count: number) {
    // Of a program given by --eval; a worker is a file, and would refuse it.
    const execArgv = process.execArgv.filter((argument) => !argument.startsWith("--input-type"));
    this.#workers = Array.from({ length: count }, (_, i) => {
      const worker = new Worker(new URL("./worker.js", import.meta.url), { workerData: source, execArgv });
      worker.on("message", (answer: BatchAnswer) => this.#settle(answer));
      worker.on("error", (error) => this.#fail(i, error));
      worker.on("exit", (code) =>
        this.#fail(
          i,
          new errors.StateError(
            this.#closed
              ? "DataLoader: was closed while it was iterated"
              : `DataLoader: worker ${i} of ${count} ended with code ${code} before its batch was made`,
          ),
        ),
      );
      return worker;
    });
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Asks the next worker in turn. */
  request(request: Omit<BatchRequest, "id" | "memory">): Promise<PackedBatch> {
    if (this.#closed) {
      const refused = Promise.reject(new errors.StateError("DataLoader: was closed while it was iterated"));
      refused.catch(() => {});
      return refused;
    }
    const id = this.#next++;
    const worker = id % this.#workers.length;
    const made = new Promise<PackedBatch>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject, worker });
    });
    made.catch(() => {}); // thrown when the loop comes to it
    const memory = this.#empty.pop() ?? null;
    this.#workers[worker]!.postMessage(
      { id, memory, ...request } satisfies BatchRequest,
      memory === null ? [] : [memory],
    );
    return made;
  }

  /** The batch as tensors of this thread; its memory waits for the next request. */
  async take(packed: PackedBatch): Promise<Batch> {
    const batch = await unpack(packed);
    this.#empty.push(packed.memory);
    return batch;
  }

  #settle(answer: BatchAnswer): void {
    const waiting = this.#waiting.get(answer.id);
    if (waiting === undefined) return;
    this.#waiting.delete(answer.id);
    if ("error" in answer) {
      waiting.reject(typed(answer.error, answer.name));
    } else {
      waiting.resolve(answer.packed);
    }
  }

  #fail(worker: number, error: unknown): void {
    if (!this.#closed) this.#broken = error;
    for (const [id, waiting] of this.#waiting) {
      if (waiting.worker !== worker) continue;
      this.#waiting.delete(id);
      waiting.reject(error);
    }
  }
  #broken: unknown = null;

  /** Whether a worker is gone, so that these workers cannot go on. */
  get broken(): boolean {
    return this.#broken !== null;
  }

  /** Whether they keep the process alive. */
  hold(on: boolean): void {
    for (const worker of this.#workers) {
      if (on) worker.ref();
      else worker.unref();
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }
}

/** An error that came from another thread, which keeps the message but not the class. */
function typed(error: unknown, name: string): unknown {
  const known = (errors as Record<string, unknown>)[name];
  if (!(error instanceof Error) || typeof known !== "function" || error instanceof errors.XcorrError) return error;
  const again = new (known as new (message: string, options: object) => Error)(error.message, { cause: error });
  if (error.stack !== undefined) again.stack = error.stack;
  return again;
}
