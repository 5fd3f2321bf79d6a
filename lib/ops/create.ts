import { isSharedArrayBuffer } from "node:util/types";
import { setRequiresGrad } from "../autograd/node.js";
import { isAttached, typedArrayName } from "../core/buffers.js";
import { bytesPerElement, type DType, isDType, isFloating, type TypedArray } from "../core/dtype.js";
import { ArgumentError, DTypeError, ShapeError } from "../core/errors.js";
import { checkNumber, checkOptions } from "../core/options.js";
import { checkShape, contiguousStrides, describe, format, numel, type Shape } from "../core/shape.js";
import { foreignBlock } from "../core/memory.js";
import { Storage } from "../core/storage.js";
import { empty, isTensor, type NestedList, Tensor } from "../core/tensor.js";
import { filled } from "./kernel.js";

/** How a new tensor is to be; every factory takes these last. */
export interface CreateOptions<D extends DType = DType> {
  /** Default float32 (for `tensor`: bool for booleans, and the kind of a typed array). */
  readonly dtype?: D;
  /** Whether operations on it record derivatives. Default false; floating types only. */
  readonly requiresGrad?: boolean;
}

const known = ["dtype", "requiresGrad"];

/** @internal Reads create options; the dtype falls back to `fallback`. */
export function createOptions<D extends DType>(
  call: string,
  options: CreateOptions<D>,
  fallback: DType,
  more: readonly string[] = [],
): D {
  checkOptions(call, options, [...known, ...more]);
  const dtype = options.dtype ?? fallback;
  if (!isDType(dtype)) {
    throw new DTypeError(
      `${call}: dtype must be "float32", "float64", "int32", "uint8" or "bool", got ${describe(dtype)}`,
    );
  }
  return dtype as D;
}

/** @internal */
export function finish<D extends DType>(t: Tensor<D>, options: CreateOptions<D>): Tensor<D> {
  if (options.requiresGrad) setRequiresGrad(t, true);
  return t;
}

const typedArrays: Readonly<Record<string, DType>> = {
  Float32Array: "float32",
  Float64Array: "float64",
  Int32Array: "int32",
  Uint8Array: "uint8",
  Uint8ClampedArray: "uint8",
};

/** The element type that a typed array's values are kept in. It may come from another realm. */
function dtypeOf(array: object): DType {
  const kind = typedArrayName(array) ?? describe(array);
  const dtype = Object.hasOwn(typedArrays, kind) ? typedArrays[kind] : undefined;
  if (dtype === undefined) {
    throw new DTypeError(
      `tensor: a ${kind} has no dtype here; give a Float32Array, Float64Array, Int32Array or Uint8Array, or a list`,
    );
  }
  if (!isAttached(array)) {
    throw new ArgumentError(
      `tensor: the buffer of the ${kind} was detached (sent to another thread, say), or shrunk below it; give a copy`,
    );
  }
  return dtype;
}

/** The shape of nested lists, or an error that names the first ragged one. */
function shapeOf(list: unknown): number[] {
  const shape: number[] = [];
  for (let level = list; Array.isArray(level); level = level[0]) {
    shape.push(level.length);
    if (shape.length > 8) throw new ShapeError("tensor: lists are nested deeper than 8 levels");
  }
  return shape;
}

function fill(list: unknown, shape: Shape, depth: number, to: TypedArray, at: number, path: string): number {
  if (depth === shape.length) {
    if (typeof list !== "number" && typeof list !== "boolean") {
      if (Array.isArray(list)) throw new ShapeError(`tensor: data${path} is a list, but its neighbours are numbers`);
      throw new ArgumentError(`tensor: data${path} must be a number, got ${describe(list)}`);
    }
    to[at] = Number(list);
    return at + 1;
  }
  if (!Array.isArray(list) || list.length !== shape[depth]) {
    const came = Array.isArray(list) ? `has ${list.length} entries` : `is ${describe(list)}`;
    throw new ShapeError(
      `tensor: the lists are ragged: data${path} ${came}, but data${path.replace(/\d+\]$/, "0]")} has ${shape[depth]}`,
    );
  }
  for (let i = 0; i < list.length; i++) at = fill(list[i], shape, depth + 1, to, at, `${path}[${i}]`);
  return at;
}

/** Create options of `tensor`, which also takes a shape. */
export interface TensorOptions<D extends DType = DType> extends CreateOptions<D> {
  /** The shape; default that of the nested lists, or one dimension for a typed array. Its size must fit the data. */
  readonly shape?: Shape;
}

