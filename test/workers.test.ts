import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { nativeBuilt } from "./support/backends.js";
import {
  full,
  getNumThreads,
  manualSeed,
  memoryStats,
  nn,
  noGrad,
  randn,
  serve,
  type Tensor,
} from "./support/xcorr.js";

/** The library in several threads at once: each with its own tensors and pool; one pool of compute threads. */

const library = fileURLToPath(new URL("../dist/index.js", import.meta.url));

/** A worker that runs `body` with the library as x, the data as `data` and its port as `port`. */
function worker(body: string, data: unknown = null): Worker {
  const code = `
    const { parentPort: port, workerData: data } = require("node:worker_threads");
    import(${JSON.stringify(library)}).then(async (x) => { ${body} }).catch((e) => port.postMessage({ error: e.stack }));
  `;
  return new Worker(code, { eval: true, workerData: data });
}

// biome-ignore lint/suspicious/noExplicitAny: messages are what the bodies send
function message(w: Worker): Promise<any> {
  return new Promise((resolve, reject) => {
    w.once("message", (m: { error?: string }) => (m?.error === undefined ? resolve(m) : reject(new Error(m.error))));
    w.once("error", reject);
  });
}

const network = `
  x.manualSeed(11);
  const model = new x.nn.Sequential(new x.nn.Conv2d(3, 16, 3), new x.nn.ReLU(), new x.nn.Flatten(), new x.nn.Linear(16 * 14 * 14, 5)).eval();
  const input = x.randn([4, 3, 16, 16]);
`;

describe.runIf(nativeBuilt)("worker_threads", () => {
  it("compute at once, to the same bits, each with its own pool", async () => {
    manualSeed(11);
    const model = new nn.Sequential(
      new nn.Conv2d(3, 16, 3),
      new nn.ReLU(),
      new nn.Flatten(),
      new nn.Linear(16 * 14 * 14, 5),
    ).eval();
    const input = randn([4, 3, 16, 16]);
    const expected = noGrad(() => (model.forward as (x: Tensor) => Tensor)(input)).data();
    const before = memoryStats().tensors;
    const body = `${network}
      let y;
      for (let i = 0; i < 30; i++) y = i % 2 ? x.noGrad(() => model.forward(input)) : await model.forwardAsync(input);
      port.postMessage({ y: y.data(), tensors: x.memoryStats().tensors, threads: x.getNumThreads() });`;
    const workers = [worker(body), worker(body), worker(body)];
    const answers = workers.map(message);
    for (let i = 0; i < 30; i++) noGrad(() => (model.forward as (x: Tensor) => Tensor)(input)).dispose();
    for (const answer of await Promise.all(answers)) {
      expect(answer.y).toEqual(expected);
      expect(answer.tensors).toBeGreaterThan(0);
      expect(answer.threads).toBe(getNumThreads());
    }
    expect(memoryStats().tensors - before).toBeLessThan(200); // theirs are not counted here
    await Promise.all(workers.map((w) => w.terminate()));
  });

  it("pass tensors without a copy through shared memory", async () => {
    const t = serve.receive(serve.share(full([2, 3], 1)));
    const again = serve.share(t.narrow(0, 1, 1));
    expect(again.byteOffset).toBe(12); // it lay there already
    const w = worker(
      `const t = x.serve.receive(data);
       x.noGrad(() => t.add_(41));
       port.postMessage(x.serve.share(x.arange(4)));`,
      again,
    );
    const received = serve.receive(await message(w));
    expect(received.toArray()).toEqual([0, 1, 2, 3]);
    expect(t.toArray()).toEqual([
      [1, 1, 1],
      [42, 42, 42],
    ]);
    await w.terminate();
    expect(serve.receive(serve.share(randn([2, 3]).t())).shape).toEqual([3, 2]);
    expect(() => serve.receive({ ...again, shape: [1e6] })).toThrow(/needs 4000000 bytes/);
    expect(() => serve.receive({ shape: [1] } as never)).toThrow(/needs what share\(\) has made/);
  });

  it("are terminated in the middle of kernels and of programs, and harm nobody", async () => {
    const kernels = `port.postMessage(1); const a = x.randn([300, 300]); for (;;) a.matmul(a);`;
    const programs = `${network} port.postMessage(1); for (;;) await Promise.all([1, 2, 3].map(() => model.forwardAsync(input)));`;
    const mine = randn([64, 64]);
    const expected = mine.matmul(mine).data();
    for (let round = 0; round < 4; round++) {
      const workers = [worker(kernels), worker(programs)];
      await Promise.all(workers.map(message));
      const ended = (async () => {
        await new Promise((resolve) => setTimeout(resolve, 9 * round));
        return Promise.all(workers.map((w) => w.terminate()));
      })();
      for (let i = 0; i < 15; i++) expect(mine.matmul(mine).data()).toEqual(expected);
      expect(await ended).toEqual([1, 1]);
      expect(mine.matmul(mine).data()).toEqual(expected);
    }
  });

  it("read the same checkpointed module state from one shared copy", async () => {
    const linear = new nn.Linear(3, 2);
    const state = Object.fromEntries(Object.entries(linear.stateDict()).map(([k, t]) => [k, serve.share(t)]));
    const w = worker(
      `const m = new x.nn.Linear(3, 2);
       m.loadStateDict(Object.fromEntries(Object.entries(data).map(([k, s]) => [k, x.serve.receive(s)])));
       port.postMessage(m.forward(x.ones([1, 3])).data());`,
      state,
    );
    expect(await message(w)).toEqual(linear.forward(full([1, 3], 1)).data());
    await w.terminate();
  });
});
