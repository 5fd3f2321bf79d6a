import { describe, expect, it } from "vitest";
import {
  add,
  backward,
  conv2d,
  detectAnomaly,
  exp,
  grad,
  GradientError,
  gradcheck,
  gradgradcheck,
  memoryStats,
  mul,
  noGrad,
  ones,
  relu,
  ShapeError,
  sqrt,
  tensor,
  type Tensor,
  zeros,
} from "./support/xcorr.js";

const leaf = (data: number | number[] | number[][]): Tensor<"float64"> =>
  tensor(data, { dtype: "float64", requiresGrad: true }) as Tensor<"float64">;

describe("leaves and what is computed from them", () => {
  it("records when an input requires gradients, and only then", () => {
    const x = leaf([1, 2]);
    const c = tensor([3, 4], { dtype: "float64" });
    expect(c.add(c).requiresGrad).toBe(false);
    const y = c.mul(x);
    expect(y.requiresGrad).toBe(true);
    expect(y.isLeaf).toBe(false);
    expect(x.isLeaf).toBe(true);
    expect(y.gradFn?.name).toBe("mul");
    expect(x.gradFn).toBe(null);
    expect(() => tensor([1, 2], { dtype: "int32", requiresGrad: true })).toThrow(GradientError);
    expect(() => y.requiresGrad_(false)).toThrow(/detach/);
    expect(noGrad(() => x.mul(2)).requiresGrad).toBe(false);
    expect(y.detach().requiresGrad).toBe(false);
  });

  it("adds gradients up, in place into the same tensor", () => {
    const x = leaf([1, 2]);
    expect(x.grad).toBe(null);
    x.mul(3).sum().backward();
    const first = x.grad!;
    expect(first.toArray()).toEqual([3, 3]);
    x.mul(x).sum().backward();
    expect(x.grad).toBe(first);
    expect(first.toArray()).toEqual([5, 7]);
    x.setGrad(null);
    expect(x.grad).toBe(null);
    expect(() => x.setGrad(zeros([3], { dtype: "float64" }))).toThrow(ShapeError);
    expect(() => x.setGrad(zeros([2]) as unknown as Tensor<"float64">)).toThrow(/float64/);
  });

  it("does not share the gradient's memory between leaves", () => {
    const [a, b] = [leaf([1, 2]), leaf([3, 4])];
    const dy = tensor([5, 6], { dtype: "float64" });
    a.add(b).backward(dy);
    a.grad!.fill_(0);
    expect(b.grad!.toArray()).toEqual([5, 6]);
    expect(dy.toArray()).toEqual([5, 6]);
    b.grad!.fill_(0);
    expect(dy.toArray()).toEqual([5, 6]);
  });

  it("sums over all uses, also of one tensor twice in an operation", () => {
    const x = leaf([2, 3]);
    add(mul(x, x), x).add(x.mul(4)).sum().backward();
    expect(x.grad!.toArray()).toEqual([2 * 2 + 5, 2 * 3 + 5]);
  });

  it("sums gradients back over what was broadcast, for all pairs of shapes", () => {
    const shapes: number[][] = [[], [1], [2], [0], [2, 1], [1, 2], [2, 2], [0, 2], [1, 1, 2], [2, 1, 1], [2, 0, 1]];
    let compatible = 0;
    for (const p of shapes) {
      for (const q of shapes) {
        const make = (shape: number[], first: number): Tensor => {
          const count = shape.reduce((n, s) => n * s, 1);
          return tensor(
            Float64Array.from({ length: count }, (_, i) => first + 0.5 * i),
            { shape, requiresGrad: true },
          );
        };
        const [a, b] = [make(p, 1), make(q, -2)];
        try {
          add(a, b);
        } catch (error) {
          expect(error).toBeInstanceOf(ShapeError);
          continue;
        }
        compatible++;
        for (const f of [add, mul]) gradcheck((u, v) => f(u!, v!), [a, b]);
      }
    }
    expect(compatible).toBeGreaterThan(50);
  });
});

