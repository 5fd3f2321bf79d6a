// @ts-check
// Lesson 9: padding and stride, by hand and by op; how large the result is; the same size with any kernel.
import assert from "node:assert/strict";
import { conv2d, equal, pad, tensor, zeros } from "xcorr";

const X = tensor([[0, 1, 2], [3, 4, 5], [6, 7, 8]]); // biome-ignore format: a matrix
const K = tensor([[0, 1], [2, 3]]); // biome-ignore format: a matrix

/**
 * corr2d with a border of zeros around X and with steps of more than one pixel.
 * @param {import("xcorr").Tensor} X @param {import("xcorr").Tensor} K @param {{ padding?: number, stride?: number }} options
 */
function corr2dByHand(X, K, { padding = 0, stride = 1 } = {}) {
  const [h, w] = [K.size(0), K.size(1)];
  const padded = pad(X, [padding, padding, padding, padding]); // left, right, top, bottom
  const height = Math.floor((X.size(0) + 2 * padding - h) / stride) + 1;
  const width = Math.floor((X.size(1) + 2 * padding - w) / stride) + 1;
  const Y = zeros([height, width]);
  for (let i = 0; i < height; i++) {
    for (let j = 0; j < width; j++) {
      const [top, left] = [i * stride, j * stride];
      const window = padded.get([top, top + h], [left, left + w]);
      Y.set([i, j], window.mul(K).sum());
    }
  }
  return Y;
}

/** The op takes a batch of images with channels, and a weight [out channels, in channels, height, width]. */
const image = X.reshape([1, 1, 3, 3]);
const weight = K.reshape([1, 1, 2, 2]);

for (const options of [{ padding: 1 }, { padding: 1, stride: 2 }]) {
  const byHand = corr2dByHand(X, K, options);
  const byOp = conv2d(image, weight, options).squeeze();
  assert(equal(byHand, byOp));
  console.log(`${JSON.stringify(options)}:\n${byOp}`);
}

// The size of the result: floor((size + 2 * padding - kernel) / stride) + 1, in each dimension by itself.
/** @param {[number, number]} size @param {[number, number]} kernel @param {{ padding: number[], stride: number[] }} options */
function show(size, kernel, options) {
  const y = conv2d(zeros([1, 1, ...size]), zeros([1, 1, ...kernel]), options);
  console.log(
    `[${size}], kernel [${kernel}], padding [${options.padding}], stride [${options.stride}]: [${y.shape.slice(2)}]`,
  );
}
show([8, 8], [3, 3], { padding: [1, 1], stride: [1, 1] }); // (8 + 2 - 3) / 1 + 1 = 8: the same size
show([8, 8], [5, 3], { padding: [2, 1], stride: [1, 1] }); // an odd kernel and padding (kernel - 1) / 2: the same size
show([8, 8], [3, 3], { padding: [1, 1], stride: [2, 2] }); // floor(7 / 2) + 1 = 4: half
show([8, 8], [3, 5], { padding: [0, 1], stride: [3, 4] }); // floor(5 / 3) + 1 = 2 and floor(5 / 4) + 1 = 2

// An even kernel needs padding kernel - 1 in all, an odd number: one side gets more. The same number on both sides
// gives one pixel too few or too many.
console.log(`kernel 2, padding 0: [${conv2d(image, weight).shape.slice(2)}]`);
console.log(`kernel 2, padding 1: [${conv2d(image, weight, { padding: 1 }).shape.slice(2)}]`);
const same = conv2d(image, weight, { padding: "same" });
console.log(
  `kernel 2, padding "same", which adds its one row below and its one column on the right:\n${same.squeeze()}`,
);
assert(equal(same, conv2d(image, weight, { padding: [[0, 1], [0, 1]] }))); // biome-ignore format: pairs
