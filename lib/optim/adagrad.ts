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

export interface AdagradOptions extends GroupOptions {
  /** The rate falls as lr / (1 + (step - 1) * lrDecay); default 0. */
  lrDecay: number;
  /** Adds weightDecay * parameter to the gradient; default 0. */
  weightDecay: number;
  /** The sum of squares at the start; default 0. */
  initialAccumulatorValue: number;
  /** Added to the root; default 1e-10. */
  eps: number;
  /** Climbs instead. */
  maximize: boolean;
}

/** Adagrad (Duchi et al. 2011): steps divided by the root of the sum of all squared gradients. */
export class Adagrad extends Optimizer<AdagradOptions> {
  constructor(parameters: GivenParameters<AdagradOptions>, options: Partial<AdagradOptions> = {}) {
    super(parameters, options, {
      lr: 1e-2,
      lrDecay: 0,
      weightDecay: 0,
      initialAccumulatorValue: 0,
      eps: 1e-10,
      maximize: false,
    });
  }

  protected override check(call: string, o: AdagradOptions): void {
    checkNumber(call, "lrDecay", o.lrDecay, 0);
    checkNumber(call, "weightDecay", o.weightDecay, 0);
    checkNumber(call, "initialAccumulatorValue", o.initialAccumulatorValue, 0);
    checkNumber(call, "eps", o.eps, 0);
    checkFlag(call, "maximize", o.maximize);
  }

  protected override update(p: Tensor, gradient: Tensor, o: ParamGroup<AdagradOptions>, state: ParameterState): void {
    const step = this.nextStep(state);
    const sum = this.buffer(state, "sum", p, o.initialAccumulatorValue);
    const sizes = [step, Number(o.maximize), o.lr, o.lrDecay, o.weightDecay, o.eps];
    this.runStep("adagrad_step", p, gradient, sizes, [sum]);
  }
}

keepsNoGradients(Adagrad);
