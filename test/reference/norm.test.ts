/** batch_norm, layer_norm: against numbers that can be checked by hand. */

import { describe, expect, test } from "vitest";
import { activationCodes } from "../../lib/backend/abi.js";
import { call, expectClose, f64, out, random } from "./call.js";

describe("norm", () => {
  // Channel 0 has -3, -1, 1, 3 (mean 0, variance 5); channel 1 has 2, 2, 6, 6 (mean 4, variance 4).
  const x = f64(-3, -1, 2, 2, 1, 3, 6, 6);
  const s = { batch: 2, channels: 2, inner: 2, eps: 0 };
  const root = Math.sqrt(5);
  test("batch_norm: statistics, weight, bias, residual, activation", () => {
    const [y, mean, variance] = [out(8), out(2), out(2)];
    call("batch_norm", s, [x, null, null, null, y, mean, variance, null]);
    expect([...mean, ...variance]).toEqual([0, 4, 5, 4]);
    expectClose(y, [-3 / root, -1 / root, -1, -1, 1 / root, 3 / root, 1, 1]);
    const residual = f64(0, 0, 0, 0, 0, 0, 0, 5);
    const relu6 = { ...s, activation: activationCodes.indexOf("relu6") };
    const affine = out(4);
    call("batch_norm", relu6, [x, f64(root, 2), f64(1, 1), residual, y, mean, variance, affine]);
    expectClose(affine, [1, 1, 1, 1]);
    expectClose(y, [0, 0, 0, 0, 2, 4, 3, 6]);
    call("batch_norm_inference", s, [x, f64(root, 2), f64(1, 1), null, f64(0, 4), f64(5, 4), y]);
    expectClose(y, [-2, 0, -1, -1, 2, 4, 3, 3]);
  });
  test("batch_norm_grad: a constant gradient dies in dx, the activation masks", () => {
    const [dx, dweight, dbias, dresidual] = [out(8), out(2), out(2), out(8)];
    const ones = new Float64Array(8).fill(1);
    call("batch_norm_grad", s, [x, ones, null, f64(3, 3), f64(0, 4), f64(5, 4), null, dx, dweight, dbias, null]);
    expectClose(dx, new Array(8).fill(0));
    expectClose([...dweight, ...dbias], [0, 0, 4, 4]);
    const relu = { ...s, activation: activationCodes.indexOf("relu") };
    const y = f64(0, 0, 0, 0, 2, 4, 3, 3);
    for (const [output, affine] of [[y, null] as const, [null, f64(1, 2, 0, -1)] as const]) {
      const results = [dx.fill(7), dweight.fill(7), dbias.fill(7), dresidual.fill(7)];
      call("batch_norm_grad", relu, [x, ones, output, null, f64(0, 4), f64(5, 4), affine, ...results]);
      expect(Array.from(dresidual)).toEqual([0, 0, 0, 0, 1, 1, 1, 1]);
      expectClose([...dweight, ...dbias], [4 / root, 2, 2, 2]);
      // Channel 0: (g - 1/2 - x / 5) / sqrt 5; channel 1: (g - 1/2 -+ 1/2) / 2 = 0.
      expectClose(dx, [0.1 / root, -0.3 / root, 0, 0, 0.3 / root, -0.1 / root, 0, 0]);
    }
    expect(() =>
      call("batch_norm_grad", relu, [x, ones, null, null, f64(0, 4), f64(5, 4), null, dx, dweight, dbias, null]),
    ).toThrow("an activation needs y or affine");
  });
  test("layer_norm and its gradient", () => {
    const [y, mean, rstd] = [out(4), out(1), out(1)];
    const row = f64(-3, -1, 1, 3);
    call("layer_norm", { rows: 1, count: 4, eps: 4 }, [row, f64(3, 3, 3, 6), f64(1, 1, 1, 1), y, mean, rstd]);
    expectClose([...y, ...mean, ...rstd], [-2, 0, 2, 7, 0, 1 / 3]);
    const [dx, dweight, dbias] = [out(4), out(4), out(4)];
    const sizes = { rows: 1, count: 4, eps: 0 };
    call("layer_norm_grad", sizes, [row, f64(0, 0, 1, 1), null, f64(0), f64(1 / root), dx, dweight, dbias]);
    expectClose(dx, [0.1 / root, -0.3 / root, 0.3 / root, -0.1 / root]);
    expectClose(dweight, [0, 0, 1 / root, 3 / root]);
    expectClose(dbias, [0, 0, 1, 1]);
  });
});

describe("norm over several rows", () => {
  test("layer_norm takes every row alone, and adds up the gradients of weight and bias", () => {
    const [rows, count] = [3, 4];
    const [x, weight, bias, dy] = [random(12), random(4), random(4), random(12)];
    const [y, mean, rstd] = [out(12), out(3), out(3)];
    call("layer_norm", { rows, count, eps: 0.1 }, [x, weight, bias, y, mean, rstd]);
    const [dx, dweight, dbias] = [out(12), out(4), out(4)];
    call("layer_norm_grad", { rows, count, eps: 0.1 }, [x, dy, weight, mean, rstd, dx, dweight, dbias]);
    const sums = { weight: new Float64Array(4), bias: new Float64Array(4) };
    for (let row = 0; row < rows; row++) {
      const of = (values: Float64Array): Float64Array => values.slice(row * count, (row + 1) * count);
      const [rowY, rowMean, rowRstd] = [out(4), out(1), out(1)];
      call("layer_norm", { rows: 1, count, eps: 0.1 }, [of(x), weight, bias, rowY, rowMean, rowRstd]);
      expect([of(y), mean[row], rstd[row]]).toEqual([rowY, rowMean[0], rowRstd[0]]);
      const [rowDx, rowDweight, rowDbias] = [out(4), out(4), out(4)];
      call("layer_norm_grad", { rows: 1, count, eps: 0.1 }, [
        of(x),
        of(dy),
        weight,
        rowMean,
        rowRstd,
        rowDx,
        rowDweight,
        rowDbias,
      ]);
      expect(of(dx)).toEqual(rowDx);
      for (let i = 0; i < count; i++) {
        sums.weight[i]! += rowDweight[i]!;
        sums.bias[i]! += rowDbias[i]!;
      }
    }
    expectClose(dweight, Array.from(sums.weight));
    expectClose(dbias, Array.from(sums.bias));
  });
});
