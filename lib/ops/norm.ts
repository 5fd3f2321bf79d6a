import { activationCodes } from "../backend/abi.js";
import { run } from "../backend/run.js";
import type { DType } from "../core/dtype.js";
import { ArgumentError, ShapeError } from "../core/errors.js";
import { checkChoice, checkNumber, checkOptions } from "../core/options.js";
import { checkShape, format, numel, type Shape } from "../core/shape.js";
import { empty, type Tensor } from "../core/tensor.js";
import { checkTensor, gt, logicalAnd, lt } from "./compare.js";
import { defineOp, type Op } from "./define.js";
import { contiguous, copyInto, filled, floating, sameDType, unary } from "./kernel.js";
import { add, mul, rsqrt, square, sub } from "./pointwise.js";
import { mean, sum } from "./reduce.js";
import { reshape } from "./view.js";
import { where } from "./where.js";

/** Normalisation: batch_norm over [batch, channels, inner] and layer_norm over [rows, count], with all that is made of them. */

type Activation = "none" | "relu" | "relu6";

interface BatchNormOpOptions {
  readonly eps: number;
  readonly activation: Activation;
  /** Told the mean and the biased variance per channel (running statistics). */
  readonly observe?: (mean: Tensor, variance: Tensor) => void;
}

function batchNormSizes(x: Tensor, { eps, activation }: BatchNormOpOptions): number[] {
  return [x.shape[0]!, x.shape[1]!, x.shape[2]!, activationCodes.indexOf(activation), eps];
}

const given = (t: Tensor | null | undefined): Tensor | null => (t ? contiguous(t) : null);

/**
 * The derivative of a normalisation's own derivative. With xh = (x - mean) r, r = (variance + eps)^-1/2, means over
 * `dims`, and P(g) = g - mean(g) - xh mean(g xh): forward's gradient is dx = r P(g). Given the gradient `a` of dx,
 * and `more` for xh (from the gradient of dweight), this is what reaches g and x. Written in ops, for any order.
 */
function secondDerivative(
  x: Tensor,
  g: Tensor,
  a: Tensor | null,
  more: Tensor | null,
  dims: readonly number[],
  eps: number,
): { toG: Tensor | null; toX: Tensor | null; normal: Tensor } {
  const average = (t: Tensor): Tensor => mean(t, { dim: dims, keepdim: true });
  const centred = sub(x, average(x));
  const r = rsqrt(add(average(square(centred)), eps));
  const normal = mul(centred, r);
  const project = (t: Tensor): Tensor => sub(sub(t, average(t)), mul(normal, average(mul(t, normal))));
  let toNormal = more;
  let scaleTerm: Tensor | null = null;
  if (a !== null) {
    const gNormal = average(mul(g, normal));
    const aNormal = average(mul(a, normal));
    const direct = mul(r, add(mul(a, gNormal), mul(g, aNormal)));
    toNormal = toNormal === null ? mul(direct, -1) : sub(toNormal, direct);
    // <a, P(g)> per mean, times dr/dx = -r² xh (per mean)
    const inner = sub(sub(average(mul(a, g)), mul(average(a), average(g))), mul(aNormal, gNormal));
    scaleTerm = mul(normal, mul(inner, square(r)));
  }
  let toX = toNormal === null ? null : mul(r, project(toNormal));
  if (toX !== null && scaleTerm !== null) toX = sub(toX, scaleTerm);
  return { toG: a === null ? null : mul(r, project(a)), toX, normal };
}

/** Where the activation passes the gradient, as the kernel decides it from the output. */
function masked(dy: Tensor, y: Tensor | null, activation: Activation): Tensor {
  if (activation === "none" || y === null) return dy;
  const passes = activation === "relu" ? gt(y, 0) : logicalAnd(gt(y, 0), lt(y, 6));
  return where(passes, dy, 0);
}

const perChannel = (t: Tensor | null): Tensor | null => (t === null ? null : reshape(t, [1, t.numel(), 1]));
const sumOrNull = (a: Tensor | null, b: Tensor | null): Tensor | null => (a === null ? b : b === null ? a : add(a, b));
const times = (a: Tensor | null, b: Tensor | null): Tensor | null => (a === null || b === null ? null : mul(a, b));

