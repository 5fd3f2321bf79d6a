/** The reference kernels against numbers that can be checked by hand; the native kernels are compared with them. */

import { describe, expect, test } from "vitest";
import {
  activationCodes,
  binaryCodes,
  compareCodes,
  type KernelName,
  type KernelSizes,
  kernels,
  randomCodes,
  reduceCodes,
  scatterCodes,
  sizesFields,
  unaryCodes,
} from "../lib/backend/abi.js";
import { decodeSizes, type Operand } from "../lib/backend/contract.js";
import { type DType, type TypedArray, typeCode } from "../lib/core/dtype.js";
import { empty } from "../lib/core/tensor.js";
import { reference, referenceBackend } from "../lib/reference/backend.js";
import { erf, erfc } from "../lib/reference/special.js";

const f64 = (...values: number[]): Float64Array => Float64Array.from(values);
const i32 = (...values: number[]): Int32Array => Int32Array.from(values);
const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);
/** Outputs start as something no kernel writes, so that an element left out is seen. */
const out = (length: number): Float64Array => new Float64Array(length).fill(-12345);
const outInt = (length: number): Int32Array => new Int32Array(length).fill(-12345);
const range = (length: number): Float64Array => Float64Array.from({ length }, (_, i) => i);

type Given = TypedArray | Operand | null;

/** Sizes by name; dimensions of lower rank may be given alone (see flatten). */
type GivenSizes<K extends KernelName> = {
  readonly [F in keyof KernelSizes<K>]?: KernelSizes<K>[F] extends number ? number : readonly number[];
};

/** Runs a kernel on operands that each lie in the middle of a larger array, whose rest must stay as it was. */
function call<K extends KernelName>(
  kernel: K,
  sizes: NoInfer<GivenSizes<K>>,
  operands: readonly Given[],
  dtype: DType = "float64",
): number {
  const margin = 3;
  const placed = operands.map((given) => {
    if (given === null || "offset" in given) return given;
    const array = new (given.constructor as new (length: number) => TypedArray)(given.length + 2 * margin).fill(77);
    array.set(given, margin);
    return { array, offset: margin };
  });
  const flat = flatten(kernel, sizes as Record<string, number | readonly number[]>);
  const run = reference[kernel] as unknown as (s: object, o: readonly (Operand | null)[], d: DType) => number;
  const status = run(decodeSizes(kernel, flat), placed, dtype);
  for (const [i, given] of operands.entries()) {
    if (given === null || "offset" in given) continue;
    const { array } = placed[i]!;
    given.set(array.subarray(margin, margin + given.length));
    expect(Array.from(array.subarray(0, margin)), `${kernel}: before operand ${i}`).toEqual([77, 77, 77]);
    expect(Array.from(array.subarray(margin + given.length)), `${kernel}: after operand ${i}`).toEqual([77, 77, 77]);
  }
  return status;
}

/** Fields that are left out are 0; triples are filled from the front with 1 (0 for pad), as ops do below rank 3. */
function flatten(kernel: KernelName, sizes: Record<string, number | readonly number[]>): number[] {
  return sizesFields[kernels[kernel][0]].flatMap((field) => {
    const [, name, length] = /^(\w+)(?:\[(\d)\])?/.exec(field)!;
    const value = sizes[name!] ?? (length === undefined ? 0 : []);
    if (typeof value === "number") return [value];
    const missing = new Array<number>(Number(length) - value.length);
    return length === "3" ? [...missing.fill(name === "pad" ? 0 : 1), ...value] : [...value, ...missing.fill(0)];
  });
}

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

const nan = Number.NaN;
const infinity = Number.POSITIVE_INFINITY;

