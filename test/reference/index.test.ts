/** index_select, index_add, gather, scatter: against numbers that can be checked by hand. */

import { describe, expect, test } from "vitest";
import { scatterCodes } from "../../lib/backend/abi.js";
import { call, f64, i32, out, range } from "./call.js";

describe("index", () => {
  const s = { outer: 1, n: 3, m: 2, inner: 2 };
  test("select, add, gather, scatter along the middle", () => {
    const y = out(4);
    call("index_select", s, [range(6), i32(2, 0), y]);
    expect(Array.from(y)).toEqual([4, 5, 0, 1]);
    const sums = f64(10, 10, 10, 10, 10, 10);
    call("index_add", s, [f64(1, 2, 3, 4), i32(1, 1), sums]);
    expect(Array.from(sums)).toEqual([10, 10, 14, 16, 10, 10]);
    call("gather", s, [range(6), i32(0, 2, 1, 0), y]);
    expect(Array.from(y)).toEqual([0, 5, 2, 1]);
    const target = f64(9, 9, 9, 9, 9, 9);
    call("scatter", { ...s, op: scatterCodes.indexOf("assign") }, [f64(1, 2, 3, 4), i32(0, 2, 1, 0), target]);
    expect(Array.from(target)).toEqual([1, 4, 3, 9, 9, 2]);
    call("scatter", { ...s, op: scatterCodes.indexOf("add") }, [f64(1, 2, 3, 4), i32(0, 2, 0, 2), target]);
    expect(Array.from(target)).toEqual([5, 4, 3, 9, 9, 8]);
  });
  test("the first bad index is reported before anything is written", () => {
    const y = out(4);
    const before = Array.from(y);
    expect(call("index_select", s, [range(6), i32(2, 3), y])).toBe(2);
    expect(call("gather", s, [range(6), i32(0, 2, -1, 5), y])).toBe(3);
    expect(Array.from(y)).toEqual(before);
    const z = range(6);
    expect(call("index_add", s, [range(4), i32(-1, 0), z])).toBe(1);
    expect(call("scatter", s, [range(4), i32(0, 0, 0, 3), z])).toBe(4);
    expect(Array.from(z)).toEqual([0, 1, 2, 3, 4, 5]);
  });
});
