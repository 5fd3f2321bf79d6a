import { ArgumentError, GradientError, ShapeError } from "../core/errors.js";
import { checkOptions } from "../core/options.js";
import { describe, format, numel, sameShape, type Shape } from "../core/shape.js";
import { alias, isTensor, type Tensor } from "../core/tensor.js";
import { grad, listed } from "./backward.js";
import { enableGrad, unrecorded } from "./mode.js";
import { type Gradient, setRequiresGrad } from "./node.js";
import { primitives } from "./primitives.js";

/** Derivatives of functions, rather than of recorded graphs. */

/** One tensor or several: results have the form of what was given. */
export type Tensors = Tensor | readonly Tensor[];
export type TensorFunction = (...inputs: Tensor[]) => Tensors;

export interface FunctionalOptions {
  /** Record the computation, so that the result can be differentiated with respect to the inputs. Default false. */
  readonly createGraph?: boolean;
}

const listOf = (call: string, given: Tensors): readonly Tensor[] => listed(`${call}: needs`, given);

/** @internal Refuses what is no function. */
export function checkFunction(call: string, fn: unknown): void {
  if (typeof fn !== "function") throw new ArgumentError(`${call}: needs a function of tensors, got ${describe(fn)}`);
}

/** Inputs of their own: copies of the window that require gradients, or recorded copies with createGraph. */
function prepare(call: string, inputs: Tensors, createGraph: boolean): Tensor[] {
  return listOf(call, inputs).map((t, i) => {
    if (!isTensor(t)) throw new ArgumentError(`${call}: inputs[${i}] must be a tensor, got ${describe(t)}`);
    if (createGraph && t.requiresGrad) return primitives().clone(t); // distinct even if a tensor is given twice
    const leaf = alias(t);
    setRequiresGrad(leaf, true);
    return leaf;
  });
}

function outputsOf(call: string, result: Tensors): readonly Tensor[] {
  const list = isTensor(result) ? [result] : result;
  if (!Array.isArray(list) || list.length === 0 || !list.every(isTensor)) {
    throw new ArgumentError(`${call}: the function must return a tensor or a list of tensors, got ${describe(result)}`);
  }
  return list as readonly Tensor[];
}

/** The given vectors, one per tensor and of its shape; for a single tensor with one element it may be left out (1). */
function vectors(call: string, what: string, given: Tensors | null | undefined, of: readonly Tensor[]): Tensor[] {
  if (given === null || given === undefined) {
    if (of.length !== 1 || of[0]!.numel() !== 1) {
      throw new GradientError(`${call}: v must be given unless the function has a single ${what} with one element`);
    }
    return [primitives().filled(of[0]!.shape, of[0]!.dtype, 1)];
  }
  const list = listOf(call, given);
  if (list.length !== of.length) {
    throw new ArgumentError(`${call}: v has ${list.length} tensors for ${of.length} ${what}s`);
  }
  return list.map((v, i) => {
    if (!isTensor(v) || !sameShape(v.shape, of[i]!.shape)) {
      throw new ShapeError(
        `${call}: v must have the shape of its ${what}, ${format(of[i]!.shape)}, but it is ${isTensor(v) ? format(v.shape) : describe(v)}`,
      );
    }
    return v;
  });
}

/** Gradients of those outputs that have a history; zeros where nothing flows. */
function gradients(
  outputs: readonly Tensor[],
  inputs: readonly Tensor[],
  given: readonly Tensor[],
  createGraph: boolean,
  retainGraph = createGraph,
): Tensor[] {
  const recorded = outputs.map((t, i) => (t.requiresGrad ? i : -1)).filter((i) => i >= 0);
  const found: readonly Gradient[] =
    recorded.length === 0
      ? inputs.map(() => null)
      : grad(
          recorded.map((i) => outputs[i]!),
          inputs,
          { gradOutputs: recorded.map((i) => given[i]!), createGraph, retainGraph, allowUnused: true },
        );
  return found.map((g, i) => g ?? primitives().filled(inputs[i]!.shape, inputs[i]!.dtype, 0));
}

