// @ts-check
// Lesson 17: shift the input by one pixel, and the output shifts by one pixel; and where that breaks.
import { conv2d, manualSeed, maxPool2d, noGrad, ones, randn, tensor } from "xcorr";

/** @typedef {import("xcorr").Tensor<"float32">} Tensor */

/** How far apart two images are, relative to the first: 0 if they are equal. @param {Tensor} a @param {Tensor} b */
function distance(a, b) {
  return Math.sqrt(b.sub(a).square().sum().item() / a.square().sum().item());
}

/**
 * Applies `layer` to an image and to its neighbour one pixel to the left, and compares where the results overlap.
 * `moved` says by how many pixels the second result is expected to be shifted.
 * @param {string} name @param {(image: Tensor) => Tensor} layer @param {number} moved @param {number} shift
 */
function compare(name, layer, moved, shift = 1) {
  // Two windows on one larger picture, so that no border is made up.
  const a = layer(picture.get("...", [shift, 32 + shift]));
  const b = layer(picture.get("...", [0, 32]));
  const width = a.size(3) - moved;
  const d = distance(a.get("...", [0, width]), b.get("...", [moved, moved + width]));
  console.log(`${name}, input shifted by ${shift}: distance ${d.toFixed(2)}`);
}

manualSeed(0);
const picture = randn([1, 1, 32, 40]);
const weight = randn([8, 1, 3, 3]);

noGrad(() => {
  compare("convolution", (x) => conv2d(x, weight), 1); // shifted by 1: nothing else has changed
  compare("max pooling, stride 1", (x) => maxPool2d(x, 2, { stride: 1 }), 1);

  // With stride 2 the output cannot shift by half a pixel. Neither "not at all" nor "by one" fits.
  compare("stride 2, compared unshifted", (x) => conv2d(x, weight, { stride: 2 }), 0);
  compare("stride 2, compared shifted by 1", (x) => conv2d(x, weight, { stride: 2 }), 1);
  compare("stride 2, compared shifted by 1", (x) => conv2d(x, weight, { stride: 2 }), 1, 2); // two pixels in, one out
  compare("max pooling, stride 2, compared unshifted", (x) => maxPool2d(x, 2), 0);

  // A border of zeros is a place that the image can be seen to move against.
  compare("convolution with padding 1", (x) => conv2d(x, weight, { padding: 1 }), 1);
});

// By hand: lesson 4's band, with stride 2. The kernel compares pixels 0|1, 2|3, 4|5, 6|7.
const K = tensor([[1, -1]]).reshape([1, 1, 1, 2]);
const band = ones([1, 1, 1, 8]);
band.set(["...", [2, 6]], 0);
const shifted = ones([1, 1, 1, 8]);
shifted.set(["...", [3, 7]], 0);
console.log(`band:    ${band.flatten().toArray()} gives ${conv2d(band, K, { stride: 2 }).flatten().toArray()}`);
console.log(`shifted: ${shifted.flatten().toArray()} gives ${conv2d(shifted, K, { stride: 2 }).flatten().toArray()}`);
