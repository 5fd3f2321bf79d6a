import { checkNumber } from "../core/options.js";
import type { Tensor } from "../core/tensor.js";
import {
  checkBetas,
  checkFlag,
  type GivenParameters,
  type GroupOptions,
  Optimizer,
  type ParameterState,
  type ParamGroup,
  keepsNoGradients,
} from "./optimizer.js";

export interface AdamOptions extends GroupOptions {
  /** Decay rates of the mean of the gradient and of its square; default [0.9, 0.999]. */
  betas: readonly [number, number];
  /** Added to the root, so that it is not 0; default 1e-8. */
  eps: number;
  /** Default 0 (AdamW 0.01). */
  weightDecay: number;
  /** Divides by the largest mean square so far (Reddi et al. 2018). */
  amsgrad: boolean;
  /** Climbs instead. */
  maximize: boolean;
}

abstract class AdamFamily extends Optimizer<AdamOptions> {
  /** Whether weight decay shrinks the parameter itself instead of adding to the gradient. */
  protected abstract readonly decoupled: boolean;

  protected override check(call: string, o: AdamOptions): void {
    checkBetas(call, o.betas);
    checkNumber(call, "eps", o.eps, 0);
    checkNumber(call, "weightDecay", o.weightDecay, 0);
    checkFlag(call, "amsgrad", o.amsgrad);
    checkFlag(call, "maximize", o.maximize);
  }

  protected override update(p: Tensor, gradient: Tensor, o: ParamGroup<AdamOptions>, state: ParameterState): void {
    const step = this.nextStep(state);
    const buffers = [this.buffer(state, "expAvg", p), this.buffer(state, "expAvgSq", p)];
    const largest = o.amsgrad ? this.buffer(state, "maxExpAvgSq", p) : null;
    const flags = [Number(o.amsgrad), Number(o.maximize), Number(this.decoupled)];
    const sizes = [step, ...flags, o.lr, o.betas[0], o.betas[1], o.eps, o.weightDecay];
    this.runStep("adam_step", p, gradient, sizes, [...buffers, largest]);
  }
}

const defaults: AdamOptions = {
  lr: 1e-3,
  betas: [0.9, 0.999],
  eps: 1e-8,
  weightDecay: 0,
  amsgrad: false,
  maximize: false,
};

/** Adam (Kingma and Ba 2015): steps divided by the root of the mean square gradient, both means corrected for their start. */
export class Adam extends AdamFamily {
  protected override readonly decoupled = false;

  constructor(parameters: GivenParameters<AdamOptions>, options: Partial<AdamOptions> = {}) {
    super(parameters, options, defaults);
  }
}

/** Adam whose weight decay shrinks the parameter and stays out of the means (Loshchilov and Hutter 2019). */
export class AdamW extends AdamFamily {
  protected override readonly decoupled = true;

  constructor(parameters: GivenParameters<AdamOptions>, options: Partial<AdamOptions> = {}) {
    super(parameters, options, { ...defaults, weightDecay: 1e-2 });
  }
}

keepsNoGradients(Adam, AdamW);
