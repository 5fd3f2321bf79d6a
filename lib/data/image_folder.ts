import { type Dirent, readdirSync } from "node:fs";
import { extname, join } from "node:path";
import { ArgumentError, FileError, FormatError, IndexError } from "../core/errors.js";
import { checkOptions } from "../core/options.js";
import { describe } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import { checkBytes, checkPath, mostFile, type Opening, readWholeAsync } from "../io/file.js";
import { tensor } from "../ops/create.js";
import { type AsyncDataset, makeBatch, TensorDataset } from "./dataset.js";

/** Folders of images, a sub-folder for each class. Decoding is done by sharp, an optional peer dependency. */

export interface ImageFolderOptions {
  /** Side length, or [height, width], to which images are scaled and cropped about the centre; default: as they are. */
  readonly size?: number | readonly [number, number];
  /** 3 (red, green, blue; default) or 1 (grey). */
  readonly channels?: 1 | 3;
}

type ImageSample = [image: Tensor<"uint8">, label: Tensor<"int32">];

const extensions = new Set([".avif", ".gif", ".jpeg", ".jpg", ".png", ".svg", ".tif", ".tiff", ".webp"]);

/** What is decoded, by sharp's names. Others that it reads (PDF, vectors of matrices, its own raw form) are no images of a data set. */
const formats: ReadonlySet<string | undefined> = new Set(["avif", "gif", "heif", "jpeg", "png", "svg", "tiff", "webp"]);

/**
 * Most pixels of an image: 2^24 (4096 x 4096), or as many as the file has bits if those are more. An image of one
 * colour could otherwise be 16383 x 16383 in a few hundred bytes.
 */
const freePixels = 2 ** 24;
const pixelsPerByte = 8;
/** An image that takes longer is refused: vector graphics can be made to compute for hours. */
const mostSeconds = 60;
/** Of what images are scaled to. */
const mostSide = 16_384;

/** The little of sharp that is used. */
interface Sharp {
  metadata(): Promise<{ format?: string; width?: number; height?: number }>;
  timeout(options: { seconds: number }): Sharp;
  resize(width: number, height: number, options: { fit: "cover" }): Sharp;
  rotate(): Sharp;
  flatten(options: { background: string }): Sharp;
  toColourspace(name: string): Sharp;
  extractChannel(channel: number): Sharp;
  raw(): Sharp;
  toBuffer(options: { resolveWithObject: true }): Promise<{
    data: Uint8Array<ArrayBuffer>;
    info: { width: number; height: number; channels: number };
  }>;
}

type OpenSharp = (input: Uint8Array, options: { limitInputPixels: number | false }) => Sharp;

async function loadSharp(call: string): Promise<OpenSharp> {
  try {
    const name = "sharp"; // not a literal: the types of an optional package must not be needed to compile against this one
    return ((await import(name)) as { default: OpenSharp }).default;
  } catch (error) {
    throw new ArgumentError(
      `${call}: decoding images needs the package sharp: npm install sharp (${(error as Error).message.split("\n")[0]})`,
    );
  }
}

/**
 * Decodes an image file (or its bytes): PNG, JPEG, WebP and what else sharp reads, turned as its EXIF data says,
 * transparency on black.
 * @returns uint8 [channels, height, width]
 * @throws {FormatError} if it is no image
 */
export async function decodeImage(
  image: string | Uint8Array,
  options: ImageFolderOptions = {},
): Promise<Tensor<"uint8">> {
  checkOptions("decodeImage", options, ["size", "channels"]);
  return decode(image, options, {});
}

async function decode(
  image: string | Uint8Array,
  options: ImageFolderOptions,
  opening: Opening,
): Promise<Tensor<"uint8">> {
  const wanted = checkChannels("decodeImage", options.channels);
  const size = checkSize("decodeImage", options.size);
  if (typeof image !== "string") checkBytes("decodeImage", image);
  const sharp = await loadSharp("decodeImage");
  const name = typeof image === "string" ? image : "decodeImage";
  // Read here, so that a pipe, a device or a name with sharp's own syntax in it never gets there.
  const bytes = typeof image === "string" ? await readWholeAsync("decodeImage", image, mostFile, opening) : image;
  let decoded: Awaited<ReturnType<Sharp["toBuffer"]>>;
  try {
    const { format, width = 0, height = 0 } = await sharp(bytes, { limitInputPixels: false }).metadata(); // the header alone
    if (!formats.has(format)) throw new FormatError(`it is ${format}; readable are ${[...formats].join(", ")}`);
    const most = Math.max(freePixels, pixelsPerByte * bytes.length);
    if (width * height > most) {
      throw new FormatError(
        `it has ${width} x ${height} pixels in ${bytes.length} bytes; at most ${most} pixels are decoded of so few, scale it down before`,
      );
    }
    let pipeline = sharp(bytes, { limitInputPixels: most })
      .timeout({ seconds: mostSeconds })
      .rotate()
      .flatten({ background: "#000000" });
    if (size !== null) pipeline = pipeline.resize(size[1], size[0], { fit: "cover" });
    pipeline = pipeline.toColourspace(wanted === 1 ? "b-w" : "srgb");
    decoded = await pipeline.raw().toBuffer({ resolveWithObject: true });
  } catch (error) {
    throw new FormatError(`${name}: the image cannot be decoded: ${(error as Error).message}`);
  }
  const { data, info } = decoded;
  // Interleaved to planes.
  const pixels = info.width * info.height;
  const planes = new Uint8Array(wanted * pixels);
  for (let c = 0; c < wanted; c++) {
    const channel = Math.min(c, info.channels - 1);
    for (let i = 0; i < pixels; i++) planes[c * pixels + i] = data[i * info.channels + channel]!;
  }
  return tensor(planes, { shape: [wanted, info.height, info.width] });
}

