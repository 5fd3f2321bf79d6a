import {
  type BinaryCode,
  binaryCodes,
  type CompareCode,
  compareCodes,
  maxRank,
  type UnaryCode,
  unaryCodes,
} from "../backend/abi.js";
import { run } from "../backend/run.js";
import { type DType, isFloating, typeCode } from "../core/dtype.js";
import { ArgumentError, DTypeError, ShapeError } from "../core/errors.js";
import { broadcastShapes, broadcastStrides, describe, numel, type Shape, sameShape } from "../core/shape.js";
import { empty, isTensor, named, type Tensor } from "../core/tensor.js";

/** Calls of the general kernels (fill, copy, unary, binary, compare), which most ops are made of. */

/** A list of kRank numbers; what lies past the rank is not read. */
export function ranked(values: readonly number[]): number[] {
  const out = values.slice();
  while (out.length < maxRank) out.push(0);
  return out;
}

const numbers = <T extends string>(names: readonly T[]): Record<T, number> =>
  Object.fromEntries(names.map((name, i) => [name, i])) as Record<T, number>;
const unaryNumber = numbers(unaryCodes);
const binaryNumber = numbers(binaryCodes);
const compareNumber = numbers(compareCodes);

export function filled<D extends DType>(shape: Shape, dtype: D, value: number): Tensor<D> {
  const y = empty(shape, dtype);
  run("fill", dtype, [numel(shape), value], [y]);
  return y;
}

/** Copies values of `from`, read with the given strides, into the window `to`; converts between types. */
export function copyInto(to: Tensor, from: Tensor, fromStrides: readonly number[] = from.strides): void {
  run(
    "copy",
    to.dtype,
    [typeCode(from.dtype), to.shape.length, ...ranked(to.shape), ...ranked(fromStrides), ...ranked(to.strides)],
    [from, to],
  );
}

/** `t` itself if its elements lie in row-major order, else a copy that does. */
export function contiguous<D extends DType>(t: Tensor<D>): Tensor<D> {
  return t.isContiguous() ? t : copied(t);
}

/** A copy with memory of its own. */
export function copied<D extends DType>(t: Tensor<D>): Tensor<D> {
  const y = empty(t.shape, t.dtype);
  copyInto(y, t);
  return y;
}

/** A copy as another element type. */
export function converted<D extends DType>(t: Tensor, dtype: D): Tensor<D> {
  const y = empty(t.shape, dtype);
  copyInto(y, t);
  return y;
}

/** y = f(x; p0, p1) elementwise, for floating and int32 tensors. */
export function unary<D extends DType>(op: UnaryCode, x: Tensor<D>, p0 = 0, p1 = 0): Tensor<D> {
  const y = empty(x.shape, x.dtype);
  unaryInto(op, contiguous(x), y, p0, p1);
  return y;
}

/** Like `unary` of a contiguous x, written into `y`, which is contiguous and may be x. */
export function unaryInto(op: UnaryCode, x: Tensor, y: Tensor, p0 = 0, p1 = 0): void {
  run("unary", x.dtype, [unaryNumber[op], numel(x.shape), p0, p1], [x, y]);
}

/** y = f(a, b; p0, p1) elementwise after broadcasting. */
export function binary<D extends DType>(
  op: BinaryCode,
  a: Tensor<D>,
  b: Tensor<D>,
  p0 = 0,
  p1 = 0,
  name: string = op,
): Tensor<D> {
  const shape = broadcastShapes(name, a.shape, b.shape);
  const y = empty(shape, a.dtype);
  run("binary", a.dtype, binarySizes(binaryNumber[op], shape, a, b, p0, p1), [a, b, y]);
  return y;
}

/** Like `binary`, written into `y`, which is contiguous and may be an operand that has the same shape. */
export function binaryInto(op: BinaryCode, a: Tensor, b: Tensor, y: Tensor, p0 = 0): void {
  run("binary", a.dtype, binarySizes(binaryNumber[op], y.shape, a, b, p0, 0), [a, b, y]);
}

export function comparison(op: CompareCode, a: Tensor, b: Tensor, name: string = op): Tensor<"bool"> {
  const shape = broadcastShapes(name, a.shape, b.shape);
  const y = empty(shape, "bool");
  run("compare", a.dtype, binarySizes(compareNumber[op], shape, a, b, 0, 0), [a, b, y]);
  return y;
}

function binarySizes(op: number, shape: Shape, a: Tensor, b: Tensor, p0: number, p1: number): number[] {
  if (a.shape === shape && sameShape(b.shape, shape) && a.isContiguous() && b.isContiguous()) {
    // Row by row as it lies: one dimension of kRank.
    const n = numel(shape);
    return [op, 1, n, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, p0, p1];
  }
  const sizes = new Array<number>(2 + 3 * maxRank + 2).fill(0);
  sizes[0] = op;
  const aStrides = a.shape === shape ? a.strides : broadcastStrides(a.shape, a.strides, shape);
  const bStrides = b.shape === shape ? b.strides : broadcastStrides(b.shape, b.strides, shape);
  sizes[1] = shape.length;
  for (let i = 0; i < shape.length; i++) {
    sizes[2 + i] = shape[i]!;
    sizes[2 + maxRank + i] = aStrides[i]!;
    sizes[2 + 2 * maxRank + i] = bStrides[i]!;
  }
  sizes[2 + 3 * maxRank] = p0;
  sizes[3 + 3 * maxRank] = p1;
  return sizes;
}

/** Refuses what is not a tensor. */
export function checkTensor(call: string, argument: string, value: unknown): asserts value is Tensor {
  if (!isTensor(value)) throw new ArgumentError(`${call}: ${argument} must be a tensor, got ${describe(value)}`);
}

/** Refuses two tensors of different types: xcorr never promotes one silently. */
export function sameDType(name: string, aName: string, a: Tensor, bName: string, b: Tensor): void {
  if (isTensor(a) && isTensor(b) && a.dtype === b.dtype) return;
  checkTensor(name, aName, a);
  checkTensor(name, bName, b);
  if (a.dtype !== b.dtype) {
    throw new DTypeError(
      `${name}: ${named(aName, a)} and ${named(bName, b)} must have the same dtype; convert one with .to(${JSON.stringify(a.dtype)})`,
    );
  }
}

/** Refuses a tensor that is not floating. */
export function floating(name: string, argument: string, t: Tensor): void {
  checkTensor(name, argument, t);
  if (!isFloating(t.dtype)) {
    throw new DTypeError(`${name}: ${named(argument, t)} must be float32 or float64; convert it with .to("float32")`);
  }
}

/** Refuses a tensor of the wrong rank. */
export function ofRank(name: string, argument: string, t: Tensor, rank: number, layout: string): void {
  checkTensor(name, argument, t);
  if (t.shape.length !== rank) {
    throw new ShapeError(
      `${name}: ${argument} must have ${rank} dimensions ${layout}, but it is ${named("", t).trim()}`,
    );
  }
}

/** The three sizes [outer, count, inner] of a contiguous shape around dimension `dim`. */
export function around(shape: Shape, dim: number): { outer: number; count: number; inner: number } {
  return { outer: numel(shape.slice(0, dim)), count: shape[dim] ?? 1, inner: numel(shape.slice(dim + 1)) };
}
