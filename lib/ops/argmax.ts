import { unrecorded } from "../autograd/mode.js";
import { reduceCodes } from "../backend/abi.js";
import { run } from "../backend/run.js";
import type { DType } from "../core/dtype.js";
import { IndexError } from "../core/errors.js";
import { checkBoolean, checkOptions } from "../core/options.js";
import { format, normalizeDim } from "../core/shape.js";
import { empty, type Tensor } from "../core/tensor.js";
import { around, checkTensor, contiguous } from "./kernel.js";
import { installMethods } from "./methods.js";
import { cast } from "./view.js";

/** Where the largest or smallest element of a dimension is. Indices are int32. */

/** One dimension, and whether it stays with size 1. */
export interface DimOptions {
  /** Negative ones count from the end; all elements if left out. */
  readonly dim?: number;
  /** Default false. */
  readonly keepdim?: boolean;
}

/** @internal Reads { dim, keepdim } given as an object or as a dim and keepdim. */
export function readDimOptions(
  call: string,
  x: unknown,
  given: DimOptions | number | undefined,
  keepdim?: boolean,
): { dim: number | null; keepdim: boolean } {
  checkTensor(call, "x", x);
  const options: DimOptions = typeof given === "number" ? { dim: given } : (given ?? {});
  checkOptions(call, options, ["dim", "keepdim"]);
  return {
    dim: options.dim === undefined || options.dim === null ? null : normalizeDim(call, options.dim, x.rank),
    keepdim: options.keepdim ?? (keepdim === undefined ? false : checkBoolean(call, "keepdim", keepdim)),
  };
}

/** @internal Values and indices of the extremes of one dimension, which stays with size 1; unrecorded. */
export function extremes(call: string, op: "max" | "min", x: Tensor, dim: number): { values: Tensor; indices: Tensor } {
  const { outer, count, inner } = around(x.shape, dim);
  if (count === 0) {
    throw new IndexError(`${call}: dimension ${dim} of ${format(x.shape)} has no elements to choose from`);
  }
  const from = unrecorded(() => contiguous(x.dtype === "bool" || x.dtype === "uint8" ? cast(x, "int32") : x));
  const shape = x.shape.map((s, i) => (i === dim ? 1 : s));
  const values = empty(shape, from.dtype);
  const indices = empty(shape, "int32");
  run("arg_reduce", from.dtype, [reduceCodes.indexOf(op), outer, count, inner], [from, values, indices]);
  return { values: x.dtype === from.dtype ? values : unrecorded(() => cast(values as Tensor, x.dtype)), indices };
}

function arg(
  call: string,
  op: "max" | "min",
  x: Tensor,
  given: DimOptions | number | undefined,
  keep: boolean | undefined,
): Tensor<"int32"> {
  const { dim, keepdim } = readDimOptions(call, x, given, keep);
  const indices = unrecorded(() => {
    if (dim !== null) return extremes(call, op, x, dim).indices;
    const flat = extremes(call, op, x.detach().reshape([-1]), 0).indices;
    return flat.reshape(x.shape.map(() => 1));
  }) as Tensor<"int32">;
  return keepdim ? indices : dim === null ? indices.reshape([]) : indices.squeeze(x.rank === 0 ? [] : dim);
}

/** The index of the largest element over all (of the flattened tensor) or along `dim`; the first of equals, NaN is largest. */
export function argmax(x: Tensor, options?: DimOptions | number, keepdim?: boolean): Tensor<"int32"> {
  return arg("argmax", "max", x, options, keepdim);
}

/** The index of the smallest element over all (of the flattened tensor) or along `dim`; the first of equals, NaN is smallest. */
export function argmin(x: Tensor, options?: DimOptions | number, keepdim?: boolean): Tensor<"int32"> {
  return arg("argmin", "min", x, options, keepdim);
}

declare module "../core/tensor.js" {
  interface Tensor<D extends DType = DType> {
    argmax(options?: DimOptions | number, keepdim?: boolean): Tensor<"int32">;
    argmin(options?: DimOptions | number, keepdim?: boolean): Tensor<"int32">;
  }
}

installMethods({ argmax, argmin });
