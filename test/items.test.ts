import { describe, expect, it } from "vitest";
import { arange, grad, type IndexItem, sum, type Tensor, tensor } from "./support/xcorr.js";

/** Reading and writing by position: x.get(...), x.set([...], value). */

const grid = (): Tensor => arange(12).reshape([3, 4]);
const at = (...values: number[]): Tensor => tensor(values, { dtype: "int32" });

describe("get", () => {
  it.each([
    ["a number", [1], [4, 5, 6, 7]],
    ["numbers from the end", [-1, -2], 10],
    [
      "a range",
      [
        [1, null],
        [0, 2],
      ],
      [
        [4, 5],
        [8, 9],
      ],
    ],
    ["a range clipped", [[2, 9], 0], [8]],
    ["a step", [0, { step: 2 }], [0, 2]],
    ["a new dimension", [0, null, [0, 1]], [[0]]],
    ["the last by dots", ["...", 3], [3, 7, 11]],
    ["indices, repeated", [at(0, -1, 0), 1], [1, 9, 1]],
    ["pairs of indices", [at(0, 2), at(3, 0)], [3, 8]],
    [
      "indices in a later dimension",
      [[0, 2], at(3, 0)],
      [
        [3, 0],
        [7, 4],
      ],
    ],
  ] as [string, IndexItem[], unknown][])("%s", (_name, items, expected) => {
    expect(
      grid()
        .get(...items)
        .toArray(),
    ).toEqual(expected);
  });

  it("the places of a mask", () => {
    expect(grid().get(grid().gt(8)).toArray()).toEqual([9, 10, 11]);
  });

  it("numbers and ranges give views, indices copies", () => {
    const x = grid();
    x.get(0, [0, 2]).fill_(-1);
    x.get(at(2)).fill_(-2);
    expect(x.get(0).toArray()).toEqual([-1, -1, 2, 3]);
    expect(x.get(2).toArray()).toEqual([8, 9, 10, 11]);
  });

  it("adds gradients of repeated indices", () => {
    const x = tensor([1, 2, 3], { dtype: "float64", requiresGrad: true });
    expect(grad(sum(x.get(at(2, 0, 2))), [x])[0]!.toArray()).toEqual([1, 0, 2]);
  });

  it("refuses what is out of range, too much, or no item", () => {
    expect(() => grid().get(3)).toThrow(/index 3 is out of range for dimension 0 of \[3, 4\]/);
    expect(() => grid().get(at(0, 5))).toThrow(/index 5 at \[1\] is out of range for a dimension of size 3/);
    expect(() => grid().get(0, 0, 0)).toThrow(/3 items for the 2 dimensions/);
    expect(() => grid().get("..." as never, "..." as never)).toThrow(/only one/);
    expect(() => grid().get([1, 2, 3] as never)).toThrow(/give lists of indices as tensors/);
    expect(() => grid().get(1.5)).toThrow(/must be an integer/);
  });
});

describe("set", () => {
  it("writes numbers, rows and masks in place", () => {
    const x = grid();
    x.set([0, 1], 50)
      .set([2], tensor([1, 2, 3, 4]))
      .set([x.gt(6)], 0);
    expect(x.toArray()).toEqual([
      [0, 0, 2, 3],
      [4, 5, 6, 0],
      [1, 2, 3, 4],
    ]);
  });

  it("replaces or adds at repeated indices", () => {
    const x = tensor([0, 0, 0]);
    expect(x.set([at(1, 1)], tensor([5, 7])).toArray()).toEqual([0, 7, 0]);
    expect(x.set([at(1, 1)], tensor([5, 7]), { accumulate: true }).toArray()).toEqual([0, 19, 0]);
  });

  it("is differentiable, for what was there and for what is written", () => {
    const x = tensor([1, 2, 3, 4], { dtype: "float64", requiresGrad: true });
    const v = tensor([10, 20], { dtype: "float64", requiresGrad: true });
    const y = x.mul(2);
    y.set([at(0, 3)], v);
    const [toX, toV] = grad(sum(y.mul(y)), [x, v]);
    expect(toX!.toArray()).toEqual([0, 16, 24, 0]);
    expect(toV!.toArray()).toEqual([20, 40]);
  });

  it("changes nothing when it throws", () => {
    const x = grid();
    expect(() => x.set([0], tensor([1, 2, 3]))).toThrow(/does not broadcast/);
    expect(() => x.set([at(0, 9)], 1)).toThrow(/index 9/);
    expect(x.equal(grid())).toBe(true);
  });
});
