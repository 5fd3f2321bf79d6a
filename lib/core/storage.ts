import type { DType, TypedArray } from "./dtype.js";
import { BackendError, DisposedError } from "./errors.js";
import { acquire, type Block, own, release } from "./memory.js";
import { adopt } from "./scope.js";

/**
 * The memory of a tensor and of all its views, with the version counter that in-place operations raise.
 * Uninitialised when made: whoever makes one writes all of it.
 */
export class Storage {
  #block: Block | null;
  /** Raised by every in-place change through any view; saved tensors compare it when backward reads them. */
  version = 0;
  /** backward() counts the gradients in flight that use this memory, to give it back after the last. */
  flights = 0;
  /** Whether backward() made this memory and nobody outside has seen it, so that it may give it back. */
  transient = false;
  /** Set while a scope ends: this memory outlives it. */
  surviving = false;
  /** Outlives every scope. */
  kept = false;

  constructor(bytes: number, foreign?: Block) {
    if (foreign !== undefined) {
      this.#block = foreign;
      own(foreign, this);
    } else {
      this.#block = acquire(bytes, this);
      adopt(this);
    }
  }

  get block(): Block {
    if (this.#block === null) {
      throw new DisposedError(
        "this tensor's memory was given back by dispose() or the end of a scope; return it from the scope, keep() it, " +
          "or clone() it before",
      );
    }
    return this.#block;
  }

  get disposed(): boolean {
    return this.#block === null;
  }

  /** All of the memory as elements of `dtype`. Never leaves the library: users get copies. */
  array(dtype: DType): TypedArray {
    const { block } = this;
    if (block.writers > 0) {
      throw new BackendError(
        "this tensor's values are still being computed by an asynchronous call; await the call before reading them " +
          "(inside runAsync, return the tensor and read it afterwards)",
      );
    }
    return block.view(dtype);
  }

  /** Gives the memory back to the pool. Using any tensor over it afterwards raises DisposedError. */
  dispose(): void {
    if (this.#block === null) return;
    release(this.#block, this);
    this.#block = null;
  }
}
