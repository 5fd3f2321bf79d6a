/** gemm, conv and its gradients, im2col, col2im: against numbers that can be checked by hand. */

import { describe, expect, test } from "vitest";
import { activationCodes } from "../../lib/backend/abi.js";
import { call, dot, expectClose, f64, type Given, type GivenSizes, nan, out, random, range } from "./call.js";

describe("gemm", () => {
  const a = f64(1, 2, 3, 4, 5, 6); // [2, 3]
  const b = f64(1, 0, 2, 1, 0, -1); // [3, 2]
  const sizes = { batch: 1, m: 2, n: 2, k: 3, a_batch_stride: 6, b_batch_stride: 6 };
  test("all four ways to store the operands", () => {
    const aTransposed = f64(1, 4, 2, 5, 3, 6);
    const bTransposed = f64(1, 2, 0, 0, 1, -1);
    for (const [trans_a, trans_b] of [
      [0, 0],
      [0, 1],
      [1, 0],
      [1, 1],
    ] as const) {
      const c = out(4).fill(nan);
      call("gemm", { ...sizes, trans_a, trans_b }, [trans_a ? aTransposed : a, trans_b ? bTransposed : b, null, c]);
      expect(Array.from(c)).toEqual([5, -1, 14, -1]);
    }
  });
  test("bias per row or column, accumulate, activation, a repeated operand", () => {
    const c = f64(1, 1, 1, 1);
    call("gemm", { ...sizes, accumulate: 1, bias_per: 1 }, [a, b, f64(10, 20), c]);
    expect(Array.from(c)).toEqual([16, 10, 35, 20]);
    const relu6 = activationCodes.indexOf("relu6");
    call("gemm", { ...sizes, bias_per: 2, activation: relu6 }, [a, b, f64(-1, -1), c]);
    expect(Array.from(c)).toEqual([4, 0, 6, 0]);
    const two = out(8);
    call("gemm", { ...sizes, batch: 2, b_batch_stride: 0 }, [f64(...a, 0, 0, 0, 1, 1, 1), b, null, two]);
    expect(Array.from(two)).toEqual([5, -1, 14, -1, 0, 0, 3, 0]);
  });
});

