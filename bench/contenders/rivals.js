// @ts-check
/** Who xcorr is raced against, each at its best: environment, layouts, and how its absence is named. */
import { spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Rival } from "./process.js";

/** @import { Contender } from "../types.js" */

const folder = dirname(fileURLToPath(import.meta.url));

/** Threads sleep when they wait: a spinning pool takes the core of whoever has the next turn. */
const passive = { OMP_WAIT_POLICY: "PASSIVE", GOMP_SPINCOUNT: "0", PYTHONUNBUFFERED: "1" };

/** glibc keeps freed memory instead of giving it back: PyTorch otherwise spends much time on fresh pages. */
const retained = {
  MALLOC_MMAP_MAX_: "0",
  MALLOC_TRIM_THRESHOLD_: "17179869184",
  MALLOC_TOP_PAD_: "268435456",
};

/**
 * Both sides on the same instruction set. OpenBLAS also serves PyTorch's matrix products where it is installed.
 * @param {string} target
 */
function instructionSet(target) {
  if (target === "avx2")
    return {
      ONEDNN_MAX_CPU_ISA: "AVX2",
      DNNL_MAX_CPU_ISA: "AVX2",
      ATEN_CPU_CAPABILITY: "avx2",
      OPENBLAS_CORETYPE: "Haswell",
    };
  if (target === "avx512") return { OPENBLAS_CORETYPE: "SkylakeX" };
  return {};
}

/** The first python3 that has PyTorch. @returns {string | null} */
export function findPythonWithTorch() {
  for (const python of [process.env.BENCH_PYTHON, "python3", "/usr/bin/python3"]) {
    if (python && spawnSync(python, ["-c", "import torch"], { stdio: "ignore" }).status === 0) return python;
  }
  return null;
}

/** @param {string} target */
export async function startPyTorch(target, keepsMemory = true) {
  const python = findPythonWithTorch();
  if (python === null)
    throw new Error('`python3 -c "import torch"` fails; bench/README.md has the line that installs it');
  const environment = { ...passive, ...instructionSet(target), ...(keepsMemory ? retained : {}) };
  return new Rival(python, [join(folder, "pytorch_server.py")], environment).start();
}

/** @param {string} target */
function startOpenBlas(target) {
  const environment = { ...passive, ...instructionSet(target) };
  return new Rival(process.env.BENCH_PYTHON ?? "python3", [join(folder, "openblas_server.py")], environment).start();
}

/** @param {string} file */
function startNode(file) {
  return new Rival(process.execPath, [join(folder, file)], {}).start();
}

/** A fresh process of ours. @param {string} target */
export function startXcorr(target) {
  return new Rival(process.execPath, [join(folder, "xcorr_server.js")], { XCORR_TARGET: target }).start();
}

/**
 * @param {Rival} rival
 * @param {string} group
 * @param {string} name
 * @param {string} layout
 * @returns {Contender}
 */
function contender(rival, group, name, layout) {
  return { name, rival: group, prepare: (task, files, settings) => rival.prepare(task, files, settings, layout) };
}

/** Where the second memory format makes a difference. @param {Contender} each @returns {Contender} */
function onlyImages(each) {
  return {
    ...each,
    prepare: async (task, files, settings) =>
      task.kind === "gemm" || task.kind === "overhead" ? { refused: "no images" } : each.prepare(task, files, settings),
  };
}

/**
 * Starts the rivals. Those that are missing come back with the reason, the others as contenders.
 * @param {string[]} names
 * @param {string} target
 */
export async function startRivals(names, target) {
  /** @type {Contender[]} */
  const contenders = [];
  /** @type {Rival[]} */
  const processes = [];
  /** @type {Record<string, string>} */
  const missing = {};
  /** @type {Record<string, string>} */
  const about = {};
  /** @type {Rival | null} */
  let pytorch = null;
  for (const name of names) {
    try {
      let rival;
      if (name === "pytorch" || name === "pytorch-default-malloc") {
        rival = await startPyTorch(target, name === "pytorch");
        if (name === "pytorch") pytorch = rival;
        contenders.push(contender(rival, name, `${name} nchw`, "nchw"));
        contenders.push(onlyImages(contender(rival, name, `${name} channels_last`, "channels_last")));
      } else if (name === "openblas") {
        rival = await startOpenBlas(target);
        contenders.push(contender(rival, name, name, "nchw"));
      } else if (name === "onnxruntime" || name === "tfjs") {
        rival = await startNode(`${name}_server.js`);
        contenders.push(contender(rival, name, name, "nchw"));
      } else {
        throw new Error("unknown; known are pytorch, pytorch-default-malloc, tfjs, onnxruntime, openblas");
      }
      processes.push(rival);
      about[name] = rival.about;
    } catch (error) {
      missing[name] = /** @type {Error} */ (error).message;
    }
  }
  const stop = () => {
    for (const each of processes) each.stop();
  };
  return { contenders, missing, about, pytorch, stop };
}
