// @ts-check
/** What is printed while measuring. */
import { evaluate } from "./summary.js";

/** @import { CaseResult } from "../types.js" */

/** A load average above which other processes were at work: probes see those only between samples. */
export const busy = 0.7;

/** @param {number} load */
export const busyWarning = (load) =>
  `WARNING: other processes keep ${load.toFixed(1)} processors busy (load average of the last minute): expect wrong ratios`;

/** @param {number} seconds */
export function time(seconds) {
  if (seconds >= 0.1) return `${(seconds * 1000).toFixed(0)} ms`;
  if (seconds >= 1e-3) return `${(seconds * 1000).toFixed(2)} ms`;
  return `${(seconds * 1e6).toFixed(seconds < 1e-5 ? 2 : 1)} us`;
}

/** @param {CaseResult} result */
export function printCase(result) {
  console.log(`\n${result.name}  [${result.threads} thread${result.threads > 1 ? "s" : ""}]`);
  for (const t of result.timings) {
    const ratio = result.ratios.find((r) => r.contender === t.contender);
    const rate = result.operations > 0 ? `${(result.operations / t.seconds / 1e9).toFixed(0)} GFLOP/s` : "";
    const share =
      result.operations > 0 && result.peak > 0
        ? `${((100 * result.operations) / t.seconds / result.peak).toFixed(0)} % of peak`
        : "";
    const against =
      ratio === undefined
        ? ""
        : `ratio ${ratio.ratio.toFixed(2)} (${ratio.low.toFixed(2)} to ${ratio.high.toFixed(2)})${ratio.counts ? "" : `, does not count: ${ratio.reason}`}`;
    const kept = `kept ${t.kept}/${t.total}${t.disturbed ? " DISTURBED" : ""}`;
    const spread = `${time(t.low)} to ${time(t.high)}`;
    console.log(
      `  ${t.contender.padEnd(37)} ${time(t.seconds).padStart(9)}  ${rate.padStart(13)} ${share.padStart(14)}  ${spread.padEnd(23)} ${kept.padEnd(12)} ${against}`.trimEnd(),
    );
  }
  for (const [name, reason] of Object.entries(result.refused)) console.log(`  ${name}: not raced: ${reason}`);
}

/**
 * @param {CaseResult[]} results
 * @param {Record<string, number>} peaks
 * @param {number} bandwidth
 */
export function printSummary(results, peaks, bandwidth) {
  const rates = Object.entries(peaks).map(([threads, peak]) => `${(peak / 1e9).toFixed(0)} GFLOP/s with ${threads}`);
  console.log(`\nFMA peak ${rates.join(", ")} threads; copying ${(bandwidth / 1e9).toFixed(1)} GB/s read and written`);
  for (const row of evaluate(results)) {
    const subject = `${row.what}, ${row.target}, ${row.threads} thread${row.threads > 1 ? "s" : ""} (${row.cases}, ${row.disturbed} disturbed)`;
    console.log(`  ${row.met ? "reached" : "BELOW  "}  ${subject}: ${row.measured}, ${row.least} against ${row.rival}`);
  }
}

/**
 * @param {{ contender: string, peak: number, before: number }[]} rows
 * @param {Record<string, string>} missing
 */
export function printMemory(rows, missing) {
  for (const { contender, peak, before } of rows) {
    console.log(`  ${contender.padEnd(24)} peak ${mib(peak)}, of which ${mib(before)} before the model was made`);
  }
  for (const [name, reason] of Object.entries(missing)) console.log(`MISSING ${name}: ${reason}`);
}

/** @param {number} bytes */
export const mib = (bytes) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