describe("backward", () => {
  it("needs a gradient for more than one element, of exactly the output's shape", () => {
    const x = leaf([1, 2, 3]);
    expect(() => x.mul(2).backward()).toThrow(/\[3\].*must be given/);
    expect(() => x.mul(2).backward(ones([1], { dtype: "float64" }))).toThrow(/shape \[3\].*\[1\]/);
    x.mul(2).backward(ones([3])); // float32 is converted
    expect(x.grad!.toArray()).toEqual([2, 2, 2]);
    const one = leaf([[5]]);
    one.mul(3).backward(); // any shape with one element
    expect(one.grad!.toArray()).toEqual([[3]]);
  });

  it("refuses constants and things that are no tensors", () => {
    expect(() => tensor(1).backward()).toThrow(/does not require gradients/);
    expect(() => backward([leaf(1), 3 as unknown as Tensor])).toThrow(/must be a tensor, got 3/);
    expect(() => backward(leaf(1), { retaingraph: true } as never)).toThrow(/did you mean "retainGraph"/);
  });

  it("runs a second time only if nothing was saved, or the graph was kept", () => {
    const x = leaf([1, 2]);
    const sums = x.add(x).sum();
    sums.backward();
    sums.backward();
    expect(x.grad!.toArray()).toEqual([4, 4]);
    const products = x.mul(x).sum();
    products.backward();
    expect(() => products.backward()).toThrow(/second time.*retainGraph/s);
    const kept = exp(x).sum();
    x.setGrad(null);
    kept.backward({ retainGraph: true });
    const once = x.grad!.data();
    kept.backward();
    expect(x.grad!.data()).toEqual(once.map((v) => 2 * v));
  });

  it("takes several roots through a shared graph without keeping it", () => {
    const x = leaf([1, 2]);
    const shared = exp(x);
    backward([shared.sum(), shared.mul(2).sum()]);
    expect(x.grad!.toArray()).toEqual([3 * Math.E, 3 * Math.exp(2)].map((v) => expect.closeTo(v, 12)));
    expect(() => shared.sum().backward()).toThrow(/second time/);
  });

  it("adds up only in the given inputs, which need not be leaves", () => {
    const [x, w] = [leaf([1, 2]), leaf([3, 4])];
    let calls = 0;
    w.registerHook(() => void calls++);
    const h = x.mul(2);
    h.mul(w)
      .sum()
      .backward({ inputs: [h] });
    expect(h.grad!.toArray()).toEqual([3, 4]);
    expect(x.grad).toBe(null);
    expect(w.grad).toBe(null);
    expect(calls).toBe(0);
    expect(() => h.sum().backward({ inputs: [] })).toThrow(/at least one/);
  });

  it("creates graphs of any order", () => {
    const x = leaf(3);
    let y: Tensor = x.mul(x).mul(x);
    const values: number[] = [];
    for (let order = 0; order < 3; order++) {
      [y] = grad(y, x, { createGraph: true }) as [Tensor];
      values.push(y.item() as number);
    }
    expect(values).toEqual([27, 18, 6]);
  });

  it("gives .grad a graph with createGraph, in a tensor of its own", () => {
    const x = leaf([1, 2]);
    x.mul(x).mul(x).sum().backward({ createGraph: true });
    const first = x.grad!;
    expect(first.requiresGrad).toBe(true);
    x.mul(x).sum().backward({ createGraph: true });
    expect(x.grad).not.toBe(first);
    expect(x.grad!.toArray()).toEqual([3 + 2, 12 + 4]);
    const [second] = grad(x.grad!.sum(), x);
    expect(second!.toArray()).toEqual([6 + 2, 12 + 2]);
  });

  it("a gradient penalty trains through the gradient", () => {
    const x = tensor([[1, -2, 0.5]], { dtype: "float64", requiresGrad: true });
    const w = leaf([[0.3], [-0.2], [0.7]]);
    const loss = (weight: Tensor): Tensor => {
      const y = exp(x.matmul(weight as never)).sum();
      const [dx] = grad(y, x, { createGraph: true });
      return dx!.square().sum();
    };
    gradcheck((weight) => loss(weight!), [w]);
  });

  it("leaves the engine usable when it throws half-way", () => {
    const [a, b] = [leaf([1, 2]), leaf([3, 4])];
    const y = exp(a).mul(b.mul(2));
    const bad = a.mul(b);
    const hook = bad.registerHook(() => {
      throw new Error("from the hook");
    });
    const loss = y.sum().add(bad.sum());
    expect(() => loss.backward({ retainGraph: true })).toThrow("from the hook");
    hook.remove();
    a.setGrad(null);
    b.setGrad(null);
    loss.backward();
    expect(a.grad!.toArray()).toEqual([3 * 2 * Math.E + 3, 4 * 2 * Math.exp(2) + 4].map((v) => expect.closeTo(v, 12)));
    expect(b.grad!.toArray()).toEqual([2 * Math.E + 1, 2 * Math.exp(2) + 2].map((v) => expect.closeTo(v, 12)));
  });
});

