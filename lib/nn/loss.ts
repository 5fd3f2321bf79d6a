import type { DType } from "../core/dtype.js";
import type { Tensor } from "../core/tensor.js";
import { type CrossEntropyLossOptions, crossEntropy, type Reduction } from "../ops/cross_entropy.js";
import type { LossOptions } from "../ops/loss.js";
import * as ops from "../ops/loss.js";
import * as distance from "../ops/loss_distance.js";
import { Module } from "./module.js";

/**
 * Losses as modules: the functions of the same name with their options kept. `reduction` is "mean" (default), "sum" or
 * "none"; the functions say the shapes.
 */

abstract class Loss<O extends object> extends Module {
  readonly options: Readonly<O>;

  constructor(options: O = {} as O) {
    super();
    this.options = { ...options };
  }

  /** A weight among the options belongs to the state, as PyTorch keeps it. @internal */
  override *ownBuffers(): Iterable<readonly [string, Tensor, boolean]> {
    yield* super.ownBuffers();
    const { weight, posWeight } = this.options as { weight?: Tensor | null; posWeight?: Tensor | null };
    if (weight) yield ["weight", weight, true];
    if (posWeight) yield ["pos_weight", posWeight, true];
  }
}

/** Cross entropy of logits [batch, classes, ...] with class indices or probabilities; see `crossEntropy`. */
export class CrossEntropyLoss extends Loss<CrossEntropyLossOptions> {
  forward<D extends DType>(input: Tensor<D>, target: Tensor): Tensor<D> {
    return crossEntropy(input, target, this.options);
  }
}

/** Mean square error. */
export class MSELoss extends Loss<LossOptions> {
  forward<D extends DType>(input: Tensor<D>, target: Tensor<D>): Tensor<D> {
    return ops.mseLoss(input, target, this.options);
  }
}

/** Mean absolute error. */
export class L1Loss extends Loss<LossOptions> {
  forward<D extends DType>(input: Tensor<D>, target: Tensor<D>): Tensor<D> {
    return ops.l1Loss(input, target, this.options);
  }
}

/** Square error below beta, absolute error above. */
export class SmoothL1Loss extends Loss<LossOptions & { beta?: number }> {
  forward<D extends DType>(input: Tensor<D>, target: Tensor<D>): Tensor<D> {
    return ops.smoothL1Loss(input, target, this.options);
  }
}

/** Square error below delta, delta times the absolute error above. */
export class HuberLoss extends Loss<LossOptions & { delta?: number }> {
  forward<D extends DType>(input: Tensor<D>, target: Tensor<D>): Tensor<D> {
    return ops.huberLoss(input, target, this.options);
  }
}

/** Cross entropy of probabilities with targets from 0 to 1. */
export class BCELoss extends Loss<LossOptions & { weight?: Tensor | null }> {
  forward<D extends DType>(input: Tensor<D>, target: Tensor<D>): Tensor<D> {
    return ops.binaryCrossEntropy(input, target, this.options);
  }
}

/** Cross entropy of sigmoid(input) with targets from 0 to 1, without overflow. */
export class BCEWithLogitsLoss extends Loss<LossOptions & { weight?: Tensor | null; posWeight?: Tensor | null }> {
  forward<D extends DType>(input: Tensor<D>, target: Tensor<D>): Tensor<D> {
    return ops.binaryCrossEntropyWithLogits(input, target, this.options);
  }
}

/** Kullback-Leibler divergence; the input is log probabilities. */
export class KLDivLoss extends Loss<{ reduction?: Reduction | "batchmean"; logTarget?: boolean }> {
  forward<D extends DType>(input: Tensor<D>, target: Tensor<D>): Tensor<D> {
    return ops.klDiv(input, target, this.options);
  }
}

/** Negative log likelihood of counts. */
export class PoissonNLLLoss extends Loss<LossOptions & { logInput?: boolean; full?: boolean; eps?: number }> {
  forward<D extends DType>(input: Tensor<D>, target: Tensor<D>): Tensor<D> {
    return ops.poissonNllLoss(input, target, this.options);
  }
}

/** log(1 + exp(-target * input)), targets -1 and 1. */
export class SoftMarginLoss extends Loss<LossOptions> {
  forward<D extends DType>(input: Tensor<D>, target: Tensor<D>): Tensor<D> {
    return ops.softMarginLoss(input, target, this.options);
  }
}

/** Distances: small for targets 1, at least the margin for -1. */
export class HingeEmbeddingLoss extends Loss<LossOptions & { margin?: number }> {
  forward<D extends DType>(input: Tensor<D>, target: Tensor<D>): Tensor<D> {
    return ops.hingeEmbeddingLoss(input, target, this.options);
  }
}

/** Binary cross entropy of every class, mean over classes. */
export class MultiLabelSoftMarginLoss extends Loss<LossOptions & { weight?: Tensor | null }> {
  forward<D extends DType>(input: Tensor<D>, target: Tensor<D>): Tensor<D> {
    return ops.multiLabelSoftMarginLoss(input, target, this.options);
  }
}

/** Negative log likelihood of normal distributions with the given variances. */
export class GaussianNLLLoss extends Loss<LossOptions & { full?: boolean; eps?: number }> {
  forward<D extends DType>(input: Tensor<D>, target: Tensor<D>, variance: Tensor<D>): Tensor<D> {
    return ops.gaussianNllLoss(input, target, variance, this.options);
  }
}

/** max(0, -target * (input1 - input2) + margin). */
export class MarginRankingLoss extends Loss<LossOptions & { margin?: number }> {
  forward<D extends DType>(input1: Tensor<D>, input2: Tensor<D>, target: Tensor<D>): Tensor<D> {
    return ops.marginRankingLoss(input1, input2, target, this.options);
  }
}

/** Negative log likelihood of classes; the input is log probabilities. */
export class NLLLoss extends Loss<{ weight?: Tensor | null; ignoreIndex?: number; reduction?: Reduction }> {
  forward<D extends DType>(input: Tensor<D>, target: Tensor): Tensor<D> {
    return distance.nllLoss(input, target, this.options);
  }
}

/** 1 - cosine for targets 1, at most the margin for -1. */
export class CosineEmbeddingLoss extends Loss<LossOptions & { margin?: number }> {
  forward<D extends DType>(input1: Tensor<D>, input2: Tensor<D>, target: Tensor): Tensor<D> {
    return distance.cosineEmbeddingLoss(input1, input2, target, this.options);
  }
}

/** The anchor is nearer to the positive than to the negative, by the margin. */
export class TripletMarginLoss extends Loss<distance.TripletOptions> {
  forward<D extends DType>(anchor: Tensor<D>, positive: Tensor<D>, negative: Tensor<D>): Tensor<D> {
    return distance.tripletMarginLoss(anchor, positive, negative, this.options);
  }
}

/** The score of the class is above all others, by the margin. */
export class MultiMarginLoss extends Loss<LossOptions & { p?: 1 | 2; margin?: number; weight?: Tensor | null }> {
  forward<D extends DType>(input: Tensor<D>, target: Tensor): Tensor<D> {
    return distance.multiMarginLoss(input, target, this.options);
  }
}

/** The scores of all given classes are above all others, by 1. */
export class MultiLabelMarginLoss extends Loss<LossOptions> {
  forward<D extends DType>(input: Tensor<D>, target: Tensor): Tensor<D> {
    return distance.multiLabelMarginLoss(input, target, this.options);
  }
}
