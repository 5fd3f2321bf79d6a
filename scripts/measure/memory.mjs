// @ts-check
// Memory of plain training loops, nobody disposing anything: LeNet-5 at batch 64, synchronously and with runAsync.
//
//   node scripts/measure/memory.mjs [--steps 20000] [--loops 3]     loops: 1 synchronous, 2 asynchronous, 3 both
//
// Peak memory of the process from step 200 to the end, and what the pool takes from the system in the second half.
// Every loop runs in a process of its own.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { crossEntropy, memoryStats, nn, optim, randint, randn, runAsync } from "../../dist/index.js";
import { megabytes, numbersFromArguments, report, residentBytes } from "./figures.mjs";

const { steps, loops } = numbersFromArguments({ steps: 20000, loops: 3 });
const settled = 200;

if (loops === 3) {
  for (const loop of ["1", "2"]) {
    const { status } = spawnSync(
      process.execPath,
      [fileURLToPath(import.meta.url), "--steps", String(steps), "--loops", loop],
      { stdio: "inherit" },
    );
    if (status !== 0) process.exitCode = 1;
  }
} else {
  await measure(loops === 2);
}

/** @param {boolean} asynchronous */
async function measure(asynchronous) {
  const name = asynchronous ? "asynchronous" : "synchronous";
  const model = new nn.models.LeNet5();
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.01, momentum: 0.9 });
  const batches = Array.from({ length: 8 }, () => [randn([64, 1, 28, 28]), randint(0, 10, [64])]);
  let early = 0;
  let late = 0;
  let fresh = 0;
  let lastLoss = 0;
  const section = (/** @type {number} */ i) => {
    const [x, y] = /** @type {[any, any]} */ (batches[i % batches.length]);
    optimizer.zeroGrad();
    const loss = crossEntropy(model.forward(x), y);
    loss.backward();
    optimizer.step();
    return loss;
  };
  const start = performance.now();
  for (let i = 0; i < steps; i++) {
    const loss = asynchronous ? await runAsync(() => section(i)) : section(i);
    if (i % 100 === 0) lastLoss = loss.item();
    if (i % 20 === 0) {
      const now = residentBytes();
      if (i <= settled) early = Math.max(early, now);
      late = Math.max(late, now);
    }
    if (i === Math.floor(steps / 2)) fresh = memoryStats().fresh;
  }
  const seconds = (performance.now() - start) / 1000;
  const stats = memoryStats();
  console.log(
    `${name}: ${steps} steps of LeNet-5, batch 64, in ${seconds.toFixed(0)} s; loss ${lastLoss.toFixed(3)}; ` +
      `pool ${megabytes(stats.live + stats.pooled)} in ${stats.freshBlocks} blocks, peak live ${megabytes(stats.peak)}, ` +
      `${stats.collections} collections asked for; JavaScript heap ${megabytes(process.memoryUsage().heapTotal)}`,
  );
  const growth = (late - early) / early;
  report(
    `${name} peak memory after step ${settled}`,
    `${megabytes(early)} -> ${megabytes(late)}, ${(100 * growth).toFixed(2)} %`,
    "grows by less than 2 %",
    growth < 0.02,
  );
  const taken = stats.fresh - fresh;
  report(`${name} fresh memory for tensors in the second half`, `${taken} bytes`, "0", taken === 0);
}