type BatchNormGradInput = "x" | "dy" | "y" | "weight" | "mean" | "variance";
interface BatchNormGradOptions extends BatchNormOpOptions {
  readonly residual: boolean;
}

const batchNormGradOp: Op<BatchNormGradInput, BatchNormGradOptions> = defineOp<
  BatchNormGradInput,
  BatchNormGradOptions
>({
  // dx, dweight, dbias and, if the forward had a residual, its gradient. mean and variance are those of x.
  name: "batch_norm_grad",
  inputs: ["x", "dy", "y", "weight", "mean", "variance"],
  forward: ([x, dy, y, weight, average, variance], options) => {
    const dx = empty(x!.shape, x!.dtype);
    const dweight = empty([x!.shape[1]!], x!.dtype);
    const dbias = empty([x!.shape[1]!], x!.dtype);
    const dresidual = options.residual ? empty(x!.shape, x!.dtype) : null;
    run("batch_norm_grad", x!.dtype, batchNormSizes(x!, options), [
      contiguous(x!),
      contiguous(dy!),
      given(y),
      given(weight),
      contiguous(average!),
      contiguous(variance!),
      dx,
      dweight,
      dbias,
      dresidual,
    ]);
    return dresidual === null ? [dx, dweight, dbias] : [dx, dweight, dbias, dresidual];
  },
  gradAll: {
    reads: ["x", "dy", "y", "weight"],
    formula: (c) => {
      const [toDx, toDweight, toDbias, toDresidual] = c.gradients;
      const x = c.input("x");
      const y = c.optional("y");
      const weight = perChannel(c.optional("weight"));
      const g = masked(c.input("dy"), y, c.options.activation);
      const scaled = toDx ? (weight === null ? toDx : mul(toDx, weight)) : null;
      const b = perChannel(toDweight ?? null);
      const { toG, toX, normal } = secondDerivative(x, g, scaled, times(b, g), [0, 2], c.options.eps);
      let toDy = sumOrNull(toG, times(b, normal));
      toDy = sumOrNull(toDy, perChannel(toDbias ?? null));
      toDy = sumOrNull(toDy, toDresidual ?? null);
      if (toDy !== null && toDy.numel() !== x.numel()) toDy = add(filled(x.shape, x.dtype, 0), toDy);
      let toWeight: Tensor | null = null;
      if (toDx && weight !== null) {
        toWeight = sum(mul(secondDerivative(x, g, toDx, null, [0, 2], c.options.eps).toG!, g), { dim: [0, 2] });
      }
      return [toX, toDy === null ? null : masked(toDy, y, c.options.activation), null, toWeight, null, null];
    },
  },
  samples: () =>
    [false, true].map((residual) => ({
      inputs: {
        x: [3, 2, 19],
        dy: [3, 2, 19],
        y: residual ? [3, 2, 19] : null,
        weight: residual ? [2] : null,
        mean: (r) => r.uniform([2], -1, 1),
        variance: (r) => r.uniform([2], 0.5, 2),
      },
      options: { eps: 1e-5, activation: residual ? "relu" : "none", residual },
      // Its derivative takes mean and variance for those of x, which here they are not; gradgradcheck of batch_norm
      // tests it.
      skip: ["gradcheck", "gradgradcheck"],
    })),
});

type BatchNormInput = "x" | "weight" | "bias" | "residual";

