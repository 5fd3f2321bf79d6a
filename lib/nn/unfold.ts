import type { DType } from "../core/dtype.js";
import { checkOptions } from "../core/options.js";
import type { Tensor } from "../core/tensor.js";
import { fold, type UnfoldOptions, unfold } from "../ops/unfold.js";
import { type PerDimension, perDimension } from "../ops/window.js";
import { Module } from "./module.js";
import { sizes } from "./print.js";

/** The windows of images as columns, and back, as modules. */

abstract class Windows extends Module {
  readonly kernelSize: PerDimension;
  readonly dilation: PerDimension;
  readonly padding: PerDimension;
  readonly stride: PerDimension;

  protected constructor(call: string, kernelSize: PerDimension, options: UnfoldOptions) {
    super();
    checkOptions(call, options, ["dilation", "padding", "stride"]);
    const { dilation = 1, padding = 0, stride = 1 } = options;
    perDimension(call, "kernelSize", kernelSize, 2, 1);
    perDimension(call, "dilation", dilation, 2, 1);
    perDimension(call, "padding", padding, 2, 0);
    perDimension(call, "stride", stride, 2, 1);
    this.kernelSize = kernelSize;
    this.dilation = dilation;
    this.padding = padding;
    this.stride = stride;
  }

  override extraText(): string {
    const { kernelSize, dilation, padding, stride } = this;
    return `kernel_size=${sizes(kernelSize)}, dilation=${sizes(dilation)}, padding=${sizes(padding)}, stride=${sizes(stride)}`;
  }
}

/** The windows of images [batch, channels, height, width] as columns [batch, channels * taps, windows]; see `unfold`. */
export class Unfold extends Windows {
  constructor(kernelSize: PerDimension, options: UnfoldOptions = {}) {
    super("Unfold", kernelSize, options);
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    const { dilation, padding, stride } = this;
    return unfold(x, this.kernelSize, { dilation, padding, stride });
  }
}

/** Columns [batch, channels * taps, windows] added up to images of `outputSize`; see `fold`. */
export class Fold extends Windows {
  readonly outputSize: PerDimension;

  constructor(outputSize: PerDimension, kernelSize: PerDimension, options: UnfoldOptions = {}) {
    super("Fold", kernelSize, options);
    perDimension("Fold", "outputSize", outputSize, 2, 1);
    this.outputSize = outputSize;
  }

  forward<D extends DType>(columns: Tensor<D>): Tensor<D> {
    const { dilation, padding, stride } = this;
    return fold(columns, this.outputSize, this.kernelSize, { dilation, padding, stride });
  }

  override extraText(): string {
    return `output_size=${sizes(this.outputSize)}, ${super.extraText()}`;
  }
}
