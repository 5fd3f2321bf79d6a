import type { DType } from "../../core/dtype.js";
import { ArgumentError } from "../../core/errors.js";
import { checkInteger, checkNumber, checkOptions } from "../../core/options.js";
import { describe } from "../../core/shape.js";
import type { Tensor } from "../../core/tensor.js";
import { flatten } from "../../ops/view.js";
import { ReLU } from "../activation.js";
import { AdaptiveAvgPool2d } from "../adaptive_pool.js";
import { BatchNorm2d } from "../batch_norm.js";
import { Sequential } from "../container.js";
import { Conv2d } from "../conv.js";
import { Dropout } from "../dropout.js";
import { constant_, kaimingNormal_, normal_ } from "../init.js";
import { Linear } from "../linear.js";
import { Module } from "../module.js";
import { letGoBetween } from "../ownership.js";
import { MaxPool2d } from "../pool.js";

/** Output channels of the convolutions; 0 is a max pool. */
const plans = {
  vgg11: [64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0],
  vgg13: [64, 64, 0, 128, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0],
  vgg16: [64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0],
  vgg19: [64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512, 512, 512, 512, 0],
} as const;

export interface VGGOptions {
  /** Default 1000. */
  readonly numClasses?: number;
  /** Default 3. */
  readonly inChannels?: number;
  /** Batch norm after each convolution; default false. */
  readonly batchNorm?: boolean;
  /** Probability with which the classifier drops; default 0.5. */
  readonly dropout?: number;
  /** Width of the classifier's two inner layers; default 4096. */
  readonly hidden?: number;
}

/**
 * VGG (Simonyan and Zisserman 2015), with torchvision's parameter names (`features.0.weight`, `classifier.6.bias`).
 *
 * Shapes: x [batch, 3, height, width], 224 by 224 in the paper; result [batch, numClasses], logits.
 */
export class VGG extends Module {
  readonly features: Sequential;
  readonly avgpool: AdaptiveAvgPool2d;
  readonly classifier: Sequential;

  constructor(plan: readonly number[], options: VGGOptions = {}) {
    super();
    checkOptions("VGG", options, ["numClasses", "inChannels", "batchNorm", "dropout", "hidden"]);
    const numClasses = checkInteger("VGG", "numClasses", options.numClasses ?? 1000, 1);
    const hidden = checkInteger("VGG", "hidden", options.hidden ?? 4096, 1);
    const p = checkNumber("VGG", "dropout", options.dropout ?? 0.5, 0, 1);
    if (!Array.isArray(plan))
      throw new ArgumentError(`VGG: plan must be a list of channels (0 is a max pool), got ${describe(plan)}`);
    this.features = new Sequential();
    let channels = options.inChannels ?? 3;
    for (const out of plan as readonly number[]) {
      if (out === 0) {
        this.features.append(new MaxPool2d(2));
        continue;
      }
      this.features.append(new Conv2d(channels, out, 3, { padding: 1 }));
      if (options.batchNorm) this.features.append(new BatchNorm2d(out));
      this.features.append(new ReLU());
      channels = out;
    }
    this.avgpool = new AdaptiveAvgPool2d(7);
    this.classifier = new Sequential(
      new Linear(channels * 7 * 7, hidden),
      new ReLU(),
      new Dropout(p),
      new Linear(hidden, hidden),
      new ReLU(),
      new Dropout(p),
      new Linear(hidden, numClasses),
    );
    this.apply((module) => {
      if (module instanceof Conv2d) {
        kaimingNormal_(module.weight, { mode: "fanOut", nonlinearity: "relu" });
        constant_(module.bias!, 0);
      } else if (module instanceof Linear) {
        normal_(module.weight, 0, 0.01);
        constant_(module.bias!, 0);
      }
    });
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    const features = this.features.forward(x);
    const pooled = this.avgpool.forward(features);
    const y = this.classifier.forward(flatten(pooled, 1));
    letGoBetween(this, x, [features, pooled], y);
    return y;
  }
}

/** VGG with 8 convolutions; `batchNorm: true` is torchvision's vgg11_bn. */
export function vgg11(options: VGGOptions = {}): VGG {
  return new VGG(plans.vgg11, options);
}

/** VGG with 10 convolutions. */
export function vgg13(options: VGGOptions = {}): VGG {
  return new VGG(plans.vgg13, options);
}

/** VGG with 13 convolutions. */
export function vgg16(options: VGGOptions = {}): VGG {
  return new VGG(plans.vgg16, options);
}

/** VGG with 16 convolutions. */
export function vgg19(options: VGGOptions = {}): VGG {
  return new VGG(plans.vgg19, options);
}