describe("conv", () => {
  const X = range(9);
  const K = f64(0, 1, 2, 3);
  const first = { batch: 1, groups: 1, in_channels: 1, out_channels: 1, in: [3, 3], kernel: [2, 2] } as const;
  const conv = (sizes: GivenSizes<"conv">, operands: readonly Given[], length: number): number[] => {
    const y = out(length);
    call("conv", { ...first, ...sizes }, [...operands, y]);
    return Array.from(y);
  };

  test("the first example: cross-correlation, bias, residual, activation", () => {
    expect(conv({ out: [2, 2] }, [X, K, null, null], 4)).toEqual([19, 25, 37, 43]);
    expect(conv({ out: [2, 2] }, [X, K, f64(1), null], 4)).toEqual([20, 26, 38, 44]);
    const relu = activationCodes.indexOf("relu");
    const residual = f64(0, -30, -30, -50);
    expect(conv({ out: [2, 2], activation: relu }, [X, K, f64(1), residual], 4)).toEqual([20, 0, 8, 0]);
  });
  test("padding and stride", () => {
    const padded = [0, 3, 8, 4, 9, 19, 25, 10, 21, 37, 43, 16, 6, 7, 8, 0];
    expect(conv({ pad: [1, 1], out: [4, 4] }, [X, K, null, null], 16)).toEqual(padded);
    expect(conv({ pad: [1, 1], stride: [2, 2], out: [2, 2] }, [X, K, null, null], 4)).toEqual([0, 8, 21, 43]);
    // Padding 1 before only: `out` says how far it goes after.
    expect(conv({ pad: [1, 1], out: [3, 3] }, [X, K, null, null], 9)).toEqual([0, 3, 8, 9, 19, 25, 21, 37, 43]);
    // Outputs far outside see nothing but the bias.
    expect(conv({ pad: [1, 6], out: [1, 3] }, [X, K, f64(5), null], 3)).toEqual([5, 5, 5]);
  });
  test("gradients of sum(Y) and of sum(Y^2)", () => {
    const s = { ...first, out: [2, 2] };
    const [dw, db, dx] = [out(4), out(1), out(9)];
    call("conv_weight_grad", s, [X, f64(1, 1, 1, 1), dw, db]);
    call("conv_input_grad", s, [f64(1, 1, 1, 1), K, null, dx]);
    expect(Array.from(dw)).toEqual([8, 12, 20, 24]);
    expect(Array.from(db)).toEqual([4]);
    expect(Array.from(dx)).toEqual([0, 1, 1, 2, 6, 4, 2, 5, 3]);
    call("conv_weight_grad", s, [X, f64(38, 50, 74, 86), dw, null]);
    call("conv_input_grad", s, [f64(38, 50, 74, 86), K, null, dx]);
    expect(Array.from(dw)).toEqual([616, 864, 1360, 1608]);
    expect(Array.from(dx)).toEqual([0, 38, 50, 76, 288, 236, 148, 394, 258]);
  });
  test("transposed convolution is the input gradient with a bias", () => {
    const dx = out(16);
    const stride2 = { stride: [2, 2], in: [4, 4], out: [2, 2] };
    call("conv_input_grad", { ...first, ...stride2 }, [range(4), K, f64(10), dx]);
    expect(Array.from(dx)).toEqual([0, 0, 0, 1, 0, 0, 2, 3, 0, 2, 0, 3, 4, 6, 6, 9].map((value) => value + 10));
    const one = out(1);
    call("conv_input_grad", { ...first, in: [1, 1], pad: [1, 1], out: [2, 2] }, [range(4), K, null, one]);
    expect(Array.from(one)).toEqual([4]);
  });
  test("several channels, as im2col times a matrix", () => {
    const x = Float64Array.from({ length: 75 }, (_, i) => (i % 7) - 3);
    const w = Float64Array.from({ length: 54 }, (_, i) => (i % 5) - 2);
    const s = { batch: 1, groups: 1, in_channels: 3, out_channels: 2, in: [5, 5], kernel: [3, 3], out: [3, 3] };
    const wanted = [16, 20, 31, -20, -23, 16, -14, -3, -20, -12, -25, 4, -14, 1, -12, 12, 20, -14];
    const y = out(18);
    call("conv", s, [x, w, f64(1, -2), null, y]);
    expect(Array.from(y)).toEqual(wanted);

    const columns = out(27 * 9);
    call("im2col", s, [x, columns]);
    expect(Array.from(columns.subarray(0, 9))).toEqual([-3, -2, -1, 2, 3, -3, 0, 1, 2]);
    expect(Array.from(columns.subarray(26 * 9))).toEqual([3, -3, -2, 1, 2, 3, -1, 0, 1]);
    const product = { batch: 1, m: 2, n: 9, k: 27, bias_per: 1 };
    call("gemm", product, [w, columns, f64(1, -2), y]);
    expect(Array.from(y)).toEqual(wanted);

    const ones = new Float64Array(18).fill(1);
    const [dx, dw, db] = [out(75), out(54), out(2)];
    call("conv_input_grad", s, [ones, w, null, dx]);
    call("conv_weight_grad", s, [x, ones, dw, db]);
    const corner = [-2, -2, 0, 2, 2, -3, -2, -2, 1, 0, -3, 0, -1, 2, -1, -1, 2, -1, 0, -3, 0, 2, 1, 1, -1];
    expect(Array.from(dx.subarray(0, 25))).toEqual(corner);
    expect(Array.from(dw.subarray(0, 9))).toEqual([-1, 1, -4, 2, 4, -1, -2, 0, 2]);
    expect(Array.from(dw.subarray(45))).toEqual([1, -4, -2, 4, -1, 1, 0, 2, 4]);
    expect(Array.from(db)).toEqual([9, 9]);

    const columnGradient = out(27 * 9);
    call("gemm", { batch: 1, m: 27, n: 9, k: 2, trans_a: 1 }, [w, ones, null, columnGradient]);
    const folded = out(75);
    call("col2im", s, [columnGradient, folded]);
    expect(Array.from(folded)).toEqual(Array.from(dx));

    const strided = { ...s, pad: [1, 1], stride: [2, 2] };
    call("conv", strided, [x, w, f64(1, -2), null, y]);
    expect(Array.from(y)).toEqual([4, -11, -7, 5, -23, 6, 6, 20, -1, -11, 9, 0, 15, 1, -13, -8, -7, 11]);
    call("im2col", strided, [x, columns]);
    call("gemm", product, [w, columns, f64(1, -2), y]);
    expect(Array.from(y)).toEqual([4, -11, -7, 5, -23, 6, 6, 20, -1, -11, 9, 0, 15, 1, -13, -8, -7, 11]);
  });
  test("a 1x1 kernel is a linear layer over channels", () => {
    const x = f64(1, 2, 3, 4, 0, -1, 1, 0, 2, 0, 0, -2);
    const w = f64(1, 0, -1, 2, 1, 0.5);
    const s = { in_channels: 3, out_channels: 2, in: [2, 2], kernel: [1, 1], out: [2, 2] };
    expect(conv(s, [x, w, f64(0.5, -1), null], 8)).toEqual([-0.5, 2.5, 3.5, 6.5, 2, 2, 6, 6]);
  });
  test("groups see their own channels only", () => {
    // Two groups of one channel in and two out: out = [1, 10] * first channel, [100, 1000] * second.
    const s = {
      ...first,
      groups: 2,
      in_channels: 2,
      out_channels: 4,
      in: [1, 2],
      kernel: [1, 1],
      out: [1, 2],
    };
    const w = f64(1, 10, 100, 1000);
    const y = out(8);
    call("conv", s, [f64(1, 2, 3, 4), w, null, null, y]);
    expect(Array.from(y)).toEqual([1, 2, 10, 20, 300, 400, 3000, 4000]);
    const dx = out(4);
    call("conv_input_grad", s, [f64(1, 0, 2, 0, 0, 3, 0, 4), w, null, dx]);
    expect(Array.from(dx)).toEqual([21, 0, 0, 4300]);
    const dw = out(4);
    call("conv_weight_grad", s, [f64(1, 2, 3, 4), f64(1, 0, 0, 1, 1, 1, 5, 0), dw, null]);
    expect(Array.from(dw)).toEqual([1, 2, 7, 15]);
  });
  test("dilation, one dimension", () => {
    const s = { in: [5], kernel: [2], dilation: [3], out: [2] };
    expect(conv(s, [f64(1, 2, 4, 8, 16), f64(1, 10), null, null], 2)).toEqual([81, 162]);
    const finite = { in: [8], kernel: [4], out: [5] };
    const cubes = Float64Array.from({ length: 8 }, (_, i) => i ** 3);
    expect(conv(finite, [cubes, f64(-1, 3, -3, 1), null, null], 5)).toEqual([6, 6, 6, 6, 6]);
  });
  test("three dimensions: the 7-point Laplacian of i^2 + j^2 + k^2 is 6", () => {
    const x = Float64Array.from({ length: 64 }, (_, i) => (i >> 4) ** 2 + ((i >> 2) & 3) ** 2 + (i & 3) ** 2);
    const w = new Float64Array(27);
    for (const at of [4, 10, 12, 14, 16, 22]) w[at] = 1;
    w[13] = -6;
    expect(conv({ in: [4, 4, 4], kernel: [3, 3, 3], out: [2, 2, 2] }, [x, w, null, null], 8)).toEqual(
      new Array(8).fill(6),
    );
  });
  test("the definition, in three unlike dimensions with groups; gradients and columns are its adjoints", () => {
    const s = {
      batch: 2,
      groups: 2,
      in_channels: 4,
      out_channels: 6,
      in: [4, 5, 7],
      kernel: [2, 3, 2],
      stride: [1, 2, 3],
      dilation: [2, 1, 2],
      pad: [1, 2, 4],
      out: [4, 4, 3],
    };
    const [x, w, bias] = [random(2 * 4 * 140), random(6 * 2 * 12), random(6)];
    const y = out(2 * 6 * 48);
    call("conv", s, [x, w, bias, null, y]);

    const inside = (p: number, k: number, d: number): number => {
      const at = p * s.stride[d]! - s.pad[d]! + k * s.dilation[d]!;
      return at >= 0 && at < s.in[d]! ? at : -1;
    };
    const wanted: number[] = [];
    for (let i = 0; i < y.length; i++) {
      const [n, o, d, h, v] = [
        Math.floor(i / 288),
        Math.floor(i / 48) % 6,
        Math.floor(i / 12) % 4,
        Math.floor(i / 3) % 4,
        i % 3,
      ];
      let sum = bias[o]!;
      for (let t = 0; t < 24; t++) {
        const c = Math.floor(t / 12);
        const at = [inside(d, Math.floor(t / 6) % 2, 0), inside(h, Math.floor(t / 2) % 3, 1), inside(v, t % 2, 2)];
        if (Math.min(...at) < 0) continue;
        const channel = (o < 3 ? 0 : 2) + c;
        sum += w[o * 24 + t]! * x[(n * 4 + channel) * 140 + at[0]! * 35 + at[1]! * 7 + at[2]!]!;
      }
      wanted.push(sum);
    }
    expectClose(y, wanted, 1e-12);

    call("conv", s, [x, w, null, null, y]);
    const dy = random(y.length);
    const [dx, dw, db] = [out(x.length), out(w.length), out(6)];
    call("conv_input_grad", s, [dy, w, null, dx]);
    call("conv_weight_grad", s, [x, dy, dw, db]);
    expectClose([dot(dx, x), dot(dw, w)], [dot(dy, y), dot(dy, y)], 1e-11);
    expectClose(
      db,
      Array.from({ length: 6 }, (_, o) => dy.filter((_, i) => Math.floor(i / 48) % 6 === o).reduce((a, b) => a + b)),
      1e-12,
    );

    const columns = out(2 * 4 * 12 * 48);
    call("im2col", s, [x, columns]);
    const product = { batch: 2, m: 3, n: 48, k: 24, a_batch_stride: 0, b_batch_stride: 48 * 48 };
    const firstGroup = out(2 * 3 * 48);
    call("gemm", product, [w.subarray(0, 72), columns.subarray(0, 72 * 48), null, firstGroup]);
    expectClose(firstGroup, [...y.subarray(0, 144), ...y.subarray(288, 432)], 1e-12);
    const weights = random(columns.length);
    call("col2im", s, [weights, dx]);
    expectClose([dot(dx, x)], [dot(weights, columns)], 1e-11);
  });
  test("an empty batch gives zero weight gradients of full size", () => {
    const [dw, db] = [out(4), out(1)];
    call("conv_weight_grad", { ...first, batch: 0, out: [2, 2] }, [f64(), f64(), dw, db]);
    expect([...dw, ...db]).toEqual([0, 0, 0, 0, 0]);
  });
});
