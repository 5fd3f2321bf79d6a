import { activationCodes } from "../backend/abi.js";
import type { DType } from "../core/dtype.js";
import { ArgumentError, ShapeError } from "../core/errors.js";
import { checkChoice, checkNumber, checkOptions } from "../core/options.js";
import { checkShape, format, numel, sameShape, type Shape } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import {
  type Activation,
  batchNormActivationOp,
  batchNormInferenceActivationOp,
  batchNormInferenceOp,
  batchNormOp,
  batchNormResidualOp,
} from "./batch_norm.js";
import { binary, binaryInto, checkTensor, copyInto, floating, sameDType, unary, unaryInto } from "./kernel.js";
import { layerNormOp } from "./layer_norm.js";
import { checkChannels } from "./normalization.js";
import { add, mul, rsqrt, square } from "./pointwise.js";
import { mean } from "./reduce.js";
import { reshape, toContiguous } from "./view.js";

/** Normalisation by batch, layer, group, instance and root mean square. */

export interface BatchNormOptions {
  /** Scale per channel, [channels]. */
  readonly weight?: Tensor | null;
  /** Shift per channel, [channels]. */
  readonly bias?: Tensor | null;
  /** Normalise with the statistics of x (and update the running ones) instead of the running ones. Default false. */
  readonly training?: boolean;
  /** running = (1 - momentum) running + momentum statistics of x; default 0.1. */
  readonly momentum?: number;
  /** Added to the variance; default 1e-5. */
  readonly eps?: number;
  /** Applied to the result in the same pass; default "none". */
  readonly activation?: Activation;
  /** Added before the activation, of x's shape: activation(batchNorm(x) + residual). */
  readonly residual?: Tensor | null;
}

/** target = (1 - momentum) target + share * value, in place and unrecorded: two calls, for there are many small ones. */
function blend(target: Tensor, value: Tensor, momentum: number, share: number): void {
  if (target.isContiguous()) {
    unaryInto("mul_scalar", target, target, 1 - momentum);
    binaryInto("add_scaled", target, value, target, share);
  } else {
    const kept = unary("mul_scalar", target, 1 - momentum);
    const next = binary("add_scaled", kept, value, share);
    copyInto(target, next);
    next.dispose();
    kept.dispose();
  }
  target.storage.version++;
}

/**
 * Batch normalisation (Ioffe and Szegedy 2015): per channel, (x - mean) / sqrt(variance + eps) * weight + bias.
 * Training takes mean and biased variance over the batch and all positions of x, and moves the running ones towards
 * them (with the unbiased variance); else the running ones are used.
 *
 * Shapes: x [batch, channels, ...]; runningMean, runningVar, weight, bias [channels]; result as x.
 * @throws {ShapeError} if x has fewer than 2 dimensions, a statistic is not [channels], or training sees only one value
 *   per channel
 */
export function batchNorm<D extends DType>(
  x: Tensor<D>,
  runningMean: Tensor | null,
  runningVar: Tensor | null,
  options: BatchNormOptions = {},
): Tensor<D> {
  const call = "batchNorm";
  checkTensor(call, "x", x);
  floating(call, "x", x);
  checkOptions(call, options, ["weight", "bias", "training", "momentum", "eps", "activation", "residual"]);
  const training = options.training ?? false;
  const eps = checkNumber(call, "eps", options.eps ?? 1e-5, 0);
  const momentum = checkNumber(call, "momentum", options.momentum ?? 0.1);
  const activation = checkChoice(call, "activation", options.activation ?? "none", activationCodes);
  const weight = options.weight ?? null;
  const bias = options.bias ?? null;
  const residual = options.residual ?? null;
  if (x.rank < 2) {
    throw new ShapeError(
      `${call}: x must be [batch, channels, ...], at least 2 dimensions, but it is ${format(x.shape)}`,
    );
  }
  const channels = x.shape[1]!;
  checkChannels(call, "runningMean", runningMean, x, channels);
  checkChannels(call, "runningVar", runningVar, x, channels);
  checkChannels(call, "weight", weight, x, channels);
  checkChannels(call, "bias", bias, x, channels);
  if (residual !== null) {
    checkTensor(call, "residual", residual);
    sameDType(call, "x", x, "residual", residual);
    if (!sameShape(residual.shape, x.shape)) {
      throw new ShapeError(`${call}: residual ${format(residual.shape)} must have the shape of x ${format(x.shape)}`);
    }
  }
  const count = channels === 0 ? 0 : x.numel() / channels; // values per channel
  const inputs = [toContiguous(x), weight, bias, residual === null ? null : toContiguous(residual)];
  if (!training) {
    if (runningMean === null || runningVar === null) {
      throw new ArgumentError(`${call}: without training, runningMean and runningVar must be given`);
    }
    const op = activation === "none" ? batchNormInferenceOp : batchNormInferenceActivationOp;
    return op([...inputs, runningMean, runningVar], { eps, activation }) as Tensor<D>;
  }
  if (count === 1) {
    throw new ShapeError(`${call}: training needs more than 1 value per channel, but x is ${format(x.shape)}`);
  }
  const observe = (average: Tensor, variance: Tensor): void => {
    if (count === 0) return; // nothing was seen
    if (runningMean !== null) blend(runningMean, average, momentum, momentum);
    if (runningVar !== null) blend(runningVar, variance, momentum, (momentum * count) / (count - 1)); // unbiased
  };
  const op = activation === "none" ? batchNormOp : residual === null ? batchNormActivationOp : batchNormResidualOp;
  return op(inputs, { eps, activation, observe }) as Tensor<D>;
}

