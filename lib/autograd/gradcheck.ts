import type { TypedArray } from "../core/dtype.js";
import { ArgumentError, DTypeError, GradientError } from "../core/errors.js";
import { checkInteger, checkNumber, checkOptions } from "../core/options.js";
import { describe, format, numel, type Shape } from "../core/shape.js";
import { empty, isDifferentiable, isTensor, named, type Tensor } from "../core/tensor.js";
import { grad } from "./backward.js";
import { checkFunction } from "./functional.js";
import { enableGrad } from "./mode.js";
import { type Gradient, setRequiresGrad } from "./node.js";

/** Comparison of derivatives with finite differences, in float64: a tool for writers of ops and custom functions. */

/** A function under test: several tensors to one or several. */
export type Differentiable = (...inputs: Tensor[]) => Tensor | readonly Tensor[];

export interface GradcheckOptions {
  /** Half the distance of the two points of a difference quotient. Default 1e-6. */
  readonly eps?: number;
  /** A derivative may differ by `atol + rtol * |difference quotient|`. Default 1e-5. */
  readonly atol?: number;
  /** Default 1e-3. */
  readonly rtol?: number;
  /** Two backward passes of the same function may differ by this much. Default 0. */
  readonly nondeterminismTolerance?: number;
  /**
   * Compare one random projection of the Jacobian per input and output instead of every entry: for large inputs.
   * The message can then not say which element is wrong. Default false.
   */
  readonly fastMode?: boolean;
  /** Seed of the random gradients and directions. Default 0. */
  readonly seed?: number;
}

export interface GradgradcheckOptions extends GradcheckOptions {
  /** The gradients of the outputs at which the second derivative is checked. Default: random normal ones. */
  readonly gradOutputs?: Tensor | readonly Tensor[];
}

const knownOptions = ["eps", "atol", "rtol", "nondeterminismTolerance", "fastMode", "seed"];

interface Settings {
  readonly call: string;
  readonly eps: number;
  readonly atol: number;
  readonly rtol: number;
  readonly nondeterminismTolerance: number;
  readonly fastMode: boolean;
  readonly random: () => number;
}

function settings(call: string, options: GradcheckOptions): Settings {
  const { eps = 1e-6, atol = 1e-5, rtol = 1e-3, nondeterminismTolerance = 0, fastMode = false, seed = 0 } = options;
  return {
    call,
    eps: checkNumber(call, "eps", eps, Number.MIN_VALUE, 1),
    atol: checkNumber(call, "atol", atol, 0),
    rtol: checkNumber(call, "rtol", rtol, 0),
    nondeterminismTolerance: checkNumber(call, "nondeterminismTolerance", nondeterminismTolerance, 0),
    fastMode,
    random: generator(checkInteger(call, "seed", seed, 0)),
  };
}

/** Uniform numbers in (-1, 1): a linear congruential generator is enough for directions, and is the same everywhere. */
function generator(seed: number): () => number {
  let state = (Math.imul(seed, 2654435761) + 12345) >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return ((state >>> 8) / 2 ** 24) * 2 - 1;
  };
}

/** The function's outputs as a list; refuses anything but tensors. */
function evaluate(call: string, fn: Differentiable, inputs: readonly Tensor[]): readonly Tensor[] {
  checkFunction(call, fn);
  const result = fn(...inputs);
  const outputs = isTensor(result) ? [result] : result;
  if (!Array.isArray(outputs) || outputs.length === 0 || !outputs.every(isTensor)) {
    throw new ArgumentError(`${call}: the function must return a tensor or a list of tensors, got ${describe(result)}`);
  }
  return outputs;
}

function checkInputs(call: string, inputs: readonly Tensor[]): number[] {
  const checked: number[] = [];
  if (!Array.isArray(inputs))
    throw new ArgumentError(`${call}: inputs must be a list of tensors, got ${describe(inputs)}`);
  inputs.forEach((t, i) => {
    if (!isTensor(t)) throw new ArgumentError(`${call}: inputs[${i}] must be a tensor, got ${describe(t)}`);
    if (!t.requiresGrad) return;
    if (t.dtype !== "float64") {
      throw new DTypeError(
        `${call}: ${named(`inputs[${i}]`, t)} requires gradients and must be float64; difference quotients in float32 are too coarse`,
      );
    }
    if (t.shape.some((size, d) => size > 1 && t.strides[d] === 0)) {
      throw new ArgumentError(
        `${call}: ${named(`inputs[${i}]`, t)} has strides ${format(t.strides)}: elements that share memory cannot be moved one by ` +
          "one; pass a clone()",
      );
    }
    checked.push(i);
  });
  if (checked.length === 0) throw new ArgumentError(`${call}: at least one input must require gradients`);
  return checked;
}

