import type { DType, FloatDType } from "../core/dtype.js";
import { ArgumentError, ShapeError } from "../core/errors.js";
import { checkInteger, checkNumber, checkOptions } from "../core/options.js";
import { checkShape, describe, format, numel, type Shape } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import { ones, zeros } from "../ops/create.js";
import { batchNorm, groupNorm, instanceNorm, layerNorm } from "../ops/norm.js";
import { squeeze, unsqueeze } from "../ops/view.js";
import { Module } from "./module.js";
import { floatDType, later } from "./options.js";
import { Parameter, replaceValue, UninitializedParameter } from "./parameter.js";
import { bool, float, tuple } from "./print.js";

export interface BatchNormLayerOptions {
  /** Added to the variance; default 1e-5. */
  readonly eps?: number;
  /** Share of the batch's statistics in the running ones; null: the plain mean over all batches. Default 0.1. */
  readonly momentum?: number | null;
  /** Whether there are weight and bias; default true (instance norm: false). */
  readonly affine?: boolean;
  /** Whether running statistics are kept for evaluation; default true (instance norm: false). */
  readonly trackRunningStats?: boolean;
  readonly dtype?: FloatDType;
}

const optionNames = ["eps", "momentum", "affine", "trackRunningStats", "dtype"];

/** What batch norm computes in the same pass: activation(batchNorm(x) + residual). */
export interface FusedOptions<D extends DType = DType> {
  readonly activation?: "none" | "relu" | "relu6";
  readonly residual?: Tensor<D> | null;
}

/** What batch and instance norm have in common: weight, bias and running statistics per channel. */
abstract class ChannelNorm extends Module {
  numFeatures: number;
  readonly eps: number;
  readonly momentum: number | null;
  readonly affine: boolean;
  readonly trackRunningStats: boolean;
  readonly weight: Parameter | null = null;
  readonly bias: Parameter | null = null;

  protected constructor(
    call: string,
    numFeatures: number,
    options: BatchNormLayerOptions,
    affine: boolean,
    track: boolean,
  ) {
    super();
    checkOptions(call, options, optionNames);
    const dtype = floatDType(call, options.dtype);
    const lazy = numFeatures === later;
    this.numFeatures = lazy ? 0 : checkInteger(call, "numFeatures", numFeatures, 0);
    this.eps = checkNumber(call, "eps", options.eps ?? 1e-5, 0);
    this.momentum = options.momentum === null ? null : checkNumber(call, "momentum", options.momentum ?? 0.1);
    this.affine = options.affine ?? affine;
    this.trackRunningStats = options.trackRunningStats ?? track;
    if (this.affine) {
      this.weight = lazy ? new UninitializedParameter(dtype) : new Parameter(ones([numFeatures], { dtype }));
      this.bias = lazy ? new UninitializedParameter(dtype) : new Parameter(zeros([numFeatures], { dtype }));
    }
    if (this.trackRunningStats) {
      // PyTorch's keys. The count is int32 here and I64 in files.
      this.registerBuffer("running_mean", zeros([this.numFeatures], { dtype }));
      this.registerBuffer("running_var", ones([this.numFeatures], { dtype }));
      this.registerBuffer("num_batches_tracked", zeros([], { dtype: "int32" }));
    }
  }

  #buffer(name: string): Tensor | null {
    for (const [key, tensor] of this.ownBuffers()) if (key === name) return tensor;
    return null;
  }

  /** The mean over training batches, [numFeatures]; null if none is kept. */
  get runningMean(): Tensor | null {
    return this.#buffer("running_mean");
  }

  /** The unbiased variance over training batches, [numFeatures]. */
  get runningVar(): Tensor | null {
    return this.#buffer("running_var");
  }

  /** How many training batches have been seen: int32, a scalar. */
  get numBatchesTracked(): Tensor | null {
    return this.#buffer("num_batches_tracked");
  }

  /** Forgets the running statistics. */
  resetRunningStats(): void {
    fill(this.runningMean, 0);
    fill(this.runningVar, 1);
    fill(this.numBatchesTracked, 0);
  }

  /** @internal A lazy layer's first input: gives parameters and buffers their size. */
  inferFeatures(x: Tensor, call: string): void {
    if (x.rank < 2) throw new ShapeError(`${call}: x must be [batch, channels, ...], but it is ${format(x.shape)}`);
    this.numFeatures = x.shape[1]!;
    for (const [parameter, value] of [
      [this.weight, 1],
      [this.bias, 0],
    ] as const) {
      if (!(parameter instanceof UninitializedParameter)) continue;
      parameter.materialize([this.numFeatures]);
      fill(parameter, value);
    }
    for (const [buffer, value] of [
      [this.runningMean, 0],
      [this.runningVar, 1],
    ] as const) {
      if (buffer === null || buffer.shape[0] === this.numFeatures) continue;
      replaceValue(buffer, zeros([this.numFeatures], { dtype: buffer.dtype as FloatDType }));
      fill(buffer, value);
    }
  }

  override extraText(): string {
    const momentum = this.momentum === null ? "None" : float(this.momentum);
    return (
      `${this.numFeatures}, eps=${float(this.eps)}, momentum=${momentum}, affine=${bool(this.affine)}, ` +
      `track_running_stats=${bool(this.trackRunningStats)}`
    );
  }

  override flops(_input: Shape, output: Shape): number {
    return 2 * numel(output); // a multiply-add per element, the statistics being known
  }
}

