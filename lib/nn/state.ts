import { unrecorded } from "../autograd/mode.js";
import { ArgumentError, StateError } from "../core/errors.js";
import { nearest } from "../core/options.js";
import { describe, format, sameShape } from "../core/shape.js";
import type { Storage } from "../core/storage.js";
import { isTensor, type Tensor } from "../core/tensor.js";
import { checkBusy } from "../backend/operands.js";
import { checkChange } from "../ops/inplace.js";
import { converted, copyInto } from "../ops/kernel.js";
import { detach } from "../ops/view.js";
import type { Module } from "./module.js";
import { UninitializedParameter } from "./parameter.js";

/** Tensors by PyTorch's keys, in PyTorch's order: `conv1.weight`, `bn1.running_mean`, ... Has no prototype. */
export type StateDict = Record<string, Tensor>;

/** What did not fit, when `strict` is false. */
export interface LoadResult {
  /** Keys of the module that the dictionary did not have. */
  readonly missingKeys: readonly string[];
  /** Keys of the dictionary that the module does not know. */
  readonly unexpectedKeys: readonly string[];
}

/** Every entry of the state: of each module its parameters, then its buffers, then its parts. Shared ones come again. */
function* entries(module: Module, prefix: string): Iterable<readonly [string, Tensor]> {
  for (const [name, parameter] of module.ownParameters()) yield [prefix + name, parameter];
  for (const [name, buffer, persistent] of module.ownBuffers()) if (persistent) yield [prefix + name, buffer];
  for (const [name, child] of module.namedChildren()) yield* entries(child, `${prefix}${name}.`);
}

export function collectState(module: Module): StateDict {
  const dict = Object.create(null) as StateDict;
  for (const [key, tensor] of entries(module, "")) {
    dict[key] = tensor instanceof UninitializedParameter ? tensor : detach(tensor);
  }
  return dict;
}

/** A state that was checked and converted, and can no longer fail. @internal */
export interface PreparedLoad {
  readonly result: LoadResult;
  /** Puts the values in their places. */
  commit(): void;
}

/** Everything that can go wrong about loading a state, without changing anything. */
export function prepareState(module: Module, dict: Readonly<Record<string, Tensor>>, strict: boolean): PreparedLoad {
  if (typeof dict !== "object" || dict === null || isTensor(dict)) {
    throw new ArgumentError(`loadStateDict: needs an object of tensors by key, got ${describe(dict)}`);
  }
  const given = new Map(Object.entries(dict));
  const targets = new Map<string, Tensor>(entries(module, ""));
  const missingKeys: string[] = [];
  const problems: string[] = [];
  for (const [key, target] of targets) {
    const value = given.get(key);
    if (value === undefined) {
      missingKeys.push(key);
    } else if (!isTensor(value)) {
      problems.push(`${key} must be a tensor, got ${describe(value)}`);
    } else if (value.storage.disposed || target.storage.disposed) {
      const where = value.storage.disposed ? "dictionary" : "module";
      problems.push(
        `${key} has no memory any more in the ${where}: it was given back by dispose() or the end of a scope`,
      );
    } else if (value instanceof UninitializedParameter && !(target instanceof UninitializedParameter)) {
      problems.push(`${key} is not initialised in the dictionary, but ${format(target.shape)} in the module`);
    } else if (!(target instanceof UninitializedParameter) && !sameShape(value.shape, target.shape)) {
      problems.push(`${key} is ${format(value.shape)} in the dictionary, but ${format(target.shape)} in the module`);
    }
  }
  const unexpectedKeys = [...given.keys()].filter((key) => !targets.has(key));
  const lines: string[] = [];
  if (strict && missingKeys.length > 0) lines.push(`missing keys: ${missingKeys.join(", ")}`);
  if (strict && unexpectedKeys.length > 0) {
    lines.push(`unexpected keys: ${unexpectedKeys.map((key) => withGuess(key, missingKeys)).join(", ")}`);
  }
  if (problems.length > 0) lines.push(...problems);
  if (lines.length > 0) {
    throw new StateError(
      [
        `loadStateDict: the dictionary does not fit ${module.displayName}; nothing was changed`,
        ...lines.map((line) => `  ${line}`),
        ...(strict && problems.length === 0 ? ["pass { strict: false } to load what fits"] : []),
      ].join("\n"),
    );
  }
  const steps: (() => void)[] = [];
  const made: Tensor[] = [];
  const storages = new Set([...targets.values()].map((target) => target.storage));
  unrecorded(() => {
    try {
      for (const [key, target] of targets) {
        const value = given.get(key);
        if (value === undefined || value instanceof UninitializedParameter) continue;
        steps.push(prepareOne(target, value, storages, made));
      }
    } catch (error) {
      for (const t of made) t.dispose();
      throw error;
    }
  });
  return {
    result: { missingKeys, unexpectedKeys },
    commit: () => {
      for (const step of steps) step();
    },
  };
}

/** What gives `target` the values of `value`. Memory for it is taken now, and noted in `made`. */
function prepareOne(target: Tensor, value: Tensor, storages: ReadonlySet<Storage>, made: Tensor[]): () => void {
  const copy = (): Tensor => {
    const t = converted(value, target.dtype);
    made.push(t);
    return t;
  };
  if (target instanceof UninitializedParameter) {
    const own = copy();
    return () => target.adopt(own);
  }
  const same = value.storage === target.storage;
  if (same && value.offset === target.offset && value.isContiguous() && target.isContiguous()) return () => {};
  value.storage.array(value.dtype); // refuses what is still being computed
  checkBusy("copy", [value, target]);
  checkChange("loadStateDict", target, false);
  // What shares memory with the module may change before its turn.
  const from = value.dtype === target.dtype && !storages.has(value.storage) ? value : copy();
  return () => {
    copyInto(target, from);
    target.storage.version++;
    if (from !== value) from.dispose();
  };
}

function withGuess(key: string, missing: readonly string[]): string {
  const guess = missing.length <= 200 ? nearest(key, missing) : undefined;
  return guess === undefined ? key : `${key} (instead of ${guess}?)`;
}
