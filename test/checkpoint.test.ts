import { describe, expect, it } from "vitest";
import {
  checkpoint,
  exp,
  grad,
  gradcheck,
  gradgradcheck,
  manualSeed,
  mul,
  noGrad,
  rand,
  savedTensorHooks,
  tensor,
  type Tensor,
} from "./support/xcorr.js";

const leaf = (data: number[]): Tensor => tensor(data, { dtype: "float64", requiresGrad: true }) as Tensor;

describe("checkpoint", () => {
  const block = (w: Tensor) => (x: Tensor) => exp(x.mul(w)).mul(x);

  it("gives the same values and gradients, for inputs and closures, to any order", () => {
    const [x, w] = [leaf([0.5, -1]), leaf([0.2, 0.7])];
    expect(checkpoint(block(w), x).data()).toEqual(block(w)(x).data());
    gradcheck((a, b) => checkpoint(block(b!), a!), [x, w]);
    gradgradcheck((a, b) => checkpoint(block(b!), a!), [x, w]);
    checkpoint(block(w), x.mul(2)).sum().backward();
    const [dx, dw] = [x.grad!.data(), w.grad!.data()];
    expect(grad(block(w)(x.mul(2)).sum(), [x, w]).map((g) => g.data())).toEqual([dx, dw]);
  });

  it("runs the function again in backward, once", () => {
    let calls = 0;
    const x = leaf([1, 2]);
    const y = checkpoint((t: Tensor) => {
      calls++;
      return exp(exp(t).mul(t));
    }, x);
    expect(calls).toBe(1);
    y.sum().backward();
    expect(calls).toBe(2);
    expect(() => y.sum().backward()).toThrow(/second time/);
    noGrad(() => checkpoint((t: Tensor) => exp(t), x));
    expect(calls).toBe(2);
  });

  it("may be nested, and holds nothing of the inside meanwhile", () => {
    const x = leaf([0.1, 0.2]);
    const calls = [0, 0];
    const inner = (t: Tensor): Tensor => {
      calls[1]!++;
      return exp(t).mul(t);
    };
    const outer = (t: Tensor): Tensor => {
      calls[0]!++;
      return checkpoint(inner, checkpoint(inner, t).mul(2)).add(exp(t));
    };
    gradcheck((t) => checkpoint(outer, t!), [x]);
    calls.fill(0);
    checkpoint(outer, x).sum().backward();
    expect(calls[0]).toBe(2);
    expect(calls[1]).toBeGreaterThanOrEqual(4);
  });

  it("draws the same random numbers again, and leaves the generator where it was", () => {
    const x = leaf([1, 2, 3, 4]);
    const dropping = (t: Tensor): Tensor => mul(exp(t), rand([4], { dtype: "float64" }));
    manualSeed(7);
    const expected = grad(dropping(x).sum(), x)[0]!.data();
    const after = rand([2]).data();
    manualSeed(7);
    const y = checkpoint(dropping, x);
    const next = rand([2]).data();
    expect(grad(y.sum(), x)[0]!.data()).toEqual(expected);
    expect(next).toEqual(after);
    manualSeed(7);
    const z = checkpoint(dropping, x);
    z.sum().backward();
    expect(rand([2]).data()).toEqual(after);
  });

  it("notices a function that does not do the same again", () => {
    const x = leaf([1, 2]);
    let calls = 0;
    const growing = (t: Tensor): Tensor => (calls++ === 0 ? exp(t) : exp(exp(t)));
    expect(() => checkpoint(growing, x).sum().backward()).toThrow(/saved 2 tensors instead of 1/);
    calls = 0;
    const shrinking = (t: Tensor): Tensor => (calls++ === 0 ? exp(t).sum() : exp(t.narrow(0, 0, 1)).sum());
    expect(() => checkpoint(shrinking, x).backward()).toThrow(/as float64 \[1\] instead of float64 \[2\]/);
    expect(() => checkpoint(async (t: Tensor) => exp(t), x)).toThrow(/must be synchronous/);
    expect(() => checkpoint(3 as never)).toThrow(/must be a function/);
  });

  it("notices an input that was changed in place", () => {
    const h = leaf([1, 2]).mul(1);
    const y = checkpoint((t: Tensor) => exp(t), h);
    h.add_(1);
    expect(() => y.sum().backward()).toThrow(/backward of a checkpoint needs its input 0/);
  });
});

describe("saved-tensor hooks", () => {
  it("pack once per save, unpack once per use, and keep the graph", () => {
    const x = leaf([1, 2]);
    const counts = { pack: 0, unpack: 0 };
    const hooks = {
      pack: (t: Tensor): Float64Array => {
        counts.pack++;
        return t.data() as Float64Array;
      },
      unpack: (values: Float64Array): Tensor => {
        counts.unpack++;
        return tensor(values) as Tensor;
      },
    };
    const y = savedTensorHooks(hooks, () => x.mul(x).mul(x));
    expect(counts).toEqual({ pack: 4, unpack: 0 });
    const [d] = grad(y.sum(), x, { createGraph: true });
    expect(d!.toArray()).toEqual([3, 12]);
    expect(counts.unpack).toBe(4);
    expect(grad(d!.sum(), x)[0]!.toArray()).toEqual([6, 12]);
    gradgradcheck((t) => savedTensorHooks(hooks, () => exp(t!).mul(t!)), [x]);
  });

  it("the innermost pair wins; changing the tensor or returning another shape is refused", () => {
    const x = leaf([1, 2]);
    const order: string[] = [];
    const naming = (name: string) => ({
      pack: (t: Tensor): Tensor => {
        order.push(name);
        return t;
      },
      unpack: (t: Tensor): Tensor => t,
    });
    savedTensorHooks(naming("outer"), () => {
      exp(x);
      savedTensorHooks(naming("inner"), () => exp(x));
      exp(x);
    });
    expect(order).toEqual(["outer", "inner", "outer"]);
    expect(() => savedTensorHooks({ pack: (t) => t.add_(1), unpack: (t: Tensor) => t }, () => exp(x))).toThrow(
      /pack has changed the tensor/,
    );
    const bad = savedTensorHooks({ pack: () => 0, unpack: () => tensor([1]) as Tensor }, () => exp(x));
    expect(() => bad.sum().backward()).toThrow(/unpack must return the float64 tensor \[2\]/);
  });
});
