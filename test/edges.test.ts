import { describe, expect, it } from "vitest";
import { computing, ways } from "./support/backends.js";
import * as xcorr from "./support/xcorr.js";
import {
  add,
  add_,
  ArgumentError,
  DTypeError,
  einsum,
  exp2,
  flatten,
  floorDivide,
  grad,
  IndexError,
  indexFill,
  logit,
  lpPool2d,
  mul,
  multiLabelMarginLoss,
  norm,
  ones,
  optim,
  prelu,
  relu,
  ShapeError,
  softMarginLoss,
  sub,
  sum,
  type Tensor,
  tensor,
  XcorrError,
  xlogy,
  zeros,
} from "./support/xcorr.js";

/** Edges of arguments that were once answered quietly: each refuses now, or gives PyTorch's numbers (computed with 1.13). */

const f64 = (...values: number[]): Tensor<"float64"> => tensor(values, { dtype: "float64" });
const scalar = tensor(2).reshape([]);
/** Calls as JavaScript makes them, unseen by the type checker. */
const loose = xcorr as unknown as Record<string, (...given: unknown[]) => unknown>;

describe("dimensions of a scalar", () => {
  const names = "sum mean amax amin prod all any std varMean norm normalize nansum countNonzero logsumexp flip".split(
    " ",
  );
  it.each(names)("%s checks them", (name) => {
    for (const dim of [1, -2, 0.5, Number.NaN, "x", [0, 0]]) {
      const call = (): unknown => loose[name]!(scalar, name === "flip" ? [dim].flat() : { dim });
      expect(call, `${name} ${String(dim)}`).toThrow(XcorrError);
    }
    expect(() => loose[name]!(scalar, name === "flip" ? [0] : { dim: -1 })).not.toThrow();
  });

  it("views check them", () => {
    expect(() => flatten(scalar, 2)).toThrow(IndexError);
    expect(() => scalar.narrow(0, 0, 1)).toThrow("narrow: a scalar has no dimensions to cut");
    expect(() => scalar.slice(0)).toThrow("slice: a scalar has no dimensions to cut");
  });
});

describe("what takes no part quietly", () => {
  it.each([
    ["sum", { keepdim: "false" }],
    ["max", { dim: 0, keepdim: 1 }],
    ["var", { unbiased: 0 }],
    ["sort", { descending: "true" }],
    ["softplus", { beta: true }],
  ])("%s refuses %o", (name, options) => {
    expect(() => loose[name]!(ones([3]), options)).toThrow(ArgumentError);
  });

  it("a switch that is neither true nor false", () => {
    expect(() => loose.argmax!(ones([3]), 0, "false")).toThrow('argmax: keepdim must be true or false, got "false"');
    expect(() => loose.batchNorm!(ones([2, 3]), null, null, { training: "no" })).toThrow(
      /training must be true or false/,
    );
    expect(() => new optim.SGD([ones([1])], { nesterov: "yes" as unknown as boolean })).toThrow(ArgumentError);
  });

  it.each(["relu", "sigmoid", "tanh", "exp", "mul", "div"])("options of %s, which has none", (name) => {
    const given = name === "mul" || name === "div" ? [ones([2]), 2] : [ones([2])];
    expect(() => loose[name]!(...given, { inplace: true })).toThrow(
      `${name}: there is no option "inplace" (it takes none)`,
    );
    expect([ones([1]), ones([1])].map(relu)).toHaveLength(2); // the index that map passes is no option
  });

  it("missing and malformed values", () => {
    expect(() => loose.flip!(ones([2]))).toThrow(ArgumentError);
    const index = tensor([0], { dtype: "int32" });
    expect(() => loose.indexFill!(ones([2]), 0, index)).toThrow("indexFill: value must be a number or a scalar tensor");
    expect(indexFill(ones([2]), 0, index, 3).toArray()).toEqual([3, 1]);
    expect(() => loose.var!(ones([3]), { correction: Infinity })).toThrow(ArgumentError);
    expect(() => xcorr.cartesianProd([ones([2, 1])])).toThrow(ShapeError);
  });

  it("targets that are no classes, also behind the end of a list", () => {
    const input = zeros([1, 4]);
    for (const target of [
      [0, -2, 1, 1],
      [1, -1, 4, 0],
    ]) {
      expect(() => multiLabelMarginLoss(input, tensor([target], { dtype: "int32" }))).toThrow(IndexError);
    }
  });

  it("steps that do not lead to the end, and numbers that a type cannot hold", () => {
    expect(() => xcorr.arange(0, 4, -1)).toThrow("arange: steps of -1 from 0 do not lead to 4");
    expect(xcorr.arange(3, 3, -1).shape).toEqual([0]);
    expect(() => xcorr.linspace("0" as never, 1, 3)).toThrow("linspace: start must be a number, got ");
    expect(() => xcorr.linspace(0, Number.NaN, 3)).toThrow("linspace: end must be a number, got NaN");
    expect(() => xcorr.full([2], 300, { dtype: "uint8" })).toThrow(ArgumentError);
  });

  it("names the call in what its parts refuse", () => {
    const row = tensor([7], { dtype: "int32" });
    expect(() => xcorr.embedding(row, ones([5, 2]))).toThrow("embedding: index 7 at [0]");
    expect(() => ones([3]).eq(ones([4]))).toThrow("eq: shapes [3] and [4]");
    expect(() => lpPool2d(ones([1, 1, 4, 4]), 2, 2, { stride: 0 })).toThrow("lpPool2d: stride");
    expect(() => xcorr.tripletMarginLoss(ones([3, 4]), ones([3, 5]), ones([3, 4]))).toThrow(
      "tripletMarginLoss: shapes",
    );
    expect(() => xcorr.maskedScatter(ones([2]), ones([3, 2]).gt(0), ones([6]))).toThrow("maskedScatter: mask [3, 2]");
  });

  it("a target that would enlarge the input", () => {
    expect(() => softMarginLoss(ones([1]), ones([3]))).toThrow(ShapeError);
  });

  it("slopes of another type", () => {
    expect(() => prelu(ones([2, 3]), ones([3], { dtype: "int32" }) as never)).toThrow(DTypeError);
  });

  it("fractions written into integers", () => {
    const counts = tensor([1, 2], { dtype: "int32" });
    for (const write of [
      () => add_(counts, 0.5),
      () => counts.div_(2),
      () => counts.pow_(0.5),
      () => counts.mul_(f64(1, 2)),
    ]) {
      expect(write).toThrow(/the result is float(32|64), which the tensor \[2\] int32 cannot hold/);
    }
    expect(() => counts.gt(1).add_(1)).toThrow(DTypeError);
    expect(counts.add_(3).mul_(2).toArray()).toEqual([8, 10]);
    const mask = tensor([true, false, true]);
    expect(
      mask
        .add_(tensor([true, false, false]))
        .mul_(tensor([false, true, true]))
        .toArray(),
    ).toEqual([false, false, true]);
  });

  it("integers where fractions come out", () => {
    const whole = tensor([1, 2], { dtype: "int32" });
    expect(() => exp2(whole as never)).toThrow(/exp2: x \[2\] int32 must be float32 or float64/);
    expect(() => logit(whole as never, { eps: 0.1 })).toThrow(DTypeError);
  });
});

