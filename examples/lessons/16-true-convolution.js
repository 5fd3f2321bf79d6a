// @ts-check
// Lesson 16: true convolution flips the kernel, and gains that the order does not matter.
import assert from "node:assert/strict";
import { convolve, convTranspose2d, corr2d, correlate, equal, flip, tensor } from "xcorr";

const X = tensor([[0, 1, 2], [3, 4, 5], [6, 7, 8]]); // biome-ignore format: a matrix
const K = tensor([[0, 1], [2, 3]]); // biome-ignore format: a matrix

// Where both lie wholly on each other ("valid"), convolution is correlation with the kernel turned by 180 degrees.
console.log(`correlation:\n${corr2d(X, K)}`);
console.log(`convolution:\n${convolve(X, K, { mode: "valid" })}`);
assert(equal(convolve(X, K, { mode: "valid" }), corr2d(X, flip(K, [0, 1]))));

// Everywhere they overlap at all ("full"): the order does not matter ...
console.log(`X * K:\n${convolve(X, K)}`);
console.log(`K * X is the same: ${equal(convolve(K, X), convolve(X, K))}`);

// ... while correlation the other way round gives everything backwards.
console.log(`correlation of X with K:\n${correlate(X, K)}`);
const backwards = flip(correlate(X, K), [0, 1]);
console.log(`of K with X it is the same backwards: ${equal(correlate(K, X), backwards)}`);

// In one dimension this is how polynomials are multiplied: (1 + 2x + 3x^2) (x + 0.5x^2) = x + 2.5x^2 + 4x^3 + 1.5x^4.
const p = tensor([1, 2, 3]);
const q = tensor([0, 1, 0.5]);
console.log(`${p.toArray()} * ${q.toArray()} = ${convolve(p, q).toArray()}`);
console.log(`correlation: ${correlate(p, q).toArray()}, the other way round: ${correlate(q, p).toArray()}`);

// Convolution is associative too, so a chain of filters is one filter.
const H = tensor([[1, -1], [0, 2]]); // biome-ignore format: a matrix
console.log(`K * H:\n${convolve(K, H)}`);
console.log(`(X * K) * H = X * (K * H): ${equal(convolve(convolve(X, K), H), convolve(X, convolve(K, H)))}`);

// A transposed convolution spreads each pixel into a copy of the kernel: it is the true convolution.
const spread = convTranspose2d(X.reshape([1, 1, 3, 3]), K.reshape([1, 1, 2, 2])).squeeze();
console.log(`a transposed convolution is X * K: ${equal(spread, convolve(X, K))}`);
