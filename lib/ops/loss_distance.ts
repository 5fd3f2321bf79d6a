import type { DType } from "../core/dtype.js";
import { ArgumentError, IndexError, ShapeError } from "../core/errors.js";
import { checkInteger, checkNumber, checkOptions } from "../core/options.js";
import { broadcastShapes, describe, format, normalizeDim, sameShape } from "../core/shape.js";
import { empty, type Tensor } from "../core/tensor.js";
import { clampBetween, relu } from "./activation.js";
import { eq, ne } from "./compare.js";
import {
  checkClassWeight,
  checkReduction,
  checkTargets,
  classIndices,
  classLayout,
  type Reduction,
  reduced,
  targetWeights,
} from "./cross_entropy.js";
import { checkTensor, floating, sameDType } from "./kernel.js";
import { clampedValue, type LossOptions } from "./loss.js";
import { add, div, mul, neg, sqrt, square, sub } from "./pointwise.js";
import { minimum } from "./power.js";
import { sum } from "./reduce.js";
import { gather } from "./scatter.js";
import { norm } from "./vector_norm.js";
import { reshape, squeeze, unsqueeze } from "./view.js";
import { where } from "./where.js";

/** Losses over classes without softmax, and losses of distances and similarities. */

/**
 * The negative log likelihood of class indices: -weight[target] * input[target].
 *
 * Shapes: input [batch, classes, ...] or [classes], log-probabilities; target [batch, ...] (int32).
 * @throws {IndexError} if a target is neither a class nor `ignoreIndex`, naming its place and value
 */
export function nllLoss<D extends DType>(
  input: Tensor<D>,
  target: Tensor,
  options: { weight?: Tensor | null; ignoreIndex?: number; reduction?: Reduction } = {},
): Tensor<D> {
  const call = "nllLoss";
  checkTensor(call, "input", input);
  checkTensor(call, "target", target);
  floating(call, "input", input);
  checkOptions(call, options, ["weight", "ignoreIndex", "reduction"]);
  const reduction = checkReduction(call, options.reduction);
  const ignoreIndex = checkInteger(call, "ignoreIndex", options.ignoreIndex ?? -100, -(2 ** 31));
  const weight = options.weight ?? null;
  const labels = classIndices(call, target);
  const { outer, classes, inner, targetShape } = classLayout(call, input, target);
  checkClassWeight(call, weight, input, classes);
  const values = labels.data();
  const bad = values.findIndex((v) => v !== ignoreIndex && (v < 0 || v >= classes));
  if (bad >= 0) checkTargets(call, bad + 1, labels, classes);
  const flat = reshape(labels, [outer, inner]);
  const factors = targetWeights(flat, weight, ignoreIndex, input.dtype);
  const safe = where(ne(flat, ignoreIndex), flat, 0);
  const chosen = squeeze(gather(reshape(input, [outer, classes, inner]), 1, unsqueeze(safe, 1)), 1);
  // An ignored place may hold an infinite log-probability: 0 * inf would be NaN.
  const counted = where(ne(flat, ignoreIndex), chosen as Tensor, 0);
  const loss = neg(mul(counted, factors));
  if (reduction === "none") return reshape(loss, targetShape) as Tensor<D>;
  const total = sum(loss) as Tensor<D>;
  return reduction === "sum" ? total : div(total, sum(factors));
}

function checkSame(call: string, tensors: Record<string, unknown>): void {
  const entries = Object.entries(tensors);
  const [firstName, first] = entries[0]!;
  checkTensor(call, firstName, first);
  floating(call, firstName, first);
  for (const [name, t] of entries.slice(1)) {
    checkTensor(call, name, t);
    sameDType(call, firstName, first, name, t);
  }
}

/** The cosine of the angle between x1 and x2 along `dim` (default 1); lengths are at least eps (default 1e-8). */
export function cosineSimilarity<D extends DType>(
  x1: Tensor<D>,
  x2: Tensor<D>,
  options: { dim?: number; eps?: number } = {},
): Tensor<D> {
  const call = "cosineSimilarity";
  checkSame(call, { x1, x2 });
  checkOptions(call, options, ["dim", "eps"]);
  const eps = checkNumber(call, "eps", options.eps ?? 1e-8, 0);
  const shape = broadcastShapes(call, x1.shape, x2.shape);
  const dim = normalizeDim(call, options.dim ?? 1, shape.length);
  const unit = (x: Tensor): Tensor => {
    const own = x.broadcastTo(shape);
    return div(own, clampedValue(norm(own, { dim, keepdim: true }), eps));
  };
  return sum(mul(unit(x1 as Tensor), unit(x2 as Tensor)), { dim }) as Tensor<D>;
}

