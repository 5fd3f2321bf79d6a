/** Sizes, and the reference backend behind run(): against numbers that can be checked by hand. */

import { describe, expect, test } from "vitest";
import { type KernelName, unaryCodes } from "../../lib/backend/abi.js";
import { decodeSizes } from "../../lib/backend/contract.js";
import type { DType } from "../../lib/core/dtype.js";
import { empty } from "../../lib/core/tensor.js";
import { referenceBackend } from "../../lib/reference/backend.js";

describe("sizes", () => {
  test("are decoded by name, and a list of the wrong length is refused", () => {
    const flat = [1, 2, 3, 4, ...[1, 8, 9], ...[1, 3, 2], ...[1, 1, 1], ...[1, 1, 1], ...[0, 0, 0], ...[1, 6, 8], 2];
    const s = decodeSizes("conv", flat);
    expect([s.batch, s.groups, s.in_channels, s.out_channels, s.activation]).toEqual([1, 2, 3, 4, 2]);
    expect([s.in, s.kernel, s.out]).toEqual([
      [1, 8, 9],
      [1, 3, 2],
      [1, 6, 8],
    ]);
    expect(() => decodeSizes("conv", flat.slice(1))).toThrow("conv: ConvSizes has 23 numbers, but the call brought 22");
  });
});

describe("the backend", () => {
  test("runs kernels on tensors, and refuses calls that are not in the contract", () => {
    const y = empty([2], "float64");
    expect(referenceBackend.run("fill", "float64", [2, 1.5], [y])).toBe(0);
    expect(y.toArray()).toEqual([1.5, 1.5]);
    const square = empty([2], "float64");
    expect(referenceBackend.run("unary", "float64", [unaryCodes.indexOf("square"), 2, 0, 0], [y, square])).toBe(0);
    expect(square.toArray()).toEqual([2.25, 2.25]);
    const run = (kernel: KernelName, dtype: DType, operands: (typeof y | null)[]) => () =>
      referenceBackend.run(kernel, dtype, [0, 2, 0, 0], operands);
    expect(run("unary", "bool", [y, y])).toThrow("unary takes float32, float64 and int32, but the call is bool");
    expect(run("softmax", "int32", [y, y])).toThrow("softmax takes float32 and float64, but the call is int32");
    expect(run("unary", "float64", [y])).toThrow("unary takes 2 operands (x,>y), but the call brought 1");
    expect(run("unary", "float64", [null, y])).toThrow("unary needs its operand x, but the call left it out");
  });
});