describe("grad", () => {
  it("returns gradients and adds nothing up", () => {
    const x = leaf([1, 2]);
    const h = x.mul(2);
    const y = h.mul(h).sum();
    const [dh, dx, again] = grad(y, [h, x, x]);
    expect(dh!.toArray()).toEqual([4, 8]);
    expect(dx!.toArray()).toEqual([8, 16]);
    expect(again!.toArray()).toEqual([8, 16]);
    expect(x.grad).toBe(null);
  });

  it("refuses constants; unused inputs are an error, null or zeros", () => {
    const [x, unused] = [leaf([1, 2]), leaf([[1, 2]])];
    const y = (): Tensor => x.mul(3).sum();
    expect(() => grad(y(), tensor(1))).toThrow(/inputs\[0\].*does not require/);
    expect(() => grad(y(), unused)).toThrow(/do not depend on inputs\[0\] \[1, 2\].*allowUnused/);
    expect(grad(y(), [x, unused], { allowUnused: true })[1]).toBe(null);
    expect(grad(y(), [x, unused], { materializeGrads: true })[1]!.toArray()).toEqual([[0, 0]]);
    expect(() => grad(y(), [])).toThrow(/at least one/);
    expect(() => grad(y(), x, { gradOutputs: [null, null] })).toThrow(/2 entries for 1/);
  });

  it("runs only the part of the graph that leads to the inputs", () => {
    const [x, w] = [leaf([1, 2]), leaf([3, 4])];
    const poisoned = exp(w);
    poisoned.registerHook(() => {
      throw new Error("this branch must not run");
    });
    w.registerHook(() => {
      throw new Error("nor this leaf");
    });
    const h = x.mul(2);
    const y = h.mul(poisoned).sum();
    const [dx] = grad(y, x, { retainGraph: true });
    expect(dx!.toArray()).toEqual([2 * Math.exp(3), 2 * Math.exp(4)].map((v) => expect.closeTo(v, 10)));
    // Up to h only: what lies behind it does not run either.
    x.registerHook(() => {
      throw new Error("behind the input");
    });
    expect(grad(y, h)[0]!.requiresGrad).toBe(false);
  });

  it("differentiates an output that is an input", () => {
    const x = leaf(2);
    expect(grad(x, x)[0]!.item()).toBe(1);
    expect(grad([x.mul(2), x], x)[0]!.item()).toBe(3);
  });
});

