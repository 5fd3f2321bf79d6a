/** The scalar functions behind unary and binary, computed in float64; notes on each are in native/abi.h. */

import type { BinaryCode, UnaryCode } from "../backend/abi.js";
import { erf, erfc } from "./special.js";

type UnaryFunction = (x: number, p0: number, p1: number) => number;
type BinaryFunction = (a: number, b: number, p0: number, p1: number) => number;

function roundHalfToEven(x: number): number {
  if (!(Math.abs(x) < 2 ** 52)) return x; // an integer already, or NaN
  // From 2^52 on float64 has no fractions, so the sum is rounded as float64 always rounds: half to even.
  const rounded = Math.abs(x) + 2 ** 52 - 2 ** 52;
  return x < 0 || Object.is(x, -0) ? -rounded : rounded;
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** Distribution function of the standard normal; erfc because 1 + erf would cancel for x < 0. */
const normalBelow = (x: number): number => 0.5 * erfc(-x * Math.SQRT1_2);
const normalDensity = (x: number): number => Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);

// 0.5 (1 + tanh u) = sigmoid(2u), which does not cancel for u < 0.
const tanhGeluScale = 2 * Math.sqrt(2 / Math.PI);
const tanhGeluCubic = 0.044715;
const tanhGeluGate = (x: number): number => sigmoid(tanhGeluScale * (x + tanhGeluCubic * x * x * x));

function clamp(x: number, lowest: number, highest: number): number {
  return Math.min(Math.max(x, lowest), highest);
}

/** The nearest integer towards 0 within [lowest, highest]; 0 for NaN. */
export function saturate(x: number, lowest: number, highest: number): number {
  return Number.isNaN(x) ? 0 : Math.trunc(clamp(x, lowest, highest));
}

/** C's pow, which differs from Math.pow in pow(1, anything) and pow(-1, +-inf): both are 1. */
function power(base: number, exponent: number): number {
  if (base === 1 || (base === -1 && Math.abs(exponent) === Infinity)) return 1;
  return base ** exponent;
}

/** Sign of the divisor, PyTorch's remainder; fmod (JavaScript's %) has the sign of the dividend. */
function remainder(a: number, b: number): number {
  const rest = a % b;
  return rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest;
}

export const unaryFunctions: Record<UnaryCode, UnaryFunction> = {
  neg: (x) => -x,
  abs: Math.abs,
  sign: (x) => (x > 0 ? 1 : x < 0 ? -1 : 0),
  square: (x) => x * x,
  sqrt: Math.sqrt,
  rsqrt: (x) => 1 / Math.sqrt(x),
  reciprocal: (x) => 1 / x,
  exp: Math.exp,
  expm1: Math.expm1,
  log: Math.log,
  log1p: Math.log1p,
  log2: Math.log2,
  log10: Math.log10,
  sin: Math.sin,
  cos: Math.cos,
  tan: Math.tan,
  asin: Math.asin,
  acos: Math.acos,
  atan: Math.atan,
  sinh: Math.sinh,
  cosh: Math.cosh,
  tanh: Math.tanh,
  sigmoid,
  erf,
  floor: Math.floor,
  ceil: Math.ceil,
  round: roundHalfToEven,
  trunc: Math.trunc,
  relu: (x) => Math.max(x, 0),
  leaky_relu: (x, slope) => (x > 0 ? x : x * slope),
  elu: (x, alpha) => (x > 0 ? x : alpha * Math.expm1(x)),
  gelu: (x) => x * normalBelow(x),
  gelu_tanh: (x) => x * tanhGeluGate(x),
  silu: (x) => x * sigmoid(x),
  softplus: (x, beta, threshold) => (x * beta > threshold ? x : Math.log1p(Math.exp(x * beta)) / beta),
  log_sigmoid: (x) => Math.min(x, 0) - Math.log1p(Math.exp(-Math.abs(x))),
  clamp,
  hard_sigmoid: (x) => clamp(x + 3, 0, 6) / 6,
  hard_swish: (x) => (x * clamp(x + 3, 0, 6)) / 6,
  add_scalar: (x, p0) => x + p0,
  mul_scalar: (x, p0) => x * p0,
  pow_scalar: power,
  is_nan: (x) => (Number.isNaN(x) ? 1 : 0),
  is_finite: (x) => (Number.isFinite(x) ? 1 : 0),
};

