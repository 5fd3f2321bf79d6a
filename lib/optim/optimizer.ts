import { clearGrad } from "../autograd/engine.js";
import { enableGrad, unrecorded } from "../autograd/mode.js";
import type { KernelName } from "../backend/abi.js";
import { onFailure, run } from "../backend/run.js";
import { ArgumentError, GradientError, StateError } from "../core/errors.js";
import { checkInteger, checkNumber, checkOptions } from "../core/options.js";
import { describe, format, sameShape } from "../core/shape.js";
import { isDifferentiable, isTensor, type Tensor } from "../core/tensor.js";
import { contiguous, converted, copied, copyInto, filled } from "../ops/kernel.js";
import { overlaps } from "../ops/view.js";

/** What every group of parameters has. */
export interface GroupOptions {
  /** The learning rate. */
  lr: number;
}

/** Parameters with the options that hold for them, and what schedules remember of them. */
export type ParamGroup<O extends GroupOptions> = O & {
  params: Tensor[];
  /** The learning rate at the start, set by schedules. */
  initialLr?: number;
} & Record<string, unknown>;

/** A group as it is given: options left out are those of the optimiser. */
export type GivenGroup<O extends GroupOptions> = Partial<O> & { readonly params: Tensor | Iterable<Tensor> };

/** Parameters to optimise: a list, or groups with options of their own. */
export type GivenParameters<O extends GroupOptions> = Iterable<Tensor> | readonly GivenGroup<O>[];

/** What an optimiser remembers of one parameter, by name: `step`, `momentumBuffer`, `expAvg`, ... */
export type ParameterState = Record<string, Tensor | number>;

export interface OptimizerState {
  /** By the position of the parameter over all groups; only parameters that have been updated. */
  state: Record<string, ParameterState>;
  /** Options of each group; `params` holds positions. */
  paramGroups: (Record<string, unknown> & { params: number[] })[];
}

/** What the library's own optimisers remember as numbers; all else are tensors. */
const counts: ReadonlySet<string> = new Set(["step", "muProduct"]);
/** What schedules write into groups. */
const scheduled: ReadonlySet<string> = new Set(["initialLr", "maxLr", "minLr", "maxMomentum", "baseMomentum"]);

/** The library's own optimisers, which keep no gradient from one step to the next. */
const own = new WeakSet<object>();

/** @internal */
export function keepsNoGradients(...kinds: object[]): void {
  for (const kind of kinds) own.add(kind);
}

/**
 * Changes parameters in place by their gradients. Each step of a parameter is one pass of one kernel over its memory;
 * formulas and numbers are PyTorch's.
 */
export abstract class Optimizer<O extends GroupOptions = GroupOptions> {
  readonly defaults: O;
  readonly paramGroups: ParamGroup<O>[] = [];
  /** What is remembered of each parameter. */
  readonly state: Map<Tensor, ParameterState> = new Map();

