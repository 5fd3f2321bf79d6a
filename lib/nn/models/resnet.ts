import type { DType } from "../../core/dtype.js";
import { ArgumentError } from "../../core/errors.js";
import { checkChoice, checkInteger, checkOptions } from "../../core/options.js";
import { describe } from "../../core/shape.js";
import type { Tensor } from "../../core/tensor.js";
import { flatten } from "../../ops/view.js";
import { AdaptiveAvgPool2d } from "../adaptive_pool.js";
import { BatchNorm2d } from "../batch_norm.js";
import { Sequential } from "../container.js";
import { Conv2d } from "../conv.js";
import { constant_, kaimingNormal_ } from "../init.js";
import { Linear } from "../linear.js";
import { Module } from "../module.js";
import { letGoBetween } from "../ownership.js";
import { MaxPool2d } from "../pool.js";

/** Residual networks (He et al. 2016), with torchvision's parameter names (`layer2.0.downsample.0.weight`). */

function conv3x3(inChannels: number, outChannels: number, stride: number): Conv2d {
  return new Conv2d(inChannels, outChannels, 3, { stride, padding: 1, bias: false });
}

function conv1x1(inChannels: number, outChannels: number, stride: number): Conv2d {
  return new Conv2d(inChannels, outChannels, 1, { stride, bias: false });
}

/** The shortcut where the shape changes: a 1x1 convolution with batch norm. */
function shortcut(inChannels: number, outChannels: number, stride: number): Sequential | null {
  if (stride === 1 && inChannels === outChannels) return null;
  return new Sequential(conv1x1(inChannels, outChannels, stride), new BatchNorm2d(outChannels));
}

/** Two 3x3 convolutions around a shortcut: relu(bn(conv(relu(bn(conv(x))))) + x). */
export class BasicBlock extends Module {
  static readonly expansion = 1;
  readonly conv1: Conv2d;
  readonly bn1: BatchNorm2d;
  readonly conv2: Conv2d;
  readonly bn2: BatchNorm2d;
  readonly downsample: Sequential | null;

  constructor(inChannels: number, width: number, stride = 1) {
    super();
    this.conv1 = conv3x3(inChannels, width, stride);
    this.bn1 = new BatchNorm2d(width);
    this.conv2 = conv3x3(width, width, 1);
    this.bn2 = new BatchNorm2d(width);
    this.downsample = shortcut(inChannels, width, stride);
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    const residual = this.downsample === null ? x : this.downsample.forward(x);
    const a = this.conv1.forward(x);
    const b = this.bn1.forward(a, { activation: "relu" });
    const c = this.conv2.forward(b);
    const y = this.bn2.forward(c, { activation: "relu", residual });
    letGoBetween(this, x, [residual, a, b, c], y);
    return y;
  }

  /** The last batch norm before the sum. @internal */
  get last(): BatchNorm2d {
    return this.bn2;
  }
}

/** 1x1, 3x3 (with the stride) and 1x1 convolutions around a shortcut; the last has four times the width. */
export class Bottleneck extends Module {
  static readonly expansion = 4;
  readonly conv1: Conv2d;
  readonly bn1: BatchNorm2d;
  readonly conv2: Conv2d;
  readonly bn2: BatchNorm2d;
  readonly conv3: Conv2d;
  readonly bn3: BatchNorm2d;
  readonly downsample: Sequential | null;

  constructor(inChannels: number, width: number, stride = 1) {
    super();
    const out = width * Bottleneck.expansion;
    this.conv1 = conv1x1(inChannels, width, 1);
    this.bn1 = new BatchNorm2d(width);
    this.conv2 = conv3x3(width, width, stride);
    this.bn2 = new BatchNorm2d(width);
    this.conv3 = conv1x1(width, out, 1);
    this.bn3 = new BatchNorm2d(out);
    this.downsample = shortcut(inChannels, out, stride);
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    const residual = this.downsample === null ? x : this.downsample.forward(x);
    const a = this.conv1.forward(x);
    const b = this.bn1.forward(a, { activation: "relu" });
    const c = this.conv2.forward(b);
    const d = this.bn2.forward(c, { activation: "relu" });
    const e = this.conv3.forward(d);
    const y = this.bn3.forward(e, { activation: "relu", residual });
    letGoBetween(this, x, [residual, a, b, c, d, e], y);
    return y;
  }

  /** @internal */
  get last(): BatchNorm2d {
    return this.bn3;
  }
}

export interface ResNetOptions {
  /** Default 1000 (CIFAR forms: 10). */
  readonly numClasses?: number;
  /** Default 3. */
  readonly inChannels?: number;
  /** How it begins: "imagenet" (7x7, stride 2, max pool; default) or "cifar" (3x3, stride 1), for images of 32 pixels. */
  readonly stem?: "imagenet" | "cifar";
  /** Starts every block as its shortcut alone, by a scale of 0 in its last batch norm; default false. */
  readonly zeroInitResidual?: boolean;
  /** Widths of the stages; default 64, 128, 256, 512. */
  readonly widths?: readonly number[];
}

/**
 * A residual network of stages, each of `blocks[i]` blocks.
 *
 * Shapes: x [batch, 3, height, width]; result [batch, numClasses], logits.
 */
