import { describe, expect, it } from "vitest";
import { enableGrad, exp, grad, type Tensor, tensor, zeros } from "./support/xcorr.js";

const leaf = (data: number[]): Tensor => tensor(data, { dtype: "float64", requiresGrad: true }) as Tensor;

describe("tensor hooks", () => {
  it("see the whole gradient once, before it is added up, and may replace it", () => {
    const x = leaf([1, 2]);
    const h = x.mul(2);
    const seen: unknown[] = [];
    h.registerHook((g) => void seen.push(g.toArray()));
    x.registerHook((g) => {
      seen.push(x.grad);
      return g.mul(10);
    });
    h.add(h).add(h).sum().backward();
    expect(seen).toEqual([[3, 3], null]);
    expect(x.grad!.toArray()).toEqual([60, 60]);
  });

  it("run in the order of registration, each on what the one before returned", () => {
    const x = leaf([1]);
    const order: string[] = [];
    x.registerHook((g) => {
      order.push("a");
      return g.add(1);
    });
    x.registerHook((g) => {
      order.push("b");
      return g.mul(10);
    });
    x.sum().backward();
    expect(order).toEqual(["a", "b"]);
    expect(x.grad!.toArray()).toEqual([20]);
  });

  it("can be removed, also while they run, and registered twice", () => {
    const x = leaf([1]);
    let calls = 0;
    const count = (): void => void calls++;
    const first = x.registerHook(() => {
      first.remove();
      second.remove();
    });
    const second = x.registerHook(count);
    x.registerHook(count);
    const fourth = x.registerHook(count);
    x.sum().backward();
    expect(calls).toBe(2);
    fourth.remove();
    fourth.remove();
    x.sum().backward();
    expect(calls).toBe(3);
  });

  it("must return a fitting tensor", () => {
    const x = leaf([1, 2]);
    for (const bad of [zeros([3], { dtype: "float64" }), zeros([2]), 5]) {
      const handle = x.registerHook(() => bad as Tensor);
      expect(() => x.sum().backward()).toThrow(/hook must return nothing or a float64 tensor \[2\]/);
      handle.remove();
    }
    expect(x.grad).toBe(null);
    expect(() => tensor([1]).registerHook(() => {})).toThrow(/does not require gradients/);
    expect(() => x.registerHook(3 as never)).toThrow(/must be a function/);
  });

  it("may keep what they are given", () => {
    const x = leaf([1, 2]);
    const kept: Tensor[] = [];
    const h = exp(x);
    h.registerHook((g) => void kept.push(g));
    for (let i = 0; i < 3; i++)
      h.mul(i + 1)
        .sum()
        .backward({ retainGraph: true });
    expect(kept.map((g) => g.toArray())).toEqual([
      [1, 1],
      [2, 2],
      [3, 3],
    ]);
  });

  it("record only with createGraph", () => {
    const x = leaf([1, 2]);
    const modes: boolean[] = [];
    x.registerHook((g) => {
      modes.push(g.mul(x).requiresGrad);
    });
    exp(x).sum().backward();
    exp(x).sum().backward({ createGraph: true });
    expect(modes).toEqual([false, true]);
  });

  it("on captured tensors run for grad()", () => {
    const x = leaf([1, 2]);
    x.registerHook((g) => g.mul(5));
    expect(grad(x.mul(2).sum(), x)[0]!.toArray()).toEqual([10, 10]);
  });

  it("may run backward themselves, also through the same nodes", () => {
    const x = leaf([1, 2]);
    const shared = exp(x);
    const other = leaf([3]);
    let once = true;
    shared.registerHook(() => {
      enableGrad(() => other.mul(2).sum().backward());
      if (!once) return;
      once = false;
      enableGrad(() => shared.mul(100).sum().backward({ retainGraph: true }));
    });
    shared.sum().backward({ retainGraph: true });
    expect(other.grad!.toArray()).toEqual([4]);
    expect(x.grad!.toArray()).toEqual([101 * Math.E, 101 * Math.exp(2)].map((v) => expect.closeTo(v, 9)));
  });
});

describe("retainGrad", () => {
  it("keeps gradients of results, adds them up, and does nothing on leaves", () => {
    const x = leaf([1, 2]);
    const h = x.mul(2);
    expect(h.grad).toBe(null);
    h.retainGrad();
    h.retainGrad();
    x.retainGrad();
    h.mul(3).sum().backward();
    h.mul(4).sum().backward();
    expect(h.grad!.toArray()).toEqual([7, 7]);
    expect(x.grad!.toArray()).toEqual([14, 14]);
    expect(() => tensor([1]).retainGrad()).toThrow(/does not require/);
  });

  it("sees what hooks have made of the gradient", () => {
    const h = leaf([1]).mul(1);
    h.retainGrad();
    h.registerHook((g) => g.mul(7));
    h.sum().backward();
    expect(h.grad!.toArray()).toEqual([7]);
  });
});

describe("node and leaf hooks", () => {
  it("run in order: tensor hook, pre-hook, operation, hook, accumulation, post-accumulation", () => {
    const x = leaf([1, 2]);
    const y = x.mul(3);
    const order: string[] = [];
    y.registerHook(() => void order.push("tensor"));
    y.gradFn!.registerPreHook((g) => {
      order.push("before");
      return g.map((t) => t?.mul(2) ?? null);
    });
    y.gradFn!.registerHook((dx, dy) => {
      order.push(`after ${dx[0]!.toArray()} of ${dy[0]!.toArray()}`);
      return dx.map((t) => t?.add(1) ?? null);
    });
    x.registerHook(() => void order.push("leaf"));
    x.registerPostAccumulateGradHook((t) => void order.push(`accumulated ${t.grad!.toArray()}`));
    y.sum().backward();
    expect(order).toEqual(["tensor", "before", "after 6,6 of 2,2", "leaf", "accumulated 7,7"]);
  });

  it("a post-accumulation hook can step and clear the gradient", () => {
    const x = leaf([1, 2]);
    const handle = x.registerPostAccumulateGradHook((t) => {
      t.detach().sub_(t.grad!, { alpha: 0.5 });
      t.setGrad(null);
    });
    x.mul(2).sum().backward();
    x.mul(2).sum().backward();
    expect(x.toArray()).toEqual([-1, 0]);
    expect(x.grad).toBe(null);
    handle.remove();
    x.sum().backward();
    expect(x.grad!.toArray()).toEqual([1, 1]);
    expect(() => x.mul(2).registerPostAccumulateGradHook(() => {})).toThrow(/must be a leaf/);
  });

  it("refuse lists of the wrong length", () => {
    const y = leaf([1]).mul(2);
    y.gradFn!.registerHook(() => []);
    expect(() => y.backward()).toThrow(/list of 1 gradients/);
  });

  it("a leaf's gradient is whole as soon as its last use was differentiated", () => {
    const [early, late] = [leaf([1]), leaf([2])];
    const order: string[] = [];
    const h = early.mul(2);
    const y = h.mul(late);
    early.registerPostAccumulateGradHook(() => void order.push("early"));
    late.registerPostAccumulateGradHook(() => void order.push("late"));
    h.registerHook(() => void order.push("h"));
    y.backward();
    expect(order).toEqual(["late", "h", "early"]);
  });
});
