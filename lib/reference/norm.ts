/** batch_norm over [batch, channels, inner] and layer_norm over [rows, count], with their gradients. */

import type { KernelSizes } from "../backend/abi.js";
import type { Operand, Operands } from "../backend/contract.js";
import { activate, passesGradient } from "./activation.js";

type BatchNormSizes = KernelSizes<"batch_norm">;
type LayerNormSizes = KernelSizes<"layer_norm">;

function valueOr(operand: Operand | null, index: number, otherwise: number): number {
  return operand === null ? otherwise : operand.array[operand.offset + index]!;
}

/** y = activation((x - mean) / sqrt(variance + eps) * weight + bias + residual) for every image of one channel. */
function normalizeChannel(
  s: BatchNormSizes,
  channel: number,
  mean: number,
  variance: number,
  [x, weight, bias, residual, y]: readonly [Operand, Operand | null, Operand | null, Operand | null, Operand],
): void {
  const scale = valueOr(weight, channel, 1) / Math.sqrt(variance + s.eps);
  const shift = valueOr(bias, channel, 0);
  const row = new Float64Array(s.inner);
  for (let n = 0; n < s.batch; n++) {
    const start = (n * s.channels + channel) * s.inner;
    for (let i = 0; i < s.inner; i++) {
      row[i] = (x.array[x.offset + start + i]! - mean) * scale + shift + valueOr(residual, start + i, 0);
    }
    activate(row, s.inner, s.activation);
    y.array.set(row, y.offset + start);
  }
}

/** Mean and biased variance in two passes. Without any elements both are NaN. */
export function batch_norm(
  s: BatchNormSizes,
  [x, weight, bias, residual, y, mean, variance, affine]: Operands<"batch_norm">,
): number {
  const count = s.batch * s.inner;
  for (let channel = 0; channel < s.channels; channel++) {
    let sum = 0;
    for (let n = 0; n < s.batch; n++) {
      const start = x.offset + (n * s.channels + channel) * s.inner;
      for (let i = 0; i < s.inner; i++) sum += x.array[start + i]!;
    }
    const average = sum / count;
    let squares = 0;
    for (let n = 0; n < s.batch; n++) {
      const start = x.offset + (n * s.channels + channel) * s.inner;
      for (let i = 0; i < s.inner; i++) squares += (x.array[start + i]! - average) ** 2;
    }
    normalizeChannel(s, channel, average, squares / count, [x, weight, bias, residual, y]);
    mean.array[mean.offset + channel] = average;
    variance.array[variance.offset + channel] = squares / count;
    if (affine !== null) {
      const scale = valueOr(weight, channel, 1) / Math.sqrt(squares / count + s.eps);
      affine.array[affine.offset + channel] = scale;
      const rounding = average - mean.array[mean.offset + channel]!;
      affine.array[affine.offset + s.channels + channel] = valueOr(bias, channel, 0) - rounding * scale;
    }
  }
  return 0;
}

export function batch_norm_inference(
  s: KernelSizes<"batch_norm_inference">,
  [x, weight, bias, residual, mean, variance, y]: Operands<"batch_norm_inference">,
): number {
  for (let channel = 0; channel < s.channels; channel++) {
    normalizeChannel(s, channel, valueOr(mean, channel, 0), valueOr(variance, channel, 0), [
      x,
      weight,
      bias,
      residual,
      y,
    ]);
  }
  return 0;
}

/**
 * With g = dy where the activation passes it, normal = (x - mean) rstd, N = batch * inner:
 * dbias = sum(g), dweight = sum(g normal), dx = weight rstd (g - dbias / N - normal dweight / N), dresidual = g.
 */
