// @ts-check
// Lesson 2: two loops that assign element by element, differentiated all the same.
import { corr2d, tensor, zeros } from "xcorr";

/**
 * corr2d as a textbook writes it: make a matrix of zeros, then set one element after the other.
 *
 * @param {import("xcorr").Tensor} X [height, width]
 * @param {import("xcorr").Tensor} K [kernel height, kernel width]
 */
function corr2dLoops(X, K) {
  const [h, w] = [K.size(0), K.size(1)];
  const Y = zeros([X.size(0) - h + 1, X.size(1) - w + 1]);
  for (let i = 0; i < Y.size(0); i++) {
    for (let j = 0; j < Y.size(1); j++) {
      const window = X.get([i, i + h], [j, j + w]);
      Y.set([i, j], window.mul(K).sum()); // Y[i, j] = ..., in place
    }
  }
  return Y;
}

/** @param {typeof corr2d | typeof corr2dLoops} correlate */
function gradients(correlate) {
  const X = tensor([[0, 1, 2], [3, 4, 5], [6, 7, 8]], { requiresGrad: true }); // biome-ignore format: a matrix
  const K = tensor([[0, 1], [2, 3]], { requiresGrad: true }); // biome-ignore format: a matrix
  const Y = correlate(X, K);
  Y.sum().backward();
  return { Y, dK: K.grad, dX: X.grad };
}

const loops = gradients(corr2dLoops);
console.log(`Y by loops:\n${loops.Y}`);
console.log(`dK, the sum of X over all windows:\n${loops.dK}`);
console.log(`dX, how often each pixel was used, times what it was multiplied with:\n${loops.dX}`);

const op = gradients(corr2d);
console.log(`dK by the op:\n${op.dK}`);
console.log(`dX by the op:\n${op.dX}`);

// With a loss that is not linear: sum of squares.
const X = tensor([[0, 1, 2], [3, 4, 5], [6, 7, 8]], { requiresGrad: true }); // biome-ignore format: a matrix
const K = tensor([[0, 1], [2, 3]], { requiresGrad: true }); // biome-ignore format: a matrix
const loss = corr2dLoops(X, K).square().sum();
loss.backward();
console.log(`sum of squares: ${loss.item()}`);
console.log(`its dK:\n${K.grad}`);
console.log(`its dX:\n${X.grad}`);
