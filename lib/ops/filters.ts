import type { FloatDType } from "../core/dtype.js";
import { ArgumentError } from "../core/errors.js";
import { checkInteger, checkNumber, checkOptions } from "../core/options.js";
import { describe } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import { type CreateOptions, tensor } from "./create.js";
import { perDimension } from "./window.js";

/**
 * Classic kernels, as matrices to correlate an image with (corr2d, conv2d). Pass `{ dtype, requiresGrad }` last.
 * Sobel and Prewitt find edges, Laplacians second derivatives, box and Gaussian blur, differences derivatives of any order.
 */

type FilterOptions<D extends FloatDType> = CreateOptions<D>;

function made<D extends FloatDType>(
  call: string,
  values: readonly (readonly number[])[] | readonly number[],
  options: FilterOptions<D>,
): Tensor<D> {
  checkOptions(`filters.${call}`, options, ["dtype", "requiresGrad"]);
  const dtype = options.dtype ?? "float32";
  if (dtype !== "float32" && dtype !== "float64") {
    throw new ArgumentError(`filters.${call}: dtype must be "float32" or "float64", got ${describe(dtype)}`);
  }
  return tensor(values as number[][], { ...options, dtype } as FilterOptions<D>) as Tensor<D>;
}

/** The outer product of a column and a row, times a factor. */
function outer(column: readonly number[], row: readonly number[], scale = 1): number[][] {
  return column.map((c) => row.map((r) => c * r * scale));
}

/** Most taps of a filter whose size is given. */
const mostTaps = 2 ** 20;

function windowSize(call: string, size: unknown): [height: number, width: number] {
  const [height, width] = perDimension(`filters.${call}`, "size", size, 2, 1) as [number, number];
  if (height * width > mostTaps) {
    throw new ArgumentError(
      `filters.${call}: a filter may have at most ${mostTaps} taps, but ${height} * ${width} = ${height * width}`,
    );
  }
  return [height, width];
}

/** Along which axis values change: "x" across columns (finds vertical edges), "y" across rows. */
export type Axis = "x" | "y";

function directed(call: string, axis: unknown, smooth: readonly number[], slope: readonly number[]): number[][] {
  if (axis !== "x" && axis !== "y") {
    throw new ArgumentError(
      `filters.${call}: axis must be "x" (change across columns) or "y" (across rows), got ${describe(axis)}`,
    );
  }
  return axis === "x" ? outer(smooth, slope) : outer(slope, smooth);
}

/** Sobel's edge kernel, [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]] for "x" (default) and its transpose for "y". [3, 3]. */
export function sobel<D extends FloatDType = "float32">(axis: Axis = "x", options: FilterOptions<D> = {}): Tensor<D> {
  return made("sobel", directed("sobel", axis, [1, 2, 1], [-1, 0, 1]), options);
}

/** Prewitt's edge kernel, [[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]] for "x" (default) and its transpose for "y". [3, 3]. */
export function prewitt<D extends FloatDType = "float32">(axis: Axis = "x", options: FilterOptions<D> = {}): Tensor<D> {
  return made("prewitt", directed("prewitt", axis, [1, 1, 1], [-1, 0, 1]), options);
}

/**
 * The Laplacian, the sum of the second derivatives, with 4 neighbours (default) or 8. [3, 3]; of i² + 2j² they give 6
 * and 18 (8 neighbours see three times as much curvature).
 */
export function laplacian<D extends FloatDType = "float32">(
  neighbours: 4 | 8 = 4,
  options: FilterOptions<D> = {},
): Tensor<D> {
  if (neighbours !== 4 && neighbours !== 8) {
    throw new ArgumentError(`filters.laplacian: neighbours must be 4 or 8, got ${describe(neighbours)}`);
  }
  const side = neighbours === 8 ? 1 : 0;
  return made(
    "laplacian",
    [
      [side, 1, side],
      [1, -neighbours, 1],
      [side, 1, side],
    ],
    options,
  );
}

/** The mean of a window: every tap 1 / (height * width). `size` is one number or [height, width]; default 3. */
export function box<D extends FloatDType = "float32">(
  size: number | readonly number[] = 3,
  options: FilterOptions<D> = {},
): Tensor<D> {
  const [height, width] = windowSize("box", size);
  return made(
    "box",
    outer(new Array<number>(height).fill(1), new Array<number>(width).fill(1 / (height * width))),
    options,
  );
}

/**
 * A Gaussian blur, exp(-(x² + y²) / (2 sigma²)) sampled at the taps and scaled to the sum 1.
 * `size` is one number or [height, width]; default: 3 sigma to each side.
 */
export function gaussian<D extends FloatDType = "float32">(
  sigma: number,
  size?: number | readonly number[],
  options: FilterOptions<D> = {},
): Tensor<D> {
  checkNumber("filters.gaussian", "sigma", sigma, Number.MIN_VALUE, 2 ** 20);
  const taps = windowSize("gaussian", size ?? 2 * Math.ceil(3 * sigma) + 1);
  const [column, row] = taps.map((n) => {
    const weights = Array.from({ length: n }, (_, i) => Math.exp(-((i - (n - 1) / 2) ** 2) / (2 * sigma * sigma)));
    const sum = weights.reduce((a, b) => a + b, 0);
    return weights.map((w) => w / sum);
  }) as [number[], number[]];
  return made("gaussian", outer(column, row), options);
}

/**
 * The forward difference of order d: d + 1 taps (-1)^(d - i) * C(d, i), which give d! on x^d and 0 on every polynomial of
 * lower degree. (A kernel of d taps or fewer cannot: that many conditions already make it zero.) A vector [d + 1].
 */
export function difference<D extends FloatDType = "float32">(d: number, options: FilterOptions<D> = {}): Tensor<D> {
  checkInteger("filters.difference", "d", d, 0, 1000);
  let taps = [1];
  for (let order = 0; order < d; order++) {
    // The next order is the difference of this one: the full convolution with [-1, 1].
    taps = Array.from({ length: taps.length + 1 }, (_, i) => (taps[i - 1] ?? 0) - (taps[i] ?? 0));
  }
  return made("difference", taps, options);
}

/**
 * Central differences, symmetric about the middle tap: first derivative [-1, 0, 1] / 2, second [1, -2, 1]; with
 * `accuracy` 4 the five-tap versions [1, -8, 0, 8, -1] / 12 and [-1, 16, -30, 16, -1] / 12, exact to one more power of h².
 * A vector.
 */
export function centralDifference<D extends FloatDType = "float32">(
  d: 1 | 2,
  accuracy: 2 | 4 = 2,
  options: FilterOptions<D> = {},
): Tensor<D> {
  if ((d !== 1 && d !== 2) || (accuracy !== 2 && accuracy !== 4)) {
    throw new ArgumentError(
      `filters.centralDifference: d must be 1 or 2 and accuracy 2 or 4, got ${describe(d)} and ${describe(accuracy)}`,
    );
  }
  const taps = {
    2: { 1: [-1 / 2, 0, 1 / 2], 2: [1, -2, 1] },
    4: { 1: [1 / 12, -8 / 12, 0, 8 / 12, -1 / 12], 2: [-1 / 12, 16 / 12, -30 / 12, 16 / 12, -1 / 12] },
  }[accuracy][d];
  return made("centralDifference", taps, options);
}
