import { whenAborted } from "../core/abort.js";
import type { DType } from "../core/dtype.js";
import { BackendError, IndexError } from "../core/errors.js";
import type { Block } from "../core/block.js";
import { lastTaken, unpin } from "../core/memory.js";
import { checkValues } from "../core/storage.js";
import type { Tensor } from "../core/tensor.js";
import { type KernelName, status } from "./abi.js";
import type { NativeBackend } from "./native.js";
import { operandWritten } from "./operands.js";
import { type Backend, noWorkingSpace } from "./run.js";
import { giveTape, type Tape, takeTape } from "./tape.js";

/** In the place of a program's status: it has not run, as it was taken back. */
const takenBack = -2;
let nextTicket = 0;
/** Programs that wait or compute. */
const inFlight = new Set<Program>();

const comeToNothing = "the asynchronous call that was to compute them failed, or was taken back before it began";

/**
 * Kernel calls recorded instead of run, to be run later off the event loop, in order, by one native call.
 *
 * Ops need no change for that: they only pass calls on. While a program is in flight its blocks are pinned: they do not
 * return to the pool, nothing outside may write them, and what it writes cannot be read before it is done.
 *
 * If it comes to nothing (a call fails, the section is taken back), the memory that it took has no values, which everybody
 * who uses it is told. Programs that use it and were recorded meanwhile are not run at all, so that nothing which was
 * there before is changed by values that never were; what was there before is as the last call that ran left it.
 */
export class Program implements Backend {
  readonly name = "native";
  readonly #native: NativeBackend;
  readonly #tape: Tape;
  readonly #kernels: KernelName[] = [];
  readonly #pinned: Block[] = [];
  readonly #written: Block[] = [];
  /** The programs in flight that make memory which this one uses, by ticket. */
  readonly #needs = new Set<number>();
  readonly #ticket = nextTicket++;
  readonly #undo: (() => void)[] = [];
  /** What the report of a call is to become, by its position. */
  readonly #reasons = new Map<number, (report: number) => Error>();
  /** Blocks taken since then are its own. */
  readonly #start = lastTaken();

  constructor(native: NativeBackend) {
    this.#native = native;
    this.#tape = takeTape();
  }

  /** Records a call; its status is known when the program has run. */
  run(kernel: KernelName, dtype: DType, sizes: readonly number[], operands: readonly (Tensor | null)[]): number {
    const kept = this.#native.kept(kernel, dtype, sizes, operands);
    this.#native.append(this.#tape, kernel, dtype, sizes, operands, kept);
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
      if (block.taken > this.#start) block.madeBy = this.#ticket;
    }
    return status.ok;
  }

  #pin(block: Block): void {
    if (block.pinnedBy === this.#ticket) return;
    block.pinnedBy = this.#ticket;
    this.#pinned.push(block);
    block.pins++;
    if (block.madeBy !== -1) this.#needs.add(block.madeBy);
  }

  onFailure(undo: () => void): void {
    this.#undo.push(undo);
  }

  onReport(why: (report: number) => Error): void {
    this.#reasons.set(this.#kernels.length - 1, why);
  }

  /**
   * Runs the recorded calls on a thread of their own, after the programs before; rejects with the first that fails, or
   * with the signal's reason if it comes before the first has begun.
   */
  async execute(signal?: AbortSignal): Promise<void> {
    const { addon } = this.#native;
    let forget = (): void => {};
    const takeBack = (): void => {
      if (addon.takeBack(this.#ticket)) this.#lose();
    };
    try {
      await null; // whoever made this call may think better of it before it lets go of the thread
      signal?.throwIfAborted();
      this.#checkOperands();
      inFlight.add(this);
      const done = addon.runProgram(this.#tape.written(), this.#ticket, this.#ticketsNeeded());
      giveTape(this.#tape);
      if (signal !== undefined) forget = whenAborted(signal, takeBack);
      const { status: result, record } = await done;
      if (result === takenBack && signal?.aborted === true) throw signal.reason;
      this.#checkOperands(); // what it was to read may have come to nothing meanwhile; then it has not run
      if (result !== status.ok) throw this.#failure(result, record);
      this.#letGo();
    } catch (error) {
      this.discard();
      throw error;
    } finally {
      inFlight.delete(this);
      forget();
    }
  }

  #ticketsNeeded(): Float64Array | undefined {
    return this.#needs.size === 0 ? undefined : Float64Array.from(this.#needs);
  }

  #failure(result: number, record: number): Error {
    if (record < 0) return new BackendError(`an asynchronous call was not run: ${comeToNothing}`);
    const kernel = this.#kernels[record]!;
    if (result === status.outOfMemory) return noWorkingSpace(kernel);
    const why = this.#reasons.get(record);
    if (why !== undefined) return why(result);
    return new IndexError(
      `${kernel} (call ${record} of ${this.#kernels.length} that ran off the event loop): the index or class at position ${result - 1} is out of range`,
    );
  }

  #checkOperands(): void {
    for (const block of this.#pinned) checkValues(block, "an asynchronous call: ");
  }

  /** What it is never going to write has no values, nor has what later programs make of that: they are taken back. */
  #lose(): void {
    for (const block of this.#written) if (block.taken > this.#start) block.lost = comeToNothing;
    for (const program of inFlight) {
      if (program.#ticket <= this.#ticket || !program.#pinned.some((block) => block.lost !== null)) continue;
      if (this.#native.addon.takeBack(program.#ticket)) program.#lose();
    }
  }

  /** To be called for a program that is not run. */
  discard(): void {
    this.#lose();
    for (const undo of this.#undo.splice(0).reverse()) undo();
    this.#letGo();
  }

  /** Takes the pins off. */
  #letGo(): void {
    for (const block of this.#written) {
      block.writers--;
      if (block.madeBy === this.#ticket) block.madeBy = -1;
    }
    for (const block of this.#pinned) unpin(block);
    this.#written.length = 0;
    this.#pinned.length = 0;
  }
}
