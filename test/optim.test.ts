import { describe, expect, it } from "vitest";
import { computing, ways } from "./support/backends.js";
import { nn, noGrad, optim, type Tensor, tensor, zeros } from "./support/xcorr.js";

const f64 = { dtype: "float64" } as const;
const leaf = (data: number[]): Tensor => tensor(data, { ...f64, requiresGrad: true });
const some = (): Tensor => zeros([1], { requiresGrad: true });

function close(got: readonly number[], expected: readonly number[], tolerance = 1e-12): void {
  expect(got.length).toBe(expected.length);
  got.forEach((value, i) => {
    const allowed = tolerance * Math.max(Math.abs(expected[i]!), 1e-3);
    expect(Math.abs(value - expected[i]!), `entry ${i}: ${value}, expected ${expected[i]}`).toBeLessThanOrEqual(
      allowed,
    );
  });
}

type Maker = new (parameters: Iterable<Tensor>, options?: never) => optim.Optimizer;

/**
 * Parameters after 10 and 25 steps from [0.5, -1.25, 2] with gradients cos(0.7 t + i) + p / 2, computed by PyTorch 1.13 in
 * float64 (NAdam: by the formula of PyTorch 2, where 1.13 multiplied one factor twice).
 */
const trajectories: readonly (readonly [unknown, object, number[], number[]])[] = [
  [
    optim.SGD,
    { lr: 0.1 },
    [0.2115624483291826, -0.8373665210556219, 1.1891651475978162],
    [0.27619443492795476, -0.23162178903920244, 0.5416734894160253],
  ],
  [
    optim.SGD,
    { lr: 0.1, momentum: 0.9 },
    [0.016330124361894648, 0.5891812977024209, -0.5769462875450506],
    [0.16366723138894512, -0.09796910631055979, 0.451777396423476],
  ],
  [
    optim.SGD,
    { lr: 0.05, momentum: 0.9, dampening: 0.3, weightDecay: 0.01 },
    [0.07236581714558186, -0.3229360528397619, 0.8630448522998442],
    [-0.08265895200015218, 0.4236490783627531, -0.4986178819599304],
  ],
  [
    optim.SGD,
    { lr: 0.05, momentum: 0.9, nesterov: true, weightDecay: 0.02 },
    [0.037859215027529515, -0.07322863386137048, 0.31247475694444177],
    [0.06560144665331893, 0.32182802349491774, -0.37432938556813605],
  ],
  [
    optim.SGD,
    { lr: 0.05, momentum: 0.8, maximize: true },
    [1.166815075708068, -2.689651576906952, 3.57514234079042],
    [4.594788379777567, -10.497731097347256, 13.055474978027407],
  ],
  [
    optim.Adam,
    { lr: 0.01 },
    [0.45398733029442123, -1.170277689625267, 1.9156644701454155],
    [0.4077212828272611, -1.0718931816953985, 1.7958091305390282],
  ],
  [
    optim.Adam,
    { lr: 0.02, betas: [0.8, 0.95], weightDecay: 0.1 },
    [0.4141341071854183, -1.0890332043121618, 1.8115989406949493],
    [0.32544201462845834, -0.8868052356549437, 1.5709758900345818],
  ],
  [
    optim.Adam,
    { lr: 0.02, amsgrad: true },
    [0.4102836781569801, -1.0917620260854188, 1.832284482373676],
    [0.326752404647938, -0.9044902359822578, 1.599078238204066],
  ],
  [
    optim.Adam,
    { lr: 0.02, amsgrad: true, maximize: true, weightDecay: 0.03, eps: 0.001 },
    [0.5962903523205922, -1.409327178680386, 2.1635570591186566],
    [0.7115409957690778, -1.6252363129719647, 2.4140914463886625],
  ],
  [
    optim.AdamW,
    { lr: 0.01 },
    [0.45352376151686147, -1.1690761929507794, 1.9137126070818102],
    [0.4066605187180985, -1.0690795230666352, 1.791145076422755],
  ],
  [
    optim.AdamW,
    { lr: 0.02, weightDecay: 0.2, amsgrad: true },
    [0.39344967608652337, -1.0464494053924849, 1.7574590699227373],
    [0.29284595918417305, -0.8088707537644395, 1.4340701255863548],
  ],
  [
    optim.AdamW,
    { lr: 0.02, maximize: true },
    [0.5979579236687143, -1.4101536345501897, 2.167187165033318],
    [0.7176407054505151, -1.628074145775776, 2.4169038714399065],
  ],
  [
    optim.RMSprop,
    {},
    [0.3219958344366028, -0.8625396726157681, 1.5183110668674327],
    [0.3097345283060829, -0.6273880975044585, 1.2771535311460191],
  ],
  [
    optim.RMSprop,
    { lr: 0.02, momentum: 0.9, centered: true, weightDecay: 0.05 },
    [-0.24375036836060382, 1.9817545101152731, -1.4738070567897386],
    [0.22765489426626836, -0.3422608498195529, -0.00552955062991212],
  ],
  [
    optim.RMSprop,
    { lr: 0.02, alpha: 0.9, centered: true },
    [0.36362437761831046, -0.9658890911491167, 1.619960649060057],
    [0.34435643851070913, -0.7049245174103079, 1.3146076697041231],
  ],
  [
    optim.RMSprop,
    { lr: 0.02, momentum: 0.5, maximize: true },
    [1.6372249162994263, -3.34452295666241, 4.229606999467498],
    [3.2598969853154, -5.313332733037654, 6.112646566995964],
  ],
  [
    optim.Adagrad,
    { lr: 0.1 },
    [0.32326829138504937, -0.8623504577914667, 1.5207176135895035],
    [0.3102029553355978, -0.6356139654870068, 1.2884233593598535],
  ],
  [
    optim.Adagrad,
    { lr: 0.1, lrDecay: 0.1, weightDecay: 0.02, initialAccumulatorValue: 0.5 },
    [0.35996697537191863, -1.0127305865006841, 1.6941844908656079],
    [0.3464181012203384, -0.9097160569042531, 1.5979283042609607],
  ],
  [
    optim.Adagrad,
    { lr: 0.1, maximize: true, eps: 0.001 },
    [0.7344373574596503, -1.714001896192239, 2.5437573224888683],
    [0.8579957722420618, -2.0716552571181786, 2.8881615205746596],
  ],
  [
    optim.NAdam,
    { lr: 0.02 },
    [0.43888465000954857, -1.1337862038014175, 1.837099128396205],
    [0.39176144233342547, -0.9430995674029077, 1.6238666861441482],
  ],
  [
    optim.NAdam,
    { lr: 0.02, betas: [0.8, 0.99], weightDecay: 0.1, momentumDecay: 0.01 },
    [0.42729388241962185, -1.113869308271779, 1.8043303982721017],
    [0.3698423805929274, -0.899129295900559, 1.5669624971325795],
  ],
];