/** Positions of a tensor's elements in its storage, in row-major order. */
function positions(t: Tensor): Float64Array {
  const out = new Float64Array(numel(t.shape));
  const index = new Array<number>(t.rank).fill(0);
  let position = t.offset;
  for (let i = 0; i < out.length; i++) {
    out[i] = position;
    for (let d = t.rank - 1; d >= 0; d--) {
      position += t.strides[d]!;
      if (++index[d]! < t.shape[d]!) break;
      position -= t.strides[d]! * t.shape[d]!;
      index[d] = 0;
    }
  }
  return out;
}

/** A contiguous float64 tensor with the given values. */
function fromValues(shape: Shape, value: (i: number) => number): Tensor<"float64"> {
  const t = empty(shape, "float64");
  const array = t.storage.array("float64");
  for (let i = 0; i < numel(shape); i++) array[i] = value(i);
  return t;
}

const valuesOf = (t: Tensor): TypedArray => t.data();

/** The gradients of `output` with respect to the checked inputs, zeros where nothing flows. */
function gradients(output: Tensor, inputs: readonly Tensor[], gradient: Tensor): readonly (TypedArray | null)[] {
  const found: readonly Gradient[] = grad(output, inputs, {
    gradOutputs: gradient,
    retainGraph: true,
    allowUnused: true,
  });
  return found.map((g) => (g === null ? null : valuesOf(g)));
}

function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

/**
 * Compares the gradients that backward computes with central difference quotients, for every floating output with
 * respect to every input that requires gradients. Also checks that two backward passes agree and that a gradient of
 * zeros gives zeros.
 *
 * @param fn the function; it must be deterministic
 * @param inputs its arguments: float64 where they require gradients, no elements that share memory
 * @returns true; everything else is an error
 * @throws {GradientError} if a derivative is wrong, naming output, input, element and both numbers
 */
export function gradcheck(
  fn: Differentiable,
  inputs: Tensor | readonly Tensor[],
  options: GradcheckOptions = {},
): true {
  checkOptions("gradcheck", options, knownOptions);
  return check(fn, isTensor(inputs) ? [inputs] : inputs, settings("gradcheck", options));
}

/**
 * Like `gradcheck` for the second derivative: checks the gradients of the gradients, with respect to the inputs and to
 * the gradients of the outputs.
 */
export function gradgradcheck(
  fn: Differentiable,
  inputs: Tensor | readonly Tensor[],
  options: GradgradcheckOptions = {},
): true {
  checkOptions("gradgradcheck", options, [...knownOptions, "gradOutputs"]);
  const list = isTensor(inputs) ? [inputs] : inputs;
  const set = settings("gradgradcheck", options);
  const checked = checkInputs("gradgradcheck", list);
  const shapes = evaluate("gradgradcheck", fn, list);
  const differentiable = shapes.map((t, i) => (t.requiresGrad ? i : -1)).filter((i) => i >= 0);
  if (differentiable.length === 0) {
    throw new GradientError("gradgradcheck: no output of the function depends on an input that requires gradients");
  }
  const given = isTensor(options.gradOutputs) ? [options.gradOutputs] : options.gradOutputs;
  const gradOutputs = differentiable.map((i, k) => {
    const own = given?.[k];
    const t = own ?? fromValues(shapes[i]!.shape, () => set.random() + set.random());
    return t.requiresGrad ? t : leafLike(t);
  });
  const first: Differentiable = (...all) => {
    const x = all.slice(0, list.length);
    const dy = all.slice(list.length);
    const outputs = evaluate("gradgradcheck", fn, x);
    return enableGrad(() =>
      grad(
        differentiable.map((i) => outputs[i]!),
        checked.map((i) => x[i]!),
        { gradOutputs: dy, createGraph: true, materializeGrads: true },
      ),
    );
  };
  return check(first, [...list, ...gradOutputs], set);
}

function leafLike(t: Tensor): Tensor {
  const values = valuesOf(t);
  const leaf = fromValues(t.shape, (i) => values[i]!);
  setRequiresGrad(leaf, true);
  return leaf;
}

function check(fn: Differentiable, inputs: readonly Tensor[], set: Settings): true {
  const { call } = set;
  const checked = checkInputs(call, inputs);
  const points = checked.map((i) => inputs[i]!);
  const outputs = enableGrad(() => evaluate(call, fn, inputs));
  const differentiable = outputs.map((t, i) => (t.requiresGrad ? i : -1)).filter((i) => i >= 0);
  for (const k of differentiable) {
    if (outputs[k]!.dtype !== "float64") {
      throw new DTypeError(`${call}: ${named(`output ${k}`, outputs[k])} must be float64 like the inputs`);
    }
    checkSideConditions(set, outputs[k]!, k, points);
  }
  // An output that is constant by declaration is compared only when nothing else is there: then it must be constant.
  const compared =
    differentiable.length > 0 ? differentiable : outputs.map((_, i) => i).filter((i) => isDifferentiable(outputs[i]!));
  (set.fastMode ? projections : jacobians)(set, { fn, inputs, checked, outputs, compared });
  return true;
}

