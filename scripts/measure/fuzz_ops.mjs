// @ts-check
// Random calls of every public operation, with legal and illegal arguments, on the native kernels and on the reference.
//
//   node scripts/measure/fuzz_ops.mjs [--minutes 1] [--seed N]
//
// Calls run in child processes; the last call of one that crashes or hangs is printed. Within a child each call must
// throw an XcorrError or give the same result both ways (NaN in the same places).
import { spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as library from "../../dist/index.js";
import { numbersFromArguments, report } from "./figures.mjs";

const { minutes, seed, child } = /** @type {Record<"minutes"|"seed"|"child", number>} */ (
  numbersFromArguments({ minutes: 1, seed: Date.now() % 1e6, child: 0 })
);
const callsPerChild = 3000;
const patience = 120_000;

// What draws random numbers, changes settings, reads files or runs functions is not compared here.
const excluded =
  /^(set|get|manualSeed|seed|rand|bernoulli|normal|multinomial|dropout|alphaDropout|featureAlphaDropout|dropout\dd|uniform|emptyCache|memory|resetPeak|noGrad|enableGrad|inferenceMode|isGradEnabled|scope|keep|checkpoint|runAsync|async|gradcheck|gradgradcheck|grad$|backward$|detectAnomaly|savedTensorHooks|hessian|hvp|jacobian|jvp|vjp|vhp|targets|shuffle|empty|check|define|install|poisson|exponential)/;
// Exports marked @internal are absent from the declarations.
const declarations = fileURLToPath(new URL("../../dist/ops/", import.meta.url));
const declared = new Set(
  readdirSync(declarations)
    .filter((file) => file.endsWith(".d.ts"))
    .flatMap((file) =>
      [...readFileSync(join(declarations, file), "utf8").matchAll(/export declare (?:function|const) (\w+)/g)].map(
        (m) => m[1],
      ),
    ),
);
const operations = Object.entries(library)
  .filter(
    ([name, value]) =>
      typeof value === "function" &&
      /^[a-z]/.test(name) &&
      declared.has(name) &&
      !/Op$/.test(name) &&
      !excluded.test(name),
  )
  .map(([name, value]) => /** @type {[string, (...a: any[]) => any]} */ ([name, value]));

/** mulberry32 @param {number} start */
function generator(start) {
  let state = start >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const optionNames =
  "dim keepdim stride padding dilation groups bias weight ceilMode countIncludePad reduction alpha p eps training momentum size scaleFactor mode alignCorners largest sorted descending unbiased correction dtype outputPadding min max value paddingMode exclusive".split(
    " ",
  );

/** @param {() => number} random */
function caller(random) {
  /** @param {number} n */
  const below = (n) => Math.floor(random() * n);
  /** @template T @param {readonly T[]} list @returns {T} */
  const one = (list) => /** @type {T} */ (list[below(list.length)]);
  const size = () => one([0, 1, 1, 2, 3, 3, 4, 5, 7, 16, 17]);
  const number = () =>
    one([
      0,
      1,
      1,
      2,
      2,
      3,
      -1,
      -2,
      0.5,
      -0.5,
      1e9,
      -1e9,
      2 ** 31,
      2 ** 53,
      1e300,
      Number.NaN,
      Number.POSITIVE_INFINITY,
    ]);
  const integer = () => one([0, 1, 1, 1, 2, 2, 3, -1, 5]);
  let common = [2, 3];
  const shape = () => (random() < 0.6 ? [...common] : Array.from({ length: below(5) }, size));
  const tensor = () => {
    const sizes = shape();
    const count = sizes.reduce((n, s) => n * s, 1);
    const dtype = /** @type {any} */ (one(["float32", "float32", "float32", "float64", "int32", "uint8", "bool"]));
    const special = random() < 0.1;
    const values = Float64Array.from({ length: count }, () =>
      special && random() < 0.2 ? number() : dtype === "int32" ? below(4) : Math.fround(4 * random() - 2),
    );
    const t = library.tensor(values, { shape: sizes, dtype });
    if (sizes.length > 1 && random() < 0.2) return t.transpose(0, sizes.length - 1);
    if (sizes.length > 0 && /** @type {number} */ (sizes[0]) > 1 && random() < 0.1) return t.narrow(0, 1, 1);
    return t;
  };
  const plain = () =>
    one([
      number,
      integer,
      integer,
      () => [integer(), integer()],
      () => Array.from({ length: below(5) }, integer),
      () => null,
      () => undefined,
      () => "mean",
      () => true,
      () => "nearest",
      () => ({}),
    ])();
  const options = () =>
    Object.fromEntries(
      Array.from({ length: 1 + below(2) }, () => [one(optionNames), random() < 0.15 ? tensor() : plain()]),
    );
  return () => {
    common = Array.from({ length: 1 + below(4) }, size);
    const args = [];
    const tensors = one([1, 1, 1, 2, 2, 3]);
    for (let i = 0; i < tensors; i++) args.push(tensor());
    if (random() < 0.1) args[0] = /** @type {any} */ (args.slice());
    for (let i = below(3); i > 0; i--) args.push(plain());
    if (random() < 0.4) args.push(options());
    return { operation: one(operations), args };
  };
}

/** @param {any} value @returns {string} */
function shown(value) {
  if (value instanceof library.Tensor) return `<[${value.shape}] ${value.dtype} strides ${value.strides}>`;
  if (Array.isArray(value)) return `[${value.map(shown).join(", ")}]`;
  if (typeof value === "object" && value !== null)
    return `{${Object.entries(value).map(([k, v]) => `${k}: ${shown(v)}`)}}`;
  return String(value);
}

/** Tensors of a result, as shapes, types and values. @param {any} result @returns {any[]} */
function outcome(result) {
  if (result instanceof library.Tensor) return [{ shape: result.shape, dtype: result.dtype, data: result.data() }];
  if (Array.isArray(result)) return result.flatMap(outcome);
  if (typeof result === "object" && result !== null) return Object.values(result).flatMap(outcome);
  return [result];
}

/** @param {any[]} a @param {any[]} b @returns {string | null} */
function difference(a, b) {
  if (a.length !== b.length) return `${a.length} results and ${b.length}`;
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i], b[i]];
    if (x?.data === undefined) {
      if (!Object.is(x, y) && typeof x !== "function" && typeof x !== "object") return `${x} and ${y}`;
      continue;
    }
    if (`${x.shape}` !== `${y.shape}` || x.dtype !== y.dtype)
      return `[${x.shape}] ${x.dtype} and [${y.shape}] ${y.dtype}`;
    let scale = 1;
    for (const v of y.data) if (Number.isFinite(v)) scale = Math.max(scale, Math.abs(v));
    for (let j = 0; j < x.data.length; j++) {
      const [p, q] = [x.data[j], y.data[j]];
      if (Object.is(p, q) || p === q || (Number.isNaN(p) && Number.isNaN(q))) continue;
      if (Math.abs(p - q) <= 2e-5 * scale) continue;
      if (!Number.isFinite(p) && !Number.isFinite(q)) continue; // an overflow that one way meets earlier
      if (scale > 1e30) continue;
      return `element ${j} is ${p}, reference ${q}`;
    }
  }
  return null;
}

