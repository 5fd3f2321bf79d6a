import { describe, expect, it } from "vitest";
import {
  CustomFunction,
  enableGrad,
  exp,
  type FunctionContext,
  grad,
  GradientError,
  gradcheck,
  gradgradcheck,
  isGradEnabled,
  mul,
  noGrad,
  tensor,
  type Tensor,
  zeros,
} from "./support/xcorr.js";

const leaf = (data: number | number[]): Tensor => tensor(data, { dtype: "float64", requiresGrad: true }) as Tensor;

class Exp extends CustomFunction {
  static forward(ctx: FunctionContext, x: Tensor): Tensor {
    expect(isGradEnabled()).toBe(false);
    const y = exp(x);
    ctx.saveForBackward(y);
    return y;
  }
  static override backward(ctx: FunctionContext, dy: Tensor): Tensor {
    return mul(dy, ctx.savedTensors[0]!);
  }
}

/** scale * a + b, with an argument that is no tensor. */
class ScaledSum extends CustomFunction {
  static forward(ctx: FunctionContext, a: Tensor, scale: number, b: Tensor): Tensor {
    ctx.scale = scale;
    return a.mul(scale).add(b);
  }
  static override backward(ctx: FunctionContext, dy: Tensor): (Tensor | null)[] {
    expect(ctx.needsInputGrad).toHaveLength(3);
    expect(ctx.needsInputGrad[1]).toBe(false);
    return [dy.mul(ctx.scale as number), null, ctx.needsInputGrad[2] ? dy : null];
  }
}

