import type { DType } from "../core/dtype.js";
import { ArgumentError } from "../core/errors.js";
import { checkInteger, checkOptions } from "../core/options.js";
import { numel, type Shape } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import {
  type AdaptiveMaxPoolOptions,
  adaptiveAvgPool1d,
  adaptiveAvgPool2d,
  adaptiveAvgPool3d,
  adaptiveMaxPool1d,
  adaptiveMaxPool2d,
  adaptiveMaxPool3d,
  type OutputSize,
} from "../ops/adaptive_pool.js";
import { checkFlag } from "../ops/pool_geometry.js";
import { Module } from "./module.js";
import type { PoolResult } from "./pool.js";

abstract class AdaptivePool extends Module {
  readonly outputSize: OutputSize;

  protected constructor(call: string, dims: number, outputSize: OutputSize) {
    super();
    const list = Array.isArray(outputSize) ? outputSize : [outputSize];
    if (list.length !== 1 && list.length !== dims)
      throw new ArgumentError(`${call}: outputSize must have 1 or ${dims} entries, got ${list.length}`);
    for (const size of list) if (size !== null) checkInteger(call, "outputSize", size, 0);
    this.outputSize = outputSize;
  }

  override extraText(): string {
    const python = (size: number | null): string => (size === null ? "None" : String(size));
    const { outputSize } = this;
    if (!Array.isArray(outputSize)) return `output_size=${python(outputSize as number | null)}`;
    const entries = outputSize.map(python);
    return `output_size=(${entries.join(", ")}${entries.length === 1 ? "," : ""})`;
  }

  override flops(input: Shape, _output: Shape): number {
    return numel(input);
  }
}

/** Means of windows that are chosen so that the output has `outputSize`, whatever the input's size. */
export class AdaptiveAvgPool1d extends AdaptivePool {
  constructor(outputSize: OutputSize) {
    super("AdaptiveAvgPool1d", 1, outputSize);
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return adaptiveAvgPool1d(x, this.outputSize);
  }
}

/** `AdaptiveAvgPool1d` for images; null keeps a dimension's size. */
export class AdaptiveAvgPool2d extends AdaptivePool {
  constructor(outputSize: OutputSize) {
    super("AdaptiveAvgPool2d", 2, outputSize);
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return adaptiveAvgPool2d(x, this.outputSize);
  }
}

/** `AdaptiveAvgPool1d` for volumes. */
export class AdaptiveAvgPool3d extends AdaptivePool {
  constructor(outputSize: OutputSize) {
    super("AdaptiveAvgPool3d", 3, outputSize);
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return adaptiveAvgPool3d(x, this.outputSize);
  }
}

abstract class AdaptiveMaxPool<O extends AdaptiveMaxPoolOptions> extends AdaptivePool {
  readonly returnIndices: boolean;

  protected constructor(call: string, dims: number, outputSize: OutputSize, options: O) {
    super(call, dims, outputSize);
    checkOptions(call, options, ["returnIndices"]);
    checkFlag(call, "returnIndices", options.returnIndices);
    this.returnIndices = options.returnIndices ?? false;
  }
}

/** Largest elements of windows that are chosen so that the output has `outputSize`. */
export class AdaptiveMaxPool1d<O extends AdaptiveMaxPoolOptions = AdaptiveMaxPoolOptions> extends AdaptiveMaxPool<O> {
  constructor(outputSize: OutputSize, options: O = {} as O) {
    super("AdaptiveMaxPool1d", 1, outputSize, options);
  }

  forward<D extends DType>(x: Tensor<D>): PoolResult<D, O> {
    const options = { returnIndices: this.returnIndices as false };
    return adaptiveMaxPool1d(x, this.outputSize, options) as PoolResult<D, O>;
  }
}

/** `AdaptiveMaxPool1d` for images. */
export class AdaptiveMaxPool2d<O extends AdaptiveMaxPoolOptions = AdaptiveMaxPoolOptions> extends AdaptiveMaxPool<O> {
  constructor(outputSize: OutputSize, options: O = {} as O) {
    super("AdaptiveMaxPool2d", 2, outputSize, options);
  }

  forward<D extends DType>(x: Tensor<D>): PoolResult<D, O> {
    const options = { returnIndices: this.returnIndices as false };
    return adaptiveMaxPool2d(x, this.outputSize, options) as PoolResult<D, O>;
  }
}

/** `AdaptiveMaxPool1d` for volumes. */
export class AdaptiveMaxPool3d<O extends AdaptiveMaxPoolOptions = AdaptiveMaxPoolOptions> extends AdaptiveMaxPool<O> {
  constructor(outputSize: OutputSize, options: O = {} as O) {
    super("AdaptiveMaxPool3d", 3, outputSize, options);
  }

  forward<D extends DType>(x: Tensor<D>): PoolResult<D, O> {
    const options = { returnIndices: this.returnIndices as false };
    return adaptiveMaxPool3d(x, this.outputSize, options) as PoolResult<D, O>;
  }
}
