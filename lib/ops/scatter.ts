import { run } from "../backend/run.js";
import { type DType, isFloating } from "../core/dtype.js";
import { ArgumentError, ShapeError } from "../core/errors.js";
import { describe, format, normalizeDim, numel, type Shape } from "../core/shape.js";
import { alias, empty, isTensor, type Tensor } from "../core/tensor.js";
import { defineOp, type Op } from "./define.js";
import { type AlongDim, checkIndex, checkIndexReport } from "./index_checks.js";
import { around, checkTensor, contiguous, copied, copyInto, filled, sameDType } from "./kernel.js";
import { installMethods } from "./methods.js";
import { cast, clone, expand, narrow, reshape } from "./view.js";

/** Reading and writing along one dimension by an index per element (int32, no negative indices). */

/** int32 stands in for bool and uint8 where a kernel has no 8-bit numbers. */
function widened(x: Tensor): Tensor {
  return x.dtype === "bool" || x.dtype === "uint8" ? cast(x, "int32") : x;
}

const scalarShape = (shape: Shape): Shape => (shape.length === 0 ? [1] : shape);

interface ScatterOptions extends AlongDim {
  readonly add: boolean;
}

const gatherOp: Op<"x" | "index", AlongDim> = defineOp<"x" | "index", AlongDim>({
  // x and index agree in all dimensions but `dim`.
  name: "gather",
  inputs: ["x", "index"],
  forward: ([x, index], { dim }) => {
    const { outer, count, inner } = around(x!.shape, dim);
    const y = empty(index!.shape, x!.dtype);
    const sizes = [0, outer, count, index!.shape[dim] ?? 1, inner];
    const report = run("gather", x!.dtype, sizes, [contiguous(x!), contiguous(index!), y]);
    checkIndexReport("gather", report, index!, count);
    return y;
  },
  grad: {
    x: {
      reads: ["index"],
      formula: (c) =>
        scatterOp([filled(c.shape("x"), c.dy.dtype, 0), c.input("index"), c.dy], { dim: c.options.dim, add: true }),
    },
  },
  samples: () => [
    { inputs: { x: [4, 3], index: (r) => r.integers([6, 3], 0, 4) }, options: { dim: 0 } },
    { inputs: { x: [2, 5, 3], index: (r) => r.integers([2, 2, 3], 0, 5) }, options: { dim: 1 } },
    { inputs: { x: [2, 5], index: (r) => r.integers([2, 0], 0, 5) }, options: { dim: 1 } },
  ],
});

const scatterOp: Op<"x" | "index" | "source", ScatterOptions> = defineOp<"x" | "index" | "source", ScatterOptions>({
  // index and source have one shape, not larger than x outside `dim`.
  name: "scatter",
  inputs: ["x", "index", "source"],
  forward: ([x, index, source], { dim, add }) => {
    const y = copied(x!);
    const region = index!.shape.map((s, i) => (i === dim ? x!.shape[i]! : s));
    // The kernel's rows are whole: what lies outside the index's sizes is left out, and put back afterwards.
    const window = alias(y, region);
    const whole = numel(region) === y.numel();
    const target = whole ? y : copied(window);
    const { outer, count, inner } = around(region, dim);
    const sizes = [Number(add), outer, count, index!.shape[dim] ?? 1, inner];
    const report = run("scatter", x!.dtype, sizes, [contiguous(source!), contiguous(index!), target]);
    checkIndexReport(add ? "scatterAdd" : "scatter", report, index!, count);
    if (!whole) {
      copyInto(window, target);
      target.dispose();
    }
    return y;
  },
  grad: {
    x: {
      reads: ["index"],
      formula: (c) => {
        if (c.options.add) return c.dy;
        const index = c.input("index");
        return scatterOp([c.dy, index, filled(index.shape, c.dy.dtype, 0)], c.options);
      },
    },
    source: {
      reads: ["index"],
      formula: (c) => gather(c.dy, c.options.dim, c.input("index")),
    },
  },
  samples: () => [
    {
      inputs: { x: [4, 3], index: (r) => r.integers([6, 3], 0, 4), source: [6, 3] },
      options: { dim: 0, add: true },
    },
    {
      inputs: { x: [2, 5, 3], index: (r) => r.integers([1, 2, 2], 0, 5), source: [1, 2, 2] },
      options: { dim: 1, add: true },
    },
    {
      // one write per place: of several the last would win, which no derivative describes
      inputs: { x: [3, 5], index: (r) => r.integers([3, 1], 0, 5), source: [3, 1] },
      options: { dim: 1, add: false },
    },
  ],
});

