import type { DType } from "../core/dtype.js";
import type { Tensor } from "../core/tensor.js";
import { type KernelName, status } from "./abi.js";
import { operandWritten } from "./operands.js";
import type { Backend } from "./run.js";

/** A kernel call as data. */
export interface KernelCall {
  readonly kernel: KernelName;
  readonly dtype: DType;
  /** In the order of abi.ts. */
  readonly sizes: readonly number[];
  readonly operands: readonly (Tensor | null)[];
}

/**
 * Notes kernel calls without running them, to be changed and run with other operands (lib/nn/inference); to be used over
 * imagined memory (lib/core/storage.ts).
 */
export class Recorder implements Backend {
  readonly name: Backend["name"];
  readonly calls: KernelCall[] = [];

  constructor(name: Backend["name"]) {
    this.name = name;
  }

  run(kernel: KernelName, dtype: DType, sizes: readonly number[], operands: readonly (Tensor | null)[]): number {
    operands.forEach((t, i) => {
      // Memory from before the recording keeps its values: such a call is for the reader of `calls` to refuse.
      if (t !== null && operandWritten(kernel, i) && t.storage.imagined) t.storage.valueless = true;
    });
    this.calls.push({ kernel, dtype, sizes: [...sizes], operands: [...operands] });
    return status.ok;
  }
}
