import type { DType } from "../core/dtype.js";
import { GradientError } from "../core/errors.js";
import { format, type Shape } from "../core/shape.js";
import { autogradState, type GradientNode, isDifferentiable, Tensor } from "../core/tensor.js";
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

export interface HookHandle {
  /** Takes the hook away; also allowed inside the hook itself. */
  remove(): void;
}

/** What a node knows of each of its outputs, to check and to fill in gradients. */
export interface OutputInfo {
  readonly shape: Shape;
  readonly dtype: DType;
}

let sequence = 0;

/** One recorded operation: turns the gradients of its outputs into gradients of its inputs. */
export abstract class Node implements GradientNode {
  readonly name: string;
  /** Where each input's gradient goes; null for inputs that need none. */
  readonly next: readonly (Edge | null)[];
  readonly outputs: OutputInfo[] = [];
  /** Later operations have higher numbers; backward visits the latest first. */
  readonly sequence: number = sequence++;
  /** Whether what backward needs was given back. */
  released = false;
  /** Where the operation was called, in anomaly mode. */
  site: string | null = null;
  hooks: Map<number, Set<TensorHook>> | null = null;
  /** Non-leaf tensors that asked for their gradient, by output. */
  retained: Map<number, Tensor> | null = null;

  constructor(name: string, next: readonly (Edge | null)[]) {
    this.name = name;
    this.next = next;
  }

  /** Gradients of the inputs from those of the outputs. */
  abstract backward(gradients: readonly Gradient[]): readonly Gradient[];

  /** Whether backward reads saved tensors, so that it cannot run after they were released. */
  abstract get saves(): boolean;

  /** Drops the saved tensors; `recorded` if the backward pass was itself recorded and may have passed them on. */
  release(_recorded: boolean): void {
    this.released = true;
  }

  /** Whether backward calls functions of the user, which may keep what they are given. */
  get foreign(): boolean {
    return false;
  }

  addHook(index: number, hook: TensorHook): HookHandle {
    this.hooks ??= new Map();
    let set = this.hooks.get(index);
    if (set === undefined) this.hooks.set(index, (set = new Set()));
    const wrapped: TensorHook = (g) => hook(g);
    set.add(wrapped);
    return { remove: () => void set.delete(wrapped) };
  }

  get [Symbol.toStringTag](): string {
    return this.name;
  }
}

/** The end of the graph at a leaf: adds the gradient up in `leaf.grad`. The engine does the adding. */
export class Accumulate extends Node {
  readonly leaf: Tensor;
  postHooks: Set<(leaf: Tensor) => void> | null = null;

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
}

/** Where gradients of `t` go: its node's output, its accumulator, or nowhere. */
export function edgeOf(t: Tensor | null): Edge | null {
  if (t === null) return null;
  const state = t.autograd;
  if (t.viewOf !== null) {
    const edge = viewNode(t);
    if (edge !== undefined) return edge;
  }
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

/** Sets whether a leaf records. */
export function setRequiresGrad(t: Tensor, value: boolean): void {
  if (value && !isDifferentiable(t)) {
    throw new GradientError(
      `requiresGrad: only float32 and float64 tensors can require gradients, this one is ${t.dtype}`,
    );
  }
  if (!t.isLeaf) {
    if (value) return;
    throw new GradientError(
      "requiresGrad: only a leaf can stop requiring gradients; use detach() for a constant view of a result",
    );
  }
  autogradState(t).requiresGrad = value;
}

/** A tensor kept for backward, with the version and the history it had. */
export class SavedTensor {
  readonly #tensor: Tensor;
  readonly #version: number;
  readonly #node: GradientNode | null;
  readonly #by: string;

  /** `by` says whose output it is, for the message when it was changed. */
  constructor(tensor: Tensor, by: string) {
    this.#tensor = tensor;
    this.#version = tensor.storage.version;
    this.#node = tensor.autograd?.node ?? null;
    this.#by = by;
  }

  /** The tensor as it was saved; GradientError if its values have been changed since. */
  get(user: string): Tensor {
    const t = this.#tensor;
    if (t.storage.version !== this.#version) {
      throw new GradientError(
        `backward of ${user} needs ${this.#by}, a ${t.dtype} tensor ${format(t.shape)}, as it was at version ${this.#version}, but an ` +
          `in-place operation has changed it (it is at version ${t.storage.version}); use the out-of-place operation, or clone() it before`,
      );
    }
    const node = t.autograd?.node ?? null;
    if (node === this.#node) return t;
    // The tensor has got another history meanwhile (it was a base changed in place under noGrad): restore the old one.
    const old = new Tensor(t.dtype, t.shape, t.strides, t.offset, t.storage);
    if (this.#node !== null) setHistory(old, this.#node as Node, t.autograd?.outputIndex ?? 0);
    return old;
  }
}
