import { afterEach, describe, expect, it } from "vitest";
import { poisonMemory } from "../lib/core/memory.js";
import {
  add,
  autograd,
  crossEntropy,
  type DType,
  emptyCache,
  manualSeed,
  memoryStats,
  nn,
  noGrad,
  optim,
  randint,
  randn,
  relu,
  runAsync,
  type Tensor,
} from "./support/xcorr.js";

/** Memory that only the graph knows goes back as backward consumes it; what anybody else may hold stays. */

type Model = nn.Module & { forward(x: Tensor): Tensor };

const models = (): readonly (readonly [string, Model, number[]])[] => {
  manualSeed(7);
  return [
    ["residual blocks", nn.models.resnetCifar(8), [4, 3, 16, 16]],
    ["bottlenecks", new nn.models.ResNet(nn.models.Bottleneck, [1, 1, 1], { widths: [8, 8, 8] }), [2, 3, 32, 32]],
    ["MobileNetV2", nn.models.mobilenetV2({ widthMult: 0.25, numClasses: 10, dropout: 0 }), [2, 3, 32, 32]],
    ["VGG", nn.models.vgg11({ batchNorm: true, hidden: 16, numClasses: 10, dropout: 0 }), [2, 3, 32, 32]],
    ["LeNet", new nn.models.LeNet5(), [3, 1, 28, 28]],
  ];
};

/** A step's loss and gradients. */
function step(model: Model, x: Tensor, target: Tensor, options: { twice?: boolean } = {}): Float32Array[] {
  model.zeroGrad();
  const loss = crossEntropy(model.forward(x), target);
  if (options.twice) loss.backward({ retainGraph: true });
  loss.backward();
  return [loss, ...model.parameters().map((p) => p.grad!)].map((t) => (t as Tensor<"float32">).data());
}

const sameBits = (a: readonly Float32Array[], b: readonly Float32Array[]): boolean =>
  a.length === b.length && a.every((values, i) => Buffer.compare(bytesOf(values), bytesOf(b[i]!)) === 0);

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array): Buffer =>
  Buffer.from(buffer, byteOffset, byteLength);

/** Running statistics as at first. */
function frozenStatistics(model: nn.Module): void {
  for (const module of model.modules()) if (module instanceof nn.BatchNorm2d) module.resetRunningStats();
}

afterEach(() => poisonMemory(false));

