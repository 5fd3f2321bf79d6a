/** random_fill: against numbers that can be checked by hand. */

import { describe, expect, test } from "vitest";
import { randomCodes } from "../../lib/backend/abi.js";
import { call, out } from "./call.js";

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
    expect(draw("uniform", 7, 5, 2 ** 32 - 1, 0, 1)).toEqual(long.slice(0, 7));
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
