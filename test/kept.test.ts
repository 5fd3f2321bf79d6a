import { createHash } from "node:crypto";
import { afterEach, describe, expect, it } from "vitest";
import { computing, nativeTargets, sameBits } from "./support/backends.js";
import { difference, valuesOf } from "./support/compare.js";
import {
  add,
  conv2d,
  conv2dInput,
  emptyCache,
  getPrecision,
  memoryReport,
  memoryStats,
  noGrad,
  randn,
  runAsync,
  setMemoryLimit,
  setPrecision,
  type ConvOptions,
  type Tensor,
  where,
} from "./support/xcorr.js";

/** Convolutions keep their weights as they multiply them. That shows in memory and time, never in results. */

const precision = getPrecision();
afterEach(() => {
  setPrecision(precision);
  setMemoryLimit(Number.POSITIVE_INFINITY);
  emptyCache();
});

const layer = (): { image: Tensor; weight: Tensor } => ({
  image: randn([2, 64, 24, 24]) as Tensor,
  weight: randn([72, 64, 3, 3]) as Tensor,
});

const bits = (t: Tensor): string => {
  const { buffer, byteOffset, byteLength } = t.data();
  return createHash("sha256")
    .update(new Uint8Array(buffer, byteOffset, byteLength))
    .digest("hex");
};

function conv(image: Tensor, weight: Tensor): string {
  const y = noGrad(() => conv2d(image, weight, { padding: 1 }));
  const result = bits(y);
  y.dispose();
  return result;
}

/** With the same values in memory of their own, of which nothing is kept. */
function anew(image: Tensor, weight: Tensor): string {
  const copy = weight.clone();
  const values = conv(image, copy);
  copy.dispose();
  return values;
}

/** Live bytes that `work` leaves. */
function left(work: () => void): number {
  const before = memoryStats().live;
  work();
  return memoryStats().live - before;
}

