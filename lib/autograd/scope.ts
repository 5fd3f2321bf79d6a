import { ArgumentError } from "../core/errors.js";
import { runInScope } from "../core/scope.js";
import { describe } from "../core/shape.js";
import { isTensor, type Tensor } from "../core/tensor.js";
import type { Node } from "./node.js";

/**
 * Runs `fn` and gives back the memory of all tensors made inside, except those in what it returns (tensors in lists,
 * plain objects, maps and sets, together with the graph they were computed by), gradients of leaves, and what was named
 * in `keep`. `fn` may be asynchronous; other asynchronous tasks are not touched. Using a tensor whose memory was given
 * back raises DisposedError.
 *
 * Never needed: memory of lost tensors comes back by itself. A scope makes the moment exact.
 */
export function scope<T>(fn: () => T): T {
  if (typeof fn !== "function") throw new ArgumentError(`scope: takes a function, got ${describe(fn)}`);
  return runInScope(fn, (result, surviving) => {
    for (const t of tensorsIn(result)) markSurviving(t, surviving);
  });
}

/** Takes tensors out of all scopes they were made in; returns the first. */
export function keep<T extends Tensor>(t: T, ...more: Tensor[]): T {
  for (const each of [t, ...more]) {
    if (!isTensor(each)) throw new ArgumentError(`keep: takes tensors, got ${describe(each)}`);
    each.storage.kept = true;
  }
  return t;
}

/** All tensors in a value, however nested in lists, plain objects, maps and sets. */
function tensorsIn(value: unknown): Tensor[] {
  const found: Tensor[] = [];
  const seen = new Set<unknown>();
  const waiting: unknown[] = [value];
  while (waiting.length > 0) {
    const each = waiting.pop();
    if (typeof each !== "object" || each === null || seen.has(each)) continue;
    seen.add(each);
    if (isTensor(each)) found.push(each);
    else if (Array.isArray(each) || each instanceof Set) waiting.push(...each);
    else if (each instanceof Map) waiting.push(...each.keys(), ...each.values());
    else if (!ArrayBuffer.isView(each)) waiting.push(...Object.values(each));
  }
  return found;
}

/** Marks a tensor's memory, and what the graph behind it needs for backward. */
function markSurviving(t: Tensor, surviving: boolean): void {
  t.storage.surviving = surviving;
  if (t.grad !== null) t.grad.storage.surviving = surviving;
  const first = (t.autograd?.node ?? null) as Node | null;
  if (first === null) return;
  const seen = new Set<Node>([first]);
  for (const node of seen) {
    for (const storage of node.savedStorages()) storage.surviving = surviving;
    for (const edge of node.next) if (edge !== null) seen.add(edge.node);
  }
}