/**
 * Layer normalisation (Ba et al. 2016): over the last dimensions, which are `normalizedShape`.
 *
 * Shapes: x [..., ...normalizedShape]; weight, bias normalizedShape; result as x.
 * @throws {ShapeError} if x does not end in normalizedShape, or weight or bias has another shape
 */
export function layerNorm<D extends DType>(
  x: Tensor<D>,
  normalizedShape: number | Shape,
  options: { weight?: Tensor | null; bias?: Tensor | null; eps?: number } = {},
): Tensor<D> {
  checkTensor("layerNorm", "x", x);
  floating("layerNorm", "x", x);
  checkOptions("layerNorm", options, ["weight", "bias", "eps"]);
  const eps = checkNumber("layerNorm", "eps", options.eps ?? 1e-5, 0);
  const shape = normalized("layerNorm", x, normalizedShape, options);
  const count = numel(shape);
  const flat = (t: Tensor | null | undefined): Tensor | null => (t ? reshape(t, [count]) : null);
  const rows = numel(x.shape.slice(0, x.rank - shape.length));
  const y = layerNormOp([reshape(x, [rows, count]), flat(options.weight), flat(options.bias)], { eps });
  return reshape(y, x.shape) as Tensor<D>;
}

function normalized(
  call: string,
  x: Tensor,
  given: number | Shape,
  parameters: { weight?: Tensor | null; bias?: Tensor | null },
): number[] {
  const shape = checkShape(call, typeof given === "number" ? [given] : given);
  if (shape.length === 0) throw new ShapeError(`${call}: normalizedShape must name at least one dimension`);
  if (format(x.shape.slice(-shape.length)) !== format(shape) || x.rank < shape.length) {
    throw new ShapeError(`${call}: x must end in normalizedShape ${format(shape)}, but it is ${format(x.shape)}`);
  }
  for (const name of ["weight", "bias"] as const) {
    const t = parameters[name];
    if (!t) continue;
    checkTensor(call, name, t);
    sameDType(call, "x", x, name, t);
    if (format(t.shape) !== format(shape)) {
      throw new ShapeError(`${call}: ${name} must have normalizedShape ${format(shape)}, but it is ${format(t.shape)}`);
    }
  }
  return shape;
}

/**
 * Root mean square normalisation (Zhang and Sennrich 2019): x / sqrt(mean(x²) + eps) * weight over the last dimensions.
 *
 * `eps` is by default the distance from 1 to the next number of x's dtype.
 */
export function rmsNorm<D extends DType>(
  x: Tensor<D>,
  normalizedShape: number | Shape,
  options: { weight?: Tensor | null; eps?: number } = {},
): Tensor<D> {
  checkTensor("rmsNorm", "x", x);
  floating("rmsNorm", "x", x);
  checkOptions("rmsNorm", options, ["weight", "eps"]);
  const eps = checkNumber("rmsNorm", "eps", options.eps ?? (x.dtype === "float32" ? 2 ** -23 : 2 ** -52), 0);
  const shape = normalized("rmsNorm", x, normalizedShape, options);
  const dims = shape.map((_, i) => x.rank - shape.length + i);
  const y = mul(x, rsqrt(add(mean(square(x), { dim: dims, keepdim: true }), eps)));
  return options.weight ? mul(y, options.weight) : y;
}

