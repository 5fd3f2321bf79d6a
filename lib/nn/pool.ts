import type { DType } from "../core/dtype.js";
import { checkOptions } from "../core/options.js";
import { numel, type Shape } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import { type AvgPoolOptions, avgPool1d, avgPool2d, avgPool3d } from "../ops/avg_pool.js";
import { type MaxPoolOptions, maxPool1d, maxPool2d, maxPool3d } from "../ops/max_pool.js";
import { checkFlag } from "../ops/pool_geometry.js";
import { maxUnpool1d, maxUnpool2d, maxUnpool3d } from "../ops/unpool.js";
import { type PerDimension, perDimension } from "../ops/window.js";
import { Module } from "./module.js";
import { bool, sizes, tuple } from "./print.js";

/** The result of a max pool that also tells where: values and int32 positions in the plane. */
export type PoolResult<D extends DType, O> = O extends { readonly returnIndices: true }
  ? readonly [Tensor<D>, Tensor<"int32">]
  : Tensor<D>;

abstract class MaxPool<O extends MaxPoolOptions> extends Module {
  readonly kernelSize: PerDimension;
  readonly stride: PerDimension;
  readonly padding: PerDimension;
  readonly dilation: PerDimension;
  readonly ceilMode: boolean;
  readonly returnIndices: boolean;

  protected constructor(call: string, dims: number, kernelSize: PerDimension, options: O) {
    super();
    checkOptions(call, options, ["stride", "padding", "ceilMode", "dilation", "returnIndices"]);
    perDimension(call, "kernelSize", kernelSize, dims, 1);
    this.kernelSize = kernelSize;
    this.stride = options.stride ?? kernelSize;
    this.padding = options.padding ?? 0;
    this.dilation = options.dilation ?? 1;
    perDimension(call, "stride", this.stride, dims, 1);
    perDimension(call, "padding", this.padding, dims, 0);
    perDimension(call, "dilation", this.dilation, dims, 1);
    checkFlag(call, "ceilMode", options.ceilMode);
    checkFlag(call, "returnIndices", options.returnIndices);
    this.ceilMode = options.ceilMode ?? false;
    this.returnIndices = options.returnIndices ?? false;
  }

  /** @internal */
  protected callOptions(): MaxPoolOptions {
    const { stride, padding, dilation, ceilMode, returnIndices } = this;
    return { stride, padding, dilation, ceilMode, returnIndices };
  }

  override extraText(): string {
    return (
      `kernel_size=${sizes(this.kernelSize)}, stride=${sizes(this.stride)}, padding=${sizes(this.padding)}, ` +
      `dilation=${sizes(this.dilation)}, ceil_mode=${bool(this.ceilMode)}`
    );
  }

  override flops(_input: Shape, output: Shape): number {
    return numel(output) * (windowElements(this.kernelSize, output.length - 2) - 1);
  }
}

/** Elements of a window in `dims` dimensions (of a batch; one more without). */
function windowElements(kernelSize: PerDimension, dims: number): number {
  return typeof kernelSize === "number" ? kernelSize ** dims : numel(kernelSize);
}

/** The largest element of each window; see `maxPool1d`. */
export class MaxPool1d<O extends MaxPoolOptions = MaxPoolOptions> extends MaxPool<O> {
  constructor(kernelSize: PerDimension, options: O = {} as O) {
    super("MaxPool1d", 1, kernelSize, options);
  }

  forward<D extends DType>(x: Tensor<D>): PoolResult<D, O> {
    return maxPool1d(x, this.kernelSize, this.callOptions() as { returnIndices: false }) as PoolResult<D, O>;
  }
}

/** The largest element of each window of images; see `maxPool2d`. With `returnIndices: true` also where it was. */
export class MaxPool2d<O extends MaxPoolOptions = MaxPoolOptions> extends MaxPool<O> {
  constructor(kernelSize: PerDimension, options: O = {} as O) {
    super("MaxPool2d", 2, kernelSize, options);
  }

  forward<D extends DType>(x: Tensor<D>): PoolResult<D, O> {
    return maxPool2d(x, this.kernelSize, this.callOptions() as { returnIndices: false }) as PoolResult<D, O>;
  }
}

/** The largest element of each window of volumes; see `maxPool3d`. */
export class MaxPool3d<O extends MaxPoolOptions = MaxPoolOptions> extends MaxPool<O> {
  constructor(kernelSize: PerDimension, options: O = {} as O) {
    super("MaxPool3d", 3, kernelSize, options);
  }

  forward<D extends DType>(x: Tensor<D>): PoolResult<D, O> {
    return maxPool3d(x, this.kernelSize, this.callOptions() as { returnIndices: false }) as PoolResult<D, O>;
  }
}

abstract class AvgPool extends Module {
  readonly kernelSize: PerDimension;
  readonly stride: PerDimension;
  readonly padding: PerDimension;
  readonly ceilMode: boolean;
  readonly countIncludePad: boolean;
  readonly divisorOverride: number | null;

