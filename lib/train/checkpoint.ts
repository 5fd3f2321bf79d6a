import { unrecorded } from "../autograd/mode.js";
import { ArgumentError, FormatError } from "../core/errors.js";
import { describe } from "../core/shape.js";
import { isTensor, type Tensor } from "../core/tensor.js";
import { type Json, parseJson } from "../io/json.js";
import { inspectSafetensors, loadSafetensors, saveSafetensors } from "../io/safetensors.js";
import { Module } from "../nn/module.js";
import { clone } from "../ops/view.js";
import { defaultGenerator } from "../ops/random.js";
import { Optimizer } from "../optim/optimizer.js";
import { ReduceLROnPlateau } from "../optim/plateau.js";
import { LRScheduler } from "../optim/schedule.js";

/**
 * Checkpoints: everything a run needs to continue as if it had never stopped, in one safetensors file, written whole
 * or not at all. Tensors of all parts lie in it under "part.path.to.tensor"; the rest (numbers, option values) is JSON
 * in the file's metadata. The state of the default random generator always comes along.
 */

/** A module, an optimiser, a schedule: what gives its state and takes it back. */
export interface StatefulByMethod {
  stateDict(): unknown;
  // biome-ignore lint/suspicious/noExplicitAny: every part checks what it is given
  loadStateDict(state: any): unknown;
}
/** A loader, a generator: what has its state as a property. */
export interface StatefulByProperty {
  state: unknown;
}
export type Stateful = StatefulByMethod | StatefulByProperty;

/** Format of the metadata, raised when it changes. */
const version = "1";
const stateKey = "xcorr.state";
/** Lists and objects in each other. */
const deepest = 32;
const versionKey = "xcorr.checkpoint";

function byMethod(part: Stateful): part is StatefulByMethod {
  return typeof (part as StatefulByMethod).stateDict === "function";
}

/** Replaces tensors by their keys and collects them. */
function detachTensors(value: unknown, path: string, tensors: Record<string, Tensor>): unknown {
  if (isTensor(value)) {
    tensors[path] = value;
    return { $tensor: path };
  }
  if (Array.isArray(value)) return value.map((v, i) => detachTensors(v, `${path}.${i}`, tensors));
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, detachTensors(v, `${path}.${k}`, tensors)]));
  }
  if (typeof value === "number" && !Number.isFinite(value)) return { $number: String(value) }; // JSON has no Infinity
  if (typeof value === "function" || typeof value === "bigint" || typeof value === "symbol") {
    throw new ArgumentError(`saveCheckpoint: ${path} is ${describe(value)}, which a checkpoint cannot hold`);
  }
  return value;
}

const numbers: ReadonlyMap<Json | undefined, number> = new Map([
  ["NaN", Number.NaN],
  ["Infinity", Number.POSITIVE_INFINITY],
  ["-Infinity", Number.NEGATIVE_INFINITY],
]);

/** What was JSON, with its tensors; objects have no prototype, so every key of a file is safe. */
function attachTensors(value: Json, tensors: Readonly<Record<string, Tensor>>, path: string): unknown {
  if (Array.isArray(value)) return value.map((v) => attachTensors(v, tensors, path));
  if (!(value instanceof Map)) return value;
  if (value.size === 1 && value.has("$number")) {
    const number = numbers.get(value.get("$number"));
    if (number !== undefined) return number;
    throw new FormatError(`${path}: $number is ${describe(value.get("$number"))}, expected NaN, Infinity or -Infinity`);
  }
  const name = value.get("$tensor");
  if (value.size === 1 && typeof name === "string") {
    const t = Object.hasOwn(tensors, name) ? tensors[name] : undefined;
    if (t === undefined)
      throw new FormatError(`${path}: the checkpoint names a tensor ${describe(name)} that it does not hold`);
    return t;
  }
  const out = Object.create(null) as Record<string, unknown>;
  for (const [k, v] of value) out[k] = attachTensors(v, tensors, path);
  return out;
}

/**
 * Saves the state of all `parts` (a model, an optimiser, a schedule, a loader, ...) under their names, and of the
 * default random generator. The old file stays whole until the new one is.
 */
