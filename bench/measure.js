// @ts-check
/** One case: the same inputs for all, results checked against each other, then the race. */
import { join } from "node:path";
import { getTarget } from "./library.js";
import { ours } from "./contenders/xcorr.js";
import { makeInputs, resultCount, tolerance } from "./inputs.js";
import { race, ratios } from "./race.js";

/** @import { Case, CaseResult, Contender, Files, Settings, Task } from "./types.js" */
/** @import { Probe } from "./probe.js" */
/** @import { Rival } from "./contenders/process.js" */
/** @import { Entry, Limits } from "./race.js" */

/** Results are compared in about this many places. */
const compared = 2 ** 18;

/**
 * The largest difference, relative to the largest value.
 * @param {Float32Array} a
 * @param {Float32Array} b
 */
function difference(a, b) {
  if (a.length !== b.length) throw new Error(`results of ${a.length} and ${b.length} values`);
  let largest = 0;
  let apart = 0;
  for (let i = 0; i < a.length; i++) {
    const [p, q] = [/** @type {number} */ (a[i]), /** @type {number} */ (b[i])];
    if (!Number.isFinite(p) || !Number.isFinite(q)) return Number.POSITIVE_INFINITY;
    largest = Math.max(largest, Math.abs(q));
    apart = Math.max(apart, Math.abs(p - q));
  }
  if (largest === 0) throw new Error("a result is all zeros: nothing can be checked");
  return apart / largest;
}

/**
 * Where a rival is known not to run at its best, so that its time proves nothing.
 * @param {Task} task
 * @param {string} rival
 * @param {Settings} settings
 */
function excuse(task, rival, settings) {
  if (rival.startsWith("pytorch") && task.kind === "conv" && settings.threads === 1) {
    // PyTorch's own rule (use_mkldnn in Convolution.cpp): such layers do not reach oneDNN.
    if (task.kernel === 1 && task.stride === 1 && task.batch < 16)
      return "1x1, one thread, batch under 16: PyTorch does not use oneDNN";
  }
  if (rival === "onnxruntime" && settings.target === "avx2") return "onnxruntime has no switch for AVX2";
  return null;
}

/**
 * A call of a microsecond needs longer samples. A training step is many different calls, each made once or a few times:
 * half a second of steps is what compilers of JavaScript need to know them, and next to nothing of a training run.
 * @param {Task} task
 */
function longer({ kind }) {
  if (kind === "overhead") return { samples: 10, warmUp: 10 };
  return kind === "train" ? { warmUp: 10 } : {};
}

/**
 * PyTorch writes the network in ONNX beside the inputs, with the same weights.
 * @param {Task} task
 * @param {Files} files
 * @param {string} folder
 * @param {Rival | null} pytorch
 * @param {Settings} settings
 */
async function exportOnnx(task, files, folder, pytorch, settings) {
  if (task.kind !== "infer" || pytorch === null) return;
  const path = join(folder, "network.onnx");
  const done = await pytorch.prepare({ ...task, kind: "export_onnx", path }, files, settings, "nchw");
  if ("refused" in done) return;
  await done.drop();
  files.onnx = { path, shape: [], dtype: "float32" };
}

/**
 * @param {Case} each
 * @param {object} with_
 * @param {Contender[]} with_.contenders
 * @param {Rival | null} with_.pytorch
 * @param {Probe} with_.probe
 * @param {Settings} with_.settings
 * @param {Limits} with_.limits
 * @param {number} with_.seed
 * @returns {Promise<CaseResult>}
 */
export async function measure(each, { contenders, pytorch, probe, settings, limits, seed }) {
  const { task } = each;
  const inputs = makeInputs(task, seed);
  /** @type {Record<string, string>} */
  const refused = {};
  /** @type {Record<string, number>} */
  const differences = {};
  /** @type {Entry[]} */
  const entries = [];
  try {
    if (contenders.some((c) => c.rival === "onnxruntime"))
      await exportOnnx(task, inputs.files, inputs.folder, pytorch, settings);
    const step = Math.ceil(resultCount(task) / compared) | 1;
    /** @type {Float32Array | null} */
    let expected = null;
    for (const contender of [ours, ...(each.precision === "exact" ? [] : contenders)]) {
      const runner = await contender.prepare(task, inputs.files, settings);
      if ("refused" in runner) {
        refused[contender.name] = runner.refused;
        continue;
      }
      let result;
      try {
        result = await runner.result(step);
      } catch (error) {
        if (contender === ours) throw error;
        refused[contender.name] = /** @type {Error} */ (error).message;
        await runner.drop();
        continue;
      }
      if (expected === null) {
        expected = result;
      } else {
        const apart = difference(expected, result);
        differences[contender.name] = apart;
        if (!(apart <= tolerance(task))) {
          refused[contender.name] = `its result differs by ${apart.toExponential(1)} of the largest value: NOT TIMED`;
          await runner.drop();
          continue;
        }
      }
      entries.push({ contender, runner });
    }
    const firstProbe = probe.rates.length;
    const lanes = await race(entries, probe, limits, longer(task));
    const found = ratios(lanes, probe.peak);
    for (const ratio of found) {
      const reason = excuse(task, ratio.rival, settings);
      if (reason !== null) Object.assign(ratio, { counts: false, reason });
    }
    return {
      name: each.name,
      source: each.source,
      groups: each.groups,
      threads: settings.threads,
      target: getTarget(),
      precision: settings.precision,
      operations: each.operations,
      peak: probe.rates.length > firstProbe ? probe.peak : 0,
      timings: lanes.map((lane) => lane.timing),
      ratios: found,
      differences,
      refused,
    };
  } finally {
    for (const { runner } of entries) await runner.drop().catch(() => {});
    inputs.remove();
  }
}
