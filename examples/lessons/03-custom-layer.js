// @ts-check
// Lesson 3: a layer of your own, and how to train it.
import { corr2d, manualSeed, nn, noGrad, optim, randn, tensor, zeros } from "xcorr";

/** Cross-correlation with a kernel and a bias that are learned. */
class Conv2D extends nn.Module {
  /** @param {[number, number]} kernelSize height and width */
  constructor(kernelSize) {
    super();
    // A Parameter in a field of the module is all it takes to be found and learned.
    this.weight = new nn.Parameter(randn(kernelSize));
    this.bias = new nn.Parameter(zeros([1]));
  }

  /** @param {import("xcorr").Tensor<"float32">} x [height, width] @override */
  forward(x) {
    return corr2d(x, this.weight).add(this.bias);
  }
}

// The layer computes what corr2d computes, plus the bias.
const layer = new Conv2D([2, 2]);
noGrad(() => {
  layer.weight.copy_(tensor([[0, 1], [2, 3]])); // biome-ignore format: a matrix
  layer.bias.fill_(1);
});
const X = tensor([[0, 1, 2], [3, 4, 5], [6, 7, 8]]); // biome-ignore format: a matrix
console.log(`layer.forward(X):\n${layer.forward(X)}`);
for (const [name, parameter] of layer.namedParameters()) console.log(`${name} [${parameter.shape.join(", ")}]`);

// The gradients of the sum of the output: corr2d's, and 4 for the bias, which was added at 4 positions.
layer.forward(X).sum().backward();
console.log(`weight.grad:\n${layer.weight.grad}`);
console.log(`bias.grad: ${layer.bias.grad}`);

// Training: a new layer finds the kernel and the bias that made Y, from one random image and its result.
manualSeed(1);
const image = randn([12, 12]);
const target = noGrad(() => layer.forward(image)); // kernel [[0, 1], [2, 3]], bias 1
const learner = new Conv2D([2, 2]);
const optimizer = new optim.SGD(learner.parameters(), { lr: 0.1 });
for (let step = 1; step <= 100; step++) {
  optimizer.zeroGrad(); // forget the gradients of the last step
  const loss = learner.forward(image).sub(target).square().mean();
  loss.backward(); // compute the gradients
  optimizer.step(); // weight -= lr * weight.grad, bias -= lr * bias.grad
  if (step % 20 === 0) console.log(`step ${step}, loss ${loss.item().toFixed(4)}`);
}
for (const [name, parameter] of learner.namedParameters()) {
  console.log(`learned ${name}: ${[...parameter.data()].map((v) => Number(v.toFixed(3))).join(", ")}`);
}