/** Narrows every dimension but `dim` to the index's sizes; refuses an index that is larger. */
function fitted(call: string, name: string, x: Tensor, dim: number, index: Tensor, also: boolean): Tensor {
  if (x.rank !== index.rank) {
    throw new ShapeError(
      `${call}: index ${format(index.shape)} must have as many dimensions as ${name} ${format(x.shape)}`,
    );
  }
  let y = x;
  for (let i = 0; i < x.rank; i++) {
    if (i === dim && !also) continue;
    if (index.shape[i]! > x.shape[i]!) {
      throw new ShapeError(
        `${call}: index ${format(index.shape)} is larger than ${name} ${format(x.shape)} in dimension ${i}` +
          (also ? "" : `; only dimension ${dim} may be`),
      );
    }
    if (index.shape[i]! < x.shape[i]!) y = narrow(y, i, 0, index.shape[i]!);
  }
  return y;
}

/**
 * Elements of x along `dim`: result[i][j] = x[index[i][j]][j] for dim 0, and so on.
 *
 * Shapes: index has x's rank and is not larger than x outside `dim`; the result has its shape.
 * @throws {IndexError} if an index is out of range, naming its place
 */
export function gather<D extends DType>(x: Tensor<D>, dim: number, index: Tensor): Tensor<D> {
  checkTensor("gather", "x", x);
  const d = normalizeDim("gather", dim, x.rank);
  const at = checkIndex("gather", index);
  if (x.rank === 0 || at.rank === 0) {
    const y = gather(reshape(x, scalarShape(x.shape)), 0, reshape(at, scalarShape(at.shape)));
    return reshape(y, at.shape);
  }
  return gatherOp([fitted("gather", "x", x as Tensor, d, at, false), at], { dim: d }) as Tensor<D>;
}

function scattered<D extends DType>(
  call: string,
  x: Tensor<D>,
  dim: number,
  index: Tensor,
  source: Tensor | number,
  add: boolean,
): Tensor<D> {
  checkTensor(call, "x", x);
  const d = normalizeDim(call, dim, x.rank);
  const at = checkIndex(call, index);
  if (!isTensor(source) && typeof source !== "number") {
    throw new ArgumentError(`${call}: source must be a tensor or a number, got ${describe(source)}`);
  }
  if (x.rank === 0) {
    const from = isTensor(source) ? reshape(source, scalarShape(source.shape)) : source;
    return reshape(scattered(call, reshape(x, [1]), 0, reshape(at, scalarShape(at.shape)), from, add), []);
  }
  if (isTensor(source)) sameDType(call, "x", x, "source", source);
  if (at.numel() === 0) return clone(x);
  fitted(call, "x", x as Tensor, d, at, false);
  const from = isTensor(source)
    ? fitted(call, "source", source, d, at, true)
    : filled(at.shape, x.dtype as DType, source);
  if (isFloating(x.dtype) || x.dtype === "int32") return scatterOp([x, at, from], { dim: d, add }) as Tensor<D>;
  return cast(scatterOp([widened(x), at, widened(from)], { dim: d, add }), x.dtype);
}

/**
 * x with elements along `dim` replaced: result[index[i][j]][j] = source[i][j] for dim 0. Of several written to one place
 * the last stays. source is a number or a tensor at least as large as index.
 */
export function scatter<D extends DType>(
  x: Tensor<D>,
  dim: number,
  index: Tensor,
  source: Tensor<D> | number,
): Tensor<D> {
  return scattered("scatter", x, dim, index, source, false);
}

/** x with source added along `dim`: result[index[i][j]][j] += source[i][j] for dim 0; repeated places add up. */
export function scatterAdd<D extends DType>(
  x: Tensor<D>,
  dim: number,
  index: Tensor,
  source: Tensor<D> | number,
): Tensor<D> {
  return scattered("scatterAdd", x, dim, index, source, true);
}

/** gather whose x and index broadcast against each other outside `dim`; without dim over the flattened tensors. */
export function takeAlongDim<D extends DType>(x: Tensor<D>, index: Tensor, dim?: number): Tensor<D> {
  checkTensor("takeAlongDim", "x", x);
  const at = checkIndex("takeAlongDim", index);
  if (dim === undefined) return gather(reshape(x, [-1]), 0, reshape(at, [-1]));
  if (x.rank !== at.rank) {
    throw new ShapeError(
      `takeAlongDim: index ${format(at.shape)} must have as many dimensions as x ${format(x.shape)}`,
    );
  }
  const d = normalizeDim("takeAlongDim", dim, x.rank);
  const common = x.shape.map((s, i) => (i === d || s !== 1 ? s : at.shape[i]!));
  const own = (t: Tensor): Shape => common.map((s, i) => (i === d ? t.shape[i]! : s));
  return gather(expand(x, own(x)), d, expand(at, own(at)));
}

declare module "../core/tensor.js" {
  interface Tensor<D extends DType = DType> {
    gather(dim: number, index: Tensor): Tensor<D>;
    scatter(dim: number, index: Tensor, source: Tensor<D> | number): Tensor<D>;
    scatterAdd(dim: number, index: Tensor, source: Tensor<D> | number): Tensor<D>;
    takeAlongDim(index: Tensor, dim?: number): Tensor<D>;
  }
}

installMethods({ gather, scatter, scatterAdd, takeAlongDim });
