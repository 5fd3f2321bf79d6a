/** Pooling: against numbers that can be checked by hand. */

import { describe, expect, test } from "vitest";
import { call, f64, type GivenSizes, infinity, nan, out, outInt, range } from "./call.js";

describe("pool", () => {
  const max = (sizes: GivenSizes<"max_pool">, x: Float64Array, length: number): [number[], number[]] => {
    const y = out(length);
    const index = outInt(length);
    call("max_pool", { planes: 1, ...sizes }, [x, y, index]);
    return [Array.from(y), Array.from(index)];
  };
  const average = (sizes: GivenSizes<"avg_pool">, x: Float64Array, length: number): number[] => {
    const y = out(length);
    call("avg_pool", { planes: 1, ...sizes }, [x, y]);
    return Array.from(y);
  };
  const window2 = { in: [3, 3], kernel: [2, 2], out: [2, 2] };

  test("2x2 windows of the first example", () => {
    expect(max(window2, range(9), 4)).toEqual([
      [4, 5, 7, 8],
      [4, 5, 7, 8],
    ]);
    expect(average(window2, range(9), 4)).toEqual([2, 3, 5, 6]);
    const strided = { in: [4, 4], kernel: [3, 3], stride: [2, 2], pad: [1, 1], out: [2, 2] };
    expect(max(strided, range(16), 4)[0]).toEqual([5, 7, 13, 15]);
    const wide = { in: [4, 4], kernel: [2, 3], stride: [2, 3], pad: [0, 1], out: [2, 2] };
    expect(max(wide, range(16), 4)[0]).toEqual([5, 7, 13, 15]);
  });
  test("ties go to the first, NaN wins, padding never wins", () => {
    expect(max({ in: [4], kernel: [3], out: [2] }, f64(5, 5, 1, 5), 2)).toEqual([
      [5, 5],
      [0, 1],
    ]);
    expect(max({ in: [5], kernel: [3], out: [3] }, f64(1, nan, 9, nan, 2), 3)).toEqual([
      [nan, nan, nan],
      [1, 1, 3],
    ]);
    expect(max({ in: [2], kernel: [3], pad: [1], out: [2] }, f64(-7, -8), 2)).toEqual([
      [-7, -7],
      [0, 0],
    ]);
    expect(max({ in: [2], kernel: [2], out: [1] }, f64(-infinity, -infinity), 1)).toEqual([[-infinity], [0]]);
  });
  test("the gradient of a maximum, where windows overlap and where they do not", () => {
    const gradient = (
      sizes: GivenSizes<"max_pool_grad">,
      dy: Float64Array,
      index: number[],
      length: number,
    ): number[] => {
      const dx = out(length);
      call("max_pool_grad", { planes: 1, ...sizes }, [dy, Int32Array.from(index), dx]);
      return Array.from(dx);
    };
    expect(gradient(window2, f64(1, 2, 4, 8), [4, 4, 4, 5], 9)).toEqual([0, 0, 0, 0, 7, 8, 0, 0, 0]);
    const halves = { in: [3, 5], kernel: [2, 2], stride: [2, 2], out: [1, 2] };
    expect(gradient({ ...halves, planes: 2 }, f64(1, 2, 3, 4), [6, 2, 0, 8], 30)).toEqual(
      [
        [0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        [3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0],
      ].flat(),
    );
  });
  test("dilation, and planes of their own", () => {
    expect(max({ planes: 2, in: [4], kernel: [2], dilation: [2], out: [2] }, f64(1, 9, 3, 4, 8, 7, 6, 5), 4)).toEqual([
      [3, 9, 8, 7],
      [2, 1, 0, 1],
    ]);
    expect(average({ in: [5], kernel: [2], dilation: [3], out: [2] }, f64(1, 2, 4, 8, 16), 2)).toEqual([4.5, 9]);
  });
  test("what an average divides by", () => {
    // Windows of 3 from -1: [pad 4 6], [6 2 (pad)], and one from 3, which starts in the overhang: pad + nothing.
    const sizes = { in: [3], kernel: [3], stride: [2], pad: [1], out: [3] };
    expect(average({ ...sizes, count_include_pad: 1 }, f64(4, 6, 2), 3)).toEqual([10 / 3, 8 / 3, 0]);
    expect(average(sizes, f64(4, 6, 2), 3)).toEqual([5, 4, 0]);
    expect(average({ ...sizes, divisor: -2 }, f64(4, 6, 2), 3)).toEqual([-5, -4, -0]);
    // The overhang beyond the padding does not count: the last window has 2 and one zero of padding.
    expect(average({ ...sizes, in: [4], kernel: [4], out: [2], count_include_pad: 1 }, f64(4, 6, 2, 1), 2)).toEqual([
      3, 2.25,
    ]);
  });
  test("the gradient of an average goes back to what it read", () => {
    const dx = out(3);
    const sizes = { in: [3], kernel: [3], stride: [2], pad: [1], out: [2] };
    call("avg_pool_grad", { planes: 1, ...sizes, count_include_pad: 1 }, [f64(3, 6), dx]);
    expect(Array.from(dx)).toEqual([1, 3, 2]);
    call("avg_pool_grad", { planes: 1, ...sizes }, [f64(4, 6), dx]);
    expect(Array.from(dx)).toEqual([2, 5, 3]);
    call("avg_pool_grad", { planes: 1, ...sizes, divisor: 2 }, [f64(4, 6), dx]);
    expect(Array.from(dx)).toEqual([2, 5, 3]);
  });
  test("adaptive windows overlap where sizes do not divide", () => {
    // 5 -> 3: [0, 2), [1, 4), [3, 5)
    const sizes = { planes: 1, in: [5], out: [3] };
    const [y, index, dx] = [out(3), outInt(3), out(5)];
    call("adaptive_avg_pool", sizes, [f64(1, 3, 8, 1, 7), y]);
    expect(Array.from(y)).toEqual([2, 4, 4]);
    call("adaptive_max_pool", sizes, [f64(1, 3, 8, 1, 7), y, index]);
    expect([...y, ...index]).toEqual([3, 8, 7, 1, 2, 4]);
    call("adaptive_avg_pool_grad", sizes, [f64(2, 3, 4), dx]);
    expect(Array.from(dx)).toEqual([1, 2, 1, 3, 2]);
  });
});