export const binaryFunctions: Record<BinaryCode, BinaryFunction> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  pow: power,
  maximum: (a, b) => Math.max(a, b),
  minimum: (a, b) => Math.min(a, b),
  atan2: Math.atan2,
  fmod: (a, b) => a % b,
  remainder,
  relu_grad: (dy, y) => (y > 0 ? dy : 0),
  leaky_relu_grad: (dy, x, slope) => (x > 0 ? dy : dy * slope),
  elu_grad: (dy, x, alpha) => (x > 0 ? dy : dy * alpha * Math.exp(x)),
  gelu_grad: (dy, x) => dy * (normalBelow(x) + x * normalDensity(x)),
  gelu_tanh_grad: (dy, x) => {
    const gate = tanhGeluGate(x);
    return dy * (gate + x * gate * (1 - gate) * tanhGeluScale * (1 + 3 * tanhGeluCubic * x * x));
  },
  silu_grad: (dy, x) => dy * sigmoid(x) * (1 + x * (1 - sigmoid(x))),
  sigmoid_grad: (dy, y) => dy * y * (1 - y),
  tanh_grad: (dy, y) => dy * (1 - y * y),
  softplus_grad: (dy, x, beta, threshold) => (x * beta > threshold ? dy : dy * sigmoid(x * beta)),
  clamp_grad: (dy, x, lowest, highest) => (x >= lowest && x <= highest ? dy : 0),
  hard_sigmoid_grad: (dy, x) => (x > -3 && x < 3 ? dy / 6 : 0),
  hard_swish_grad: (dy, x) => (x <= -3 ? 0 : x >= 3 ? dy : dy * (x / 3 + 0.5)),
  add_scaled: (a, b, scale) => a + scale * b,
};

/** Wraps on overflow, as repeated int32 multiplication does; a negative exponent gives 1 / power, truncated. */
function integerPower(base: number, exponent: number): number {
  if (exponent < 0) return base === 1 ? 1 : base === -1 ? (exponent % 2 === 0 ? 1 : -1) : 0;
  let result = 1;
  let square = base;
  for (let rest = exponent; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) result = Math.imul(result, square);
    square = Math.imul(square, square);
  }
  return result;
}

/** A scalar as an integer: truncated; 0 if it is not finite. */
function whole(p: number): number {
  return Number.isFinite(p) ? Math.trunc(p) : 0;
}

/**
 * The functions with a meaning in int32 arithmetic, which wraps. Division truncates; by 0 it gives 0, and so do
 * fmod and remainder. int32 takes every other function from the tables above, truncated and saturated.
 */
export const integerUnaryFunctions: Partial<Record<UnaryCode, UnaryFunction>> = {
  neg: (x) => -x | 0,
  abs: (x) => Math.abs(x) | 0,
  square: (x) => Math.imul(x, x),
  reciprocal: (x) => (x === 1 || x === -1 ? x : 0),
  add_scalar: (x, p0) => (x + (whole(p0) | 0)) | 0,
  mul_scalar: (x, p0) => Math.imul(x, whole(p0)),
  pow_scalar: (x, p0) => integerPower(x, whole(p0)),
};

export const integerBinaryFunctions: Partial<Record<BinaryCode, BinaryFunction>> = {
  add: (a, b) => (a + b) | 0,
  sub: (a, b) => (a - b) | 0,
  mul: (a, b) => Math.imul(a, b),
  div: (a, b) => (b === 0 ? 0 : (a / b) | 0),
  pow: integerPower,
  fmod: (a, b) => (b === 0 ? 0 : a % b),
  remainder: (a, b) => (b === 0 ? 0 : remainder(a, b)),
  add_scaled: (a, b, scale) => (a + Math.imul(whole(scale), b)) | 0,
};