describe("saved tensors", () => {
  const message = (by: string): RegExp => new RegExp(`backward of ${by} needs .* in-place operation has changed it`);

  it("mul needs its operands, each only if the other's gradient is asked for", () => {
    const x = leaf([1, 2]);
    const c = tensor([3, 4], { dtype: "float64" });
    const y = x.mul(c);
    c.add_(1);
    expect(() => y.sum().backward()).toThrow(message("mul"));
    // x itself is not needed, because c is a constant.
    const z = x.mul(tensor([3, 4], { dtype: "float64" }));
    noGrad(() => x.add_(1));
    z.sum().backward();
    expect(x.grad!.toArray()).toEqual([3, 4]);
  });

  it("exp and relu need their output, not their input", () => {
    const x = leaf([1, 2]);
    const h = x.mul(1);
    const y = exp(h);
    h.add_(5);
    y.sum().backward();
    expect(x.grad!.toArray()).toEqual([Math.E, Math.exp(2)].map((v) => expect.closeTo(v, 12)));
    const e = exp(x.mul(1));
    e.mul_(2);
    expect(() => e.sum().backward()).toThrow(message("exp"));
    const r = relu(x.mul(1));
    r.mul_(2);
    expect(() => r.sum().backward()).toThrow(message("relu"));
  });

  it("add needs nothing", () => {
    const x = leaf([1, 2]);
    const h = x.mul(1);
    const y = h.add(h);
    h.fill_(100);
    y.sum().backward();
    expect(x.grad!.toArray()).toEqual([2, 2]);
  });

  it("a convolution needs its input and weight, each for the other's gradient, but not its bias", () => {
    const make = (): Record<"x" | "weight" | "bias", Tensor> => ({
      x: ones([1, 2, 4, 4], { dtype: "float64" }).requiresGrad_().mul(1),
      weight: ones([3, 2, 3, 3], { dtype: "float64" }).requiresGrad_().mul(1),
      bias: ones([3], { dtype: "float64" }).requiresGrad_().mul(1),
    });
    for (const [changed, fails] of [
      ["x", true],
      ["weight", true],
      ["bias", false],
    ] as const) {
      const given = make();
      const y = conv2d(given.x, given.weight, { bias: given.bias });
      noGrad(() => given[changed].add_(1));
      if (fails) expect(() => y.sum().backward()).toThrow(message("conv"));
      else y.sum().backward();
    }
    // The weight alone is differentiated: it may change itself.
    const { x, weight } = make();
    const y = conv2d(x.detach(), weight);
    noGrad(() => weight.add_(1));
    y.sum().backward();
  });

  it("changes under noGrad and through detach() count too", () => {
    for (const change of [
      (t: Tensor): unknown => noGrad(() => t.add_(1)),
      (t: Tensor): unknown => t.detach().add_(1),
      (t: Tensor): unknown => noGrad(() => t.narrow(0, 0, 1).zero_()),
    ]) {
      const x = leaf([1, 2]);
      const h = x.mul(1);
      const y = h.mul(h);
      change(h);
      expect(() => y.sum().backward()).toThrow(message("mul"));
    }
  });

  it("a failed pass leaves gradients as they were", () => {
    const x = leaf([1, 2]);
    const h = x.mul(1);
    const y = h.mul(h);
    h.add_(1);
    expect(() => y.sum().backward()).toThrow(GradientError);
    expect(x.grad).toBe(null);
  });
});

describe("kinks", () => {
  it("relu'(0) and relu'(-0) are 0, abs'(0) is 0", () => {
    const x = leaf([0, -0, 1, -1]);
    relu(x).sum().backward();
    expect(x.grad!.toArray()).toEqual([0, 0, 1, 0]);
    x.setGrad(null);
    x.abs().sum().backward();
    expect(x.grad!.toArray()).toEqual([0, 0, 1, -1]);
  });
});

describe("anomaly mode", () => {
  it("names the operation that returned NaN and the place of its forward call", () => {
    const x = leaf([0, 1]);
    const run = (): void => {
      const y = sqrt(x.mul(0)); // the derivative at 0 is infinite, times 0 it is NaN
      y.sum().backward();
    };
    let caught: Error | null = null;
    try {
      detectAnomaly(run);
    } catch (error) {
      caught = error as Error;
    }
    expect(caught).toBeInstanceOf(GradientError);
    expect(caught!.message).toMatch(/backward of mul_scalar returned NaN for input 0/);
    expect(caught!.message).toMatch(/forward call of mul_scalar was made .*autograd\.test\.ts/);
    detectAnomaly(run, { checkNaN: false });
    run(); // and outside of the mode
  });

  it("adds the forward call to errors raised inside backward, and ends after an await", async () => {
    const x = leaf([1, 2]);
    await detectAnomaly(async () => {
      const h = exp(x);
      await Promise.resolve();
      const y = h.mul(2);
      h.add_(1);
      expect(() => y.add(h).sum().backward()).toThrow(
        /needs output 0 of exp.*forward call of exp .*autograd\.test\.ts/s,
      );
    });
    expect(() => sqrt(x.mul(0)).sum().backward()).not.toThrow();
  });
});

