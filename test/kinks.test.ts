import { describe, expect, it } from "vitest";
import {
  abs,
  amax,
  batchNorm,
  clamp,
  crossEntropy,
  cumprod,
  grad,
  hardtanh,
  leakyRelu,
  logsumexp,
  max,
  maximum,
  median,
  min,
  minimum,
  norm,
  pow,
  prelu,
  prod,
  relu,
  relu6,
  std,
  sum,
  type Tensor,
  tensor,
  where,
  xlogy,
} from "./support/xcorr.js";

/** Derivatives where a function has a corner, a tie or a zero: PyTorch's conventions, as numbers. */

const vector = (...values: number[]): Tensor<"float64"> => tensor(values, { dtype: "float64", requiresGrad: true });

/** The gradient of the sum of f(x). */
function slope(f: (x: Tensor<"float64">) => Tensor, x: Tensor<"float64">): number[] {
  return Array.from(grad(sum(f(x)), [x])[0]!.data());
}

describe("corners", () => {
  it.each([
    ["relu", relu, [-1, 0, -0, 2], [0, 0, 0, 1]],
    ["abs", abs, [-1, 0, 2], [-1, 0, 1]],
    ["relu6", relu6, [-1, 0, 3, 6, 7], [0, 0, 1, 0, 0]],
    ["hardtanh", hardtanh, [-1, 0, 1], [0, 1, 0]],
    ["leakyRelu", leakyRelu, [-1, 0, 1], [0.01, 0.01, 1]],
    ["clamp", (x: Tensor) => clamp(x, -1, 1), [-2, -1, 0, 1, 2], [0, 1, 1, 1, 0]],
  ] as const)("%s", (_name, f, at, expected) => {
    expect(slope(f as (x: Tensor) => Tensor, vector(...at))).toEqual(expected);
  });

  it("prelu leaves an infinite positive input out of its weight's gradient", () => {
    const weight = vector(0.25);
    const x = vector(Infinity, -2);
    expect(Array.from(grad(sum(prelu(x, weight)), [weight])[0]!.data())).toEqual([-2]);
  });
});

describe("ties", () => {
  it("maximum and minimum share by halves", () => {
    const b = vector(1, 5, 2);
    expect(slope((x) => maximum(x, b), vector(1, 3, 4))).toEqual([0.5, 0, 1]);
    expect(slope((x) => minimum(x, b), vector(1, 3, 4))).toEqual([0.5, 1, 0]);
  });

  it("over all elements share evenly, over a dimension the first takes all", () => {
    expect(slope((x) => max(x), vector(3, 1, 3, 3))).toEqual([1 / 3, 0, 1 / 3, 1 / 3]);
    expect(slope((x) => min(x), vector(1, 1, 3))).toEqual([0.5, 0.5, 0]);
    expect(slope((x) => amax(x, 0), vector(2, 2, 0))).toEqual([0.5, 0.5, 0]);
    expect(slope((x) => median(x), vector(1, 2, 2, 3))).toEqual([0, 0.5, 0.5, 0]);
    expect(slope((x) => max(x, 0).values, vector(1, 3, 3))).toEqual([0, 1, 0]);
    expect(max(vector(1, 3, 3), 0).indices.item()).toBe(1);
  });
});

describe("zeros", () => {
  it("0 ** 0 is 1 and flat", () => {
    expect(pow(vector(0), 0).data()[0]).toBe(1);
    expect(slope((x) => pow(x, 0), vector(0, 2))).toEqual([0, 0]);
    const exponent = vector(0, 1, 2);
    const base = vector(0, 0, 0);
    const [toBase, toExponent] = grad(sum(pow(base, exponent)), [base, exponent]);
    expect(Array.from(toBase!.data())).toEqual([0, 1, 0]);
    expect(Array.from(toExponent!.data())).toEqual([0, 0, 0]);
  });

  it("products are exact to the second order", () => {
    const x = vector(2, 0, 3);
    const [first] = grad(prod(x), [x], { createGraph: true });
    expect(Array.from(first!.data())).toEqual([0, 6, 0]);
    expect(Array.from(grad(sum(first!), [x])[0]!.data())).toEqual([3, 5, 2]);
    expect(slope((t) => prod(t), vector(0, 5, 0))).toEqual([0, 0, 0]);
    expect(slope((t) => cumprod(t, 0), vector(2, 0, 3))).toEqual([1, 8, 0]);
  });

  it.each([0.5, 1, 1.5, 2, 3])("the %d-norm of zeros is flat", (p) => {
    expect(slope((x) => norm(x, { p }), vector(0, 0))).toEqual([0, 0]);
  });

  it("a deviation of 0 is flat", () => {
    expect(slope((x) => std(x), vector(2, 2, 2))).toEqual([0, 0, 0]);
  });

  it("0 log 0 is 0", () => {
    expect(xlogy(vector(0, 0), vector(0, 5)).toArray()).toEqual([0, 0]);
  });
});

describe("infinities", () => {
  it("stay out of what was masked", () => {
    const x = vector(0, 4);
    const chosen = where(x.gt(0), x, pow(x, -1).detach());
    expect(Array.from(grad(sum(chosen), [x])[0]!.data())).toEqual([0, 1]);
    const dy = tensor([Infinity, 1], { dtype: "float64" });
    expect(Array.from(grad(relu(x), [x], { gradOutputs: dy })[0]!.data())).toEqual([0, 1]);
  });

  it("a log-sum takes -Infinity as nothing", () => {
    expect(logsumexp(vector(-Infinity, 0), 0).item()).toBe(0);
    expect(logsumexp(vector(-Infinity, -Infinity), 0).item()).toBe(-Infinity);
  });
});

describe("refusals name the number", () => {
  it("a target that is no class", () => {
    const logits = tensor([0, 0, 0, 0, 0, 0], { shape: [2, 3], dtype: "float64" });
    const target = tensor([1, 7], { dtype: "int32" });
    expect(() => crossEntropy(logits, target)).toThrow(/target 7 at \[1\] is not a class: with 3 classes/);
  });

  it("one value per channel", () => {
    const x = tensor([1, 2], { shape: [1, 2, 1], dtype: "float64" });
    expect(() => batchNorm(x, null, null, { training: true })).toThrow(/more than 1 value per channel/);
  });
});
