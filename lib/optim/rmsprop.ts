import { checkNumber } from "../core/options.js";
import type { Tensor } from "../core/tensor.js";
import {
  checkFlag,
  type GivenParameters,
  type GroupOptions,
  Optimizer,
  type ParameterState,
  type ParamGroup,
  keepsNoGradients,
} from "./optimizer.js";

export interface RMSpropOptions extends GroupOptions {
  /** Decay rate of the mean square; default 0.99. */
  alpha: number;
  /** Added to the root; default 1e-8. */
  eps: number;
  /** Adds weightDecay * parameter to the gradient; default 0. */
  weightDecay: number;
  /** Share of the last step that is kept; default 0. */
  momentum: number;
  /** Divides by the deviation of the gradient instead of its mean square. */
  centered: boolean;
  /** Climbs instead. */
  maximize: boolean;
}

/** RMSprop (Hinton 2012): steps divided by the root of the mean square gradient. */
export class RMSprop extends Optimizer<RMSpropOptions> {
  constructor(parameters: GivenParameters<RMSpropOptions>, options: Partial<RMSpropOptions> = {}) {
    super(parameters, options, {
      lr: 1e-2,
      alpha: 0.99,
      eps: 1e-8,
      weightDecay: 0,
      momentum: 0,
      centered: false,
      maximize: false,
    });
  }

  protected override check(call: string, o: RMSpropOptions): void {
    checkNumber(call, "alpha", o.alpha, 0);
    checkNumber(call, "eps", o.eps, 0);
    checkNumber(call, "weightDecay", o.weightDecay, 0);
    checkNumber(call, "momentum", o.momentum, 0);
    checkFlag(call, "centered", o.centered);
    checkFlag(call, "maximize", o.maximize);
  }

  protected override update(p: Tensor, gradient: Tensor, o: ParamGroup<RMSpropOptions>, state: ParameterState): void {
    this.nextStep(state);
    const buffers = [
      this.buffer(state, "squareAvg", p),
      o.centered ? this.buffer(state, "gradAvg", p) : null,
      o.momentum > 0 ? this.buffer(state, "momentumBuffer", p) : null,
    ];
    const sizes = [Number(o.centered), Number(o.maximize), o.lr, o.alpha, o.eps, o.weightDecay, o.momentum];
    this.runStep("rmsprop_step", p, gradient, sizes, buffers);
  }
}

keepsNoGradients(RMSprop);
