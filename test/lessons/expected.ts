/**
 * What each lesson must print, in this order. The numbers come from calculation by hand and from PyTorch in float64,
 * not from running the lessons.
 */

type Matrix = readonly (readonly number[])[];

/** A matrix as the lessons print it. */
function matrix(rows: Matrix): string {
  return `Tensor([${rows.map((row) => `[${row.join(", ")}]`).join(", ")}], [${rows.length}, ${rows[0]!.length}], float32`;
}

function transposed(rows: Matrix): number[][] {
  return rows[0]!.map((_, j) => rows.map((row) => row[j]!));
}

/** `height` rows, all alike. */
function repeated(height: number, row: readonly number[]): Matrix {
  return Array.from({ length: height }, () => row);
}

/** The matrix whose element i, j is value(i, j). */
function made(height: number, width: number, value: (i: number, j: number) => number): Matrix {
  return Array.from({ length: height }, (_, i) => Array.from({ length: width }, (_, j) => value(i, j)));
}

const first = matrix([
  [19, 25],
  [37, 43],
]);
const firstWithBias = matrix([
  [20, 26],
  [38, 44],
]);
/** Window sums of the image 0 to 8. */
const kernelGradient = matrix([
  [8, 12],
  [20, 24],
]);
/** Full correlation of ones with the kernel [[0, 1], [2, 3]]. */
const imageGradient = matrix([
  [0, 1, 1],
  [2, 6, 4],
  [2, 5, 3],
]);

const edges = repeated(6, [0, 1, 0, 0, 0, -1, 0]);
/** The identity of size 8 correlated with [[1, -1]]: 1 on the diagonal, -1 below it. */
const line = made(8, 7, (i, j) => (i === j ? 1 : i === j + 1 ? -1 : 0));

export const expected: Readonly<Record<string, readonly string[]>> = {
  "01-cross-correlation": [`by hand: ${first}`, `by op: ${first}`, "give [5, 8]", `with bias 1: ${firstWithBias}`],
  "02-two-loops-differentiated": [
    `Y by loops: ${first}`,
    kernelGradient,
    imageGradient,
    `dK by the op: ${kernelGradient}`,
    `dX by the op: ${imageGradient}`,
    "sum of squares: 4204",
    matrix([
      [616, 864],
      [1360, 1608],
    ]),
    matrix([
      [0, 38, 50],
      [76, 288, 236],
      [148, 394, 258],
    ]),
  ],
  "03-custom-layer": [
    firstWithBias,
    "weight [2, 2]",
    "bias [1]",
    `weight.grad: ${kernelGradient}`,
    "bias.grad: Tensor([4], [1], float32)",
    "learned weight: 0, 1, 2, 3",
    "learned bias: 1",
  ],
  "04-edge-detection": [
    matrix(repeated(6, [1, 1, 0, 0, 0, 0, 1, 1])),
    matrix(edges),
    `corr2d(X.T, K): ${matrix(repeated(8, [0, 0, 0, 0, 0]))}`,
    `corr2d(X.T, K.T): ${matrix(transposed(edges))}`,
    `corr2d(X, K.T): ${matrix(repeated(5, [0, 0, 0, 0, 0, 0, 0, 0]))}`,
  ],
  "05-diagonal": [
    matrix(line),
    "corr2d(X.T, K) is the same: true",
    `corr2d(X, K.T): ${matrix(transposed(line))}`,
    "its transpose is corr2d(X, K): true",
    matrix(made(8, 8, (i, j) => (j <= i ? 1 : 0))),
    matrix(made(8, 7, (i, j) => (i === j ? 1 : 0))),
    matrix(made(7, 8, (i, j) => (j === i + 1 ? -1 : 0))),
    `corr2d(step.T, K): ${matrix(made(8, 7, (i, j) => (i === j + 1 ? -1 : 0)))}`,
  ],
  "06-learning-a-kernel": [
    // 12 * 0.64^(2 (t - 1)) before step t, and [1, -1] * (1 - 0.64^10) = 0.98847.
    "epoch 2, loss 4.915",
    "epoch 4, loss 0.825",
    "epoch 6, loss 0.138",
    "epoch 8, loss 0.023",
    "epoch 10, loss 0.004",
    "Tensor([[0.9885, -0.9885]], [1, 2], float32)",
  ],
  "07-optimizer-and-weight-decay": [
    // The curvature along [1, -1] is 12: with weight decay d the minimum is 12 / (12 + d) * [1, -1], its loss 12 (d / (12 + d))^2.
    "weight decay 0 50/50",
    "weight decay 0: loss 0.0000, kernel [1.0000, -1.0000]",
    "weight decay 0.1 50/50",
    "weight decay 0.1: loss 0.0008, kernel [0.9917, -0.9917]",
    "weight decay 1 50/50",
    "weight decay 1: loss 0.0710, kernel [0.9231, -0.9231]",
  ],
  "08-learning-a-2x2-kernel": [
    "start [[0,0],[0,0]], lr 0.01: losses 10, 6.4, 4.096, ...",
    "after 200 steps: loss 0, kernel [0.5, -0.5, 0.5, -0.5]",
    "start [[0.1,0.2],[0.3,0.4]], lr 0.01: losses 24.6, 7.744, 4.95616, ...",
    "after 400 steps: loss 0, kernel [0.4, -0.6, 0.6, -0.4]",
    "start [[1,-1],[0,0]], lr 0.01: losses 0, 0, 0, ...",
    "after 10 steps: loss 0, kernel [1, -1, 0, 0]",
    "start [[0,0],[0,0]], lr 0.03: losses 10, 1.6, 0.256, ...",
    "after 10 steps: loss 6.87195e-7, kernel [0.499948, -0.499948, 0.499948, -0.499948]",
    "start [[0.1,0.2],[0.3,0.4]], lr 0.03: losses 24.6, 51.936, 200.31, ...",
    "after 10 steps: loss 3276800, kernel [256.4, 255.4, 256.6, 255.6]",
    "after 800 steps: loss 0, kernel [1, -1, 0, 0]",
  ],
};
