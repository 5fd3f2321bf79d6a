import { isGradEnabled } from "../autograd/mode.js";
import type { DType } from "../core/dtype.js";
import { isTensor, type Tensor } from "../core/tensor.js";
import * as activation from "./activation.js";
import { type ClampOptions, clamp } from "./clamp.js";
import * as indexing from "./indexing.js";
import { assign, checkKind } from "./inplace.js";
import * as items from "./items.js";
import { checkTensor } from "./kernel.js";
import { installMethods } from "./methods.js";
import type { Operand } from "./pointwise.js";
import * as pointwise from "./pointwise.js";
import * as power from "./power.js";
import * as scatters from "./scatter.js";
import { clone } from "./view.js";
import { maskedFill, where } from "./where.js";

/**
 * In-place twins of functions of the same name: the values are computed first, then written, so a call that throws
 * changes nothing. Recording, versions and refusals are those of every in-place operation (inplace.ts).
 */

type InPlace<Rest extends unknown[]> = <D extends DType>(x: Tensor<D>, ...rest: Rest) => Tensor<D>;

/** `reads` says that the derivative needs the old values: they are copied before they are overwritten. */
function inPlace<Rest extends unknown[]>(
  name: string,
  compute: (x: never, ...rest: Rest) => Tensor,
  reads: "reads" | "" = "",
): InPlace<Rest> {
  return <D extends DType>(x: Tensor<D>, ...rest: Rest): Tensor<D> => {
    checkTensor(name, "the target", x);
    const copy = reads === "reads" && isGradEnabled() && [x, ...rest].some((t) => isTensor(t) && t.requiresGrad);
    const old = copy ? clone(x) : x;
    return assign(name, x, checkKind(name, x, (compute as (x: Tensor, ...rest: Rest) => Tensor)(old, ...rest)));
  };
}

/** x becomes |x|. */
export const abs_: InPlace<[]> = inPlace("abs_", pointwise.abs, "reads");
/** x becomes -x. */
export const neg_: InPlace<[]> = inPlace("neg_", pointwise.neg);
/** x becomes e to the power of x. */
export const exp_: InPlace<[]> = inPlace("exp_", pointwise.exp);
/** x becomes its natural logarithm. */
export const log_: InPlace<[]> = inPlace("log_", pointwise.log, "reads");
/** x becomes its square root. */
export const sqrt_: InPlace<[]> = inPlace("sqrt_", pointwise.sqrt);
/** x becomes 1 / sqrt(x). */
export const rsqrt_: InPlace<[]> = inPlace("rsqrt_", pointwise.rsqrt);
/** x becomes 1 / x. */
export const reciprocal_: InPlace<[]> = inPlace("reciprocal_", pointwise.reciprocal);
/** x becomes x * x. */
export const square_: InPlace<[]> = inPlace("square_", pointwise.square, "reads");
/** x becomes its sine. */
export const sin_: InPlace<[]> = inPlace("sin_", pointwise.sin, "reads");
/** x becomes its cosine. */
export const cos_: InPlace<[]> = inPlace("cos_", pointwise.cos, "reads");
/** x is rounded down. */
export const floor_: InPlace<[]> = inPlace("floor_", pointwise.floor);
/** x is rounded up. */
export const ceil_: InPlace<[]> = inPlace("ceil_", pointwise.ceil);
/** x is rounded to the nearest integer, halves to even. */
export const round_: InPlace<[]> = inPlace("round_", pointwise.round);
/** x becomes max(x, 0). */
export const relu_: InPlace<[]> = inPlace("relu_", activation.relu);
/** x becomes 1 / (1 + exp(-x)). */
export const sigmoid_: InPlace<[]> = inPlace("sigmoid_", activation.sigmoid);
/** x becomes its hyperbolic tangent. */
export const tanh_: InPlace<[]> = inPlace("tanh_", activation.tanh);
/** x is brought into [min, max]; see `clamp`. */
export const clamp_: InPlace<[min?: Operand | ClampOptions | null, max?: Operand | null]> = inPlace(
  "clamp_",
  clamp,
  "reads",
);
/** x becomes x ** exponent; see `pow`. */
export const pow_: InPlace<[exponent: Operand]> = inPlace(
  "pow_",
  (x: Tensor, exponent: Operand) => power.pow(x, exponent),
  "reads",
);
/** x becomes fmod(x, other): what remains has the sign of x. */
export const fmod_: InPlace<[other: Operand]> = inPlace(
  "fmod_",
  (x: Tensor, other: Operand) => power.fmod(x, other),
  "reads",
);
/** x becomes remainder(x, other): what remains has the sign of other. */
export const remainder_: InPlace<[other: Operand]> = inPlace(
  "remainder_",
  (x: Tensor, other: Operand) => power.remainder(x, other),
  "reads",
);
/** x moves towards end: x + weight (end - x). */
export const lerp_: InPlace<[end: Tensor, weight: Operand]> = inPlace("lerp_", power.lerp);
/** x becomes x + value * a * b; value is 1 by default. */
export const addcmul_: InPlace<[a: Tensor, b: Tensor, options?: { value?: number }]> = inPlace(
  "addcmul_",
  power.addcmul,
);
/** x becomes x + value * a / b; value is 1 by default. */
export const addcdiv_: InPlace<[a: Tensor, b: Tensor, options?: { value?: number }]> = inPlace(
  "addcdiv_",
  power.addcdiv,
);
/** x becomes `value` where the mask (bool, broadcasts to x) is true. */
export const maskedFill_: InPlace<[mask: Tensor, value: Operand]> = inPlace("maskedFill_", maskedFill);
/** x takes the elements of source in order where the mask is true; see `maskedScatter`. */
export const maskedScatter_: InPlace<[mask: Tensor, source: Tensor]> = inPlace("maskedScatter_", items.maskedScatter);
/** alpha * source is added at the entries of `dim` named by index; see `indexAdd`. */
export const indexAdd_: InPlace<[dim: number, index: Tensor, source: Tensor, options?: { alpha?: number }]> = inPlace(
  "indexAdd_",
  indexing.indexAdd,
);
/** The entries of `dim` named by index become those of source; see `indexCopy`. */
export const indexCopy_: InPlace<[dim: number, index: Tensor, source: Tensor]> = inPlace(
  "indexCopy_",
  indexing.indexCopy,
);
/** The entries of `dim` named by index become `value`; see `indexFill`. */
export const indexFill_: InPlace<[dim: number, index: Tensor, value: number | Tensor]> = inPlace(
  "indexFill_",
  indexing.indexFill,
);
/** Elements along `dim` become those of source; see `scatter`. */
export const scatter_: InPlace<[dim: number, index: Tensor, source: Tensor | number]> = inPlace(
  "scatter_",
  scatters.scatter,
);
/** source is added to elements along `dim`; see `scatterAdd`. */
export const scatterAdd_: InPlace<[dim: number, index: Tensor, source: Tensor | number]> = inPlace(
  "scatterAdd_",
  scatters.scatterAdd,
);

