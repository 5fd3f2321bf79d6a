import { ArgumentError } from "../core/errors.js";
import { checkChoice, checkInteger, checkNumber, checkOptions } from "../core/options.js";
import { describe } from "../core/shape.js";
import { type AnyOptimizer, LRScheduler } from "./schedule.js";

export interface OneCycleOptions {
  /** Steps of the whole cycle; or give epochs and stepsPerEpoch. */
  totalSteps?: number;
  /** With stepsPerEpoch, in place of totalSteps. */
  epochs?: number;
  stepsPerEpoch?: number;
  /** Share of the cycle in which the rate rises; default 0.3. */
  pctStart?: number;
  /** How the rate goes from one height to the next; default "cos". */
  annealStrategy?: "cos" | "linear";
  /** Whether momentum (Adam: betas[0]) falls while the rate rises; default true. */
  cycleMomentum?: boolean;
  /** Lowest momentum; default 0.85. One number, or one per group. */
  baseMomentum?: number | readonly number[];
  /** Highest momentum; default 0.95. One number, or one per group. */
  maxMomentum?: number | readonly number[];
  /** The first rate is maxLr / divFactor; default 25. */
  divFactor?: number;
  /** The last rate is the first one / finalDivFactor; default 1e4. */
  finalDivFactor?: number;
  /** Falls back to the first rate before it falls on; default false: two phases. */
  threePhase?: boolean;
}

const optionNames = [
  "totalSteps",
  "epochs",
  "stepsPerEpoch",
  "pctStart",
  "annealStrategy",
  "cycleMomentum",
  "baseMomentum",
  "maxMomentum",
  "divFactor",
  "finalDivFactor",
  "threePhase",
];

type Height = "initialLr" | "maxLr" | "minLr";
type MomentumHeight = "baseMomentum" | "maxMomentum";

interface Phase {
  /** The step at which it ends; fractions are possible. */
  readonly end: number;
  readonly from: Height;
  readonly to: Height;
  readonly momentumFrom: MomentumHeight;
  readonly momentumTo: MomentumHeight;
}

/** One cycle (Smith and Topin 2018): the rate rises to `maxLr` and falls far below where it began. Step it after every batch. */
export class OneCycleLR extends LRScheduler {
  readonly totalSteps: number;
  readonly cycleMomentum: boolean;
  readonly annealStrategy: "cos" | "linear";
  protected readonly phases: readonly Phase[];
  protected readonly usesBetas: boolean;

  constructor(optimizer: AnyOptimizer, maxLr: number | readonly number[], options: OneCycleOptions = {}) {
    super(optimizer);
    const call = "OneCycleLR";
    checkOptions(call, options, optionNames);
    const groups = optimizer.paramGroups;
    const top = perGroup(call, "maxLr", maxLr, groups.length);
    if (options.totalSteps !== undefined) {
      this.totalSteps = checkInteger(call, "totalSteps", options.totalSteps, 1);
    } else {
      if (options.epochs === undefined || options.stepsPerEpoch === undefined)
        throw new ArgumentError("OneCycleLR: give totalSteps, or both epochs and stepsPerEpoch");
      this.totalSteps =
        checkInteger(call, "epochs", options.epochs, 1) * checkInteger(call, "stepsPerEpoch", options.stepsPerEpoch, 1);
    }
    const share = checkNumber(call, "pctStart", options.pctStart ?? 0.3, 0, 1);
    this.annealStrategy = checkChoice(call, "annealStrategy", options.annealStrategy ?? "cos", ["cos", "linear"]);
    this.phases = phasesOf(this.totalSteps, share, options.threePhase ?? false);
    const divFactor = checkNumber(call, "divFactor", options.divFactor ?? 25, 0);
    const finalDivFactor = checkNumber(call, "finalDivFactor", options.finalDivFactor ?? 1e4, 0);
    groups.forEach((group, i) => {
      group.initialLr = top[i]! / divFactor;
      group.maxLr = top[i]!;
      group.minLr = group.initialLr / finalDivFactor;
    });
    this.cycleMomentum = options.cycleMomentum ?? true;
    this.usesBetas = "betas" in optimizer.defaults;
    if (this.cycleMomentum) {
      if (!this.usesBetas && !("momentum" in optimizer.defaults)) {
        throw new ArgumentError(
          `OneCycleLR: ${optimizer.constructor.name} has no momentum to cycle; pass { cycleMomentum: false }`,
        );
      }
      const most = perGroup(call, "maxMomentum", options.maxMomentum ?? 0.95, groups.length);
      const least = perGroup(call, "baseMomentum", options.baseMomentum ?? 0.85, groups.length);
      groups.forEach((group, i) => {
        this.#setMomentum(group, most[i]!);
        group.maxMomentum = most[i]!;
        group.baseMomentum = least[i]!;
      });
    }
    this.start();
  }

  #setMomentum(group: Record<string, unknown>, value: number): void {
    if (this.usesBetas) group.betas = [value, (group.betas as readonly number[])[1]];
    else group.momentum = value;
  }

  #between(from: number, to: number, share: number): number {
    if (this.annealStrategy === "linear") return (to - from) * share + from;
    return to + ((from - to) / 2) * (Math.cos(Math.PI * share) + 1);
  }

  protected override rates(): number[] {
    const step = this.lastEpoch;
    if (step > this.totalSteps) {
      throw new ArgumentError(
        `OneCycleLR: step ${step + 1} is past the end: the cycle has ${this.totalSteps} steps (totalSteps)`,
      );
    }
    let start = 0;
    let phase = this.phases[0]!;
    for (phase of this.phases) {
      if (step <= phase.end || phase === this.phases.at(-1)) break;
      start = phase.end;
    }
    const share = (step - start) / (phase.end - start);
    return this.optimizer.paramGroups.map((group) => {
      const heights = group as Record<Height | MomentumHeight, number>;
      if (this.cycleMomentum)
        this.#setMomentum(group, this.#between(heights[phase.momentumFrom], heights[phase.momentumTo], share));
      return this.#between(heights[phase.from], heights[phase.to], share);
    });
  }
}

function phasesOf(totalSteps: number, share: number, threePhase: boolean): Phase[] {
  const last = totalSteps - 1;
  const rise: Phase = {
    end: share * totalSteps - 1,
    from: "initialLr",
    to: "maxLr",
    momentumFrom: "maxMomentum",
    momentumTo: "baseMomentum",
  };
  if (!threePhase)
    return [rise, { end: last, from: "maxLr", to: "minLr", momentumFrom: "baseMomentum", momentumTo: "maxMomentum" }];
  return [
    rise,
    {
      end: 2 * share * totalSteps - 2,
      from: "maxLr",
      to: "initialLr",
      momentumFrom: "baseMomentum",
      momentumTo: "maxMomentum",
    },
    { end: last, from: "initialLr", to: "minLr", momentumFrom: "maxMomentum", momentumTo: "maxMomentum" },
  ];
}

function perGroup(call: string, name: string, value: number | readonly number[], groups: number): number[] {
  const list = Array.isArray(value) ? (value as number[]) : new Array<number>(groups).fill(value as number);
  if (list.length !== groups)
    throw new ArgumentError(
      `${call}: ${name} ${describe(value)} has ${list.length} values for ${groups} parameter groups`,
    );
  return list.map((v) => checkNumber(call, name, v, 0));
}
