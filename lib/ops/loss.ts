import type { DType } from "../core/dtype.js";
import { ArgumentError, ShapeError } from "../core/errors.js";
import { checkChoice, checkNumber, checkOptions } from "../core/options.js";
import { broadcastShapes, format, sameShape } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import { clampBetween, logSigmoid } from "./activation.js";
import { eq, gt, lt, logicalAnd, logicalNot, ne } from "./compare.js";
import { checkReduction, type Reduction, reduced } from "./cross_entropy.js";
import { defineOp, type Op } from "./define.js";
import { checkTensor, floating, sameDType, unary } from "./kernel.js";
import { abs, add, div, exp, log, mul, neg, type Operand, square, sub } from "./pointwise.js";
import { mean, sum } from "./reduce.js";
import { refuseMarked } from "./refuse.js";
import { unsqueeze } from "./view.js";
import { maskedFill, where } from "./where.js";

/** Losses that compare element by element. Shapes: input and target alike; the result is a scalar unless reduction is "none". */

export interface LossOptions {
  /** "mean" (default) over all elements, "sum", or "none". */
  readonly reduction?: Reduction;
}

const warned = new Set<string>();

/** Checks a pair; like PyTorch, differing shapes broadcast with a warning, unless the loss refuses them. */
function checkPair(call: string, input: unknown, target: unknown, strict: boolean): void {
  checkTensor(call, "input", input);
  checkTensor(call, "target", target);
  floating(call, "input", input);
  floating(call, "target", target);
  sameDType(call, "input", input, "target", target);
  if (sameShape(input.shape, target.shape)) return;
  if (strict) {
    throw new ShapeError(
      `${call}: target ${format(target.shape)} must have the shape of the input ${format(input.shape)}`,
    );
  }
  broadcastShapes(call, input.shape, target.shape);
  const message = `${call}: target ${format(target.shape)} is broadcast to input ${format(input.shape)}, which is rarely meant`;
  if (!warned.has(message)) {
    warned.add(message);
    process.emitWarning(message);
  }
}

/** The mean of (input - target)². */
export function mseLoss<D extends DType>(input: Tensor<D>, target: Tensor<D>, options: LossOptions = {}): Tensor<D> {
  checkOptions("mseLoss", options, ["reduction"]);
  const reduction = checkReduction("mseLoss", options.reduction);
  checkPair("mseLoss", input, target, false);
  return reduced(square(sub(input, target)), reduction);
}

/** The mean of |input - target|. */
export function l1Loss<D extends DType>(input: Tensor<D>, target: Tensor<D>, options: LossOptions = {}): Tensor<D> {
  checkOptions("l1Loss", options, ["reduction"]);
  const reduction = checkReduction("l1Loss", options.reduction);
  checkPair("l1Loss", input, target, false);
  return reduced(abs(sub(input, target)), reduction);
}

/** d² / 2 within [-bound, bound], bound (|d| - bound / 2) outside: with c = d clamped, c (d - c / 2). */
function huber(d: Tensor, bound: number): Tensor {
  const c = clampBetween(d, -bound, bound);
  return mul(c, sub(d, mul(c, 0.5)));
}

/** The mean of d² / (2 beta) where |d| < beta, else |d| - beta / 2; d = input - target, beta 1 by default, 0 for l1Loss. */
export function smoothL1Loss<D extends DType>(
  input: Tensor<D>,
  target: Tensor<D>,
  options: LossOptions & { beta?: number } = {},
): Tensor<D> {
  checkOptions("smoothL1Loss", options, ["reduction", "beta"]);
  const reduction = checkReduction("smoothL1Loss", options.reduction);
  const beta = checkNumber("smoothL1Loss", "beta", options.beta ?? 1, 0);
  checkPair("smoothL1Loss", input, target, false);
  const d = sub(input, target);
  return reduced((beta === 0 ? abs(d) : div(huber(d, beta), beta)) as Tensor<D>, reduction);
}

/** The mean of d² / 2 where |d| <= delta, else delta (|d| - delta / 2); d = input - target, delta 1 by default. */
export function huberLoss<D extends DType>(
  input: Tensor<D>,
  target: Tensor<D>,
  options: LossOptions & { delta?: number } = {},
): Tensor<D> {
  checkOptions("huberLoss", options, ["reduction", "delta"]);
  const reduction = checkReduction("huberLoss", options.reduction);
  const delta = checkNumber("huberLoss", "delta", options.delta ?? 1, 0);
  if (delta === 0) throw new ArgumentError("huberLoss: delta must be above 0");
  checkPair("huberLoss", input, target, false);
  return reduced(huber(sub(input, target), delta) as Tensor<D>, reduction);
}

