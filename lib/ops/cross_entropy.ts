import { run } from "../backend/run.js";
import type { DType } from "../core/dtype.js";
import { ArgumentError, DTypeError, IndexError, ShapeError } from "../core/errors.js";
import { checkChoice, checkInteger, checkNumber, checkOptions } from "../core/options.js";
import { format, numel, type Shape, sameShape } from "../core/shape.js";
import { empty, isDifferentiable, named, type Tensor } from "../core/tensor.js";
import { ne } from "./compare.js";
import { defineOp, type Op } from "./define.js";
import { binary, checkTensor, comparison, contiguous, converted, filled, floating, sameDType } from "./kernel.js";
import { add, div, mul, neg } from "./pointwise.js";
import { mean, reduceTo, sum } from "./reduce.js";
import { logSoftmax, softmax, softmaxJacobian } from "./softmax.js";
import { cast, expand, reshape, unsqueeze } from "./view.js";
import { where } from "./where.js";

/** Cross entropy of logits, with classes as indices (one fused kernel) or as probabilities. */

/** How the losses of all elements become one: their mean, their sum, or not at all. */
export type Reduction = "mean" | "sum" | "none";

/** @internal */
export function checkReduction(call: string, reduction: unknown): Reduction {
  return checkChoice(call, "reduction", reduction ?? "mean", ["mean", "sum", "none"]);
}

/** @internal */
export function reduced<D extends DType>(loss: Tensor<D>, reduction: Reduction): Tensor<D> {
  return reduction === "mean" ? mean(loss) : reduction === "sum" ? sum(loss) : loss;
}

interface CrossEntropyOptions {
  readonly ignoreIndex: number;
  readonly smoothing: number;
}

// logits are [outer, classes, inner...], targets and losses [outer, inner...].
function sizes({ shape }: Tensor, { ignoreIndex, smoothing }: CrossEntropyOptions): number[] {
  return [shape[0]!, shape[1]!, shape.length === 2 ? 1 : numel(shape.slice(2)), ignoreIndex, smoothing];
}

/** Turns the kernel's report of a bad target into an error with its place and value. */
function checkTargets(
  call: string,
  report: number,
  target: Tensor,
  classes: number,
  shape: Shape = target.shape,
): void {
  if (report === 0) return;
  const position = report - 1;
  const flat = contiguous(target);
  const value = flat.storage.array(flat.dtype)[flat.offset + position]!;
  const at: number[] = [];
  let rest = position;
  for (let d = shape.length - 1; d >= 0; d--) {
    at.unshift(rest % shape[d]!);
    rest = Math.floor(rest / shape[d]!);
  }
  throw new IndexError(
    `${call}: target ${value} at ${format(at)} is not a class: with ${classes} classes they are 0 to ${classes - 1}`,
  );
}

/** The weight of each target's class, 0 where it is ignored. */
function targetWeights(target: Tensor, weight: Tensor | null, ignoreIndex: number, dtype: DType): Tensor {
  if (weight === null) {
    const ignored = filled([], "int32", ignoreIndex);
    const counts = comparison("not_equal", target, ignored);
    const weights = converted(counts, dtype);
    ignored.dispose();
    counts.dispose();
    return weights;
  }
  const counts = ne(target, ignoreIndex);
  const safe = where(counts, target, 0) as Tensor;
  const chosen = empty([target.numel()], dtype);
  const report = run(
    "index_select",
    dtype,
    [0, 1, weight.numel(), target.numel(), 1],
    [contiguous(weight), contiguous(safe), chosen],
  );
  checkTargets("crossEntropy", report, safe, weight.numel());
  return where(counts, reshape(chosen as Tensor, target.shape), 0);
}

type GradInput = "logits" | "target" | "weight" | "dy";