function defineBatchNorm(name: string, activated: boolean): Op<BatchNormInput, BatchNormOpOptions> {
  return defineOp<BatchNormInput, BatchNormOpOptions>({
    name,
    inputs: ["x", "weight", "bias", "residual"],
    forward: ([x, weight, bias, residual], options, keep) => {
      const y = empty(x!.shape, x!.dtype);
      const average = empty([x!.shape[1]!], x!.dtype);
      const variance = empty([x!.shape[1]!], x!.dtype);
      run("batch_norm", x!.dtype, batchNormSizes(x!, options), [
        contiguous(x!),
        given(weight),
        given(bias),
        given(residual),
        y,
        average,
        variance,
      ]);
      options.observe?.(average, variance);
      keep(average);
      keep(variance);
      return y;
    },
    gradAll: {
      // Without an activation backward does not need the output.
      reads: activated ? ["x", "weight", "output"] : ["x", "weight"],
      formula: (c) => {
        const residual = c.needs("residual");
        const [dx, dweight, dbias, dresidual] = batchNormGradOp.all(
          [c.input("x"), c.dy, activated ? c.output() : null, c.optional("weight"), c.kept(0), c.kept(1)],
          { eps: c.options.eps, activation: c.options.activation, residual },
        );
        return [dx!, dweight!, dbias!, dresidual ?? null];
      },
    },
    samples: () => {
      const options = (eps: number, activation: Activation): BatchNormOpOptions => ({ eps, activation });
      return activated
        ? [
            { inputs: { x: [3, 2, 5], weight: [2], bias: [2], residual: [3, 2, 5] }, options: options(1e-5, "relu") },
            { inputs: { x: [4, 3, 1], weight: null, bias: null, residual: null }, options: options(0.1, "relu6") },
          ]
        : [
            { inputs: { x: [3, 2, 5], weight: [2], bias: [2], residual: null }, options: options(1e-5, "none") },
            { inputs: { x: [4, 3, 1], weight: null, bias: [3], residual: [4, 3, 1] }, options: options(0.1, "none") },
            { inputs: { x: [2, 2, 19], weight: [2], bias: null, residual: null }, options: options(1e-3, "none") },
          ];
    },
  });
}

const batchNormOp: Op<BatchNormInput, BatchNormOpOptions> = defineBatchNorm("batch_norm", false);
const batchNormActivationOp: Op<BatchNormInput, BatchNormOpOptions> = defineBatchNorm("batch_norm_activation", true);

type InferenceInput = "x" | "weight" | "bias" | "residual" | "mean" | "variance";

function defineBatchNormInference(name: string, activated: boolean): Op<InferenceInput, BatchNormOpOptions> {
  return defineOp<InferenceInput, BatchNormOpOptions>({
    // Mean and variance are constants.
    name,
    inputs: ["x", "weight", "bias", "residual", "mean", "variance"],
    forward: ([x, weight, bias, residual, average, variance], options) => {
      const y = empty(x!.shape, x!.dtype);
      run("batch_norm_inference", x!.dtype, batchNormSizes(x!, options), [
        contiguous(x!),
        given(weight),
        given(bias),
        given(residual),
        contiguous(average!),
        contiguous(variance!),
        y,
      ]);
      return y;
    },
    gradAll: {
      reads: ["x", "weight", "mean", "variance", ...(activated ? (["output"] as const) : [])],
      formula: (c) => {
        const g = masked(c.dy, activated ? c.output() : null, c.options.activation);
        const weight = perChannel(c.optional("weight"));
        const r = perChannel(rsqrt(add(c.input("variance"), c.options.eps)))!;
        const scale = weight === null ? r : mul(weight, r);
        const normal = (): Tensor => mul(sub(c.input("x"), perChannel(c.input("mean"))!), r);
        return [
          c.needs("x") ? mul(g, scale) : null,
          c.needs("weight") ? sum(mul(g, normal()), { dim: [0, 2] }) : null,
          c.needs("bias") ? sum(g, { dim: [0, 2] }) : null,
          c.needs("residual") ? g : null,
          null,
          null,
        ];
      },
    },
    samples: () => [
      {
        inputs: {
          x: [3, 2, 5],
          weight: [2],
          bias: [2],
          residual: null,
          mean: (r) => r.uniform([2], -1, 1),
          variance: (r) => r.uniform([2], 0.5, 2),
        },
        options: { eps: 1e-5, activation: activated ? "relu" : "none" },
        // mean and variance are constants to it, which a check over all inputs does not know
        skip: ["gradcheck", "gradgradcheck"],
      },
    ],
  });
}

const batchNormInferenceOp: Op<InferenceInput, BatchNormOpOptions> = defineBatchNormInference(
  "batch_norm_inference",
  false,
);
const batchNormInferenceActivationOp: Op<InferenceInput, BatchNormOpOptions> = defineBatchNormInference(
  "batch_norm_inference_activation",
  true,
);

