import type { DType } from "../core/dtype.js";
import { checkNumber, checkOptions } from "../core/options.js";
import type { Tensor } from "../core/tensor.js";
import { alphaDropout, dropout, dropout1d, dropout2d, dropout3d } from "../ops/dropout.js";
import { defaultGenerator, type Generator } from "../ops/random.js";
import { Module } from "./module.js";
import { float } from "./print.js";

export interface DropoutLayerOptions {
  /** Default: the one that `manualSeed` seeds. */
  readonly generator?: Generator;
}

abstract class DropoutBase extends Module {
  /** The probability that an element (or channel) becomes 0. */
  readonly p: number;
  readonly #generator: Generator | null;

  /** The probability, and a generator: `new Dropout(0.3)`, or `new Dropout({ p: 0.3 })` as the function takes it. */
  constructor(p: number | (DropoutLayerOptions & { readonly p?: number }) = 0.5, options: DropoutLayerOptions = {}) {
    super();
    const call = new.target.name;
    const given = typeof p === "object" && p !== null ? p : { ...options, p };
    checkOptions(call, options, ["generator"]);
    checkOptions(call, given, ["p", "generator"]);
    this.p = checkNumber(call, "p", given.p ?? 0.5, 0, 1);
    this.#generator = given.generator ?? null;
  }

  /** @internal */
  protected callOptions(): { p: number; training: boolean; generator: Generator } {
    return { p: this.p, training: this.training, generator: this.#generator ?? defaultGenerator };
  }

  override extraText(): string {
    return `p=${float(this.p)}, inplace=False`;
  }
}

/** In training, sets each element to 0 with probability p and scales the others by 1 / (1 - p). */
export class Dropout extends DropoutBase {
  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return dropout(x, this.callOptions());
  }
}

/** Drops whole channels of signals [batch, channels, width]. */
export class Dropout1d extends DropoutBase {
  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return dropout1d(x, this.callOptions());
  }
}

/** Drops whole channels of images [batch, channels, height, width]. */
export class Dropout2d extends DropoutBase {
  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return dropout2d(x, this.callOptions());
  }
}

/** Drops whole channels of volumes [batch, channels, depth, height, width]. */
export class Dropout3d extends DropoutBase {
  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return dropout3d(x, this.callOptions());
  }
}

/** Dropout that keeps mean and variance of SELU activations. */
export class AlphaDropout extends DropoutBase {
  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return alphaDropout(x, this.callOptions());
  }
}
