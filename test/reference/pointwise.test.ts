/** unary, binary, compare, where, fill, copy: against numbers that can be checked by hand. */

import { describe, expect, test } from "vitest";
import { binaryCodes, compareCodes, unaryCodes } from "../../lib/backend/abi.js";
import { type DType, type TypedArray, typeCode } from "../../lib/core/dtype.js";
import { erf, erfc } from "../../lib/reference/special.js";
import { bytes, call, expectClose, f64, i32, infinity, nan, out, range } from "./call.js";

function unary(name: (typeof unaryCodes)[number], x: TypedArray, p0 = 0, p1 = 0, dtype: DType = "float64"): number[] {
  const y = x.slice().fill(99);
  expect(call("unary", { op: unaryCodes.indexOf(name), count: x.length, p0, p1 }, [x, y], dtype)).toBe(0);
  return Array.from(y);
}

function binary(
  name: (typeof binaryCodes)[number],
  a: TypedArray,
  b: TypedArray,
  p0 = 0,
  p1 = 0,
  dtype: DType = "float64",
): number[] {
  const y = a.slice().fill(99);
  const sizes = { op: binaryCodes.indexOf(name), rank: 1, shape: [a.length], a_stride: [1], b_stride: [1], p0, p1 };
  expect(call("binary", sizes, [a, b, y], dtype)).toBe(0);
  return Array.from(y);
}

describe("special functions", () => {
  test("erf and erfc have the tabulated values", () => {
    // Abramowitz and Stegun, tables 7.1 and 7.3, and DLMF 7.2 for the limits.
    expectClose(
      [erf(0.5), erf(1), erf(-2), erf(3)],
      [0.5204998778130465, 0.8427007929497149, -0.9953222650189527, 0.9999779095030014],
      1e-15,
    );
    expect(Math.abs(erfc(4) / 1.541725790028002e-8 - 1)).toBeLessThan(1e-13);
    expect(Math.abs(erfc(10) / 2.088487583762545e-45 - 1)).toBeLessThan(1e-13);
    expect([erf(infinity), erf(-infinity), erf(nan), erfc(infinity), erfc(-infinity)]).toEqual([1, -1, nan, 0, 2]);
  });
});

describe("unary", () => {
  test("rounds half to even", () => {
    expect(unary("round", f64(0.5, 1.5, 2.5, -1.5, -2.5, 2.51, -0.2, nan, infinity))).toEqual([
      0,
      2,
      2,
      -2,
      -2,
      3,
      -0,
      nan,
      infinity,
    ]);
  });
  test("sign, relu, clamp at NaN and the kinks", () => {
    expect(unary("sign", f64(-3, 0, 5, nan))).toEqual([-1, 0, 1, 0]);
    expect(unary("relu", f64(-3, 2, nan))).toEqual([0, 2, nan]);
    expect(unary("clamp", f64(-3, 0.5, 3, nan), -1, 2)).toEqual([-1, 0.5, 2, nan]);
    expect(unary("is_nan", f64(nan, 1, infinity))).toEqual([1, 0, 0]);
    expect(unary("is_finite", f64(nan, 1, infinity))).toEqual([0, 1, 0]);
  });
  test("activations", () => {
    expect(unary("leaky_relu", f64(-2, 4), 0.25)).toEqual([-0.5, 4]);
    expectClose(unary("elu", f64(-Math.LN2, 3), 4), [-2, 3]);
    expectClose(unary("sigmoid", f64(0, Math.log(3))), [0.5, 0.75]);
    expectClose(unary("silu", f64(0, Math.log(3))), [0, 0.75 * Math.log(3)]);
    // x * P(N < x): P(N < 1) = 0.8413447460685429.
    expectClose(unary("gelu", f64(1, -1, 0)), [0.8413447460685429, -0.15865525393145707, -0]);
    expectClose(unary("gelu_tanh", f64(1)), [0.5 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * 1.044715))]);
    // Beyond the threshold softplus is x itself; the exact log would differ in the fifth digit here.
    expectClose(unary("softplus", f64(0, 3), 2, 5), [Math.LN2 / 2, 3]);
    expectClose(unary("log_sigmoid", f64(0, -800, 800)), [-Math.LN2, -800, 0]);
    expectClose(unary("hard_sigmoid", f64(-4, 0, 1.5, 4)), [0, 0.5, 0.75, 1]);
    expectClose(unary("hard_swish", f64(-4, 0, 1.5, 4)), [-0, 0, 1.125, 4]);
  });
  test("powers follow C, not Math.pow", () => {
    expect(unary("pow_scalar", f64(1, 2, -1), nan)).toEqual([1, nan, nan]);
    expect(unary("pow_scalar", f64(1, -1, -2), infinity)).toEqual([1, 1, infinity]);
    expect(unary("pow_scalar", f64(9, nan), 0.5)).toEqual([3, nan]);
    expect(unary("pow_scalar", f64(nan), 0)).toEqual([1]);
  });
  test("float32 results are rounded when stored", () => {
    expect(unary("add_scalar", Float32Array.of(1), 2 ** -24 + 2 ** -40, 0, "float32")).toEqual([1 + 2 ** -23]);
    expect(unary("reciprocal", Float32Array.of(3), 0, 0, "float32")).toEqual([Math.fround(1 / 3)]);
  });
  test("int32 arithmetic wraps, other functions saturate", () => {
    const least = -(2 ** 31);
    expect(unary("neg", i32(least, 5), 0, 0, "int32")).toEqual([least, -5]);
    expect(unary("square", i32(65537), 0, 0, "int32")).toEqual([131073]);
    expect(unary("mul_scalar", i32(2 ** 31 - 1), 3, 0, "int32")).toEqual([2147483645]);
    expect(unary("pow_scalar", i32(3, -1, 2), -3, 0, "int32")).toEqual([0, -1, 0]);
    expect(unary("pow_scalar", i32(3, 65536), 2, 0, "int32")).toEqual([9, 0]);
    expect(unary("exp", i32(0, 1, 40), 0, 0, "int32")).toEqual([1, 2, 2 ** 31 - 1]);
    expect(unary("reciprocal", i32(0, 1, 2), 0, 0, "int32")).toEqual([0, 1, 0]);
  });
});

