import { getHeapStatistics } from "node:v8";
import { type DType, bytesPerElement, typeCode } from "../core/dtype.js";
import { BackendError, MemoryLimitError } from "../core/errors.js";
import type { Block } from "../core/block.js";
import { giveBack, type MemoryHooks } from "../core/memory.js";
import { checkValues } from "../core/storage.js";
import type { Tensor } from "../core/tensor.js";
import { codes, type KernelName, kernelNames, kernels, sizesFields, status } from "./abi.js";
import { keptOf } from "./kept.js";
import { checkBusy } from "./operands.js";
import { type Backend, refused, type Sequence, type SequenceCall } from "./run.js";
import { NativeSequence } from "./sequence.js";
import { callLength, type Tape } from "./tape.js";

/** What the addon exports (native/addon). Only this file knows it. */
export interface Addon {
  attach(calls: Float64Array): void;
  run(): number;
  keeps(): number;
  runProgram(program: Float64Array, ticket: number, needs?: Float64Array): Promise<ProgramResult>;
  runProgramSync(program: Float64Array): ProgramResult;
  takeBack(ticket: number): boolean;
  registerBlock(id: number, bytes: Uint8Array, looks?: boolean): void;
  unregisterBlock(id: number): void;
  misalignment(bytes: Uint8Array): number;
  watch(id: number, owner: object): void;
  unwatch(id: number): void;
  sweep(out: Int32Array): number;
  trim(): void;
  roomFor(bytes: number, host?: boolean): boolean;
  describe(): string;
  targets(): string[];
  target(): string;
  setTarget(name: string): void;
  setThreads(count: number): void;
  threads(): number;
  availableThreads(): number;
  standAside(on: boolean): void;
  setPrecision(mode: number): void;
  setTrace(on: boolean): void;
}

/** 0 and -1, or the first status that is not ok and the position of its record; -1 too for programs that were not run. */
export interface ProgramResult {
  readonly status: number;
  readonly record: number;
}

const kernelNumber = Object.fromEntries(kernelNames.map((name, i) => [name, i])) as Record<KernelName, number>;

/** The native backend: a call is written as numbers into a buffer that the addon reads, and costs one empty native call. */
export class NativeBackend implements Backend {
  readonly name = "native";
  readonly addon: Addon;
  readonly #calls = new Float64Array(new SharedArrayBuffer(8 * callLength)); // which nobody can detach
  /** How many operands of the call written last are in use by programs in flight. */
  #busy = 0;

