import { type DType, isFloating } from "../core/dtype.js";
import { ArgumentError, ShapeError } from "../core/errors.js";
import { checkNumber, checkOptions } from "../core/options.js";
import { describe, format } from "../core/shape.js";
import { empty, isTensor, type Tensor } from "../core/tensor.js";
import type { Generator } from "../ops/random.js";

/**
 * Transforms of whole batches [images, ...rest], for a loader's `transform`. Images are [batch, channels, height, width]
 * of any element type; each image draws random numbers of its own from the batch's generator, which follows from the
 * loader's seed, the epoch and the batch alone, so a resumed run repeats them.
 */

/** Where a batch stands, with its random numbers. */
export interface BatchContext {
  readonly epoch: number;
  readonly batch: number;
  readonly random: Generator;
}

/** Takes a batch and gives one, changing the images alone. */
export type ImageTransform<D extends DType = DType> = <Rest extends readonly Tensor[]>(
  batch: readonly [Tensor, ...Rest],
  context: BatchContext,
) => [Tensor<D>, ...Rest];

interface Planes {
  readonly from: Tensor;
  readonly count: number;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
}

function planes(call: string, images: unknown): Planes {
  if (!isTensor(images) || images.rank !== 4) {
    throw new ShapeError(
      `${call}: images must be [batch, channels, height, width], got ${isTensor(images) ? format(images.shape) : describe(images)}`,
    );
  }
  const [count, channels, height, width] = images.shape as [number, number, number, number];
  return { from: images.isContiguous() ? images : (images.clone() as Tensor), count, channels, height, width };
}

/** Uniform numbers in [0, 1), `perImage` for each image. */
function draws(context: BatchContext | undefined, call: string, count: number, perImage: number): Float64Array {
  if (context?.random === undefined) {
    throw new ArgumentError(
      `${call}: draws random numbers, so it needs the second argument that a DataLoader gives its transform: (batch, context)`,
    );
  }
  const t = empty([Math.max(1, count * perImage)], "float64");
  context.random.fill("uniform", t, 0, 1);
  const values = t.data();
  t.dispose();
  return values;
}

function replaced<D extends DType, Rest extends readonly Tensor[]>(
  batch: readonly [Tensor, ...Rest],
  images: Tensor<D>,
): [Tensor<D>, ...Rest] {
  const [, ...rest] = batch;
  return [images, ...(rest as unknown as Rest)];
}

function window(
  t: Tensor,
): ArrayLike<number> & { [index: number]: number } & { subarray(from: number, to: number): ArrayLike<number> } {
  return t.storage.array(t.dtype).subarray(t.offset, t.offset + t.numel());
}

function perChannel(call: string, name: string, value: number | readonly number[], channels: number): number[] {
  const list = typeof value === "number" ? new Array<number>(channels).fill(value) : [...value];
  if (list.length !== channels)
    throw new ShapeError(`${call}: ${name} has ${list.length} values, but the images have ${channels} channels`);
  return list;
}

function checkNumbers(call: string, name: string, value: unknown, positive: boolean): void {
  const list = Array.isArray(value) ? value : [value];
  for (const v of list) {
    checkNumber(call, name, v);
    if (positive && !(v > 0)) throw new ArgumentError(`${call}: ${name} must be above 0, got ${describe(v)}`);
  }
}

/**
 * (value - mean) / deviation in float32, by channel; bytes are divided by 255 before, so that mean and deviation are those
 * of values from 0 to 1.
 */
export function normalize(
  mean: number | readonly number[],
  deviation: number | readonly number[],
): ImageTransform<"float32"> {
  checkNumbers("normalize", "mean", mean, false);
  checkNumbers("normalize", "deviation", deviation, true);
  return (batch) => {
    const { from, count, channels, height, width } = planes("normalize", batch[0]);
    const means = perChannel("normalize", "mean", mean, channels);
    const deviations = perChannel("normalize", "deviation", deviation, channels);
    const to = empty([count, channels, height, width], "float32");
    const [x, y] = [window(from), window(to)];
    const size = height * width;
    const bytes = from.dtype === "uint8";
    const table = new Float32Array(256);
    for (let c = 0; c < channels; c++) {
      const [m, d] = [means[c]!, deviations[c]!];
      if (bytes) for (let v = 0; v < 256; v++) table[v] = (v / 255 - m) / d;
      for (let n = 0; n < count; n++) {
        const first = (n * channels + c) * size;
        if (bytes) for (let i = first; i < first + size; i++) y[i] = table[x[i]!]!;
        else for (let i = first; i < first + size; i++) y[i] = (x[i]! - m) / d;
      }
    }
    return replaced(batch, to);
  };
}

