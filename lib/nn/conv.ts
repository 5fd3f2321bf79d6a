import type { DType, FloatDType } from "../core/dtype.js";
import { ArgumentError, ShapeError } from "../core/errors.js";
import { checkChoice, checkInteger, checkOptions } from "../core/options.js";
import { format, numel, type Shape } from "../core/shape.js";
import { empty, type Tensor } from "../core/tensor.js";
import { type ConvPadding, conv1d, conv2d, conv3d } from "../ops/conv.js";
import { convPadding } from "../ops/conv_arguments.js";
import { type PaddingMode, paddingModes } from "../ops/padding.js";
import { imageLayout, type PerDimension, perDimension } from "../ops/window.js";
import { layerDefault } from "./init.js";
import { Module } from "./module.js";
import { floatDType, later } from "./options.js";
import { Parameter, UninitializedParameter } from "./parameter.js";
import { tuple } from "./print.js";

export interface ConvLayerOptions {
  /** Distance of neighbouring windows; default 1. */
  readonly stride?: PerDimension;
  /** Elements added around the input: a number, one per dimension, a pair [before, after] each, "same" or "valid". */
  readonly padding?: ConvPadding;
  /** What padding holds; default "zeros". */
  readonly paddingMode?: PaddingMode;
  /** Distance of neighbouring taps; default 1. */
  readonly dilation?: PerDimension;
  /** Independent convolutions that the channels are divided into; default 1. */
  readonly groups?: number;
  /** Whether there is a bias; default true. */
  readonly bias?: boolean;
  /** Of the parameters; default float32. */
  readonly dtype?: FloatDType;
}

const optionNames = ["stride", "padding", "paddingMode", "dilation", "groups", "bias", "dtype"];

/** What convolution and transposed convolution layers have in common. */
export abstract class ConvBase extends Module {
  inChannels: number;
  readonly outChannels: number;
  readonly kernelSize: readonly number[];
  readonly stride: readonly number[];
  readonly dilation: readonly number[];
  readonly groups: number;
  readonly weight: Parameter;
  readonly bias: Parameter | null;

  protected constructor(
    call: string,
    dims: number,
    inChannels: number,
    outChannels: number,
    kernelSize: PerDimension,
    options: Pick<ConvLayerOptions, "stride" | "dilation" | "groups" | "bias" | "dtype">,
  ) {
    super();
    const dtype = floatDType(call, options.dtype);
    const lazy = inChannels === later;
    this.groups = checkInteger(call, "groups", options.groups ?? 1, 1);
    this.inChannels = lazy ? 0 : checkInteger(call, "inChannels", inChannels, 0);
    this.outChannels = checkInteger(call, "outChannels", outChannels, 1);
    if (!lazy) this.checkInChannels(call);
    if (this.outChannels % this.groups !== 0) {
      throw new ArgumentError(
        `${call}: outChannels must be divisible by groups, but ${outChannels} / ${this.groups} leaves ${outChannels % this.groups}`,
      );
    }
    this.kernelSize = perDimension(call, "kernelSize", kernelSize, dims, 1);
    this.stride = perDimension(call, "stride", options.stride ?? 1, dims, 1);
    this.dilation = perDimension(call, "dilation", options.dilation ?? 1, dims, 1);
    this.weight = lazy ? new UninitializedParameter(dtype) : new Parameter(empty(this.weightShape(), dtype));
    this.bias = (options.bias ?? true) ? new Parameter(empty([this.outChannels], dtype)) : null;
    if (!lazy) this.resetParameters();
  }

  /** The weight's shape, once inChannels is known. */
  protected abstract weightShape(): number[];

  /** @internal */
  checkInChannels(call: string): void {
    if (this.inChannels % this.groups !== 0) {
      throw new ArgumentError(
        `${call}: inChannels must be divisible by groups, but ${this.inChannels} / ${this.groups} leaves ${this.inChannels % this.groups}`,
      );
    }
  }

  /** Gives weight and bias new first values: uniform in [-b, b), b = 1 / sqrt(fanIn), fanIn = weight.shape[1] * taps. */
  resetParameters(): void {
    layerDefault(this.weight, this.bias);
  }

  /** @internal A lazy layer's first input: the channels are known, the weight gets its memory. */
  inferChannels(x: Tensor, call: string): void {
    const dims = this.kernelSize.length;
    if (x.rank !== dims + 1 && x.rank !== dims + 2)
      throw new ShapeError(`${call}: x must be ${imageLayout(dims)}, but it is ${format(x.shape)}`);
    const before = this.inChannels;
    this.inChannels = x.shape[x.rank - dims - 1]!;
    if (this.weight instanceof UninitializedParameter) {
      try {
        this.checkInChannels(call);
      } catch (error) {
        this.inChannels = before;
        throw error;
      }
      this.weight.materialize(this.weightShape());
      this.resetParameters();
    }
  }

  /** The part of the text that both kinds share; `padding` and `more` come in between. */
  protected describe(padding: string, more: string): string {
    const { inChannels, outChannels, kernelSize, stride, dilation, groups } = this;
    let text = `${inChannels}, ${outChannels}, kernel_size=${tuple(kernelSize)}, stride=${tuple(stride)}${padding}`;
    if (dilation.some((d) => d !== 1)) text += `, dilation=${tuple(dilation)}`;
    text += more;
    if (groups !== 1) text += `, groups=${groups}`;
    if (this.bias === null) text += ", bias=False";
    return text;
  }
}

