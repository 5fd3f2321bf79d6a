import type { DType, TypedArray } from "./dtype.js";
import { BackendError, DisposedError } from "./errors.js";
import type { Block } from "./block.js";
import { acquire, own, release } from "./memory.js";
import { adopt } from "./scope.js";
import type { Shape } from "./shape.js";
import type { Spare } from "./spare.js";

/** Whether new memory is only imagined; see `imagined`. */
let imagining = false;

/**
 * Runs `work` for its kernel calls alone, which a recorder notes and nobody runs: memory that only kernels would fill is
 * never taken. What JavaScript fills itself (constants) takes memory at its first touch. Nothing is given back meanwhile,
 * so that what was noted stays as it is.
 */
export function imagined<T>(work: () => T): T {
  const before = imagining;
  imagining = true;
  try {
    return work();
  } finally {
    imagining = before;
  }
}

/** Refuses memory that is there no more, or was never written. @internal */
export function checkValues(block: Block, call = ""): void {
  if (block.lost !== null) throw new BackendError(`${call}a tensor has no values: ${block.lost}`);
  if (block.detached) {
    throw new BackendError(
      `${call}the memory of a tensor was transferred away (its ArrayBuffer is detached); tensors go to other threads by serve.share`,
    );
  }
}

/**
 * The memory of a tensor and of all its views, with the version counter that in-place operations raise.
 * Uninitialised when made: whoever makes one writes all of it.
 */
export class Storage {
  #block: Block | null;
  /** The size of memory that is only imagined; -1 once it is there, or gone. */
  #imaginedBytes = -1;
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
  /** How many recorded operations hold it for backward. */
  savers = 0;
  /** Nobody but those operations knows it: the last that lets it go gives it back (see letGo). */
  ownedByGraph = false;
  /** Imagined memory that recorded kernel calls would have written, or a recording's input: it has no values. */
  valueless = false;
  /** What a backend has made of these values for later calls; it checks the version. */
  spare: Spare | null = null;

  constructor(bytes: number, foreign?: Block) {
    if (foreign !== undefined) {
      this.#block = foreign;
      own(foreign, this);
      return;
    }
    if (imagining) {
      this.#block = null;
      this.#imaginedBytes = bytes;
    } else {
      this.#block = acquire(bytes, this);
    }
    adopt(this);
  }

  get block(): Block {
    if (this.#block === null && this.#imaginedBytes >= 0) {
      if (this.valueless) {
        throw new BackendError(
          "this tensor has no values: the calls that compute it are only being recorded (nn.optimizeForInference)",
        );
      }
      this.#block = acquire(this.#imaginedBytes, this);
      this.#imaginedBytes = -1;
    }
    if (this.#block === null) {
      throw new DisposedError(
        "this tensor's memory was given back by dispose() or the end of a scope; return it from the scope, keep() it, " +
          "or clone() it before",
      );
    }
    return this.#block;
  }

  get disposed(): boolean {
    return this.#block === null && this.#imaginedBytes < 0;
  }

  /** Whether the memory is only imagined. */
  get imagined(): boolean {
    return this.#imaginedBytes >= 0;
  }

  /** The size of memory that is only imagined, in bytes. */
  get imaginedBytes(): number {
    return Math.max(0, this.#imaginedBytes);
  }

  /** Notes what the memory was made for, for reports. */
  label(shape: Shape, dtype: DType): void {
    if (this.#block === null) return;
    this.#block.shape = shape;
    this.#block.dtype = dtype;
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
    checkValues(block);
    return block.view(dtype);
  }

  /** Gives the memory back to the pool. Using any tensor over it afterwards raises DisposedError. */
  dispose(): void {
    if (imagining) return;
    this.#imaginedBytes = -1;
    if (this.#block === null) return;
    this.spare?.drop();
    release(this.#block, this);
    this.#block = null;
  }
}
