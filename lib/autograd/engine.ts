import { GradientError } from "../core/errors.js";
import { closeScope, openScope } from "../core/scope.js";
import { format, sameShape } from "../core/shape.js";
import type { Storage } from "../core/storage.js";
import { autogradState, isTensor, named, type Tensor } from "../core/tensor.js";
import { anomaly, atForwardCall, checkGradients } from "./anomaly.js";
import { recording, resume, suspend, unrecorded } from "./mode.js";
import { Accumulate, type Edge, type Gradient, type Node, type NodeHooks } from "./node.js";
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

/** What a pass keeps at each node it reaches. */
export class Task {
  readonly pass: Pass;
  /** Gradients that wait for the node, one per output; null where none has come. */
  readonly gradients: Gradient[];
  /** By output: whether the waiting gradient is a sum that only the engine holds. Made when there is one. */
  owned: boolean[] | null = null;
  /** Recorded uses of a leaf that have not delivered yet. */
  pending = 0;
  /** Whether the node lies on a path to what is wanted. */
  needed = true;

  constructor(pass: Pass, outputs: number) {
    this.pass = pass;
    this.gradients = outputs === 1 ? [null] : new Array<Gradient>(outputs).fill(null);
  }
}

type Captured = Map<Node, Map<number, Gradient>>;

/**
 * Runs a backward pass. Nodes run once each, the latest recorded first: an operation is recorded after all it was
 * computed from, so when its turn comes every gradient that reaches it has been added up, without recursion. Leaves run
 * as soon as their last gradient has come. Unless the graph is kept, saved tensors are released as nodes are consumed
 * and the memory of gradients goes back to the pool after their last reader.
 * @returns the captured gradients (null where no path leads), if `captures` were given
 */
export function runBackward(pass: Pass): Gradient[] {
  // A pass inside another one (from a hook or a custom function) may reach nodes that the outer one is at.
  const displaced: (readonly [Node, Task])[] = [];
  const reached = reach(pass, displaced);
  const captured: Captured | null = pass.captures === null ? null : aim(reached, pass.captures);
  try {
    for (let i = 0; i < pass.roots.length; i++) give(pass.roots[i]!, pass.gradients[i]!, pass.createGraph);
    for (let i = 0; i < reached.length; i++) {
      const node = reached[i]!;
      if (!(node instanceof Accumulate)) visit(node, pass, captured);
      else if (node.task?.pending === 0) visit(node, pass, captured); // a root itself
    }
  } finally {
    for (const node of reached) {
      if (node.task?.pass === pass) abandon(node); // the pass did not get there
    }
    for (const [node, task] of displaced) node.task = task;
  }
  return pass.captures?.map(({ node, index }) => captured!.get(node)!.get(index) ?? null) ?? [];
}

/** All nodes that the roots were computed from, the latest first, each with a new task. */
function reach(pass: Pass, displaced: (readonly [Node, Task])[]): Node[] {
  const reached: Node[] = [];
  const enter = (node: Node): Task => {
    const before = node.task;
    if (before !== null) {
      if (before.pass === pass) return before;
      displaced.push([node, before]);
    }
    const task = new Task(pass, node.outputs.length);
    node.task = task;
    reached.push(node);
    return task;
  };
  for (const { node } of pass.roots) enter(node);
  for (let i = 0; i < reached.length; i++) {
    const { next } = reached[i]!;
    for (let k = 0; k < next.length; k++) {
      const edge = next[k];
      if (edge) enter(edge.node).pending++;
    }
  }
  return reached.sort(latestFirst);
}

const latestFirst = (a: Node, b: Node): number => b.sequence - a.sequence;

/** Marks the nodes on some path to a captured edge: only these run. */
function aim(reached: readonly Node[], captures: readonly Edge[]): Captured {
  const captured: Captured = new Map();
  for (const { node, index } of captures) {
    let byIndex = captured.get(node);
    if (byIndex === undefined) captured.set(node, (byIndex = new Map()));
    byIndex.set(index, null);
  }
  for (let i = reached.length - 1; i >= 0; i--) {
    const node = reached[i]!;
    node.task!.needed = captured.has(node) || leadsOn(node);
  }
  return captured;
}

/** Whether a node has to run for others, and not only to have its own incoming gradient captured. */
function leadsOn(node: Node): boolean {
  return node.next.some((edge) => edge?.node.task?.needed === true);
}

