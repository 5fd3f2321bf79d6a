import { anomaly, callSite } from "../autograd/anomaly.js";
import { isGradEnabled, resume, suspend } from "../autograd/mode.js";
import { type Edge, edgeOf, type Gradient, Node, SavedTensor, setHistory } from "../autograd/node.js";
import { primitives } from "../autograd/primitives.js";
import type { FloatDType } from "../core/dtype.js";
import { GradientError } from "../core/errors.js";
import { runScoped } from "../core/scope.js";
import type { Shape } from "../core/shape.js";
import { isDifferentiable, type Tensor } from "../core/tensor.js";

/**
 * The registry: an op is defined once, and from its definition come its recording, its derivative of any order, and
 * all generated tests (parity on every target and the reference, gradcheck, gradgradcheck, refusals), the bench's op
 * table and the list in the docs.
 */

/** What a derivative's formula may use. */
export interface GradContext<I extends string, O> {
  /** The gradient of the (first) output. */
  readonly dy: Tensor;
  /** The gradients of all outputs; null where nothing reached. */
  readonly gradients: readonly Gradient[];
  readonly options: O;
  /** A saved input; it must be listed in `reads`. */
  input(name: I): Tensor;
  /** A saved input that may not have been given. */
  optional(name: I): Tensor | null;
  /** A saved output; "output" must be listed in `reads`. */
  output(index?: number): Tensor;
  /** The i-th tensor that forward kept (indices, statistics). */
  kept(index: number): Tensor;
  /** The shape an input had. */
  shape(name: I): Shape;
  /** Whether anybody asks for the gradient of this input. */
  needs(name: I): boolean;
}

/** The derivative with respect to one input, written in ops so that it can be differentiated itself. */
export interface Derivative<I extends string, O> {
  /** What backward has to find as it was: these are saved, and checked against in-place changes. */
  readonly reads?: readonly (I | "output")[];
  readonly formula: (context: GradContext<I, O>) => Gradient;
}

/** All derivatives at once, where one kernel computes several. */
export interface JointDerivative<I extends string, O> {
  /** The inputs that have a derivative; default all. */
  readonly inputs?: readonly I[];
  /** What backward has to find as it was; a function when that depends on which gradients are asked for. */
  readonly reads?: readonly (I | "output")[] | ((needs: (name: I) => boolean) => readonly (I | "output")[]);
  /** One gradient per input, in order; null where none is needed. */
  readonly formula: (context: GradContext<I, O>) => readonly Gradient[];
}

/** How a sample makes an input: random normal numbers of a shape, or something special. */
export type SampleInput = Shape | null | ((random: SampleRandom) => Tensor);

export interface SampleRandom {
  readonly dtype: FloatDType;
  /** Normal numbers. */
  normal(shape: Shape): Tensor;
  /** Uniform numbers in [low, high). */
  uniform(shape: Shape, low: number, high: number): Tensor;
  /** Different numbers at least `gap` apart, for ops with kinks and ties. */
  distinct(shape: Shape, gap?: number): Tensor;
  /** Integers in [low, high), int32. */
  integers(shape: Shape, low: number, high: number): Tensor;
}

/** A legal call, for the generated tests. */
export interface Sample<I extends string, O> {
  readonly inputs: Readonly<Record<I, SampleInput>>;
  readonly options?: O;
  /** What the tests leave out, with the reason in a comment beside it. */
  readonly skip?: readonly ("gradcheck" | "gradgradcheck" | "layouts")[];
  /** Allowed difference in float32, relative to the largest value; default 2e-5. */
  readonly tolerance?: number;
}

/** A call that must throw: the arguments of the public function are made by `call`. */
export interface Refusal {
  readonly call: () => unknown;
  readonly message: RegExp;
}

export interface OpDefinition<I extends string, O> {
  readonly name: string;
  /** Names of the tensor inputs, in order; optional ones are passed as null when absent. */
  readonly inputs: readonly I[];
  /** The values, computed unrecorded. `keep` holds tensors of the op's own for the derivatives. */
  readonly forward: (inputs: readonly Tensor[], options: O, keep: (t: Tensor) => void) => Tensor | readonly Tensor[];
  /** The output shows the first input's memory. */
  readonly view?: boolean;
  /** forward is made of other ops, whose results in between are given back at once. */
  readonly composite?: boolean;
  /** Per input; an input without one is not differentiable. */
  readonly grad?: Readonly<Partial<Record<I, Derivative<I, O>>>>;
  readonly gradAll?: JointDerivative<I, O>;
  readonly samples: () => readonly Sample<I, O>[];
  readonly refusals?: () => readonly Refusal[];
}

