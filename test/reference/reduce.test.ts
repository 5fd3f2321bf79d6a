/** reduce, arg_reduce, scan, sort, softmax, cross_entropy: against numbers that can be checked by hand. */

import { describe, expect, test } from "vitest";
import { reduceCodes } from "../../lib/backend/abi.js";
import type { DType, TypedArray } from "../../lib/core/dtype.js";
import { call, expectClose, f64, type GivenSizes, i32, infinity, nan, out, outInt, random, range } from "./call.js";

describe("reduce, arg_reduce, scan, sort", () => {
  const code = (name: (typeof reduceCodes)[number]): number => reduceCodes.indexOf(name);
  test("reduce over the middle of [2, 3, 2]", () => {
    const wanted = { sum: [6, 9, 24, 27], prod: [0, 15, 480, 693], max: [4, 5, 10, 11], min: [0, 1, 6, 7] };
    for (const name of reduceCodes) {
      const y = out(4);
      call("reduce", { op: code(name), outer: 2, count: 3, inner: 2 }, [range(12), y]);
      expect(Array.from(y), name).toEqual(wanted[name]);
    }
  });
  test("reduce of nothing, of NaN, of wrapping integers", () => {
    const of = (name: (typeof reduceCodes)[number], x: TypedArray, dtype: DType): number => {
      const y = dtype === "int32" ? outInt(1) : out(1);
      call("reduce", { op: code(name), outer: 1, count: x.length, inner: 1 }, [x, y], dtype);
      return y[0]!;
    };
    expect(reduceCodes.map((name) => of(name, f64(), "float64"))).toEqual([0, 1, -infinity, infinity]);
    expect(reduceCodes.map((name) => of(name, i32(), "int32"))).toEqual([0, 1, -(2 ** 31), 2 ** 31 - 1]);
    expect(of("max", f64(1, nan, 3), "float64")).toBe(nan);
    expect(of("sum", i32(2 ** 31 - 1, 2), "int32")).toBe(-(2 ** 31) + 1);
    expect(of("prod", i32(2 ** 31 - 1, 3), "int32")).toBe(2147483645);
  });
  test("arg_reduce gives the first of equals, or the first NaN", () => {
    const of = (name: "max" | "min", ...x: number[]): number[] => {
      const y = out(1);
      const index = outInt(1);
      call("arg_reduce", { op: code(name), outer: 1, count: x.length, inner: 1 }, [f64(...x), y, index]);
      return [y[0]!, index[0]!];
    };
    expect(of("max", 1, 3, 3, 2)).toEqual([3, 1]);
    expect(of("min", 4, 1, 5, 1)).toEqual([1, 1]);
    expect(of("max", 1, nan, 9, nan)).toEqual([nan, 1]);
    expect(of("min", 1, nan, -9, nan)).toEqual([nan, 1]);
    expect(of("max", -infinity, -infinity)).toEqual([-infinity, 0]);
  });
  test("scan from both ends, along the middle", () => {
    const y = out(6);
    call("scan", { op: code("sum"), reverse: 0, outer: 1, count: 3, inner: 2 }, [range(6), y]);
    expect(Array.from(y)).toEqual([0, 1, 2, 4, 6, 9]);
    call("scan", { op: code("prod"), reverse: 1, outer: 1, count: 3, inner: 2 }, [range(6), y]);
    expect(Array.from(y)).toEqual([0, 15, 8, 15, 4, 5]);
  });
  test("sort is stable both ways, NaN is the largest", () => {
    const y = out(6);
    const index = outInt(6);
    const x = f64(2, nan, 1, 2, -infinity, nan);
    call("sort", { descending: 0, outer: 1, count: 6, inner: 1 }, [x, y, index]);
    expect(Array.from(y)).toEqual([-infinity, 1, 2, 2, nan, nan]);
    expect(Array.from(index)).toEqual([4, 2, 0, 3, 1, 5]);
    call("sort", { descending: 1, outer: 1, count: 6, inner: 1 }, [x, y, index]);
    expect(Array.from(y)).toEqual([nan, nan, 2, 2, 1, -infinity]);
    expect(Array.from(index)).toEqual([1, 5, 0, 3, 2, 4]);
  });
});

