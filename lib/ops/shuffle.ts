import type { DType } from "../core/dtype.js";
import { ShapeError } from "../core/errors.js";
import { checkInteger } from "../core/options.js";
import { format } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import { checkTensor } from "./kernel.js";
import { clone, permute, reshape } from "./view.js";

/** Exchanges between channels and positions: nothing is computed, only moved. */

function atLeast(call: string, x: Tensor, rank: number, layout: string): void {
  checkTensor(call, "x", x);
  if (x.rank < rank) throw new ShapeError(`${call}: x must be ${layout}, but it is ${format(x.shape)}`);
}

/**
 * Blocks of factor * factor channels become factor times larger images: what a sub-pixel convolution ends with.
 *
 * Shapes: x [..., channels * factor * factor, height, width]; result [..., channels, height * factor, width * factor].
 * @throws {ShapeError} if factor * factor does not divide the channels
 */
export function pixelShuffle<D extends DType>(x: Tensor<D>, factor: number): Tensor<D> {
  atLeast("pixelShuffle", x, 3, "[..., channels, height, width]");
  checkInteger("pixelShuffle", "factor", factor, 1);
  const lead = x.shape.slice(0, -3);
  const [channels, height, width] = x.shape.slice(-3) as [number, number, number];
  if (channels % (factor * factor) !== 0) {
    throw new ShapeError(
      `pixelShuffle: factor ${factor} needs a multiple of ${factor * factor} channels, but x ${format(x.shape)} has ${channels}`,
    );
  }
  const left = channels / (factor * factor);
  const blocks = reshape(x, [numelOf(lead), left, factor, factor, height, width]);
  const moved = permute(blocks, [0, 1, 4, 2, 5, 3]);
  return reshape(moved, [...lead, left, height * factor, width * factor]);
}

/**
 * The inverse of pixelShuffle: blocks of factor * factor positions become channels.
 *
 * Shapes: x [..., channels, height * factor, width * factor]; result [..., channels * factor * factor, height, width].
 * @throws {ShapeError} if factor does not divide height and width
 */
export function pixelUnshuffle<D extends DType>(x: Tensor<D>, factor: number): Tensor<D> {
  atLeast("pixelUnshuffle", x, 3, "[..., channels, height, width]");
  checkInteger("pixelUnshuffle", "factor", factor, 1);
  const lead = x.shape.slice(0, -3);
  const [channels, height, width] = x.shape.slice(-3) as [number, number, number];
  if (height % factor !== 0 || width % factor !== 0) {
    throw new ShapeError(
      `pixelUnshuffle: factor ${factor} must divide height and width, but x ${format(x.shape)} has ${height} and ${width}`,
    );
  }
  const blocks = reshape(x, [numelOf(lead), channels, height / factor, factor, width / factor, factor]);
  const moved = permute(blocks, [0, 1, 3, 5, 2, 4]);
  return reshape(moved, [...lead, channels * factor * factor, height / factor, width / factor]);
}

/**
 * Channels dealt out like cards: those of each group go to as many places as there are groups.
 *
 * Shapes: x [batch, channels, ...]; result the same. Channel g * (channels / groups) + i moves to i * groups + g.
 * @throws {ShapeError} if groups does not divide the channels
 */
export function channelShuffle<D extends DType>(x: Tensor<D>, groups: number): Tensor<D> {
  atLeast("channelShuffle", x, 3, "[batch, channels, sizes...]");
  checkInteger("channelShuffle", "groups", groups, 1);
  const [batch, channels] = x.shape as [number, number];
  if (channels % groups !== 0) {
    throw new ShapeError(
      `channelShuffle: groups ${groups} must divide the ${channels} channels of x ${format(x.shape)}`,
    );
  }
  const size = x.shape.slice(2).reduce((n, s) => n * s, 1);
  const blocks = reshape(x, [batch, groups, channels / groups, size]);
  return reshape(clone(permute(blocks, [0, 2, 1, 3])), x.shape);
}

function numelOf(shape: readonly number[]): number {
  return shape.reduce((n, s) => n * s, 1);
}
