// @ts-check
// Lesson 8: a kernel of 2 x 2 has more than one answer here, and the learning rate of lesson 6 blows up.
import { conv2d, corr2d, manualSeed, noGrad, ones, randn, tensor } from "xcorr";

// In float64, so that the digits are those of a calculation by hand.
const image = ones([6, 8], { dtype: "float64" });
image.set(["...", [2, 6]], 0);
const X = image.reshape([1, 1, 6, 8]);
// A kernel 2 high gives 5 rows instead of 6. All rows of the edges are alike, so any five will do as the target.
const edges = corr2d(image, tensor([[1, -1]], { dtype: "float64" }));
const Y = edges.narrow(0, 0, 5).reshape([1, 1, 5, 7]);

/** Six digits, and nothing below 1e-12. @param {number} value */
const digits = (value) => Number((Math.abs(value) < 1e-12 ? 0 : value).toPrecision(6));

/**
 * Gradient descent on the sum of squares; prints the first three losses and where it ends.
 * @param {number[][]} start @param {number} lr @param {number} steps
 */
function learn(start, lr, steps, x = X, y = Y) {
  const K = tensor([[start]], { dtype: "float64", requiresGrad: true }); // [1, 1, 2, 2]
  const losses = [];
  for (let step = 1; step <= steps; step++) {
    const loss = conv2d(x, K).sub(y).square().sum();
    K.setGrad(null);
    loss.backward();
    noGrad(() => K.sub_(K.grad?.mul(lr) ?? 0));
    losses.push(digits(loss.item()));
  }
  console.log(`start ${JSON.stringify(start)}, lr ${lr}: losses ${losses.slice(0, 3).join(", ")}, ...`);
  console.log(`  after ${steps} steps: loss ${losses.at(-1)}, kernel [${Array.from(K.data(), digits).join(", ")}]`);
}

const zeros = [[0, 0], [0, 0]]; // biome-ignore format: a matrix
const other = [[0.1, 0.2], [0.3, 0.4]]; // biome-ignore format: a matrix

// All rows of X are alike, so only the sums of the kernel's columns matter: they must be 1 and -1.
learn(zeros, 0.01, 200);
learn(other, 0.01, 400); // another answer: the one nearest to the start
learn([[1, -1], [0, 0]], 0.01, 10); // biome-ignore format: a matrix

// Lesson 6's learning rate. From zeros it works by luck; from elsewhere every step overshoots twofold.
learn(zeros, 0.03, 10);
learn(other, 0.03, 10);

// An image whose rows differ leaves only one answer.
manualSeed(0);
const noise = randn([1, 1, 6, 8], { dtype: "float64" });
const truth = tensor([[[[1, -1], [0, 0]]]], { dtype: "float64" }); // biome-ignore format: a matrix
learn(other, 0.005, 800, noise, conv2d(noise, truth));
