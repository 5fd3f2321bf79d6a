/** Which outputs of a sliding window read inside the input: position p of tap t reads p * stride - pad + t * dilation. */

/** Along one dimension. `shift` is tap * dilation - pad. Returns the first p >= 0 that reads at 0 or later. */
export function firstInside(shift: number, stride: number): number {
  return shift >= 0 ? 0 : Math.ceil(-shift / stride);
}

/** One past the last p < `out` that reads before `size`; at most firstInside if there is none. */
export function pastInside(shift: number, stride: number, size: number, out: number): number {
  return Math.min(out, Math.floor((size - 1 - shift) / stride) + 1);
}
