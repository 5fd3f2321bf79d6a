// @ts-check
// Training and serving at once in one process, with aborted requests, failing calls, and workers that are terminated in the middle.
//
//   node scripts/measure/soak.mjs [--minutes 0.5]     --minutes 30 for the full one
import { Worker } from "node:worker_threads";
import {
  crossEntropy,
  manualSeed,
  memoryStats,
  nn,
  noGrad,
  optim,
  randint,
  randn,
  runAsync,
  serve,
} from "../../dist/index.js";
import { megabytes, numbersFromArguments, quantile, report, residentBytes } from "./figures.mjs";

const { minutes } = /** @type {{ minutes: number }} */ (numbersFromArguments({ minutes: 0.5 }));
const end = performance.now() + 60_000 * minutes;
const library = new URL("../../dist/index.js", import.meta.url).href;
const going = () => performance.now() < end;
const pause = (/** @type {number} */ ms) => new Promise((resolve) => setTimeout(resolve, ms));

manualSeed(1);
const served = new nn.models.LeNet5().eval();
const sample = randn([1, 28, 28]);
const expected = noGrad(() => served.forward(sample.unsqueeze(0))).data();
const predict = serve.microBatch(served, { maxBatch: 8, maxDelay: 2 });
const counts = { steps: 0, answers: 0, aborted: 0, failures: 0, workers: 0, wrong: 0 };
/** @type {number[]} */
const waits = [];

async function train() {
  const model = new nn.models.LeNet5();
  const optimizer = new optim.Adam(model.parameters(), { lr: 1e-3 });
  const [x, y] = [randn([32, 1, 28, 28]), randint(0, 10, [32])];
  let loss;
  while (going()) {
    loss = await runAsync(() => {
      optimizer.zeroGrad();
      const value = crossEntropy(model.forward(x), y);
      value.backward();
      optimizer.step();
      return value;
    });
    counts.steps++;
    if (counts.steps % 50 === 0)
      await runAsync(() => crossEntropy(model.forward(x), y.add(100))).catch(() => counts.failures++);
  }
  if (loss === undefined || !Number.isFinite(loss.item())) counts.wrong++;
}

async function client() {
  for (let i = 0; going(); i++) {
    const controller = new AbortController();
    const start = performance.now();
    const answer = predict(sample, { signal: controller.signal });
    if (i % 7 === 3) controller.abort();
    try {
      const values = (await answer).data();
      if (!values.every((v, j) => Math.abs(v - /** @type {number} */ (expected[j])) < 1e-5)) counts.wrong++;
      counts.answers++;
      waits.push(performance.now() - start);
    } catch {
      counts.aborted++;
    }
    await pause(i % 5);
  }
}

async function workers() {
  while (going()) {
    const worker = new Worker(
      `import(${JSON.stringify(library)}).then(({ randn }) => { const a = randn([200, 200]); for (;;) a.matmul(a); });`,
      { eval: true },
    );
    await pause(400);
    await worker.terminate();
    counts.workers++;
    await pause(600);
  }
}

let settled = 0;
let most = 0;
async function watch() {
  const half = performance.now() + 30_000 * minutes;
  while (going()) {
    await pause(100);
    const now = residentBytes();
    if (performance.now() < half) settled = Math.max(settled, now);
    most = Math.max(most, now);
  }
}

await Promise.all([train(), client(), client(), client(), workers(), watch()]);
await predict.close();
console.log(
  `${minutes} minutes: ${JSON.stringify(counts)}; answers after ${quantile(waits, 0.5).toFixed(1)} ms at the median, ` +
    `${quantile(waits, 0.99).toFixed(1)} ms for 99 %; ${megabytes(memoryStats().live)} live`,
);
report("wrong answers", String(counts.wrong), "0", counts.wrong === 0 && counts.answers > 0 && counts.steps > 0);
report(
  "peak memory of the second half against the first",
  `${megabytes(settled)} -> ${megabytes(most)}`,
  "grows by less than 5 %",
  most < 1.05 * settled,
);
