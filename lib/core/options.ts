import { ArgumentError } from "./errors.js";
import { describe } from "./shape.js";

/** Edit distance (insert, delete, substitute one letter each), for suggestions. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length]!;
}

/** The known name that is nearest to a misspelt one. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  const lower = name.toLowerCase().replaceAll("_", "");
  const ranked = known.map((k) => ({ k, d: distance(lower, k.toLowerCase()) })).sort((p, q) => p.d - q.d);
  const best = ranked[0];
  return best && best.d <= Math.max(2, Math.ceil(name.length / 2)) ? best.k : undefined;
}

/** Options that are true or false in every call that has them. (`bias` is not: functions take it as a tensor.) */
const switches: ReadonlySet<string> = new Set([
  ...["keepdim", "unbiased", "equalNan", "descending", "stable", "largest", "sorted"],
  ...["returnIndices", "ceilMode", "countIncludePad", "alignCorners"],
  ...["training", "useInputStats", "affine", "elementwiseAffine", "trackRunningStats"],
  ...["logTarget", "logInput", "full", "swap"],
  ...["requiresGrad", "createGraph", "retainGraph", "allowUnused"],
  ...["shuffle", "dropLast", "persistentWorkers", "resume", "compress"],
  ...["nesterov", "amsgrad", "maximize", "centered", "threePhase", "cycleMomentum"],
]);

/**
 * Refuses an options object that is not one, names in it that do not exist, with the nearest that does, and values of
 * switches that are neither true nor false ("false" would count as true).
 */
export function checkOptions(call: string, options: unknown, known: readonly string[]): void {
  if (options === undefined) return;
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw new ArgumentError(
      `${call}: options must be an object such as { ${known[0] ?? ""} }, got ${describe(options)}`,
    );
  }
  if (!isPlainObject(options)) {
    throw new ArgumentError(`${call}: options must be a plain object, got ${describe(options)}`);
  }
  for (const key in options) {
    if (switches.has(key) && known.includes(key)) {
      const value = (options as Record<string, unknown>)[key];
      if (value !== undefined) checkBoolean(call, key, value);
    } else if (!known.includes(key)) {
      const guess = nearest(key, known);
      throw new ArgumentError(
        `${call}: there is no option ${JSON.stringify(key)}${guess ? `; did you mean ${JSON.stringify(guess)}?` : ""} ` +
          `(${known.length === 0 ? "it takes none" : `it takes ${known.join(", ")}`})`,
      );
    }
  }
}

/** What an options object is: neither a list nor an instance of a class. */
export function isPlainObject(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value) as unknown;
  return prototype === Object.prototype || prototype === null;
}

/** Refuses an options object where a call takes none: in JavaScript it would be ignored. */
export function checkNoOptions(call: string, given: unknown): void {
  if (isPlainObject(given)) checkOptions(call, given, []);
}

/** An AbortSignal, of whatever realm, or none; else an ArgumentError. */
export function checkSignal(call: string, signal: unknown): AbortSignal | undefined {
  if (signal === undefined) return undefined;
  const given = signal as AbortSignal | null;
  if (
    typeof given !== "object" ||
    given === null ||
    typeof given.aborted !== "boolean" ||
    typeof given.throwIfAborted !== "function" ||
    typeof given.addEventListener !== "function"
  ) {
    throw new ArgumentError(
      `${call}: signal must be an AbortSignal, such as that of an AbortController, got ${describe(signal)}`,
    );
  }
  return given;
}

/** A finite number, or an ArgumentError. */
export function checkNumber(
  call: string,
  argument: string,
  value: unknown,
  least: number = -Infinity,
  most: number = Infinity,
): number {
  if (typeof value !== "number" || Number.isNaN(value) || value < least || value > most) {
    const range = least === -Infinity && most === Infinity ? "" : ` from ${least} to ${most}`;
    throw new ArgumentError(`${call}: ${argument} must be a number${range}, got ${describe(value)}`);
  }
  return value;
}

/** An integer in a range, or an ArgumentError. */
export function checkInteger(
  call: string,
  argument: string,
  value: unknown,
  least: number,
  most: number = 2 ** 31 - 1,
): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < least || value > most) {
    throw new ArgumentError(`${call}: ${argument} must be an integer from ${least} to ${most}, got ${describe(value)}`);
  }
  return value;
}

/** One of a list of words, or an ArgumentError that lists them. */
export function checkChoice<T extends string>(
  call: string,
  argument: string,
  value: unknown,
  choices: readonly T[],
): T {
  if (typeof value !== "string" || !choices.includes(value as T)) {
    throw new ArgumentError(
      `${call}: ${argument} must be one of ${choices.map((c) => JSON.stringify(c)).join(", ")}, got ${describe(value)}`,
    );
  }
  return value as T;
}

/** true or false, or an ArgumentError. */
export function checkBoolean(call: string, argument: string, value: unknown): boolean {
  if (typeof value !== "boolean")
    throw new ArgumentError(`${call}: ${argument} must be true or false, got ${describe(value)}`);
  return value;
}
