import type { TypedArray } from "../core/dtype.js";
import { ArgumentError, FormatError } from "../core/errors.js";
import { isTensor, type NestedList, type Tensor } from "../core/tensor.js";
import { loadNpy } from "../io/npy.js";
import { loadNpz } from "../io/npz.js";
import { tensor } from "../ops/create.js";
import { TensorDataset } from "./dataset.js";

/** Samples from arrays: tensors, typed arrays (one number a sample) or nested lists that share their first dimension. */
export function arrays(...parts: readonly (Tensor | TypedArray | NestedList)[]): TensorDataset<Tensor[]> {
  return new TensorDataset<Tensor[]>(
    ...parts.map((part) => (isTensor(part) ? part : (tensor(part as NestedList) as Tensor))),
  );
}

/** Samples from NumPy's .npy files, one for each part: `npy("images.npy", "labels.npy")`. */
export function npy(...paths: readonly string[]): TensorDataset<Tensor[]> {
  if (paths.length === 0) throw new ArgumentError("npy: needs at least one path");
  return new TensorDataset<Tensor[]>(...paths.map((path) => loadNpy(path)));
}

/** Samples from arrays of one .npz file, by their names in the order of the parts: `npz("set.npz", ["x", "y"])`. */
export function npz(path: string, names: readonly string[]): TensorDataset<Tensor[]> {
  if (!Array.isArray(names) || names.length === 0)
    throw new ArgumentError('npz: needs the names of the arrays, such as ["x", "y"]');
  const found = loadNpz(path);
  return new TensorDataset<Tensor[]>(
    ...names.map((name) => {
      const part = found[name as string];
      if (part === undefined)
        throw new FormatError(
          `${path}: there is no array ${JSON.stringify(name)}; it has ${Object.keys(found).join(", ")}`,
        );
      return part;
    }),
  );
}
