import { describe, expect, it } from "vitest";
import {
  add,
  crossEntropy,
  manualSeed,
  nn,
  noGrad,
  optim,
  randn,
  relu,
  StateError,
  type Tensor,
  tensor,
  zeros,
} from "./support/xcorr.js";

const f64 = { dtype: "float64" } as const;

class Net extends nn.Module {
  conv = new nn.Conv2d(1, 3, 3, { padding: 1 });
  bn = new nn.BatchNorm2d(3);
  pool = new nn.MaxPool2d(2);
  head = new nn.Sequential(new nn.Flatten(), new nn.Linear(3 * 4 * 4, 10));

  forward(x: Tensor): Tensor {
    return this.head.forward(this.pool.forward(relu(this.bn.forward(this.conv.forward(x)))));
  }
}

const keys = [
  "conv.weight",
  "conv.bias",
  "bn.weight",
  "bn.bias",
  "bn.running_mean",
  "bn.running_var",
  "bn.num_batches_tracked",
  "head.1.weight",
  "head.1.bias",
];

function largestDifference(a: Tensor, b: Tensor): number {
  expect(a.shape).toEqual(b.shape);
  const [x, y] = [a.data(), b.data()];
  let worst = 0;
  for (let i = 0; i < x.length; i++) worst = Math.max(worst, Math.abs(x[i]! - y[i]!));
  return Number.isNaN(worst) ? Number.POSITIVE_INFINITY : worst;
}

