// @ts-check
// Lesson 5: a diagonal line, the kernel K, the transposed image and the transposed kernel.
import { corr2d, equal, eye, ones, tensor, tril } from "xcorr";

const X = eye(8); // ones on the diagonal
const K = tensor([[1, -1]]);
console.log(`corr2d(X, K), the line's left and right side:\n${corr2d(X, K)}`);

// The image is its own transpose, so transposing it changes nothing.
console.log(`corr2d(X.T, K) is the same: ${equal(corr2d(X.T, K), corr2d(X, K))}`);

// K.T looks at the line from above and below. The result is the transpose of the one above.
console.log(`corr2d(X, K.T):\n${corr2d(X, K.T)}`);
console.log(`its transpose is corr2d(X, K): ${equal(corr2d(X, K.T).T, corr2d(X, K))}`);

// A line has two sides. A step has one: white below the diagonal, black above. Now the direction shows.
const step = tril(ones([8, 8])); // the lower triangle of ones
console.log(`step:\n${step}`);
console.log(`corr2d(step, K), +1 from white to black:\n${corr2d(step, K)}`);
console.log(`corr2d(step, K.T), -1 from black (above) to white (below):\n${corr2d(step, K.T)}`);
console.log(`corr2d(step.T, K):\n${corr2d(step.T, K)}`);
