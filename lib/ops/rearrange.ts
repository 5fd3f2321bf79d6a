import type { DType } from "../core/dtype.js";
import { ArgumentError, ShapeError } from "../core/errors.js";
import { checkInteger } from "../core/options.js";
import { checkShape, describe, format, normalizeDim, normalizeDims, type Shape } from "../core/shape.js";
import { alias, empty, type Tensor } from "../core/tensor.js";
import { defineOp, type Op } from "./define.js";
import { cat } from "./join.js";
import { checkTensor, copyInto, filled } from "./kernel.js";
import { installMethods } from "./methods.js";
import { sum } from "./reduce.js";
import { expand, narrow, permute, reshape, transpose } from "./view.js";
import { where } from "./where.js";

/** Reordering elements: flips, rolls, moved dimensions, diagonals and triangles. */

const flipOp: Op<"x", { dims: readonly number[] }> = defineOp<"x", { dims: readonly number[] }>({
  name: "flip",
  inputs: ["x"],
  forward: ([x], { dims }) => {
    const y = empty(x!.shape, x!.dtype);
    if (x!.numel() === 0) return y;
    // Read from the last entry of the flipped dimensions backwards.
    let offset = x!.offset;
    const strides = x!.strides.map((s, i) => {
      if (!dims.includes(i)) return s;
      offset += (x!.shape[i]! - 1) * s;
      return -s;
    });
    copyInto(y, alias(x!, x!.shape, strides, offset));
    return y;
  },
  grad: { x: { formula: (c) => flipOp([c.dy], c.options) } },
  samples: () => [
    { inputs: { x: [3, 4] }, options: { dims: [0] } },
    { inputs: { x: [2, 3, 5] }, options: { dims: [0, 2] } },
    { inputs: { x: [0, 2] }, options: { dims: [0] } },
  ],
});

/** The order of the named dimensions reversed; a copy. */
export function flip<D extends DType>(x: Tensor<D>, dims: number | readonly number[]): Tensor<D> {
  checkTensor("flip", "x", x);
  checkNumbers("flip", "dims", dims);
  return flipOp([x], { dims: normalizeDims("flip", dims, x.rank) }) as Tensor<D>;
}

function checkNumbers(call: string, argument: string, value: unknown): void {
  if (typeof value === "number" || Array.isArray(value)) return;
  throw new ArgumentError(`${call}: ${argument} must be an integer or a list of integers, got ${describe(value)}`);
}

/**
 * Entries moved by `shifts` places along `dims`; what leaves at the end comes back at the start. Without dims the
 * flattened tensor is rolled.
 */
export function roll<D extends DType>(
  x: Tensor<D>,
  shifts: number | readonly number[],
  dims?: number | readonly number[],
): Tensor<D> {
  checkTensor("roll", "x", x);
  checkNumbers("roll", "shifts", shifts);
  if (dims !== undefined) checkNumbers("roll", "dims", dims);
  const steps = typeof shifts === "number" ? [shifts] : shifts;
  for (const s of steps) checkInteger("roll", "every shift", s, -(2 ** 31));
  if (dims === undefined) {
    if (steps.length !== 1) throw new ArgumentError(`roll: without dims there must be one shift, got ${steps.length}`);
    return reshape(rollOne(reshape(x, [-1]), steps[0]!, 0), x.shape);
  }
  const list = (typeof dims === "number" ? [dims] : dims).map((d) => normalizeDim("roll", d, x.rank));
  if (list.length !== steps.length) {
    throw new ArgumentError(`roll: needs one shift per dimension, got ${steps.length} shifts and ${list.length} dims`);
  }
  let y = x;
  list.forEach((d, i) => {
    y = rollOne(y, steps[i]!, d);
  });
  return y === x ? x.clone() : y;
}

function rollOne<D extends DType>(x: Tensor<D>, shift: number, dim: number): Tensor<D> {
  const size = x.shape[dim] ?? 0;
  const moved = size === 0 ? 0 : ((shift % size) + size) % size;
  if (moved === 0) return x;
  return cat([narrow(x, dim, size - moved, moved), narrow(x, dim, 0, size - moved)], dim);
}

