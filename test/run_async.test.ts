import { getEventListeners } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { release } from "node:os";
import { afterEach, describe, expect, it } from "vitest";
import {
  ArgumentError,
  asyncQueueLength,
  BackendError,
  crossEntropy,
  full,
  gaussianNllLoss,
  io,
  IndexError,
  manualSeed,
  memoryReport,
  memoryStats,
  nn,
  noGrad,
  optim,
  rand,
  randint,
  randn,
  runAsync,
  serve,
  setAsyncQueueLimit,
  setBackend,
  type Tensor,
} from "../lib/index.js";
import { nativeBuilt } from "./support/backends.js";

/** Computing off the main thread: the same bits, in order, with errors in the right place. */

function network(): nn.Module {
  return new nn.Sequential(
    new nn.Conv2d(1, 4, 3),
    new nn.BatchNorm2d(4),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Flatten(),
    new nn.Linear(4 * 5 * 5, 3),
  );
}

/** The time slices of this thread in nanoseconds, where the system says. */
function slices(): number {
  const path = "/proc/thread-self/sched";
  return existsSync(path) ? Number(/se\.slice\s*:\s*(\d+)/.exec(readFileSync(path, "utf8"))?.[1]) : Number.NaN;
}
const [major = 0, minor = 0] = release().split(".").map(Number);
const takesSlices = process.platform === "linux" && (major > 6 || (major === 6 && minor >= 12)) && slices() > 100_000;

function step(model: nn.Module, optimizer: optim.Optimizer, x: Tensor, y: Tensor<"int32">): Tensor {
  optimizer.zeroGrad();
  const loss = crossEntropy((model.forward as (x: Tensor) => Tensor)(x), y);
  loss.backward();
  optimizer.step();
  return loss;
}

const backends = nativeBuilt ? (["native", "reference"] as const) : (["reference"] as const);

afterEach(() => {
  setAsyncQueueLimit(256);
  setBackend(backends[0]!);
});

