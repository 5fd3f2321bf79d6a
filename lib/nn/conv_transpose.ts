import type { DType, FloatDType } from "../core/dtype.js";
import { ArgumentError } from "../core/errors.js";
import { checkOptions } from "../core/options.js";
import { describe, numel, type Shape } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import { convTranspose1d, convTranspose2d, convTranspose3d } from "../ops/conv_transpose.js";
import { type PerDimension, perDimension } from "../ops/window.js";
import { ConvBase } from "./conv.js";
import { later } from "./options.js";
import { tuple } from "./print.js";

export interface ConvTransposeLayerOptions {
  /** Distance of the windows of neighbouring input elements in the output; default 1. */
  readonly stride?: PerDimension;
  /** Elements cut off the output; default 0. */
  readonly padding?: PerDimension;
  /** Elements added to one end of the output, fewer than stride or dilation; default 0. */
  readonly outputPadding?: PerDimension;
  /** Independent convolutions that the channels are divided into; default 1. */
  readonly groups?: number;
  /** Whether there is a bias; default true. */
  readonly bias?: boolean;
  /** Distance of neighbouring taps; default 1. */
  readonly dilation?: PerDimension;
  /** Only "zeros" makes sense here. */
  readonly paddingMode?: "zeros";
  /** Of the parameters; default float32. */
  readonly dtype?: FloatDType;
}

const optionNames = ["stride", "padding", "outputPadding", "groups", "bias", "dilation", "paddingMode", "dtype"];

/** The sizes of the output, where several are possible: the spatial ones or the whole shape. */
export type ConvTransposeSize = readonly number[] | null;

abstract class ConvTranspose extends ConvBase {
  readonly padding: readonly number[];
  readonly outputPadding: readonly number[];

  protected constructor(
    call: string,
    dims: number,
    inChannels: number,
    outChannels: number,
    kernelSize: PerDimension,
    options: ConvTransposeLayerOptions,
  ) {
    checkOptions(call, options, optionNames);
    if ((options.paddingMode ?? "zeros") !== "zeros") {
      throw new ArgumentError(
        `${call}: only the paddingMode "zeros" is possible for transposed convolutions, got ${describe(options.paddingMode)}`,
      );
    }
    super(call, dims, inChannels, outChannels, kernelSize, options);
    this.padding = perDimension(call, "padding", options.padding ?? 0, dims, 0);
    this.outputPadding = perDimension(call, "outputPadding", options.outputPadding ?? 0, dims, 0);
  }

  protected override weightShape(): number[] {
    return [this.inChannels, this.outChannels / this.groups, ...this.kernelSize];
  }

  /** What the functional form takes; an outputSize decides the output padding. @internal */
  protected callOptions<D extends DType>(
    outputSize: ConvTransposeSize | undefined,
  ): {
    bias: Tensor<D> | null;
    stride: readonly number[];
    padding: readonly number[];
    dilation: readonly number[];
    groups: number;
    outputPadding?: readonly number[];
    outputSize?: readonly number[];
  } {
    const { stride, padding, dilation, groups, outputPadding } = this;
    const all = { bias: this.bias as Tensor<D> | null, stride, padding, dilation, groups };
    return outputSize === undefined || outputSize === null ? { outputPadding, ...all } : { outputSize, ...all };
  }

  override extraText(): string {
    const padding = this.padding.some((p) => p !== 0) ? `, padding=${tuple(this.padding)}` : "";
    const more = this.outputPadding.some((p) => p !== 0) ? `, output_padding=${tuple(this.outputPadding)}` : "";
    return this.describe(padding, more);
  }

  override flops(input: Shape, output: Shape): number {
    return (
      numel(input) * 2 * (this.outChannels / this.groups) * numel(this.kernelSize) +
      (this.bias === null ? 0 : numel(output))
    );
  }
}

/**
 * The transpose (gradient) of a convolution over signals, as a layer.
 *
 * Shapes: x [batch, inChannels, width] or without batch; weight [inChannels, outChannels / groups, kernelSize]; result with
 * (width - 1) * stride - 2 * padding + dilation * (kernelSize - 1) + outputPadding + 1 elements per channel.
 */
