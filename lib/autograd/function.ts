import { ArgumentError, GradientError } from "../core/errors.js";
import { describe, format, sameShape } from "../core/shape.js";
import type { Storage } from "../core/storage.js";
import { alias, isDifferentiable, isTensor, named, type Tensor } from "../core/tensor.js";
import { anomaly, callSite } from "./anomaly.js";
import { isGradEnabled, noGrad } from "./mode.js";
import { type Edge, edgeOf, type Gradient, Node, replaceHistory, setHistory } from "./node.js";
import { primitives } from "./primitives.js";
import { SavedTensor } from "./saved.js";

/** What forward of a custom function leaves for its backward; properties of the user's own may be added freely. */
export class FunctionContext {
  /** By argument of forward: whether it is a tensor whose gradient may be asked for. */
  readonly needsInputGrad: readonly boolean[];
  /** @internal */ readonly state: ContextState = {
    toSave: [],
    saved: null,
    dirty: new Set(),
    constant: new Set(),
    materialize: true,
    released: false,
  };
  [own: string]: unknown;

  constructor(needsInputGrad: readonly boolean[]) {
    this.needsInputGrad = needsInputGrad;
  }

  /** Keeps tensors for backward; if they are changed in place until then, reading them is an error. */
  saveForBackward(...tensors: (Tensor | null)[]): void {
    for (const t of tensors) {
      if (t !== null && !isTensor(t)) {
        throw new ArgumentError(
          `saveForBackward: takes tensors, got ${describe(t)}; keep other values as properties of ctx`,
        );
      }
    }
    this.state.toSave = tensors;
  }

  /** The tensors given to saveForBackward, in the same order. */
  get savedTensors(): readonly (Tensor | null)[] {
    const { saved, toSave, released } = this.state;
    if (released) {
      throw new GradientError(
        "ctx.savedTensors were released by the first backward pass; pass { retainGraph: true } to it to run another",
      );
    }
    if (saved === null) return toSave;
    return saved.map((s, i) => s?.get("a custom function", `saved tensor ${i}`) ?? null);
  }

  /** Names arguments that forward has changed in place; they must be among what it returns. */
  markDirty(...tensors: Tensor[]): void {
    for (const t of tensors) this.state.dirty.add(t);
  }

  /** Names outputs that are constants for backward. */
  markNonDifferentiable(...tensors: Tensor[]): void {
    for (const t of tensors) this.state.constant.add(t);
  }

  /** Whether backward gets zeros for outputs that nothing depends on (default), or null. */
  setMaterializeGrads(value: boolean): void {
    this.state.materialize = value;
  }
}

interface ContextState {
  toSave: readonly (Tensor | null)[];
  saved: readonly (SavedTensor | null)[] | null;
  readonly dirty: Set<Tensor>;
  readonly constant: Set<Tensor>;
  materialize: boolean;
  released: boolean;
}

type Outputs = Tensor | readonly Tensor[];
type BackwardResult = Gradient | undefined | readonly (Gradient | undefined)[];

/** A class with static `forward` and `backward`, as `CustomFunction.apply` needs it. */
export interface FunctionClass<A extends readonly unknown[], R extends Outputs> {
  readonly name: string;
  readonly onceDifferentiable: boolean;
  forward(ctx: FunctionContext, ...args: A): R;
  backward(ctx: FunctionContext, ...gradOutputs: never[]): BackwardResult;
}

/**
 * An operation with a derivative of the user's own. Subclasses define
 *
 *     static forward(ctx: FunctionContext, ...args): Tensor | Tensor[]
 *     static backward(ctx: FunctionContext, ...gradOutputs: Tensor[]): Tensor | null | (Tensor | null)[]
 *
 * and are called as `MyFunction.apply(...args)`. forward runs unrecorded. backward returns one gradient per argument of
 * forward, null for those that are no tensors or need none; written in operations, it can be differentiated itself.
 */
