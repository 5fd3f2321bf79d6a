import { anomaly, callSite } from "../autograd/anomaly.js";
import { isGradEnabled, resume, suspend } from "../autograd/mode.js";
import { type Edge, edgeOf, type Gradient, Node, replaceHistory, setHistory } from "../autograd/node.js";
import { primitives } from "../autograd/primitives.js";
import { SavedTensor } from "../autograd/saved.js";
import type { DType, FloatDType } from "../core/dtype.js";
import { GradientError } from "../core/errors.js";
import { closeScope, openScope } from "../core/scope.js";
import type { Shape } from "../core/shape.js";
import type { Storage } from "../core/storage.js";
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
  /** The element type an input had. */
  dtype(name: I): DType;
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
  readonly reads?: readonly (I | "output")[] | ((needs: (name: I) => boolean, options: O) => readonly (I | "output")[]);
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
  /**
   * Names of the tensor inputs, in order; optional ones are passed as null when absent. An op may be called with more
   * inputs than names (cat), which are as differentiable as the last.
   */
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
  /** Records the op as the new history of `output`, whose values are there already (it was changed in place). */
  record(inputs: readonly (Tensor | null)[], options: O, output: Tensor): void;
  readonly definition: OpDefinition<I, O>;
}

export const registry: Map<string, Op> = new Map();

/** What a call of an op is made of, worked out once when the op is defined. */
interface Plan<I extends string, O> {
  readonly definition: OpDefinition<I, O>;
  /** By input: whether there is a derivative with respect to it. */
  readonly derives: readonly boolean[];
  /** Inputs past the named ones, of ops that take any number, have a derivative if all derivatives come jointly. */
  readonly derivesRest: boolean;
  /** By input: what its derivative reads, as input numbers; -1 is the output. Null when joint. */
  readonly reads: readonly (readonly number[])[] | null;
}

const outputRead = -1;

function planOf<I extends string, O>(definition: OpDefinition<I, O>): Plan<I, O> {
  const { inputs, grad, gradAll } = definition;
  return {
    definition,
    derives: inputs.map((name) =>
      gradAll !== undefined ? (gradAll.inputs?.includes(name) ?? true) : grad?.[name] !== undefined,
    ),
    derivesRest: gradAll !== undefined && gradAll.inputs === undefined,
    reads:
      gradAll !== undefined
        ? null
        : inputs.map((name) => (grad?.[name]?.reads ?? []).map((read) => readNumber(inputs, read))),
  };
}

function readNumber<I extends string>(inputs: readonly I[], read: I | "output"): number {
  return read === "output" ? outputRead : inputs.indexOf(read);
}

/** The recorded call of an op. */
class OpNode<I extends string, O> extends Node implements GradContext<I, O> {
  readonly #plan: Plan<I, O>;
  readonly options: O;
  readonly #operands: readonly (Shape | DType | null)[];
  /** By input, then by output: what derivatives read. */
  #saved: (SavedTensor | undefined)[] | null = null;
  #kept: SavedTensor[] | null = null;
  gradients: readonly Gradient[] = [];

  constructor(plan: Plan<I, O>, next: readonly (Edge | null)[], inputs: readonly (Tensor | null)[], options: O) {
    super(plan.definition.name, next);
    this.#plan = plan;
    this.options = options;
    const operands = new Array<Shape | DType | null>(2 * inputs.length);
    for (let i = 0; i < inputs.length; i++) {
      const t = inputs[i];
      operands[2 * i] = t ? t.shape : null;
      operands[2 * i + 1] = t ? t.dtype : null;
    }
    this.#operands = operands;
  }

  save(inputs: readonly (Tensor | null)[], outputs: readonly Tensor[], kept: readonly Tensor[] | null): void {
    const { reads } = this.#plan;
    if (reads === null) {
      this.#saveJoint(inputs, outputs);
    } else {
      for (let i = 0; i < reads.length; i++) {
        if (!this.next[i]) continue;
        const list = reads[i]!;
        for (let k = 0; k < list.length; k++) this.#save(list[k]!, inputs, outputs);
      }
    }
    if (kept !== null) this.#kept = kept.map((t) => new SavedTensor(t));
  }

