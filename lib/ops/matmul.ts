import { activationCodes } from "../backend/abi.js";
import { run } from "../backend/run.js";
import type { DType } from "../core/dtype.js";
import { ShapeError } from "../core/errors.js";
import { broadcastShapes, format, numel, type Shape } from "../core/shape.js";
import { empty, type Tensor } from "../core/tensor.js";
import { reluGradient } from "./activation.js";
import { defineOp, type Op } from "./define.js";
import { contiguous, copied, floating, sameDType } from "./kernel.js";
import { installMethods } from "./methods.js";
import { expand, reshape, squeeze, sumTo, unsqueeze } from "./view.js";

const reluCode = activationCodes.indexOf("relu");

interface GemmOptions {
  readonly transA: boolean;
  readonly transB: boolean;
  /** relu of the result; default false. */
  readonly relu?: boolean;
}

/** A matrix operand as the kernel reads it: row-major, or the transpose of a row-major one (no copy for either). */
function layout(t: Tensor): { t: Tensor; transposed: boolean } {
  const batch = t.rank === 3 ? t.shape[0]! : 1;
  const [rows, columns] = t.shape.slice(-2) as [number, number];
  const b = t.rank === 3 ? t.strides[0]! : 0;
  const [r, c] = t.strides.slice(-2) as [number, number];
  const tight = (step: number, size: number, other: number): boolean =>
    (size === 1 || step === 1) && (batch === 1 || b === rows * columns) && other >= 0;
  if (tight(r, rows, c) && (columns === 1 || c === rows)) return { t, transposed: true };
  return { t: copied(t), transposed: false };
}

const gemmOp: Op<"a" | "b" | "bias", GemmOptions> = defineOp<"a" | "b" | "bias", GemmOptions>({
  // Matrices or batches of them: a [batch, m, k] ([batch, k, m] if transA), b [batch, k, n] ([batch, n, k]), bias [n];
  // a batch of 1 is used for all. Two single matrices may come without the batch.
  name: "gemm",
  inputs: ["a", "b", "bias"],
  forward: ([a, b, bias], { transA, transB, relu }) => {
    const p = a!.isContiguous() ? { t: a!, transposed: false } : layout(a!);
    const q = b!.isContiguous() ? { t: b!, transposed: false } : layout(b!);
    const single = a!.rank === 2;
    const at = single ? 0 : 1;
    const aBatch = single ? 1 : a!.shape[0]!;
    const bBatch = single ? 1 : b!.shape[0]!;
    const batch = aBatch === 0 || bBatch === 0 ? 0 : Math.max(aBatch, bBatch);
    const m = a!.shape[transA ? at + 1 : at]!;
    const k = a!.shape[transA ? at : at + 1]!;
    const n = b!.shape[transB ? at : at + 1]!;
    const y = empty(single ? [m, n] : [batch, m, n], a!.dtype);
    const sizes = [
      batch,
      m,
      n,
      k,
      transA !== p.transposed ? 1 : 0,
      transB !== q.transposed ? 1 : 0,
      aBatch === 1 ? 0 : m * k,
      bBatch === 1 ? 0 : k * n,
      0,
      bias ? 2 : 0,
      relu === true ? reluCode : 0,
    ];
    run("gemm", a!.dtype, sizes, [p.t, q.t, bias ? contiguous(bias) : null, y]);
    if (p.t !== a) p.t.dispose();
    if (q.t !== b) q.t.dispose();
    return y;
  },
  gradAll: {
    reads: (needs, { relu }) => [
      ...(needs("a") ? (["b"] as const) : []),
      ...(needs("b") ? (["a"] as const) : []),
      ...(relu === true ? (["output"] as const) : []),
    ],
    formula: (c) => {
      const { transA, transB, relu } = c.options;
      const dy = relu === true ? reluGradient(c.dy, c.output()) : c.dy;
      const product = (p: Tensor, q: Tensor, transP: boolean, transQ: boolean): Tensor =>
        gemm(p, q, { transA: transP, transB: transQ });
      let da: Tensor | null = null;
      let db: Tensor | null = null;
      if (c.needs("a")) {
        const b = c.input("b");
        da = sumTo(transA ? product(b, dy, transB, true) : product(dy, b, false, !transB), c.shape("a"));
      }
      if (c.needs("b")) {
        const a = c.input("a");
        db = sumTo(transB ? product(dy, a, true, transA) : product(a, dy, !transA, false), c.shape("b"));
      }
      return [da, db, c.needs("bias") ? sumTo(dy, c.shape("bias")) : null];
    },
  },
  samples: () => [
    { inputs: { a: [1, 3, 4], b: [1, 4, 5], bias: null }, options: { transA: false, transB: false } },
    { inputs: { a: [2, 4, 3], b: [2, 5, 4], bias: [5] }, options: { transA: true, transB: true } },
    { inputs: { a: [1, 2, 17], b: [3, 17, 33], bias: null }, options: { transA: false, transB: false } },
    { inputs: { a: [3, 17, 2], b: [1, 17, 5], bias: [5] }, options: { transA: true, transB: false } },
    { inputs: { a: [3, 4], b: [5, 4], bias: [5] }, options: { transA: false, transB: true } },
    { inputs: { a: [4, 3], b: [4, 2], bias: [2] }, options: { transA: true, transB: false, relu: true } },
    { inputs: { a: [2, 0, 3], b: [2, 3, 4], bias: null }, options: { transA: false, transB: false } },
    { inputs: { a: [1, 2, 0], b: [1, 0, 4], bias: [4] }, options: { transA: false, transB: false } },
    {
      inputs: { a: [1, 37, 70], b: [1, 41, 70], bias: [41] },
      options: { transA: false, transB: true },
      skip: ["gradcheck", "gradgradcheck"],
    }, // large: parity only
  ],
});

