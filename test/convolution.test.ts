import { describe, expect, it } from "vitest";
import { computing, ways } from "./support/backends.js";
import { difference, valuesOf } from "./support/compare.js";
import { TestRandom } from "./support/random.js";
import {
  ArgumentError,
  convolve,
  conv1d,
  conv1dInput,
  conv1dWeight,
  conv2d,
  conv2dInput,
  conv2dWeight,
  conv3d,
  conv3dInput,
  conv3dWeight,
  convMatrix,
  convTranspose1d,
  convTranspose2d,
  convTranspose3d,
  corr1d,
  corr2d,
  corr3d,
  correlate,
  DTypeError,
  fold,
  GradientError,
  grad,
  matmul,
  maxPool2d,
  maxUnpool2d,
  noGrad,
  ones,
  pad,
  ShapeError,
  type Tensor,
  tensor,
  unfold,
  XcorrError,
  zeros,
} from "./support/xcorr.js";

/** What convolutions satisfy whatever the numbers are, in float64, computed every way there is. */

const conv = [conv1d, conv2d, conv3d] as const;
const convTranspose = [convTranspose1d, convTranspose2d, convTranspose3d] as const;
const random = new TestRandom(20);
const normal = (...shape: number[]): Tensor<"float64"> => random.normal(shape) as Tensor<"float64">;
const between = (low: number, high: number): number => low + Math.floor(random.next() * (high - low + 1));
const filled = (...shape: number[]): Tensor<"float64"> => ones(shape, { dtype: "float64" });
const product = (list: readonly number[]): number => list.reduce((a, b) => a * b, 1);

function same(got: Tensor, expected: Tensor, tolerance = 1e-12): void {
  expect(difference(valuesOf(got), valuesOf(expected), tolerance)).toBeNull();
}

/** A convolution whose every argument is drawn at random; the shapes always fit. */
interface Drawn {
  readonly dims: 1 | 2 | 3;
  readonly x: Tensor<"float64">;
  readonly weight: Tensor<"float64">;
  readonly stride: number[];
  readonly padding: number[];
  readonly dilation: number[];
  readonly groups: number;
}

function draw(dims: 1 | 2 | 3 = between(1, 3) as 1 | 2 | 3): Drawn {
  const list = (low: number, high: number): number[] => Array.from({ length: dims }, () => between(low, high));
  const groups = between(1, 3);
  const kernel = list(1, 3);
  const dilation = list(1, 2);
  const padding = list(0, 2);
  const size = kernel.map((k, i) => Math.max(1, dilation[i]! * (k - 1) + 1 - 2 * padding[i]! + between(0, 4)));
  return {
    dims,
    x: normal(between(1, 2), groups * between(1, 2), ...size),
    weight: normal(groups * between(1, 2), 1, ...kernel),
    stride: list(1, 3),
    padding,
    dilation,
    groups,
  };
}

/** A drawn convolution, its weight made to fit the channels of x. */
function fitted(dims?: 1 | 2 | 3): Drawn {
  const d = draw(dims);
  const channels = d.x.shape[1]! / d.groups;
  return { ...d, weight: normal(d.weight.shape[0]!, channels, ...d.weight.shape.slice(2)) };
}

const optionsOf = ({ stride, padding, dilation, groups }: Drawn) => ({ stride, padding, dilation, groups });

/** The definition, element by element. */
function byDefinition({ x, weight, stride, padding, dilation, groups }: Drawn, out: readonly number[]): Float64Array {
  const [batch, channels] = x.shape as [number, number];
  const [outChannels, groupInputs] = weight.shape as [number, number];
  const [size, kernel] = [x.shape.slice(2), weight.shape.slice(2)];
  const [xs, ws] = [x.data(), weight.data()];
  const y = new Float64Array(batch * outChannels * product(out));
  const unflatten = (flat: number, shape: readonly number[]): number[] => {
    const at = new Array<number>(shape.length);
    for (let i = shape.length - 1; i >= 0; i--) {
      at[i] = flat % shape[i]!;
      flat = Math.floor(flat / shape[i]!);
    }
    return at;
  };
  const flatten = (at: readonly number[], shape: readonly number[]): number =>
    at.reduce((flat, a, i) => flat * shape[i]! + a, 0);
  for (let i = 0; i < y.length; i++) {
    const [n, o, ...p] = unflatten(i, [batch, outChannels, ...out]) as [number, number, ...number[]];
    const first = Math.floor(o / (outChannels / groups)) * groupInputs;
    for (let t = 0; t < groupInputs * product(kernel); t++) {
      const [c, ...tap] = unflatten(t, [groupInputs, ...kernel]) as [number, ...number[]];
      const at = p.map((q, d) => q * stride[d]! - padding[d]! + tap[d]! * dilation[d]!);
      if (at.every((a, d) => a >= 0 && a < size[d]!)) {
        y[i]! +=
          xs[flatten([n, first + c, ...at], [batch, channels, ...size])]! * ws[o * groupInputs * product(kernel) + t]!;
      }
    }
  }
  return y;
}