describe.each(backends)("runAsync on %s", (backend) => {
  it("gives the bits of the synchronous call, with several calls in flight", async () => {
    setBackend(backend);
    manualSeed(1);
    const model = network().eval();
    const x = randn([6, 1, 12, 12]);
    const expected = noGrad(() => (model.forward as (x: Tensor) => Tensor)(x)).data();
    const results = await Promise.all(Array.from({ length: 5 }, () => model.forwardAsync(x)));
    for (const y of results) expect(y.data()).toEqual(expected);
    expect(results[0]!.requiresGrad).toBe(false);
    expect(asyncQueueLength()).toBe(0);
  });

  it("trains to the same bits, step by step", async () => {
    setBackend(backend);
    manualSeed(2);
    const x = randn([8, 1, 12, 12]);
    const y = randint(0, 3, [8]);
    const train = async (off: boolean): Promise<Float32Array[]> => {
      manualSeed(3);
      const model = network();
      const optimizer = new optim.Adam(model.parameters(), { lr: 1e-2 });
      for (let i = 0; i < 4; i++) {
        if (off) await runAsync(() => step(model, optimizer, x, y));
        else step(model, optimizer, x, y);
      }
      return Object.values(model.stateDict()).map((t) => t.data() as Float32Array);
    };
    expect(await train(true)).toEqual(await train(false));
  });

  it("rejects with what the function throws, and goes on", async () => {
    setBackend(backend);
    const model = network();
    await expect(runAsync(() => (model.forward as (x: Tensor) => Tensor)(randn([1, 2, 12, 12])))).rejects.toThrow(
      /channels/,
    );
    await expect(runAsync(async () => 1)).rejects.toThrow(/must be synchronous/);
    expect((await runAsync(() => randn([2]))).shape).toEqual([2]);
  });

  it("takes all inputs of forward, then options", async () => {
    setBackend(backend);
    const distance = new nn.PairwiseDistance();
    const [a, b] = [randn([3, 5]), randn([3, 5])];
    const expected = distance.forward(a, b).data();
    expect((await distance.forwardAsync(a, b)).data()).toEqual(expected);
    const { signal } = new AbortController();
    expect((await distance.forwardAsync(a, b, { signal })).data()).toEqual(expected);
    await expect(distance.forwardAsync(a, b, { signla: signal } as never)).rejects.toThrow(/did you mean "signal"/);
    for (const wrong of [1, {}, null, { aborted: false }])
      await expect(distance.forwardAsync(a, b, { signal: wrong } as never)).rejects.toThrow(
        /signal must be an AbortSignal/,
      );
  });

  it("losses that refuse values do so in a section, where values cannot be read", async () => {
    setBackend(backend);
    const [x, p] = [rand([4, 2]), rand([4, 2])];
    const entropy = new nn.BCELoss();
    expect((await entropy.forwardAsync(x, p)).data()).toEqual(entropy.forward(x, p).data());
    const outside = await entropy.forwardAsync(x.sub(1), p).catch((error: unknown) => error);
    expect(outside).toBeInstanceOf(ArgumentError);
    expect((outside as Error).message).toMatch(/binaryCrossEntropy: input must hold probabilities .* of 8 elements/);
    expect(() => entropy.forward(x.sub(1), p)).toThrow(/but 8 of 8 elements are outside/);
    await expect(runAsync(() => gaussianNllLoss(x, p, x.neg()))).rejects.toThrow(/variance has negative elements/);
    expect((await runAsync(() => gaussianNllLoss(x, p, x.exp()))).item()).toBe(gaussianNllLoss(x, p, x.exp()).item());
  });

  it("stops at an aborted signal", async () => {
    setBackend(backend);
    const model = network().eval();
    await expect(model.forwardAsync(randn([1, 1, 12, 12]), { signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
  });
});

describe.runIf(nativeBuilt)("sections in flight", () => {
  it("refuses to read what is not computed yet", async () => {
    await expect(runAsync(() => randn([3]).add(1).data())).rejects.toThrow(/still being computed/);
    const held: Tensor[] = [];
    const done = runAsync(() => void held.push(randn([100, 100]).add(1)));
    expect(() => held[0]!.data()).toThrow(BackendError);
    expect(() => held[0]!.add(1)).toThrow(/in use by an asynchronous call/);
    expect(() => io.encodeNpy(held[0]!)).toThrow(/still being computed/); // nor a checkpoint of half a step
    expect(() => serve.share(held[0]!)).toThrow(/still being computed/);
    await done;
    expect(held[0]!.data()).toHaveLength(10_000);
  });

  it("refuses to change what is being read", async () => {
    const x = randn([64, 64]);
    const done = runAsync(() => x.matmul(x));
    expect(() => noGrad(() => x.fill_(0))).toThrow(/in use/);
    await done;
    noGrad(() => x.fill_(0));
  });

  it("is taken back at once while it waits, and at no other time", async () => {
    const a = randn([1000, 1000]).div(32);
    const long = (): Tensor => {
      let y = a;
      for (let i = 0; i < 24; i++) y = y.matmul(a); // a quarter of a second of one processor at the very least
      return y;
    };
    /** Whether the bits are the same: toEqual takes seconds for a million numbers. */
    const same = (x: Tensor, y: Tensor): boolean =>
      [x, y].map((t) => Buffer.from((t.data() as Float32Array).buffer)).every((bytes, _, [one]) => bytes.equals(one!));
    const [queued, running, late] = [new AbortController(), new AbortController(), new AbortController()];
    const before = memoryReport().tensors;
    const first = runAsync(long, { signal: running.signal });
    const second = runAsync(() => a.matmul(a), { signal: queued.signal });
    const refused = expect(second).rejects.toThrow("no longer wanted");
    // Until the first computes, as nothing else here does.
    const used = process.cpuUsage();
    while (process.cpuUsage(used).user < 60_000) await new Promise((resolve) => setTimeout(resolve, 1));
    queued.abort(new Error("no longer wanted"));
    running.abort();
    await refused;
    expect(asyncQueueLength()).toBe(1);
    const expected = long();
    expect(same(await first, expected)).toBe(true);
    const third = await runAsync(() => a.mul(2), { signal: late.signal });
    late.abort();
    expect(same(third, a.mul(2))).toBe(true);
    await expect(
      runAsync(
        () => {
          late.abort();
          return a.matmul(a);
        },
        { signal: late.signal },
      ),
    ).rejects.toThrow(/abort/i);
    for (const t of [await first, expected, third]) t.dispose();
    expect(memoryReport().tensors).toBeLessThanOrEqual(before);
  });

  it("leaves no values behind that were never computed, and an optimiser as it was", async () => {
    const model = network();
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
    const [x, y] = [randn([4, 1, 12, 12]), randint(0, 3, [4])];
    const controller = new AbortController();
    const held: Tensor[] = [];
    const large = randn([1500, 1500]);
    const running = runAsync(() => large.matmul(large));
    const aborted = runAsync(
      () => {
        held.push(randn([3]).add(1));
        return step(model, optimizer, x, y);
      },
      { signal: controller.signal },
    );
    const dependent = runAsync(() => held[0]!.add(1));
    const independent = runAsync(() => x.mul(2));
    const refused = expect(dependent).rejects.toThrow(
      /a tensor has no values: the asynchronous call .* failed, or was taken back/,
    );
    const taken = expect(aborted).rejects.toThrow(/abort/i);
    await new Promise((resolve) => setTimeout(resolve, 1)); // now all of them wait behind the first
    controller.abort();
    await Promise.all([refused, taken, running]);
    expect((await independent).data()).toEqual(x.mul(2).data());
    expect(() => held[0]!.data()).toThrow(/no values/);
    expect(() => held[0]!.add(1)).toThrow(/add.*no values|no values/);
    expect(optimizer.state.size).toBe(0);
    for (let i = 0; i < 3; i++)
      expect(Number.isFinite((await runAsync(() => step(model, optimizer, x, y))).item())).toBe(true);
    const before = model.parameters().map((p) => p.data());
    const state = JSON.stringify(optimizer.stateDict().state);
    await expect(runAsync(() => step(model, optimizer, x, y.add(7)))).rejects.toThrow(IndexError);
    expect(model.parameters().map((p) => p.data())).toEqual(before);
    expect(JSON.stringify(optimizer.stateDict().state)).toBe(state);
    // A section that fails while it is written down, and one that catches an error and goes on.
    await expect(
      runAsync(() => {
        held.push(randn([3]).add(1));
        throw new Error("half-way");
      }),
    ).rejects.toThrow("half-way");
    expect(() => held[1]!.data()).toThrow(/no values/);
    const gone = randn([3]);
    gone.dispose();
    const sum = await runAsync(() => {
      const a = full([3], 2);
      expect(() => a.add(gone)).toThrow();
      return a.mul(3);
    });
    expect(sum.toArray()).toEqual([6, 6, 6]);
  });

  it("what waits for values of a section that fails while it runs is not run: nothing is left half-written", async () => {
    const weight = randn([50, 50]);
    const before = weight.data();
    const large = randn([400, 400]);
    const held: Tensor[] = [];
    const failing = runAsync(() => {
      large.matmul(large);
      crossEntropy(randn([2, 3]), full([2], 7, { dtype: "int32" }));
      held.push(randn([50, 50]).mul(2));
    });
    const updates = runAsync(() => {
      held.push(randn([50, 50]));
      return noGrad(() => weight.mul_(held[0]!)); // zeros would be seen, too
    });
    const later = runAsync(() => noGrad(() => weight.mul_(held[1]!)));
    const independent = runAsync(() => large.mul(2));
    const calls = [failing, updates, later, independent];
    await null; // now they are under way
    const end = performance.now() + 100;
    while (performance.now() < end); // all run before anybody here hears of the failure
    const settled = await Promise.allSettled(calls);
    expect(settled.map((each) => each.status)).toEqual(["rejected", "rejected", "rejected", "fulfilled"]);
    expect((settled[0] as PromiseRejectedResult).reason).toBeInstanceOf(IndexError);
    for (const each of settled.slice(1, 3))
      expect((each as PromiseRejectedResult).reason.message).toMatch(/no values: the asynchronous call .* failed/);
    expect(weight.data()).toEqual(before);
    expect((await runAsync(() => noGrad(() => weight.add_(1)))).data()).toEqual(before.map((v) => Math.fround(v + 1)));
  });

  it("steps queued behind the first one, which fails, leave parameters and optimiser as they were", async () => {
    const model = network();
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
    const [x, y] = [randn([4, 1, 12, 12]), randint(0, 3, [4])];
    const before = model.parameters().map((p) => p.data());
    const steps = [y.add(7), y, y].map((labels) => runAsync(() => step(model, optimizer, x, labels)));
    for (const each of await Promise.allSettled(steps)) expect(each.status).toBe("rejected");
    expect(model.parameters().map((p) => p.data())).toEqual(before);
    expect(optimizer.state.size).toBe(0);
    expect(Number.isFinite((await runAsync(() => step(model, optimizer, x, y))).item())).toBe(true);
  });

  it("names the kernel whose index was out of range", async () => {
    await expect(runAsync(() => crossEntropy(randn([2, 3]), full([2], 7, { dtype: "int32" })))).rejects.toThrow(
      IndexError,
    );
  });

  it("bounds the queue", async () => {
    setAsyncQueueLimit(2);
    const first = [runAsync(() => randn([10])), runAsync(() => randn([10]))];
    await expect(runAsync(() => randn([10]))).rejects.toThrow(/2 calls wait already/);
    await Promise.all(first);
    await runAsync(() => randn([10]));
  });

  it.runIf(takesSlices)(
    "the event loop's thread has short time slices while sections compute, then its own again",
    async () => {
      const before = slices();
      const a = randn([1000, 1000]);
      const calls = [runAsync(() => a.matmul(a)), runAsync(() => a.matmul(a))];
      await new Promise((resolve) => setImmediate(resolve));
      expect(slices()).toBe(100_000);
      await Promise.all(calls);
      expect(slices()).toBe(before);
    },
  );

  it("a section without calls of its own ends after those before", async () => {
    const order: string[] = [];
    const a = randn([400, 400]);
    const product = runAsync(() => a.matmul(a));
    const calls = [product.then(() => order.push("product")), runAsync(() => a).then(() => order.push("nothing"))];
    await Promise.all(calls);
    expect(order).toEqual(["product", "nothing"]);
  });

  it("what a section gives back asks for no collection while it computes", async () => {
    const model = new nn.Sequential(
      new nn.Conv2d(8, 8, 3, { padding: 1 }),
      new nn.ReLU(),
      new nn.Conv2d(8, 8, 1),
    ).eval();
    const x = randn([16, 8, 64, 64]); // 2 MB, as every result
    await model.forwardAsync(x);
    const before = memoryStats().collections;
    for (let i = 0; i < 20; i++) (await model.forwardAsync(x)).dispose();
    expect(memoryStats().collections - before).toBeLessThan(2);
  });

  it("takes one signal for many calls, without a warning of leaked listeners", async () => {
    const warnings: Error[] = [];
    const listen = (warning: Error): void => void warnings.push(warning);
    process.on("warning", listen);
    const [kept, ended] = [new AbortController(), new AbortController()];
    const model = new nn.Linear(3, 2).eval();
    const predict = serve.microBatch(model, { maxBatch: 4, maxDelay: 0 });
    const ask = (signal: AbortSignal): Promise<Tensor>[] =>
      Array.from({ length: 40 }, (_, i) =>
        i % 2 ? model.forwardAsync(randn([1, 3]), { signal }) : predict(randn([3]), { signal }),
      );
    const answers = Promise.all(ask(kept.signal));
    const refusals = Promise.allSettled(ask(ended.signal));
    ended.abort(new Error("client has gone"));
    expect((await answers).length).toBe(40);
    for (const one of await refusals) expect(one).toMatchObject({ reason: ended.signal.reason });
    expect([kept, ended].map(({ signal }) => getEventListeners(signal, "abort").length)).toEqual([0, 0]);
    await predict.close();
    await new Promise((resolve) => setImmediate(resolve));
    process.off("warning", listen);
    expect(warnings).toEqual([]);
  });

  it("aborts a call that waits, not the ones around it", async () => {
    const controller = new AbortController();
    const model = network().eval();
    const x = randn([16, 1, 12, 12]);
    const calls = [model.forwardAsync(x), model.forwardAsync(x, { signal: controller.signal }), model.forwardAsync(x)];
    controller.abort(new Error("client has gone"));
    expect((await Promise.allSettled(calls)).map((r) => r.status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  });
});
