/** The reference backend: every kernel of abi.ts as plain loops in float64, rounded where results are stored. */

import { type KernelName, kernels } from "../backend/abi.js";
import { decodeSizes, type Kernel, type Operand } from "../backend/contract.js";
import { operandWritten } from "../backend/operands.js";
import type { Backend } from "../backend/run.js";
import { type DType, isFloating } from "../core/dtype.js";
import { BackendError } from "../core/errors.js";
import type { Tensor } from "../core/tensor.js";
import * as conv from "./conv.js";
import * as convMaxPool from "./conv_max_pool.js";
import * as copy from "./copy.js";
import * as gemm from "./gemm.js";
import * as im2col from "./im2col.js";
import * as index from "./index.js";
import * as norm from "./norm.js";
import * as optim from "./optim.js";
import * as pointwise from "./pointwise.js";
import * as pool from "./pool.js";
import * as random from "./random.js";
import * as reduce from "./reduce.js";
import * as softmax from "./softmax.js";

/** A kernel that is missing or has another kernel's operands does not compile. */
export const reference: { readonly [K in KernelName]: Kernel<K> } = {
  fill: copy.fill,
  copy: copy.copy,
  unary: pointwise.unary,
  binary: pointwise.binary,
  compare: pointwise.compare,
  where: pointwise.where,
  reduce: reduce.reduce,
  arg_reduce: reduce.arg_reduce,
  scan: reduce.scan,
  sort: reduce.sort,
  softmax: softmax.softmax,
  softmax_grad: softmax.softmax_grad,
  cross_entropy: softmax.cross_entropy,
  cross_entropy_grad: softmax.cross_entropy_grad,
  gemm: gemm.gemm,
  conv: conv.conv,
  conv_input_grad: conv.conv_input_grad,
  conv_weight_grad: conv.conv_weight_grad,
  conv_max_pool: convMaxPool.conv_max_pool,
  conv_max_pool_grad: convMaxPool.conv_max_pool_grad,
  im2col: im2col.im2col,
  col2im: im2col.col2im,
  max_pool: pool.max_pool,
  max_pool_grad: pool.max_pool_grad,
  avg_pool: pool.avg_pool,
  avg_pool_grad: pool.avg_pool_grad,
  adaptive_max_pool: pool.adaptive_max_pool,
  adaptive_avg_pool: pool.adaptive_avg_pool,
  adaptive_avg_pool_grad: pool.adaptive_avg_pool_grad,
  index_select: index.index_select,
  index_add: index.index_add,
  gather: index.gather,
  scatter: index.scatter,
  batch_norm: norm.batch_norm,
  batch_norm_inference: norm.batch_norm_inference,
  batch_norm_grad: norm.batch_norm_grad,
  layer_norm: norm.layer_norm,
  layer_norm_grad: norm.layer_norm_grad,
  random_fill: random.random_fill,
  sgd_step: optim.sgd_step,
  adam_step: optim.adam_step,
  rmsprop_step: optim.rmsprop_step,
  adagrad_step: optim.adagrad_step,
  nadam_step: optim.nadam_step,
};

const dtypesOf = { F: "float32 and float64", N: "float32, float64 and int32", A: "every dtype" } as const;

function takes(types: "F" | "N" | "A", dtype: DType): boolean {
  return types === "A" || isFloating(dtype) || (types === "N" && dtype === "int32");
}

/** Bytes of a contiguous operand in its buffer. */
function bytesOf(t: Tensor): { buffer: ArrayBufferLike; low: number; high: number } {
  const array = t.storage.array(t.dtype);
  const low = array.byteOffset + t.offset * array.BYTES_PER_ELEMENT;
  return { buffer: array.buffer, low, high: low + t.numel() * array.BYTES_PER_ELEMENT };
}

/** Kernels check positions before they write, so nothing that is written may change them. */
function checkPositions(kernel: KernelName, names: readonly string[], operands: readonly (Tensor | null)[]): void {
  const at = names.findIndex((name) => name === "index" || name === "target");
  if (at < 0 || operands[at] === null) return;
  const reads = bytesOf(operands[at]!);
  operands.forEach((t, i) => {
    if (t === null || !operandWritten(kernel, i)) return;
    const writes = bytesOf(t);
    if (writes.buffer !== reads.buffer || reads.high <= writes.low || writes.high <= reads.low) return;
    throw new BackendError(
      `${kernel}: operand ${names[at]} lies in the memory of ${names[i]!.slice(1)}, which is written; copy it first`,
    );
  });
}

/** The reference kernels behind `run`: what computes where no addon was built, and what `setBackend("reference")` picks. */
export const referenceBackend: Backend = {
  name: "reference",
  run(kernel, dtype, sizes, operands) {
    const [, types, names] = kernels[kernel];
    if (!takes(types, dtype)) throw new BackendError(`${kernel} takes ${dtypesOf[types]}, but the call is ${dtype}`);
    if (operands.length !== names.length) {
      throw new BackendError(
        `${kernel} takes ${names.length} operands (${names}), but the call brought ${operands.length}`,
      );
    }
    const given = operands.map((t, i): Operand | null => {
      if (t !== null) return { array: t.storage.array(t.dtype), offset: t.offset };
      if (names[i]!.endsWith("?")) return null;
      throw new BackendError(`${kernel} needs its operand ${names[i]}, but the call left it out`);
    });
    checkPositions(kernel, names, operands);
    // One kernel's types cannot be told from its name at run time; the declaration of `reference` has checked them all.
    const call = reference[kernel] as unknown as (sizes: object, operands: readonly unknown[], dtype: DType) => number;
    return call(decodeSizes(kernel, sizes), given, dtype);
  },
};