describe.each(ways)("convolution on %s", (way) => {
  const run = (name: string, work: () => void): void => it(name, () => computing(way, work));

  run("is its definition, and its gradients are functions of their own", () => {
    for (let i = 0; i < 40; i++) {
      const c = fitted();
      const x = c.x.requiresGrad_();
      const weight = c.weight.requiresGrad_();
      const y = conv[c.dims - 1]!(x, weight, optionsOf(c));
      same(y, tensor(byDefinition(c, y.shape.slice(2)), { shape: y.shape }));
      const dy = normal(...y.shape);
      const [dx, dweight] = grad(y, [x, weight], { gradOutputs: dy });
      const input = [conv1dInput, conv2dInput, conv3dInput][c.dims - 1]!;
      const kernel = [conv1dWeight, conv2dWeight, conv3dWeight][c.dims - 1]!;
      same(input(x.shape, weight.detach(), dy, optionsOf(c)), dx!);
      same(kernel(x.detach(), weight.shape, dy, optionsOf(c)), dweight!);
    }
  });

  run("counts the taps inside when all is one", () => {
    for (let i = 0; i < 30; i++) {
      const c = fitted();
      const counted = { ...c, x: filled(...c.x.shape), weight: filled(...c.weight.shape) };
      const y = conv[c.dims - 1]!(counted.x, counted.weight, optionsOf(c));
      expect([...y.data()]).toEqual([...byDefinition(counted, y.shape.slice(2))]);
    }
  });

  run("shifts its input when one tap is one", () => {
    const x = normal(1, 1, 6, 7);
    for (let tap = 0; tap < 6; tap++) {
      const weight = zeros([1, 1, 2, 3], { dtype: "float64" });
      noGrad(() => weight.view([6]).narrow(0, tap, 1).fill_(1));
      const y = conv2d(x, weight, { stride: [1, 2], dilation: [3, 2], padding: [0, 1] });
      const [row, column] = [Math.floor(tap / 3) * 3, (tap % 3) * 2];
      const shifted = pad(x, [1, 1, 0, 0])
        .slice(2, row, row + 3)
        .slice(3, column, column + 5, 2);
      same(y, shifted, 0);
    }
  });

  run("in groups is independent convolutions side by side", () => {
    for (const [groups, inputs, outputs] of [
      [2, 3, 16],
      [3, 5, 2],
      [8, 1, 3],
    ] as const) {
      const x = normal(2, groups * inputs, 5, 6);
      const weight = normal(groups * outputs, inputs, 3, 2);
      const bias = normal(groups * outputs);
      const y = conv2d(x, weight, { bias, groups, padding: 1 });
      for (let g = 0; g < groups; g++) {
        const part = conv2d(x.narrow(1, g * inputs, inputs), weight.narrow(0, g * outputs, outputs), {
          bias: bias.narrow(0, g * outputs, outputs),
          padding: 1,
        });
        same(y.narrow(1, g * outputs, outputs), part);
      }
    }
  });

  run("and its transpose are adjoint", () => {
    for (let i = 0; i < 30; i++) {
      const c = fitted();
      const y = conv[c.dims - 1]!(c.x, c.weight, optionsOf(c));
      const g = normal(...y.shape);
      const back = convTranspose[c.dims - 1]!(g, c.weight, { ...optionsOf(c), outputSize: c.x.shape.slice(2) });
      expect(back.shape).toEqual(c.x.shape);
      const [left, right] = [y.mul(g).sum().item(), c.x.mul(back).sum().item()];
      expect(Math.abs(left - right)).toBeLessThan(1e-10);
      // The same matrix, once as it is and once transposed.
      same(convTranspose[c.dims - 1]!(g, c.weight, { ...optionsOf(c), outputSize: c.x.shape }), back, 0);
    }
  });

  run("then transposed with outputSize gives every shape back", () => {
    const weights = new Map([2, 3, 4].map((k) => [k, normal(1, 1, k)]));
    for (let size = 13; size <= 23; size++) {
      const x = zeros([1, 1, size], { dtype: "float64" });
      for (const [, weight] of weights)
        for (let dilation = 1; dilation <= 4; dilation++)
          for (let stride = 1; stride <= 3; stride++)
            for (let padding = 0; padding <= 2; padding++) {
              const y = conv1d(x, weight, { dilation, stride, padding });
              expect(convTranspose1d(y, weight, { dilation, stride, padding, outputSize: [size] }).shape).toEqual(
                x.shape,
              );
            }
    }
  });

  run("transposed takes output sizes from the least to stride - 1 more", () => {
    const weight = normal(2, 3, 3, 3);
    for (const shape of [
      [1, 2, 6, 5],
      [2, 6, 5],
    ]) {
      const x = normal(...shape);
      const least = [(6 - 1) * 3 - 2 + 2 + 1, (5 - 1) * 2 - 2 + 2 + 1] as const;
      for (let h = -1; h <= 3; h++)
        for (let w = -1; w <= 2; w++) {
          const call = () =>
            convTranspose2d(x, weight, { stride: [3, 2], padding: 1, outputSize: [least[0] + h, least[1] + w] });
          if (h >= 0 && h < 3 && w >= 0 && w < 2) expect(call().shape.slice(-2)).toEqual([least[0] + h, least[1] + w]);
          else expect(call).toThrow(/outputSize .* not possible/);
        }
    }
  });

  run('keeps the size with "same" and takes nothing with "valid"', () => {
    for (let size = 50; size <= 54; size++)
      for (const k of [1, 2, 3, 8])
        for (let dilation = 1; dilation <= 3; dilation++) {
          const x = normal(1, 1, size).requiresGrad_();
          const weight = normal(1, 1, k);
          const y = conv1d(x, weight, { padding: "same", dilation });
          expect(y.shape).toEqual(x.shape);
          const total = dilation * (k - 1);
          const before = Math.floor(total / 2);
          const explicit = conv1d(x, weight, { padding: [[before, total - before]], dilation });
          same(y, explicit, 0);
          same(y, conv1d(pad(x, [before, total - before]), weight, { dilation }), 1e-13);
          const dy = normal(...y.shape);
          same(grad(y, x, { gradOutputs: dy })[0]!, grad(explicit, x, { gradOutputs: dy })[0]!, 0);
          same(conv1d(x, weight, { padding: "valid", dilation }), conv1d(x, weight, { dilation }), 0);
        }
  });

  run("pads in every mode as pad() does, gradients too", () => {
    for (const mode of ["reflect", "replicate", "circular"] as const)
      for (const padding of [[2, 1], "same"] as const) {
        const x = normal(2, 2, 6, 5).requiresGrad_();
        const weight = normal(3, 2, 4, 2);
        const dilation = [1, 2];
        const y = conv2d(x, weight, { padding, dilation, paddingMode: mode });
        const amounts = padding === "same" ? [1, 1, 1, 2] : [1, 1, 2, 2];
        const explicit = conv2d(pad(x, amounts, { mode }), weight, { dilation });
        same(y, explicit, 0);
        const dy = normal(...y.shape);
        same(grad(y, x, { gradOutputs: dy })[0]!, grad(explicit, x, { gradOutputs: dy })[0]!, 1e-13);
        // One image alone, which PyTorch refuses for circular padding.
        same(conv2d(x.select(0, 1), weight, { padding, dilation, paddingMode: mode }), y.select(0, 1), 1e-13);
      }
  });

  run("leaves gradient 0 where no window reaches", () => {
    const x = normal(1, 2, 32, 32).requiresGrad_();
    const y = conv2d(x, normal(3, 2, 5, 5), { stride: 3, padding: 1 });
    const [dx] = grad(y.sum(), x);
    // 34 padded positions, windows of 5 every 3: the last starts at 27 and ends at 31, which is position 30.
    expect([...dx!.narrow(3, 31, 1).data()].every((v) => v === 0)).toBe(true);
    expect([...dx!.narrow(2, 31, 1).data()].every((v) => v === 0)).toBe(true);
    expect([...dx!.narrow(2, 0, 31).narrow(3, 0, 31).data()].every((v) => v !== 0)).toBe(true);
  });

  run("of an empty batch has gradients of full shape, all zero", () => {
    const weight = normal(4, 1, 3, 3).requiresGrad_();
    const bias = normal(4).requiresGrad_();
    const y = conv2d(zeros([0, 2, 8, 8], { dtype: "float64" }), weight, { bias, groups: 2, stride: 2, padding: 1 });
    expect(y.shape).toEqual([0, 4, 4, 4]);
    y.sum().backward();
    expect(weight.grad!.shape).toEqual(weight.shape);
    expect([...weight.grad!.data(), ...bias.grad!.data()].every((v) => v === 0)).toBe(true);
    const turned = convTranspose2d(zeros([0, 4, 5, 5], { dtype: "float64" }), weight, { groups: 2, stride: 2 });
    expect(turned.shape).toEqual([0, 2, 11, 11]);
    expect([...grad(turned.sum(), weight)[0]!.data()].every((v) => v === 0)).toBe(true);
  });

  run("without input channels is its bias", () => {
    const weight = zeros([3, 0, 2, 2], { dtype: "float64", requiresGrad: true });
    const bias = tensor([1, 2, 3], { dtype: "float64", requiresGrad: true });
    const y = conv2d(zeros([2, 0, 4, 4], { dtype: "float64" }), weight, { bias });
    expect(y.shape).toEqual([2, 3, 3, 3]);
    expect([...y.select(1, 1).reshape([18]).data()]).toEqual(new Array(18).fill(2));
    y.sum().backward();
    expect([...bias.grad!.data()]).toEqual([18, 18, 18]);
    expect(weight.grad!.shape).toEqual([3, 0, 2, 2]);
    expect([...conv2d(zeros([1, 0, 4, 4], { dtype: "float64" }), weight).data()].every((v) => v === 0)).toBe(true);
  });

  run("saves neither the bias nor what no gradient needs", () => {
    const [x, weight, bias] = [normal(1, 2, 5, 5), normal(3, 2, 3, 3), normal(3)];
    weight.requiresGrad_();
    bias.requiresGrad_();
    const y = conv2d(x, weight, { bias });
    noGrad(() => bias.mul_(2));
    noGrad(() => weight.mul_(2)); // x asks for no gradient, so the weight was not saved
    y.sum().backward();
    expect(bias.grad!.data()[0]).toBe(9);
    const image = normal(1, 2, 5, 5).requiresGrad_();
    const z = conv2d(image, weight, { bias });
    noGrad(() => weight.mul_(2));
    expect(() => z.sum().backward()).toThrow(GradientError);
  });

  run("with a 1x1 kernel is linear in the channels; flat dimensions change nothing", () => {
    const x = normal(2, 5, 3, 4);
    const weight = normal(6, 5, 1, 1);
    const pixels = x.permute([0, 2, 3, 1]).reshape([24, 5]);
    const expected = matmul(pixels, weight.reshape([6, 5]).t())
      .reshape([2, 3, 4, 6])
      .permute([0, 3, 1, 2]);
    same(conv2d(x, weight), expected);
    const [signal, taps] = [normal(2, 3, 17), normal(4, 3, 5)];
    const flat = conv2d(signal.unsqueeze(2), taps.unsqueeze(2), { stride: [1, 2], padding: [0, 3], dilation: [1, 2] });
    same(conv1d(signal, taps, { stride: 2, padding: 3, dilation: 2 }), flat.squeeze(2));
    const volume = normal(1, 3, 2, 6, 5);
    const kernel = normal(4, 3, 1, 3, 2);
    const whole = conv3d(volume, kernel, { padding: [0, 1, 1] });
    for (const slice of [0, 1]) {
      same(whole.select(2, slice), conv2d(volume.select(2, slice), kernel.squeeze(2), { padding: 1 }));
    }
  });

  run("is unfold, a matrix product and a reshape", () => {
    for (let i = 0; i < 10; i++) {
      const c = { ...fitted(2), groups: 1 };
      const weight = normal(3, c.x.shape[1]!, ...c.weight.shape.slice(2));
      const { stride, padding, dilation } = c;
      const y = conv2d(c.x, weight, { stride, padding, dilation });
      const columns = unfold(c.x, weight.shape.slice(2), { stride, padding, dilation });
      same(matmul(weight.reshape([3, -1]), columns).reshape(y.shape), y);
      const size = c.x.shape.slice(2);
      const back = fold(columns, size, weight.shape.slice(2), { stride, padding, dilation });
      const counts = fold(
        unfold(filled(...c.x.shape), weight.shape.slice(2), { stride, padding, dilation }),
        size,
        weight.shape.slice(2),
        { stride, padding, dilation },
      );
      same(back, c.x.mul(counts));
    }
  });

  run("is a matrix, dense or sparse, whose gradient reaches the weight", () => {
    for (const paddingMode of ["zeros", "reflect", "circular"] as const)
      for (const groups of [1, 2]) {
        const x = normal(1, 4, 5, 6);
        const weight = normal(4, 4 / groups, 3, 2).requiresGrad_();
        const options = { stride: [1, 2], padding: 1, groups, paddingMode };
        const y = conv2d(x, weight, options);
        const matrix = convMatrix(weight, [4, 5, 6], options);
        expect(matrix.shape).toEqual([y.numel(), x.numel()]);
        const product = matmul(matrix, x.reshape([x.numel()]));
        same(product.reshape(y.shape), y);
        const dy = normal(y.numel());
        same(grad(product, weight, { gradOutputs: dy })[0]!, grad(y, weight, { gradOutputs: dy.reshape(y.shape) })[0]!);
        const { rows, columns, values, shape } = convMatrix(weight, [4, 5, 6], { ...options, sparse: true });
        const dense = new Float64Array(shape[0] * shape[1]);
        const [r, c, v] = [rows.data(), columns.data(), values.data()];
        v.forEach((value, i) => {
          dense[r[i]! * shape[1] + c[i]!]! += value;
        });
        same(tensor(dense, { shape }), matrix);
      }
  });
});

