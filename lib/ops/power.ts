import type { BinaryCode } from "../backend/abi.js";
import { type DType, isFloating } from "../core/dtype.js";
import { ArgumentError } from "../core/errors.js";
import { checkNumber, checkOptions } from "../core/options.js";
import { isTensor, type Tensor } from "../core/tensor.js";
import { clampBetween } from "./activation.js";
import { eq, ge, gt, logicalAnd, logicalOr, lt } from "./compare.js";
import { type Derivative, defineOp, type GradContext, type Op, type Sample, type SampleInput } from "./define.js";
import { binary, checkTensor, filled, floating, sameDType, unary } from "./kernel.js";
import { installMethods } from "./methods.js";
import {
  abs,
  add,
  div,
  exp,
  floor,
  log,
  log1p,
  mul,
  neg,
  type Operand,
  operands,
  round,
  sign,
  sqrt,
  square,
  sub,
  trunc,
} from "./pointwise.js";
import { cast, sumTo } from "./view.js";
import { where } from "./where.js";

/** Functions of two numbers beyond arithmetic: powers, extremes, remainders, angles, interpolation. */

type Pair = "a" | "b";

function pairSamples(low: number, high: number, gap = false): readonly Sample<Pair, undefined>[] {
  const u =
    (shape: readonly number[]): SampleInput =>
    (r) =>
      gap ? r.distinct(shape) : r.uniform(shape, low, high);
  return [
    { inputs: { a: u([3, 4]), b: (r) => r.uniform([3, 4], low, high) } },
    { inputs: { a: u([2, 1, 17]), b: (r) => r.uniform([3, 1], low, high) } },
    { inputs: { a: u([0, 3]), b: (r) => r.uniform([1, 3], low, high) } },
  ];
}

function definePair(
  name: BinaryCode,
  a: Derivative<Pair, undefined>,
  b: Derivative<Pair, undefined>,
  low: number,
  high: number,
  gap = false,
): Op<Pair, undefined> {
  return defineOp<Pair, undefined>({
    name,
    inputs: ["a", "b"],
    forward: ([p, q]) => binary(name, p!, q!),
    grad: { a, b },
    samples: () => pairSamples(low, high, gap),
  });
}

type Context = GradContext<Pair, undefined>;

const powOp: Op<Pair, undefined> = definePair(
  "pow",
  {
    // exponent base^(exponent - 1), and 0 for exponent 0, also at base 0.
    reads: ["a", "b"],
    formula: (c: Context) => {
      const [base, exponent] = [c.input("a"), c.input("b")];
      const flat = eq(exponent, 0);
      const slope = mul(exponent, pow(where(flat, 1, base), sub(exponent, 1)));
      return sumTo(where(flat, 0, mul(c.dy, slope)), c.shape("a"));
    },
  },
  {
    // base^exponent log(base), and 0 at base 0 unless the exponent is negative.
    reads: ["a", "b", "output"],
    formula: (c: Context) => {
      const [base, exponent] = [c.input("a"), c.input("b")];
      const flat = logicalAnd(eq(base, 0), ge(exponent, 0));
      const slope = mul(c.output(), log(where(flat, 1, base)));
      return sumTo(where(flat, 0, mul(c.dy, slope)), c.shape("b"));
    },
  },
  0.5,
  2,
);

const powScalarOp: Op<"x", { exponent: number }> = defineOp<"x", { exponent: number }>({
  name: "pow_scalar",
  inputs: ["x"],
  forward: ([x], { exponent }) => unary("pow_scalar", x!, exponent),
  grad: {
    x: {
      reads: ["x"],
      formula: (c) => {
        const { exponent } = c.options;
        if (exponent === 0) return mul(filled(c.shape("x"), c.dy.dtype, 0), c.dy);
        return mul(c.dy, mul(pow(c.input("x"), exponent - 1), exponent));
      },
    },
  },
  samples: () =>
    [2, 3, 0, 1, -1.5, 0.5].map((exponent) => ({
      inputs: { x: (r) => r.uniform([3, 5], 0.5, 2) },
      options: { exponent },
    })),
});

/**
 * base ** exponent. 0 ** 0 is 1, with gradient 0 for the base.
 * @throws {ArgumentError} if an integer base has a negative number as exponent
 */
export function pow<D extends DType>(base: Tensor<D>, exponent: Operand): Tensor<D>;

export function pow(base: Operand, exponent: Operand): Tensor;

export function pow(base: Operand, exponent: Operand): Tensor {
  if (isTensor(base) && typeof exponent === "number") {
    if (isFloating(base.dtype)) return powScalarOp([base], { exponent });
    if (Number.isInteger(exponent)) {
      if (exponent < 0) {
        throw new ArgumentError(
          `pow: an integer base cannot have the negative exponent ${exponent}; convert it with .to("float32")`,
        );
      }
      return unary("pow_scalar", cast(base, "int32"), exponent) as Tensor;
    }
  }
  return powOp(operands("pow", base, exponent), undefined);
}

