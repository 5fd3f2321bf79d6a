// @ts-check
// Throughput of a training step while another process uses every core, against the fair share: with one busy thread a
// core, half of what the step reaches alone.
//
//   node scripts/measure/neighbour.mjs [--seconds 4] [--rounds 3] [--batch 32]
//
// Alone and with the neighbour in turns, so that a change of the machine's speed meets both.
import { spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import { crossEntropy, getNumThreads, nn, optim, randint, randn } from "../../dist/index.js";
import { numbersFromArguments, quantile, report } from "./figures.mjs";

const { seconds, rounds, batch } = /** @type {Record<"seconds"|"rounds"|"batch", number>} */ (
  numbersFromArguments({ seconds: 4, rounds: 3, batch: 32 })
);
const model = nn.models.resnet18Cifar();
const optimizer = new optim.SGD(model.parameters(), { lr: 0.01 });
const [x, y] = [randn([batch, 3, 32, 32]), randint(0, 10, [batch])];
const step = () => {
  optimizer.zeroGrad();
  crossEntropy(model.forward(x), y).backward();
  optimizer.step();
};
step();

/** Steps per second. */
function rate() {
  const start = performance.now();
  let steps = 0;
  while (performance.now() - start < 1000 * seconds) {
    step();
    steps++;
  }
  return (1000 * steps) / (performance.now() - start);
}

const cores = availableParallelism();
/** Runs `work` while `cores` busy loops run in another process. @param {() => number} work */
async function withNeighbour(work) {
  const busy =
    "const { Worker } = require('worker_threads'); for (let i = 1; i < " +
    `${cores}; i++) new Worker('for (;;);', { eval: true }); setImmediate(() => { console.log('up'); for (;;); });`;
  const child = spawn(process.execPath, ["-e", busy], { stdio: ["ignore", "pipe", "inherit"] });
  try {
    await new Promise((resolve) => child.stdout.once("data", resolve));
    await new Promise((resolve) => setTimeout(resolve, 300));
    return work();
  } finally {
    child.kill("SIGKILL");
    await new Promise((resolve) => child.once("exit", resolve));
  }
}

const shares = [];
for (let i = 0; i < rounds; i++) {
  const alone = rate();
  const beside = await withNeighbour(rate);
  const after = rate();
  const share = beside / ((alone + after) / 2 / 2);
  shares.push(share);
  console.log(
    `alone ${alone.toFixed(2)} and ${after.toFixed(2)} steps/s, beside ${cores} busy threads ${beside.toFixed(2)}: ` +
      `${(100 * share).toFixed(0)} % of the fair share`,
  );
}
const middle = quantile(shares, 0.5);
report(
  `throughput beside a busy neighbour (ResNet-18, batch ${batch}, ${getNumThreads()} threads)`,
  `${(100 * middle).toFixed(0)} % of the fair share`,
  "at least 80 %",
  middle >= 0.8,
);
