import type { DType } from "../core/dtype.js";
import { IndexError } from "../core/errors.js";
import { type Block, unpin } from "../core/memory.js";
import type { Tensor } from "../core/tensor.js";
import { type KernelName, status } from "./abi.js";
import type { NativeBackend } from "./native.js";
import { operandWritten } from "./operands.js";
import { type Backend, noWorkingSpace } from "./run.js";

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
  readonly #numbers: number[] = [];
  readonly #kernels: KernelName[] = [];
  readonly #pinned: Set<Block> = new Set();
  readonly #written: Set<Block> = new Set();

  constructor(native: NativeBackend) {
    this.#native = native;
  }

  /** Records a call; its status is known when the program has run. */
  run(kernel: KernelName, dtype: DType, sizes: readonly number[], operands: readonly (Tensor | null)[]): number {
    const start = this.#numbers.length;
    this.#numbers.push(0);
    const kept = this.#native.kept(kernel, dtype, sizes, operands);
    this.#native.encode(this.#numbers, kernel, dtype, sizes, operands, kept);
    if (kept !== null) this.#pin(kept);
    this.#numbers[start] = this.#numbers.length - start - 1;
    this.#kernels.push(kernel);
    operands.forEach((t, i) => {
      if (t === null) return;
      const { block } = t.storage;
      this.#pin(block);
      if (operandWritten(kernel, i) && !this.#written.has(block)) {
        this.#written.add(block);
        block.writers++;
      }
    });
    return status.ok;
  }

  #pin(block: Block): void {
    if (this.#pinned.has(block)) return;
    this.#pinned.add(block);
    block.pins++;
  }

  /**
   * Runs the recorded calls on a thread of their own, after the programs before; rejects with the first that fails, or
   * with the signal's reason if it comes before the first has begun.
   */
  async execute(signal?: AbortSignal): Promise<void> {
    const { addon } = this.#native;
    const ticket = nextTicket++;
    const takeBack = (): void => void addon.takeBack(ticket);
    try {
      signal?.throwIfAborted();
      const done = addon.runProgram(Float64Array.from(this.#numbers), ticket);
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
    this.#written.clear();
    this.#pinned.clear();
  }
}
