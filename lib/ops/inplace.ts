import { isGradEnabled, unrecorded } from "../autograd/mode.js";
import { type Edge, edgeOf, type Node, setHistory } from "../autograd/node.js";
import type { DType } from "../core/dtype.js";
import { ArgumentError, GradientError, ShapeError } from "../core/errors.js";
import { contiguousStrides, format, sameShape } from "../core/shape.js";
import { alias, autogradState, isTensor, Tensor } from "../core/tensor.js";
import { defineOp, type Op } from "./define.js";
import { copyInto, filled } from "./kernel.js";
import { add, div, mul, type Operand, sub } from "./pointwise.js";
import { asStrided, cast, clone, expand, overlaps, type Window } from "./view.js";

/**
 * In-place operations: `target` gets new values, and with them a new history. The version counter of its memory goes
 * up, so that backward notices when it needed the old values. Changing a view changes the history of its base; other
 * views of the base then read theirs out of the base's new one (autograd/view.ts).
 */

/** The window of a view, relative to the first element of its base. */
function windowOf(view: Tensor, base: Tensor): Window {
  return { shape: view.shape, strides: view.strides, offset: view.offset - base.offset };
}

const pasteOp: Op<"base" | "value", Window> = defineOp<"base" | "value", Window>({
  // base with a window of it replaced by value: the history of a base whose view was changed in place.
  name: "paste",
  inputs: ["base", "value"],
  forward: ([base, value], { shape, strides, offset }) => {
    const y = unrecorded(() => clone(base!));
    copyInto(alias(y, shape, strides, offset), value!);
    return y;
  },
  grad: {
    base: {
      formula: (c) => pasteOp([c.dy, filled(c.shape("value"), c.dy.dtype, 0)], c.options),
    },
    value: { formula: (c) => asStrided(c.dy.isContiguous() ? c.dy : clone(c.dy), { ...c.options, offset: c.options.offset }) },
  },
  samples: () => [{ inputs: { base: [4, 5], value: [2, 3] }, options: { shape: [2, 3], strides: [10, 2], offset: 1 } }],
});

/** Refuses an in-place change that would lose or falsify gradients. */
function checkChange(call: string, target: Tensor): void {
  if (overlaps(target)) {
    throw new GradientError(
      `${call}: several elements of the tensor ${format(target.shape)} (strides ${format(target.strides)}) are one place in memory, as after ` +
        "expand(); clone() it before changing it",
    );
  }
  if (!isGradEnabled()) return;
  const { viewOf } = target;
  if (viewOf === null) {
    if (target.requiresGrad && target.isLeaf) {
      throw new GradientError(`${call}: a leaf that requires gradients cannot be changed in place while recording; do it inside noGrad()`);
    }
    return;
  }
  if (!target.requiresGrad && !viewOf.base.requiresGrad) return;
  if (viewOf.base.requiresGrad && viewOf.base.isLeaf) {
    throw new GradientError(`${call}: a view of a leaf that requires gradients cannot be changed in place while recording; do it inside noGrad()`);
  }
  if (viewOf.made === "one of several") {
    throw new GradientError(
      `${call}: this tensor is one of several views made by ${viewOf.by}, which cannot be changed in place; use slice or narrow for the part, or clone() it`,
    );
  }
  if (viewOf.made === "unrecorded") {
    throw new GradientError(`${call}: a view made under noGrad cannot be changed in place while recording; make the view while recording, or clone() it`);
  }
}

/**
 * Gives `target` the values of `value` (broadcast and converted to its dtype) and its history. `value` must have been
 * computed before anything is changed, so a call that throws leaves everything as it was.
 */
