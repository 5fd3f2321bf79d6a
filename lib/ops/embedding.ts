import { type DType, isFloating } from "../core/dtype.js";
import { ArgumentError, DTypeError, IndexError, ShapeError } from "../core/errors.js";
import { checkInteger, checkOptions } from "../core/options.js";
import { format } from "../core/shape.js";
import { empty, named, type Tensor } from "../core/tensor.js";
import { eq } from "./compare.js";
import { checkIndex } from "./index_checks.js";
import { indexAdd, selectFor } from "./indexing.js";
import { checkTensor, filled } from "./kernel.js";
import { detach, reshape, unsqueeze } from "./view.js";
import { where } from "./where.js";

/** Class numbers to vectors, and counts. */

/**
 * Rows of a table. index: int32 of any shape; weight [rows, size]; result [...index, size]. The row `paddingIdx` gets no
 * gradient.
 * @throws {IndexError} if an index is not a row
 */
export function embedding<D extends DType>(
  index: Tensor,
  weight: Tensor<D>,
  options: { paddingIdx?: number | null } = {},
): Tensor<D> {
  checkTensor("embedding", "weight", weight);
  const at = checkIndex("embedding", index);
  checkOptions("embedding", options, ["paddingIdx"]);
  if (weight.rank !== 2)
    throw new ShapeError(`embedding: weight must be [rows, size], but it is ${format(weight.shape)}`);
  const [rows, size] = weight.shape as [number, number];
  const taken = reshape(selectFor("embedding", weight, 0, reshape(at, [-1])), [...at.shape, size]);
  if (options.paddingIdx === undefined || options.paddingIdx === null) return taken;
  const padding = checkInteger("embedding", "paddingIdx", options.paddingIdx, -rows, rows - 1);
  return where(unsqueeze(eq(at, padding < 0 ? padding + rows : padding), -1), detach(taken), taken);
}

/**
 * 1 at the class's place, 0 elsewhere: int32 [...index, numClasses]. numClasses is by default the largest index + 1.
 * @throws {IndexError} if an index is negative or not below numClasses
 */
export function oneHot(index: Tensor, numClasses: number = -1): Tensor<"int32"> {
  const at = checkIndex("oneHot", index);
  checkInteger("oneHot", "numClasses", numClasses, -1);
  const values = at.data();
  if (numClasses === -1 && values.length === 0) {
    throw new ArgumentError("oneHot: numClasses must be given for an empty index");
  }
  let largest = -1;
  for (const v of values) largest = Math.max(largest, v);
  const classes = numClasses === -1 ? largest + 1 : numClasses;
  const y = filled([...at.shape, classes], "int32", 0);
  const to = y.storage.array("int32");
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (value < 0 || value >= classes) {
      throw new IndexError(
        `oneHot: index ${value} at position ${i} is not a class: with ${classes} classes they are 0 to ${classes - 1}`,
      );
    }
    to[i * classes + value] = 1;
  }
  return y;
}

/**
 * How often each number 0, 1, ... occurs in a vector of int32, or the sums of the `weights` there. The result has at
 * least `minlength` elements.
 */
export function bincount(x: Tensor, options: { weights?: Tensor | null; minlength?: number } = {}): Tensor {
  const at = checkIndex("bincount", x, "x");
  checkOptions("bincount", options, ["weights", "minlength"]);
  const minlength = checkInteger("bincount", "minlength", options.minlength ?? 0, 0);
  if (at.rank !== 1) throw new ShapeError(`bincount: x must be a vector, but it is ${format(x.shape)}`);
  let count = minlength;
  for (const v of at.data()) {
    if (v < 0) throw new IndexError(`bincount: x must not hold negative numbers, but has ${v}`);
    count = Math.max(count, v + 1);
  }
  const weights = options.weights ?? null;
  if (weights !== null) {
    checkTensor("bincount", "weights", weights);
    if (!isFloating(weights.dtype)) throw new DTypeError(`bincount: ${named("weights", weights)} must be floating`);
    if (format(weights.shape) !== format(at.shape)) {
      throw new ShapeError(`bincount: weights ${format(weights.shape)} must have the shape of x ${format(at.shape)}`);
    }
    return indexAdd(filled([count], weights.dtype as DType, 0), 0, at, weights.detach());
  }
  const y = empty([count], "int32");
  const to = y.storage.array("int32").fill(0, 0, count);
  for (const v of at.data()) to[v]!++;
  return y;
}
