import type { DType } from "../core/dtype.js";
import { ArgumentError } from "../core/errors.js";
import { checkInteger, checkNumber } from "../core/options.js";
import { describe } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import { checkTensor } from "../ops/kernel.js";
import { pad } from "../ops/pad.js";
import { Module } from "./module.js";
import { checkRank } from "./options.js";
import { tuple } from "./print.js";

/** Padding as modules: one amount for all sides, or [left, right, top, bottom, front, back] as far as there are dimensions. */

export type PadAmounts = number | readonly number[];

type Mode = "constant" | "reflect" | "replicate" | "circular";

abstract class Pad extends Module {
  /** Before and after each dimension, the last dimension first. */
  readonly padding: readonly number[];
  readonly #call: string;
  readonly #mode: Mode;
  readonly #value: number;

  protected constructor(call: string, dims: number, padding: PadAmounts, mode: Mode, value = 0) {
    super();
    const list = typeof padding === "number" ? new Array<number>(2 * dims).fill(padding) : padding;
    if (!Array.isArray(list) || list.length !== 2 * dims) {
      throw new ArgumentError(
        `${call}: padding must be a number or a list of ${2 * dims}, before and after each dimension from the last, got ${describe(padding)}`,
      );
    }
    this.padding = Array.from(list, (amount, i) => checkInteger(call, `padding[${i}]`, amount, -(2 ** 31)));
    this.#call = call;
    this.#mode = mode;
    this.#value = checkNumber(call, "value", value);
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    const mode = this.#mode;
    checkTensor(this.#call, "x", x);
    const dims = this.padding.length / 2;
    if (mode !== "constant")
      checkRank(this.#call, x, [dims + 1, dims + 2], `[batch, channels, ${dims} sizes] or without batch`);
    return pad(x, this.padding, mode === "constant" ? { mode, value: this.#value } : { mode });
  }

  override extraText(): string {
    return tuple(this.padding);
  }
}

/** A border of a constant around the last dimension; negative amounts cut off. */
export class ConstantPad1d extends Pad {
  readonly value: number;

  constructor(padding: PadAmounts, value: number) {
    super("ConstantPad1d", 1, padding, "constant", value);
    this.value = value;
  }

  override extraText(): string {
    return `padding=${tuple(this.padding)}, value=${this.value}`;
  }
}

/** A border of a constant around the last 2 dimensions; negative amounts cut off. */
export class ConstantPad2d extends Pad {
  readonly value: number;

  constructor(padding: PadAmounts, value: number) {
    super("ConstantPad2d", 2, padding, "constant", value);
    this.value = value;
  }

  override extraText(): string {
    return `padding=${tuple(this.padding)}, value=${this.value}`;
  }
}

/** A border of a constant around the last 3 dimensions; negative amounts cut off. */
export class ConstantPad3d extends Pad {
  readonly value: number;

  constructor(padding: PadAmounts, value: number) {
    super("ConstantPad3d", 3, padding, "constant", value);
    this.value = value;
  }

  override extraText(): string {
    return `padding=${tuple(this.padding)}, value=${this.value}`;
  }
}

/** A border of zeros around the last dimension. */
export class ZeroPad1d extends Pad {
  constructor(padding: PadAmounts) {
    super("ZeroPad1d", 1, padding, "constant");
  }
}

/** A border of zeros around the last 2 dimensions. */
export class ZeroPad2d extends Pad {
  constructor(padding: PadAmounts) {
    super("ZeroPad2d", 2, padding, "constant");
  }
}

/** A border of zeros around the last 3 dimensions. */
export class ZeroPad3d extends Pad {
  constructor(padding: PadAmounts) {
    super("ZeroPad3d", 3, padding, "constant");
  }
}

/** A border that mirrors the image, without its edge, around the last dimension. */
export class ReflectionPad1d extends Pad {
  constructor(padding: PadAmounts) {
    super("ReflectionPad1d", 1, padding, "reflect");
  }
}

/** A border that mirrors the image, without its edge, around the last 2 dimensions. */
export class ReflectionPad2d extends Pad {
  constructor(padding: PadAmounts) {
    super("ReflectionPad2d", 2, padding, "reflect");
  }
}

/** A border that mirrors the image, without its edge, around the last 3 dimensions. */
export class ReflectionPad3d extends Pad {
  constructor(padding: PadAmounts) {
    super("ReflectionPad3d", 3, padding, "reflect");
  }
}

/** A border that repeats the edge around the last dimension. */
export class ReplicationPad1d extends Pad {
  constructor(padding: PadAmounts) {
    super("ReplicationPad1d", 1, padding, "replicate");
  }
}

/** A border that repeats the edge around the last 2 dimensions. */
export class ReplicationPad2d extends Pad {
  constructor(padding: PadAmounts) {
    super("ReplicationPad2d", 2, padding, "replicate");
  }
}

/** A border that repeats the edge around the last 3 dimensions. */
export class ReplicationPad3d extends Pad {
  constructor(padding: PadAmounts) {
    super("ReplicationPad3d", 3, padding, "replicate");
  }
}

/** A border that goes on from the other end around the last dimension. */
export class CircularPad1d extends Pad {
  constructor(padding: PadAmounts) {
    super("CircularPad1d", 1, padding, "circular");
  }
}

/** A border that goes on from the other end around the last 2 dimensions. */
export class CircularPad2d extends Pad {
  constructor(padding: PadAmounts) {
    super("CircularPad2d", 2, padding, "circular");
  }
}

/** A border that goes on from the other end around the last 3 dimensions. */
export class CircularPad3d extends Pad {
  constructor(padding: PadAmounts) {
    super("CircularPad3d", 3, padding, "circular");
  }
}
