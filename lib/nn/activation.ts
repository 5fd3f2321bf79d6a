import type { DType, FloatDType } from "../core/dtype.js";
import { ArgumentError } from "../core/errors.js";
import { checkChoice, checkInteger, checkNoOptions, checkNumber, checkOptions } from "../core/options.js";
import { numel, type Shape } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import * as ops from "../ops/activation.js";
import { full } from "../ops/create.js";
import { logSoftmax, softmax, softmin } from "../ops/softmax.js";
import { Module } from "./module.js";
import { byName, checkRank, floatDType } from "./options.js";
import { Parameter } from "./parameter.js";
import { float } from "./print.js";

/** Activations as modules: functions of each element, without state (but for PReLU). */

abstract class Activation extends Module {
  constructor(none?: undefined) {
    super();
    checkNoOptions(new.target.name, none);
  }

  override flops(_input: Shape, output: Shape): number {
    return numel(output);
  }
}

/** max(x, 0). */
export class ReLU extends Activation {
  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return ops.relu(x);
  }
}

/** min(max(x, 0), 6). */
export class ReLU6 extends Activation {
  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return ops.relu6(x);
  }
}

/** The self-normalising unit (Klambauer et al. 2017). */
export class SELU extends Activation {
  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return ops.selu(x);
  }
}

/** x * sigmoid(x), also called swish. */
export class SiLU extends Activation {
  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return ops.silu(x);
  }
}

/** x * tanh(softplus(x)). */
export class Mish extends Activation {
  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return ops.mish(x);
  }
}

/** x / (1 + |x|). */
export class Softsign extends Activation {
  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return ops.softsign(x);
  }
}

/** 1 / (1 + exp(-x)). */
export class Sigmoid extends Activation {
  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return ops.sigmoid(x);
  }
}

/** log(sigmoid(x)), without overflow. */
export class LogSigmoid extends Activation {
  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return ops.logSigmoid(x);
  }
}

/** The hyperbolic tangent. */
export class Tanh extends Activation {
  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return ops.tanh(x);
  }
}

/** x - tanh(x). */
export class Tanhshrink extends Activation {
  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return ops.tanhshrink(x);
  }
}

/** min(max(x + 3, 0), 6) / 6. */
export class Hardsigmoid extends Activation {
  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return ops.hardsigmoid(x);
  }
}

/** x * hardsigmoid(x). */
export class Hardswish extends Activation {
  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return ops.hardswish(x);
  }
}

/** x above 0, else negativeSlope * x. */
export class LeakyReLU extends Activation {
  readonly negativeSlope: number;

  constructor(negativeSlope?: number | { readonly negativeSlope?: number }) {
    super();
    const [value = 0.01] = byName("LeakyReLU", ["negativeSlope"], negativeSlope);
    this.negativeSlope = checkNumber("LeakyReLU", "negativeSlope", value);
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return ops.leakyRelu(x, { negativeSlope: this.negativeSlope });
  }

  override extraText(): string {
    return `negative_slope=${float(this.negativeSlope)}`;
  }
}

/** x above 0, else alpha (exp(x) - 1). */
export class ELU extends Activation {
  readonly alpha: number;

  constructor(alpha?: number | { readonly alpha?: number }) {
    super();
    const [value = 1] = byName("ELU", ["alpha"], alpha);
    this.alpha = checkNumber("ELU", "alpha", value);
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return ops.elu(x, { alpha: this.alpha });
  }

  override extraText(): string {
    return `alpha=${float(this.alpha)}`;
  }
}

/** x above 0, else alpha (exp(x / alpha) - 1). */
export class CELU extends Activation {
  readonly alpha: number;

  constructor(alpha?: number | { readonly alpha?: number }) {
    super();
    const [value = 1] = byName("CELU", ["alpha"], alpha);
    this.alpha = checkNumber("CELU", "alpha", value);
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return ops.celu(x, { alpha: this.alpha });
  }

  override extraText(): string {
    return `alpha=${float(this.alpha)}`;
  }
}

/** x, cut off at minVal and maxVal. */
export class Hardtanh extends Activation {
  readonly minVal: number;
  readonly maxVal: number;

  constructor(minVal?: number | { readonly minVal?: number; readonly maxVal?: number }, maxVal?: number) {
    super();
    const [least = -1, most = 1] = byName("Hardtanh", ["minVal", "maxVal"], minVal, maxVal);
    this.minVal = checkNumber("Hardtanh", "minVal", least);
    this.maxVal = checkNumber("Hardtanh", "maxVal", most);
    if (least >= most) throw new ArgumentError(`Hardtanh: minVal ${least} must be below maxVal ${most}`);
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return ops.hardtanh(x, { min: this.minVal, max: this.maxVal });
  }

  override extraText(): string {
    return `min_val=${float(this.minVal)}, max_val=${float(this.maxVal)}`;
  }
}

/** log(1 + exp(beta x)) / beta, and x itself where beta x is above the threshold. */
export class Softplus extends Activation {
  readonly beta: number;
  readonly threshold: number;

