import type { DType } from "../core/dtype.js";
import { ArgumentError, ShapeError } from "../core/errors.js";
import { checkInteger, checkOptions } from "../core/options.js";
import { checkShape, describe, format, numel } from "../core/shape.js";
import { empty, type Tensor } from "../core/tensor.js";
import { defineOp, type Op, type Sample } from "./define.js";
import { copied, filled } from "./kernel.js";
import { planeScatterOp } from "./plane.js";
import { checkFlag, checkPlanes } from "./pool_geometry.js";
import { leading, runContiguous, spatial, triple } from "./window.js";

/** Pooling to a given size: bin i of `out` covers positions floor(i * in / out) to ceil((i + 1) * in / out). */

interface AdaptiveGeometry {
  readonly in: readonly number[];
  readonly out: readonly number[];
}

function adaptiveSizes(planes: number, g: AdaptiveGeometry): number[] {
  return [planes, ...triple(g.in, 1), ...triple(g.out, 1)];
}

interface Case extends AdaptiveGeometry {
  readonly lead: readonly number[];
}

const cases: readonly Case[] = [
  { lead: [2, 2], in: [5, 7], out: [2, 3] },
  { lead: [1], in: [3], out: [7] }, // larger than the input
  { lead: [1, 2], in: [3, 4, 5], out: [1, 2, 5] },
  { lead: [0, 2], in: [4, 4], out: [2, 2] },
  { lead: [2, 1], in: [4, 4], out: [0, 2] },
  { lead: [2, 3], in: [8, 19], out: [1, 1] },
];

const sampleOf = <I extends string, O>(make: (c: Case) => Sample<I, O>): Sample<I, O>[] => cases.map(make);

const adaptiveAvgPoolOp: Op<"x", AdaptiveGeometry> = defineOp<"x", AdaptiveGeometry>({
  name: "adaptive_avg_pool",
  inputs: ["x"],
  forward: ([x], g) => {
    const dims = g.in.length;
    const y = empty([...x!.shape.slice(0, x!.rank - dims), ...g.out], x!.dtype);
    runContiguous("adaptive_avg_pool", x!.dtype, adaptiveSizes(leading(x!.shape, dims), g), [x!], [y]);
    return y;
  },
  grad: { x: { formula: (c) => adaptiveAvgPoolGradOp([c.dy], c.options) } },
  samples: () => sampleOf((c) => ({ inputs: { x: [...c.lead, ...c.in] }, options: { in: c.in, out: c.out } })),
  refusals: () => [
    { call: () => adaptiveAvgPool2d(filled([1, 1, 4, 4], "float32", 0), -1), message: /outputSize .*from 0/ },
    { call: () => adaptiveAvgPool2d(filled([1, 1, 4, 4], "float32", 0), [1, 1, 1]), message: /outputSize must be/ },
    { call: () => adaptiveAvgPool2d(filled([1, 0, 4, 4], "float32", 0), 1), message: /size 0 in dimension 1/ },
  ],
});

const adaptiveAvgPoolGradOp: Op<"dy", AdaptiveGeometry> = defineOp<"dy", AdaptiveGeometry>({
  name: "adaptive_avg_pool_grad",
  inputs: ["dy"],
  forward: ([dy], g) => {
    const dims = g.in.length;
    const dx = empty([...dy!.shape.slice(0, dy!.rank - dims), ...g.in], dy!.dtype);
    runContiguous("adaptive_avg_pool_grad", dy!.dtype, adaptiveSizes(leading(dy!.shape, dims), g), [dy!], [dx]);
    return dx;
  },
  grad: { dy: { formula: (c) => adaptiveAvgPoolOp([c.dy], c.options) } },
  samples: () => sampleOf((c) => ({ inputs: { dy: [...c.lead, ...c.out] }, options: { in: c.in, out: c.out } })),
});

const adaptiveMaxPoolOp: Op<"x", AdaptiveGeometry & { readonly returnIndices: boolean }> = defineOp<
  "x",
  AdaptiveGeometry & { readonly returnIndices: boolean }