  /** `defaults` holds every option; one that is undefined must be given by each group. */
  constructor(parameters: GivenParameters<O>, options: unknown, defaults: O) {
    if (typeof defaults !== "object" || defaults === null)
      throw new ArgumentError(`${this.constructor.name}: defaults must be an object, got ${describe(defaults)}`);
    checkOptions(this.constructor.name, options, Object.keys(defaults));
    this.defaults = { ...defaults, ...definedOnly(options as Partial<O>) };
    for (const group of asGroups(this.#name, parameters)) this.addParamGroup(group);
  }

  get #name(): string {
    return this.constructor.name;
  }

  /** Refuses options that are out of range. */
  protected abstract check(call: string, options: O): void;

  /** Updates one parameter that has a gradient. */
  protected abstract update(parameter: Tensor, gradient: Tensor, group: ParamGroup<O>, state: ParameterState): void;

  /**
   * Adds parameters, with options of their own: a layer that is unfrozen during training, say.
   * @throws {ArgumentError} if one is not a leaf, or belongs to a group already
   */
  addParamGroup(given: GivenGroup<O>): void {
    const call = this.#name;
    if (typeof given !== "object" || given === null || isTensor(given))
      throw new ArgumentError(`${call}: a parameter group must be an object { params, ... }, got ${describe(given)}`);
    const { params, ...options } = given;
    checkOptions(call, options, Object.keys(this.defaults));
    const list = isTensor(params) ? [params] : [...params];
    const known = new Set(this.paramGroups.flatMap((group) => group.params));
    for (const [i, p] of list.entries()) {
      if (!isTensor(p))
        throw new ArgumentError(`${call}: can only optimise tensors, but params[${i}] is ${describe(p)}`);
      if (!p.isLeaf)
        throw new GradientError(
          `${call}: can only optimise leaves, but params[${i}] ${format(p.shape)} was computed from other tensors`,
        );
      if (!isDifferentiable(p)) throw new ArgumentError(`${call}: params[${i}] is ${p.dtype}; it can have no gradient`);
      if (overlaps(p))
        throw new ArgumentError(`${call}: several elements of params[${i}] ${format(p.shape)} are one place in memory`);
      if (known.has(p)) throw new ArgumentError(`${call}: params[${i}] ${format(p.shape)} is in a group already`);
      known.add(p);
    }
    const merged = { ...this.defaults, ...definedOnly(options as unknown as Partial<O>) };
    for (const [name, value] of Object.entries(merged)) {
      if (value === undefined) throw new ArgumentError(`${call}: the option ${name} must be given`);
    }
    checkNumber(call, "lr", merged.lr, 0);
    this.check(call, merged);
    this.paramGroups.push({ ...merged, params: list } as unknown as ParamGroup<O>);
  }

  /** Clears the gradients of all parameters: to null, or in place to zeros. */
  zeroGrad(setToNone = true): void {
    for (const group of this.paramGroups) {
      for (const p of group.params) {
        if (setToNone) clearGrad(p);
        else unrecorded(() => p.grad?.zero_());
      }
    }
  }

  /**
   * Updates every parameter that has a gradient. A `closure`, if given, is called first; it computes the loss anew (with
   * its gradients), which is returned.
   */
  step(): undefined;
  step<T>(closure: () => T): T;
  step<T>(closure?: () => T): T | undefined {
    if (closure !== undefined && typeof closure !== "function")
      throw new ArgumentError(`${this.#name}.step: the closure must be a function, got ${describe(closure)}`);
    const loss = closure === undefined ? undefined : enableGrad(closure);
    this.#checkGroups();
    onFailure(() => this.remember());
    unrecorded(() => {
      for (const group of this.paramGroups) {
        for (const p of group.params) {
          // Looked at without a trace by those that are known to keep no gradient.
          const gradient = own.has(this.constructor) ? (p.autograd?.grad ?? null) : p.grad;
          if (gradient === null || p.numel() === 0) continue;
          let state = this.state.get(p);
          if (state === undefined) this.state.set(p, (state = {}));
          this.update(p, gradient, group, state);
        }
      }
    });
    return loss;
  }

  /** Options that were changed since, by hand or by a schedule: before anything is updated. */
  #checkGroups(): void {
    const call = `${this.#name}.step`;
    for (const [i, group] of this.paramGroups.entries()) {
      const { lr } = group;
      if (typeof lr !== "number" || Number.isNaN(lr))
        throw new ArgumentError(`${call}: lr of paramGroups[${i}] must be a number, got ${describe(lr)}`);
      this.check(call, group);
    }
  }

  /** What is remembered now; the function gives it back, but for what an asynchronous call that failed never computed. @internal */
  remember(): () => void {
    const before = Array.from(this.state, ([parameter, held]) => [parameter, { ...held }] as const);
    return () => {
      this.state.clear();
      for (const [parameter, held] of before) if (!Object.values(held).some(isLost)) this.state.set(parameter, held);
    };
  }

  /** Counts the steps of one parameter. */
  protected nextStep(state: ParameterState): number {
    const step = ((state.step as number | undefined) ?? 0) + 1;
    state.step = step;
    return step;
  }

  /** A tensor beside the parameter that the optimiser remembers; made on first use, filled with `value`. */
  protected buffer(state: ParameterState, name: string, parameter: Tensor, value = 0): Tensor {
    const known = state[name] as Tensor | undefined;
    if (known === undefined) return (state[name] = filled(parameter.shape, parameter.dtype, value));
    if (known.dtype !== parameter.dtype) return (state[name] = converted(known, parameter.dtype)); // after Module.to()
    return known;
  }