export interface BatchNormOptions {
  /** Scale per channel, [channels]. */
  readonly weight?: Tensor | null;
  /** Shift per channel, [channels]. */
  readonly bias?: Tensor | null;
  /** Normalise with the statistics of x (and update the running ones) instead of the running ones. Default false. */
  readonly training?: boolean;
  /** running = (1 - momentum) running + momentum statistics of x; default 0.1. */
  readonly momentum?: number;
  /** Added to the variance; default 1e-5. */
  readonly eps?: number;
  /** Applied to the result in the same pass; default "none". */
  readonly activation?: Activation;
  /** Added before the activation, of x's shape: activation(batchNorm(x) + residual). */
  readonly residual?: Tensor | null;
}

function checkChannels(call: string, argument: string, t: Tensor | null, x: Tensor, channels: number): void {
  if (t === null) return;
  checkTensor(call, argument, t);
  sameDType(call, "x", x, argument, t);
  if (t.rank !== 1 || t.shape[0] !== channels) {
    throw new ShapeError(
      `${call}: ${argument} must be [${channels}], one per channel of x ${format(x.shape)}, but it is ${format(t.shape)}`,
    );
  }
}

/** target = (1 - momentum) target + momentum * value, in place and unrecorded. */
function blend(target: Tensor, value: Tensor, momentum: number): void {
  const next = add(unary("mul_scalar", target, 1 - momentum), unary("mul_scalar", value, momentum));
  copyInto(target, next);
  target.storage.version++;
  next.dispose();
}

/**
 * Batch normalisation (Ioffe and Szegedy 2015): per channel, (x - mean) / sqrt(variance + eps) * weight + bias.
 * Training takes mean and biased variance over the batch and all positions of x, and moves the running ones towards
 * them (with the unbiased variance); else the running ones are used.
 *
 * Shapes: x [batch, channels, ...]; runningMean, runningVar, weight, bias [channels]; result as x.
 * @throws {ShapeError} if x has fewer than 2 dimensions, a statistic is not [channels], or training sees only one value
 *   per channel
 */
export function batchNorm<D extends DType>(
  x: Tensor<D>,
  runningMean: Tensor | null,
  runningVar: Tensor | null,
  options: BatchNormOptions = {},
): Tensor<D> {
  const call = "batchNorm";
  checkTensor(call, "x", x);
  floating(call, "x", x);
  checkOptions(call, options, ["weight", "bias", "training", "momentum", "eps", "activation", "residual"]);
  const training = options.training ?? false;
  const eps = checkNumber(call, "eps", options.eps ?? 1e-5, 0);
  const momentum = checkNumber(call, "momentum", options.momentum ?? 0.1);
  const activation = checkChoice(call, "activation", options.activation ?? "none", activationCodes);
  const weight = options.weight ?? null;
  const bias = options.bias ?? null;
  const residual = options.residual ?? null;
  if (x.rank < 2) {
    throw new ShapeError(
      `${call}: x must be [batch, channels, ...], at least 2 dimensions, but it is ${format(x.shape)}`,
    );
  }
  const [batch, channels] = x.shape as [number, number];
  const inner = numel(x.shape.slice(2));
  checkChannels(call, "runningMean", runningMean, x, channels);
  checkChannels(call, "runningVar", runningVar, x, channels);
  checkChannels(call, "weight", weight, x, channels);
  checkChannels(call, "bias", bias, x, channels);
  if (residual !== null) {
    checkTensor(call, "residual", residual);
    sameDType(call, "x", x, "residual", residual);
    if (format(residual.shape) !== format(x.shape)) {
      throw new ShapeError(`${call}: residual ${format(residual.shape)} must have the shape of x ${format(x.shape)}`);
    }
  }
  const count = batch * inner;
  const shape = [batch, channels, inner];
  const inputs: (Tensor | null)[] = [
    reshape(x, shape),
    weight,
    bias,
    residual === null ? null : reshape(residual, shape),
  ];
  if (!training) {
    if (runningMean === null || runningVar === null) {
      throw new ArgumentError(`${call}: without training, runningMean and runningVar must be given`);
    }
    const op = activation === "none" ? batchNormInferenceOp : batchNormInferenceActivationOp;
    const y = op([...inputs, runningMean, runningVar], { eps, activation });
    return reshape(y, x.shape) as Tensor<D>;
  }
  if (count === 1) {
    throw new ShapeError(`${call}: training needs more than 1 value per channel, but x is ${format(x.shape)}`);
  }
  const observe = (average: Tensor, variance: Tensor): void => {
    if (count === 0) return; // nothing was seen
    if (runningMean !== null) blend(runningMean, average, momentum);
    if (runningVar !== null) blend(runningVar, unary("mul_scalar", variance, count / (count - 1)), momentum);
  };
  const op = activation === "none" ? batchNormOp : batchNormActivationOp;
  return reshape(op(inputs, { eps, activation, observe }), x.shape) as Tensor<D>;
}

