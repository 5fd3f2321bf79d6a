import type { DType } from "../core/dtype.js";
import { ArgumentError, ShapeError } from "../core/errors.js";
import { checkChoice, checkInteger, checkOptions } from "../core/options.js";
import { checkShape, describe, format, maxElements, numel, type Shape } from "../core/shape.js";
import { empty, type Tensor } from "../core/tensor.js";
import type { ConvPadding } from "./conv.js";
import { checkWeight, convOutput, convPadding, weightLayout } from "./conv_arguments.js";
import { checkTensor, floating } from "./kernel.js";
import { type PaddingMode, paddedPositions, paddingModes } from "./padding.js";
import { planeScatterOp } from "./plane.js";
import { checkFlag } from "./pool_geometry.js";
import { positionList, take } from "./take.js";
import { reshape } from "./view.js";
import { type PerDimension, perDimension } from "./window.js";

/** A convolution as the matrix of a linear map: the fully connected layer that it is equal to. */

export interface ConvMatrixOptions {
  /** Distance of neighbouring windows; default 1. */
  readonly stride?: PerDimension;
  /** Elements added around the input; default 0. */
  readonly padding?: ConvPadding;
  /** Distance of neighbouring taps; default 1. */
  readonly dilation?: PerDimension;
  /** Independent convolutions that the channels are divided into; default 1. */
  readonly groups?: number;
  /** What padding holds; default "zeros". */
  readonly paddingMode?: PaddingMode;
  /** Give the entries that are not known to be 0 as a list instead of the dense matrix. Default false. */
  readonly sparse?: boolean;
}

/** The entries of a matrix, one per tap of every output: row, column and value; entries of one place add up. */
export interface SparseMatrix<D extends DType = DType> {
  readonly shape: readonly [rows: number, columns: number];
  readonly rows: Tensor<"int32">;
  readonly columns: Tensor<"int32">;
  /** Gathered from the weight, so gradients flow to it. */
  readonly values: Tensor<D>;
}

const optionNames = ["stride", "padding", "dilation", "groups", "paddingMode", "sparse"];

/** For each output position of a dimension, and in it each tap, the input position; -1 where it reads a zero. */
type Reads = Int32Array;

/** Where every entry of the matrix stands, and which element of the weight it is. */
interface Entries {
  readonly rows: Int32Array;
  readonly columns: Int32Array;
  readonly taps: Int32Array;
}

/** The entries of one output channel and one input channel, flat in their planes. */
function planeEntries(
  size: readonly number[],
  kernel: readonly number[],
  out: readonly number[],
  reads: readonly Reads[],
): Entries {
  const most = numel(out) * numel(kernel);
  const [rows, columns, taps] = [new Int32Array(most), new Int32Array(most), new Int32Array(most)];
  let count = 0;
  const walk = (dim: number, row: number, column: number, tap: number): void => {
    if (dim === size.length) {
      rows[count] = row;
      columns[count] = column;
      taps[count++] = tap;
      return;
    }
    for (let p = 0; p < out[dim]!; p++) {
      for (let t = 0; t < kernel[dim]!; t++) {
        const from = reads[dim]![p * kernel[dim]! + t]!;
        if (from >= 0) walk(dim + 1, row * out[dim]! + p, column * size[dim]! + from, tap * kernel[dim]! + t);
      }
    }
  };
  walk(0, 0, 0, 0);
  return { rows: rows.subarray(0, count), columns: columns.subarray(0, count), taps: taps.subarray(0, count) };
}

function listEntries(
  weight: Shape,
  size: readonly number[],
  out: readonly number[],
  reads: readonly Reads[],
  groups: number,
): Entries {
  const [outChannels, groupInputs] = weight as [number, number];
  const kernel = weight.slice(2);
  const plane = planeEntries(size, kernel, out, reads);
  const each = plane.rows.length;
  const count = outChannels * groupInputs * each;
  const [rows, columns, taps] = [new Int32Array(count), new Int32Array(count), new Int32Array(count)];
  let at = 0;
  for (let o = 0; o < outChannels; o++) {
    const first = Math.floor(o / (outChannels / groups)) * groupInputs;
    for (let c = 0; c < groupInputs; c++) {
      for (let e = 0; e < each; e++, at++) {
        rows[at] = o * numel(out) + plane.rows[e]!;
        columns[at] = (first + c) * numel(size) + plane.columns[e]!;
        taps[at] = (o * groupInputs + c) * numel(kernel) + plane.taps[e]!;
      }
    }
  }
  return { rows, columns, taps };
}

function integers(values: Int32Array): Tensor<"int32"> {
  const t = empty([values.length], "int32");
  t.storage.array("int32").set(values);
  return t;
}

/** Most entries of the list, which is made in plain memory. */
const maxEntries = 2 ** 25;

