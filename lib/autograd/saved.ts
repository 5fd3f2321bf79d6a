import { ArgumentError, GradientError } from "../core/errors.js";
import { describe, format } from "../core/shape.js";
import type { Storage } from "../core/storage.js";
import { alias, isTensor, named, type Tensor } from "../core/tensor.js";
import { edgeOf, type Node, setHistory } from "./node.js";

/** What derivatives find again in backward: saved tensors, checked for changes, or put away by hooks of the user. */

/** Called when an operation saves a tensor, and when backward needs it. */
export interface SavedTensorHooks<P = unknown> {
  /** Puts the values away (to disk, in lower precision, ...); must not change the tensor. */
  readonly pack: (tensor: Tensor) => P;
  /** Brings them back: same shape and dtype. */
  readonly unpack: (packed: P) => Tensor;
  /** Told when backward has no more use for them. */
  readonly drop?: (packed: P) => void;
}

let hooks: SavedTensorHooks | null = null;

/** Runs the synchronous `fn`; every tensor that is saved meanwhile goes through `pack`. The innermost hooks win. */
export function savedTensorHooks<P, T>(given: SavedTensorHooks<P>, fn: () => T): T {
  if (typeof fn !== "function")
    throw new ArgumentError(`savedTensorHooks: needs a function that runs under the hooks, got ${describe(fn)}`);
  const { pack, unpack } = Object(given) as Partial<SavedTensorHooks>;
  if (typeof pack !== "function" || typeof unpack !== "function")
    throw new ArgumentError(`savedTensorHooks: hooks must be { pack, unpack }, two functions, got ${describe(given)}`);
  const before = hooks;
  hooks = given as SavedTensorHooks;
  try {
    return fn();
  } finally {
    hooks = before;
  }
}

/** @internal Runs `fn` without hooks, as hooks themselves must. */
export function withoutSavedTensorHooks<T>(fn: () => T): T {
  const before = hooks;
  hooks = null;
  try {
    return fn();
  } finally {
    hooks = before;
  }
}

/** A tensor kept for backward, with the version and the history it had. */
export class SavedTensor {
  readonly #tensor: Tensor | null;
  readonly #version: number;
  readonly #node: Node | null;
  readonly #index: number;
  readonly #packed: Packed | null;

  constructor(tensor: Tensor) {
    this.#version = tensor.storage.version;
    if (hooks === null) {
      const state = tensor.autograd;
      this.#tensor = tensor;
      tensor.storage.savers++;
      this.#node = (state?.node ?? null) as Node | null;
      this.#index = state?.outputIndex ?? 0;
      this.#packed = null;
    } else {
      const edge = edgeOf(tensor);
      tensor.storage.savers++; // for good: hooks may keep what they are shown
      this.#tensor = null;
      this.#node = edge?.node ?? null;
      this.#index = edge?.index ?? 0;
      this.#packed = pack(hooks, tensor);
    }
  }

  /**
   * The tensor as it was saved; GradientError if its values have been changed since. `user` names the operation whose
   * derivative reads it, `what` says whose output or input it is.
   */
  get(user: string, what: string): Tensor {
    const t = this.#tensor;
    if (t === null) return this.#unpacked(user);
    if (t.storage.version !== this.#version) {
      throw new GradientError(
        `backward of ${user} needs ${what}, a ${t.dtype} tensor ${format(t.shape)}, as it was at version ${this.#version}, but an ` +
          `in-place operation has changed it (it is at version ${t.storage.version}); use the out-of-place operation, or clone() it before`,
      );
    }
    const node = t.autograd?.node ?? null;
    return node === this.#node ? t : this.#withHistory(t);
  }

  #unpacked(user: string): Tensor {
    const { hooks: by, value, shape, dtype } = this.#packed!;
    const t = withoutSavedTensorHooks(() => by.unpack(value));
    if (!isTensor(t) || t.dtype !== dtype || t.shape.join() !== shape.join()) {
      throw new GradientError(
        `backward of ${user}: unpack must return the ${dtype} tensor ${format(shape)} that was packed, ${named("got", t)}`,
      );
    }
    return this.#withHistory(t);
  }

  /** The values with the history they were saved with, whatever happened to the tensor meanwhile. */
  #withHistory(t: Tensor): Tensor {
    const old = alias(t);
    if (this.#node !== null) setHistory(old, this.#node, this.#index);
    return old;
  }

  /** The memory that is held here, if it is. */
  get storage(): Storage | null {
    return this.#tensor?.storage ?? null;
  }

  /** Called once, when backward has no more use for the tensor. */
  drop(): void {
    const storage = this.#tensor?.storage;
    if (storage !== undefined && --storage.savers === 0 && storage.ownedByGraph) giveBackOwned(storage);
    const packed = this.#packed;
    if (packed !== null) withoutSavedTensorHooks(() => packed.hooks.drop?.(packed.value));
  }
}

function giveBackOwned(storage: Storage): void {
  // A gradient in flight, or on its way out of the derivative that runs now, may show the same memory.
  if (storage.flights === 0 && !storage.surviving && !storage.kept) storage.dispose();
}

/**
 * @internal Says that nobody but recorded operations knows `t`, so that its memory goes back as soon as backward has used it
 * for the last time (at once, if no operation saved it). Who calls it has passed `t` only to operations of the library.
 */
export function letGo(t: Tensor): void {
  const { storage } = t;
  storage.ownedByGraph = true;
  if (storage.savers === 0) giveBackOwned(storage);
}

interface Packed {
  readonly hooks: SavedTensorHooks;
  readonly value: unknown;
  readonly shape: readonly number[];
  readonly dtype: string;
}

function pack(by: SavedTensorHooks, tensor: Tensor): Packed {
  const before = tensor.storage.version;
  const value = withoutSavedTensorHooks(() => by.pack(alias(tensor)));
  if (tensor.storage.version !== before) {
    throw new GradientError(
      "savedTensorHooks: pack has changed the tensor in place; it must copy what it wants to change",
    );
  }
  return { hooks: by, value, shape: tensor.shape, dtype: tensor.dtype };
}
