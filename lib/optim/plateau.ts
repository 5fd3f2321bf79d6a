import { ArgumentError } from "../core/errors.js";
import { checkChoice, checkInteger, checkNumber, checkOptions } from "../core/options.js";
import { describe } from "../core/shape.js";
import { isTensor, type Tensor } from "../core/tensor.js";
import { Optimizer } from "./optimizer.js";
import { prepareFields } from "./restore.js";
import type { AnyOptimizer, ScheduleState } from "./schedule.js";

export interface PlateauOptions {
  /** Whether the metric should fall (default) or rise. */
  mode?: "min" | "max";
  /** The rates are multiplied by it; default 0.1. */
  factor?: number;
  /** Steps without improvement that are borne; default 10. */
  patience?: number;
  /** What counts as improvement: a share of the best ("rel", default) or a difference ("abs"). Default 1e-4. */
  threshold?: number;
  /** Whether the threshold is a share of the best value ("rel", default) or an amount. */
  thresholdMode?: "rel" | "abs";
  /** Steps after a reduction in which nothing is counted; default 0. */
  cooldown?: number;
  /** The lowest rate, for all groups or each. */
  minLr?: number | readonly number[];
  /** Smaller changes of a rate are left out; default 1e-8. */
  eps?: number;
}

const optionNames = ["mode", "factor", "patience", "threshold", "thresholdMode", "cooldown", "minLr", "eps"];

/** Multiplies the rates by `factor` when a metric has not improved for `patience` steps. */
export class ReduceLROnPlateau {
  readonly optimizer: AnyOptimizer;
  readonly mode: "min" | "max";
  readonly factor: number;
  readonly patience: number;
  readonly threshold: number;
  readonly thresholdMode: "rel" | "abs";
  readonly cooldown: number;
  readonly minLrs: readonly number[];
  readonly eps: number;
  /** The best value so far. */
  best: number;
  numBadEpochs = 0;
  lastEpoch = 0;
  protected cooldownLeft = 0;

  constructor(optimizer: AnyOptimizer, options: PlateauOptions = {}) {
    const call = "ReduceLROnPlateau";
    if (!(optimizer instanceof Optimizer))
      throw new ArgumentError(`${call}: needs an optimiser, got ${describe(optimizer)}`);
    checkOptions(call, options, optionNames);
    this.optimizer = optimizer;
    this.mode = checkChoice(call, "mode", options.mode ?? "min", ["min", "max"]);
    this.factor = checkNumber(call, "factor", options.factor ?? 0.1, 0);
    if (this.factor >= 1) throw new ArgumentError(`${call}: factor must be below 1, got ${this.factor}`);
    this.patience = checkInteger(call, "patience", options.patience ?? 10, 0);
    this.threshold = checkNumber(call, "threshold", options.threshold ?? 1e-4);
    this.thresholdMode = checkChoice(call, "thresholdMode", options.thresholdMode ?? "rel", ["rel", "abs"]);
    this.cooldown = checkInteger(call, "cooldown", options.cooldown ?? 0, 0);
    this.eps = checkNumber(call, "eps", options.eps ?? 1e-8, 0);
    const groups = optimizer.paramGroups.length;
    const least = options.minLr ?? 0;
    const list = typeof least === "number" ? new Array<number>(groups).fill(least) : [...least];
    if (list.length !== groups)
      throw new ArgumentError(`${call}: minLr has ${list.length} values for ${groups} parameter groups`);
    this.minLrs = list.map((lr) => checkNumber(call, "minLr", lr, 0));
    this.best = this.mode === "min" ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
  }

  /** Takes the metric of the epoch: a number, or a tensor with one element. */
  step(metric: number | Tensor): void {
    const value = isTensor(metric) ? Number(metric.item()) : metric;
    if (typeof value !== "number")
      throw new ArgumentError(`ReduceLROnPlateau.step: needs the metric as a number, got ${describe(metric)}`);
    this.lastEpoch++;
    if (this.#improves(value)) {
      this.best = value;
      this.numBadEpochs = 0;
    } else {
      this.numBadEpochs++;
    }
    if (this.cooldownLeft > 0) {
      this.cooldownLeft--;
      this.numBadEpochs = 0;
    }
    if (this.numBadEpochs > this.patience) {
      this.#reduce();
      this.cooldownLeft = this.cooldown;
      this.numBadEpochs = 0;
    }
  }

  #improves(value: number): boolean {
    const { best, threshold, mode } = this;
    if (this.thresholdMode === "rel")
      return mode === "min" ? value < best * (1 - threshold) : value > best * (threshold + 1);
    return mode === "min" ? value < best - threshold : value > best + threshold;
  }

  #reduce(): void {
    this.optimizer.paramGroups.forEach((group, i) => {
      const before = group.lr as number;
      const after = Math.max(before * this.factor, this.minLrs[i]!);
      if (before - after > this.eps) group.lr = after;
    });
  }

  getLastLr(): number[] {
    return this.optimizer.paramGroups.map((group) => group.lr as number);
  }

  stateDict(): ScheduleState {
    const { optimizer: _, ...state } = this;
    return structuredClone(state) as unknown as ScheduleState;
  }

  loadStateDict(state: ScheduleState): void {
    this.prepareLoad(state)();
  }

  /** Checks a state to the end; what it returns loads it. @internal */
  prepareLoad(state: ScheduleState): () => void {
    return prepareFields("ReduceLROnPlateau.loadStateDict", this, state);
  }
}
