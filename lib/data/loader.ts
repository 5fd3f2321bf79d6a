import { ArgumentError } from "../core/errors.js";
import { checkInteger, checkOptions } from "../core/options.js";
import { describe } from "../core/shape.js";
import { Generator } from "../ops/random.js";
import { type Batch, type Dataset, stack } from "./dataset.js";

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
  /** Called on every batch, for instance to turn bytes into normalised numbers. */
  transform?(batch: Sample): B;
}

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
  readonly dataset: Dataset<Sample>;
  readonly batchSize: number;
  readonly #options: DataLoaderOptions<Sample, B>;
  #epoch = 0;
  #start = 0;
  #batch = 0;

  constructor(dataset: Dataset<Sample>, options: DataLoaderOptions<Sample, B> = {}) {
    checkOptions("DataLoader", options, ["batchSize", "shuffle", "dropLast", "seed", "collate", "transform"]);
    if (typeof dataset?.length !== "number" || typeof dataset.get !== "function") {
      throw new ArgumentError(`DataLoader: the dataset must have a length and get(index), got ${describe(dataset)}`);
    }
    this.dataset = dataset;
    this.batchSize = checkInteger("DataLoader", "batchSize", options.batchSize ?? 1, 1);
    checkInteger("DataLoader", "seed", options.seed ?? 0, 0, Number.MAX_SAFE_INTEGER);
    this.#options = options;
  }

  /** Batches per epoch. */
  get length(): number {
    const n = this.dataset.length / this.batchSize;
    return this.#options.dropLast ? Math.floor(n) : Math.ceil(n);
  }

  /** The epoch that the next iteration runs (from 0), and where it begins. */
  get state(): LoaderState {
    return { epoch: this.#epoch, batch: this.#batch };
  }

  set state(state: LoaderState) {
    this.#epoch = checkInteger("DataLoader.state", "epoch", state.epoch, 0);
    this.#start = this.#batch = checkInteger("DataLoader.state", "batch", state.batch, 0, this.length);
  }

  /** Sample numbers in the order of an epoch. */
  order(epoch: number): Int32Array {
    const n = this.dataset.length;
    if (!this.#options.shuffle) return Int32Array.from({ length: n }, (_, i) => i);
    // A stream per epoch: the seed keys it, the epoch picks where it starts.
    const generator = new Generator();
    generator.state = { seed: this.#options.seed ?? 0, offset: epoch * Math.ceil(n / 4) };
    return generator.permutation(n);
  }

  *[Symbol.iterator](): Iterator<B> {
    const order = this.order(this.#epoch);
    const batches = this.length;
    for (let b = this.#start; b < batches; b++) {
      const indices = order.subarray(b * this.batchSize, Math.min((b + 1) * this.batchSize, order.length));
      const made = this.#make(indices);
      this.#batch = b + 1;
      yield made;
    }
    this.#epoch++;
    this.#start = this.#batch = 0;
  }

  async *[Symbol.asyncIterator](): AsyncIterator<B> {
    for (const batch of this) {
      // One turn of the event loop a batch, so that timers and requests are served during training.
      await new Promise((resolve) => setImmediate(resolve));
      yield batch;
    }
  }

  #make(indices: Int32Array): B {
    const options = this.#options;
    const collate = options.collate?.bind(options) ?? stack<Sample>;
    const batch =
      options.collate === undefined && this.dataset.batch !== undefined
        ? this.dataset.batch(indices)
        : collate(Array.from(indices, (i) => this.dataset.get(i)));
    // Without a transform both are the same type: that is B's default.
    return options.transform === undefined ? (batch as Batch as B) : options.transform(batch);
  }
}