  /** Runs a one-pass kernel on the memory of a parameter, its gradient and its buffers. */
  protected runStep(
    kernel: KernelName,
    parameter: Tensor,
    gradient: Tensor,
    sizes: readonly number[],
    buffers: readonly (Tensor | null)[],
  ): void {
    const g = contiguous(gradient);
    const p = parameter.isContiguous() ? parameter : copied(parameter);
    run(kernel, parameter.dtype, [parameter.numel(), ...sizes], [p, g, ...buffers]);
    if (p !== parameter) {
      copyInto(parameter, p);
      p.dispose();
    }
    if (g !== gradient) g.dispose();
    parameter.storage.version++;
  }

  /** All that is needed to go on later: options of the groups, and tensors and counts by the position of the parameter. */
  stateDict(): OptimizerState {
    const positions = new Map<Tensor, number>();
    for (const group of this.paramGroups) for (const p of group.params) positions.set(p, positions.size);
    const state: Record<string, ParameterState> = {};
    for (const [p, remembered] of this.state) {
      const position = positions.get(p);
      if (position !== undefined) state[position] = { ...remembered };
    }
    const paramGroups = this.paramGroups.map((group) => {
      const { params, ...options } = group as Record<string, unknown> & { params: Tensor[] };
      return { ...options, params: params.map((p) => positions.get(p)!) };
    });
    return { state, paramGroups };
  }

  /**
   * Takes over what `stateDict()` gave: options (learning rates too), and copies of the tensors.
   * @throws {StateError} if groups, or shapes of parameters, differ; nothing is changed then
   */
  loadStateDict(dict: OptimizerState): void {
    this.prepareLoad(dict)();
  }

