#!/usr/bin/env node
// @ts-check
/** The bench: see README.md. */
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, loadavg, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { getBackend, getPrecision, getTarget, setNumThreads, setTarget } from "./library.js";
import { suites } from "./cases/index.js";
import { startRivals } from "./contenders/rivals.js";
import { measure } from "./measure.js";
import { measureMemory } from "./memory.js";
import { readOptions, usage } from "./options.js";
import { copyBandwidth, Probe } from "./probe.js";
import { writeReport } from "./report/markdown.js";
import { busy, busyWarning, printCase, printMemory, printSummary } from "./report/table.js";

/** @import { CaseResult, Settings } from "./types.js" */

const folder = dirname(fileURLToPath(import.meta.url));

function commit() {
  try {
    const head = execFileSync("git", ["rev-parse", "--short", "HEAD"], {
      cwd: folder,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
    const changed = execFileSync("git", ["status", "--porcelain", "--", "../lib", "../native"], {
      cwd: folder,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    return changed.trim() === "" ? head : `${head} with uncommitted changes`;
  } catch {
    return "unknown";
  }
}

/** @param {string} command */
async function main(command) {
  const options = readOptions(process.argv.slice(2));
  if (options.help) return console.log(usage);
  if (options.report) return writeReport(join(folder, "results"));
  if (getBackend() !== "native") throw new Error("the native kernels are not built: npm run build");
  if (options.target !== null) setTarget(options.target);
  const target = getTarget();
  const precision = getPrecision(); // XCORR_PRECISION
  const limits = options.quick
    ? { leastKept: 3, mostRounds: 12, mostSeconds: 4 }
    : { leastKept: 7, mostRounds: 60, mostSeconds: 12 };
  const machine = `${cpus()[0]?.model ?? "unknown CPU"}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.versions.node}`;
  for (const suite of options.suites) {
    console.log(`\n${suite}: ${machine}, ${target}`);
    if (/** @type {number} */ (loadavg()[0]) > busy) console.log(busyWarning(/** @type {number} */ (loadavg()[0])));
    setNumThreads(Math.max(...options.threads));
    const bandwidth = copyBandwidth();
    /** @type {CaseResult[]} */
    const results = [];
    /** @type {Record<string, number>} */
    const peaks = {};
    /** @type {Record<string, unknown>} */
    const header = {
      suite,
      machine,
      target,
      commit: commit(),
      command,
      date: new Date().toISOString(),
      load: loadavg()[0],
      bandwidth,
    };
    const save = () => {
      if (!options.write) return;
      mkdirSync(join(folder, "results"), { recursive: true });
      const label = options.name ?? `${suite}-${target}${options.filtered ? "-filtered" : ""}`;
      const text = JSON.stringify(
        { ...header, peaks, cases: results },
        (_, value) => (typeof value === "number" ? Number(value.toPrecision(5)) : value),
        1,
      );
      writeFileSync(join(folder, "results", `${label}.json`), `${text}\n`);
    };
    if (suite === "memory") {
      /** @type {Settings} */
      const settings = { threads: Math.max(...options.threads), target, precision: "default" };
      const { rows, missing } = await measureMemory(options.rivals(suite), settings, target);
      Object.assign(header, { memory: rows, missing });
      printMemory(rows, missing);
      save();
      continue;
    }
    const rivals = await startRivals(options.rivals(suite), target);
    Object.assign(header, { about: rivals.about, missing: rivals.missing });
    for (const about of Object.values(rivals.about)) console.log(about);
    for (const [name, reason] of Object.entries(rivals.missing)) console.log(`MISSING ${name}: ${reason}`);
    try {
      const cases = /** @type {NonNullable<typeof suites[string]>} */ (suites[suite])().filter((each) =>
        options.filter.test(each.name),
      );
      if (cases.length === 0) throw new Error(`no case of ${suite} matches --filter ${options.filter.source}`);
      /** @type {Map<number, Probe>} */
      const probes = new Map();
      for (const [number, each] of cases.entries()) {
        for (const threads of options.threads) {
          setNumThreads(threads);
          let probe = probes.get(threads);
          if (probe === undefined) {
            probes.set(threads, (probe = new Probe()));
            for (let i = 0; i < 50; i++) probe.measure();
          }
          let result;
          try {
            result = await measure(each, {
              contenders: rivals.contenders,
              pytorch: rivals.pytorch,
              probe,
              settings: { threads, target, precision: each.precision ?? precision },
              limits,
              seed: number + 1,
            });
          } catch (error) {
            // The other cases are still worth measuring; the exit code tells.
            console.error(`\n${each.name}: FAILED: ${/** @type {Error} */ (error).message}`);
            process.exitCode = 1;
            continue;
          }
          peaks[threads] = probe.peak;
          results.push(result);
          printCase(result);
          save();
        }
      }
    } finally {
      rivals.stop();
    }
    printSummary(results, peaks, bandwidth);
    save();
  }
  if (options.write) writeReport(join(folder, "results"));
}

await main(`npm run bench -- ${process.argv.slice(2).join(" ")}`);
