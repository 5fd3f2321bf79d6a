import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { crossEntropy, data, io, manualSeed, nn, optim, type Tensor, tensor, train } from "./support/xcorr.js";

/** train.fit: what it tells, what it saves, and that a run killed anywhere goes on with the same bits. */

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "xcorr-fit-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Points on a line apart by their sign: learned in a few steps. */
function points(count: number): data.TensorDataset<[Tensor, Tensor<"int32">]> {
  const x = Float32Array.from({ length: count * 2 }, (_, i) => Math.sin(i * 1.7) + (i % 4 < 2 ? 1 : -1));
  const y = Int32Array.from({ length: count }, (_, i) => (i % 2 === 0 ? 1 : 0));
  return new data.TensorDataset<[Tensor, Tensor<"int32">]>(tensor(x, { shape: [count, 2] }), tensor(y));
}

let model: nn.Sequential;
let loader: data.DataLoader<[Tensor, Tensor<"int32">]>;
let optimizer: optim.SGD;

beforeEach(() => {
  manualSeed(5);
  model = new nn.Sequential(new nn.Linear(2, 8), new nn.ReLU(), new nn.Linear(8, 2));
  loader = new data.DataLoader(points(24), { batchSize: 8, shuffle: true });
  optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
});

function options() {
  return { train: loader, loss: crossEntropy, optimizer, epochs: 2, progress: false } as const;
}

