import { backend, withBackend } from "../backend/run.js";
import { NativeBackend } from "../backend/native.js";
import { Program } from "../backend/program.js";
import { ArgumentError, BackendError } from "../core/errors.js";
import { collectAtRest } from "../core/memory.js";
import { checkInteger, checkOptions, checkSignal } from "../core/options.js";
import { describe } from "../core/shape.js";

/**
 * Computing off the main thread. A section of ordinary code runs at once, but its kernel calls are only recorded; they
 * then run on another thread, one section after the other, while the event loop goes on. The results have the same
 * bits as the synchronous ones.
 */

export interface RunAsyncOptions {
  /** Gives up if the section has not started to compute; the promise is rejected with the signal's reason. */
  readonly signal?: AbortSignal;
}

let queueLimit = 256;
let waiting = 0;

/** How many sections may wait at once (default 256); one more is refused with BackendError. */
export function setAsyncQueueLimit(limit: number): void {
  queueLimit = checkInteger("setAsyncQueueLimit", "limit", limit, 1);
}

/** @internal */
export function asyncQueueLimit(): number {
  return queueLimit;
}

/** Sections that wait or compute now. */
export function asyncQueueLength(): number {
  return waiting;
}

/**
 * Runs the synchronous function `section`, but computes its tensors off the main thread; resolves with what it
 * returns when all are computed.
 *
 * Inside, tensors can be used in every way but one: values cannot be read (`item()`, `data()`, `toArray()` raise
 * BackendError), because they are not computed yet. Return tensors and read them afterwards. A whole training step
 * (forward, backward, optimiser step) is a section. Sections run in the order they were made; until one is done, nothing outside
 * may change the tensors it reads or read those it writes. On the reference backend the section computes at once, on
 * the main thread.
 *
 * @throws (as a rejection) what `section` throws; BackendError if the queue is full; the signal's reason if aborted
 */
export async function runAsync<T>(section: () => T, options: RunAsyncOptions = {}): Promise<T> {
  checkOptions("runAsync", options, ["signal"]);
  if (typeof section !== "function") throw new ArgumentError(`runAsync: takes a function, got ${describe(section)}`);
  const signal = checkSignal("runAsync", options.signal);
  signal?.throwIfAborted();
  if (waiting >= queueLimit) {
    throw new BackendError(
      `runAsync: ${waiting} calls wait already, the limit; await earlier ones, answer "busy", or raise it with setAsyncQueueLimit`,
    );
  }
  const active = backend();
  if (active instanceof Program)
    throw new BackendError("runAsync: is already inside another runAsync; call the function directly");
  if (!(active instanceof NativeBackend)) return refusePromise(section());
  const program = new Program(active);
  // Recording is this thread's own work beside a section that computes: who waits for the event loop waits for it.
  active.addon.standAside(true);
  let result: T;
  let done: Promise<void>;
  try {
    try {
      result = refusePromise(withBackend(program, section));
    } catch (error) {
      program.discard();
      throw error;
    }
    waiting++;
    done = program.execute(signal);
    collectAtRest(false);
  } finally {
    active.addon.standAside(false);
  }
  try {
    await done;
    return result;
  } finally {
    waiting--;
  }
}

function refusePromise<T>(result: T): T {
  if (result instanceof Promise) {
    result.catch(() => {}); // its error would be reported twice
    throw new ArgumentError(
      "runAsync: the function must be synchronous, but it returned a promise; await runAsync once per step instead",
    );
  }
  return result;
}