/** Of a and b the larger's (or smaller's) gradient; equal ones share it. */
function extremeDerivative(own: Pair, isWorse: (a: Tensor, b: Tensor) => Tensor): Derivative<Pair, undefined> {
  return {
    reads: ["a", "b"],
    formula: (c: Context) => {
      const [a, b] = own === "a" ? [c.input("a"), c.input("b")] : [c.input("b"), c.input("a")];
      const shared = where(eq(a, b), mul(c.dy, 0.5), c.dy);
      return sumTo(where(isWorse(a, b), 0, shared), c.shape(own));
    },
  };
}

const maximumOp: Op<Pair, undefined> = definePair(
  "maximum",
  extremeDerivative("a", lt),
  extremeDerivative("b", lt),
  -1,
  1,
  true,
);

const minimumOp: Op<Pair, undefined> = definePair(
  "minimum",
  extremeDerivative("a", gt),
  extremeDerivative("b", gt),
  -1,
  1,
  true,
);

/** The larger of a and b, element by element; NaN wins. Where they are equal each gets half the gradient. */
export function maximum<D extends DType>(a: Tensor<D>, b: Operand): Tensor<D>;

export function maximum(a: Operand, b: Operand): Tensor;

export function maximum(a: Operand, b: Operand): Tensor {
  return maximumOp(operands("maximum", a, b), undefined);
}

/** The smaller of a and b, element by element; NaN wins. Where they are equal each gets half the gradient. */
export function minimum<D extends DType>(a: Tensor<D>, b: Operand): Tensor<D>;

export function minimum(a: Operand, b: Operand): Tensor;

export function minimum(a: Operand, b: Operand): Tensor {
  return minimumOp(operands("minimum", a, b), undefined);
}

const atan2Op: Op<Pair, undefined> = definePair(
  "atan2",
  {
    reads: ["a", "b"],
    formula: (c: Context) => {
      const [a, b] = [c.input("a"), c.input("b")];
      return sumTo(mul(c.dy, div(b, add(square(a), square(b)))), c.shape("a"));
    },
  },
  {
    reads: ["a", "b"],
    formula: (c: Context) => {
      const [a, b] = [c.input("a"), c.input("b")];
      return sumTo(neg(mul(c.dy, div(a, add(square(a), square(b))))), c.shape("b"));
    },
  },
  0.3,
  2,
);

/** The angle of the point (b, a), from -pi to pi. */
export function atan2<D extends DType>(a: Tensor<D>, b: Tensor<D>): Tensor<D> {
  const [y, x] = operands("atan2", a, b);
  if (!isFloating(y.dtype)) return atan2Op([cast(y, "float32"), cast(x, "float32")], undefined) as unknown as Tensor<D>;
  return atan2Op([y, x], undefined) as Tensor<D>;
}

function remainderDerivatives(
  whole: (t: Tensor) => Tensor,
): [Derivative<Pair, undefined>, Derivative<Pair, undefined>] {
  return [
    { formula: (c: Context) => sumTo(c.dy, c.shape("a")) },
    {
      reads: ["a", "b"],
      formula: (c: Context) => sumTo(neg(mul(c.dy, whole(div(c.input("a"), c.input("b"))))), c.shape("b")),
    },
  ];
}

const fmodOp: Op<Pair, undefined> = definePair("fmod", ...remainderDerivatives(trunc), 0.5, 2);

const remainderOp: Op<Pair, undefined> = definePair("remainder", ...remainderDerivatives(floor), 0.5, 2);

/** What remains of a after taking away whole multiples of b; it has the sign of a. */
export function fmod<D extends DType>(a: Tensor<D>, b: Operand): Tensor<D>;

export function fmod(a: Operand, b: Operand): Tensor;

export function fmod(a: Operand, b: Operand): Tensor {
  return fmodOp(operands("fmod", a, b), undefined);
}

/** What remains of a after taking away whole multiples of b; it has the sign of b. */
export function remainder<D extends DType>(a: Tensor<D>, b: Operand): Tensor<D>;

export function remainder(a: Operand, b: Operand): Tensor;

export function remainder(a: Operand, b: Operand): Tensor {
  return remainderOp(operands("remainder", a, b), undefined);
}

/** a / b rounded down, without gradients; integers stay integers (0 for a division by 0). */
export function floorDivide<D extends DType>(a: Tensor<D>, b: Operand): Tensor<D>;

export function floorDivide(a: Operand, b: Operand): Tensor;

export function floorDivide(a: Operand, b: Operand): Tensor {
  const [x, y] = operands("floorDivide", a, b).map((t) => t.detach()) as [Tensor, Tensor];
  const whole = binary("sub", x, binary("remainder", x, y, 0, 0, "floorDivide"));
  const quotient = binary("div", whole, y);
  if (!isFloating(x.dtype)) return quotient;
  // By an infinity whole is infinite or NaN: the quotient is 0, and -1 for opposite signs.
  const opposite = cast(lt(mul(sign(x), sign(y)), 0), x.dtype);
  const exact = where(eq(abs(y), Infinity), sub(div(x, y), opposite), div(x, y));
  return where(logicalOr(eq(y, 0), eq(abs(y), Infinity)), exact, round(quotient));
}

