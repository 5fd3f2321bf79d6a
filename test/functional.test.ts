import { describe, expect, it } from "vitest";
import { TestRandom } from "./support/random.js";
import {
  exp,
  grad,
  gradcheck,
  hessian,
  hvp,
  jacobian,
  jvp,
  matmul,
  mul,
  tensor,
  type Tensor,
  vhp,
  vjp,
} from "./support/xcorr.js";

const random = (shape: number[], seed = 1): Tensor => new TestRandom(seed).normal(shape);
const close = (got: Tensor, expected: Tensor): void => {
  expect(got.shape).toEqual(expected.shape);
  const [a, b] = [got.data(), expected.data()];
  for (let i = 0; i < b.length; i++) expect(a[i]).toBeCloseTo(b[i]!, 10);
};

const f = (x: Tensor, w: Tensor): Tensor => exp(matmul(x, w).mul(0.3)).sum(1);
const energy = (x: Tensor, w: Tensor): Tensor => exp(mul(x, w)).sum().add(x.mul(x).mul(x).sum());

describe("functional derivatives", () => {
  const [x, w] = [random([2, 3]), random([3, 2], 2)];
  const sizes = [6, 6];

  it("the Jacobian's rows are vjps, its columns jvps", () => {
    const j = jacobian((a, b) => f(a!, b!), [x, w]);
    expect(j.map((t) => t.shape)).toEqual([
      [2, 2, 3],
      [2, 3, 2],
    ]);
    for (let row = 0; row < 2; row++) {
      const v = tensor(
        [0, 1].map((i) => Number(i === row)),
        { dtype: "float64" },
      );
      const [y, products] = vjp((a, b) => f(a!, b!), [x, w], v);
      close(y as Tensor, f(x, w));
      for (const [i, p] of products.entries()) close(p, j[i]!.select(0, row));
    }
    [x, w].forEach((input, i) => {
      for (let column = 0; column < sizes[i]!; column++) {
        const direction = [x, w].map((t, k) =>
          tensor(
            Float64Array.from({ length: 6 }, (_, e) => Number(k === i && e === column)),
            { shape: t.shape },
          ),
        );
        const [, product] = jvp((a, b) => f(a!, b!), [x, w], direction);
        close(product as Tensor, j[i]!.reshape([2, 6]).select(1, column));
      }
      expect(input.grad).toBe(null);
    });
  });

  it("agrees with difference quotients, also as a function with createGraph", () => {
    const leaf = random([3], 4).requiresGrad_();
    gradcheck((t) => jacobian((a) => exp(a!).mul(a!.sum()), t!, { createGraph: true }), [leaf]);
    gradcheck((t) => vjp((a) => exp(a!).mul(a!), t!, random([3], 6), { createGraph: true })[1], [leaf]);
    gradcheck((t) => jvp((a) => exp(a!).mul(a!), t!, random([3], 6), { createGraph: true })[1], [leaf]);
    gradcheck((t) => hvp((a) => exp(a!).mul(a!).sum(), t!, random([3], 6), { createGraph: true })[1], [leaf]);
    expect(jacobian((a) => exp(a!), leaf).requiresGrad).toBe(false);
  });

  it("the Hessian is symmetric, is the Jacobian of the gradient, and times v is hvp and vhp", () => {
    const u = random([2, 3], 5);
    const h = hessian((a, b) => energy(a!, b!), [x, u]);
    const flat = h.map((row) => row.map((t) => t.reshape([6, 6])));
    for (const [i, k] of [
      [0, 0],
      [0, 1],
      [1, 1],
    ] as const)
      close(flat[i]![k]!, flat[k]![i]!.transpose(0, 1));
    const gradient = (a: Tensor): Tensor => grad(energy(a, u), a, { createGraph: true })[0]!;
    close(
      jacobian((a) => gradient(a!), x),
      hessian((a) => energy(a!, u), x),
    );
    const v = [random([2, 3], 7), random([2, 3], 8)];
    for (const product of [hvp, vhp]) {
      const [y, result] = product((a, b) => energy(a!, b!), [x, u], v);
      close(y, energy(x, u));
      [0, 1].forEach((i) => {
        const expected = [0, 1]
          .map((k) => matmul(flat[i]![k]!, v[k]!.reshape([6, 1])))
          .reduce((p, q) => p.add(q))
          .reshape([2, 3]);
        close(result[i]!, expected);
      });
    }
  });

  it("gives zeros where nothing depends", () => {
    const j = jacobian((a) => [exp(a!), tensor([1, 2], { dtype: "float64" })], [x, w]);
    expect(j.map((row) => row.map((t) => t.shape))).toEqual([
      [
        [2, 3, 2, 3],
        [2, 3, 3, 2],
      ],
      [
        [2, 2, 3],
        [2, 3, 2],
      ],
    ]);
    expect(j[0]![1]!.data().every((v) => v === 0)).toBe(true);
    expect(j[1]![0]!.data().every((v) => v === 0)).toBe(true);
    const [, zero] = jvp((a) => a!.mul(0).add(1), x, x);
    expect((zero as Tensor).data().every((v) => v === 0)).toBe(true);
    close(
      hessian((a) => a!.sum(), random([2])),
      tensor(
        [
          [0, 0],
          [0, 0],
        ],
        { dtype: "float64" },
      ),
    );
  });

  it("checks the vectors and the function", () => {
    expect(() => vjp((a) => exp(a!), x)).toThrow(/v must be given/);
    expect(() => vjp((a) => exp(a!), x, random([2]))).toThrow(/shape of its output, \[2, 3\], but it is \[2\]/);
    expect(() => jvp((a) => exp(a!), x, [x, x])).toThrow(/2 tensors for 1 inputs/);
    expect(() => hessian((a) => exp(a!), x)).toThrow(/one element, got \[2, 3\]/);
    expect(() => vjp(() => 5 as never, x)).toThrow(/must return a tensor/);
    expect(() => vjp((a) => exp(a!), x, x, { creategraph: true } as never)).toThrow(/createGraph/);
  });
});
