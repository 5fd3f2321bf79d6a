import type { UnaryCode } from "../backend/abi.js";
import { type DType, isFloating } from "../core/dtype.js";
import { ArgumentError, DTypeError } from "../core/errors.js";
import { checkNoOptions, checkNumber, checkOptions } from "../core/options.js";
import { describe } from "../core/shape.js";
import { isTensor, named, type Tensor } from "../core/tensor.js";
import { defineOp, type GradContext, type Op, type Sample, type SampleInput } from "./define.js";
import { binary, filled, floating, unary } from "./kernel.js";
import { cast, sumTo } from "./view.js";

/** Arithmetic and elementary functions, element by element, with broadcasting. Gradients are summed back to each shape. */

/** An operand of arithmetic: numbers take the dtype of the tensor beside them. */
export type Operand = Tensor | number;

/**
 * @internal Two operands of one dtype. int32, uint8 and bool give way to a floating type beside them; float32 and float64 do not
 * mix silently. uint8 and bool compute as int32.
 */
export function promoted(name: string, a: Tensor, b: Tensor): [Tensor, Tensor] {
  if (a.dtype !== b.dtype) {
    if (isFloating(a.dtype) && isFloating(b.dtype)) {
      throw new DTypeError(
        `${name}: ${named("a", a)} and ${named("b", b)} must have the same dtype; convert one with .to("${a.dtype}")`,
      );
    }
    if (isFloating(a.dtype)) return [a, cast(b, a.dtype)];
    if (isFloating(b.dtype)) return [cast(a, b.dtype), b];
  } else if (isFloating(a.dtype)) {
    return [a, b];
  }
  return [cast(a, "int32"), cast(b, "int32")];
}

/** @internal */
export function isOperand(value: unknown): value is Operand {
  return typeof value === "number" || isTensor(value);
}

/** @internal A number as a scalar tensor that fits `beside` (a fraction beside integers makes both float32). */
export function scalarLike(value: number, beside: Tensor): Tensor {
  const dtype = isFloating(beside.dtype) ? beside.dtype : Number.isInteger(value) ? "int32" : "float32";
  return filled([], dtype, value);
}

/** @internal Both operands as tensors; refuses anything else, and two numbers. */
export function operands(name: string, a: unknown, b: unknown): [Tensor, Tensor] {
  if (!isOperand(a)) throw new ArgumentError(`${name}: a must be a tensor or a number, got ${describe(a)}`);
  if (!isOperand(b)) throw new ArgumentError(`${name}: b must be a tensor or a number, got ${describe(b)}`);
  const x = typeof a === "number" ? (typeof b === "number" ? filled([], "float32", a) : scalarLike(a, b)) : a;
  const y = typeof b === "number" ? scalarLike(b, x) : b;
  return promoted(name, x, y);
}

const pair = (low = 0.5, high = 2): readonly Sample<"a" | "b", undefined>[] => {
  const u =
    (shape: readonly number[]): SampleInput =>
    (r) =>
      r.uniform(shape, low, high);
  return [
    { inputs: { a: u([3, 4]), b: u([3, 4]) } },
    { inputs: { a: u([2, 1, 5]), b: u([3, 1]) } },
    { inputs: { a: u([]), b: u([7]) } },
    { inputs: { a: u([0, 3]), b: u([1, 3]) } },
  ];
};

const addOp = defineOp<"a" | "b">({
  name: "add",
  inputs: ["a", "b"],
  forward: ([a, b]) => binary("add", a!, b!),
  grad: { a: { formula: (c) => sumTo(c.dy, c.shape("a")) }, b: { formula: (c) => sumTo(c.dy, c.shape("b")) } },
  samples: () => pair(-1, 1),
  refusals: () => [
    {
      call: () => add(filled([2, 3], "float32", 0), filled([4], "float32", 0)),
      message: /add: shapes \[2, 3\] and \[4\] do not broadcast/,
    },
    { call: () => add(filled([2], "float32", 0), filled([2], "float64", 0)), message: /add: .*same dtype/ },
  ],
});

