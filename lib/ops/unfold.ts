import type { DType } from "../core/dtype.js";
import { ShapeError } from "../core/errors.js";
import { checkInteger, checkOptions } from "../core/options.js";
import { checkShape, contiguousStrides, format, normalizeDim, numel } from "../core/shape.js";
import { empty, type Tensor } from "../core/tensor.js";
import { convOutput } from "./conv_arguments.js";
import { type ConvGeometry, convSizes } from "./convolution.js";
import { defineOp, type Op, type Sample } from "./define.js";
import { checkTensor, filled, floating } from "./kernel.js";
import { installMethods } from "./methods.js";
import { asStrided, clone, reshape, squeeze, unsqueeze } from "./view.js";
import { checkImages, type PerDimension, perDimension, runContiguous, spatial } from "./window.js";

/** Windows laid out as the columns of a matrix, and back: what turns a convolution into a matrix product. */

type ColumnGeometry = Omit<ConvGeometry, "groups">;

function sizesOf(batch: number, channels: number, g: ColumnGeometry): number[] {
  return convSizes(batch, channels, 1, { groups: 1, ...g });
}

interface Case {
  readonly batch: number;
  readonly channels: number;
  readonly geometry: ColumnGeometry;
  readonly large?: boolean;
}

function geometryOf(
  size: readonly number[],
  kernel: readonly number[],
  stride: number,
  pad: number,
  dilation: number,
): ColumnGeometry {
  const all = (v: number): number[] => size.map(() => v);
  const out = size.map((s, i) => Math.floor((s + 2 * pad - dilation * (kernel[i]! - 1) - 1) / stride) + 1);
  return { in: size, kernel, stride: all(stride), dilation: all(dilation), pad: all(pad), out };
}

const cases: readonly Case[] = [
  { batch: 2, channels: 2, geometry: geometryOf([4, 5], [2, 3], 1, 1, 1) },
  { batch: 1, channels: 1, geometry: geometryOf([7, 6], [3, 2], 2, 0, 2) },
  { batch: 0, channels: 2, geometry: geometryOf([4, 4], [2, 2], 1, 0, 1) },
  { batch: 1, channels: 3, geometry: geometryOf([1, 1], [1, 1], 1, 0, 1) },
  { batch: 2, channels: 3, geometry: geometryOf([11, 35], [3, 3], 2, 1, 1), large: true },
];

const columnsShape = (c: Case): number[] => [c.batch, c.channels * numel(c.geometry.kernel), numel(c.geometry.out)];
const imageShape = (c: Case): number[] => [c.batch, c.channels, ...c.geometry.in];
const samplesOf = <I extends string>(input: (c: Case) => Record<I, readonly number[]>): Sample<I, ColumnGeometry>[] =>
  cases.map((c) => ({
    inputs: input(c),
    options: c.geometry,
    ...(c.large ? { skip: ["gradcheck", "gradgradcheck"] as const } : {}),
  }));

const im2colOp: Op<"x", ColumnGeometry> = defineOp<"x", ColumnGeometry>({
  name: "im2col",
  inputs: ["x"],
  forward: ([x], g) => {
    const [batch, channels] = x!.shape as [number, number];
    const y = empty([batch, channels * numel(g.kernel), numel(g.out)], x!.dtype);
    runContiguous("im2col", x!.dtype, sizesOf(batch, channels, g), [x!], [y]);
    return y;
  },
  grad: { x: { formula: (c) => col2imOp([c.dy], c.options) } },
  samples: () => samplesOf((c) => ({ x: imageShape(c) })),
  refusals: () => [
    { call: () => im2col(filled([4, 4], "float32", 0), 2), message: /unfold: x must be \[channels, height, width\]/ },
    { call: () => im2col(filled([1, 1, 4, 4], "float32", 0), 5), message: /padded input 4 .* dilated kernel 5/ },
    { call: () => im2col(filled([1, 1, 4, 4], "float32", 0), 2, { stride: 0 }), message: /stride .* from 1/ },
  ],
});

const col2imOp: Op<"columns", ColumnGeometry> = defineOp<"columns", ColumnGeometry>({
  name: "col2im",
  inputs: ["columns"],
  forward: ([columns], g) => {
    const [batch, rows] = columns!.shape as [number, number];
    const channels = rows / numel(g.kernel);
    const y = empty([batch, channels, ...g.in], columns!.dtype);
    runContiguous("col2im", columns!.dtype, sizesOf(batch, channels, g), [columns!], [y]);
    return y;
  },
  grad: { columns: { formula: (c) => im2colOp([c.dy], c.options) } },
  samples: () => samplesOf((c) => ({ columns: columnsShape(c) })),
  refusals: () => [
    { call: () => col2im(filled([1, 7, 9], "float32", 0), [4, 4], 2), message: /7 rows.*4 = 2 \* 2/ },
    { call: () => col2im(filled([1, 8, 8], "float32", 0), [4, 4], 2), message: /8 columns.*9 = 3 \* 3/ },
  ],
});

export interface UnfoldOptions {
  /** Distance of neighbouring taps; default 1. */
  readonly dilation?: PerDimension;
  /** Zeros added around the image; default 0. */
  readonly padding?: PerDimension;
  /** Distance of neighbouring windows; default 1. */
  readonly stride?: PerDimension;
}

const dims = 2;

function readGeometry(
  call: string,
  size: readonly number[],
  kernelSize: PerDimension,
  options: UnfoldOptions,
): ColumnGeometry {
  checkOptions(call, options, ["dilation", "padding", "stride"]);
  const kernel = perDimension(call, "kernelSize", kernelSize, dims, 1);
  const dilation = perDimension(call, "dilation", options.dilation ?? 1, dims, 1);
  const pad = perDimension(call, "padding", options.padding ?? 0, dims, 0);
  const stride = perDimension(call, "stride", options.stride ?? 1, dims, 1);
  const out = convOutput(call, size, kernel, stride, dilation, { before: pad, after: pad });
  return { in: size, kernel, stride, dilation, pad, out };
}

