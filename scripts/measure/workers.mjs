// @ts-check
// Workers that compute at once in one process: whether they share the cores fairly, and whether more threads of the
// library want to run than there are cores.
//
//   node scripts/measure/workers.mjs [--seconds 5] [--workers 2] [--most 6]
//
// workers: for fairness; most: for the threads, which are counted for 2 to so many.
import { readdirSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { getNumThreads } from "../../dist/index.js";
import { numbersFromArguments, report } from "./figures.mjs";

const { seconds, workers, most } = numbersFromArguments({ seconds: 5, workers: 2, most: 6 });
const library = JSON.stringify(new URL("../../dist/index.js", import.meta.url).href);
const pause = (/** @type {number} */ ms) => new Promise((resolve) => setTimeout(resolve, ms));

const bodies = {
  training: `const optimizer = new x.optim.SGD(model.parameters(), { lr: 0.01 });
    const one = async () => { optimizer.zeroGrad(); x.crossEntropy(model.forward(input), labels).backward(); optimizer.step(); };`,
  forwardAsync: "model.eval(); const one = () => Promise.all([model.forwardAsync(input), model.forwardAsync(input)]);",
};

/** Starts workers that count their rounds until they are told to stop. @param {string} body @param {number} count */
async function start(body, count) {
  const source = `
    import { parentPort, workerData } from "node:worker_threads";
    const x = await import(${library});
    const model = x.nn.models.resnet18Cifar();
    const [input, labels] = [x.randn([4, 3, 32, 32]), x.randint(0, 10, [4])];
    ${body}
    await one();
    const state = new Int32Array(workerData); // [go, rounds of each]
    parentPort.postMessage("ready");
    parentPort.once("message", async (i) => {
      while (Atomics.load(state, 0) === 0) {
        await one();
        Atomics.add(state, 1 + i, 1);
      }
      parentPort.close();
    });`;
  const shared = new SharedArrayBuffer(4 * (1 + count));
  const all = Array.from(
    { length: count },
    () => new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), { workerData: shared }),
  );
  await Promise.all(all.map((worker) => new Promise((resolve) => worker.once("message", resolve))));
  for (const [i, worker] of all.entries()) worker.postMessage(i);
  const state = new Int32Array(shared);
  return {
    rounds: () => [...state.subarray(1)],
    async stop() {
      Atomics.store(state, 0, 1);
      await Promise.all(all.map((worker) => new Promise((resolve) => worker.once("exit", resolve))));
    },
  };
}

/**
 * How long the library's threads have run, or stood in line for a processor, in seconds. The kernel counts it; looking at
 * one thread after the other would see both of two that take turns.
 */
function claimed() {
  let nanoseconds = 0;
  for (const id of readdirSync("/proc/self/task")) {
    try {
      if (!readFileSync(`/proc/self/task/${id}/comm`, "utf8").startsWith("xcorr")) continue;
      const [ran = 0, waited = 0] = readFileSync(`/proc/self/task/${id}/schedstat`, "utf8").split(" ").map(Number);
      nanoseconds += ran + waited;
    } catch {} // it has ended
  }
  return nanoseconds / 1e9;
}

for (const [name, body] of Object.entries(bodies)) {
  const group = await start(body, workers);
  await pause(500);
  const before = group.rounds();
  await pause(1000 * seconds);
  const done = group.rounds().map((n, i) => n - /** @type {number} */ (before[i]));
  await group.stop();
  const all = done.reduce((a, b) => a + b);
  const least = Math.min(...done) / all;
  report(
    `throughput of ${workers} workers, ${name} (ResNet-18, batch 4): ${done.map((n) => (n / seconds).toFixed(1)).join(" and ")} rounds a second`,
    `${(100 * least).toFixed(0)} % of it at least`,
    `each at least ${(80 / workers).toFixed(0)} %`,
    least >= 0.8 / workers,
  );
}

if (process.platform === "linux") {
  for (let count = 2; count <= most; count += 2) {
    const group = await start(bodies.forwardAsync, count);
    await pause(500);
    const [before, began] = [claimed(), performance.now()];
    await pause(500 * seconds);
    const average = (claimed() - before) / ((performance.now() - began) / 1000);
    await group.stop();
    report(
      `compute threads that run or want to, ${count} workers with forwardAsync, ${getNumThreads()} threads wanted`,
      `${average.toFixed(2)} on average`,
      `no more than the ${availableParallelism()} cores, and a tenth for changes of turn`,
      average <= 1.1 * availableParallelism(),
    );
  }
}