/** Overwrites a tensor of the layer's own, which nothing recorded depends on. */
function fill(t: Tensor | null, value: number): void {
  if (t === null) return;
  t.storage.array(t.dtype).fill(value, t.offset, t.offset + t.numel());
  t.storage.version++;
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

function checkRank(call: string, x: Tensor, ranks: readonly number[], layout: string): void {
  if (!ranks.includes(x.rank)) throw new ShapeError(`${call}: x must be ${layout}, but it is ${format(x.shape)}`);
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

export interface LayerNormLayerOptions {
  readonly eps?: number;
  /** Whether there are weight and bias of normalizedShape; default true. */
  readonly elementwiseAffine?: boolean;
  readonly dtype?: FloatDType;
}

/** Normalises over the last dimensions of x, which are `normalizedShape`. */
export class LayerNorm extends Module {
  readonly normalizedShape: readonly number[];
  readonly eps: number;
  readonly weight: Parameter | null = null;
  readonly bias: Parameter | null = null;

  constructor(normalizedShape: number | Shape, options: LayerNormLayerOptions = {}) {
    super();
    checkOptions("LayerNorm", options, ["eps", "elementwiseAffine", "dtype"]);
    const dtype = floatDType("LayerNorm", options.dtype);
    this.normalizedShape = checkShape(
      "LayerNorm",
      typeof normalizedShape === "number" ? [normalizedShape] : normalizedShape,
    );
    if (this.normalizedShape.length === 0)
      throw new ArgumentError("LayerNorm: normalizedShape must name at least one dimension");
    this.eps = checkNumber("LayerNorm", "eps", options.eps ?? 1e-5, 0);
    if (options.elementwiseAffine ?? true) {
      this.weight = new Parameter(ones(this.normalizedShape, { dtype }));
      this.bias = new Parameter(zeros(this.normalizedShape, { dtype }));
    }
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return layerNorm(x, this.normalizedShape, { weight: this.weight, bias: this.bias, eps: this.eps });
  }

  override extraText(): string {
    return `${tuple(this.normalizedShape)}, eps=${float(this.eps)}, elementwise_affine=${bool(this.weight !== null)}`;
  }

  override flops(_input: Shape, output: Shape): number {
    return 2 * numel(output);
  }
}

export interface GroupNormLayerOptions {
  readonly eps?: number;
  /** Whether there are weight and bias per channel; default true. */
  readonly affine?: boolean;
  readonly dtype?: FloatDType;
}

/** Normalises each of `numGroups` groups of channels of each image by itself, x [batch, numChannels, ...]. */
export class GroupNorm extends Module {
  readonly numGroups: number;
  readonly numChannels: number;
  readonly eps: number;
  readonly weight: Parameter | null = null;
  readonly bias: Parameter | null = null;

  constructor(numGroups: number, numChannels: number, options: GroupNormLayerOptions = {}) {
    super();
    checkOptions("GroupNorm", options, ["eps", "affine", "dtype"]);
    const dtype = floatDType("GroupNorm", options.dtype);
    this.numGroups = checkInteger("GroupNorm", "numGroups", numGroups, 1);
    this.numChannels = checkInteger("GroupNorm", "numChannels", numChannels, 1);
    if (numChannels % numGroups !== 0) {
      throw new ArgumentError(
        `GroupNorm: numChannels must be divisible by numGroups, but ${numChannels} / ${numGroups} leaves ${numChannels % numGroups}`,
      );
    }
    this.eps = checkNumber("GroupNorm", "eps", options.eps ?? 1e-5, 0);
    if (options.affine ?? true) {
      this.weight = new Parameter(ones([numChannels], { dtype }));
      this.bias = new Parameter(zeros([numChannels], { dtype }));
    }
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    if (x.rank >= 2 && x.shape[1] !== this.numChannels) {
      throw new ShapeError(
        `GroupNorm: x ${format(x.shape)} has ${describe(x.shape[1])} channels, but the layer ${this.numChannels}`,
      );
    }
    return groupNorm(x, this.numGroups, { weight: this.weight, bias: this.bias, eps: this.eps });
  }

  override extraText(): string {
    return `${this.numGroups}, ${this.numChannels}, eps=${float(this.eps)}, affine=${bool(this.weight !== null)}`;
  }

  override flops(_input: Shape, output: Shape): number {
    return 2 * numel(output);
  }
}