describe.each(ways)("optimisers on %s", (way) => {
  it.each(trajectories.map((t) => [`${(t[0] as Maker).name} ${JSON.stringify(t[1])}`, t] as const))(
    "%s goes where PyTorch goes",
    (_, [kind, options, tenth, last]) => {
      computing(way, () => {
        const p = leaf([0.5, -1.25, 2]);
        const optimizer = new (kind as Maker)([p], options as never);
        for (let t = 0; t < 25; t++) {
          const value = p.data();
          const gradient = [0, 1, 2].map((i) => Math.cos(0.7 * t + i) + 0.5 * value[i]!);
          p.setGrad(tensor(gradient, f64));
          const version = p.storage.version;
          optimizer.step();
          expect(p.storage.version).toBeGreaterThan(version);
          if (t === 9) close([...p.data()], tenth);
        }
        close([...p.data()], last);
      });
    },
  );
});

/** Rates of two groups (and the first one's momentum) after 1, 8 and 29 steps, by PyTorch 1.13. */
const schedules: readonly (readonly [string, (o: optim.SGD) => { step(): void }, number[][]])[] = [
  [
    "StepLR gamma: 0.3}",
    (o) => new optim.StepLR(o, 3, { gamma: 0.3 }),
    [
      [0.2, 0.03, 0.9],
      [0.018, 0.0026999999999999997, 0.9],
      [3.936599999999999e-6, 5.904899999999998e-7, 0.9],
    ],
  ],
  [
    "MultiStepLR gamma: 0.5}",
    (o) => new optim.MultiStepLR(o, [2, 5, 5, 11], { gamma: 0.5 }),
    [
      [0.2, 0.03, 0.9],
      [0.025, 0.00375, 0.9],
      [0.0125, 0.001875, 0.9],
    ],
  ],
  [
    "ExponentialLR }",
    (o) => new optim.ExponentialLR(o, 0.9),
    [
      [0.18000000000000002, 0.027, 0.9],
      [0.08609344200000005, 0.012914016300000003, 0.9],
      [0.0094202573944925, 0.001413038609173874, 0.9],
    ],
  ],
  [
    "ConstantLR factor: 0.25, totalIters: 4}",
    (o) => new optim.ConstantLR(o, { factor: 0.25, totalIters: 4 }),
    [
      [0.05, 0.0075, 0.9],
      [0.2, 0.03, 0.9],
      [0.2, 0.03, 0.9],
    ],
  ],
  [
    "LinearLR startFactor: 0.1, endFactor: 0.8, ",
    (o) => new optim.LinearLR(o, { startFactor: 0.1, endFactor: 0.8, totalIters: 7 }),
    [
      [0.04000000000000001, 0.006, 0.9],
      [0.16000000000000003, 0.024000000000000004, 0.9],
      [0.16000000000000003, 0.024000000000000004, 0.9],
    ],
  ],
  [
    "PolynomialLR totalIters: 9, power: 2}",
    (o) => new optim.PolynomialLR(o, { totalIters: 9, power: 2 }),
    [
      [0.1580246913580247, 0.023703703703703703, 0.9],
      [0.002469135802469138, 0.00037037037037037073, 0.9],
      [0.0, 0.0, 0.9],
    ],
  ],
  [
    "CosineAnnealingLR etaMin: 0.001}",
    (o) => new optim.CosineAnnealingLR(o, 7, { etaMin: 0.001 }),
    [
      [0.1901464023562907, 0.028564048584585076, 0.9],
      [0.010853597643709297, 0.0024359514154149225, 0.9],
      [0.19014640235629246, 0.02856404858458534, 0.9],
    ],
  ],
  [
    "CosineAnnealingLR }",
    (o) => new optim.CosineAnnealingLR(o, 40),
    [
      [0.1996917333733128, 0.02995376000599692, 0.9],
      [0.18090169943749473, 0.027135254915624213, 0.9],
      [0.03505519516698164, 0.005258279275047246, 0.9],
    ],
  ],
  [
    "CosineAnnealingWarmRestarts tMult: 2, etaMin: 0.01}",
    (o) => new optim.CosineAnnealingWarmRestarts(o, 4, { tMult: 2, etaMin: 0.01 }),
    [
      [0.172175144212722, 0.027071067811865475, 0.9],
      [0.105, 0.019999999999999997, 0.9],
      [0.1995425490338587, 0.029951847266721968, 0.9],
    ],
  ],
  [
    "OneCycleLR totalSteps: 31}",
    (o) => new optim.OneCycleLR(o, 0.5, { totalSteps: 31 }),
    [
      [0.03698766264378439, 0.03698766264378439, 0.9464609036158782],
      [0.4984543875111644, 0.4984543875111644, 0.8503220026018408],
      [0.002617350336157334, 0.002617350336157334, 0.9494769278404799],
    ],
  ],
  [
    "OneCycleLR epochs: 10, stepsPerEpoch: 4, pctS",
    (o) =>
      new optim.OneCycleLR(o, 0.5, {
        epochs: 10,
        stepsPerEpoch: 4,
        pctStart: 0.4,
        annealStrategy: "linear",
        threePhase: true,
        divFactor: 10,
        finalDivFactor: 100,
      }),
    [
      [0.08, 0.08, 0.9433333333333332],
      [0.29, 0.29, 0.8966666666666666],
      [0.07999999999999996, 0.07999999999999996, 0.9433333333333332],
    ],
  ],
];

