import { IndexError } from "../core/errors.js";
import { format, numel } from "../core/shape.js";
import { empty } from "../core/tensor.js";
import { defineOp, type Op } from "./define.js";
import { contiguous, filled } from "./kernel.js";
import { leading, runContiguous } from "./window.js";

/**
 * Reading and writing planes (the spatial dimensions of one channel) by flat indices, as max pooling returns them.
 * Each op is the other's derivative.
 */

interface PlaneOptions {
  /** The spatial sizes of the plane that is indexed. */
  readonly size: readonly number[];
  /** Add where an index repeats (the derivative of reading); else the last one stays. */
  readonly add: boolean;
}

const samplesOf = (source: "small" | "plane"): readonly { x: number[]; index: number[]; size: number[] }[] => {
  const shapes = [
    { lead: [2, 3], small: [2, 2], size: [4, 5] },
    { lead: [1], small: [7], size: [9] },
    { lead: [2], small: [1, 2, 3], size: [2, 3, 3] },
    { lead: [0, 2], small: [2, 2], size: [3, 3] },
  ];
  return shapes.map(({ lead, small, size }) => ({
    x: [...lead, ...(source === "small" ? small : size)],
    index: [...lead, ...small],
    size,
  }));
};

/** @internal Planes of zeros with x's elements at their indices. */
export const planeScatterOp: Op<"x" | "index", PlaneOptions> = defineOp<"x" | "index", PlaneOptions>({
  name: "plane_scatter",
  inputs: ["x", "index"],
  forward: ([x, index], { size, add }) => {
    const outer = leading(x!.shape, size.length);
    const y = filled([...x!.shape.slice(0, x!.rank - size.length), ...size], x!.dtype, 0);
    const count = numel(x!.shape.slice(x!.rank - size.length));
    const bad = runContiguous("scatter", x!.dtype, [add ? 1 : 0, outer, numel(size), count, 1], [x!, index!], [y]);
    if (bad !== 0) {
      const at = bad - 1;
      y.dispose();
      const flat = contiguous(index!);
      const value = flat.storage.array("int32")[flat.offset + at];
      throw new IndexError(
        `maxUnpool: index ${value} at flat position ${at} is outside the output plane ${format(size)} of ${numel(size)} elements`,
      );
    }
    return y;
  },
  grad: { x: { reads: ["index"], formula: (c) => planeGatherOp([c.dy, c.input("index")], c.options) } },
  samples: () =>
    samplesOf("small").map(({ x, index, size }) => ({
      inputs: { x, index: (r) => r.integers(index, 0, numel(size)) },
      options: { size, add: true },
    })),
});

/** @internal The elements of planes at given indices. */
export const planeGatherOp: Op<"x" | "index", PlaneOptions> = defineOp<"x" | "index", PlaneOptions>({
  name: "plane_gather",
  inputs: ["x", "index"],
  forward: ([x, index], { size }) => {
    const outer = leading(x!.shape, size.length);
    const y = empty(index!.shape, x!.dtype);
    const count = numel(index!.shape.slice(index!.rank - size.length));
    runContiguous("gather", x!.dtype, [0, outer, numel(size), count, 1], [x!, index!], [y]);
    return y;
  },
  grad: {
    x: {
      reads: ["index"],
      formula: (c) => planeScatterOp([c.dy, c.input("index")], { size: c.options.size, add: true }),
    },
  },
  samples: () =>
    samplesOf("plane").map(({ x, index, size }) => ({
      inputs: { x, index: (r) => r.integers(index, 0, numel(size)) },
      options: { size, add: true },
    })),
});