describe("softmax and cross_entropy", () => {
  // exp of these logits is 1, 2, 5 up to a factor: probabilities 1/8, 2/8, 5/8. The factor would overflow exp.
  const logits = f64(1000, 1000 + Math.log(2), 1000 + Math.log(5));
  test("softmax, log_softmax and their gradients", () => {
    const y = out(3);
    call("softmax", { log: 0, outer: 1, count: 3, inner: 1 }, [logits, y]);
    expectClose(y, [0.125, 0.25, 0.625], 1e-12);
    call("softmax", { log: 1, outer: 1, count: 3, inner: 1 }, [logits, y]);
    expectClose(y, [Math.log(0.125), Math.log(0.25), Math.log(0.625)], 1e-12);
    const dx = out(3);
    call("softmax_grad", { log: 0, outer: 1, count: 3, inner: 1 }, [f64(0.125, 0.25, 0.625), f64(8, 0, 0), dx]);
    expectClose(dx, [0.875, -0.25, -0.625]);
    const logs = f64(Math.log(0.125), Math.log(0.25), Math.log(0.625));
    call("softmax_grad", { log: 1, outer: 1, count: 3, inner: 1 }, [logs, f64(8, 0, 0), dx]);
    expectClose(dx, [7, -2, -5]);
  });
  test("softmax over the middle leaves the other dimensions apart", () => {
    const y = out(4);
    call("softmax", { log: 0, outer: 1, count: 2, inner: 2 }, [f64(0, 7, Math.log(3), 7), y]);
    expectClose(y, [0.25, 0.5, 0.75, 0.5]);
  });
  test("class weights, smoothing, ignored rows", () => {
    const rows = f64(...logits, ...logits);
    const target = i32(2, -100);
    const weight = f64(1, 2, 4);
    const sizes = { outer: 2, classes: 3, inner: 1, ignore_index: -100, smoothing: 0.25 };
    const loss = out(2);
    call("cross_entropy", sizes, [rows, target, weight, loss]);
    const [a, b, c] = [Math.log(8), Math.log(4), Math.log(8 / 5)];
    expectClose(loss, [0.75 * 4 * c! + (0.25 / 3) * (a! + 2 * b! + 4 * c!), 0], 1e-12);
    call("cross_entropy", { ...sizes, smoothing: 0 }, [rows, target, null, loss]);
    expectClose(loss, [c!, 0], 1e-12);
    const gradient = out(6);
    call("cross_entropy_grad", { ...sizes, smoothing: 0 }, [rows, target, null, f64(8, nan), gradient]);
    expectClose(gradient, [1, 2, -3, 0, 0, 0], 1e-11);
    call("cross_entropy_grad", sizes, [rows, target, weight, f64(8, nan), gradient]);
    // 8 (0.75 * 4 (p - [target]) + 0.25 / 3 (7 p - w))
    expectClose(gradient.subarray(0, 3), [3 - 1 / 12, 6 - 1 / 6, -9 + 1 / 4], 1e-11);
  });
  test("a target that is no class is reported before anything is written", () => {
    const loss = out(2);
    const sizes = { outer: 2, classes: 3, inner: 1, ignore_index: -100 };
    expect(call("cross_entropy", sizes, [range(6), i32(1, 3), null, loss])).toBe(2);
    expect(call("cross_entropy", sizes, [range(6), i32(-1, 7), null, loss])).toBe(1);
    expect(Array.from(loss)).toEqual([-12345, -12345]);
    const gradient = out(6);
    expect(call("cross_entropy_grad", sizes, [range(6), i32(1, 3), null, f64(1, 1), gradient])).toBe(2);
    expect(Array.from(gradient)).toEqual(new Array(6).fill(-12345));
  });
});

describe("along the middle", () => {
  const [outer, count, inner] = [2, 5, 3];
  const lane = (values: TypedArray, o: number, i: number): TypedArray =>
    values.filter((_, at) => at % inner === i && Math.floor(at / (inner * count)) === o);
  const put = (values: TypedArray, o: number, i: number, of: TypedArray): void => {
    for (let j = 0; j < of.length; j++) values[(o * of.length + j) * inner + i] = of[j]!;
  };

  /** Calls the kernel once, and once for every lane alone; results must be the same numbers. */
  function expectLanes<K extends "reduce" | "arg_reduce" | "scan" | "sort" | "softmax" | "softmax_grad">(
    kernel: K,
    sizes: NoInfer<GivenSizes<K>>,
    inputs: number,
    outputs: readonly TypedArray[],
  ): void {
    const given = Array.from({ length: inputs }, () => random(outer * count * inner));
    const whole = outputs.map((y) => y.slice());
    call(kernel, { ...sizes, outer, count, inner }, [...given, ...whole]);
    const pieces = outputs.map((y) => y.slice());
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < inner; i++) {
        const results = outputs.map((y) => y.slice(0, y.length / (outer * inner)));
        call(kernel, { ...sizes, outer: 1, count, inner: 1 }, [...given.map((x) => lane(x, o, i)), ...results]);
        for (const [j, piece] of pieces.entries()) put(piece, o, i, results[j]!);
      }
    }
    expect(whole, kernel).toEqual(pieces);
  }
  test("lanes do not touch each other", () => {
    const [full, one] = [outer * count * inner, outer * inner];
    for (const op of reduceCodes.keys()) expectLanes("reduce", { op }, 1, [out(one)]);
    expectLanes("arg_reduce", { op: reduceCodes.indexOf("max") }, 1, [out(one), outInt(one)]);
    expectLanes("scan", { op: reduceCodes.indexOf("sum") }, 1, [out(full)]);
    expectLanes("scan", { op: reduceCodes.indexOf("prod"), reverse: 1 }, 1, [out(full)]);
    expectLanes("sort", { descending: 1 }, 1, [out(full), outInt(full)]);
    for (const log of [0, 1]) {
      expectLanes("softmax", { log }, 1, [out(full)]);
      expectLanes("softmax_grad", { log }, 2, [out(full)]);
    }
  });
  test("cross_entropy of every lane is minus the log-softmax at its target", () => {
    const logits = random(outer * count * inner);
    const target = Int32Array.from({ length: outer * inner }, (_, i) => (3 * i + 1) % count);
    const logs = out(logits.length);
    call("softmax", { log: 1, outer, count, inner }, [logits, logs]);
    const at = Array.from(target, (label, i) => (Math.floor(i / inner) * count + label) * inner + (i % inner));
    const loss = out(outer * inner);
    const sizes = { outer, classes: count, inner, ignore_index: -1 };
    call("cross_entropy", sizes, [logits, target, null, loss]);
    expectClose(
      loss,
      at.map((position) => -logs[position]!),
    );
    const dy = random(outer * inner);
    const [gradient, spread, wanted] = [out(logits.length), new Float64Array(logits.length), out(logits.length)];
    for (const [i, position] of at.entries()) spread[position] = -dy[i]!;
    call("cross_entropy_grad", sizes, [logits, target, null, dy, gradient]);
    call("softmax_grad", { log: 1, outer, count, inner }, [logs, spread, wanted]);
    expectClose(gradient, Array.from(wanted));
  });
});