const crossEntropyGradOp: Op<GradInput, CrossEntropyOptions> = defineOp<GradInput, CrossEntropyOptions>({
  // dlogits = dy (A p - constant), with the probabilities p and A = (1 - smoothing) w_target + smoothing / classes sum(w).
  name: "cross_entropy_grad",
  inputs: ["logits", "target", "weight", "dy"],
  forward: ([logits, target, weight, dy], options) => {
    const dlogits = empty(logits!.shape, logits!.dtype);
    run("cross_entropy_grad", logits!.dtype, sizes(logits!, options), [
      contiguous(logits!),
      contiguous(target!),
      weight ? contiguous(weight) : null,
      contiguous(dy!),
      dlogits,
    ]);
    return dlogits;
  },
  grad: {
    logits: {
      reads: ["logits", "target", "weight", "dy"],
      formula: (c) => {
        const { smoothing, ignoreIndex } = c.options;
        const logits = c.input("logits");
        const target = c.input("target");
        const weight = c.optional("weight");
        const classes = logits.shape[1]!;
        const counted = cast(ne(target, ignoreIndex), logits.dtype);
        const weightSum = weight === null ? filled([], logits.dtype, classes) : sum(weight);
        const own = mul(targetWeights(target, weight, ignoreIndex, logits.dtype), 1 - smoothing);
        const factor = add(own, mul(mul(counted, weightSum), smoothing / classes));
        return mul(softmaxJacobian(softmax(logits, 1), c.dy, 1), unsqueeze(mul(factor, c.input("dy")), 1));
      },
    },
    dy: {
      reads: ["logits", "target", "weight"],
      formula: (c) => {
        const one = filled(c.shape("dy"), c.dy.dtype, 1);
        const slope = crossEntropyGradOp([c.input("logits"), c.input("target"), c.optional("weight"), one], c.options);
        return sum(mul(c.dy, slope), { dim: 1 });
      },
    },
  },
  samples: () => [
    {
      inputs: { logits: [3, 4, 2], target: (r) => r.integers([3, 2], 0, 4), weight: null, dy: [3, 2] },
      options: { ignoreIndex: 1, smoothing: 0.1 },
    },
  ],
});

type LossInput = "logits" | "target" | "weight";
interface LossOptions extends CrossEntropyOptions {
  /** The target's, for messages. */
  readonly shape: Shape;
}

function losses(logits: Tensor, target: Tensor, weight: Tensor | null, options: LossOptions): Tensor {
  const loss = empty(target.shape, logits.dtype);
  const report = run("cross_entropy", logits.dtype, sizes(logits, options), [
    contiguous(logits),
    contiguous(target),
    weight ? contiguous(weight) : null,
    loss,
  ]);
  checkTargets("crossEntropy", report, target, logits.shape[1]!, options.shape);
  return loss;
}

/** The losses of all elements as one, and its gradient, without the steps in between. */
const meanCrossEntropyOp: Op<LossInput, LossOptions> = defineOp<LossInput, LossOptions>({
  name: "cross_entropy_mean",
  inputs: ["logits", "target", "weight"],
  composite: true,
  forward: ([logits, target, weight], options, keep) => {
    const total = sumOfAll(losses(logits!, target!, weight ?? null, options));
    const weights = sumOfAll(targetWeights(target!, weight ?? null, options.ignoreIndex, logits!.dtype));
    const mean = binary("div", total, weights);
    keep(weights);
    return mean;
  },
  grad: {
    logits: {
      reads: ["logits", "target", "weight"],
      formula: (c) => {
        const share = expand(div(c.dy, c.kept(0)), c.shape("target"));
        return crossEntropyGradOp([c.input("logits"), c.input("target"), c.optional("weight"), share], {
          ignoreIndex: c.options.ignoreIndex,
          smoothing: c.options.smoothing,
        });
      },
    },
  },
  samples: () => [
    {
      inputs: { logits: [5, 3], target: (r) => r.integers([5], 0, 3), weight: null },
      options: { ignoreIndex: 1, smoothing: 0, shape: [5] },
    },
    {
      inputs: { logits: [2, 7, 3], target: (r) => r.integers([2, 3], 0, 7), weight: (r) => r.uniform([7], 0.5, 2) },
      options: { ignoreIndex: -100, smoothing: 0.2, shape: [2, 3] },
    },
  ],
});