/** Dimensions moved from the places `source` to the places `destination`; the others keep their order. A view. */
export function movedim<D extends DType>(
  x: Tensor<D>,
  source: number | readonly number[],
  destination: number | readonly number[],
): Tensor<D> {
  checkTensor("movedim", "x", x);
  checkNumbers("movedim", "source", source);
  checkNumbers("movedim", "destination", destination);
  const from = (typeof source === "number" ? [source] : source).map((d) => normalizeDim("movedim", d, x.rank));
  const to = (typeof destination === "number" ? [destination] : destination).map((d) =>
    normalizeDim("movedim", d, x.rank),
  );
  if (from.length !== to.length || new Set(from).size !== from.length || new Set(to).size !== to.length) {
    throw new ArgumentError(
      `movedim: source ${format(from)} and destination ${format(to)} must be as many, each named once`,
    );
  }
  const order = new Array<number>(x.rank).fill(-1);
  from.forEach((d, i) => {
    order[to[i]!] = d;
  });
  const rest = x.shape.map((_, i) => i).filter((i) => !from.includes(i));
  return permute(
    x,
    order.map((d) => (d >= 0 ? d : rest.shift()!)),
  );
}

/** Two dimensions exchanged, by NumPy's name; see `transpose`. */
export function swapaxes<D extends DType>(x: Tensor<D>, dim0: number, dim1: number): Tensor<D> {
  checkTensor("swapaxes", "x", x);
  return transpose(x, dim0, dim1);
}

// ---- triangles ----

/** [rows, columns], true where column - row is at most (or at least) `diagonal`. */
function triangle(rows: number, columns: number, diagonal: number, lower: boolean): Tensor<"bool"> {
  const mask = empty([rows, columns], "bool");
  const array = mask.storage.array("bool");
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      array[r * columns + c] = Number(lower ? c - r <= diagonal : c - r >= diagonal);
    }
  }
  return mask;
}

function triangular<D extends DType>(call: string, x: Tensor<D>, diagonal: number, lower: boolean): Tensor<D> {
  checkTensor(call, "x", x);
  checkInteger(call, "diagonal", diagonal, -(2 ** 31));
  if (x.rank < 2) {
    throw new ShapeError(`${call}: x must be a matrix or a batch of matrices, but it is ${format(x.shape)}`);
  }
  const mask = triangle(x.shape.at(-2)!, x.shape.at(-1)!, diagonal, lower);
  return where(mask, x, filled([], x.dtype as DType, 0) as Tensor<D>);
}

/** The lower triangle of matrices, 0 above the diagonal number `diagonal` (0 the main one, 1 the one above). */
export function tril<D extends DType>(x: Tensor<D>, diagonal: number = 0): Tensor<D> {
  return triangular("tril", x, diagonal, true);
}

/** The upper triangle of matrices, 0 below the diagonal number `diagonal`. */
export function triu<D extends DType>(x: Tensor<D>, diagonal: number = 0): Tensor<D> {
  return triangular("triu", x, diagonal, false);
}

// ---- diagonals ----

interface Diagonal {
  readonly offset: number;
  readonly dim0: number;
  readonly dim1: number;
}

/** The window of a diagonal: its length and first element, with the last dimension along it. */
function diagonalWindow(t: Tensor, { offset, dim0, dim1 }: Diagonal): Tensor {
  const [rows, columns] = [t.shape[dim0]!, t.shape[dim1]!];
  const length = Math.max(0, offset >= 0 ? Math.min(rows, columns - offset) : Math.min(rows + offset, columns));
  const first = length === 0 ? 0 : offset >= 0 ? offset * t.strides[dim1]! : -offset * t.strides[dim0]!;
  const others = t.shape.map((_, i) => i).filter((i) => i !== dim0 && i !== dim1);
  return alias(
    t,
    [...others.map((i) => t.shape[i]!), length],
    [...others.map((i) => t.strides[i]!), t.strides[dim0]! + t.strides[dim1]!],
    t.offset + first,
  );
}

const diagonalOp: Op<"x", Diagonal> = defineOp<"x", Diagonal>({
  name: "diagonal",
  inputs: ["x"],
  view: true,
  forward: ([x], options) => diagonalWindow(x!, options),
  grad: { x: { formula: (c) => diagonalScatterOp([c.dy], { into: c.shape("x"), ...c.options }) } },
  samples: () => [
    { inputs: { x: [3, 4] }, options: { offset: 1, dim0: 0, dim1: 1 } },
    { inputs: { x: [2, 4, 3] }, options: { offset: -1, dim0: 2, dim1: 0 } },
    { inputs: { x: [2, 2] }, options: { offset: 5, dim0: 0, dim1: 1 } },
  ],
});

