import { run } from "../backend/run.js";
import { empty } from "../core/tensor.js";
import { defineOp, type Op } from "./define.js";
import { contiguous, filled } from "./kernel.js";
import { given, secondDerivative, sumOrNull, times } from "./normalization.js";
import { add, mul } from "./pointwise.js";
import { sum } from "./reduce.js";

/** The ops of layer normalisation, over [rows, count]. */

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

/** @internal Rows [rows, size] normalised; scaled and shifted per column. */
export const layerNormOp: Op<"x" | "weight" | "bias", { eps: number }> = defineOp<
  "x" | "weight" | "bias",
  { eps: number }
>({
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
