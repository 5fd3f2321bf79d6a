import { run } from "../backend/run.js";
import type { KernelName } from "../backend/abi.js";
import { spatialRank } from "../backend/abi.js";
import type { DType } from "../core/dtype.js";
import { ArgumentError, ShapeError } from "../core/errors.js";
import { checkInteger } from "../core/options.js";
import { describe, format, type Shape } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import { checkTensor, contiguous, floating } from "./kernel.js";

/** What convolution and pooling have in common: images, arguments with one value per dimension, and windows. */

/** One value for all spatial dimensions, or a list with one for all or one per dimension. */
export type PerDimension = number | readonly number[];

/** @internal Sizes of windows that slide over an image, one value per spatial dimension (1 to 3). */
export interface WindowGeometry {
  readonly in: readonly number[];
  readonly kernel: readonly number[];
  readonly stride: readonly number[];
  readonly dilation: readonly number[];
  /** Padding before; what comes after is what `out` reaches. */
  readonly pad: readonly number[];
  readonly out: readonly number[];
}

/** The spatial dimensions by name, for messages. */
const dimensionNames = ["depth", "height", "width"] as const;

/** @internal The name of spatial dimension i of `dims`. */
export function dimensionName(i: number, dims: number): string {
  return dimensionNames[spatialRank - dims + i]!;
}

/** @internal An argument that may be one integer or one per dimension, as a list. */
export function perDimension(call: string, argument: string, value: unknown, dims: number, least: number): number[] {
  if (!Array.isArray(value)) {
    if (typeof value !== "number") {
      throw new ArgumentError(`${call}: ${argument} must be ${expected(dims)}, got ${describe(value)}`);
    }
    return new Array<number>(dims).fill(checkInteger(call, argument, value, least));
  }
  if (value.length !== dims && value.length !== 1) {
    throw new ArgumentError(`${call}: ${argument} must be ${expected(dims)}, got ${describe(value)}`);
  }
  const list = value.map((v, i) => checkInteger(call, value.length === 1 ? argument : `${argument}[${i}]`, v, least));
  return list.length === dims ? list : new Array<number>(dims).fill(list[0]!);
}

function expected(dims: number): string {
  return dims === 1
    ? "an integer or a list of one"
    : `an integer or a list of 1 or ${dims} integers (one per dimension)`;
}

/** @internal A list of three spatial values as kernels take them: the dimensions that are not there come first. */
export function triple(values: readonly number[], absent: number): number[] {
  const out: number[] = [];
  appendTriple(out, values, absent);
  return out;
}

/** @internal Appends the sizes of a window geometry as ConvSizes and PoolSizes have them. */
export function appendWindow(to: number[], g: WindowGeometry): void {
  appendTriple(to, g.in, 1);
  appendTriple(to, g.kernel, 1);
  appendTriple(to, g.stride, 1);
  appendTriple(to, g.dilation, 1);
  appendTriple(to, g.pad, 0);
  appendTriple(to, g.out, 1);
}

function appendTriple(to: number[], values: readonly number[], absent: number): void {
  for (let i = values.length; i < spatialRank; i++) to.push(absent);
  for (let i = 0; i < values.length; i++) to.push(values[i]!);
}

/** @internal The layout of images with `dims` spatial dimensions, for messages. */
export function imageLayout(dims: number): string {
  const plane = ["channels", ...dimensionNames.slice(spatialRank - dims)].join(", ");
  return `[${plane}] or [batch, ${plane}]`;
}

/** @internal Refuses what is not an image or a batch of images; returns whether it is a batch. */
export function checkImages(call: string, argument: string, x: unknown, dims: number): boolean {
  checkTensor(call, argument, x);
  floating(call, argument, x);
  if (x.rank !== dims + 1 && x.rank !== dims + 2) {
    throw new ShapeError(`${call}: ${argument} must be ${imageLayout(dims)}, but it is ${format(x.shape)}`);
  }
  return x.rank === dims + 2;
}

/** @internal The spatial sizes of an image. */
export function spatial(x: Tensor, dims: number): number[] {
  return x.shape.slice(x.rank - dims);
}

/** @internal `4 + 2*1` or `4 + 1 + 2`. */
export function paddedFormula(size: number, before: number, after: number): string {
  return before === after ? `${size} + 2*${before}` : `${size} + ${before} + ${after}`;
}

/** @internal Runs a kernel whose read operands must be row-major: copies of those that are not are given back. */
export function runContiguous(
  kernel: KernelName,
  dtype: DType,
  sizes: readonly number[],
  reads: readonly (Tensor | null)[],
  writes: readonly (Tensor | null)[],
): number {
  const operands: (Tensor | null)[] = [];
  for (let i = 0; i < reads.length; i++) {
    const t = reads[i]!;
    operands.push(t === null ? null : contiguous(t));
  }
  for (let i = 0; i < writes.length; i++) operands.push(writes[i]!);
  try {
    return run(kernel, dtype, sizes, operands);
  } finally {
    for (let i = 0; i < reads.length; i++) {
      const t = operands[i]!;
      if (t !== reads[i]) t?.dispose();
    }
  }
}

/** @internal The number of elements before the last `dims` dimensions. */
export function leading(shape: Shape, dims: number): number {
  let n = 1;
  for (let i = 0; i < shape.length - dims; i++) n *= shape[i]!;
  return n;
}
