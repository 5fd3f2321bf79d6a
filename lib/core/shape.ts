import { ArgumentError, IndexError, ShapeError } from "./errors.js";

/** Sizes of each dimension, outermost first. */
export type Shape = readonly number[];

/** Most elements of a tensor: offsets stay exact in a double and index tensors (int32) can address every element. */
export const maxElements: number = 2 ** 40;

/** Most of what the other sizes of a tensor without elements multiply to: it costs no memory, but loops count through it. */
const maxEmpty = 2 ** 28;

/** Why no tensor can have these sizes (integers of at least 0), or null. */
export function sizeProblem(shape: Shape): string | null {
  let n = 1;
  for (const size of shape) n *= Math.max(size, 1);
  if (!(n <= maxElements)) return "has more than 2^40 elements";
  return n > maxEmpty && shape.includes(0) ? "has no elements, but its other sizes multiply to more than 2^28" : null;
}

/** `[2, 3]` as people write it, for messages. */
export function format(shape: Shape): string {
  const shown = shape.length > 64 ? [...shape.slice(0, 64), "…"] : shape;
  return `[${shown.join(", ")}]`;
}

/** Number of elements of a shape; 1 for a scalar. */
export function numel(shape: Shape): number {
  let n = 1;
  for (let i = 0; i < shape.length; i++) n *= shape[i]!;
  return n;
}

/** Row-major strides, in elements. */
export function contiguousStrides(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = step;
    step *= Math.max(shape[i]!, 1);
  }
  return strides;
}

/** Whether strides walk the elements of `shape` in row-major order without gaps (size-1 dimensions do not matter). */
export function isContiguous(shape: Shape, strides: readonly number[]): boolean {
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    const size = shape[i]!;
    if (size === 0) return true;
    if (size !== 1) {
      if (strides[i] !== step) return false;
      step *= size;
    }
  }
  return true;
}

export function sameShape(a: Shape, b: Shape): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** The shape that `a` and `b` broadcast to (NumPy's rule), or a ShapeError that names the dimension. */
export function broadcastShapes(name: string, a: Shape, b: Shape): Shape {
  if (sameShape(a, b)) return a;
  const rank = Math.max(a.length, b.length);
  const out = new Array<number>(rank);
  for (let i = 1; i <= rank; i++) {
    const p = i <= a.length ? a[a.length - i]! : 1;
    const q = i <= b.length ? b[b.length - i]! : 1;
    if (p !== q && p !== 1 && q !== 1) {
      throw new ShapeError(
        `${name}: shapes ${format(a)} and ${format(b)} do not broadcast: sizes ${p} and ${q} in dimension ${rank - i} ` +
          "must be equal or one of them 1",
      );
    }
    out[rank - i] = p === 1 ? q : p;
  }
  return out;
}

/** Strides with which a tensor of `shape` and `strides` is read as `target`: 0 where it is repeated. */
export function broadcastStrides(shape: Shape, strides: readonly number[], target: Shape): number[] {
  const lead = target.length - shape.length;
  const out = new Array<number>(target.length);
  for (let i = 0; i < target.length; i++) {
    out[i] = i < lead || (shape[i - lead] === 1 && target[i] !== 1) ? 0 : strides[i - lead]!;
  }
  return out;
}

/** A dimension counted from the front; negative ones count from the end, as in PyTorch. */
export function normalizeDim(name: string, dim: number, rank: number): number {
  const limit = Math.max(rank, 1); // a scalar has one virtual dimension
  if (!Number.isInteger(dim)) throw new ArgumentError(`${name}: dim must be an integer, got ${describe(dim)}`);
  if (dim < -limit || dim >= limit) {
    throw new IndexError(
      `${name}: dim ${dim} is out of range for a tensor of ${rank} dimensions (${-limit} to ${limit - 1})`,
    );
  }
  return dim < 0 ? dim + limit : dim;
}

/** Several dimensions: none given means all; repeated ones are an error. */
export function normalizeDims(
  name: string,
  dim: number | readonly number[] | null | undefined,
  rank: number,
): number[] {
  if (dim === undefined || dim === null) return Array.from({ length: rank }, (_, i) => i);
  const list = typeof dim === "number" ? [dim] : dim;
  if (!Array.isArray(list)) {
    throw new ArgumentError(`${name}: dim must be an integer or a list of integers, got ${describe(dim)}`);
  }
  const out = Array.from(list, (d) => normalizeDim(name, d, rank)); // holes too
  if (new Set(out).size !== out.length)
    throw new ArgumentError(`${name}: dim ${describe(list)} names a dimension twice`);
  return rank === 0 ? [] : out.sort((a, b) => a - b); // a scalar's virtual dimension is none
}

/** Refuses what is not a list of sizes; returns a copy, which is what was checked. */
export function checkShape(name: string, shape: unknown): number[] {
  if (!Array.isArray(shape)) throw new ArgumentError(`${name}: shape must be a list of sizes, got ${describe(shape)}`);
  if (shape.length > 8)
    throw new ShapeError(`${name}: tensors have at most 8 dimensions, but the shape has ${shape.length}`);
  const checked: number[] = [];
  for (let i = 0; i < shape.length; i++) {
    const size: unknown = shape[i];
    if (typeof size !== "number" || !Number.isInteger(size) || size < 0) {
      throw new ArgumentError(
        `${name}: every size must be an integer of at least 0, got ${describe(size)} in ${describe(shape)}`,
      );
    }
    checked.push(size + 0); // without -0
  }
  const problem = sizeProblem(checked);
  if (problem !== null) throw new ShapeError(`${name}: shape ${format(checked)} ${problem}`);
  return checked;
}

/** A value as it reads in a message: short, whatever it is. */
export function describe(value: unknown): string {
  try {
    return described(value, 0);
  } catch {
    return "an object that cannot be looked at"; // a proxy, or a getter that throws
  }
}

function described(value: unknown, depth: number): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === "string") return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  if (typeof value === "number") return Object.is(value, -0) ? "-0" : String(value);
  if (typeof value === "boolean") return String(value);
  if (typeof value === "bigint") return `${shortened(String(BigInt.asIntN(256, value)))}n`;
  if (typeof value === "symbol") return "a symbol";
  if (typeof value === "function") return `a function ${shortened(String(value.name))}`;
  if (Array.isArray(value)) {
    if (value.length > 12 || depth > 1) return `a list of ${value.length}`;
    return `[${Array.from(value, (each) => described(each, depth + 1)).join(", ")}]`;
  }
  const name = (value as object).constructor?.name;
  const kind = typeof name === "string" && name !== "" ? shortened(name) : "object";
  return `${/^[AEIOU]/.test(kind) ? "an" : "a"} ${kind}`;
}

function shortened(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