describe("schedules", () => {
  it.each(schedules)("%s has PyTorch's numbers", (_, make, expected) => {
    const o = new optim.SGD([{ params: [some()] }, { params: [some()], lr: 0.03 }], { lr: 0.2, momentum: 0.9 });
    const schedule = make(o);
    for (let t = 0; t < 30; t++) {
      const at = [1, 8, 29].indexOf(t);
      if (at >= 0) close([...o.paramGroups.map((g) => g.lr), o.paramGroups[0]!.momentum], expected[at]!);
      schedule.step();
    }
  });

  const run = (
    make: (o: optim.SGD) => optim.LRScheduler | optim.ReduceLROnPlateau,
    metric?: (t: number) => number,
  ): number[] => {
    const o = new optim.SGD([some()], { lr: 0.2 });
    const schedule = make(o);
    return Array.from({ length: 30 }, (_, t) => {
      const lr = o.paramGroups[0]!.lr;
      if (schedule instanceof optim.ReduceLROnPlateau) schedule.step(metric!(t));
      else schedule.step();
      return lr;
    });
  };

  it("SequentialLR goes from warm-up to cosine to exponential", () => {
    const rates = run(
      (o) =>
        new optim.SequentialLR(
          o,
          [
            new optim.LinearLR(o, { startFactor: 0.1, totalIters: 5 }),
            new optim.CosineAnnealingLR(o, 15),
            new optim.ExponentialLR(o, 0.8),
          ],
          [5, 18],
        ),
    );
    close(
      rates,
      [
        0.020000000000000004, 0.05600000000000001, 0.09200000000000001, 0.128, 0.164, 0.2, 0.19781476007338059,
        0.1913545457642601, 0.18090169943749476, 0.16691306063588585, 0.15000000000000002, 0.13090169943749477,
        0.11045284632676539, 0.0895471536732347, 0.0690983005625053, 0.05000000000000004, 0.03308693936411422,
        0.01909830056250527, 0.2, 0.16000000000000003, 0.12800000000000003, 0.10240000000000003, 0.08192000000000003,
        0.06553600000000002, 0.052428800000000025, 0.04194304000000002, 0.033554432000000016, 0.026843545600000015,
        0.021474836480000013, 0.01717986918400001,
      ],
    );
  });

  it("ReduceLROnPlateau waits, reduces, cools down and stops at the least rate", () => {
    const falling = run(
      (o) => new optim.ReduceLROnPlateau(o, { factor: 0.5, patience: 2, cooldown: 1, minLr: 0.01 }),
      (t) => Math.max(1 - 0.2 * t, 0.5),
    );
    close(
      falling,
      [
        0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05, 0.025, 0.025, 0.025, 0.025,
        0.0125, 0.0125, 0.0125, 0.0125, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01,
      ],
    );
    const rising = run(
      (o) =>
        new optim.ReduceLROnPlateau(o, { mode: "max", factor: 0.5, patience: 1, thresholdMode: "abs", threshold: 0.1 }),
      (t) => 0.05 * t,
    );
    close(
      rising,
      [
        0.2, 0.2, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.025, 0.025, 0.025, 0.0125, 0.0125, 0.0125, 0.00625, 0.00625,
        0.00625, 0.00625, 0.00625, 0.003125, 0.003125, 0.003125, 0.0015625, 0.0015625, 0.0015625, 0.00078125,
        0.00078125, 0.00078125, 0.000390625,
      ],
    );
  });

  it("LambdaLR, MultiplicativeLR and WarmupLR follow their functions", () => {
    close(
      run((o) => new optim.LambdaLR(o, (t) => 0.95 ** t)),
      Array.from({ length: 30 }, (_, t) => 0.2 * 0.95 ** t),
    );
    close(run((o) => new optim.MultiplicativeLR(o, (t) => 1 / t)).slice(0, 4), [0.2, 0.2, 0.1, 0.1 / 3]);
    close(run((o) => new optim.WarmupLR(o, 4)).slice(0, 6), [0.05, 0.1, 0.15, 0.2, 0.2, 0.2]);
  });

  it("go on from a state as if they had not stopped", () => {
    const make = (): [optim.SGD, optim.LRScheduler] => {
      const o = new optim.SGD([some()], { lr: 0.2, momentum: 0.9 });
      const warm = new optim.LinearLR(o, { totalIters: 4 });
      return [o, new optim.SequentialLR(o, [warm, new optim.CosineAnnealingLR(o, 9)], [4])];
    };
    const [o, whole] = make();
    for (let t = 0; t < 7; t++) whole.step();
    const saved = structuredClone([o.stateDict(), whole.stateDict()]) as [optim.OptimizerState, optim.ScheduleState];
    const [other, resumed] = make();
    other.loadStateDict(saved[0]);
    resumed.loadStateDict(saved[1]);
    for (let t = 0; t < 8; t++) {
      whole.step();
      resumed.step();
      expect(other.paramGroups[0]!.lr).toBe(o.paramGroups[0]!.lr);
      expect(resumed.getLastLr()).toEqual(whole.getLastLr());
    }
  });

  it("OneCycleLR refuses to go past its end, and an optimiser without momentum", () => {
    const o = new optim.SGD([some()], { lr: 0.1, momentum: 0.9 });
    const schedule = new optim.OneCycleLR(o, 0.1, { totalSteps: 5 });
    for (let t = 0; t < 5; t++) schedule.step();
    expect(() => schedule.step()).toThrow(/past the end: the cycle has 5 steps/);
    expect(() => new optim.OneCycleLR(new optim.Adagrad([some()]), 0.1, { totalSteps: 5 })).toThrow(
      /cycleMomentum: false/,
    );
    expect(() => new optim.OneCycleLR(o, { maxLr: 0.1, totalSteps: 5 } as unknown as number)).toThrow(
      /maxLr must be a number/,
    );
  });
});

