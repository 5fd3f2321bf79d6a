import { activationCodes } from "../backend/abi.js";
import { run } from "../backend/run.js";
import { empty, type Tensor } from "../core/tensor.js";
import { gt, logicalAnd, lt } from "./compare.js";
import { defineOp, type Op } from "./define.js";
import { contiguous, filled } from "./kernel.js";
import { given, secondDerivative, sumOrNull, times } from "./normalization.js";
import { add, mul, rsqrt, sub } from "./pointwise.js";
import { sum } from "./reduce.js";
import { narrow, reshape } from "./view.js";
import { where } from "./where.js";

/** The ops of batch normalisation, over [batch, channels, ...], with an activation and a residual in the same pass. */

/** What batch norm applies to its result in the same pass. */
export type Activation = "none" | "relu" | "relu6";

interface BatchNormOpOptions {
  readonly eps: number;
  readonly activation: Activation;
  /** Told the mean and the biased variance per channel (running statistics). */
  readonly observe?: (mean: Tensor, variance: Tensor) => void;
}

function batchNormSizes(x: Tensor, { eps, activation }: BatchNormOpOptions): number[] {
  let inner = 1;
  for (let i = 2; i < x.shape.length; i++) inner *= x.shape[i]!;
  return [x.shape[0]!, x.shape[1]!, inner, activationCodes.indexOf(activation), eps];
}

/** All dimensions of x but the channels. */
const allButChannels = (x: Tensor): number[] => x.shape.map((_, i) => i).filter((i) => i !== 1);

/** Where the activation passes the gradient, as the kernel decides it from the output. */
function masked(dy: Tensor, y: Tensor | null, activation: Activation): Tensor {
  if (activation === "none" || y === null) return dy;
  const passes = activation === "relu" ? gt(y, 0) : logicalAnd(gt(y, 0), lt(y, 6));
  return where(passes, dy, 0);
}

/** [channels] as it broadcasts with x. */
function perChannel(t: Tensor, x: Tensor): Tensor;
function perChannel(t: Tensor | null, x: Tensor): Tensor | null;
function perChannel(t: Tensor | null, x: Tensor): Tensor | null {
  return t === null ? null : reshape(t, [1, t.numel(), ...x.shape.slice(2).map(() => 1)]);
}

/** What decides where the activation passes: the output y, or the numbers that the forward multiplied and added. */
function activationInput(
  x: Tensor,
  y: Tensor | null,
  mean: Tensor,
  affine: Tensor | null,
  activation: Activation,
): Tensor | null {
  if (y !== null || affine === null || activation === "none") return y;
  const [scale, shift] = [narrow(affine, 0, 0, mean.numel()), narrow(affine, 0, mean.numel(), mean.numel())];
  return add(mul(sub(x, perChannel(mean, x)), perChannel(scale, x)), perChannel(shift, x));
}

type BatchNormGradInput = "x" | "dy" | "y" | "weight" | "mean" | "variance" | "affine";

interface BatchNormGradOptions extends BatchNormOpOptions {
  readonly residual: boolean;
}

const batchNormGradOp: Op<BatchNormGradInput, BatchNormGradOptions> = defineOp<
  BatchNormGradInput,
  BatchNormGradOptions
>({
  // dx, dweight, dbias and, if the forward had a residual, its gradient. mean and variance are those of x; an
  // activation's mask comes from y, or from the scales and shifts (affine) of a forward without a residual.
  name: "batch_norm_grad",
  inputs: ["x", "dy", "y", "weight", "mean", "variance", "affine"],
  forward: ([x, dy, y, weight, average, variance, affine], options) => {
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
      given(affine),
      dx,
      dweight,
      dbias,
      dresidual,
    ]);
    return dresidual === null ? [dx, dweight, dbias] : [dx, dweight, dbias, dresidual];
  },
  gradAll: {
    reads: ["x", "dy", "y", "weight", "mean", "affine"],
    formula: (c) => {
      const [toDx, toDweight, toDbias, toDresidual] = c.gradients;
      const x = c.input("x");
      const y = activationInput(x, c.optional("y"), c.input("mean"), c.optional("affine"), c.options.activation);
      const dims = allButChannels(x);
      const weight = perChannel(c.optional("weight"), x);
      const g = masked(c.input("dy"), y, c.options.activation);
      const scaled = toDx ? (weight === null ? toDx : mul(toDx, weight)) : null;
      const b = perChannel(toDweight ?? null, x);
      const { toG, toX, normal } = secondDerivative(x, g, scaled, times(b, g), dims, c.options.eps);
      let toDy = sumOrNull(toG, times(b, normal));
      toDy = sumOrNull(toDy, perChannel(toDbias ?? null, x));
      toDy = sumOrNull(toDy, toDresidual ?? null);
      if (toDy !== null && toDy.numel() !== x.numel()) toDy = add(filled(x.shape, x.dtype, 0), toDy);
      let toWeight: Tensor | null = null;
      if (toDx && weight !== null) {
        toWeight = sum(mul(secondDerivative(x, g, toDx, null, dims, c.options.eps).toG!, g), { dim: dims });
      }
      return [toX, toDy === null ? null : masked(toDy, y, c.options.activation), null, toWeight, null, null, null];
    },
  },
  samples: () =>
    (["none", "y", "affine"] as const).map((mask) => ({
      inputs: {
        x: [3, 2, 19],
        dy: [3, 2, 19],
        y: mask === "y" ? [3, 2, 19] : null,
        weight: mask === "none" ? null : [2],
        mean: (r) => r.uniform([2], -1, 1),
        variance: (r) => r.uniform([2], 0.5, 2),
        affine: mask === "affine" ? (r) => r.uniform([4], -1, 1) : null,
      },
      options: { eps: 1e-5, activation: mask === "none" ? "none" : "relu", residual: mask === "y" },
      // Its derivative takes mean and variance for those of x, which here they are not; gradgradcheck of batch_norm
      // tests it.
      skip: ["gradcheck", "gradgradcheck"],
    })),
});