export class ResNet extends Module {
  readonly conv1: Conv2d;
  readonly bn1: BatchNorm2d;
  readonly maxpool: MaxPool2d | null;
  readonly layer1: Sequential;
  readonly layer2: Sequential;
  readonly layer3: Sequential;
  /** Absent in the CIFAR forms with three stages. */
  readonly layer4: Sequential | null;
  readonly avgpool: AdaptiveAvgPool2d;
  readonly fc: Linear;

  constructor(block: typeof BasicBlock | typeof Bottleneck, blocks: readonly number[], options: ResNetOptions = {}) {
    super();
    const call = "ResNet";
    checkOptions(call, options, ["numClasses", "inChannels", "stem", "zeroInitResidual", "widths"]);
    const stem = checkChoice(call, "stem", options.stem ?? "imagenet", ["imagenet", "cifar"]);
    const numClasses = checkInteger(call, "numClasses", options.numClasses ?? 1000, 1);
    const inChannels = checkInteger(call, "inChannels", options.inChannels ?? 3, 1);
    if (typeof block !== "function" || typeof block.expansion !== "number")
      throw new ArgumentError(
        `${call}: block must be a class such as BasicBlock or Bottleneck, got ${describe(block)}`,
      );
    if (!Array.isArray(blocks))
      throw new ArgumentError(`${call}: blocks must be a list of 3 or 4 numbers, got ${describe(blocks)}`);
    const widths = options.widths ?? [64, 128, 256, 512].slice(0, blocks.length);
    if (widths.length !== blocks.length || blocks.length < 3 || blocks.length > 4)
      throw new ArgumentError(
        `${call}: needs 3 or 4 stages with a width each, got ${describe(blocks)} and ${describe(widths)}`,
      );
    let channels = widths[0]!;
    this.conv1 =
      stem === "imagenet"
        ? new Conv2d(inChannels, channels, 7, { stride: 2, padding: 3, bias: false })
        : conv3x3(inChannels, channels, 1);
    this.bn1 = new BatchNorm2d(channels);
    this.maxpool = stem === "imagenet" ? new MaxPool2d(3, { stride: 2, padding: 1 }) : null;
    const stage = (i: number): Sequential => {
      const layers = new Sequential();
      for (let b = 0; b < blocks[i]!; b++) {
        layers.append(new block(channels, widths[i]!, i > 0 && b === 0 ? 2 : 1));
        channels = widths[i]! * block.expansion;
      }
      return layers;
    };
    this.layer1 = stage(0);
    this.layer2 = stage(1);
    this.layer3 = stage(2);
    this.layer4 = blocks.length === 4 ? stage(3) : null;
    this.avgpool = new AdaptiveAvgPool2d([1, 1]);
    this.fc = new Linear(channels, numClasses);
    this.apply((module) => {
      if (module instanceof Conv2d) kaimingNormal_(module.weight, { mode: "fanOut", nonlinearity: "relu" });
      else if (options.zeroInitResidual && (module instanceof BasicBlock || module instanceof Bottleneck))
        constant_(module.last.weight!, 0);
    });
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    const a = this.conv1.forward(x);
    const b = this.bn1.forward(a, { activation: "relu" });
    const c = this.maxpool === null ? b : this.maxpool.forward(b);
    const d = this.layer1.forward(c);
    const e = this.layer2.forward(d);
    const f = this.layer3.forward(e);
    const g = this.layer4 === null ? f : this.layer4.forward(f);
    const h = this.avgpool.forward(g);
    const y = this.fc.forward(flatten(h, 1));
    letGoBetween(this, x, [a, b, c, d, e, f, g, h], y);
    return y;
  }
}

/** ResNet-18: 11.7 million parameters, 3.6 GFLOP for an image of 224 pixels. */
export function resnet18(options: ResNetOptions = {}): ResNet {
  return new ResNet(BasicBlock, [2, 2, 2, 2], options);
}

/** ResNet-34: 21.8 million parameters. */
export function resnet34(options: ResNetOptions = {}): ResNet {
  return new ResNet(BasicBlock, [3, 4, 6, 3], options);
}

/** ResNet-50: 25.6 million parameters. */
export function resnet50(options: ResNetOptions = {}): ResNet {
  return new ResNet(Bottleneck, [3, 4, 6, 3], options);
}

/** ResNet-18 for images of 32 pixels: a 3x3 stem without pooling, 10 classes; 11.2 million parameters. */
export function resnet18Cifar(options: ResNetOptions = {}): ResNet {
  return resnet18({ numClasses: 10, stem: "cifar", ...options });
}

/**
 * The paper's small networks for CIFAR: three stages of (depth - 2) / 6 blocks with 16, 32 and 64 channels. Shortcuts that
 * change the shape are 1x1 convolutions (the paper's option B).
 */
export function resnetCifar(depth: number, options: ResNetOptions = {}): ResNet {
  if (!Number.isInteger(depth) || depth < 8 || (depth - 2) % 6 !== 0)
    throw new ArgumentError(`resnetCifar: depth must be 6 n + 2, such as 20, 32, 44 or 56, got ${describe(depth)}`);
  const n = (depth - 2) / 6;
  return new ResNet(BasicBlock, [n, n, n], { numClasses: 10, stem: "cifar", widths: [16, 32, 64], ...options });
}

/** ResNet-20 for CIFAR: 0.27 million parameters. */
export function resnet20(options: ResNetOptions = {}): ResNet {
  return resnetCifar(20, options);
}
