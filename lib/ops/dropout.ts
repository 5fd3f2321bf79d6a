import type { DType, FloatDType } from "../core/dtype.js";
import { ArgumentError, ShapeError } from "../core/errors.js";
import { checkNumber, checkOptions } from "../core/options.js";
import { format, type Shape } from "../core/shape.js";
import { empty, type Tensor } from "../core/tensor.js";
import { checkTensor, floating, unary } from "./kernel.js";
import { add, mul } from "./pointwise.js";
import { defaultGenerator, Generator } from "./random.js";

/** Dropout: zeros at random places while training, and nothing otherwise. */

export interface DropoutOptions {
  /** The probability that an element becomes 0; default 0.5. */
  readonly p?: number;
  /** Default true; without it the result is x itself. */
  readonly training?: boolean;
  /** Default: the one that `manualSeed` seeds. */
  readonly generator?: Generator;
}

function read(call: string, x: unknown, options: DropoutOptions): { p: number; active: boolean; generator: Generator } {
  checkTensor(call, "x", x);
  floating(call, "x", x);
  checkOptions(call, options, ["p", "training", "generator"]);
  const p = checkNumber(call, "p", options.p ?? 0.5, 0, 1);
  const generator = options.generator ?? defaultGenerator;
  if (!(generator instanceof Generator)) throw new ArgumentError(`${call}: generator must be a Generator`);
  return { p, active: (options.training ?? true) && p > 0 && x.numel() > 0, generator };
}

/** 1 with probability 1 - p, else 0. */
function kept(shape: Shape, dtype: DType, p: number, generator: Generator): Tensor {
  const t = empty(shape, dtype as FloatDType);
  generator.fill("bernoulli", t, 1 - p, 0);
  return t;
}

function drop<D extends DType>(x: Tensor<D>, shape: Shape, p: number, generator: Generator): Tensor<D> {
  const mask = kept(shape, x.dtype, p, generator);
  if (p === 1) return mul(x, mask) as Tensor<D>;
  const scaled = unary("mul_scalar", mask, 1 / (1 - p));
  mask.dispose();
  return mul(x, scaled) as Tensor<D>;
}

/** Sets each element to 0 with probability p and scales the others by 1 / (1 - p). */
export function dropout<D extends DType>(x: Tensor<D>, options: DropoutOptions = {}): Tensor<D> {
  const { p, active, generator } = read("dropout", x, options);
  return active ? drop(x, x.shape, p, generator) : x;
}

/** Sets whole channels to 0; `planar` is the rank of one image of one channel. */
function channelDropout<D extends DType>(
  call: string,
  x: Tensor<D>,
  planar: number,
  options: DropoutOptions,
): Tensor<D> {
  const { p, active, generator } = read(call, x, options);
  if (x.rank !== planar + 1 && x.rank !== planar + 2) {
    throw new ShapeError(
      `${call}: x must have ${planar + 2} dimensions [batch, channels, ...] or ${planar + 1} without batch, but it is ${format(x.shape)}`,
    );
  }
  const lead = x.rank - planar;
  return active
    ? drop(
        x,
        x.shape.map((s, i) => (i < lead ? s : 1)),
        p,
        generator,
      )
    : x;
}

/** Dropout of whole channels of signals. x: [batch, channels, length] or [channels, length]. */
export function dropout1d<D extends DType>(x: Tensor<D>, options: DropoutOptions = {}): Tensor<D> {
  return channelDropout("dropout1d", x, 1, options);
}

/** Dropout of whole channels of images. x: [batch, channels, height, width] or [channels, height, width]. */
export function dropout2d<D extends DType>(x: Tensor<D>, options: DropoutOptions = {}): Tensor<D> {
  return channelDropout("dropout2d", x, 2, options);
}

/** Dropout of whole channels of volumes. x: [batch, channels, depth, height, width] or without batch. */
export function dropout3d<D extends DType>(x: Tensor<D>, options: DropoutOptions = {}): Tensor<D> {
  return channelDropout("dropout3d", x, 3, options);
}

/** Dropout that keeps mean and variance behind selu (Klambauer et al. 2017): dropped elements become selu's limit. */
export function alphaDropout<D extends DType>(x: Tensor<D>, options: DropoutOptions = {}): Tensor<D> {
  const { p, active, generator } = read("alphaDropout", x, options);
  if (!active) return x;
  const mask = kept(x.shape, x.dtype, p, generator);
  if (p === 1) return mul(x, mask) as Tensor<D>;
  const limit = -1.7580993408473766; // -scale * alpha of selu
  const a = 1 / Math.sqrt((1 - p) * (1 + p * limit * limit));
  // x mask a + (limit (1 - mask) - limit p) a
  const shift = unary("add_scalar", unary("mul_scalar", mask, -limit * a), limit * a * (1 - p));
  return add(mul(x, unary("mul_scalar", mask, a)), shift) as Tensor<D>;
}