/** Results in the form of what they belong to, as constants unless the graph was asked for. */
function formed<T extends Tensors>(like: T, list: readonly Tensor[], createGraph: boolean): T {
  const results = createGraph ? list : list.map((t) => (t.requiresGrad ? alias(t) : t));
  return (isTensor(like) ? results[0] : results) as unknown as T;
}

function flag(call: string, options: FunctionalOptions): boolean {
  checkOptions(call, options, ["createGraph"]);
  return options.createGraph ?? false;
}

/**
 * The product of a vector and the Jacobian: vᵀ ∂fn/∂inputs, by one backward pass.
 * @param v one tensor per output, of its shape; 1 if left out for a function with one number
 * @returns what fn returned, and one gradient per input
 */
export function vjp<I extends Tensors>(
  fn: TensorFunction,
  inputs: I,
  v?: Tensors | null,
  options: FunctionalOptions = {},
): [outputs: Tensors, vjp: I] {
  const createGraph = flag("vjp", options);
  checkFunction("vjp", fn);
  const x = prepare("vjp", inputs, createGraph);
  const result = enableGrad(() => fn(...x));
  const outputs = outputsOf("vjp", result);
  const found = enableGrad(() => gradients(outputs, x, vectors("vjp", "output", v, outputs), createGraph));
  return [formed(result, outputs, createGraph), formed(inputs, found, createGraph)];
}

/**
 * The product of the Jacobian and a vector: ∂fn/∂inputs v, by differentiating the backward pass, which is linear in the
 * gradient it starts with, with respect to that gradient.
 * @param v one tensor per input, of its shape; 1 if left out for a single input with one number
 * @returns what fn returned, and one derivative per output
 */
export function jvp(
  fn: TensorFunction,
  inputs: Tensors,
  v?: Tensors | null,
  options: FunctionalOptions = {},
): [outputs: Tensors, jvp: Tensors] {
  const createGraph = flag("jvp", options);
  checkFunction("jvp", fn);
  const x = prepare("jvp", inputs, createGraph);
  const directions = vectors("jvp", "input", v, x);
  const result = enableGrad(() => fn(...x));
  const outputs = outputsOf("jvp", result);
  const found = enableGrad(() => {
    const dummies = outputs.map((t) => {
      const u = primitives().filled(t.shape, t.dtype, 0);
      setRequiresGrad(u, true);
      return u;
    });
    const backward = gradients(outputs, x, dummies, true);
    return gradients(backward, dummies, directions, createGraph);
  });
  return [formed(result, outputs, createGraph), formed(result, found, createGraph)];
}

/** Rows of gradients, one per element of an output, as one tensor [...output shape, ...input shape]. */
function assemble(rows: readonly Tensor[], output: Shape, input: Tensor, createGraph: boolean): Tensor {
  const shape = [...output, ...input.shape];
  if (numel(shape) === 0) return primitives().filled(shape, input.dtype, 0);
  const stack = (): Tensor => primitives().stack(rows, shape);
  return createGraph ? enableGrad(stack) : unrecorded(stack);
}

/** By output, by input. */
function jacobians(outputs: readonly Tensor[], inputs: readonly Tensor[], createGraph: boolean): Tensor[][] {
  return outputs.map((output) => {
    const rows = Array.from({ length: output.numel() }, (_, element) =>
      gradients([output], inputs, [primitives().oneHot(output.shape, output.dtype, element)], createGraph, true),
    );
    return inputs.map((input, i) =>
      assemble(
        rows.map((row) => row[i]!),
        output.shape,
        input,
        createGraph,
      ),
    );
  });
}

/**
 * All derivatives of all outputs: for one output and one input a tensor [...output shape, ...input shape]; a list of
 * them for several inputs, and a list of these for several outputs. One backward pass per element of the outputs.
 */
