import { isGradEnabled, unrecorded } from "../autograd/mode.js";
import { type Edge, edgeOf, setHistory } from "../autograd/node.js";
import { type DType, isFloating } from "../core/dtype.js";
import { ArgumentError, DTypeError, GradientError, ShapeError } from "../core/errors.js";
import { describe, format, sameShape } from "../core/shape.js";
import { alias, isTensor, named, type Tensor } from "../core/tensor.js";
import { binaryInto, copyInto, filled } from "./kernel.js";
import { type AlphaOptions, add, div, mul, type Operand, scaled, sub } from "./pointwise.js";
import { asStrided, cast, clone, expand, overlaps, recordCopy, recordPaste } from "./view.js";

/**
 * In-place operations: `target` gets new values, and with them a new history. The version counter of its memory goes
 * up, so that backward notices when it needed the old values. Changing a view changes the history of its base; other
 * views of the base then read theirs out of the base's new one (autograd/view.ts).
 */

/** @internal Refuses an in-place change that would lose or falsify gradients; `recorded` if the new values have a history. */
export function checkChange(call: string, target: Tensor, recorded: boolean): void {
  if (overlaps(target)) {
    throw new GradientError(
      `${call}: several elements of the tensor ${format(target.shape)} (strides ${format(target.strides)}) are one place in memory, as after ` +
        "expand(); clone() it before changing it",
    );
  }
  if (!isGradEnabled()) return;
  const { viewOf } = target;
  if (!recorded && !target.requiresGrad && viewOf?.base.requiresGrad !== true) return;
  if (target.requiresGrad && target.isLeaf) {
    throw new GradientError(
      `${call}: a leaf that requires gradients cannot be changed in place while recording; do it inside noGrad()`,
    );
  }
  if (viewOf === null) return;
  if (viewOf.base.requiresGrad && viewOf.base.isLeaf) {
    throw new GradientError(
      `${call}: a view of a leaf that requires gradients cannot be changed in place while recording; do it inside noGrad()`,
    );
  }
  if (viewOf.made === "one of several") {
    throw new GradientError(
      `${call}: this tensor is one of several views made by ${viewOf.by}, which cannot be changed in place; use slice or narrow for the part, or clone() it`,
    );
  }
  if (viewOf.made === "unrecorded") {
    throw new GradientError(
      `${call}: a view made under noGrad cannot be changed in place while recording; make the view while recording, or clone() it`,
    );
  }
}

/**
 * @internal Gives `target` the values of `value` (broadcast and converted to its dtype) and its history. `value` must have
 * been computed before anything is changed, so a call that throws leaves everything as it was. `derived` says that it was
 * computed from target itself; otherwise what target was computed from gets gradients of zeros.
 */
export function assign<D extends DType>(call: string, target: Tensor<D>, value: Tensor, derived = false): Tensor<D> {
  checkChange(call, target, value.requiresGrad);
  const same = value.dtype === target.dtype ? value : cast(value, target.dtype);
  const fitting = sameShape(same.shape, target.shape) ? same : expandTo(call, same, target);
  const before = historyBefore(target, fitting, derived);
  if (fitting.storage === target.storage) {
    const copy = unrecorded(() => clone(fitting)); // it may lie across what is written
    copyInto(target, copy);
    copy.dispose();
  } else {
    copyInto(target, fitting);
  }
  target.storage.version++;
  before?.replace();
  return target;
}

/** What has to be known before the change to record it afterwards; null if there is nothing to record. */
function historyBefore(target: Tensor, value: Tensor, derived: boolean): { replace(): void } | null {
  if (!isGradEnabled()) return null;
  const base = target.viewOf?.base ?? target;
  const baseEdge = edgeOf(base);
  const valueEdge = edgeOf(value);
  if (baseEdge === null && valueEdge === null) return null;
  const from = withHistory(value, valueEdge);
  if (base === target && (derived || baseEdge === null)) return { replace: () => recordCopy(from, target) };
  // A base of which a part was changed; or a whole tensor that was overwritten, where the old one gets zeros.
  const before = withHistory(base, baseEdge);
  return { replace: () => recordPaste(before, from, target, base) };
}

/** The same window with a history of its own, which later changes of `t` do not touch. */
function withHistory(t: Tensor, edge: Edge | null): Tensor {
  const same = alias(t);
  if (edge !== null) setHistory(same, edge.node, edge.index);
  return same;
}