function expectClose(got: ArrayLike<number>, wanted: readonly number[], tolerance = 1e-13): void {
  expect(got.length).toBe(wanted.length);
  for (const [i, value] of wanted.entries()) {
    const message = `element ${i}: got ${got[i]}, wanted ${value}`;
    expect(
      Object.is(got[i], value) || Math.abs(got[i]! - value) <= tolerance * Math.max(1, Math.abs(value)),
      message,
    ).toBe(true);
  }
}

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
  test("int32 wraps, truncates quotients and survives zero divisors", () => {
    const least = -(2 ** 31);
    expect(binary("mul", i32(2 ** 31 - 1, 65536), i32(2 ** 31 - 1, 65536), 0, 0, "int32")).toEqual([1, 0]);
    expect(binary("add", i32(2 ** 31 - 1), i32(1), 0, 0, "int32")).toEqual([least]);
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
  test("an empty batch gives zero weight gradients of full size", () => {
    const [dw, db] = [out(4), out(1)];
    call("conv_weight_grad", { ...first, batch: 0, out: [2, 2] }, [f64(), f64(), dw, db]);
    expect([...dw, ...db]).toEqual([0, 0, 0, 0, 0]);
  });
});

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

describe("norm", () => {
  // Channel 0 has -3, -1, 1, 3 (mean 0, variance 5); channel 1 has 2, 2, 6, 6 (mean 4, variance 4).
  const x = f64(-3, -1, 2, 2, 1, 3, 6, 6);
  const s = { batch: 2, channels: 2, inner: 2, eps: 0 };
  const root = Math.sqrt(5);
  test("batch_norm: statistics, weight, bias, residual, activation", () => {
    const [y, mean, variance] = [out(8), out(2), out(2)];
    call("batch_norm", s, [x, null, null, null, y, mean, variance]);
    expect([...mean, ...variance]).toEqual([0, 4, 5, 4]);
    expectClose(y, [-3 / root, -1 / root, -1, -1, 1 / root, 3 / root, 1, 1]);
    const residual = f64(0, 0, 0, 0, 0, 0, 0, 5);
    const relu6 = { ...s, activation: activationCodes.indexOf("relu6") };
    call("batch_norm", relu6, [x, f64(root, 2), f64(1, 1), residual, y, mean, variance]);
    expectClose(y, [0, 0, 0, 0, 2, 4, 3, 6]);
    call("batch_norm_inference", s, [x, f64(root, 2), f64(1, 1), null, f64(0, 4), f64(5, 4), y]);
    expectClose(y, [-2, 0, -1, -1, 2, 4, 3, 3]);
  });
  test("batch_norm_grad: a constant gradient dies in dx, the activation masks", () => {
    const [dx, dweight, dbias, dresidual] = [out(8), out(2), out(2), out(8)];
    const ones = new Float64Array(8).fill(1);
    call("batch_norm_grad", s, [x, ones, null, f64(3, 3), f64(0, 4), f64(5, 4), dx, dweight, dbias, null]);
    expectClose(dx, new Array(8).fill(0));
    expectClose([...dweight, ...dbias], [0, 0, 4, 4]);
    const relu = { ...s, activation: activationCodes.indexOf("relu") };
    const y = f64(0, 0, 0, 0, 2, 4, 3, 3);
    call("batch_norm_grad", relu, [x, ones, y, null, f64(0, 4), f64(5, 4), dx, dweight, dbias, dresidual]);
    expect(Array.from(dresidual)).toEqual([0, 0, 0, 0, 1, 1, 1, 1]);
    expectClose([...dweight, ...dbias], [4 / root, 2, 2, 2]);
    // Channel 0: (g - 1/2 - x / 5) / sqrt 5; channel 1: (g - 1/2 -+ 1/2) / 2 = 0.
    expectClose(dx, [0.1 / root, -0.3 / root, 0, 0, 0.3 / root, -0.1 / root, 0, 0]);
    expect(() =>
      call("batch_norm_grad", relu, [x, ones, null, null, f64(0, 4), f64(5, 4), dx, dweight, dbias, null]),
    ).toThrow("an activation needs y");
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

describe("random_fill", () => {
  const draw = (
    kind: (typeof randomCodes)[number],
    count: number,
    seed: number,
    offset: number,
    p0: number,
    p1: number,
  ) => {
    const y = out(count);
    call("random_fill", { kind: randomCodes.indexOf(kind), count, seed, offset, p0, p1 }, [y]);
    return Array.from(y);
  };
  const unit = (word: number): number => (word >>> 8) * 2 ** -24;

  test("the known answer of Philox 4x32-10 for counter 0, key 0", () => {
    // Random123's known answers (kat_vectors).
    const words = [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8];
    expect(draw("uniform", 4, 0, 0, 0, 1)).toEqual(words.map(unit));
    const [u0, u1, u2, u3] = words.map(unit) as [number, number, number, number];
    const [r, q] = [Math.sqrt(-2 * Math.log(u0 + 2 ** -24)), Math.sqrt(-2 * Math.log(u2 + 2 ** -24))];
    const pairs = [r * Math.cos(2 * Math.PI * u1), r * Math.sin(2 * Math.PI * u1)];
    pairs.push(q * Math.cos(2 * Math.PI * u3), q * Math.sin(2 * Math.PI * u3));
    expect(draw("normal", 4, 0, 0, 3, 2)).toEqual(pairs.map((z) => Math.fround(3 + 2 * z)));
    expect(draw("bernoulli", 4, 0, 0, 0.65, 0)).toEqual(words.map((word) => (unit(word) < 0.65 ? 1 : 0)));
  });
  test("the offset counts blocks of four, also past 2^32, and the seed's upper half matters", () => {
    const long = draw("uniform", 12, 5, 2 ** 32 - 1, 0, 1);
    expect(draw("uniform", 4, 5, 2 ** 32, 0, 1)).toEqual(long.slice(4, 8));
    expect(draw("uniform", 3, 5, 2 ** 32 + 1, 0, 1)).toEqual(long.slice(8, 11));
    expect(draw("uniform", 4, 5, 0, 0, 1)).not.toEqual(long.slice(4, 8));
    expect(draw("uniform", 4, 5 + 2 ** 32, 0, 0, 1)).not.toEqual(draw("uniform", 4, 5, 0, 0, 1));
  });
  test("moments and bounds", () => {
    const count = 40000;
    const moments = (values: readonly number[]): [number, number] => {
      const mean = values.reduce((sum, value) => sum + value, 0) / count;
      return [mean, Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / count)];
    };
    // Means within five standard errors; deviations have smaller ones.
    const expectMoments = (values: readonly number[], mean: number, deviation: number): void => {
      const [gotMean, gotDeviation] = moments(values);
      expect(Math.abs(gotMean - mean)).toBeLessThan((5 * deviation) / Math.sqrt(count));
      expect(Math.abs(gotDeviation - deviation)).toBeLessThan((5 * deviation) / Math.sqrt(count));
    };
    const uniform = draw("uniform", count, 42, 0, -1, 3);
    expect(uniform.every((value) => value >= -1 && value < 3)).toBe(true);
    expectMoments(uniform, 1, 4 / Math.sqrt(12));
    expectMoments(draw("normal", count, 42, 0, 1, 2), 1, 2);
    expectMoments(draw("bernoulli", count, 42, 0, 0.25, 0), 0.25, Math.sqrt(3) / 4);
  });
  test("rounding to float32 never reaches the upper end", () => {
    // Between 1 and the next float32 every draw rounds to one of the two.
    const next = 1 + 2 ** -23;
    expect(new Set(draw("uniform", 64, 9, 0, 1, next))).toEqual(new Set([1]));
  });
});

describe("optimiser steps", () => {
  const plain = { count: 1, lr: 0.5 };
  test("sgd: momentum starts as the gradient, dampening and nesterov later", () => {
    const p = f64(1);
    const buffer = f64(nan);
    const s = { ...plain, momentum: 0.5, dampening: 0.5, weight_decay: 2 };
    call("sgd_step", { ...s, step: 1 }, [p, f64(4), buffer]);
    expect([p[0], buffer[0]]).toEqual([1 - 0.5 * 6, 6]);
    call("sgd_step", { ...s, step: 2 }, [p, f64(8), buffer]); // gradient 8 + 2 * -2 = 4, buffer 3 + 2
    expect([p[0], buffer[0]]).toEqual([-4.5, 5]);
    call("sgd_step", { ...plain, momentum: 0.5, nesterov: 1, maximize: 1, step: 3 }, [p, f64(1), buffer]);
    expect([p[0], buffer[0]]).toEqual([-4.5 - 0.5 * (-1 + 0.5 * 1.5), 1.5]);
    call("sgd_step", { ...plain, step: 4 }, [p, f64(2), null]);
    expect(p[0]).toBe(-4.375 - 1);
  });
  test("adam: the first step is lr times the sign; decoupled decay; amsgrad keeps the largest", () => {
    const [p, m, v, vMax] = [f64(10), f64(0), f64(0), f64(0)];
    const s = { ...plain, beta1: 0.5, beta2: 0.75, eps: 0 };
    call("adam_step", { ...s, step: 1 }, [p, f64(4), m, v, null]);
    expectClose([p[0]!, m[0]!, v[0]!], [9.5, 2, 4]);
    call("adam_step", { ...s, step: 1, decoupled: 1, weight_decay: 0.5 }, [p, f64(0), m, v, null]);
    // 9.5 * 0.75, then m = 1, v = 3: step 0.5 * (1 / 0.5) / (sqrt 3 / sqrt 0.25)
    expectClose([p[0]!, m[0]!, v[0]!], [7.125 - 0.5 / Math.sqrt(3), 1, 3]);
    vMax[0] = 100;
    p[0] = 0;
    call("adam_step", { ...s, step: 1, amsgrad: 1, maximize: 1, weight_decay: 1 }, [p, f64(7), m, v, vMax]);
    expectClose([p[0]!, vMax[0]!, m[0]!], [(0.5 / 0.5) * 3 * (0.5 / 10), 100, -3]);
    v[0] = 400;
    call("adam_step", { ...s, step: 1, amsgrad: 1 }, [p, f64(0), m, v, vMax]);
    expect([v[0], vMax[0]]).toEqual([300, 300]);
    expect(() => call("adam_step", { ...s, step: 1, amsgrad: 1 }, [p, f64(0), m, v, null])).toThrow("v_max");
  });
  test("rmsprop: centred, with momentum", () => {
    const [p, square, average, buffer] = [f64(1), f64(0), f64(0), f64(2)];
    const s = { ...plain, alpha: 0.75, eps: 1 };
    call("rmsprop_step", s, [p, f64(4), square, null, null]); // square 4
    expectClose([p[0]!, square[0]!], [1 - (0.5 * 4) / 3, 4]);
    square[0] = 0;
    p[0] = 1;
    call("rmsprop_step", { ...s, centered: 1, momentum: 0.5 }, [p, f64(4), square, average, buffer]);
    const step = 1 + 4 / (Math.sqrt(3) + 1);
    expectClose([p[0]!, square[0]!, average[0]!, buffer[0]!], [1 - 0.5 * step, 4, 1, step]);
  });
  test("adagrad: the sum of squares and a decaying rate", () => {
    const [p, sum] = [f64(1), f64(9)];
    call("adagrad_step", { ...plain, step: 3, lr_decay: 0.5, eps: 1, weight_decay: 1 }, [p, f64(3), sum]);
    expectClose([p[0]!, sum[0]!], [1 - (0.25 * 4) / 6, 25]);
  });
  test("nadam: the gradient's and the mean's share", () => {
    const [p, m, v] = [f64(1), f64(0), f64(0)];
    const s = { ...plain, step: 1, beta1: 0.5, beta2: 0.75, eps: 0, mu: 0.25, mu_next: 0.5, mu_product: 0.25 };
    call("nadam_step", s, [p, f64(4), m, v]);
    // denominator sqrt(4 / 0.25) = 4: 0.5 * 0.75 / 0.75 * 4 / 4 + 0.5 * 0.5 / (1 - 0.125) * 2 / 4
    expectClose([p[0]!, m[0]!, v[0]!], [1 - 0.5 - 0.25 / 0.875 / 2, 2, 4]);
  });
});
