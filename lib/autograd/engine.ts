import { GradientError } from "../core/errors.js";
import { format, sameShape } from "../core/shape.js";
import { runScoped } from "../core/scope.js";
import type { Storage } from "../core/storage.js";
import { autogradState, isTensor, named, type Tensor } from "../core/tensor.js";
import { anomaly, checkGradients } from "./anomaly.js";
import { resumed, setGradEnabled, unrecorded } from "./mode.js";
import { Accumulate, type Edge, edgeOf, type Gradient, type Node } from "./node.js";
import { primitives } from "./primitives.js";

/** What one backward pass is asked for. */
export interface Pass {
  readonly roots: readonly Edge[];
  readonly gradients: readonly Tensor[];
  readonly retainGraph: boolean;
  readonly createGraph: boolean;
  /** Edges whose gradients are captured instead of added up in leaves; null for a plain backward(). */
  readonly captures: readonly Edge[] | null;
}

/** Gradients that wait for a node, one per output; `owned` marks sums that only the engine holds. */
class Buffer {
  readonly gradients: Gradient[];
  readonly owned: boolean[];

  constructor(outputs: number) {
    this.gradients = new Array<Gradient>(outputs).fill(null);
    this.owned = new Array<boolean>(outputs).fill(false);
  }
}

/** Nodes ready to run, the latest recorded first: a binary heap, because graphs may have hundreds of thousands. */
class ReadyQueue {
  readonly #heap: Node[] = [];

  push(node: Node): void {
    const heap = this.#heap;
    let i = heap.push(node) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (heap[parent]!.sequence >= node.sequence) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = node;
  }

  pop(): Node | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined || heap.length === 0) return top;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]!.sequence > heap[child]!.sequence) child++;
      if (heap[child]!.sequence <= last.sequence) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = last;
    return top;
  }
}

/**
 * Runs a backward pass. Nodes run once each, after all gradients that reach them have been added up, without
 * recursion. Unless the graph is kept, saved tensors are released as nodes are consumed and the memory of gradients
 * goes back to the pool after their last reader.
 * @returns the captured gradients (null where no path leads), if `captures` were given
 */
export function runBackward(pass: Pass): Gradient[] {
  const { roots, captures } = pass;
  const dependencies = countDependencies(roots);
  const needed = captures === null ? null : nodesTowards(roots, captures);
  const captured = new Map<Node, Map<number, Gradient>>();
  for (const { node, index } of captures ?? []) {
    let byIndex = captured.get(node);
    if (byIndex === undefined) captured.set(node, (byIndex = new Map()));
    byIndex.set(index, null);
  }

  const buffers = new Map<Node, Buffer>();
  const queue = new ReadyQueue();
  const queued = new Set<Node>();
  const give = (edge: Edge, gradient: Tensor): void => {
    let buffer = buffers.get(edge.node);
    if (buffer === undefined) buffers.set(edge.node, (buffer = new Buffer(edge.node.outputs.length)));
    addUp(buffer, edge.index, gradient, pass.createGraph);
  };
  roots.forEach((edge, i) => {
    const gradient = pass.gradients[i]!;
    give(edge, gradient);
  });
  for (const { node } of roots) {
    if ((dependencies.get(node) ?? 0) === 0 && !queued.has(node)) {
      queued.add(node);
      queue.push(node);
    }
  }

  for (let node = queue.pop(); node !== undefined; node = queue.pop()) {
    const buffer = buffers.get(node);
    buffers.delete(node);
    const gradients = buffer?.gradients ?? [];
    if (buffer !== undefined && (needed === null || needed.has(node))) {
      if (node.hooks !== null) callHooks(node, gradients);
      const wanted = captured.get(node);
      if (wanted !== undefined) {
        for (const index of wanted.keys()) {
          const gradient = gradients[index] ?? null;
          if (gradient !== null) gradient.storage.transient = false;
          wanted.set(index, gradient);
        }
      }
      if (node.retained !== null) retainGradients(node, gradients, pass.createGraph);
      if (node instanceof Accumulate) {
        if (captures === null) accumulate(node, gradients[0] ?? null, pass.createGraph);
      } else if (needed === null || leadsOn(node, needed)) {
        const results = step(node, gradients, pass);
        for (let i = 0; i < results.length; i++) {
          const edge = node.next[i];
          const gradient = results[i];
          if (edge && gradient && (needed === null || needed.has(edge.node))) give(edge, gradient);
        }
        settle(results, false);
      }
    }
    settle(gradients, true);
    for (const edge of node.next) {
      if (edge === null) continue;
      const left = dependencies.get(edge.node)! - 1;
      dependencies.set(edge.node, left);
      if (left === 0) queue.push(edge.node);
    }
  }
  return (captures ?? []).map(({ node, index }) => captured.get(node)!.get(index) ?? null);
}