export interface CropOptions {
  /** Pixels added on all sides before cropping; default 0. */
  readonly padding?: number;
  /** Their value; default 0. */
  readonly fill?: number;
}

/** Cuts a window of `size` (one number or [height, width]) at a random place out of each image. */
export function randomCrop(size: number | readonly [number, number], options: CropOptions = {}): ImageTransform {
  checkOptions("randomCrop", options, ["padding", "fill"]);
  const [outHeight, outWidth] = typeof size === "number" ? [size, size] : Array.isArray(size) ? size : [0, 0];
  for (const s of [outHeight, outWidth])
    if (!Number.isInteger(s) || s < 1)
      throw new ArgumentError(`randomCrop: size must be integers of at least 1, got ${describe(size)}`);
  const padding = options.padding ?? 0;
  if (!Number.isInteger(padding) || padding < 0)
    throw new ArgumentError(`randomCrop: padding must be an integer of at least 0, got ${describe(padding)}`);
  const fill = checkNumber("randomCrop", "fill", options.fill ?? 0);
  return (batch, context) => {
    const { from, count, channels, height, width } = planes("randomCrop", batch[0]);
    const [rows, columns] = [height + 2 * padding - outHeight, width + 2 * padding - outWidth];
    if (rows < 0 || columns < 0) {
      throw new ShapeError(
        `randomCrop: size [${outHeight}, ${outWidth}] is larger than the images [${height}, ${width}] with padding ${padding}`,
      );
    }
    const u = draws(context, "randomCrop", count, 2);
    const to = empty([count, channels, outHeight, outWidth], from.dtype);
    const x = from.storage.array(from.dtype);
    const y = to.storage.array(to.dtype);
    if (padding > 0) y.fill(fill, 0, to.numel());
    for (let n = 0; n < count; n++) {
      const top = Math.floor(u[2 * n]! * (rows + 1)) - padding;
      const left = Math.floor(u[2 * n + 1]! * (columns + 1)) - padding;
      const firstColumn = Math.max(0, left);
      const lastColumn = Math.min(width, left + outWidth);
      if (lastColumn <= firstColumn) continue;
      for (let c = 0; c < channels; c++) {
        const plane = n * channels + c;
        for (let row = Math.max(0, -top); row < outHeight && top + row < height; row++) {
          const start = from.offset + (plane * height + top + row) * width;
          y.set(
            x.subarray(start + firstColumn, start + lastColumn),
            (plane * outHeight + row) * outWidth + firstColumn - left,
          );
        }
      }
    }
    return replaced(batch, to);
  };
}

function checkProbability(call: string, p: number): void {
  checkNumber(call, "p", p, 0, 1);
}

/** Mirrors each image left to right with probability `p`. */
export function randomHorizontalFlip(p = 0.5): ImageTransform {
  checkProbability("randomHorizontalFlip", p);
  return (batch, context) => {
    const { from, count, channels, height, width } = planes("randomHorizontalFlip", batch[0]);
    const u = draws(context, "randomHorizontalFlip", count, 1);
    const to = empty(from.shape, from.dtype);
    const [x, y] = [window(from), window(to)];
    const size = channels * height * width;
    for (let n = 0; n < count; n++) {
      const end = (n + 1) * size;
      if (u[n]! >= p) {
        for (let i = n * size; i < end; i++) y[i] = x[i]!;
        continue;
      }
      for (let row = n * size; row < end; row += width)
        for (let i = 0; i < width; i++) y[row + i] = x[row + width - 1 - i]!;
    }
    return replaced(batch, to);
  };
}

export interface RotationOptions {
  /** Value of what comes from outside the image; default 0. */
  readonly fill?: number;
}

