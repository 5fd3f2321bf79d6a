/** random_fill: Philox 4x32-10 and its mapping to numbers, which native/abi.h fixes. */

import { type KernelSizes, randomCodes } from "../backend/abi.js";
import type { Operands } from "../backend/contract.js";

const twoTo32 = 2 ** 32;

/** High 32 bits of the 64-bit product of two 32-bit words, from products of 16-bit halves. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + Math.floor((aLow * bLow) / 0x10000);
  const upper = aLow * bHigh + (middle & 0xffff);
  return (aHigh * bHigh + Math.floor(middle / 0x10000) + Math.floor(upper / 0x10000)) >>> 0;
}

/**
 * Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC 2011). Ten rounds over the four words of
 * the counter, here (counter, 0, 0), keyed by two words; constants from the paper.
 */
export function philox(
  counterLow: number,
  counterHigh: number,
  keyLow: number,
  keyHigh: number,
  out: Uint32Array,
): void {
  let c0 = counterLow;
  let c1 = counterHigh;
  let c2 = 0;
  let c3 = 0;
  let k0 = keyLow;
  let k1 = keyHigh;
  for (let round = 0; round < 10; round++) {
    const high0 = multiplyHigh(0xd2511f53, c0);
    const low0 = Math.imul(0xd2511f53, c0) >>> 0;
    const high1 = multiplyHigh(0xcd9e8d57, c2);
    const low1 = Math.imul(0xcd9e8d57, c2) >>> 0;
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0;
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

export function random_fill(s: KernelSizes<"random_fill">, [y]: Operands<"random_fill">): number {
  const kind = randomCodes[s.kind]!;
  const words = new Uint32Array(4);
  const values = new Float32Array(4);
  const keyLow = s.seed >>> 0;
  const keyHigh = Math.floor(s.seed / twoTo32) >>> 0;
  for (let first = 0; first < s.count; first += 4) {
    const counter = s.offset + first / 4;
    philox(counter >>> 0, Math.floor(counter / twoTo32) >>> 0, keyLow, keyHigh, words);
    const [u0, u1, u2, u3] = [unit(words[0]!), unit(words[1]!), unit(words[2]!), unit(words[3]!)];
    if (kind === "normal") {
      setNormalPair(values, 0, u0, u1, s.p0, s.p1);
      setNormalPair(values, 2, u2, u3, s.p0, s.p1);
    } else {
      const between = kind === "uniform" ? uniform : bernoulli;
      values[0] = between(u0, s.p0, s.p1);
      values[1] = between(u1, s.p0, s.p1);
      values[2] = between(u2, s.p0, s.p1);
      values[3] = between(u3, s.p0, s.p1);
    }
    for (let i = 0; i < Math.min(4, s.count - first); i++) y.array[y.offset + first + i] = values[i]!;
  }
  return 0;
}

/** A word's upper 24 bits as a number in [0, 1). */
function unit(word: number): number {
  return (word >>> 8) * 2 ** -24;
}

/** In [lowest, highest): rounding to float32 may reach `highest`, which then becomes `lowest`. */
function uniform(u: number, lowest: number, highest: number): number {
  const value = Math.fround(lowest + u * (highest - lowest));
  return value >= highest ? lowest : value;
}

function bernoulli(u: number, probability: number): number {
  return u < probability ? 1 : 0;
}

/** Box-Muller; u + 2^-24 is in (0, 1], so the logarithm is finite. */
function setNormalPair(
  values: Float32Array,
  at: number,
  first: number,
  second: number,
  mean: number,
  deviation: number,
): void {
  const radius = Math.sqrt(-2 * Math.log(first + 2 ** -24));
  const angle = 2 * Math.PI * second;
  values[at] = mean + deviation * radius * Math.cos(angle);
  values[at + 1] = mean + deviation * radius * Math.sin(angle);
}
