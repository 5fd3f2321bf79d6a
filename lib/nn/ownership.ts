import { letGo } from "../autograd/saved.js";
import { isTensor } from "../core/tensor.js";
import type { Module } from "./module.js";

/**
 * Who may hold a result in between. What one layer passes to the next is known to nobody else if both are the library's
 * own, which keep nothing, and no hooks watch them; then its memory goes back deterministically: in training as backward
 * consumes it, else at once. Any other module may keep what it sees, and collection finds what it has lost (memory.ts).
 */

/** Classes whose forward keeps neither its inputs nor its results. Classes derived from them may. */
const discreet = new WeakSet<object>();

/** @internal */
export function keepNothing(kinds: Iterable<unknown>): void {
  for (const kind of kinds) if (typeof kind === "function") discreet.add(kind);
}

/** @internal Whether neither `module` nor any of its parts keeps what it sees, and no hooks show it to others. */
export function keepsNothing(module: Module): boolean {
  if (!discreet.has(module.constructor) || Object.hasOwn(module, "forward")) return false;
  return !module.someChild(mayKeep);
}

const mayKeep = (module: Module): boolean => !keepsNothing(module);

/**
 * @internal For the end of a forward of `module` that made `y` from `x`: lets go of the results in between (those that show
 * the memory of x or y are not).
 */
export function letGoBetween(module: Module, x: unknown, between: readonly unknown[], y: unknown): void {
  if (!keepsNothing(module)) return;
  for (const t of between) {
    if (!isTensor(t)) continue;
    if (isTensor(x) && t.storage === x.storage) continue;
    if (isTensor(y) && t.storage === y.storage) continue;
    letGo(t);
  }
}