if (child) {
  const file = openSync(/** @type {string} */ (process.env.XCORR_FUZZ_LOG), "w");
  library.setMemoryLimit(256e6); // a count of 1e9 is refused instead of computed slowly
  const next = caller(generator(seed));
  let [results, refusals, problems] = [0, 0, 0];
  for (let i = 0; i < callsPerChild; i++) {
    const { operation, args } = next();
    const [name, call] = operation;
    const text = `${name}(${args.map(shown).join(", ")})`.slice(0, 400);
    writeSync(file, text.padEnd(400), 0);
    /** @type {any[]} */
    const ways = [];
    for (const backend of /** @type {const} */ (["native", "reference"])) {
      library.setBackend(backend);
      library.manualSeed(1);
      // In-place functions change what they get: each way has its own copy.
      const own = args.map(
        /** @param {any} a @returns {any} */ function copy(a) {
          return a instanceof library.Tensor ? a.clone() : Array.isArray(a) ? a.map(copy) : a;
        },
      );
      try {
        const result = call(...own);
        if (result instanceof Promise) result.catch(() => {});
        ways.push({ values: outcome(result) });
      } catch (error) {
        ways.push({ error });
      }
    }
    const [native, reference] = ways;
    let problem = null;
    for (const { error } of ways) {
      if (error !== undefined && !(error instanceof library.XcorrError)) problem = `threw ${error?.stack ?? error}`;
    }
    if (problem === null && (native.error === undefined) !== (reference.error === undefined))
      problem = `native ${native.error ?? "computes"}, reference ${reference.error ?? "computes"}`;
    if (native.error !== undefined) refusals++;
    else if (problem === null) {
      results++;
      problem = difference(native.values, reference.values);
    }
    if (problem !== null && problems++ < 20) console.log(`seed ${seed}, call ${i}: ${text}\n    ${problem}`);
  }
  closeSync(file);
  console.log(`#${JSON.stringify({ results, refusals, problems })}`);
} else {
  const folder = mkdtempSync(join(tmpdir(), "xcorr-fuzz-"));
  const log = join(folder, "last");
  const total = { results: 0, refusals: 0, problems: 0 };
  const end = performance.now() + minutes * 60_000;
  let crashes = 0;
  for (let s = seed; performance.now() < end; s++) {
    const run = spawnSync(process.execPath, [fileURLToPath(import.meta.url), "--child", "--seed", String(s)], {
      encoding: "utf8",
      timeout: patience,
      env: { ...process.env, XCORR_FUZZ_LOG: log },
    });
    const [lines = "", counts] = run.stdout.split("#");
    process.stdout.write(lines);
    if (counts === undefined) {
      crashes++;
      console.log(
        `seed ${s}: ended by ${run.signal ?? run.status} in ${readFileSync(log, "utf8").trim()}\n${run.stderr.slice(-2000)}`,
      );
      continue;
    }
    const found = /** @type {typeof total} */ (JSON.parse(counts));
    for (const key of /** @type {const} */ (["results", "refusals", "problems"])) total[key] += found[key];
  }
  rmSync(folder, { recursive: true });
  console.log(`${operations.length} operations, ${total.results} results compared, ${total.refusals} refusals`);
  report("crashes and hangs", String(crashes), "0", crashes === 0);
  report("calls that differ or throw unnamed errors", String(total.problems), "0", total.problems === 0);
}
