import { isSharedArrayBuffer } from "node:util/types";
import { bytesPerElement, type DType, isDType } from "../core/dtype.js";
import { ArgumentError } from "../core/errors.js";
import { allocate } from "../core/memory.js";
import { describe } from "../core/shape.js";
import { isTensor, type Tensor } from "../core/tensor.js";
import { fromShared } from "../ops/create.js";
import { contiguous } from "../ops/kernel.js";

/**
 * Tensors between worker_threads: their memory is shared, only a small description is sent. `postMessage(share(t))` here,
 * `receive(message)` there, and both see the same values. Nothing is copied if the tensor lies in shared memory already.
 */

/** What is sent: survives `postMessage`. */
export interface SharedTensor<D extends DType = DType> {
  readonly buffer: SharedArrayBuffer;
  readonly shape: readonly number[];
  readonly dtype: D;
  readonly byteOffset: number;
}

/**
 * The tensor as a message for other threads. A tensor that lies in shared memory without gaps is sent as it is;
 * any other is copied there once.
 */
export function share<D extends DType>(t: Tensor<D>): SharedTensor<D> {
  if (!isTensor(t)) throw new ArgumentError(`share: needs a tensor, got ${describe(t)}`);
  const { shape, dtype } = t;
  const { bytes } = t.storage.block;
  const width = bytesPerElement(dtype);
  t.storage.array(dtype); // refuses what is still being computed
  if (isSharedArrayBuffer(bytes.buffer) && t.isContiguous()) {
    return { buffer: bytes.buffer, shape: [...shape], dtype, byteOffset: bytes.byteOffset + t.offset * width };
  }
  const count = t.numel() * width;
  const buffer = allocate(count, "shared memory", (bytes) => new SharedArrayBuffer(bytes));
  const row = contiguous(t as Tensor);
  const start = row.offset * width;
  new Uint8Array(buffer).set(row.storage.block.bytes.subarray(start, start + count));
  if (row !== (t as Tensor)) row.dispose();
  return { buffer, shape: [...shape], dtype, byteOffset: 0 };
}

/** A tensor over the memory of a message that `share` made, without a copy. Threads must agree on who writes when. */
export function receive<D extends DType>(message: SharedTensor<D>): Tensor<D> {
  if (typeof message !== "object" || message === null || !isSharedArrayBuffer(message.buffer))
    throw new ArgumentError(`receive: needs what share() has made, got ${describe(message)}`);
  if (!isDType(message.dtype)) throw new ArgumentError(`receive: dtype is ${describe(message.dtype)}`);
  return fromShared(message.buffer, message.shape, { dtype: message.dtype, byteOffset: message.byteOffset });
}
