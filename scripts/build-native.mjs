#!/usr/bin/env node
// Builds build/Release/xcorr.node with node-gyp, without a network where Node's headers lie beside the running node.
//
//   node scripts/build-native.mjs              build, fail if it fails
//   node scripts/build-native.mjs --optional   build if there is a compiler; if not, say how to get the addon and succeed
//   node scripts/build-native.mjs --cmake      the same addon with cmake-js
//   XCORR_JOBS=4                               compilations at a time (2)
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);
const optional = process.argv.includes("--optional");
const jobs = process.env.XCORR_JOBS ?? "2";

function run(command, args) {
  const result = spawnSync(command, args, { cwd: root, stdio: "inherit" });
  if (result.error) throw result.error;
  return result.status ?? 1;
}

function works(command) {
  return spawnSync(command, ["--version"], { stdio: "ignore" }).status === 0;
}

/** What is missing to compile, or nothing. */
function missing(tools) {
  const compiler = process.env.CXX ?? "g++";
  const names = [];
  if (!works(compiler.split(" ")[0]) && (process.env.CXX || !works("c++")))
    names.push("a C++20 compiler (g++ 11 or later)");
  for (const [name, commands] of tools) if (!commands.some(works)) names.push(name);
  return names;
}

/** node-gyp from the project's dependencies, else the copy that npm itself brings. */
function findNodeGyp() {
  try {
    return join(dirname(require.resolve("node-gyp/package.json")), "bin", "node-gyp.js");
  } catch {
    const npm = join(dirname(dirname(process.execPath)), "lib", "node_modules", "npm");
    const bundled = join(npm, "node_modules", "node-gyp", "bin", "node-gyp.js");
    if (existsSync(bundled)) return bundled;
    console.error("xcorr: node-gyp was not found; npm install node-gyp, then run this again");
    process.exit(optional ? 0 : 1);
  }
}

function buildWithNodeGyp() {
  const nodeGyp = findNodeGyp();
  // Release archives and distributions put headers into include/node beside bin/node; node-gyp else downloads them.
  const beside = dirname(dirname(process.execPath));
  const headers = existsSync(join(beside, "include", "node", "node_api.h")) ? [`--nodedir=${beside}`] : [];
  return run(process.execPath, [nodeGyp, "configure", "build", "--release", `--jobs=${jobs}`, ...headers]);
}

function buildWithCmake() {
  const cmakeJs = join(dirname(require.resolve("cmake-js/package.json")), "bin", "cmake-js");
  return run(process.execPath, [cmakeJs, "build", "--out", join("build", "cmake"), "--parallel", jobs]);
}

const cmake = process.argv.includes("--cmake");
const names = missing(
  cmake
    ? [["cmake", ["cmake"]]]
    : [
        ["make", ["make", "gmake"]],
        ["python3", ["python3", "python"]],
      ],
);
if (names.length > 0) {
  const list = names.join(" and ");
  console.error(
    `xcorr: the native addon was not built: ${list} not found. xcorr works without it, slowly, on its reference ` +
      "backend. To get it: apt-get install g++ make python3 (or your system's equivalents), then npm run build:native.",
  );
  process.exit(optional ? 0 : 1);
}
const status = cmake ? buildWithCmake() : buildWithNodeGyp();
if (status !== 0) {
  console.error(
    "xcorr: building the native addon failed (messages above). xcorr works without it, slowly, on its reference " +
      "backend. It needs g++ 11 or later, make and python3; try again with npm run build:native.",
  );
}
process.exit(optional ? 0 : status);
