import { crc32 } from "./crc.js";
import { deflateSync } from "node:zlib";
import { ShapeError } from "../core/errors.js";
import { format } from "../core/shape.js";
import { named, type Tensor } from "../core/tensor.js";

/** Numbers as pictures: PNG files as data URIs, so that a figure or a page needs nothing but itself. */

/** Red, green, blue, each 0 to 255. */
export type Colour = readonly [number, number, number];

/** A colour for a number from 0 to 1, between stops that are equally far apart. */
function scale(...stops: readonly Colour[]): (value: number) => Colour {
  return (value) => {
    const at = Math.min(Math.max(Number.isNaN(value) ? 0 : value, 0), 1) * (stops.length - 1);
    const i = Math.min(Math.floor(at), stops.length - 2);
    const [a, b] = [stops[i]!, stops[i + 1]!];
    return [0, 1, 2].map((c) => Math.round(a[c]! + (b[c]! - a[c]!) * (at - i))) as unknown as Colour;
  };
}

export const grey: (value: number) => Colour = scale([0, 0, 0], [255, 255, 255]);
/** Dark to light, even to the eye and for the colour-blind: nine stops of viridis (Smith and van der Walt 2015). */
export const viridis: (value: number) => Colour = scale(
  [68, 1, 84],
  [71, 44, 122],
  [59, 81, 139],
  [44, 113, 142],
  [33, 144, 141],
  [39, 173, 129],
  [92, 200, 99],
  [170, 220, 50],
  [253, 231, 37],
);
/** Negative blue, zero nearly white, positive red. */
export const diverging: (value: number) => Colour = scale(
  [33, 102, 172],
  [103, 169, 207],
  [209, 229, 240],
  [247, 247, 247],
  [253, 219, 199],
  [239, 138, 98],
  [178, 24, 43],
);

function chunk(kind: string, content: Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.from(kind, "latin1"), content]);
  const out = Buffer.alloc(8 + body.length);
  out.writeUInt32BE(content.length, 0);
  body.copy(out, 4);
  out.writeUInt32BE(crc32(body), 4 + body.length);
  return out;
}

/** A PNG file of `width * height` pixels with `magnify` as many on each side, so that no viewer blurs them. */
export function encodePng(width: number, height: number, pixel: (x: number, y: number) => Colour, magnify = 1): Buffer {
  const [w, h] = [width * magnify, height * magnify];
  const rows = Buffer.alloc(h * (1 + 3 * w)); // each row begins with its filter, 0: none
  for (let y = 0; y < height; y++) {
    const first = y * magnify * (1 + 3 * w);
    for (let x = 0; x < width; x++) {
      const colour = pixel(x, y);
      for (let k = 0; k < magnify; k++)
        for (let c = 0; c < 3; c++) rows[first + 1 + 3 * (x * magnify + k) + c] = colour[c]!;
    }
    for (let k = 1; k < magnify; k++) rows.copyWithin(first + k * (1 + 3 * w), first, first + 1 + 3 * w);
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(w, 0);
  header.writeUInt32BE(h, 4);
  header.set([8, 2, 0, 0, 0], 8); // 8 bits, RGB
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(rows)),
    chunk("IEND", new Uint8Array()),
  ]);
}

/** A picture and the size in which it was drawn. */
export interface Picture {
  /** A data URI. */
  readonly source: string;
  readonly width: number;
  readonly height: number;
}

function picture(width: number, height: number, pixel: (x: number, y: number) => Colour): Picture {
  // At least some 120 pixels a side.
  const magnify = Math.max(1, Math.ceil(120 / Math.max(width, height, 1)));
  const png = encodePng(width, height, pixel, magnify);
  return { source: `data:image/png;base64,${png.toString("base64")}`, width, height };
}

export interface Range {
  readonly low: number;
  readonly high: number;
}

/** Least and largest finite value. */
export function rangeOf(values: ArrayLike<number>): Range {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (let i = 0; i < values.length; i++) {
    const v = values[i]!;
    if (!Number.isFinite(v)) continue;
    if (v < low) low = v;
    if (v > high) high = v;
  }
  return low > high ? { low: 0, high: 1 } : { low, high };
}

/** A matrix [height, width] in the colours of `map` between the ends of `range`. */
export function matrixPicture(
  values: ArrayLike<number>,
  height: number,
  width: number,
  map: (value: number) => Colour,
  range: Range = rangeOf(values),
): Picture {
  const span = range.high - range.low || 1;
  return picture(width, height, (x, y) => map((values[y * width + x]! - range.low) / span));
}

/**
 * An image [channels, height, width] or [height, width]: one channel grey, three in colour. Bytes are taken as they are;
 * other numbers are spread from the image's least to its largest.
 */
export function imagePicture(image: Tensor): Picture {
  const shape = image.rank === 2 ? [1, ...image.shape] : image.shape;
  const [channels, height, width] = shape as [number, number, number];
  if (shape.length !== 3 || (channels !== 1 && channels !== 3))
    throw new ShapeError(
      `report: an image must be [1, height, width], [3, height, width] or [height, width], got ${named("image", image)} ${format(image.shape)}`,
    );
  const values = image.data();
  const { low, high } = image.dtype === "uint8" ? { low: 0, high: 255 } : rangeOf(values);
  const span = high - low || 1;
  const size = height * width;
  const byte = (v: number): number => Math.round(((v - low) / span) * 255);
  return picture(width, height, (x, y) => {
    const at = y * width + x;
    const red = byte(values[at]!);
    return channels === 1 ? [red, red, red] : [red, byte(values[size + at]!), byte(values[2 * size + at]!)];
  });
}