describe.each(ways)("numbers of PyTorch (%s)", (way) => {
  const via = (name: string, fn: () => void): void => it(name, () => computing(way, fn));

  via("alpha of add and sub", () => {
    const [a, b] = [f64(1, 2), f64(3, 5)];
    expect(add(a, b, { alpha: 2 }).toArray()).toEqual([7, 12]);
    expect(a.sub(b, { alpha: 0.5 }).toArray()).toEqual([-0.5, -0.5]);
    expect(sub(a, 3, { alpha: -1 }).toArray()).toEqual([4, 5]);
    expect(() => add(a, b, { alfa: 2 } as never)).toThrow('add: there is no option "alfa"; did you mean "alpha"?');
  });

  via("an empty list of dimensions means all", () => {
    const x = tensor(
      [
        [1, 2],
        [3, 4],
      ],
      { dtype: "float64" },
    );
    expect([
      x.sum([]).item(),
      x.mean({ dim: [] }).item(),
      x.amax([]).item(),
      norm(x, { dim: [], p: 1 }).item(),
    ]).toEqual([10, 2.5, 4, 10]);
    expect(x.var({ dim: [], keepdim: true }).shape).toEqual([1, 1]);
  });

  via("floorDivide by infinities", () => {
    const a = f64(2, -2, 2, -2, 0);
    const b = f64(-Infinity, Infinity, Infinity, -Infinity, -Infinity);
    expect(floorDivide(a, b).add(0).toArray()).toEqual([-1, -1, 0, 0, 0]);
  });

  via("xlogy by x at 0", () => {
    const [x, y] = [f64(0, 0, 0, 2).requiresGrad_(true), f64(3, 0, -1, 3)];
    const [slope] = grad(sum(xlogy(x, y)), [x]);
    expect(slope!.toArray()).toEqual([Math.log(3), 0, 0, Math.log(3)]);
  });

  via("indexFill counts from the end", () => {
    expect(indexFill(f64(1, 2, 3), 0, tensor([-1], { dtype: "int32" }), 7).toArray()).toEqual([1, 2, 7]);
  });

  via("windows of zeros in lpPool", () => {
    const x = zeros([1, 1, 2, 2], { dtype: "float64", requiresGrad: true });
    lpPool2d(x, 2, 2).sum().backward();
    expect(x.grad!.flatten().toArray()).toEqual([0, 0, 0, 0]);
  });

  via("steps under an infinite gradient", () => {
    const x = f64(0.4).requiresGrad_(true);
    mul(x.round(), Infinity).sum().backward();
    expect(x.grad!.toArray()).toEqual([0]);
  });

  via("the norm that counts has gradient 0", () => {
    const x = f64(0, 3, Number.NaN).requiresGrad_(true);
    const count = norm(x, 0);
    expect(count.item()).toBe(2);
    expect(grad(count, [x])[0]!.get([0, 2]).toArray()).toEqual([0, 0]);
  });

  via("einsum with ...", () => {
    const a = xcorr.arange(6, { dtype: "float64" }).reshape([1, 2, 3]);
    const b = xcorr.arange(12, { dtype: "float64" }).reshape([2, 3, 2]);
    expect(einsum("...ij,...jk->...ik", a, b).toArray()).toEqual([
      [
        [10, 13],
        [28, 40],
      ],
      [
        [28, 31],
        [100, 112],
      ],
    ]);
    expect(einsum("...i->i...", a).shape).toEqual([3, 1, 2]);
    expect(einsum("i...,i", a, ones([1], { dtype: "float64" })).shape).toEqual([2, 3]);
    expect(() => einsum("ii->i", ones([3, 1]))).toThrow(ShapeError);
    expect(() => einsum("..i->i", ones([3, 1]))).toThrow(ArgumentError);
  });
});

