// @ts-check
// Known vulnerabilities of what the lockfiles name (the package's development dependencies, the bench's rivals; the
// package itself has no dependency): `npm audit` of each, and where the registry answers no audits, the versions against
// the advisories below, read by hand.
//
//   node scripts/measure/audit.mjs
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { report } from "./figures.mjs";

/**
 * The first version without any advisory that was known in November 2026, per major version where lines were mended
 * apart; of packages that the lockfiles name. @type {Record<string, string[]>}
 */
const mended = {
  "adm-zip": ["0.6.0"], // GHSA-xcpc-8h2w-3j85
  "ansi-regex": ["5.0.1", "6.0.1"], // GHSA-93q8-gq69-wqmw
  "brace-expansion": ["1.1.17", "2.1.3", "5.0.8"], // GHSA-f886-m6hf-6m8v, GHSA-mh99-v99m-4gvg
  debug: ["2.6.9", "3.1.0", "4.4.3"], // 4.4.2 was malicious
  "form-data": ["2.5.4", "3.0.4", "4.0.4"], // GHSA-fjxv-7rqg-78g4
  ini: ["1.3.6"], // GHSA-qqgx-2p2h-9c37
  minimatch: ["3.1.4", "5.1.8", "9.0.7", "10.2.3"], // GHSA-3ppc-4f35-3m26, GHSA-7r86-cg39-jmmj, GHSA-23c5-xmqv-rm74
  minimist: ["1.2.6"], // GHSA-xvch-5gv4-984h
  nanoid: ["3.3.8", "5.0.9"], // GHSA-mwcw-c2x4-8c55
  "node-fetch": ["2.6.7", "3.1.1"], // GHSA-r683-j2x4-v87g
  "nth-check": ["2.0.1"], // GHSA-rp65-9cf3-cjxr
  picomatch: ["2.3.2", "4.0.4"], // method injection and ReDoS of 4.0.3
  postcss: ["8.4.31"], // GHSA-7fh5-64p2-3v2j
  semver: ["5.7.2", "6.3.1", "7.5.2"], // GHSA-c2qf-rxjj-qqgw
  sharp: ["0.32.6"], // GHSA-54xq-cgqr-rpm3
  tar: ["7.5.11"], // GHSA-9ppj-qmqm-q256 and six before
  underscore: ["1.13.8"], // unlimited recursion of 1.13.7
  undici: ["6.23.0", "7.18.2"], // GHSA-g9mf-h72j-4rw9
  vitest: ["4.1.11"], // GHSA-82fw-gwwq-j7x9
  "@vitest/mocker": ["4.1.11"],
  y18n: ["4.0.1", "5.0.5"], // GHSA-c4w7-xm78-47vh
  "yargs-parser": ["13.1.2", "15.0.1", "18.1.2"], // GHSA-p9pc-299p-vxgp
};

/** @param {string} version */
const numbers = (version) => version.split(/[.-]/).slice(0, 3).map(Number);
/** Whether a version is at least another. @param {string} a @param {string} b */
function atLeast(a, b) {
  const [x, y] = [numbers(a), numbers(b)];
  for (let i = 0; i < 3; i++) if (x[i] !== y[i]) return /** @type {number} */ (x[i]) > /** @type {number} */ (y[i]);
  return true;
}
/** Whether the line of its major version, or the newest before it, was mended by then. @param {string} version @param {string[]} first */
function isMended(version, first) {
  const major = /** @type {number} */ (numbers(version)[0]);
  const line = first.filter((each) => /** @type {number} */ (numbers(each)[0]) <= major).at(-1);
  return line !== undefined && atLeast(version, line);
}

for (const folder of [".", "bench"]) {
  const cwd = fileURLToPath(new URL(`../../${folder}`, import.meta.url));
  const { packages } = JSON.parse(readFileSync(`${cwd}/package-lock.json`, "utf8"));
  const found = Object.entries(packages)
    .filter(([path]) => path !== "")
    .map(([path, { version }]) => ({ name: path.replace(/^.*node_modules\//, ""), version }));
  const audit = spawnSync("npm", ["audit", "--json"], { cwd, encoding: "utf8" });
  let answer;
  try {
    answer = JSON.parse(audit.stdout);
  } catch {}
  const known = answer?.metadata?.vulnerabilities;
  const where = `${folder === "." ? "" : `${folder}/`}package-lock.json (${found.length} packages)`;
  if (known !== undefined) {
    report(`npm audit of ${where}`, `${known.total} known vulnerabilities`, "none", known.total === 0);
    continue;
  }
  const looked = found.filter(({ name }) => Object.hasOwn(mended, name));
  const bad = looked.filter(({ name, version }) => !isMended(version, /** @type {string[]} */ (mended[name])));
  report(
    `${where}: the registry answers no audits; ${looked.length} of them that had advisories`,
    bad.length === 0 ? "0 unmended" : bad.map(({ name, version }) => `${name}@${version}`).join(", "),
    "none",
    bad.length === 0,
  );
}
