import type { DType } from "../core/dtype.js";
import { ArgumentError, ShapeError } from "../core/errors.js";
import { checkInteger, checkNumber, checkOptions } from "../core/options.js";
import { broadcastShapes, describe, format, normalizeDim, numel, type Shape, sameShape } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import { checkTensor, floating, ofRank, sameDType } from "./kernel.js";
import { matmul } from "./matmul.js";
import { installMethods } from "./methods.js";
import { add, mul } from "./pointwise.js";
import { diagonal } from "./rearrange.js";
import { sum } from "./reduce.js";
import { expand, permute, reshape, unsqueeze } from "./view.js";

/** Products of vectors, matrices and batches of matrices by their particular names; all are matmul underneath. */

function checkFactors(call: string, aName: string, a: unknown, bName: string, b: unknown): void {
  checkTensor(call, aName, a);
  checkTensor(call, bName, b);
  floating(call, aName, a);
  sameDType(call, aName, a, bName, b);
}

function checkInner(call: string, a: Tensor, b: Tensor): void {
  if (a.shape.at(-1) !== b.shape.at(-2)) {
    throw new ShapeError(
      `${call}: a ${format(a.shape)} has ${a.shape.at(-1)} columns, so b needs as many rows, but b is ${format(b.shape)}`,
    );
  }
}

/** The product of two matrices: a [m, k], b [k, n]; result [m, n]. */
export function mm<D extends DType>(a: Tensor<D>, b: Tensor<D>): Tensor<D> {
  checkFactors("mm", "a", a, "b", b);
  ofRank("mm", "a", a, 2, "[m, k]");
  ofRank("mm", "b", b, 2, "[k, n]");
  checkInner("mm", a, b);
  return matmul(a, b);
}

/** The products of two batches of matrices: a [batch, m, k], b [batch, k, n]; result [batch, m, n]. */
export function bmm<D extends DType>(a: Tensor<D>, b: Tensor<D>): Tensor<D> {
  checkFactors("bmm", "a", a, "b", b);
  ofRank("bmm", "a", a, 3, "[batch, m, k]");
  ofRank("bmm", "b", b, 3, "[batch, k, n]");
  if (a.shape[0] !== b.shape[0]) {
    throw new ShapeError(`bmm: a ${format(a.shape)} and b ${format(b.shape)} must have the same batch size`);
  }
  checkInner("bmm", a, b);
  return matmul(a, b);
}

/** A matrix times a vector: a [m, n], v [n]; result [m]. */
export function mv<D extends DType>(a: Tensor<D>, v: Tensor<D>): Tensor<D> {
  checkFactors("mv", "a", a, "v", v);
  ofRank("mv", "a", a, 2, "[m, n]");
  ofRank("mv", "v", v, 1, "[n]");
  if (a.shape[1] !== v.shape[0]) {
    throw new ShapeError(`mv: a ${format(a.shape)} has ${a.shape[1]} columns, but v has ${v.shape[0]} elements`);
  }
  return matmul(a, v);
}

/** The sum of products of two vectors of one length. */
export function dot<D extends DType>(a: Tensor<D>, b: Tensor<D>): Tensor<D> {
  checkTensor("dot", "a", a);
  checkTensor("dot", "b", b);
  sameDType("dot", "a", a, "b", b);
  ofRank("dot", "a", a, 1, "[n]");
  ofRank("dot", "b", b, 1, "[n]");
  if (a.shape[0] !== b.shape[0]) {
    throw new ShapeError(`dot: a has ${a.shape[0]} elements and b ${b.shape[0]}; they must be as many`);
  }
  return sum(mul(a, b));
}

/** All products of two vectors: a [m], b [n]; result [m, n]. */
export function outer<D extends DType>(a: Tensor<D>, b: Tensor<D>): Tensor<D> {
  checkTensor("outer", "a", a);
  checkTensor("outer", "b", b);
  ofRank("outer", "a", a, 1, "[m]");
  ofRank("outer", "b", b, 1, "[n]");
  return mul(unsqueeze(a, 1), b);
}

interface AddOptions {
  /** Factor of the first tensor; default 1. With 0 it is not read, so NaN in it does not matter. */
  readonly beta?: number;
  /** Factor of the product; default 1. */
  readonly alpha?: number;
}