// biome-ignore-start lint/complexity/noStaticOnlyClass: a subclass is the namespace of its forward and backward
// biome-ignore-start lint/complexity/noThisInStatic: `this` is the subclass
export abstract class CustomFunction {
  /** Set to true if backward is not written in recorded operations: differentiating it is then an error. */
  static readonly onceDifferentiable: boolean = false;

  static backward(_ctx: FunctionContext, ..._gradOutputs: never[]): BackwardResult {
    throw new GradientError(`${this.name} defines no static backward, so nothing can be differentiated through it`);
  }

  static apply<A extends readonly unknown[], R extends Outputs>(this: FunctionClass<A, R>, ...args: A): R {
    return applyFunction(this, args);
  }
}
// biome-ignore-end lint/complexity/noThisInStatic: see above
// biome-ignore-end lint/complexity/noStaticOnlyClass: see above

function applyFunction<A extends readonly unknown[], R extends Outputs>(own: FunctionClass<A, R>, args: A): R {
  if (typeof own.forward !== "function") {
    throw new ArgumentError(`${own.name}: a custom function needs a static method forward(ctx, ...args)`);
  }
  const tensors = args.map((a): Tensor | null => (isTensor(a) ? a : null));
  const needs = tensors.map((t) => t?.requiresGrad === true);
  const recorded = isGradEnabled() && needs.includes(true);
  const next = recorded ? tensors.map((t) => edgeOf(t)) : [];
  const ctx = new FunctionContext(needs);
  const { state } = ctx;
  const result = noGrad(() => own.forward(ctx, ...args));
  const outputs: Tensor[] = isTensor(result) ? [result] : Array.isArray(result) ? [...(result as Tensor[])] : [];
  if (outputs.length === 0 || !outputs.every(isTensor)) {
    throw new ArgumentError(`${own.name}.forward must return a tensor or a list of tensors, got ${describe(result)}`);
  }
  checkDirty(own.name, state.dirty, tensors, outputs, recorded);
  for (const t of state.dirty) t.storage.version++;
  if (!recorded) return result;

  const node = new FunctionNode(own as unknown as FunctionClass<unknown[], Outputs>, next, ctx);
  if (anomaly.enabled) node.site = callSite();
  const given = new Set<Tensor>();
  outputs.forEach((t, i) => {
    // A tensor has one history: an argument that is passed through, or one returned twice, comes out as a view.
    const own =
      state.dirty.has(t) && !given.has(t) ? t : t.requiresGrad || tensors.includes(t) || given.has(t) ? alias(t) : t;
    given.add(t);
    outputs[i] = own;
    node.outputs.push({ shape: own.shape, dtype: own.dtype });
    if (state.constant.has(t) || !isDifferentiable(own)) return;
    if (state.dirty.has(t)) replaceHistory(own, node, i);
    else setHistory(own, node, i);
  });
  // Only now, so that saved outputs have this node as their history.
  const passed = Array.isArray(result) ? (result as readonly Tensor[]) : [result as Tensor];
  state.saved = state.toSave.map((t) => {
    if (t === null) return null;
    const output = tensors.includes(t) ? -1 : passed.indexOf(t);
    return new SavedTensor(output < 0 ? t : outputs[output]!);
  });
  state.toSave = [];
  return (Array.isArray(result) ? outputs : outputs[0]) as unknown as R;
}

function checkDirty(
  name: string,
  dirty: ReadonlySet<Tensor>,
  inputs: readonly (Tensor | null)[],
  outputs: readonly Tensor[],
  recorded: boolean,
): void {
  for (const t of dirty) {
    if (!inputs.includes(t)) throw new ArgumentError(`${name}: markDirty takes arguments of forward only`);
    if (!outputs.includes(t)) throw new ArgumentError(`${name}: an argument marked dirty must be returned by forward`);
    if (!recorded) continue;
    if (t.requiresGrad && t.isLeaf) {
      throw new GradientError(
        `${name}: a leaf that requires gradients cannot be changed in place while recording; do it inside noGrad()`,
      );
    }
    if (t.viewOf !== null) {
      throw new GradientError(
        `${name}: a custom function cannot change a view in place while recording; give it a clone()`,
      );
    }
  }
}

