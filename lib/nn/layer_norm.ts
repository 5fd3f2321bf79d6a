import type { DType, FloatDType } from "../core/dtype.js";
import { ArgumentError, ShapeError } from "../core/errors.js";
import { checkInteger, checkNumber, checkOptions } from "../core/options.js";
import { checkShape, describe, format, numel, type Shape } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import { ones, zeros } from "../ops/create.js";
import { groupNorm, layerNorm } from "../ops/norm.js";
import { Module } from "./module.js";
import { floatDType } from "./options.js";
import { Parameter } from "./parameter.js";
import { bool, float, tuple } from "./print.js";

export interface LayerNormLayerOptions {
  /** Added to the variance; default 1e-5. */
  readonly eps?: number;
  /** Whether there are weight and bias of normalizedShape; default true. */
  readonly elementwiseAffine?: boolean;
  /** Of the parameters; default float32. */
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
  /** Added to the variance; default 1e-5. */
  readonly eps?: number;
  /** Whether there are weight and bias per channel; default true. */
  readonly affine?: boolean;
  /** Of the parameters; default float32. */
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