export function jacobian<I extends Tensors>(
  fn: (...inputs: Tensor[]) => Tensor,
  inputs: I,
  options?: FunctionalOptions,
): I;
export function jacobian<I extends Tensors>(
  fn: (...inputs: Tensor[]) => readonly Tensor[],
  inputs: I,
  options?: FunctionalOptions,
): I[];
export function jacobian<I extends Tensors>(fn: TensorFunction, inputs: I, options: FunctionalOptions = {}): I | I[] {
  const createGraph = flag("jacobian", options);
  checkFunction("jacobian", fn);
  const x = prepare("jacobian", inputs, createGraph);
  const result = enableGrad(() => fn(...x));
  const outputs = outputsOf("jacobian", result);
  const table = enableGrad(() => jacobians(outputs, x, createGraph)).map((row) => formed(inputs, row, createGraph));
  return isTensor(result) ? table[0]! : table;
}

function scalar(call: string, result: Tensors): Tensor {
  if (!isTensor(result) || result.numel() !== 1) {
    throw new ShapeError(
      `${call}: the function must return a tensor with one element, got ${isTensor(result) ? format(result.shape) : describe(result)}`,
    );
  }
  return result;
}

/**
 * The second derivatives of a function with one number as its result: for one input a tensor [...shape, ...shape], for
 * several a list of lists, hessian[i][j] = ∂²fn / ∂inputs[i] ∂inputs[j].
 */
export function hessian(fn: (...inputs: Tensor[]) => Tensor, inputs: Tensor, options?: FunctionalOptions): Tensor;
export function hessian(
  fn: (...inputs: Tensor[]) => Tensor,
  inputs: readonly Tensor[],
  options?: FunctionalOptions,
): Tensor[][];
export function hessian(
  fn: (...inputs: Tensor[]) => Tensor,
  inputs: Tensors,
  options: FunctionalOptions = {},
): Tensor | Tensor[][] {
  const createGraph = flag("hessian", options);
  checkFunction("hessian", fn);
  const x = prepare("hessian", inputs, createGraph);
  const table = enableGrad(() => {
    const output = scalar("hessian", fn(...x));
    const first = gradients([output], x, vectors("hessian", "output", null, [output]), true);
    return jacobians(first, x, createGraph);
  }).map((row) => formed(listOf("hessian", inputs), row, createGraph));
  return isTensor(inputs) ? table[0]![0]! : (table as Tensor[][]);
}

/**
 * The product of a vector and the Hessian, vᵀ H, by two backward passes.
 * @param v one tensor per input, of its shape
 * @returns what fn returned, and one tensor per input
 */
export function vhp<I extends Tensors>(
  fn: (...inputs: Tensor[]) => Tensor,
  inputs: I,
  v?: Tensors | null,
  options: FunctionalOptions = {},
): [output: Tensor, vhp: I] {
  return product("vhp", fn, inputs, v, options);
}

/**
 * The product of the Hessian and a vector, H v. The Hessian is symmetric where second derivatives are continuous, so
 * this is `vhp` by its other name.
 */
export function hvp<I extends Tensors>(
  fn: (...inputs: Tensor[]) => Tensor,
  inputs: I,
  v?: Tensors | null,
  options: FunctionalOptions = {},
): [output: Tensor, hvp: I] {
  return product("hvp", fn, inputs, v, options);
}

function product<I extends Tensors>(
  call: string,
  fn: (...inputs: Tensor[]) => Tensor,
  inputs: I,
  v: Tensors | null | undefined,
  options: FunctionalOptions,
): [output: Tensor, product: I] {
  const createGraph = flag(call, options);
  checkFunction(call, fn);
  const x = prepare(call, inputs, createGraph);
  const given = vectors(call, "input", v, x);
  return enableGrad(() => {
    const output = scalar(call, fn(...x));
    const first = gradients([output], x, vectors(call, "output", null, [output]), true);
    const second = gradients(first, x, given, createGraph);
    return [formed(output, [output], createGraph), formed(inputs, second, createGraph)];
  });
}
