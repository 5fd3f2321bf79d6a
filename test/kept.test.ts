import { createHash } from "node:crypto";
import { afterEach, describe, expect, it } from "vitest";
import { computing, nativeTargets } from "./support/backends.js";
import {
  conv2d,
  emptyCache,
  getPrecision,
  memoryStats,
  noGrad,
  randn,
  runAsync,
  setMemoryLimit,
  setPrecision,
  type ConvOptions,
  type Tensor,
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