/** x where the condition holds is kept, elsewhere it becomes `other`. */
export const where_: InPlace<[condition: Tensor, other: Operand]> = inPlace(
  "where_",
  (x: Tensor, condition: Tensor, other: Operand) => where(condition, x, other),
);

declare module "../core/tensor.js" {
  interface Tensor<D extends DType = DType> {
    abs_(): Tensor<D>;
    neg_(): Tensor<D>;
    exp_(): Tensor<D>;
    log_(): Tensor<D>;
    sqrt_(): Tensor<D>;
    rsqrt_(): Tensor<D>;
    reciprocal_(): Tensor<D>;
    square_(): Tensor<D>;
    sin_(): Tensor<D>;
    cos_(): Tensor<D>;
    floor_(): Tensor<D>;
    ceil_(): Tensor<D>;
    round_(): Tensor<D>;
    relu_(): Tensor<D>;
    sigmoid_(): Tensor<D>;
    tanh_(): Tensor<D>;
    clamp_(min?: Operand | ClampOptions | null, max?: Operand | null): Tensor<D>;
    pow_(exponent: Operand): Tensor<D>;
    fmod_(other: Operand): Tensor<D>;
    remainder_(other: Operand): Tensor<D>;
    lerp_(end: Tensor, weight: Operand): Tensor<D>;
    addcmul_(a: Tensor, b: Tensor, options?: { value?: number }): Tensor<D>;
    addcdiv_(a: Tensor, b: Tensor, options?: { value?: number }): Tensor<D>;
    maskedFill_(mask: Tensor, value: Operand): Tensor<D>;
    maskedScatter_(mask: Tensor, source: Tensor): Tensor<D>;
    indexAdd_(dim: number, index: Tensor, source: Tensor, options?: { alpha?: number }): Tensor<D>;
    indexCopy_(dim: number, index: Tensor, source: Tensor): Tensor<D>;
    indexFill_(dim: number, index: Tensor, value: number | Tensor): Tensor<D>;
    scatter_(dim: number, index: Tensor, source: Tensor | number): Tensor<D>;
    scatterAdd_(dim: number, index: Tensor, source: Tensor | number): Tensor<D>;
  }
}

installMethods({ abs_, neg_, exp_, log_, sqrt_, rsqrt_, reciprocal_, square_, sin_, cos_, floor_, ceil_, round_ });
installMethods({ relu_, sigmoid_, tanh_, clamp_, pow_, fmod_, remainder_, lerp_, addcmul_, addcdiv_ });
installMethods({ maskedFill_, maskedScatter_, indexAdd_, indexCopy_, indexFill_, scatter_, scatterAdd_ });
