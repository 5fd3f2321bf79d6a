// @ts-check
// Lesson 11: a convolution is a linear map, and here is its matrix.
import assert from "node:assert/strict";
import { arange, conv2d, convMatrix, convTranspose2d, equal, matmul, tensor } from "xcorr";

// In one dimension: each row of the matrix is the kernel, one place further to the right. A matrix with equal diagonals
// is called a Toeplitz matrix.
const difference = tensor([1, -1]).reshape([1, 1, 2]); // [out channels, in channels, width]
console.log(`[1, -1] on 5 numbers:\n${convMatrix(difference, [1, 5])}`);

// In two dimensions the image is laid out as one vector, row after row. The matrix is made of Toeplitz blocks.
const K = tensor([[0, 1], [2, 3]]).reshape([1, 1, 2, 2]); // biome-ignore format: a matrix
const M = convMatrix(K, [1, 3, 3]);
console.log(`[[0, 1], [2, 3]] on 3 x 3 pixels, ${M.size(0)} outputs from ${M.size(1)} pixels:`);
for (const row of /** @type {number[][]} */ (M.toArray())) console.log(row.join(" "));

const X = arange(9).reshape([1, 1, 3, 3]);
const y = matmul(M, X.reshape([9]));
console.log(`matrix times image: ${y.toArray()}`);
assert(equal(y.reshape([1, 1, 2, 2]), conv2d(X, K)));

// The transposed matrix takes 4 outputs back to 9 pixels. That is what a transposed convolution is: not the inverse, but
// the way gradients flow back, and a layer that makes images larger.
const back = matmul(M.T, y);
assert(equal(back.reshape([1, 1, 3, 3]), convTranspose2d(y.reshape([1, 1, 2, 2]), K)));
console.log(`the transposed matrix times that: ${back.toArray()}`);

// What the structure saves: 4 numbers instead of 36 here. For a kernel of 3 x 3 on an image of 224 x 224 pixels (with
// padding 1) it is 9 instead of 2.5 billion.
const sparse = convMatrix(K, [1, 3, 3], { sparse: true });
console.log(`${sparse.values.numel()} of ${M.numel()} entries are taps of the kernel, ${K.numel()} of them different`);