function sumOfAll(t: Tensor): Tensor {
  return reduceTo("sum", t, [1, t.numel(), 1], []);
}

const crossEntropyOp: Op<LossInput, LossOptions> = defineOp<LossInput, LossOptions>({
  name: "cross_entropy",
  inputs: ["logits", "target", "weight"],
  forward: ([logits, target, weight], options) => losses(logits!, target!, weight ?? null, options),
  grad: {
    logits: {
      reads: ["logits", "target", "weight"],
      formula: (c) =>
        crossEntropyGradOp([c.input("logits"), c.input("target"), c.optional("weight"), c.dy], {
          ignoreIndex: c.options.ignoreIndex,
          smoothing: c.options.smoothing,
        }),
    },
  },
  samples: () => [
    {
      inputs: { logits: [5, 3, 1], target: (r) => r.integers([5, 1], 0, 3), weight: null },
      options: { ignoreIndex: -100, smoothing: 0, shape: [5, 1] },
    },
    {
      inputs: { logits: [2, 17, 3], target: (r) => r.integers([2, 3], 0, 17), weight: null },
      options: { ignoreIndex: 3, smoothing: 0.2, shape: [2, 3] },
    },
    {
      inputs: { logits: [0, 3, 2], target: (r) => r.integers([0, 2], 0, 3), weight: null },
      options: { ignoreIndex: -100, smoothing: 0, shape: [0, 2] },
    },
  ],
  refusals: () => [
    {
      call: () => crossEntropy(filled([2, 3], "float32", 0), filled([2], "int32", 3)),
      message: /crossEntropy: target 3 at \[0\] is not a class: with 3 classes/,
    },
    {
      call: () => crossEntropy(filled([2, 3], "float32", 0), filled([3], "int32", 0)),
      message: /crossEntropy: target must be \[2\]/,
    },
  ],
});

export interface CrossEntropyLossOptions {
  /** Weight of each class, [classes]. */
  readonly weight?: Tensor | null;
  /** Targets of this value count nothing; default -100. */
  readonly ignoreIndex?: number;
  /** "mean" (default) divides by the sum of the weights of the targets that count. */
  readonly reduction?: Reduction;
  /** This share of each target is spread over all classes; default 0. */
  readonly labelSmoothing?: number;
}

/** @internal The class weights of a loss, checked. */
export function checkClassWeight(call: string, weight: Tensor | null, x: Tensor, classes: number): void {
  if (weight === null) return;
  checkTensor(call, "weight", weight);
  sameDType(call, "input", x, "weight", weight);
  if (weight.rank !== 1 || weight.shape[0] !== classes) {
    throw new ShapeError(`${call}: weight must be [${classes}], one per class, but it is ${format(weight.shape)}`);
  }
}

/** @internal [batch, classes, ...] (or [classes]) seen as [outer, classes, inner]; refuses a target of another shape. */
export function classLayout(
  call: string,
  x: Tensor,
  target: Tensor,
): { outer: number; classes: number; inner: number; targetShape: Shape } {
  if (x.rank < 1) {
    throw new ShapeError(`${call}: the input must be [classes] or [batch, classes, ...], but it is a scalar`);
  }
  const unbatched = x.rank === 1;
  const [outer, classes] = unbatched ? [1, x.shape[0]!] : [x.shape[0]!, x.shape[1]!];
  const inner = unbatched ? 1 : numel(x.shape.slice(2));
  const targetShape = unbatched ? [] : [outer, ...x.shape.slice(2)];
  if (!sameShape(target.shape, targetShape)) {
    throw new ShapeError(
      `${call}: target must be ${format(targetShape)} for input ${format(x.shape)}, but it is ${format(target.shape)}`,
    );
  }
  return { outer, classes, inner, targetShape };
}

