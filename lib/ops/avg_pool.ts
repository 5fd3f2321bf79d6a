import type { DType } from "../core/dtype.js";
import { ArgumentError } from "../core/errors.js";
import { checkInteger, checkOptions } from "../core/options.js";
import { empty, type Tensor } from "../core/tensor.js";
import { defineOp, type Op, type Sample } from "./define.js";
import { filled } from "./kernel.js";
import {
  checkFlag,
  checkPlanes,
  geometryOf,
  type PoolCase,
  poolCases,
  poolSizes,
  readGeometry,
  type WindowOptions,
} from "./pool_geometry.js";
import { leading, type PerDimension, runContiguous, type WindowGeometry } from "./window.js";

/** Average pooling: the mean of each window. The op and its gradient are each other's derivative. */

interface AvgPoolGeometry extends WindowGeometry {
  readonly countIncludePad: boolean;
  /** What sums are divided by; 0: the number of elements. */
  readonly divisor: number;
}

function samplesOf<I extends string>(
  input: (c: PoolCase, g: AvgPoolGeometry) => Record<I, readonly number[]>,
): Sample<I, AvgPoolGeometry>[] {
  return poolCases.flatMap((c) =>
    [true, false].map((countIncludePad): Sample<I, AvgPoolGeometry> => {
      const g = { ...geometryOf(c, 1), countIncludePad, divisor: c.kernel === 3 && !countIncludePad ? -5 : 0 };
      return { inputs: input(c, g), options: g, ...(c.large ? { skip: ["gradcheck", "gradgradcheck"] } : {}) };
    }),
  );
}

const avgPoolOp: Op<"x", AvgPoolGeometry> = defineOp<"x", AvgPoolGeometry>({
  name: "avg_pool",
  inputs: ["x"],
  forward: ([x], g) => {
    const dims = g.in.length;
    const y = empty([...x!.shape.slice(0, x!.rank - dims), ...g.out], x!.dtype);
    runContiguous("avg_pool", x!.dtype, poolSizes(leading(x!.shape, dims), g, g.countIncludePad, g.divisor), [x!], [y]);
    return y;
  },
  grad: { x: { formula: (c) => avgPoolGradOp([c.dy], c.options) } },
  samples: () => samplesOf((c) => ({ x: [...c.lead, ...c.size] })),
  refusals: () => {
    const x = (...shape: number[]): Tensor<"float32"> => filled(shape, "float32", 0);
    return [
      { call: () => avgPool2d(x(8, 8), 2), message: /avgPool2d: x must be \[channels, height, width\]/ },
      { call: () => avgPool2d(x(1, 4, 8, 8), 2, { padding: 2 }), message: /at most half of the kernel size/ },
      { call: () => avgPool2d(x(1, 4, 8, 8), 2, { stride: [1, 0] }), message: /stride\[1\] must be an integer from 1/ },
      { call: () => avgPool2d(x(1, 4, 8, 8), 9), message: /padded input 8 = .* smaller than the window 9/ },
      { call: () => avgPool2d(x(1, 4, 8, 8), 2, { divisorOverride: 0 }), message: /divisorOverride must not be 0/ },
      { call: () => avgPool3d(x(1, 4, 8, 8, 0), 2), message: /size 0 in dimension 4/ },
    ];
  },
});

const avgPoolGradOp: Op<"dy", AvgPoolGeometry> = defineOp<"dy", AvgPoolGeometry>({
  name: "avg_pool_grad",
  inputs: ["dy"],
  forward: ([dy], g) => {
    const dims = g.in.length;
    const dx = empty([...dy!.shape.slice(0, dy!.rank - dims), ...g.in], dy!.dtype);
    const sizes = poolSizes(leading(dy!.shape, dims), g, g.countIncludePad, g.divisor);
    runContiguous("avg_pool_grad", dy!.dtype, sizes, [dy!], [dx]);
    return dx;
  },
  grad: { dy: { formula: (c) => avgPoolOp([c.dy], c.options) } },
  samples: () => samplesOf((c, g) => ({ dy: [...c.lead, ...g.out] })),
});

export interface AvgPoolOptions extends WindowOptions {
  /** Whether padding counts as elements of value 0; default true. A window's part past the padding never counts. */
  readonly countIncludePad?: boolean;
  /** Divides every window's sum by this number (not 0) instead of by its number of elements. */
  readonly divisorOverride?: number | null;
}

function avgPool(call: string, dims: number, x: Tensor, kernelSize: PerDimension, options: AvgPoolOptions): Tensor {
  checkOptions(call, options, ["stride", "padding", "ceilMode", "countIncludePad", "divisorOverride"]);
  checkPlanes(call, x, dims);
  checkFlag(call, "countIncludePad", options.countIncludePad);
  const divisor = options.divisorOverride ?? 0;
  if (options.divisorOverride === 0) throw new ArgumentError(`${call}: divisorOverride must not be 0`);
  checkInteger(call, "divisorOverride", divisor, -(2 ** 31) + 1);
  const geometry = readGeometry(call, dims, x, kernelSize, options);
  return avgPoolOp([x], { countIncludePad: options.countIncludePad ?? true, divisor, ...geometry });
}

/**
 * The mean of each window of a signal.
 *
 * Shapes: x [batch, channels, width] or [channels, width]; result the same with width
 * floor((width + 2 * padding - kernelSize) / stride) + 1, with ceilMode rounded up.
 * @throws {ShapeError} if x is not a signal or is smaller than a window; {ArgumentError} if padding is more than half of it
 */
export function avgPool1d<D extends DType>(
  x: Tensor<D>,
  kernelSize: PerDimension,
  options: AvgPoolOptions = {},
): Tensor<D> {
  return avgPool("avgPool1d", 1, x, kernelSize, options) as Tensor<D>;
}

/**
 * The mean of each window of an image.
 *
 * Shapes: x [batch, channels, height, width] or without batch; result the same with sizes
 * floor((size + 2 * padding - kernelSize) / stride) + 1, with ceilMode rounded up.
 * @throws {ShapeError} if x is not an image or is smaller than a window; {ArgumentError} if padding is more than half of it
 */
export function avgPool2d<D extends DType>(
  x: Tensor<D>,
  kernelSize: PerDimension,
  options: AvgPoolOptions = {},
): Tensor<D> {
  return avgPool("avgPool2d", 2, x, kernelSize, options) as Tensor<D>;
}

/**
 * The mean of each window of a volume.
 *
 * Shapes: x [batch, channels, depth, height, width] or without batch; result as avgPool2d.
 * @throws {ShapeError} if x is not a volume or is smaller than a window; {ArgumentError} if padding is more than half of it
 */
export function avgPool3d<D extends DType>(
  x: Tensor<D>,
  kernelSize: PerDimension,
  options: AvgPoolOptions = {},
): Tensor<D> {
  return avgPool("avgPool3d", 3, x, kernelSize, options) as Tensor<D>;
}