/** What is compared: some outputs of `fn` (by number) with respect to some of its inputs. */
interface Case {
  readonly fn: Differentiable;
  readonly inputs: readonly Tensor[];
  readonly checked: readonly number[];
  readonly outputs: readonly Tensor[];
  readonly compared: readonly number[];
}

/** Two backward passes give the same, and a gradient of zeros gives zeros. */
function checkSideConditions(set: Settings, output: Tensor, k: number, points: readonly Tensor[]): void {
  const dy = fromValues(output.shape, set.random);
  const once = gradients(output, points, dy);
  const twice = gradients(output, points, dy);
  const zero = gradients(
    output,
    points,
    fromValues(output.shape, () => 0),
  );
  points.forEach((_, i) => {
    const [a, b, z] = [once[i], twice[i], zero[i]];
    for (let e = 0; e < (a?.length ?? 0); e++) {
      const difference = Math.abs(a![e]! - b![e]!);
      if (!(difference <= set.nondeterminismTolerance) && !Object.is(a![e], b![e])) {
        throw new GradientError(
          `${set.call}: backward is not deterministic: for output ${k}, input ${i}, element ${e} it gave ${a![e]} and then ${b![e]}`,
        );
      }
      if (z![e] !== 0) {
        throw new GradientError(
          `${set.call}: backward must multiply by the gradient of the output, but a gradient of zeros for output ${k} gave ${z![e]} ` +
            `for input ${i}, element ${e}`,
        );
      }
    }
  });
}

/** The values of the compared outputs of `fn` after `step` has changed the values of `t`, which `back` restores. */
function moved(
  set: Settings,
  { fn, inputs, compared }: Case,
  t: Tensor,
  step: (array: TypedArray) => void,
  back: (array: TypedArray) => void,
): readonly TypedArray[] {
  const array = t.storage.array("float64");
  step(array);
  try {
    const outputs = evaluate(set.call, fn, inputs);
    return compared.map((k) => valuesOf(outputs[k]!)); // before going back: outputs may be views of inputs
  } finally {
    back(array);
  }
}

function jacobians(set: Settings, run: Case): void {
  const { inputs, checked, outputs, compared } = run;
  const points = checked.map((i) => inputs[i]!);
  // analytic[k][i]: rows by output element, columns by input element.
  const analytic = compared.map((k) => {
    const output = outputs[k]!;
    return Array.from({ length: numel(output.shape) }, (_, row) =>
      output.requiresGrad
        ? gradients(
            output,
            points,
            fromValues(output.shape, (e) => (e === row ? 1 : 0)),
          )
        : [],
    );
  });
  points.forEach((t, i) => {
    const where = positions(t);
    for (let column = 0; column < where.length; column++) {
      const at = where[column]!;
      const value = t.storage.array("float64")[at]!;
      const put = (v: number) => (array: TypedArray) => {
        array[at] = v;
      };
      const [above, below] = [set.eps, -set.eps].map((by) => {
        return moved(set, run, t, put(value + by), put(value));
      });
      compared.forEach((k, c) => {
        for (let row = 0; row < analytic[c]!.length; row++) {
          const quotient = (above![c]![row]! - below![c]![row]!) / (2 * set.eps);
          const ours = analytic[c]![row]![i]?.[column] ?? 0;
          compare(set, ours, quotient, k, checked[i]!, `output element ${row}, input element ${column}`);
        }
      });
    }
  });
}

function projections(set: Settings, run: Case): void {
  const { inputs, checked, outputs, compared } = run;
  const points = checked.map((i) => inputs[i]!);
  const weights = compared.map((k) => fromValues(outputs[k]!.shape, set.random));
  const analytic = compared.map((k, c) =>
    outputs[k]!.requiresGrad ? gradients(outputs[k]!, points, weights[c]!) : [],
  );
  points.forEach((t, i) => {
    const where = positions(t);
    const direction = Float64Array.from(where, set.random);
    const values = Float64Array.from(where, (at) => t.storage.array("float64")[at]!);
    const put = (by: number) => (array: TypedArray) => {
      where.forEach((at, e) => {
        array[at] = values[e]! + by * direction[e]!;
      });
    };
    const [above, below] = [set.eps, -set.eps].map((by) => {
      const values = moved(set, run, t, put(by), put(0));
      return values.map((v, c) => dot(v, valuesOf(weights[c]!)));
    });
    compared.forEach((k, c) => {
      const quotient = (above![c]! - below![c]!) / (2 * set.eps);
      const gradient = analytic[c]![i];
      compare(set, gradient ? dot(gradient, direction) : 0, quotient, k, checked[i]!, "a random projection");
    });
  });
}

function compare(set: Settings, ours: number, quotient: number, output: number, input: number, where: string): void {
  const allowed = set.atol + set.rtol * Math.abs(quotient);
  if (Math.abs(ours - quotient) <= allowed) return;
  throw new GradientError(
    `${set.call}: the derivative of output ${output} with respect to input ${input} is wrong: for ${where} backward gives ${ours}, the ` +
      `difference quotient is ${quotient} (allowed difference ${allowed.toExponential(2)})`,
  );
}