describe("Module", () => {
  it("finds plain fields in order, with PyTorch's keys", () => {
    const net = new Net();
    expect([...net.namedParameters()].map(([name]) => name)).toEqual(keys.filter((k) => !/running|batches/.test(k)));
    expect(Object.keys(net.stateDict())).toEqual(keys);
    expect([...net.namedBuffers()].map(([name]) => name)).toEqual(keys.filter((k) => /running|batches/.test(k)));
    expect([...net.namedModules()].map(([name]) => name)).toEqual([
      "",
      "conv",
      "bn",
      "pool",
      "head",
      "head.0",
      "head.1",
    ]);
    expect(net.children()).toHaveLength(4);
  });

  it("prints as PyTorch prints", () => {
    expect(String(new Net())).toBe(
      [
        "Net(",
        "  (conv): Conv2d(1, 3, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))",
        "  (bn): BatchNorm2d(3, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)",
        "  (pool): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)",
        "  (head): Sequential(",
        "    (0): Flatten(start_dim=1, end_dim=-1)",
        "    (1): Linear(in_features=48, out_features=10, bias=True)",
        "  )",
        ")",
      ].join("\n"),
    );
    const conv = new nn.Conv2d(4, 8, [3, 5], {
      stride: 2,
      padding: [1, 2],
      dilation: 2,
      groups: 2,
      bias: false,
      paddingMode: "circular",
    });
    expect(String(conv)).toBe(
      "Conv2d(4, 8, kernel_size=(3, 5), stride=(2, 2), padding=(1, 2), dilation=(2, 2), groups=2, bias=False, padding_mode=circular)",
    );
    expect(String(new nn.ConvTranspose1d(2, 3, 3, { stride: 2, outputPadding: 1 }))).toBe(
      "ConvTranspose1d(2, 3, kernel_size=(3,), stride=(2,), output_padding=(1,))",
    );
    expect(String(new nn.Conv2d(1, 1, 3, { padding: "same" }))).toMatch(/padding=same\)$/);
  });

  it("counts shared parameters once, and keeps both of their keys", () => {
    class Tied extends nn.Module {
      a = new nn.Linear(3, 3);
      b = this.a;
      list = [new nn.Linear(3, 1), new nn.Linear(1, 1)];
      scale = new nn.Parameter(tensor([2]));
      forward(x: Tensor): Tensor {
        return this.b.forward(this.a.forward(x));
      }
    }
    const tied = new Tied();
    expect(tied.parameters()).toHaveLength(7);
    expect(Object.keys(tied.stateDict())).toEqual([
      "scale",
      "a.weight",
      "a.bias",
      "b.weight",
      "b.bias",
      "list.0.weight",
      "list.0.bias",
      "list.1.weight",
      "list.1.bias",
    ]);
    tied
      .forward(randn([2, 3]))
      .sum()
      .backward();
    expect(tied.a.weight.grad).not.toBeNull();
  });

  it("loads a state, converting the dtype, and shares memory with the one it gives", () => {
    const [a, b] = [new Net(), new Net().to("float64")];
    b.loadStateDict(a.stateDict());
    expect(b.conv.weight.dtype).toBe("float64");
    expect(b.conv.weight.toArray()).toEqual(a.conv.weight.toArray());
    const state = a.stateDict();
    noGrad(() => a.conv.weight.zero_());
    expect(state["conv.weight"]!.requiresGrad).toBe(false);
    expect(state["conv.weight"]!.data().every((v) => v === 0)).toBe(true);
  });

  it("reports all keys that do not fit in one error, and changes nothing then", () => {
    const net = new Net();
    const before = net.conv.weight.toArray();
    const state: Record<string, Tensor> = {
      ...net.stateDict(),
      "head.1.weight": zeros([10, 5]),
      "head.2.weight": zeros([1]),
    };
    state["conv.weight"] = zeros([3, 1, 3, 3]);
    delete state["bn.bias"];
    let error: Error | null = null;
    try {
      net.loadStateDict(state);
    } catch (e) {
      error = e as Error;
    }
    expect(error).toBeInstanceOf(StateError);
    expect(error!.message).toMatch(/missing keys: bn\.bias/);
    expect(error!.message).toMatch(/unexpected keys: head\.2\.weight/);
    expect(error!.message).toMatch(/head\.1\.weight is \[10, 5\] in the dictionary, but \[10, 48\] in the module/);
    expect(net.conv.weight.toArray()).toEqual(before);

    const { "head.1.weight": _, ...fitting } = state;
    const result = net.loadStateDict(fitting, { strict: false });
    expect(result).toEqual({ missingKeys: ["bn.bias", "head.1.weight"], unexpectedKeys: ["head.2.weight"] });
    expect(net.conv.weight.data().every((v) => v === 0)).toBe(true);
    expect(() => net.loadStateDict(state, { strict: false })).toThrow(/head\.1\.weight is \[10, 5\]/);
  });

  it("switches training for all parts, freezes, and clears gradients", () => {
    const net = new Net();
    net.eval();
    expect(net.modules().every((m) => !m.training)).toBe(true);
    net.train();
    expect(net.bn.training).toBe(true);
    net.requiresGrad_(false);
    expect(net.parameters().some((p) => p.requiresGrad)).toBe(false);
    net.requiresGrad_();
    net
      .forward(randn([2, 1, 8, 8]))
      .sum()
      .backward();
    expect(net.parameters().every((p) => p.grad !== null)).toBe(true);
    net.zeroGrad();
    expect(net.parameters().every((p) => p.grad === null)).toBe(true);
  });

  it("keeps buffers: registered, replaced, converted, and left out of the state if not persistent", () => {
    class Masked extends nn.Module {
      mask = this.registerBuffer("mask", tensor([1, 0, 1]));
      constructor() {
        super();
        this.registerBuffer("scratch", zeros([2]), { persistent: false });
      }
      forward(x: Tensor): Tensor {
        return x.mul(this.mask);
      }
    }
    const m = new Masked();
    expect(Object.keys(m.stateDict())).toEqual(["mask"]);
    expect(m.buffers()).toHaveLength(2);
    m.mask = tensor([0, 0, 1]);
    expect(m.stateDict().mask!.toArray()).toEqual([0, 0, 1]);
    expect(m.to("float64").mask.dtype).toBe("float64");
    expect(() => m.registerBuffer("forward", zeros([1]))).toThrow(/has a member "forward" already/);
  });

  it("calls hooks around forward, in order, until they are removed", () => {
    const layer = new nn.Linear(2, 1, { bias: false });
    noGrad(() => layer.weight.copy_(tensor([[1, 2]])));
    const calls: string[] = [];
    const first = layer.registerForwardPreHook((_, [x]) => {
      calls.push("before");
      return [(x as Tensor).mul(10)];
    });
    const second = layer.registerForwardHook((_, [x], y) => {
      calls.push(`after ${(x as Tensor).toArray()}`);
      return (y as Tensor).add(0.5);
    });
    const x = tensor([[1, 1]]);
    expect(layer.forward(x).item()).toBe(30.5);
    expect(calls).toEqual(["before", "after 10,10"]);
    first.remove();
    expect(layer.forward(x).item()).toBe(3.5);
    second.remove();
    expect(layer.forward(x).item()).toBe(3);
    expect(Object.hasOwn(layer, "forward")).toBe(false);
  });

  it("calls full backward hooks with the gradients of input and output, and takes their replacement", () => {
    const layer = new nn.Linear(2, 1, { bias: false });
    noGrad(() => layer.weight.copy_(tensor([[1, 2]])));
    const seen: unknown[] = [];
    layer.registerFullBackwardHook((_, [dx], dy) => {
      seen.push(dx!.toArray(), dy.toArray());
      return dx!.mul(100);
    });
    const x = tensor([[1, 1]], { requiresGrad: true });
    add(layer.forward(x).mul(3), x.sum()).sum().backward();
    expect(seen).toEqual([[[3, 6]], [[3]]]);
    expect(x.grad!.toArray()).toEqual([[301, 601]]); // what comes past the module is not the hook's
  });

  it("tells layers, shapes, parameters and operations, and leaves the model as it was", () => {
    const net = new Net();
    const before = net.bn.numBatchesTracked!.item();
    const summary = net.summary([2, 1, 8, 8]);
    expect(summary.rows.map((r) => [r.name, r.layer, r.outputShape, r.parameters])).toEqual([
      ["conv", "Conv2d", [2, 3, 8, 8], 30],
      ["bn", "BatchNorm2d", [2, 3, 8, 8], 6],
      ["pool", "MaxPool2d", [2, 3, 4, 4], 0],
      ["head.0", "Flatten", [2, 48], 0],
      ["head.1", "Linear", [2, 10], 490],
    ]);
    expect(summary.rows[0]!.flops).toBe(2 * 3 * 64 * (2 * 9 + 1));
    expect(summary.rows[4]!.flops).toBe(2 * 10 * (2 * 48 + 1));
    expect(summary.parameters).toBe(526);
    expect(String(summary)).toMatch(/head\.1 +Linear +\[2, 10\] +490/);
    expect(net.training && net.bn.training).toBe(true);
    expect(net.bn.numBatchesTracked!.item()).toBe(before);
    expect(Object.hasOwn(net.conv, "forward")).toBe(false);
  });
});