export function saveCheckpoint(path: string, parts: Readonly<Record<string, Stateful>>): void {
  const tensors: Record<string, Tensor> = {};
  const state: Record<string, unknown> = {};
  for (const [name, part] of Object.entries({
    ...checkParts("saveCheckpoint", parts),
    $random: defaultGenerator as Stateful,
  })) {
    state[name] = detachTensors(byMethod(part) ? part.stateDict() : part.state, name, tensors);
  }
  saveSafetensors(path, tensors, { metadata: { [versionKey]: version, [stateKey]: JSON.stringify(state) } });
}

/**
 * Gives all `parts` the state they had when the checkpoint was saved, and the default random generator its position.
 * @throws {FormatError} if the file is no checkpoint or lacks a part, {StateError} if a state does not fit its part; in
 *   any case nothing has been changed then
 */
export function loadCheckpoint(path: string, parts: Readonly<Record<string, Stateful>>): void {
  const wanted: Record<string, Stateful> = { ...checkParts("loadCheckpoint", parts), $random: defaultGenerator };
  const { metadata } = inspectSafetensors(path);
  if (metadata[versionKey] !== version) {
    throw new FormatError(
      `${path}: the metadata's ${versionKey} is ${describe(metadata[versionKey])}, expected "${version}"; a file of weights alone is ` +
        "loaded with io.loadSafetensors and model.loadStateDict",
    );
  }
  const plain = parseJson(metadata[stateKey] ?? "", `${path}: the metadata's ${stateKey}`, deepest);
  if (!(plain instanceof Map)) throw new FormatError(`${path}: the metadata's ${stateKey} must be an object of parts`);
  for (const name of Object.keys(wanted)) {
    if (!plain.has(name)) {
      throw new FormatError(
        `${path}: the checkpoint has no part ${JSON.stringify(name)}; it has ${[...plain.keys()].slice(0, 20).join(", ")}`,
      );
    }
  }
  const tensors = loadSafetensors(path);
  const state = attachTensors(plain, tensors, path) as Record<string, unknown>;
  const commits: (() => void)[] = [];
  const undo: (() => void)[] = [];
  try {
    const others: [Stateful, unknown][] = [];
    for (const [name, part] of Object.entries(wanted)) {
      if (canPrepare(part)) commits.push(part.prepareLoad(state[name]));
      else others.push([part, state[name]]);
    }
    for (const [part, given] of others) {
      // A part that cannot check a state beforehand is put back if a later one refuses its own.
      const before = copied(byMethod(part) ? part.stateDict() : part.state);
      undo.push(() => give(part, before));
      give(part, given);
    }
  } catch (error) {
    for (const back of undo.reverse()) {
      try {
        back();
      } catch {} // it refuses its own state as well; the first error says what is wrong
    }
    throw error;
  }
  for (const commit of commits) commit();
}

function give(part: Stateful, state: unknown): void {
  if (byMethod(part)) part.loadStateDict(state);
  else part.state = state;
}

interface Preparing {
  prepareLoad(state: unknown): () => void;
}

/** Whether a part checks a state to the end before it changes anything: the library's own, unless a subclass loads its own way. */
function canPrepare(part: Stateful): part is Stateful & Preparing {
  const kinds = [Module, Optimizer, LRScheduler, ReduceLROnPlateau];
  const kind = kinds.find((each) => part instanceof each);
  return kind !== undefined && (part as StatefulByMethod).loadStateDict === kind.prototype.loadStateDict;
}

/** The values of a state, not the objects and tensors that hold them. */
function copied(value: unknown): unknown {
  if (isTensor(value)) return unrecorded(() => clone(value));
  if (Array.isArray(value)) return value.map(copied);
  if (typeof value !== "object" || value === null) return value;
  if (Object.getPrototypeOf(value) !== Object.prototype && Object.getPrototypeOf(value) !== null)
    return structuredClone(value);
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, copied(each)]));
}

function checkParts(call: string, parts: unknown): Record<string, Stateful> {
  if (typeof parts !== "object" || parts === null || Array.isArray(parts))
    throw new ArgumentError(`${call}: parts must be an object such as { model, optimizer }, got ${describe(parts)}`);
  for (const [name, part] of Object.entries(parts)) {
    const given = Object(part) as Partial<StatefulByMethod>;
    const fine = typeof given.stateDict === "function" ? typeof given.loadStateDict === "function" : "state" in given;
    if (!fine) {
      throw new ArgumentError(
        `${call}: ${name} must have stateDict() and loadStateDict(), or a state, got ${describe(part)}`,
      );
    }
  }
  return parts as Record<string, Stateful>;
}