const diagonalScatterOp: Op<"dy", Diagonal & { into: Shape }> = defineOp<"dy", Diagonal & { into: Shape }>({
  // Zeros with dy on a diagonal.
  name: "diagonal_scatter",
  inputs: ["dy"],
  forward: ([dy], options) => {
    const y = filled(options.into, dy!.dtype, 0);
    if (dy!.numel() > 0) copyInto(diagonalWindow(y, options), dy!);
    return y;
  },
  grad: {
    dy: {
      formula: (c) => {
        const { offset, dim0, dim1 } = c.options;
        return diagonalOp([c.dy], { offset, dim0, dim1 });
      },
    },
  },
  samples: () => [{ inputs: { dy: [3] }, options: { offset: 1, dim0: 0, dim1: 1, into: [3, 4] } }],
});

/** The diagonal over dimensions dim0 and dim1 (default the first two) as the last dimension; `offset` counts to the right. A view. */
export function diagonal<D extends DType>(
  x: Tensor<D>,
  offset: number = 0,
  dim0: number = 0,
  dim1: number = 1,
): Tensor<D> {
  checkTensor("diagonal", "x", x);
  checkInteger("diagonal", "offset", offset, -(2 ** 31));
  const [a, b] = [normalizeDim("diagonal", dim0, x.rank), normalizeDim("diagonal", dim1, x.rank)];
  if (x.rank < 2 || a === b) {
    throw new ShapeError(`diagonal: needs two different dimensions of x ${format(x.shape)}, got ${dim0} and ${dim1}`);
  }
  return diagonalOp([x], { offset, dim0: a, dim1: b }) as Tensor<D>;
}

/** Of a vector the square matrix with it on the diagonal number `offset`, of a matrix that diagonal. */
export function diag<D extends DType>(x: Tensor<D>, offset: number = 0): Tensor<D> {
  checkTensor("diag", "x", x);
  checkInteger("diag", "offset", offset, -(2 ** 31));
  if (x.rank === 2) return diagonal(x, offset).clone();
  if (x.rank !== 1) throw new ShapeError(`diag: x must be a vector or a matrix, but it is ${format(x.shape)}`);
  return diagEmbed(x, offset);
}

/** The last dimension put on the diagonals of square matrices of zeros. x: [..., n]; result [..., n + |offset|, n + |offset|]. */
export function diagEmbed<D extends DType>(x: Tensor<D>, offset: number = 0): Tensor<D> {
  checkTensor("diagEmbed", "x", x);
  checkInteger("diagEmbed", "offset", offset, -(2 ** 31));
  if (x.rank === 0) throw new ShapeError("diagEmbed: x must have at least one dimension, but it is a scalar");
  const size = x.shape.at(-1)! + Math.abs(offset);
  const into = [...x.shape.slice(0, -1), size, size];
  return diagonalScatterOp([x], { offset, dim0: x.rank - 1, dim1: x.rank, into }) as Tensor<D>;
}

/** The sum of the main diagonal of a matrix. */
export function trace<D extends DType>(x: Tensor<D>): Tensor<D> {
  checkTensor("trace", "x", x);
  if (x.rank !== 2) throw new ShapeError(`trace: x must be a matrix, but it is ${format(x.shape)}`);
  return sum(diagonal(x));
}

/** x repeated to a shape without copying, by NumPy's name; see `expand`. */
export function broadcastTo<D extends DType>(x: Tensor<D>, shape: Shape): Tensor<D> {
  checkTensor("broadcastTo", "x", x);
  return expand(x, checkShape("broadcastTo", shape));
}

declare module "../core/tensor.js" {
  interface Tensor<D extends DType = DType> {
    flip(dims: number | readonly number[]): Tensor<D>;
    roll(shifts: number | readonly number[], dims?: number | readonly number[]): Tensor<D>;
    movedim(source: number | readonly number[], destination: number | readonly number[]): Tensor<D>;
    swapaxes(dim0: number, dim1: number): Tensor<D>;
    tril(diagonal?: number): Tensor<D>;
    triu(diagonal?: number): Tensor<D>;
    diagonal(offset?: number, dim0?: number, dim1?: number): Tensor<D>;
    diag(offset?: number): Tensor<D>;
    trace(): Tensor<D>;
    broadcastTo(shape: Shape): Tensor<D>;
  }
}

installMethods({ flip, roll, movedim, swapaxes, tril, triu, diagonal, diag, trace, broadcastTo });