function expandTo(call: string, value: Tensor, target: Tensor): Tensor {
  try {
    return expand(value, target.shape);
  } catch {
    throw new ShapeError(
      `${call}: a value ${format(value.shape)} does not broadcast to the tensor ${format(target.shape)}`,
    );
  }
}

/** @internal The edge of a view read anew out of its base. */
export function viewEdge(base: Tensor, view: Tensor): Edge | null {
  const whole = withHistory(base, edgeOf(base));
  return edgeOf(asStrided(whole, { shape: view.shape, strides: view.strides, offset: view.offset - base.offset }));
}

/** `target` as an operand whose old values `other`'s derivative needs: a copy of them when that will be asked for. */
function operand(target: Tensor, other: Operand): Tensor {
  if (!isTensor(other) || !other.requiresGrad || !isGradEnabled()) return target;
  return withHistory(
    unrecorded(() => clone(target)),
    edgeOf(target),
  );
}

/** @internal The computed values, unless the target's type cannot hold their kind: fractions in integers, numbers in bool. */
export function checkKind(call: string, target: Tensor, value: Tensor): Tensor {
  const kind = (t: Tensor): number => (isFloating(t.dtype) ? 2 : t.dtype === "bool" ? 0 : 1);
  if (kind(value) <= kind(target)) return value;
  throw new DTypeError(
    `${call}: the result is ${value.dtype}, which ${named("the tensor", target)} cannot hold; convert it with ` +
      `.to("${value.dtype}"), or use the function without _`,
  );
}

/** The same for sums and products: those of masks are masks again. */
function checkSum(call: string, target: Tensor, other: Operand, value: Tensor): Tensor {
  const masks = target.dtype === "bool" && isTensor(other) && other.dtype === "bool";
  return masks ? value : checkKind(call, target, value);
}

function checkTarget(call: string, target: unknown): asserts target is Tensor {
  if (!isTensor(target)) throw new ArgumentError(`${call}: the target must be a tensor`);
}

/** target += other, in place. `other` may be scaled: target += alpha * other. */
export function add_<D extends DType>(target: Tensor<D>, other: Operand, options: AlphaOptions = {}): Tensor<D> {
  checkTarget("add_", target);
  return assign("add_", target, checkSum("add_", target, other, add(target, scaled("add_", other, options))), true);
}

/** target -= other, in place. */
export function sub_<D extends DType>(target: Tensor<D>, other: Operand, options: AlphaOptions = {}): Tensor<D> {
  checkTarget("sub_", target);
  return assign("sub_", target, checkKind("sub_", target, sub(target, scaled("sub_", other, options))), true);
}

/** target *= other, in place. */
export function mul_<D extends DType>(target: Tensor<D>, other: Operand): Tensor<D> {
  checkTarget("mul_", target);
  return assign("mul_", target, checkSum("mul_", target, other, mul(operand(target, other), other)), true);
}

/** target /= other, in place. */
export function div_<D extends DType>(target: Tensor<D>, other: Operand): Tensor<D> {
  checkTarget("div_", target);
  return assign("div_", target, checkKind("div_", target, div(operand(target, other), other)), true);
}

/** Copies `value` (broadcast, converted) into target. */
export function copy_<D extends DType>(target: Tensor<D>, value: Tensor): Tensor<D> {
  checkTarget("copy_", target);
  if (!isTensor(value)) throw new ArgumentError("copy_: the value must be a tensor; use fill_ for a number");
  return assign("copy_", target, value);
}

/** Sets all elements to `value`. */
export function fill_<D extends DType>(target: Tensor<D>, value: number | boolean): Tensor<D> {
  checkTarget("fill_", target);
  if (typeof value !== "number" && typeof value !== "boolean")
    throw new ArgumentError(`fill_: the value must be a number, got ${describe(value)}`);
  return assign("fill_", target, filled([], target.dtype, Number(value)));
}

/** Sets all elements to 0. */
export function zero_<D extends DType>(target: Tensor<D>): Tensor<D> {
  return fill_(target, 0);
}

/** @internal a += b for memory that only the caller holds. */
export function addInto(a: Tensor, b: Tensor): void {
  if (a.isContiguous()) binaryInto("add", a, b, a);
  else copyInto(a, add(a, b));
}
