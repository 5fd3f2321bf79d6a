import { backend } from "../backend/run.js";
import { ArgumentError, StateError } from "../core/errors.js";
import { collectAtRest } from "../core/memory.js";
import { checkInteger, checkOptions } from "../core/options.js";
import { describe } from "../core/shape.js";
import { Generator as RandomGenerator } from "../ops/random.js";
import { type AsyncDataset, type Batch, type Dataset, makeBatch } from "./dataset.js";
import { sourceOf } from "./module.js";
import type { PackedBatch } from "./packed.js";
import { batchGenerator } from "./random.js";
import type { BatchContext } from "./transforms.js";
import { LoaderWorkers } from "./workers.js";

export interface DataLoaderOptions<Sample extends Batch = Batch, B extends Batch = Sample> {
  /** Samples per batch, default 1. */
  readonly batchSize?: number;
  /** A new random order every epoch, default false. */
  readonly shuffle?: boolean;
  /** Leave out a last batch that is smaller, default false. */
  readonly dropLast?: boolean;
  /** Seed of the order, default 0: the order of an epoch follows from seed and epoch number alone. */
  readonly seed?: number;
  /** Makes a batch of single samples; default: stacks each part. */
  collate?(samples: readonly Sample[]): Sample;
  /**
   * Called on every batch, for instance to turn bytes into normalised numbers. Random numbers come from
   * `context.random`, which follows from seed, epoch and batch.
   */
  transform?(batch: Sample, context: BatchContext): B;
  /**
   * Worker threads that make batches ahead, default 0. The data set must come from `fromModule`, and the loop be
   * `for await`. Batches come in order, the same as without workers.
   */
  readonly workers?: number;
  /** Batches that each worker makes ahead, default 2. */
  readonly prefetch?: number;
  /** Keep the threads (and their data sets) between epochs until `close()`; default false. They do not hold the process. */
  readonly persistentWorkers?: boolean;
}

const optionNames = [
  "batchSize",
  "shuffle",
  "dropLast",
  "seed",
  "collate",
  "transform",
  "workers",
  "prefetch",
  "persistentWorkers",
];

/** Where a loader stands, to continue an interrupted epoch exactly. */
export interface LoaderState {
  readonly epoch: number;
  /** Batches of the epoch already handed out. */
  readonly batch: number;
}

/**
 * Batches of a dataset. Each `for ... of` (or `for await`) is one epoch.
 *
 * An epoch's order is a function of the seed and the epoch number, so a run that is interrupted and resumed with
 * `state` sees the same batches as one that was not.
 */
export class DataLoader<Sample extends Batch = Batch, B extends Batch = Sample> {
  readonly dataset: Dataset<Sample> | AsyncDataset<Sample>;
  readonly batchSize: number;
  readonly #options: DataLoaderOptions<Sample, B>;
  #epoch = 0;
  #start = 0;
  #batch = 0;
  /** Persistent workers between two epochs. */
  #workers: LoaderWorkers | null = null;
  /** Those of iterations that are under way. */
  readonly #iterating = new Set<LoaderWorkers>();

  constructor(dataset: Dataset<Sample> | AsyncDataset<Sample>, options: DataLoaderOptions<Sample, B> = {}) {
    checkOptions("DataLoader", options, optionNames);
    const given = Object(dataset) as Partial<Dataset & AsyncDataset>;
    if (typeof given.length !== "number" || typeof (given.get ?? given.getAsync) !== "function") {
      throw new ArgumentError(
        `DataLoader: the dataset must have a length and get(index) (or getAsync), got ${describe(dataset)}`,
      );
    }
    for (const name of ["collate", "transform"] as const)
      if (options[name] !== undefined && typeof options[name] !== "function")
        throw new ArgumentError(`DataLoader: ${name} must be a function, got ${describe(options[name])}`);
    const workers = checkInteger("DataLoader", "workers", options.workers ?? 0, 0, 1024);
    checkInteger("DataLoader", "prefetch", options.prefetch ?? 2, 1);
    if (workers > 0 && sourceOf(dataset) === undefined) {
      throw new ArgumentError(
        'DataLoader: worker threads make their own data set, so with workers it must come from data.fromModule(new URL("./x.js", import.meta.url))',
      );
    }
    if (workers > 0 && options.collate !== undefined) {
      throw new ArgumentError(
        "DataLoader: collate is a function of this thread and cannot run in workers; give the data set a batch(indices) of its own",
      );
    }
    if (workers === 0 && sourceOf(dataset)?.transform != null) {
      throw new ArgumentError(
        `DataLoader: the data set's transform ${JSON.stringify(sourceOf(dataset)!.transform)} runs in workers, but there are none; ` +
          "set workers, or give the function itself as transform",
      );
    }
    this.dataset = dataset;
    this.#samples();
    this.batchSize = checkInteger("DataLoader", "batchSize", options.batchSize ?? 1, 1);
    checkInteger("DataLoader", "seed", options.seed ?? 0, 0, Number.MAX_SAFE_INTEGER);
    this.#options = options;
  }

