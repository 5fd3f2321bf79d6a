import { ShapeError } from "../core/errors.js";
import { format } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import { checkTensor, contiguous, sameDType } from "./kernel.js";
import { add, mul, rsqrt, square, sub } from "./pointwise.js";
import { mean } from "./reduce.js";

/** What all normalisations share. */

/** @internal A parameter as the kernels read it, or none. */
export const given = (t: Tensor | null | undefined): Tensor | null => (t ? contiguous(t) : null);

/**
 * @internal The derivative of a normalisation's own derivative. With xh = (x - mean) r, r = (variance + eps)^-1/2, means
 * over `dims`, and P(g) = g - mean(g) - xh mean(g xh): forward's gradient is dx = r P(g). Given the gradient `a` of dx,
 * and `more` for xh (from the gradient of dweight), this is what reaches g and x. Written in ops, for any order.
 */
export function secondDerivative(
  x: Tensor,
  g: Tensor,
  a: Tensor | null,
  more: Tensor | null,
  dims: readonly number[],
  eps: number,
): { toG: Tensor | null; toX: Tensor | null; normal: Tensor } {
  const average = (t: Tensor): Tensor => mean(t, { dim: dims, keepdim: true });
  const centred = sub(x, average(x));
  const r = rsqrt(add(average(square(centred)), eps));
  const normal = mul(centred, r);
  const project = (t: Tensor): Tensor => sub(sub(t, average(t)), mul(normal, average(mul(t, normal))));
  let toNormal = more;
  let scaleTerm: Tensor | null = null;
  if (a !== null) {
    const gNormal = average(mul(g, normal));
    const aNormal = average(mul(a, normal));
    const direct = mul(r, add(mul(a, gNormal), mul(g, aNormal)));
    toNormal = toNormal === null ? mul(direct, -1) : sub(toNormal, direct);
    // <a, P(g)> per mean, times dr/dx = -r² xh (per mean)
    const inner = sub(sub(average(mul(a, g)), mul(average(a), average(g))), mul(aNormal, gNormal));
    scaleTerm = mul(normal, mul(inner, square(r)));
  }
  let toX = toNormal === null ? null : mul(r, project(toNormal));
  if (toX !== null && scaleTerm !== null) toX = sub(toX, scaleTerm);
  return { toG: a === null ? null : mul(r, project(a)), toX, normal };
}

/** @internal The sum of those that are given. */
export const sumOrNull = (a: Tensor | null, b: Tensor | null): Tensor | null =>
  a === null ? b : b === null ? a : add(a, b);

/** @internal The product, if both are given. */
export const times = (a: Tensor | null, b: Tensor | null): Tensor | null =>
  a === null || b === null ? null : mul(a, b);

/** @internal Refuses a statistic or parameter that is not one number per channel of x. */
export function checkChannels(call: string, argument: string, t: Tensor | null, x: Tensor, channels: number): void {
  if (t === null) return;
  checkTensor(call, argument, t);
  sameDType(call, "x", x, argument, t);
  if (t.rank !== 1 || t.shape[0] !== channels) {
    throw new ShapeError(
      `${call}: ${argument} must be [${channels}], one per channel of x ${format(x.shape)}, but it is ${format(t.shape)}`,
    );
  }
}