type BatchNormInput = "x" | "weight" | "bias" | "residual";

/** What the derivative takes the mask of the activation from. */
type MaskSource = "none" | "affine" | "output";

function defineBatchNorm(name: string, mask: MaskSource): Op<BatchNormInput, BatchNormOpOptions> {
  const activated = mask !== "none";
  return defineOp<BatchNormInput, BatchNormOpOptions>({
    name,
    inputs: ["x", "weight", "bias", "residual"],
    forward: ([x, weight, bias, residual], options, keep) => {
      const y = empty(x!.shape, x!.dtype);
      const average = empty([x!.shape[1]!], x!.dtype);
      const variance = empty([x!.shape[1]!], x!.dtype);
      const affine = mask === "affine" ? empty([2 * x!.shape[1]!], x!.dtype) : null;
      run("batch_norm", x!.dtype, batchNormSizes(x!, options), [
        contiguous(x!),
        given(weight),
        given(bias),
        given(residual),
        y,
        average,
        variance,
        affine,
      ]);
      options.observe?.(average, variance);
      keep(average);
      keep(variance);
      if (affine !== null) keep(affine);
      return y;
    },
    gradAll: {
      reads: mask === "output" ? ["x", "weight", "output"] : ["x", "weight"],
      formula: (c) => {
        const residual = c.needs("residual");
        const [dx, dweight, dbias, dresidual] = batchNormGradOp.all(
          [
            c.input("x"),
            c.dy,
            mask === "output" ? c.output() : null,
            c.optional("weight"),
            c.kept(0),
            c.kept(1),
            mask === "affine" ? c.kept(2) : null,
          ],
          { eps: c.options.eps, activation: c.options.activation, residual },
        );
        return [dx!, dweight!, dbias!, dresidual ?? null];
      },
    },
    samples: () => {
      const options = (eps: number, activation: Activation): BatchNormOpOptions => ({ eps, activation });
      const given = mask === "output" ? [3, 2, 5] : null;
      return activated
        ? [
            { inputs: { x: [3, 2, 5], weight: [2], bias: [2], residual: given }, options: options(1e-5, "relu") },
            {
              inputs: { x: [4, 3, 1], weight: null, bias: null, residual: given && [4, 3, 1] },
              options: options(0.1, "relu6"),
            },
            {
              inputs: { x: [2, 2, 2, 9], weight: [2], bias: [2], residual: given && [2, 2, 2, 9] },
              options: options(1e-3, "relu6"),
            },
          ]
        : [
            { inputs: { x: [3, 2, 5], weight: [2], bias: [2], residual: null }, options: options(1e-5, "none") },
            { inputs: { x: [4, 3, 1], weight: null, bias: [3], residual: [4, 3, 1] }, options: options(0.1, "none") },
            { inputs: { x: [2, 2, 19], weight: [2], bias: null, residual: null }, options: options(1e-3, "none") },
            { inputs: { x: [2, 2, 3, 4], weight: [2], bias: [2], residual: null }, options: options(1e-3, "none") },
            { inputs: { x: [5, 3], weight: [3], bias: [3], residual: [5, 3] }, options: options(1e-3, "none") },
          ];
    },
  });
}

/** @internal With the statistics of the batch. */
export const batchNormOp: Op<BatchNormInput, BatchNormOpOptions> = defineBatchNorm("batch_norm", "none");

/** @internal The same followed by an activation, without a residual: the derivative reads no output. */
export const batchNormActivationOp: Op<BatchNormInput, BatchNormOpOptions> = defineBatchNorm(
  "batch_norm_activation",
  "affine",
);

/** @internal The same with a residual, whose derivative reads the output. */
export const batchNormResidualOp: Op<BatchNormInput, BatchNormOpOptions> = defineBatchNorm(
  "batch_norm_residual_activation",
  "output",
);

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
        const x = c.input("x");
        const dims = allButChannels(x);
        const weight = perChannel(c.optional("weight"), x);
        const r = perChannel(rsqrt(add(c.input("variance"), c.options.eps)), x);
        const scale = weight === null ? r : mul(weight, r);
        const normal = (): Tensor => mul(sub(x, perChannel(c.input("mean"), x)), r);
        return [
          c.needs("x") ? mul(g, scale) : null,
          c.needs("weight") ? sum(mul(g, normal()), { dim: dims }) : null,
          c.needs("bias") ? sum(g, { dim: dims }) : null,
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

/** @internal With given statistics. */
export const batchNormInferenceOp: Op<InferenceInput, BatchNormOpOptions> = defineBatchNormInference(
  "batch_norm_inference",
  false,
);

/** @internal With given statistics and an activation. */
export const batchNormInferenceActivationOp: Op<InferenceInput, BatchNormOpOptions> = defineBatchNormInference(
  "batch_norm_inference_activation",
  true,
);
