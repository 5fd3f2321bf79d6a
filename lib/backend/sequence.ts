import { bytesPerElement } from "../core/dtype.js";
import type { Block } from "../core/block.js";
import type { Spare } from "../core/spare.js";
import type { Storage } from "../core/storage.js";
import { status } from "./abi.js";
import { KeptWeights } from "./kept.js";
import type { NativeBackend, ProgramResult } from "./native.js";
import { type Memory, noWorkingSpace, placed, refused, type Sequence, type SequenceCall } from "./run.js";
import { giveTape, takeTape } from "./tape.js";

/** An operand that every run finds elsewhere: where its block and its byte stand among the numbers. */
interface Moving {
  readonly at: number;
  readonly memory: number;
  readonly byte: number;
}

/** An operand that stays, and what was kept of it, as they were when they were written down. */
interface Staying {
  readonly storage: Storage;
  readonly block: number;
  readonly version: number;
  readonly spare: Spare | null;
  readonly drops: number;
}

/**
 * Calls written down once as the numbers that the addon reads (native/addon/record.h), and run by one native call: of the
 * 15 us that each of ResNet-50's 56 calls costs between two kernels, next to nothing is left.
 */
export class NativeSequence implements Sequence {
  readonly #native: NativeBackend;
  readonly #calls: readonly SequenceCall[];
  #numbers: Float64Array | null = null;
  #moving: Moving[] = [];
  #staying: Staying[] = [];

  constructor(native: NativeBackend, calls: readonly SequenceCall[]) {
    this.#native = native;
    this.#calls = calls;
  }

  run(memories: readonly Memory[]): ProgramResult | null {
    if (this.#numbers === null || this.#changed()) this.#numbers = this.#write(memories);
    const numbers = this.#numbers;
    // Making room for what is kept may have taken away what was kept before. What an asynchronous call uses is not touched.
    if (this.#changed() || this.#busy(memories)) return null;
    for (const { at, memory, byte } of this.#moving) {
      const brought = memories[memory]!;
      numbers[at] = brought.storage.block.id;
      numbers[at + 1] = brought.byte + byte;
    }
    const result = this.#runProgram(numbers);
    if (result.status === status.outOfMemory) throw noWorkingSpace(this.#calls[result.record]!.kernel);
    return result;
  }

  #runProgram(numbers: Float64Array): ProgramResult {
    try {
      return this.#native.addon.runProgramSync(numbers);
    } catch (error) {
      throw refused(error);
    }
  }

  #write(memories: readonly Memory[]): Float64Array {
    const tape = takeTape();
    this.#moving = [];
    this.#staying = [];
    for (const { kernel, dtype, sizes, operands } of this.#calls) {
      const tensors = operands.map((operand) => (operand === null ? null : placed(operand, memories)));
      // Nothing is kept of weights that runs bring; of others from the second time on that they are seen.
      const ask = () => (operands[1]?.place === null ? this.#native.kept(kernel, dtype, sizes, tensors) : null);
      const kept = ask() ?? ask();
      this.#native.append(tape, kernel, dtype, sizes, tensors, kept);
      const places = tape.length - 2 * (operands.length + (kept === null ? 0 : 1));
      operands.forEach((operand, i) => {
        if (operand === null) return;
        const { tensor, place } = operand;
        if (place !== null) {
          const byte = place.byte + tensor.offset * bytesPerElement(tensor.dtype);
          this.#moving.push({ at: places + 2 * i, memory: place.memory, byte });
          return;
        }
        const { storage } = tensor;
        const { block, version, spare } = storage;
        this.#staying.push({ storage, block: block.id, version, spare, drops: dropsOf(spare) });
      });
    }
    giveTape(tape);
    return tape.written().slice();
  }

  #changed(): boolean {
    for (const { storage, block, version, spare, drops } of this.#staying) {
      if (storage.block.id !== block || storage.version !== version) return true;
      if (storage.spare !== spare || dropsOf(spare) !== drops) return true;
    }
    return false;
  }

  #busy(memories: readonly Memory[]): boolean {
    for (const { storage } of memories) if (isBusy(storage.block)) return true;
    for (const { storage } of this.#staying) if (isBusy(storage.block)) return true;
    return false;
  }
}

/** Whether single calls have to look at a block: they say what is wrong with it. */
function isBusy(block: Block): boolean {
  return block.pins > 0 || block.detached || block.lost !== null;
}

function dropsOf(spare: Spare | null): number {
  return spare instanceof KeptWeights ? spare.drops : 0;
}