function addProduct<D extends DType>(
  call: string,
  x: Tensor<D>,
  product: () => Tensor<D>,
  shape: Shape,
  options: AddOptions,
): Tensor<D> {
  checkTensor(call, "x", x);
  checkOptions(call, options, ["beta", "alpha"]);
  const beta = checkNumber(call, "beta", options.beta ?? 1);
  const alpha = checkNumber(call, "alpha", options.alpha ?? 1);
  if (!sameShape(broadcastShapes(call, x.shape, shape), shape)) {
    throw new ShapeError(`${call}: x ${format(x.shape)} does not broadcast to the product ${format(shape)}`);
  }
  const p = alpha === 1 ? product() : mul(product(), alpha);
  if (beta === 0) return p;
  return add(beta === 1 ? x : mul(x, beta), p) as Tensor<D>;
}

/** beta x + alpha a b: a [m, k], b [k, n]; x broadcasts to [m, n]. */
export function addmm<D extends DType>(x: Tensor<D>, a: Tensor<D>, b: Tensor<D>, options: AddOptions = {}): Tensor<D> {
  checkFactors("addmm", "a", a, "b", b);
  ofRank("addmm", "a", a, 2, "[m, k]");
  ofRank("addmm", "b", b, 2, "[k, n]");
  checkInner("addmm", a, b);
  return addProduct("addmm", x, () => mm(a, b), [a.shape[0]!, b.shape[1]!], options);
}

/** beta x + alpha a v: a [m, n], v [n]; x broadcasts to [m]. */
export function addmv<D extends DType>(x: Tensor<D>, a: Tensor<D>, v: Tensor<D>, options: AddOptions = {}): Tensor<D> {
  checkFactors("addmv", "a", a, "v", v);
  ofRank("addmv", "a", a, 2, "[m, n]");
  return addProduct("addmv", x, () => mv(a, v), [a.shape[0]!], options);
}

/** beta x + alpha a b of batches: a [batch, m, k], b [batch, k, n]; x broadcasts to [batch, m, n]. */
export function baddbmm<D extends DType>(
  x: Tensor<D>,
  a: Tensor<D>,
  b: Tensor<D>,
  options: AddOptions = {},
): Tensor<D> {
  checkFactors("baddbmm", "a", a, "b", b);
  ofRank("baddbmm", "a", a, 3, "[batch, m, k]");
  ofRank("baddbmm", "b", b, 3, "[batch, k, n]");
  checkInner("baddbmm", a, b);
  return addProduct("baddbmm", x, () => bmm(a, b), [a.shape[0]!, a.shape[1]!, b.shape[2]!], options);
}

/**
 * The sum of products over dimensions of a and b: the last `dims` of a and the first `dims` of b, or those of two lists.
 * The result has the other dimensions of a, then of b.
 */
export function tensordot<D extends DType>(
  a: Tensor<D>,
  b: Tensor<D>,
  dims: number | readonly [readonly number[], readonly number[]] = 2,
): Tensor<D> {
  const call = "tensordot";
  checkFactors(call, "a", a, "b", b);
  let ofA: number[];
  let ofB: number[];
  if (typeof dims === "number") {
    checkInteger(call, "dims", dims, 0, Math.min(a.rank, b.rank));
    ofA = Array.from({ length: dims }, (_, i) => a.rank - dims + i);
    ofB = Array.from({ length: dims }, (_, i) => i);
  } else {
    if (!Array.isArray(dims) || dims.length !== 2 || !dims.every(Array.isArray)) {
      throw new ArgumentError(`${call}: dims must be a number or two lists of dimensions, got ${describe(dims)}`);
    }
    ofA = dims[0].map((d) => normalizeDim(call, d, a.rank));
    ofB = dims[1].map((d) => normalizeDim(call, d, b.rank));
  }
  if (ofA.length !== ofB.length || ofA.some((d, i) => a.shape[d] !== b.shape[ofB[i]!])) {
    throw new ShapeError(
      `${call}: dimensions ${format(ofA)} of a ${format(a.shape)} and ${format(ofB)} of b ${format(b.shape)} must have equal sizes`,
    );
  }
  const restA = a.shape.map((_, i) => i).filter((i) => !ofA.includes(i));
  const restB = b.shape.map((_, i) => i).filter((i) => !ofB.includes(i));
  const inner = numel(ofA.map((d) => a.shape[d]!));
  const shapeA = restA.map((d) => a.shape[d]!);
  const shapeB = restB.map((d) => b.shape[d]!);
  const left = reshape(permute(a, [...restA, ...ofA]), [numel(shapeA), inner]);
  const right = reshape(permute(b, [...ofB, ...restB]), [inner, numel(shapeB)]);
  return reshape(matmul(left, right), [...shapeA, ...shapeB]);
}