describe.each(ways)("convolve on %s", (way) => {
  const run = (name: string, work: () => void): void => it(name, () => computing(way, work));

  run("is the product of polynomials in 1 to 3 variables, and commutes", () => {
    for (let dims = 1; dims <= 3; dims++)
      for (let i = 0; i < 5; i++) {
        const sizes = (): number[] => Array.from({ length: dims }, () => between(1, 5));
        const [a, b] = [normal(...sizes()), normal(...sizes())];
        const shape = a.shape.map((s, d) => s + b.shape[d]! - 1);
        const sum = new Float64Array(product(shape));
        const walk = (t: Tensor, visit: (at: number[], value: number) => void): void => {
          const values = t.data();
          values.forEach((value, flat) => {
            const at: number[] = [];
            for (let d = dims - 1, rest = flat; d >= 0; d--) {
              at.unshift(rest % t.shape[d]!);
              rest = Math.floor(rest / t.shape[d]!);
            }
            visit(at, value);
          });
        };
        walk(a, (p, u) => walk(b, (q, v) => (sum[p.reduce((f, at, d) => f * shape[d]! + at + q[d]!, 0)]! += u * v)));
        const full = convolve(a, b);
        same(full, tensor(sum, { shape }));
        same(convolve(b, a), full);
        // Correlation is convolution with the kernel read backwards; exchanged, it comes out backwards.
        const backwards = (t: Tensor): Tensor =>
          tensor(Float64Array.from(t.data()).reverse(), { shape: t.shape, dtype: "float64" });
        same(correlate(a, b), convolve(a, backwards(b) as Tensor<"float64">));
        same(correlate(b, a), backwards(correlate(a, b)));
        const same_ = convolve(a, b, { mode: "same" });
        const start = b.shape.map((k) => Math.floor((k - 1) / 2));
        same(
          same_,
          start.reduce((t, s, d) => t.narrow(d, s, a.shape[d]!), full as Tensor),
        );
        same(
          correlate(a, b, { mode: "same" }),
          start.reduce((t, s, d) => t.narrow(d, s, a.shape[d]!), correlate(a, b) as Tensor),
        );
      }
  });

  run("associates, and in valid mode takes either order", () => {
    const [a, b, c] = [normal(6, 7), normal(3, 2), normal(2, 4)];
    same(convolve(convolve(a, b), c), convolve(a, convolve(b, c)));
    same(convolve(a, b, { mode: "valid" }), convolve(b, a, { mode: "valid" }));
    same(convolve(a, b, { mode: "valid" }), convolve(a, b).narrow(0, 2, 4).narrow(1, 1, 6));
    same(correlate(a, b, { mode: "valid" }), corr2d(a, b), 0);
    expect(() => correlate(b, a, { mode: "valid" })).toThrow(/x \[3, 2\] is smaller than kernel \[6, 7\]/);
    expect(() => convolve(normal(5, 1), normal(1, 5), { mode: "valid" })).toThrow(ShapeError);
  });

  run("has derivatives of any order", () => {
    const [x, k] = [normal(5).requiresGrad_(), normal(3).requiresGrad_()];
    const y = convolve(x, k);
    const [dx] = grad(y.mul(y).sum(), x, { createGraph: true });
    const [dk] = grad(dx!.sum(), k);
    // The derivative of sum(2 K'K x) by central differences.
    const eps = 1e-6;
    const at = (i: number, step: number): number => {
      const moved = Float64Array.from(k.data(), (v, j) => (j === i ? v + step : v));
      const kernel = tensor(moved, { shape: [3] });
      const constant = x.detach().requiresGrad_();
      const z = convolve(constant, kernel);
      return Number(grad(z.mul(z).sum(), constant)[0]!.sum().item());
    };
    for (let i = 0; i < 3; i++) expect(dk!.data()[i]).toBeCloseTo((at(i, eps) - at(i, -eps)) / (2 * eps), 5);
  });
});

