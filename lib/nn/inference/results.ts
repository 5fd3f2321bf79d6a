import { ArgumentError } from "../../core/errors.js";
import { isPlainObject } from "../../core/options.js";
import { describe } from "../../core/shape.js";
import { isTensor, type Tensor } from "../../core/tensor.js";

/** What a forward returns: a tensor, or lists and plain objects of such. */

/** @internal All tensors of a result, in order. */
export function tensorsOf(result: unknown): Tensor[] {
  if (isTensor(result)) return [result];
  if (Array.isArray(result)) return result.flatMap(tensorsOf);
  if (isPlainObject(result)) return Object.values(result).flatMap(tensorsOf);
  if (result === null || result === undefined) return [];
  throw new ArgumentError(
    `optimizeForInference: forward must return tensors, or lists and plain objects of them, but returned ${describe(result)}`,
  );
}

/** @internal The same result with other tensors, in the order of `tensorsOf`. */
export function rebuilt(result: unknown, tensors: readonly Tensor[]): unknown {
  let next = 0;
  const build = (value: unknown): unknown => {
    if (isTensor(value)) return tensors[next++];
    if (Array.isArray(value)) return value.map(build);
    if (isPlainObject(value))
      return Object.fromEntries(Object.entries(value).map(([name, entry]) => [name, build(entry)]));
    return value;
  };
  return build(result);
}
