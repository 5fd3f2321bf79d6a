/** The optimisers, one step at a time: against numbers that can be checked by hand. */

import { describe, expect, test } from "vitest";
import { call, expectClose, f64, nan } from "./call.js";

describe("optimiser steps", () => {
  const plain = { count: 1, lr: 0.5 };
  test("sgd: momentum starts as the gradient, dampening and nesterov later", () => {
    const p = f64(1);
    const buffer = f64(nan);
    const s = { ...plain, momentum: 0.5, dampening: 0.5, weight_decay: 2 };
    call("sgd_step", { ...s, step: 1 }, [p, f64(4), buffer]);
    expect([p[0], buffer[0]]).toEqual([1 - 0.5 * 6, 6]);
    call("sgd_step", { ...s, step: 2 }, [p, f64(8), buffer]); // gradient 8 + 2 * -2 = 4, buffer 3 + 2
    expect([p[0], buffer[0]]).toEqual([-4.5, 5]);
    call("sgd_step", { ...plain, momentum: 0.5, nesterov: 1, maximize: 1, step: 3 }, [p, f64(1), buffer]);
    expect([p[0], buffer[0]]).toEqual([-4.5 - 0.5 * (-1 + 0.5 * 1.5), 1.5]);
    call("sgd_step", { ...plain, step: 4 }, [p, f64(2), null]);
    expect(p[0]).toBe(-4.375 - 1);
  });
  test("adam: the first step is lr times the sign; decoupled decay; amsgrad keeps the largest", () => {
    const [p, m, v, vMax] = [f64(10), f64(0), f64(0), f64(0)];
    const s = { ...plain, beta1: 0.5, beta2: 0.75, eps: 0 };
    call("adam_step", { ...s, step: 1 }, [p, f64(4), m, v, null]);
    expectClose([p[0]!, m[0]!, v[0]!], [9.5, 2, 4]);
    call("adam_step", { ...s, step: 1, decoupled: 1, weight_decay: 0.5 }, [p, f64(0), m, v, null]);
    // 9.5 * 0.75, then m = 1, v = 3: step 0.5 * (1 / 0.5) / (sqrt 3 / sqrt 0.25)
    expectClose([p[0]!, m[0]!, v[0]!], [7.125 - 0.5 / Math.sqrt(3), 1, 3]);
    vMax[0] = 100;
    p[0] = 0;
    call("adam_step", { ...s, step: 1, amsgrad: 1, maximize: 1, weight_decay: 1 }, [p, f64(7), m, v, vMax]);
    expectClose([p[0]!, vMax[0]!, m[0]!], [(0.5 / 0.5) * 3 * (0.5 / 10), 100, -3]);
    v[0] = 400;
    call("adam_step", { ...s, step: 1, amsgrad: 1 }, [p, f64(0), m, v, vMax]);
    expect([v[0], vMax[0]]).toEqual([300, 300]);
    expect(() => call("adam_step", { ...s, step: 1, amsgrad: 1 }, [p, f64(0), m, v, null])).toThrow("v_max");
  });
  test("rmsprop: centred, with momentum", () => {
    const [p, square, average, buffer] = [f64(1), f64(0), f64(0), f64(2)];
    const s = { ...plain, alpha: 0.75, eps: 1 };
    call("rmsprop_step", s, [p, f64(4), square, null, null]); // square 4
    expectClose([p[0]!, square[0]!], [1 - (0.5 * 4) / 3, 4]);
    square[0] = 0;
    p[0] = 1;
    call("rmsprop_step", { ...s, centered: 1, momentum: 0.5 }, [p, f64(4), square, average, buffer]);
    const step = 1 + 4 / (Math.sqrt(3) + 1);
    expectClose([p[0]!, square[0]!, average[0]!, buffer[0]!], [1 - 0.5 * step, 4, 1, step]);
  });
  test("adagrad: the sum of squares and a decaying rate", () => {
    const [p, sum] = [f64(1), f64(9)];
    call("adagrad_step", { ...plain, step: 3, lr_decay: 0.5, eps: 1, weight_decay: 1 }, [p, f64(3), sum]);
    expectClose([p[0]!, sum[0]!], [1 - (0.25 * 4) / 6, 25]);
  });
  test("nadam: the gradient's and the mean's share", () => {
    const [p, m, v] = [f64(1), f64(0), f64(0)];
    const s = { ...plain, step: 1, beta1: 0.5, beta2: 0.75, eps: 0, mu: 0.25, mu_next: 0.5, mu_product: 0.25 };
    call("nadam_step", s, [p, f64(4), m, v]);
    // denominator sqrt(4 / 0.25) = 4: 0.5 * 0.75 / 0.75 * 4 / 4 + 0.5 * 0.5 / (1 - 0.125) * 2 / 4
    expectClose([p[0]!, m[0]!, v[0]!], [1 - 0.5 - 0.25 / 0.875 / 2, 2, 4]);
  });
});