/** Every reason to refuse a convolution: its call, and what the message must say. */
const x4 = (): Tensor<"float64"> => filled(2, 4, 8, 8);
const w4 = (): Tensor<"float64"> => filled(6, 4, 3, 3);
const huge = 2 ** 31 - 1;

const refused: readonly (readonly [what: string, call: () => unknown, kind: typeof XcorrError, message: RegExp])[] = [
  [
    "rank of x",
    () => conv2d(filled(8, 8), w4()),
    ShapeError,
    /conv2d: x must be \[channels, height, width\] or \[batch, .*\[8, 8\]/,
  ],
  ["x as a list", () => conv2d([[1]] as never, w4()), ArgumentError, /conv2d: x must be a tensor/],
  [
    "dtype of x",
    () => conv2d(ones([1, 4, 8, 8], { dtype: "int32" }) as never, w4()),
    DTypeError,
    /x \[1, 4, 8, 8\] int32/,
  ],
  [
    "dtype of weight",
    () => conv2d(x4(), ones([6, 4, 3, 3]) as never),
    DTypeError,
    /weight \[6, 4, 3, 3\] float32.*same dtype/,
  ],
  [
    "dtype of bias",
    () => conv2d(x4(), w4(), { bias: ones([6]) as never }),
    DTypeError,
    /bias \[6\] float32.*same dtype/,
  ],
  [
    "padding string",
    () => conv2d(x4(), w4(), { padding: "full" as never }),
    ArgumentError,
    /padding must be one of "same", "valid", got "full"/,
  ],
  [
    "same with stride",
    () => conv2d(x4(), w4(), { padding: "same", stride: [1, 3] }),
    ArgumentError,
    /"same" needs all strides to be 1.*\[1, 3\]/,
  ],
  [
    "count of stride",
    () => conv2d(x4(), w4(), { stride: [1, 1, 1] }),
    ArgumentError,
    /stride must be an integer or a list of 1 or 2.*\[1, 1, 1\]/,
  ],
  [
    "count of padding",
    () => conv2d(x4(), w4(), { padding: [1, 1, 1] }),
    ArgumentError,
    /padding must be an integer or a list/,
  ],
  [
    "count of pairs",
    () =>
      conv2d(x4(), w4(), {
        padding: [
          [1, 1],
          [1, 1],
          [1, 1],
        ],
      }),
    ArgumentError,
    /2 pairs \[before, after\]/,
  ],
  [
    "count of dilation",
    () => conv2d(x4(), w4(), { dilation: [] }),
    ArgumentError,
    /dilation must be an integer or a list/,
  ],
  ["fraction", () => conv2d(x4(), w4(), { padding: 1.5 }), ArgumentError, /padding must be an integer from 0.*1\.5/],
  ["NaN", () => conv2d(x4(), w4(), { stride: Number.NaN }), ArgumentError, /stride must be an integer from 1.*NaN/],
  [
    "text",
    () => conv2d(x4(), w4(), { stride: "2" as never }),
    ArgumentError,
    /stride must be an integer or a list.*"2"/,
  ],
  ["zero stride", () => conv2d(x4(), w4(), { stride: 0 }), ArgumentError, /stride must be an integer from 1.*got 0/],
  [
    "negative padding",
    () => conv2d(x4(), w4(), { padding: [0, -1] }),
    ArgumentError,
    /padding\[1\] must be an integer from 0.*got -1/,
  ],
  ["zero dilation", () => conv2d(x4(), w4(), { dilation: 0 }), ArgumentError, /dilation must be an integer from 1/],
  ["zero groups", () => conv2d(x4(), w4(), { groups: 0 }), ArgumentError, /groups must be an integer from 1/],
  ["rank of weight", () => conv2d(x4(), filled(6, 4, 3)), ShapeError, /weight must have 4 dimensions .*\[6, 4, 3\]/],
  [
    "too few outputs",
    () => conv2d(x4(), filled(6, 1, 3, 3), { groups: 8 }),
    ShapeError,
    /groups 8 needs at least 8 .* has 6/,
  ],
  ["no outputs", () => conv2d(x4(), filled(0, 4, 3, 3)), ShapeError, /at least 1 in its first dimension, but has 0/],
  ["outputs by groups", () => conv2d(x4(), filled(6, 1, 3, 3), { groups: 4 }), ShapeError, /divisible by groups 4/],
  [
    "channels",
    () => conv2d(filled(2, 5, 8, 8), w4()),
    ShapeError,
    /weight \[6, 4, 3, 3\] with groups 1 takes 4 input channels, but x \[2, 5, 8, 8\] has 5/,
  ],
  ["channels of an empty batch", () => conv2d(filled(0, 5, 8, 8), w4()), ShapeError, /takes 4 input channels/],
  ["bias length", () => conv2d(x4(), w4(), { bias: filled(5) }), ShapeError, /bias must be \[6\].*\[5\]/],
  ["bias rank", () => conv2d(x4(), w4(), { bias: filled(6, 1) }), ShapeError, /bias must be \[6\]/],
  [
    "small input",
    () => conv2d(filled(1, 1, 4, 9), filled(1, 1, 3, 3), { padding: 1, dilation: 3 }),
    ShapeError,
    /padded input 6 = 4 \+ 2\*1 is smaller than the dilated kernel 7 = 3\*\(3-1\)\+1 in dimension height/,
  ],
  [
    "small input, pairs",
    () =>
      conv2d(filled(1, 1, 2, 2), filled(1, 1, 6, 1), {
        padding: [
          [1, 2],
          [0, 0],
        ],
      }),
    ShapeError,
    /padded input 5 = 2 \+ 1 \+ 2/,
  ],
  ["no pixels", () => conv2d(filled(2, 4, 0, 8), w4(), { padding: 3 }), ShapeError, /size 0 in dimension height/],
  ["no taps", () => conv2d(x4(), filled(6, 4, 0, 3)), ShapeError, /at least one tap in dimension height/],
  [
    "padding mode",
    () => conv2d(x4(), w4(), { paddingMode: "xyz" as never }),
    ArgumentError,
    /paddingMode must be one of "zeros", "reflect", "replicate", "circular"/,
  ],
  [
    "reflect too far",
    () => conv2d(x4(), w4(), { padding: 8, paddingMode: "reflect" }),
    ShapeError,
    /reflect padding must be smaller.*8 is not smaller than 8/,
  ],
  [
    "circular too far",
    () => conv2d(x4(), w4(), { padding: 9, paddingMode: "circular" }),
    ShapeError,
    /9 is more than 8/,
  ],
  [
    "option name",
    () => conv2d(x4(), w4(), { strides: 2 } as never),
    ArgumentError,
    /no option "strides"; did you mean "stride"/,
  ],
  ["options as number", () => conv2d(x4(), w4(), 2 as never), ArgumentError, /options must be an object/],
  ["output too large", () => conv2d(x4(), w4(), { padding: huge }), ShapeError, /at most 1073741823 elements/],
  [
    "positions beyond int32",
    () => conv2d(x4(), w4(), { padding: 2 ** 30, stride: huge, dilation: 2 ** 29 }),
    ShapeError,
    /at most 1073741823 elements in dimension height, but padding, stride and dilation make it 2147483656/,
  ],
  [
    "transposed: positions beyond int32",
    () => convTranspose2d(filled(1, 4, 2, 2), filled(4, 3, 3, 3), { stride: huge, padding: 2 ** 30 }),
    ShapeError,
    /at most 1073741823 elements in dimension height/,
  ],
  [
    "padding too large",
    () => conv2d(x4(), w4(), { padding: 2 ** 31 }),
    ArgumentError,
    /padding must be an integer from 0/,
  ],
  [
    "dilation too large",
    () => conv2d(x4(), w4(), { dilation: huge }),
    ShapeError,
    /smaller than the dilated kernel 4294967295/,
  ],
  [
    "endless replicate",
    () => conv2d(x4(), w4(), { padding: [huge, 0], stride: [huge, 1], paddingMode: "replicate" }),
    ShapeError,
    /at most 1073741823 elements/,
  ],
  [
    "transposed: channels",
    () => convTranspose2d(filled(2, 5, 8, 8), filled(4, 6, 3, 3)),
    ShapeError,
    /takes 4 input channels, but x \[2, 5, 8, 8\] has 5/,
  ],
  [
    "transposed: bias",
    () => convTranspose2d(x4(), filled(4, 3, 3, 3), { groups: 2, bias: filled(4) }),
    ShapeError,
    /bias must be \[6\]/,
  ],
  [
    "transposed: output padding",
    () => convTranspose2d(x4(), filled(4, 3, 3, 3), { outputPadding: 1 }),
    ArgumentError,
    /outputPadding must be smaller than stride or dilation, but 1/,
  ],
  [
    "transposed: negative output padding",
    () => convTranspose2d(x4(), filled(4, 3, 3, 3), { outputPadding: -1 }),
    ArgumentError,
    /outputPadding must be an integer from 0/,
  ],
  [
    "transposed: nothing left",
    () => convTranspose2d(filled(1, 4, 1, 1), filled(4, 3, 1, 1), { padding: 1 }),
    ShapeError,
    /size -1 = \(1 - 1\)\*1 - 2 \+ 1\*\(1-1\) \+ 0 \+ 1 in dimension height/,
  ],
  [
    "transposed: padding string",
    () => convTranspose2d(x4(), filled(4, 3, 3, 3), { padding: "same" as never }),
    ArgumentError,
    /padding must be in numbers/,
  ],
  [
    "transposed: padding mode",
    () => convTranspose2d(x4(), filled(4, 3, 3, 3), { paddingMode: "reflect" as never }),
    ArgumentError,
    /paddingMode/,
  ],
  [
    "transposed: length of outputSize",
    () => convTranspose2d(x4(), filled(4, 3, 3, 3), { outputSize: [10, 10, 10] }),
    ArgumentError,
    /outputSize must have 2 or 4 sizes/,
  ],
  ["transposed: no pixels", () => convTranspose2d(filled(2, 4, 0, 8), filled(4, 3, 3, 3)), ShapeError, /size 0/],
  [
    "transposed: output too large",
    () => convTranspose2d(x4(), filled(4, 3, 3, 3), { stride: 2 ** 25 }),
    ShapeError,
    /2\^40/,
  ],
  [
    "input gradient: shape",
    () => conv2dInput([2, 4, 9, 8], w4(), filled(2, 6, 6, 6)),
    ShapeError,
    /is \[2, 6, 7, 6\], but gradOutput is \[2, 6, 6, 6\]/,
  ],
  [
    "weight gradient: groups",
    () => conv2dWeight(x4(), [6, 2, 3, 3], filled(2, 6, 6, 6), { groups: 4 }),
    ArgumentError,
    /groups/,
  ],
  [
    "corr2d of images",
    () => corr2d(filled(1, 1, 6, 8), filled(1, 2)),
    ShapeError,
    /corr2d: X must be a matrix, but it is \[1, 1, 6, 8\]; use conv2d for batches, or X\.squeeze\(\) for one image/,
  ],
  ["corr2d of a batch", () => corr2d(filled(2, 6, 8), filled(1, 2)), ShapeError, /use conv2d for batches$/],
  [
    "corr2d of vectors",
    () => corr2d(filled(6), filled(1, 2)),
    ShapeError,
    /X must be a matrix, but it is \[6\]; use corr1d/,
  ],
  ["corr2d: kernel", () => corr2d(filled(6, 8), filled(2)), ShapeError, /K must be a matrix/],
  [
    "corr2d: small",
    () => corr2d(filled(6, 8), filled(7, 2)),
    ShapeError,
    /X \[6, 8\] is smaller than K \[7, 2\] in dimension height: 6 < 7/,
  ],
  ["corr1d", () => corr1d(filled(6, 8), filled(2)), ShapeError, /X must be a vector/],
  ["corr3d", () => corr3d(filled(6, 8), filled(2, 2, 2)), ShapeError, /X must be a volume/],
  ["convolve: ranks", () => convolve(filled(6, 8), filled(2)), ShapeError, /both be vectors, matrices or volumes/],
  [
    "convolve: mode",
    () => convolve(filled(6), filled(2), { mode: "all" as never }),
    ArgumentError,
    /mode must be one of/,
  ],
  ["matrix too large", () => convMatrix(filled(1, 1, 1, 1), [1, 100_000, 100_000]), ShapeError, /too large/],
  ["fold: rows", () => fold(filled(1, 7, 36), [8, 8], 3), ShapeError, /7 rows.*9 = 3 \* 3/],
  ["fold: columns", () => fold(filled(1, 9, 35), [8, 8], 3), ShapeError, /35 columns.*36 = 6 \* 6/],
  [
    "unpool: index",
    () => maxUnpool2d(filled(1, 1, 1, 1), tensor([[[[9]]]], { dtype: "int32" }), 2),
    XcorrError,
    /index 9/,
  ],
  ["pool: padding", () => maxPool2d(x4(), 2, { padding: 2 }), ArgumentError, /at most half/],
];

describe("max pooling over windows of 3x3 with stride 2", () => {
  const special = [Number.NaN, Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, -0, 1, 1];
  for (const way of ways)
    for (const dtype of ["float32", "float64"] as const)
      it(`finds the first of the largest and the first NaN: ${way}, ${dtype}`, () => {
        for (const [planes, height, width] of [
          [3, 37, 66],
          [2, 7, 9],
          [2, 1, 1],
          [1, 2, 70],
          [2, 12, 131],
          [5, 3, 3],
        ] as const)
          for (const padding of [0, 1])
            for (const ceilMode of [false, true]) {
              if (padding === 0 && Math.min(height, width) < 3) continue;
              const values = Float64Array.from({ length: planes * height * width }, () =>
                random.next() < 0.4
                  ? special[between(0, special.length - 1)]!
                  : Math.round(random.next() * 64) / 32 - 1,
              );
              const x = tensor(values, { shape: [1, planes, height, width], dtype });
              const options = { stride: 2, padding, ceilMode, returnIndices: true } as const;
              const [y, index] = computing(way, () => maxPool2d(x, 3, options));
              const [, , rows, columns] = y.shape as [number, number, number, number];
              const expected: number[] = [];
              const places: number[] = [];
              for (let plane = 0; plane < planes; plane++)
                for (let i = 0; i < rows; i++)
                  for (let j = 0; j < columns; j++) {
                    let place = -1;
                    let best = Number.NEGATIVE_INFINITY;
                    for (let tap = 0; tap < 9; tap++) {
                      const [h, w] = [2 * i - padding + Math.floor(tap / 3), 2 * j - padding + (tap % 3)];
                      if (h < 0 || h >= height || w < 0 || w >= width) continue;
                      const value = values[(plane * height + h) * width + w]!;
                      if (place >= 0 && !(value > best || (Number.isNaN(value) && !Number.isNaN(best)))) continue;
                      [place, best] = [h * width + w, value];
                    }
                    expected.push(best);
                    places.push(place);
                  }
              expect([...y.data()]).toEqual(expected);
              expect([...index.data()]).toEqual(places);
            }
      });
});

describe("what cannot be computed", () => {
  it("does not compile either, where an option is misspelt or a result is not what was asked for", () => {
    const [x, weight] = [x4(), w4()];
    // @ts-expect-error
    expect(() => conv2d(x, weight, { strides: 2 })).toThrow(ArgumentError);
    // @ts-expect-error
    expect(() => conv2d(x, weight, { padding: "full" })).toThrow(ArgumentError);
    // @ts-expect-error
    expect(() => convTranspose2d(x, weight, { output_padding: 1 })).toThrow(ArgumentError);
    // @ts-expect-error
    expect(() => maxPool2d(x, 2, { ceil: true })).toThrow(ArgumentError);
    const pair: [Tensor<"float64">, Tensor<"int32">] = maxPool2d(x, 2, { returnIndices: true });
    const one: Tensor<"float64"> = maxPool2d(x, 2);
    expect(pair[1].shape).toEqual(one.shape);
  });

  it.each(refused)("is refused before anything happens: %s", (_what, call, kind, message) => {
    expect(call).toThrow(kind);
    expect(call).toThrow(message);
    same(corr2d(filled(2, 2), filled(1, 2)), filled(2, 1).mul(2), 0); // the next call works
  });
});