  #saveJoint(inputs: readonly (Tensor | null)[], outputs: readonly Tensor[]): void {
    const { gradAll, inputs: names } = this.#plan.definition;
    const reads = gradAll?.reads;
    const list = typeof reads === "function" ? reads((name) => this.needs(name), this.options) : (reads ?? []);
    for (const read of list) this.#save(readNumber(names, read), inputs, outputs);
  }

  #save(read: number, inputs: readonly (Tensor | null)[], outputs: readonly Tensor[]): void {
    this.#saved ??= [];
    if (read === outputRead) {
      for (let k = 0; k < outputs.length; k++) this.#saved[inputs.length + k] ??= new SavedTensor(outputs[k]!);
    } else {
      const t = inputs[read];
      if (t) this.#saved[read] ??= new SavedTensor(t);
    }
  }

  get saves(): boolean {
    return this.#saved !== null || this.#kept !== null;
  }

  *savedStorages(): Iterable<Storage> {
    for (const saved of [...(this.#saved ?? []), ...(this.#kept ?? [])]) {
      if (saved?.storage) yield saved.storage;
    }
  }

  override release(recorded: boolean): void {
    super.release(recorded);
    if (this.#saved !== null) for (const saved of this.#saved) saved?.drop();
    if (this.#kept !== null) {
      for (const kept of this.#kept) {
        kept.drop();
        // What forward kept belongs to the op alone; only a recorded backward can have passed it on.
        if (!recorded) kept.storage?.dispose();
      }
    }
    this.#saved = this.#kept = null;
  }

  backward(gradients: readonly Gradient[]): readonly Gradient[] {
    this.gradients = gradients;
    try {
      const { grad, gradAll, inputs } = this.#plan.definition;
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

  #number(name: I): number {
    return this.#plan.definition.inputs.indexOf(name);
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
    return this.#saved?.[this.#number(name)]?.get(this.name, `input ${name} of ${this.name}`) ?? null;
  }

  output(index = 0): Tensor {
    const saved = this.#saved?.[this.#plan.definition.inputs.length + index];
    if (saved === undefined) throw new GradientError(`${this.name}: output ${index} was not saved`);
    return saved.get(this.name, `output ${index} of ${this.name}`);
  }

  kept(index: number): Tensor {
    const saved = this.#kept?.[index];
    if (saved === undefined) throw new GradientError(`${this.name}: tensor ${index} was not kept`);
    return saved.get(this.name, `a tensor that ${this.name} kept`);
  }

  shape(name: I): Shape {
    return (this.#operands[2 * this.#number(name)] as Shape | null) ?? [];
  }

  dtype(name: I): DType {
    return (this.#operands[2 * this.#number(name) + 1] as DType | null) ?? this.dy.dtype;
  }

  needs(name: I): boolean {
    return Boolean(this.next[this.#number(name)]);
  }
}

/** Defines an op and enters it in the registry. */
export function defineOp<I extends string, O = undefined>(definition: OpDefinition<I, O>): Op<I, O> {
  if (registry.has(definition.name)) throw new Error(`op ${definition.name} is defined twice`);
  const plan = planOf(definition);

  const op = ((inputs, options) => {
    const result = call(plan, inputs, options);
    return Array.isArray(result) ? result[0] : result;
  }) as Op<I, O>;
  op.all = (inputs, options) => outputsOf(call(plan, inputs, options));
  op.record = (inputs, options, output) => {
    const node = nodeOf(plan, inputs, options);
    node.outputs.push({ shape: output.shape, dtype: output.dtype });
    node.save(inputs, [output], null);
    replaceHistory(output, node, 0);
  };
  (op as { definition: OpDefinition<I, O> }).definition = definition;
  registry.set(definition.name, op as unknown as Op);
  return op;
}

/** Whether input i has a derivative; inputs past the last name are like the last. */
function derivesAt({ derives }: { readonly derives: readonly boolean[] }, i: number): boolean {
  return derives[i < derives.length ? i : derives.length - 1] === true;
}

/** Computes unrecorded, then records the call if an input with a derivative asks for it. */
function call<I extends string, O>(
  plan: Plan<I, O>,
  inputs: readonly (Tensor | null)[],
  options: O,
): Tensor | readonly Tensor[] {
  const { definition } = plan;
  let asked = false;
  for (let i = 0; i < inputs.length; i++) {
    if (derivesAt(plan, i) && inputs[i]?.requiresGrad === true) asked = true;
  }
  const recorded = asked && isGradEnabled();
  const kept: Tensor[] | null = recorded ? [] : null;
  const keep = kept === null ? disposeTensor : (t: Tensor): void => void kept.push(t);
  let result: Tensor | readonly Tensor[];
  suspend();
  try {
    result = definition.composite
      ? composed(definition, inputs as readonly Tensor[], options, keep, kept)
      : definition.forward(inputs as readonly Tensor[], options, keep);
  } finally {
    resume();
  }
  if (definition.view) markViews(definition.name, inputs[0]!, outputsOf(result));
  if (recorded) record(plan, inputs, options, result, kept!);
  return result;
}

const disposeTensor = (t: Tensor): void => t.dispose();

/** forward of an op that is made of others: what these made in between is given back. */
function composed<I extends string, O>(
  definition: OpDefinition<I, O>,
  inputs: readonly Tensor[],
  options: O,
  keep: (t: Tensor) => void,
  kept: readonly Tensor[] | null,
): Tensor | readonly Tensor[] {
  const scope = openScope();
  let survivors: readonly Tensor[] = [];
  try {
    const result = definition.forward(inputs, options, keep);
    survivors = kept === null ? outputsOf(result) : [...outputsOf(result), ...kept];
    for (const t of survivors) t.storage.surviving = true;
    return result;
  } finally {
    closeScope(scope);
    for (const t of survivors) t.storage.surviving = false;
  }
}

function outputsOf(result: Tensor | readonly Tensor[]): readonly Tensor[] {
  return Array.isArray(result) ? (result as readonly Tensor[]) : [result as Tensor];
}

/** Remembers whose memory views show, and why changing them in place may have to be refused. */
function markViews(by: string, of: Tensor, views: readonly Tensor[]): void {
  const parent = of.viewOf;
  const { version } = of.storage;
  for (const view of views) {
    if (parent?.made === "one of several")
      view.viewOf = { base: parent.base, made: parent.made, by: parent.by, version };
    else {
      const made = views.length > 1 ? "one of several" : isGradEnabled() ? (parent?.made ?? "recorded") : "unrecorded";
      view.viewOf = { base: parent?.base ?? of, made, by, version };
    }
  }
}

function nodeOf<I extends string, O>(plan: Plan<I, O>, inputs: readonly (Tensor | null)[], options: O): OpNode<I, O> {
  const next = new Array<Edge | null>(inputs.length);
  for (let i = 0; i < inputs.length; i++) {
    const t = inputs[i];
    next[i] = t && derivesAt(plan, i) ? edgeOf(t) : null;
  }
  const node = new OpNode(plan, next, inputs, options);
  if (anomaly.enabled) node.site = callSite();
  return node;
}

function record<I extends string, O>(
  plan: Plan<I, O>,
  inputs: readonly (Tensor | null)[],
  options: O,
  result: Tensor | readonly Tensor[],
  kept: readonly Tensor[],
): void {
  const node = nodeOf(plan, inputs, options);
  const outputs = outputsOf(result);
  for (let i = 0; i < outputs.length; i++) {
    const t = outputs[i]!;
    node.outputs.push({ shape: t.shape, dtype: t.dtype });
    if (isDifferentiable(t)) setHistory(t, node, i);
  }
  node.save(inputs, outputs, kept.length === 0 ? null : kept);
}
