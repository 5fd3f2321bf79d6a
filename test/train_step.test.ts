import { afterEach, describe, expect, it } from "vitest";
import { nativeBuilt } from "./support/backends.js";
import {
  ArgumentError,
  BackendError,
  crossEntropy,
  IndexError,
  manualSeed,
  nn,
  optim,
  randint,
  randn,
  setAsyncQueueLimit,
  setBackend,
  type Tensor,
  tensor,
  train,
} from "./support/xcorr.js";

/** train.trainStep: the bits of the synchronous loop, and nothing half-done when a step fails. */

const backends = nativeBuilt ? (["native", "reference"] as const) : (["reference"] as const);
type Pair = [Tensor, Tensor<"int32">];

function network(): nn.Sequential {
  manualSeed(3);
  return new nn.Sequential(
    new nn.Conv2d(1, 4, 3),
    new nn.BatchNorm2d(4),
    new nn.ReLU(),
    new nn.Flatten(),
    new nn.Dropout(0.25),
    new nn.Linear(4 * 36, 3),
  );
}

function batches(count: number): Pair[] {
  manualSeed(7);
  return Array.from({ length: count }, () => [randn([6, 1, 8, 8]), randint(0, 3, [6])]);
}

const values = (model: nn.Module): Record<string, number[]> =>
  Object.fromEntries(Object.entries(model.stateDict()).map(([name, t]) => [name, [...t.data()]]));

const optimizers = {
  SGD: (model: nn.Module) => new optim.SGD(model.parameters(), { lr: 0.05, momentum: 0.9, nesterov: true }),
  Adam: (model: nn.Module) => new optim.Adam(model.parameters(), { lr: 0.01, weightDecay: 0.01 }),
};

function synchronous(make: (model: nn.Module) => optim.Optimizer, data: readonly Pair[]) {
  const model = network();
  const optimizer = make(model);
  manualSeed(11);
  const losses = data.map(([x, y]) => {
    optimizer.zeroGrad();
    const loss = crossEntropy(model.forward(x), y);
    loss.backward();
    optimizer.step();
    return loss.item();
  });
  return { losses, values: values(model) };
}

afterEach(() => {
  setAsyncQueueLimit(256);
  setBackend(backends[0]!);
});

describe.each(backends)("trainStep on %s", (backend) => {
  it.each(Object.entries(optimizers))("has the bits of the synchronous loop with %s", async (_, make) => {
    setBackend(backend);
    const data = batches(8);
    const expected = synchronous(make, data);
    const model = network();
    const step = train.trainStep(model, make(model), crossEntropy);
    manualSeed(11);
    // Awaited one by one, then several at once: they run in order.
    const losses = [await step(data[0]!), await step(data[1]!)];
    losses.push(...(await Promise.all(data.slice(2).map((batch) => step(batch)))));
    expect(losses).toEqual(expected.losses);
    expect(values(model)).toEqual(expected.values);
    expect(step.waiting).toBe(0);
  });

  it.each(Object.entries(optimizers))("a step that fails changes nothing of %s, be it the first", async (_, make) => {
    setBackend(backend);
    const data = batches(4);
    const bad: Pair = [data[0]![0], tensor([0, 1, 2, 3, 1, 0], { dtype: "int32" })];
    // Batch norm and dropout have seen the bad batch, so both are left out of what is compared.
    const plain = (): nn.Sequential => {
      manualSeed(3);
      return new nn.Sequential(new nn.Conv2d(1, 4, 3), new nn.ReLU(), new nn.Flatten(), new nn.Linear(4 * 36, 3));
    };
    const results = [];
    for (const failing of [false, true]) {
      const model = plain();
      const step = train.trainStep(model, make(model), crossEntropy);
      const refused = async () => {
        if (!failing) return;
        await expect(step(bad)).rejects.toThrow(IndexError);
      };
      await refused();
      expect(model.parameters().every((p) => p.grad === null)).toBe(true);
      await step(data[1]!);
      // In the middle of others that were called without waiting.
      const calls = [step(data[2]!), refused(), step(data[3]!)];
      await Promise.all(calls);
      results.push(values(model));
    }
    expect(results[1]).toEqual(results[0]);
  });

  it("trains a model that serves in evaluation mode, and leaves it so", async () => {
    setBackend(backend);
    const model = network().eval();
    const step = train.trainStep(model, optimizers.SGD(model), crossEntropy);
    const before = values(model)["1.running_mean"] ?? values(model)["1.runningMean"];
    await step(batches(1)[0]!);
    expect(model.training).toBe(false);
    expect(values(model)["1.running_mean"] ?? values(model)["1.runningMean"]).not.toEqual(before);
    await model.forwardAsync(batches(1)[0]![0]);
  });

  it("takes what the model is called with from forward", async () => {
    setBackend(backend);
    const model = network();
    const step = train.trainStep<[Tensor, Tensor<"int32">]>(model, optimizers.SGD(model), crossEntropy, {
      forward: ([x]) => model.forward(x.mul(2)),
    });
    expect(await step(batches(1)[0]!)).toBeGreaterThan(0);
  });

  it("refuses what it cannot use, and more steps than may wait", async () => {
    setBackend(backend);
    const model = network();
    const optimizer = optimizers.SGD(model);
    // biome-ignore lint/suspicious/noExplicitAny: wrong on purpose
    const wrong = train.trainStep as any;
    expect(() => wrong(null, optimizer, crossEntropy)).toThrow(ArgumentError);
    expect(() => wrong(model, {}, crossEntropy)).toThrow(ArgumentError);
    expect(() => wrong(model, optimizer, "loss")).toThrow(ArgumentError);
    expect(() => wrong(model, optimizer, crossEntropy, { clip: 1 })).toThrow(/no option "clip"/);
    const step = train.trainStep(model, optimizer, crossEntropy);
    await expect(step({} as never)).rejects.toThrow(ArgumentError);
    setAsyncQueueLimit(2);
    const [batch] = batches(1);
    const outcomes = await Promise.allSettled([step(batch!), step(batch!), step(batch!)]);
    expect(outcomes.map((o) => o.status)).toEqual(["fulfilled", "fulfilled", "rejected"]);
    expect((outcomes[2] as PromiseRejectedResult).reason).toBeInstanceOf(BackendError);
  });
});
