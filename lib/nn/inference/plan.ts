import { operandWritten } from "../../backend/operands.js";
import type { KernelCall } from "../../backend/recorder.js";
import { run } from "../../backend/run.js";
import { bytesPerElement } from "../../core/dtype.js";
import { IndexError } from "../../core/errors.js";
import { Storage } from "../../core/storage.js";
import { Tensor } from "../../core/tensor.js";

/**
 * Kernel calls that are run again and again with other inputs. All results in between share one block of memory (the
 * arena), each at a place that is free while it is needed; the block comes from the pool for each run and goes back.
 */

/** Where an operand's memory is. */
type Place =
  | { readonly kind: "constant" }
  | { readonly kind: "input" | "output"; readonly index: number }
  | { readonly kind: "arena"; readonly byte: number };

interface Operand {
  readonly tensor: Tensor;
  readonly place: Place;
}

interface PlannedCall extends Omit<KernelCall, "operands"> {
  readonly operands: readonly (Operand | null)[];
}

const alignment = 64;

/** @internal */
export class Plan {
  readonly calls: readonly PlannedCall[];
  /** Bytes of all results in between, and what they would take side by side. */
  readonly arenaBytes: number;
  readonly separateBytes: number;
  readonly #results: readonly Operand[];
  readonly #outputs: readonly Storage[];

  /** `inputs` and `results` are the recording's tensors; runs take and give others in their places. */
  constructor(calls: readonly KernelCall[], inputs: readonly Tensor[], results: readonly Tensor[]) {
    const inputAt = new Map(inputs.map((t, i) => [t.storage, i]));
    this.#outputs = [...new Set(results.map((t) => t.storage))].filter((s) => s.valueless && !inputAt.has(s));
    const outputAt = new Map(this.#outputs.map((s, i) => [s, i]));
    const shared = lifetimes(calls).filter(({ storage }) => !inputAt.has(storage) && !outputAt.has(storage));
    const { bytes, places } = layOut(shared);
    this.arenaBytes = bytes;
    this.separateBytes = shared.reduce((sum, { storage }) => sum + storage.imaginedBytes, 0);
    const operand = (tensor: Tensor): Operand => {
      const { storage } = tensor;
      const input = inputAt.get(storage);
      const output = outputAt.get(storage);
      const byte = places.get(storage);
      if (input !== undefined) return { tensor, place: { kind: "input", index: input } };
      if (output !== undefined) return { tensor, place: { kind: "output", index: output } };
      if (byte !== undefined) return { tensor, place: { kind: "arena", byte } };
      return { tensor, place: { kind: "constant" } };
    };
    this.calls = calls.map((call) => ({
      ...call,
      operands: call.operands.map((t) => (t === null ? null : operand(t))),
    }));
    this.#results = results.map(operand);
  }

  /** Whether a result shows an input's memory. */
  get returnsInput(): boolean {
    return this.#results.some(({ place }) => place.kind === "input");
  }

  /** Computes the results from contiguous inputs of the recorded shapes. */
  run(inputs: readonly Tensor[]): Tensor[] {
    const outputs = this.#outputs.map((storage) => new Storage(storage.imaginedBytes));
    const arena = new Storage(this.arenaBytes);
    const actual = ({ tensor, place }: Operand): Tensor => {
      switch (place.kind) {
        case "constant":
          return tensor;
        case "input": {
          const given = inputs[place.index]!;
          return moved(tensor, given.storage, given.offset);
        }
        case "output":
          return moved(tensor, outputs[place.index]!, 0);
        case "arena":
          return moved(tensor, arena, place.byte / bytesPerElement(tensor.dtype));
      }
    };
    try {
      for (const { kernel, dtype, sizes, operands } of this.calls) {
        const result = run(
          kernel,
          dtype,
          sizes,
          operands.map((operand) => (operand === null ? null : actual(operand))),
        );
        if (result > 0) throw new IndexError(`${kernel}: the index or class at position ${result - 1} is out of range`);
      }
    } catch (error) {
      for (const storage of outputs) storage.dispose();
      throw error;
    } finally {
      arena.dispose();
    }
    const results = this.#results.map(actual);
    for (const t of results) t.storage.label(t.shape, t.dtype);
    return results;
  }
}

/** The same window on other memory. */
function moved(t: Tensor, storage: Storage, offset: number): Tensor {
  return new Tensor(t.dtype, t.shape, t.strides, t.offset + offset, storage);
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
