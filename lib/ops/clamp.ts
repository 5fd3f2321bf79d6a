import { type DType, isFloating } from "../core/dtype.js";
import { ArgumentError } from "../core/errors.js";
import { checkNumber, checkOptions } from "../core/options.js";
import { describe } from "../core/shape.js";
import { isTensor, type Tensor } from "../core/tensor.js";
import { clampBetween } from "./activation.js";
import { ge, gt, logicalAnd, logicalOr, lt } from "./compare.js";
import { defineOp, type Op } from "./define.js";
import { binary, filled, sameDType } from "./kernel.js";
import { installMethods } from "./methods.js";
import type { Operand } from "./pointwise.js";
import { maximum, minimum } from "./power.js";
import { cast, sumTo } from "./view.js";
import { where } from "./where.js";

/** Bringing numbers between bounds. */

type ClampInput = "x" | "min" | "max";

const clampTensorsOp: Op<ClampInput, undefined> = defineOp<ClampInput, undefined>({
  // Bounds are tensors or absent; where they cross the upper one holds.
  name: "clamp_tensors",
  inputs: ["x", "min", "max"],
  composite: true,
  forward: ([x, min, max]) => {
    const raised = min ? binary("maximum", x!, min, 0, 0, "clamp") : x!;
    return max ? binary("minimum", raised, max, 0, 0, "clamp") : raised;
  },
  grad: {
    x: {
      reads: ["x", "min", "max"],
      formula: (c) => {
        const [x, min, max] = [c.input("x"), c.optional("min"), c.optional("max")];
        let dy = c.dy;
        if (min !== null) dy = where(ge(x, min), dy, 0);
        if (max !== null) dy = where(ge(max, x), dy, 0);
        return sumTo(dy, c.shape("x"));
      },
    },
    min: {
      reads: ["x", "min", "max"],
      formula: (c) => {
        const [x, min, max] = [c.input("x"), c.input("min"), c.optional("max")];
        const below = max === null ? lt(x, min) : logicalAnd(lt(x, min), lt(min, max));
        return sumTo(where(below, c.dy, 0), c.shape("min"));
      },
    },
    max: {
      reads: ["x", "min", "max"],
      formula: (c) => {
        const [x, min, max] = [c.input("x"), c.optional("min"), c.input("max")];
        const above = min === null ? gt(x, max) : logicalOr(gt(x, max), lt(max, min));
        return sumTo(where(above, c.dy, 0), c.shape("max"));
      },
    },
  },
  samples: () => [
    { inputs: { x: (r) => r.distinct([3, 7]), min: (r) => r.uniform([7], -0.6, -0.2), max: null } },
    {
      inputs: { x: (r) => r.distinct([3, 7]), min: (r) => r.uniform([], -0.6, -0.2), max: (r) => r.uniform([7], 0, 1) },
    },
  ],
});

export interface ClampOptions {
  /** The least value; none if left out. */
  readonly min?: Operand | null;
  /** The largest value; none if left out. */
  readonly max?: Operand | null;
}

/**
 * x brought into [min, max]: numbers or tensors, of which one may be missing. Given as `clamp(x, min, max)` (null for
 * none) or `clamp(x, { min, max })`. The derivative is 1 at both bounds; tensors as bounds have gradients too.
 */
export function clamp<D extends DType>(
  x: Tensor<D>,
  min?: Operand | ClampOptions | null,
  max?: Operand | null,
): Tensor<D> {
  const call = "clamp";
  if (!isTensor(x)) throw new ArgumentError(`${call}: x must be a tensor, got ${describe(x)}`);
  const bounds: ClampOptions =
    typeof min === "object" && min !== null && !isTensor(min)
      ? min
      : { min: (min as Operand) ?? null, max: max ?? null };
  checkOptions(call, bounds, ["min", "max"]);
  const low = bounds.min ?? null;
  const high = bounds.max ?? null;
  if (low === null && high === null) throw new ArgumentError(`${call}: at least one of min and max must be given`);
  for (const [name, bound] of Object.entries({ min: low, max: high })) {
    if (bound !== null && !isTensor(bound)) checkNumber(call, name, bound);
  }
  if (!isTensor(low) && !isTensor(high) && isFloating(x.dtype)) {
    return clampBetween(x, low ?? -Infinity, high ?? Infinity) as Tensor<D>;
  }
  if (isFloating(x.dtype)) {
    const asTensor = (bound: Operand | null, name: string): Tensor | null => {
      if (bound === null || typeof bound === "number") return bound === null ? null : filled([], x.dtype, bound);
      if (isFloating(bound.dtype)) sameDType(call, "x", x, name, bound);
      return cast(bound, x.dtype);
    };
    return clampTensorsOp([x, asTensor(low, "min"), asTensor(high, "max")], undefined) as Tensor<D>;
  }
  let y: Tensor = x;
  if (low !== null) y = maximum(y, low);
  if (high !== null) y = minimum(y, high);
  return y as Tensor<D>;
}

declare module "../core/tensor.js" {
  interface Tensor<D extends DType = DType> {
    clamp(min?: Operand | ClampOptions | null, max?: Operand | null): Tensor<D>;
  }
}

installMethods({ clamp });
