import type { DType } from "../../core/dtype.js";
import { checkInteger, checkNumber, checkOptions } from "../../core/options.js";
import type { Tensor } from "../../core/tensor.js";
import { adaptiveAvgPool2d } from "../../ops/adaptive_pool.js";
import { add } from "../../ops/pointwise.js";
import { flatten } from "../../ops/view.js";
import { ReLU6 } from "../activation.js";
import { BatchNorm2d } from "../batch_norm.js";
import { Sequential } from "../container.js";
import { Conv2d } from "../conv.js";
import { Dropout } from "../dropout.js";
import { constant_, kaimingNormal_, normal_ } from "../init.js";
import { Linear } from "../linear.js";
import { Module } from "../module.js";
import { letGoBetween } from "../ownership.js";

/** Convolution, batch norm and ReLU6 with the input's size (divided by the stride). */
function convNormActivation(
  inChannels: number,
  outChannels: number,
  kernel: number,
  stride = 1,
  groups = 1,
): Sequential {
  const padding = (kernel - 1) / 2;
  return new Sequential(
    new Conv2d(inChannels, outChannels, kernel, { stride, padding, groups, bias: false }),
    new BatchNorm2d(outChannels),
    new ReLU6(),
  );
}

/** Widens by 1x1, filters each channel by 3x3, narrows by 1x1; adds x where the shape stays. */
export class InvertedResidual extends Module {
  readonly conv: Sequential;
  readonly #adds: boolean;

  constructor(inChannels: number, outChannels: number, stride: number, expansion: number) {
    super();
    const wide = Math.round(inChannels * expansion);
    this.#adds = stride === 1 && inChannels === outChannels;
    this.conv = new Sequential();
    if (expansion !== 1) this.conv.append(convNormActivation(inChannels, wide, 1));
    this.conv.append(convNormActivation(wide, wide, 3, stride, wide));
    this.conv.append(new Conv2d(wide, outChannels, 1, { bias: false }));
    this.conv.append(new BatchNorm2d(outChannels));
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    const filtered = this.conv.forward(x);
    if (!this.#adds) return filtered;
    const y = add(x, filtered);
    letGoBetween(this, x, [filtered], y);
    return y;
  }
}

/** Expansion, output channels, blocks, first stride: table 2 of the paper. */
const stages: readonly (readonly [number, number, number, number])[] = [
  [1, 16, 1, 1],
  [6, 24, 2, 2],
  [6, 32, 3, 2],
  [6, 64, 4, 2],
  [6, 96, 3, 1],
  [6, 160, 3, 2],
  [6, 320, 1, 1],
];

export interface MobileNetOptions {
  /** Default 1000. */
  readonly numClasses?: number;
  /** Default 3. */
  readonly inChannels?: number;
  /** Factor of all widths; default 1. */
  readonly widthMult?: number;
  /** Probability with which the classifier drops; default 0.2. */
  readonly dropout?: number;
}

/** The nearest multiple of 8, but not more than 10 % below. */
function multipleOf8(width: number): number {
  const rounded = Math.max(8, Math.floor((width + 4) / 8) * 8);
  return rounded < 0.9 * width ? rounded + 8 : rounded;
}

/**
 * MobileNetV2 (Sandler et al. 2018), with torchvision's parameter names (`features.1.conv.0.0.weight`).
 *
 * Shapes: x [batch, 3, height, width]; result [batch, numClasses], logits.
 */
export class MobileNetV2 extends Module {
  readonly features: Sequential;
  readonly classifier: Sequential;

  constructor(options: MobileNetOptions = {}) {
    super();
    const call = "MobileNetV2";
    checkOptions(call, options, ["numClasses", "inChannels", "widthMult", "dropout"]);
    const numClasses = checkInteger(call, "numClasses", options.numClasses ?? 1000, 1);
    const factor = checkNumber(call, "widthMult", options.widthMult ?? 1, 0.01);
    let channels = multipleOf8(32 * factor);
    const last = multipleOf8(1280 * Math.max(1, factor));
    this.features = new Sequential(convNormActivation(options.inChannels ?? 3, channels, 3, 2));
    for (const [expansion, width, blocks, stride] of stages) {
      const out = multipleOf8(width * factor);
      for (let b = 0; b < blocks; b++) {
        this.features.append(new InvertedResidual(channels, out, b === 0 ? stride : 1, expansion));
        channels = out;
      }
    }
    this.features.append(convNormActivation(channels, last, 1));
    this.classifier = new Sequential(new Dropout(options.dropout ?? 0.2), new Linear(last, numClasses));
    this.apply((module) => {
      if (module instanceof Conv2d) {
        kaimingNormal_(module.weight, { mode: "fanOut" });
      } else if (module instanceof Linear) {
        normal_(module.weight, 0, 0.01);
        constant_(module.bias!, 0);
      }
    });
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    const features = this.features.forward(x);
    const pooled = adaptiveAvgPool2d(features, [1, 1]);
    const y = this.classifier.forward(flatten(pooled, 1));
    letGoBetween(this, x, [features, pooled], y);
    return y;
  }
}

/** MobileNetV2: 3.5 million parameters. */
export function mobilenetV2(options: MobileNetOptions = {}): MobileNetV2 {
  return new MobileNetV2(options);
}
