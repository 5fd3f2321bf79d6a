import { existsSync, readdirSync } from "node:fs";
import { extname, join } from "node:path";
import { ArgumentError, FormatError, IndexError } from "../core/errors.js";
import { checkOptions } from "../core/options.js";
import { describe } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
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

/** The little of sharp that is used. */
interface Sharp {
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

async function loadSharp(call: string): Promise<(input: string | Uint8Array) => Sharp> {
  try {
    const name = "sharp"; // not a literal: the types of an optional package must not be needed to compile against this one
    return ((await import(name)) as { default: (input: string | Uint8Array) => Sharp }).default;
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
  const sharp = await loadSharp("decodeImage");
  const wanted = checkChannels("decodeImage", options.channels);
  const size = checkSize("decodeImage", options.size);
  let decoded: Awaited<ReturnType<Sharp["toBuffer"]>>;
  try {
    let pipeline = sharp(image).rotate().flatten({ background: "#000000" });
    if (size !== null) pipeline = pipeline.resize(size[1], size[0], { fit: "cover" });
    pipeline = pipeline.toColourspace(wanted === 1 ? "b-w" : "srgb");
    decoded = await pipeline.raw().toBuffer({ resolveWithObject: true });
  } catch (error) {
    const name = typeof image === "string" ? image : "decodeImage";
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
  const list = typeof size === "number" ? [size, size] : size;
  if (!Array.isArray(list) || list.length !== 2 || list.some((s) => !Number.isInteger(s) || s < 1))
    throw new ArgumentError(`${call}: size must be a whole number of pixels or [height, width], got ${describe(size)}`);
  return list as unknown as [number, number];
}

/**
 * Sample i is [image, label]: uint8 [channels, height, width] and int32 []. Labels count the sub-folders, sorted by name.
 * Images are decoded when they are asked for, so loops are `for await`; `load()` decodes all of them into memory.
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
    if (!existsSync(folder)) throw new ArgumentError(`ImageFolder: there is no folder ${folder}`);
    this.folder = folder;
    this.#options = options;
    // By code units, not by locale: the numbers of classes must not change with the machine.
    const byName = (a: { name: string }, b: { name: string }): number => (a.name < b.name ? -1 : 1);
    const entries = (path: string): import("node:fs").Dirent[] =>
      readdirSync(path, { withFileTypes: true })
        .filter((entry) => !entry.name.startsWith("."))
        .sort(byName);
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
          (classes.length === 0 ? "no sub-folders" : `no ${[...extensions].join(", ")} in ${this.classes.join(", ")}`),
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
    return [await decodeImage(file.path, this.#options), tensor(file.label, { dtype: "int32" })];
  }

  /** All images in memory. They must be equal in size: give `size` if they are not. */
  async load(): Promise<TensorDataset<ImageSample>> {
    const all = Int32Array.from({ length: this.length }, (_, i) => i);
    return new TensorDataset<ImageSample>(...(await makeBatch<ImageSample>(this, all)));
  }
}