>({
  name: "adaptive_max_pool",
  inputs: ["x"],
  forward: ([x], g, keep) => {
    const dims = g.in.length;
    const shape = [...x!.shape.slice(0, x!.rank - dims), ...g.out];
    const y = empty(shape, x!.dtype);
    const index = empty(shape, "int32");
    runContiguous("adaptive_max_pool", x!.dtype, adaptiveSizes(leading(x!.shape, dims), g), [x!], [y, index]);
    // The caller may do with the returned indices what it wants; the derivative keeps its own.
    keep(g.returnIndices ? copied(index) : index);
    return g.returnIndices ? [y, index] : y;
  },
  grad: { x: { formula: (c) => planeScatterOp([c.dy, c.kept(0)], { size: c.options.in, add: true }) } },
  samples: () =>
    sampleOf((c) => ({
      inputs: { x: (r) => r.distinct([...c.lead, ...c.in]) },
      options: { in: c.in, out: c.out, returnIndices: c.out[0] === 2 },
    })),
});

/** One size for all dimensions or one per dimension; null keeps the input's. */
export type OutputSize = number | null | readonly (number | null)[];

function readOutputSize(call: string, dims: number, x: Tensor, outputSize: unknown): AdaptiveGeometry {
  checkPlanes(call, x, dims);
  const list = Array.isArray(outputSize) ? outputSize : new Array<unknown>(dims).fill(outputSize);
  const full = list.length === 1 ? new Array<unknown>(dims).fill(list[0]) : list;
  if (full.length !== dims || full.some((s) => typeof s !== "number" && s !== null)) {
    throw new ArgumentError(
      `${call}: outputSize must be a size or null, or a list of ${dims} of them, got ${describe(outputSize)}`,
    );
  }
  const size = spatial(x, dims);
  const out = (full as (number | null)[]).map((s, i) =>
    s === null ? size[i]! : checkInteger(call, "outputSize", s, 0),
  );
  checkShape(call, [...x.shape.slice(0, x.rank - dims), ...out]);
  if (numel(size) >= 2 ** 31) {
    throw new ShapeError(`${call}: a plane ${format(size)} has more elements than int32 indices can tell apart`);
  }
  return { in: size, out };
}

export interface AdaptiveMaxPoolOptions {
  /** Also return where each maximum was: int32, flat in the plane. Default false. */
  readonly returnIndices?: boolean;
}

function adaptiveMaxPool(
  call: string,
  dims: number,
  x: Tensor,
  outputSize: OutputSize,
  options: AdaptiveMaxPoolOptions,
): Tensor | [Tensor, Tensor<"int32">] {
  checkOptions(call, options, ["returnIndices"]);
  checkFlag(call, "returnIndices", options.returnIndices);
  const geometry = readOutputSize(call, dims, x, outputSize);
  const returnIndices = options.returnIndices ?? false;
  const results = adaptiveMaxPoolOp.all([x], { returnIndices, ...geometry });
  return returnIndices ? [results[0]!, results[1] as Tensor<"int32">] : results[0]!;
}

/**
 * Averages over as many bins per dimension as `outputSize` says (it may be more than the input has).
 *
 * Shapes: x [batch, channels, sizes...] or without batch; result the same with the sizes outputSize.
 * @throws {ShapeError} if x has the wrong rank or is empty but for its batch; {ArgumentError} for a bad outputSize
 */
export function adaptiveAvgPool1d<D extends DType>(x: Tensor<D>, outputSize: OutputSize): Tensor<D> {
  return adaptiveAvgPoolOp([x], readOutputSize("adaptiveAvgPool1d", 1, x, outputSize)) as Tensor<D>;
}

/**
 * Maxima over as many bins per dimension as `outputSize` says; with returnIndices: [values, indices].
 *
 * Shapes: x [batch, channels, sizes...] or without batch; result the same with the sizes outputSize.
 * @throws {ShapeError} if x has the wrong rank or is empty but for its batch; {ArgumentError} for a bad outputSize
 */
