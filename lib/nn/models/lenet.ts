import type { DType, FloatDType } from "../../core/dtype.js";
import { checkInteger, checkOptions } from "../../core/options.js";
import type { Tensor } from "../../core/tensor.js";
import { relu } from "../../ops/activation.js";
import { linearRelu } from "../../ops/matmul.js";
import { maxPool2d } from "../../ops/max_pool.js";
import { flatten } from "../../ops/view.js";
import { Conv2d } from "../conv.js";
import { convolvedAndPooled } from "../conv_pool.js";
import { Linear } from "../linear.js";
import { Module } from "../module.js";
import { keepsNothing, letGoBetween } from "../ownership.js";

export interface LeNetOptions {
  /** Default 10. */
  readonly numClasses?: number;
  /** Default 1: grey images. */
  readonly inChannels?: number;
  /** Of the parameters; default float32. */
  readonly dtype?: FloatDType;
}

/**
 * LeNet-5 (LeCun et al. 1998) as it is trained today, with ReLU and max pooling: 61,706 parameters.
 *
 * Shapes: x [batch, 1, 28, 28] (the first layer pads to 32); result [batch, 10], logits.
 */
export class LeNet5 extends Module {
  readonly conv1: Conv2d;
  readonly conv2: Conv2d;
  readonly fc1: Linear;
  readonly fc2: Linear;
  readonly fc3: Linear;

  constructor(options: LeNetOptions = {}) {
    super();
    checkOptions("LeNet5", options, ["numClasses", "inChannels", "dtype"]);
    const numClasses = checkInteger("LeNet5", "numClasses", options.numClasses ?? 10, 1);
    const { dtype = "float32" } = options;
    this.conv1 = new Conv2d(options.inChannels ?? 1, 6, 5, { padding: 2, dtype });
    this.conv2 = new Conv2d(6, 16, 5, { dtype });
    this.fc1 = new Linear(16 * 5 * 5, 120, { dtype });
    this.fc2 = new Linear(120, 84, { dtype });
    this.fc3 = new Linear(84, numClasses, { dtype });
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    const between: Tensor<D>[] = [];
    const kept = (t: Tensor<D>): Tensor<D> => {
      between.push(t);
      return t;
    };
    let y = kept(this.#pooled(this.conv1, x, kept)); // [batch, 6, 14, 14]
    y = kept(this.#pooled(this.conv2, y, kept)); // [batch, 16, 5, 5]
    y = kept(this.#connected(this.fc1, flatten(y, 1), kept));
    y = this.fc3.forward(kept(this.#connected(this.fc2, y, kept)));
    letGoBetween(this, x, between, y);
    return y;
  }

  /** The layer, its largest outputs, relu; in one pass unless somebody watches the layer. */
  #pooled<D extends DType>(layer: Conv2d, x: Tensor<D>, kept: (t: Tensor<D>) => Tensor<D>): Tensor<D> {
    const fused = convolvedAndPooled(layer, x);
    if (fused !== null) return fused as Tensor<D>;
    // The largest of what relu leaves is relu of the largest, and so are its gradients: a quarter of the elements.
    return relu(kept(maxPool2d(kept(layer.forward(x)), 2)));
  }

  #connected<D extends DType>(layer: Linear, x: Tensor<D>, kept: (t: Tensor<D>) => Tensor<D>): Tensor<D> {
    if (layer.constructor === Linear && keepsNothing(layer))
      return linearRelu(x, layer.weight as Tensor<D>, layer.bias as Tensor<D> | null);
    return relu(kept(layer.forward(x)));
  }
}