/** Runs one node, gives its results on, and with them the leaves that have waited for no other. */
function visit(node: Node, pass: Pass, captured: Captured | null): void {
  const task = node.task!;
  const { gradients } = task;
  if (task.needed && gradients.some((g) => g !== null)) {
    const { hooks } = node;
    if (hooks !== null) callTensorHooks(node, hooks, gradients, pass);
    const wanted = captured?.get(node);
    if (wanted !== undefined) capture(wanted, gradients);
    if (hooks !== null && hooks.retained.size > 0) retainGradients(hooks, gradients, pass.createGraph);
    if (node instanceof Accumulate) {
      if (captured === null) accumulate(node, gradients[0] ?? null, pass);
    } else if (captured === null || leadsOn(node)) {
      const results = step(node, gradients, pass);
      for (let i = 0; i < results.length; i++) {
        const edge = node.next[i];
        const gradient = results[i];
        if (edge && gradient && edge.node.task!.needed) give(edge, gradient, pass.createGraph);
      }
      for (let i = 0; i < results.length; i++) {
        const gradient = results[i];
        if (gradient) giveBack(gradient.storage); // what nobody took
      }
    }
  }
  abandon(node);
  const { next } = node;
  for (let i = 0; i < next.length; i++) {
    const leaf = next[i]?.node;
    if (leaf instanceof Accumulate && --leaf.task!.pending === 0) visit(leaf, pass, captured);
  }
}

/** Takes the task from a node; the flight of its gradients ends here. */
function abandon(node: Node): void {
  const { gradients } = node.task!;
  for (let i = 0; i < gradients.length; i++) {
    const gradient = gradients[i];
    if (!gradient) continue;
    gradient.storage.flights--;
    giveBack(gradient.storage);
  }
  node.task = null;
}

/** Adds a gradient to those waiting. The first is held as it is; from the second on the sum is the engine's own. */
function give(edge: Edge, gradient: Tensor, recorded: boolean): void {
  const task = edge.node.task!;
  const { index } = edge;
  const before = task.gradients[index] ?? null;
  if (before === null) {
    task.gradients[index] = gradient;
    gradient.storage.flights++;
    return;
  }
  if (!recorded && task.owned?.[index] === true) {
    unrecorded(() => primitives().addInto(before, gradient));
    return;
  }
  const sum = recorded
    ? recording(true, () => primitives().add(before, gradient))
    : unrecorded(() => primitives().add(before, gradient));
  task.gradients[index] = sum;
  task.owned ??= [];
  task.owned[index] = true;
  sum.storage.transient = !recorded;
  sum.storage.flights++;
  before.storage.flights--;
  giveBack(before.storage);
}

/** Only memory that this pass made and nobody outside has seen is given back. */
function giveBack(storage: Storage): void {
  if (storage.transient && storage.flights === 0) storage.dispose();
}

/** One node's backward: checked, in a scope of its own, recorded only with createGraph. */
function step(node: Node, given: readonly Gradient[], pass: Pass): readonly Gradient[] {
  if (node.released) {
    throw new GradientError(
      `backward reached ${node.name} a second time, but the tensors it had saved were released by the first; pass ` +
        "{ retainGraph: true } to the first backward() or grad()",
    );
  }
  const { hooks } = node;
  const seen = node.foreign || pass.createGraph || (hooks !== null && hooks.before.size + hooks.after.size > 0);
  if (seen) for (const g of given) if (g) g.storage.transient = false;
  const gradients = hooks === null ? given : callPreHooks(node, hooks, given, pass);
  let results: readonly Gradient[];
  try {
    results = seen ? recording(pass.createGraph, () => node.backward(gradients)) : unrecordedStep(node, gradients);
    checkResults(node, results);
    if (anomaly.enabled) checkGradients(node, results);
  } catch (error) {
    throw anomaly.enabled ? atForwardCall(error, node) : error;
  }
  if (hooks !== null) results = callPostHooks(node, hooks, results, gradients, pass);
  if (!pass.retainGraph && node.saves) {
    markSurviving(results, true); // saved memory that a gradient shows stays
    node.release(pass.createGraph);
    markSurviving(results, false);
  }
  return results;
}

/** Runs a node of the library's own: its temporaries are given back, its results belong to the pass. */
function unrecordedStep(node: Node, gradients: readonly Gradient[]): readonly Gradient[] {
  let results: readonly Gradient[] = [];
  suspend();
  const scope = openScope();
  try {
    results = node.backward(gradients);
    markSurviving(results, true);
    return results;
  } finally {
    closeScope(scope, true);
    markSurviving(results, false);
    resume();
  }
}