/** @internal op(a) op(b) for batches of matrices. */
export function gemm(a: Tensor, b: Tensor, options: GemmOptions, bias: Tensor | null = null): Tensor {
  return gemmOp([a, b, bias], options);
}

/** [batch, rows, columns] with the batch dimensions of `shape` joined. */
function asBatch(t: Tensor, batchShape: Shape): Tensor {
  const full = [...batchShape, ...t.shape.slice(-2)];
  const own = t.shape.slice(0, -2);
  if (numel(own) === 1) return reshape(t, [1, ...t.shape.slice(-2)]);
  return reshape(expand(t, full), [numel(batchShape), ...t.shape.slice(-2)]);
}

/**
 * The matrix product, as PyTorch's matmul: vectors are rows on the left and columns on the right, more than two
 * dimensions are batches of matrices that broadcast.
 *
 * Shapes: a [..., m, k], b [..., k, n]; result [..., m, n].
 * @throws {ShapeError} if the columns of a are not the rows of b
 */
export function matmul<D extends DType>(a: Tensor<D>, b: Tensor<D>): Tensor<D> {
  floating("matmul", "a", a);
  sameDType("matmul", "a", a, "b", b);
  if (a.rank === 0 || b.rank === 0)
    throw new ShapeError(
      `matmul: a ${format(a.shape)} and b ${format(b.shape)} need at least one dimension; use mul for scalars`,
    );
  const left: Tensor = a.rank === 1 ? unsqueeze(a, 0) : a;
  const right: Tensor = b.rank === 1 ? unsqueeze(b, 1) : b;
  const inner = left.shape.at(-1)!;
  const rows = right.shape.at(-2)!;
  if (inner !== rows) {
    throw new ShapeError(
      `matmul: a ${format(a.shape)} has ${inner} columns, so b needs ${inner} rows, but b is ${format(b.shape)}`,
    );
  }
  let y: Tensor;
  if (left.rank === 2 && right.rank === 2) {
    y = gemm(left, right, { transA: false, transB: false });
  } else if (left.rank > 2 && right.rank === 2) {
    // One product instead of many: the batches of a are more rows.
    const flat = gemm(reshape(left, [1, numel(left.shape.slice(0, -1)), inner]), unsqueeze(right, 0), {
      transA: false,
      transB: false,
    });
    y = reshape(flat, [...left.shape.slice(0, -1), right.shape[1]!]);
  } else {
    const batchShape = broadcastShapes("matmul", left.shape.slice(0, -2), right.shape.slice(0, -2));
    const product = gemm(asBatch(left, batchShape), asBatch(right, batchShape), { transA: false, transB: false });
    y = reshape(
      numel(batchShape) > 1 && product.shape[0] === 1
        ? expand(product, [numel(batchShape), ...product.shape.slice(1)])
        : product,
      [...batchShape, left.shape.at(-2)!, right.shape.at(-1)!],
    );
  }
  if (b.rank === 1) y = squeeze(y, -1);
  if (a.rank === 1) y = squeeze(y, b.rank === 1 ? -1 : -2);
  return y as Tensor<D>;
}

/**
 * x weightᵀ + bias.
 *
 * Shapes: x [..., inFeatures], weight [outFeatures, inFeatures], bias [outFeatures]; result [..., outFeatures].
 * @throws {ShapeError} if the last dimension of x is not inFeatures, or bias is not [outFeatures]
 */
export function linear<D extends DType>(x: Tensor<D>, weight: Tensor<D>, bias: Tensor<D> | null = null): Tensor<D> {
  return fullyConnected(x, weight, bias, false);
}

/** @internal relu(linear(x, weight, bias)) in one pass. */
export function linearRelu<D extends DType>(x: Tensor<D>, weight: Tensor<D>, bias: Tensor<D> | null): Tensor<D> {
  return fullyConnected(x, weight, bias, true);
}

function fullyConnected<D extends DType>(
  x: Tensor<D>,
  weight: Tensor<D>,
  bias: Tensor<D> | null,
  relu: boolean,
): Tensor<D> {
  floating("linear", "x", x);
  sameDType("linear", "x", x, "weight", weight);
  if (weight.rank !== 2)
    throw new ShapeError(`linear: weight must be [outFeatures, inFeatures], but it is ${format(weight.shape)}`);
  const [outFeatures, inFeatures] = weight.shape as [number, number];
  if (x.rank === 0 || x.shape.at(-1) !== inFeatures) {
    throw new ShapeError(
      `linear: weight ${format(weight.shape)} takes ${inFeatures} features in the last dimension of x, but x is ${format(x.shape)}`,
    );
  }
  if (bias !== null) {
    sameDType("linear", "x", x, "bias", bias);
    if (bias.rank !== 1 || bias.shape[0] !== outFeatures)
      throw new ShapeError(`linear: bias must be [${outFeatures}], but it is ${format(bias.shape)}`);
  }
  const options = { transA: false, transB: true, relu };
  if (x.rank === 2) return gemm(x, weight, options, bias) as Tensor<D>;
  const y = gemm(reshape(x, [numel(x.shape.slice(0, -1)), inFeatures]), weight, options, bias);
  return reshape(y, [...x.shape.slice(0, -1), outFeatures]) as Tensor<D>;
}

declare module "../core/tensor.js" {
  interface Tensor<D extends DType = DType> {
    matmul(other: Tensor<D>): Tensor<D>;
  }
}

installMethods({ matmul });