/** Turns each image about its centre by a random angle in [-degrees, degrees), with bilinear interpolation. */
export function randomRotation(degrees: number, options: RotationOptions = {}): ImageTransform {
  checkNumber("randomRotation", "degrees", degrees, 0, 180);
  checkOptions("randomRotation", options, ["fill"]);
  const fill = checkNumber("randomRotation", "fill", options.fill ?? 0);
  return (batch, context) => {
    const { from, count, channels, height, width } = planes("randomRotation", batch[0]);
    const u = draws(context, "randomRotation", count, 1);
    const to = empty(from.shape, from.dtype);
    const [x, y] = [window(from), window(to)];
    const whole = !isFloating(from.dtype);
    const [centreRow, centreColumn] = [(height - 1) / 2, (width - 1) / 2];
    const size = height * width;
    for (let n = 0; n < count; n++) {
      const angle = ((2 * u[n]! - 1) * degrees * Math.PI) / 180;
      const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
      for (let row = 0; row < height; row++) {
        for (let column = 0; column < width; column++) {
          // Where this pixel comes from: the inverse rotation about the centre.
          const [dy, dx] = [row - centreRow, column - centreColumn];
          const sourceRow = centreRow + cos * dy - sin * dx;
          const sourceColumn = centreColumn + sin * dy + cos * dx;
          const [top, left] = [Math.floor(sourceRow), Math.floor(sourceColumn)];
          const [down, right] = [sourceRow - top, sourceColumn - left];
          for (let c = 0; c < channels; c++) {
            const plane = (n * channels + c) * size;
            let value = 0;
            for (let k = 0; k < 4; k++) {
              const [r, q] = [top + (k >> 1), left + (k & 1)];
              const weight = (k >> 1 ? down : 1 - down) * (k & 1 ? right : 1 - right);
              if (weight === 0) continue;
              value += weight * (r < 0 || r >= height || q < 0 || q >= width ? fill : x[plane + r * width + q]!);
            }
            y[plane + row * width + column] = whole ? Math.round(value) : value;
          }
        }
      }
    }
    return replaced(batch, to);
  };
}

export interface ErasingOptions {
  /** Least and largest share of the image's area, default [0.02, 0.33]. */
  readonly scale?: readonly [number, number];
  /** Least and largest ratio of height to width, default [0.3, 3.3]. */
  readonly ratio?: readonly [number, number];
  /** What is written; default 0 (the mean, after normalize). */
  readonly value?: number;
}

/** Overwrites a random rectangle of each image with probability `p` (Zhong et al. 2017; torchvision's defaults). */
export function randomErasing(p = 0.5, options: ErasingOptions = {}): ImageTransform {
  checkProbability("randomErasing", p);
  checkOptions("randomErasing", options, ["scale", "ratio", "value"]);
  const [least, most] = options.scale ?? [0.02, 0.33];
  const [narrow, tall] = options.ratio ?? [0.3, 3.3];
  if (!(least >= 0 && least <= most && most <= 1))
    throw new ArgumentError(
      `randomErasing: scale must be two rising shares from 0 to 1, got ${describe(options.scale)}`,
    );
  if (!(narrow > 0 && narrow <= tall))
    throw new ArgumentError(`randomErasing: ratio must be two rising numbers above 0, got ${describe(options.ratio)}`);
  const fill = checkNumber("randomErasing", "value", options.value ?? 0);
  return (batch, context) => {
    const { from, count, channels, height, width } = planes("randomErasing", batch[0]);
    const tries = 10; // as torchvision: then the image stays as it is
    const u = draws(context, "randomErasing", count, 1 + 4 * tries);
    const to = empty(from.shape, from.dtype);
    const [x, y] = [window(from), window(to)];
    for (let i = 0; i < x.length; i++) y[i] = x[i]!;
    for (let n = 0; n < count; n++) {
      let at = n * (1 + 4 * tries);
      if (u[at++]! >= p) continue;
      for (let k = 0; k < tries; k++, at += 4) {
        const area = (least + (most - least) * u[at]!) * height * width;
        const ratio = Math.exp(Math.log(narrow) + (Math.log(tall) - Math.log(narrow)) * u[at + 1]!);
        const h = Math.round(Math.sqrt(area * ratio));
        const w = Math.round(Math.sqrt(area / ratio));
        if (h < 1 || w < 1 || h >= height || w >= width) continue;
        const top = Math.floor(u[at + 2]! * (height - h + 1));
        const left = Math.floor(u[at + 3]! * (width - w + 1));
        for (let c = 0; c < channels; c++) {
          for (let row = top; row < top + h; row++) {
            const first = ((n * channels + c) * height + row) * width + left;
            for (let i = first; i < first + w; i++) y[i] = fill;
          }
        }
        break;
      }
    }
    return replaced(batch, to);
  };
}

/** Several transforms, one after the other; the type is the last one's. */
export function compose<D extends DType>(
  ...transforms: readonly [...ImageTransform[], ImageTransform<D>]
): ImageTransform<D> {
  for (const [i, each] of transforms.entries())
    if (typeof each !== "function")
      throw new ArgumentError(`compose: transforms[${i}] must be a function, got ${describe(each)}`);
  return (batch, context) => {
    let made: readonly [Tensor, ...Tensor[]] = batch;
    for (const each of transforms) made = each(made, context) as [Tensor, ...Tensor[]];
    return made as never;
  };
}
