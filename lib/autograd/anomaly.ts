import { ArgumentError, GradientError } from "../core/errors.js";
import { checkOptions } from "../core/options.js";
import { describe } from "../core/shape.js";
import type { Gradient, Node } from "./node.js";
import { primitives } from "./primitives.js";

/** Anomaly mode: where every recorded operation was called, and whether backward looks for NaN. */
export const anomaly: { enabled: boolean; checkNaN: boolean } = { enabled: false, checkNaN: true };

/**
 * Runs `fn` in anomaly mode: every recorded operation remembers where it was called, and backward raises a
 * GradientError at the first operation that returns NaN, naming that place. Slow; for finding faults.
 */
export function detectAnomaly<T>(fn: () => T, options: { checkNaN?: boolean } = {}): T {
  if (typeof fn !== "function") throw new ArgumentError(`detectAnomaly: takes a function, got ${describe(fn)}`);
  checkOptions("detectAnomaly", options, ["checkNaN"]);
  const before = { ...anomaly };
  anomaly.enabled = true;
  anomaly.checkNaN = options.checkNaN ?? true;
  const restore = (): void => void Object.assign(anomaly, before);
  let result: T;
  try {
    result = fn();
  } catch (error) {
    restore();
    throw error;
  }
  if (result instanceof Promise) return result.finally(restore) as T;
  restore();
  return result;
}

/** The caller's place in user code: the first frame outside the library. */
export function callSite(): string {
  const depth = Error.stackTraceLimit;
  Error.stackTraceLimit = 100; // modules may call operations from many frames below the user's
  const frames = (new Error().stack ?? "").split("\n").slice(2);
  Error.stackTraceLimit = depth;
  const outside = frames.find((f) => !/[\\/](lib|dist)[\\/](core|backend|autograd|ops|nn)[\\/]/.test(f));
  return (outside ?? frames[0] ?? "at an unknown place").trim();
}

/** Adds the place of the forward call to an error that a node's backward raised. */
export function atForwardCall(error: unknown, node: Node): unknown {
  const note = `the forward call of ${node.name} was made ${node.site ?? "before anomaly mode was on"}`;
  if (error instanceof Error && !error.message.includes(note)) error.message += `; ${note}`;
  return error;
}

/** Raises an error at the first NaN that a node's backward returned. */
export function checkGradients(node: Node, gradients: readonly Gradient[]): void {
  if (!anomaly.checkNaN) return;
  gradients.forEach((gradient, i) => {
    if (gradient && primitives().hasNaN(gradient)) {
      throw new GradientError(`backward of ${node.name} returned NaN for input ${i}`);
    }
  });
}
