import { AsyncLocalStorage } from "node:async_hooks";

/**
 * Scopes: all memory made inside is given back at the end, but for what survives. The library uses them to give back
 * temporaries at once; users never need them (see memory.ts), they make the moment of release exact.
 */

/** What a scope can give back (a Storage; declared here so that storage.ts can import this file). */
export interface Scoped {
  /** Set while a scope ends: this storage outlives it. */
  surviving: boolean;
  /** Outlives every scope: gradients of leaves, and what the user has named in keep(). */
  kept: boolean;
  /** Made by backward() for itself (see storage.ts). */
  transient: boolean;
  dispose(): void;
}

/** What was made inside one scope. */
export class Scope {
  readonly made: Scoped[] = [];
  readonly outer: Scope | null;

  constructor(outer: Scope | null) {
    this.outer = outer;
  }
}

/** The innermost of the library's own, synchronous scopes. */
let current: Scope | null = null;
/** Scopes of the user follow `await`; while there are none, nobody pays for looking. */
const asynchronous = new AsyncLocalStorage<Scope>();
let asynchronousOpen = 0;

/** Called for every storage that is made. */
export function adopt(storage: Scoped): void {
  if (current !== null) current.made.push(storage);
  else if (asynchronousOpen !== 0) asynchronous.getStore()?.made.push(storage);
}

/** Opens a scope for a synchronous section; `closeScope` must follow, also when the section throws. */
export function openScope(): Scope {
  current = new Scope(current);
  return current;
}

/**
 * Ends the innermost scope: gives back what was made inside, but hands storages marked `surviving` or `kept` to the
 * scope around. `transient` marks these survivors as memory that only backward() knows.
 */
export function closeScope(scope: Scope, transient = false): void {
  current = scope.outer;
  release(scope, transient);
}

function release(scope: Scope, transient: boolean): void {
  for (const storage of scope.made) {
    if (storage.kept) continue;
    if (storage.surviving) {
      if (transient) storage.transient = true;
      adopt(storage);
    } else {
      storage.dispose();
    }
  }
}

/** Runs `work` outside the library's own scopes: what it makes lives as long as somebody holds it. */
export function unscoped<T>(work: () => T): T {
  const before = current;
  current = null;
  try {
    return work();
  } finally {
    current = before;
  }
}

/**
 * Runs `work`, which may be asynchronous, and gives back all storages made inside except those that `mark` marks as
 * surviving in its result; `unmark` takes the marks away.
 */
export function runInScope<T>(work: () => T, mark: (result: Awaited<T>, surviving: boolean) => void): T {
  const scope = new Scope(null);
  const end = (result: Awaited<T>): void => {
    asynchronousOpen--;
    mark(result, true);
    release(scope, false);
    mark(result, false);
  };
  const fail = (error: unknown): never => {
    asynchronousOpen--;
    release(scope, false);
    throw error;
  };
  asynchronousOpen++;
  let result: T;
  try {
    result = asynchronous.run(scope, work);
  } catch (error) {
    return fail(error);
  }
  if (result instanceof Promise) {
    return result.then((value: Awaited<T>) => {
      end(value);
      return value;
    }, fail) as T;
  }
  end(result as Awaited<T>);
  return result;
}