/** The recorded call of a custom function. */
class FunctionNode extends Node {
  readonly #own: FunctionClass<unknown[], Outputs>;
  readonly #context: FunctionContext;

  constructor(own: FunctionClass<unknown[], Outputs>, next: readonly (Edge | null)[], context: FunctionContext) {
    super(own.name, next);
    this.#own = own;
    this.#context = context;
  }

  override get foreign(): boolean {
    return true;
  }

  get saves(): boolean {
    return (this.#context.state.saved?.length ?? 0) > 0;
  }

  *savedStorages(): Iterable<Storage> {
    for (const saved of this.#context.state.saved ?? []) if (saved?.storage) yield saved.storage;
  }

  override release(recorded: boolean): void {
    super.release(recorded);
    const { state } = this.#context;
    for (const saved of state.saved ?? []) saved?.drop();
    state.saved = [];
    state.released = true;
  }

  backward(gradients: readonly Gradient[]): readonly Gradient[] {
    const { materialize } = this.#context.state;
    const gradOutputs = this.outputs.map(({ shape, dtype }, i): Gradient => {
      const gradient = gradients[i] ?? null;
      return gradient === null && materialize ? primitives().filled(shape, dtype, 0) : gradient;
    });
    const run = (): BackwardResult => this.#own.backward(this.#context, ...(gradOutputs as never[]));
    if (!this.#own.onceDifferentiable) return this.#checked(run());
    const results = this.#checked(noGrad(run));
    return isGradEnabled() ? this.#refusing(results) : results;
  }

  /** One gradient per argument, each fitting its argument. */
  #checked(result: BackwardResult): Gradient[] {
    const { name, next } = this;
    const list = Array.isArray(result) ? (result as readonly (Gradient | undefined)[]) : [result as Gradient];
    const extra = list.slice(next.length).filter((g) => g !== null && g !== undefined).length;
    if (list.length < next.length || extra > 0) {
      throw new GradientError(
        `backward of ${name} returned an incorrect number of gradients (expected ${next.length}, got ${list.length})`,
      );
    }
    return next.map((edge, i) => {
      const gradient = list[i] ?? null;
      if (gradient === null) return null;
      if (!isTensor(gradient)) {
        throw new GradientError(
          `backward of ${name} must return tensors or null, ${named(`gradient ${i} is`, gradient)}`,
        );
      }
      if (edge === null) return null;
      const { shape, dtype } = edge.node.outputs[edge.index]!;
      if (!expandable(shape, gradient.shape)) {
        throw new GradientError(
          `backward of ${name} returned an invalid gradient at index ${i}: got ${format(gradient.shape)}, but the argument is ` +
            format(shape),
        );
      }
      const fitting = sameShape(shape, gradient.shape) ? gradient : primitives().sumTo(gradient, shape);
      return fitting.dtype === dtype ? fitting : primitives().cast(fitting, dtype);
    });
  }

  /** The results with a history that refuses to be differentiated. */
  #refusing(results: readonly Gradient[]): Gradient[] {
    const node = new OnceDifferentiable(this.name, this.next);
    return results.map((gradient, i) => {
      node.outputs.push(gradient ?? { shape: [], dtype: "float32" });
      if (gradient === null) return null;
      const t = alias(gradient);
      setHistory(t, node, i);
      return t;
    });
  }
}

/** Whether `shape` broadcasts to `target`. */
function expandable(shape: readonly number[], target: readonly number[]): boolean {
  const lead = target.length - shape.length;
  return lead >= 0 && shape.every((size, d) => size === 1 || size === target[lead + d]);
}

class OnceDifferentiable extends Node {
  get saves(): boolean {
    return false;
  }

  savedStorages(): Iterable<Storage> {
    return [];
  }

  backward(): never {
    throw new GradientError(`${this.name} is marked onceDifferentiable: its backward cannot be differentiated`);
  }
}
