import { unrecorded } from "../autograd/mode.js";
import { ArgumentError, StateError } from "../core/errors.js";
import { nearest } from "../core/options.js";
import { describe, format, sameShape } from "../core/shape.js";
import { isTensor, type Tensor } from "../core/tensor.js";
import { copy_ } from "../ops/inplace.js";
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

export function loadState(module: Module, dict: Readonly<Record<string, Tensor>>, strict: boolean): LoadResult {
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
  unrecorded(() => {
    for (const [key, target] of targets) {
      const value = given.get(key);
      if (value === undefined || value instanceof UninitializedParameter) continue;
      if (target instanceof UninitializedParameter) target.materialize(value.shape);
      copy_(target, value);
    }
  });
  return { missingKeys, unexpectedKeys };
}

function withGuess(key: string, missing: readonly string[]): string {
  const guess = missing.length <= 200 ? nearest(key, missing) : undefined;
  return guess === undefined ? key : `${key} (instead of ${guess}?)`;
}
