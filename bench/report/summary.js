// @ts-check
/** Goals against what was measured. */
import { goals } from "../goals.js";

/** @import { CaseResult } from "../types.js" */

/**
 * @typedef {object} Reached
 * @property {string} what
 * @property {string} rival
 * @property {string} least What was set out to reach.
 * @property {string} measured
 * @property {boolean} met
 * @property {number} cases
 * @property {number} disturbed Of these, how many had fewer undisturbed samples than asked for.
 * @property {number} threads
 * @property {string} target
 */

/** @param {number[]} values */
export const geometricMean = (values) => Math.exp(values.reduce((sum, v) => sum + Math.log(v), 0) / values.length);

/**
 * Theirs / ours: against the rival's best contender, or the one named.
 * @param {CaseResult} each
 * @param {string} rival
 * @param {string} [contender]
 */
export function ratioOf(each, rival, contender) {
  const found = each.ratios.find((r) => r.rival === rival);
  if (found === undefined || !found.counts) return null;
  if (contender === undefined) return found.ratio;
  const theirs = each.timings.find((t) => t.contender === contender);
  const ours = each.timings.find((t) => t.rival === "xcorr");
  return theirs && ours ? theirs.seconds / ours.seconds : null;
}

/** @param {CaseResult[]} cases */
const disturbedOf = (cases) => cases.filter((each) => each.timings.some((t) => t.disturbed)).length;

/** @param {number} x */
const two = (x) => x.toFixed(2);

/**
 * @param {CaseResult[]} results
 * @returns {Reached[]}
 */
export function evaluate(results) {
  /** @type {Reached[]} */
  const rows = [];
  const kinds = [...new Set(results.map((r) => `${r.target}/${r.threads}`))].sort().reverse();
  for (const kind of kinds) {
    const [target = "", threads = ""] = kind.split("/");
    const here = results.filter((r) => `${r.target}/${r.threads}` === kind);
    for (const goal of goals) {
      const list = here
        .filter((each) => each.precision === "default" && goal.takes(each))
        .map((each) => ({ each, name: each.name, ratio: ratioOf(each, goal.rival, goal.contender) }))
        .filter((found) => found.ratio !== null)
        .map(({ each, name, ratio }) => ({ each, name, ratio: /** @type {number} */ (ratio) }));
      if (list.length === 0) continue;
      const worst = list.reduce((a, b) => (b.ratio < a.ratio ? b : a));
      const mean = geometricMean(list.map((each) => each.ratio));
      const value = goal.over === "mean" ? mean : worst.ratio;
      const short =
        goal.over === "mean"
          ? `${two(mean)} (worst ${two(worst.ratio)})`
          : list.length === 1
            ? two(mean)
            : `${two(worst.ratio)} (${worst.name}; mean ${two(mean)})`;
      rows.push({
        what: goal.what,
        rival: goal.contender ?? goal.rival,
        least: `at least ${goal.least}`,
        measured: short,
        met: value >= goal.least,
        cases: list.length,
        disturbed: disturbedOf(list.map(({ each }) => each)),
        threads: Number(threads),
        target,
      });
    }
    rows.push(...ofPeak(here, Number(threads), target));
  }
  rows.push(...scaling(results));
  return rows;
}

/**
 * Direct convolution without Winograd against the FMA peak of its own brackets, one thread.
 * @param {CaseResult[]} here
 * @param {number} threads
 * @param {string} target
 * @returns {Reached[]}
 */
function ofPeak(here, threads, target) {
  const exact = here.filter((each) => each.precision === "exact" && each.peak > 0);
  if (exact.length === 0 || threads !== 1) return [];
  const shares = exact.map((each) => ({ name: each.name, share: each.operations / ours(each) / each.peak }));
  const worst = shares.reduce((a, b) => (b.share < a.share ? b : a));
  const mean = geometricMean(shares.map((each) => each.share));
  return [
    {
      what: "direct 3x3 and 1x1 layers in exact mode",
      rival: "FMA peak",
      least: "at least 0.78",
      measured: `${two(mean)} (worst ${two(worst.share)}, ${worst.name})`,
      met: mean >= 0.78,
      cases: exact.length,
      disturbed: disturbedOf(exact),
      threads,
      target,
    },
  ];
}

/** @param {CaseResult} each */
const ours = (each) => each.timings.find((t) => t.rival === "xcorr")?.seconds ?? Number.NaN;

/**
 * Two threads against one, the same case in the same run.
 * @param {CaseResult[]} results
 * @returns {Reached[]}
 */
function scaling(results) {
  /** @type {Reached[]} */
  const rows = [];
  for (const target of new Set(results.map((r) => r.target))) {
    const one = new Map(results.filter((r) => r.target === target && r.threads === 1).map((r) => [r.name, r]));
    const pairs = results.filter(
      (r) => r.target === target && r.threads === 2 && !r.name.startsWith("overhead") && one.has(r.name),
    );
    const gains = pairs.map((r) => ({
      name: r.name,
      gain: ours(/** @type {CaseResult} */ (one.get(r.name))) / ours(r),
    }));
    if (gains.length === 0) continue;
    const worst = gains.reduce((a, b) => (b.gain < a.gain ? b : a));
    const mean = geometricMean(gains.map((each) => each.gain));
    rows.push({
      what: "1 to 2 threads",
      rival: "own",
      least: "at least 1.85",
      measured: `${two(mean)} (worst ${two(worst.gain)}, ${worst.name})`,
      met: mean >= 1.85,
      cases: gains.length,
      disturbed: disturbedOf(pairs),
      threads: 2,
      target,
    });
  }
  return rows;
}
