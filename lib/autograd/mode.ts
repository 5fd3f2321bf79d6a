import { AsyncLocalStorage } from "node:async_hooks";
import { ArgumentError } from "../core/errors.js";
import { describe } from "../core/shape.js";

/**
 * Whether operations record their derivatives. The mode follows `await` and does not leak into other asynchronous
 * tasks; a synchronous section of the library itself uses the cheaper `unrecorded`.
 */
const mode = new AsyncLocalStorage<boolean>();
let suspended = 0;

/** Whether operations record now. */
export function isGradEnabled(): boolean {
  return suspended === 0 && mode.getStore() !== false;
}

/**
 * Runs `fn` without recording; results are constants. `fn` may be asynchronous or a generator function: the mode holds
 * in all its steps and nowhere else.
 */
export function noGrad<T>(fn: () => T): T {
  return setGradEnabled(false, fn);
}

/** Runs `fn` with recording, also inside `noGrad`. */
export function enableGrad<T>(fn: () => T): T {
  return setGradEnabled(true, fn);
}

/** Runs `fn` with recording on or off. */
export function setGradEnabled<T>(enabled: boolean, fn: () => T): T {
  if (typeof fn !== "function") {
    throw new ArgumentError(
      `the gradient mode is set for the run of a function, as in noGrad(() => ...), got ${describe(fn)}`,
    );
  }
  const result = mode.run(enabled, fn);
  return isGenerator(result) ? (stepping(result, enabled) as T) : result;
}

/**
 * Runs `fn` for inference only. Today this is `noGrad` under the name that says why: results are ordinary constants,
 * with none of PyTorch's restrictions on tensors made in inference mode.
 */
export function inferenceMode<T>(fn: () => T): T {
  return noGrad(fn);
}

type AnyGenerator = Generator | AsyncGenerator;

function isGenerator(value: unknown): value is AnyGenerator {
  const tag = Object.prototype.toString.call(value);
  return tag === "[object Generator]" || tag === "[object AsyncGenerator]";
}

/** A generator runs when it is asked for the next value, long after the call that made it: every step gets the mode. */
function stepping(generator: AnyGenerator, enabled: boolean): AnyGenerator {
  return new Proxy(generator, {
    get(target, key) {
      const member = Reflect.get(target, key, target) as unknown;
      if (typeof member !== "function") return member;
      if (key === Symbol.iterator || key === Symbol.asyncIterator) return () => stepping(target, enabled);
      return (...values: unknown[]) =>
        mode.run(enabled, () => (member as (...v: unknown[]) => unknown).apply(target, values));
    },
  });
}

/** For the library's own synchronous sections: no recording inside, at the cost of a counter. @internal */
export function unrecorded<T>(fn: () => T): T {
  suspended++;
  try {
    return fn();
  } finally {
    suspended--;
  }
}

/** The two halves of `unrecorded`, for the hot path of every op; always paired by try and finally. @internal */
export function suspend(): void {
  suspended++;
}

/** @internal */
export function resume(): void {
  suspended--;
}

/** Runs `fn` with recording on or off, also inside an unrecorded section: for user code called back. @internal */
export function recording<T>(enabled: boolean, fn: () => T): T {
  const before = suspended;
  suspended = 0;
  try {
    return isGradEnabled() === enabled ? fn() : mode.run(enabled, fn);
  } finally {
    suspended = before;
  }
}
