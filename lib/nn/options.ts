import type { FloatDType } from "../core/dtype.js";
import { DTypeError, ShapeError } from "../core/errors.js";
import { checkOptions } from "../core/options.js";
import { describe, format } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";

/** What the constructors of layers have in common. */

/** In the place of a channel count: it is taken from the first input. Only lazy layers pass it. */
export const later: number = Symbol("later") as unknown as number;

/** Refuses an input with another number of dimensions than the layer's. */
export function checkRank(call: string, x: Tensor, ranks: readonly number[], layout: string): void {
  if (!ranks.includes(x.rank)) throw new ShapeError(`${call}: x must be ${layout}, but it is ${format(x.shape)}`);
}

/** What a layer takes by position, or by name in one object, as the function of the same name does. */
export function byName<N extends string>(
  call: string,
  names: readonly N[],
  ...given: readonly unknown[]
): readonly (number | undefined)[] {
  const [first] = given;
  if (typeof first !== "object" || first === null) return given as readonly (number | undefined)[];
  checkOptions(call, first, names);
  return names.map((name) => (first as Partial<Record<N, number>>)[name]);
}

/** The element type of a layer's parameters; default float32. */
export function floatDType(call: string, dtype: unknown): FloatDType {
  if (dtype === undefined) return "float32";
  if (dtype !== "float32" && dtype !== "float64")
    throw new DTypeError(`${call}: dtype must be "float32" or "float64", got ${describe(dtype)}`);
  return dtype;
}
