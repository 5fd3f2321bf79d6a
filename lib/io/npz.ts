import { Buffer } from "node:buffer";
import { ArgumentError, FormatError } from "../core/errors.js";
import { checkOptions } from "../core/options.js";
import { describe } from "../core/shape.js";
import { isTensor, type Tensor } from "../core/tensor.js";
import { fromBytes, type Source, withFile, writeWhole } from "./file.js";
import { npyHeader, readNpy } from "./npy.js";
import { allOrNone, bytesOf, writtenAs } from "./numbers.js";
import { zipContent, zipEntries, zipPieces } from "./zip.js";

/** NumPy's .npz: a zip of .npy files, one for each array. */

/**
 * Reads the arrays of a .npz file by name; types as in `loadNpy`.
 * @throws {FormatError} if the archive or an array is damaged
 */
export function loadNpz(path: string): Record<string, Tensor> {
  return withFile("loadNpz", path, readNpz);
}

/** As `loadNpz`, from bytes. */
export function decodeNpz(bytes: Uint8Array): Record<string, Tensor> {
  return readNpz(fromBytes("decodeNpz", bytes));
}

function readNpz(source: Source): Record<string, Tensor> {
  return allOrNone((arrays) => {
    for (const entry of zipEntries(source)) {
      const name = entry.name.replace(/\.npy$/, "");
      if (name in arrays) throw new FormatError(`${source.name}: the array ${describe(name)} comes twice`);
      const content = fromBytes("loadNpz", zipContent(source, entry));
      arrays[name] = readNpy({ ...content, name: `${source.name}: ${describe(entry.name)}` });
    }
  });
}

/** Writes arrays by name, deflated if `compress`; whole or not at all. */
export function saveNpz(
  path: string,
  arrays: Readonly<Record<string, Tensor>>,
  options: { readonly compress?: boolean } = {},
): void {
  checkOptions("saveNpz", options, ["compress"]);
  if (typeof arrays !== "object" || arrays === null || isTensor(arrays))
    throw new ArgumentError(`saveNpz: needs an object of tensors by name, got ${describe(arrays)}`);
  const files = Object.entries(arrays).map(([name, t]) => {
    const header = npyHeader("saveNpz", t);
    return [`${name}.npy`, () => Buffer.concat([header, bytesOf(t, writtenAs[t.dtype])])] as const;
  });
  const contents = (function* (): Iterable<readonly [string, Uint8Array]> {
    for (const [name, make] of files) yield [name, make()];
  })();
  writeWhole(path, zipPieces("saveNpz", contents, options.compress ?? false));
}
