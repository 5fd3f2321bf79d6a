import { ArgumentError, StateError } from "../core/errors.js";
import { checkInteger, checkNumber, checkOptions } from "../core/options.js";
import { describe } from "../core/shape.js";
import { type AnyOptimizer, LRScheduler } from "./schedule.js";

/** Python's modulo: never negative. */
function modulo(a: number, n: number): number {
  return ((a % n) + n) % n;
}

/** Multiplies the rates by `gamma` every `stepSize` steps. */
export class StepLR extends LRScheduler {
  readonly stepSize: number;
  readonly gamma: number;

  constructor(optimizer: AnyOptimizer, stepSize: number, options: { gamma?: number } = {}) {
    super(optimizer);
    checkOptions("StepLR", options, ["gamma"]);
    this.stepSize = checkInteger("StepLR", "stepSize", stepSize, 1);
    this.gamma = checkNumber("StepLR", "gamma", options.gamma ?? 0.1);
    this.start();
  }

  protected override rates(): number[] {
    const decays = this.lastEpoch !== 0 && this.lastEpoch % this.stepSize === 0;
    return this.currentLrs().map((lr) => (decays ? lr * this.gamma : lr));
  }

  protected override closedForm(): number[] {
    return this.baseLrs.map((lr) => lr * this.gamma ** Math.floor(this.lastEpoch / this.stepSize));
  }
}

/** Multiplies the rates by `gamma` at each of the `milestones` (twice where one is named twice). */
export class MultiStepLR extends LRScheduler {
  readonly milestones: readonly number[];
  readonly gamma: number;

  constructor(optimizer: AnyOptimizer, milestones: readonly number[], options: { gamma?: number } = {}) {
    super(optimizer);
    checkOptions("MultiStepLR", options, ["gamma"]);
    this.milestones = checkMilestones("MultiStepLR", milestones);
    this.gamma = checkNumber("MultiStepLR", "gamma", options.gamma ?? 0.1);
    this.start();
  }

  protected override rates(): number[] {
    const times = this.milestones.filter((m) => m === this.lastEpoch).length;
    return this.currentLrs().map((lr) => (times === 0 ? lr : lr * this.gamma ** times));
  }

  protected override closedForm(): number[] {
    return this.baseLrs.map((lr) => lr * this.gamma ** this.milestones.filter((m) => m <= this.lastEpoch).length);
  }
}

/** @internal Steps at which something happens, sorted. */
export function checkMilestones(call: string, milestones: unknown): number[] {
  if (!Array.isArray(milestones))
    throw new ArgumentError(`${call}: milestones must be a list of steps, got ${describe(milestones)}`);
  return milestones.map((m, i) => checkInteger(call, `milestones[${i}]`, m, 0)).sort((a, b) => a - b);
}

/** Multiplies the rates by `gamma` at every step. */
export class ExponentialLR extends LRScheduler {
  readonly gamma: number;

  constructor(optimizer: AnyOptimizer, gamma: number) {
    super(optimizer);
    this.gamma = checkNumber("ExponentialLR", "gamma", gamma);
    this.start();
  }

  protected override rates(): number[] {
    return this.currentLrs().map((lr) => (this.lastEpoch === 0 ? lr : lr * this.gamma));
  }

  protected override closedForm(): number[] {
    return this.baseLrs.map((lr) => lr * this.gamma ** this.lastEpoch);
  }
}

/** Multiplies the rates by `factor` for the first `totalIters` steps, then gives them back. */
export class ConstantLR extends LRScheduler {
  readonly factor: number;
  readonly totalIters: number;

  constructor(optimizer: AnyOptimizer, options: { factor?: number; totalIters?: number } = {}) {
    super(optimizer);
    checkOptions("ConstantLR", options, ["factor", "totalIters"]);
    this.factor = checkNumber("ConstantLR", "factor", options.factor ?? 1 / 3, 0, 1);
    this.totalIters = checkInteger("ConstantLR", "totalIters", options.totalIters ?? 5, 0);
    this.start();
  }