// ---- layer norm ----

type LayerNormGradInput = "x" | "dy" | "weight" | "mean" | "rstd";

const layerNormGradOp: Op<LayerNormGradInput, { eps: number }> = defineOp<LayerNormGradInput, { eps: number }>({
  name: "layer_norm_grad",
  inputs: ["x", "dy", "weight", "mean", "rstd"],
  forward: ([x, dy, weight, average, rstd], { eps }) => {
    const [rows, count] = x!.shape as [number, number];
    const dx = empty(x!.shape, x!.dtype);
    const dweight = empty([count], x!.dtype);
    const dbias = empty([count], x!.dtype);
    run(
      "layer_norm_grad",
      x!.dtype,
      [rows, count, eps],
      [contiguous(x!), contiguous(dy!), given(weight), contiguous(average!), contiguous(rstd!), dx, dweight, dbias],
    );
    return [dx, dweight, dbias];
  },
  gradAll: {
    reads: ["x", "dy", "weight"],
    formula: (c) => {
      const [toDx, toDweight, toDbias] = c.gradients;
      const x = c.input("x");
      const dy = c.input("dy");
      const weight = c.optional("weight");
      const g = weight === null ? dy : mul(dy, weight);
      const b = toDweight ?? null;
      const { toG, toX, normal } = secondDerivative(x, g, toDx ?? null, times(b, dy), [1], c.options.eps);
      let toDy = toG === null ? null : weight === null ? toG : mul(toG, weight);
      toDy = sumOrNull(toDy, times(b, normal));
      toDy = sumOrNull(toDy, toDbias ?? null);
      if (toDy !== null && toDy.numel() !== x.numel()) toDy = add(filled(x.shape, x.dtype, 0), toDy);
      const toWeight = toG === null || weight === null ? null : sum(mul(toG, dy), { dim: 0 });
      return [toX, toDy, toWeight, null, null];
    },
  },
  samples: () =>
    [
      [3, 5],
      [2, 19],
    ].map(([rows, count]) => ({
      inputs: {
        x: [rows!, count!],
        dy: [rows!, count!],
        weight: [count!],
        mean: (r) => r.uniform([rows!], -1, 1),
        rstd: (r) => r.uniform([rows!], 0.5, 2),
      },
      options: { eps: 1e-5 },
      // Its derivative takes mean and rstd for those of x, which here they are not; gradgradcheck of layer_norm tests it.
      skip: ["gradcheck", "gradgradcheck"],
    })),
});

const layerNormOp: Op<"x" | "weight" | "bias", { eps: number }> = defineOp<"x" | "weight" | "bias", { eps: number }>({
  name: "layer_norm",
  inputs: ["x", "weight", "bias"],
  forward: ([x, weight, bias], { eps }, keep) => {
    const [rows, count] = x!.shape as [number, number];
    const y = empty(x!.shape, x!.dtype);
    const average = empty([rows], x!.dtype);
    const rstd = empty([rows], x!.dtype);
    run("layer_norm", x!.dtype, [rows, count, eps], [contiguous(x!), given(weight), given(bias), y, average, rstd]);
    keep(average);
    keep(rstd);
    return y;
  },
  gradAll: {
    reads: ["x", "weight"],
    formula: (c) => [
      ...layerNormGradOp.all([c.input("x"), c.dy, c.optional("weight"), c.kept(0), c.kept(1)], c.options),
    ],
  },
  samples: () => [
    { inputs: { x: [3, 5], weight: [5], bias: [5] }, options: { eps: 1e-5 } },
    { inputs: { x: [2, 19], weight: null, bias: null }, options: { eps: 0.1 } },
    { inputs: { x: [4, 2], weight: [2], bias: null }, options: { eps: 1e-3 } },
  ],
});