interface Labelled {
  readonly t: Tensor;
  readonly labels: readonly string[];
}

/** The label of the dimension that is `fromEnd` before the last of those that "..." stands for: no letter. */
const dotsLabel = (fromEnd: number): string => String.fromCharCode(0x2460 + fromEnd);

/** The labels of a tensor's dimensions; "..." becomes as many as the letters leave over. */
function labelsOf(call: string, part: string, i: number, t: Tensor): string[] {
  const [before, after] = part.split("...") as [string, string?];
  const named = before.length + (after?.length ?? 0);
  if (after === undefined ? named !== t.rank : named > t.rank) {
    throw new ShapeError(`${call}: "${part}" names ${named} dimensions, but tensor ${i} is ${format(t.shape)}`);
  }
  if (after === undefined) return [...before];
  const dots = Array.from({ length: t.rank - named }, (_, d) => dotsLabel(t.rank - named - 1 - d));
  return [...before, ...dots, ...after];
}

/**
 * The sum of products that a formula such as "bij,bjk->bik" describes: one letter per dimension, those not in the result
 * are summed. "..." stands for all other dimensions, which broadcast: "...ij,jk->...ik".
 */
export function einsum<D extends DType>(formula: string, ...tensors: readonly Tensor<D>[]): Tensor<D> {
  const call = "einsum";
  if (typeof formula !== "string")
    throw new ArgumentError(`${call}: the formula must be a string, got ${describe(formula)}`);
  const [left, right, ...more] = formula.replaceAll(" ", "").split("->");
  const parts = left!.split(",");
  const isPart = (part: string): boolean => /^[A-Za-z]*(\.\.\.)?[A-Za-z]*$/.test(part);
  if (more.length > 0 || !parts.every(isPart) || !isPart(right ?? "")) {
    throw new ArgumentError(
      `${call}: the formula must be letters and "..." such as "ij,jk->ik", got ${describe(formula)}`,
    );
  }
  if (parts.length !== tensors.length) {
    throw new ArgumentError(
      `${call}: ${describe(formula)} describes ${parts.length} tensors, but ${tensors.length} were given`,
    );
  }
  const sizes = new Map<string, number>();
  const labelled: string[] = [];
  const operands = tensors.map((t, i): Labelled => {
    checkTensor(call, `tensor ${i}`, t);
    floating(call, `tensor ${i}`, t);
    if (i > 0) sameDType(call, "tensor 0", tensors[0]!, `tensor ${i}`, t);
    const labels = labelsOf(call, parts[i]!, i, t);
    labelled.push(...labels);
    labels.forEach((label, d) => {
      const own = t.shape[labels.indexOf(label)];
      if (own !== t.shape[d]) {
        throw new ShapeError(
          `${call}: "${label}" is twice in "${parts[i]}", but these dimensions of tensor ${i} ${format(t.shape)} have ${own} and ${t.shape[d]} elements`,
        );
      }
      const known = sizes.get(label) ?? t.shape[d]!;
      if (known !== t.shape[d] && known !== 1 && t.shape[d] !== 1) {
        throw new ShapeError(
          `${call}: "${label}" has size ${known} in one place and ${t.shape[d]} in dimension ${d} of tensor ${i} ${format(t.shape)}`,
        );
      }
      sizes.set(label, Math.max(known, t.shape[d]!));
    });
    return ownDiagonals({ t, labels });
  });
  const dots = [...sizes.keys()].filter((l) => l >= dotsLabel(0)).sort((p, q) => (p < q ? 1 : -1));
  const once = [...sizes.keys()].filter((l) => l < dotsLabel(0) && labelled.filter((k) => k === l).length === 1).sort();
  const result =
    right === undefined ? [...dots, ...once] : right.split("...").flatMap((p, i) => [...(i > 0 ? dots : []), ...p]);
  for (const label of result) {
    if (!sizes.has(label) || result.indexOf(label) !== result.lastIndexOf(label)) {
      throw new ArgumentError(
        `${call}: "${label}" in the result must be named once, and by a tensor, in ${describe(formula)}`,
      );
    }
  }
  let current = operands[0]!;
  for (let i = 1; i < operands.length; i++) {
    const later = new Set([...result, ...operands.slice(i + 1).flatMap((o) => o.labels)]);
    current = contract(current, operands[i]!, later);
  }
  const summed = summedAway(current, new Set(result));
  const missing = result.filter((l) => !summed.labels.includes(l));
  if (missing.length > 0) throw new ArgumentError(`${call}: ${missing.join("")} is not in any tensor`);
  return permute(
    summed.t,
    result.map((l) => summed.labels.indexOf(l)),
  ) as Tensor<D>;
}