  protected override rates(): number[] {
    const lrs = this.currentLrs();
    if (this.lastEpoch === 0) return lrs.map((lr) => lr * this.factor);
    return this.lastEpoch === this.totalIters ? lrs.map((lr) => lr * (1 / this.factor)) : lrs;
  }

  protected override closedForm(): number[] {
    const over = this.lastEpoch >= this.totalIters ? 1 : 0;
    return this.baseLrs.map((lr) => lr * (this.factor + over * (1 - this.factor)));
  }
}

export interface LinearLROptions {
  /** The first rate, as a share of the optimiser's; default 1/3. */
  startFactor?: number;
  /** The last; default 1. */
  endFactor?: number;
  /** Steps from one to the other; default 5. */
  totalIters?: number;
}

/** Goes from startFactor to endFactor times the rates in a straight line over `totalIters` steps: a warm-up. */
export class LinearLR extends LRScheduler {
  readonly startFactor: number;
  readonly endFactor: number;
  readonly totalIters: number;

  constructor(optimizer: AnyOptimizer, options: LinearLROptions = {}) {
    super(optimizer);
    checkOptions("LinearLR", options, ["startFactor", "endFactor", "totalIters"]);
    this.startFactor = checkNumber("LinearLR", "startFactor", options.startFactor ?? 1 / 3, 0, 1);
    if (this.startFactor === 0)
      throw new ArgumentError("LinearLR: startFactor must be above 0: a rate of 0 cannot be multiplied up");
    this.endFactor = checkNumber("LinearLR", "endFactor", options.endFactor ?? 1, 0, 1);
    this.totalIters = checkInteger("LinearLR", "totalIters", options.totalIters ?? 5, 1);
    this.start();
  }

  protected override rates(): number[] {
    const { startFactor, endFactor, totalIters, lastEpoch } = this;
    const lrs = this.currentLrs();
    if (lastEpoch === 0) return lrs.map((lr) => lr * startFactor);
    if (lastEpoch > totalIters) return lrs;
    const rise = endFactor - startFactor;
    // At endFactor 0 rounding can leave less than nothing, which no optimiser takes.
    return lrs.map((lr) => lr * Math.max(0, 1 + rise / (totalIters * startFactor + (lastEpoch - 1) * rise)));
  }

  protected override closedForm(): number[] {
    const rise = this.endFactor - this.startFactor;
    const share = Math.min(this.totalIters, this.lastEpoch) / this.totalIters;
    return this.baseLrs.map((lr) => lr * (this.startFactor + rise * share));
  }
}

/** Warm-up: the rates rise in a straight line from a share of 1 / steps to all over `steps` steps. */
export class WarmupLR extends LinearLR {
  constructor(optimizer: AnyOptimizer, steps: number) {
    checkInteger("WarmupLR", "steps", steps, 1);
    super(optimizer, { startFactor: 1 / steps, totalIters: Math.max(steps - 1, 1) });
  }
}

/** Lets the rates fall to 0 as (1 - step / totalIters) to the power `power`. */
export class PolynomialLR extends LRScheduler {
  readonly totalIters: number;
  readonly power: number;

  constructor(optimizer: AnyOptimizer, options: { totalIters?: number; power?: number } = {}) {
    super(optimizer);
    checkOptions("PolynomialLR", options, ["totalIters", "power"]);
    this.totalIters = checkInteger("PolynomialLR", "totalIters", options.totalIters ?? 5, 1);
    this.power = checkNumber("PolynomialLR", "power", options.power ?? 1);
    this.start();
  }

  protected override rates(): number[] {
    const { lastEpoch, totalIters, power } = this;
    const lrs = this.currentLrs();
    if (lastEpoch === 0 || lastEpoch > totalIters) return lrs;
    const decay = ((1 - lastEpoch / totalIters) / (1 - (lastEpoch - 1) / totalIters)) ** power;
    return lrs.map((lr) => lr * decay);
  }

