/**
 * Scopes: all memory made inside is given back at the end, but for what is returned or kept.
 * They are never needed (see memory.ts); they make the moment of release exact.
 */

/** What a scope can give back (a Storage; declared here so that storage.ts can import this file). */
export interface Disposable {
  dispose(): void;
}

class Scope {
  readonly made: Disposable[] = [];
  readonly kept: Set<object> = new Set();
}

let current: Scope | null = null;

/** Called for every storage that is made. */
export function adopt(storage: Disposable): void {
  if (current !== null) current.made.push(storage);
}

/** Takes a storage out of the innermost scope, so that it outlives it. */
export function keepStorage(storage: object): void {
  current?.kept.add(storage);
}

/**
 * Runs `work` and gives back all storages made inside that `survivors(result)` does not name; survivors belong to the
 * scope around, if there is one, and `survived` is told of each that was made inside. For synchronous work.
 */
export function runScoped<T>(
  work: () => T,
  survivors: (result: T) => Iterable<object>,
  survived?: (storage: Disposable) => void,
): T {
  const outer = current;
  const scope = new Scope();
  current = scope;
  let finished = false;
  try {
    const result = work();
    for (const storage of survivors(result)) scope.kept.add(storage);
    finished = true;
    return result;
  } finally {
    current = outer;
    for (const storage of scope.made) {
      if (finished && scope.kept.has(storage)) {
        outer?.made.push(storage);
        survived?.(storage);
      } else {
        storage.dispose();
      }
    }
  }
}
