import { bytesPerElement, type DType } from "../core/dtype.js";
import { BackendError, MemoryLimitError } from "../core/errors.js";
import { giveBack } from "../core/memory.js";
import type { Storage } from "../core/storage.js";
import { Tensor } from "../core/tensor.js";
import { type KernelName, status } from "./abi.js";

/**
 * The only door between TypeScript and numbers: a kernel's name, the call's element type, its sizes in the order of
 * abi.ts, and its operands (contiguous from their offset on, or strided as the sizes say; null if not given).
 */
export interface Backend {
  readonly name: "native" | "reference";
  /** Returns a status: 0, or 1 + the flat position of the first index that is out of range. */
  run(kernel: KernelName, dtype: DType, sizes: readonly number[], operands: readonly (Tensor | null)[]): number;
  /** Calls are only recorded: remembers what is to be done if they come to nothing. */
  onFailure?(undo: () => void): void;
  /** Calls are only recorded: remembers what the error is to be if the last one reports something. */
  onReport?(why: (report: number) => Error): void;
  /** Calls made ready to be run again and again, where that saves something. */
  sequence?(calls: readonly SequenceCall[]): Sequence;
}

/** Memory that a run of a sequence brings: a storage from a byte on. */
export interface Memory {
  readonly storage: Storage;
  readonly byte: number;
}

/** An operand of a call in a sequence. */
export interface SequenceOperand {
  readonly tensor: Tensor;
  /** Which of the memories that a run brings it lies in, and where it begins there; null: it stays where the tensor is. */
  readonly place: { readonly memory: number; readonly byte: number } | null;
}

/** An operand where it lies in a run. */
export function placed({ tensor: t, place }: SequenceOperand, memories: readonly Memory[]): Tensor {
  if (place === null) return t;
  const { storage, byte } = memories[place.memory]!;
  return new Tensor(t.dtype, t.shape, t.strides, t.offset + (byte + place.byte) / bytesPerElement(t.dtype), storage);
}

/** A kernel call whose operands may lie elsewhere in every run. */
export interface SequenceCall {
  readonly kernel: KernelName;
  readonly dtype: DType;
  /** In the order of abi.ts. */
  readonly sizes: readonly number[];
  readonly operands: readonly (SequenceOperand | null)[];
}

/** Calls that are made ready once, to be run again and again with other memories. */
export interface Sequence {
  /**
   * Runs the calls in order, up to the first whose status is not ok: that and its position. null if nothing was run:
   * single calls then find out what is in the way.
   */
  run(memories: readonly Memory[]): { readonly status: number; readonly record: number } | null;
}

let active: Backend | null = null;
let load: () => Backend = () => {
  throw new BackendError("no backend was loaded");
};

/** Installs how the first kernel call finds its backend (load.ts). */
export function setLoader(loader: () => Backend): void {
  load = loader;
}

export function useBackend(backend: Backend): void {
  active = backend;
}

/** Runs a synchronous section with another backend: calls are recorded instead of run. @internal */
export function withBackend<T>(given: Backend, section: () => T): T {
  const before = backend();
  active = given;
  try {
    return section();
  } finally {
    active = before;
  }
}

/** The backend that computes, loaded when first needed. */
export function backend(): Backend {
  active ??= load();
  return active;
}

/**
 * Where calls are only recorded: `undo` is run if they come to nothing, for what the section changed besides memory.
 * @internal
 */
export function onFailure(undo: () => () => void): void {
  active?.onFailure?.(undo());
}

/** Where calls are only recorded: what the report of the last one becomes. @internal */
export function onReport(why: (report: number) => Error): void {
  active?.onReport?.(why);
}

/** @internal What the addon throws: nothing was computed, as it checks every length again before it calls a kernel. */
export function refused(error: unknown): BackendError {
  return new BackendError((error as Error).message, { cause: error });
}

/** @internal What a kernel's status "out of memory" becomes; the next call finds what could be given back. */
export function noWorkingSpace(kernel: KernelName): MemoryLimitError {
  giveBack();
  return new MemoryLimitError(
    `${kernel}: the system has no more memory for the kernel's working space; use a smaller batch`,
  );
}

/** Runs a kernel; returns 0 or 1 + the position of a bad index, which the op turns into its own message. */
export function run(
  kernel: KernelName,
  dtype: DType,
  sizes: readonly number[],
  operands: readonly (Tensor | null)[],
): number {
  const result = (active ?? backend()).run(kernel, dtype, sizes, operands);
  if (result === status.outOfMemory) {
    throw noWorkingSpace(kernel);
  }
  return result;
}