export function assign<D extends DType>(call: string, target: Tensor<D>, value: Tensor): Tensor<D> {
  checkChange(call, target);
  const same = value.dtype === target.dtype ? value : cast(value, target.dtype);
  const fitting = sameShape(same.shape, target.shape) ? same : expandTo(call, same, target);
  const shares = fitting.storage === target.storage;
  copyInto(target, shares ? unrecorded(() => clone(fitting)) : fitting);
  const base = target.viewOf?.base ?? null;
  const history = isGradEnabled() && (fitting.requiresGrad || target.requiresGrad || base?.requiresGrad === true);
  const edge = history ? edgeOf(fitting) : null;
  if (history && base !== null) rebase(target, base, fitting);
  target.storage.version++;
  if (!history) return target;
  if (base === null) {
    if (edge === null) forget(target);
    else setHistory(target, edge.node, edge.index);
  }
  return target;
}

function expandTo(call: string, value: Tensor, target: Tensor): Tensor {
  try {
    return expand(value, target.shape);
  } catch {
    throw new ShapeError(`${call}: a value ${format(value.shape)} does not broadcast to the tensor ${format(target.shape)}`);
  }
}

/** The base's new history: what it was, with the view's window replaced. */
function rebase(view: Tensor, base: Tensor, value: Tensor): void {
  const before = alias(base);
  const edge = edgeOf(base);
  if (edge !== null) setHistory(before, edge.node, edge.index);
  pasteOp.record([before, value], windowOf(view, base), base);
  base.storage.version++; // so that all views, this one too, look their history up anew
}

function forget(t: Tensor): void {
  const state = autogradState(t);
  state.node = null;
  state.outputIndex = 0;
}

/** @internal The edge of a view read anew out of its base. */
export function viewEdge(base: Tensor, view: Tensor): Edge | null {
  const whole = alias(base, base.shape, contiguousStrides(base.shape), base.offset);
  const edge = edgeOf(base);
  if (edge === null) return null;
  setHistory(whole, edge.node as Node, edge.index);
  return edgeOf(asStrided(whole, { shape: view.shape, strides: view.strides, offset: view.offset }));
}

function checkTarget(call: string, target: unknown): asserts target is Tensor {
  if (!isTensor(target)) throw new ArgumentError(`${call}: the target must be a tensor`);
}

/** target += other, in place. `other` may be scaled: target += alpha * other. */
export function add_<D extends DType>(target: Tensor<D>, other: Operand, options: { alpha?: number } = {}): Tensor<D> {
  checkTarget("add_", target);
  const term = options.alpha === undefined || options.alpha === 1 ? other : typeof other === "number" ? other * options.alpha : mul(other, options.alpha);
  return assign("add_", target, add(target, term));
}

/** target -= other, in place. */
export function sub_<D extends DType>(target: Tensor<D>, other: Operand, options: { alpha?: number } = {}): Tensor<D> {
  checkTarget("sub_", target);
  const term = options.alpha === undefined || options.alpha === 1 ? other : typeof other === "number" ? other * options.alpha : mul(other, options.alpha);
  return assign("sub_", target, sub(target, term));
}

/** target *= other, in place. */
export function mul_<D extends DType>(target: Tensor<D>, other: Operand): Tensor<D> {
  checkTarget("mul_", target);
  return assign("mul_", target, mul(target, other));
}

/** target /= other, in place. */
export function div_<D extends DType>(target: Tensor<D>, other: Operand): Tensor<D> {
  checkTarget("div_", target);
  return assign("div_", target, div(target, other));
}

/** Copies `value` (broadcast, converted) into target. */
export function copy_<D extends DType>(target: Tensor<D>, value: Tensor): Tensor<D> {
  checkTarget("copy_", target);
  if (!(value instanceof Tensor)) throw new ArgumentError("copy_: the value must be a tensor; use fill_ for a number");
  return assign("copy_", target, value);
}

/** Sets all elements to `value`. */
export function fill_<D extends DType>(target: Tensor<D>, value: number | boolean): Tensor<D> {
  checkTarget("fill_", target);
  return assign("fill_", target, filled([], target.dtype, Number(value)));
}

/** Sets all elements to 0. */
export function zero_<D extends DType>(target: Tensor<D>): Tensor<D> {
  return fill_(target, 0);
}

/** @internal a += b for memory that only the caller holds. */
export function addInto(a: Tensor, b: Tensor): void {
  copyInto(a, add(a, b));
}