/**
 * Layer normalisation (Ba et al. 2016): over the last dimensions, which are `normalizedShape`.
 *
 * Shapes: x [..., ...normalizedShape]; weight, bias normalizedShape; result as x.
 * @throws {ShapeError} if x does not end in normalizedShape, or weight or bias has another shape
 */
export function layerNorm<D extends DType>(
  x: Tensor<D>,
  normalizedShape: number | Shape,
  options: { weight?: Tensor | null; bias?: Tensor | null; eps?: number } = {},
): Tensor<D> {
  checkTensor("layerNorm", "x", x);
  floating("layerNorm", "x", x);
  checkOptions("layerNorm", options, ["weight", "bias", "eps"]);
  const eps = checkNumber("layerNorm", "eps", options.eps ?? 1e-5, 0);
  const shape = normalized("layerNorm", x, normalizedShape, options);
  const count = numel(shape);
  const flat = (t: Tensor | null | undefined): Tensor | null => (t ? reshape(t, [count]) : null);
  const rows = numel(x.shape.slice(0, x.rank - shape.length));
  const y = layerNormOp([reshape(x, [rows, count]), flat(options.weight), flat(options.bias)], { eps });
  return reshape(y, x.shape) as Tensor<D>;
}

function normalized(
  call: string,
  x: Tensor,
  given: number | Shape,
  parameters: { weight?: Tensor | null; bias?: Tensor | null },
): number[] {
  const shape = checkShape(call, typeof given === "number" ? [given] : given);
  if (shape.length === 0) throw new ShapeError(`${call}: normalizedShape must name at least one dimension`);
  if (format(x.shape.slice(-shape.length)) !== format(shape) || x.rank < shape.length) {
    throw new ShapeError(`${call}: x must end in normalizedShape ${format(shape)}, but it is ${format(x.shape)}`);
  }
  for (const name of ["weight", "bias"] as const) {
    const t = parameters[name];
    if (!t) continue;
    checkTensor(call, name, t);
    sameDType(call, "x", x, name, t);
    if (format(t.shape) !== format(shape)) {
      throw new ShapeError(`${call}: ${name} must have normalizedShape ${format(shape)}, but it is ${format(t.shape)}`);
    }
  }
  return shape;
}

/**
 * Root mean square normalisation (Zhang and Sennrich 2019): x / sqrt(mean(x²) + eps) * weight over the last dimensions.
 *
 * `eps` is by default the distance from 1 to the next number of x's dtype.
 */
export function rmsNorm<D extends DType>(
  x: Tensor<D>,
  normalizedShape: number | Shape,
  options: { weight?: Tensor | null; eps?: number } = {},
): Tensor<D> {
  checkTensor("rmsNorm", "x", x);
  floating("rmsNorm", "x", x);
  checkOptions("rmsNorm", options, ["weight", "eps"]);
  const eps = checkNumber("rmsNorm", "eps", options.eps ?? (x.dtype === "float32" ? 2 ** -23 : 2 ** -52), 0);
  const shape = normalized("rmsNorm", x, normalizedShape, options);
  const dims = shape.map((_, i) => x.rank - shape.length + i);
  const y = mul(x, rsqrt(add(mean(square(x), { dim: dims, keepdim: true }), eps)));
  return options.weight ? mul(y, options.weight) : y;
}

/** weight and bias per channel, which is dimension 1. */
function affine(y: Tensor, weight: Tensor | null, bias: Tensor | null): Tensor {
  const shape = [y.shape[1]!, ...y.shape.slice(2).map(() => 1)];
  let result = y;
  if (weight !== null) result = mul(result, reshape(weight, shape));
  if (bias !== null) result = add(result, reshape(bias, shape));
  return result;
}

/**
 * Group normalisation (Wu and He 2018): mean and variance over each of `groups` equal groups of channels of each image.
 *
 * Shapes: x [batch, channels, ...]; weight, bias [channels]; result as x.
 * @throws {ShapeError} if the channels do not divide into groups
 */
