import { run } from "../backend/run.js";
import type { DType } from "../core/dtype.js";
import { ArgumentError } from "../core/errors.js";
import { checkOptions } from "../core/options.js";
import { describe, normalizeDim } from "../core/shape.js";
import { empty, type Tensor } from "../core/tensor.js";
import { defineOp, type Op, type Sample } from "./define.js";
import { around, checkTensor, contiguous, floating } from "./kernel.js";
import { installMethods } from "./methods.js";
import { exp, mul, neg, sub } from "./pointwise.js";
import { sum } from "./reduce.js";

/** softmax over one dimension, and its logarithm. */

interface SoftmaxOptions {
  readonly dim: number;
  readonly log: boolean;
}

function sizes(x: Tensor, { dim, log }: SoftmaxOptions): number[] {
  const { outer, count, inner } = around(x.shape, dim);
  return [Number(log), outer, count, inner];
}

function total(x: Tensor, dim: number): Tensor {
  return x.rank === 0 ? x : sum(x, { dim, keepdim: true });
}

const sampleShapes = [
  { shape: [3, 5], dim: 1 },
  { shape: [2, 19, 3], dim: 1 },
  { shape: [4, 2], dim: 0 },
  { shape: [3, 1], dim: 1 },
  { shape: [0, 3], dim: 1 },
  { shape: [], dim: 0 },
];

function defineSoftmax(name: string, log: boolean): Op<"x", SoftmaxOptions> {
  const gradientOp: Op<"y" | "dy", SoftmaxOptions> = defineOp<"y" | "dy", SoftmaxOptions>({
    name: `${name}_grad`,
    inputs: ["y", "dy"],
    forward: ([y, dy], options) => {
      const dx = empty(y!.shape, y!.dtype);
      run("softmax_grad", y!.dtype, sizes(y!, options), [contiguous(y!), contiguous(dy!), dx]);
      return dx;
    },
    grad: {
      y: {
        reads: ["y", "dy"],
        formula: (c) => {
          const { dim } = c.options;
          const y = c.input("y");
          const dy = c.input("dy");
          // log: dx = dy - exp(y) sum(dy). Else: dx = y (dy - sum(dy y)).
          if (log) return neg(mul(mul(c.dy, exp(y)), total(dy, dim)));
          return sub(mul(c.dy, sub(dy, total(mul(dy, y), dim))), mul(dy, total(mul(c.dy, y), dim)));
        },
      },
      dy: {
        reads: ["y"],
        formula: (c) => {
          const y = c.input("y");
          if (log) return sub(c.dy, total(mul(c.dy, exp(y)), c.options.dim));
          return gradientOp([y, c.dy], c.options); // the Jacobian is symmetric
        },
      },
    },
    samples: () =>
      sampleShapes.map(
        ({ shape, dim }): Sample<"y" | "dy", SoftmaxOptions> => ({
          inputs: { y: shape, dy: shape },
          options: { dim, log },
        }),
      ),
  });
  return defineOp<"x", SoftmaxOptions>({
    name,
    inputs: ["x"],
    forward: ([x], options) => {
      const y = empty(x!.shape, x!.dtype);
      run("softmax", x!.dtype, sizes(x!, options), [contiguous(x!), y]);
      return y;
    },
    grad: { x: { reads: ["output"], formula: (c) => gradientOp([c.output(), c.dy], c.options) } },
    samples: () => sampleShapes.map(({ shape, dim }) => ({ inputs: { x: shape }, options: { dim, log } })),
  });
}

const softmaxOp: Op<"x", SoftmaxOptions> = defineSoftmax("softmax", false);
const logSoftmaxOp: Op<"x", SoftmaxOptions> = defineSoftmax("log_softmax", true);

/** A dimension: the number itself, or `{ dim }`. */
export type DimOption = number | { readonly dim: number };

/** @internal Reads a required dimension. */
export function readDim(call: string, x: Tensor, given: DimOption): number {
  const dim = typeof given === "object" && given !== null ? given.dim : given;
  if (typeof given === "object") checkOptions(call, given, ["dim"]);
  if (dim === undefined) throw new ArgumentError(`${call}: say which dimension, for example ${call}(x, -1)`);
  if (typeof dim !== "number") throw new ArgumentError(`${call}: dim must be an integer, got ${describe(dim)}`);
  return normalizeDim(call, dim, x.rank);
}

function checked(call: string, x: unknown, dim: DimOption): number {
  checkTensor(call, "x", x);
  floating(call, "x", x);
  return readDim(call, x, dim);
}

/** exp(x) / sum(exp(x)) over dimension `dim`, without overflow. */
export function softmax<D extends DType>(x: Tensor<D>, dim: DimOption): Tensor<D> {
  return softmaxOp([x], { dim: checked("softmax", x, dim), log: false }) as Tensor<D>;
}

/** softmax(-x): the smallest element gets the largest share. */
export function softmin<D extends DType>(x: Tensor<D>, dim: DimOption): Tensor<D> {
  const d = checked("softmin", x, dim);
  return softmaxOp([neg(x)], { dim: d, log: false }) as Tensor<D>;
}

/** log(softmax(x)) over dimension `dim`, accurate where softmax would round to 0. */
export function logSoftmax<D extends DType>(x: Tensor<D>, dim: DimOption): Tensor<D> {
  return logSoftmaxOp([x], { dim: checked("logSoftmax", x, dim), log: true }) as Tensor<D>;
}

/** @internal The derivative of softmax at its output y, applied to dy. */
export function softmaxJacobian(y: Tensor, dy: Tensor, dim: number): Tensor {
  return sub(mul(y, dy), mul(y, total(mul(y, dy), dim)));
}

declare module "../core/tensor.js" {
  interface Tensor<D extends DType = DType> {
    softmax(dim: DimOption): Tensor<D>;
    logSoftmax(dim: DimOption): Tensor<D>;
  }
}

installMethods({ softmax, logSoftmax });