  protected override closedForm(): number[] {
    const left = 1 - Math.min(this.totalIters, this.lastEpoch) / this.totalIters;
    return this.baseLrs.map((lr) => lr * left ** this.power);
  }
}

/** Lets the rates fall to `etaMin` along half a cosine over `tMax` steps, and rise again after. */
export class CosineAnnealingLR extends LRScheduler {
  readonly tMax: number;
  readonly etaMin: number;

  constructor(optimizer: AnyOptimizer, tMax: number, options: { etaMin?: number } = {}) {
    super(optimizer);
    checkOptions("CosineAnnealingLR", options, ["etaMin"]);
    this.tMax = checkInteger("CosineAnnealingLR", "tMax", tMax, 1);
    this.etaMin = checkNumber("CosineAnnealingLR", "etaMin", options.etaMin ?? 0);
    this.start();
  }

  protected override rates(): number[] {
    const { tMax, etaMin, lastEpoch } = this;
    const lrs = this.currentLrs();
    if (lastEpoch === 0) return lrs;
    if (modulo(lastEpoch - 1 - tMax, 2 * tMax) === 0) {
      // The rate before was etaMin, from which no factor leads away.
      return lrs.map((lr, i) => lr + ((this.baseLrs[i]! - etaMin) * (1 - Math.cos(Math.PI / tMax))) / 2);
    }
    const now = 1 + Math.cos((Math.PI * lastEpoch) / tMax);
    const before = 1 + Math.cos((Math.PI * (lastEpoch - 1)) / tMax);
    return lrs.map((lr) => (now / before) * (lr - etaMin) + etaMin);
  }

  protected override closedForm(): number[] {
    const height = 1 + Math.cos((Math.PI * this.lastEpoch) / this.tMax);
    return this.baseLrs.map((lr) => this.etaMin + ((lr - this.etaMin) * height) / 2);
  }
}

/** Half a cosine over and over: `t0` steps, then `tMult` times as many, each time from the full rate (Loshchilov 2017). */
export class CosineAnnealingWarmRestarts extends LRScheduler {
  readonly t0: number;
  readonly tMult: number;
  readonly etaMin: number;
  /** Steps since the last restart, and from it to the next. */
  protected since = -1;
  protected length: number;

  constructor(optimizer: AnyOptimizer, t0: number, options: { tMult?: number; etaMin?: number } = {}) {
    super(optimizer);
    const call = "CosineAnnealingWarmRestarts";
    checkOptions(call, options, ["tMult", "etaMin"]);
    this.t0 = checkInteger(call, "t0", t0, 1);
    this.tMult = checkInteger(call, "tMult", options.tMult ?? 1, 1);
    this.etaMin = checkNumber(call, "etaMin", options.etaMin ?? 0);
    this.length = t0;
    this.start();
  }

  override step(): void {
    this.since++;
    if (this.since >= this.length) {
      this.since -= this.length;
      this.length *= this.tMult;
    }
    super.step();
  }

  override restart(): void {
    this.since = 0;
    this.length = this.t0;
    super.restart();
  }

  protected override rates(): number[] {
    const height = 1 + Math.cos((Math.PI * this.since) / this.length);
    return this.baseLrs.map((lr) => this.etaMin + ((lr - this.etaMin) * height) / 2);
  }
}

/** A function of the step, which gives a factor. */
export type RateFunction = (step: number) => number;

/** @internal One function for each group. */
export function rateFunctions(call: string, optimizer: AnyOptimizer, given: unknown): RateFunction[] {
  const groups = optimizer.paramGroups.length;
  const list = Array.isArray(given) ? given : new Array<unknown>(groups).fill(given);
  if (list.length !== groups)
    throw new ArgumentError(`${call}: got ${list.length} functions for ${groups} parameter groups`);
  for (const fn of list) {
    if (typeof fn !== "function") throw new ArgumentError(`${call}: needs a function of the step, got ${describe(fn)}`);
  }
  return list as RateFunction[];
}