/** log x, at least -100 (so that probabilities of 0 and 1 have finite losses). */
function boundedLog(x: Tensor): Tensor {
  return unary("clamp", unary("log", x), -100, Infinity);
}

const binaryCrossEntropyOp: Op<"input" | "target", undefined> = defineOp<"input" | "target", undefined>({
  name: "binary_cross_entropy",
  inputs: ["input", "target"],
  composite: true,
  forward: ([input, target]) => {
    const other = sub(1, input!);
    return neg(add(mul(target!, boundedLog(input!)), mul(sub(1, target!), boundedLog(other))));
  },
  grad: {
    input: {
      reads: ["input", "target"],
      formula: (c) => {
        const input = c.input("input");
        // 1e-12 as PyTorch holds it, in float32
        const slope = clampBetween(mul(input, sub(1, input)), Math.fround(1e-12), Infinity);
        return mul(c.dy, div(sub(input, c.input("target")), slope));
      },
    },
    target: {
      reads: ["input"],
      formula: (c) => {
        const input = c.input("input");
        const bounded = (x: Tensor): Tensor => clampBetween(log(x), -100, Infinity);
        return mul(c.dy, sub(bounded(sub(1, input)), bounded(input)));
      },
    },
  },
  samples: () => [
    { inputs: { input: (r) => r.uniform([3, 5], 0.1, 0.9), target: (r) => r.uniform([3, 5], 0, 1) } },
    { inputs: { input: (r) => r.uniform([0], 0.1, 0.9), target: [0] } },
  ],
});

/**
 * The mean of -(target log(input) + (1 - target) log(1 - input)), with logarithms of at least -100; input and target
 * are probabilities. `weight` broadcasts to them.
 * @throws {ArgumentError} if an input is not between 0 and 1
 */
export function binaryCrossEntropy<D extends DType>(
  input: Tensor<D>,
  target: Tensor<D>,
  options: LossOptions & { weight?: Tensor | null } = {},
): Tensor<D> {
  const call = "binaryCrossEntropy";
  checkOptions(call, options, ["reduction", "weight"]);
  const reduction = checkReduction(call, options.reduction);
  checkPair(call, input, target, true);
  refuseMarked(
    outside(input),
    (count) =>
      new ArgumentError(
        `${call}: input must hold probabilities between 0 and 1, but ${count ?? "some"} of ${input.numel()} elements are outside; ` +
          "use binaryCrossEntropyWithLogits for logits",
      ),
  );
  const loss = binaryCrossEntropyOp([input, target], undefined);
  return reduced(weighted(call, loss, options.weight ?? null) as Tensor<D>, reduction);
}

function outside(x: Tensor): Tensor {
  // |x - 1/2| > 1/2, also true of NaN by the double negative
  return eq(where(gt(unary("abs", sub(x.detach(), 0.5)), 0.5), 1, where(ne(x, x), 1, 0)), 1);
}

function weighted(call: string, loss: Tensor, weight: Tensor | null): Tensor {
  if (weight === null) return loss;
  checkTensor(call, "weight", weight);
  sameDType(call, "input", loss, "weight", weight);
  if (!sameShape(broadcastShapes(call, loss.shape, weight.shape), loss.shape)) {
    throw new ShapeError(`${call}: weight ${format(weight.shape)} does not broadcast to input ${format(loss.shape)}`);
  }
  return mul(loss, weight);
}

/**
 * binaryCrossEntropy of sigmoid(input), without overflow. `posWeight` (broadcasts) weighs the positive part of each
 * target, `weight` all of it.
 */
export function binaryCrossEntropyWithLogits<D extends DType>(
  input: Tensor<D>,
  target: Tensor<D>,
  options: LossOptions & { weight?: Tensor | null; posWeight?: Tensor | null } = {},
): Tensor<D> {
  const call = "binaryCrossEntropyWithLogits";
  checkOptions(call, options, ["reduction", "weight", "posWeight"]);
  const reduction = checkReduction(call, options.reduction);
  checkPair(call, input, target, true);
  const logs: Tensor = logSigmoid(input);
  // log(1 - sigmoid(x)) = log(sigmoid(x)) - x
  let factor: Operand = 1;
  if (options.posWeight) {
    checkTensor(call, "posWeight", options.posWeight);
    sameDType(call, "input", input, "posWeight", options.posWeight);
    if (!sameShape(broadcastShapes(call, input.shape, options.posWeight.shape), input.shape)) {
      throw new ShapeError(
        `${call}: posWeight ${format(options.posWeight.shape)} does not broadcast to input ${format(input.shape)}`,
      );
    }
    factor = add(mul(target as Tensor, sub(options.posWeight, 1)), 1);
  }
  const loss = sub(mul(sub(1, target), input), factor === 1 ? logs : mul(factor, logs));
  return reduced(weighted(call, loss, options.weight ?? null) as Tensor<D>, reduction);
}