describe("large graphs", () => {
  it("a chain of 150 000 operations is built, run and freed without overflow", () => {
    const x = leaf(1);
    const before = memoryStats();
    const start = performance.now();
    let y: Tensor = x;
    for (let i = 0; i < 150_000; i++) y = y.add(1e-5);
    y.backward();
    const seconds = (performance.now() - start) / 1000;
    expect(x.grad!.item()).toBe(1);
    expect(y.item()).toBeCloseTo(2.5, 6);
    expect(seconds).toBeLessThan(10);
    expect(before.live).toBeGreaterThanOrEqual(0);
  });

  it("so is one that saves every tensor, with a fan-in at every step", () => {
    const x = leaf(1);
    let y: Tensor = x;
    for (let i = 0; i < 20_000; i++) y = y.mul(y).add(y).mul(0.5);
    const [dx] = grad(y, x);
    // y = 1 is a fixed point of (y² + y) / 2, where the slope is 3/2 at every step: it overflows.
    expect(dx!.item()).toBe(Number.POSITIVE_INFINITY);
    expect(y.item()).toBe(1);
  });

  it("a wide fan-in adds up in a fixed order", () => {
    const x = leaf(1);
    const parts = Array.from({ length: 3000 }, (_, i) => x.mul(i));
    const y = parts.reduce<Tensor>((sum, p) => sum.add(p), x.mul(0));
    y.backward();
    expect(x.grad!.item()).toBe((2999 * 3000) / 2);
  });
});

describe("gradcheck", () => {
  const wrong = (x: Tensor): Tensor => exp(x.detach()).add(x.mul(2)).sub(x.detach().mul(2)); // values of exp, slope 2

  it("finds a wrong derivative and says where", () => {
    const x = leaf([0.5, 1]);
    expect(gradcheck((t) => exp(t!), [x])).toBe(true);
    expect(() => gradcheck((t) => wrong(t!), [x])).toThrow(
      /derivative of output 0 with respect to input 0 is wrong: for output element 0, input element 0 backward gives 2, the difference quotient is 1\.6487/,
    );
    expect(() => gradcheck((t) => wrong(t!), [x], { fastMode: true })).toThrow(/random projection/);
    expect(() => gradcheck((t, u) => [t!.mul(u!), wrong(u!)], [x, leaf([1, 2])])).toThrow(/output 1 .* input 1/);
  });

  it("finds a wrong second derivative", () => {
    const x = leaf([0.5, 1]);
    const bent = (t: Tensor): Tensor => mul(t, exp(t.detach())); // right slope only while exp is constant
    expect(() => gradgradcheck((t) => bent(t!), [x])).toThrow(GradientError);
    expect(gradgradcheck((t) => exp(t!).mul(t!), [x])).toBe(true);
  });

  it("refuses float32, shared memory and constants; notices randomness", () => {
    expect(() => gradcheck((t) => t!, [tensor([1], { requiresGrad: true })])).toThrow(/float64/);
    expect(() => gradcheck((t) => t!, [leaf([1]).detach().expand([3]).requiresGrad_()])).toThrow(/strides \[0\]/);
    expect(() => gradcheck((t) => t!, [tensor([1], { dtype: "float64" })])).toThrow(/at least one input/);
    let calls = 0;
    const x = leaf([1, 2]);
    const restless = (t: Tensor): Tensor => {
      const y = t.mul(1);
      y.registerHook((g) => g.mul(1 + 1e-3 * calls++));
      return y;
    };
    expect(() => gradcheck((t) => restless(t!), [x])).toThrow(/not deterministic/);
    const shifted = (t: Tensor): Tensor => {
      const y = t.mul(1);
      y.registerHook((g) => g.add(1));
      return y;
    };
    expect(() => gradcheck((t) => shifted(t!), [x])).toThrow(/gradient of zeros .* gave 1/);
  });
});

describe("grad and requiresGrad as properties", () => {
  it("can be set, and check what they are given", () => {
    const x = tensor([1, 2]);
    x.requiresGrad = true;
    x.mul(3).sum().backward();
    expect(x.grad!.toArray()).toEqual([3, 3]);
    x.grad = null;
    expect(x.grad).toBeNull();
    x.grad = tensor([5, 6]);
    x.mul(1).sum().backward();
    expect(x.grad!.toArray()).toEqual([6, 7]);
    expect(() => {
      x.grad = tensor([1]);
    }).toThrow(/grad: the gradient must be a float32 tensor \[2\]/);
    const y = x.mul(2);
    expect(() => {
      y.requiresGrad = false;
    }).toThrow(/only a leaf/);
    const n = tensor([1], { dtype: "int32" });
    expect(() => {
      n.requiresGrad = true;
    }).toThrow(/only float32 and float64/);
  });
});