  protected constructor(call: string, dims: number, kernelSize: PerDimension, options: AvgPoolOptions) {
    super();
    checkOptions(call, options, ["stride", "padding", "ceilMode", "countIncludePad", "divisorOverride"]);
    perDimension(call, "kernelSize", kernelSize, dims, 1);
    this.kernelSize = kernelSize;
    this.stride = options.stride ?? kernelSize;
    this.padding = options.padding ?? 0;
    perDimension(call, "stride", this.stride, dims, 1);
    perDimension(call, "padding", this.padding, dims, 0);
    checkFlag(call, "ceilMode", options.ceilMode);
    checkFlag(call, "countIncludePad", options.countIncludePad);
    this.ceilMode = options.ceilMode ?? false;
    this.countIncludePad = options.countIncludePad ?? true;
    this.divisorOverride = options.divisorOverride ?? null;
  }

  /** @internal */
  protected callOptions(): AvgPoolOptions {
    const { stride, padding, ceilMode, countIncludePad, divisorOverride } = this;
    return { stride, padding, ceilMode, countIncludePad, ...(divisorOverride === null ? {} : { divisorOverride }) };
  }

  override extraText(): string {
    return `kernel_size=${sizes(this.kernelSize)}, stride=${sizes(this.stride)}, padding=${sizes(this.padding)}`;
  }

  override flops(_input: Shape, output: Shape): number {
    return numel(output) * windowElements(this.kernelSize, output.length - 2);
  }
}

/** The mean of each window; see `avgPool1d`. */
export class AvgPool1d extends AvgPool {
  constructor(kernelSize: PerDimension, options: AvgPoolOptions = {}) {
    super("AvgPool1d", 1, kernelSize, options);
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return avgPool1d(x, this.kernelSize, this.callOptions());
  }

  override extraText(): string {
    const one = (value: PerDimension): string => tuple(typeof value === "number" ? [value] : value);
    return `kernel_size=${one(this.kernelSize)}, stride=${one(this.stride)}, padding=${one(this.padding)}`;
  }
}

/** The mean of each window of images; see `avgPool2d`. */
export class AvgPool2d extends AvgPool {
  constructor(kernelSize: PerDimension, options: AvgPoolOptions = {}) {
    super("AvgPool2d", 2, kernelSize, options);
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return avgPool2d(x, this.kernelSize, this.callOptions());
  }
}

/** The mean of each window of volumes; see `avgPool3d`. */
export class AvgPool3d extends AvgPool {
  constructor(kernelSize: PerDimension, options: AvgPoolOptions = {}) {
    super("AvgPool3d", 3, kernelSize, options);
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return avgPool3d(x, this.kernelSize, this.callOptions());
  }
}

export interface MaxUnpoolLayerOptions {
  /** As in the pooling that is undone; default: the window's size. */
  readonly stride?: PerDimension | null;
  /** That of the pooling; default 0. */
  readonly padding?: PerDimension;
}

abstract class MaxUnpool extends Module {
  readonly kernelSize: readonly number[];
  readonly stride: readonly number[];
  readonly padding: readonly number[];

  protected constructor(call: string, dims: number, kernelSize: PerDimension, options: MaxUnpoolLayerOptions) {
    super();
    checkOptions(call, options, ["stride", "padding"]);
    this.kernelSize = perDimension(call, "kernelSize", kernelSize, dims, 1);
    this.stride = perDimension(call, "stride", options.stride ?? kernelSize, dims, 1);
    this.padding = perDimension(call, "padding", options.padding ?? 0, dims, 0);
  }

  /** @internal */
  protected callOptions(outputSize: readonly number[] | null): {
    stride: readonly number[];
    padding: readonly number[];
    outputSize: readonly number[] | null;
  } {
    return { stride: this.stride, padding: this.padding, outputSize };
  }

  override extraText(): string {
    return `kernel_size=${tuple(this.kernelSize)}, stride=${tuple(this.stride)}, padding=${tuple(this.padding)}`;
  }
}

/** Puts the values of a max pool back where they were, zeros elsewhere; see `maxUnpool1d`. */
export class MaxUnpool1d extends MaxUnpool {
  constructor(kernelSize: PerDimension, options: MaxUnpoolLayerOptions = {}) {
    super("MaxUnpool1d", 1, kernelSize, options);
  }

  forward<D extends DType>(
    x: Tensor<D>,
    indices: Tensor<"int32">,
    outputSize: readonly number[] | null = null,
  ): Tensor<D> {
    return maxUnpool1d(x, indices, this.kernelSize, this.callOptions(outputSize));
  }
}

/** Puts the values of a max pool back where they were, zeros elsewhere; see `maxUnpool2d`. */
export class MaxUnpool2d extends MaxUnpool {
  constructor(kernelSize: PerDimension, options: MaxUnpoolLayerOptions = {}) {
    super("MaxUnpool2d", 2, kernelSize, options);
  }

  forward<D extends DType>(
    x: Tensor<D>,
    indices: Tensor<"int32">,
    outputSize: readonly number[] | null = null,
  ): Tensor<D> {
    return maxUnpool2d(x, indices, this.kernelSize, this.callOptions(outputSize));
  }
}

/** Puts the values of a max pool back where they were, zeros elsewhere; see `maxUnpool3d`. */
export class MaxUnpool3d extends MaxUnpool {
  constructor(kernelSize: PerDimension, options: MaxUnpoolLayerOptions = {}) {
    super("MaxUnpool3d", 3, kernelSize, options);
  }

  forward<D extends DType>(
    x: Tensor<D>,
    indices: Tensor<"int32">,
    outputSize: readonly number[] | null = null,
  ): Tensor<D> {
    return maxUnpool3d(x, indices, this.kernelSize, this.callOptions(outputSize));
  }
}
