import { AsyncLocalStorage } from "node:async_hooks";

/**
 * Whether operations record their derivatives. The mode follows `await` and does not leak into other asynchronous
 * tasks; a synchronous section of the library itself uses the cheaper `unrecorded`.
 */
const mode = new AsyncLocalStorage<boolean>();
let suspended = 0;

export function isGradEnabled(): boolean {
  return suspended === 0 && mode.getStore() !== false;
}

/** Runs `fn` (also an async one) without recording; results are constants. */
export function noGrad<T>(fn: () => T): T {
  return mode.run(false, fn);
}

/** Runs `fn` with recording, also inside `noGrad`. */
export function enableGrad<T>(fn: () => T): T {
  return mode.run(true, fn);
}

/** Runs `fn` with recording on or off. */
export function setGradEnabled<T>(enabled: boolean, fn: () => T): T {
  return mode.run(enabled, fn);
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

/** For user code called back from an unrecorded section: the mode that the user set holds again. @internal */
export function resumed<T>(fn: () => T): T {
  const before = suspended;
  suspended = 0;
  try {
    return fn();
  } finally {
    suspended = before;
  }
}
