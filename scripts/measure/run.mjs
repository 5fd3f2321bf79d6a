// @ts-check
// npm run measure -- NAME [options]: what the library promises, measured. Each prints figures beside promises.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

/** @type {Record<string, string>} */
const measurements = {
  memory: "memory.mjs: peak memory and the pool over 20,000 steps of training, synchronous and asynchronous",
  failures: "failures.mjs: exceptions in the middle of forward, backward and loaders leak nothing",
  faults: "faults.mjs: full disks at every kind of save, kill -9 while saving, refused memory and threads; --kills 50",
  lateness: "lateness.mjs: timers beside inference at full speed",
  neighbour: "neighbour.mjs: throughput beside a process that keeps all cores busy",
  workers:
    "workers.mjs: workers in one process share the cores fairly, and no more compute threads run than there are cores",
  network: "network.mjs: training, saving, loading and serving where there is no network",
  audit: "audit.mjs: known vulnerabilities of what both lockfiles name",
  soak: "soak.mjs: training and serving mixed, with workers that are terminated; --minutes 30 for the full one",
  fuzz: "fuzz_ops.mjs: random calls of all operations, native against reference; --minutes",
  nodes: "node_versions.mjs: the whole test suite on Node 20, 22, 24 and 26 with one binary; --version 24 for one",
};
const [name, ...options] = process.argv.slice(2);
const found = name === undefined ? undefined : measurements[name];
if (found === undefined) {
  console.log("npm run measure -- NAME [options]");
  for (const [key, text] of Object.entries(measurements)) console.log(`  ${key.padEnd(10)} ${text}`);
  process.exitCode = name === undefined ? 0 : 2;
} else {
  const script = fileURLToPath(new URL(/** @type {string} */ (found.split(":")[0]), import.meta.url));
  process.exitCode = spawnSync(process.execPath, [script, ...options], { stdio: "inherit" }).status ?? 1;
}
