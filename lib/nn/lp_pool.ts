import type { DType } from "../core/dtype.js";
import { checkNumber, checkOptions } from "../core/options.js";
import type { Tensor } from "../core/tensor.js";
import { lpPool1d, lpPool2d } from "../ops/lp_pool.js";
import { checkFlag } from "../ops/pool_geometry.js";
import { type PerDimension, perDimension } from "../ops/window.js";
import { Module } from "./module.js";
import { bool, sizes } from "./print.js";

export interface LPPoolOptions {
  /** Distance of neighbouring windows; default: the window's size. */
  readonly stride?: PerDimension | null;
  /** Whether a last window that passes the end counts; default false. */
  readonly ceilMode?: boolean;
}

abstract class LPPool extends Module {
  readonly normType: number;
  readonly kernelSize: PerDimension;
  readonly stride: PerDimension;
  readonly ceilMode: boolean;

  protected constructor(
    call: string,
    dims: number,
    normType: number,
    kernelSize: PerDimension,
    options: LPPoolOptions,
  ) {
    super();
    checkOptions(call, options, ["stride", "ceilMode"]);
    this.normType = checkNumber(call, "normType", normType);
    perDimension(call, "kernelSize", kernelSize, dims, 1);
    this.kernelSize = kernelSize;
    this.stride = options.stride ?? kernelSize;
    perDimension(call, "stride", this.stride, dims, 1);
    checkFlag(call, "ceilMode", options.ceilMode);
    this.ceilMode = options.ceilMode ?? false;
  }

  override extraText(): string {
    return (
      `norm_type=${this.normType}, kernel_size=${sizes(this.kernelSize)}, stride=${sizes(this.stride)}, ` +
      `ceil_mode=${bool(this.ceilMode)}`
    );
  }
}

/** The root of the sum of powers of each window: the sum for normType 1, nearer to the maximum the higher it is. */
export class LPPool1d extends LPPool {
  constructor(normType: number, kernelSize: PerDimension, options: LPPoolOptions = {}) {
    super("LPPool1d", 1, normType, kernelSize, options);
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return lpPool1d(x, this.normType, this.kernelSize, { stride: this.stride, ceilMode: this.ceilMode });
  }
}

/** `LPPool1d` for images. */
export class LPPool2d extends LPPool {
  constructor(normType: number, kernelSize: PerDimension, options: LPPoolOptions = {}) {
    super("LPPool2d", 2, normType, kernelSize, options);
  }

  forward<D extends DType>(x: Tensor<D>): Tensor<D> {
    return lpPool2d(x, this.normType, this.kernelSize, { stride: this.stride, ceilMode: this.ceilMode });
  }
}
