// @ts-check
// Lesson 6: learning the edge kernel from an image and its edges, with a loop written by hand.
import { corr2d, nn, noGrad, ones, tensor } from "xcorr";

// Lesson 4's image, and its edges as the target. A layer takes batches of images with channels:
// [batch, channels, height, width], here 1 image with 1 channel.
const image = ones([6, 8]);
image.set(["...", [2, 6]], 0);
const X = image.reshape([1, 1, 6, 8]);
const Y = corr2d(image, tensor([[1, -1]])).reshape([1, 1, 6, 7]);

const conv = new nn.Conv2d(1, 1, [1, 2], { bias: false }); // 1 channel in, 1 out, kernel 1 high and 2 wide
noGrad(() => conv.weight.fill_(0)); // a layer starts with random numbers; zeros make the run repeatable

const lr = 3e-2;
for (let epoch = 1; epoch <= 10; epoch++) {
  const yHat = conv.forward(X);
  const loss = yHat.sub(Y).square().sum();
  conv.zeroGrad(); // gradients add up: without this line each step would use the sum of all so far
  loss.backward();
  // Under noGrad, for the update itself must not be recorded as part of the computation.
  noGrad(() => conv.weight.sub_(conv.weight.grad?.mul(lr) ?? 0));
  if (epoch % 2 === 0) console.log(`epoch ${epoch}, loss ${loss.item().toFixed(3)}`);
}

console.log(`learned kernel:\n${conv.weight.detach().reshape([1, 2])}`); // on the way to [1, -1]
