import type { DType } from "../core/dtype.js";
import { ArgumentError, ShapeError } from "../core/errors.js";
import { checkChoice, checkInteger, checkNumber, checkOptions } from "../core/options.js";
import { checkShape, describe, format, numel } from "../core/shape.js";
import { alias, type Tensor } from "../core/tensor.js";
import { defineOp, type Op } from "./define.js";
import { checkTensor, copyInto, filled } from "./kernel.js";
import { checkIndexed, paddedPositions } from "./padding.js";
import { take } from "./take.js";

/** Padding and cropping: a border of a constant, of the mirrored image, of its edge, or of its other end. */

/** Elements added before and after, one pair per dimension of x; negative ones are cut off. */
interface PadOptions {
  readonly amounts: readonly (readonly [number, number])[];
  readonly value: number;
}

const padOp: Op<"x", PadOptions> = defineOp<"x", PadOptions>({
  name: "pad",
  inputs: ["x"],
  forward: ([x], { amounts, value }) => {
    const y = filled(
      x!.shape.map((s, i) => s + amounts[i]![0] + amounts[i]![1]),
      x!.dtype,
      value,
    );
    // The part of x that stays, and where it comes to lie in y.
    const from = amounts.map(([before]) => Math.max(0, -before));
    const to = amounts.map(([before]) => Math.max(0, before));
    const shape = x!.shape.map((s, i) => Math.max(0, s - from[i]! - Math.max(0, -amounts[i]![1])));
    if (numel(shape) === 0 || shape.some((s, i) => s + to[i]! > y.shape[i]!)) return y;
    const at = (t: Tensor, position: readonly number[]): number =>
      position.reduce((offset, p, i) => offset + p * t.strides[i]!, t.offset);
    copyInto(alias(y, shape, y.strides, at(y, to)), alias(x!, shape, x!.strides, at(x!, from)));
    return y;
  },
  grad: {
    x: { formula: (c) => padOp([c.dy], { amounts: c.options.amounts.map(([b, a]) => [-b, -a]), value: 0 }) },
  },
  samples: () => [
    { inputs: { x: [2, 3] }, options: { amounts: [[1, 2], [0, 1]], value: 1.5 } }, // biome-ignore format: one line
    { inputs: { x: [4, 5] }, options: { amounts: [[-1, 0], [2, -2]], value: 0 } }, // biome-ignore format: one line
    { inputs: { x: [0, 2] }, options: { amounts: [[0, 0], [1, 1]], value: 0 } }, // biome-ignore format: one line
    { inputs: { x: [3, 17] }, options: { amounts: [[0, 0], [0, 0]], value: 0 } }, // biome-ignore format: one line
  ],
  refusals: () => [
    { call: () => pad(filled([2, 3], "float32", 0), [1]), message: /pad: amounts must be pairs/ },
    { call: () => pad(filled([3], "float32", 0), [1, 1, 1, 1]), message: /pad: 2 pairs .* 1 dimension/ },
    { call: () => pad(filled([3], "float32", 0), [-2, -2]), message: /pad: .*-1 = 3 - 2 - 2/ },
    { call: () => pad(filled([1, 3], "float32", 0), [3, 0], { mode: "reflect" }), message: /smaller than .*3/ },
    { call: () => pad(filled([1, 3], "float32", 0), [4, 0], { mode: "circular" }), message: /at most .*3/ },
    { call: () => pad(filled([1, 3], "float32", 0), [1.5, 0]), message: /pad: amounts\[0\].*1\.5/ },
  ],
});

export interface PadCallOptions {
  /** What the border holds: `value` (default), the mirrored image, its edge repeated, or its other end. */
  readonly mode?: "constant" | "reflect" | "replicate" | "circular";
  /** The constant; default 0. */
  readonly value?: number;
}

/**
 * x with a border, or cropped where an amount is negative. Never a view of x, not even for amounts of 0.
 *
 * `amounts` are pairs, the last dimension first, as PyTorch's: [left, right], [left, right, top, bottom], ...
 * A constant border goes around any number of dimensions; the other modes around the last 1 to 3. reflect does not
 * repeat the edge and takes less than the dimension's size, circular at most its size, replicate any amount.
 * @throws {ShapeError} if x has fewer dimensions than pairs, or a dimension is too small for the mode or the crop
 */
export function pad<D extends DType>(
  x: Tensor<D>,
  amounts: readonly number[],
  options: PadCallOptions = {},
): Tensor<D> {
  checkOptions("pad", options, ["mode", "value"]);
  checkTensor("pad", "x", x);
  const mode = checkChoice("pad", "mode", options.mode ?? "constant", ["constant", "reflect", "replicate", "circular"]);
  const value = options.value ?? 0;
  if (typeof value !== "number") checkNumber("pad", "value", value);
  if (mode !== "constant" && options.value !== undefined && options.value !== 0) {
    throw new ArgumentError(`pad: value is for mode "constant"; ${mode} padding takes its values from x`);
  }
  if (!Array.isArray(amounts) || amounts.length % 2 !== 0) {
    throw new ArgumentError(`pad: amounts must be pairs [left, right, top, bottom, ...], got ${describe(amounts)}`);
  }
  for (const [i, a] of amounts.entries()) checkInteger("pad", `amounts[${i}]`, a, -(2 ** 31) + 1);
  const pairs = amounts.length / 2;
  if (pairs > x.rank) {
    throw new ShapeError(
      `pad: ${pairs} pairs of amounts are for at least ${pairs} dimensions, but x ${format(x.shape)} has ${x.rank} dimension${x.rank === 1 ? "" : "s"}`,
    );
  }
  if (mode !== "constant" && pairs > 3) {
    throw new ArgumentError(`pad: mode "${mode}" pads the last 1 to 3 dimensions, got ${pairs} pairs of amounts`);
  }
  const byDim = x.shape.map((size, dim): [number, number] => {
    const at = 2 * (x.rank - 1 - dim);
    const before = amounts[at] ?? 0;
    const after = amounts[at + 1] ?? 0;
    if (size + before + after < 0 || -before > size || -after > size) {
      throw new ShapeError(
        `pad: cropping leaves ${size + before + after} = ${size} ${signed(before)} ${signed(after)} elements of dimension ${dim} of x ${format(x.shape)}`,
      );
    }
    if (mode !== "constant") checkIndexed("pad", mode, size, before, after, nameOf(x, dim));
    return [before, after];
  });
  checkShape(
    "pad",
    x.shape.map((s, i) => s + byDim[i]![0] + byDim[i]![1]),
  );
  if (mode === "constant") return padOp([x], { amounts: byDim, value }) as Tensor<D>;
  return take(
    x,
    byDim.map(([before, after], dim) =>
      before === 0 && after === 0 ? null : paddedPositions("pad", mode, x.shape[dim]!, before, after, nameOf(x, dim)),
    ),
  ) as Tensor<D>;
}

function nameOf(x: Tensor, dim: number): string {
  return `dimension ${dim} of x ${format(x.shape)}`;
}

function signed(amount: number): string {
  return amount < 0 ? `- ${-amount}` : `+ ${amount}`;
}
