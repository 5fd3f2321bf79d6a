import { onReport, run } from "../backend/run.js";
import { sum } from "./reduce.js";
import { empty, type Tensor } from "../core/tensor.js";
import { contiguous } from "./kernel.js";
import { cast } from "./view.js";

/**
 * Refuses values that a bool mask marks. Values are not read for that: a kernel finds the first one marked (as an index of 1
 * into one row), so that it works inside an asynchronous section too, which then fails when it computes.
 * `why` makes the error from how many are marked; undefined where that is not known.
 */
export function refuseMarked(mask: Tensor, why: (count: number | undefined) => Error): void {
  const index = contiguous(cast(mask, "int32"));
  const row = empty([0], "int32");
  const report = run("index_select", "int32", [0, 1, 1, index.numel(), 0], [row, index, row]);
  if (report > 0) throw why(Number(sum(mask).item()));
  onReport(() => why(undefined));
}
