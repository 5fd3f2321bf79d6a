import { afterEach, describe, expect, it } from "vitest";
import { Recorder } from "../lib/backend/recorder.js";
import { backend, withBackend } from "../lib/backend/run.js";
import { poisonMemory } from "../lib/core/memory.js";
import { computing, fastest, nativeBuilt, withPrecision, withThreads, ways } from "./support/backends.js";
import { difference, valuesOf } from "./support/compare.js";
import {
  add,
  ArgumentError,
  batchNorm,
  conv2d,
  crossEntropy,
  emptyCache,
  flatten,
  GradientError,
  manualSeed,
  memoryStats,
  nn,
  noGrad,
  optim,
  randint,
  randn,
  relu,
  relu6,
  runAsync,
  scope,
  type Tensor,
  tensor,
  zeros,
} from "./support/xcorr.js";

/** A model optimized for inference computes what the model computes, in fewer calls and less memory. */

type Forward = { forward(x: Tensor): Tensor };

/** Makes every batch norm's constants and statistics something other than the first ones. */
function settled<M extends nn.Module>(model: M): M {
  for (const module of model.modules()) {
    if (!(module instanceof nn.BatchNorm1d || module instanceof nn.BatchNorm2d || module instanceof nn.BatchNorm3d))
      continue;
    if (module.affine) {
      nn.init.uniform_(module.weight!, 0.5, 1.5);
      nn.init.normal_(module.bias!, 0, 0.3);
    }
    nn.init.normal_(module.runningMean!, 0, 0.3);
    nn.init.uniform_(module.runningVar!, 0.5, 2);
  }
  model.eval();
  return model;
}

/** Kernels that one call of `forward` runs. */
function kernelsOf(model: Forward, x: Tensor): string[] {
  const recorder = new Recorder(backend().name);
  withBackend(recorder, () => noGrad(() => model.forward(x)));
  return recorder.calls.map(({ kernel }) => kernel);
}

function expectEqual(model: nn.Module & Forward, x: Tensor, tolerance = 3e-5): void {
  const fast = nn.optimizeForInference(model) as unknown as Forward;
  const expected = valuesOf(noGrad(() => model.forward(x)));
  poisonMemory(true);
  try {
    expect(difference(valuesOf(fast.forward(x)), expected, tolerance)).toBeNull();
    expect(difference(valuesOf(fast.forward(x)), expected, tolerance)).toBeNull(); // the plan a second time
  } finally {
    poisonMemory(false);
  }
}

/** Written as users write: functions and layers, in place and not, values used twice. */
class Handwritten extends nn.Module {
  stem = new nn.Conv2d(3, 8, 3, { padding: 1 });
  norm = new nn.BatchNorm2d(8);
  conv1 = new nn.Conv2d(8, 8, 3, { padding: 1, bias: false });
  norm1 = new nn.BatchNorm2d(8, { affine: false });
  conv2 = new nn.Conv2d(8, 8, 1, { groups: 2 });
  norm2 = new nn.BatchNorm2d(8);
  before = new nn.BatchNorm2d(8);
  conv3 = new nn.Conv2d(8, 16, 3, { stride: 2 });
  head = new nn.Linear(16, 5);

  forward(x: Tensor): Tensor {
    const y = relu(this.norm.forward(this.stem.forward(x)));
    let z = this.norm1.forward(this.conv1.forward(y));
    z.relu_();
    z = this.norm2.forward(this.conv2.forward(z));
    z = relu(add(y, z));
    z = this.conv3.forward(relu6(this.before.forward(z))); // a norm before its convolution stays
    const twice = add(z, relu(z)); // z has two readers
    return this.head.forward(relu(twice.mean([2, 3])));
  }
}

const small = (): readonly (readonly [string, nn.Module & Forward, number[]])[] => [
  ["a residual network", settled(nn.models.resnetCifar(8)), [2, 3, 16, 16]],
  [
    "bottlenecks",
    settled(new nn.models.ResNet(nn.models.Bottleneck, [1, 1, 1], { widths: [8, 8, 8] })),
    [2, 3, 32, 32],
  ],
  ["MobileNetV2", settled(nn.models.mobilenetV2({ widthMult: 0.25, numClasses: 10 })), [2, 3, 32, 32]],
  ["VGG with batch norm", settled(nn.models.vgg11({ batchNorm: true, hidden: 16, numClasses: 4 })), [1, 3, 32, 32]],
  ["LeNet", settled(new nn.models.LeNet5()), [3, 1, 28, 28]],
  ["a module of functions and layers", settled(new Handwritten()), [2, 3, 9, 9]],
  [
    "signals",
    settled(new nn.Sequential(new nn.Conv1d(2, 6, 3), new nn.BatchNorm1d(6), new nn.ReLU(), new nn.Conv1d(6, 4, 2))),
    [3, 2, 20],
  ],
  [
    "volumes",
    settled(new nn.Sequential(new nn.Conv3d(2, 4, 3), new nn.BatchNorm3d(4), new nn.ReLU6())) as nn.Module & Forward,
    [2, 2, 5, 6, 7],
  ],
];

