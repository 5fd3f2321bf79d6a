import type { DType } from "../core/dtype.js";
import { checkInteger, checkNumber, checkOptions } from "../core/options.js";
import { numel, type Shape } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import { localResponseNorm } from "../ops/local_response_norm.js";
import { Module } from "./module.js";
import { float } from "./print.js";

export interface LocalResponseNormOptions {
  /** Default 1e-4. */
  readonly alpha?: number;
  /** Default 0.75. */
  readonly beta?: number;
  /** Default 1. */
  readonly k?: number;
}

/** Divides by a power of the mean square over `size` neighbouring channels; see `localResponseNorm`. */
export class LocalResponseNorm extends Module {
  readonly size: number;
  readonly alpha: number;
  readonly beta: number;
  readonly k: number;

  constructor(size: number, options: LocalResponseNormOptions = {}) {
    super();
    checkOptions("LocalResponseNorm", options, ["alpha", "beta", "k"]);
    this.size = checkInteger("LocalResponseNorm", "size", size, 1);
    this.alpha = checkNumber("LocalResponseNorm", "alpha", options.alpha ?? 1e-4);
    this.beta = checkNumber("LocalResponseNorm", "beta", options.beta ?? 0.75);
    this.k = checkNumber("LocalResponseNorm", "k", options.k ?? 1);
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return localResponseNorm(x, this.size, { alpha: this.alpha, beta: this.beta, k: this.k });
  }

  override extraText(): string {
    return `${this.size}, alpha=${float(this.alpha)}, beta=${float(this.beta)}, k=${float(this.k)}`;
  }

  override flops(_input: Shape, output: Shape): number {
    return numel(output) * (this.size + 4);
  }
}
