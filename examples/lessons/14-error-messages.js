// @ts-check
// Lesson 14: the error messages one meets, what each means and what helps.
import { conv2d, corr2d, exp, nn, noGrad, ones, tensor, zeros } from "xcorr";

/** Prints what `fn` throws. @param {string} title @param {() => unknown} fn */
function meet(title, fn) {
  try {
    fn();
  } catch (error) {
    const { name, message } = /** @type {Error} */ (error);
    console.log(`${title}\n  ${name}: ${message}\n`);
    return;
  }
  throw new Error(`${title}: this should have failed`);
}

const K = tensor([[1, -1]]);
const batch = zeros([1, 1, 6, 8]);

meet("a batch of images where a matrix is expected", () => corr2d(batch, K));
meet("a matrix where a batch is expected", () => conv2d(zeros([6, 8]), zeros([1, 1, 2, 2])));
// @ts-expect-error: TypeScript says so before the script runs
meet("no kernel", () => corr2d(zeros([6, 8])));
meet("a kernel larger than the image", () => conv2d(batch, zeros([1, 1, 7, 7])));
meet("the wrong number of channels", () => conv2d(batch, zeros([6, 3, 3, 3])));
meet("bytes, as images are stored", () => conv2d(zeros([1, 1, 6, 8], { dtype: "uint8" }), zeros([1, 1, 2, 2])));
meet("two types of numbers", () => conv2d(batch, zeros([1, 1, 2, 2], { dtype: "float64" })));
// @ts-expect-error: misspelt
meet("an option that does not exist", () => conv2d(batch, zeros([1, 1, 2, 2]), { pading: 1 }));
meet("shapes that do not broadcast", () => zeros([6, 7]).sub(zeros([6, 8])));

const weight = new nn.Parameter(ones([1, 2]));
meet("changing a parameter while recording", () => weight.sub_(0.1));
noGrad(() => weight.sub_(0.1)); // what helps: an update is no part of the computation

meet("changing what a derivative needs", () => {
  const y = exp(weight); // the derivative of exp is its result
  y.add_(1); // which is overwritten here
  y.sum().backward();
});
exp(weight).add(1).sum().backward(); // what helps: a new tensor instead

meet("backward from a matrix", () => weight.mul(2).backward());
meet("backward from nothing", () => zeros([2]).sum().backward());
meet("backward twice", () => {
  const loss = exp(weight).sum();
  loss.backward();
  loss.backward();
});
