import { ShapeError } from "../core/errors.js";
import { format } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import { positionList, type Takes, take } from "./take.js";

/** Padding with elements of the padded tensor itself: which of them each position of the border shows. */

/** What padding holds: zeros, the image mirrored (without its edge), its edge repeated, or its other end. */
export type PaddingMode = "zeros" | "reflect" | "replicate" | "circular";

export const paddingModes: readonly PaddingMode[] = ["zeros", "reflect", "replicate", "circular"];

export type IndexedMode = Exclude<PaddingMode, "zeros">;

/** Which position of a dimension of `size` elements each padded position shows. */
function positions(call: string, mode: IndexedMode, size: number, before: number, after: number): Int32Array {
  // Cropping comes before wrapping around: the other end is that of what is left.
  const low = mode === "circular" ? Math.max(0, -before) : 0;
  const kept = mode === "circular" ? size - low - Math.max(0, -after) : size;
  return positionList(call, size + before + after, (i) => {
    const p = i - before;
    if (mode === "replicate") return Math.min(Math.max(p, 0), size - 1);
    if (mode === "reflect") return p < 0 ? -p : p >= size ? 2 * (size - 1) - p : p;
    return low + ((((p - low) % kept) + kept) % kept);
  });
}

export function checkIndexed(
  call: string,
  mode: IndexedMode,
  size: number,
  before: number,
  after: number,
  name: string,
): void {
  if (before === 0 && after === 0) return;
  const most = Math.max(before, after);
  if (size === 0)
    throw new ShapeError(`${call}: ${name} is empty, so there is nothing to ${mode}; only zeros can pad it`);
  if (mode === "reflect" && most >= size) {
    throw new ShapeError(
      `${call}: reflect padding must be smaller than the dimension, but ${most} is not smaller than ${size} in ${name}`,
    );
  }
  const kept = size - Math.max(0, -before) - Math.max(0, -after);
  if (mode === "circular" && most > kept) {
    throw new ShapeError(
      `${call}: circular padding must be at most the size of the dimension (it wraps around once), but ${most} is more than ${kept} in ${name}`,
    );
  }
}

/** The positions that a padded dimension shows, after checking that it can be padded so. */
export function paddedPositions(
  call: string,
  mode: IndexedMode,
  size: number,
  before: number,
  after: number,
  name: string,
): Int32Array {
  checkIndexed(call, mode, size, before, after, name);
  return positions(call, mode, size, before, after);
}

/** Pads the spatial dimensions of a batch of images for a convolution. */
export function padImages(
  call: string,
  x: Tensor,
  sides: { readonly before: readonly number[]; readonly after: readonly number[] },
  mode: IndexedMode,
): Tensor {
  const lead = x.rank - sides.before.length;
  const takes: Takes = x.shape.map((size, dim) => {
    const before = sides.before[dim - lead] ?? 0;
    const after = sides.after[dim - lead] ?? 0;
    if (dim < lead || (before === 0 && after === 0)) return null;
    return paddedPositions(call, mode, size, before, after, `dimension ${dim} of x ${format(x.shape)}`);
  });
  return take(x, takes);
}
