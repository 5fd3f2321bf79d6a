import type { CompareCode } from "../backend/abi.js";
import type { DType } from "../core/dtype.js";
import { isFloating } from "../core/dtype.js";
import { checkNumber, checkOptions } from "../core/options.js";
import { sameShape } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import { binary, checkTensor, comparison, filled, unary } from "./kernel.js";
import { installMethods } from "./methods.js";
import { type Operand, operands, promoted } from "./pointwise.js";
import { cast } from "./view.js";

/** Comparisons and logic: bool results, no gradients. Numbers and tensors mix and broadcast as in arithmetic. */

function compared(name: string, op: CompareCode, a: Operand, b: Operand): Tensor<"bool"> {
  const [x, y] = operands(name, a, b);
  return comparison(op, x, y, name);
}

/** Whether a = b, element by element; NaN equals nothing. */
export function eq(a: Operand, b: Operand): Tensor<"bool"> {
  return compared("eq", "equal", a, b);
}
/** Whether a differs from b, element by element. */
export function ne(a: Operand, b: Operand): Tensor<"bool"> {
  return compared("ne", "not_equal", a, b);
}
/** Whether a < b, element by element. */
export function lt(a: Operand, b: Operand): Tensor<"bool"> {
  return compared("lt", "less", a, b);
}
/** Whether a <= b, element by element. */
export function le(a: Operand, b: Operand): Tensor<"bool"> {
  return compared("le", "less_equal", a, b);
}
/** Whether a > b, element by element. */
export function gt(a: Operand, b: Operand): Tensor<"bool"> {
  return compared("gt", "greater", a, b);
}
/** Whether a >= b, element by element. */
export function ge(a: Operand, b: Operand): Tensor<"bool"> {
  return compared("ge", "greater_equal", a, b);
}

/** 0 or 1 for whether elements are not zero (NaN is not), as int32, which the kernels compute with. */
function truth(call: string, argument: string, x: Tensor): Tensor<"int32"> {
  checkTensor(call, argument, x);
  return cast(x.dtype === "bool" ? x : cast(x, "bool"), "int32");
}

/** Whether both are not zero. */
export function logicalAnd(a: Tensor, b: Tensor): Tensor<"bool"> {
  return cast(binary("mul", truth("logicalAnd", "a", a), truth("logicalAnd", "b", b), 0, 0, "logicalAnd"), "bool");
}
/** Whether at least one is not zero. */
export function logicalOr(a: Tensor, b: Tensor): Tensor<"bool"> {
  return cast(binary("maximum", truth("logicalOr", "a", a), truth("logicalOr", "b", b), 0, 0, "logicalOr"), "bool");
}
/** Whether exactly one is not zero. */
export function logicalXor(a: Tensor, b: Tensor): Tensor<"bool"> {
  return comparison("not_equal", truth("logicalXor", "a", a), truth("logicalXor", "b", b), "logicalXor");
}
/** Whether an element is zero. */
export function logicalNot(x: Tensor): Tensor<"bool"> {
  return comparison("equal", truth("logicalNot", "x", x), filled([], "int32", 0));
}

/** Whether an element is NaN. */
export function isnan(x: Tensor): Tensor<"bool"> {
  checkTensor("isnan", "x", x);
  return isFloating(x.dtype) ? cast(unary("is_nan", x), "bool") : filled(x.shape, "bool", 0);
}
/** Whether an element is neither NaN nor infinite. */
export function isfinite(x: Tensor): Tensor<"bool"> {
  checkTensor("isfinite", "x", x);
  return isFloating(x.dtype) ? cast(unary("is_finite", x), "bool") : filled(x.shape, "bool", 1);
}
/** Whether an element is Infinity or -Infinity. */
export function isinf(x: Tensor): Tensor<"bool"> {
  checkTensor("isinf", "x", x);
  return isFloating(x.dtype)
    ? comparison("equal", unary("abs", x), filled([], x.dtype, Infinity))
    : filled(x.shape, "bool", 0);
}

export interface CloseOptions {
  /** Relative to |b|; default 1e-5. */
  readonly rtol?: number;
  /** Default 1e-8. */
  readonly atol?: number;
  /** Whether NaN is close to NaN; default false. */
  readonly equalNan?: boolean;
}

/** Whether |a - b| <= atol + rtol |b|, element by element; infinities are close to themselves only. */
export function isclose(a: Tensor, b: Tensor, options: CloseOptions = {}): Tensor<"bool"> {
  checkTensor("isclose", "a", a);
  checkTensor("isclose", "b", b);
  checkOptions("isclose", options, ["rtol", "atol", "equalNan"]);
  const rtol = checkNumber("isclose", "rtol", options.rtol ?? 1e-5, 0);
  const atol = checkNumber("isclose", "atol", options.atol ?? 1e-8, 0);
  const [p, q] = promoted("isclose", a, b);
  const x = isFloating(p.dtype) ? p : cast(p, "float64");
  const y = isFloating(q.dtype) ? q : cast(q, "float64");
  let close = comparison("equal", x, y);
  const allowed = unary("add_scalar", unary("mul_scalar", unary("abs", y), rtol), atol);
  const distance = unary("abs", binary("sub", x, y, 0, 0, "isclose"));
  close = logicalOr(close, logicalAnd(isfinite(distance), comparison("less_equal", distance, allowed)));
  // An infinite b would allow everything.
  close = logicalAnd(close, logicalOr(isfinite(y), comparison("equal", x, y)));
  return options.equalNan === true ? logicalOr(close, logicalAnd(isnan(x), isnan(y))) : close;
}

/** Whether all elements are close; see `isclose`. */
export function allclose(a: Tensor, b: Tensor, options: CloseOptions = {}): boolean {
  return isclose(a, b, options).data().every(Boolean);
}

/** Whether both have the same shape and equal elements (NaN equals nothing). */
export function equal(a: Tensor, b: Tensor): boolean {
  checkTensor("equal", "a", a);
  checkTensor("equal", "b", b);
  return sameShape(a.shape, b.shape) && eq(a, b).data().every(Boolean);
}

declare module "../core/tensor.js" {
  interface Tensor<D extends DType = DType> {
    eq(other: Operand): Tensor<"bool">;
    ne(other: Operand): Tensor<"bool">;
    lt(other: Operand): Tensor<"bool">;
    le(other: Operand): Tensor<"bool">;
    gt(other: Operand): Tensor<"bool">;
    ge(other: Operand): Tensor<"bool">;
    logicalAnd(other: Tensor): Tensor<"bool">;
    logicalOr(other: Tensor): Tensor<"bool">;
    logicalXor(other: Tensor): Tensor<"bool">;
    logicalNot(): Tensor<"bool">;
    isnan(): Tensor<"bool">;
    isfinite(): Tensor<"bool">;
    isinf(): Tensor<"bool">;
    isclose(other: Tensor, options?: CloseOptions): Tensor<"bool">;
    allclose(other: Tensor, options?: CloseOptions): boolean;
    equal(other: Tensor): boolean;
  }
}

installMethods({ eq, ne, lt, le, gt, ge, logicalAnd, logicalOr, logicalXor, logicalNot });
installMethods({ isnan, isfinite, isinf, isclose, allclose, equal });