/**
 * start + weight (end - start); the weight is a number or a tensor.
 */
export function lerp<D extends DType>(start: Tensor<D>, end: Tensor<D>, weight: Operand): Tensor<D> {
  checkTensor("lerp", "start", start);
  checkTensor("lerp", "end", end);
  if (typeof weight !== "number") checkTensor("lerp", "weight", weight);
  sameDType("lerp", "start", start, "end", end);
  const distance = sub(end, start);
  // From the nearer end, so that weight 1 gives exactly `end`.
  if (typeof weight === "number") {
    return weight < 0.5 ? add(start, mul(distance, weight)) : sub(end, mul(distance, 1 - weight));
  }
  sameDType("lerp", "start", start, "weight", weight);
  return where(
    lt(weight, 0.5),
    add(start, mul(distance, weight)),
    sub(end, mul(distance, sub(1, weight) as Tensor<D>)),
  );
}

function readValue(call: string, options: { value?: number }): number {
  checkOptions(call, options, ["value"]);
  return checkNumber(call, "value", options.value ?? 1);
}

/** x + value * a * b; value is 1 by default. */
export function addcmul<D extends DType>(
  x: Tensor<D>,
  a: Tensor<D>,
  b: Tensor<D>,
  options: { value?: number } = {},
): Tensor<D> {
  return add(x, mul(mul(a, b), readValue("addcmul", options)));
}

/** x + value * a / b; value is 1 by default. */
export function addcdiv<D extends DType>(
  x: Tensor<D>,
  a: Tensor<D>,
  b: Tensor<D>,
  options: { value?: number } = {},
): Tensor<D> {
  return add(x, mul(div(a, b), readValue("addcdiv", options)));
}

function checkPair(call: string, a: unknown, b: unknown): void {
  checkTensor(call, "a", a);
  checkTensor(call, "b", b);
  sameDType(call, "a", a, "b", b);
}

/** sqrt(a² + b²). */
export function hypot<D extends DType>(a: Tensor<D>, b: Tensor<D>): Tensor<D> {
  checkPair("hypot", a, b);
  return sqrt(add(square(a), square(b)));
}

/** log(exp(a) + exp(b)), without overflow. */
export function logaddexp<D extends DType>(a: Tensor<D>, b: Tensor<D>): Tensor<D> {
  checkPair("logaddexp", a, b);
  const same = logicalAnd(eq(a, b), eq(abs(a), Infinity)); // inf - inf would be NaN
  const distance = where(same, 0, sub(a, b)) as Tensor<D>;
  return add(where(gt(a, b), a, b), log1p(exp(neg(abs(distance)))));
}

/** 2 to the power of x. */
export function exp2<D extends DType>(x: Tensor<D>): Tensor<D> {
  checkTensor("exp2", "x", x);
  floating("exp2", "x", x);
  return pow(2, x) as Tensor<D>;
}

/** x - trunc(x). */
export function frac<D extends DType>(x: Tensor<D>): Tensor<D> {
  return sub(x, trunc(x));
}

/** log(x / (1 - x)); with `eps` x is first brought into [eps, 1 - eps]. */
export function logit<D extends DType>(x: Tensor<D>, options: { eps?: number } = {}): Tensor<D> {
  checkTensor("logit", "x", x);
  floating("logit", "x", x);
  checkOptions("logit", options, ["eps"]);
  if (options.eps === undefined) return log(div(x, sub(1, x) as Tensor<D>));
  const eps = checkNumber("logit", "eps", options.eps, 0, 0.5);
  const bounded = clampBetween(x, eps, 1 - eps) as Tensor<D>;
  return log(div(bounded, sub(1, bounded) as Tensor<D>));
}

declare module "../core/tensor.js" {
  interface Tensor<D extends DType = DType> {
    pow(exponent: Operand): Tensor<D>;
    maximum(other: Operand): Tensor<D>;
    minimum(other: Operand): Tensor<D>;
    atan2(other: Tensor<D>): Tensor<D>;
    fmod(other: Operand): Tensor<D>;
    remainder(other: Operand): Tensor<D>;
    floorDivide(other: Operand): Tensor<D>;
    lerp(end: Tensor<D>, weight: Operand): Tensor<D>;
    addcmul(a: Tensor<D>, b: Tensor<D>, options?: { value?: number }): Tensor<D>;
    addcdiv(a: Tensor<D>, b: Tensor<D>, options?: { value?: number }): Tensor<D>;
  }
}

installMethods({ pow, maximum, minimum, atan2, fmod, remainder, floorDivide, lerp, addcmul, addcdiv });
