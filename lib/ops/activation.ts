import type { BinaryCode, UnaryCode } from "../backend/abi.js";
import type { DType } from "../core/dtype.js";
import { ArgumentError, ShapeError } from "../core/errors.js";
import { checkChoice, checkNoOptions, checkNumber, checkOptions } from "../core/options.js";
import { format, normalizeDim } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import { gt, le, logicalAnd, lt } from "./compare.js";
import { defineOp, type GradContext, type Op, type Sample } from "./define.js";
import { binary, checkTensor, filled, floating, sameDType, unary } from "./kernel.js";
import { installMethods } from "./methods.js";
import { abs, add, div, exp, mul, neg, square, sub } from "./pointwise.js";
import { narrow, reshape } from "./view.js";
import { maskedFill, where } from "./where.js";

/**
 * Activation functions, each with its derivative as one fused op of its own: y = f(x; p0, p1) and
 * dx = f_grad(dy, saved; p0, p1), where `saved` is the output or the input. What differs from kink to kink follows
 * PyTorch: relu'(0) = 0, hardtanh and relu6 have derivative 0 at both bounds (clamp has 1).
 */

interface Parameters {
  readonly p0: number;
  readonly p1: number;
}

interface ActivationDefinition {
  readonly name: UnaryCode & string;
  readonly gradient: BinaryCode;
  /** What the gradient kernel reads: the output or the input. */
  readonly saves: "output" | "x";
  /** d(dx)/d(saved) per dy: the factor that depends on `saved` only; null where it is 0 everywhere. */
  readonly second: ((saved: Tensor, p: Parameters) => Tensor) | null;
  readonly parameters?: readonly Parameters[];
}

interface Applied {
  (x: Tensor, p0?: number, p1?: number): Tensor;
  /** dx from dy and what forward saved. */
  readonly gradient: Op<"dy" | "saved", Parameters>;
}

function defineActivation({ name, gradient, saves, second, parameters }: ActivationDefinition): Applied {
  const choices = parameters ?? [{ p0: 0, p1: 0 }];
  const gradientOp: Op<"dy" | "saved", Parameters> = defineOp<"dy" | "saved", Parameters>({
    name: gradient,
    inputs: ["dy", "saved"],
    forward: ([dy, saved], { p0, p1 }) => binary(gradient, dy!, saved!, p0, p1),
    grad: {
      dy: { reads: ["saved"], formula: (c) => gradientOp([c.dy, c.input("saved")], c.options) },
      ...(second === null
        ? {}
        : {
            saved: {
              reads: ["dy", "saved"] as const,
              formula: (c: GradContext<"dy" | "saved", Parameters>) =>
                mul(mul(c.dy, c.input("dy")), second(c.input("saved"), c.options)),
            },
          }),
    },
    samples: () =>
      choices.map((options) => ({ inputs: { dy: [3, 5], saved: (r) => r.distinct([3, 5]) }, options })) as Sample<
        "dy" | "saved",
        Parameters
      >[],
  });
  const op: Op<"x", Parameters> = defineOp<"x", Parameters>({
    name,
    inputs: ["x"],
    forward: ([x], { p0, p1 }) => unary(name, x!, p0, p1),
    grad: {
      x: {
        reads: [saves],
        formula: (c) => gradientOp([c.dy, saves === "x" ? c.input("x") : c.output()], c.options),
      },
    },
    samples: () => [
      ...choices.map((options) => ({ inputs: { x: (r) => r.distinct([3, 7]) }, options }) as Sample<"x", Parameters>),
      { inputs: { x: (r) => r.distinct([2, 35]) }, options: choices[0]! },
      { inputs: { x: (r) => r.distinct([]) }, options: choices[0]! },
      { inputs: { x: [0, 3] }, options: choices[0]! },
    ],
  });
  const applied = (x: Tensor, p0 = 0, p1 = 0): Tensor => op([x], { p0, p1 });
  return Object.assign(applied, { gradient: gradientOp });
}

function checkInput(call: string, x: unknown): asserts x is Tensor {
  checkTensor(call, "x", x);
  floating(call, "x", x);
}

