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

/** Windows 3 x 3 x 3 of the image whose element i is i % 7 - 3, channel by channel, row by row. */
const firstWindow = "-3,-2,-1,2,3,-3,0,1,2,1,2,3,-1,0,1,-3,-2,-1,-2,-1,0,3,-3,-2,1,2,3";
const lastWindow = "2,3,-3,0,1,2,-2,-1,0,-1,0,1,-3,-2,-1,2,3,-3,3,-3,-2,1,2,3,-1,0,1";

/** X correlated with K, and X convolved with K, wherever they overlap: X is 0 to 8, K [[0, 1], [2, 3]]. */
const fullCorrelation = matrix([
  [0, 3, 8, 4],
  [9, 19, 25, 10],
  [21, 37, 43, 16],
  [6, 7, 8, 0],
]);
const fullConvolution = matrix([
  [0, 0, 1, 2],
  [0, 5, 11, 11],
  [6, 23, 29, 23],
  [12, 32, 37, 24],
]);

export const expected: Readonly<Record<string, readonly (string | RegExp)[]>> = {
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
  "09-padding-and-stride": [
    fullCorrelation,
    matrix([
      [0, 8],
      [21, 43],
    ]),
    "[8,8], kernel [3,3], padding [1,1], stride [1,1]: [8,8]",
    "[8,8], kernel [5,3], padding [2,1], stride [1,1]: [8,8]",
    "[8,8], kernel [3,3], padding [1,1], stride [2,2]: [4,4]",
    "[8,8], kernel [3,5], padding [0,1], stride [3,4]: [2,2]",
    "kernel 2, padding 0: [2,2]",
    "kernel 2, padding 1: [4,4]",
    matrix([
      [19, 25, 10],
      [37, 43, 16],
      [7, 8, 0],
    ]),
  ],
  "10-matrix-multiplication": [
    "columns [27,9]",
    `the first window: ${firstWindow}`,
    `the last window: ${lastWindow}`,
    matrix([
      [16, 20, 31],
      [-20, -23, 16],
      [-14, -3, -20],
    ]),
    matrix([
      [-12, -25, 4],
      [-14, 1, -12],
      [12, 20, -14],
    ]),
    matrix([
      [-1, 1, -4],
      [2, 4, -1],
      [-2, 0, 2],
    ]),
    matrix([
      [-2, -2, 0, 2, 2],
      [-3, -2, -2, 1, 0],
      [-3, 0, -1, 2, -1],
      [-1, 2, -1, 0, -3],
      [0, 2, 1, 1, -1],
    ]),
    "conv2d gives the same gradients",
    matrix([
      [4, -11, -7],
      [5, -23, 6],
      [6, 20, -1],
    ]),
  ],
  "11-toeplitz-matrix": [
    matrix(made(4, 5, (i, j) => (j === i ? 1 : j === i + 1 ? -1 : 0))),
    "0 1 0 2 3 0 0 0 0",
    "0 0 1 0 2 3 0 0 0",
    "0 0 0 0 1 0 2 3 0",
    "0 0 0 0 0 1 0 2 3",
    "matrix times image: 19,25,37,43",
    // Full convolution of [[19, 25], [37, 43]] with [[0, 1], [2, 3]].
    "the transposed matrix times that: 0,19,25,38,144,118,74,197,129",
    "16 of 36 entries are taps of the kernel, 4 of them different",
  ],
  "12-fully-connected-edges": [
    matrix(edges),
    "2016 weights, of which 84 are not 0; the kernel has 2",
    "from one image: loss 0.0000",
    "convolution, shifted image, a row: 0,0,1,0,0,0,-1",
    // The weights become edges times image / 24, and 18 of the 24 white pixels are white in the shifted image too.
    /the layer, shifted image, a row: -?0\.00,0\.75,-?0\.00,-?0\.00,-?0\.00,-0\.75,-?0\.00/,
    "from 200 images: loss 0.0000, largest error on new images 0.00",
  ],
  "13-one-by-one": [
    ...[0, 0, 1, 2].map((o) =>
      // Channel o has kernels larger by o, so its results are larger by o times the windows' sums.
      matrix([
        [56 + 20 * o, 72 + 28 * o],
        [104 + 44 * o, 120 + 52 * o],
      ]),
    ),
    "channel 0: Tensor([[-0.5000, 2.5000], [3.5000, 6.5000]], [2, 2], float32)",
    "channel 1: Tensor([[2, 2], [6, 6]], [2, 2], float32)",
    "Tensor([[-0.5000, 2], [2.5000, 2], [3.5000, 6], [6.5000, 6]], [4, 2], float32)",
  ],
  "14-error-messages": [
    "ShapeError: corr2d: X must be a matrix, but it is [1, 1, 6, 8]; use conv2d for batches, or X.squeeze() for one image",
    "ShapeError: conv2d: x must be [channels, height, width] or [batch, channels, height, width], but it is [6, 8]",
    "ArgumentError: corr2d: K must be a tensor, got undefined",
    "ShapeError: conv2d: padded input 6 = 6 + 2*0 is smaller than the dilated kernel 7",
    "ShapeError: conv2d: weight [6, 3, 3, 3] with groups 1 takes 3 input channels, but x [1, 1, 6, 8] has 1",
    "DTypeError: conv2d: x [1, 1, 6, 8] uint8 must be float32 or float64",
    "DTypeError: conv2d: x [1, 1, 6, 8] float32 and weight [1, 1, 2, 2] float64 must have the same dtype",
    'ArgumentError: conv2d: there is no option "pading"; did you mean "padding"?',
    "ShapeError: sub: shapes [6, 7] and [6, 8] do not broadcast",
    "GradientError: sub_: a leaf that requires gradients cannot be changed in place while recording; do it inside noGrad()",
    "GradientError: backward of exp needs output 0 of exp",
    "GradientError: backward: the gradient of a tensor [1, 2] must be given",
    "GradientError: backward: the tensor [] float32 does not require gradients",
    "GradientError: backward reached exp a second time",
  ],
  "15-hand-designed-kernels": [
    "[1, -2, 1] on x^2: 2,2,2,2,2",
    "[1, -2, 1] on x^3: 6,12,18,24,30",
    "[-1, 0, 1] / 2 on x^2: 2,4,6,8,10",
    "degree 0: [1] on x^0: 1,1,1,1,1,1,1,1",
    "degree 1: [-1,1] on x^1: 1,1,1,1,1,1,1",
    "degree 2: [1,-2,1] on x^2: 2,2,2,2,2,2",
    "degree 3: [-1,3,-3,1] on x^3: 6,6,6,6,6",
    "degree 4: [1,-4,6,-4,1] on x^4: 24,24,24,24",
    "degree 5: [-1,5,-10,10,-5,1] on x^5: 120,120,120",
    // The sum counts the first and the last value in full instead of half, so it errs by at most their mean times dx = 0.01.
    "integral of cos against sin: largest error 0.010",
    "sums of 3,1,4,1,5: 3,4,8,9,14",
    "their differences: 3,1,4,1,5",
    matrix(made(3, 3, () => 6)),
    matrix(made(3, 3, () => 8)),
    matrix(made(3, 3, () => 80)),
  ],
  "16-true-convolution": [
    first,
    matrix([
      [5, 11],
      [23, 29],
    ]),
    fullConvolution,
    "K * X is the same: true",
    fullCorrelation,
    "of K with X it is the same backwards: true",
    "1,2,3 * 0,1,0.5 = 0,1,2.5,4,1.5",
    "correlation: 0.5,2,3.5,3,0, the other way round: 0,3,3.5,2,0.5",
    matrix([
      [0, 1, -1],
      [2, 1, -1],
      [0, 4, 6],
    ]),
    "(X * K) * H = X * (K * H): true",
    "a transposed convolution is X * K: true",
  ],
  "17-translation-equivariance": [
    "convolution, input shifted by 1: distance 0.00",
    "max pooling, stride 1, input shifted by 1: distance 0.00",
    // Unrelated windows of noise are the square root of 2 apart; maxima of overlapping windows less.
    /stride 2, compared unshifted, input shifted by 1: distance 1\.[3-6]/,
    /stride 2, compared shifted by 1, input shifted by 1: distance 1\.[3-6]/,
    "stride 2, compared shifted by 1, input shifted by 2: distance 0.00",
    /max pooling, stride 2, compared unshifted, input shifted by 1: distance 0\.[4-9]/,
    /convolution with padding 1, input shifted by 1: distance 0\.[0-3](?!0)/,
    "band: 1,1,0,0,0,0,1,1 gives 0,0,0,0",
    "shifted: 1,1,1,0,0,0,0,1 gives 0,1,0,-1",
  ],
  "18-spoken-digits": [
    "320 words to learn from, 120 in voices that are not among them",
    // What is learned depends on the synthesiser's version; guessing would give 0.1.
    /epoch 8, loss 0\.0/,
    /accuracy (1\.000|0\.9[5-9]\d), in unheard voices (1\.000|0\.[89]\d\d)/,
  ],
  "19-sentences": [
    "2400 sentences to learn from, 600 for the test",
    // Last bits differ between backends, and training lets them grow; guessing would give 0.5.
    /epoch 6: accuracy on unseen sentences 0\.7[4-9]\d/,
    /accuracy on the sentences it has learned from 0\.(8[5-9]|9[0-3])\d/,
    "the word list, on unseen sentences 0.705",
    "This is a great phone and I love it: praise",
    "Not worth the money, I was disappointed: complaint",
  ],
};