/** @internal Class indices as the kernels read them. */
export function classIndices(call: string, target: Tensor): Tensor {
  if (target.dtype === "int32") return target;
  if (target.dtype === "uint8") return cast(target, "int32");
  throw new DTypeError(`${call}: class indices must be int32, but ${named("target", target)} is not`);
}

/**
 * The cross entropy between softmax(input) and the target: -log softmax(input)[target].
 *
 * Shapes: input [batch, classes, ...] or [classes], logits; target class indices [batch, ...] (int32), or probabilities
 * of the input's shape and dtype. With reduction "none" the result has the shape of the class indices.
 * @throws {IndexError} if a target is neither a class nor `ignoreIndex`, naming its place and value
 */
export function crossEntropy<D extends DType>(
  input: Tensor<D>,
  target: Tensor,
  options: CrossEntropyLossOptions = {},
): Tensor<D> {
  const call = "crossEntropy";
  checkTensor(call, "input", input);
  checkTensor(call, "target", target);
  floating(call, "input", input);
  checkOptions(call, options, ["weight", "ignoreIndex", "reduction", "labelSmoothing"]);
  const reduction = checkReduction(call, options.reduction);
  const smoothing = checkNumber(call, "labelSmoothing", options.labelSmoothing ?? 0, 0, 1);
  const ignoreIndex = checkInteger(call, "ignoreIndex", options.ignoreIndex ?? -100, -(2 ** 31));
  const weight = options.weight ?? null;
  if (isDifferentiable(target)) return probabilities(input, target, weight, options, smoothing, reduction) as Tensor<D>;
  const { classes, targetShape } = classLayout(call, input, target);
  checkClassWeight(call, weight, input, classes);
  const indices = classIndices(call, target);
  const unbatched = input.rank === 1;
  const inputs = unbatched ? [reshape(input, [1, classes]), reshape(indices, [1]), weight] : [input, indices, weight];
  const settings = { ignoreIndex, smoothing, shape: targetShape };
  if (reduction === "mean") return meanCrossEntropyOp(inputs, settings) as Tensor<D>;
  const loss = crossEntropyOp(inputs, settings);
  if (reduction === "sum") return sum(loss) as Tensor<D>;
  return (unbatched ? reshape(loss, []) : loss) as Tensor<D>;
}

function probabilities(
  input: Tensor,
  target: Tensor,
  weight: Tensor | null,
  options: CrossEntropyLossOptions,
  smoothing: number,
  reduction: Reduction,
): Tensor {
  const call = "crossEntropy";
  sameDType(call, "input", input, "target", target);
  if (input.rank < 1 || !sameShape(input.shape, target.shape)) {
    throw new ShapeError(
      `${call}: a floating target holds probabilities and must have the input's shape ${format(input.shape)}, but it is ${format(target.shape)}; ` +
        "class indices must be int32",
    );
  }
  if (options.ignoreIndex !== undefined && options.ignoreIndex >= 0) {
    throw new ArgumentError(`${call}: ignoreIndex belongs to class indices, but the target holds probabilities`);
  }
  const dim = input.rank === 1 ? 0 : 1;
  const classes = input.shape[dim]!;
  checkClassWeight(call, weight, input, classes);
  const smoothed = smoothing === 0 ? target : add(mul(target, 1 - smoothing), smoothing / classes);
  let terms = mul(logSoftmax(input, dim), smoothed);
  if (weight !== null) terms = mul(terms, reshape(weight, [classes, ...input.shape.slice(dim + 1).map(() => 1)]));
  if (reduction === "none") return neg(sum(terms, { dim }));
  const total = neg(sum(terms));
  return reduction === "sum" ? total : div(total, input.numel() / classes);
}

/** @internal For negative log likelihood, which shares the reading of targets. */
export { checkTargets, targetWeights };
