import { Generator } from "../ops/random.js";

/** A 32-bit hash of two words, with every input bit in every output bit (the finaliser of MurmurHash3). */
function mixed(a: number, b: number): number {
  let h = Math.imul(a, 0x9e3779b1) ^ Math.imul(b, 0x85ebca77);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/**
 * The random numbers of one batch: a stream of its own, so that a batch is the same whichever worker makes it and
 * whether the run was resumed before it.
 */
export function batchGenerator(seed: number, epoch: number, batch: number): Generator {
  const low = mixed(mixed(seed >>> 0, epoch + 1), batch + 1);
  const high = mixed(mixed(Math.floor(seed / 2 ** 32) + 0x51ed270b, batch + 1), epoch + 1);
  return new Generator((high % 2 ** 21) * 2 ** 32 + low);
}
