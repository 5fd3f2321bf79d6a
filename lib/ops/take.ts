import { run } from "../backend/run.js";
import { ShapeError } from "../core/errors.js";
import { numel, type Shape } from "../core/shape.js";
import { empty, type Tensor } from "../core/tensor.js";
import { defineOp, type Op } from "./define.js";
import { around, contiguous, copied, filled } from "./kernel.js";

/**
 * Separable indexing: along some dimensions, position i of the result is position index[i] of x. Padding by mirrored or
 * repeated images and nearest-neighbour upsampling are this; the adjoint adds every element back to where it came from.
 */

/** @internal For each dimension the positions to take, or null for all as they are. */
export type Takes = readonly (Int32Array | null)[];

/** Most positions of one dimension: their list is made in memory before anything is checked against the limit. */
const mostPositions = 2 ** 26;

/** @internal A list of positions, f(i) for i below `count`. */
export function positionList(call: string, count: number, f: (i: number) => number): Int32Array {
  if (count > mostPositions) {
    throw new ShapeError(
      `${call}: a dimension of ${count} elements is too large here, at most ${mostPositions} = 2^26`,
    );
  }
  const list = new Int32Array(count);
  for (let i = 0; i < count; i++) list[i] = f(i);
  return list;
}

interface TakeOptions {
  readonly takes: Takes;
  /** The shape of x. */
  readonly from: Shape;
}

function indexTensor(positions: Int32Array): Tensor {
  const t = empty([positions.length], "int32");
  t.storage.array("int32").set(positions);
  return t;
}

const takeOp: Op<"x", TakeOptions> = defineOp<"x", TakeOptions>({
  name: "take_dims",
  inputs: ["x"],
  forward: ([x], { takes }) => {
    let current = contiguous(x!);
    takes.forEach((positions, dim) => {
      if (positions === null) return;
      const { outer, count, inner } = around(current.shape, dim);
      const index = indexTensor(positions);
      const y = empty(
        current.shape.map((s, i) => (i === dim ? positions.length : s)),
        current.dtype,
      );
      run("index_select", current.dtype, [0, outer, count, positions.length, inner], [current, index, y]);
      index.dispose();
      if (current !== x) current.dispose();
      current = y;
    });
    return current === x ? copied(x!) : current;
  },
  grad: { x: { formula: (c) => takeGradOp([c.dy], c.options) } },
  samples: () => [
    {
      inputs: { x: [2, 3, 4] },
      options: { takes: [null, Int32Array.of(2, 1, 0, 0), Int32Array.of(1, 1, 3)], from: [2, 3, 4] },
    },
    { inputs: { x: [0, 3] }, options: { takes: [null, Int32Array.of(0, 1, 2, 2)], from: [0, 3] } },
  ],
});

const takeGradOp: Op<"dy", TakeOptions> = defineOp<"dy", TakeOptions>({
  name: "take_dims_grad",
  inputs: ["dy"],
  forward: ([dy], { takes, from }) => {
    let current = contiguous(dy!);
    for (let dim = takes.length - 1; dim >= 0; dim--) {
      const positions = takes[dim];
      if (!positions) continue;
      const { outer, inner } = around(current.shape, dim);
      const index = indexTensor(positions);
      const shape = current.shape.map((s, i) => (i === dim ? from[dim]! : s));
      const y = filled(shape, current.dtype, 0);
      if (numel(shape) > 0 && positions.length > 0) {
        run("index_add", current.dtype, [0, outer, from[dim]!, positions.length, inner], [current, index, y]);
      }
      index.dispose();
      if (current !== dy) current.dispose();
      current = y;
    }
    return current === dy ? copied(dy!) : current;
  },
  grad: { dy: { formula: (c) => takeOp([c.dy], c.options) } },
  samples: () => [
    {
      inputs: { dy: [2, 4, 3] },
      options: { takes: [null, Int32Array.of(2, 1, 0, 0), Int32Array.of(1, 1, 3)], from: [2, 3, 4] },
    },
    { inputs: { dy: [0, 4] }, options: { takes: [null, Int32Array.of(0, 1, 2, 2)], from: [0, 3] } },
  ],
});

/** @internal x indexed along some of its dimensions; positions must lie inside. */
export function take(x: Tensor, takes: Takes): Tensor {
  return takeOp([x], { takes, from: x.shape });
}
