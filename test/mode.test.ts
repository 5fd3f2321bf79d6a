import { describe, expect, it } from "vitest";
import {
  DisposedError,
  enableGrad,
  exp,
  inferenceMode,
  isGradEnabled,
  keep,
  noGrad,
  scope,
  setGradEnabled,
  tensor,
  type Tensor,
} from "./support/xcorr.js";

const pause = (milliseconds = 0): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));
const leaf = (): Tensor => tensor([1, 2], { dtype: "float64", requiresGrad: true }) as Tensor;

describe("gradient mode", () => {
  it("nests in any order and comes back after exceptions", () => {
    expect(isGradEnabled()).toBe(true);
    noGrad(() => {
      expect(isGradEnabled()).toBe(false);
      enableGrad(() => {
        expect(isGradEnabled()).toBe(true);
        setGradEnabled(false, () => expect(isGradEnabled()).toBe(false));
        expect(isGradEnabled()).toBe(true);
      });
      expect(isGradEnabled()).toBe(false);
      expect(inferenceMode(() => leaf().mul(2).requiresGrad)).toBe(false);
    });
    expect(() =>
      noGrad(() => {
        throw new Error("inside");
      }),
    ).toThrow("inside");
    expect(isGradEnabled()).toBe(true);
    expect(() => noGrad(true as never)).toThrow(/the run of a function.*got true/);
  });

  it("leaves parameters made inside able to require gradients", () => {
    const x = noGrad(() => leaf());
    expect(x.requiresGrad).toBe(true);
    expect(x.mul(2).requiresGrad).toBe(true);
  });

  it("follows await, and ends with the function", async () => {
    const x = leaf();
    const result = noGrad(async () => {
      expect(isGradEnabled()).toBe(false);
      await pause(2);
      expect(isGradEnabled()).toBe(false);
      const inner = await enableGrad(async () => {
        await pause();
        return isGradEnabled();
      });
      expect(inner).toBe(true);
      expect(isGradEnabled()).toBe(false);
      return x.mul(2);
    });
    expect(isGradEnabled()).toBe(true); // the call has returned, its body still waits
    expect((await result).requiresGrad).toBe(false);
    expect(isGradEnabled()).toBe(true);
  });

  it("does not leak between tasks that run at the same time", async () => {
    const x = leaf();
    const task = async (enabled: boolean, delay: number): Promise<boolean[]> => {
      const seen: boolean[] = [];
      for (let i = 0; i < 5; i++) {
        await pause(delay);
        seen.push(x.mul(2).requiresGrad === enabled);
      }
      return seen;
    };
    const results = await Promise.all([
      task(true, 1),
      noGrad(() => task(false, 1)),
      noGrad(() => enableGrad(() => task(true, 2))),
      setGradEnabled(false, () => task(false, 0)),
      task(true, 0),
    ]);
    expect(results.flat()).toEqual(new Array(25).fill(true));
  });

  it("comes back after a rejection", async () => {
    await expect(
      noGrad(async () => {
        await pause();
        throw new Error("rejected");
      }),
    ).rejects.toThrow("rejected");
    expect(isGradEnabled()).toBe(true);
  });

  it("holds in every step of a generator, and not between the steps", async () => {
    const steps = noGrad(function* () {
      const sent: boolean = yield isGradEnabled();
      expect(sent).toBe(true);
      yield isGradEnabled();
      return isGradEnabled();
    });
    expect(steps.next().value).toBe(false);
    expect(isGradEnabled()).toBe(true);
    expect(steps.next(true).value).toBe(false);
    expect(steps.next()).toEqual({ value: false, done: true });
    const seen: boolean[] = [];
    for (const mode of noGrad(function* () {
      yield isGradEnabled();
      yield enableGrad(isGradEnabled);
    })) {
      seen.push(mode, isGradEnabled());
    }
    expect(seen).toEqual([false, true, true, true]);
    const modes: boolean[] = [];
    for await (const mode of noGrad(async function* () {
      yield isGradEnabled();
      await pause();
      yield isGradEnabled();
    })) {
      modes.push(mode, isGradEnabled());
    }
    expect(modes).toEqual([false, true, false, true]);
  });
});

describe("scope", () => {
  it("gives back what is not returned, kept or needed by a graph that is", () => {
    let [lost, kept]: Tensor[] = [];
    const x = leaf();
    const result = scope(() => {
      lost = x.mul(2);
      kept = keep(x.mul(3));
      const h = exp(x);
      return { list: [h.mul(h)], more: new Map([["y", x.add(1)]]) };
    });
    expect(() => lost!.toArray()).toThrow(DisposedError);
    expect(kept!.toArray()).toEqual([3, 6]);
    expect(result.more.get("y")!.toArray()).toEqual([2, 3]);
    result.list[0]!.sum().backward();
    expect(x.grad!.toArray()).toEqual([2 * Math.exp(2), 2 * Math.exp(4)].map((v) => expect.closeTo(v, 10)));
  });

  it("leaves gradients of leaves alone", () => {
    const x = leaf();
    const loss = scope(() => {
      const y = exp(x).sum();
      y.backward();
      return y.item();
    });
    expect(loss).toBeCloseTo(Math.E + Math.exp(2), 10);
    expect(x.grad!.toArray()).toEqual([Math.E, Math.exp(2)].map((v) => expect.closeTo(v, 10)));
  });

  it("nests: what an inner one returns belongs to the outer one", () => {
    let inner: Tensor | null = null;
    const outer = scope(() => {
      inner = scope(() => leaf().mul(2));
      expect(inner.toArray()).toEqual([2, 4]);
      return inner.add(1);
    });
    expect(outer.toArray()).toEqual([3, 5]);
    expect(() => inner!.toArray()).toThrow(DisposedError);
  });

  it("follows await and leaves other tasks alone", async () => {
    let lost: Tensor | null = null;
    const other = (async () => {
      await pause(1);
      return leaf().mul(5);
    })();
    const result = await scope(async () => {
      lost = leaf().mul(2);
      await pause(3);
      const late = leaf().mul(4);
      return [late.add(1), lost.mul(1)];
    });
    expect(result.map((t) => t.toArray())).toEqual([
      [5, 9],
      [2, 4],
    ]);
    expect(() => lost!.toArray()).toThrow(DisposedError);
    expect((await other).toArray()).toEqual([5, 10]);
  });

  it("gives everything back when it throws or rejects", async () => {
    let lost: Tensor | null = null;
    const fail = (): never => {
      lost = leaf().mul(2);
      throw new Error("out");
    };
    expect(() => scope(fail)).toThrow("out");
    expect(() => lost!.toArray()).toThrow(DisposedError);
    await expect(
      scope(async () => {
        await pause();
        fail();
      }),
    ).rejects.toThrow("out");
    expect(() => lost!.toArray()).toThrow(DisposedError);
    expect(() => scope(5 as never)).toThrow(/takes a function/);
  });
});
