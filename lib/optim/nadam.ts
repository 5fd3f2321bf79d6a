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

export interface NAdamOptions extends GroupOptions {
  /** Default [0.9, 0.999]. */
  betas: readonly [number, number];
  /** Added to the root, so that it is not 0; default 1e-8. */
  eps: number;
  /** Adds weightDecay * parameter to the gradient (see decoupledWeightDecay); default 0. */
  weightDecay: number;
  /** How fast the momentum rises to betas[0]; default 4e-3. */
  momentumDecay: number;
  /** Whether weight decay shrinks the parameter itself, as in AdamW. */
  decoupledWeightDecay: boolean;
  /** Climbs instead. */
  maximize: boolean;
}

/** Adam with Nesterov momentum (Dozat 2016). */
export class NAdam extends Optimizer<NAdamOptions> {
  constructor(parameters: GivenParameters<NAdamOptions>, options: Partial<NAdamOptions> = {}) {
    super(parameters, options, {
      lr: 2e-3,
      betas: [0.9, 0.999],
      eps: 1e-8,
      weightDecay: 0,
      momentumDecay: 4e-3,
      decoupledWeightDecay: false,
      maximize: false,
    });
  }

  protected override check(call: string, o: NAdamOptions): void {
    checkBetas(call, o.betas);
    checkNumber(call, "eps", o.eps, 0);
    checkNumber(call, "weightDecay", o.weightDecay, 0);
    checkNumber(call, "momentumDecay", o.momentumDecay, 0);
    checkFlag(call, "decoupledWeightDecay", o.decoupledWeightDecay);
    checkFlag(call, "maximize", o.maximize);
  }

  protected override update(p: Tensor, gradient: Tensor, o: ParamGroup<NAdamOptions>, state: ParameterState): void {
    const step = this.nextStep(state);
    const [beta1, beta2] = o.betas;
    const mu = beta1 * (1 - 0.5 * 0.96 ** (step * o.momentumDecay));
    const muNext = beta1 * (1 - 0.5 * 0.96 ** ((step + 1) * o.momentumDecay));
    const muProduct = ((state.muProduct as number | undefined) ?? 1) * mu;
    state.muProduct = muProduct;
    const flags = [Number(o.maximize), Number(o.decoupledWeightDecay)];
    const sizes = [step, ...flags, o.lr, beta1, beta2, o.eps, o.weightDecay, mu, muNext, muProduct];
    this.runStep("nadam_step", p, gradient, sizes, [
      this.buffer(state, "expAvg", p),
      this.buffer(state, "expAvgSq", p),
    ]);
  }
}

keepsNoGradients(NAdam);
