import { operandWritten } from "../../backend/operands.js";
import type { KernelCall } from "../../backend/recorder.js";
import {
  type Backend,
  backend,
  type Memory,
  placed,
  run,
  type Sequence,
  type SequenceCall,
  type SequenceOperand,
} from "../../backend/run.js";
import { bytesPerElement } from "../../core/dtype.js";
import { IndexError } from "../../core/errors.js";
import { Storage } from "../../core/storage.js";
import type { Tensor } from "../../core/tensor.js";

/**
 * Kernel calls that are run again and again with other inputs. All results in between share one block of memory (the
 * arena), each at a place that is free while it is needed; the block comes from the pool for each run and goes back.
 */

const alignment = 64;

/** @internal */
export class Plan {
  /** Their operands lie in the inputs, in the outputs, in the arena (memories in this order), or stay where they are. */
  readonly calls: readonly SequenceCall[];
  /** Bytes of all results in between, and what they would take side by side. */
  readonly arenaBytes: number;
  readonly separateBytes: number;
  readonly #results: readonly SequenceOperand[];
  readonly #inputs: number;
  readonly #outputs: readonly Storage[];
  /** The backend of the last run, and its sequence from the second run on. */
  #backend: Backend | null = null;
  #sequence: Sequence | null = null;

  /** `inputs` and `results` are the recording's tensors; runs take and give others in their places. */
  constructor(calls: readonly KernelCall[], inputs: readonly Tensor[], results: readonly Tensor[]) {
    const inputAt = new Map(inputs.map((t, i) => [t.storage, i]));
    this.#outputs = [...new Set(results.map((t) => t.storage))].filter((s) => s.valueless && !inputAt.has(s));
    const outputAt = new Map(this.#outputs.map((s, i) => [s, i]));
    const shared = lifetimes(calls).filter(({ storage }) => !inputAt.has(storage) && !outputAt.has(storage));
    const { bytes, places } = layOut(shared);
    this.arenaBytes = bytes;
    this.separateBytes = shared.reduce((sum, { storage }) => sum + storage.imaginedBytes, 0);
    this.#inputs = inputs.length;
    const operand = (tensor: Tensor): SequenceOperand => {
      const { storage } = tensor;
      const input = inputAt.get(storage);
      const output = outputAt.get(storage);
      const byte = places.get(storage);
      if (input !== undefined) return { tensor, place: { memory: input, byte: 0 } };
      if (output !== undefined) return { tensor, place: { memory: inputs.length + output, byte: 0 } };
      if (byte !== undefined) return { tensor, place: { memory: inputs.length + outputAt.size, byte } };
      return { tensor, place: null };
    };
    this.calls = calls.map((call) => ({
      ...call,
      operands: call.operands.map((t) => (t === null ? null : operand(t))),
    }));
    this.#results = results.map(operand);
  }

  /** Whether a result shows an input's memory. */
  get returnsInput(): boolean {
    return this.#results.some(({ place }) => place !== null && place.memory < this.#inputs);
  }

  /** Computes the results from contiguous inputs of the recorded shapes. */
  run(inputs: readonly Tensor[]): Tensor[] {
    const outputs = this.#outputs.map((storage) => new Storage(storage.imaginedBytes));
    const arena = new Storage(this.arenaBytes);
    const memories: Memory[] = inputs.map((t) => ({ storage: t.storage, byte: t.offset * bytesPerElement(t.dtype) }));
    for (const storage of outputs) memories.push({ storage, byte: 0 });
    memories.push({ storage: arena, byte: 0 });
    try {
      this.#run(memories);
    } catch (error) {
      for (const storage of outputs) storage.dispose();
      throw error;
    } finally {
      arena.dispose();
    }
    const results = this.#results.map((operand) => placed(operand, memories));
    for (const t of results) t.storage.label(t.shape, t.dtype);
    return results;
  }

  /** By the backend's sequence, if it has such, from the second run on: a first one may stay the only one. */
  #run(memories: readonly Memory[]): void {
    if (this.#backend !== backend()) {
      this.#backend = backend();
      this.#sequence = null;
    } else {
      this.#sequence ??= this.#backend.sequence?.(this.calls) ?? null;
    }
    const done = this.#sequence?.run(memories) ?? null;
    if (done !== null) {
      checkPositions(this.calls[done.record]?.kernel, done.status);
      return;
    }
    for (const { kernel, dtype, sizes, operands } of this.calls) {
      const tensors = operands.map((operand) => (operand === null ? null : placed(operand, memories)));
      checkPositions(kernel, run(kernel, dtype, sizes, tensors));
    }
  }
}

function checkPositions(kernel: string | undefined, status: number): void {
  if (status > 0) throw new IndexError(`${kernel}: the index or class at position ${status - 1} is out of range`);
}

interface Lifetime {
  readonly storage: Storage;
  readonly first: number;
  last: number;
}

/** From the first call that writes to the last that uses it, for all memory that the calls fill. */
function lifetimes(calls: readonly KernelCall[]): Lifetime[] {
  const found = new Map<Storage, Lifetime>();
  calls.forEach(({ kernel, operands }, at) => {
    operands.forEach((t, i) => {
      if (t === null || !t.storage.valueless) return;
      const lifetime = found.get(t.storage);
      if (lifetime !== undefined) lifetime.last = at;
      else if (operandWritten(kernel, i)) found.set(t.storage, { storage: t.storage, first: at, last: at });
    });
  });
  return [...found.values()];
}

/** Gives each storage a place, the largest first: the lowest that is free during its life. */
function layOut(lifetimes: readonly Lifetime[]): { bytes: number; places: Map<Storage, number> } {
  const placed: { lifetime: Lifetime; start: number; end: number }[] = []; // by start
  const places = new Map<Storage, number>();
  let bytes = 0;
  const bySize = [...lifetimes].sort((a, b) => b.storage.imaginedBytes - a.storage.imaginedBytes || a.first - b.first);
  for (const lifetime of bySize) {
    const size = Math.ceil(lifetime.storage.imaginedBytes / alignment) * alignment;
    let start = 0;
    for (const other of placed) {
      if (other.lifetime.last < lifetime.first || other.lifetime.first > lifetime.last) continue;
      if (start + size <= other.start) break;
      start = Math.max(start, other.end);
    }
    const at = placed.findIndex((other) => other.start > start);
    placed.splice(at < 0 ? placed.length : at, 0, { lifetime, start, end: start + size });
    places.set(lifetime.storage, start);
    bytes = Math.max(bytes, start + size);
  }
  return { bytes, places };
}