describe("layers", () => {
  it("initialise as PyTorch does: uniform in 1 / sqrt(fanIn), transposed by its own layout", () => {
    manualSeed(5);
    const bounds: readonly (readonly [nn.Conv2d | nn.ConvTranspose2d | nn.Linear, number])[] = [
      [new nn.Conv2d(64, 32, 3), 1 / Math.sqrt(64 * 9)],
      [new nn.Conv2d(128, 128, 3, { groups: 128 }), 1 / 3],
      [new nn.ConvTranspose2d(64, 32, 3, { groups: 2 }), 1 / Math.sqrt(16 * 9)],
      [new nn.Linear(500, 300), 1 / Math.sqrt(500)],
    ];
    for (const [layer, bound] of bounds) {
      for (const t of [layer.weight, layer.bias!]) {
        const largest = [...t.data()].reduce((most, v) => Math.max(most, Math.abs(v)), 0);
        expect(largest).toBeLessThanOrEqual(bound * (1 + 1e-6));
        expect(largest).toBeGreaterThan(bound * 0.8);
      }
      const values = [...layer.weight.data()];
      const spread = Math.sqrt(values.reduce((s, v) => s + v * v, 0) / values.length);
      expect(spread / (bound / Math.sqrt(3))).toBeGreaterThan(0.95);
      expect(spread / (bound / Math.sqrt(3))).toBeLessThan(1.05);
    }
    manualSeed(5);
    expect(new nn.Conv2d(64, 32, 3).weight.toArray()).toEqual(bounds[0]![0].weight.toArray());
  });

  it("refuse impossible arguments when they are made", () => {
    const cases: readonly (readonly [() => unknown, RegExp])[] = [
      [() => new nn.Conv2d(3, 4, 3, { groups: 2 }), /Conv2d: inChannels must be divisible by groups/],
      [() => new nn.Conv2d(4, 3, 3, { groups: 2 }), /Conv2d: outChannels must be divisible by groups/],
      [() => new nn.Conv2d(4, 4, 3, { groups: 0 }), /groups must be an integer from 1/],
      [() => new nn.Conv2d(4, 4, 0), /kernelSize must be an integer from 1/],
      [() => new nn.Conv2d(4, 4, 3, { stride: 0 }), /stride must be an integer from 1/],
      [() => new nn.Conv2d(4, 4, 3, { dilation: 0 }), /dilation/],
      [() => new nn.Conv2d(4, 4, 3, { padding: -1 }), /padding/],
      [() => new nn.Conv2d(4, 4, [3, 3, 3]), /kernelSize must be an integer or a list of 1 or 2/],
      [() => new nn.Conv2d(4, 4, 3, { padding: "full" as never }), /padding/],
      [() => new nn.Conv2d(4, 4, 3, { padding: "same", stride: [1, 3] }), /same/],
      [() => new nn.Conv2d(4, 4, 3, { paddingMode: "xyz" as never }), /paddingMode must be one of "zeros"/],
      [() => new nn.Conv2d(4, 4, 3, { strides: 2 } as never), /did you mean "stride"/],
      [() => new nn.ConvTranspose2d(4, 4, 3, { paddingMode: "reflect" as never }), /only the paddingMode "zeros"/],
      [() => new nn.GroupNorm(3, 4), /numChannels must be divisible by numGroups/],
      [() => new nn.Linear(-1, 4), /inFeatures/],
      [() => new nn.Dropout(1.5), /p must be a number from 0 to 1/],
    ];
    for (const [make, message] of cases) expect(make).toThrow(message);
    const up = new nn.ConvTranspose2d(2, 3, 3, { stride: 3 });
    expect(up.forward(zeros([1, 2, 6, 6]), [20, 19]).shape).toEqual([1, 3, 20, 19]);
    expect(() => up.forward(zeros([1, 2, 6, 6]), [17, 18])).toThrow(/18/);
    expect(() => up.forward(zeros([1, 2, 6, 6]), [18, 18, 18])).toThrow();
  });

  it("are lazy where asked: sizes come from the first input, and the class becomes the plain one", () => {
    const make = (): nn.Sequential =>
      new nn.Sequential(new nn.LazyConv2d(6, 3), new nn.LazyBatchNorm2d(), new nn.Flatten(), new nn.LazyLinear(2));
    const model = make();
    expect(String(model.at(0))).toBe("LazyConv2d(0, 6, kernel_size=(3, 3), stride=(1, 1))");
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
    expect(model.forward(randn([2, 3, 5, 5])).shape).toEqual([2, 2]);
    expect(
      model
        .modules()
        .slice(1)
        .map((m) => m.constructor),
    ).toEqual([nn.Conv2d, nn.BatchNorm2d, nn.Flatten, nn.Linear]);
    expect(String(model.at(0))).toBe("Conv2d(3, 6, kernel_size=(3, 3), stride=(1, 1))");
    expect(model.at(3)).toMatchObject({ inFeatures: 54 });
    model
      .forward(randn([2, 3, 5, 5]))
      .sum()
      .backward();
    const before = (model.at(3) as nn.Linear).weight.toArray();
    optimizer.step(); // the parameters are the objects that it was given
    expect((model.at(3) as nn.Linear).weight.toArray()).not.toEqual(before);

    const loaded = make();
    loaded.loadStateDict(make().stateDict()); // lazy into lazy
    expect(() => model.loadStateDict(make().stateDict())).toThrow(/not initialised/);
    expect(() => loaded.forward(zeros([3, 5]))).toThrow(/LazyConv2d: x must be/);
    loaded.forward(randn([2, 3, 5, 5]));
    loaded.loadStateDict(model.stateDict());
    model.eval();
    loaded.eval();
    const x = randn([2, 3, 5, 5]);
    expect(loaded.forward(x).toArray()).toEqual(model.forward(x).toArray());
    const fresh = new nn.LazyConv2d(6, 3, { groups: 2 });
    expect(() => fresh.forward(zeros([1, 3, 5, 5]))).toThrow(/inChannels must be divisible by groups/);
    expect(fresh.forward(zeros([1, 4, 5, 5])).shape).toEqual([1, 6, 3, 3]);
  });

  it("batch norm gathers statistics in training and uses them in evaluation", () => {
    const x = tensor([1, 2, 3, 6], { ...f64, shape: [4, 1] });
    const bn = new nn.BatchNorm1d(1, { ...f64, eps: 0 });
    const mean = new nn.BatchNorm1d(1, { ...f64, momentum: null });
    bn.forward(x);
    // mean 3, biased variance 3.5, unbiased 14/3
    expect(bn.runningMean!.item()).toBeCloseTo(0.3, 12);
    expect(bn.runningVar!.item()).toBeCloseTo(0.9 + 1.4 / 3, 12);
    mean.forward(x);
    mean.forward(x.mul(2));
    expect(mean.runningMean!.item()).toBeCloseTo(4.5, 12);
    expect(mean.numBatchesTracked!.item()).toBe(2);
    bn.eval();
    expect(bn.forward(tensor([[0.3]], f64)).item()).toBeCloseTo(0, 12);
    expect(bn.numBatchesTracked!.item()).toBe(1);
    bn.train();
    expect(() => bn.forward(tensor([[1]], f64))).toThrow(/more than 1 value per channel/i);
    expect(bn.numBatchesTracked!.item()).toBe(1); // a call that throws leaves no trace
    expect(() => bn.forward(zeros([1, 1, 1, 1], f64))).toThrow(/BatchNorm1d: x must be/);
  });

  it("containers: named, appended, sliced, indexed from both ends", () => {
    const s = new nn.Sequential({ conv: new nn.Conv2d(1, 1, 1), act: new nn.ReLU() });
    expect(Object.keys(s.stateDict())).toEqual(["conv.weight", "conv.bias"]);
    s.append(new nn.Identity());
    expect(s.length).toBe(3);
    expect(s.at(-1)).toBeInstanceOf(nn.Identity);
    expect(() => s.at(3)).toThrow(/there is no module 3 among 3/);
    expect([...s.slice(0, 2)]).toEqual([s.at(0), s.at(1)]);
    const list = new nn.ModuleList([new nn.Linear(1, 1), new nn.Linear(1, 1)]);
    expect([...list.namedParameters()].map(([n]) => n)).toEqual(["0.weight", "0.bias", "1.weight", "1.bias"]);
    expect(() => list.forward()).toThrow(/has no forward/);
    const dict = new nn.ModuleDict({ a: new nn.ReLU() });
    expect([dict.has("a"), dict.get("b"), dict.keys()]).toEqual([true, undefined, ["a"]]);
    expect(() => new nn.Sequential(relu as never)).toThrow(/needs modules, got a function relu/);
  });

  it("a sequence gives the same with and without its fused passes", () => {
    manualSeed(3);
    const s = new nn.Sequential(new nn.Conv2d(2, 4, 3), new nn.BatchNorm2d(4), new nn.ReLU6()).to("float64");
    const x = randn([3, 2, 6, 6], f64).mul(5);
    for (const training of [true, false]) {
      s.train(training);
      const fused = s.forward(x);
      const handle = s.at(2).registerForwardHook(() => undefined); // hooks need every result, so nothing is fused
      expect(largestDifference(s.forward(x), fused)).toBeLessThan(1e-12);
      handle.remove();
    }
  });

  it("a sequence of a convolution, pooling and relu is one pass for many small images, unless it is watched", () => {
    manualSeed(4);
    const parts = () => [new nn.MaxPool2d(2), new nn.ReLU()] as const;
    const conv = new nn.Conv2d(1, 6, 5, { padding: 2 });
    const [pool, act] = parts();
    const [pool2, act2] = parts();
    const orders = [new nn.Sequential(conv, pool, act), new nn.Sequential(conv, act2, pool2)];
    const data = randn([32, 1, 13, 12]);
    const run = (s: nn.Sequential): { name: string | undefined; values: Tensor[] } => {
      s.zeroGrad();
      const x = data.clone().requiresGrad_();
      const y = s.forward(x);
      const name = y.gradFn?.name;
      y.mul(y).sum().backward();
      return { name, values: [y.detach(), x.grad!, conv.weight.grad!, conv.bias!.grad!] };
    };
    const [fused, other] = orders.map(run);
    expect([fused!.name, other!.name]).toEqual(["conv_max_pool", "conv_max_pool"]);
    expect(other!.values.map((t) => t.toArray())).toEqual(fused!.values.map((t) => t.toArray()));
    for (const [i, watched] of [conv, pool, act].entries()) {
      const seen: Tensor[] = [];
      const handle = watched.registerForwardHook((_module, _inputs, output) => void seen.push(output as Tensor));
      const plain = run(orders[0]!);
      handle.remove();
      expect(seen[0]!.shape).toEqual(
        [
          [32, 6, 13, 12],
          [32, 6, 6, 6],
          [32, 6, 6, 6],
        ][i],
      );
      expect(plain.name).toBe("relu");
      for (const [k, t] of plain.values.entries()) expect(largestDifference(t, fused!.values[k]!)).toBeLessThan(2e-3);
    }
    const wide = new nn.Sequential(conv, new nn.MaxPool2d(2, { stride: 1 }), new nn.ReLU());
    expect(run(wide).values[0]!.shape).toEqual([32, 6, 12, 11]);
  });

  it("dropout drops in training only, and repeats with the seed", () => {
    const layer = new nn.Dropout(0.5);
    const x = randn([40]);
    manualSeed(9);
    const first = layer.forward(x).toArray();
    manualSeed(9);
    expect(layer.forward(x).toArray()).toEqual(first);
    expect((first as number[]).filter((v) => v === 0).length).toBeGreaterThan(5);
    expect(layer.eval().forward(x)).toBe(x);
  });

  it("losses keep their options; class weights belong to the state", () => {
    const logits = randn([4, 3]);
    const target = tensor([0, 2, 1, 1], { dtype: "int32" });
    const weight = tensor([1, 2, 3]);
    const loss = new nn.CrossEntropyLoss({ weight, labelSmoothing: 0.1 });
    expect(loss.forward(logits, target).item()).toBe(
      crossEntropy(logits, target, { weight, labelSmoothing: 0.1 }).item(),
    );
    expect(Object.keys(loss.stateDict())).toEqual(["weight"]);
    expect(new nn.MSELoss({ reduction: "sum" }).forward(tensor([1, 2]), tensor([3, 5])).item()).toBe(13);
  });

  it("embedding rows start normal, the padding row zero and without gradient", () => {
    const e = new nn.Embedding(5, 3, { paddingIdx: -5 });
    expect(e.paddingIdx).toBe(0);
    const y = e.forward(tensor([[0, 4]], { dtype: "int32" }));
    expect(y.shape).toEqual([1, 2, 3]);
    expect(y.select(1, 0).toArray()).toEqual([[0, 0, 0]]);
    y.sum().backward();
    expect(e.weight.grad!.toArray()).toEqual([
      [0, 0, 0],
      [0, 0, 0],
      [0, 0, 0],
      [0, 0, 0],
      [1, 1, 1],
    ]);
  });
});