/** x log(y), and 0 where x is 0; the derivative by x there is log(y) for y above 0, else 0. */
export function xlogy(x: Tensor, y: Tensor): Tensor {
  checkTensor("xlogy", "x", x);
  checkTensor("xlogy", "y", y);
  const none = logicalAnd(eq(x, 0), logicalNot(gt(y, 0))); // where the logarithm is no number: 0 log(0)
  return where(none, 0, mul(x, log(where(none, 1, y))));
}

/**
 * The Kullback-Leibler divergence target (log(target) - input): input holds log-probabilities, target probabilities (or
 * their logarithms with `logTarget`). Reduction "batchmean" divides the sum by the first size, which is the mathematical
 * definition; "mean" (default) by the number of elements.
 */
export function klDiv<D extends DType>(
  input: Tensor<D>,
  target: Tensor<D>,
  options: { reduction?: Reduction | "batchmean"; logTarget?: boolean } = {},
): Tensor<D> {
  const call = "klDiv";
  checkOptions(call, options, ["reduction", "logTarget"]);
  const reduction = checkChoice(call, "reduction", options.reduction ?? "mean", ["mean", "sum", "none", "batchmean"]);
  checkPair(call, input, target, false);
  const loss = (
    options.logTarget
      ? mul(exp(target), sub(target, input))
      : sub(xlogy(target as Tensor, target as Tensor), mul(target, input))
  ) as Tensor<D>;
  if (reduction !== "batchmean") return reduced(loss, reduction);
  if (input.rank === 0) throw new ShapeError(`${call}: reduction "batchmean" needs a batch dimension`);
  return div(sum(loss), input.shape[0]!);
}

/**
 * The negative log likelihood of counts under a Poisson distribution, without the term of the target alone unless
 * `full` (then Stirling's formula for targets above 1): exp(input) - target input, or with `logInput: false`
 * input - target log(input + eps).
 */
export function poissonNllLoss<D extends DType>(
  input: Tensor<D>,
  target: Tensor<D>,
  options: LossOptions & { logInput?: boolean; full?: boolean; eps?: number } = {},
): Tensor<D> {
  const call = "poissonNllLoss";
  checkOptions(call, options, ["reduction", "logInput", "full", "eps"]);
  const reduction = checkReduction(call, options.reduction);
  const eps = checkNumber(call, "eps", options.eps ?? 1e-8, 0);
  checkPair(call, input, target, false);
  let loss: Tensor =
    (options.logInput ?? true)
      ? sub(exp(input) as Tensor, mul(target, input))
      : sub(input as Tensor, mul(target, log(add(input, eps))));
  if (options.full) {
    const many = gt(target, 1);
    const safe = where(many, target as Tensor, 1);
    const stirling = add(sub(mul(safe, log(safe)), safe), mul(log(mul(safe, 2 * Math.PI)), 0.5));
    loss = add(loss, where(many, stirling, 0));
  }
  return reduced(loss as Tensor<D>, reduction);
}

const clampedValueOp: Op<"x", { lowest: number }> = defineOp<"x", { lowest: number }>({
  // max(x, lowest) whose derivative is 1 everywhere: variances and norms bounded for numbers' sake only.
  name: "clamped_value",
  inputs: ["x"],
  forward: ([x], { lowest }) => unary("clamp", x!, lowest, Infinity),
  grad: { x: { formula: (c) => c.dy } },
  samples: () => [{ inputs: { x: (r) => r.uniform([3, 4], 1, 2) }, options: { lowest: 0.5 } }],
});

/** @internal max(x, lowest), with the derivative 1 everywhere. */
export function clampedValue<D extends DType>(x: Tensor<D>, lowest: number): Tensor<D> {
  return clampedValueOp([x], { lowest }) as Tensor<D>;
}

/**
 * The negative log likelihood of a normal distribution: (log(variance) + (input - target)² / variance) / 2, with log(2 pi)
 * / 2 more if `full`. The variance is at least eps (default 1e-6), with gradients as if it were not bounded.
 *
 * Shapes: variance as input, or without (or with size 1 in) the last dimension.
 * @throws {ArgumentError} if a variance is negative
 */
