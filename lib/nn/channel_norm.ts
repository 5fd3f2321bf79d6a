import type { FloatDType } from "../core/dtype.js";
import { ShapeError } from "../core/errors.js";
import { checkInteger, checkNumber, checkOptions } from "../core/options.js";
import { format, numel, type Shape } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import { ones, zeros } from "../ops/create.js";
import { Module } from "./module.js";
import { floatDType, later } from "./options.js";
import { Parameter, replaceValue, UninitializedParameter } from "./parameter.js";
import { bool, float } from "./print.js";

export interface BatchNormLayerOptions {
  /** Added to the variance; default 1e-5. */
  readonly eps?: number;
  /** Share of the batch's statistics in the running ones; null: the plain mean over all batches. Default 0.1. */
  readonly momentum?: number | null;
  /** Whether there are weight and bias; default true (instance norm: false). */
  readonly affine?: boolean;
  /** Whether running statistics are kept for evaluation; default true (instance norm: false). */
  readonly trackRunningStats?: boolean;
  /** Of parameters and buffers; default float32. */
  readonly dtype?: FloatDType;
}

const optionNames = ["eps", "momentum", "affine", "trackRunningStats", "dtype"];

/** What batch and instance norm have in common: weight, bias and running statistics per channel. */
export abstract class ChannelNorm extends Module {
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

  /** The mean over training batches, [numFeatures]; null if none is kept. */
  get runningMean(): Tensor | null {
    return this.ownBuffer("running_mean");
  }

  /** The unbiased variance over training batches, [numFeatures]. */
  get runningVar(): Tensor | null {
    return this.ownBuffer("running_var");
  }

  /** How many training batches have been seen: int32, a scalar. */
  get numBatchesTracked(): Tensor | null {
    return this.ownBuffer("num_batches_tracked");
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
export function fill(t: Tensor | null, value: number): void {
  if (t === null) return;
  t.storage.array(t.dtype).fill(value, t.offset, t.offset + t.numel());
  t.storage.version++;
}
