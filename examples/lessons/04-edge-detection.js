// @ts-check
// Lesson 4: a kernel of two numbers finds the edges of an image, and why it misses those of the transposed image.
import { corr2d, ones, tensor } from "xcorr";

// White (1) with a black (0) band: columns 2 to 5.
const X = ones([6, 8]);
X.set(["...", [2, 6]], 0);
console.log(`X:\n${X}`);

// Each output is a pixel minus its right neighbour: 0 where they are alike.
const K = tensor([[1, -1]]);
console.log(`corr2d(X, K), 1 from white to black, -1 from black to white:\n${corr2d(X, K)}`);

// The transposed image has a lying band. Along a row nothing changes, so K sees nothing.
console.log(`corr2d(X.T, K):\n${corr2d(X.T, K)}`);

// The transposed kernel compares a pixel with the one below.
console.log(`corr2d(X.T, K.T):\n${corr2d(X.T, K.T)}`);
console.log(`corr2d(X, K.T):\n${corr2d(X, K.T)}`);
