// @ts-check
// Exceptions in the middle of forward, backward, loaders, optimisers and asynchronous sections leak nothing.
//
//   node scripts/measure/failures.mjs [--times 200]
import {
  crossEntropy,
  CustomFunction,
  data,
  memoryReport,
  memoryStats,
  nn,
  optim,
  randint,
  randn,
  runAsync,
} from "../../dist/index.js";
import { numbersFromArguments, report } from "./figures.mjs";

const { times } = /** @type {{ times: number }} */ (numbersFromArguments({ times: 200 }));
const model = new nn.models.LeNet5();
const optimizer = new optim.SGD(model.parameters(), { lr: 0.01, momentum: 0.9 });
const [x, y] = [randn([16, 1, 28, 28]), randint(0, 10, [16])];
const loss = () => crossEntropy(model.forward(x), y);

class Failing extends CustomFunction {
  /** @param {any} _context @param {any} t @returns {any} */
  static forward(_context, t) {
    return t.mul(1);
  }
  /** @override @returns {never} */
  static backward() {
    throw new Error("on purpose");
  }
}

/** @type {Record<string, () => unknown>} */
const places = {
  "the middle of forward": () => {
    const h = model.conv1.forward(x);
    model.fc1.forward(h);
  },
  "a hook in the middle of forward": () => {
    const handle = model.conv2.registerForwardHook(() => {
      throw new Error("on purpose");
    });
    try {
      loss();
    } finally {
      handle.remove();
    }
  },
  "the middle of backward": () => /** @type {any} */ (Failing).apply(model.conv1.forward(x)).sum().backward(),
  "a loader's transform": () => {
    const dataset = { length: 64, get: () => [randn([1, 28, 28])] };
    const loader = new data.DataLoader(/** @type {any} */ (dataset), {
      batchSize: 8,
      transform: (batch) => {
        /** @type {any} */ (batch[0]).matmul(randn([3, 3]));
        return batch;
      },
    });
    for (const batch of loader) batch.toString();
  },
  "an asynchronous section": () =>
    runAsync(() => {
      loss().backward();
      throw new Error("on purpose");
    }),
  "a kernel of an asynchronous section": () => runAsync(() => crossEntropy(model.forward(x), y.add(100))),
};

for (let i = 0; i < 3; i++) {
  optimizer.zeroGrad();
  loss().backward();
  optimizer.step();
}
optimizer.zeroGrad();
for (const [name, work] of Object.entries(places)) {
  const attempt = async () => {
    let failed = false;
    try {
      await work();
    } catch {
      failed = true;
    }
    if (!failed) throw new Error(`${name}: nothing was thrown`);
  };
  for (let i = 0; i < 5; i++) await attempt();
  optimizer.zeroGrad();
  await new Promise((resolve) => setImmediate(resolve));
  const before = memoryReport();
  for (let i = 0; i < times; i++) await attempt();
  optimizer.zeroGrad();
  await new Promise((resolve) => setImmediate(resolve));
  const after = memoryReport();
  report(
    `${times} exceptions in ${name}`,
    `${after.tensors - before.tensors} tensors, ${after.live - before.live} bytes more`,
    "none",
    after.tensors <= before.tensors,
  );
}
console.log(`peak live ${(memoryStats().peak / 1e6).toFixed(1)} MB`);
