import { ArgumentError, FormatError } from "../core/errors.js";
import { describe } from "../core/shape.js";
import { isTensor, type Tensor } from "../core/tensor.js";
import { inspectSafetensors, loadSafetensors, saveSafetensors } from "../io/safetensors.js";
import { defaultGenerator } from "../ops/random.js";

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

function attachTensors(value: unknown, tensors: Readonly<Record<string, Tensor>>, path: string): unknown {
  if (Array.isArray(value)) return value.map((v) => attachTensors(v, tensors, path));
  if (typeof value !== "object" || value === null) return value;
  const { $tensor, $number } = value as { $tensor?: unknown; $number?: unknown };
  if (typeof $number === "string") return Number($number);
  if (typeof $tensor === "string") {
    const t = Object.hasOwn(tensors, $tensor) ? tensors[$tensor] : undefined;
    if (t === undefined)
      throw new FormatError(`${path}: the checkpoint names a tensor ${JSON.stringify($tensor)} that it does not hold`);
    return t;
  }
  const out = Object.create(null) as Record<string, unknown>;
  for (const [k, v] of Object.entries(value)) out[k] = attachTensors(v, tensors, path);
  return out;
}

/**
 * Saves the state of all `parts` (a model, an optimiser, a schedule, a loader, ...) under their names, and of the
 * default random generator. The old file stays whole until the new one is.
 */
export function saveCheckpoint(path: string, parts: Readonly<Record<string, Stateful>>): void {
  const tensors: Record<string, Tensor> = {};
  const state: Record<string, unknown> = {};
  for (const [name, part] of Object.entries({ ...parts, $random: defaultGenerator as Stateful })) {
    state[name] = detachTensors(byMethod(part) ? part.stateDict() : part.state, name, tensors);
  }
  saveSafetensors(path, tensors, { metadata: { [versionKey]: version, [stateKey]: JSON.stringify(state) } });
}

/**
 * Gives all `parts` the state they had when the checkpoint was saved, and the default random generator its position.
 * @throws {FormatError} if the file is no checkpoint or lacks a part; then nothing has been changed
 */
export function loadCheckpoint(path: string, parts: Readonly<Record<string, Stateful>>): void {
  const { metadata } = inspectSafetensors(path);
  if (metadata[versionKey] !== version) {
    throw new FormatError(
      `${path}: the metadata's ${versionKey} is ${describe(metadata[versionKey])}, expected "${version}"; a file of weights alone is ` +
        "loaded with io.loadSafetensors and model.loadStateDict",
    );
  }
  let plain: unknown;
  try {
    plain = JSON.parse(metadata[stateKey] ?? "");
  } catch {
    throw new FormatError(`${path}: the metadata's ${stateKey} is no JSON`);
  }
  if (typeof plain !== "object" || plain === null || Array.isArray(plain)) {
    throw new FormatError(`${path}: the metadata's ${stateKey} must be an object of parts`);
  }
  const state = attachTensors(plain, loadSafetensors(path), path) as Record<string, unknown>;
  const wanted: Record<string, Stateful> = { ...parts, $random: defaultGenerator };
  for (const name of Object.keys(wanted)) {
    if (state[name] === undefined) {
      throw new FormatError(
        `${path}: the checkpoint has no part ${JSON.stringify(name)}; it has ${Object.keys(plain).join(", ")}`,
      );
    }
  }
  for (const [name, part] of Object.entries(wanted)) {
    if (byMethod(part)) part.loadStateDict(state[name]);
    else part.state = state[name];
  }
}
