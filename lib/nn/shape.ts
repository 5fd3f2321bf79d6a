import type { DType } from "../core/dtype.js";
import { ArgumentError } from "../core/errors.js";
import { checkInteger, checkOptions } from "../core/options.js";
import { checkShape, type Shape } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import { channelShuffle, pixelShuffle, pixelUnshuffle } from "../ops/shuffle.js";
import { type InterpolateMode, type InterpolateOptions, interpolate } from "../ops/upsample.js";
import { flatten, unflatten } from "../ops/view.js";
import type { PerDimension } from "../ops/window.js";
import { Module } from "./module.js";
import { float, sizes, tuple } from "./print.js";

/** Modules that move elements and compute nothing. */

/** Gives x as it is. */
export class Identity extends Module {
  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return x;
  }
}

/** Joins dimensions startDim (default 1: all but the batch) to endDim (default -1) into one. */
export class Flatten extends Module {
  readonly startDim: number;
  readonly endDim: number;

  constructor(startDim = 1, endDim = -1) {
    super();
    this.startDim = checkInteger("Flatten", "startDim", startDim, -8, 7);
    this.endDim = checkInteger("Flatten", "endDim", endDim, -8, 7);
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return flatten(x, this.startDim, this.endDim);
  }

  override extraText(): string {
    return `start_dim=${this.startDim}, end_dim=${this.endDim}`;
  }
}

/** Splits dimension `dim` into `unflattenedSize`, of which one may be -1. */
export class Unflatten extends Module {
  readonly dim: number;
  readonly unflattenedSize: Shape;

  constructor(dim: number, unflattenedSize: Shape) {
    super();
    this.dim = checkInteger("Unflatten", "dim", dim, -8, 7);
    checkShape(
      "Unflatten",
      Array.isArray(unflattenedSize) ? unflattenedSize.map((s) => (s === -1 ? 1 : s)) : unflattenedSize,
    );
    this.unflattenedSize = [...unflattenedSize];
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return unflatten(x, this.dim, this.unflattenedSize);
  }

  override extraText(): string {
    return `dim=${this.dim}, unflattened_size=${tuple(this.unflattenedSize)}`;
  }
}

/** Enlarges signals, images or volumes to `size` or by `scaleFactor`; see `interpolate`. */
export class Upsample extends Module {
  readonly size: PerDimension | null;
  readonly scaleFactor: number | readonly number[] | null;
  readonly mode: InterpolateMode;
  readonly #options: InterpolateOptions;

  constructor(options: InterpolateOptions) {
    super();
    checkOptions("Upsample", options, ["size", "scaleFactor", "mode", "alignCorners"]);
    this.size = options?.size ?? null;
    this.scaleFactor = options?.scaleFactor ?? null;
    if ((this.size === null) === (this.scaleFactor === null))
      throw new ArgumentError("Upsample: give either size or scaleFactor");
    this.mode = options.mode ?? "nearest";
    this.#options = { ...options };
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return interpolate(x, this.#options);
  }

  override extraText(): string {
    const { size, scaleFactor, mode } = this;
    if (scaleFactor === null) return `size=${sizes(size!)}, mode='${mode}'`;
    const factor = typeof scaleFactor === "number" ? float(scaleFactor) : `(${scaleFactor.map(float).join(", ")})`;
    return `scale_factor=${factor}, mode='${mode}'`;
  }
}

/** `Upsample` of images with mode "nearest". */
export class UpsamplingNearest2d extends Upsample {
  constructor(options: Pick<InterpolateOptions, "size" | "scaleFactor">) {
    super({ ...options, mode: "nearest" });
  }
}

/** `Upsample` of images with mode "bilinear" and aligned corners. */
export class UpsamplingBilinear2d extends Upsample {
  constructor(options: Pick<InterpolateOptions, "size" | "scaleFactor">) {
    super({ ...options, mode: "bilinear", alignCorners: true });
  }
}

/** [.., c r², h, w] to [.., c, h r, w r]: channels become pixels (Shi et al. 2016). */
export class PixelShuffle extends Module {
  readonly upscaleFactor: number;

  constructor(upscaleFactor: number) {
    super();
    this.upscaleFactor = checkInteger("PixelShuffle", "upscaleFactor", upscaleFactor, 1);
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return pixelShuffle(x, this.upscaleFactor);
  }

  override extraText(): string {
    return `upscale_factor=${this.upscaleFactor}`;
  }
}

/** The inverse of `PixelShuffle`. */
export class PixelUnshuffle extends Module {
  readonly downscaleFactor: number;

  constructor(downscaleFactor: number) {
    super();
    this.downscaleFactor = checkInteger("PixelUnshuffle", "downscaleFactor", downscaleFactor, 1);
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return pixelUnshuffle(x, this.downscaleFactor);
  }

  override extraText(): string {
    return `downscale_factor=${this.downscaleFactor}`;
  }
}

/** Deals the channels of `groups` groups out one by one, so that the next grouped convolution sees all of them. */
export class ChannelShuffle extends Module {
  readonly groups: number;

  constructor(groups: number) {
    super();
    this.groups = checkInteger("ChannelShuffle", "groups", groups, 1);
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return channelShuffle(x, this.groups);
  }

  override extraText(): string {
    return `groups=${this.groups}`;
  }
}
