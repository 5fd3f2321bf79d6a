import { clearGrad } from "../autograd/engine.js";
import { noGrad, unrecorded } from "../autograd/mode.js";
import type { HookHandle } from "../autograd/node.js";
import { setRequiresGrad } from "../autograd/node.js";
import { type DType, type FloatDType, isFloating } from "../core/dtype.js";
import { ArgumentError, DTypeError } from "../core/errors.js";
import { checkBoolean, checkOptions, isPlainObject } from "../core/options.js";
import { describe, type Shape } from "../core/shape.js";
import { autogradState, isTensor, type Tensor } from "../core/tensor.js";
import { type RunAsyncOptions, runAsync } from "../ops/run_async.js";
import { cast } from "../ops/view.js";
import { type ForwardHook, type ForwardPreHook, type FullBackwardHook, ModuleHooks } from "./hooks.js";
import { Parameter, replaceValue, UninitializedParameter } from "./parameter.js";
import { moduleText } from "./print.js";
import { collectState, type LoadResult, prepareState, type StateDict } from "./state.js";
import { type Summary, summarize } from "./summary.js";

/** Refuses what is no module; for others that take one. @internal */
export function checkModule(call: string, model: unknown): asserts model is Module {
  if (!(model instanceof Module)) throw new ArgumentError(`${call}: model must be a Module, got ${describe(model)}`);
}

interface BufferEntry {
  tensor: Tensor | null;
  readonly persistent: boolean;
}

/**
 * A part of a network: parameters, buffers, parts of its own, and `forward`, which computes.
 *
 * Plain fields are all it takes: a `Parameter`, a `Module`, or a list of either is found by `parameters()`,
 * `stateDict()` and the rest under the field's name, in the order of definition, with PyTorch's dotted keys. (JavaScript's
 * private `#fields` cannot be found.) A module is called by its `forward`; hooks run there too.
 *
 *     class Net extends nn.Module {
 *       conv = new nn.Conv2d(1, 8, 3);
 *       forward(x: Tensor): Tensor {
 *         return relu(this.conv.forward(x));
 *       }
 *     }
 */
export abstract class Module {
  /** Whether dropout drops and batch norm uses the batch's statistics; set by `train()` and `eval()`. */
  training = true;
  #buffers: Map<string, BufferEntry> | null = null;
  #hooks: ModuleHooks | null = null;

  /** Computes the outputs from the inputs. */
  abstract forward(...inputs: never[]): unknown;

  /**
   * `forward` for inference, computed off the main thread: unrecorded, with the same bits as the synchronous call.
   * Takes all inputs of `forward`, then options. Several calls may be in flight; they compute one after the other. See `runAsync`.
   */
  async forwardAsync<Y = Tensor>(...given: readonly Tensor[] | readonly [...Tensor[], RunAsyncOptions]): Promise<Y> {
    const last = given.at(-1);
    const inputs = isPlainObject(last) ? given.slice(0, -1) : given;
    const section = (): Y => noGrad(() => (this.forward as (...inputs: unknown[]) => Y)(...inputs));
    return await runAsync(section, isPlainObject(last) ? last : {});
  }

  // ---- What it is made of ----

  /** Names and values of the members to search; containers give their entries. @internal */
  *members(): Iterable<readonly [string, unknown]> {
    for (const name of Object.keys(this)) yield [name, (this as Record<string, unknown>)[name]];
  }

  /** Parameters of this module itself, by field name. @internal */
  *ownParameters(): Iterable<readonly [string, Parameter]> {
    for (const [name, value] of this.members()) {
      if (value instanceof Parameter) yield [name, value];
      else if (isListOf(value, Parameter)) for (let i = 0; i < value.length; i++) yield [`${name}.${i}`, value[i]!];
    }
  }

  /** Buffers of this module itself, by the name they were registered under. @internal */
  *ownBuffers(): Iterable<readonly [string, Tensor, boolean]> {
    for (const [name, { tensor, persistent }] of this.#buffers ?? []) {
      const field = Object.getOwnPropertyDescriptor(this, name)?.value as unknown;
      const value = isTensor(field) ? field : tensor; // a class field of the same name goes before
      if (value !== null) yield [name, value, persistent];
    }
  }

