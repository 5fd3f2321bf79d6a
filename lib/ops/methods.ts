import { backward, type BackwardOptions } from "../autograd/backward.js";
import { Accumulate, edgeOf, type HookHandle, type Node, setRequiresGrad, type TensorHook } from "../autograd/node.js";
import type { DType } from "../core/dtype.js";
import { ArgumentError, GradientError, ShapeError } from "../core/errors.js";
import { format, type Shape } from "../core/shape.js";
import { isTensor, Tensor } from "../core/tensor.js";
import * as inplace from "./inplace.js";
import * as pointwise from "./pointwise.js";
import * as reduce from "./reduce.js";
import * as view from "./view.js";

/** Ops as methods of Tensor. Each family installs its own with `installMethods`; these are the basic ones. */

/** @internal Adds functions whose first argument is the tensor as methods of the same name. */
export function installMethods(functions: Record<string, (t: never, ...rest: never[]) => unknown>): void {
  for (const [name, fn] of Object.entries(functions)) {
    if (name in Tensor.prototype) throw new Error(`Tensor has a method ${name} already`);
    Object.defineProperty(Tensor.prototype, name, {
      value(this: Tensor, ...rest: unknown[]): unknown {
        return (fn as (...all: unknown[]) => unknown)(this, ...rest);
      },
      writable: true,
      configurable: true,
    });
  }
}

declare module "../core/tensor.js" {
  interface Tensor<D extends DType = DType> {
    add(other: Tensor | number, options?: pointwise.AlphaOptions): Tensor<D>;
    sub(other: Tensor | number, options?: pointwise.AlphaOptions): Tensor<D>;
    mul(other: Tensor | number): Tensor<D>;
    div(other: Tensor | number): Tensor<D>;
    neg(): Tensor<D>;
    abs(): Tensor<D>;
    sign(): Tensor<D>;
    square(): Tensor<D>;
    sqrt(): Tensor<D>;
    rsqrt(): Tensor<D>;
    reciprocal(): Tensor<D>;
    exp(): Tensor<D>;
    expm1(): Tensor<D>;
    log(): Tensor<D>;
    log1p(): Tensor<D>;
    log2(): Tensor<D>;
    log10(): Tensor<D>;
    sin(): Tensor<D>;
    cos(): Tensor<D>;
    tan(): Tensor<D>;
    asin(): Tensor<D>;
    acos(): Tensor<D>;
    atan(): Tensor<D>;
    sinh(): Tensor<D>;
    cosh(): Tensor<D>;
    erf(): Tensor<D>;
    floor(): Tensor<D>;
    ceil(): Tensor<D>;
    round(): Tensor<D>;
    trunc(): Tensor<D>;
    sum(
      this: Tensor<"bool"> | Tensor<"uint8">,
      options?: reduce.ReduceOptions | number | readonly number[],
    ): Tensor<"int32">;
    sum(options?: reduce.ReduceOptions | number | readonly number[]): Tensor<D>;
    mean(options?: reduce.ReduceOptions | number | readonly number[]): Tensor<D>;
    reshape(shape: Shape): Tensor<D>;
    view(shape: Shape): Tensor<D>;
    flatten(start?: number, end?: number): Tensor<D>;
    unflatten(dim: number, sizes: Shape): Tensor<D>;
    permute(order: readonly number[]): Tensor<D>;
    transpose(dim0: number, dim1: number): Tensor<D>;
    /** The transpose of a matrix (a vector or scalar is itself). */
    t(): Tensor<D>;
    /** The dimensions in reverse order. */
    readonly T: Tensor<D>;
    expand(shape: Shape): Tensor<D>;
    narrow(dim: number, start: number, length: number): Tensor<D>;
    slice(dim: number, start?: number | null, end?: number | null, step?: number): Tensor<D>;
    select(dim: number, index: number): Tensor<D>;
    squeeze(dim?: number | readonly number[]): Tensor<D>;
    unsqueeze(dim: number): Tensor<D>;
    clone(): Tensor<D>;
    contiguous(): Tensor<D>;
    detach(): Tensor<D>;
    /** The values as another dtype; itself if it has that dtype. */
    to<E extends DType>(dtype: E): Tensor<E>;
    add_(other: Tensor | number, options?: { alpha?: number }): Tensor<D>;
    sub_(other: Tensor | number, options?: { alpha?: number }): Tensor<D>;
    mul_(other: Tensor | number): Tensor<D>;
    div_(other: Tensor | number): Tensor<D>;
    copy_(value: Tensor): Tensor<D>;
    fill_(value: number | boolean): Tensor<D>;
    zero_(): Tensor<D>;
    /** Adds the gradients of this tensor to `.grad` of the leaves it was computed from; see `backward`. */
    backward(options?: BackwardOptions | Tensor): void;
    /** Switches recording for a leaf on or off, and returns it. */
    requiresGrad_(value?: boolean): this;
    /** Replaces the accumulated gradient (null clears it). */
    setGrad(value: Tensor<D> | null): void;
    /** Keeps `.grad` for a tensor that is no leaf. */
    retainGrad(): void;
    /** Calls `hook` with the gradient when backward has it; what it returns replaces the gradient. */
    registerHook(hook: TensorHook): HookHandle;
    /** For leaves: calls `hook` with the leaf after its gradient has been added up. */
    registerPostAccumulateGradHook(hook: (leaf: Tensor<D>) => void): HookHandle;
    /** The operation this tensor was computed by, with its name, next operations and hooks; null for leaves. */
    readonly gradFn: Node | null;
  }
}