describe("init", () => {
  const { init } = nn;
  const spread = (t: Tensor): number => Math.sqrt([...t.data()].reduce((s, v) => s + v * v, 0) / t.numel());

  it("knows fans and gains", () => {
    expect(init.calculateFan([8, 4, 3, 5])).toEqual({ fanIn: 60, fanOut: 120 });
    expect(() => init.calculateFan([8])).toThrow(/at least 2 dimensions/);
    expect(["conv2d", "tanh", "relu", "selu"].map((n) => init.calculateGain(n as "relu"))).toEqual([
      1,
      5 / 3,
      Math.SQRT2,
      0.75,
    ]);
    expect(init.calculateGain("leakyRelu", 2)).toBeCloseTo(Math.sqrt(0.4), 14);
  });

  it("spreads values as it says", () => {
    manualSeed(1);
    const t = zeros([100, 50, 3, 3], f64);
    const near = (value: number, expected: number): void => expect(Math.abs(value / expected - 1)).toBeLessThan(0.03);
    near(spread(init.xavierUniform_(t, 2)), 2 * Math.sqrt(2 / 1350));
    near(spread(init.xavierNormal_(t)), Math.sqrt(2 / 1350));
    near(spread(init.kaimingUniform_(t, { nonlinearity: "relu" })), Math.sqrt(2 / 450));
    near(spread(init.kaimingNormal_(t, { mode: "fanOut", a: 1 })), Math.sqrt(1 / 900));
    near(spread(init.uniform_(t, -1, 3)), Math.sqrt(7 / 3));
    const version = t.storage.version;
    init.truncNormal_(t, { low: -1, high: 1 });
    expect(t.storage.version).toBeGreaterThan(version);
    expect(t.data().every((v) => Math.abs(v) <= 1)).toBe(true);
    near(spread(t), 0.5394); // deviation of a normal cut at one deviation
    const tail = init.truncNormal_(zeros([4000], f64), { low: 3, high: 9 });
    near(tail.data().reduce((s, v) => s + v, 0) / 4000, 3.2831); // phi(3) / (1 - Phi(3))
  });

  it("builds the special matrices", () => {
    const q = init.orthogonal_(zeros([3, 2, 4], f64), 2);
    const rows = q.reshape([3, 8]);
    expect(largestDifference(rows.matmul(rows.t()), init.eye_(zeros([3, 3], f64)).mul(4))).toBeLessThan(1e-12);
    const conv = new nn.Conv2d(4, 4, 3, { padding: 1, bias: false, groups: 2 });
    init.dirac_(conv.weight, 2);
    const x = randn([1, 4, 5, 5]);
    expect(conv.forward(x).toArray()).toEqual(x.toArray());
    const view = zeros([2, 3]).t();
    init.normal_(view);
    expect(view.data().every((v) => v !== 0)).toBe(true);
    expect(() => init.eye_(zeros([2]))).toThrow(/needs a matrix/);
    expect(() => init.uniform_(zeros([2], { dtype: "int32" }))).toThrow(/float32 or float64/);
  });
});