abstract class Conv extends ConvBase {
  /** As given: "same", "valid", one number per dimension, or a pair per dimension. */
  readonly padding: "same" | "valid" | readonly number[] | readonly (readonly [number, number])[];
  readonly paddingMode: PaddingMode;

  protected constructor(
    call: string,
    dims: number,
    inChannels: number,
    outChannels: number,
    kernelSize: PerDimension,
    options: ConvLayerOptions,
  ) {
    checkOptions(call, options, optionNames);
    const paddingMode = checkChoice(call, "paddingMode", options.paddingMode ?? "zeros", paddingModes);
    super(call, dims, inChannels, outChannels, kernelSize, options);
    this.paddingMode = paddingMode;
    const padding = options.padding ?? 0;
    convPadding(call, padding, this.kernelSize, this.stride, this.dilation); // refuses what is out of range
    this.padding =
      typeof padding === "string"
        ? padding
        : isPairs(padding)
          ? padding
          : perDimension(call, "padding", padding, dims, 0);
  }

  protected override weightShape(): number[] {
    return [this.outChannels, this.inChannels / this.groups, ...this.kernelSize];
  }

  /** What the functional form takes. @internal */
  protected callOptions<D extends DType>(): {
    bias: Tensor<D> | null;
    stride: readonly number[];
    padding: ConvPadding;
    dilation: readonly number[];
    groups: number;
    paddingMode: PaddingMode;
  } {
    const { stride, padding, dilation, groups, paddingMode } = this;
    return { bias: this.bias as Tensor<D> | null, stride, padding, dilation, groups, paddingMode };
  }

  override extraText(): string {
    const { padding } = this;
    let text = "";
    if (typeof padding === "string") text = `, padding=${padding}`;
    else if (isPairs(padding)) text = `, padding=(${padding.map((pair) => tuple(pair)).join(", ")})`;
    else if (padding.some((p) => p !== 0)) text = `, padding=${tuple(padding)}`;
    return this.describe(text, "") + (this.paddingMode === "zeros" ? "" : `, padding_mode=${this.paddingMode}`);
  }

  override flops(_input: Shape, output: Shape): number {
    const perOutput = 2 * (this.inChannels / this.groups) * numel(this.kernelSize) + (this.bias === null ? 0 : 1);
    return numel(output) * perOutput;
  }
}

function isPairs(padding: unknown): padding is readonly (readonly [number, number])[] {
  return Array.isArray(padding) && padding.length > 0 && Array.isArray(padding[0]);
}

/**
 * A layer of convolutions over signals; see `conv1d` for the formula.
 *
 * Shapes: x [batch, inChannels, width] or without batch; weight [outChannels, inChannels / groups, kernelSize].
 */
export class Conv1d extends Conv {
  constructor(inChannels: number, outChannels: number, kernelSize: PerDimension, options: ConvLayerOptions = {}) {
    super("Conv1d", 1, inChannels, outChannels, kernelSize, options);
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return conv1d(x, this.weight as Tensor<D>, this.callOptions<D>());
  }
}

/**
 * A layer of convolutions over images; see `conv2d` for the formula.
 *
 * Shapes: x [batch, inChannels, height, width] or without batch; weight [outChannels, inChannels / groups, kernelHeight,
 * kernelWidth], bias [outChannels].
 */
export class Conv2d extends Conv {
  constructor(inChannels: number, outChannels: number, kernelSize: PerDimension, options: ConvLayerOptions = {}) {
    super("Conv2d", 2, inChannels, outChannels, kernelSize, options);
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return conv2d(x, this.weight as Tensor<D>, this.callOptions<D>());
  }
}

/**
 * A layer of convolutions over volumes; see `conv3d` for the formula.
 *
 * Shapes: x [batch, inChannels, depth, height, width] or without batch; weight [outChannels, inChannels / groups, kernel...].
 */
export class Conv3d extends Conv {
  constructor(inChannels: number, outChannels: number, kernelSize: PerDimension, options: ConvLayerOptions = {}) {
    super("Conv3d", 3, inChannels, outChannels, kernelSize, options);
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return conv3d(x, this.weight as Tensor<D>, this.callOptions<D>());
  }
}

/** A `Conv1d` that takes inChannels from its first input, and then is a `Conv1d`. */
export class LazyConv1d extends Conv1d {
  constructor(outChannels: number, kernelSize: PerDimension, options: ConvLayerOptions = {}) {
    super(later, outChannels, kernelSize, options);
  }

  override forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    this.inferChannels(x, "LazyConv1d");
    Object.setPrototypeOf(this, Conv1d.prototype);
    return Conv1d.prototype.forward.call(this, x) as Tensor<D>;
  }
}

/** A `Conv2d` that takes inChannels from its first input, and then is a `Conv2d`. */
export class LazyConv2d extends Conv2d {
  constructor(outChannels: number, kernelSize: PerDimension, options: ConvLayerOptions = {}) {
    super(later, outChannels, kernelSize, options);
  }

  override forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    this.inferChannels(x, "LazyConv2d");
    Object.setPrototypeOf(this, Conv2d.prototype);
    return Conv2d.prototype.forward.call(this, x) as Tensor<D>;
  }
}

/** A `Conv3d` that takes inChannels from its first input, and then is a `Conv3d`. */
export class LazyConv3d extends Conv3d {
  constructor(outChannels: number, kernelSize: PerDimension, options: ConvLayerOptions = {}) {
    super(later, outChannels, kernelSize, options);
  }

  override forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    this.inferChannels(x, "LazyConv3d");
    Object.setPrototypeOf(this, Conv3d.prototype);
    return Conv3d.prototype.forward.call(this, x) as Tensor<D>;
  }
}
