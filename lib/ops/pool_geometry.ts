import { ArgumentError, ShapeError } from "../core/errors.js";
import { checkShape, describe, format } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import {
  appendWindow,
  checkImages,
  dimensionName,
  imageLayout,
  paddedFormula,
  type PerDimension,
  perDimension,
  spatial,
  type WindowGeometry,
} from "./window.js";

/** Sizes and arguments that all pooling over sliding windows shares. */

/** @internal The flat PoolSizes of lib/backend/abi.ts. */
export function poolSizes(planes: number, g: WindowGeometry, countIncludePad: boolean, divisor: number): number[] {
  const sizes = [planes];
  appendWindow(sizes, g);
  sizes.push(Number(countIncludePad), divisor);
  return sizes;
}

/** @internal Refuses what is not an image or a batch of images with at least one channel and pixel each. */
export function checkPlanes(call: string, x: unknown, dims: number): void {
  const batched = checkImages(call, "x", x, dims);
  const { shape } = x as Tensor;
  const at = shape.findIndex((s, i) => s === 0 && (i > 0 || !batched));
  if (at >= 0) {
    throw new ShapeError(
      `${call}: x ${format(shape)} has size 0 in dimension ${at}; only the batch of ${imageLayout(dims)} may be empty`,
    );
  }
}

/**
 * How many windows there are, per dimension: floor((size + 2 * pad - dilation * (kernel - 1) - 1) / stride) + 1, or ceil,
 * where the last window must start inside the input or the padding before it.
 */
function poolOutput(call: string, g: Omit<WindowGeometry, "out">, ceilMode: boolean): number[] {
  const dims = g.in.length;
  return g.in.map((size, i) => {
    const [kernel, stride, dilation, pad] = [g.kernel[i]!, g.stride[i]!, g.dilation[i]!, g.pad[i]!];
    if (pad > Math.floor(kernel / 2)) {
      throw new ArgumentError(
        `${call}: padding must be at most half of the kernel size, but padding ${pad} is more than ${kernel} / 2 in dimension ${dimensionName(i, dims)}`,
      );
    }
    const rest = size + 2 * pad - dilation * (kernel - 1) - 1;
    let out = (ceilMode ? Math.ceil(rest / stride) : Math.floor(rest / stride)) + 1;
    if (ceilMode && (out - 1) * stride >= size + pad) out--;
    if (out < 1) {
      throw new ShapeError(
        `${call}: padded input ${size + 2 * pad} = ${paddedFormula(size, pad, pad)} is smaller than the window ` +
          `${dilation * (kernel - 1) + 1} = ${dilation}*(${kernel}-1)+1 in dimension ${dimensionName(i, dims)}`,
      );
    }
    return out;
  });
}

/** What every pooling takes. */
export interface WindowOptions {
  /** Distance of neighbouring windows; default: the window's size. */
  readonly stride?: PerDimension | null;
  /** Elements added around the input, at most half the window; default 0. */
  readonly padding?: PerDimension;
  /** Whether a last window that passes the end counts; default false. */
  readonly ceilMode?: boolean;
}

/** @internal Reads and checks the arguments of a pooling. */
export function readGeometry(
  call: string,
  dims: number,
  x: Tensor,
  kernelSize: PerDimension,
  options: WindowOptions & { readonly dilation?: PerDimension },
): WindowGeometry {
  const kernel = perDimension(call, "kernelSize", kernelSize, dims, 1);
  const stride = perDimension(call, "stride", options.stride ?? kernel, dims, 1);
  const pad = perDimension(call, "padding", options.padding ?? 0, dims, 0);
  const dilation = perDimension(call, "dilation", options.dilation ?? 1, dims, 1);
  checkFlag(call, "ceilMode", options.ceilMode);
  const size = spatial(x, dims);
  const given = { in: size, kernel, stride, dilation, pad };
  const geometry = { out: poolOutput(call, given, options.ceilMode ?? false), ...given };
  checkShape(call, [...x.shape.slice(0, x.rank - dims), ...geometry.out]);
  return geometry;
}

/** @internal An option that is true or false. */
export function checkFlag(call: string, argument: string, value: unknown): void {
  if (value !== undefined && typeof value !== "boolean") {
    throw new ArgumentError(`${call}: ${argument} must be true or false, got ${describe(value)}`);
  }
}

/** @internal Shapes for the generated tests. */
export interface PoolCase {
  readonly lead: readonly number[];
  readonly size: readonly number[];
  readonly kernel: number;
  readonly stride?: number;
  readonly dilation?: number;
  readonly pad?: number;
  readonly ceil?: boolean;
  readonly large?: boolean;
}

/** @internal */
export const poolCases: readonly PoolCase[] = [
  { lead: [2, 3], size: [4, 5], kernel: 2 },
  { lead: [1, 2], size: [7, 6], kernel: 3, stride: 2, pad: 1 },
  { lead: [2], size: [9], kernel: 3, stride: 2, ceil: true },
  { lead: [1, 1], size: [4, 5, 6], kernel: 2, stride: 1, pad: 1, ceil: true },
  { lead: [0, 2], size: [4, 4], kernel: 2 },
  { lead: [3], size: [1, 1], kernel: 1 },
  { lead: [2, 5], size: [17, 35], kernel: 3, stride: 2, pad: 1, large: true },
  { lead: [1, 4], size: [24, 24], kernel: 2, large: true },
];

/** @internal */
export function geometryOf(c: PoolCase, dilation: number): WindowGeometry {
  const all = (v: number): number[] => c.size.map(() => v);
  const given = {
    in: c.size,
    kernel: all(c.kernel),
    stride: all(c.stride ?? c.kernel),
    dilation: all(dilation),
    pad: all(c.pad ?? 0),
  };
  return { ...given, out: poolOutput("pool", given, c.ceil ?? false) };
}