/** A letter twice in one tensor is its diagonal. */
function ownDiagonals({ t, labels }: Labelled): Labelled {
  const second = labels.findIndex((l, i) => labels.indexOf(l) < i);
  if (second < 0) return { t, labels };
  const first = labels.indexOf(labels[second]!);
  const rest = labels.filter((_, i) => i !== first && i !== second);
  return ownDiagonals({ t: diagonal(t, 0, first, second), labels: [...rest, labels[second]!] });
}

function summedAway({ t, labels }: Labelled, keep: ReadonlySet<string>): Labelled {
  const away = labels.map((_, i) => i).filter((i) => !keep.has(labels[i]!));
  if (away.length === 0) return { t, labels };
  return { t: sum(t, { dim: away }), labels: labels.filter((l) => keep.has(l)) };
}

/** Two operands as one batched matrix product: shared letters that stay are the batch, shared ones that go are summed. */
function contract(x: Labelled, y: Labelled, later: ReadonlySet<string>): Labelled {
  const a = summedAway(x, new Set([...later, ...y.labels]));
  const b = summedAway(y, new Set([...later, ...x.labels]));
  const sizeOf = (l: string): number =>
    Math.max(...[a, b].map((o) => (o.labels.includes(l) ? o.t.shape[o.labels.indexOf(l)]! : 1)));
  const zero = (l: string): number =>
    [a, b].some((o) => o.labels.includes(l) && o.t.shape[o.labels.indexOf(l)] === 0) ? 0 : sizeOf(l);
  const shared = a.labels.filter((l) => b.labels.includes(l));
  const batch = shared.filter((l) => later.has(l));
  const gone = shared.filter((l) => !later.has(l));
  const left = a.labels.filter((l) => !shared.includes(l));
  const right = b.labels.filter((l) => !shared.includes(l));
  const shape = (ls: readonly string[]): number[] => ls.map(zero);
  const arrange = (o: Labelled, first: readonly string[], second: readonly string[]): Tensor => {
    const labels = [...batch, ...first, ...second];
    const t = permute(
      o.t,
      labels.map((l) => o.labels.indexOf(l)),
    );
    return reshape(expand(t, shape(labels)), [numel(shape(batch)), numel(shape(first)), numel(shape(second))]);
  };
  const product = matmul(arrange(a, left, gone), arrange(b, gone, right));
  const labels = [...batch, ...left, ...right];
  return { t: reshape(product, shape(labels)), labels };
}

declare module "../core/tensor.js" {
  interface Tensor<D extends DType = DType> {
    mm(other: Tensor<D>): Tensor<D>;
    bmm(other: Tensor<D>): Tensor<D>;
    mv(v: Tensor<D>): Tensor<D>;
    dot(other: Tensor<D>): Tensor<D>;
    outer(other: Tensor<D>): Tensor<D>;
    addmm(a: Tensor<D>, b: Tensor<D>, options?: { beta?: number; alpha?: number }): Tensor<D>;
    baddbmm(a: Tensor<D>, b: Tensor<D>, options?: { beta?: number; alpha?: number }): Tensor<D>;
  }
}

installMethods({ mm, bmm, mv, dot, outer, addmm, baddbmm });
