import { describe, expect, it } from "vitest";
import type { NestedList } from "../lib/core/tensor.js";
import { computing, ways } from "./support/backends.js";
import {
  arange,
  avgPool2d,
  conv2d,
  convolve,
  convTranspose2d,
  corr1d,
  corr2d,
  corr3d,
  correlate,
  eye,
  filters,
  fold,
  grad,
  linear,
  matmul,
  maxPool2d,
  noGrad,
  ones,
  ShapeError,
  type Tensor,
  tensor,
  unfold,
  zeros,
} from "./support/xcorr.js";

/**
 * The classic lesson on convolutions, with its numbers: each was computed in float64 and, where a closed form exists,
 * derived by hand. Integers must come out exactly.
 */

const f64 = { dtype: "float64" } as const;
const matrix = (data: NestedList): Tensor<"float64"> => tensor(data, f64);
const X = (): Tensor<"float64"> => arange(9, f64).reshape([3, 3]);
const K = (): Tensor<"float64"> =>
  matrix([
    [0, 1],
    [2, 3],
  ]);
/** One image with one channel, and one filter. */
const image = (x: Tensor<"float64">): Tensor<"float64"> => x.reshape([1, 1, ...x.shape]);
const repeat = <T>(count: number, row: T): T[] => Array.from({ length: count }, () => row);

/** 6 rows of [1, 1, 0, 0, 0, 0, 1, 1]. */
function edgeImage(): Tensor<"float64"> {
  const x = ones([6, 8], f64);
  x.narrow(1, 2, 4).fill_(0);
  return x;
}

