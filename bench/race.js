// @ts-check
/**
 * Contenders take turns. Every sample stands between two probes of the machine's peak; where a probe shows less than
 * 90 % of what the machine can do, a neighbour has disturbed it and the sample is dropped. So it is where the
 * contender's threads stood in line for a processor that another process had.
 */
import { quantile } from "./quantile.js";
import { secondsWaited } from "./waiting.js";

/** @import { Contender, Ratio, Runner, Timing } from "./types.js" */
/** @import { Probe } from "./probe.js" */

/** @typedef {{ seconds: number, bracket: number, waited: number }} Sample waited: as a share of the sample. */
/** @typedef {{ contender: Contender, runner: Runner }} Entry */
/** @typedef {{ leastKept: number, mostRounds: number, mostSeconds: number }} Limits */
/** @typedef {{ samples?: number, warmUp?: number }} Longer How much longer than usual samples and warm-up are. */

/**
 * Warms a contender up, and finds how many calls make a sample.
 * @param {Runner} runner
 * @param {Longer} longer
 */
async function iterationsOf(runner, { samples = 1, warmUp = 1 }) {
  const sample = sampleSeconds * samples;
  let iterations = 1;
  let spent = 0;
  for (;;) {
    const seconds = await runner.run(iterations);
    spent += seconds;
    if (spent >= warmUpSeconds * warmUp) return Math.max(1, Math.ceil((iterations * sample) / seconds));
    if (seconds < sample) iterations *= 2;
  }
}

// The processor's clock alone steps by 9 % within a quiet run (364 and 397 GFLOP/s on two threads), a neighbour takes more.
const undisturbed = 0.9;
const mostWaited = 0.02;

/** @param {Sample} sample @param {number} peak */
const isKept = ({ bracket, waited }, peak) => bracket >= undisturbed * peak && waited <= mostWaited;

/** A sample is one call, or as many as take this long. */
const sampleSeconds = 0.003;
/** Calls before the first sample take this long together: caches, clocks, and compilers of JavaScript. */
const warmUpSeconds = 0.05;

/**
 * @param {Entry[]} entries
 * @param {Pick<Probe, "measure" | "peak">} probe
 * @param {Limits} limits
 * @param {Longer} [longer]
 */
export async function race(entries, probe, { leastKept, mostRounds, mostSeconds }, longer = {}) {
  /** @type {Map<Entry, { iterations: number, samples: Sample[] }>} */
  const lanes = new Map();
  for (const entry of entries) {
    const iterations = await iterationsOf(entry.runner, longer);
    lanes.set(entry, { iterations, samples: [] });
  }
  const start = performance.now();
  for (let round = 0; round < mostRounds; round++) {
    for (let turn = 0; turn < entries.length; turn++) {
      const entry = /** @type {Entry} */ (entries[(round + turn) % entries.length]);
      const lane = /** @type {{ iterations: number, samples: Sample[] }} */ (lanes.get(entry));
      const before = probe.measure();
      const waitedBefore = secondsWaited(entry.runner.pid);
      const seconds = await entry.runner.run(lane.iterations);
      const waited = (secondsWaited(entry.runner.pid) - waitedBefore) / seconds;
      lane.samples.push({
        seconds: seconds / lane.iterations,
        bracket: Math.min(before, probe.measure()),
        waited,
      });
    }
    const enough = [...lanes.values()].every(
      (lane) => lane.samples.filter((sample) => isKept(sample, probe.peak)).length >= leastKept,
    );
    if (enough || (round >= 2 && (performance.now() - start) / 1000 > mostSeconds)) break;
  }
  return entries.map((entry) => {
    const lane = /** @type {{ iterations: number, samples: Sample[] }} */ (lanes.get(entry));
    return { timing: timing(entry.contender, lane.samples, probe.peak, leastKept), samples: lane.samples };
  });
}

/**
 * @param {Contender} contender
 * @param {Sample[]} samples
 * @param {number} peak
 * @param {number} leastKept
 * @returns {Timing}
 */
function timing({ name, rival }, samples, peak, leastKept) {
  const kept = samples.filter((sample) => isKept(sample, peak));
  // With next to nothing kept it is the third that waited least, and said to be disturbed.
  const calmest = [...samples].sort((a, b) => a.waited - b.waited).slice(0, Math.max(3, Math.ceil(samples.length / 3)));
  const used = (kept.length >= Math.min(3, leastKept) ? kept : calmest).map((s) => s.seconds);
  return {
    contender: name,
    rival,
    seconds: quantile(used, 0.5),
    low: quantile(used, 0.25),
    high: quantile(used, 0.75),
    kept: kept.length,
    total: samples.length,
    disturbed: kept.length < leastKept,
  };
}

/**
 * Theirs / ours, of each rival's fastest contender. The spread is that of the rounds, in which both had a turn.
 * @param {{ timing: Timing, samples: Sample[] }[]} lanes
 * @param {number} peak
 * @returns {Ratio[]}
 */
export function ratios(lanes, peak) {
  const ours = lanes.find((lane) => lane.timing.rival === "xcorr");
  if (ours === undefined) return [];
  /** @type {Map<string, { timing: Timing, samples: Sample[] }>} */
  const best = new Map();
  for (const lane of lanes) {
    if (lane === ours) continue;
    const known = best.get(lane.timing.rival);
    if (known === undefined || lane.timing.seconds < known.timing.seconds) best.set(lane.timing.rival, lane);
  }
  return [...best.values()].map((lane) => {
    const pairs = lane.samples.map((theirs, i) => ({ theirs, mine: ours.samples[i] }));
    const whole = pairs.filter(({ theirs, mine }) => mine && isKept(theirs, peak) && isKept(mine, peak));
    const each = (whole.length >= 3 ? whole : pairs).map(({ theirs, mine }) =>
      mine ? theirs.seconds / mine.seconds : 1,
    );
    return {
      rival: lane.timing.rival,
      contender: lane.timing.contender,
      ratio: lane.timing.seconds / ours.timing.seconds,
      low: quantile(each, 0.25),
      high: quantile(each, 0.75),
      counts: true,
    };
  });
}