type DefaultOf<T> = T extends Float64Array
  ? "float64"
  : T extends Int32Array
    ? "int32"
    : T extends Uint8Array | Uint8ClampedArray
      ? "uint8"
      : T extends boolean
        ? "bool"
        : "float32";

/**
 * A tensor with a copy of the given values: a number, nested lists, or a typed array.
 * @throws {ShapeError} if lists are ragged or `shape` does not hold as many values; {DTypeError} for a typed array that
 *   is of no dtype (int64, half precision, ...)
 */
export function tensor<T extends NestedList | TypedArray | Uint8ClampedArray, D extends DType = DefaultOf<T>>(
  data: T,
  options: TensorOptions<D> = {},
): Tensor<D> {
  const typed = ArrayBuffer.isView(data) ? (data as unknown as TypedArray) : null;
  let found: readonly number[];
  let fallback: DType = "float32";
  if (typed !== null) {
    fallback = dtypeOf(typed);
    found = [typed.length];
  } else if (typeof data === "number" || typeof data === "boolean" || Array.isArray(data)) {
    found = shapeOf(data);
    let first: unknown = data;
    while (Array.isArray(first)) first = first[0];
    if (typeof first === "boolean") fallback = "bool";
  } else if (isTensor(data)) {
    throw new ArgumentError("tensor: the data is a tensor already; use clone() for a copy or detach() for a constant");
  } else {
    throw new ArgumentError(
      `tensor: data must be a number, nested lists of numbers or a typed array, got ${describe(data)}`,
    );
  }
  const dtype = createOptions<D>("tensor", options, fallback, ["shape"]);
  const shape = options.shape === undefined ? checkShape("tensor", found) : checkShape("tensor", options.shape);
  if (numel(shape) !== numel(found)) {
    throw new ShapeError(
      `tensor: shape ${format(shape)} takes ${numel(shape)} values, but the data ${format(found)} has ${numel(found)}`,
    );
  }
  const t = empty(shape, dtype);
  const array = t.storage.array(dtype);
  if (typed !== null) {
    if (dtype === "bool") for (let i = 0; i < typed.length; i++) array[i] = typed[i] !== 0 ? 1 : 0;
    else array.set(typed);
  } else {
    fill(data, found, 0, array, 0, "");
    if (dtype === "bool") for (let i = 0; i < numel(shape); i++) array[i] = array[i] !== 0 ? 1 : 0;
  }
  return finish(t, options);
}

/** A tensor over shared memory, without a copy: threads that hold the same buffer see the same values. */
export function fromShared<D extends DType>(
  buffer: SharedArrayBuffer,
  shape: Shape,
  options: CreateOptions<D> & { byteOffset?: number } = {},
): Tensor<D> {
  const dtype = createOptions<D>("fromShared", options, "float32", ["byteOffset"]);
  if (!isSharedArrayBuffer(buffer))
    throw new ArgumentError(`fromShared: needs a SharedArrayBuffer, got ${describe(buffer)}`);
  const sizes = checkShape("fromShared", shape);
  const byteOffset = options.byteOffset ?? 0;
  const bytes = numel(sizes) * bytesPerElement(dtype);
  if (
    !Number.isInteger(byteOffset) ||
    byteOffset < 0 ||
    byteOffset % bytesPerElement(dtype) !== 0 ||
    byteOffset + bytes > buffer.byteLength
  ) {
    throw new ShapeError(
      `fromShared: shape ${format(sizes)} ${dtype} at byte ${byteOffset} needs ${bytes} bytes (at a multiple of the element size), but the buffer has ${buffer.byteLength}`,
    );
  }
  const storage = new Storage(bytes, foreignBlock(new Uint8Array(buffer, byteOffset, bytes)));
  return finish(new Tensor(dtype, sizes, contiguousStrides(sizes), 0, storage), options);
}

/** All elements `value`. */
export function full<D extends DType = "float32">(
  shape: Shape,
  value: number | boolean,
  options: CreateOptions<D> = {},
): Tensor<D> {
  const dtype = createOptions<D>("full", options, "float32");
  if (typeof value !== "number" && typeof value !== "boolean")
    throw new ArgumentError(`full: value must be a number, got ${describe(value)}`);
  if (!isFloating(dtype) && dtype !== "bool") {
    const [least, most] = dtype === "uint8" ? [0, 255] : [-(2 ** 31), 2 ** 31 - 1];
    checkNumber("full", `value for ${dtype}`, Number(value), least, most);
  }
  return finish(filled(checkShape("full", shape), dtype, Number(value)), options);
}

