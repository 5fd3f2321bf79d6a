import type { DType } from "../core/dtype.js";
import { checkInteger, checkNumber, checkOptions } from "../core/options.js";
import type { Tensor } from "../core/tensor.js";
import { cosineSimilarity, pairwiseDistance } from "../ops/loss_distance.js";
import { Module } from "./module.js";

/** How near vectors are, as modules. */

/** The cosine of the angle between x1 and x2 along `dim` (default 1); lengths are at least eps (default 1e-8). */
export class CosineSimilarity extends Module {
  readonly dim: number;
  readonly eps: number;

  constructor(options: { readonly dim?: number; readonly eps?: number } = {}) {
    super();
    checkOptions("CosineSimilarity", options, ["dim", "eps"]);
    this.dim = checkInteger("CosineSimilarity", "dim", options.dim ?? 1, -8, 7);
    this.eps = checkNumber("CosineSimilarity", "eps", options.eps ?? 1e-8, 0);
  }

  forward<D extends DType>(x1: Tensor<D>, x2: Tensor<D>): Tensor<D> {
    return cosineSimilarity(x1, x2, { dim: this.dim, eps: this.eps });
  }
}

/** The p-norm (default 2) of x1 - x2 + eps (default 1e-6) over the last dimension. */
export class PairwiseDistance extends Module {
  readonly p: number;
  readonly eps: number;
  readonly keepdim: boolean;

  constructor(options: { readonly p?: number; readonly eps?: number; readonly keepdim?: boolean } = {}) {
    super();
    checkOptions("PairwiseDistance", options, ["p", "eps", "keepdim"]);
    this.p = checkNumber("PairwiseDistance", "p", options.p ?? 2);
    this.eps = checkNumber("PairwiseDistance", "eps", options.eps ?? 1e-6);
    this.keepdim = options.keepdim ?? false;
  }

  forward<D extends DType>(x1: Tensor<D>, x2: Tensor<D>): Tensor<D> {
    return pairwiseDistance(x1, x2, { p: this.p, eps: this.eps, keepdim: this.keepdim });
  }
}
