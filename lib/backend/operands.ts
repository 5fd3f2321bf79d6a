import { BackendError } from "../core/errors.js";
import type { Tensor } from "../core/tensor.js";
import { type KernelName, kernelNames, kernels } from "./abi.js";

/** Which operands a kernel writes, and which calls that forbids while a program is in flight. */

/** Optional operands that the optimisers' kernels read and write. */
const inOut = new Set(["momentum_buffer?", "v_max?", "grad_avg?"]);

/** By kernel: which operands it writes (optional ones that it updates count). */
const writes = Object.fromEntries(
  kernelNames.map((name) => [name, kernels[name][2].map((o) => /^[>=]/.test(o) || inOut.has(o))]),
) as Record<KernelName, boolean[]>;

/** Whether a kernel writes its operand `i`. @internal */
export function operandWritten(kernel: KernelName, i: number): boolean {
  return writes[kernel][i] === true;
}

/** Refuses calls from outside that would touch what a program in flight computes, or change what it reads. @internal */
export function checkBusy(kernel: KernelName, operands: readonly (Tensor | null)[]): void {
  operands.forEach((t, i) => {
    if (t === null || t.storage.block.pins === 0) return;
    const { block } = t.storage;
    if (block.writers > 0 || operandWritten(kernel, i)) {
      throw new BackendError(
        `${kernel}: operand ${kernels[kernel][2][i]!.replace(/^[>=]|\?$/g, "")} is in use by an asynchronous call; await that call first`,
      );
    }
  });
}
