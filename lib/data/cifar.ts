import { newBytes } from "../core/memory.js";
import { Buffer } from "node:buffer";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { ArgumentError, FormatError } from "../core/errors.js";
import { checkBoolean, checkChoice, checkOptions } from "../core/options.js";
import type { Tensor } from "../core/tensor.js";
import { checkPath, mostFile, readWhole } from "../io/file.js";
import { tensor } from "../ops/create.js";
import { TensorDataset } from "./dataset.js";

/**
 * The binary form of CIFAR-10 and CIFAR-100 (Krizhevsky 2009): records of one label byte (CIFAR-100: coarse and fine)
 * and 3,072 bytes of an image, 32 x 32 red, then green, then blue, row by row.
 */

const imageBytes = 3 * 32 * 32;
/** Of a file of class names. */
const mostNameBytes = 2 ** 20;

export interface CifarOptions {
  /** The training files (default) or the test file. */
  readonly train?: boolean;
  /** CIFAR-100: the 100 classes (default) or the 20 groups of five. */
  readonly labels?: "fine" | "coarse";
}

/** Sample i is [image, label]: uint8 [3, 32, 32] and int32 []. `classes` are their names, where the folder tells them. */
export class CifarDataset extends TensorDataset<[image: Tensor<"uint8">, label: Tensor<"int32">]> {
  readonly classes: readonly string[] | null;
  readonly classCount: number;

  /** @internal */
  constructor(images: Tensor<"uint8">, labels: Tensor<"int32">, classCount: number, classes: readonly string[] | null) {
    super(images, labels);
    this.classCount = classCount;
    this.classes = classes;
  }
}

interface Records {
  readonly name: string;
  readonly bytes: Uint8Array;
}

function parse(
  files: readonly Records[],
  labelBytes: 1 | 2,
  labelAt: number,
  classes: readonly number[],
): [Tensor<"uint8">, Tensor<"int32">] {
  const record = labelBytes + imageBytes;
  for (const { name, bytes } of files) {
    if (bytes.length === 0 || bytes.length % record !== 0) {
      const other = labelBytes === 1 ? 2 : 1;
      const hint =
        bytes.length > 0 && bytes.length % (other + imageBytes) === 0
          ? `; ${bytes.length} bytes are records of ${other + imageBytes}, the form of CIFAR-${other === 1 ? "10" : "100"}`
          : "";
      throw new FormatError(
        `${name}: CIFAR-${labelBytes === 1 ? "10" : "100"} records have ${record} bytes, but the file has ${bytes.length} bytes, ` +
          `${Math.floor(bytes.length / record)} records and ${bytes.length % record} bytes over${hint}`,
      );
    }
  }
  const count = files.reduce((n, { bytes }) => n + bytes.length / record, 0);
  const images = newBytes(count * imageBytes, "the images");
  const labels = new Int32Array(count);
  let i = 0;
  for (const { name, bytes } of files) {
    for (let at = 0; at < bytes.length; at += record, i++) {
      for (let l = 0; l < labelBytes; l++) {
        if (bytes[at + l]! < classes[l]!) continue;
        const which = labelBytes === 1 ? "label" : l === 0 ? "coarse label" : "fine label";
        throw new FormatError(
          `${name}: record ${at / record} has ${which} ${bytes[at + l]}, expected 0 to ${classes[l]! - 1}`,
        );
      }
      labels[i] = bytes[at + labelAt]!;
      images.set(bytes.subarray(at + labelBytes, at + record), i * imageBytes);
    }
  }
  return [tensor(images, { shape: [count, 3, 32, 32] }), tensor(labels)];
}

function names(folder: string, file: string, count: number): string[] | null {
  const path = join(folder, file);
  if (!existsSync(path)) return null;
  const list = Buffer.from(readWhole("cifar", path, mostNameBytes))
    .toString("utf8")
    .split(/\r?\n/)
    .filter((line) => line !== "");
  if (list.length !== count)
    throw new FormatError(`${path}: expected ${count} names, one a line, but there are ${list.length}`);
  return list;
}

function read(call: string, folder: string, files: readonly string[]): Records[] {
  const missing = files.filter((file) => !existsSync(join(folder, file)));
  if (missing.length > 0) throw new ArgumentError(`${call}: ${folder} has no ${missing.join(", ")}`);
  return files.map((file) => ({ name: join(folder, file), bytes: readWhole(call, join(folder, file), mostFile) }));
}

/** The folder itself, or the one that the data set's archive makes in it. */
function inside(call: string, folder: string, archive: string, file: string): string {
  checkPath(call, folder);
  return !existsSync(join(folder, file)) && existsSync(join(folder, archive, file)) ? join(folder, archive) : folder;
}

/**
 * CIFAR-10 from a folder with data_batch_1.bin to data_batch_5.bin and test_batch.bin.
 * @throws {FormatError} that names the file and what is wrong with it
 */
export function cifar10(folder: string, options: CifarOptions = {}): CifarDataset {
  checkOptions("cifar10", options, ["train"]);
  const at = inside("cifar10", folder, "cifar-10-batches-bin", "test_batch.bin");
  const files = !checkBoolean("cifar10", "train", options.train ?? true)
    ? ["test_batch.bin"]
    : [1, 2, 3, 4, 5].map((n) => `data_batch_${n}.bin`);
  const records = read("cifar10", at, files);
  const classes = names(at, "batches.meta.txt", 10);
  const [images, labels] = parse(records, 1, 0, [10]);
  return new CifarDataset(images, labels, 10, classes);
}

/** CIFAR-100 from a folder with train.bin and test.bin. */
export function cifar100(folder: string, options: CifarOptions = {}): CifarDataset {
  checkOptions("cifar100", options, ["train", "labels"]);
  const kind = checkChoice("cifar100", "labels", options.labels ?? "fine", ["fine", "coarse"]);
  const at = inside("cifar100", folder, "cifar-100-binary", "test.bin");
  const files = [!checkBoolean("cifar100", "train", options.train ?? true) ? "test.bin" : "train.bin"];
  const classes = kind === "fine" ? 100 : 20;
  const records = read("cifar100", at, files);
  const titles = names(at, `${kind}_label_names.txt`, classes);
  const [images, labels] = parse(records, 2, kind === "fine" ? 1 : 0, [20, 100]);
  return new CifarDataset(images, labels, classes, titles);
}

/** CIFAR-10 or CIFAR-100, by the files that the folder has. */
export function cifar(folder: string, options: CifarOptions = {}): CifarDataset {
  checkOptions("cifar", options, ["train", "labels"]);
  const has = (archive: string, file: string): boolean =>
    existsSync(join(inside("cifar", folder, archive, file), file));
  if (has("cifar-10-batches-bin", "test_batch.bin")) {
    const { labels: _, ...rest } = options;
    return cifar10(folder, rest);
  }
  if (has("cifar-100-binary", "test.bin")) return cifar100(folder, options);
  throw new ArgumentError(
    `cifar: ${folder} has neither test_batch.bin (CIFAR-10, binary version) nor test.bin (CIFAR-100, binary version)`,
  );
}