describe.each(ways)("optimizeForInference: %s", (way) => {
  it("computes what the model computes", () => {
    manualSeed(1);
    for (const [name, model, shape] of small()) {
      computing(way, () => withPrecision("exact", () => expectEqual(model, randn(shape))));
      expect(model.training, name).toBe(false);
    }
  });

  it("keeps float64 exact to its rounding", () => {
    manualSeed(2);
    const model = settled(new Handwritten()).to("float64");
    computing(way, () => expectEqual(model, randn([1, 3, 11, 10], { dtype: "float64" }), 1e-13));
  });

  it("runs again and again with other inputs, whatever happens to memory in between", async () => {
    manualSeed(9);
    /** Weights large enough to be kept, a convolution without a batch norm, places that can be out of range. */
    class Looked extends nn.Module {
      embedding = new nn.Embedding(5, 64);
      conv = new nn.Conv2d(64, 64, 3, { padding: 1 });
      again = new nn.Conv2d(64, 64, 1, { bias: false });
      norm = new nn.BatchNorm2d(64);
      forward(places: Tensor): Tensor {
        const x = this.embedding.forward(places).permute([0, 3, 1, 2]).contiguous();
        return relu(add(this.norm.forward(this.again.forward(relu(this.conv.forward(x)))), x));
      }
    }
    const model = settled(new Looked());
    const fast = nn.optimizeForInference(model);
    const check = (): void => {
      const places = randint(0, 5, [2, 12, 12]);
      const expected = valuesOf(noGrad(() => model.forward(places)));
      poisonMemory(true);
      const computed = valuesOf(fast.forward(places));
      poisonMemory(false);
      expect(difference(computed, expected, 1e-4)).toBeNull();
    };
    const elsewhere = way === "reference" ? fastest : "reference";
    computing(way, () => {
      for (let i = 0; i < 4; i++) check();
      emptyCache(); // what was kept of weights is gone
      const others = [zeros([64, 64, 3, 3]), zeros([2, 64, 12, 12])]; // and its memory is somebody else's
      for (let i = 0; i < 3; i++) check();
      for (const t of others) expect(t.abs().sum().item()).toBe(0);
      noGrad(() => model.conv.weight.mul_(-0.5));
      for (let i = 0; i < 3; i++) check();
      computing(elsewhere, check);
      check();
      check();
      const wrong = tensor([0, 1, 2, 9], { dtype: "int32", shape: [1, 2, 2] });
      for (let i = 0; i < 3; i++) expect(() => fast.forward(wrong)).toThrow(/index or class at position 3/);
      check();
    });
    if (way !== fastest) return;
    const places = randint(0, 5, [2, 12, 12]);
    const asynchronous = runAsync(() => fast.forward(places));
    const meanwhile = valuesOf(fast.forward(places)); // its weights are in use
    expect(valuesOf(await asynchronous)).toEqual(meanwhile);
    expect(valuesOf(fast.forward(places))).toEqual(meanwhile);
    const given = randint(0, 5, [2, 12, 12]);
    fast.forward(given);
    given.dispose();
    expect(() => fast.forward(given)).toThrow(/given back by dispose/);
    model.conv.weight.dispose();
    expect(() => fast.forward(places)).toThrow(/given back by dispose/);
  });
});

