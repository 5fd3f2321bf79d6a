import type { DType } from "../core/dtype.js";
import { IndexError } from "../core/errors.js";
import { type Block, unpin } from "../core/memory.js";
import type { Tensor } from "../core/tensor.js";
import { type KernelName, status } from "./abi.js";
import type { NativeBackend } from "./native.js";
import { operandWritten } from "./operands.js";
import { type Backend, noWorkingSpace } from "./run.js";
import { giveTape, roomFor, takeTape } from "./tape.js";

/** In the place of a program's status: it has not run. */
const takenBack = -1;
let nextTicket = 0;

/**
 * Kernel calls recorded instead of run, to be run later off the event loop, in order, by one native call.
 *
 * Ops need no change for that: they only pass calls on. While a program is in flight its blocks are pinned: they do not
 * return to the pool, nothing outside may write them, and what it writes cannot be read before it is done.
 */
export class Program implements Backend {
  readonly name = "native";
  readonly #native: NativeBackend;
  #tape: Float64Array;
  #length = 0;
  readonly #kernels: KernelName[] = [];
  readonly #pinned: Block[] = [];
  readonly #written: Block[] = [];
  readonly #ticket = nextTicket++;

  constructor(native: NativeBackend) {
    this.#native = native;
    this.#tape = takeTape();
  }

  /** Records a call; its status is known when the program has run. */
  run(kernel: KernelName, dtype: DType, sizes: readonly number[], operands: readonly (Tensor | null)[]): number {
    const kept = this.#native.kept(kernel, dtype, sizes, operands);
    const start = this.#length;
    this.#tape = roomFor(this.#tape, start + 1);
    this.#length = this.#native.encode(this.#tape, start + 1, kernel, dtype, sizes, operands, kept);
    this.#tape[start] = this.#length - start - 1;
    this.#kernels.push(kernel);
    if (kept !== null) this.#pin(kept);
    for (let i = 0; i < operands.length; i++) {
      const t = operands[i];
      if (!t) continue;
      const { block } = t.storage;
      this.#pin(block);
      if (!operandWritten(kernel, i) || block.writtenBy === this.#ticket) continue;
      block.writtenBy = this.#ticket;
      this.#written.push(block);
      block.writers++;
    }
    return status.ok;
  }

  #pin(block: Block): void {
    if (block.pinnedBy === this.#ticket) return;
    block.pinnedBy = this.#ticket;
    this.#pinned.push(block);
    block.pins++;
  }

  /**
   * Runs the recorded calls on a thread of their own, after the programs before; rejects with the first that fails, or
   * with the signal's reason if it comes before the first has begun.
   */
  async execute(signal?: AbortSignal): Promise<void> {
    const { addon } = this.#native;
    const takeBack = (): void => void addon.takeBack(this.#ticket);
    try {
      await null; // whoever made this call may think better of it before it lets go of the thread
      signal?.throwIfAborted();
      const done = addon.runProgram(this.#tape.subarray(0, this.#length), this.#ticket);
      giveTape(this.#tape);
      signal?.addEventListener("abort", takeBack, { once: true });
      const { status: result, record } = await done;
      if (result === status.ok) return;
      if (result === takenBack) throw signal?.reason;
      const kernel = this.#kernels[record]!;
      if (result === status.outOfMemory) throw noWorkingSpace(kernel);
      throw new IndexError(
        `${kernel} (call ${record} of ${this.#kernels.length} that ran off the event loop): the index or class at position ${result - 1} is out of range`,
      );
    } finally {
      signal?.removeEventListener("abort", takeBack);
      this.discard();
    }
  }

  /** Takes the pins off; done by `execute`, and to be called for a program that is not run. */
  discard(): void {
    for (const block of this.#written) block.writers--;
    for (const block of this.#pinned) unpin(block);
    this.#written.length = 0;
    this.#pinned.length = 0;
  }
}