export function groupNorm<D extends DType>(
  x: Tensor<D>,
  groups: number,
  options: { weight?: Tensor | null; bias?: Tensor | null; eps?: number } = {},
): Tensor<D> {
  const call = "groupNorm";
  checkTensor(call, "x", x);
  floating(call, "x", x);
  checkOptions(call, options, ["weight", "bias", "eps"]);
  const eps = checkNumber(call, "eps", options.eps ?? 1e-5, 0);
  if (x.rank < 2) throw new ShapeError(`${call}: x must be [batch, channels, ...], but it is ${format(x.shape)}`);
  const [batch, channels] = x.shape as [number, number];
  if (!Number.isInteger(groups) || groups < 1 || channels % groups !== 0) {
    throw new ShapeError(
      `${call}: the ${channels} channels of x ${format(x.shape)} do not divide into ${groups} groups`,
    );
  }
  checkChannels(call, "weight", options.weight ?? null, x, channels);
  checkChannels(call, "bias", options.bias ?? null, x, channels);
  const count = (channels / groups) * numel(x.shape.slice(2));
  if (count * batch === 1 && groups === channels) {
    throw new ShapeError(`${call}: needs more than 1 value per group, but x is ${format(x.shape)} in ${groups} groups`);
  }
  const y = layerNormOp([reshape(x, [batch * groups, count]), null, null], { eps });
  return affine(reshape(y, x.shape), options.weight ?? null, options.bias ?? null) as Tensor<D>;
}

/**
 * Instance normalisation (Ulyanov et al. 2016): mean and variance of each channel of each image.
 *
 * Shapes: x [batch, channels, ...] with at least 3 dimensions; runningMean, runningVar, weight, bias [channels].
 * With `useInputStats: false` the running statistics are used instead of those of x.
 * @throws {ShapeError} if a channel has only one value
 */
export function instanceNorm<D extends DType>(
  x: Tensor<D>,
  options: {
    runningMean?: Tensor | null;
    runningVar?: Tensor | null;
    weight?: Tensor | null;
    bias?: Tensor | null;
    useInputStats?: boolean;
    momentum?: number;
    eps?: number;
  } = {},
): Tensor<D> {
  const call = "instanceNorm";
  checkTensor(call, "x", x);
  floating(call, "x", x);
  checkOptions(call, options, ["runningMean", "runningVar", "weight", "bias", "useInputStats", "momentum", "eps"]);
  const eps = checkNumber(call, "eps", options.eps ?? 1e-5, 0);
  const momentum = checkNumber(call, "momentum", options.momentum ?? 0.1);
  const { runningMean = null, runningVar = null, weight = null, bias = null, useInputStats = true } = options;
  if (x.rank < 3) {
    throw new ShapeError(
      `${call}: x must be [batch, channels, ...] with at least 3 dimensions, but it is ${format(x.shape)}`,
    );
  }
  const [batch, channels] = x.shape as [number, number];
  const inner = numel(x.shape.slice(2));
  for (const [name, t] of Object.entries({ runningMean, runningVar, weight, bias })) {
    checkChannels(call, name, t, x, channels);
  }
  if (!useInputStats) return batchNorm(x, runningMean, runningVar, { weight, bias, eps });
  if (inner === 1) {
    throw new ShapeError(`${call}: needs more than 1 value per channel of an image, but x is ${format(x.shape)}`);
  }
  const observe = (average: Tensor, variance: Tensor): void => {
    if (batch * inner === 0) return;
    const perImage = (t: Tensor): Tensor => mean(reshape(t, [batch, channels]), { dim: 0 });
    if (runningMean !== null) blend(runningMean, perImage(average), momentum);
    if (runningVar !== null) {
      blend(runningVar, perImage(unary("mul_scalar", variance, inner / (inner - 1))), momentum);
    }
  };
  const rows = reshape(x, [1, batch * channels, inner]);
  const y = batchNormOp([rows, null, null, null], { eps, activation: "none", observe });
  return affine(reshape(y, x.shape), weight, bias) as Tensor<D>;
}