/**
 * The windows of an image as columns: a convolution is the product of its weight [outChannels, channels * taps] and these.
 *
 * Shapes: x [batch, channels, height, width] or without batch; result [batch, channels * kernelHeight * kernelWidth,
 * windows], windows = the outputs of conv2d with the same arguments.
 * @throws {ShapeError} if x is not an image or smaller than the kernel; {ArgumentError} for sizes below 1
 */
export function unfold<D extends DType>(
  x: Tensor<D>,
  kernelSize: PerDimension,
  options: UnfoldOptions = {},
): Tensor<D> {
  const batched = checkImages("unfold", "x", x, dims);
  const size = spatial(x, dims);
  const at = x.shape.findIndex((s, i) => s === 0 && (i > 0 || !batched));
  if (at >= 0) {
    throw new ShapeError(`unfold: x ${format(x.shape)} has size 0 in dimension ${at}; only the batch may be empty`);
  }
  const geometry = readGeometry("unfold", size, kernelSize, options);
  const channels = x.shape[x.rank - dims - 1]!;
  checkShape("unfold", [batched ? x.shape[0]! : 1, channels * numel(geometry.kernel), numel(geometry.out)]);
  const y = im2colOp([batched ? x : unsqueeze(x, 0)], geometry);
  return (batched ? y : squeeze(y, 0)) as Tensor<D>;
}

/**
 * The transpose of unfold: adds every column's entries to the places of the image they belong to. fold(unfold(x)) is x
 * times the number of windows that cover each place.
 *
 * Shapes: columns [batch, channels * kernelHeight * kernelWidth, windows] or without batch, outputSize [height, width];
 * result [batch, channels, height, width].
 * @throws {ShapeError} if the rows are not a multiple of the kernel's taps or the columns are not the number of windows
 */
export function fold<D extends DType>(
  columns: Tensor<D>,
  outputSize: PerDimension,
  kernelSize: PerDimension,
  options: UnfoldOptions = {},
): Tensor<D> {
  checkTensor("fold", "columns", columns);
  floating("fold", "columns", columns);
  if (columns.rank !== 2 && columns.rank !== 3) {
    throw new ShapeError(
      `fold: columns must be [batch, channels * taps, windows] or [channels * taps, windows], but they are ${format(columns.shape)}`,
    );
  }
  const size = perDimension("fold", "outputSize", outputSize, dims, 1);
  const geometry = readGeometry("fold", size, kernelSize, options);
  const [rows, count] = columns.shape.slice(-2) as [number, number];
  const taps = numel(geometry.kernel);
  if (rows % taps !== 0 || rows === 0) {
    throw new ShapeError(
      `fold: columns ${format(columns.shape)} have ${rows} rows, which must be a multiple of the taps of the kernel, ${taps} = ${geometry.kernel.join(" * ")}`,
    );
  }
  if (count !== numel(geometry.out)) {
    throw new ShapeError(
      `fold: columns ${format(columns.shape)} have ${count} columns, but an image ${format(size)} has ${numel(geometry.out)} = ` +
        `${geometry.out.join(" * ")} windows of ${format(geometry.kernel)}`,
    );
  }
  const batched = columns.rank === 3;
  checkShape("fold", [batched ? columns.shape[0]! : 1, rows / taps, ...size]);
  const y = col2imOp([batched ? columns : unsqueeze(columns, 0)], geometry);
  return (batched ? y : squeeze(y, 0)) as Tensor<D>;
}

/** unfold under its other name. */
export const im2col: typeof unfold = unfold;

/** fold under its other name. */
export const col2im: typeof fold = fold;

/**
 * All slices of `size` elements along a dimension, `step` apart, as a view of x (of a copy if x is itself a view or not
 * row-major). The method of tensors is called unfold, as PyTorch's.
 *
 * Shapes: x [..., n, ...]; result [..., floor((n - size) / step) + 1, ..., size].
 * @throws {ShapeError} if size is more than the dimension has
 */
export function slidingWindows<D extends DType>(x: Tensor<D>, dim: number, size: number, step: number): Tensor<D> {
  checkTensor("unfold", "x", x);
  const d = normalizeDim("unfold", dim, x.rank);
  const from = x.rank === 0 ? reshape(x, [1]) : x.isContiguous() && x.offset === 0 ? x : clone(x);
  const n = from.shape[d]!;
  checkInteger("unfold", "size", size, 0);
  checkInteger("unfold", "step", step, 1);
  if (size > n) {
    throw new ShapeError(
      `unfold: size ${size} is more than the ${n} elements of dimension ${dim} of ${format(x.shape)}`,
    );
  }
  const strides = contiguousStrides(from.shape);
  const shape = [...from.shape.map((s, i) => (i === d ? Math.floor((n - size) / step) + 1 : s)), size];
  checkShape("unfold", shape);
  const steps = [...strides.map((s, i) => (i === d ? s * step : s)), strides[d]!];
  if (x.rank === 0) return reshape(from, [size]);
  return asStrided(from, { shape, strides: steps, offset: from.offset });
}

declare module "../core/tensor.js" {
  interface Tensor<D extends DType = DType> {
    /** All slices of `size` elements along `dim`, `step` apart: [..., windows, ..., size]. A view. */
    unfold(dim: number, size: number, step: number): Tensor<D>;
  }
}

installMethods({ unfold: slidingWindows });
