// @ts-check
// Lesson 1: cross-correlation, by hand and by op.
import assert from "node:assert/strict";
import { corr2d, equal, randn, sum, tensor, zeros } from "xcorr";

/**
 * Slides the kernel K over the image X. At each position it multiplies what lies on top of each other and adds up.
 *
 * @param {import("xcorr").Tensor} X [height, width]
 * @param {import("xcorr").Tensor} K [kernel height, kernel width]
 */
function corr2dByHand(X, K) {
  const [h, w] = [K.size(0), K.size(1)];
  const rows = [];
  for (let i = 0; i + h <= X.size(0); i++) {
    const row = [];
    for (let j = 0; j + w <= X.size(1); j++) {
      const window = X.get([i, i + h], [j, j + w]); // rows i to i + h - 1, columns j to j + w - 1
      row.push(Number(window.mul(K).sum().item()));
    }
    rows.push(row);
  }
  return tensor(rows);
}

const X = tensor([
  [0, 1, 2],
  [3, 4, 5],
  [6, 7, 8],
]);
const K = tensor([
  [0, 1],
  [2, 3],
]);

console.log(`by hand:\n${corr2dByHand(X, K)}`); // 0*0 + 1*1 + 3*2 + 4*3 = 19, and so on
console.log(`by op:\n${corr2d(X, K)}`);

// Sanity test 1: the same result. (Whole numbers are exact, so they must be equal, not only close.)
assert(equal(corr2dByHand(X, K), corr2d(X, K)));

// Sanity test 2: a kernel with a single 1 cuts the image out, an image of zeros gives zeros.
assert(equal(corr2d(X, tensor([[1, 0], [0, 0]])), X.get([0, 2], [0, 2]))); // biome-ignore format: a matrix
assert(equal(corr2d(zeros([3, 3]), K), zeros([2, 2])));

// Sanity test 3: any sizes; the result has one position per place where the kernel fits.
const image = randn([7, 9]);
const kernel = randn([3, 2]);
const difference = sum(corr2dByHand(image, kernel).sub(corr2d(image, kernel)).abs());
assert(difference.item() < 1e-4);
console.log(`an image [7, 9] and a kernel [3, 2] give [${corr2d(image, kernel).shape.join(", ")}]`);

// A layer adds a bias, one number for all positions.
console.log(`with bias 1:\n${corr2d(X, K).add(1)}`);
