import type { FloatDType } from "../core/dtype.js";
import { DTypeError } from "../core/errors.js";
import { describe } from "../core/shape.js";

/** What the constructors of layers have in common. */

/** In the place of a channel count: it is taken from the first input. Only lazy layers pass it. */
export const later: number = Symbol("later") as unknown as number;

/** The element type of a layer's parameters; default float32. */
export function floatDType(call: string, dtype: unknown): FloatDType {
  if (dtype === undefined) return "float32";
  if (dtype !== "float32" && dtype !== "float64")
    throw new DTypeError(`${call}: dtype must be "float32" or "float64", got ${describe(dtype)}`);
  return dtype;
}