const subOp = defineOp<"a" | "b">({
  name: "sub",
  inputs: ["a", "b"],
  forward: ([a, b]) => binary("sub", a!, b!),
  grad: { a: { formula: (c) => sumTo(c.dy, c.shape("a")) }, b: { formula: (c) => neg(sumTo(c.dy, c.shape("b"))) } },
  samples: () => pair(-1, 1),
});

const mulOp = defineOp<"a" | "b">({
  name: "mul",
  inputs: ["a", "b"],
  forward: ([a, b]) => binary("mul", a!, b!),
  grad: {
    a: { reads: ["b"], formula: (c) => sumTo(mul(c.dy, c.input("b")), c.shape("a")) },
    b: { reads: ["a"], formula: (c) => sumTo(mul(c.dy, c.input("a")), c.shape("b")) },
  },
  samples: () => pair(-1, 1),
});

const divOp = defineOp<"a" | "b">({
  name: "div",
  inputs: ["a", "b"],
  forward: ([a, b]) => binary("div", a!, b!),
  grad: {
    a: { reads: ["b"], formula: (c) => sumTo(div(c.dy, c.input("b")), c.shape("a")) },
    b: {
      reads: ["a", "b"],
      formula: (c) => sumTo(neg(mul(c.dy, div(div(c.input("a"), c.input("b")), c.input("b")))), c.shape("b")),
    },
  },
  samples: () => pair(),
});

const addScalarOp = defineOp<"x", { value: number }>({
  name: "add_scalar",
  inputs: ["x"],
  forward: ([x], { value }) => unary("add_scalar", x!, value),
  grad: { x: { formula: (c) => c.dy } },
  samples: () => [{ inputs: { x: [2, 3] }, options: { value: 1.5 } }],
});

const mulScalarOp = defineOp<"x", { value: number }>({
  name: "mul_scalar",
  inputs: ["x"],
  forward: ([x], { value }) => unary("mul_scalar", x!, value),
  grad: { x: { formula: (c) => mulScalar(c.dy, c.options.value) } },
  samples: () => [{ inputs: { x: [2, 3] }, options: { value: -1.5 } }],
});

/** Whether a number can be an operand of x's own kernel without changing x's dtype. */
function fits(x: Tensor, value: number): boolean {
  return isFloating(x.dtype) || (x.dtype === "int32" && Number.isInteger(value) && Math.abs(value) < 2 ** 31);
}

function mulScalar<D extends DType>(x: Tensor<D>, value: number): Tensor<D> {
  return mulScalarOp([x], { value }) as Tensor<D>;
}

/** What `add` and `sub` take besides their operands. */
export interface AlphaOptions {
  /** A factor of b; default 1. */
  readonly alpha?: number;
}

/** @internal alpha * b; b itself without alpha. */
export function scaled(call: string, b: Operand, options: AlphaOptions): Operand {
  checkOptions(call, options, ["alpha"]);
  const alpha = checkNumber(call, "alpha", options.alpha ?? 1);
  if (alpha === 1) return b;
  return typeof b === "number" ? b * alpha : mul(b, alpha);
}

/**
 * a + b, broadcast against each other; with `{ alpha }` a + alpha b.
 * @throws {ShapeError} if the shapes do not broadcast; {DTypeError} for float32 beside float64
 */
export function add<D extends DType>(a: Tensor<D>, b: Tensor | number, options?: AlphaOptions): Tensor<D>;
export function add(a: Operand, b: Operand, options?: AlphaOptions): Tensor;
export function add(a: Operand, b: Operand, options?: AlphaOptions): Tensor {
  if (options !== undefined) return add(a, scaled("add", b, options));
  if (isTensor(a) && typeof b === "number" && fits(a, b)) return addScalarOp([a], { value: b });
  if (isTensor(b) && typeof a === "number" && fits(b, a)) return addScalarOp([b], { value: a });
  return addOp(operands("add", a, b), undefined);
}

/** a - b; with `{ alpha }` a - alpha b. */
export function sub<D extends DType>(a: Tensor<D>, b: Tensor | number, options?: AlphaOptions): Tensor<D>;
export function sub(a: Operand, b: Operand, options?: AlphaOptions): Tensor;
export function sub(a: Operand, b: Operand, options?: AlphaOptions): Tensor {
  if (options !== undefined) return sub(a, scaled("sub", b, options));
  if (isTensor(a) && typeof b === "number" && fits(a, b)) return addScalarOp([a], { value: -b });
  return subOp(operands("sub", a, b), undefined);
}

