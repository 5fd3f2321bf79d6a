import { bytesPerElement, type DType, type TypedArray } from "./dtype.js";

/** A piece of memory with its typed views, made once. */
export class Block {
  readonly id: number;
  readonly bytes: Uint8Array<ArrayBufferLike>;
  /** Bytes it holds: a size class, or the size of shared memory brought by the user. */
  readonly capacity: number;
  /** Whether the addon watches its owner (else the FinalizationRegistry does, or it is a newcomer). */
  watched = false;
  /** Its place among the newcomers (newcomers.ts); -1 if it is none. */
  newcomer = -1;
  /** How many collections there had been when it was taken. */
  takenAt = 0;
  /** Programs in flight that use it: it cannot go back to the pool, and nothing else may write it. */
  pins = 0;
  /** Programs in flight that write it: nobody else may read it. */
  writers = 0;
  /** The last of each, by ticket, so that a program counts once. */
  pinnedBy = -1;
  writtenBy = -1;
  /** The program in flight whose calls are the first to write it, by ticket; -1 if there is none. */
  madeBy = -1;
  /** Given back while it was pinned; goes to the pool with the last pin. */
  waiting = false;
  /** Whether a tensor holds it now. */
  live = false;
  /** The number of its owner in the order in which blocks were taken. */
  taken = 0;
  /** Why its values are missing: the asynchronous call that was to compute them came to nothing. */
  lost: string | null = null;
  /** What it was taken for, for reports; null where only bytes were asked for. */
  shape: readonly number[] | null = null;
  dtype: DType | null = null;
  /** Where it was taken, while sites are recorded (memory_report.ts). */
  site: string | null = null;
  /** Over memory that the user brought: it never enters the pool. */
  foreign = false;
  #views: (TypedArray | undefined)[] = [];

  constructor(id: number, bytes: Uint8Array<ArrayBufferLike>) {
    this.id = id;
    this.bytes = bytes;
    this.capacity = bytes.byteLength;
  }

  /**
   * Whether its memory is gone: the library hands out no buffer, but who looks for one inside finds it, and may transfer it.
   * Every call looks here, which costs a load.
   */
  get detached(): boolean {
    return this.bytes.length !== this.capacity;
  }

  /** All of the block as elements of `dtype`. */
  view(dtype: DType): TypedArray {
    const slot = dtype === "float32" ? 0 : dtype === "float64" ? 1 : dtype === "int32" ? 2 : 3;
    return (this.#views[slot] ??= this.#make(dtype));
  }

  #make(dtype: DType): TypedArray {
    const { buffer, byteOffset } = this.bytes;
    const count = Math.floor(this.capacity / bytesPerElement(dtype));
    switch (dtype) {
      case "float32":
        return new Float32Array(buffer as ArrayBuffer, byteOffset, count);
      case "float64":
        return new Float64Array(buffer as ArrayBuffer, byteOffset, count);
      case "int32":
        return new Int32Array(buffer as ArrayBuffer, byteOffset, count);
      default:
        return this.bytes as Uint8Array<ArrayBuffer>;
    }
  }
}

const minimumBytes = 64;

/** Sizes are rounded up to eight classes per power of two: at most 12.5 % over, and few enough lists to be reused. */
export function sizeClass(bytes: number): number {
  if (bytes <= minimumBytes) return minimumBytes;
  if (bytes <= 8 * minimumBytes) return Math.ceil(bytes / minimumBytes) * minimumBytes;
  if (bytes <= 2 ** 30) {
    const step = 1 << (28 - Math.clz32(bytes - 1)); // an eighth of the power of two below
    return (bytes + step - 1) & -step;
  }
  const step = 2 ** (Math.floor(Math.log2(bytes - 1)) - 3);
  return Math.ceil(bytes / step) * step;
}
