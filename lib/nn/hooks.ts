import type { HookHandle } from "../autograd/node.js";
import { ArgumentError, GradientError } from "../core/errors.js";
import { describe } from "../core/shape.js";
import { isTensor, named, type Tensor } from "../core/tensor.js";
import { reshape } from "../ops/view.js";
import type { Module } from "./module.js";

/** Before forward: may return other inputs. */
export type ForwardPreHook = (
  module: Module,
  inputs: readonly unknown[],
  // biome-ignore lint/suspicious/noConfusingVoidType: a hook may return nothing
) => readonly unknown[] | null | undefined | void;
/** After forward: may return another output. */
export type ForwardHook = (module: Module, inputs: readonly unknown[], output: unknown) => unknown;
/** When backward has passed through: gradients of the inputs (null where none is needed) and of the output. */
export type FullBackwardHook = (
  module: Module,
  gradInputs: readonly (Tensor | null)[],
  gradOutput: Tensor,
  // biome-ignore lint/suspicious/noConfusingVoidType: a hook may return nothing
) => Tensor | null | undefined | void;

interface Hooks {
  readonly before: Set<ForwardPreHook>;
  readonly after: Set<ForwardHook>;
  readonly backward: Set<FullBackwardHook>;
}

/**
 * The hooks of one module. While there are any, the module has a `forward` of its own that runs them around the class's;
 * without hooks a call costs nothing more, and there is one way to call a module: `forward`.
 */
export class ModuleHooks {
  readonly #module: Module;
  readonly #hooks: Hooks = { before: new Set(), after: new Set(), backward: new Set() };
  /** A forward that was an own property (an arrow function as a field) before the first hook. */
  #own: PropertyDescriptor | undefined;
  #installed = false;

  constructor(module: Module) {
    this.#module = module;
  }

  /** Whether there is any. */
  get active(): boolean {
    return this.#installed;
  }

  add<K extends keyof Hooks>(kind: K, hook: Hooks[K] extends Set<infer H> ? H : never): HookHandle {
    if (typeof hook !== "function") throw new ArgumentError(`a module hook must be a function, got ${describe(hook)}`);
    const set = this.#hooks[kind] as Set<unknown>;
    const call = hook as (...given: unknown[]) => unknown;
    const entry = (...given: unknown[]): unknown => call(...given); // the same function may be registered twice
    set.add(entry);
    this.#install();
    return {
      remove: () => {
        set.delete(entry);
        const { before, after, backward } = this.#hooks;
        if (before.size + after.size + backward.size === 0) this.#uninstall();
      },
    };
  }

  #install(): void {
    if (this.#installed) return;
    this.#installed = true;
    this.#own = Object.getOwnPropertyDescriptor(this.#module, "forward");
    Object.defineProperty(this.#module, "forward", {
      value: (...inputs: unknown[]): unknown => this.#run(inputs),
      configurable: true,
      writable: true,
      enumerable: false,
    });
  }

  #uninstall(): void {
    if (!this.#installed) return;
    this.#installed = false;
    delete (this.#module as { forward?: unknown }).forward;
    if (this.#own !== undefined) Object.defineProperty(this.#module, "forward", this.#own);
  }

  #run(given: unknown[]): unknown {
    const module = this.#module;
    let inputs: readonly unknown[] = given;
    for (const hook of [...this.#hooks.before]) {
      const replaced = hook(module, inputs);
      if (replaced !== undefined && replaced !== null) inputs = Array.isArray(replaced) ? replaced : [replaced];
    }
    const backward = [...this.#hooks.backward];
    const watched = backward.length === 0 ? null : watchInputs(inputs);
    // Looked up at each call: a lazy module changes its class in its first forward.
    const forward = (this.#own?.value ?? Object.getPrototypeOf(module).forward) as (...all: unknown[]) => unknown;
    let output = forward.apply(module, [...(watched?.inputs ?? inputs)]);
    for (const hook of [...this.#hooks.after]) {
      const replaced = hook(module, inputs, output);
      if (replaced !== undefined && replaced !== null) output = replaced;
    }
    if (watched !== null) output = watchOutput(module, backward, watched, output);
    return output;
  }
}

interface Watched {
  readonly inputs: readonly unknown[];
  /** Positions of the inputs that take gradients. */
  readonly at: readonly number[];
}

/** Inputs that take gradients are passed on as views, so that only what comes through this module is seen. */
function watchInputs(inputs: readonly unknown[]): Watched {
  const at: number[] = [];
  const views = inputs.map((input, i) => {
    if (!isTensor(input) || !input.requiresGrad) return input;
    at.push(i);
    return reshape(input, input.shape);
  });
  return { inputs: views, at };
}

function watchOutput(module: Module, hooks: readonly FullBackwardHook[], watched: Watched, output: unknown): unknown {
  if (!isTensor(output)) {
    throw new GradientError(
      `${module.displayName}: a full backward hook needs a module whose output is one tensor, ${named("got", output)}`,
    );
  }
  if (!output.requiresGrad) return output;
  const y = reshape(output, output.shape);
  let gradOutput: Tensor | null = null;
  const gradInputs: (Tensor | null)[] = watched.inputs.map(() => null);
  let waiting = watched.at.length;
  const call = (): Tensor | null => {
    let replaced: Tensor | null = null;
    for (const hook of hooks) {
      const result = hook(module, gradInputs, gradOutput!);
      if (result === undefined || result === null) continue;
      if (watched.at.length !== 1) {
        throw new GradientError(
          `${module.displayName}: a full backward hook can replace the gradient of exactly one input, but ${watched.at.length} take one`,
        );
      }
      replaced = result;
      gradInputs[watched.at[0]!] = result;
    }
    return replaced;
  };
  y.registerHook((gradient) => {
    gradOutput = gradient;
    waiting = watched.at.length;
    if (waiting === 0) call();
  });
  for (const i of watched.at) {
    (watched.inputs[i] as Tensor).registerHook((gradient) => {
      gradInputs[i] = gradient;
      return --waiting === 0 ? call() : null;
    });
  }
  return y;
}
