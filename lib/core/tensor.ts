import { allocate } from "./memory.js";
import { type ArrayOf, bytesPerElement, type DType, isFloating, type TypedArray } from "./dtype.js";
import { GradientError, ShapeError } from "./errors.js";
import { contiguousStrides, describe, format, isContiguous, numel, sameShape, type Shape } from "./shape.js";
import { Storage } from "./storage.js";

/** Nested lists of numbers (booleans for bool tensors): what `toArray()` returns and `tensor()` takes. */
export type NestedList = number | boolean | readonly NestedList[];

/** A node of the recorded graph, as far as a tensor knows it (lib/autograd/node.ts). */
export interface GradientNode {
  readonly name: string;
}

/** How a view relates to the tensor whose memory it shows (lib/autograd/view.ts). */
export interface ViewOf {
  readonly base: Tensor;
  /** Why an in-place change through this view may be refused. */
  readonly made: "recorded" | "unrecorded" | "one of several";
  /** The op that made the view, for messages. */
  readonly by: string;
  /** The storage version at which the view's node was right; after an in-place change it makes a new one. */
  version: number;
}

/** State that only tensors with gradients need; made when first used. */
export interface AutogradState {
  /** Set by the user on a leaf; what was computed from leaves has a node instead. */
  requiresGrad: boolean;
  grad: Tensor | null;
  /** Whether code outside the library may hold `grad`. */
  gradSeen: boolean;
  node: GradientNode | null;
  outputIndex: number;
  /** The node at which gradients of a leaf end. */
  accumulator: GradientNode | null;
  retainsGrad: boolean;
}

/** A tensor without elements costs no memory, but its lists would. */
const maxEmptyLists = 2 ** 22;

/**
 * A rectangular array of numbers: a window (shape, strides, offset, all in elements) on a storage.
 *
 * `Tensor<"float32">` knows its element type, so `data()` is a Float32Array. Methods other than those below are the
 * ops of lib/ops, installed there.
 */
export class Tensor<D extends DType = DType> {
  readonly dtype: D;
  readonly shape: Shape;
  readonly strides: readonly number[];
  readonly offset: number;
  readonly storage: Storage;
  /** @internal */ autograd: AutogradState | null = null;
  /** @internal */ viewOf: ViewOf | null = null;

  /** @internal Use `tensor`, `zeros`, ... of lib/ops/create.ts. */
  constructor(dtype: D, shape: Shape, strides: readonly number[], offset: number, storage: Storage) {
    this.dtype = dtype;
    this.shape = shape;
    this.strides = strides;
    this.offset = offset;
    this.storage = storage;
  }

  /** Number of dimensions; 0 for a scalar. */
  get rank(): number {
    return this.shape.length;
  }

  /** Number of dimensions (PyTorch's name). */
  dim(): number {
    return this.shape.length;
  }

  /** Number of elements. */
  numel(): number {
    return numel(this.shape);
  }

  /** All sizes, or the size of one dimension (negative counts from the end). */
  size(): Shape;
  size(dim: number): number;
  size(dim?: number): Shape | number {
    if (dim === undefined) return this.shape;
    const value = Number.isInteger(dim) ? this.shape.at(dim) : undefined;
    if (value === undefined)
      throw new ShapeError(`size: there is no dimension ${describe(dim)} in ${format(this.shape)}`);
    return value;
  }

  isContiguous(): boolean {
    return isContiguous(this.shape, this.strides);
  }

  /** Whether results computed from this tensor record how, so that backward() reaches it. */
  get requiresGrad(): boolean {
    const state = this.autograd;
    if (state !== null && (state.requiresGrad || state.node !== null)) return true;
    // A view starts to require gradients when its base was changed in place by something that does.
    const view = this.viewOf;
    return view !== null && view.version !== this.storage.version && view.base.requiresGrad;
  }

  /** Switches recording for a leaf on or off (as `requiresGrad_`). */
  set requiresGrad(value: boolean) {
    if (value && !isFloating(this.dtype)) {
      throw new GradientError(
        `requiresGrad: only float32 and float64 tensors can require gradients, this one is ${this.dtype}`,
      );
    }
    if (!this.isLeaf) {
      if (value) return;
      throw new GradientError(
        "requiresGrad: only a leaf can stop requiring gradients; use detach() for a constant view of a result",
      );
    }
    autogradState(this as unknown as Tensor).requiresGrad = value;
  }

  /** A leaf is what the user made: gradients end here. */
  get isLeaf(): boolean {
    return !this.requiresGrad || this.autograd?.requiresGrad === true;
  }

  /** The gradient that backward() has added up here; null before, and always for what is not a leaf (see retainGrad). */
  get grad(): Tensor<D> | null {
    const state = this.autograd;
    if (state === null) return null;
    state.gradSeen = true;
    return state.grad as Tensor<D> | null;
  }

  /** Replaces the gradient; null clears it. */
  set grad(value: Tensor<D> | null) {
    const given = value as unknown as Tensor | null;
    if (given !== null && !(isTensor(given) && sameShape(given.shape, this.shape) && given.dtype === this.dtype)) {
      throw new ShapeError(
        `grad: the gradient must be a ${this.dtype} tensor ${format(this.shape)}, ${named("got", given)}`,
      );
    }
    const state = autogradState(this as unknown as Tensor);
    state.grad = given;
    state.gradSeen = true;
  }

