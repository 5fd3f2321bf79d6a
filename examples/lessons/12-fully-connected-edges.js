// @ts-check
// Lesson 12: a fully connected layer that detects edges, and what a convolution knows that it has to learn.
import { conv2d, convMatrix, corr2d, manualSeed, nn, noGrad, ones, optim, randn, tensor } from "xcorr";

const K = tensor([[1, -1]]).reshape([1, 1, 1, 2]);
const image = ones([6, 8]);
image.set(["...", [2, 6]], 0);

// Every output of a fully connected layer may use every pixel: 42 outputs from 48 pixels, 2016 weights.
const dense = new nn.Linear(48, 42, { bias: false });

// With the convolution's matrix as weights it is the edge detector of lesson 4.
noGrad(() => dense.weight.copy_(convMatrix(K, [1, 6, 8])));
const byHand = dense.forward(image.reshape([48])).detach();
console.log(`by hand-set weights:\n${byHand.reshape([6, 7])}`);
console.log(
  `${dense.weight.numel()} weights, of which ${countNonzero(dense.weight)} are not 0; the kernel has ${K.numel()}`,
);

/** @typedef {import("xcorr").Tensor<"float32">} Tensor */

/** @param {import("xcorr").Tensor} t */
function countNonzero(t) {
  return t.data().filter((v) => v !== 0).length;
}

/**
 * Trains `layer` to give `targets`, and returns the last loss: the squared error, summed over an image.
 * @param {nn.Linear} layer @param {Tensor} images @param {Tensor} targets @param {number} lr
 */
function learn(layer, images, targets, lr) {
  const optimizer = new optim.SGD(layer.parameters(), { lr });
  let loss = 0;
  for (let step = 0; step < 100; step++) {
    optimizer.zeroGrad();
    const error = layer.forward(images).sub(targets).square().sum().div(images.size(0));
    error.backward();
    optimizer.step();
    loss = error.item();
  }
  return loss;
}

/** The largest error of `layer` on images that it has not seen. @param {nn.Linear} layer */
function largestError(layer) {
  const fresh = randn([100, 1, 6, 8]);
  const right = conv2d(fresh, K).reshape([100, 42]);
  const given = noGrad(() => layer.forward(fresh.reshape([100, 48])));
  return Math.max(...given.sub(right).abs().data());
}

// Learned from the one image, as the kernel of lesson 6 was: the layer learns that image by heart.
manualSeed(0);
const one = new nn.Linear(48, 42, { bias: false });
noGrad(() => one.weight.fill_(0));
const edges = corr2d(image, tensor([[1, -1]]));
const loss = learn(one, image.reshape([1, 48]), edges.reshape([1, 42]), 0.01);
console.log(`from one image: loss ${loss.toFixed(4)}`);

// The same band one pixel further right. A convolution finds its edges; the layer says what it has always said.
const shifted = ones([6, 8]);
shifted.set(["...", [3, 7]], 0);
const found = corr2d(shifted, tensor([[1, -1]])).get(0);
console.log(`convolution, shifted image, a row: ${found.toArray()}`);
const answer = one.forward(shifted.reshape([1, 48])).get(0, [0, 7]);
console.log(`the layer, shifted image, a row: ${Array.from(answer.data(), (v) => v.toFixed(2)).join(",")}`);

// From 200 random images it learns the rule, 2016 weights to say what 2 can.
const many = new nn.Linear(48, 42, { bias: false });
const images = randn([200, 1, 6, 8]);
const rest = learn(many, images.reshape([200, 48]), conv2d(images, K).reshape([200, 42]), 0.4);
console.log(`from 200 images: loss ${rest.toFixed(4)}, largest error on new images ${largestError(many).toFixed(3)}`);
