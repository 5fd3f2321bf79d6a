import type { DType } from "../core/dtype.js";
import type { Tensor } from "../core/tensor.js";
import { batchNorm } from "../ops/norm.js";
import { type BatchNormLayerOptions, ChannelNorm, fill } from "./channel_norm.js";
import { checkRank, later } from "./options.js";

/** What batch norm computes in the same pass: activation(batchNorm(x) + residual). */
export interface FusedOptions<D extends DType = DType> {
  /** Default "none". */
  readonly activation?: "none" | "relu" | "relu6";
  /** Added before the activation, of x's shape. */
  readonly residual?: Tensor<D> | null;
}

abstract class BatchNorm extends ChannelNorm {
  protected constructor(call: string, numFeatures: number, options: BatchNormLayerOptions) {
    super(call, numFeatures, options, true, true);
  }

  protected abstract checkInput(x: Tensor): void;

  /** `fused` adds a residual and applies an activation in the same pass over memory. */
  forward<D extends DType>(x: Tensor<D>, fused: FusedOptions<D> = {}): Tensor<D> {
    this.checkInput(x);
    const { weight, bias, eps, runningMean, runningVar, numBatchesTracked: seen } = this;
    const updates = this.training && seen !== null;
    const count = updates ? Number(seen.item()) + 1 : 0;
    const y = batchNorm(x, runningMean, runningVar, {
      weight,
      bias,
      eps,
      training: this.training || runningMean === null,
      momentum: this.momentum ?? (updates ? 1 / count : 0),
      ...fused,
    });
    if (updates) fill(seen, count);
    return y;
  }
}

/**
 * Batch normalisation per feature: in training with the statistics of the batch, which it also gathers; in evaluation
 * with those gathered.
 *
 * Shapes: x [batch, numFeatures] or [batch, numFeatures, width].
 */
export class BatchNorm1d extends BatchNorm {
  constructor(numFeatures: number, options: BatchNormLayerOptions = {}) {
    super("BatchNorm1d", numFeatures, options);
  }

  protected override checkInput(x: Tensor): void {
    checkRank("BatchNorm1d", x, [2, 3], "[batch, features] or [batch, features, width]");
  }
}

/** Batch normalisation per channel of images, x [batch, numFeatures, height, width]; see `BatchNorm1d`. */
export class BatchNorm2d extends BatchNorm {
  constructor(numFeatures: number, options: BatchNormLayerOptions = {}) {
    super("BatchNorm2d", numFeatures, options);
  }

  protected override checkInput(x: Tensor): void {
    checkRank("BatchNorm2d", x, [4], "[batch, channels, height, width]");
  }
}

/** Batch normalisation per channel of volumes, x [batch, numFeatures, depth, height, width]; see `BatchNorm1d`. */
export class BatchNorm3d extends BatchNorm {
  constructor(numFeatures: number, options: BatchNormLayerOptions = {}) {
    super("BatchNorm3d", numFeatures, options);
  }

  protected override checkInput(x: Tensor): void {
    checkRank("BatchNorm3d", x, [5], "[batch, channels, depth, height, width]");
  }
}

/** A `BatchNorm1d` that takes numFeatures from its first input, and then is a `BatchNorm1d`. */
export class LazyBatchNorm1d extends BatchNorm1d {
  constructor(options: BatchNormLayerOptions = {}) {
    super(later, options);
  }

  override forward<D extends DType>(x: Tensor<D>, fused: FusedOptions<D> = {}): Tensor<D> {
    this.checkInput(x);
    this.inferFeatures(x, "LazyBatchNorm1d");
    Object.setPrototypeOf(this, BatchNorm1d.prototype);
    return BatchNorm1d.prototype.forward.call(this, x, fused) as Tensor<D>;
  }
}

/** A `BatchNorm2d` that takes numFeatures from its first input, and then is a `BatchNorm2d`. */
export class LazyBatchNorm2d extends BatchNorm2d {
  constructor(options: BatchNormLayerOptions = {}) {
    super(later, options);
  }

  override forward<D extends DType>(x: Tensor<D>, fused: FusedOptions<D> = {}): Tensor<D> {
    this.checkInput(x);
    this.inferFeatures(x, "LazyBatchNorm2d");
    Object.setPrototypeOf(this, BatchNorm2d.prototype);
    return BatchNorm2d.prototype.forward.call(this, x, fused) as Tensor<D>;
  }
}

/** A `BatchNorm3d` that takes numFeatures from its first input, and then is a `BatchNorm3d`. */
export class LazyBatchNorm3d extends BatchNorm3d {
  constructor(options: BatchNormLayerOptions = {}) {
    super(later, options);
  }

  override forward<D extends DType>(x: Tensor<D>, fused: FusedOptions<D> = {}): Tensor<D> {
    this.checkInput(x);
    this.inferFeatures(x, "LazyBatchNorm3d");
    Object.setPrototypeOf(this, BatchNorm3d.prototype);
    return BatchNorm3d.prototype.forward.call(this, x, fused) as Tensor<D>;
  }
}