describe("results in between", () => {
  it("go back no earlier than backward has used them", () => {
    for (const [name, model, shape] of models()) {
      const x = randn(shape);
      const target = randint(0, 10, [shape[0]!]);
      // Hooks may show results to anybody, so nothing is let go of.
      const hooks = model.modules().map((module) => module.registerForwardHook(() => null));
      const expected = step(model, x, target);
      const twice = step(model, x, target, { twice: true });
      for (const hook of hooks) hook.remove();
      poisonMemory(true); // memory that is used again is NaN
      expect(sameBits(step(model, x, target), expected), name).toBe(true);
      expect(sameBits(step(model, x, target, { twice: true }), twice), name).toBe(true);
      poisonMemory(false);
    }
  });

  it("go back without a collection, in training and without gradients", () => {
    for (const [name, model, shape] of models()) {
      if (name === "VGG") continue; // so large that a step collects at its end
      const x = randn(shape);
      const target = randint(0, 10, [shape[0]!]);
      const parameters = model.parameters().reduce((n, p) => n + 4 * p.numel(), 0);
      step(model, x, target);
      model.zeroGrad();
      const held: Tensor[] = []; // what a user holds of a step
      let before = memoryStats();
      // At rest, V8's own objects may ask for a collection: some step must do without.
      for (let tries = 0; tries < 5; tries++) {
        model.zeroGrad();
        held.length = 0;
        before = memoryStats();
        const loss = crossEntropy(model.forward(x), target);
        held.push(loss);
        loss.backward();
        if (memoryStats().collections === before.collections) break;
      }
      expect(memoryStats().collections, name).toBe(before.collections);
      emptyCache(); // weights that convolutions kept transformed
      expect(memoryStats().live - before.live, name).toBeLessThan(1.2 * parameters + 100_000); // the gradients
      model.eval();
      const resting = memoryStats();
      held.push(noGrad(() => model.forward(x)));
      expect(memoryStats().live - resting.live, name).toBeLessThan(20_000);
      model.train();
    }
  });

  it("stay with a module, a hook or a reader that keeps them", () => {
    class Keeps extends nn.Conv2d {
      seen: Tensor[] = [];
      override forward<D extends DType>(x: Tensor<D>): Tensor<D> {
        const y = super.forward(x);
        this.seen = [x as unknown as Tensor, y as unknown as Tensor];
        return y;
      }
    }
    manualSeed(8);
    const keeps = new Keeps(4, 4, 3, { padding: 1 });
    const first = new nn.Conv2d(3, 4, 3);
    const model = new nn.Sequential(first, new nn.ReLU(), keeps, new nn.ReLU(), new nn.Conv2d(4, 2, 1));
    const hooked: Tensor[] = [];
    const last = model.at(3);
    last.registerForwardHook((_, __, output) => {
      hooked.push(output as Tensor);
    });
    poisonMemory(true);
    model
      .forward(randn([1, 3, 8, 8]))
      .sum()
      .backward();
    const [x, y] = keeps.seen;
    const again = noGrad(() => nn.Conv2d.prototype.forward.call(keeps, x!)) as Tensor;
    expect(again.toArray()).toEqual(y!.toArray());
    expect(relu(y!).toArray()).toEqual(hooked[0]!.toArray());
  });

  it("stay for derivatives of derivatives, saved-tensor hooks and checkpoints", () => {
    manualSeed(9);
    const model = nn.models.resnetCifar(8).to("float64");
    const x = randn([2, 3, 8, 8], { dtype: "float64", requiresGrad: true });
    const second = (): Tensor => {
      const [dx] = autograd.grad(model.forward(x).square().sum(), [x], { createGraph: true });
      return autograd.grad(dx!.square().sum(), [x])[0]!;
    };
    const hook = model.bn1.registerForwardHook(() => null);
    const inner = model.layer1.at(0).registerForwardHook(() => null);
    frozenStatistics(model);
    const expected = second().data();
    hook.remove();
    inner.remove();
    frozenStatistics(model);
    poisonMemory(true);
    expect(second().data()).toEqual(expected);
    const plain = (): Float64Array =>
      (autograd.grad(model.forward(x).square().sum(), [x])[0] as Tensor<"float64">).data();
    const once = plain();
    const identity = { pack: (t: Tensor) => t, unpack: (t: Tensor) => t };
    expect(autograd.savedTensorHooks(identity, plain)).toEqual(once);
    const checkpointed = autograd.checkpoint((t: Tensor) => model.forward(t), x as Tensor);
    expect(autograd.grad(checkpointed.square().sum(), [x])[0]!.data()).toEqual(once);
  });

  it("go back in steps that run off the main thread, too", async () => {
    manualSeed(10);
    const make = (): { model: Model; optimizer: optim.SGD } => {
      manualSeed(10);
      const model = nn.models.resnetCifar(8);
      return { model, optimizer: new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 }) };
    };
    const x = randn([4, 3, 16, 16]);
    const target = randint(0, 10, [4]);
    const one = ({ model, optimizer }: ReturnType<typeof make>): Tensor => {
      optimizer.zeroGrad();
      const loss = crossEntropy(model.forward(x), target);
      loss.backward();
      optimizer.step();
      return loss;
    };
    const [a, b] = [make(), make()];
    poisonMemory(true);
    for (let i = 0; i < 3; i++) expect((await runAsync(() => one(b))).item()).toBe(one(a).item());
  });
});

describe("gradients", () => {
  it("that nobody looked at go back with zeroGrad, others stay", () => {
    const model = new nn.Linear(300, 300);
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
    const x = randn([2, 300]);
    const pass = (): void => add(model.forward(x), 1).square().sum().backward();
    pass();
    optimizer.step();
    const { live } = memoryStats();
    optimizer.zeroGrad();
    expect(live - memoryStats().live).toBeGreaterThan(300 * 300 * 4);
    pass();
    nn.utils.clipGradNorm_(model.parameters(), 1);
    const before = memoryStats().live;
    model.zeroGrad();
    expect(before - memoryStats().live).toBeGreaterThan(300 * 300 * 4);
    pass();
    const { grad } = model.weight;
    const values = grad!.data();
    optimizer.zeroGrad();
    expect(grad!.data()).toEqual(values);
    expect(model.weight.grad).toBeNull();
    const given = randn([300, 300]);
    model.weight.setGrad(given);
    model.zeroGrad();
    expect(given.numel()).toBe(given.data().length);
  });

  it("stay with optimisers of the user's", () => {
    class Remembers extends optim.SGD {
      last: Tensor[] = [];
      protected override update(...given: Parameters<optim.SGD["update" & keyof optim.SGD]>): void {
        this.last.push((given as unknown as Tensor[])[1]!);
      }
    }
    const model = new nn.Linear(3, 3);
    const optimizer = new Remembers(model.parameters(), { lr: 0.1 });
    model
      .forward(randn([2, 3]))
      .sum()
      .backward();
    optimizer.step();
    optimizer.zeroGrad();
    expect(optimizer.last.map((t) => t.data().length)).toEqual([9, 3]);
  });
});
