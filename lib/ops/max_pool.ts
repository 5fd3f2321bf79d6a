import type { DType } from "../core/dtype.js";
import { ShapeError } from "../core/errors.js";
import { checkOptions } from "../core/options.js";
import { format, numel } from "../core/shape.js";
import { empty, type Tensor } from "../core/tensor.js";
import { defineOp, type Op, type Sample } from "./define.js";
import { copied, filled } from "./kernel.js";
import { planeGatherOp } from "./plane.js";
import {
  checkFlag,
  checkPlanes,
  geometryOf,
  poolCases,
  poolSizes,
  readGeometry,
  type WindowOptions,
} from "./pool_geometry.js";
import { leading, type PerDimension, runContiguous, type WindowGeometry } from "./window.js";

/** Max pooling: the largest element of each window. */

interface MaxPoolGeometry extends WindowGeometry {
  readonly returnIndices: boolean;
}

/** @internal Planes of zeros with the windows' gradients at the places of their maxima. */
export const maxPoolGradOp: Op<"dy" | "index", WindowGeometry> = defineOp<"dy" | "index", WindowGeometry>({
  name: "max_pool_grad",
  inputs: ["dy", "index"],
  forward: ([dy, index], g) => {
    const dims = g.in.length;
    const dx = empty([...dy!.shape.slice(0, dy!.rank - dims), ...g.in], dy!.dtype);
    runContiguous("max_pool_grad", dy!.dtype, poolSizes(leading(dy!.shape, dims), g, false, 0), [dy!, index!], [dx]);
    return dx;
  },
  grad: {
    dy: {
      reads: ["index"],
      formula: (c) => planeGatherOp([c.dy, c.input("index")], { size: c.options.in, add: true }),
    },
  },
  samples: () =>
    poolCases.map((c): Sample<"dy" | "index", WindowGeometry> => {
      const geometry = geometryOf(c, 1);
      const shape = [...c.lead, ...geometry.out];
      return {
        inputs: {
          dy: shape,
          index: (r) => maxPoolOp.all([r.normal([...c.lead, ...c.size])], { ...geometry, returnIndices: true })[1]!,
        },
        options: geometry,
        ...(c.large ? { skip: ["gradcheck", "gradgradcheck"] as const } : {}),
      };
    }),
});

const maxPoolOp: Op<"x", MaxPoolGeometry> = defineOp<"x", MaxPoolGeometry>({
  name: "max_pool",
  inputs: ["x"],
  forward: ([x], g, keep) => {
    const dims = g.in.length;
    const shape = [...x!.shape.slice(0, x!.rank - dims), ...g.out];
    const y = empty(shape, x!.dtype);
    const index = empty(shape, "int32");
    runContiguous("max_pool", x!.dtype, poolSizes(leading(x!.shape, dims), g, false, 0), [x!], [y, index]);
    // The caller may do with the returned indices what it wants; the derivative keeps its own.
    keep(g.returnIndices ? copied(index) : index);
    return g.returnIndices ? [y, index] : y;
  },
  grad: { x: { formula: (c) => maxPoolGradOp([c.dy, c.kept(0)], c.options) } },
  samples: () =>
    poolCases.flatMap((c): Sample<"x", MaxPoolGeometry>[] => {
      const dilation = c.kernel > 1 && c.size[0]! > 4 ? 2 : 1;
      return [1, dilation].map((d) => ({
        inputs: { x: (r) => r.distinct([...c.lead, ...c.size]) },
        options: { ...geometryOf(c, d), returnIndices: d === 1 },
        ...(c.large ? { skip: ["gradcheck", "gradgradcheck"] as const } : {}),
      }));
    }),
  refusals: () => {
    const x = (...shape: number[]): Tensor<"float32"> => filled(shape, "float32", 0);
    return [
      { call: () => maxPool2d(x(8, 8), 2), message: /maxPool2d: x must be \[channels, height, width\]/ },
      { call: () => maxPool2d(x(1, 4, 8, 8), 2, { padding: 2 }), message: /at most half of the kernel size/ },
      { call: () => maxPool2d(x(1, 4, 8, 8), 2, { padding: -1 }), message: /padding must be an integer from 0/ },
      { call: () => maxPool2d(x(1, 4, 8, 8), 2, { stride: 0 }), message: /stride must be an integer from 1/ },
      { call: () => maxPool2d(x(1, 4, 8, 8), 2, { dilation: 0 }), message: /dilation must be an integer from 1/ },
      { call: () => maxPool2d(x(1, 4, 8, 8), 0), message: /kernelSize must be an integer from 1/ },
      { call: () => maxPool2d(x(1, 4, 8, 8), [2, 2, 2]), message: /kernelSize must be an integer or a list/ },
      { call: () => maxPool2d(x(1, 4, 8, 8), 9), message: /padded input 8 = .* smaller than the window 9/ },
      { call: () => maxPool2d(x(1, 0, 8, 8), 2), message: /size 0 in dimension 1/ },
      { call: () => maxPool1d(x(4, 0), 2), message: /size 0 in dimension 1/ },
      { call: () => maxPool2d(filled([1, 1, 4, 4], "int32", 0), 2), message: /float32 or float64/ },
    ];
  },
});