describe("custom functions", () => {
  it("are differentiated to any order by their own backward", () => {
    const x = leaf([0.3, -1]);
    const y = Exp.apply(x);
    expect(y.gradFn?.name).toBe("Exp");
    gradcheck((t) => Exp.apply(t!), [x]);
    gradgradcheck((t) => Exp.apply(t!), [x]);
    const [d1] = grad(Exp.apply(x).sum(), x, { createGraph: true });
    const [d2] = grad(d1!.sum(), x, { createGraph: true });
    const [d3] = grad(d2!.sum(), x);
    expect(d3!.data()).toEqual(exp(x).data());
  });

  it("take arguments that are no tensors, and constants", () => {
    gradcheck((a, b) => ScaledSum.apply(a!, 3, b!), [leaf([1, 2]), leaf([3, 4])]);
    const a = leaf([1, 2]);
    ScaledSum.apply(a, 2, tensor([1, 1], { dtype: "float64" }))
      .sum()
      .backward();
    expect(a.grad!.toArray()).toEqual([2, 2]);
    expect(ScaledSum.apply(a.detach(), 2, a.detach()).requiresGrad).toBe(false);
    expect(noGrad(() => Exp.apply(a)).requiresGrad).toBe(false);
  });

  it("check their saved tensors, and release them", () => {
    const x = leaf([1, 2]);
    const y = Exp.apply(x);
    y.mul_(2);
    expect(() => y.sum().backward()).toThrow(/saved tensor 0.*in-place operation/s);
    const z = Exp.apply(x);
    z.sum().backward();
    expect(() => z.sum().backward()).toThrow(/second time/);
    const kept = Exp.apply(x);
    kept.sum().backward({ retainGraph: true });
    kept.sum().backward();
  });

  it("return gradients that broadcast to their argument", () => {
    class Wide extends CustomFunction {
      static forward(_ctx: FunctionContext, x: Tensor): Tensor {
        return x.expand([2, 3]).clone();
      }
      static override backward(_ctx: FunctionContext, dy: Tensor): Tensor {
        return dy; // [2, 3] for an argument [3]: summed
      }
    }
    gradcheck((x) => Wide.apply(x!), [leaf([1, 2, 3])]);
  });

  it("with a wrong number of gradients, wrong shapes or kinds, say so", () => {
    const returning = (result: unknown): ((x: Tensor) => Tensor) => {
      class Bad extends CustomFunction {
        static forward(_ctx: FunctionContext, x: Tensor): Tensor {
          return x.mul(2);
        }
        static override backward(): never {
          return result as never;
        }
      }
      return (x) => Bad.apply(x);
    };
    const one = (): Tensor => zeros([3], { dtype: "float64" }) as Tensor;
    const cases: [unknown, RegExp][] = [
      [[one(), one()], /Bad returned an incorrect number of gradients \(expected 1, got 2\)/],
      [[], /expected 1, got 0/],
      [zeros([2], { dtype: "float64" }), /invalid gradient at index 0: got \[2\], but the argument is \[3\]/],
      [7, /must return tensors or null, gradient 0 is 7/],
    ];
    for (const [result, message] of cases) {
      const x = leaf([1, 2, 3]);
      expect(() => returning(result)(x).sum().backward()).toThrow(message);
      expect(x.grad).toBe(null);
    }
    const x = leaf([1, 2, 3]);
    returning([one(), null, undefined])(x).sum().backward(); // more nulls than arguments are no harm
    expect(x.grad!.toArray()).toEqual([0, 0, 0]);
    const fine = leaf([1, 2, 3]);
    returning(null)(fine).sum().backward();
    expect(fine.grad).toBe(null);
  });

  it("without forward, backward or a tensor as result, say so", () => {
    class NoBackward extends CustomFunction {
      static forward(_ctx: FunctionContext, x: Tensor): Tensor {
        return x.mul(2);
      }
    }
    expect(() => NoBackward.apply(leaf([1])).backward()).toThrow(/NoBackward defines no static backward/);
    class NoForward extends CustomFunction {}
    expect(() => (NoForward as unknown as typeof Exp).apply(leaf([1]))).toThrow(/needs a static method forward/);
    class NoTensor extends CustomFunction {
      static forward(): Tensor {
        return 5 as unknown as Tensor;
      }
    }
    expect(() => NoTensor.apply()).toThrow(/must return a tensor .* got 5/);
  });

  it("may have several outputs; unused ones get zeros, or null if asked for", () => {
    const seen: unknown[] = [];
    const split = (materialize: boolean): ((x: Tensor) => Tensor[]) => {
      class Split extends CustomFunction {
        static forward(ctx: FunctionContext, x: Tensor): Tensor[] {
          ctx.setMaterializeGrads(materialize);
          return [x.mul(2), x.mul(3)];
        }
        static override backward(_ctx: FunctionContext, da: Tensor | null, db: Tensor | null): Tensor | null {
          seen.push(da?.toArray() ?? null);
          return (da?.mul(2) ?? zeros([2], { dtype: "float64" })).add(db?.mul(3) ?? 0);
        }
      }
      return (x) => Split.apply(x);
    };
    for (const materialize of [true, false]) {
      const x = leaf([1, 2]);
      split(materialize)(x)[1]!.sum().backward();
      expect(x.grad!.toArray()).toEqual([3, 3]);
      gradcheck((t) => split(materialize)(t!), [x]);
    }
    expect(seen[0]).toEqual([0, 0]);
    expect(seen).toContain(null);
  });

  it("may declare outputs constant", () => {
    class Largest extends CustomFunction {
      static forward(ctx: FunctionContext, x: Tensor): Tensor[] {
        const mask = x.mul(0).add(1);
        ctx.markNonDifferentiable(mask);
        return [x.mul(2), mask];
      }
      static override backward(_ctx: FunctionContext, dy: Tensor): Tensor {
        return dy.mul(2);
      }
    }
    const x = leaf([1, 2]);
    const [y, mask] = Largest.apply(x);
    expect(y!.requiresGrad).toBe(true);
    expect(mask!.requiresGrad).toBe(false);
    y!.mul(mask!).sum().backward();
    expect(x.grad!.toArray()).toEqual([2, 2]);
  });

  it("may pass an argument through, or return one tensor twice", () => {
    class Through extends CustomFunction {
      static forward(_ctx: FunctionContext, x: Tensor): Tensor[] {
        const y = x.mul(2);
        return [x, y, y];
      }
      static override backward(_ctx: FunctionContext, a: Tensor, b: Tensor, c: Tensor): Tensor {
        return a.add(b.mul(2)).add(c.mul(2));
      }
    }
    const x = leaf([1, 2]);
    const outputs = Through.apply(x);
    expect(outputs[0]).not.toBe(x);
    expect(x.isLeaf).toBe(true);
    outputs[0]!.add(outputs[1]!).add(outputs[2]!.mul(10)).sum().backward();
    expect(x.grad!.toArray()).toEqual([23, 23]);
  });

  it("may change an argument in place if they mark and return it", () => {
    class Double extends CustomFunction {
      static forward(ctx: FunctionContext, x: Tensor): Tensor {
        x.mul_(2);
        ctx.markDirty(x);
        return x;
      }
      static override backward(_ctx: FunctionContext, dy: Tensor): Tensor {
        return dy.mul(2);
      }
    }
    const x = leaf([1, 2]);
    const h = x.mul(3);
    const square = h.mul(h);
    const y = Double.apply(h);
    expect(y).toBe(h);
    expect(h.gradFn?.name).toBe("Double");
    h.sum().backward();
    expect(x.grad!.toArray()).toEqual([6, 6]);
    expect(() => square.sum().backward()).toThrow(GradientError);
    expect(() => Double.apply(x)).toThrow(/a leaf that requires gradients/);
    expect(() => Double.apply(exp(leaf([1, 2])).narrow(0, 0, 1))).toThrow(/cannot change a view in place/);
    class Hidden extends CustomFunction {
      static forward(ctx: FunctionContext, t: Tensor): Tensor {
        ctx.markDirty(t);
        return t.mul(1);
      }
    }
    expect(() => Hidden.apply(x.mul(1))).toThrow(/must be returned/);
  });

  it("that are differentiable once refuse a second derivative", () => {
    class Once extends CustomFunction {
      static override readonly onceDifferentiable: boolean = true;
      static forward(ctx: FunctionContext, x: Tensor): Tensor {
        ctx.saveForBackward(x);
        return x.mul(x);
      }
      static override backward(ctx: FunctionContext, dy: Tensor): Tensor {
        expect(isGradEnabled()).toBe(false);
        return tensor(
          dy.data().map((v, i) => 2 * v * (ctx.savedTensors[0]!.data()[i] as number)) as Float64Array,
        ) as Tensor;
      }
    }
    const x = leaf([1, 2]);
    Once.apply(x).sum().backward();
    expect(x.grad!.toArray()).toEqual([2, 4]);
    const [d] = grad(Once.apply(x).sum(), x, { createGraph: true });
    expect(d!.toArray()).toEqual([2, 4]);
    expect(() => grad(d!.sum(), x)).toThrow(/Once is marked onceDifferentiable/);
  });

  it("may run backward inside backward, deeply", () => {
    class Nested extends CustomFunction {
      static forward(ctx: FunctionContext, x: Tensor, depth: number): Tensor {
        ctx.depth = depth;
        ctx.saveForBackward(x);
        return x.mul(2);
      }
      static override backward(ctx: FunctionContext, dy: Tensor): (Tensor | null)[] {
        const depth = ctx.depth as number;
        if (depth === 0) return [dy.mul(2), null];
        const inner = ctx.savedTensors[0]!.detach().requiresGrad_();
        enableGrad(() =>
          Nested.apply(inner, depth - 1)
            .sum()
            .backward(),
        );
        return [dy.mul(inner.grad!), null];
      }
    }
    const x = leaf([1, 2]);
    Nested.apply(x, 50).sum().backward();
    expect(x.grad!.toArray()).toEqual([2, 2]);
  });

  it("that throw leave the engine usable", () => {
    class Throwing extends CustomFunction {
      static forward(_ctx: FunctionContext, x: Tensor, fail: boolean): Tensor {
        if (fail) throw new Error("in forward");
        return x.mul(1);
      }
      static override backward(): never {
        throw new Error("in backward");
      }
    }
    const x = leaf([1, 2]);
    expect(() => Throwing.apply(x, true)).toThrow("in forward");
    expect(isGradEnabled()).toBe(true);
    expect(() => Throwing.apply(x, false).sum().backward()).toThrow("in backward");
    expect(isGradEnabled()).toBe(true);
    x.mul(x).sum().backward();
    expect(x.grad!.toArray()).toEqual([2, 4]);
  });
});
