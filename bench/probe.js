// @ts-check
/** How fast the machine is now: the yardstick of every sample, and of the run. */
import { createRequire } from "node:module";
import { performance } from "node:perf_hooks";
import * as xcorr from "./library.js";
import { quantile } from "./quantile.js";

const require = createRequire(import.meta.url);
const addon = /** @type {{ fmaPeak(rounds: number): number }} */ (require("../build/Release/xcorr.node"));
if (typeof addon.fmaPeak !== "function")
  throw new Error("build/Release/xcorr.node is older than the bench: build it again with npm run build:native");

/** Calls before the one that counts: clocks and sleeping threads need them. */
const warmUp = 6;
const microseconds = 30;

/** Rounds of the burst that take about 30 us with the instruction set in use. */
function calibrated() {
  const rounds = 200;
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 20; i++) {
    const start = performance.now();
    addon.fmaPeak(rounds);
    best = Math.min(best, performance.now() - start);
  }
  return Math.max(1, Math.round((rounds * microseconds) / (best * 1000)));
}

/** Measures the peak with the threads that are set, and keeps what it has seen. */
export class Probe {
  #rounds = calibrated();
  /** @type {number[]} */
  rates = [];

  /** float32 multiplications and additions a second, of all threads. */
  measure() {
    for (let i = 0; i < warmUp; i++) addon.fmaPeak(this.#rounds);
    const rate = addon.fmaPeak(this.#rounds);
    this.rates.push(rate);
    return rate;
  }

  /** What the undisturbed machine does: the 90th percentile of all that was seen. */
  get peak() {
    return quantile(this.rates, 0.9);
  }
}

/** Bytes read and written a second by copying 256 MiB. */
export function copyBandwidth() {
  const t = xcorr.ones([64 * 2 ** 20]);
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 4; i++) {
    const start = performance.now();
    const copy = t.clone();
    best = Math.min(best, performance.now() - start);
    copy.dispose();
  }
  t.dispose();
  xcorr.emptyCache();
  return (2 * 256 * 2 ** 20) / (best / 1000);
}
