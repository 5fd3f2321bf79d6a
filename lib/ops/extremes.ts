import { unrecorded } from "../autograd/mode.js";
import type { DType } from "../core/dtype.js";
import { IndexError } from "../core/errors.js";
import { format } from "../core/shape.js";
import { isTensor, type Tensor } from "../core/tensor.js";
import { type DimOptions, extremes, readDimOptions } from "./argmax.js";
import { eq } from "./compare.js";
import { defineOp, type Op } from "./define.js";
import { copied } from "./kernel.js";
import { installMethods } from "./methods.js";
import { div } from "./pointwise.js";
import { maximum, minimum } from "./power.js";
import { type ReduceOptions, reduceDims, reducedShape, reduceOptions, sum } from "./reduce.js";
import { gather } from "./scatter.js";
import { cast, reshape, squeeze } from "./view.js";
import { where } from "./where.js";

/** The largest and smallest elements, and who gets their gradients. */

type Dims = ReduceOptions | number | readonly number[];

interface Reduced {
  readonly dims: readonly number[];
  readonly keepdim: boolean;
}

/** A reduced tensor in the shape that it broadcasts from. */
function spread(t: Tensor, shape: readonly number[], dims: readonly number[]): Tensor {
  return reshape(t, reducedShape(shape, dims, true));
}

const attainedOp: Op<"x" | "value", Reduced> = defineOp<"x" | "value", Reduced>({
  // `value` is attained in x (over dims): its gradient is shared evenly by all elements equal to it.
  name: "attained",
  inputs: ["x", "value"],
  forward: ([, value]) => copied(value!),
  grad: {
    x: {
      reads: ["x", "value"],
      formula: (c) => {
        const x = c.input("x");
        const { dims } = c.options;
        const value = spread(c.input("value"), x.shape, dims);
        const mask = eq(x, value);
        const count = dims.length === 0 ? 1 : sum(cast(mask, x.dtype), { dim: dims, keepdim: true });
        return where(mask, div(spread(c.dy, x.shape, dims), count), 0);
      },
    },
  },
  samples: () => [
    {
      // The value does not follow x here, as it does where amax or median took it from x.
      inputs: { x: (r) => r.integers([3, 5], 0, 3).to(r.dtype), value: (r) => r.integers([3], 0, 3).to(r.dtype) },
      options: { dims: [1], keepdim: false },
      skip: ["gradcheck", "gradgradcheck"],
    },
  ],
});

const extremeOps: Record<"max" | "min", Op<"x", Reduced>> = {
  max: defineExtreme("amax", "max"),
  min: defineExtreme("amin", "min"),
};

function defineExtreme(name: string, op: "max" | "min"): Op<"x", Reduced> {
  return defineOp<"x", Reduced>({
    name,
    inputs: ["x"],
    composite: true,
    forward: ([x], { dims, keepdim }) =>
      dims.length === 0 ? copied(x!) : reshape(reduceDims(op, x!, dims), reducedShape(x!.shape, dims, keepdim)),
    grad: {
      x: {
        reads: ["x", "output"],
        formula: (c) => {
          const x = c.input("x");
          const { dims } = c.options;
          const mask = eq(x, spread(c.output(), x.shape, dims));
          const count = dims.length === 0 ? 1 : sum(cast(mask, x.dtype), { dim: dims, keepdim: true });
          return where(mask, div(spread(c.dy, x.shape, dims), count), 0);
        },
      },
    },
    samples: () => [
      { inputs: { x: (r) => r.distinct([3, 5]) }, options: { dims: [0, 1], keepdim: false } },
      { inputs: { x: (r) => r.distinct([2, 3, 4]) }, options: { dims: [1], keepdim: true } },
      { inputs: { x: (r) => r.distinct([2, 3, 4]) }, options: { dims: [0, 2], keepdim: false } },
      { inputs: { x: (r) => r.distinct([]) }, options: { dims: [], keepdim: false } },
    ],
  });
}

function extreme<D extends DType>(call: string, op: "max" | "min", x: Tensor<D>, options: Dims | undefined): Tensor<D> {
  const { dims, keepdim } = reduceOptions(call, x, options);
  const empty = dims.find((d) => x.shape[d] === 0);
  if (empty !== undefined) {
    throw new IndexError(`${call}: dimension ${empty} of ${format(x.shape)} has no elements to choose from`);
  }
  const small = x.dtype === "bool" || x.dtype === "uint8";
  const y = extremeOps[op]([small ? cast(x, "int32") : x], { dims, keepdim });
  return (small ? cast(y, x.dtype) : y) as Tensor<D>;
}

