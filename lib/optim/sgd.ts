import { ArgumentError } from "../core/errors.js";
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

export interface SGDOptions extends GroupOptions {
  /** Share of the last step that is kept; default 0. */
  momentum: number;
  /** Share of the gradient that momentum leaves out; default 0. */
  dampening: number;
  /** Adds weightDecay * parameter to the gradient; default 0. */
  weightDecay: number;
  /** Looks ahead by one momentum step; needs momentum, and no dampening. */
  nesterov: boolean;
  /** Climbs instead. */
  maximize: boolean;
}

/**
 * Stochastic gradient descent: b = momentum * b + (1 - dampening) * g (the first b is g), p = p - lr * b;
 * with nesterov p = p - lr * (g + momentum * b). g includes the weight decay.
 */
export class SGD extends Optimizer<SGDOptions> {
  constructor(parameters: GivenParameters<SGDOptions>, options: Partial<SGDOptions> = {}) {
    super(parameters, options, {
      lr: undefined as unknown as number,
      momentum: 0,
      dampening: 0,
      weightDecay: 0,
      nesterov: false,
      maximize: false,
    });
  }

  protected override check(call: string, o: SGDOptions): void {
    checkNumber(call, "momentum", o.momentum, 0);
    checkNumber(call, "dampening", o.dampening);
    checkNumber(call, "weightDecay", o.weightDecay, 0);
    checkFlag(call, "nesterov", o.nesterov);
    checkFlag(call, "maximize", o.maximize);
    if (o.nesterov && (o.momentum <= 0 || o.dampening !== 0)) {
      throw new ArgumentError(
        `${call}: nesterov needs momentum and no dampening, got momentum ${o.momentum} and dampening ${o.dampening}`,
      );
    }
  }

  protected override update(p: Tensor, gradient: Tensor, o: ParamGroup<SGDOptions>, state: ParameterState): void {
    const first = state.momentumBuffer === undefined;
    const buffer = o.momentum === 0 ? null : this.buffer(state, "momentumBuffer", p);
    const sizes = [first ? 1 : 2, Number(o.nesterov), Number(o.maximize), o.lr, o.momentum, o.dampening, o.weightDecay];
    this.runStep("sgd_step", p, gradient, sizes, [buffer]);
  }
}

keepsNoGradients(SGD);