  constructor(beta?: number | { readonly beta?: number; readonly threshold?: number }, threshold?: number) {
    super();
    const [slope = 1, bound = 20] = byName("Softplus", ["beta", "threshold"], beta, threshold);
    this.beta = checkNumber("Softplus", "beta", slope);
    this.threshold = checkNumber("Softplus", "threshold", bound);
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return ops.softplus(x, { beta: this.beta, threshold: this.threshold });
  }

  override extraText(): string {
    return `beta=${this.beta}, threshold=${this.threshold}`;
  }
}

/** x where |x| is above lambd, else 0. */
export class Hardshrink extends Activation {
  readonly lambd: number;

  constructor(lambd?: number | { readonly lambd?: number }) {
    super();
    const [value = 0.5] = byName("Hardshrink", ["lambd"], lambd);
    this.lambd = checkNumber("Hardshrink", "lambd", value);
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return ops.hardshrink(x, { lambd: this.lambd });
  }

  override extraText(): string {
    return `${float(this.lambd)}`;
  }
}

/** x brought nearer to 0 by lambd. */
export class Softshrink extends Activation {
  readonly lambd: number;

  constructor(lambd?: number | { readonly lambd?: number }) {
    super();
    const [value = 0.5] = byName("Softshrink", ["lambd"], lambd);
    this.lambd = checkNumber("Softshrink", "lambd", value);
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return ops.softshrink(x, { lambd: this.lambd });
  }

  override extraText(): string {
    return `${float(this.lambd)}`;
  }
}

/** x where it is above `threshold`, else `value`. */
export class Threshold extends Activation {
  readonly threshold: number;
  readonly value: number;

  constructor(threshold: number, value: number) {
    super();
    this.threshold = checkNumber("Threshold", "threshold", threshold);
    this.value = checkNumber("Threshold", "value", value);
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return ops.threshold(x, this.threshold, this.value);
  }

  override extraText(): string {
    return `threshold=${this.threshold}, value=${this.value}`;
  }
}

/** x times the normal distribution function of x; "tanh" approximates it. */
export class GELU extends Activation {
  readonly approximate: "none" | "tanh";

  constructor(options: { readonly approximate?: "none" | "tanh" } = {}) {
    super();
    checkOptions("GELU", options, ["approximate"]);
    this.approximate = checkChoice("GELU", "approximate", options.approximate ?? "none", ["none", "tanh"]);
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return ops.gelu(x, { approximate: this.approximate });
  }

  override extraText(): string {
    return `approximate='${this.approximate}'`;
  }
}

/** x above 0, else weight * x, with a learned weight: one for all channels (dimension 1), or one for each. */
export class PReLU extends Activation {
  readonly numParameters: number;
  readonly weight: Parameter;

  constructor(numParameters = 1, options: { readonly init?: number; readonly dtype?: FloatDType } = {}) {
    super();
    checkOptions("PReLU", options, ["init", "dtype"]);
    this.numParameters = checkInteger("PReLU", "numParameters", numParameters, 1);
    const init = checkNumber("PReLU", "init", options.init ?? 0.25);
    this.weight = new Parameter(full([numParameters], init, { dtype: floatDType("PReLU", options.dtype) }));
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return ops.prelu(x, this.weight as Tensor<D>);
  }

  override extraText(): string {
    return `num_parameters=${this.numParameters}`;
  }
}

/** The gated linear unit: one half of the dimension times the sigmoid of the other. */
export class GLU extends Activation {
  readonly dim: number;

  constructor(dim?: number | { readonly dim?: number }) {
    super();
    const [value = -1] = byName("GLU", ["dim"], dim);
    this.dim = checkInteger("GLU", "dim", value, -8, 7);
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return ops.glu(x, this.dim);
  }

  override extraText(): string {
    return `dim=${this.dim}`;
  }
}

/** exp(x) / sum of exp(x) along a dimension. */
export class Softmax extends Activation {
  readonly dim: number;

  constructor(dim: number | { readonly dim: number }) {
    super();
    const [value] = byName("Softmax", ["dim"], dim);
    this.dim = checkInteger("Softmax", "dim", value, -8, 7);
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return softmax(x, this.dim);
  }

  override extraText(): string {
    return `dim=${this.dim}`;
  }
}

/** The softmax of -x. */
export class Softmin extends Activation {
  readonly dim: number;

  constructor(dim: number | { readonly dim: number }) {
    super();
    const [value] = byName("Softmin", ["dim"], dim);
    this.dim = checkInteger("Softmin", "dim", value, -8, 7);
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return softmin(x, this.dim);
  }

  override extraText(): string {
    return `dim=${this.dim}`;
  }
}

/** log(softmax(x)), without overflow. */
export class LogSoftmax extends Activation {
  readonly dim: number;

  constructor(dim: number | { readonly dim: number }) {
    super();
    const [value] = byName("LogSoftmax", ["dim"], dim);
    this.dim = checkInteger("LogSoftmax", "dim", value, -8, 7);
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return logSoftmax(x, this.dim);
  }

  override extraText(): string {
    return `dim=${this.dim}`;
  }
}

/** Softmax over the channels of images, x [batch, channels, height, width] or without batch. */
export class Softmax2d extends Activation {
  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    checkRank("Softmax2d", x, [3, 4], "[batch, channels, height, width] or without batch");
    return softmax(x, -3);
  }
}
