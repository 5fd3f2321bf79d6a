import type { DType } from "../core/dtype.js";
import { ArgumentError, DTypeError, ShapeError } from "../core/errors.js";
import { checkChoice, checkOptions } from "../core/options.js";
import { checkShape, format } from "../core/shape.js";
import { named, type Tensor } from "../core/tensor.js";
import { type ConvGeometry, convInputGradOp, convOp } from "./convolution.js";
import { checkTensor, floating } from "./kernel.js";
import { reshape } from "./view.js";
import { dimensionName } from "./window.js";

/** Correlation and convolution of bare signals, images and volumes: no batch, no channels, no bias. */

const kinds = ["a vector", "a matrix", "a volume"] as const;

/** Refuses operands that are not of one floating type. */
function checkTypes(call: string, xName: string, x: unknown, kernelName: string, kernel: unknown): void {
  checkTensor(call, xName, x);
  checkTensor(call, kernelName, kernel);
  floating(call, xName, x);
  if (x.dtype !== kernel.dtype) {
    throw new DTypeError(
      `${call}: ${named(xName, x)} and ${named(kernelName, kernel)} must have the same dtype; convert one with .to("${x.dtype}")`,
    );
  }
}

/** Stride 1 everywhere: the kernel at every position, from `pad` before the first element on. */
function plain(
  size: readonly number[],
  kernel: readonly number[],
  pad: readonly number[],
  out: readonly number[],
): ConvGeometry {
  const one = size.map(() => 1);
  return { groups: 1, in: size, kernel, stride: one, dilation: one, pad, out };
}

/** As a batch of one image with one channel. */
function image(x: Tensor): Tensor {
  return reshape(x, [1, 1, ...x.shape]);
}

function corr<D extends DType>(call: string, dims: 1 | 2 | 3, X: Tensor<D>, K: Tensor<D>): Tensor<D> {
  checkTypes(call, "X", X, "K", K);
  for (const [name, t] of [
    ["X", X],
    ["K", K],
  ] as const) {
    if (t.rank !== dims) {
      const single = t.shape.filter((s) => s !== 1).length <= dims && t.rank > dims;
      const layers =
        t.rank > dims ? `; use conv${dims}d for batches${single ? `, or ${name}.squeeze() for one image` : ""}` : "";
      const smaller = t.rank < dims && t.rank > 0 ? `; use corr${t.rank}d for ${kinds[t.rank - 1]}` : "";
      throw new ShapeError(
        `${call}: ${name} must be ${kinds[dims - 1]}, but it is ${format(t.shape)}${layers}${smaller}`,
      );
    }
  }
  checkValid(call, "X", X, "K", K);
  const out = X.shape.map((s, i) => s - K.shape[i]! + 1);
  const pad = out.map(() => 0);
  const y = convOp([image(X), image(K), null], plain(X.shape, K.shape, pad, out));
  return reshape(y, out) as Tensor<D>;
}

/** Refuses a kernel without taps or larger than x. */
function checkValid(call: string, xName: string, x: Tensor, kernelName: string, kernel: Tensor): void {
  kernel.shape.forEach((k, i) => {
    const name = dimensionName(i, kernel.rank);
    if (k === 0) {
      throw new ShapeError(
        `${call}: ${kernelName} ${format(kernel.shape)} needs at least one tap in dimension ${name}`,
      );
    }
    if (k > x.shape[i]!) {
      throw new ShapeError(
        `${call}: ${xName} ${format(x.shape)} is smaller than ${kernelName} ${format(kernel.shape)} in dimension ${name}: ${x.shape[i]} < ${k}`,
      );
    }
  });
}

/**
 * Cross-correlation of two vectors: Y[i] = sum over a of X[i + a] * K[a].
 *
 * Shapes: X [width], K [kernelWidth]; result [width - kernelWidth + 1].
 * @throws {ShapeError} if X or K is not a vector, or X is shorter than K
 */
export function corr1d<D extends DType>(X: Tensor<D>, K: Tensor<D>): Tensor<D> {
  return corr("corr1d", 1, X, K);
}

/**
 * Cross-correlation of two matrices, as the lessons write it: Y[i, j] = sum over a, b of X[i + a, j + b] * K[a, b].
 *
 * Shapes: X [height, width], K [kernelHeight, kernelWidth]; result [height - kernelHeight + 1, width - kernelWidth + 1].
 * @throws {ShapeError} if X or K is not a matrix (use conv2d for batches and channels), or X is smaller than K
 */
export function corr2d<D extends DType>(X: Tensor<D>, K: Tensor<D>): Tensor<D> {
  return corr("corr2d", 2, X, K);
}