describe("fusion and utilities", () => {
  it("fuses a convolution and its batch norm into one convolution", () => {
    manualSeed(2);
    const pairs = [
      [new nn.Conv2d(4, 6, 3, { padding: 1, groups: 2, stride: 2, paddingMode: "reflect", ...f64 }), [2, 4, 7, 7]],
      [new nn.Conv1d(3, 6, 2, { bias: false, ...f64 }), [2, 3, 5]],
      [new nn.ConvTranspose2d(4, 6, 3, { groups: 2, stride: 2, outputPadding: 1, ...f64 }), [2, 4, 3, 3]],
    ] as const;
    for (const [conv, shape] of pairs) {
      const bn = shape.length === 3 ? new nn.BatchNorm1d(6, f64) : new nn.BatchNorm2d(6, f64);
      for (const t of [bn.weight!, bn.bias!, bn.runningMean!]) nn.init.normal_(t);
      nn.init.uniform_(bn.runningVar!, 0.5, 2);
      const x = randn([...shape], f64);
      expect(() => nn.fuseConvBn(conv, bn)).toThrow(/evaluation mode/);
      conv.eval();
      bn.eval();
      const fused = nn.fuseConvBn(conv, bn);
      expect(fused.constructor).toBe(conv.constructor);
      const expected = bn.forward((conv as nn.Conv2d).forward(x));
      expect(largestDifference((fused as nn.Conv2d).forward(x), expected)).toBeLessThan(1e-12);
    }
  });

  it("clips gradients by their norm or value", () => {
    const a = tensor([3, 0], { ...f64, requiresGrad: true });
    const b = tensor([0], { ...f64, requiresGrad: true });
    const set = (): void => {
      a.setGrad(tensor([3, 0], f64));
      b.setGrad(tensor([-4], f64));
    };
    set();
    expect(nn.utils.clipGradNorm_([a, b], 10)).toBe(5);
    expect(a.grad!.toArray()).toEqual([3, 0]);
    expect(nn.utils.clipGradNorm_([a, b], 1)).toBe(5);
    expect(b.grad!.item()).toBeCloseTo(-4 / (5 + 1e-6), 14);
    set();
    expect(nn.utils.clipGradNorm_([a, b], 2, { normType: Number.POSITIVE_INFINITY })).toBe(4);
    expect(a.grad!.toArray()[0 as never]).toBeCloseTo(1.5, 5);
    set();
    expect(nn.utils.clipGradNorm_([a, b], 100, { normType: 1 })).toBe(7);
    nn.utils.clipGradValue_([a, b], 2);
    expect([a.grad!.toArray(), b.grad!.toArray()]).toEqual([[2, 0], [-2]]);
    b.setGrad(tensor([Number.NaN], f64));
    expect(() => nn.utils.clipGradNorm_([a, b], 1, { errorIfNonfinite: true })).toThrow(/NaN/);
    const vector = nn.utils.parametersToVector([a, b]);
    expect(vector.toArray()).toEqual([3, 0, 0]);
    nn.utils.vectorToParameters(vector.add(1), [a, b]);
    expect([a.toArray(), b.toArray()]).toEqual([[4, 1], [1]]);
  });
});

