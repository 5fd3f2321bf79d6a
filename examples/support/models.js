// @ts-check
/** Models by name, and what their images are: for fine-tuning and serving. */
import { nn } from "xcorr";

/**
 * `head` is the layer that names the classes; sizes are [channels, height, width]; mean and deviation of values 0 to 1.
 * @typedef {{ make: (numClasses: number) => nn.Module, head: string, size: [number, number, number],
 *   mean: number | number[], deviation: number | number[] }} Known
 */

const imagenet = { mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225] };

/** @type {Record<string, Known>} */
export const models = {
  LeNet5: {
    make: (numClasses) => new nn.models.LeNet5({ numClasses }),
    head: "fc3",
    size: [1, 28, 28],
    mean: 0.1307,
    deviation: 0.3081,
  },
  resnet18Cifar: {
    make: (numClasses) => nn.models.resnet18Cifar({ numClasses }),
    head: "fc",
    size: [3, 32, 32],
    mean: [0.4914, 0.4822, 0.4465],
    deviation: [0.247, 0.2435, 0.2616],
  },
  resnet18: {
    make: (numClasses) => nn.models.resnet18({ numClasses }),
    head: "fc",
    size: [3, 224, 224],
    ...imagenet,
  },
  resnet50: {
    make: (numClasses) => nn.models.resnet50({ numClasses }),
    head: "fc",
    size: [3, 224, 224],
    ...imagenet,
  },
};

/** The model of a name, or the end of the process with the names that there are. @param {string} name */
export function known(name) {
  const found = Object.hasOwn(models, name) ? models[name] : undefined;
  if (found === undefined) {
    console.error(`--model must be one of ${Object.keys(models).join(", ")}, got ${name}`);
    process.exit(2);
  }
  return found;
}
