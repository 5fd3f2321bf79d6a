/** gemm: batched matrix products, one row of c at a time. */

import type { KernelSizes } from "../backend/abi.js";
import type { Operands } from "../backend/contract.js";
import { activate } from "./activation.js";

export function gemm(s: KernelSizes<"gemm">, [a, b, bias, c]: Operands<"gemm">): number {
  const row = new Float64Array(s.n);
  const aRow = s.trans_a ? 1 : s.k;
  const aColumn = s.trans_a ? s.m : 1;
  for (let batch = 0; batch < s.batch; batch++) {
    const aStart = a.offset + batch * s.a_batch_stride;
    const bStart = b.offset + batch * s.b_batch_stride;
    for (let i = 0; i < s.m; i++) {
      row.fill(0);
      if (s.trans_b) {
        for (let j = 0; j < s.n; j++) {
          let sum = 0;
          for (let k = 0; k < s.k; k++) {
            sum += a.array[aStart + i * aRow + k * aColumn]! * b.array[bStart + j * s.k + k]!;
          }
          row[j] = sum;
        }
      } else {
        for (let k = 0; k < s.k; k++) {
          const scale = a.array[aStart + i * aRow + k * aColumn]!;
          const bRow = bStart + k * s.n;
          for (let j = 0; j < s.n; j++) row[j]! += scale * b.array[bRow + j]!;
        }
      }
      const cRow = c.offset + (batch * s.m + i) * s.n;
      if (bias !== null && s.bias_per !== 0) {
        for (let j = 0; j < s.n; j++) row[j]! += bias.array[bias.offset + (s.bias_per === 1 ? i : j)]!;
      }
      if (s.accumulate) {
        for (let j = 0; j < s.n; j++) row[j]! += c.array[cRow + j]!;
      }
      activate(row, s.n, s.activation);
      c.array.set(row, cRow);
    }
  }
  return 0;
}
