import type { DType } from "../core/dtype.js";
import type { Shape } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import type { Edge } from "./node.js";

/** The few operations the engine itself needs. The engine knows no op; lib/ops installs these. */
export interface Primitives {
  add(a: Tensor, b: Tensor): Tensor;
  /** a += b, unrecorded, for memory that only the engine holds. */
  addInto(a: Tensor, b: Tensor): void;
  filled(shape: Shape, dtype: DType, value: number): Tensor;
  /** A contiguous copy with memory of its own. */
  clone(t: Tensor): Tensor;
  cast(t: Tensor, dtype: DType): Tensor;
  /** The edge of a view of `base` with the view's geometry, recorded anew. */
  viewEdge(base: Tensor, view: Tensor): Edge | null;
  /** Sums over what was repeated, so that the result has `shape`. */
  sumTo(t: Tensor, shape: Shape): Tensor;
  /** Zeros with a 1 at one position in row-major order. */
  oneHot(shape: Shape, dtype: DType, element: number): Tensor;
  /** Equal tensors one after another, with the elements of the whole in `shape`; recorded. */
  stack(rows: readonly Tensor[], shape: Shape): Tensor;
  /** The state of the default random generator. */
  randomState(): unknown;
  setRandomState(state: unknown): void;
  /** Whether any element is NaN. */
  hasNaN(t: Tensor): boolean;
}

let installed: Primitives;

export function installPrimitives(given: Primitives): void {
  installed = given;
}

export function primitives(): Primitives {
  return installed;
}
