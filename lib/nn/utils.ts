import { unrecorded } from "../autograd/mode.js";
import { ArgumentError, GradientError, ShapeError } from "../core/errors.js";
import { checkNumber, checkOptions } from "../core/options.js";
import { describe, format } from "../core/shape.js";
import { empty, isTensor, type Tensor } from "../core/tensor.js";
import { clamp } from "../ops/clamp.js";
import { assign, mul_ } from "../ops/inplace.js";
import { contiguous, copyInto } from "../ops/kernel.js";
import { abs, square } from "../ops/pointwise.js";
import { pow } from "../ops/power.js";
import { reduceDims, sum } from "../ops/reduce.js";
import { narrow, reshape } from "../ops/view.js";

/** What is done to all parameters of a model at once. */

function checkList(call: string, parameters: Tensor | Iterable<Tensor>): Tensor[] {
  const given: unknown = isTensor(parameters) ? [parameters] : parameters;
  const iterable = typeof Object(given)[Symbol.iterator] === "function" && !ArrayBuffer.isView(given);
  if (!iterable)
    throw new ArgumentError(`${call}: parameters must be a tensor or a list of tensors, got ${describe(parameters)}`);
  const list: Tensor[] = [];
  for (const p of given as Iterable<unknown>) {
    if (!isTensor(p))
      throw new ArgumentError(`${call}: parameters[${list.length}] must be a tensor, got ${describe(p)}`);
    list.push(p);
  }
  return list;
}

/** The p-norm of one tensor's elements. */
function normOf(t: Tensor, p: number): number {
  if (t.numel() === 0) return 0;
  if (p === Number.POSITIVE_INFINITY) {
    const all = t.shape.map((_, i) => i);
    return reduceDims("max", abs(contiguous(t)), all).data()[0]!;
  }
  const value = Number(sum(p === 2 ? square(t) : pow(abs(t), p)).item());
  return p === 2 ? Math.sqrt(value) : value ** (1 / p);
}

/**
 * Scales all gradients by one factor so that their common norm is at most `maxNorm`. Call it between backward and step.
 * @returns the norm before
 */
export function clipGradNorm_(
  parameters: Tensor | Iterable<Tensor>,
  maxNorm: number,
  options: { readonly normType?: number; readonly errorIfNonfinite?: boolean } = {},
): number {
  const call = "clipGradNorm_";
  checkOptions(call, options, ["normType", "errorIfNonfinite"]);
  checkNumber(call, "maxNorm", maxNorm, 0);
  const p = checkNumber(call, "normType", options.normType ?? 2, 0);
  if (p === 0) throw new ArgumentError(`${call}: normType must be above 0`);
  const grads = checkList(call, parameters).flatMap((t) => t.autograd?.grad ?? []);
  return unrecorded(() => {
    let total = 0;
    for (const grad of grads) {
      const norm = normOf(grad, p);
      total = p === Number.POSITIVE_INFINITY ? Math.max(total, norm) : total + norm ** p;
    }
    if (p !== Number.POSITIVE_INFINITY) total **= 1 / p;
    if (options.errorIfNonfinite && !Number.isFinite(total)) {
      throw new GradientError(`${call}: the norm of the gradients is ${total}; some gradient is NaN or infinite`);
    }
    const factor = Math.min(maxNorm / (total + 1e-6), 1);
    if (factor < 1 || Number.isNaN(factor)) for (const grad of grads) mul_(grad, factor);
    return total;
  });
}

/** Cuts every element of all gradients off at -clipValue and clipValue. */
export function clipGradValue_(parameters: Tensor | Iterable<Tensor>, clipValue: number): void {
  checkNumber("clipGradValue_", "clipValue", clipValue, 0);
  const list = checkList("clipGradValue_", parameters);
  unrecorded(() => {
    for (const { grad } of list) {
      if (grad !== null) assign("clipGradValue_", grad, clamp(grad, { min: -clipValue, max: clipValue }));
    }
  });
}

/** All parameters one behind the other, as a constant vector. They must have one dtype. */
export function parametersToVector(parameters: Iterable<Tensor>): Tensor {
  const list = checkList("parametersToVector", parameters);
  const first = list[0];
  if (first === undefined) throw new ArgumentError("parametersToVector: the list of parameters is empty");
  const vector = empty([list.reduce((n, p) => n + p.numel(), 0)], first.dtype);
  let at = 0;
  unrecorded(() => {
    for (const p of list) {
      copyInto(reshape(narrow(vector, 0, at, p.numel()), p.shape), p);
      at += p.numel();
    }
  });
  return vector;
}

/** Copies a vector back into the parameters it was made of. */
export function vectorToParameters(vector: Tensor, parameters: Iterable<Tensor>): void {
  const list = checkList("vectorToParameters", parameters);
  const count = list.reduce((n, p) => n + p.numel(), 0);
  if (!isTensor(vector))
    throw new ArgumentError(`vectorToParameters: vector must be a tensor, got ${describe(vector)}`);
  if (vector.rank !== 1 || vector.numel() !== count) {
    throw new ShapeError(
      `vectorToParameters: the parameters take a vector [${count}], but it is ${format(vector.shape)}`,
    );
  }
  let at = 0;
  unrecorded(() => {
    for (const p of list) {
      assign("vectorToParameters", p, reshape(narrow(vector, 0, at, p.numel()), p.shape));
      at += p.numel();
    }
  });
}