function markSurviving(results: readonly Gradient[], surviving: boolean): void {
  for (let i = 0; i < results.length; i++) {
    const gradient = results[i];
    if (gradient) gradient.storage.surviving = surviving;
  }
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

/** What a hook gave instead of a gradient, or null if it leaves it; refuses what does not fit. */
function replacement(given: unknown, node: Node, index: number): Tensor | null {
  if (given === undefined || given === null) return null;
  const info = node.outputs[index]!;
  if (!isTensor(given) || !sameShape(given.shape, info.shape) || given.dtype !== info.dtype) {
    throw new GradientError(
      `a gradient hook must return nothing or a ${info.dtype} tensor ${format(info.shape)}, ${named("got", given)}`,
    );
  }
  return given;
}

function callTensorHooks(node: Node, { tensor }: NodeHooks, gradients: Gradient[], pass: Pass): void {
  for (const [index, hooks] of tensor) {
    for (const hook of [...hooks]) {
      const gradient = gradients[index];
      if (!hooks.has(hook) || !gradient) continue; // removed by an earlier one, or nothing came
      gradient.storage.transient = false;
      const given = replacement(
        recording(pass.createGraph, () => hook(gradient)),
        node,
        index,
      );
      if (given === null) continue;
      gradient.storage.flights--;
      given.storage.flights++;
      gradients[index] = given;
      if (node.task!.owned !== null) node.task!.owned[index] = false;
    }
  }
}

function callPreHooks(node: Node, { before }: NodeHooks, given: readonly Gradient[], pass: Pass): readonly Gradient[] {
  let gradients = given;
  for (const hook of [...before]) {
    const current = gradients;
    const list = recording(pass.createGraph, () => hook(current));
    if (list === undefined || list === null) continue;
    checkHookList("a pre-hook", node, list, given.length);
    gradients = list.map((g, i) => replacement(g, node, i));
  }
  return gradients;
}

function callPostHooks(
  node: Node,
  { after }: NodeHooks,
  given: readonly Gradient[],
  gradOutputs: readonly Gradient[],
  pass: Pass,
): readonly Gradient[] {
  let results = given;
  for (const hook of [...after]) {
    const current = results;
    const list = recording(pass.createGraph, () => hook(current, gradOutputs));
    if (list === undefined || list === null) continue;
    checkHookList("a hook", node, list, given.length);
    checkResults(node, list);
    results = list;
  }
  return results;
}

function checkHookList(what: string, node: Node, list: unknown, count: number): void {
  if (!Array.isArray(list) || list.length !== count) {
    throw new GradientError(`${what} of ${node.name} must return nothing or a list of ${count} gradients`);
  }
}

function capture(wanted: Map<number, Gradient>, gradients: readonly Gradient[]): void {
  for (const index of wanted.keys()) {
    const gradient = gradients[index] ?? null;
    if (gradient !== null) gradient.storage.transient = false;
    wanted.set(index, gradient);
  }
}

/** Gradients of non-leaf tensors that asked for them. */
function retainGradients({ retained }: NodeHooks, gradients: readonly Gradient[], recorded: boolean): void {
  for (const [index, t] of retained) {
    const gradient = gradients[index];
    if (gradient) storeGrad(t, gradient, recorded);
  }
}

function accumulate(node: Accumulate, gradient: Gradient, pass: Pass): void {
  if (gradient === null) return;
  const { leaf, afterAccumulation } = node;
  storeGrad(leaf, gradient, pass.createGraph);
  if (afterAccumulation === null) return;
  for (const hook of [...afterAccumulation]) recording(pass.createGraph, () => hook(leaf));
}

/** Adds `gradient` to `t.grad`: in place into the same tensor, or as a new one when the addition is recorded. */
export function storeGrad(t: Tensor, gradient: Tensor, recorded: boolean): void {
  const state = autogradState(t);
  const { grad } = state;
  if (grad === null) state.gradSeen = false;
  if (grad !== null) {
    if (recorded) {
      state.grad = recording(true, () => primitives().add(grad, gradient));
    } else {
      unrecorded(() => primitives().addInto(grad, gradient));
      grad.storage.version++;
      return;
    }
  } else {
    // Take over the memory when nobody else has it; otherwise grad gets memory of its own.
    const { storage } = gradient;
    const own = storage.flights === 1 && storage.transient && gradient.isContiguous() && gradient.offset === 0;
    if (own) state.grad = gradient;
    else if (recorded) state.grad = recording(true, () => primitives().clone(gradient));
    else state.grad = unrecorded(() => primitives().clone(gradient));
  }
  state.grad.storage.transient = false;
  state.grad.storage.kept = true; // a gradient outlives the scope in which backward() was called
}

/** Clears `t.grad`. Its memory goes back at once if nobody has ever looked at it. */
export function clearGrad(t: Tensor): void {
  const state = autogradState(t);
  const { grad } = state;
  state.grad = null;
  if (grad === null || state.gradSeen || grad.requiresGrad) return;
  const { storage } = grad;
  if (storage.flights === 0 && storage.savers === 0) storage.dispose();
}