describe.skipIf(nativeTargets.length === 0)("weights kept between calls", () => {
  for (const way of nativeTargets)
    for (const mode of ["default", "tight", "exact"] as const)
      for (const [batch, size] of [
        [2, 24],
        [8, 8],
        [1, 5],
        [1, 7],
      ] as const)
        it(`${way}, ${mode}, ${batch} x ${size} x ${size}: the same bits in every call`, () => {
          computing(way, () => {
            setPrecision(mode);
            const image = randn([batch, 64, size, size]);
            const weight = randn([72, 64, 3, 3]);
            const expected = anew(image, weight);
            for (let i = 0; i < 4; i++) expect(conv(image, weight)).toBe(expected);
          });
        });

  for (const way of nativeTargets)
    for (const [batch, size, stride] of [
      [1, 7, 1],
      [3, 7, 1],
      [1, 14, 1],
      [2, 13, 2],
      [1, 20, 1],
      [2, 31, 1],
      [1, 41, 2],
    ] as const)
      it(`${way}, 1x1 with stride ${stride}, ${batch} x ${size} x ${size}: the same bits in every call`, () => {
        computing(way, () => {
          const image = randn([batch, 396, size, size]);
          const weight = randn([75, 396, 1, 1]);
          const bias = randn([75]);
          const once = (w: Tensor, b: Tensor | null): string => {
            const y = noGrad(() => conv2d(image, w, { bias: b, stride }));
            const result = bits(y);
            y.dispose();
            return result;
          };
          for (const b of [bias, null]) {
            const copy = weight.clone();
            const expected = once(copy, b);
            copy.dispose();
            for (let i = 0; i < 4; i++) expect(once(weight, b)).toBe(expected);
          }
        });
      });

  for (const [batch, channels, outputs, height, width, options] of [
    [1, 256, 256, 14, 14, { padding: 1 }],
    [1, 192, 200, 7, 7, { padding: 1 }],
    [1, 256, 128, 8, 8, { padding: 1 }],
    [1, 192, 200, 16, 16, { padding: 1 }],
    [2, 192, 171, 7, 6, { padding: 2 }],
    [1, 200, 170, 13, 15, {}],
    [1, 512, 384, 14, 13, { padding: 1, groups: 2 }],
    [1, 256, 250, 28, 28, { padding: 1, stride: 2 }],
    [1, 64, 72, 47, 50, { padding: 1, stride: 2 }],
    [2, 160, 96, 17, 19, { padding: 2, stride: 2, groups: 2 }],
  ] as const)
    it(`few tiles and many weights, ${batch} x ${channels} x ${height} x ${width}: right, and the same bits everywhere`, () => {
      const groups = (options as ConvOptions).groups ?? 1;
      const image = randn([batch, channels, height, width]);
      const weight = randn([outputs, channels / groups, 3, 3]);
      const y = noGrad(() => conv2d(image, weight, options));
      const dy = randn(y.shape);
      const image64 = image.to("float64");
      const [w64, dy64] = [weight.to("float64"), dy.to("float64")];
      const expected = valuesOf(noGrad(() => conv2d(image64, w64, options)));
      const expectedGradient = valuesOf(conv2dInput(image.shape, w64, dy64, options));
      const seen = new Set<string>();
      const seenGradients = new Set<string>();
      for (const way of sameBits)
        computing(way, () => {
          const copy = weight.clone();
          for (let i = 0; i < 3; i++) {
            const computed = noGrad(() => conv2d(image, copy, options));
            expect(difference(valuesOf(computed), expected, 5e-5)).toBeNull();
            seen.add(bits(computed));
          }
          const gradient = conv2dInput(image.shape, copy, dy, options);
          expect(difference(valuesOf(gradient), expectedGradient, 5e-5)).toBeNull();
          seenGradients.add(bits(gradient));
        });
      expect([seen.size, seenGradients.size]).toEqual([1, 1]);
      const infinite = noGrad(() =>
        add(image, where(image.gt(image.max().item() - 1e-6), Number.POSITIVE_INFINITY, 0)),
      );
      const spoilt = valuesOf(noGrad(() => conv2d(infinite.to("float64"), w64, options)));
      expect(difference(valuesOf(noGrad(() => conv2d(infinite, weight, options))), spoilt, 5e-5)).toBeNull();
    });

  for (const way of nativeTargets)
    for (const [batch, size, options] of [
      [1, 7, { padding: 1 }],
      [1, 14, { padding: 1, stride: 2 }],
      [2, 9, { padding: 2, dilation: 2 }],
      [1, 20, { stride: 3 }],
      [1, 12, { padding: [0, 4] }],
    ] as const)
      it(`${way}, direct, ${batch} x ${size} x ${size}, ${JSON.stringify(options)}: the same bits in every call`, () => {
        computing(way, () => {
          setPrecision("exact");
          const image = randn([batch, 57, size, size]);
          const weight = randn([75, 57, 3, 3]);
          const once = (w: Tensor): string => {
            const y = noGrad(() => conv2d(image, w, options as ConvOptions));
            const result = bits(y);
            y.dispose();
            return result;
          };
          const copy = weight.clone();
          const expected = once(copy);
          copy.dispose();
          for (let i = 0; i < 4; i++) expect(once(weight)).toBe(expected);
        });
      });

  it("are kept from the second call with the same values on, and given back with the weight", () => {
    const { image, weight } = layer();
    expect(left(() => conv(image, weight))).toBe(0);
    const bytes = left(() => conv(image, weight));
    expect(bytes).toBeGreaterThan(36 * 64 * 72 * 4);
    expect(left(() => conv(image, weight))).toBe(0);
    const weightBytes = left(() => weight.clone());
    expect(left(() => weight.dispose())).toBe(-bytes - weightBytes);
  });

  it("follow what is changed in place", () => {
    const { image, weight } = layer();
    for (let i = 0; i < 3; i++) conv(image, weight);
    noGrad(() => weight.mul_(2));
    const expected = anew(image, weight);
    expect(left(() => conv(image, weight))).toBeLessThan(0);
    for (let i = 0; i < 3; i++) expect(conv(image, weight)).toBe(expected);
  });

  it("serve calls that take turns in size, precision and target", () => {
    const { weight } = layer();
    const images = [randn([2, 64, 24, 24]), randn([1, 64, 5, 5]), randn([1, 64, 24, 24])];
    for (let round = 0; round < 3; round++)
      for (const way of nativeTargets)
        for (const mode of ["default", "exact"] as const)
          computing(way, () => {
            setPrecision(mode);
            for (const image of images) expect(conv(image, weight)).toBe(anew(image, weight));
          });
  });

  it("tell views of one memory apart", () => {
    const image = randn([2, 64, 24, 24]);
    const both = randn([2, 64, 64, 3, 3]);
    for (let i = 0; i < 3; i++)
      for (const half of [0, 1]) {
        const weight = both.select(0, half);
        expect(conv(image, weight)).toBe(anew(image, weight));
      }
  });

  it("are not made by training steps", () => {
    const { image, weight } = layer();
    for (let i = 0; i < 4; i++) {
      expect(left(() => conv(image, weight))).toBe(0);
      noGrad(() => weight.mul_(0.9));
    }
  });

  it("are given back by emptyCache, and where the memory limit leaves no room", () => {
    const { image, weight } = layer();
    conv(image, weight);
    memoryReport(); // collects what earlier tests have lost
    const bytes = left(() => conv(image, weight));
    expect(left(emptyCache)).toBe(-bytes);
    const expected = conv(image, weight);
    conv(image, weight);
    setMemoryLimit(memoryStats().live + 1000);
    expect(() => randn([100, 1000]).dispose()).not.toThrow(); // in the place of what was kept
    expect(noGrad(() => conv2d(image.narrow(0, 0, 1), weight)).shape).toEqual([1, 72, 22, 22]);
    setMemoryLimit(Number.POSITIVE_INFINITY);
    expect(conv(image, weight)).toBe(expected);
  });

  it("serve calls off the event loop, several at once, and next to synchronous ones", async () => {
    const { image, weight } = layer();
    const expected = anew(image, weight);
    for (let i = 0; i < 3; i++) {
      const pending = Array.from({ length: 4 }, () =>
        runAsync(() => noGrad(() => conv2d(image, weight, { padding: 1 }))),
      );
      expect(conv(image, weight)).toBe(expected);
      for (const y of await Promise.all(pending)) expect(bits(y)).toBe(expected);
    }
  });

  it("outlive the weight while a program uses them", async () => {
    const { image, weight } = layer();
    const expected = anew(image, weight);
    conv(image, weight);
    const pending = runAsync(() => noGrad(() => conv2d(image, weight, { padding: 1 })));
    emptyCache();
    const other = randn([72 * 64 * 64]); // would take over their memory
    expect(bits(await pending)).toBe(expected);
    other.dispose();
  });
});
