// @ts-check
// Lesson 7: the same with an optimiser, weight decay and a progress bar.
import { corr2d, nn, noGrad, ones, optim, tensor, train } from "xcorr";

const image = ones([6, 8]);
image.set(["...", [2, 6]], 0);
const X = image.reshape([1, 1, 6, 8]);
const Y = corr2d(image, tensor([[1, -1]])).reshape([1, 1, 6, 7]);

/**
 * 50 steps from a kernel of zeros.
 * @param {number} weightDecay pulls the weights towards 0, by weightDecay * weight added to each gradient
 */
function learn(weightDecay) {
  const conv = new nn.Conv2d(1, 1, [1, 2], { bias: false });
  noGrad(() => conv.weight.fill_(0));
  const optimizer = new optim.SGD(conv.parameters(), { lr: 3e-2, weightDecay });
  // A bar where there is a terminal, plain lines in a file or a pipe.
  const bar = train.progress({ label: `weight decay ${weightDecay}`, total: 50, unit: "steps" });
  let last = 0;
  for (let epoch = 1; epoch <= 50; epoch++) {
    optimizer.zeroGrad();
    const loss = conv.forward(X).sub(Y).square().sum();
    loss.backward();
    optimizer.step();
    last = loss.item();
    bar.update(epoch, { loss: last.toFixed(6) });
  }
  bar.stop();
  const kernel = [...conv.weight.data()].map((v) => v.toFixed(4));
  console.log(`weight decay ${weightDecay}: loss ${last.toFixed(4)}, kernel [${kernel.join(", ")}]`);
}

learn(0); // finds [1, -1]
learn(0.1);
learn(1); // stays smaller: a compromise between a small loss and small weights