/** How many recorded uses each reachable node still waits for. */
function countDependencies(roots: readonly Edge[]): Map<Node, number> {
  const count = new Map<Node, number>();
  const seen = new Set<Node>();
  const stack: Node[] = [];
  for (const { node } of roots) {
    if (!seen.has(node)) {
      seen.add(node);
      stack.push(node);
    }
  }
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    for (const edge of node.next) {
      if (edge === null) continue;
      count.set(edge.node, (count.get(edge.node) ?? 0) + 1);
      if (!seen.has(edge.node)) {
        seen.add(edge.node);
        stack.push(edge.node);
      }
    }
  }
  return count;
}

/** The nodes on some path from the roots to a captured edge: only these run. */
function nodesTowards(roots: readonly Edge[], captures: readonly Edge[]): Set<Node> {
  const targets = new Set(captures.map((c) => c.node));
  const leads = new Map<Node, boolean>();
  const stack: { node: Node; at: number }[] = [];
  for (const { node: root } of roots) {
    if (leads.has(root)) continue;
    leads.set(root, targets.has(root));
    stack.push({ node: root, at: 0 });
    while (stack.length > 0) {
      const top = stack[stack.length - 1]!;
      if (top.at < top.node.next.length) {
        const edge = top.node.next[top.at++];
        if (edge && !leads.has(edge.node)) {
          leads.set(edge.node, targets.has(edge.node));
          stack.push({ node: edge.node, at: 0 });
        }
      } else {
        stack.pop();
        if (!leads.get(top.node)) {
          leads.set(
            top.node,
            top.node.next.some((e) => e !== null && leads.get(e.node) === true),
          );
        }
      }
    }
  }
  const needed = new Set<Node>();
  for (const [node, yes] of leads) if (yes) needed.add(node);
  return needed;
}

/** Whether a node has to run for others, and not only to have its own incoming gradient captured. */
function leadsOn(node: Node, needed: Set<Node>): boolean {
  return node.next.some((e) => e !== null && needed.has(e.node));
}

/** Adds a gradient to those waiting. The first is held as it is; from the second on the sum is the engine's own. */
function addUp(buffer: Buffer, index: number, gradient: Tensor, recorded: boolean): void {
  const before = buffer.gradients[index] ?? null;
  if (before === null) {
    buffer.gradients[index] = gradient;
    gradient.storage.flights++;
    return;
  }
  if (buffer.owned[index] && !recorded) {
    unrecorded(() => primitives().addInto(before, gradient));
    return;
  }
  const sum = recorded ? primitives().add(before, gradient) : unrecorded(() => primitives().add(before, gradient));
  buffer.gradients[index] = sum;
  buffer.owned[index] = true;
  sum.storage.transient = !recorded;
  sum.storage.flights++;
  before.storage.flights--;
  giveBack(before.storage);
}

/** Ends the flight of a consumed node's gradients, or drops results that nobody took. */
function settle(gradients: readonly Gradient[], landed: boolean): void {
  for (const gradient of gradients) {
    if (!gradient) continue;
    if (landed) gradient.storage.flights--;
    giveBack(gradient.storage);
  }
}

/** Only memory that this pass made and nobody outside has seen is given back. */
function giveBack(storage: Storage): void {
  if (storage.transient && storage.flights === 0) storage.dispose();
}