/**
 * Cross-correlation of two volumes: corr2d with a depth.
 *
 * Shapes: X [depth, height, width], K [kernelDepth, kernelHeight, kernelWidth]; result their difference + 1.
 * @throws {ShapeError} if X or K is not a volume, or X is smaller than K
 */
export function corr3d<D extends DType>(X: Tensor<D>, K: Tensor<D>): Tensor<D> {
  return corr("corr3d", 3, X, K);
}

export interface ConvolveOptions {
  /**
   * Which positions: "full" (default) all where the two overlap, size x + kernel - 1; "same" the middle of these, with
   * the size of x; "valid" those where the smaller lies wholly inside the larger.
   */
  readonly mode?: "full" | "same" | "valid";
}

function readMode(call: string, x: Tensor, kernel: Tensor, options: ConvolveOptions): "full" | "same" | "valid" {
  checkOptions(call, options, ["mode"]);
  const mode = checkChoice(call, "mode", options.mode ?? "full", ["full", "same", "valid"]);
  checkTypes(call, "x", x, "kernel", kernel);
  if (x.rank !== kernel.rank || x.rank < 1 || x.rank > 3) {
    throw new ShapeError(
      `${call}: x and kernel must both be vectors, matrices or volumes, but they are ${format(x.shape)} and ${format(kernel.shape)}; ` +
        "use conv1d, conv2d or conv3d for batches and channels",
    );
  }
  for (const [name, t] of [
    ["x", x],
    ["kernel", kernel],
  ] as const) {
    if (t.shape.includes(0))
      throw new ArgumentError(`${call}: ${name} must not be empty, but it is ${format(t.shape)}`);
  }
  return mode;
}

/**
 * Convolution in the mathematical sense, with the kernel flipped: y[i] = sum over a of x[i - a] * kernel[a], in 1 to 3
 * dimensions. In modes "full" and "valid" it is commutative: convolve(x, k) equals convolve(k, x).
 *
 * Shapes: x and kernel of the same rank; result x + kernel - 1 ("full"), x ("same") or the difference + 1 ("valid").
 * @throws {ShapeError} if the ranks differ, or in mode "valid" neither lies wholly inside the other
 */
export function convolve<D extends DType>(x: Tensor<D>, kernel: Tensor<D>, options: ConvolveOptions = {}): Tensor<D> {
  const mode = readMode("convolve", x, kernel, options);
  if (mode === "valid" && x.shape.every((s, i) => s <= kernel.shape[i]!)) [x, kernel] = [kernel, x];
  if (mode === "valid") checkValid("convolve", "x", x, "kernel", kernel);
  // Every element of x spreads a copy of the kernel: the transpose of a correlation, of which `cut` leading positions are left out.
  const full = x.shape.map((s, i) => s + kernel.shape[i]! - 1);
  const cut = kernel.shape.map((k) => (mode === "full" ? 0 : mode === "same" ? Math.floor((k - 1) / 2) : k - 1));
  const out = mode === "full" ? full : mode === "same" ? x.shape : x.shape.map((s, i) => s - kernel.shape[i]! + 1);
  checkShape("convolve", out);
  const y = convInputGradOp([image(x), image(kernel), null], plain(out, kernel.shape, cut, x.shape));
  return reshape(y, out) as Tensor<D>;
}

/**
 * Cross-correlation with a choice of positions: y[i] = sum over a of x[i + a] * kernel[a], in 1 to 3 dimensions; it
 * equals convolve() with the kernel flipped. Not commutative: exchanging the arguments reverses the full result.
 *
 * Shapes: x and kernel of the same rank; result x + kernel - 1 ("full"), x ("same") or x - kernel + 1 ("valid").
 * @throws {ShapeError} if the ranks differ, or in mode "valid" x is smaller than the kernel
 */
export function correlate<D extends DType>(x: Tensor<D>, kernel: Tensor<D>, options: ConvolveOptions = {}): Tensor<D> {
  const mode = readMode("correlate", x, kernel, options);
  if (mode === "valid") checkValid("correlate", "x", x, "kernel", kernel);
  const pad = kernel.shape.map((k) =>
    mode === "full" ? k - 1 : mode === "same" ? k - 1 - Math.floor((k - 1) / 2) : 0,
  );
  const out = x.shape.map((s, i) =>
    mode === "full" ? s + kernel.shape[i]! - 1 : mode === "same" ? s : s - kernel.shape[i]! + 1,
  );
  checkShape("correlate", out);
  const y = convOp([image(x), image(kernel), null], plain(x.shape, kernel.shape, pad, out));
  return reshape(y, out) as Tensor<D>;
}
