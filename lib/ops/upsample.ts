import type { DType } from "../core/dtype.js";
import { ArgumentError, ShapeError } from "../core/errors.js";
import { checkChoice, checkNumber, checkOptions } from "../core/options.js";
import { checkShape, describe, format } from "../core/shape.js";
import { empty, type Tensor } from "../core/tensor.js";
import { adaptiveAvgPool1d, adaptiveAvgPool2d, adaptiveAvgPool3d } from "./adaptive_pool.js";
import { add, mul } from "./pointwise.js";
import { checkFlag, checkPlanes } from "./pool_geometry.js";
import { positionList, take } from "./take.js";
import { dimensionName, type PerDimension, perDimension, spatial } from "./window.js";

/** Images of another size: by the nearest pixel, by interpolation between neighbours, or by averages. */

export type InterpolateMode = "nearest" | "nearest-exact" | "linear" | "bilinear" | "trilinear" | "bicubic" | "area";

const modes: readonly InterpolateMode[] = [
  "nearest",
  "nearest-exact",
  "linear",
  "bilinear",
  "trilinear",
  "bicubic",
  "area",
];

/** How many spatial dimensions a mode is for; 0: any. */
const dimensionsOf: Record<InterpolateMode, number> = {
  nearest: 0,
  "nearest-exact": 0,
  linear: 1,
  bilinear: 2,
  trilinear: 3,
  bicubic: 2,
  area: 0,
};

export interface InterpolateOptions {
  /** The sizes of the result; give this or scaleFactor. */
  readonly size?: PerDimension | null;
  /** How many times larger the result is (rounded down). */
  readonly scaleFactor?: number | readonly number[] | null;
  /** Default "nearest". */
  readonly mode?: InterpolateMode;
  /** Whether the corner pixels' centres stay where they are; for linear, bilinear, trilinear and bicubic. Default false. */
  readonly alignCorners?: boolean;
}

/** How positions of one dimension of the result relate to those of the input. */
interface Axis {
  readonly size: number;
  readonly out: number;
  /** The given factor; null where it follows from the sizes. */
  readonly factor: number | null;
}

/** The nearest input position of each output position; PyTorch finds it in float32. */
function nearestPositions(call: string, { size, out, factor }: Axis, exact: boolean): Int32Array {
  const scale = Math.fround(factor === null ? size / out : 1 / factor);
  return positionList(call, out, (i) => {
    if (!exact && out === size) return i;
    if (!exact && out === 2 * size) return i >> 1;
    const at = exact ? Math.fround((i + 0.5) * scale) : Math.fround(i * scale);
    return Math.min(Math.floor(at), size - 1);
  });
}

/** For each output position where it lies between the input's pixels. */
function sourcePosition({ size, out, factor }: Axis, i: number, alignCorners: boolean): number {
  if (alignCorners) return out > 1 ? (i * (size - 1)) / (out - 1) : 0;
  return (factor === null ? size / out : 1 / factor) * (i + 0.5) - 0.5;
}

/** One neighbour of every output position, and its weight. */
interface Tap {
  readonly positions: Int32Array;
  readonly weights: Float64Array;
}

/** Taps first, first + 1, ... of every output position, those outside moved to the edge. */
function tapsOf(call: string, axis: Axis, first: (i: number) => number, weights: ((i: number) => number)[]): Tap[] {
  return weights.map((weight, k) => {
    const positions = positionList(call, axis.out, (i) => Math.min(Math.max(first(i) + k, 0), axis.size - 1));
    return { positions, weights: Float64Array.from(positions, (_, i) => weight(i)) };
  });
}

function linearTaps(call: string, axis: Axis, alignCorners: boolean): Tap[] {
  const at = (i: number): number => Math.max(0, sourcePosition(axis, i, alignCorners));
  const first = (i: number): number => Math.min(Math.floor(at(i)), axis.size - 1);
  const fraction = (i: number): number => Math.min(at(i) - first(i), 1);
  return tapsOf(call, axis, first, [(i) => 1 - fraction(i), fraction]);
}

/** Keys' cubic convolution with a = -0.75 (R. Keys, 1981), as PyTorch uses it. */
function cubicTaps(call: string, axis: Axis, alignCorners: boolean): Tap[] {
  const a = -0.75;
  const near = (t: number): number => ((a + 2) * t - (a + 3)) * t * t + 1;
  const far = (t: number): number => ((a * t - 5 * a) * t + 8 * a) * t - 4 * a;
  const at = (i: number): number => sourcePosition(axis, i, alignCorners);
  const t = (i: number): number => at(i) - Math.floor(at(i));
  return tapsOf(call, axis, (i) => Math.floor(at(i)) - 1, [
    (i) => far(t(i) + 1),
    (i) => near(t(i)),
    (i) => near(1 - t(i)),
    (i) => far(2 - t(i)),
  ]);
}