describe("binary, compare, where", () => {
  test("NaN wins in maximum and minimum", () => {
    expect(binary("maximum", f64(1, nan, 3), f64(2, 0, nan))).toEqual([2, nan, nan]);
    expect(binary("minimum", f64(1, nan, 3), f64(2, 0, nan))).toEqual([1, nan, nan]);
  });
  test("remainder has the sign of the divisor, fmod that of the dividend", () => {
    expect(binary("remainder", f64(5, -5, 5, -5, 6), f64(3, 3, -3, -3, -3))).toEqual([2, 1, -1, -2, 0]);
    expect(binary("fmod", f64(5, -5, 5, -5), f64(3, 3, -3, -3))).toEqual([2, -2, 2, -2]);
  });
  test("gradients at and around the kinks", () => {
    expect(binary("relu_grad", f64(7, infinity, 7), f64(2, 0, -1))).toEqual([7, 0, 0]);
    expect(binary("clamp_grad", f64(7, 7, 7, 7), f64(-1, 2, 2.1, nan), -1, 2)).toEqual([7, 7, 0, 0]);
    expect(binary("leaky_relu_grad", f64(8, 8), f64(-1, 1), 0.25)).toEqual([2, 8]);
    expectClose(binary("elu_grad", f64(8, 8), f64(-Math.LN2, 1), 0.5), [2, 8]);
    expectClose(binary("sigmoid_grad", f64(8), f64(0.25)), [1.5]);
    expectClose(binary("tanh_grad", f64(8), f64(0.5)), [6]);
    expectClose(binary("silu_grad", f64(8), f64(0)), [4]);
    expectClose(binary("gelu_grad", f64(2), f64(0)), [1]);
    expectClose(binary("gelu_tanh_grad", f64(2), f64(0)), [1]);
    expectClose(binary("softplus_grad", f64(8, 8), f64(0, 3), 2, 5), [4, 8]);
    expectClose(binary("hard_sigmoid_grad", f64(6, 6, 6), f64(-3, 0, 3)), [0, 1, 0]);
    expectClose(binary("hard_swish_grad", f64(6, 6, 6), f64(-3, 0, 3)), [0, 3, 6]);
    expect(binary("add_scaled", f64(1, 2), f64(10, 20), 0.5)).toEqual([6, 12]);
  });
  test("every gradient is the slope of its function", () => {
    const functions = [
      "relu",
      "leaky_relu",
      "elu",
      "gelu",
      "gelu_tanh",
      "silu",
      "sigmoid",
      "tanh",
      "softplus",
      "clamp",
    ] as const;
    const x = f64(-4.2, -1.7, -0.6, 0.4, 1.3, 2.6, 4.4); // no kinks nearby
    const h = 1e-5;
    for (const name of [...functions, "hard_sigmoid", "hard_swish"] as const) {
      const [p0, p1] = name === "clamp" ? [-2, 2] : [0.8, 3];
      const slopes = unary(
        name,
        x.map((v) => v + h),
        p0,
        p1,
      );
      for (const [i, below] of unary(
        name,
        x.map((v) => v - h),
        p0,
        p1,
      ).entries()) {
        slopes[i] = (3 * (slopes[i]! - below)) / (2 * h);
      }
      const takesOutput = name === "relu" || name === "sigmoid" || name === "tanh";
      const given = takesOutput ? Float64Array.from(unary(name, x)) : x;
      expectClose(
        binary(
          `${name}_grad`,
          x.map(() => 3),
          given,
          p0,
          p1,
        ),
        slopes,
        1e-8,
      );
    }
  });
  test("int32 wraps, truncates quotients and survives zero divisors", () => {
    const least = -(2 ** 31);
    expect(binary("mul", i32(2 ** 31 - 1, 65536), i32(2 ** 31 - 1, 65536), 0, 0, "int32")).toEqual([1, 0]);
    expect(binary("add", i32(2 ** 31 - 1), i32(1), 0, 0, "int32")).toEqual([least]);
    expect(binary("sub", i32(least, 5), i32(1, 7), 0, 0, "int32")).toEqual([2 ** 31 - 1, -2]);
    expect(binary("add_scaled", i32(1, 5), i32(2 ** 30, 7), 3, 0, "int32")).toEqual([1 - 2 ** 30, 26]);
    expect(binary("div", i32(-7, 7, least, 5), i32(2, -2, -1, 0), 0, 0, "int32")).toEqual([-3, -3, least, 0]);
    expect(binary("remainder", i32(-7, 7, 5), i32(3, -3, 0), 0, 0, "int32")).toEqual([2, -2, 0]);
  });
  test("strides may be 0 or negative, and the operand's first element lies inside its block", () => {
    const a = { array: range(6), offset: 5 }; // read backwards: [[5, 4, 3], [2, 1, 0]]
    const b = { array: f64(nan, 10, 20), offset: 1 }; // one per row
    const y = out(6);
    const strides = { a_stride: [-3, -1], b_stride: [1, 0] };
    call("binary", { op: binaryCodes.indexOf("add"), rank: 2, shape: [2, 3], ...strides }, [a, b, y]);
    expect(Array.from(y)).toEqual([15, 14, 13, 22, 21, 20]);
  });
  test("rank 0 is one element, and an empty shape none", () => {
    const y = out(1);
    call("binary", { op: binaryCodes.indexOf("sub"), rank: 0 }, [f64(7), f64(3), y]);
    expect(Array.from(y)).toEqual([4]);
    call("binary", { op: 0, rank: 2, shape: [0, 1], a_stride: [1, 1], b_stride: [1, 1] }, [f64(7), f64(3), y]);
    expect(Array.from(y)).toEqual([4]);
  });
  test("compare: NaN is unequal to everything", () => {
    const wanted = { equal: [0, 1, 0, 0], not_equal: [1, 0, 1, 1], less: [1, 0, 0, 0], less_equal: [1, 1, 0, 0] };
    const rest = { greater: [0, 0, 1, 0], greater_equal: [0, 1, 1, 0] };
    for (const [name, values] of Object.entries({ ...wanted, ...rest })) {
      const y = bytes(9, 9, 9, 9);
      const op = (compareCodes as readonly string[]).indexOf(name);
      const sizes = { op, rank: 1, shape: [4], a_stride: [1], b_stride: [1] };
      call("compare", sizes, [f64(1, 2, 3, nan), f64(2, 2, 2, nan), y]);
      expect(Array.from(y), name).toEqual(values);
    }
  });
  test("where broadcasts all three", () => {
    const y = out(4);
    const strides = { condition_stride: [1, 0], a_stride: [2, 1], b_stride: [0, 0] };
    call("where", { rank: 2, shape: [2, 2], ...strides }, [bytes(0, 1), f64(1, 2, 3, 4), f64(-1), y]);
    expect(Array.from(y)).toEqual([-1, -1, 3, 4]);
  });
});

