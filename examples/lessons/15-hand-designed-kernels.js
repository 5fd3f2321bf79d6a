// @ts-check
// Lesson 15: kernels designed by hand: derivatives of any degree, and the integral.
import { arange, convolve, corr1d, corr2d, cos, filters, ones, sin, sub, tensor } from "xcorr";

// The second derivative is the difference of two neighbouring differences: (f(x+1) - f(x)) - (f(x) - f(x-1)).
const x = arange(0, 7);
const second = tensor([1, -2, 1]);
console.log(`[1, -2, 1] on x^2: ${corr1d(x.square(), second).toArray()}`); // 2, everywhere
console.log(`[1, -2, 1] on x^3: ${corr1d(x.mul(x).mul(x), second).toArray()}`); // 6x, at x = 1 to 5
console.log(`[-1, 0, 1] / 2 on x^2: ${corr1d(x.square(), tensor([-0.5, 0, 0.5])).toArray()}`); // 2x, at x = 1 to 5

// The d-th derivative: each kernel is the difference of the one before. It has d + 1 numbers, and none can do with less:
// d numbers that give 0 for 1, x, ..., x^(d-1) are all 0.
let kernel = tensor([1]);
let power = ones([8]);
for (let d = 0; d <= 5; d++) {
  console.log(`degree ${d}: [${kernel.toArray()}] on x^${d}: ${corr1d(power, kernel).toArray()}`); // d! everywhere
  kernel = convolve(kernel, tensor([-1, 1]));
  power = power.mul(arange(8));
}

// The integral: the sum of all values so far, times their distance. Its kernel is ones, as long as the signal.
const dx = 0.01;
const t = arange(300).mul(dx);
const sumsSoFar = convolve(cos(t), ones([300])).get([0, 300]);
const integral = sumsSoFar.mul(dx);
const error = sub(integral, sin(t)).abs();
console.log(`integral of cos against sin: largest error ${Math.max(...error.data()).toFixed(3)}`); // dx

// Derivative and integral undo each other: the differences of the sums are the signal.
const signal = tensor([3, 1, 4, 1, 5]);
const sums = convolve(signal, ones([5])).get([0, 5]);
console.log(`sums of ${signal.toArray()}: ${sums.toArray()}`);
const differences = convolve(sums, tensor([1, -1])).get([0, 5]);
console.log(`their differences: ${differences.toArray()}`);

// In two dimensions the Laplacian adds the second derivatives along rows and columns.
const i = arange(5).reshape([5, 1]);
const j = arange(5).reshape([1, 5]);
const bowl = i.square().add(j.square().mul(2)); // i^2 + 2 j^2, second derivatives 2 and 4
console.log(`Laplacian of i^2 + 2 j^2:\n${corr2d(bowl, filters.laplacian())}`);

// Sobel's kernel differentiates along rows and smooths along columns; 8 times the slope of a plane.
const plane = i.mul(10).add(j);
console.log(`Sobel across columns:\n${corr2d(plane, filters.sobel("x"))}`);
console.log(`Sobel across rows:\n${corr2d(plane, filters.sobel("y"))}`);
