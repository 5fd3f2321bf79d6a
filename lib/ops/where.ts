import { run } from "../backend/run.js";
import { type DType, isFloating } from "../core/dtype.js";
import { ArgumentError, DTypeError, ShapeError } from "../core/errors.js";
import { checkNumber, checkOptions } from "../core/options.js";
import { broadcastShapes, broadcastStrides, describe, format, sameShape } from "../core/shape.js";
import { empty, isTensor, named, type Tensor } from "../core/tensor.js";
import { eq, isfinite, isnan } from "./compare.js";
import { defineOp, type Op } from "./define.js";
import { checkTensor, filled, ranked } from "./kernel.js";
import { installMethods } from "./methods.js";
import { type Operand, operands } from "./pointwise.js";
import { cast, sumTo } from "./view.js";

/** Choosing elements by a mask. Gradients of what was not chosen are 0, never 0 * inf. */

const whereOp: Op<"condition" | "a" | "b", undefined> = defineOp<"condition" | "a" | "b", undefined>({
  name: "where",
  inputs: ["condition", "a", "b"],
  forward: ([condition, a, b]) => {
    const shape = broadcastShapes("where", broadcastShapes("where", a!.shape, b!.shape), condition!.shape);
    const y = empty(shape, a!.dtype);
    const strides = [condition!, a!, b!].map((t) => ranked(broadcastStrides(t.shape, t.strides, shape)));
    run("where", a!.dtype, [shape.length, ...ranked(shape), ...strides.flat()], [condition!, a!, b!, y]);
    return y;
  },
  grad: {
    a: { reads: ["condition"], formula: (c) => sumTo(where(c.input("condition"), c.dy, 0), c.shape("a")) },
    b: { reads: ["condition"], formula: (c) => sumTo(where(c.input("condition"), 0, c.dy), c.shape("b")) },
  },
  samples: () => {
    const mask = (shape: readonly number[]) => (r: { integers(s: readonly number[], l: number, h: number): Tensor }) =>
      cast(r.integers(shape, 0, 2), "bool");
    return [
      { inputs: { condition: mask([3, 4]), a: [3, 4], b: [3, 4] } },
      { inputs: { condition: mask([5, 1, 19]), a: [2, 1], b: [] } },
      { inputs: { condition: mask([1]), a: [2, 3], b: [3] } },
      { inputs: { condition: mask([0, 2]), a: [0, 2], b: [2] } },
    ];
  },
  refusals: () => [
    {
      call: () => where(filled([2], "float32", 1), filled([2], "float32", 1), 0),
      message: /where: condition .*bool/,
    },
    {
      call: () => where(filled([2], "bool", 1), filled([3], "float32", 1), 0),
      message: /where: shapes .* do not broadcast/,
    },
  ],
});

function checkMask(call: string, argument: string, mask: unknown): asserts mask is Tensor<"bool"> {
  checkTensor(call, argument, mask);
  if (mask.dtype !== "bool") {
    throw new DTypeError(`${call}: ${named(argument, mask)} must be bool; compare, or convert it with .to("bool")`);
  }
}

/** `a` where the condition (bool) holds, else `b`; all three broadcast. The gradient reaches only what was chosen. */
export function where<D extends DType>(condition: Tensor, a: Tensor<D>, b: Tensor<D> | number): Tensor<D>;
export function where<D extends DType>(condition: Tensor, a: number, b: Tensor<D>): Tensor<D>;
export function where(condition: Tensor, a: Operand, b: Operand): Tensor;
export function where(condition: Tensor, a: Operand, b: Operand): Tensor {
  checkMask("where", "condition", condition);
  // The kernel has no 8-bit numbers: they go through int32 and come back.
  const small = [a, b].find((t) => isTensor(t) && (t.dtype === "bool" || t.dtype === "uint8")) as Tensor | undefined;
  const result = whereOp([condition, ...operands("where", a, b)], undefined);
  const both = isTensor(a) && isTensor(b) ? a.dtype === b.dtype : small?.dtype === "uint8";
  return small !== undefined && both && !isFloating(result.dtype) ? cast(result, small.dtype) : result;
}

/** x with `value` (a number or a scalar tensor) where the mask, which broadcasts to x, is true. */
export function maskedFill<D extends DType>(x: Tensor<D>, mask: Tensor, value: Operand): Tensor<D> {
  checkTensor("maskedFill", "x", x);
  checkMask("maskedFill", "mask", mask);
  const shape = broadcastShapes("maskedFill", x.shape, mask.shape);
  if (!sameShape(shape, x.shape)) {
    throw new ShapeError(
      `maskedFill: mask ${format(mask.shape)} must broadcast to x ${format(x.shape)}, but has more elements`,
    );
  }
  if (isTensor(value) && value.rank !== 0) {
    throw new ShapeError(`maskedFill: value must be a number or a scalar tensor, got ${format(value.shape)}`);
  }
  if (!isTensor(value) && typeof value !== "number") {
    throw new ArgumentError(`maskedFill: value must be a number or a scalar tensor, got ${describe(value)}`);
  }
  const chosen: Tensor = isTensor(value) ? cast(value, x.dtype) : filled([], x.dtype, value);
  return where(mask, chosen, x) as Tensor<D>;
}

export interface NanToNumOptions {
  /** In place of NaN; default 0. */
  readonly nan?: number;
  /** In place of Infinity; default the largest number of the dtype. */
  readonly posinf?: number;
  /** In place of -Infinity; default the smallest number of the dtype. */
  readonly neginf?: number;
}

/** x with numbers in place of NaN and infinities, whose gradients are 0. */
export function nanToNum<D extends DType>(x: Tensor<D>, options: NanToNumOptions = {}): Tensor<D> {
  checkTensor("nanToNum", "x", x);
  checkOptions("nanToNum", options, ["nan", "posinf", "neginf"]);
  if (!isFloating(x.dtype)) return x;
  const largest = x.dtype === "float32" ? (2 - 2 ** -23) * 2 ** 127 : Number.MAX_VALUE;
  const nan = checkNumber("nanToNum", "nan", options.nan ?? 0);
  const posinf = checkNumber("nanToNum", "posinf", options.posinf ?? largest);
  const neginf = checkNumber("nanToNum", "neginf", options.neginf ?? -largest);
  const put = (mask: Tensor, value: number, other: Tensor): Tensor =>
    where(mask, filled([], x.dtype as DType, value), other);
  return where(
    isfinite(x),
    x as Tensor,
    put(isnan(x), nan, put(eq(x, Infinity), posinf, filled([], x.dtype as DType, neginf))),
  ) as Tensor<D>;
}

declare module "../core/tensor.js" {
  interface Tensor<D extends DType = DType> {
    /** This tensor where the condition holds, else `other`. */
    where(condition: Tensor, other: Operand): Tensor<D>;
    maskedFill(mask: Tensor, value: Operand): Tensor<D>;
    nanToNum(options?: NanToNumOptions): Tensor<D>;
  }
}

installMethods({
  where: (x: Tensor, condition: Tensor, other: Operand) => where(condition, x, other),
  maskedFill,
  nanToNum,
});