  /** The buffer of this module itself that was registered under `name`; null if there is none. @internal */
  protected ownBuffer(name: string): Tensor | null {
    const field = (this as Record<string, unknown>)[name];
    return isTensor(field) ? field : (this.#buffers?.get(name)?.tensor ?? null);
  }

  /** Whether a part of this module passes the test: `children().some(test)` for what every step asks. @internal */
  someChild(test: (child: Module) => boolean): boolean {
    return this.members === Module.prototype.members ? this.someField(test) : this.children().some(test);
  }

  /** The same for the parts that are fields. @internal */
  protected someField(test: (child: Module) => boolean): boolean {
    for (const name of Object.keys(this)) {
      const value = (this as Record<string, unknown>)[name];
      if (typeof value !== "object" || value === null) continue;
      if (value instanceof Module ? test(value) : isListOf(value, Module) && value.some((child) => test(child)))
        return true;
    }
    return false;
  }

  /** The parts of this module, by name: `conv1`, or `blocks.0` for a field that is a list of modules. */
  *namedChildren(): Iterable<readonly [string, Module]> {
    for (const [name, value] of this.members()) {
      if (value instanceof Module) yield [name, value];
      else if (isListOf(value, Module)) for (let i = 0; i < value.length; i++) yield [`${name}.${i}`, value[i]!];
    }
  }

  children(): Module[] {
    return [...this.namedChildren()].map(([, child]) => child);
  }

  /** This module (under the name `prefix`) and all parts of parts, each once, from the outside in. */
  *namedModules(prefix = "", seen: Set<Module> = new Set()): Iterable<readonly [string, Module]> {
    if (seen.has(this)) return;
    seen.add(this);
    yield [prefix, this];
    for (const [name, child] of this.namedChildren()) yield* child.namedModules(joined(prefix, name), seen);
  }

  modules(): Module[] {
    return [...this.namedModules()].map(([, module]) => module);
  }

  /** All parameters with their dotted names, in PyTorch's order; a shared one comes once, under its first name. */
  *namedParameters(): Iterable<readonly [string, Parameter]> {
    const seen = new Set<Parameter>();
    for (const [prefix, module] of this.namedModules()) {
      for (const [name, parameter] of module.ownParameters()) {
        if (seen.has(parameter)) continue;
        seen.add(parameter);
        yield [joined(prefix, name), parameter];
      }
    }
  }

  /** All parameters, for an optimiser. */
  parameters(): Parameter[] {
    return [...this.namedParameters()].map(([, parameter]) => parameter);
  }

  /** All buffers with their dotted names, each once. */
  *namedBuffers(): Iterable<readonly [string, Tensor]> {
    const seen = new Set<Tensor>();
    for (const [prefix, module] of this.namedModules()) {
      for (const [name, buffer] of module.ownBuffers()) {
        if (seen.has(buffer)) continue;
        seen.add(buffer);
        yield [joined(prefix, name), buffer];
      }
    }
  }

  buffers(): Tensor[] {
    return [...this.namedBuffers()].map(([, buffer]) => buffer);
  }

  /**
   * Keeps a tensor that is not learned but belongs to the state (running statistics, masks): it is found by `buffers()`,
   * converted by `to()`, and saved under `name` unless `persistent` is false. It can be read as a property of that name.
   */
  registerBuffer<T extends Tensor | null>(name: string, tensor: T, options: { persistent?: boolean } = {}): T {
    checkOptions("registerBuffer", options, ["persistent"]);
    if (typeof name !== "string" || name === "" || name.includes(".")) {
      throw new ArgumentError(`registerBuffer: name must be a non-empty string without dots, got ${describe(name)}`);
    }
    if (tensor !== null && !isTensor(tensor))
      throw new ArgumentError(`registerBuffer: ${name} must be a tensor or null, got ${describe(tensor)}`);
    if (!this.#buffers?.has(name) && name in this)
      throw new ArgumentError(`registerBuffer: the module has a member ${JSON.stringify(name)} already`);
    const entry: BufferEntry = { tensor, persistent: options.persistent ?? true };
    this.#buffers ??= new Map();
    this.#buffers.set(name, entry);
    Object.defineProperty(this, name, {
      get: () => entry.tensor,
      set: (value: Tensor | null) => {
        if (value !== null && !isTensor(value))
          throw new ArgumentError(`buffer ${name} must be a tensor or null, got ${describe(value)}`);
        entry.tensor = value;
      },
      configurable: true,
      enumerable: false,
    });
    return tensor;
  }

  // ---- What is done to all of it ----

  /** Calls `fn` with every part, innermost first, then with this module. */
  apply(fn: (module: Module) => void): this {
    for (const child of this.children()) child.apply(fn);
    fn(this);
    return this;
  }

  /** Switches this module and all parts to training (or, with false, to evaluation). */
  train(mode = true): this {
    if (typeof mode !== "boolean") throw new ArgumentError(`train: mode must be true or false, got ${describe(mode)}`);
    for (const [, module] of this.namedModules()) module.training = mode;
    return this;
  }

  /** Switches to evaluation: dropout does nothing, batch norm uses its running statistics. */
  eval(): this {
    return this.train(false);
  }

  /** Whether all parameters require gradients, from now on. False freezes them. */
  requiresGrad_(value = true): this {
    for (const parameter of this.parameters()) setRequiresGrad(parameter, value);
    return this;
  }

  /** Clears the gradients of all parameters: to null, or in place to zeros. */
  zeroGrad(setToNone = true): this {
    for (const parameter of this.parameters()) {
      if (setToNone) clearGrad(parameter);
      else unrecorded(() => parameter.grad?.zero_());
    }
    return this;
  }

  /**
   * Converts all floating parameters and buffers (and gradients) to another floating dtype. The objects stay the same, so
   * optimisers made before keep working on them (their own state is not converted).
   */
  to(dtype: FloatDType): this {
    if (!isFloating(dtype as DType))
      throw new DTypeError(`Module.to: dtype must be "float32" or "float64", got ${describe(dtype)}`);
    const seen = new Set<Tensor>();
    const convert = (t: Tensor): void => {
      if (seen.has(t) || !isFloating(t.dtype) || t.dtype === dtype) return;
      seen.add(t);
      const grad = t.grad;
      replaceValue(
        t,
        unrecorded(() => cast(t, dtype)),
      );
      if (grad !== null) autogradState(t).grad = unrecorded(() => cast(grad, dtype));
    };
    for (const parameter of this.parameters()) convert(parameter);
    for (const buffer of this.buffers()) convert(buffer);
    return this;
  }

  // ---- State ----

  /**
   * Parameters and persistent buffers by PyTorch's keys, as constants that share the module's memory: clone what must
   * stay as it is. (The object has no prototype, so every key is safe.)
   */
  stateDict(): StateDict {
    return collectState(this);
  }

  /**
   * Copies values by key into parameters and buffers (converting the dtype). Everything is checked before anything is
   * changed. With `strict: false`, keys that are missing or not known are returned instead of refused.
   * @throws {StateError} that lists all missing, unexpected and wrongly shaped keys at once
   */
  loadStateDict(dict: Readonly<Record<string, Tensor>>, options: { strict?: boolean } = {}): LoadResult {
    checkOptions("loadStateDict", options, ["strict"]);
    const prepared = prepareState(this, dict, checkBoolean("loadStateDict", "strict", options.strict ?? true));
    prepared.commit();
    return prepared.result;
  }

  /** Checks a state to the end; what it returns loads it. @internal */
  prepareLoad(dict: Readonly<Record<string, Tensor>>): () => void {
    return prepareState(this, dict, true).commit;
  }

  // ---- Hooks ----

  /** Calls `hook(module, inputs)` before every forward; a list that it returns replaces the inputs. */
  registerForwardPreHook(hook: ForwardPreHook): HookHandle {
    return this.#withHooks().add("before", hook);
  }

  /** Calls `hook(module, inputs, output)` after every forward; a value that it returns replaces the output. */
  registerForwardHook(hook: ForwardHook): HookHandle {
    return this.#withHooks().add("after", hook);
  }

  /**
   * Calls `hook(module, gradInputs, gradOutput)` when backward has passed through the module, whose output must be one
   * tensor. What it returns replaces the gradient, if exactly one input takes one.
   */
  registerFullBackwardHook(hook: FullBackwardHook): HookHandle {
    return this.#withHooks().add("backward", hook);
  }

  /** Whether hooks are called with `forward`. @internal */
  get hooked(): boolean {
    return this.#hooks?.active === true;
  }

  #withHooks(): ModuleHooks {
    this.#hooks ??= new ModuleHooks(this);
    return this.#hooks;
  }

  // ---- For people ----

  /** What stands in the parentheses when the module is printed. */
  extraText(): string {
    return "";
  }

  /** The class's name when the module is printed. @internal */
  get displayName(): string {
    return this.constructor.name;
  }

  /** The module and its parts, one per line, as PyTorch prints them. */
  toString(): string {
    const children = [...this.namedChildren()].map(([name, child]) => [name, child.toString()] as const);
    return moduleText(this.displayName, this.extraText(), children);
  }

  /** Floating-point operations (a multiply-add counts two) for one call, without those of its parts. @internal */
  flops(_input: Shape, _output: Shape): number {
    return 0;
  }

  /**
   * Runs zeros of `inputShape` (batch included, such as [1, 3, 224, 224]) through the module in evaluation mode and tells
   * each layer's output shape, parameters and floating-point operations. `console.log` prints it as a table.
   */
  summary(inputShape: Shape, options: { dtype?: DType } = {}): Summary {
    return summarize(this, inputShape, options);
  }
}

Object.defineProperty(Module.prototype, Symbol.for("nodejs.util.inspect.custom"), {
  value(this: Module): string {
    return this.toString();
  },
});

function joined(prefix: string, name: string): string {
  return prefix === "" ? name : `${prefix}.${name}`;
}

// biome-ignore lint/suspicious/noExplicitAny: any class, abstract or not
function isListOf<T>(value: unknown, kind: abstract new (...given: any[]) => T): value is T[] {
  return Array.isArray(value) && value.length > 0 && value.every((entry) => entry instanceof kind);
}

/** @internal Whether a module waits for its first input to know its sizes. */
export function isUninitialized(module: Module): boolean {
  for (const [, parameter] of module.ownParameters()) if (parameter instanceof UninitializedParameter) return true;
  return false;
}
