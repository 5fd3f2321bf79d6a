// @ts-check
// Memory of plain training loops, nobody disposing anything: synchronously and with runAsync.
//
//   node scripts/measure/memory.mjs [--steps 20000] [--loops 3] [--network 0] [--list]
//
// loops: 1 synchronous, 2 asynchronous, 3 both; network: its number in trainings.mjs, 0 for LeNet-5 (batches of 64);
// --list names them.
//
// The peak is the kernel's own (getrusage), which misses nothing. Beside it the level, a median of samples: compilers and
// collectors of V8 take a megabyte or two for milliseconds, which the level does not show. Every loop has a process of its own.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { memoryStats, runAsync } from "../../dist/index.js";
import { megabytes, numbersFromArguments, quantile, report, residentBytes } from "./figures.mjs";
import { trainings } from "./trainings.mjs";

const { steps, loops, network, list } = numbersFromArguments({ steps: 20000, loops: 3, network: 0, list: 0 });
const settled = 200;
const peakBytes = () => 1024 * process.resourceUsage().maxRSS;

const make = trainings[network];
if (list === 1 || make === undefined) {
  if (list === 0) process.exitCode = 2;
  for (const [i, each] of trainings.entries()) console.log(`--network ${i}: ${each().name}`);
  process.exit();
}

if (loops === 3) {
  for (const loop of ["1", "2"]) {
    const { status } = spawnSync(
      process.execPath,
      [fileURLToPath(import.meta.url), "--steps", `${steps}`, "--loops", loop, "--network", `${network}`],
      { stdio: "inherit" },
    );
    if (status !== 0) process.exitCode = 1;
  }
} else {
  await measure(loops === 2);
}

/** @param {boolean} asynchronous */
async function measure(asynchronous) {
  const kind = asynchronous ? "asynchronous" : "synchronous";
  const {
    name,
    step,
    close,
    asynchronous: own = false,
  } = /** @type {() => import("./trainings.mjs").Training} */ (make)();
  if (own && !asynchronous) return;
  let [early, fresh, lastLoss] = [0, 0, 0];
  const samples = new Float64Array(steps);
  const start = performance.now();
  for (let i = 0; i < steps; i++) {
    const loss = own ? await step(i) : asynchronous ? await runAsync(() => step(i)) : step(i);
    if (network === 2 || i % 100 === 0) lastLoss = Number(typeof loss === "number" ? loss : loss.item());
    samples[i] = residentBytes();
    if (i === settled) early = peakBytes();
    if (i === Math.floor(steps / 2)) fresh = memoryStats().fresh;
  }
  const late = peakBytes();
  await close?.();
  const seconds = (performance.now() - start) / 1000;
  const stats = memoryStats();
  const part = Math.max(1, Math.floor(steps / 10));
  const [first, last] = [
    quantile([...samples.subarray(settled, settled + part)], 0.5),
    quantile([...samples.subarray(-part)], 0.5),
  ];
  console.log(
    `${kind}: ${steps} steps of ${name} in ${seconds.toFixed(0)} s; loss ${lastLoss.toFixed(3)}; ` +
      `pool ${megabytes(stats.live + stats.pooled)} in ${stats.freshBlocks} blocks, peak live ${megabytes(stats.peak)}, ` +
      `${stats.collections} collections asked for; JavaScript heap ${megabytes(process.memoryUsage().heapTotal)}; ` +
      `level ${megabytes(first)} -> ${megabytes(last)}, ${((100 * (last - first)) / first).toFixed(2)} %`,
  );
  const growth = (late - early) / early;
  report(
    `${kind} peak memory after step ${settled}`,
    `${megabytes(early)} -> ${megabytes(late)}, ${(100 * growth).toFixed(2)} %`,
    "grows by less than 2 %",
    growth < 0.02,
  );
  const taken = stats.fresh - fresh;
  report(`${kind} fresh memory for tensors in the second half`, `${taken} bytes`, "0", taken === 0);
}
