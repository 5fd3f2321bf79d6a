import { run } from "../backend/run.js";
import { isAttached } from "../core/buffers.js";
import type { DType } from "../core/dtype.js";
import { ArgumentError, IndexError, ShapeError } from "../core/errors.js";
import { checkInteger } from "../core/options.js";
import { describe, format, numel } from "../core/shape.js";
import { empty, isTensor, type Tensor } from "../core/tensor.js";
import { stack as stackTensors } from "../ops/join.js";

/** What a loader hands out: the parts of several samples, each stacked along a new first dimension. */
export type Batch = readonly Tensor[];

/**
 * Samples by number. A dataset implements `get`, and `batch` as well where it can make many at once faster than by
 * stacking single ones.
 */
export interface Dataset<B extends Batch = Batch> {
  /** Number of samples. */
  readonly length: number;
  /** The parts of one sample, for instance [image, label]. */
  get(index: number): B;
  /** The parts of several samples, stacked. */
  batch?(indices: Int32Array): B;
}

/** Samples whose reading takes its time, for instance decoding of files. A loader over it is iterated by `for await`. */
export interface AsyncDataset<B extends Batch = Batch> {
  readonly length: number;
  getAsync(index: number): Promise<B>;
  batchAsync?(indices: Int32Array): Promise<B>;
}

/** @internal One batch of a data set of either kind; a promise for an asynchronous one. */
export function makeBatch<B extends Batch>(
  dataset: Dataset<B> | AsyncDataset<B>,
  indices: Int32Array,
  collate?: (samples: readonly B[]) => B,
): B | Promise<B> {
  const given = Object(dataset) as Partial<Dataset & AsyncDataset>;
  if (typeof given.getAsync !== "function" && typeof given.get !== "function")
    throw new ArgumentError(`makeBatch: a data set has a length and get(index), got ${describe(dataset)}`);
  if ("getAsync" in dataset) {
    if (collate === undefined && dataset.batchAsync !== undefined) return dataset.batchAsync(indices);
    return Promise.all(Array.from(indices, (i) => dataset.getAsync(i))).then(collate ?? stack<B>);
  }
  if (collate === undefined && dataset.batch !== undefined) return dataset.batch(indices);
  return (collate ?? stack<B>)(Array.from(indices, (i) => dataset.get(i)));
}

/** The rows `indices` of a contiguous tensor [n, ...], copied by one kernel call. */
export function takeRows<D extends DType>(t: Tensor<D>, indices: Int32Array): Tensor<D> {
  if (!isTensor(t) || t.rank === 0) throw new ArgumentError(`takeRows: needs a tensor [n, ...], got ${describe(t)}`);
  if (!(indices instanceof Int32Array) || !isAttached(indices))
    throw new ArgumentError(`takeRows: indices must be an Int32Array, got ${describe(indices)}`);
  const index = empty([indices.length], "int32");
  index.storage.array("int32").set(indices);
  const y = empty([indices.length, ...t.shape.slice(1)], t.dtype);
  const bad = run("index_select", t.dtype, [0, 1, t.shape[0]!, indices.length, numel(t.shape.slice(1))], [t, index, y]);
  index.dispose();
  if (bad > 0) {
    throw new IndexError(`dataset: index ${indices[bad - 1]} is out of range for ${t.shape[0]} samples`);
  }
  return y;
}

/** Tensors that share their first dimension: sample i is the i-th row of each. */
export class TensorDataset<B extends Batch = Batch> implements Dataset<B> {
  readonly tensors: B;

  constructor(...tensors: B) {
    if (tensors.length === 0) throw new ArgumentError("TensorDataset: needs at least one tensor");
    for (const t of tensors)
      if (!isTensor(t)) throw new ArgumentError(`TensorDataset: every part must be a tensor, got ${describe(t)}`);
    for (const t of tensors) {
      if (t.rank === 0 || t.shape[0] !== tensors[0]!.shape[0]) {
        throw new ShapeError(
          `TensorDataset: all tensors must have the same first dimension, got ${tensors.map((u) => format(u.shape)).join(" and ")}`,
        );
      }
    }
    this.tensors = tensors.map((t) => t.detach().contiguous()) as Batch as B;
  }

  get length(): number {
    return this.tensors[0]!.shape[0]!;
  }

  get(index: number): B {
    return this.tensors.map((t) => t.select(0, index)) as Batch as B;
  }

  batch(indices: Int32Array): B {
    return this.tensors.map((t) => takeRows(t, indices)) as Batch as B;
  }
}

/** Some samples of another dataset, in the given order. */
export class Subset<B extends Batch = Batch> implements Dataset<B> {
  readonly dataset: Dataset<B>;
  readonly indices: Int32Array;

  constructor(dataset: Dataset<B>, indices: ArrayLike<number>) {
    if (typeof (Object(dataset) as Partial<Dataset>).length !== "number")
      throw new ArgumentError(`Subset: needs a dataset, got ${describe(dataset)}`);
    if (typeof indices !== "object" || indices === null || (ArrayBuffer.isView(indices) && !isAttached(indices)))
      throw new ArgumentError(`Subset: indices must be a list of sample numbers, got ${describe(indices)}`);
    this.dataset = dataset;
    this.indices = Int32Array.from(Array.from(indices, (i) => checkInteger("Subset", "every index", i, -(2 ** 31))));
    for (const i of this.indices) {
      if (i < 0 || i >= dataset.length)
        throw new IndexError(`Subset: index ${i} is out of range for ${dataset.length} samples`);
    }
  }

  get length(): number {
    return this.indices.length;
  }

  get(index: number): B {
    const i = this.indices[index];
    if (i === undefined) throw new IndexError(`Subset: index ${index} is out of range for ${this.length} samples`);
    return this.dataset.get(i);
  }

  batch(indices: Int32Array): B {
    const mapped = indices.map((i) => this.indices[i]!);
    return this.dataset.batch?.(mapped) ?? stack(Array.from(mapped, (i) => this.dataset.get(i)));
  }
}

/** Stacks single samples part by part. */
export function stack<B extends Batch>(samples: readonly B[]): B {
  if (!Array.isArray(samples) || !samples.every((sample) => Array.isArray(sample) && sample.every(isTensor)))
    throw new ArgumentError(`stack: needs a list of samples, each a list of tensors, got ${describe(samples)}`);
  const first = samples[0];
  if (first === undefined) throw new ArgumentError("stack: there are no samples");
  return first.map((part, p) => {
    const parts = samples.map((sample, i) => {
      const t = sample[p]!;
      if (t.dtype !== part.dtype || format(t.shape) !== format(part.shape)) {
        throw new ShapeError(
          `stack: part ${p} is ${format(part.shape)} ${part.dtype} in the first sample of a batch, but ${format(t.shape)} ${t.dtype} in ` +
            `sample ${i}; pass a collate function, or make the samples equal in size`,
        );
      }
      return t;
    });
    return stackTensors(parts);
  }) as Batch as B;
}