  /** Checks a state to the end; what it returns loads it. @internal */
  prepareLoad(dict: OptimizerState): () => void {
    const call = `${this.#name}.loadStateDict`;
    const { state, paramGroups: groups } = Object(dict) as Partial<OptimizerState>;
    if (!Array.isArray(groups) || typeof state !== "object" || state === null)
      throw new ArgumentError(`${call}: needs { state, paramGroups } as stateDict() gives, got ${describe(dict)}`);
    if (groups.length !== this.paramGroups.length) {
      throw new StateError(
        `${call}: the state has ${groups.length} parameter groups, but the optimiser ${this.paramGroups.length}`,
      );
    }
    const byPosition = new Map<number, Tensor>();
    const options = groups.map((given, i) => {
      const own = this.paramGroups[i]!;
      const { params: positions, ...rest } = Object(given) as Partial<OptimizerState["paramGroups"][number]>;
      if (!Array.isArray(positions) || positions.length !== own.params.length) {
        const came = Array.isArray(positions) ? `${positions.length} parameters` : `${describe(positions)} as params`;
        throw new StateError(
          `${call}: group ${i} of the state has ${came}, but that of the optimiser ${own.params.length} parameters`,
        );
      }
      positions.forEach((position, j) => {
        checkInteger(call, `params[${j}] of group ${i}`, position, 0);
        if (byPosition.has(position)) throw new StateError(`${call}: the state has position ${position} twice`);
        byPosition.set(position, own.params[j]!);
      });
      const merged = { ...own, ...rest };
      checkNumber(call, "lr", merged.lr, 0);
      this.check(call, merged);
      for (const [name, value] of Object.entries(rest)) checkRemembered(call, name, value);
      return rest;
    });
    const loaded: [Tensor, ParameterState][] = [];
    for (const [position, remembered] of Object.entries(state)) {
      const p = byPosition.get(Number(position));
      if (p === undefined) throw new StateError(`${call}: the state has no parameter at position ${position}`);
      loaded.push([p, this.#checkState(call, position, remembered, p)]);
    }
    return () => {
      options.forEach((rest, i) => {
        for (const [name, value] of Object.entries(rest)) setOwn(this.paramGroups[i]!, name, value);
      });
      this.state.clear();
      for (const [p, remembered] of loaded) this.state.set(p, remembered);
    };
  }

  /** A copy of what a state remembers of one parameter. */
  #checkState(call: string, position: string, remembered: unknown, p: Tensor): ParameterState {
    const wrong = (what: string): never => {
      throw new StateError(`${call}: ${what}`);
    };
    if (typeof remembered !== "object" || remembered === null)
      wrong(`the state of parameter ${position} must be an object, got ${describe(remembered)}`);
    const copy: ParameterState = {};
    for (const [name, value] of Object.entries(remembered as ParameterState)) {
      const of = `${name} of parameter ${position}`;
      if (name === "__proto__") wrong(`${of} is no name of a state`);
      // Of the library's own optimisers it is known which are which.
      const counted = counts.has(name);
      if (own.has(this.constructor) && counted !== !isTensor(value))
        wrong(`${of} must be a ${counted ? "number" : "tensor"}, got ${describe(value)}`);
      if (isTensor(value)) {
        if (!sameShape(value.shape, p.shape))
          wrong(`${of} is ${format(value.shape)}, but the parameter is ${format(p.shape)}`);
        copy[name] = unrecorded(() => converted(value, p.dtype));
      } else {
        if (name === "step") checkInteger(call, of, value, 0, 2 ** 40 - 1);
        copy[name] = checkNumber(call, of, value);
      }
    }
    return copy;
  }

  /** The optimiser and the options of its groups. */
  toString(): string {
    const groups = this.paramGroups.map((group, i) => {
      const { params, ...options } = group;
      const lines = Object.entries(options).map(([name, value]) => `    ${name}: ${describe(value)}`);
      return [`  group ${i} of ${params.length} parameters`, ...lines].join("\n");
    });
    return [`${this.#name} (`, ...groups, ")"].join("\n");
  }
}

function isLost(value: Tensor | number): boolean {
  return isTensor(value) && !value.storage.imagined && value.storage.block.lost !== null;
}

/** Options without those that are undefined, so that they do not hide defaults. */
function definedOnly<O extends object>(options: O): O {
  return Object.fromEntries(Object.entries(options ?? {}).filter(([, value]) => value !== undefined)) as O;
}

/** Refuses an entry of a group that nobody could have saved: options are checked by the optimiser, others must be plain. */
function checkRemembered(call: string, name: string, value: unknown): void {
  if (scheduled.has(name)) checkNumber(call, name, value);
  if (name === "__proto__" || typeof value === "function" || isTensor(value))
    throw new StateError(`${call}: a group cannot remember ${describe(value)} as ${JSON.stringify(name)}`);
}

/** Defines a property of the object itself, whatever its name. */
function setOwn(object: object, name: string, value: unknown): void {
  Object.defineProperty(object, name, { value, writable: true, enumerable: true, configurable: true });
}

function asGroups<O extends GroupOptions>(call: string, given: GivenParameters<O>): GivenGroup<O>[] {
  const listed = typeof given === "object" && given !== null && Symbol.iterator in given && !ArrayBuffer.isView(given);
  if (isTensor(given) || !listed) {
    throw new ArgumentError(
      `${call}: the parameters must be a list of tensors or of groups { params, ... }, got ${describe(given)}`,
    );
  }
  const list = [...(given as Iterable<Tensor | GivenGroup<O>>)];
  if (list.length === 0) throw new ArgumentError(`${call}: the list of parameters is empty`);
  if (list.every((entry) => typeof entry === "object" && entry !== null && !isTensor(entry) && "params" in entry))
    return list as GivenGroup<O>[];
  return [{ params: list } as unknown as GivenGroup<O>];
}

/** @internal Refuses an option that is not true or false. */
export function checkFlag(call: string, name: string, value: unknown): void {
  if (typeof value !== "boolean")
    throw new ArgumentError(`${call}: ${name} must be true or false, got ${describe(value)}`);
}

/** @internal Refuses decay rates that are not two numbers in [0, 1). */
export function checkBetas(call: string, betas: unknown): void {
  if (!Array.isArray(betas) || betas.length !== 2)
    throw new ArgumentError(`${call}: betas must be a list of two numbers, got ${describe(betas)}`);
  betas.forEach((beta, i) => {
    checkNumber(call, `betas[${i}]`, beta, 0);
    if (beta >= 1) throw new ArgumentError(`${call}: betas[${i}] must be below 1, got ${beta}`);
  });
}