describe("fit", () => {
  it("is awaited for its result", async () => {
    const validation = new data.DataLoader(points(10), { batchSize: 4 });
    const { reason, history, step } = await train.fit(model, {
      ...options(),
      validation,
      epochs: 6,
      metrics: { accuracy: train.accuracy(), confusion: train.confusionMatrix(2) },
    });
    expect(reason).toBe("finished");
    expect(step).toBe(18);
    expect(history.map((e) => e.epoch)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(history[5]!.loss).toBeLessThan(history[0]!.loss);
    expect(history[5]!.validation!.metrics.accuracy).toBeGreaterThan(0.8);
    const confusion: number[][] = history[5]!.validation!.metrics.confusion;
    expect(confusion.flat().reduce((s, n) => s + n, 0)).toBe(10);
    expect((confusion[0]![0]! + confusion[1]![1]!) / 10).toBe(history[5]!.validation!.metrics.accuracy);
  });

  it("is iterated for its events", async () => {
    const path = join(folder, "events.safetensors");
    const seen: string[] = [];
    const run = train.fit(model, {
      ...options(),
      validation: loader,
      checkpoint: { path, everySteps: 2, best: join(folder, "events-best.safetensors") },
    });
    for await (const event of run) seen.push(event.type === "checkpoint" ? `${event.type} ${event.kind}` : event.type);
    const epoch = [
      "batch",
      "batch",
      "checkpoint run",
      "batch",
      "validation",
      "epoch",
      "checkpoint best",
      "checkpoint run",
    ];
    // Step 4 is the first of the second epoch.
    expect(seen.join(" ")).toBe(
      [...epoch, "batch", "checkpoint run", "batch", "batch", ...epoch.slice(4), "end"].join(" "),
    );
    expect((await run).reason).toBe("finished");
    expect(() => run[Symbol.asyncIterator]()).toThrow(/its events come once/);
    const best = io.loadSafetensors(join(folder, "events-best.safetensors"));
    expect(Object.keys(best).sort()).toEqual(Object.keys(model.stateDict()).sort());
  });

  it("does what a loop by hand does, to the last bit", async () => {
    await train.fit(model, options());
    const fitted = model.parameters().map((p) => Array.from(p.data()));
    manualSeed(5);
    const again = new nn.Sequential(new nn.Linear(2, 8), new nn.ReLU(), new nn.Linear(8, 2));
    const byHand = new optim.SGD(again.parameters(), { lr: 0.1 });
    const batches = new data.DataLoader(points(24), { batchSize: 8, shuffle: true });
    for (let epoch = 0; epoch < 2; epoch++) {
      for (const [x, y] of batches) {
        byHand.zeroGrad();
        crossEntropy(again.forward(x), y).backward();
        byHand.step();
      }
    }
    expect(again.parameters().map((p) => Array.from(p.data()))).toEqual(fitted);
  });

  it("averages accumulated gradients: groups of small batches are one large batch", async () => {
    const dataset = points(20);
    const weights = async (batchSize: number, accumulate: number): Promise<number[]> => {
      manualSeed(9);
      const net = new nn.Sequential(new nn.Linear(2, 4), new nn.Tanh(), new nn.Linear(4, 2));
      await train.fit(net, {
        ...options(),
        train: new data.DataLoader(dataset, { batchSize }),
        optimizer: new optim.SGD(net.parameters(), { lr: 0.1 }),
        accumulate,
      });
      return net.parameters().flatMap((p) => Array.from(p.data()));
    };
    const large = await weights(10, 1);
    const small = await weights(5, 2);
    for (const [i, value] of large.entries()) expect(small[i]).toBeCloseTo(value, 6);
    // 5 batches of 4 in groups of 3: the last group has 2 batches, and still makes a step.
    const uneven = await train.fit(model, {
      ...options(),
      train: new data.DataLoader(dataset, { batchSize: 4 }),
      accumulate: 3,
    });
    expect(uneven.step).toBe(4);
  });

  it("clips, and tells the norm before", async () => {
    const before = model.parameters().map((p) => Array.from(p.data()));
    for await (const event of train.fit(model, { ...options(), epochs: 1, clipNorm: 0.01 })) {
      if (event.type !== "batch") continue;
      expect(event.gradNorm).toBeGreaterThan(0.01);
      if (event.batch === 1) {
        const moved = model.parameters().flatMap((p, i) => Array.from(p.data(), (v, j) => v - before[i]![j]!));
        expect(Math.hypot(...moved)).toBeCloseTo(0.1 * 0.01, 6);
      }
    }
  });

  it("keeps parts that are in evaluation mode so, and takes the whole model to training", async () => {
    const norm = new nn.BatchNorm1d(2);
    const net = new nn.Sequential(norm, new nn.Linear(2, 2), new nn.BatchNorm1d(2));
    norm.eval();
    const frozen = Array.from(norm.stateDict().running_mean!.data());
    await train.fit(net, { ...options(), validation: loader, optimizer: new optim.SGD(net.parameters(), { lr: 0.1 }) });
    expect(norm.training).toBe(false);
    expect(net.training).toBe(true);
    expect(Array.from(norm.stateDict().running_mean!.data())).toEqual(frozen);
    expect(Array.from(net.stateDict()["2.running_mean"]!.data())).not.toEqual([0, 0]);
    net.eval();
    await train.fit(net, { ...options(), optimizer: new optim.SGD(net.parameters(), { lr: 0.1 }), epochs: 1 });
    expect(norm.training).toBe(true);
  });

  it("steps schedules by epoch or step, and a plateau's with the monitored value", async () => {
    const rates: number[] = [];
    const schedule = new optim.ExponentialLR(optimizer, 0.5);
    for await (const e of train.fit(model, { ...options(), schedule })) if (e.type === "batch") rates.push(e.lr);
    expect(rates).toEqual([0.1, 0.1, 0.1, 0.05, 0.05, 0.05]);
    rates.length = 0;
    optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
    const byStep = { schedule: new optim.ExponentialLR(optimizer, 0.5), scheduleEvery: "step" } as const;
    for await (const e of train.fit(model, { ...options(), ...byStep, epochs: 1 }))
      if (e.type === "batch") rates.push(e.lr);
    expect(rates).toEqual([0.1, 0.05, 0.025]);
    optimizer = new optim.SGD(model.parameters(), { lr: 0 });
    const plateau = new optim.ReduceLROnPlateau(optimizer, { patience: 0 });
    await train.fit(model, { ...options(), schedule: plateau, epochs: 3 });
    expect(plateau.numBadEpochs + plateau.lastEpoch).toBeGreaterThanOrEqual(3);
  });

  it("stops early, and a resumed run that had stopped early is done", async () => {
    optimizer = new optim.SGD(model.parameters(), { lr: 0 }); // nothing improves
    const checkpoint = join(folder, "early.safetensors");
    const given = {
      ...options(),
      epochs: 50,
      earlyStopping: { patience: 2, minDelta: 1e-3 },
      checkpoint,
      resume: true,
    };
    const first = await train.fit(model, given);
    expect(first.reason).toBe("early stopping");
    expect(first.history.length).toBe(4);
    expect(first.best.epoch).toBe(1);
    const again = await train.fit(model, given);
    expect(again.reason).toBe("early stopping");
    expect(again.history.length).toBe(4);
  });

  it("ends after the step it is in when it is aborted or stopped, and goes on later", async () => {
    const controller = new AbortController();
    const checkpoint = join(folder, "aborted.safetensors");
    let steps = 0;
    const count = (event: train.FitEvent): void => {
      if (event.type === "batch" && ++steps === 4) controller.abort();
    };
    const cut = await train.fit(model, { ...options(), checkpoint, signal: controller.signal, callbacks: [count] });
    expect([cut.reason, cut.step, cut.history.length]).toEqual(["aborted", 4, 1]);
    const rest = await train.fit(model, { ...options(), checkpoint, resume: true });
    expect([rest.reason, rest.step, rest.history.length]).toEqual(["finished", 6, 2]);
    const stopped = await train.fit(model, { ...options(), callbacks: [(_, run) => run.stop()] });
    expect(stopped.reason).toBe("stopped");
    const run = train.fit(model, options());
    for await (const _ of run) break;
    expect((await run).reason).toBe("left");
  });

  it("fails with what went wrong, to whoever awaits or iterates", async () => {
    const nan = { ...options(), loss: (o: Tensor, t: Tensor) => crossEntropy(o, t).mul(Number.NaN) };
    await expect(train.fit(model, nan)).rejects.toThrow(/the loss is NaN at epoch 1, batch 1/);
    await expect(
      (async () => {
        for await (const _ of train.fit(model, nan));
      })(),
    ).rejects.toThrow(/the loss is NaN/);
  });

  it("refuses wrong options", () => {
    expect(() => train.fit(model, { ...options(), epoch: 3 } as never)).toThrow(/did you mean "epochs"/);
    expect(() => train.fit(model, { ...options(), monitor: "accuracy" })).toThrow(/monitor must be one of "loss"/);
    expect(() => train.fit(model, { ...options(), resume: true })).toThrow(/resume needs checkpoint/);
    expect(() => train.fit(model, { ...options(), train: 5 } as never)).toThrow(/train must be a DataLoader/);
    expect(() => train.fit(model, { ...options(), parts: { model } })).toThrow(/fit saves a part of that name/);
    expect(() => train.fit(model, { ...options(), signal: 3 } as never)).toThrow(/signal must be an AbortSignal/);
    expect(() => train.fit(model, { ...options(), trainMetrics: { a: 3 } } as never)).toThrow(
      /fit: trainMetrics\.a must be a metric with reset, update and value, got 3/,
    );
  });

  it("refuses what a loss or a metric must not be, wherever it is called", async () => {
    const [batch] = [...loader];
    const list = [batch!];
    for (const [wrong, message] of [
      [() => 3, /loss must return a tensor with one element, got 3/],
      [(o: Tensor) => o, /loss must return a tensor with one element, .* got \[8, 2\]/],
    ] as const) {
      const loss = wrong as never;
      await expect(train.fit(model, { ...options(), loss })).rejects.toThrow(message);
      await expect(train.evaluate(model, list, { loss })).rejects.toThrow(message);
      await expect(train.trainStep(model, optimizer, loss)(batch!)).rejects.toThrow(message);
      expect(() => train.meanLoss(loss).update(batch![0], batch![1])).toThrow(message);
    }
    await expect(train.evaluate(model, list, { metrics: { a: 1 } as never })).rejects.toThrow(/metrics\.a must be/);
  });
});

describe("metrics", () => {
  const output = tensor([
    [0.1, 0.7, 0.2],
    [0.5, 0.3, 0.2],
    [0.2, 0.3, 0.5],
    [0.4, 0.4, 0.2],
  ]);
  const target = tensor([1, 1, 0, 1], { dtype: "int32" });

  it("count what they say", () => {
    const right = train.accuracy();
    const top2 = train.topK(2);
    const confusion = train.confusionMatrix(3);
    for (const metric of [right, top2, confusion]) metric.update(output, target);
    expect(right.value()).toBe(1 / 4); // of equal values the first counts
    expect(top2.value()).toBe(3 / 4);
    expect(confusion.value()).toEqual([
      [0, 0, 1],
      [2, 1, 0],
      [0, 0, 0],
    ]);
    const loss = train.meanLoss(crossEntropy);
    loss.update(output, target);
    loss.update(output.narrow(0, 0, 1), target.narrow(0, 0, 1));
    const [a, b] = [
      crossEntropy(output, target).item(),
      crossEntropy(output.narrow(0, 0, 1), target.narrow(0, 0, 1)).item(),
    ];
    expect(loss.value()).toBeCloseTo((4 * a + b) / 5, 7);
    expect(() => right.update(output, tensor([1, 2], { dtype: "int32" }))).toThrow(/target \[batch, ...\]/);
    expect(() => right.update(output, tensor([1, 2, 3, 0], { dtype: "int32" }))).toThrow(/target 3 is no class/);
    expect(() => train.confusionMatrix(4).update(output, target)).toThrow(/made for 4 classes/);
  });

  it("take a class for every position of a map", () => {
    const maps = tensor([0.9, 0.1, 0.4, 0.1, 0.9, 0.6], { shape: [1, 2, 3] });
    const right = train.accuracy();
    right.update(maps, tensor([[0, 1, 0]], { dtype: "int32" }));
    expect(right.value()).toBe(2 / 3);
  });
});

describe("a run that is killed", () => {
  const job = join(root, "test/jobs/fit.js");
  const outcome = (at: string): Record<string, unknown> => {
    const { batches: _, ...rest } = JSON.parse(readFileSync(join(at, "final.json"), "utf8")) as Record<string, unknown>;
    return { ...rest, weights: readFileSync(join(at, "weights.safetensors")).toString("base64") };
  };

  it("again and again at random moments ends with the same bits as one that was not", async () => {
    const [whole, cut] = ["whole", "cut"].map((name) => join(folder, name)) as [string, string];
    mkdirSync(whole);
    mkdirSync(cut);
    execFileSync("node", [job, whole], { cwd: root });
    let kills = 0;
    let resumedInside = false;
    for (let tries = 0; tries < 12 && !existsSync(join(cut, "final.json")); tries++) {
      const child = spawn("node", [job, cut, "slow"], { cwd: root, stdio: ["ignore", "pipe", "inherit"] });
      let delay: NodeJS.Timeout | undefined;
      child.stdout.on("data", (text: Buffer) => {
        const [epoch, batch] = (/first batch (\d+)\.(\d+)/.exec(text.toString()) ?? ["", "1", "1"])
          .slice(1)
          .map(Number);
        if (tries > 0 && (epoch! - 1) * 15 + batch! > 1 && batch! > 1) resumedInside = true;
        if (kills < 3) delay = setTimeout(() => child.kill("SIGKILL"), 40 + Math.random() * 130);
      });
      const signal = await new Promise((resolve) => child.on("close", (_, s) => resolve(s)));
      clearTimeout(delay);
      if (signal === "SIGKILL") kills++;
    }
    expect(kills).toBe(3);
    expect(resumedInside).toBe(true);
    expect(outcome(cut)).toEqual(outcome(whole));
  });
});