describe("Optimizer", () => {
  it("leaves parameters without a gradient alone, and counts steps for each parameter", () => {
    const [a, b] = [leaf([1]), leaf([1])];
    const o = new optim.SGD([a, b], { lr: 0.1, momentum: 0.9, dampening: 0.5 });
    a.setGrad(tensor([1], f64));
    o.step();
    expect([a.item(), b.item()]).toEqual([0.9, 1]);
    b.setGrad(tensor([1], f64));
    o.step(); // the first step of b takes all of its gradient
    close([Number(a.item()), Number(b.item())], [0.9 - 0.1 * (0.9 + 0.5), 0.9]);
    o.zeroGrad(false);
    expect(a.grad!.item()).toBe(0);
    o.zeroGrad();
    expect([a.grad, b.grad]).toEqual([null, null]);
  });

  it("has parameter groups with options of their own", () => {
    const [a, b, c] = [leaf([1]), leaf([1]), leaf([1])];
    const o = new optim.SGD([{ params: a }, { params: [b], lr: 0.5 }], { lr: 0.1 });
    o.addParamGroup({ params: [c], weightDecay: 1 });
    for (const p of [a, b, c]) p.setGrad(tensor([1], f64));
    o.step();
    close(
      [a, b, c].map((p) => Number(p.item())),
      [0.9, 0.5, 0.8],
    );
    expect(() => o.addParamGroup({ params: [a] })).toThrow(/in a group already/);
  });

  it("computes the closure with gradients, also inside noGrad, and returns its loss", () => {
    const p = leaf([3]);
    const o = new optim.SGD([p], { lr: 0.5 });
    const loss = noGrad(() =>
      o.step(() => {
        o.zeroGrad();
        const l = p.mul(p).sum();
        l.backward();
        return l;
      }),
    );
    expect(loss.item()).toBe(9);
    expect(p.item()).toBe(0);
  });

  it("updates parameters whose elements are not row-major", () => {
    const whole = tensor([1, 2, 3, 4, 5, 6], { ...f64, shape: [2, 3] });
    const p = new nn.Parameter(whole.t() as Tensor<"float64">);
    const o = new optim.Adam([p], { lr: 0.1 });
    p.setGrad(tensor([1, 1, 1, 1, 1, 1], { ...f64, shape: [2, 3] }).t());
    o.step();
    close([...whole.data()], [0.9, 1.9, 2.9, 3.9, 4.9, 5.9], 1e-7);
  });

  it("goes on from a state with the same bits, and after to() with another dtype", () => {
    const start = [0.5, -1, 2];
    const [p, q] = [leaf(start), leaf(start)];
    const o = new optim.Adam([p], { lr: 0.1, amsgrad: true });
    const walk = (t: Tensor, optimizer: optim.Optimizer, steps: number): void => {
      for (let s = 0; s < steps; s++) {
        optimizer.zeroGrad();
        t.mul(t).sum().backward();
        optimizer.step();
      }
    };
    walk(p, o, 3);
    const resumed = new optim.Adam([q], { lr: 7 });
    resumed.loadStateDict(o.stateDict());
    noGrad(() => q.copy_(p));
    walk(p, o, 3);
    walk(q, resumed, 3);
    expect(q.toArray()).toEqual(p.toArray());

    const layer = new nn.Linear(2, 1);
    const sgd = new optim.SGD(layer.parameters(), { lr: 0.1, momentum: 0.9 });
    layer
      .forward(tensor([[1, 2]]))
      .sum()
      .backward();
    sgd.step();
    layer.to("float64");
    const before = layer.weight.data();
    sgd.step();
    expect(layer.weight.dtype).toBe("float64");
    close([...layer.weight.data()], [before[0]! - 0.19, before[1]! - 0.38], 1e-6);
  });

  it("refuses what cannot be right", () => {
    const p = leaf([1]);
    expect(() => new optim.SGD([], { lr: 0.1 })).toThrow(/SGD: the list of parameters is empty/);
    expect(() => new optim.SGD([p])).toThrow(/lr must be given/);
    expect(() => new optim.SGD([p], { lr: -1 })).toThrow(/SGD: lr must be a number from 0 .*got -1/);
    expect(() => new optim.SGD([p], { lr: Number.NaN })).toThrow(/lr must be a number/);
    expect(() => new optim.SGD([p], { lr: 1, nesterov: true })).toThrow(/nesterov needs momentum and no dampening/);
    expect(() => new optim.SGD([p], { lr: 1, momentun: 1 } as never)).toThrow(/did you mean "momentum"/);
    expect(() => new optim.Adam([p], { betas: [0.9, 1] })).toThrow(/betas\[1\] must be below 1, got 1/);
    expect(() => new optim.Adam([p], { eps: -1 })).toThrow(/eps/);
    expect(() => new optim.SGD([p.mul(2)], { lr: 1 })).toThrow(/can only optimise leaves/);
    expect(() => new optim.SGD([p, p], { lr: 1 })).toThrow(/in a group already/);
    expect(() => new optim.SGD(p as never, { lr: 1 })).toThrow(/must be a list of tensors/);
    expect(() => new optim.SGD([[1]] as never, { lr: 1 })).toThrow(/params\[0\] is \[1\]/);
    expect(() => new optim.SGD([zeros([1]).expand([3])], { lr: 1 })).toThrow(/one place in memory/);
    const o = new optim.SGD([p], { lr: 1 });
    expect(() => o.loadStateDict(new optim.SGD([leaf([1, 2]), leaf([1])], { lr: 1 }).stateDict())).toThrow(
      /has 2 parameters/,
    );
    const last = leaf([1]);
    const before = [p.item(), last.item()];
    o.addParamGroup({ params: [last] });
    p.sum().add(last.sum()).backward();
    for (const lr of ["0.1", Number.NaN, undefined, null, {}]) {
      o.paramGroups[1]!.lr = lr as never;
      expect(() => o.step()).toThrow(/SGD\.step: lr of paramGroups\[1\] must be a number/);
    }
    o.paramGroups[1]!.lr = 1;
    o.paramGroups[1]!.momentum = "x" as never;
    expect(() => o.step()).toThrow(/momentum must be a number/);
    expect([p.item(), last.item()]).toEqual(before); // not the first group either
    expect(() => new optim.StepLR(o, 0)).toThrow(/stepSize must be an integer from 1/);
    expect(() => new optim.StepLR({} as never, 1)).toThrow(/needs an optimiser/);
  });
});