export interface MaxPoolOptions extends WindowOptions {
  /** Distance of neighbouring elements of a window; default 1. */
  readonly dilation?: PerDimension;
  /** Also return where each maximum was: int32, flat in the (unpadded) plane. Default false. */
  readonly returnIndices?: boolean;
}

function maxPool(
  call: string,
  dims: number,
  x: Tensor,
  kernelSize: PerDimension,
  options: MaxPoolOptions,
): Tensor | [Tensor, Tensor<"int32">] {
  checkOptions(call, options, ["stride", "padding", "dilation", "ceilMode", "returnIndices"]);
  checkPlanes(call, x, dims);
  checkFlag(call, "returnIndices", options.returnIndices);
  const geometry = readGeometry(call, dims, x, kernelSize, options);
  if (numel(geometry.in) >= 2 ** 31) {
    throw new ShapeError(`${call}: a plane ${format(geometry.in)} has more elements than int32 indices can tell apart`);
  }
  const returnIndices = options.returnIndices ?? false;
  const results = maxPoolOp.all([x], { returnIndices, ...geometry });
  return returnIndices ? [results[0]!, results[1] as Tensor<"int32">] : results[0]!;
}

/**
 * The largest element of each window of a signal: padding never wins, the first of equals does, a NaN wins over all.
 *
 * Shapes: x [batch, channels, width] or [channels, width]; result the same with every
 * spatial size floor((size + 2 * padding - dilation * (kernelSize - 1) - 1) / stride) + 1, with ceilMode rounded up
 * (but the last window starts inside the input or the padding before it). With returnIndices: [values, indices].
 * @throws {ShapeError} if x is not a signal or is smaller than a window; {ArgumentError} if padding is more than half of it
 */
export function maxPool1d<D extends DType>(
  x: Tensor<D>,
  kernelSize: PerDimension,
  options: MaxPoolOptions & { readonly returnIndices: true },
): [values: Tensor<D>, indices: Tensor<"int32">];
export function maxPool1d<D extends DType>(
  x: Tensor<D>,
  kernelSize: PerDimension,
  options?: MaxPoolOptions & { readonly returnIndices?: false },
): Tensor<D>;
export function maxPool1d(
  x: Tensor,
  kernelSize: PerDimension,
  options: MaxPoolOptions = {},
): Tensor | [Tensor, Tensor<"int32">] {
  return maxPool("maxPool1d", 1, x, kernelSize, options);
}

/**
 * The largest element of each window of an image: padding never wins, the first of equals does, a NaN wins over all.
 *
 * Shapes: x [batch, channels, height, width] or without batch; result the same with every
 * spatial size floor((size + 2 * padding - dilation * (kernelSize - 1) - 1) / stride) + 1, with ceilMode rounded up
 * (but the last window starts inside the input or the padding before it). With returnIndices: [values, indices].
 * @throws {ShapeError} if x is not an image or is smaller than a window; {ArgumentError} if padding is more than half of it
 */
export function maxPool2d<D extends DType>(
  x: Tensor<D>,
  kernelSize: PerDimension,
  options: MaxPoolOptions & { readonly returnIndices: true },
): [values: Tensor<D>, indices: Tensor<"int32">];
export function maxPool2d<D extends DType>(
  x: Tensor<D>,
  kernelSize: PerDimension,
  options?: MaxPoolOptions & { readonly returnIndices?: false },
): Tensor<D>;
export function maxPool2d(
  x: Tensor,
  kernelSize: PerDimension,
  options: MaxPoolOptions = {},
): Tensor | [Tensor, Tensor<"int32">] {
  return maxPool("maxPool2d", 2, x, kernelSize, options);
}

/**
 * The largest element of each window of a volume: padding never wins, the first of equals does, a NaN wins over all.
 *
 * Shapes: x [batch, channels, depth, height, width] or without batch; result the same with every
 * spatial size floor((size + 2 * padding - dilation * (kernelSize - 1) - 1) / stride) + 1, with ceilMode rounded up
 * (but the last window starts inside the input or the padding before it). With returnIndices: [values, indices].
 * @throws {ShapeError} if x is not a volume or is smaller than a window; {ArgumentError} if padding is more than half of it
 */
export function maxPool3d<D extends DType>(
  x: Tensor<D>,
  kernelSize: PerDimension,
  options: MaxPoolOptions & { readonly returnIndices: true },
): [values: Tensor<D>, indices: Tensor<"int32">];
export function maxPool3d<D extends DType>(
  x: Tensor<D>,
  kernelSize: PerDimension,
  options?: MaxPoolOptions & { readonly returnIndices?: false },
): Tensor<D>;
export function maxPool3d(
  x: Tensor,
  kernelSize: PerDimension,
  options: MaxPoolOptions = {},
): Tensor | [Tensor, Tensor<"int32">] {
  return maxPool("maxPool3d", 3, x, kernelSize, options);
}