describe("layers", () => {
  const layer = xcorr.nn as unknown as Record<string, new (...given: unknown[]) => { forward(x: Tensor): Tensor }>;

  it("take by name what they take by position", () => {
    const x = f64(-2, -0.5, 0.5, 2);
    for (const [name, byPosition, byName] of [
      ["LeakyReLU", [0.3], { negativeSlope: 0.3 }],
      ["ELU", [0.7], { alpha: 0.7 }],
      ["Hardtanh", [-1, 0.3], { maxVal: 0.3 }],
      ["Softplus", [2, 1], { beta: 2, threshold: 1 }],
      ["Softshrink", [0.2], { lambd: 0.2 }],
      ["Softmax", [0], { dim: 0 }],
      ["Dropout", [0], { p: 0 }],
    ] as const) {
      const values = [new layer[name]!(...byPosition), new layer[name]!(byName)].map((m) => m.forward(x).toArray());
      expect(values[1], name).toEqual(values[0]);
    }
  });

  it.each([
    ["ReLU", [{ inplace: true }], 'ReLU: there is no option "inplace" (it takes none)'],
    ["Dropout", [{ q: 1 }], 'Dropout: there is no option "q"'],
    ["LeakyReLU", [{ slope: 1 }], "it takes negativeSlope"],
    ["Hardtanh", [1, 1], "Hardtanh: minVal 1 must be below maxVal 1"],
    ["Softmax", [], "Softmax: dim must be an integer"],
    ["Unfold", [2, { strid: 1 }], 'did you mean "stride"?'],
    ["PairwiseDistance", [{ keepdim: 1 }], "keepdim must be true or false"],
  ])("%s refuses %j", (name, given, message) => {
    expect(() => new layer[name]!(...given)).toThrow(message);
  });

  it("refuse images of another rank", () => {
    for (const name of ["ReflectionPad2d", "ReplicationPad2d", "CircularPad2d"]) {
      expect(() => new layer[name]!(1).forward(ones([1, 2, 3, 4, 5]))).toThrow(ShapeError);
      expect(new layer[name]!(1).forward(ones([2, 3, 4])).shape).toEqual([2, 5, 6]);
    }
    expect(() => new layer.Softmax2d!().forward(ones([2, 3]))).toThrow(ShapeError);
  });

  it("are there for windows and distances", () => {
    const x = xcorr.arange(16).reshape([1, 1, 4, 4]);
    const columns = new xcorr.nn.Unfold(2, { stride: 2 }).forward(x);
    expect(columns.toArray()).toEqual([
      [
        [0, 2, 8, 10],
        [1, 3, 9, 11],
        [4, 6, 12, 14],
        [5, 7, 13, 15],
      ],
    ]);
    expect(new xcorr.nn.Fold(4, 2, { stride: 2 }).forward(columns).toArray()).toEqual(x.toArray());
    expect(String(new xcorr.nn.Fold([4, 4], 2))).toBe(
      "Fold(output_size=(4, 4), kernel_size=2, dilation=1, padding=0, stride=1)",
    );
    const [a, b] = [tensor([[3, 4]]), tensor([[4, 3]])];
    expect(new xcorr.nn.CosineSimilarity().forward(a, b).item()).toBeCloseTo(0.96, 6);
    expect(new xcorr.nn.PairwiseDistance({ p: 1, eps: 0, keepdim: true }).forward(a, b).toArray()).toEqual([[2]]);
  });
});

describe("schedules", () => {
  it("LinearLR down to 0 leaves a rate that can be saved and loaded", () => {
    const optimizer = new optim.SGD([ones([1])], { lr: 0.2 });
    const schedule = new optim.LinearLR(optimizer, { startFactor: 0.1, endFactor: 0, totalIters: 5 });
    for (let i = 0; i < 8; i++) schedule.step();
    expect(optimizer.paramGroups[0]!.lr).toBeGreaterThanOrEqual(0);
    expect(() => new optim.SGD([ones([1])], { lr: 1 }).loadStateDict(optimizer.stateDict())).not.toThrow();
  });
});
