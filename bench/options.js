// @ts-check
/** The command line. */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";

export const usage = `npm run bench -- --suite layers|gemm|train|infer|overhead|memory [options]
  --suite a,b            which suites (required; all: every suite)
  --against a,b          rivals: pytorch, pytorch-default-malloc, tfjs, onnxruntime, openblas; none
                         (default: those that the suite is about)
  --threads 1,2          how many threads, one race each (default: all processors)
  --target avx2          the instruction set, for both sides (default: the best)
  --filter regex         only cases whose name it matches
  --quick                fewer samples: 3 kept ones instead of 7
  --name label           name of the result file (default: the suite, with target and filter)
  --no-write             prints only
  --report               writes RESULTS.md and the charts from the results that are there, and measures nothing`;

const known = ["layers", "gemm", "train", "infer", "overhead", "memory"];

/** @type {Record<string, string[]>} */
const rivalsOf = {
  layers: ["pytorch"],
  gemm: ["pytorch", "openblas"],
  train: ["pytorch"],
  infer: ["pytorch", "onnxruntime"],
  overhead: ["pytorch"],
  memory: ["pytorch"],
};

/** @param {string[]} parameters */
export function readOptions(parameters) {
  const { values } = parseArgs({
    args: parameters,
    options: {
      suite: { type: "string" },
      against: { type: "string" },
      threads: { type: "string" },
      target: { type: "string" },
      filter: { type: "string" },
      name: { type: "string" },
      quick: { type: "boolean", default: false },
      report: { type: "boolean", default: false },
      "no-write": { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const list = values.suite === "all" ? known : (values.suite?.split(",") ?? []);
  const wrong = list.find((suite) => !known.includes(suite));
  if (wrong !== undefined) throw new Error(`--suite ${wrong}: known are ${known.join(", ")}`);
  const threads = (values.threads ?? String(availableParallelism())).split(",").map(Number);
  if (threads.some((n) => !Number.isInteger(n) || n < 1))
    throw new Error(`--threads ${values.threads}: integers of at least 1`);
  return {
    help: values.help || (list.length === 0 && !values.report),
    report: values.report,
    suites: list,
    /** @param {string} suite */
    rivals: (suite) =>
      values.against === "none" ? [] : (values.against?.split(",") ?? /** @type {string[]} */ (rivalsOf[suite])),
    threads,
    target: values.target ?? null,
    filter: new RegExp(values.filter ?? ""),
    filtered: values.filter !== undefined,
    quick: values.quick,
    name: values.name ?? null,
    write: !values["no-write"],
  };
}
