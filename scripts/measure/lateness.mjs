// @ts-check
// How late timers are while inference runs at full speed on the same process through forwardAsync.
//
//   node scripts/measure/lateness.mjs [--network 0] [--seconds 10] [--batch 8] [--inflight 2] [--size 32]
//
// network: 0 ResNet-18 for CIFAR, 1 ResNet-18, 2 ResNet-50, 3 MobileNetV2, 4 LeNet-5 (of 28 pixels)
import { nn, randn } from "../../dist/index.js";
import { numbersFromArguments, quantile, report } from "./figures.mjs";

/** @typedef {{ name: string, make: () => any, channels?: number, pixels?: number }} Network */
/** @type {Network[]} */
const networks = [
  { name: "ResNet-18 for CIFAR", make: () => nn.models.resnet18Cifar() },
  { name: "ResNet-18", make: () => nn.models.resnet18() },
  { name: "ResNet-50", make: () => nn.models.resnet50() },
  { name: "MobileNetV2", make: () => nn.models.mobilenetV2() },
  { name: "LeNet-5", make: () => new nn.models.LeNet5(), channels: 1, pixels: 28 },
];
const { network, seconds, batch, inflight, size } = numbersFromArguments({
  network: 0,
  seconds: 10,
  batch: 8,
  inflight: 2,
  size: 32,
});
const { name, make, channels = 3, pixels = size } = /** @type {Network} */ (networks[network]);
const model = make().eval();
const x = randn([batch, channels, pixels, pixels]);
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
  `${late.length} timers of ${period} ms beside ${name} (batch ${batch}, ${pixels} pixels): ` +
    `${((calls * batch) / elapsed).toFixed(1)} images/s; late by ${quantile(late, 0.5).toFixed(2)} ms at the median, ` +
    `${Math.max(...late).toFixed(2)} ms at most`,
);
const p99 = quantile(late, 0.99);
// Node's timers count whole milliseconds, so up to 1 ms of it is no wait at all.
report("lateness of timers, 99th percentile", `${p99.toFixed(2)} ms`, "less than 5 ms", p99 < 5);