/** The sum of the taps along one dimension of x. */
function blend(x: Tensor, dim: number, taps: readonly Tap[]): Tensor {
  let sum: Tensor | null = null;
  for (const { positions, weights } of taps) {
    const factors = empty(
      x.shape.map((_, i) => (i === dim ? positions.length : 1)),
      x.dtype,
    );
    factors.storage.array(x.dtype).set(weights);
    const taken = take(
      x,
      x.shape.map((_, i) => (i === dim ? positions : null)),
    );
    const term = mul(taken, factors);
    sum = sum === null ? term : add(sum, term);
  }
  return sum!;
}

function readAxes(call: string, x: Tensor, dims: number, options: InterpolateOptions): Axis[] {
  const size = spatial(x, dims);
  const { size: wanted, scaleFactor } = options;
  const given = (v: unknown): boolean => v !== undefined && v !== null;
  if (given(wanted) === given(scaleFactor)) {
    throw new ArgumentError(`${call}: give either size or scaleFactor${given(wanted) ? ", not both" : ""}`);
  }
  if (given(wanted)) {
    return perDimension(call, "size", wanted, dims, 1).map((out, i) => ({ size: size[i]!, out, factor: null }));
  }
  const list = Array.isArray(scaleFactor) ? scaleFactor : [scaleFactor];
  if (list.length !== 1 && list.length !== dims) {
    throw new ArgumentError(
      `${call}: scaleFactor must be a number or a list of 1 or ${dims} (one per dimension), got ${describe(scaleFactor)}`,
    );
  }
  return size.map((s, i) => {
    const factor = checkNumber(call, "scaleFactor", list[list.length === 1 ? 0 : i], 0, 2 ** 31);
    const out = Math.floor(s * factor);
    if (factor === 0 || out < 1) {
      throw new ShapeError(
        `${call}: scaleFactor ${factor} leaves ${out} = floor(${s} * ${factor}) elements in dimension ${dimensionName(i, dims)}, but there must be at least 1`,
      );
    }
    return { size: s, out, factor };
  });
}

/**
 * Images of another size.
 *
 * Shapes: x [batch, channels, sizes...] with 1 to 3 spatial dimensions; result the same with `size`, or
 * floor(sizes * scaleFactor). linear is for signals, bilinear and bicubic for images, trilinear for volumes.
 * @throws {ArgumentError} if size and scaleFactor are both given or both missing, or a mode is not for x's rank
 */
export function interpolate<D extends DType>(x: Tensor<D>, options: InterpolateOptions): Tensor<D> {
  return interpolateAs("interpolate", x, options) as Tensor<D>;
}

function interpolateAs(call: string, x: Tensor, options: InterpolateOptions): Tensor {
  checkOptions(call, options, ["size", "scaleFactor", "mode", "alignCorners"]);
  if (options === undefined) throw new ArgumentError(`${call}: give the options size or scaleFactor`);
  const mode = checkChoice(call, "mode", options.mode ?? "nearest", modes);
  const dims = (x?.rank ?? 0) - 2;
  if (dims < 1 || dims > 3) {
    throw new ShapeError(
      `${call}: x must be [batch, channels, sizes...] with 1 to 3 spatial dimensions, but it is ${x?.shape ? format(x.shape) : describe(x)}`,
    );
  }
  checkPlanes(call, x, dims);
  checkFlag(call, "alignCorners", options.alignCorners);
  const needed = dimensionsOf[mode];
  if (needed !== 0 && needed !== dims) {
    throw new ArgumentError(
      `${call}: mode "${mode}" is for ${needed} spatial dimension${needed === 1 ? "" : "s"}, but x ${format(x.shape)} has ${dims}; ` +
        `use "${["linear", "bilinear", "trilinear"][dims - 1]}"`,
    );
  }
  if (needed === 0 && options.alignCorners !== undefined) {
    throw new ArgumentError(
      `${call}: alignCorners is for linear, bilinear, trilinear and bicubic, not for mode "${mode}"`,
    );
  }
  const axes = readAxes(call, x, dims, options);
  checkShape(call, [...x.shape.slice(0, 2), ...axes.map((a) => a.out)]);
  if (mode === "area") {
    const pool = [adaptiveAvgPool1d, adaptiveAvgPool2d, adaptiveAvgPool3d][dims - 1]!;
    return pool(
      x,
      axes.map((a) => a.out),
    );
  }
  if (mode === "nearest" || mode === "nearest-exact") {
    return take(x, [null, null, ...axes.map((a) => nearestPositions(call, a, mode === "nearest-exact"))]);
  }
  const alignCorners = options.alignCorners ?? false;
  // The last dimension first: its rows are contiguous, and it is the other dimensions that are still small.
  return axes.reduceRight(
    (image, axis, i) =>
      blend(
        image,
        i + 2,
        mode === "bicubic" ? cubicTaps(call, axis, alignCorners) : linearTaps(call, axis, alignCorners),
      ),
    x,
  );
}

/** interpolate() under its older name, with the same arguments. */
export function upsample<D extends DType>(x: Tensor<D>, options: InterpolateOptions): Tensor<D> {
  return interpolateAs("upsample", x, options) as Tensor<D>;
}
