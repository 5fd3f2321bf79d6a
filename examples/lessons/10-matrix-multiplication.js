// @ts-check
// Lesson 10: convolution as one matrix multiplication, by im2col.
import assert from "node:assert/strict";
import { arange, col2im, conv2d, equal, im2col, matmul, ones, remainder, tensor } from "xcorr";

// An image with 3 channels of 5 x 5 pixels, and 2 filters 3 x 3, filled with a pattern that is easy to follow.
const X = remainder(arange(75), 7).sub(3).reshape([1, 3, 5, 5]);
const W = remainder(arange(54), 5).sub(2).reshape([2, 3, 3, 3]);
const bias = tensor([1, -2]);

// Each window becomes a column: 3 channels * 3 * 3 = 27 numbers. There are 3 * 3 = 9 windows.
const columns = im2col(X, 3).squeeze(0);
console.log(`columns [${columns.shape}]`);
console.log(`the first window: ${columns.get("...", 0).toArray()}`);
console.log(`the last window: ${columns.get("...", 8).toArray()}`);

// Each filter becomes a row. Row times column multiplies a filter with a window and adds up: that is the convolution.
const rows = W.reshape([2, 27]);
const product = matmul(rows, columns); // [2, 9]
const Y = product.add(bias.reshape([2, 1])).reshape([1, 2, 3, 3]);
console.log(`channel 0:\n${Y.get(0, 0)}`);
console.log(`channel 1:\n${Y.get(0, 1)}`);
assert(equal(Y, conv2d(X, W, { bias })));

// Backwards it is matrix multiplication as well. For the sum of Y, whose gradient is 1 everywhere:
const dY = ones([2, 9]);
const dW = matmul(dY, columns.T).reshape([2, 3, 3, 3]);
const dX = col2im(matmul(rows.T, dY).unsqueeze(0), [5, 5], 3); // adds every window back to where it was taken from
console.log(`dW of filter 0, channel 0:\n${dW.get(0, 0)}`);
console.log(`dX of channel 0:\n${dX.get(0, 0)}`);

const [x, w] = [X.clone().requiresGrad_(), W.clone().requiresGrad_()];
conv2d(x, w, { bias }).sum().backward();
assert(x.grad !== null && w.grad !== null && equal(dX, x.grad) && equal(dW, w.grad));
console.log("conv2d gives the same gradients");

// With padding 1 and stride 2.
const strided = matmul(rows, im2col(X, 3, { padding: 1, stride: 2 }).squeeze(0)).add(bias.reshape([2, 1]));
console.log(`padding 1, stride 2, channel 0:\n${strided.reshape([2, 3, 3]).get(0)}`);