describe("optimizeForInference", () => {
  afterEach(() => poisonMemory(false));

  it("merges batch norm, sum and activation into the convolution's call", () => {
    const resnet = settled(nn.models.resnetCifar(8));
    const x = randn([1, 3, 8, 8]);
    expect(kernelsOf(resnet, x)).toContain("batch_norm_inference");
    const convs = resnet.modules().filter((m) => m instanceof nn.Conv2d).length;
    const fast = nn.optimizeForInference(resnet);
    expect(kernelsOf(fast, x)).toEqual([...new Array<string>(convs).fill("conv"), "adaptive_avg_pool", "gemm"]);
    const handwritten = nn.optimizeForInference(settled(new Handwritten()));
    expect(kernelsOf(handwritten, randn([1, 3, 9, 9]))).toEqual([
      "conv",
      "conv",
      "conv",
      "batch_norm_inference",
      "conv",
      "unary",
      "binary",
      "reduce",
      "unary",
      "unary",
      "gemm",
    ]);
    const linear = new nn.Sequential(new nn.Linear(4, 5), new nn.ReLU(), new nn.Linear(5, 2)).eval();
    expect(kernelsOf(nn.optimizeForInference(linear) as Forward, randn([3, 4]))).toEqual(["gemm", "gemm"]);
  });

  it("merges nothing that somebody else reads, or that changes meanwhile", () => {
    class Both extends nn.Module {
      conv = new nn.Conv2d(2, 2, 1);
      norm = new nn.BatchNorm2d(2);
      forward(x: Tensor): Tensor[] {
        const y = this.conv.forward(x);
        return [y, this.norm.forward(y)];
      }
    }
    class Changes extends nn.Module {
      conv = new nn.Conv2d(2, 2, 1);
      norm = new nn.BatchNorm2d(2);
      forward(x: Tensor): Tensor {
        const a = x.mul(2);
        const y = this.conv.forward(a);
        a.mul_(3);
        return add(relu(this.norm.forward(y)), a);
      }
    }
    class Onto extends nn.Module {
      conv = new nn.Conv2d(2, 2, 1);
      forward(x: Tensor): Tensor {
        const a = x.mul(2);
        a.add_(this.conv.forward(a)); // a residual that is the output
        const b = this.conv.forward(a);
        b.add_(a); // an output that is the convolution's
        b.relu_();
        return b;
      }
    }
    const x = randn([1, 2, 3, 3]);
    for (const model of [settled(new Changes()), settled(new Onto())]) expectEqual(model, x);
    const both = settled(new Both());
    const [y, z] = nn.optimizeForInference(both).forward(x);
    const [y0, z0] = noGrad(() => both.forward(x));
    expect(difference(valuesOf(y!), valuesOf(y0!), 0)).toBeNull();
    expect(difference(valuesOf(z!), valuesOf(z0!), 1e-6)).toBeNull();
    expect(kernelsOf(nn.optimizeForInference(settled(new Onto())), x)).toEqual(["unary", "conv", "copy", "conv"]);
  });

  it("computes what any mixture of operations computes", () => {
    manualSeed(4);
    const f64 = { dtype: "float64" } as const;
    const random = (below: number): number => randint(0, below, [1]).item();
    for (let round = 0; round < 150; round++) {
      const convs = Array.from(
        { length: 3 },
        () => new nn.Conv2d(3, 3, 3, { padding: 1, bias: random(2) === 0, ...f64 }),
      );
      const norms = Array.from({ length: 3 }, () => new nn.BatchNorm2d(3, f64));
      const steps = Array.from({ length: 12 }, () => [random(10), random(99), random(99), random(3)] as const);
      const wanted = [random(99), random(99)];
      class Mixture extends nn.Module {
        convs = convs;
        norms = norms;
        forward(x: Tensor): Tensor[] {
          const values = [x.mul(1)];
          for (const [what, i, k, layer] of steps) {
            // The latest most of the time, so that there is something to merge.
            const a = values[i % 3 === 0 ? i % values.length : values.length - 1]!;
            const b = values[k % values.length]!;
            if (what < 3) values.push(this.convs[layer]!.forward(a));
            else if (what < 5) values.push(this.norms[layer]!.forward(a));
            else if (what === 5) values.push(add(a, b));
            else if (what === 6) values.push(layer === 0 ? relu6(a) : relu(a));
            else if (what === 7) a.add_(b);
            else if (what === 8) a.relu_();
            else values.push(a.clone());
          }
          return wanted.map((at) => values[values.length - 1 - (at % Math.min(3, values.length))]!);
        }
      }
      const model = settled(new Mixture());
      const x = randn([2, 3, 4, 5], f64);
      const expected = noGrad(() => model.forward(x)).map(valuesOf);
      poisonMemory(true);
      const got = nn.optimizeForInference(model).forward(x).map(valuesOf);
      poisonMemory(false);
      got.forEach((values, i) => {
        expect(difference(values, expected[i]!, 1e-11), `round ${round}: ${JSON.stringify(steps)}`).toBeNull();
      });
    }
  });

  it("takes several inputs, other values, views, and returns lists and objects", () => {
    class Pair extends nn.Module {
      conv = new nn.Conv2d(2, 2, 1);
      offset = tensor([1, 2]);
      forward(x: Tensor, y: Tensor, factor: number): { sum: Tensor; rest: (Tensor | null)[] } {
        const made = tensor([[[[factor]]]]);
        const a = this.conv.forward(x);
        return { sum: add(a, y).mul(made), rest: [a.permute([0, 2, 3, 1]), x, this.offset, null] };
      }
    }
    const pair = new Pair().eval();
    const fast = nn.optimizeForInference(pair);
    const x = randn([1, 4, 3, 2]).permute([0, 3, 1, 2]);
    const y = randn([1, 2, 4, 3]);
    for (const factor of [2, 3, 2]) {
      const got = scope(() => fast.forward(x, y, factor));
      const expected = pair.forward(x, y, factor);
      expect(difference(valuesOf(got.sum), valuesOf(expected.sum), 1e-6)).toBeNull();
      expect(difference(valuesOf(got.rest[0]!), valuesOf(expected.rest[0]!), 1e-6)).toBeNull();
      expect(got.rest[1]!.toArray()).toEqual(x.toArray());
      expect(got.rest[2]).toBe(pair.offset);
      expect(got.rest[3]).toBeNull();
    }
  });

  it("makes a plan for every shape and takes over new values", () => {
    manualSeed(3);
    const model = settled(nn.models.resnetCifar(8));
    const fast = nn.optimizeForInference(model);
    const check = (batch: number): void => {
      const x = randn([batch, 3, 8, 8], { dtype: model.conv1.weight.dtype as "float32" });
      const expected = valuesOf(noGrad(() => model.forward(x)));
      expect(difference(valuesOf(fast.forward(x)), expected, 1e-4)).toBeNull();
    };
    for (const batch of [1, 3, 1, 0]) check(batch);
    expect(Object.keys(fast.stateDict())).toEqual(Object.keys(model.stateDict()));
    expect(fast.parameters()).toEqual(model.parameters());
    const state = settled(nn.models.resnetCifar(8)).stateDict();
    fast.loadStateDict(state);
    check(2);
    model.train();
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.05 });
    crossEntropy(model.forward(randn([4, 3, 8, 8])), randint(0, 10, [4])).backward();
    optimizer.step();
    expect(() => fast.forward(randn([1, 3, 8, 8]))).toThrow(/training mode/);
    fast.eval();
    check(2);
    noGrad(() => model.fc.weight.mul_(2));
    check(2);
    model.to("float64");
    check(2);
  });

  it("holds results in between in one planned block, and gives it back", () => {
    const model = settled(nn.models.resnetCifar(20));
    const fast = nn.optimizeForInference(model);
    const x = randn([8, 3, 32, 32]);
    for (let i = 0; i < 2; i++) fast.forward(x).dispose(); // from the second on, convolutions keep their weights transformed
    const before = memoryStats();
    for (let i = 0; i < 5; i++) fast.forward(x).dispose();
    const after = memoryStats();
    expect(after.live).toBe(before.live);
    expect(after.fresh).toBe(before.fresh);
    expect(after.pooled).toBe(before.pooled);
    const largest = 4 * 8 * 16 * 32 * 32;
    const arenas = new Map<unknown, number>();
    class Look extends Recorder {
      override run(...call: Parameters<Recorder["run"]>): number {
        const { storage } = call[3].at(-1)!;
        arenas.set(storage, storage.block.capacity);
        return super.run(...call);
      }
    }
    withBackend(new Look(backend().name), () => fast.forward(x));
    const [arena, output] = arenas.values();
    expect(arenas.size).toBe(2);
    expect(arena).toBeLessThanOrEqual(3 * largest * 1.125); // an input, a result and a residual
    expect(output).toBeLessThanOrEqual(512);
  });

  it.runIf(nativeBuilt)("gives the same bits off the main thread and with any number of threads", async () => {
    const model = settled(new Handwritten());
    const fast = nn.optimizeForInference(model);
    const x = randn([4, 3, 12, 12]);
    const one = withThreads(1, () => fast.forward(x).data());
    expect(withThreads(2, () => fast.forward(x).data())).toEqual(one);
    const [a, b] = await Promise.all([fast.forwardAsync(x), fast.forwardAsync(x)]);
    expect(a.data()).toEqual(one);
    expect(b.data()).toEqual(one);
    const fresh = nn.optimizeForInference(settled(new nn.Sequential(new nn.Conv2d(3, 4, 3), new nn.BatchNorm2d(4))));
    const y = await fresh.forwardAsync(x); // recorded inside the asynchronous section
    expect(y.data()).toEqual((fresh as Forward).forward(x).data());
  });

  it("outlives the scope in which it was first called", () => {
    class Shifted extends nn.Module {
      forward(x: Tensor): Tensor {
        return add(x, tensor([1, 2, 3]));
      }
    }
    const fast = nn.optimizeForInference(new Shifted().eval());
    const x = zeros([2, 3]);
    scope(() => fast.forward(x).sum().item());
    expect(fast.forward(x).toArray()).toEqual([
      [1, 2, 3],
      [1, 2, 3],
    ]);
  });

  it("refuses what it cannot do, and says what to do", () => {
    const model = nn.models.resnetCifar(8);
    const x = randn([1, 3, 8, 8]);
    expect(() => nn.optimizeForInference(model)).toThrow(/ResNet is in training mode; call eval\(\)/);
    expect(() => nn.optimizeForInference(3 as never)).toThrow(/model must be a Module, got 3/);
    model.eval();
    const fast = nn.optimizeForInference(model);
    expect(nn.optimizeForInference(fast)).toBe(fast);
    expect(() => fast.train()).toThrow(/cannot be trained/);
    expect(fast.forward(x).requiresGrad).toBe(false);
    const leaf = randn([1, 3, 8, 8], { requiresGrad: true });
    expect(() => fast.forward(leaf)).toThrow(GradientError);
    expect(noGrad(() => fast.forward(leaf)).shape).toEqual([1, 10]);
    expect(() => fast.forward([x] as never)).toThrow(/inputs must be tensors, numbers/);
    expect(() => fast.forward(randn([1, 4, 8, 8]))).toThrow(/takes 3 input channels/);
    model.layer1.train();
    expect(() => fast.forward(x)).toThrow(/Sequential is in training mode/);
    model.eval();
    const hook = model.bn1.registerForwardHook(() => null);
    expect(() => fast.forward(x)).toThrow(/BatchNorm2d has hooks/);
    hook.remove();
    expect(fast.forward(x).shape).toEqual([1, 10]);
    expect(() => nn.optimizeForInference(new nn.Sequential(new nn.LazyConv2d(2, 1)).eval())).toThrow(
      /LazyConv2d does not/,
    );
    expect(fast.summary([1, 3, 8, 8]).toString()).toBe(model.summary([1, 3, 8, 8]).toString());
    expect(String(fast)).toContain("OptimizedResNet(");
  });

  it("refuses a forward that depends on values, chance or what it leaves behind", () => {
    const made = (forward: (x: Tensor) => unknown): { forward(x: Tensor): unknown } => {
      class Made extends nn.Module {
        counter = zeros([1]);
        forward(x: Tensor): unknown {
          return forward.call(this as never, x);
        }
      }
      return nn.optimizeForInference(new Made().eval());
    };
    const x = randn([1, 2, 4, 4]);
    const counter = zeros([1]);
    expect(() => made((t) => (t.sum().item() > 0 ? t : relu(t))).forward(x)).toThrow(/has no values: .*recorded/);
    expect(() => made((t) => t.data()).forward(x)).toThrow(/has no values/);
    expect(() => made((t) => add(t, randn([4]))).forward(x)).toThrow(/draws random numbers/);
    expect(() => made((t) => add(t, counter.add_(1))).forward(x)).toThrow(/changes a tensor that outlives the call/);
    expect(() => made((t) => relu(t.mul_(2))).forward(x)).not.toThrow(ArgumentError);
    expect(() => made(() => new Map()).forward(x)).toThrow(/must return tensors/);
    const w = randn([2, 2, 1, 1]);
    const mean = zeros([2]);
    const variance = zeros([2]);
    const training = made((t) => batchNorm(conv2d(t, w), mean, variance, { training: true }));
    expect(() => training.forward(x)).toThrow(/changes a tensor that outlives the call/);
    expect(counter.item()).toBe(0);
    expect(made((t) => flatten(t, 1)).forward(x)).toBeTruthy();
  });
});
