// @ts-check
// Lesson 13: channels, and a 1 x 1 convolution, which is a fully connected layer applied to every pixel.
import assert from "node:assert/strict";
import { conv2d, corr2d, equal, linear, tensor } from "xcorr";

// Several input channels: each has a kernel of its own, and the results are added.
const X = tensor([[[0, 1, 2], [3, 4, 5], [6, 7, 8]], [[1, 2, 3], [4, 5, 6], [7, 8, 9]]]); // biome-ignore format: [2, 3, 3]
const K = tensor([[[0, 1], [2, 3]], [[1, 2], [3, 4]]]); // biome-ignore format: [2, 2, 2]
const sum = corr2d(X.get(0), K.get(0)).add(corr2d(X.get(1), K.get(1)));
console.log(`two input channels:\n${sum}`);

// Several output channels: one such set of kernels for each. The op does all of it.
const weight = tensor([K.toArray(), K.add(1).toArray(), K.add(2).toArray()]); // [3 out, 2 in, 2, 2]
const Y = conv2d(X.unsqueeze(0), weight);
for (let o = 0; o < 3; o++) console.log(`output channel ${o}:\n${Y.get(0, o)}`);
assert(equal(Y.get(0, 0), sum));

// A kernel of 1 x 1 does not look at neighbours. It only mixes the channels of each pixel, the same way everywhere.
const pixels = tensor([[[1, 2], [3, 4]], [[0, -1], [1, 0]], [[2, 0], [0, -2]]]); // biome-ignore format: [3, 2, 2]
const W = tensor([[1, 0, -1], [2, 1, 0.5]]); // biome-ignore format: [2 out, 3 in]
const bias = tensor([0.5, -1]);
const mixed = conv2d(pixels.unsqueeze(0), W.reshape([2, 3, 1, 1]), { bias });
console.log(`1 x 1 convolution, channel 0:\n${mixed.get(0, 0)}`);
console.log(`1 x 1 convolution, channel 1:\n${mixed.get(0, 1)}`);

// The same by a fully connected layer: 4 pixels, each a vector of its 3 channels.
const byLayer = linear(pixels.reshape([3, 4]).T, W, bias);
console.log(`fully connected, a row per pixel:\n${byLayer}`);
assert(equal(byLayer.T.reshape([1, 2, 2, 2]), mixed));
