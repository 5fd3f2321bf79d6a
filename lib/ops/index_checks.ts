import { DTypeError, IndexError } from "../core/errors.js";
import { format } from "../core/shape.js";
import { named, type Tensor } from "../core/tensor.js";
import { checkTensor, contiguous } from "./kernel.js";
import { cast } from "./view.js";

/** What the ops that take index tensors share. */

/** @internal */
export interface AlongDim {
  readonly dim: number;
  /** What errors name, where another function than the op's own was called. */
  readonly call?: string;
}

/** @internal The message for the kernel's report of an index out of range. */
export function checkIndexReport(call: string, report: number, index: Tensor, size: number): void {
  if (report === 0) return;
  const flat = contiguous(index);
  let rest = report - 1;
  const value = flat.storage.array(flat.dtype)[flat.offset + rest]!;
  const at: number[] = [];
  for (let d = index.rank - 1; d >= 0; d--) {
    at.unshift(rest % index.shape[d]!);
    rest = Math.floor(rest / index.shape[d]!);
  }
  throw new IndexError(`${call}: index ${value} at ${format(at)} is out of range for a dimension of size ${size}`);
}

/** @internal An index tensor as the kernels read it. */
export function checkIndex(call: string, index: unknown, argument = "index"): Tensor<"int32"> {
  checkTensor(call, argument, index);
  if (index.dtype === "int32") return index as Tensor<"int32">;
  if (index.dtype === "uint8") return cast(index, "int32");
  throw new DTypeError(`${call}: ${named(argument, index)} must be int32; convert it with .to("int32")`);
}
