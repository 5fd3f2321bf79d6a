import { ArgumentError, IndexError } from "../core/errors.js";
import { checkInteger, checkOptions } from "../core/options.js";
import { describe } from "../core/shape.js";
import { Generator } from "../ops/random.js";
import { type Batch, type Dataset, stack, Subset } from "./dataset.js";

/**
 * Divides the samples at random. `sizes` are numbers of samples that add up to the data set's, or shares that add up to 1
 * (the first parts then take what rounding down leaves, one each). The same seed (default 0) divides the same way.
 */
export function randomSplit<B extends Batch>(
  dataset: Dataset<B>,
  sizes: readonly number[],
  options: { readonly seed?: number } = {},
): Subset<B>[] {
  checkOptions("randomSplit", options, ["seed"]);
  if (!Array.isArray(sizes) || sizes.length === 0)
    throw new ArgumentError(`randomSplit: sizes must be a list such as [0.9, 0.1], got ${describe(sizes)}`);
  const n = dataset.length;
  const sum = sizes.reduce((s: number, size: number) => s + size, 0);
  const shares = sizes.some((size) => !Number.isInteger(size)) || (Math.abs(sum - 1) < 1e-9 && n !== 1);
  if (sizes.some((size) => !(size >= 0)) || (shares ? Math.abs(sum - 1) > 1e-9 : sum !== n)) {
    throw new ArgumentError(
      `randomSplit: sizes must add up to the ${n} samples, or be shares that add up to 1, but [${sizes.join(", ")}] add up to ${sum}`,
    );
  }
  const counts = shares ? sizes.map((share) => Math.floor(share * n)) : [...sizes];
  const left = n - counts.reduce((s, c) => s + c, 0);
  for (let i = 0; i < left; i++) counts[i % counts.length]!++;
  const order = new Generator(
    checkInteger("randomSplit", "seed", options.seed ?? 0, 0, Number.MAX_SAFE_INTEGER),
  ).permutation(n);
  let at = 0;
  return counts.map((count) => new Subset(dataset, order.subarray(at, (at += count))));
}

/** The samples of several data sets, one after the other. */
export class ConcatDataset<B extends Batch = Batch> implements Dataset<B> {
  readonly datasets: readonly Dataset<B>[];
  /** Where each begins, and the end. */
  readonly #starts: number[] = [0];

  constructor(...datasets: readonly Dataset<B>[]) {
    if (datasets.length === 0) throw new ArgumentError("ConcatDataset: needs at least one data set");
    for (const [i, dataset] of datasets.entries()) {
      if (typeof (Object(dataset) as Partial<Dataset>).length !== "number")
        throw new ArgumentError(
          `ConcatDataset: data set ${i} must have a length and get(index), got ${describe(dataset)}`,
        );
    }
    this.datasets = datasets;
    for (const dataset of datasets) this.#starts.push(this.#starts.at(-1)! + dataset.length);
  }

  get length(): number {
    return this.#starts.at(-1)!;
  }

  #find(index: number): number {
    if (!Number.isInteger(index) || index < 0 || index >= this.length)
      throw new IndexError(`ConcatDataset: index ${index} is out of range for ${this.length} samples`);
    let i = 0;
    while (index >= this.#starts[i + 1]!) i++;
    return i;
  }

  get(index: number): B {
    const i = this.#find(index);
    return this.datasets[i]!.get(index - this.#starts[i]!);
  }

  batch(indices: Int32Array): B {
    const first = indices.length === 0 ? 0 : this.#find(indices[0]!);
    const whole = this.datasets[first]!;
    // All from one part: it may have a faster way.
    if (whole.batch !== undefined && indices.every((index) => this.#find(index) === first))
      return whole.batch(indices.map((index) => index - this.#starts[first]!));
    return stack(Array.from(indices, (index) => this.get(index)));
  }
}