export function batch_norm_grad(
  s: KernelSizes<"batch_norm_grad">,
  [x, dy, y, weight, mean, variance, affine, dx, dweight, dbias, dresidual]: Operands<"batch_norm_grad">,
): number {
  if (s.activation !== 0 && y === null && affine === null)
    throw new Error("batch_norm_grad: an activation needs y or affine, but both are null");
  const count = s.batch * s.inner;
  const gradient = new Float64Array(count);
  const normal = new Float64Array(count);
  for (let channel = 0; channel < s.channels; channel++) {
    const average = mean.array[mean.offset + channel]!;
    const rstd = 1 / Math.sqrt(variance.array[variance.offset + channel]! + s.eps);
    let gradientSum = 0;
    let productSum = 0;
    for (let n = 0; n < s.batch; n++) {
      const start = (n * s.channels + channel) * s.inner;
      for (let i = 0; i < s.inner; i++) {
        const output =
          y === null
            ? (x.array[x.offset + start + i]! - average) * valueOr(affine, channel, 1) +
              valueOr(affine, s.channels + channel, 0)
            : y.array[y.offset + start + i]!;
        const passes = s.activation === 0 || passesGradient(output, s.activation);
        const g = passes ? dy.array[dy.offset + start + i]! : 0;
        const deviation = (x.array[x.offset + start + i]! - average) * rstd;
        gradient[n * s.inner + i] = g;
        normal[n * s.inner + i] = deviation;
        gradientSum += g;
        productSum += g * deviation;
      }
    }
    const scale = valueOr(weight, channel, 1) * rstd;
    for (let n = 0; n < s.batch; n++) {
      const start = (n * s.channels + channel) * s.inner;
      for (let i = 0; i < s.inner; i++) {
        const g = gradient[n * s.inner + i]!;
        const centred = g - gradientSum / count - (normal[n * s.inner + i]! * productSum) / count;
        dx.array[dx.offset + start + i] = scale * centred;
        if (dresidual !== null) dresidual.array[dresidual.offset + start + i] = g;
      }
    }
    dweight.array[dweight.offset + channel] = productSum;
    dbias.array[dbias.offset + channel] = gradientSum;
  }
  return 0;
}

export function layer_norm(s: LayerNormSizes, [x, weight, bias, y, mean, rstd]: Operands<"layer_norm">): number {
  for (let row = 0; row < s.rows; row++) {
    const start = row * s.count;
    let sum = 0;
    for (let i = 0; i < s.count; i++) sum += x.array[x.offset + start + i]!;
    const average = sum / s.count;
    let squares = 0;
    for (let i = 0; i < s.count; i++) squares += (x.array[x.offset + start + i]! - average) ** 2;
    const scale = 1 / Math.sqrt(squares / s.count + s.eps);
    for (let i = 0; i < s.count; i++) {
      const normal = (x.array[x.offset + start + i]! - average) * scale;
      y.array[y.offset + start + i] = normal * valueOr(weight, i, 1) + valueOr(bias, i, 0);
    }
    mean.array[mean.offset + row] = average;
    rstd.array[rstd.offset + row] = scale;
  }
  return 0;
}

/**
 * With g = dy weight and normal = (x - mean) rstd, means over a row:
 * dx = rstd (g - mean(g) - normal mean(g normal)); dweight = sum over rows of dy normal, dbias = sum over rows of dy.
 */
export function layer_norm_grad(
  s: KernelSizes<"layer_norm_grad">,
  [x, dy, weight, mean, rstd, dx, dweight, dbias]: Operands<"layer_norm_grad">,
): number {
  const weightSums = new Float64Array(s.count);
  const biasSums = new Float64Array(s.count);
  const gradient = new Float64Array(s.count);
  const normal = new Float64Array(s.count);
  for (let row = 0; row < s.rows; row++) {
    const start = row * s.count;
    const average = mean.array[mean.offset + row]!;
    const scale = rstd.array[rstd.offset + row]!;
    let gradientSum = 0;
    let productSum = 0;
    for (let i = 0; i < s.count; i++) {
      const incoming = dy.array[dy.offset + start + i]!;
      const g = incoming * valueOr(weight, i, 1);
      const deviation = (x.array[x.offset + start + i]! - average) * scale;
      gradient[i] = g;
      normal[i] = deviation;
      gradientSum += g;
      productSum += g * deviation;
      weightSums[i]! += incoming * deviation;
      biasSums[i]! += incoming;
    }
    for (let i = 0; i < s.count; i++) {
      const centred = gradient[i]! - gradientSum / s.count - (normal[i]! * productSum) / s.count;
      dx.array[dx.offset + start + i] = scale * centred;
    }
  }
  dweight.array.set(weightSums, dweight.offset);
  dbias.array.set(biasSums, dbias.offset);
  return 0;
}
