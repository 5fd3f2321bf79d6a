import type { DType } from "../core/dtype.js";
import { MemoryLimitError } from "../core/errors.js";
import type { Block } from "../core/block.js";
import { addSpare, type Spare } from "../core/spare.js";
import { Storage } from "../core/storage.js";
import type { Tensor } from "../core/tensor.js";
import { sizesPosition } from "./contract.js";

/** Weights of fewer elements are made ready anew in every call, at next to no cost. */
const leastElements = 16384;
/** Kinds of calls remembered per weight. */
const mostCalls = 64;
/** Bytes at the start that say what follows; zeros: nothing yet. */
const headerBytes = 64;

/** What a weight is made ready for: its channels and kernel; calls differ in more, but for the activation. */
const position = (field: string): number => sizesPosition("ConvSizes", field);
const channels = [position("groups"), position("in")] as const;
const kernel = [position("kernel"), position("stride")] as const;
const activation = position("activation");

/**
 * What the native convolution makes of a weight before it multiplies, kept while the weight stays as it is: from the second
 * call with the same values on (so never in training, where every step changes them), per algorithm. It lives and dies
 * with the weight's storage, counts as live memory, and is given back when memory gets scarce or `emptyCache()` is called.
 */
export class KeptWeights implements Spare {
  /** How often what was kept has been given back: whoever remembers where it lay looks here. */
  drops = 0;
  #version = -1;
  readonly #byCall = new Map<string, Storage | null>();
  readonly #made = new Map<string, Storage>();

  /** Where a call keeps what it makes of `weight`, or null. `ask` says how many bytes it would keep. */
  find(weight: Tensor, dtype: DType, sizes: readonly number[], ask: () => number): Block | null {
    if (weight.storage.version !== this.#version) {
      this.drop();
      this.#version = weight.storage.version;
      return null;
    }
    const call = `${weight.offset},${dtype},${sizes.slice(0, activation)}`;
    let storage = this.#byCall.get(call);
    if (storage === undefined) {
      storage = this.#make(weight, dtype, sizes, ask());
      if (this.#byCall.size >= mostCalls) this.#byCall.clear();
      this.#byCall.set(call, storage);
    }
    return storage === null ? null : storage.block;
  }

  /** Calls of one algorithm share; its number of bytes tells it from others. */
  #make(weight: Tensor, dtype: DType, sizes: readonly number[], bytes: number): Storage | null {
    if (bytes === 0) return null;
    const key = `${bytes},${weight.offset},${dtype},${sizes.slice(...channels)},${sizes.slice(...kernel)}`;
    let storage = this.#made.get(key);
    if (storage !== undefined) return storage;
    try {
      storage = new Storage(bytes);
    } catch (error) {
      if (error instanceof MemoryLimitError) return null;
      throw error;
    }
    storage.kept = true;
    storage.block.bytes.fill(0, 0, headerBytes);
    if (this.#made.size === 0) addSpare(this);
    this.#made.set(key, storage);
    return storage;
  }

  drop(): void {
    for (const storage of this.#made.values()) storage.dispose();
    this.#made.clear();
    this.#byCall.clear();
    this.#version = -1;
    this.drops++;
  }
}

/** What is kept of a convolution's weight for this call; null if nothing is. */
export function keptOf(weight: Tensor, dtype: DType, sizes: readonly number[], ask: () => number): Block | null {
  const { storage } = weight;
  // Shared memory that the user brought may be changed by others unseen.
  if (weight.numel() < leastElements || storage.block.foreign) return null;
  const kept = (storage.spare ??= new KeptWeights()) as KeptWeights;
  return kept.find(weight, dtype, sizes, ask);
}