/** weight and bias per channel, which is dimension 1. */
function affine(y: Tensor, weight: Tensor | null, bias: Tensor | null): Tensor {
  const shape = [y.shape[1]!, ...y.shape.slice(2).map(() => 1)];
  let result = y;
  if (weight !== null) result = mul(result, reshape(weight, shape));
  if (bias !== null) result = add(result, reshape(bias, shape));
  return result;
}

/**
 * Group normalisation (Wu and He 2018): mean and variance over each of `groups` equal groups of channels of each image.
 *
 * Shapes: x [batch, channels, ...]; weight, bias [channels]; result as x.
 * @throws {ShapeError} if the channels do not divide into groups
 */
export function groupNorm<D extends DType>(
  x: Tensor<D>,
  groups: number,
  options: { weight?: Tensor | null; bias?: Tensor | null; eps?: number } = {},
): Tensor<D> {
  const call = "groupNorm";
  checkTensor(call, "x", x);
  floating(call, "x", x);
  checkOptions(call, options, ["weight", "bias", "eps"]);
  const eps = checkNumber(call, "eps", options.eps ?? 1e-5, 0);
  if (x.rank < 2) throw new ShapeError(`${call}: x must be [batch, channels, ...], but it is ${format(x.shape)}`);
  const [batch, channels] = x.shape as [number, number];
  if (!Number.isInteger(groups) || groups < 1 || channels % groups !== 0) {
    throw new ShapeError(
      `${call}: the ${channels} channels of x ${format(x.shape)} do not divide into ${groups} groups`,
    );
  }
  checkChannels(call, "weight", options.weight ?? null, x, channels);
  checkChannels(call, "bias", options.bias ?? null, x, channels);
  const count = (channels / groups) * numel(x.shape.slice(2));
  if (count * batch === 1 && groups === channels) {
    throw new ShapeError(`${call}: needs more than 1 value per group, but x is ${format(x.shape)} in ${groups} groups`);
  }
  const y = layerNormOp([reshape(x, [batch * groups, count]), null, null], { eps });
  return affine(reshape(y, x.shape), options.weight ?? null, options.bias ?? null) as Tensor<D>;
}

/**
 * Instance normalisation (Ulyanov et al. 2016): mean and variance of each channel of each image.
 *
 * Shapes: x [batch, channels, ...] with at least 3 dimensions; runningMean, runningVar, weight, bias [channels].
 * With `useInputStats: false` the running statistics are used instead of those of x.
 * @throws {ShapeError} if a channel has only one value
 */
export function instanceNorm<D extends DType>(
  x: Tensor<D>,
  options: {
    runningMean?: Tensor | null;
    runningVar?: Tensor | null;
    weight?: Tensor | null;
    bias?: Tensor | null;
    useInputStats?: boolean;
    momentum?: number;
    eps?: number;
  } = {},
): Tensor<D> {
  const call = "instanceNorm";
  checkTensor(call, "x", x);
  floating(call, "x", x);
  checkOptions(call, options, ["runningMean", "runningVar", "weight", "bias", "useInputStats", "momentum", "eps"]);
  const eps = checkNumber(call, "eps", options.eps ?? 1e-5, 0);
  const momentum = checkNumber(call, "momentum", options.momentum ?? 0.1);
  const { runningMean = null, runningVar = null, weight = null, bias = null, useInputStats = true } = options;
  if (x.rank < 3) {
    throw new ShapeError(
      `${call}: x must be [batch, channels, ...] with at least 3 dimensions, but it is ${format(x.shape)}`,
    );
  }
  const [batch, channels] = x.shape as [number, number];
  const inner = numel(x.shape.slice(2));
  for (const [name, t] of Object.entries({ runningMean, runningVar, weight, bias })) {
    checkChannels(call, name, t, x, channels);
  }
  if (!useInputStats) return batchNorm(x, runningMean, runningVar, { weight, bias, eps });
  if (inner === 1) {
    throw new ShapeError(`${call}: needs more than 1 value per channel of an image, but x is ${format(x.shape)}`);
  }
  const observe = (average: Tensor, variance: Tensor): void => {
    if (batch * inner === 0) return;
    const perImage = (t: Tensor): Tensor => mean(reshape(t, [batch, channels]), { dim: 0 });
    if (runningMean !== null) blend(runningMean, perImage(average), momentum, momentum);
    if (runningVar !== null) {
      blend(runningVar, perImage(variance), momentum, (momentum * inner) / (inner - 1));
    }
  };
  const rows = reshape(x, [1, batch * channels, inner]);
  const y = batchNormOp([rows, null, null, null], { eps, activation: "none", observe });
  return affine(reshape(y, x.shape), weight, bias) as Tensor<D>;
}