  constructor(addon: Addon) {
    checkDescription(addon.describe());
    this.addon = addon;
    addon.attach(this.#calls);
  }

  run(kernel: KernelName, dtype: DType, sizes: readonly number[], operands: readonly (Tensor | null)[]): number {
    const kept = this.kept(kernel, dtype, sizes, operands);
    this.encode(this.#calls, 0, kernel, dtype, sizes, operands, kept);
    if (this.#busy > 0) checkBusy(kernel, operands);
    const result = this.#run();
    if (result !== status.outOfMemory) return result;
    // Memory that waits in the pool may be what the kernel's working space lacks. Trying again is safe: kernels out of
    // memory have left what they read as it was, as none is asked here to add to what it writes.
    giveBack();
    this.encode(this.#calls, 0, kernel, dtype, sizes, operands, null);
    return this.#run();
  }

  #run(): number {
    try {
      return this.addon.run();
    } catch (error) {
      throw refused(error);
    }
  }

  sequence(calls: readonly SequenceCall[]): Sequence {
    return new NativeSequence(this, calls);
  }

  /** Memory in which a call keeps what it makes of its weights, for later calls with the same. */
  kept(kernel: KernelName, dtype: DType, sizes: readonly number[], operands: readonly (Tensor | null)[]): Block | null {
    if (kernel !== "conv") return null;
    return keptOf(operands[1]!, dtype, sizes, () => {
      this.encode(this.#calls, 0, kernel, dtype, sizes, operands, null);
      return this.addon.keeps();
    });
  }

  /** Writes a call behind what is on the tape, after how many numbers it has (native/addon/record.h). */
  append(
    tape: Tape,
    kernel: KernelName,
    dtype: DType,
    sizes: readonly number[],
    operands: readonly (Tensor | null)[],
    kept: Block | null,
  ): void {
    tape.makeRoom();
    const start = tape.length;
    tape.length = this.encode(tape.numbers, start + 1, kernel, dtype, sizes, operands, kept);
    tape.numbers[start] = tape.length - start - 1;
  }

  /** Writes a call as numbers from `to[at]` on; returns where they end. */
  encode(
    to: Float64Array,
    at: number,
    kernel: KernelName,
    dtype: DType,
    sizes: readonly number[],
    operands: readonly (Tensor | null)[],
    kept: Block | null,
  ): number {
    let busy = 0;
    to[at++] = kernelNumber[kernel];
    to[at++] = typeCode(dtype);
    to[at++] = sizes.length;
    to[at++] = operands.length + (kept === null ? 0 : 1);
    for (let i = 0; i < sizes.length; i++) to[at++] = sizes[i]!;
    for (let i = 0; i < operands.length; i++) {
      const t = operands[i];
      if (t) {
        const { block } = t.storage;
        if (block.pins > 0) busy++;
        if (block.detached || block.lost !== null) checkValues(block, `${kernel}: `);
        to[at++] = block.id;
        // A view without elements may begin behind the end of its memory.
        const offset = t.offset * bytesPerElement(t.dtype);
        to[at++] = offset <= block.capacity ? offset : 0;
      } else {
        to[at++] = -1;
        to[at++] = 0;
      }
    }
    if (kept !== null) {
      checkValues(kept, `${kernel}: `);
      to[at++] = kept.id;
      to[at++] = 0;
    }
    this.#busy = busy;
    return at;
  }

  /** What the memory pool needs of the addon. */
  hooks(collect: MemoryHooks["collect"] | undefined): MemoryHooks {
    const addon = this.addon;
    // What is missing there is memory for the addon's own lists, while very many small tensors are held.
    const roomy = (call: () => void): void => {
      try {
        call();
      } catch (error) {
        throw new MemoryLimitError(`a tensor: ${(error as Error).message}; drop tensors you keep`, { cause: error });
      }
    };
    return {
      register: (id, bytes) => roomy(() => addon.registerBlock(id, bytes, true)), // encode() and Program look
      unregister: (id) => addon.unregisterBlock(id),
      misalignment: (bytes) => addon.misalignment(bytes),
      watch: (id, owner) => roomy(() => addon.watch(id, owner)),
      unwatch: (id) => addon.unwatch(id),
      sweep: (out) => addon.sweep(out),
      trim: () => addon.trim(),
      roomFor: (bytes, host) => addon.roomFor(bytes, host),
      heapBytes: () => getHeapStatistics().used_heap_size,
      ...(collect === undefined ? {} : { collect }),
    };
  }
}

interface Description {
  kernels: Record<string, readonly [sizes: string, types: string, operands: string[]]>;
  sizes: Record<string, string[]>;
  codes: Record<string, string[]>;
}

/** Refuses an addon that was built from another contract than abi.ts, naming the first difference. */
function checkDescription(json: string): void {
  const built = JSON.parse(json) as Description;
  const differ = (what: string, ours: unknown, theirs: unknown): void => {
    if (JSON.stringify(ours) !== JSON.stringify(theirs)) {
      throw new BackendError(
        `the addon was built from another version of the kernel contract (${what}: here ${JSON.stringify(ours)}, there ` +
          `${JSON.stringify(theirs)}); build it again with npm run build:native`,
      );
    }
  };
  differ("kernels", kernelNames, Object.keys(built.kernels));
  for (const [name, kernel] of Object.entries(kernels)) differ(`kernel ${name}`, kernel, built.kernels[name]);
  for (const [name, fields] of Object.entries(sizesFields)) differ(name, fields, built.sizes[name]);
  for (const [name, list] of Object.entries(codes)) differ(name, list, built.codes[name]);
}
