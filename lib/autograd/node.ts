import type { DType } from "../core/dtype.js";
import type { Shape } from "../core/shape.js";
import type { Storage } from "../core/storage.js";
import { autogradState, type GradientNode, type Tensor } from "../core/tensor.js";
import type { Task } from "./engine.js";
import { viewNode } from "./view.js";

/** Where a gradient goes: to one output of a node. */
export interface Edge {
  readonly node: Node;
  readonly index: number;
}

/** A gradient on its way; null stands for zeros. */
export type Gradient = Tensor | null;

/** A function called with a gradient; what it returns replaces the gradient. */
// biome-ignore lint/suspicious/noConfusingVoidType: a hook may return nothing
export type TensorHook = (gradient: Tensor) => Tensor | null | undefined | void;

/** Called with the gradients of a node's outputs before it runs; what it returns replaces them. */
// biome-ignore lint/suspicious/noConfusingVoidType: a hook may return nothing
export type NodePreHook = (gradOutputs: readonly Gradient[]) => readonly Gradient[] | null | undefined | void;

/** Called with the gradients of a node's inputs and outputs after it ran; what it returns replaces those of the inputs. */
export type NodeHook = (
  gradInputs: readonly Gradient[],
  gradOutputs: readonly Gradient[],
  // biome-ignore lint/suspicious/noConfusingVoidType: a hook may return nothing
) => readonly Gradient[] | null | undefined | void;

export interface HookHandle {
  /** Takes the hook away; also allowed inside the hook itself. */
  remove(): void;
}

/** What a node knows of each of its outputs, to check and to fill in gradients. */
export interface OutputInfo {
  readonly shape: Shape;
  readonly dtype: DType;
}

/** Hooks of a node, made when the first is registered. */
export interface NodeHooks {
  /** By output. */
  readonly tensor: Map<number, Set<TensorHook>>;
  readonly before: Set<NodePreHook>;
  readonly after: Set<NodeHook>;
  /** Non-leaf tensors that asked for their gradient, by output. */
  readonly retained: Map<number, Tensor>;
}

let sequence = 0;

/** One recorded operation: turns the gradients of its outputs into gradients of its inputs. */
export abstract class Node implements GradientNode {
  readonly name: string;
  /** Where each input's gradient goes; null for inputs that need none. */
  readonly next: readonly (Edge | null)[];
  readonly outputs: OutputInfo[] = [];
  /** Later operations have higher numbers, so that an operation's number is above those of all it was computed from. */
  readonly sequence: number = sequence++;
  /** Whether what backward needs was given back. */
  released = false;
  /** Where the operation was called, in anomaly mode. */
  site: string | null = null;
  hooks: NodeHooks | null = null;
  /** What the running backward pass keeps here. @internal */
  task: Task | null = null;

  constructor(name: string, next: readonly (Edge | null)[]) {
    this.name = name;
    this.next = next;
  }

  /** Gradients of the inputs from those of the outputs. */
  abstract backward(gradients: readonly Gradient[]): readonly Gradient[];

  /** Whether backward reads saved tensors, so that it cannot run after they were released. */
  abstract get saves(): boolean;

  /** Memory held for backward, which a scope must not give back while the graph lives. */
  abstract savedStorages(): Iterable<Storage>;

  /** Drops the saved tensors; `recorded` if the backward pass was itself recorded and may have passed them on. */
  release(_recorded: boolean): void {
    this.released = true;
  }

  /** Whether backward calls functions of the user, which may keep what they are given. */
  get foreign(): boolean {
    return false;
  }

  /** Calls `hook` before this operation's backward. */
  registerPreHook(hook: NodePreHook): HookHandle {
    return entered(this.ownHooks().before, (g) => hook(g));
  }

  /** Calls `hook` after this operation's backward. */
  registerHook(hook: NodeHook): HookHandle {
    return entered(this.ownHooks().after, (inputs, outputs) => hook(inputs, outputs));
  }

  /** Calls `hook` with the gradient of output `index`. */
  addHook(index: number, hook: TensorHook): HookHandle {
    const { tensor } = this.ownHooks();
    let set = tensor.get(index);
    if (set === undefined) tensor.set(index, (set = new Set()));
    return entered(set, (g) => hook(g));
  }

  /** Keeps the gradient of output `index` in `t.grad`. */
  retain(index: number, t: Tensor): void {
    this.ownHooks().retained.set(index, t);
  }

  /** @internal */
  ownHooks(): NodeHooks {
    this.hooks ??= { tensor: new Map(), before: new Set(), after: new Set(), retained: new Map() };
    return this.hooks;
  }

  get [Symbol.toStringTag](): string {
    return this.name;
  }
}

/** Enters a hook in a set; each registration is wrapped, so that the same function may be registered twice. */
function entered<H>(set: Set<H>, wrapped: H): HookHandle {
  set.add(wrapped);
  return { remove: () => void set.delete(wrapped) };
}

/** The end of the graph at a leaf: adds the gradient up in `leaf.grad`. The engine does the adding. */
export class Accumulate extends Node {
  readonly leaf: Tensor;
  afterAccumulation: Set<(leaf: Tensor) => void> | null = null;

  constructor(leaf: Tensor) {
    super("Accumulate", []);
    this.leaf = leaf;
    this.outputs.push({ shape: leaf.shape, dtype: leaf.dtype });
  }

  backward(): readonly Gradient[] {
    return [];
  }

  get saves(): boolean {
    return false;
  }

  savedStorages(): Iterable<Storage> {
    return [];
  }

  /** Calls `hook` with the leaf each time its gradient has been added up: an optimiser can step one by one there. */
  registerPostAccumulateHook(hook: (leaf: Tensor) => void): HookHandle {
    this.afterAccumulation ??= new Set();
    return entered(this.afterAccumulation, (leaf) => hook(leaf));
  }
}

/** Where gradients of `t` go: its node's output, its accumulator, or nowhere. */
export function edgeOf(t: Tensor | null): Edge | null {
  if (t === null) return null;
  if (t.viewOf !== null) {
    const edge = viewNode(t);
    if (edge !== undefined) return edge;
  }
  const state = t.autograd;
  if (state === null) return null;
  if (state.node !== null) return { node: state.node as Node, index: state.outputIndex };
  if (!state.requiresGrad) return null;
  state.accumulator ??= new Accumulate(t);
  return { node: state.accumulator as Node, index: 0 };
}

/** Makes `t` the output `index` of `node`. */
export function setHistory(t: Tensor, node: Node, index: number): void {
  const state = autogradState(t);
  state.node = node;
  state.outputIndex = index;
  state.requiresGrad = false;
}

/** Gives `t`, which was changed in place, a new history; `retainGrad` follows it (hooks stay with the old one). */
export function replaceHistory(t: Tensor, node: Node, index: number): void {
  const state = autogradState(t);
  const retained = (state.node as Node | null)?.hooks?.retained;
  if (retained?.get(state.outputIndex) === t) {
    retained.delete(state.outputIndex);
    node.retain(index, t);
  }
  setHistory(t, node, index);
}

/** Sets whether a leaf records. */
export function setRequiresGrad(t: Tensor, value: boolean): void {
  t.requiresGrad = value;
}
