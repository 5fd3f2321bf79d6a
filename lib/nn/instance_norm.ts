import type { DType } from "../core/dtype.js";
import { ArgumentError, ShapeError } from "../core/errors.js";
import { format } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import { instanceNorm } from "../ops/norm.js";
import { squeeze, unsqueeze } from "../ops/view.js";
import { type BatchNormLayerOptions, ChannelNorm } from "./channel_norm.js";

abstract class InstanceNorm extends ChannelNorm {
  readonly #dims: number;

  protected constructor(call: string, dims: number, numFeatures: number, options: BatchNormLayerOptions) {
    super(call, numFeatures, options, false, false);
    if (this.momentum === null) throw new ArgumentError(`${call}: momentum must be a number, got null`);
    this.#dims = dims;
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    const dims = this.#dims;
    if (x.rank !== dims + 1 && x.rank !== dims + 2) {
      throw new ShapeError(
        `${this.displayName}: x must have ${dims + 2} dimensions [batch, channels, ...], or ${dims + 1} without batch, but it is ${format(x.shape)}`,
      );
    }
    const batched = x.rank === dims + 2;
    const images = batched ? x : unsqueeze(x, 0);
    if (images.shape[1] !== this.numFeatures) {
      throw new ShapeError(
        `${this.displayName}: x ${format(x.shape)} has ${images.shape[1]} channels, but the layer ${this.numFeatures}`,
      );
    }
    const { weight, bias, eps, runningMean, runningVar } = this;
    const momentum = this.momentum ?? 0.1;
    const useInputStats = this.training || !this.trackRunningStats;
    const y = instanceNorm(images, { runningMean, runningVar, weight, bias, useInputStats, momentum, eps });
    return batched ? y : squeeze(y, 0);
  }
}

/** Normalises each channel of each signal by itself, x [batch, numFeatures, width] or without batch. */
export class InstanceNorm1d extends InstanceNorm {
  constructor(numFeatures: number, options: BatchNormLayerOptions = {}) {
    super("InstanceNorm1d", 1, numFeatures, options);
  }
}

/** Normalises each channel of each image by itself, x [batch, numFeatures, height, width] or without batch. */
export class InstanceNorm2d extends InstanceNorm {
  constructor(numFeatures: number, options: BatchNormLayerOptions = {}) {
    super("InstanceNorm2d", 2, numFeatures, options);
  }
}

/** Normalises each channel of each volume by itself, x [batch, numFeatures, depth, height, width] or without batch. */
export class InstanceNorm3d extends InstanceNorm {
  constructor(numFeatures: number, options: BatchNormLayerOptions = {}) {
    super("InstanceNorm3d", 3, numFeatures, options);
  }
}
