import { afterEach, describe, expect, it } from "vitest";
import { nativeBuilt } from "./support/backends.js";
import {
  ArgumentError,
  BackendError,
  embedding,
  IndexError,
  manualSeed,
  nn,
  noGrad,
  randn,
  serve,
  setBackend,
  ShapeError,
  type Tensor,
  tensor,
} from "./support/xcorr.js";

const { microBatch } = serve;
const backends = nativeBuilt ? (["native", "reference"] as const) : (["reference"] as const);
afterEach(() => setBackend(backends[0]!));

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const model = (): nn.Module =>
  new nn.Sequential(new nn.Conv2d(1, 3, 3), new nn.ReLU(), new nn.Flatten(), new nn.Linear(3 * 36, 4)).eval();

describe.each(backends)("microBatch on %s", (backend) => {
  it("refuses batches while its model is in training mode", async () => {
    setBackend(backend);
    const net = model();
    const predict = microBatch(net, { maxDelay: 0 });
    net.train();
    const asked = Promise.allSettled([predict(randn([1, 8, 8])), predict(randn([1, 8, 8]))]);
    for (const { status, ...rest } of await asked) {
      expect(status).toBe("rejected");
      expect((rest as PromiseRejectedResult).reason.message).toMatch(/in training mode/);
    }
    net.eval();
    expect((await predict(randn([1, 8, 8]))).shape).toEqual([4]);
    await predict.close();
  });

  it("gives every caller the bits of its own call, with fewer batches than requests", async () => {
    setBackend(backend);
    manualSeed(5);
    const net = model();
    const predict = microBatch(net, { maxBatch: 8, maxDelay: 5 });
    const samples = Array.from({ length: 37 }, () => randn([1, 8, 8]));
    const results = await Promise.all(samples.map((x) => predict(x)));
    expect(predict.served).toBe(37);
    expect(predict.batches).toBe(5);
    samples.forEach((x, i) => {
      const alone = noGrad(() => (net.forward as (x: Tensor) => Tensor)(x.unsqueeze(0)));
      const expected = alone.data();
      const got = results[i]!.data();
      expect(results[i]!.shape).toEqual([4]);
      for (const [j, v] of expected.entries()) expect(Math.abs(got[j]! - v)).toBeLessThan(1e-5);
    });
  });
});

describe("microBatch", () => {
  const batched: number[] = [];
  const twice = (x: Tensor): Tensor => {
    batched.push(x.shape[0]!);
    return x.mul(2);
  };
  afterEach(() => void batched.splice(0));

  it("waits for others no longer than maxDelay, and not at all for a full batch", async () => {
    const predict = microBatch(twice, { maxBatch: 3, maxDelay: 60 });
    const start = performance.now();
    await Promise.all([1, 2, 3].map((v) => predict(tensor([v]))));
    expect(performance.now() - start).toBeLessThan(50);
    const alone = predict(tensor([7]));
    await sleep(20);
    expect(predict.waiting).toBe(1);
    expect((await alone).toArray()).toEqual([14]);
    expect(batched).toEqual([3, 1]);
  });

  it("never mixes shapes or types", async () => {
    const predict = microBatch(twice, { maxBatch: 10, maxDelay: 1 });
    const inputs = [tensor([1]), tensor([1, 2]), tensor([3]), tensor([4], { dtype: "float64" })];
    const results = await Promise.all(inputs.map((x) => predict(x as Tensor)));
    expect(results.map((y) => y.toArray())).toEqual([[2], [2, 4], [6], [8]]);
    expect(batched.sort()).toEqual([1, 1, 2]);
  });

  it("rejects the one at fault, not its neighbours", async () => {
    const weight = randn([5, 2]);
    const predict = microBatch((x) => embedding(x as Tensor<"int32">, weight), { maxBatch: 4, maxDelay: 1 });
    const answers = await Promise.allSettled([0, 9, 4].map((i) => predict(tensor([i], { dtype: "int32" }) as Tensor)));
    expect(answers.map((a) => a.status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    expect((answers[1] as PromiseRejectedResult).reason).toBeInstanceOf(IndexError);
    const plain = microBatch(
      (x) => {
        if (x.data().includes(13)) throw new Error("an unlucky number"); // not one of the library's errors
        return x.mul(2);
      },
      { maxBatch: 4, maxDelay: 1 },
    );
    const some = await Promise.allSettled([1, 13, 3, 13].map((v) => plain(tensor([v]))));
    expect(some.map((a) => a.status)).toEqual(["fulfilled", "rejected", "fulfilled", "rejected"]);
    const broken = microBatch(() => {
      throw new TypeError("the user's own");
    });
    await expect(broken(tensor([1]))).rejects.toThrow("the user's own");
    await expect(microBatch((x) => x.sum())(tensor([1]))).rejects.toThrow(/1 entries in dimension 0, one for each/);
    await expect(microBatch(model())(randn([2, 8, 8]))).rejects.toThrow(ShapeError);
  });

  it("takes requests back, alone or while their batch computes", async () => {
    let finish = (): void => {};
    const finished = new Promise<void>((resolve) => (finish = resolve));
    const predict = microBatch(
      async (x) => {
        await finished;
        return x.mul(2);
      },
      { maxBatch: 3, maxDelay: 5 },
    );
    const waits = new AbortController();
    const computes = new AbortController();
    const calls = [
      predict(tensor([1]), { signal: computes.signal }),
      predict(tensor([2]), { signal: waits.signal }),
      predict(tensor([3])),
      predict(tensor([4]), { signal: waits.signal }),
    ];
    const all = Promise.allSettled(calls);
    computes.abort(new Error("gone while computing"));
    await sleep(1);
    waits.abort(new Error("gone"));
    finish();
    const answers = await all;
    expect(answers.map((a) => a.status)).toEqual(["rejected", "rejected", "fulfilled", "rejected"]);
    await expect(predict(tensor([1]), { signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
    expect(predict.waiting).toBe(0);
  });

  it("bounds its queue, and closes when all are answered", async () => {
    const predict = microBatch(twice, { maxBatch: 100, maxDelay: 1000, maxQueue: 2 });
    const calls = [predict(tensor([1])), predict(tensor([2]))];
    await expect(predict(tensor([3]))).rejects.toThrow(/2 requests wait already/);
    const closed = predict.close();
    await expect(predict(tensor([3]))).rejects.toThrow(BackendError);
    expect((await Promise.all(calls)).map((y) => y.toArray())).toEqual([[2], [4]]);
    await closed;
    expect(predict.batches).toBe(1);
  });

  it("refuses wrong arguments", async () => {
    expect(() => microBatch(model().train())).toThrow(/call model\.eval\(\)/);
    expect(() => microBatch(3 as never)).toThrow(ArgumentError);
    expect(() => microBatch(twice, { maxBatch: 0 })).toThrow(/maxBatch must be an integer from 1/);
    expect(() => microBatch(twice, { batch: 3 } as never)).toThrow(/no option "batch"/);
    await expect(microBatch(twice)([1] as never)).rejects.toThrow(/a request is a tensor/);
  });
});
