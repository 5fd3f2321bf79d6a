// @ts-check
// Memory of plain training loops, nobody disposing anything: synchronously and with runAsync.
//
//   node scripts/measure/memory.mjs [--steps 20000] [--loops 3] [--network 0]
//
// loops: 1 synchronous, 2 asynchronous, 3 both; network: 0 LeNet-5, 1 convolutions with batch norm, dropout and Adam,
// 2 a perceptron, batches of changing sizes, the loss read after every step. Batches of 64 (2: 64 down to 15).
//
// The peak is the kernel's own (getrusage), which misses nothing. Beside it the level, a median of samples: compilers and
// collectors of V8 take a megabyte or two for milliseconds, which the level does not show. Every loop has a process of its own.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { crossEntropy, memoryStats, nn, optim, randint, randn, runAsync } from "../../dist/index.js";
import { megabytes, numbersFromArguments, quantile, report, residentBytes } from "./figures.mjs";

const { steps, loops, network } = numbersFromArguments({ steps: 20000, loops: 3, network: 0 });
const settled = 200;
const peakBytes = () => 1024 * process.resourceUsage().maxRSS;

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

/** @returns {{ name: string, model: any, optimizer: any, shape: number[] }} */
function subject() {
  if (network === 1) {
    const model = new nn.Sequential(
      new nn.Conv2d(3, 16, 3, { padding: 1 }),
      new nn.BatchNorm2d(16),
      new nn.ReLU(),
      new nn.MaxPool2d(2),
      new nn.Conv2d(16, 32, 3, { padding: 1 }),
      new nn.BatchNorm2d(32),
      new nn.ReLU(),
      new nn.AdaptiveAvgPool2d(1),
      new nn.Flatten(),
      new nn.Dropout(0.3),
      new nn.Linear(32, 10),
    );
    return {
      name: "a batch norm network",
      model,
      optimizer: new optim.Adam(model.parameters(), { lr: 1e-3 }),
      shape: [3, 16, 16],
    };
  }
  const model =
    network === 2
      ? new nn.Sequential(new nn.Flatten(), new nn.Linear(784, 128), new nn.ReLU(), new nn.Linear(128, 10))
      : new nn.models.LeNet5();
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.01, momentum: 0.9 });
  return { name: network === 2 ? "a perceptron" : "LeNet-5", model, optimizer, shape: [1, 28, 28] };
}

/** @param {boolean} asynchronous */
async function measure(asynchronous) {
  const kind = asynchronous ? "asynchronous" : "synchronous";
  const { name, model, optimizer, shape } = subject();
  const batches = Array.from({ length: 8 }, (_, i) => {
    const count = network === 2 ? 64 - 7 * i : 64;
    return [randn([count, ...shape]), randint(0, 10, [count])];
  });
  let [early, fresh, lastLoss] = [0, 0, 0];
  const samples = new Float64Array(steps);
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
    if (network === 2 || i % 100 === 0) lastLoss = loss.item();
    samples[i] = residentBytes();
    if (i === settled) early = peakBytes();
    if (i === Math.floor(steps / 2)) fresh = memoryStats().fresh;
  }
  const late = peakBytes();
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