const apply = {
  relu: defineActivation({ name: "relu", gradient: "relu_grad", saves: "output", second: null }),
  leakyRelu: defineActivation({
    name: "leaky_relu",
    gradient: "leaky_relu_grad",
    saves: "x",
    second: null,
    parameters: [{ p0: 0.01, p1: 0 }],
  }),
  elu: defineActivation({
    name: "elu",
    gradient: "elu_grad",
    saves: "x",
    second: (x, { p0 }) => where(gt(x, 0), 0, mul(exp(x), p0)),
    parameters: [{ p0: 1.3, p1: 0 }],
  }),
  gelu: defineActivation({
    name: "gelu",
    gradient: "gelu_grad",
    saves: "x",
    // (2 - x²) times the normal density
    second: (x) => mul(mul(exp(mul(square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI)), sub(2, square(x))),
  }),
  geluTanh: defineActivation({
    name: "gelu_tanh",
    gradient: "gelu_tanh_grad",
    saves: "x",
    second: (x) => {
      // x (1 + t) / 2 with t = tanh(u), u = k (x + c x³): u' (1 - t²) (1 - x t u') + x u'' (1 - t²) / 2
      const [k, c] = [Math.sqrt(2 / Math.PI), 0.044715];
      const t = tanh(mul(add(x, mul(mul(square(x), x), c)), k));
      const slope = mul(add(mul(square(x), 3 * c), 1), k);
      const bend = mul(square(x), 3 * k * c);
      return mul(sub(1, square(t)), add(mul(slope, sub(1, mul(mul(x, t), slope))), bend));
    },
  }),
  silu: defineActivation({
    name: "silu",
    gradient: "silu_grad",
    saves: "x",
    second: (x) => {
      const s = sigmoid(x);
      return mul(mul(s, sub(1, s)), add(mul(x, sub(1, mul(s, 2))), 2));
    },
  }),
  sigmoid: defineActivation({
    name: "sigmoid",
    gradient: "sigmoid_grad",
    saves: "output",
    second: (y) => sub(1, mul(y, 2)),
  }),
  tanh: defineActivation({
    name: "tanh",
    gradient: "tanh_grad",
    saves: "output",
    second: (y) => mul(y, -2),
  }),
  softplus: defineActivation({
    name: "softplus",
    gradient: "softplus_grad",
    saves: "x",
    second: (x, { p0, p1 }) => {
      const s = sigmoid(mul(x, p0));
      return where(gt(mul(x, p0), p1), 0, mul(mul(s, sub(1, s)), p0));
    },
    parameters: [
      { p0: 1, p1: 20 },
      { p0: 2.5, p1: 1 },
    ],
  }),
  clamp: defineActivation({
    name: "clamp",
    gradient: "clamp_grad",
    saves: "x",
    second: null,
    parameters: [{ p0: -0.55, p1: 0.75 }],
  }),
  hardSigmoid: defineActivation({ name: "hard_sigmoid", gradient: "hard_sigmoid_grad", saves: "x", second: null }),
  hardSwish: defineActivation({
    name: "hard_swish",
    gradient: "hard_swish_grad",
    saves: "x",
    second: (x) => where(logicalAnd(gt(x, -3), lt(x, 3)), filled([], x.dtype, 1 / 3), filled([], x.dtype, 0)),
  }),
};

/** @internal min(max(x, lowest), highest) for numbers; the derivative is 1 at both bounds. */
export function clampBetween(x: Tensor, lowest: number, highest: number): Tensor {
  return apply.clamp(x, lowest, highest);
}

const logSigmoidOp: Op<"x", undefined> = defineOp<"x", undefined>({
  name: "log_sigmoid",
  inputs: ["x"],
  forward: ([x]) => unary("log_sigmoid", x!),
  grad: { x: { reads: ["x"], formula: (c) => mul(c.dy, sigmoid(neg(c.input("x")))) } },
  samples: () => [{ inputs: { x: [3, 7] } }, { inputs: { x: [0, 2] } }],
});

/** max(x, 0); the derivative at 0 is 0. Backward reads the output. */
export function relu<D extends DType>(x: Tensor<D>): Tensor<D>;
export function relu<D extends DType>(x: Tensor<D>, none?: undefined): Tensor<D> {
  checkNoOptions("relu", none);
  checkTensor("relu", "x", x);
  if (x.dtype === "int32") return unary("relu", x);
  checkInput("relu", x);
  return apply.relu(x) as Tensor<D>;
}

/** @internal dy where the relu whose result is y lets it through. */
export function reluGradient(dy: Tensor, y: Tensor): Tensor {
  return apply.relu.gradient([dy, y], { p0: 0, p1: 0 });
}

const hardtanhOp: Op<"x", { low: number; high: number }> = defineOp<"x", { low: number; high: number }>({
  // clamp with the derivative 0 at both bounds.
  name: "hardtanh",
  inputs: ["x"],
  forward: ([x], { low, high }) => unary("clamp", x!, low, high),
  grad: {
    x: {
      reads: ["x"],
      formula: (c) => {
        const x = c.input("x");
        return maskedFill(maskedFill(c.dy, le(x, c.options.low), 0), le(neg(x), -c.options.high), 0);
      },
    },
  },
  samples: () => [{ inputs: { x: (r) => r.distinct([4, 5]) }, options: { low: -0.55, high: 0.75 } }],
});

/** x between `min` (default -1) and `max` (default 1); the derivative is 0 at both. */
export function hardtanh<D extends DType>(x: Tensor<D>, options: { min?: number; max?: number } = {}): Tensor<D> {
  checkInput("hardtanh", x);
  checkOptions("hardtanh", options, ["min", "max"]);
  const low = checkNumber("hardtanh", "min", options.min ?? -1);
  const high = checkNumber("hardtanh", "max", options.max ?? 1);
  if (low > high) throw new ArgumentError(`hardtanh: min ${low} must not be above max ${high}`);
  return hardtanhOp([x], { low, high }) as Tensor<D>;
}

/** min(max(x, 0), 6); the derivative is 0 at 0 and 6. */
export function relu6<D extends DType>(x: Tensor<D>): Tensor<D>;
export function relu6<D extends DType>(x: Tensor<D>, none?: undefined): Tensor<D> {
  checkNoOptions("relu6", none);
  checkInput("relu6", x);
  return hardtanhOp([x], { low: 0, high: 6 }) as Tensor<D>;
}

/** x above 0, else x * negativeSlope (default 0.01). */
export function leakyRelu<D extends DType>(x: Tensor<D>, options: { negativeSlope?: number } = {}): Tensor<D> {
  checkInput("leakyRelu", x);
  checkOptions("leakyRelu", options, ["negativeSlope"]);
  return apply.leakyRelu(x, checkNumber("leakyRelu", "negativeSlope", options.negativeSlope ?? 0.01)) as Tensor<D>;
}

/**
 * x above 0, else weight * x, with a learnt weight: one number for all ([1] or a scalar) or one per channel
 * (dimension 1 of x; of a vector or scalar there is one channel).
 * @throws {ShapeError} if weight is neither
 */
export function prelu<D extends DType>(x: Tensor<D>, weight: Tensor<D>): Tensor<D> {
  checkInput("prelu", x);
  sameDType("prelu", "x", x, "weight", weight);
  const count = weight.numel();
  const channels = x.rank > 1 ? x.shape[1]! : 1;
  if (weight.rank > 1 || (count !== 1 && count !== channels)) {
    throw new ShapeError(
      `prelu: weight must hold 1 value or one per channel, here ${channels} for x ${format(x.shape)}, but it is ` +
        `${format(weight.shape)}`,
    );
  }
  const slope = count === 1 ? reshape(weight, []) : reshape(weight, [channels, ...x.shape.slice(2).map(() => 1)]);
  const positive = gt(x, 0);
  return where(positive, x, mul(where(positive, 0, x), slope) as Tensor<D>);
}

/** x above 0, else alpha (exp(x) - 1); alpha is 1 by default. */
export function elu<D extends DType>(x: Tensor<D>, options: { alpha?: number } = {}): Tensor<D> {
  checkInput("elu", x);
  checkOptions("elu", options, ["alpha"]);
  return apply.elu(x, checkNumber("elu", "alpha", options.alpha ?? 1)) as Tensor<D>;
}

/** x above 0, else alpha (exp(x / alpha) - 1); alpha is 1 by default and not 0. */
export function celu<D extends DType>(x: Tensor<D>, options: { alpha?: number } = {}): Tensor<D> {
  checkInput("celu", x);
  checkOptions("celu", options, ["alpha"]);
  const alpha = checkNumber("celu", "alpha", options.alpha ?? 1);
  if (alpha === 0) throw new ArgumentError("celu: alpha must not be 0, x is divided by it");
  // With y = x / alpha this is alpha * elu(y) only for positive alpha: the branch is decided by x.
  const below = mul(apply.elu(div(x as Tensor, alpha), 1), alpha);
  return (
    alpha > 0 ? below : where(gt(x, 0), x as Tensor, mul(sub(exp(div(x as Tensor, alpha)), 1), alpha))
  ) as Tensor<D>;
}

/** Self-normalising elu (Klambauer et al. 2017): scale * elu(x, alpha) with the paper's two constants. */
export function selu<D extends DType>(x: Tensor<D>): Tensor<D>;
export function selu<D extends DType>(x: Tensor<D>, none?: undefined): Tensor<D> {
  checkNoOptions("selu", none);
  checkInput("selu", x);
  return mul(apply.elu(x, 1.6732632423543772), 1.0507009873554805) as Tensor<D>;
}

/** x times the normal distribution function of x: by erf ("none"), or by its usual tanh approximation ("tanh"). */
export function gelu<D extends DType>(x: Tensor<D>, options: { approximate?: "none" | "tanh" } = {}): Tensor<D> {
  checkInput("gelu", x);
  checkOptions("gelu", options, ["approximate"]);
  const approximate = checkChoice("gelu", "approximate", options.approximate ?? "none", ["none", "tanh"]);
  return (approximate === "none" ? apply.gelu(x) : apply.geluTanh(x)) as Tensor<D>;
}

/** x * sigmoid(x), also called swish. */
export function silu<D extends DType>(x: Tensor<D>): Tensor<D>;
export function silu<D extends DType>(x: Tensor<D>, none?: undefined): Tensor<D> {
  checkNoOptions("silu", none);
  checkInput("silu", x);
  return apply.silu(x) as Tensor<D>;
}

/** x * tanh(softplus(x)). */
export function mish<D extends DType>(x: Tensor<D>): Tensor<D>;
export function mish<D extends DType>(x: Tensor<D>, none?: undefined): Tensor<D> {
  checkNoOptions("mish", none);
  checkInput("mish", x);
  return mul(x, tanh(apply.softplus(x, 1, 40)));
}

/** log(1 + exp(beta x)) / beta, and x itself where beta x > threshold; beta is 1, threshold 20 by default. */
export function softplus<D extends DType>(
  x: Tensor<D>,
  options: { beta?: number; threshold?: number } = {},
): Tensor<D> {
  checkInput("softplus", x);
  checkOptions("softplus", options, ["beta", "threshold"]);
  const beta = checkNumber("softplus", "beta", options.beta ?? 1);
  if (beta === 0) throw new ArgumentError("softplus: beta must not be 0, the result is divided by it");
  return apply.softplus(x, beta, checkNumber("softplus", "threshold", options.threshold ?? 20)) as Tensor<D>;
}

/** x / (1 + |x|). */
export function softsign<D extends DType>(x: Tensor<D>): Tensor<D>;
export function softsign<D extends DType>(x: Tensor<D>, none?: undefined): Tensor<D> {
  checkNoOptions("softsign", none);
  checkInput("softsign", x);
  return div(x, add(abs(x), 1));
}

/** 1 / (1 + exp(-x)). Backward reads the output. */
export function sigmoid<D extends DType>(x: Tensor<D>): Tensor<D>;
export function sigmoid<D extends DType>(x: Tensor<D>, none?: undefined): Tensor<D> {
  checkNoOptions("sigmoid", none);
  checkInput("sigmoid", x);
  return apply.sigmoid(x) as Tensor<D>;
}

/** log(sigmoid(x)), without overflow. */
export function logSigmoid<D extends DType>(x: Tensor<D>): Tensor<D>;
export function logSigmoid<D extends DType>(x: Tensor<D>, none?: undefined): Tensor<D> {
  checkNoOptions("logSigmoid", none);
  checkInput("logSigmoid", x);
  return logSigmoidOp([x], undefined) as Tensor<D>;
}

/** The hyperbolic tangent. Backward reads the output. */
export function tanh<D extends DType>(x: Tensor<D>): Tensor<D>;
export function tanh<D extends DType>(x: Tensor<D>, none?: undefined): Tensor<D> {
  checkNoOptions("tanh", none);
  checkInput("tanh", x);
  return apply.tanh(x) as Tensor<D>;
}

/** x - tanh(x). */
export function tanhshrink<D extends DType>(x: Tensor<D>): Tensor<D>;
export function tanhshrink<D extends DType>(x: Tensor<D>, none?: undefined): Tensor<D> {
  checkNoOptions("tanhshrink", none);
  checkInput("tanhshrink", x);
  return sub(x, tanh(x));
}

/** min(max(x + 3, 0), 6) / 6. */
export function hardsigmoid<D extends DType>(x: Tensor<D>): Tensor<D>;
export function hardsigmoid<D extends DType>(x: Tensor<D>, none?: undefined): Tensor<D> {
  checkNoOptions("hardsigmoid", none);
  checkInput("hardsigmoid", x);
  return apply.hardSigmoid(x) as Tensor<D>;
}

/** x * hardsigmoid(x). */
export function hardswish<D extends DType>(x: Tensor<D>): Tensor<D>;
export function hardswish<D extends DType>(x: Tensor<D>, none?: undefined): Tensor<D> {
  checkNoOptions("hardswish", none);
  checkInput("hardswish", x);
  return apply.hardSwish(x) as Tensor<D>;
}

/** x where |x| > lambd (default 0.5), else 0. */
export function hardshrink<D extends DType>(x: Tensor<D>, options: { lambd?: number } = {}): Tensor<D> {
  checkInput("hardshrink", x);
  checkOptions("hardshrink", options, ["lambd"]);
  const lambd = checkNumber("hardshrink", "lambd", options.lambd ?? 0.5);
  return maskedFill(x, le(abs(x), lambd), 0);
}

/** x moved towards 0 by lambd (default 0.5, at least 0), and 0 within it. */
export function softshrink<D extends DType>(x: Tensor<D>, options: { lambd?: number } = {}): Tensor<D> {
  checkInput("softshrink", x);
  checkOptions("softshrink", options, ["lambd"]);
  const lambd = checkNumber("softshrink", "lambd", options.lambd ?? 0.5, 0);
  const moved = where(gt(x, 0), sub(x, lambd), add(x, lambd));
  return maskedFill(moved, le(abs(x), lambd), 0);
}

/** x above the threshold, else `value`. */
export function threshold<D extends DType>(x: Tensor<D>, above: number, value: number): Tensor<D> {
  checkInput("threshold", x);
  checkNumber("threshold", "above", above);
  checkNumber("threshold", "value", value);
  return maskedFill(x, le(x, above), value);
}

/**
 * The gated linear unit: a * sigmoid(b), where a and b are the halves of x in dimension `dim` (default -1).
 * @throws {ShapeError} if its size is odd
 */
export function glu<D extends DType>(x: Tensor<D>, dim: number = -1): Tensor<D> {
  checkInput("glu", x);
  if (x.rank === 0) throw new ShapeError("glu: x must have at least one dimension, but it is a scalar");
  const d = normalizeDim("glu", dim, x.rank);
  const size = x.shape[d]!;
  if (size % 2 !== 0) {
    throw new ShapeError(
      `glu: dimension ${dim} of x ${format(x.shape)} must have an even size to be halved, not ${size}`,
    );
  }
  return mul(narrow(x, d, 0, size / 2), sigmoid(narrow(x, d, size / 2, size / 2)));
}

declare module "../core/tensor.js" {
  interface Tensor<D extends DType = DType> {
    relu(): Tensor<D>;
    sigmoid(): Tensor<D>;
    tanh(): Tensor<D>;
  }
}

installMethods({ relu, sigmoid, tanh });