describe("fill and copy", () => {
  test("conversions: truncate and saturate from floats, wrap between integers, bool is x != 0", () => {
    const convert = (x: TypedArray, from: DType, y: TypedArray, to: DType): number[] => {
      const strides = { x_stride: [1], y_stride: [1] };
      call("copy", { x_type: typeCode(from), rank: 1, shape: [x.length], ...strides }, [x, y], to);
      return Array.from(y);
    };
    const x = f64(-1.7, 1.7, nan, 3e9, -infinity);
    expect(convert(x, "float64", i32(9, 9, 9, 9, 9), "int32")).toEqual([-1, 1, 0, 2 ** 31 - 1, -(2 ** 31)]);
    expect(convert(x, "float64", bytes(9, 9, 9, 9, 9), "uint8")).toEqual([0, 1, 0, 255, 0]);
    expect(convert(f64(0, -0, 0.3, nan), "float64", bytes(9, 9, 9, 9), "bool")).toEqual([0, 0, 1, 1]);
    expect(convert(i32(300, -1), "int32", bytes(9, 9), "uint8")).toEqual([44, 255]);
    expect(convert(f64(0.1), "float64", Float32Array.of(9), "float32")).toEqual([Math.fround(0.1)]);
  });
  test("copy writes a transpose through the strides of y", () => {
    const y = out(6);
    const sizes = { x_type: typeCode("float64"), rank: 2, shape: [2, 3], x_stride: [3, 1], y_stride: [1, 2] };
    call("copy", sizes, [range(6), y]);
    expect(Array.from(y)).toEqual([0, 3, 1, 4, 2, 5]);
  });
  test("fill converts its value", () => {
    const y = bytes(9, 9);
    call("fill", { count: 2, value: 0.5 }, [y], "bool");
    expect(Array.from(y)).toEqual([1, 1]);
    const z = i32(9, 9);
    call("fill", { count: 2, value: -2.9 }, [z], "int32");
    expect(Array.from(z)).toEqual([-2, -2]);
  });
});