const { add, sub, mul, div, neg, abs, sign, square, sqrt, rsqrt, reciprocal, exp, expm1, log, log1p, log2, log10 } =
  pointwise;
const { sin, cos, tan, asin, acos, atan, sinh, cosh, erf, floor, ceil, round, trunc } = pointwise;
const {
  reshape,
  flatten,
  unflatten,
  permute,
  transpose,
  expand,
  narrow,
  slice,
  select,
  squeeze,
  unsqueeze,
  clone,
  detach,
} = view;
const { add_, sub_, mul_, div_, copy_, fill_, zero_ } = inplace;

installMethods({
  add,
  sub,
  mul,
  div,
  neg,
  abs,
  sign,
  square,
  sqrt,
  rsqrt,
  reciprocal,
  exp,
  expm1,
  log,
  log1p,
  log2,
  log10,
});
installMethods({ sin, cos, tan, asin, acos, atan, sinh, cosh, erf, floor, ceil, round, trunc });
installMethods({
  reshape,
  view: view.view,
  flatten,
  unflatten,
  permute,
  transpose,
  expand,
  narrow,
  slice,
  select,
  squeeze,
  unsqueeze,
});
installMethods({
  clone,
  detach,
  contiguous: view.toContiguous,
  to: view.cast,
  sum: reduce.sum,
  mean: reduce.mean,
});
installMethods({ add_, sub_, mul_, div_, copy_, fill_, zero_ });

installMethods({
  t(x: Tensor): Tensor {
    if (x.rank > 2)
      throw new ShapeError(
        `t: needs at most 2 dimensions, but the tensor is ${format(x.shape)}; use transpose or permute`,
      );
    return x.rank === 2 ? transpose(x, 0, 1) : x;
  },
  backward(x: Tensor, options: BackwardOptions | Tensor = {}): void {
    backward(x, isTensor(options) ? { gradient: options } : options);
  },
  requiresGrad_(x: Tensor, value = true): Tensor {
    setRequiresGrad(x, value);
    return x;
  },
  setGrad(x: Tensor, value: Tensor | null): void {
    x.grad = value;
  },
  retainGrad(x: Tensor): void {
    const edge = edgeOf(x);
    if (edge === null) throw new GradientError("retainGrad: the tensor does not require gradients");
    if (x.isLeaf) return;
    edge.node.retain(edge.index, x);
  },
  registerHook(x: Tensor, hook: TensorHook): HookHandle {
    if (typeof hook !== "function") throw new ArgumentError("registerHook: the hook must be a function");
    const edge = edgeOf(x);
    if (edge === null) throw new GradientError("registerHook: the tensor does not require gradients");
    return edge.node.addHook(edge.index, hook);
  },
  registerPostAccumulateGradHook(x: Tensor, hook: (leaf: Tensor) => void): HookHandle {
    if (typeof hook !== "function") {
      throw new ArgumentError("registerPostAccumulateGradHook: the hook must be a function");
    }
    const node = edgeOf(x)?.node;
    if (!(node instanceof Accumulate)) {
      throw new GradientError("registerPostAccumulateGradHook: the tensor must be a leaf that requires gradients");
    }
    return node.registerPostAccumulateHook(hook);
  },
});

Object.defineProperty(Tensor.prototype, "gradFn", {
  get(this: Tensor): Node | null {
    const node = edgeOf(this)?.node ?? null;
    return node instanceof Accumulate ? null : node;
  },
});

Object.defineProperty(Tensor.prototype, "T", {
  get(this: Tensor): Tensor {
    return permute(
      this,
      this.shape.map((_, i) => this.rank - 1 - i),
    );
  },
});