describe.each(ways)("the lesson on %s", (way) => {
  const run = (name: string, work: () => void): void => it(name, () => computing(way, work));

  run("corr2d: values and gradients", () => {
    expect(corr2d(X(), K()).toArray()).toEqual([
      [19, 25],
      [37, 43],
    ]);
    const [x, k, b] = [X().requiresGrad_(), K().requiresGrad_(), zeros([1], f64).requiresGrad_()];
    conv2d(image(x), image(k), { bias: b }).sum().backward();
    expect(k.grad!.toArray()).toEqual([
      [8, 12],
      [20, 24],
    ]);
    expect(x.grad!.toArray()).toEqual([
      [0, 1, 1],
      [2, 6, 4],
      [2, 5, 3],
    ]);
    expect(b.grad!.toArray()).toEqual([4]);
    const loss = corr2d(x, k).square().sum();
    expect(loss.item()).toBe(4204);
    const [dk, dx] = grad(loss, [k, x]);
    expect(dk!.toArray()).toEqual([
      [616, 864],
      [1360, 1608],
    ]);
    expect(dx!.toArray()).toEqual([
      [0, 38, 50],
      [76, 288, 236],
      [148, 394, 258],
    ]);
  });

  run("padding, stride and transposed convolution", () => {
    const padded = [
      [0, 3, 8, 4],
      [9, 19, 25, 10],
      [21, 37, 43, 16],
      [6, 7, 8, 0],
    ];
    const full = [
      [0, 0, 1, 2],
      [0, 5, 11, 11],
      [6, 23, 29, 23],
      [12, 32, 37, 24],
    ];
    expect(conv2d(image(X()), image(K()), { padding: 1 }).toArray()).toEqual([[padded]]);
    expect(conv2d(image(X()), image(K()), { padding: 1, stride: 2 }).toArray()).toEqual([
      [
        [
          [0, 8],
          [21, 43],
        ],
      ],
    ]);
    expect(convTranspose2d(image(X()), image(K())).toArray()).toEqual([[full]]);
    expect(convTranspose2d(image(K()), image(K())).squeeze().toArray()).toEqual([
      [0, 0, 1],
      [0, 4, 6],
      [4, 12, 9],
    ]);
    expect(convTranspose2d(image(K()), image(K()), { stride: 2 }).squeeze().toArray()).toEqual([
      [0, 0, 0, 1],
      [0, 0, 2, 3],
      [0, 2, 0, 3],
      [4, 6, 6, 9],
    ]);
    expect(convTranspose2d(image(K()), image(K()), { padding: 1 }).toArray()).toEqual([[[[4]]]]);
    // Convolution proper flips the kernel; in full it takes either order.
    expect(convolve(X(), K()).toArray()).toEqual(full);
    expect(convolve(K(), X()).toArray()).toEqual(full);
    expect(correlate(X(), K()).toArray()).toEqual(padded);
    expect(correlate(K(), X()).toArray()).toEqual(padded.map((row) => [...row].reverse()).reverse());
    expect(convolve(X(), K(), { mode: "valid" }).toArray()).toEqual([
      [5, 11],
      [23, 29],
    ]);
    const H = matrix([
      [1, -1],
      [0, 2],
    ]);
    expect(convolve(K(), H).toArray()).toEqual([
      [0, 1, -1],
      [2, 1, -1],
      [0, 4, 6],
    ]);
    expect(convolve(convolve(X(), K()), H).toArray()).toEqual(convolve(X(), convolve(K(), H)).toArray());
    const [p, q] = [matrix([1, 2, 3]), matrix([0, 1, 0.5])];
    expect(convolve(p, q).toArray()).toEqual([0, 1, 2.5, 4, 1.5]);
    expect(convolve(q, p).toArray()).toEqual([0, 1, 2.5, 4, 1.5]);
    expect(correlate(p, q).toArray()).toEqual([0.5, 2, 3.5, 3, 0]);
    expect(correlate(q, p).toArray()).toEqual([0, 3, 3.5, 2, 0.5]);
  });

  run("edges of an image, upright and diagonal", () => {
    const k = matrix([[1, -1]]);
    const edges = corr2d(edgeImage(), k);
    expect(edges.toArray()).toEqual(repeat(6, [0, 1, 0, 0, 0, -1, 0]));
    expect(corr2d(edgeImage().T, k).toArray()).toEqual(repeat(8, [0, 0, 0, 0, 0]));
    expect(corr2d(edgeImage().T, k.T).toArray()).toEqual(edges.T.toArray());
    expect(corr2d(edgeImage(), k.T).toArray()).toEqual(repeat(5, [0, 0, 0, 0, 0, 0, 0, 0]));
    const diagonal = corr2d(eye(8, 8, f64), k);
    const expected = Array.from({ length: 8 }, (_, i) =>
      Array.from({ length: 7 }, (_, j) => (i === j ? 1 : i === j + 1 ? -1 : 0)),
    );
    expect(diagonal.toArray()).toEqual(expected);
    expect(corr2d(eye(8, 8, f64), k.T).toArray()).toEqual(diagonal.T.toArray());
    // A diagonal step: the direction shows in which of the two answers.
    const step = matrix(Array.from({ length: 8 }, (_, i) => Array.from({ length: 8 }, (_, j) => (j <= i ? 1 : 0))));
    const ramp = (rows: number, columns: number, value: (i: number, j: number) => number) =>
      Array.from({ length: rows }, (_, i) => Array.from({ length: columns }, (_, j) => value(i, j)));
    expect(corr2d(step, k).toArray()).toEqual(ramp(8, 7, (i, j) => (i === j ? 1 : 0)));
    expect(corr2d(step, k.T).toArray()).toEqual(ramp(7, 8, (i, j) => (j === i + 1 ? -1 : 0)));
    expect(corr2d(step.T, k).toArray()).toEqual(ramp(8, 7, (i, j) => (i === j + 1 ? -1 : 0)));
  });

  const trajectories = [
    {
      start: [0, 0],
      losses: [12, 4.9152000000000005, 2.01326592, 0.8246337208319997, 0.337769972052787, 0.13835058055282154],
      last: 0.0038942226439011036,
      weight: [0.9884707849539316, -0.9884707849539316],
    },
    {
      start: [1, 1],
      losses: [72, 43.315200000000004, 26.589265920000003, 16.553273720832006, 10.404099572052788, 6.580801524552818],
      last: 1.0847581332128198,
      weight: [1.0958449673539314, -0.8810966025539315],
    },
    {
      start: [0.5, -0.25],
      losses: [5.625, 2.52, 1.1704319999999997, 0.5678825471999995, 0.28922779533311943, 0.15470649152844562],
      last: 0.018409679322913208,
      weight: [1.0062160133962073, -0.9793724677962072],
    },
    {
      start: [0.25, 0.75],
      losses: [33.75, 17.28, 9.289727999999997, 5.220650188799998, 3.044347981332479, 1.8267855181137826],
      last: 0.27630070052332434,
      weight: [1.0392755723924143, -0.9319013899924146],
    },
  ];

  /** Gradient descent on sum((corr - Y)^2): the losses before each step, and the kernel after the last. */
  function learn(start: Tensor<"float64">, target: Tensor<"float64">, rate: number, steps: number) {
    const weight = start.requiresGrad_();
    const x = image(edgeImage());
    const losses: number[] = [];
    for (let step = 0; step < steps; step++) {
      const loss = conv2d(x, weight).sub(image(target)).square().sum();
      losses.push(loss.item());
      weight.setGrad(null);
      loss.backward();
      noGrad(() => weight.sub_(weight.grad!.mul(rate)));
    }
    return { losses, weight: [...weight.data()] };
  }

  const near = (got: readonly number[], expected: readonly number[]): void =>
    expected.forEach((e, i) => {
      expect(Math.abs(got[i]! - e), `${got[i]} is not ${e}`).toBeLessThanOrEqual(1e-11 * Math.abs(e));
    });

  run("learning the (1, 2) kernel", () => {
    const Y = corr2d(edgeImage(), matrix([[1, -1]]));
    for (const { start, losses, last, weight } of trajectories) {
      const learnt = learn(tensor(start, { ...f64, shape: [1, 1, 1, 2] }), Y, 3e-2, 10);
      near(learnt.losses.slice(0, 6), losses);
      near([learnt.losses[9]!], [last]);
      near(learnt.weight, weight);
    }
    // From zeros the error only has the direction (1, -1), which shrinks by 0.64 a step.
    const { losses, weight } = learn(zeros([1, 1, 1, 2], f64), Y, 3e-2, 10);
    near(
      losses,
      Array.from({ length: 10 }, (_, t) => 12 * 0.64 ** (2 * t)),
    );
    near(weight, [1 - 0.64 ** 10, -(1 - 0.64 ** 10)]);
    expect([1, 3, 5, 7, 9].map((i) => losses[i]!.toFixed(3))).toEqual(["4.915", "0.825", "0.138", "0.023", "0.004"]);
  });

  run("learning a 2x2 kernel on rows that are all alike", () => {
    const Y = corr2d(edgeImage(), matrix([[1, -1]]))
      .narrow(0, 0, 5)
      .clone();
    const from = (...start: number[]) => tensor(start, { ...f64, shape: [1, 1, 2, 2] });
    const zero = learn(from(0, 0, 0, 0), Y, 0.03, 10);
    near(zero.losses.slice(0, 3), [10, 1.6, 0.256]);
    zero.weight.forEach((w, i) => {
      expect(w).toBeCloseTo(0.4999475712 * (i % 2 === 0 ? 1 : -1), 10);
    });
    const slow = learn(from(0.1, 0.2, 0.3, 0.4), Y, 0.01, 400);
    near(slow.losses.slice(0, 3), [24.6, 7.744, 4.95616]);
    [0.4, -0.6, 0.6, -0.4].forEach((w, i) => {
      expect(slow.weight[i]).toBeCloseTo(w, 12);
    });
    expect(learn(from(1, -1, 0, 0), Y, 0.01, 10)).toEqual({ losses: repeat(10, 0), weight: [1, -1, 0, 0] });
    const diverging = learn(from(0.1, 0.2, 0.3, 0.4), Y, 0.03, 10);
    near(diverging.losses.slice(0, 3), [24.6, 51.936, 200.30976]);
    expect(diverging.weight[0]).toBeCloseTo(256.399942328, 8);
  });

  run("im2col and a matrix product", () => {
    const x = tensor(
      Float64Array.from({ length: 75 }, (_, i) => (i % 7) - 3),
      { shape: [1, 3, 5, 5] },
    ).requiresGrad_();
    const w = tensor(
      Float64Array.from({ length: 54 }, (_, i) => (i % 5) - 2),
      { shape: [2, 3, 3, 3] },
    ).requiresGrad_();
    const b = tensor([1, -2], { ...f64, requiresGrad: true });
    const columns = unfold(x, 3);
    expect(columns.shape).toEqual([1, 27, 9]);
    expect([...columns.select(0, 0).select(1, 0).data()]).toEqual([
      -3, -2, -1, 2, 3, -3, 0, 1, 2, 1, 2, 3, -1, 0, 1, -3, -2, -1, -2, -1, 0, 3, -3, -2, 1, 2, 3,
    ]);
    expect([...columns.select(0, 0).select(1, 8).data()]).toEqual([
      2, 3, -3, 0, 1, 2, -2, -1, 0, -1, 0, 1, -3, -2, -1, 2, 3, -3, 3, -3, -2, 1, 2, 3, -1, 0, 1,
    ]);
    expect([...columns.select(0, 0).select(0, 26).data()]).toEqual([3, -3, -2, 1, 2, 3, -1, 0, 1]);
    const y = conv2d(x, w, { bias: b });
    expect(y.toArray()).toEqual([
      [
        [
          [16, 20, 31],
          [-20, -23, 16],
          [-14, -3, -20],
        ],
        [
          [-12, -25, 4],
          [-14, 1, -12],
          [12, 20, -14],
        ],
      ],
    ]);
    const product = matmul(w.reshape([2, 27]), columns)
      .add(b.reshape([2, 1]))
      .reshape(y.shape);
    expect(product.toArray()).toEqual(y.toArray());
    const [dx, dw, db] = grad(y.sum(), [x, w, b]);
    expect(dw!.select(0, 0).select(0, 0).toArray()).toEqual([
      [-1, 1, -4],
      [2, 4, -1],
      [-2, 0, 2],
    ]);
    expect(dw!.select(0, 1).select(0, 2).toArray()).toEqual([
      [1, -4, -2],
      [4, -1, 1],
      [0, 2, 4],
    ]);
    expect(dx!.select(0, 0).select(0, 0).toArray()).toEqual([
      [-2, -2, 0, 2, 2],
      [-3, -2, -2, 1, 0],
      [-3, 0, -1, 2, -1],
      [-1, 2, -1, 0, -3],
      [0, 2, 1, 1, -1],
    ]);
    expect([dx!.sum().item(), dw!.sum().item(), ...db!.data()]).toEqual([-18, 4, 9, 9]);
    const spread = matmul(w.detach().reshape([2, 27]).t(), ones([2, 9], f64)).unsqueeze(0);
    expect(fold(spread, [5, 5], 3).toArray()).toEqual(dx!.toArray());
    expect(conv2d(x, w, { bias: b, padding: 1, stride: 2 }).toArray()).toEqual([
      [
        [
          [4, -11, -7],
          [5, -23, 6],
          [6, 20, -1],
        ],
        [
          [-11, 9, 0],
          [15, 1, -13],
          [-8, -7, 11],
        ],
      ],
    ]);
  });

  run("1x1 convolutions, several channels, pooling", () => {
    const x = matrix([
      [
        [1, 2],
        [3, 4],
      ],
      [
        [0, -1],
        [1, 0],
      ],
      [
        [2, 0],
        [0, -2],
      ],
    ]);
    const w = matrix([
      [1, 0, -1],
      [2, 1, 0.5],
    ]);
    const bias = matrix([0.5, -1]);
    expect(conv2d(x, w.reshape([2, 3, 1, 1]), { bias }).toArray()).toEqual([
      [
        [-0.5, 2.5],
        [3.5, 6.5],
      ],
      [
        [2, 2],
        [6, 6],
      ],
    ]);
    expect(linear(x.reshape([3, 4]).t(), w, bias).toArray()).toEqual([
      [-0.5, 2],
      [2.5, 2],
      [3.5, 6],
      [6.5, 6],
    ]);
    const two = matrix([X().toArray(), X().add(1).toArray()]);
    const kernels = matrix([K().toArray(), K().add(1).toArray()]);
    const three = matrix([0, 1, 2].map((more) => kernels.add(more).toArray()));
    expect(conv2d(two, three).toArray()).toEqual([
      [
        [56, 72],
        [104, 120],
      ],
      [
        [76, 100],
        [148, 172],
      ],
      [
        [96, 128],
        [192, 224],
      ],
    ]);
    const plane = X().reshape([1, 3, 3]);
    expect(maxPool2d(plane, 2, { stride: 1 }).toArray()).toEqual([
      [
        [4, 5],
        [7, 8],
      ],
    ]);
    expect(avgPool2d(plane, 2, { stride: 1 }).toArray()).toEqual([
      [
        [2, 3],
        [5, 6],
      ],
    ]);
    const sixteen = arange(16, f64).reshape([1, 4, 4]);
    const pooled = [
      [
        [5, 7],
        [13, 15],
      ],
    ];
    expect(maxPool2d(sixteen, 3).toArray()).toEqual([[[10]]]);
    expect(maxPool2d(sixteen, 3, { stride: 2, padding: 1 }).toArray()).toEqual(pooled);
    expect(maxPool2d(sixteen, [2, 3], { stride: [2, 3], padding: [0, 1] }).toArray()).toEqual(pooled);
  });

  run("finite differences and filters", () => {
    const positions = [0, 1, 2, 3, 4, 5, 6, 7];
    const taps = [[1], [-1, 1], [1, -2, 1], [-1, 3, -3, 1], [1, -4, 6, -4, 1], [-1, 5, -10, 10, -5, 1]];
    let factorial = 1;
    taps.forEach((expected, d) => {
      factorial *= Math.max(d, 1);
      const k = filters.difference(d, f64);
      expect(k.toArray()).toEqual(expected);
      expect(corr1d(matrix(positions.map((x) => x ** d)), k).toArray()).toEqual(repeat(8 - d, factorial));
      for (let lower = 0; lower < d; lower++) {
        const flat = corr1d(matrix(positions.map((x) => x ** lower)), k);
        expect([...flat.data()].every((v) => v === 0)).toBe(true);
      }
    });
    const squares = matrix([0, 1, 4, 9, 16, 25, 36]);
    const cubes = matrix([0, 1, 8, 27, 64, 125, 216]);
    expect(corr1d(squares, filters.centralDifference(1, 2, f64)).toArray()).toEqual([2, 4, 6, 8, 10]);
    expect(corr1d(squares, filters.centralDifference(2, 2, f64)).toArray()).toEqual([2, 2, 2, 2, 2]);
    expect(corr1d(cubes, filters.centralDifference(2, 2, f64)).toArray()).toEqual([6, 12, 18, 24, 30]);
    const close = (t: Tensor, expected: readonly number[]): void => {
      expect(t.numel()).toBe(expected.length);
      for (const [i, v] of t.data().entries()) expect(v).toBeCloseTo(expected[i]!, 11);
    };
    close(corr1d(cubes, filters.centralDifference(2, 4, f64)), [12, 18, 24]);
    close(corr1d(cubes, filters.centralDifference(1, 4, f64)), [12, 27, 48]);

    const grid = (f: (i: number, j: number) => number) =>
      matrix(Array.from({ length: 5 }, (_, i) => Array.from({ length: 5 }, (_, j) => f(i, j))));
    const bowl = grid((i, j) => i * i + 2 * j * j);
    expect(corr2d(bowl, filters.laplacian(4, f64)).toArray()).toEqual(repeat(3, [6, 6, 6]));
    expect(corr2d(bowl, filters.laplacian(8, f64)).toArray()).toEqual(repeat(3, [18, 18, 18]));
    const slope = grid((i, j) => 10 * i + j);
    expect(corr2d(slope, filters.laplacian(8, f64)).toArray()).toEqual(repeat(3, [0, 0, 0]));
    expect(corr2d(slope, filters.sobel("x", f64)).toArray()).toEqual(repeat(3, [8, 8, 8]));
    expect(corr2d(slope, filters.sobel("y", f64)).toArray()).toEqual(repeat(3, [80, 80, 80]));
    expect(corr2d(slope, filters.prewitt("x", f64)).toArray()).toEqual(repeat(3, [6, 6, 6]));
    const impulse = grid((i, j) => (i === 2 && j === 2 ? 1 : 0));
    expect(corr2d(impulse, filters.laplacian(4, f64)).toArray()).toEqual([
      [0, 1, 0],
      [1, -4, 1],
      [0, 1, 0],
    ]);
    close(
      corr2d(
        grid((i, j) => 5 * i + j),
        filters.box(3, f64),
      ),
      [6, 7, 8, 11, 12, 13, 16, 17, 18],
    );
    // Row and column second derivatives, each in its own direction, add up to the 4-neighbour Laplacian.
    const second = filters.centralDifference(2, 2, f64);
    const across = corr2d(bowl, second.reshape([1, 3])).narrow(0, 1, 3);
    const down = corr2d(bowl, second.reshape([3, 1])).narrow(1, 1, 3);
    expect(across.add(down).toArray()).toEqual(corr2d(bowl, filters.laplacian(4, f64)).toArray());
    const volume = matrix(
      Array.from({ length: 4 }, (_, i) =>
        Array.from({ length: 4 }, (_, j) => Array.from({ length: 4 }, (_, k) => i * i + j * j + k * k)),
      ),
    );
    const star = zeros([3, 3, 3], f64);
    for (const [i, j, k] of [
      [0, 1, 1],
      [2, 1, 1],
      [1, 0, 1],
      [1, 2, 1],
      [1, 1, 0],
      [1, 1, 2],
    ] as const) {
      star.select(0, i).select(0, j).narrow(0, k, 1).fill_(1);
    }
    star.select(0, 1).select(0, 1).narrow(0, 1, 1).fill_(-6);
    expect(corr3d(volume, star).toArray()).toEqual(repeat(2, repeat(2, [6, 6])));
    const blur = filters.gaussian(1.5, undefined, f64);
    expect(blur.shape).toEqual([11, 11]);
    expect(blur.sum().item()).toBeCloseTo(1, 14);
    expect(blur.toArray()).toEqual(blur.T.toArray());
    const [centre, beside] = [blur.select(0, 5).select(0, 5).item(), blur.select(0, 5).select(0, 6).item()];
    expect(beside / centre).toBeCloseTo(Math.exp(-1 / (2 * 1.5 ** 2)), 14);
  });

  run("the matrix called with an image says what to call", () => {
    expect(() => corr2d(ones([1, 1, 6, 8]), ones([1, 2]))).toThrow(ShapeError);
    expect(() => corr2d(ones([1, 1, 6, 8]), ones([1, 2]))).toThrow(
      "corr2d: X must be a matrix, but it is [1, 1, 6, 8]; use conv2d for batches, or X.squeeze() for one image",
    );
  });
});