/** a * b. */
export function mul<D extends DType>(a: Tensor<D>, b: Tensor | number): Tensor<D>;
export function mul(a: Operand, b: Operand): Tensor;
export function mul(a: Operand, b: Operand, none?: undefined): Tensor {
  checkNoOptions("mul", none);
  if (isTensor(a) && typeof b === "number" && fits(a, b)) return mulScalarOp([a], { value: b });
  if (isTensor(b) && typeof a === "number" && fits(b, a)) return mulScalarOp([b], { value: a });
  return mulOp(operands("mul", a, b), undefined);
}

/** a / b; integers are divided as float32. Rounded quotients: `floorDivide`, or `trunc` of this. */
export function div<D extends DType>(a: Tensor<D>, b: Tensor | number): Tensor<D>;
export function div(a: Operand, b: Operand): Tensor;
export function div(a: Operand, b: Operand, none?: undefined): Tensor {
  checkNoOptions("div", none);
  const [x, y] = operands("div", a, b);
  return isFloating(x.dtype) ? divOp([x, y], undefined) : divOp([cast(x, "float32"), cast(y, "float32")], undefined);
}

interface UnaryDefinition {
  readonly reads: readonly ("x" | "output")[];
  readonly grad: ((c: GradContext<"x", undefined>) => Tensor | null) | null;
  readonly low?: number;
  readonly high?: number;
  readonly integers?: boolean;
}

/** One function of one tensor, y = f(x), with its derivative. `low` and `high` bound the samples. */
function defineUnary(name: UnaryCode, given: UnaryDefinition): <D extends DType>(x: Tensor<D>) => Tensor<D> {
  const { reads, grad, low = -2, high = 2, integers = false } = given;
  const op: Op<"x", undefined> = defineOp<"x", undefined>({
    name,
    inputs: ["x"],
    forward: ([x]) => unary(name, x!),
    ...(grad === null ? {} : { grad: { x: { reads, formula: grad } } }),
    samples: () => [
      { inputs: { x: (r) => r.uniform([3, 5], low, high) } },
      { inputs: { x: (r) => r.uniform([2, 70], low, high) } },
      { inputs: { x: (r) => r.uniform([], low, high) } },
      { inputs: { x: [0] } },
    ],
    refusals: () =>
      integers
        ? []
        : [{ call: () => call(filled([2], "int32", 1)), message: new RegExp(`${name}: .*float32 or float64`) }],
  });
  const call = <D extends DType>(x: Tensor<D>, none?: undefined): Tensor<D> => {
    checkNoOptions(name, none);
    if (!isTensor(x)) throw new ArgumentError(`${name}: x must be a tensor, got ${describe(x)}`);
    if (integers && x.dtype === "int32") return unary(name, x);
    floating(name, "x", x);
    return op([x], undefined) as Tensor<D>;
  };
  return call;
}

type Unary = <D extends DType>(x: Tensor<D>) => Tensor<D>;

/** The derivative of steps: 0, also times an infinite gradient. */
const flat = (c: GradContext<"x", undefined>): Tensor => filled(c.shape("x"), c.dy.dtype, 0);

