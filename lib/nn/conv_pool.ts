import { isTensor, type Tensor } from "../core/tensor.js";
import { convMaxPoolRelu } from "../ops/conv_max_pool.js";
import { ReLU } from "./activation.js";
import { Conv2d } from "./conv.js";
import type { Module } from "./module.js";
import { keepsNothing } from "./ownership.js";
import { MaxPool2d } from "./pool.js";

/** Convolution, 2x2 max pooling and relu of small images in one pass, where nobody watches what lies between. */

/** relu(maxPool2d(layer(x), 2)) in one pass; null if the layer is watched or special, or the pass would not pay. */
export function convolvedAndPooled(layer: Conv2d, x: Tensor): Tensor | null {
  const { groups, paddingMode, stride, dilation } = layer;
  const ones = groups === 1 && stride.every((n) => n === 1) && dilation.every((n) => n === 1);
  if (layer.constructor !== Conv2d || !ones || paddingMode !== "zeros" || !keepsNothing(layer)) return null;
  return convMaxPoolRelu(x, layer.weight, layer.bias, layer.padding);
}

/**
 * What three modules in a row make of x, if they are that: the largest of what relu leaves is relu of the largest (and so
 * are its gradients), so pooling and relu may come in either order.
 */
export function threeInOne(
  first: Module,
  second: Module | undefined,
  third: Module | undefined,
  x: unknown,
): Tensor | null {
  if (second === undefined || third === undefined || first.constructor !== Conv2d || !isTensor(x)) return null;
  const [pool, relu] = second.constructor === ReLU ? [third, second] : [second, third];
  if (relu.constructor !== ReLU || !keepsNothing(relu)) return null;
  if (pool.constructor !== MaxPool2d || !halves(pool as MaxPool2d) || !keepsNothing(pool)) return null;
  return convolvedAndPooled(first as Conv2d, x);
}

/** Whether windows are 2x2 and lie side by side. */
function halves({ kernelSize, stride, padding, dilation, ceilMode, returnIndices }: MaxPool2d): boolean {
  const all = (values: number | readonly number[], n: number): boolean =>
    typeof values === "number" ? values === n : values.every((value) => value === n);
  return all(kernelSize, 2) && all(stride, 2) && all(padding, 0) && all(dilation, 1) && !ceilMode && !returnIndices;
}