/** One node's backward: checked, in a scope of its own, recorded only with createGraph. */
function step(node: Node, gradients: readonly Gradient[], pass: Pass): readonly Gradient[] {
  if (node.released) {
    throw new GradientError(
      `backward reached ${node.name} a second time, but the tensors it had saved were released by the first; pass ` +
        "{ retainGraph: true } to the first backward() or grad()",
    );
  }
  if (node.foreign || pass.createGraph) for (const g of gradients) if (g) g.storage.transient = false;
  let results: readonly Gradient[];
  if (pass.createGraph) {
    results = setGradEnabled(true, () => node.backward(gradients));
  } else if (node.foreign) {
    results = setGradEnabled(false, () => resumed(() => node.backward(gradients)));
  } else {
    results = unrecorded(() =>
      runScoped(
        () => node.backward(gradients),
        storagesOf,
        (storage) => {
          (storage as Storage).transient = true;
        },
      ),
    );
  }
  checkResults(node, results);
  if (anomaly.enabled) checkGradients(node, results);
  if (!pass.retainGraph && node.saves) node.release(pass.createGraph);
  return results;
}

function storagesOf(gradients: readonly Gradient[]): Storage[] {
  const storages: Storage[] = [];
  for (const g of gradients) if (g) storages.push(g.storage);
  return storages;
}

function checkResults(node: Node, results: readonly Gradient[]): void {
  if (results.length !== node.next.length) {
    throw new GradientError(
      `backward of ${node.name} returned ${results.length} gradients, expected ${node.next.length}, one per input`,
    );
  }
  for (let i = 0; i < results.length; i++) {
    const gradient = results[i];
    const edge = node.next[i];
    if (!gradient || !edge) continue;
    const info = edge.node.outputs[edge.index]!;
    if (!sameShape(gradient.shape, info.shape) || gradient.dtype !== info.dtype) {
      throw new GradientError(
        `backward of ${node.name} returned an invalid gradient at index ${i}: ${named("got", gradient)}, but the input is ` +
          `${format(info.shape)} ${info.dtype}`,
      );
    }
  }
}

function callHooks(node: Node, gradients: Gradient[]): void {
  for (const [index, hooks] of node.hooks!) {
    for (const hook of [...hooks]) {
      if (!hooks.has(hook)) continue; // removed by an earlier one
      const gradient = gradients[index];
      if (!gradient) continue;
      gradient.storage.transient = false;
      const given = resumed(() => hook(gradient));
      if (given === undefined || given === null) continue;
      const info = node.outputs[index]!;
      if (!isTensor(given) || !sameShape(given.shape, info.shape) || given.dtype !== info.dtype) {
        throw new GradientError(
          `a gradient hook must return nothing or a ${info.dtype} tensor ${format(info.shape)}, ${named("got", given)}`,
        );
      }
      gradient.storage.flights--;
      given.storage.flights++;
      gradients[index] = given;
    }
  }
}

/** Gradients of non-leaf tensors that asked for them. */
function retainGradients(node: Node, gradients: readonly Gradient[], recorded: boolean): void {
  for (const [index, t] of node.retained!) {
    const gradient = gradients[index];
    if (gradient) storeGrad(t, gradient, recorded);
  }
}

function accumulate(node: Accumulate, gradient: Gradient, recorded: boolean): void {
  if (gradient === null) return;
  storeGrad(node.leaf, gradient, recorded);
  if (node.postHooks !== null) for (const hook of [...node.postHooks]) resumed(() => hook(node.leaf));
}

/** Adds `gradient` to `t.grad`: in place into the same tensor, or as a new one when the addition is recorded. */
export function storeGrad(t: Tensor, gradient: Tensor, recorded: boolean): void {
  const state = autogradState(t);
  if (state.grad !== null) {
    if (recorded) {
      state.grad = primitives().add(state.grad, gradient);
    } else {
      const grad = state.grad;
      unrecorded(() => primitives().addInto(grad, gradient));
      grad.storage.version++;
    }
    return;
  }
  // Take over the memory when nobody else has it; otherwise grad gets memory of its own.
  const own =
    recorded ||
    (gradient.storage.flights === 1 && gradient.storage.transient && gradient.isContiguous() && gradient.offset === 0);
  state.grad = own ? gradient : unrecorded(() => primitives().clone(gradient));
  state.grad.storage.transient = false;
}

/** The edge of a tensor, or a GradientError that says what is missing. */
export function edgeOrThrow(call: string, name: string, t: Tensor): Edge {
  const edge = edgeOf(t);
  if (edge === null) {
    throw new GradientError(
      `${call}: ${named(name, t)} does not require gradients and was not computed from anything that does; make the leaf ` +
        "with { requiresGrad: true }, and do not compute under noGrad",
    );
  }
  return edge;
}