/** The largest elements over `dim` (one or several; all by default); equal ones share the gradient evenly. NaN wins. */
export function amax<D extends DType>(x: Tensor<D>, options?: Dims): Tensor<D> {
  return extreme("amax", "max", x, options);
}

/** The smallest elements over `dim` (one or several; all by default); equal ones share the gradient evenly. NaN wins. */
export function amin<D extends DType>(x: Tensor<D>, options?: Dims): Tensor<D> {
  return extreme("amin", "min", x, options);
}

/** Elements of a dimension, and where they were (int32). */
export interface ValuesAndIndices<D extends DType = DType> {
  readonly values: Tensor<D>;
  readonly indices: Tensor<"int32">;
}

/** @internal x's elements at `indices`, which keep `dim` with any size: the gradient goes to them. */
export function picked<D extends DType>(
  x: Tensor<D>,
  dim: number,
  indices: Tensor,
  keepdim: boolean,
): ValuesAndIndices<D> {
  const values = gather(x, dim, indices);
  if (keepdim || x.rank === 0) return { values, indices: indices as Tensor<"int32"> };
  return { values: squeeze(values, dim), indices: squeeze(indices, dim) as Tensor<"int32"> };
}

function extremeOver<D extends DType>(
  call: string,
  op: "max" | "min",
  x: Tensor<D>,
  second: DimOptions | number | Tensor | undefined,
  keepdim: boolean | undefined,
): Tensor<D> | ValuesAndIndices<D> {
  if (isTensor(second)) return (op === "max" ? maximum : minimum)(x, second);
  const o = readDimOptions(call, x, second, keepdim);
  if (o.dim === null) return extreme(call, op, x, { keepdim: o.keepdim });
  const dim = o.dim;
  const { indices } = unrecorded(() => extremes(call, op, x as Tensor, dim));
  if (x.rank === 0) return { values: reshape(x, []), indices: reshape(indices, []) as Tensor<"int32"> };
  return picked(x, dim, indices, o.keepdim);
}

/**
 * The largest element of all (equal ones share the gradient evenly); with `dim` the largest of that dimension and where
 * it is, `{ values, indices }` (the gradient goes to the index, the first of equals); with another tensor `maximum`.
 */
export function max<D extends DType>(x: Tensor<D>): Tensor<D>;
export function max<D extends DType>(x: Tensor<D>, other: Tensor<D>): Tensor<D>;
export function max<D extends DType>(
  x: Tensor<D>,
  options: { dim: number; keepdim?: boolean } | number,
  keepdim?: boolean,
): ValuesAndIndices<D>;
export function max<D extends DType>(
  x: Tensor<D>,
  second?: DimOptions | number | Tensor,
  keepdim?: boolean,
): Tensor<D> | ValuesAndIndices<D> {
  return extremeOver("max", "max", x, second, keepdim);
}

/**
 * The smallest element of all (equal ones share the gradient evenly); with `dim` the smallest of that dimension and
 * where it is, `{ values, indices }`; with another tensor `minimum`.
 */
export function min<D extends DType>(x: Tensor<D>): Tensor<D>;
export function min<D extends DType>(x: Tensor<D>, other: Tensor<D>): Tensor<D>;
export function min<D extends DType>(
  x: Tensor<D>,
  options: { dim: number; keepdim?: boolean } | number,
  keepdim?: boolean,
): ValuesAndIndices<D>;
export function min<D extends DType>(
  x: Tensor<D>,
  second?: DimOptions | number | Tensor,
  keepdim?: boolean,
): Tensor<D> | ValuesAndIndices<D> {
  return extremeOver("min", "min", x, second, keepdim);
}

/** @internal A value that elements of x equal; they share its gradient evenly. */
export function attained<D extends DType>(x: Tensor<D>, value: Tensor<D>, dims: readonly number[]): Tensor<D> {
  return attainedOp([x, value.detach()], { dims, keepdim: false }) as Tensor<D>;
}

declare module "../core/tensor.js" {
  interface Tensor<D extends DType = DType> {
    amax(options?: ReduceOptions | number | readonly number[]): Tensor<D>;
    amin(options?: ReduceOptions | number | readonly number[]): Tensor<D>;
    max(): Tensor<D>;
    max(other: Tensor<D>): Tensor<D>;
    max(options: { dim: number; keepdim?: boolean } | number, keepdim?: boolean): ValuesAndIndices<D>;
    min(): Tensor<D>;
    min(other: Tensor<D>): Tensor<D>;
    min(options: { dim: number; keepdim?: boolean } | number, keepdim?: boolean): ValuesAndIndices<D>;
  }
}

installMethods({ amax, amin, max, min });
