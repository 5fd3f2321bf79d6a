import type { DType, FloatDType } from "../core/dtype.js";
import { ShapeError } from "../core/errors.js";
import { checkInteger, checkOptions } from "../core/options.js";
import { format, type Shape } from "../core/shape.js";
import { empty, type Tensor } from "../core/tensor.js";
import { linear } from "../ops/matmul.js";
import { layerDefault } from "./init.js";
import { Module } from "./module.js";
import { floatDType, later } from "./options.js";
import { Parameter, UninitializedParameter } from "./parameter.js";
import { bool } from "./print.js";

export interface LinearOptions {
  /** Whether there is a bias; default true. */
  readonly bias?: boolean;
  /** Of the parameters; default float32. */
  readonly dtype?: FloatDType;
}

/**
 * x weightᵀ + bias: a fully connected layer.
 *
 * Shapes: x [..., inFeatures]; weight [outFeatures, inFeatures], bias [outFeatures]; result [..., outFeatures].
 */
export class Linear extends Module {
  inFeatures: number;
  readonly outFeatures: number;
  readonly weight: Parameter;
  readonly bias: Parameter | null;

  constructor(inFeatures: number, outFeatures: number, options: LinearOptions = {}) {
    super();
    checkOptions("Linear", options, ["bias", "dtype"]);
    const dtype = floatDType("Linear", options.dtype);
    const lazy = inFeatures === later;
    this.inFeatures = lazy ? 0 : checkInteger("Linear", "inFeatures", inFeatures, 0);
    this.outFeatures = checkInteger("Linear", "outFeatures", outFeatures, 0);
    this.weight = lazy ? new UninitializedParameter(dtype) : new Parameter(empty([outFeatures, inFeatures], dtype));
    this.bias = (options.bias ?? true) ? new Parameter(empty([outFeatures], dtype)) : null;
    if (!lazy) this.resetParameters();
  }

  /** Gives weight and bias new first values: uniform in [-b, b), b = 1 / sqrt(inFeatures). */
  resetParameters(): void {
    layerDefault(this.weight, this.bias);
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return linear(x, this.weight as Tensor<D>, this.bias as Tensor<D> | null);
  }

  override extraText(): string {
    return `in_features=${this.inFeatures}, out_features=${this.outFeatures}, bias=${bool(this.bias !== null)}`;
  }

  override flops(_input: Shape, output: Shape): number {
    const outputs = output.reduce((n, size) => n * size, 1);
    return outputs * (2 * this.inFeatures + (this.bias === null ? 0 : 1));
  }
}

/** A `Linear` that takes inFeatures from its first input, and then is a `Linear`. */
export class LazyLinear extends Linear {
  constructor(outFeatures: number, options: LinearOptions = {}) {
    super(later, outFeatures, options);
  }

  override forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    if (this.weight instanceof UninitializedParameter) {
      const inFeatures = x.shape.at(-1);
      if (inFeatures === undefined)
        throw new ShapeError(`LazyLinear: x must have at least one dimension, but it is ${format(x.shape)}`);
      this.weight.materialize([this.outFeatures, inFeatures]);
      this.resetParameters();
    }
    this.inFeatures = this.weight.shape[1]!;
    Object.setPrototypeOf(this, Linear.prototype);
    return Linear.prototype.forward.call(this, x) as Tensor<D>;
  }
}
