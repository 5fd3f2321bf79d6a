// @ts-check
/** Makes a task's tensors, the same for all contenders: files of raw numbers in a folder of their own. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as xcorr from "./library.js";
import { network } from "./contenders/xcorr_tasks.js";

/** @import { Tensor } from "./library.js" */
/** @import { Files, Task } from "./types.js" */

/** @param {number[]} shape */
const standard = (shape, deviation = 1) => xcorr.normal(shape, 0, deviation);

/**
 * Unit variance in, weights scaled by one over the root of their terms: values as inside a trained network.
 * @param {Task} task
 * @returns {Record<string, Tensor>}
 */
function tensors(task) {
  switch (task.kind) {
    case "conv": {
      const { batch, inChannels, outChannels, size, kernel, stride, padding, groups } = task;
      const out = Math.floor((size + 2 * padding - kernel) / stride) + 1;
      const terms = (inChannels / groups) * kernel ** 2;
      /** @type {Record<string, Tensor>} */
      const made = {
        x: standard([batch, inChannels, size, size]),
        w: standard([outChannels, inChannels / groups, kernel, kernel], 1 / Math.sqrt(terms)),
      };
      if (task.direction !== "forward") made.dy = standard([batch, outChannels, out, out]);
      return made;
    }
    case "batch_norm": {
      const shape = [task.batch, task.channels, task.size, task.size];
      return {
        x: standard(shape),
        dy: standard(shape),
        weight: xcorr.uniform([task.channels], 0.5, 1.5),
        bias: standard([task.channels], 0.1),
      };
    }
    case "gemm": {
      const { m, n, k, transposed } = task;
      return { a: standard([m, k]), b: standard(transposed ? [n, k] : [k, n], 1 / Math.sqrt(k)) };
    }
    case "overhead":
      return { a: standard([16]), b: standard([16]) };
    default: {
      /** @type {Record<string, Tensor>} */
      const made = {
        x: standard([task.batch, task.channels, task.size, task.size]),
        target: xcorr.randint(0, task.classes, [task.batch]),
      };
      for (const [name, value] of Object.entries(network(task).stateDict())) {
        if (value.dtype === "float32") made[`state/${name}`] = value;
      }
      return made;
    }
  }
}

/**
 * @param {Task} task
 * @param {number} seed
 */
export function makeInputs(task, seed) {
  xcorr.manualSeed(seed);
  const folder = mkdtempSync(join(tmpdir(), "xcorr-inputs-"));
  /** @type {Files} */
  const files = {};
  xcorr.noGrad(() => {
    for (const [i, [name, t]] of Object.entries(tensors(task)).entries()) {
      const path = join(folder, `${i}.bin`);
      const values = t.data();
      writeFileSync(path, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
      files[name] = { path, shape: [...t.shape], dtype: t.dtype === "int32" ? "int32" : "float32" };
      if (!name.startsWith("state/")) t.dispose();
    }
  });
  return { files, folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** How many numbers the result has, for the step by which it is sampled. @param {Task} task */
export function resultCount(task) {
  switch (task.kind) {
    case "conv": {
      const { batch, inChannels, outChannels, size, kernel, stride, padding, groups } = task;
      if (task.direction === "weight") return outChannels * (inChannels / groups) * kernel ** 2;
      if (task.direction === "input") return batch * inChannels * size ** 2;
      return batch * outChannels * (Math.floor((size + 2 * padding - kernel) / stride) + 1) ** 2;
    }
    case "batch_norm":
      return task.batch * task.channels * task.size ** 2;
    case "gemm":
      return task.m * task.n;
    case "overhead":
      return 16;
    default:
      return task.kind === "train" ? 1000 : task.batch * task.classes; // train: two losses and a norm a parameter
  }
}

/**
 * How far results may lie apart, relative to the largest value. Wide enough for two float32 libraries that add up in
 * different orders (a weight gradient has up to 1.6 million terms; a training step amplifies), far too narrow for a
 * wrong one.
 *
 * Compared of training are the losses before and after one update, and the logarithm of the norm of every parameter's
 * gradient. Of ResNet-50 with batch 8 the first losses agree to 2e-6 between libraries and with float64, the second to
 * 1e-3, a third only to 1e-2, on all sides. 5e-3 of a loss of 7 are 3.5 % of a norm; the worst norms of ResNet-50 and
 * MobileNetV2 are 0.7 and 0.2 % away from float64 with xcorr, 0.6 and 0.5 % with PyTorch in NCHW, 1.5 and 1.2 % in NHWC.
 * @param {Task} task
 */
export function tolerance(task) {
  if (task.kind === "train") return 5e-3;
  if (task.kind === "infer" || (task.kind === "conv" && task.direction === "weight")) return 1e-3;
  return 1e-4;
}