/** The p-norm of x1 - x2 + eps over the last dimension; p is 2, eps 1e-6 by default. */
export function pairwiseDistance<D extends DType>(
  x1: Tensor<D>,
  x2: Tensor<D>,
  options: { p?: number; eps?: number; keepdim?: boolean } = {},
): Tensor<D> {
  const call = "pairwiseDistance";
  checkSame(call, { x1, x2 });
  checkOptions(call, options, ["p", "eps", "keepdim"]);
  const eps = checkNumber(call, "eps", options.eps ?? 1e-6);
  broadcastShapes(call, x1.shape, x2.shape);
  return norm(add(sub(x1, x2), eps), { p: options.p ?? 2, dim: -1, keepdim: options.keepdim ?? false });
}

/**
 * For pairs of vectors, 1 - cos where target is 1 and max(0, cos - margin) where it is -1; margin is 0 by default.
 *
 * Shapes: input1, input2 [batch, size] and target [batch], or [size] and a scalar target.
 */
export function cosineEmbeddingLoss<D extends DType>(
  input1: Tensor<D>,
  input2: Tensor<D>,
  target: Tensor,
  options: LossOptions & { margin?: number } = {},
): Tensor<D> {
  const call = "cosineEmbeddingLoss";
  checkSame(call, { input1, input2 });
  checkTensor(call, "target", target);
  checkOptions(call, options, ["reduction", "margin"]);
  const reduction = checkReduction(call, options.reduction);
  const margin = checkNumber(call, "margin", options.margin ?? 0);
  if (input1.rank !== target.rank + 1 || target.rank > 1 || input2.rank !== input1.rank) {
    throw new ShapeError(
      `${call}: needs inputs [batch, size] and target [batch], or [size] and a scalar, got ${format(input1.shape)}, ` +
        `${format(input2.shape)} and ${format(target.shape)}`,
    );
  }
  if (input1.rank === 2) broadcastShapes(call, [Math.max(input1.shape[0]!, input2.shape[0]!)], target.shape);
  const total = (t: Tensor): Tensor => sum(t, { dim: -1 });
  const length = (x: Tensor<D>): Tensor => add(total(square(x) as Tensor), 1e-12);
  const cos = div(total(mul(input1, input2) as Tensor), sqrt(mul(length(input1), length(input2))));
  const near = where(eq(target, 1), sub(1, cos), 0);
  const far = where(eq(target, -1), clampBetween(sub(cos, margin), 0, Infinity), 0);
  return reduced(add(near, far) as Tensor<D>, reduction);
}

export interface TripletOptions extends LossOptions {
  /** Default 1. */
  readonly margin?: number;
  /** The norm of the distances; default 2. */
  readonly p?: number;
  /** Default 1e-6. */
  readonly eps?: number;
  /** Take the smaller of the distances of anchor and positive from the negative. */
  readonly swap?: boolean;
}

/** max(0, distance(anchor, positive) - distance(anchor, negative) + margin) over the last dimension. */
export function tripletMarginLoss<D extends DType>(
  anchor: Tensor<D>,
  positive: Tensor<D>,
  negative: Tensor<D>,
  options: TripletOptions = {},
): Tensor<D> {
  const call = "tripletMarginLoss";
  checkSame(call, { anchor, positive, negative });
  checkOptions(call, options, ["reduction", "margin", "p", "eps", "swap"]);
  const reduction = checkReduction(call, options.reduction);
  const margin = checkNumber(call, "margin", options.margin ?? 1);
  if (anchor.rank !== positive.rank || anchor.rank !== negative.rank || anchor.rank === 0) {
    throw new ShapeError(
      `${call}: anchor ${format(anchor.shape)}, positive ${format(positive.shape)} and negative ${format(negative.shape)} must have the same number of dimensions`,
    );
  }
  broadcastShapes(call, broadcastShapes(call, anchor.shape, positive.shape), negative.shape);
  const o = { p: options.p ?? 2, eps: options.eps ?? 1e-6 };
  const near = pairwiseDistance(anchor, positive, o);
  let far = pairwiseDistance(anchor, negative, o);
  if (options.swap) far = minimum(far, pairwiseDistance(positive, negative, o));
  return reduced(clampBetween(add(sub(near, far), margin), 0, Infinity) as Tensor<D>, reduction);
}

function batched(call: string, input: Tensor): { batch: number; classes: number; unbatched: boolean } {
  if (input.rank === 0 || input.rank > 2) {
    throw new ShapeError(`${call}: input must be [batch, classes] or [classes], but it is ${format(input.shape)}`);
  }
  const unbatched = input.rank === 1;
  return { batch: unbatched ? 1 : input.shape[0]!, classes: input.shape.at(-1)!, unbatched };
}