/** A defined op: call it with its inputs in order and its options. */
export interface Op<I extends string = string, O = unknown> {
  (inputs: readonly (Tensor | null)[], options: O): Tensor;
  /** For ops with several outputs. */
  all(inputs: readonly (Tensor | null)[], options: O): readonly Tensor[];
  /** Records the op as the history of `output`, whose values are there already (in-place changes of a view's base). */
  record(inputs: readonly (Tensor | null)[], options: O, output: Tensor): void;
  readonly definition: OpDefinition<I, O>;
}

export const registry: Map<string, Op> = new Map();

/** The recorded call of an op. */
class OpNode<I extends string, O> extends Node implements GradContext<I, O> {
  readonly #definition: OpDefinition<I, O>;
  readonly options: O;
  readonly #shapes: readonly (Shape | null)[];
  #inputs: (SavedTensor | null)[] | null = null;
  #outputs: SavedTensor[] | null = null;
  #kept: Tensor[] | null;
  gradients: readonly Gradient[] = [];

  constructor(
    definition: OpDefinition<I, O>,
    next: readonly (Edge | null)[],
    inputs: readonly (Tensor | null)[],
    options: O,
    kept: Tensor[] | null,
  ) {
    super(definition.name, next);
    this.#definition = definition;
    this.options = options;
    this.#kept = kept;
    this.#shapes = inputs.map((t) => t?.shape ?? null);
  }

  save(inputs: readonly (Tensor | null)[], outputs: readonly Tensor[]): void {
    for (const read of this.#reads()) {
      if (read === "output") {
        this.#outputs ??= outputs.map((t, i) => new SavedTensor(t, `output ${i} of ${this.name}`));
      } else {
        const i = this.#definition.inputs.indexOf(read);
        const t = inputs[i] ?? null;
        this.#inputs ??= inputs.map(() => null);
        this.#inputs[i] ??= t === null ? null : new SavedTensor(t, `input ${read} of ${this.name}`);
      }
    }
  }