/** The start's rates times a function of the step; one function, or one for each group. */
export class LambdaLR extends LRScheduler {
  readonly functions: readonly RateFunction[];

  constructor(optimizer: AnyOptimizer, functions: RateFunction | readonly RateFunction[]) {
    super(optimizer);
    this.functions = rateFunctions("LambdaLR", optimizer, functions);
    this.start();
  }

  protected override rates(): number[] {
    return this.baseLrs.map((lr, i) => lr * this.functions[i]!(this.lastEpoch));
  }
}

/** The last step's rates times a function of the step. */
export class MultiplicativeLR extends LRScheduler {
  readonly functions: readonly RateFunction[];

  constructor(optimizer: AnyOptimizer, functions: RateFunction | readonly RateFunction[]) {
    super(optimizer);
    this.functions = rateFunctions("MultiplicativeLR", optimizer, functions);
    this.start();
  }

  protected override rates(): number[] {
    return this.currentLrs().map((lr, i) => (this.lastEpoch > 0 ? lr * this.functions[i]!(this.lastEpoch) : lr));
  }
}

/** One schedule after the other: the next one starts at each of the `milestones`. */
export class SequentialLR extends LRScheduler {
  readonly #schedules: readonly LRScheduler[];
  readonly milestones: readonly number[];

  constructor(optimizer: AnyOptimizer, schedules: readonly LRScheduler[], milestones: readonly number[]) {
    super(optimizer);
    if (!Array.isArray(schedules) || schedules.length === 0 || !schedules.every((s) => s instanceof LRScheduler))
      throw new ArgumentError(`SequentialLR: schedules must be a list of schedules, got ${describe(schedules)}`);
    schedules.forEach((schedule, i) => {
      if (schedule.optimizer !== optimizer)
        throw new ArgumentError(`SequentialLR: schedules[${i}] belongs to another optimiser`);
    });
    this.milestones = checkMilestones("SequentialLR", milestones);
    if (milestones.length !== schedules.length - 1) {
      throw new ArgumentError(
        `SequentialLR: ${schedules.length} schedules need ${schedules.length - 1} milestones, got ${milestones.length}`,
      );
    }
    this.#schedules = schedules;
    this.lastEpoch = 0;
    // The schedules have each made their first step: undo them, and make that of the first one again.
    for (const group of optimizer.paramGroups) group.lr = group.initialLr!;
    for (const schedule of schedules) schedule.lastEpoch--;
    schedules[0]!.step();
    this.setRates(this.currentLrs());
  }

  protected override rates(): number[] {
    const at = this.milestones.filter((m) => m <= this.lastEpoch).length;
    const schedule = this.#schedules[at]!;
    if (at > 0 && this.milestones[at - 1] === this.lastEpoch) schedule.restart();
    else schedule.step();
    return schedule.getLastLr();
  }

  override stateDict(): Record<string, unknown> {
    return { ...super.stateDict(), schedules: this.#schedules.map((schedule) => schedule.stateDict()) };
  }

  /** @internal */
  override prepareLoad(state: Record<string, unknown>): () => void {
    const commit = super.prepareLoad(state);
    const { milestones, schedules: given } = state;
    const count = this.#schedules.length;
    if (!Array.isArray(given) || given.length !== count)
      throw new StateError(
        `SequentialLR.loadStateDict: needs the states of ${count} schedules, got ${describe(given)}`,
      );
    if (Array.isArray(milestones) && milestones.length !== count - 1) {
      throw new StateError(
        `SequentialLR.loadStateDict: ${count} schedules need ${count - 1} milestones, got ${milestones.length}`,
      );
    }
    const parts = this.#schedules.map((schedule, i) => schedule.prepareLoad(given[i] as Record<string, unknown>));
    return () => {
      commit();
      for (const part of parts) part();
    };
  }
}
