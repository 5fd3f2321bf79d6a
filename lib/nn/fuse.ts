import type { FloatDType } from "../core/dtype.js";
import { ArgumentError } from "../core/errors.js";
import { describe, format } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import { BatchNorm1d, BatchNorm2d, BatchNorm3d } from "./batch_norm.js";
import { Conv1d, Conv2d, Conv3d } from "./conv.js";
import { ConvTranspose1d, ConvTranspose2d, ConvTranspose3d } from "./conv_transpose.js";

type AnyConv = Conv1d | Conv2d | Conv3d;
type AnyConvTranspose = ConvTranspose1d | ConvTranspose2d | ConvTranspose3d;

const convolutions = [Conv1d, Conv2d, Conv3d] as const;
const transposed = [ConvTranspose1d, ConvTranspose2d, ConvTranspose3d] as const;

/**
 * One convolution that computes what `conv` followed by `norm` computes in evaluation: the normalisation's scale and shift
 * go into weight and bias. Both must be in evaluation mode (`eval()`), and stay as they are.
 *
 *     weight' = weight * s, bias' = (bias - mean) * s + shift, with s = scale / sqrt(variance + eps) per output channel
 * @throws {ArgumentError} if one is in training mode, or the channels differ
 */
export function fuseConvBn<C extends AnyConv | AnyConvTranspose>(
  conv: C,
  norm: BatchNorm1d | BatchNorm2d | BatchNorm3d,
): C {
  const call = "fuseConvBn";
  const turned = transposed.findIndex((kind) => conv instanceof kind);
  const dims = turned >= 0 ? turned : convolutions.findIndex((kind) => conv instanceof kind);
  if (dims < 0) throw new ArgumentError(`${call}: conv must be a convolution layer, got ${describe(conv)}`);
  if (!(norm instanceof BatchNorm1d || norm instanceof BatchNorm2d || norm instanceof BatchNorm3d))
    throw new ArgumentError(`${call}: norm must be a batch norm layer, got ${describe(norm)}`);
  if (conv.training || norm.training)
    throw new ArgumentError(`${call}: only layers in evaluation mode can be fused; call eval() on the model before`);
  const { runningMean, runningVar } = norm;
  if (runningMean === null || runningVar === null)
    throw new ArgumentError(`${call}: the batch norm keeps no running statistics, so that it is no fixed map`);
  if (norm.numFeatures !== conv.outChannels) {
    throw new ArgumentError(
      `${call}: the convolution gives ${conv.outChannels} channels, but the batch norm takes ${norm.numFeatures}`,
    );
  }
  const { inChannels, outChannels, kernelSize, stride, dilation, groups } = conv;
  const dtype = conv.weight.dtype as FloatDType;
  const options = { stride, dilation, groups, bias: true, dtype };
  const fused: AnyConv | AnyConvTranspose =
    turned >= 0
      ? new transposed[turned]!(inChannels, outChannels, kernelSize, {
          ...options,
          padding: (conv as AnyConvTranspose).padding,
          outputPadding: (conv as AnyConvTranspose).outputPadding,
        })
      : new convolutions[dims]!(inChannels, outChannels, kernelSize, {
          ...options,
          padding: (conv as AnyConv).padding,
          paddingMode: (conv as AnyConv).paddingMode,
        });
  const taps = kernelSize.reduce((n, size) => n * size, 1);
  // Weights are [out, in / groups, taps]; transposed [in, out / groups, taps], whose rows belong to in's group.
  const columns = conv.weight.shape[1]!;
  const transposedOutput = (i: number): number => {
    const row = Math.floor(i / (columns * taps));
    return Math.floor((row * groups) / inChannels) * columns + (Math.floor(i / taps) % columns);
  };
  const output = turned >= 0 ? transposedOutput : (i: number): number => Math.floor(i / (columns * taps));
  const constants = { weight: norm.weight, bias: norm.bias, mean: runningMean, variance: runningVar, eps: norm.eps };
  foldNorm(conv.weight, conv.bias, constants, output, fused.weight, fused.bias!);
  if (!conv.weight.requiresGrad) fused.weight.requiresGrad_(false);
  if (conv.bias !== null && !conv.bias.requiresGrad) fused.bias!.requiresGrad_(false);
  fused.eval();
  return fused as C;
}

/** What a batch norm computes in evaluation: (x - mean) / sqrt(variance + eps) * weight + bias per channel. */
export interface NormConstants {
  readonly weight: Tensor | null;
  readonly bias: Tensor | null;
  readonly mean: Tensor;
  readonly variance: Tensor;
  readonly eps: number;
}

/**
 * @internal Writes weight and bias of a convolution that has a batch norm in it, computed in float64. `output(i)` is the
 * output channel that element i of the weight belongs to; the tensors written are new and contiguous.
 */
export function foldNorm(
  weight: Tensor,
  bias: Tensor | null,
  norm: NormConstants,
  output: (i: number) => number,
  foldedWeight: Tensor,
  foldedBias: Tensor,
): void {
  const channels = foldedBias.numel();
  const scale = values(norm.weight) ?? new Float64Array(channels).fill(1);
  const shift = values(norm.bias) ?? new Float64Array(channels);
  const mean = values(norm.mean)!;
  const variance = values(norm.variance)!;
  const before = values(bias) ?? new Float64Array(channels);
  const s = scale.map((value, o) => value / Math.sqrt(variance[o]! + norm.eps));
  write(
    foldedWeight,
    values(weight)!.map((value, i) => value * s[output(i)]!),
  );
  write(
    foldedBias,
    before.map((b, o) => (b - mean[o]!) * s[o]! + shift[o]!),
  );
}

/** The values in float64, row-major. */
function values(t: Tensor | null): Float64Array | null {
  return t === null ? null : Float64Array.from(t.data());
}

/** Overwrites a new, contiguous parameter. */
function write(t: Tensor, from: Float64Array): void {
  if (t.numel() !== from.length) throw new Error(`${format(t.shape)} does not hold ${from.length} values`);
  t.storage.array(t.dtype).set(from, t.offset);
}