  /** Samples now; data sets may grow. */
  #samples(): number {
    return checkInteger("DataLoader", "the dataset's length", this.dataset.length, 0);
  }

  /** Batches per epoch. */
  get length(): number {
    const n = this.#samples() / this.batchSize;
    return this.#options.dropLast ? Math.floor(n) : Math.ceil(n);
  }

  /** The epoch that the next iteration runs (from 0), and where it begins. */
  get state(): LoaderState {
    return { epoch: this.#epoch, batch: this.#batch };
  }

  set state(state: LoaderState) {
    const given = Object(state) as Partial<LoaderState>;
    const epoch = checkInteger("DataLoader.state", "epoch", given.epoch, 0);
    this.#start = this.#batch = checkInteger("DataLoader.state", "batch", given.batch, 0, this.length);
    this.#epoch = epoch;
  }

  /** Sample numbers in the order of an epoch. */
  order(epoch: number): Int32Array {
    const n = this.#samples();
    if (!this.#options.shuffle) return Int32Array.from({ length: n }, (_, i) => i);
    // A stream per epoch: the seed keys it, the epoch picks where it starts.
    const generator = new RandomGenerator();
    generator.state = { seed: this.#options.seed ?? 0, offset: epoch * Math.ceil(n / 4) };
    return generator.permutation(n);
  }

  *[Symbol.iterator](): Iterator<B> {
    if ((this.#options.workers ?? 0) > 0 || "getAsync" in this.dataset) {
      throw new StateError(
        `DataLoader: ${"getAsync" in this.dataset ? "the data set is asynchronous" : "batches come from workers"}; iterate with \`for await\``,
      );
    }
    for (const [b, indices] of this.#batches()) {
      const made = this.#transformed(makeBatch(this.dataset, indices, this.#collate) as Sample, b);
      this.#batch = b + 1;
      yield made;
    }
    this.#next();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<B> {
    if ((this.#options.workers ?? 0) > 0) {
      yield* this.#fromWorkers();
    } else {
      for (const [b, indices] of this.#batches()) {
        const made = this.#transformed(await makeBatch(this.dataset, indices, this.#collate), b);
        // One turn of the event loop a batch, so that timers and requests are served during training.
        await new Promise((resolve) => setImmediate(resolve));
        this.#batch = b + 1;
        yield made;
      }
    }
    this.#next();
  }

  /** Ends all workers now; iterations that are under way end with StateError. */
  async close(): Promise<void> {
    const all = [...this.#iterating];
    if (this.#workers !== null) all.push(this.#workers);
    this.#workers = null;
    await Promise.all(all.map((workers) => workers.close()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async *#fromWorkers(): AsyncGenerator<B, void> {
    const options = this.#options;
    const epoch = this.#epoch;
    const count = options.workers!;
    backend(); // through it the pool knows of batches that are lost, though nothing has computed yet
    const waiting = this.#workers;
    this.#workers = null; // while an epoch has them; another iteration makes its own
    if (waiting?.broken) await waiting.close();
    const workers = waiting === null || waiting.broken ? new LoaderWorkers(sourceOf(this.dataset)!, count) : waiting;
    this.#iterating.add(workers);
    workers.hold(true);
    const ahead: { readonly b: number; readonly made: Promise<PackedBatch> }[] = [];
    const batches = this.#batches();
    const ask = (): void => {
      const next = batches.next();
      if (next.done) return;
      const [b, indices] = next.value;
      ahead.push({ b, made: workers.request({ indices, seed: options.seed ?? 0, epoch, batch: b }) });
    };
    let whole = false;
    try {
      for (let i = 0; i < count * (options.prefetch ?? 2); i++) ask();
      for (let first = ahead.shift(); first !== undefined; first = ahead.shift()) {
        const made = (await workers.take(await first.made)) as Sample;
        ask();
        collectAtRest(false); // a loop that only looks at its batches has no other moment of rest
        this.#batch = first.b + 1;
        yield this.#transformed(made, first.b);
      }
      whole = true;
    } finally {
      this.#iterating.delete(workers);
      if (whole && options.persistentWorkers && this.#workers === null && !workers.closed) {
        workers.hold(false);
        this.#workers = workers;
      } else {
        await workers.close();
      }
    }
  }

  get #collate(): ((samples: readonly Sample[]) => Sample) | undefined {
    return this.#options.collate?.bind(this.#options);
  }

  /** Number and sample numbers of the batches that are left of the epoch. */
  *#batches(): Generator<[batch: number, indices: Int32Array], void> {
    const order = this.order(this.#epoch);
    const batches = this.length;
    for (let b = this.#start; b < batches; b++)
      yield [b, order.slice(b * this.batchSize, Math.min((b + 1) * this.batchSize, order.length))];
  }

  /** Goes on to the next epoch. */
  #next(): void {
    this.#epoch++;
    this.#start = this.#batch = 0;
  }

  #transformed(batch: Sample, b: number): B {
    const { transform, seed = 0 } = this.#options;
    // Without a transform both are the same type: that is B's default.
    if (transform === undefined) return checkedBatch("collate (or the data set's batch)", batch as Batch as B);
    const context: BatchContext = { epoch: this.#epoch, batch: b, random: batchGenerator(seed, this.#epoch, b) };
    return checkedBatch("transform", transform.call(this.#options, batch, context));
  }
}

function checkedBatch<B extends Batch>(from: string, batch: B): B {
  if (!Array.isArray(batch))
    throw new ArgumentError(`DataLoader: ${from} must return a batch, a list of tensors, got ${describe(batch)}`);
  return batch;
}