/** Zeros of a shape. */
export function zeros<D extends DType = "float32">(shape: Shape, options: CreateOptions<D> = {}): Tensor<D> {
  const dtype = createOptions<D>("zeros", options, "float32");
  return finish(filled(checkShape("zeros", shape), dtype, 0), options);
}

/** Ones of a shape. */
export function ones<D extends DType = "float32">(shape: Shape, options: CreateOptions<D> = {}): Tensor<D> {
  const dtype = createOptions<D>("ones", options, "float32");
  return finish(filled(checkShape("ones", shape), dtype, 1), options);
}

function checkLike(call: string, t: unknown, options: unknown): void {
  if (!isTensor(t)) throw new ArgumentError(`${call}: needs a tensor, got ${describe(t)}`);
  checkOptions(call, options, known);
}

/** Zeros with the shape and dtype of `t`. */
export function zerosLike<D extends DType>(t: Tensor<D>, options: CreateOptions<D> = {}): Tensor<D> {
  checkLike("zerosLike", t, options);
  return zeros(t.shape, { ...options, dtype: options.dtype ?? t.dtype });
}

/** Ones with the shape and dtype of `t`. */
export function onesLike<D extends DType>(t: Tensor<D>, options: CreateOptions<D> = {}): Tensor<D> {
  checkLike("onesLike", t, options);
  return ones(t.shape, { ...options, dtype: options.dtype ?? t.dtype });
}

/** Elements equal to `value`, with the shape and dtype of `t`. */
export function fullLike<D extends DType>(
  t: Tensor<D>,
  value: number | boolean,
  options: CreateOptions<D> = {},
): Tensor<D> {
  checkLike("fullLike", t, options);
  return full(t.shape, value, { ...options, dtype: options.dtype ?? t.dtype });
}

/**
 * Numbers from `start` (default 0) up to, not including, `end`, in steps of `step` (default 1):
 * ceil((end - start) / step) of them.
 */
export function arange<D extends DType = "float32">(end: number, options?: CreateOptions<D>): Tensor<D>;
export function arange<D extends DType = "float32">(start: number, end: number, options?: CreateOptions<D>): Tensor<D>;
export function arange<D extends DType = "float32">(
  start: number,
  end: number,
  step: number,
  options?: CreateOptions<D>,
): Tensor<D>;
export function arange<D extends DType = "float32">(...given: (number | CreateOptions<D> | undefined)[]): Tensor<D> {
  const last = given.at(-1);
  const options = (typeof last === "object" ? given.pop() : {}) as CreateOptions<D>;
  const parts = given.filter((g) => g !== undefined);
  const [start, end, step] = parts.length === 1 ? [0, parts[0], 1] : [parts[0], parts[1], parts[2] ?? 1];
  for (const v of [start, end, step]) {
    if (typeof v !== "number" || !Number.isFinite(v))
      throw new ArgumentError(`arange: start, end and step must be finite numbers, got ${describe(v)}`);
  }
  if (step === 0) throw new ArgumentError("arange: step must not be 0");
  const dtype = createOptions<D>("arange", options, "float32");
  const count = Math.ceil(((end as number) - (start as number)) / (step as number));
  if (count < 0) throw new ArgumentError(`arange: steps of ${step} from ${start} do not lead to ${end}`);
  const t = empty(checkShape("arange", [count]), dtype);
  const array = t.storage.array(dtype);
  for (let i = 0; i < count; i++) array[i] = (start as number) + i * (step as number);
  return finish(t, options);
}

/** `count` numbers from `start` to `end`, both included, evenly spaced. */
export function linspace<D extends DType = "float32">(
  start: number,
  end: number,
  count: number,
  options: CreateOptions<D> = {},
): Tensor<D> {
  checkNumber("linspace", "start", start);
  checkNumber("linspace", "end", end);
  const dtype = createOptions<D>("linspace", options, "float32");
  const t = empty(checkShape("linspace", [count]), dtype);
  const array = t.storage.array(dtype);
  const step = count > 1 ? (end - start) / (count - 1) : 0;
  for (let i = 0; i < count; i++) array[i] = i < count / 2 ? start + i * step : end - (count - 1 - i) * step;
  return finish(t, options);
}

/** The identity matrix [rows, columns], ones on the diagonal. */
export function eye<D extends DType = "float32">(
  rows: number,
  columns: number = rows,
  options: CreateOptions<D> = {},
): Tensor<D> {
  const dtype = createOptions<D>("eye", options, "float32");
  const t = filled(checkShape("eye", [rows, columns]), dtype, 0);
  const array = t.storage.array(dtype);
  for (let i = 0; i < Math.min(rows, columns); i++) array[i * columns + i] = 1;
  return finish(t, options);
}
