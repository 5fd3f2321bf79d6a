import { StateError } from "../core/errors.js";
import { describe } from "../core/shape.js";

/** Numbers and words of a state that comes from a file, by what stands in their places now. */

/** Words that schedules know, by what they choose among. */
const choices: readonly (readonly string[])[] = [
  ["cos", "linear"],
  ["min", "max"],
  ["rel", "abs"],
  ["initialLr", "maxLr", "minLr"],
  ["baseMomentum", "maxMomentum"],
];

function kind(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (value === null) return "null";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

/**
 * A copy of `given`, which must be of the kind of `now`: a number for a number, a list of as many (milestones: of any
 * length), an object with the same names, one of the words that stand there for choice.
 */
export function restored(where: string, now: unknown, given: unknown): unknown {
  const wrong = (what: string): never => {
    throw new StateError(`${where} must be ${what}, got ${describe(given)}`);
  };
  if (kind(now) !== kind(given)) wrong(kind(now));
  if (typeof given === "number") {
    // The best value before the first is infinite.
    if (!(Number.isFinite(given) || (where.endsWith("best") && !Number.isNaN(given)))) wrong("a finite number");
    if (where.endsWith("lastEpoch") && !(Number.isInteger(given) && given >= -1)) wrong("an integer of at least -1");
  }
  if (typeof given === "string") {
    const words = choices.find((list) => list.includes(now as string));
    if (words !== undefined && !words.includes(given)) wrong(`one of ${words.join(", ")}`);
  }
  if (Array.isArray(now)) {
    const list = given as unknown[];
    if (list.length !== now.length && !where.endsWith("milestones")) wrong(`a list of ${now.length}`);
    return Array.from(list, (each, i) => restored(`${where}[${i}]`, i < now.length ? now[i] : 0, each));
  }
  if (typeof now === "object" && now !== null) {
    return Object.fromEntries(
      Object.entries(now).map(([name, value]) => {
        if (!Object.hasOwn(given as object, name)) wrong(`an object with ${name}`);
        return [name, restored(`${where}.${name}`, value, (given as Record<string, unknown>)[name])];
      }),
    );
  }
  return given;
}

/** What gives the fields of `object` that `given` has their values; checks all before. */
export function prepareFields(call: string, object: object, given: unknown): () => void {
  if (typeof given !== "object" || given === null || Array.isArray(given))
    throw new StateError(`${call}: needs an object as stateDict() gives, got ${describe(given)}`);
  const fields: [string, unknown][] = [];
  for (const [name, now] of Object.entries(object)) {
    if (name === "optimizer" || !Object.hasOwn(given, name) || holdsFunctions(now)) continue;
    fields.push([name, restored(`${call}: ${name}`, now, (given as Record<string, unknown>)[name])]);
  }
  return () => {
    for (const [name, value] of fields) (object as Record<string, unknown>)[name] = value;
  };
}

export function holdsFunctions(value: unknown): boolean {
  return typeof value === "function" || (Array.isArray(value) && value.some((v) => typeof v === "function"));
}