export function gaussianNllLoss<D extends DType>(
  input: Tensor<D>,
  target: Tensor<D>,
  variance: Tensor<D>,
  options: LossOptions & { full?: boolean; eps?: number } = {},
): Tensor<D> {
  const call = "gaussianNllLoss";
  checkOptions(call, options, ["reduction", "full", "eps"]);
  const reduction = checkReduction(call, options.reduction);
  const eps = checkNumber(call, "eps", options.eps ?? 1e-6, 0);
  checkPair(call, input, target, false);
  checkTensor(call, "variance", variance);
  sameDType(call, "input", input, "variance", variance);
  let spread: Tensor = variance;
  if (!sameShape(variance.shape, input.shape)) {
    const lead = input.shape.slice(0, -1);
    if (sameShape(variance.shape, lead)) spread = unsqueeze(variance, -1) as Tensor;
    else if (!sameShape(variance.shape, [...lead, 1])) {
      throw new ShapeError(
        `${call}: variance must be ${format(input.shape)}, ${format(lead)} or ${format([...lead, 1])}, but it is ${format(variance.shape)}`,
      );
    }
  }
  refuseMarked(lt(variance.detach(), 0), () => new ArgumentError(`${call}: variance has negative elements`));
  const bounded = clampedValue(spread, eps);
  let loss = mul(add(log(bounded), div(square(sub(input, target)) as Tensor, bounded)), 0.5);
  if (options.full) loss = add(loss, 0.5 * Math.log(2 * Math.PI));
  return reduced(loss as Tensor<D>, reduction);
}

/** log(1 + exp(-target input)), for targets 1 and -1. */
export function softMarginLoss<D extends DType>(
  input: Tensor<D>,
  target: Tensor<D>,
  options: LossOptions = {},
): Tensor<D> {
  checkOptions("softMarginLoss", options, ["reduction"]);
  const reduction = checkReduction("softMarginLoss", options.reduction);
  checkPair("softMarginLoss", input, target, true);
  return reduced(neg(logSigmoid(mul(target, input))), reduction);
}

/** input where target is 1, max(0, margin - input) where it is -1; margin 1 by default. */
export function hingeEmbeddingLoss<D extends DType>(
  input: Tensor<D>,
  target: Tensor<D>,
  options: LossOptions & { margin?: number } = {},
): Tensor<D> {
  checkOptions("hingeEmbeddingLoss", options, ["reduction", "margin"]);
  const reduction = checkReduction("hingeEmbeddingLoss", options.reduction);
  const margin = checkNumber("hingeEmbeddingLoss", "margin", options.margin ?? 1);
  checkPair("hingeEmbeddingLoss", input, target, false);
  const below: Tensor = clampBetween(sub(margin, input), 0, Infinity);
  const loss = add(maskedFillTo(below, eq(target, 1)), maskedFillTo(input as Tensor, eq(target, -1)));
  return reduced(loss as Tensor<D>, reduction);
}

function maskedFillTo(x: Tensor, mask: Tensor): Tensor {
  return sameShape(x.shape, mask.shape) ? maskedFill(x, mask, 0) : where(mask, 0, x);
}

/** max(0, margin - target (input1 - input2)), for targets 1 and -1; margin 0 by default. */
export function marginRankingLoss<D extends DType>(
  input1: Tensor<D>,
  input2: Tensor<D>,
  target: Tensor<D>,
  options: LossOptions & { margin?: number } = {},
): Tensor<D> {
  const call = "marginRankingLoss";
  checkOptions(call, options, ["reduction", "margin"]);
  const reduction = checkReduction(call, options.reduction);
  const margin = checkNumber(call, "margin", options.margin ?? 0);
  for (const [name, t] of Object.entries({ input1, input2, target })) checkTensor(call, name, t);
  for (const [name, t] of Object.entries({ input1, input2, target })) {
    floating(call, name, t);
    sameDType(call, "input1", input1, name, t);
    if (t.rank !== input1.rank) {
      throw new ShapeError(
        `${call}: input1 ${format(input1.shape)}, input2 ${format(input2.shape)} and target ${format(target.shape)} must have the same number of dimensions`,
      );
    }
  }
  return reduced(clampBetween(sub(margin, mul(target, sub(input1, input2))), 0, Infinity) as Tensor<D>, reduction);
}

/**
 * Binary cross entropy of every class, averaged over the classes (the last dimension): input logits, target 0 or 1.
 */
export function multiLabelSoftMarginLoss<D extends DType>(
  input: Tensor<D>,
  target: Tensor<D>,
  options: LossOptions & { weight?: Tensor | null } = {},
): Tensor<D> {
  const call = "multiLabelSoftMarginLoss";
  checkOptions(call, options, ["reduction", "weight"]);
  const reduction = checkReduction(call, options.reduction);
  checkPair(call, input, target, true);
  if (input.rank === 0) throw new ShapeError(`${call}: input must have a dimension of classes, but it is a scalar`);
  const loss = neg(add(mul(target, logSigmoid(input)), mul(sub(1, target), logSigmoid(neg(input)))));
  return reduced(mean(weighted(call, loss, options.weight ?? null), { dim: -1 }) as Tensor<D>, reduction);
}
