// @ts-check
// How late timers are while ResNet-18 inference runs at full speed on the same process through forwardAsync.
//
//   node scripts/measure/lateness.mjs [--seconds 10] [--batch 8] [--inflight 2] [--size 32]
import { nn, randn } from "../../dist/index.js";
import { numbersFromArguments, quantile, report } from "./figures.mjs";

const { seconds, batch, inflight, size } = /** @type {Record<"seconds"|"batch"|"inflight"|"size", number>} */ (
  numbersFromArguments({ seconds: 10, batch: 8, inflight: 2, size: 32 })
);
const model = nn.models.resnet18Cifar().eval();
const x = randn([batch, 3, size, size]);
await model.forwardAsync(x);

/** @type {number[]} */
const late = [];
const period = 10;
let running = true;
let calls = 0;
const start = performance.now();
const load = Array.from({ length: inflight }, async () => {
  while (running) {
    await model.forwardAsync(x);
    calls++;
  }
});
const warm = 1000;
await new Promise((resolve) => {
  let due = performance.now() + period;
  const tick = () => {
    const now = performance.now();
    if (now - start > warm) late.push(Math.max(0, now - due));
    if (now - start > 1000 * seconds) return resolve(undefined);
    due = now + period;
    setTimeout(tick, period);
  };
  setTimeout(tick, period);
});
running = false;
await Promise.all(load);
const elapsed = (performance.now() - start) / 1000;
console.log(
  `${late.length} timers of ${period} ms beside ResNet-18 (batch ${batch}, ${size} pixels): ` +
    `${((calls * batch) / elapsed).toFixed(1)} images/s; late by ${quantile(late, 0.5).toFixed(2)} ms at the median, ` +
    `${Math.max(...late).toFixed(2)} ms at most`,
);
const p99 = quantile(late, 0.99);
// Node's timers count whole milliseconds, so up to 1 ms of it is no wait at all.
report("lateness of timers, 99th percentile", `${p99.toFixed(2)} ms`, "less than 5 ms", p99 < 5);
