import { type DType, type FloatDType, type Shape, tensor, type Tensor } from "./xcorr.js";
import type { SampleRandom } from "../../lib/ops/define.js";

/** Random numbers of the tests: made here, so that they do not depend on the backend under test. */
export class TestRandom implements SampleRandom {
  readonly dtype: FloatDType;
  #state: number;

  constructor(seed: number, dtype: FloatDType = "float64") {
    this.#state = (seed * 2654435761 + 1) >>> 0;
    this.dtype = dtype;
  }

  /** A number in [0, 1): mulberry32. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  gaussian(): number {
    const u = 1 - this.next(); // (0, 1]
    return Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * this.next());
  }

  make<D extends DType>(shape: Shape, dtype: D, value: (i: number) => number): Tensor<D> {
    const count = shape.reduce((n, s) => n * s, 1);
    return tensor(
      Float64Array.from({ length: count }, (_, i) => value(i)),
      { shape, dtype },
    );
  }

  /**
   * Every number is rounded to float32 in both element types, so that float32 and float64 runs see the same values.
   */
  floats(shape: Shape, value: () => number): Tensor<FloatDType> {
    return this.make(shape, this.dtype, () => Math.fround(value()));
  }

  normal(shape: Shape): Tensor {
    return this.floats(shape, () => this.gaussian());
  }

  uniform(shape: Shape, low: number, high: number): Tensor {
    return this.floats(shape, () => low + (high - low) * this.next());
  }

  distinct(shape: Shape, gap = 0.1): Tensor {
    const count = shape.reduce((n, s) => n * s, 1);
    const order = this.permutation(count);
    // Between neighbours lies at least `gap`: steps of 1.5 gaps, each moved by less than a quarter gap.
    return this.make(shape, this.dtype, (i) =>
      Math.fround((order[i]! - count / 2 + 0.5) * 1.5 * gap + (this.next() - 0.5) * 0.5 * gap),
    );
  }

  integers(shape: Shape, low: number, high: number): Tensor {
    return this.make(shape, "int32", () => low + Math.floor(this.next() * (high - low)));
  }

  permutation(count: number): number[] {
    const order = Array.from({ length: count }, (_, i) => i);
    for (let i = count - 1; i > 0; i--) {
      const j = Math.floor(this.next() * (i + 1));
      [order[i], order[j]] = [order[j]!, order[i]!];
    }
    return order;
  }
}