describe("models", () => {
  const count = (m: nn.Module): number => m.parameters().reduce((n, p) => n + p.numel(), 0);

  it("have the sizes and the names of torchvision's", () => {
    const resnet = nn.models.resnet18();
    expect(count(resnet)).toBe(11_689_512);
    const names = Object.keys(resnet.stateDict());
    expect(names).toHaveLength(122);
    expect(names.slice(0, 8)).toEqual([
      "conv1.weight",
      "bn1.weight",
      "bn1.bias",
      "bn1.running_mean",
      "bn1.running_var",
      "bn1.num_batches_tracked",
      "layer1.0.conv1.weight",
      "layer1.0.bn1.weight",
    ]);
    for (const name of [
      "layer2.0.downsample.0.weight",
      "layer2.0.downsample.1.running_var",
      "layer4.1.bn2.bias",
      "fc.weight",
    ])
      expect(names).toContain(name);
    expect(count(nn.models.resnet50({ numClasses: 10 }))).toBe(25_557_032 - 2_049_000 + 20_490);
    const mobile = nn.models.mobilenetV2();
    expect(count(mobile)).toBe(3_504_872);
    for (const name of [
      "features.0.0.weight",
      "features.1.conv.1.weight",
      "features.2.conv.1.0.weight",
      "features.18.1.bias",
      "classifier.1.weight",
    ])
      expect(Object.keys(mobile.stateDict())).toContain(name);
    expect(count(new nn.models.LeNet5())).toBe(61_706);
    expect(count(nn.models.resnet20())).toBe(272_474);
    const small = { hidden: 8, numClasses: 3 };
    expect(count(nn.models.vgg11(small).features)).toBe(9_220_480);
    expect(count(nn.models.vgg16({ ...small, batchNorm: true }).features)).toBe(14_723_136);
    expect(Object.keys(nn.models.vgg13(small).stateDict()).at(-1)).toBe("classifier.6.bias");
    expect(() => nn.models.resnetCifar(21)).toThrow(/6 n \+ 2/);
  });

  it("compute logits, and residual blocks what they say", () => {
    expect(new nn.models.LeNet5().forward(zeros([2, 1, 28, 28])).shape).toEqual([2, 10]);
    expect(nn.models.resnet20().forward(randn([2, 3, 32, 32])).shape).toEqual([2, 10]);
    expect(nn.models.mobilenetV2({ numClasses: 7, widthMult: 0.35 }).forward(randn([2, 3, 32, 32])).shape).toEqual([
      2, 7,
    ]);
    const block = new nn.models.BasicBlock(4, 8, 2).to("float64");
    const x = randn([2, 4, 6, 6], f64);
    const y = block.forward(x);
    block.train();
    const inner = relu(block.bn1.forward(block.conv1.forward(x)));
    const expected = relu(add(block.bn2.forward(block.conv2.forward(inner)), block.downsample!.forward(x)));
    expect(largestDifference(y, expected)).toBeLessThan(1e-12);
  });

  it("learn: a small network comes to know a few random images", () => {
    manualSeed(4);
    const net = new Net();
    const optimizer = new optim.AdamW(net.parameters(), { lr: 0.02 });
    const x = randn([16, 1, 8, 8]);
    const target = tensor(
      [...Array(16)].map((_, i) => i % 10),
      { dtype: "int32" },
    );
    let loss = Number.POSITIVE_INFINITY;
    for (let i = 0; i < 40; i++) {
      optimizer.zeroGrad();
      const l = crossEntropy(net.forward(x), target);
      l.backward();
      optimizer.step();
      loss = Number(l.item());
    }
    expect(loss).toBeLessThan(0.1);
    expect(net.bn.numBatchesTracked!.item()).toBe(40);
  });
});