/** -x. */
export const neg: Unary = defineUnary("neg", { reads: [], grad: (c) => neg(c.dy), integers: true });
/** |x|; the derivative at 0 is 0. */
export const abs: Unary = defineUnary("abs", {
  reads: ["x"],
  grad: (c) => mul(c.dy, sign(c.input("x"))),
  integers: true,
});
/** -1, 0 or 1; the derivative is 0. */
export const sign: Unary = defineUnary("sign", { reads: [], grad: flat, integers: true });
/** x * x. */
export const square: Unary = defineUnary("square", {
  reads: ["x"],
  grad: (c) => mul(c.dy, mul(c.input("x"), 2)),
  integers: true,
});
/** The square root; NaN below 0. */
export const sqrt: Unary = defineUnary("sqrt", {
  reads: ["output"],
  grad: (c) => div(c.dy, mul(c.output(), 2)),
  low: 0.3,
});
/** 1 / sqrt(x). */
export const rsqrt: Unary = defineUnary("rsqrt", {
  reads: ["output"],
  grad: (c) => mul(c.dy, mul(mul(square(c.output()), c.output()), -0.5)),
  low: 0.3,
});
/** 1 / x. */
export const reciprocal: Unary = defineUnary("reciprocal", {
  reads: ["output"],
  grad: (c) => neg(mul(c.dy, square(c.output()))),
  low: 0.3,
});
/** e to the power of x. */
export const exp: Unary = defineUnary("exp", { reads: ["output"], grad: (c) => mul(c.dy, c.output()) });
/** exp(x) - 1, accurate near 0. */
export const expm1: Unary = defineUnary("expm1", { reads: ["output"], grad: (c) => mul(c.dy, add(c.output(), 1)) });
/** The natural logarithm; -Infinity at 0, NaN below. */
export const log: Unary = defineUnary("log", { reads: ["x"], grad: (c) => div(c.dy, c.input("x")), low: 0.3 });
/** log(1 + x), accurate near 0. */
export const log1p: Unary = defineUnary("log1p", {
  reads: ["x"],
  grad: (c) => div(c.dy, add(c.input("x"), 1)),
  low: -0.5,
});
/** The logarithm to base 2. */
export const log2: Unary = defineUnary("log2", {
  reads: ["x"],
  grad: (c) => div(c.dy, mul(c.input("x"), Math.LN2)),
  low: 0.3,
});
/** The logarithm to base 10. */
export const log10: Unary = defineUnary("log10", {
  reads: ["x"],
  grad: (c) => div(c.dy, mul(c.input("x"), Math.LN10)),
  low: 0.3,
});
/** The sine; x in radians. */
export const sin: Unary = defineUnary("sin", { reads: ["x"], grad: (c) => mul(c.dy, cos(c.input("x"))) });
/** The cosine; x in radians. */
export const cos: Unary = defineUnary("cos", { reads: ["x"], grad: (c) => neg(mul(c.dy, sin(c.input("x")))) });
/** The tangent; x in radians. */
export const tan: Unary = defineUnary("tan", {
  reads: ["output"],
  grad: (c) => mul(c.dy, add(square(c.output()), 1)),
  low: -1,
  high: 1,
});
/** The angle whose sine is x, from -pi / 2 to pi / 2; NaN outside [-1, 1]. */
export const asin: Unary = defineUnary("asin", {
  reads: ["x"],
  grad: (c) => mul(c.dy, rsqrt(sub(1, square(c.input("x"))))),
  low: -0.8,
  high: 0.8,
});
/** The angle whose cosine is x, from 0 to pi; NaN outside [-1, 1]. */
export const acos: Unary = defineUnary("acos", {
  reads: ["x"],
  grad: (c) => neg(mul(c.dy, rsqrt(sub(1, square(c.input("x")))))),
  low: -0.8,
  high: 0.8,
});
/** The angle whose tangent is x, from -pi / 2 to pi / 2. */
export const atan: Unary = defineUnary("atan", { reads: ["x"], grad: (c) => div(c.dy, add(square(c.input("x")), 1)) });
/** The hyperbolic sine. */
export const sinh: Unary = defineUnary("sinh", { reads: ["x"], grad: (c) => mul(c.dy, cosh(c.input("x"))) });
/** The hyperbolic cosine. */
export const cosh: Unary = defineUnary("cosh", { reads: ["x"], grad: (c) => mul(c.dy, sinh(c.input("x"))) });
/** The error function. */
export const erf: Unary = defineUnary("erf", {
  reads: ["x"],
  grad: (c) => mul(c.dy, mul(exp(neg(square(c.input("x")))), 2 / Math.sqrt(Math.PI))),
});
/** Rounds down; the derivative of all rounding is 0. */
export const floor: Unary = defineUnary("floor", { reads: [], grad: flat });
/** Rounds up. */
export const ceil: Unary = defineUnary("ceil", { reads: [], grad: flat });
/** Rounds to the nearest, halves to even. */
export const round: Unary = defineUnary("round", { reads: [], grad: flat });
/** Rounds towards 0. */
export const trunc: Unary = defineUnary("trunc", { reads: [], grad: flat });