/**
 * The matrix M of a convolution without bias: conv(x, weight).flatten() = M x.flatten() for one image x.
 *
 * Shapes: weight as conv1d, conv2d or conv3d take it, inputShape [inChannels, sizes...] of one image; result
 * [outputs, inputs] with outputs = outChannels * the result's positions, inputs = inChannels * the image's. Gradients
 * flow to the weight. With `sparse: true` the entries as { rows, columns, values, shape }.
 * @throws {ShapeError} if sizes do not fit, or the matrix would have more than 2^31 elements
 */
export function convMatrix<D extends DType>(
  weight: Tensor<D>,
  inputShape: Shape,
  options: ConvMatrixOptions & { readonly sparse: true },
): SparseMatrix<D>;
export function convMatrix<D extends DType>(
  weight: Tensor<D>,
  inputShape: Shape,
  options?: ConvMatrixOptions & { readonly sparse?: false },
): Tensor<D>;
export function convMatrix(weight: Tensor, inputShape: Shape, options: ConvMatrixOptions = {}): Tensor | SparseMatrix {
  const call = "convMatrix";
  checkOptions(call, options, optionNames);
  checkTensor(call, "weight", weight);
  floating(call, "weight", weight);
  checkFlag(call, "sparse", options.sparse);
  const dims = weight.rank - 2;
  if (dims < 1 || dims > 3) {
    throw new ShapeError(
      `${call}: weight must be ${weightLayout} with 1 to 3 kernel sizes, but it is ${format(weight.shape)}`,
    );
  }
  const groups = options.groups ?? 1;
  checkWeight(call, weight, weight, dims, groups, weightLayout);
  checkInteger(call, "groups", groups, 1);
  const shape = checkShape(call, inputShape);
  if (shape.length !== dims + 1) {
    throw new ShapeError(
      `${call}: inputShape must be [channels, ${dims} size${dims === 1 ? "" : "s"}] of one image for weight ${format(weight.shape)}, but it is ${format(shape)}`,
    );
  }
  if (shape[0] !== weight.shape[1]! * groups) {
    throw new ShapeError(
      `${call}: weight ${format(weight.shape)} with groups ${groups} takes ${weight.shape[1]! * groups} input channels, but inputShape ${format(shape)} has ${shape[0]}`,
    );
  }
  const mode = checkChoice(call, "paddingMode", options.paddingMode ?? "zeros", paddingModes);
  const kernel = weight.shape.slice(2);
  const stride = perDimension(call, "stride", options.stride ?? 1, dims, 1);
  const dilation = perDimension(call, "dilation", options.dilation ?? 1, dims, 1);
  const sides = convPadding(call, options.padding ?? 0, kernel, stride, dilation);
  const size = shape.slice(1);
  if (size.includes(0))
    throw new ArgumentError(`${call}: an image without pixels has no matrix, got inputShape ${describe(shape)}`);
  const out = convOutput(call, size, kernel, stride, dilation, sides);
  const rows = weight.shape[0]! * numel(out);
  const columns = numel(shape);
  const count = rows * weight.shape[1]! * numel(kernel);
  if (rows >= 2 ** 31 || columns >= 2 ** 31 || count > maxEntries || rows * columns > maxElements) {
    throw new ShapeError(
      `${call}: the matrix of weight ${format(weight.shape)} on ${format(shape)} is [${rows}, ${columns}] with up to ${count} entries, which is too large`,
    );
  }
  const reads = size.map((s, i): Reads => {
    const k = kernel[i]!;
    const name = `dimension ${i + 1} of inputShape ${format(shape)}`;
    const shown = mode === "zeros" ? null : paddedPositions(call, mode, s, sides.before[i]!, sides.after[i]!, name);
    return positionList(call, out[i]! * k, (e) => {
      const at = Math.floor(e / k) * stride[i]! + (e % k) * dilation[i]!;
      if (shown !== null) return shown[at]!;
      const from = at - sides.before[i]!;
      return from >= 0 && from < s ? from : -1;
    });
  });
  const entries = listEntries(weight.shape, size, out, reads, groups);
  const values = take(reshape(weight, [weight.numel()]), [entries.taps]);
  if (options.sparse) {
    return { shape: [rows, columns], rows: integers(entries.rows), columns: integers(entries.columns), values };
  }
  if (rows * columns >= 2 ** 31) {
    throw new ShapeError(
      `${call}: the dense matrix [${rows}, ${columns}] has more than 2^31 elements; use { sparse: true }`,
    );
  }
  const flat = integers(entries.rows.map((row, i) => row * columns + entries.columns[i]!));
  return reshape(planeScatterOp([values, flat], { size: [rows * columns], add: true }), [rows, columns]);
}