export function adaptiveMaxPool1d<D extends DType>(
  x: Tensor<D>,
  outputSize: OutputSize,
  options: AdaptiveMaxPoolOptions & { readonly returnIndices: true },
): [values: Tensor<D>, indices: Tensor<"int32">];
export function adaptiveMaxPool1d<D extends DType>(
  x: Tensor<D>,
  outputSize: OutputSize,
  options?: AdaptiveMaxPoolOptions & { readonly returnIndices?: false },
): Tensor<D>;
export function adaptiveMaxPool1d(
  x: Tensor,
  outputSize: OutputSize,
  options: AdaptiveMaxPoolOptions = {},
): Tensor | [Tensor, Tensor<"int32">] {
  return adaptiveMaxPool("adaptiveMaxPool1d", 1, x, outputSize, options);
}

/**
 * Averages over as many bins per dimension as `outputSize` says (it may be more than the input has).
 *
 * Shapes: x [batch, channels, sizes...] or without batch; result the same with the sizes outputSize.
 * @throws {ShapeError} if x has the wrong rank or is empty but for its batch; {ArgumentError} for a bad outputSize
 */
export function adaptiveAvgPool2d<D extends DType>(x: Tensor<D>, outputSize: OutputSize): Tensor<D> {
  return adaptiveAvgPoolOp([x], readOutputSize("adaptiveAvgPool2d", 2, x, outputSize)) as Tensor<D>;
}

/**
 * Maxima over as many bins per dimension as `outputSize` says; with returnIndices: [values, indices].
 *
 * Shapes: x [batch, channels, sizes...] or without batch; result the same with the sizes outputSize.
 * @throws {ShapeError} if x has the wrong rank or is empty but for its batch; {ArgumentError} for a bad outputSize
 */
export function adaptiveMaxPool2d<D extends DType>(
  x: Tensor<D>,
  outputSize: OutputSize,
  options: AdaptiveMaxPoolOptions & { readonly returnIndices: true },
): [values: Tensor<D>, indices: Tensor<"int32">];
export function adaptiveMaxPool2d<D extends DType>(
  x: Tensor<D>,
  outputSize: OutputSize,
  options?: AdaptiveMaxPoolOptions & { readonly returnIndices?: false },
): Tensor<D>;
export function adaptiveMaxPool2d(
  x: Tensor,
  outputSize: OutputSize,
  options: AdaptiveMaxPoolOptions = {},
): Tensor | [Tensor, Tensor<"int32">] {
  return adaptiveMaxPool("adaptiveMaxPool2d", 2, x, outputSize, options);
}

/**
 * Averages over as many bins per dimension as `outputSize` says (it may be more than the input has).
 *
 * Shapes: x [batch, channels, sizes...] or without batch; result the same with the sizes outputSize.
 * @throws {ShapeError} if x has the wrong rank or is empty but for its batch; {ArgumentError} for a bad outputSize
 */
export function adaptiveAvgPool3d<D extends DType>(x: Tensor<D>, outputSize: OutputSize): Tensor<D> {
  return adaptiveAvgPoolOp([x], readOutputSize("adaptiveAvgPool3d", 3, x, outputSize)) as Tensor<D>;
}

/**
 * Maxima over as many bins per dimension as `outputSize` says; with returnIndices: [values, indices].
 *
 * Shapes: x [batch, channels, sizes...] or without batch; result the same with the sizes outputSize.
 * @throws {ShapeError} if x has the wrong rank or is empty but for its batch; {ArgumentError} for a bad outputSize
 */
export function adaptiveMaxPool3d<D extends DType>(
  x: Tensor<D>,
  outputSize: OutputSize,
  options: AdaptiveMaxPoolOptions & { readonly returnIndices: true },
): [values: Tensor<D>, indices: Tensor<"int32">];
export function adaptiveMaxPool3d<D extends DType>(
  x: Tensor<D>,
  outputSize: OutputSize,
  options?: AdaptiveMaxPoolOptions & { readonly returnIndices?: false },
): Tensor<D>;
export function adaptiveMaxPool3d(
  x: Tensor,
  outputSize: OutputSize,
  options: AdaptiveMaxPoolOptions = {},
): Tensor | [Tensor, Tensor<"int32">] {
  return adaptiveMaxPool("adaptiveMaxPool3d", 3, x, outputSize, options);
}
