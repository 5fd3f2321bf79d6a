import { ArgumentError } from "../core/errors.js";
import { describe } from "../core/shape.js";
import { holdsFunctions, prepareFields, restored } from "./restore.js";
import { Optimizer } from "./optimizer.js";

// biome-ignore lint/suspicious/noExplicitAny: schedules take any optimiser
export type AnyOptimizer = Optimizer<any>;

/** What a schedule knows, as plain numbers and lists. */
export type ScheduleState = Record<string, unknown>;

/**
 * Changes the learning rates of an optimiser as training goes on: call `step()` after each epoch (or batch). As in
 * PyTorch, most schedules multiply the current rate, so several of them can work on one optimiser; the numbers are
 * PyTorch's to the last bit of its arithmetic.
 */
export abstract class LRScheduler {
  readonly optimizer: AnyOptimizer;
  /** Steps done; 0 after construction. */
  lastEpoch = -1;
  /** The rates at the start, by group. */
  protected baseLrs: number[];
  #lastLr: number[] = [];

  constructor(optimizer: AnyOptimizer) {
    if (!(optimizer instanceof Optimizer))
      throw new ArgumentError(`${this.constructor.name}: needs an optimiser, got ${describe(optimizer)}`);
    this.optimizer = optimizer;
    for (const group of optimizer.paramGroups) group.initialLr ??= group.lr;
    this.baseLrs = optimizer.paramGroups.map((group) => group.initialLr!);
  }

  /** Sets the first rates; every constructor ends with it. */
  protected start(): void {
    this.baseLrs = this.optimizer.paramGroups.map((group) => group.initialLr!);
    this.step();
  }

  /** The rates of step `lastEpoch`, from the current ones. */
  protected abstract rates(): number[];

  /** The rates of step `lastEpoch` from the start's alone, where there is a formula. */
  protected closedForm(): number[] {
    return this.rates();
  }

  /** The current rates. */
  protected currentLrs(): number[] {
    return this.optimizer.paramGroups.map((group) => group.lr as number);
  }

  /** Goes one step on and sets the rates. */
  step(): void {
    this.lastEpoch++;
    this.setRates(this.rates());
  }

  /** Starts over from the rates at the start. @internal */
  restart(): void {
    this.lastEpoch = 0;
    this.setRates(this.closedForm());
  }

  protected setRates(rates: readonly number[]): void {
    this.optimizer.paramGroups.forEach((group, i) => {
      group.lr = rates[i]!;
    });
    this.#lastLr = [...rates];
  }

  /** The rates set last, by group. */
  getLastLr(): number[] {
    return [...this.#lastLr];
  }

  /** All numbers that `loadStateDict` needs to go on; functions are not in it. */
  stateDict(): ScheduleState {
    const state: ScheduleState = { lastLr: this.getLastLr() };
    for (const [name, value] of Object.entries(this)) {
      if (name !== "optimizer" && !holdsFunctions(value)) state[name] = structuredClone(value);
    }
    return state;
  }

  /** Goes on from where `stateDict()` was taken. Load the optimiser's state too: it holds the rates. */
  loadStateDict(state: ScheduleState): void {
    this.prepareLoad(state)();
  }

  /** Checks a state to the end; what it returns loads it. @internal */
  prepareLoad(state: ScheduleState): () => void {
    const call = `${this.constructor.name}.loadStateDict`;
    const commit = prepareFields(call, this, state);
    const rates = Object.hasOwn(state, "lastLr")
      ? (restored(`${call}: lastLr`, this.#lastLr, state.lastLr) as number[])
      : this.#lastLr;
    return () => {
      commit();
      this.#lastLr = rates;
    };
  }
}