function checkChannels(call: string, channels: unknown): 1 | 3 {
  if (channels !== undefined && channels !== 1 && channels !== 3)
    throw new ArgumentError(`${call}: channels must be 1 or 3, got ${describe(channels)}`);
  return channels ?? 3;
}

function checkSize(call: string, size: unknown): readonly [number, number] | null {
  if (size === undefined) return null;
  const list: unknown = typeof size === "number" ? [size, size] : size;
  const fine = (side: unknown): boolean =>
    Number.isInteger(side) && (side as number) >= 1 && (side as number) <= mostSide;
  if (!Array.isArray(list) || list.length !== 2 || !fine(list[0]) || !fine(list[1])) {
    throw new ArgumentError(
      `${call}: size must be a whole number of pixels from 1 to ${mostSide} or [height, width], got ${describe(size)}`,
    );
  }
  return list as [number, number];
}

function readFolder(path: string): Dirent[] {
  try {
    return readdirSync(path, { withFileTypes: true });
  } catch (error) {
    const { code = "EIO", message } = error as NodeJS.ErrnoException;
    throw new FileError(`ImageFolder: there is no folder ${path} that can be read: ${message}`, code, error);
  }
}

function listed(names: readonly string[]): string {
  return names.length > 12 ? `${names.slice(0, 12).join(", ")} and ${names.length - 12} more` : names.join(", ");
}

/**
 * Sample i is [image, label]: uint8 [channels, height, width] and int32 []. Labels count the sub-folders, sorted by name.
 * Images are decoded when they are asked for, so loops are `for await`; `load()` decodes all of them into memory. Symbolic
 * links are not followed: nothing outside the folder is read.
 */
export class ImageFolder implements AsyncDataset<ImageSample> {
  readonly folder: string;
  /** Names of the sub-folders, sorted. */
  readonly classes: readonly string[];
  readonly files: readonly { readonly path: string; readonly label: number }[];
  readonly #options: ImageFolderOptions;

  /** @throws {ArgumentError} if the folder has no sub-folders with images */
  constructor(folder: string, options: ImageFolderOptions = {}) {
    checkOptions("ImageFolder", options, ["size", "channels"]);
    checkChannels("ImageFolder", options.channels);
    checkSize("ImageFolder", options.size);
    checkPath("ImageFolder", folder);
    this.folder = folder;
    this.#options = options;
    // By code units, not by locale: the numbers of classes must not change with the machine.
    const byName = (a: { name: string }, b: { name: string }): number => (a.name < b.name ? -1 : 1);
    let links = 0;
    const entries = (path: string): Dirent[] => {
      const all = readFolder(path).filter((entry) => !entry.name.startsWith("."));
      links += all.filter((entry) => entry.isSymbolicLink()).length;
      return all.sort(byName);
    };
    const classes = entries(folder).filter((entry) => entry.isDirectory());
    this.classes = classes.map((entry) => entry.name);
    this.files = this.classes.flatMap((name, label) =>
      entries(join(folder, name))
        .filter((entry) => entry.isFile() && extensions.has(extname(entry.name).toLowerCase()))
        .map((entry) => ({ path: join(folder, name, entry.name), label })),
    );
    if (this.files.length === 0) {
      throw new ArgumentError(
        `ImageFolder: ${folder} must have a sub-folder with images for each class, but it has ` +
          (classes.length === 0 ? "no sub-folders" : `no ${[...extensions].join(", ")} in ${listed(this.classes)}`) +
          (links > 0 ? `; ${links} symbolic links are not followed` : ""),
      );
    }
  }

  get length(): number {
    return this.files.length;
  }

  async getAsync(index: number): Promise<ImageSample> {
    const file = this.files[index];
    if (file === undefined)
      throw new IndexError(`ImageFolder: index ${index} is out of range for ${this.length} images`);
    return [await decode(file.path, this.#options, { followLinks: false }), tensor(file.label, { dtype: "int32" })];
  }

  /** All images in memory. They must be equal in size: give `size` if they are not. */
  async load(): Promise<TensorDataset<ImageSample>> {
    const all = Int32Array.from({ length: this.length }, (_, i) => i);
    return new TensorDataset<ImageSample>(...(await makeBatch<ImageSample>(this, all)));
  }
}