export class ConvTranspose1d extends ConvTranspose {
  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: PerDimension,
    options: ConvTransposeLayerOptions = {},
  ) {
    super("ConvTranspose1d", 1, inChannels, outChannels, kernelSize, options);
  }

  /** `outputSize` chooses one of the possible sizes of the result (stride of them). */
  forward<D extends DType>(x: Tensor<D>, outputSize?: ConvTransposeSize): Tensor<D> {
    return convTranspose1d(x, this.weight as Tensor<D>, this.callOptions<D>(outputSize));
  }
}

/** The transpose of a convolution over images, as a layer; shapes as in `ConvTranspose1d`, in each dimension. */
export class ConvTranspose2d extends ConvTranspose {
  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: PerDimension,
    options: ConvTransposeLayerOptions = {},
  ) {
    super("ConvTranspose2d", 2, inChannels, outChannels, kernelSize, options);
  }

  /** `outputSize` chooses one of the possible sizes of the result (stride of them in each dimension). */
  forward<D extends DType>(x: Tensor<D>, outputSize?: ConvTransposeSize): Tensor<D> {
    return convTranspose2d(x, this.weight as Tensor<D>, this.callOptions<D>(outputSize));
  }
}

/** The transpose of a convolution over volumes, as a layer; shapes as in `ConvTranspose1d`, in each dimension. */
export class ConvTranspose3d extends ConvTranspose {
  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: PerDimension,
    options: ConvTransposeLayerOptions = {},
  ) {
    super("ConvTranspose3d", 3, inChannels, outChannels, kernelSize, options);
  }

  /** `outputSize` chooses one of the possible sizes of the result (stride of them in each dimension). */
  forward<D extends DType>(x: Tensor<D>, outputSize?: ConvTransposeSize): Tensor<D> {
    return convTranspose3d(x, this.weight as Tensor<D>, this.callOptions<D>(outputSize));
  }
}

/** A `ConvTranspose1d` that takes inChannels from its first input, and then is a `ConvTranspose1d`. */
export class LazyConvTranspose1d extends ConvTranspose1d {
  constructor(outChannels: number, kernelSize: PerDimension, options: ConvTransposeLayerOptions = {}) {
    super(later, outChannels, kernelSize, options);
  }

  override forward<D extends DType>(x: Tensor<D>, outputSize?: ConvTransposeSize): Tensor<D> {
    this.inferChannels(x, "LazyConvTranspose1d");
    Object.setPrototypeOf(this, ConvTranspose1d.prototype);
    return ConvTranspose1d.prototype.forward.call(this, x, outputSize) as Tensor<D>;
  }
}

/** A `ConvTranspose2d` that takes inChannels from its first input, and then is a `ConvTranspose2d`. */
export class LazyConvTranspose2d extends ConvTranspose2d {
  constructor(outChannels: number, kernelSize: PerDimension, options: ConvTransposeLayerOptions = {}) {
    super(later, outChannels, kernelSize, options);
  }

  override forward<D extends DType>(x: Tensor<D>, outputSize?: ConvTransposeSize): Tensor<D> {
    this.inferChannels(x, "LazyConvTranspose2d");
    Object.setPrototypeOf(this, ConvTranspose2d.prototype);
    return ConvTranspose2d.prototype.forward.call(this, x, outputSize) as Tensor<D>;
  }
}

/** A `ConvTranspose3d` that takes inChannels from its first input, and then is a `ConvTranspose3d`. */
export class LazyConvTranspose3d extends ConvTranspose3d {
  constructor(outChannels: number, kernelSize: PerDimension, options: ConvTransposeLayerOptions = {}) {
    super(later, outChannels, kernelSize, options);
  }

  override forward<D extends DType>(x: Tensor<D>, outputSize?: ConvTransposeSize): Tensor<D> {
    this.inferChannels(x, "LazyConvTranspose3d");
    Object.setPrototypeOf(this, ConvTranspose3d.prototype);
    return ConvTranspose3d.prototype.forward.call(this, x, outputSize) as Tensor<D>;
  }
}