/**
 * The sum over all other classes of max(0, margin - input[target] + input[class])^p, times weight[target], over the
 * number of classes. p is 1 or 2 (default 1), margin 1 by default.
 *
 * Shapes: input [batch, classes] and target [batch] (int32), or [classes] and a scalar.
 */
export function multiMarginLoss<D extends DType>(
  input: Tensor<D>,
  target: Tensor,
  options: LossOptions & { p?: 1 | 2; margin?: number; weight?: Tensor | null } = {},
): Tensor<D> {
  const call = "multiMarginLoss";
  checkTensor(call, "input", input);
  checkTensor(call, "target", target);
  floating(call, "input", input);
  checkOptions(call, options, ["reduction", "p", "margin", "weight"]);
  const reduction = checkReduction(call, options.reduction);
  const p = options.p ?? 1;
  if (p !== 1 && p !== 2) throw new ArgumentError(`${call}: p must be 1 or 2, got ${describe(p)}`);
  const margin = checkNumber(call, "margin", options.margin ?? 1);
  const { batch, classes, unbatched } = batched(call, input);
  const labels = classIndices(call, target);
  if (labels.numel() !== batch || labels.rank > 1) {
    throw new ShapeError(
      `${call}: target must be [${batch}] for input ${format(input.shape)}, but it is ${format(target.shape)}`,
    );
  }
  const weight = options.weight ?? null;
  checkClassWeight(call, weight, input, classes);
  const bad = labels.data().findIndex((v) => v < 0 || v >= classes);
  if (bad >= 0) checkTargets(call, bad + 1, labels, classes);
  const x: Tensor = reshape(input, [batch, classes]);
  const at = reshape(labels, [batch, 1]);
  let terms: Tensor = relu(add(sub(x, gather(x, 1, at)), margin));
  if (p === 2) terms = square(terms);
  if (weight !== null) terms = mul(terms, reshape(weight.indexSelect(0, reshape(labels, [batch])), [batch, 1]));
  const own = eq(at, classNumbers(classes));
  const loss = div(sum(where(own, 0, terms), { dim: 1 }), classes);
  return reduced((unbatched ? reshape(loss, []) : loss) as Tensor<D>, reduction);
}

/** 0, 1, ... as int32. */
function classNumbers(count: number): Tensor<"int32"> {
  const t = empty([count], "int32");
  const array = t.storage.array("int32");
  for (let i = 0; i < count; i++) array[i] = i;
  return t;
}

/**
 * For several classes per row, listed in target up to the first -1: the sum over listed i and unlisted j of
 * max(0, 1 - (input[i] - input[j])), over the number of classes.
 *
 * Shapes: input and target (int32) [batch, classes] or [classes].
 */
export function multiLabelMarginLoss<D extends DType>(
  input: Tensor<D>,
  target: Tensor,
  options: LossOptions = {},
): Tensor<D> {
  const call = "multiLabelMarginLoss";
  checkTensor(call, "input", input);
  checkTensor(call, "target", target);
  floating(call, "input", input);
  checkOptions(call, options, ["reduction"]);
  const reduction = checkReduction(call, options.reduction);
  const { batch, classes, unbatched } = batched(call, input);
  if (!sameShape(input.shape, target.shape)) {
    throw new ShapeError(
      `${call}: target ${format(target.shape)} must have the shape of the input ${format(input.shape)}`,
    );
  }
  const labels = classIndices(call, target).data();
  labels.forEach((label, at) => {
    if (label >= -1 && label < classes) return;
    throw new IndexError(
      `${call}: target ${label} at position ${at} is not a class: with ${classes} classes they are 0 to ${classes - 1}, and -1 ends a list`,
    );
  });
  const listed = empty([batch, classes], "bool");
  const valid = empty([batch, classes], "bool");
  const index = empty([batch, classes], "int32");
  const [isListed, isValid, at] = [listed, valid, index].map((t) =>
    t.storage.array(t.dtype).fill(0, 0, batch * classes),
  );
  for (let b = 0; b < batch; b++) {
    for (let i = 0; i < classes; i++) {
      const label = labels[b * classes + i]!;
      if (label === -1) break;
      isListed![b * classes + label] = 1;
      isValid![b * classes + i] = 1;
      at![b * classes + i] = label;
    }
  }
  const x: Tensor = reshape(input, [batch, classes]);
  const margins: Tensor = relu(add(sub(unsqueeze(x, 1), unsqueeze(gather(x, 1, index), 2)), 1));
  const apart = where(unsqueeze(valid, 2), where(unsqueeze(listed, 1), 0, margins), 0);
  const loss = div(sum(apart, { dim: [1, 2] }), classes);
  return reduced((unbatched ? reshape(loss, []) : loss) as Tensor<D>, reduction);
}
