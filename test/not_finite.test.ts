import { describe, expect, it } from "vitest";
import { computing, nativeTargets, withPrecision } from "./support/backends.js";
import { conv2d, manualSeed, nn, noGrad, randn, type Tensor, tensor } from "./support/xcorr.js";

/**
 * Winograd's algorithm adds neighbours before it multiplies, so that one infinity would spoil a whole tile. Every mode
 * gives what direct sums give: infinite and NaN in the same places, finite elsewhere.
 */

type Options = { stride?: number; padding?: number; groups?: number };
const layers: [name: string, x: number[], weight: number[], options: Options][] = [
  ["F(4x4), few tiles", [2, 48, 16, 16], [56, 48, 3, 3], { padding: 1 }],
  ["F(4x4), many tiles", [9, 20, 17, 18], [18, 20, 3, 3], { padding: 1 }],
  ["F(4x4), many channels", [8, 176, 14, 14], [32, 176, 3, 3], { padding: 1 }],
  ["F(4x4), groups", [8, 48, 12, 12], [64, 24, 3, 3], { padding: 1, groups: 2 }],
  ["F(2x2)", [1, 48, 14, 13], [40, 48, 3, 3], {}],
  ["F(2x2), 16 tiles", [1, 184, 7, 7], [184, 184, 3, 3], { padding: 1 }],
  ["weight gradient of three channels", [9, 3, 30, 32], [16, 3, 3, 3], { padding: 1 }],
  ["stride 2", [4, 32, 14, 14], [48, 32, 3, 3], { padding: 1, stride: 2 }],
];
const values = [[Number.POSITIVE_INFINITY], [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY], [Number.NaN], [3e38]];

/** A copy with some values at other places, the same ones for the same seed. */
function spoilt(clean: Tensor, some: readonly number[], seed: number): Tensor {
  const data = Float32Array.from(clean.data());
  some.forEach((value, i) => {
    data[(seed * 7919 + i * 104729) % data.length] = value;
  });
  return tensor(data, { shape: clean.shape }) as Tensor;
}

/** Result, input gradient, weight gradient. */
function computed(x: Tensor, weight: Tensor, bias: Tensor, dy: Tensor, options: Options): Tensor[] {
  const [input, kernel] = [x.detach().requiresGrad_(), weight.detach().requiresGrad_()];
  const y = conv2d(input, kernel, { ...options, bias });
  y.backward(dy);
  return [y.detach(), input.grad!, kernel.grad!];
}

/** Where they differ: infinities and NaN must be the same, what is finite within 5e-6 of the largest. */
function difference(actual: Tensor, expected: Tensor): string | null {
  const [a, b] = [actual.data(), expected.data()];
  let largest = 0;
  for (const value of b) if (Number.isFinite(value)) largest = Math.max(largest, Math.abs(value));
  for (let i = 0; i < b.length; i++)
    if (!Object.is(a[i], b[i]) && !(Math.abs(a[i]! - b[i]!) <= 5e-6 * largest))
      return `${a[i]} instead of ${b[i]} at ${i}`;
  return null;
}

const modes = ["tight", "default"] as const;

describe.each(nativeTargets)("values that are not finite: %s", (way) => {
  it.each(layers)("%s", (name, size, kernel, options) => {
    manualSeed(21);
    const [x, weight, bias] = [randn(size), randn(kernel).div(30), randn([kernel[0]!])];
    const dy = randn(conv2d(x, weight, options).shape);
    let seed = 0;
    for (const some of values)
      for (const what of ["x", "weight", "dy"]) {
        const operand = (clean: Tensor, which: string): Tensor =>
          which === what ? spoilt(clean, some, ++seed) : clean;
        const [a, w, d] = [operand(x, "x"), operand(weight, "weight"), operand(dy, "dy")];
        computing(way, () => {
          const expected = withPrecision("exact", () => computed(a, w, bias, d, options));
          for (const mode of modes)
            withPrecision(mode, () => computed(a, w, bias, d, options)).forEach((result, i) => {
              const which = `${name}, ${mode}, ${some} in ${what}: ${["result", "dx", "dweight"][i]}`;
              expect(difference(result, expected[i]!), which).toBeNull();
            });
        });
      }
  });

  it("leave the outputs that do not touch an infinity finite", () => {
    manualSeed(22);
    const clean = randn([1, 32, 24, 24]);
    const data = Float32Array.from(clean.data());
    data[5 * 576 + 10 * 24 + 7] = Number.POSITIVE_INFINITY; // channel 5, row 10, column 7
    const weight = randn([32, 32, 3, 3]);
    const y = computing(way, () =>
      noGrad(() => conv2d(tensor(data, { shape: clean.shape }) as Tensor, weight, { padding: 1 })),
    ).data();
    y.forEach((value, i) => {
      const [row, column] = [Math.floor(i / 24) % 24, i % 24];
      const touches = Math.abs(row - 10) <= 1 && Math.abs(column - 7) <= 1;
      expect(Number.isFinite(value), `${row}, ${column}`).toBe(!touches);
      expect(Number.isNaN(value)).toBe(false);
    });
  });

  it("are right behind a sum and an activation, and with weights that are kept", () => {
    class Block extends nn.Module {
      conv = new nn.Conv2d(40, 40, 3, { padding: 1 });
      forward(x: Tensor): Tensor {
        return this.conv.forward(x).add(x).relu();
      }
    }
    manualSeed(23);
    const block = new Block().eval();
    for (const some of values) {
      const x = spoilt(randn([2, 40, 16, 16]), some, 3);
      computing(way, () => {
        const expected = withPrecision("exact", () => noGrad(() => block.forward(x)));
        const fast = nn.optimizeForInference(block) as unknown as Block;
        for (let i = 0; i < 3; i++) expect(difference(fast.forward(x), expected), `${some}`).toBeNull();
      });
    }
  });
});