  /**
   * The values in row-major order, as a typed array of their own: later operations never change it.
   * bool tensors give bytes, 0 or 1.
   */
  data(): ArrayOf[D] {
    const array = this.storage.array(this.dtype);
    const count = this.numel();
    const from = this.offset;
    const bytes = count * bytesPerElement(this.dtype);
    if (this.isContiguous())
      return allocate(bytes, "a copy of values", () => array.slice(from, from + count)) as ArrayOf[D];
    const make = array.constructor as new (n: number) => TypedArray;
    const out = allocate(bytes, "a copy of values", () => new make(count));
    copyStrided(array, this.shape, this.strides, this.offset, out);
    return out as ArrayOf[D];
  }

  /** The value of a tensor with exactly one element: a number, or a boolean for bool tensors. */
  item(): [D] extends ["bool"] ? boolean : number {
    if (this.numel() !== 1) {
      throw new ShapeError(
        `item: needs exactly one element, but the tensor is ${format(this.shape)}; index it, or use toArray()`,
      );
    }
    const value = this.storage.array(this.dtype)[this.offset]!;
    return (this.dtype === "bool" ? value !== 0 : value) as [D] extends ["bool"] ? boolean : number;
  }

  /** The values as nested lists; a number (or boolean) for a scalar. */
  toArray(): NestedList {
    const lists = numel(this.shape.slice(0, Math.max(0, this.shape.indexOf(0))));
    if (lists > maxEmptyLists)
      throw new ShapeError(
        `toArray: ${format(this.shape)} would be ${lists} empty lists; at most ${maxEmptyLists} are made`,
      );
    const flat = this.data();
    let at = 0;
    const build = (dim: number): NestedList => {
      if (dim === this.shape.length) {
        const value = flat[at++]!;
        return this.dtype === "bool" ? value !== 0 : value;
      }
      return Array.from({ length: this.shape[dim]! }, () => build(dim + 1));
    };
    return build(0);
  }

  /** Gives the memory back now, for this tensor and all that share it. Never needed; see memory.ts. */
  dispose(): void {
    this.storage.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  toString(): string {
    return `Tensor(${printed(this.toArray(), 7)}, ${format(this.shape)}, ${this.dtype}${this.requiresGrad ? ", requiresGrad" : ""})`;
  }
}

// How console.log shows a tensor (util.inspect.custom).
Object.defineProperty(Tensor.prototype, Symbol.for("nodejs.util.inspect.custom"), {
  value(this: Tensor): string {
    return this.storage.disposed ? `Tensor(disposed, ${format(this.shape)}, ${this.dtype})` : this.toString();
  },
});

/** Lists shortened for people: at most 8 entries of each, numbers to 4 decimals where they have more. */
function printed(list: NestedList, indent: number): string {
  if (!Array.isArray(list)) {
    if (typeof list === "number" && !Number.isInteger(list) && Math.abs(list) >= 1e-3 && Math.abs(list) < 1e6)
      return list.toFixed(4);
    return typeof list === "number" && !Number.isInteger(list) ? list.toPrecision(5) : String(list);
  }
  const shown = list.length > 8 ? [...list.slice(0, 4), "…", ...list.slice(-3)] : list;
  const parts = shown.map((e) => (typeof e === "string" ? e : printed(e, indent + 1)));
  const nested = Array.isArray(list[0]);
  return `[${parts.join(nested ? `,\n${" ".repeat(indent + 1)}` : ", ")}]`;
}

function copyStrided(from: TypedArray, shape: Shape, strides: readonly number[], offset: number, to: TypedArray): void {
  let at = 0;
  const walk = (dim: number, base: number): void => {
    if (dim === shape.length) {
      to[at++] = from[base]!;
      return;
    }
    for (let i = 0; i < shape[dim]!; i++) walk(dim + 1, base + i * strides[dim]!);
  };
  walk(0, offset);
}

/** A new contiguous tensor over uninitialised memory, for an op that writes all of it. */
export function empty<D extends DType>(shape: Shape, dtype: D): Tensor<D> {
  const storage = new Storage(numel(shape) * bytesPerElement(dtype));
  storage.label(shape, dtype);
  return new Tensor(dtype, shape, contiguousStrides(shape), 0, storage);
}

/** Another window on the same memory, without history. */
export function alias<D extends DType>(
  t: Tensor<D>,
  shape: Shape = t.shape,
  strides: readonly number[] = t.strides,
  offset: number = t.offset,
): Tensor<D> {
  return new Tensor(t.dtype, shape, strides, offset, t.storage);
}

export function isTensor(value: unknown): value is Tensor {
  // An object that was given the prototype alone has none of what the constructor sets.
  return value instanceof Tensor && value.storage !== undefined;
}

/** The autograd state of a tensor, made when it has none. */
export function autogradState(t: Tensor): AutogradState {
  t.autograd ??= {
    requiresGrad: false,
    grad: null,
    gradSeen: false,
    node: null,
    outputIndex: 0,
    accumulator: null,
    retainsGrad: false,
  };
  return t.autograd;
}

/** Whether gradients make sense for this tensor. */
export function isDifferentiable(t: Tensor): boolean {
  return isFloating(t.dtype);
}

/** For messages: "x [2, 3] float32". */
export function named(name: string, t: unknown): string {
  return isTensor(t) ? `${name} ${format(t.shape)} ${t.dtype}` : `${name} ${describe(t)}`;
}
