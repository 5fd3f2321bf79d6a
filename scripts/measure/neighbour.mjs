// @ts-check
// Throughput while another process uses every core, against the fair share: with one busy thread a core, half of what
// is reached alone. Of training steps, and of inference off the event loop with two requests in flight.
//
//   node scripts/measure/neighbour.mjs [--seconds 4] [--rounds 3] [--batch 32] [--loops 3]
//
// loops: 1 training, 2 forwardAsync, 3 both.
// Alone and with the neighbour in turns, so that a change of the machine's speed meets both.
import { spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import { crossEntropy, getNumThreads, nn, optim, randint, randn } from "../../dist/index.js";
import { numbersFromArguments, quantile, report } from "./figures.mjs";

const { seconds, rounds, batch, loops } = numbersFromArguments({ seconds: 4, rounds: 3, batch: 32, loops: 3 });
const model = nn.models.resnet18Cifar();
const [x, y] = [randn([batch, 3, 32, 32]), randint(0, 10, [batch])];

/** Steps per second. */
async function training() {
  const optimizer = new optim.SGD(model.train().parameters(), { lr: 0.01 });
  const step = () => {
    optimizer.zeroGrad();
    crossEntropy(model.forward(x), y).backward();
    optimizer.step();
  };
  step();
  const start = performance.now();
  let steps = 0;
  for (; performance.now() - start < 1000 * seconds; steps++) step();
  return (1000 * steps) / (performance.now() - start);
}

/** Batches per second. */
async function inference() {
  model.eval();
  await model.forwardAsync(x);
  const start = performance.now();
  let calls = 0;
  const load = Array.from({ length: 2 }, async () => {
    for (; performance.now() - start < 1000 * seconds; calls++) await model.forwardAsync(x);
  });
  await Promise.all(load);
  return (1000 * calls) / (performance.now() - start);
}

const cores = availableParallelism();
/** Runs `work` while `cores` busy loops run in another process. @param {() => Promise<number>} work */
async function withNeighbour(work) {
  const busy =
    "const { Worker } = require('worker_threads'); for (let i = 1; i < " +
    `${cores}; i++) new Worker('for (;;);', { eval: true }); setImmediate(() => { console.log('up'); for (;;); });`;
  const child = spawn(process.execPath, ["-e", busy], { stdio: ["ignore", "pipe", "inherit"] });
  try {
    await new Promise((resolve) => child.stdout.once("data", resolve));
    await new Promise((resolve) => setTimeout(resolve, 300));
    return await work();
  } finally {
    child.kill("SIGKILL");
    await new Promise((resolve) => child.once("exit", resolve));
  }
}

/** @param {string} name @param {() => Promise<number>} rate */
async function measure(name, rate) {
  const shares = [];
  for (let i = 0; i < rounds; i++) {
    const alone = await rate();
    const beside = await withNeighbour(rate);
    const after = await rate();
    const share = beside / ((alone + after) / 2 / 2);
    shares.push(share);
    console.log(
      `${name}: alone ${alone.toFixed(2)} and ${after.toFixed(2)} a second, beside ${cores} busy threads ` +
        `${beside.toFixed(2)}: ${(100 * share).toFixed(0)} % of the fair share`,
    );
  }
  const middle = quantile(shares, 0.5);
  report(
    `${name} beside a busy neighbour (ResNet-18, batch ${batch}, ${getNumThreads()} threads)`,
    `${(100 * middle).toFixed(0)} % of the fair share`,
    "at least 80 %",
    middle >= 0.8,
  );
}
if (loops !== 2) await measure("training", training);
if (loops !== 1) await measure("forwardAsync", inference);