  *#reads(): Iterable<I | "output"> {
    const { grad, gradAll, inputs } = this.#definition;
    const joint = gradAll?.reads;
    if (joint !== undefined) yield* typeof joint === "function" ? joint((name) => this.needs(name)) : joint;
    if (grad !== undefined) {
      for (let i = 0; i < inputs.length; i++) {
        const reads = this.next[i] ? grad[inputs[i]!]?.reads : undefined;
        if (reads !== undefined) yield* reads;
      }
    }
  }

  get saves(): boolean {
    return this.#inputs !== null || this.#outputs !== null || this.#kept !== null;
  }

  override release(recorded: boolean): void {
    super.release(recorded);
    // What forward kept belongs to the op alone; only a recorded backward can have passed it on.
    if (!recorded) for (const t of this.#kept ?? []) t.dispose();
    this.#inputs = this.#outputs = this.#kept = null;
  }

  backward(gradients: readonly Gradient[]): readonly Gradient[] {
    this.gradients = gradients;
    try {
      const { grad, gradAll, inputs } = this.#definition;
      if (gradAll !== undefined) return gradAll.formula(this).map((g, i) => (this.next[i] ? g : null));
      const results = new Array<Gradient>(inputs.length).fill(null);
      for (let i = 0; i < inputs.length; i++) {
        if (this.next[i]) results[i] = grad?.[inputs[i]!]?.formula(this) ?? null;
      }
      return results;
    } finally {
      this.gradients = [];
    }
  }

  get dy(): Tensor {
    const gradient = this.gradients[0];
    if (gradient) return gradient;
    const { shape, dtype } = this.outputs[0]!;
    return primitives().filled(shape, dtype, 0);
  }

  input(name: I): Tensor {
    const t = this.optional(name);
    if (t === null) throw new GradientError(`${this.name}: input ${name} was not given or not saved`);
    return t;
  }

  optional(name: I): Tensor | null {
    return this.#inputs?.[this.#definition.inputs.indexOf(name)]?.get(this.name) ?? null;
  }

  output(index = 0): Tensor {
    const saved = this.#outputs?.[index];
    if (saved === undefined) throw new GradientError(`${this.name}: output ${index} was not saved`);
    return saved.get(this.name);
  }

  kept(index: number): Tensor {
    const t = this.#kept?.[index];
    if (t === undefined) throw new GradientError(`${this.name}: tensor ${index} was not kept`);
    return t;
  }

  shape(name: I): Shape {
    return this.#shapes[this.#definition.inputs.indexOf(name)] ?? [];
  }

  needs(name: I): boolean {
    return Boolean(this.next[this.#definition.inputs.indexOf(name)]);
  }
}

/** Whether an op has a derivative with respect to input `i`. */
function derives<I extends string, O>(definition: OpDefinition<I, O>, i: number): boolean {
  const { grad, gradAll, inputs } = definition;
  const name = inputs[i]!;
  return gradAll !== undefined ? (gradAll.inputs?.includes(name) ?? true) : grad?.[name] !== undefined;
}

/** Defines an op and enters it in the registry. */
export function defineOp<I extends string, O = undefined>(definition: OpDefinition<I, O>): Op<I, O> {
  if (registry.has(definition.name)) throw new Error(`op ${definition.name} is defined twice`);
  const { forward, composite } = definition;

  const call = (inputs: readonly (Tensor | null)[], options: O): Tensor | readonly Tensor[] => {
    let recorded = false;
    if (isGradEnabled()) {
      for (let i = 0; i < inputs.length; i++) {
        const t = inputs[i];
        if (t?.requiresGrad && derives(definition, i)) recorded = true;
      }
    }
    let kept: Tensor[] | null = null;
    let result: Tensor | readonly Tensor[];
    const keep = (t: Tensor): void => {
      if (recorded) (kept ??= []).push(t);
      else t.dispose();
    };
    suspend();
    try {
      result = composite
        ? runScoped(
            () => forward(inputs as readonly Tensor[], options, keep),
            (made) => [...outputsOf(made), ...(kept ?? [])].map((t) => t.storage),
          )
        : forward(inputs as readonly Tensor[], options, keep);
    } finally {
      resume();
    }
    if (definition.view) markView(definition.name, inputs[0]!, outputsOf(result));
    if (recorded) record(definition, inputs, options, result, kept);
    return result;
  };

  const op = ((inputs, options) => {
    const result = call(inputs, options);
    return Array.isArray(result) ? result[0] : result;
  }) as Op<I, O>;
  op.all = (inputs, options) => {
    const result = call(inputs, options);
    return Array.isArray(result) ? result : [result as Tensor];
  };
  op.record = (inputs, options, output) => record(definition, inputs, options, output, null);
  (op as { definition: OpDefinition<I, O> }).definition = definition;
  registry.set(definition.name, op as unknown as Op);
  return op;
}

function outputsOf(result: Tensor | readonly Tensor[]): readonly Tensor[] {
  return Array.isArray(result) ? (result as readonly Tensor[]) : [result as Tensor];
}

/** Remembers whose memory a view shows, and why changing it in place may have to be refused. */
function markView(by: string, of: Tensor, views: readonly Tensor[]): void {
  const made = views.length > 1 ? "one of several" : isGradEnabled() ? (of.viewOf?.made ?? "recorded") : "unrecorded";
  for (const view of views) {
    view.viewOf = { base: of.viewOf?.base ?? of, made, by, version: view.storage.version };
  }
}

function record<I extends string, O>(
  definition: OpDefinition<I, O>,
  inputs: readonly (Tensor | null)[],
  options: O,
  result: Tensor | readonly Tensor[],
  kept: Tensor[] | null,
): void {
  const next = inputs.map((t, i) => (t?.requiresGrad && derives(definition, i) ? edgeOf(t) : null));
  const node = new OpNode(definition, next, inputs, options, kept);
  if (anomaly.enabled) node.site = callSite();
  const outputs = outputsOf(result);
  outputs.forEach((t, i) => {
    node.outputs.push({ shape: t.shape, dtype: t.dtype });
    if (isDifferentiable(t)) setHistory(t, node, i);
  });
  node.save(inputs, outputs);
}
