import { ArgumentError, GradientError, ShapeError } from "../core/errors.js";
import { checkOptions } from "../core/options.js";
import { describe, format, sameShape } from "../core/shape.js";
import { collectAtRest } from "../core/memory.js";
import { isTensor, named, type Tensor } from "../core/tensor.js";
import { runBackward, storeGrad } from "./engine.js";
import { unrecorded } from "./mode.js";
import { type Edge, edgeOf, type Gradient } from "./node.js";
import { primitives } from "./primitives.js";

export interface BackwardOptions {
  /** The gradient of the tensor itself; may be left out for a tensor with one element (then it is 1). */
  gradient?: Tensor | null;
  /** Keep what the graph has saved, so that backward can run through it again. Default: `createGraph`. */
  retainGraph?: boolean;
  /** Record the backward pass, so that gradients can be differentiated. Default false. */
  createGraph?: boolean;
  /** Add gradients up only here (also in tensors that are no leaves). Default: in all leaves. */
  inputs?: readonly Tensor[];
}

export interface GradOptions {
  /** The gradients of the outputs, one each; may be left out for outputs with one element. */
  gradOutputs?: Tensor | null | readonly (Tensor | null)[];
  retainGraph?: boolean;
  createGraph?: boolean;
  /** Give null for an input that the outputs do not depend on, instead of an error. Default false. */
  allowUnused?: boolean;
  /** Give zeros for such an input. Default false. */
  materializeGrads?: boolean;
}

/** The edge of a tensor, or a GradientError that says what is missing. */
function edgeOrThrow(call: string, name: string, t: Tensor): Edge {
  if (!isTensor(t)) throw new ArgumentError(`${call}: ${name} must be a tensor, got ${describe(t)}`);
  const edge = edgeOf(t);
  if (edge === null) {
    throw new GradientError(
      `${call}: ${named(name, t)} does not require gradients and was not computed from anything that does; make the leaf ` +
        "with { requiresGrad: true }, and do not compute under noGrad",
    );
  }
  return edge;
}

/** Refuses what is no list; `what` says who needs it. */
function checkList(what: string, list: unknown): void {
  if (!Array.isArray(list)) throw new ArgumentError(`${what} a tensor or a list of tensors, got ${describe(list)}`);
}

/** @internal One tensor or a list of them, as a list without holes. */
export function listed(what: string, given: Tensor | readonly Tensor[]): readonly Tensor[] {
  if (isTensor(given)) return [given];
  checkList(what, given);
  const list: Tensor[] = [];
  for (const t of given) {
    list.push(t);
    if (!isTensor(t)) break; // the caller refuses it; what calls itself a list may be endless
  }
  return list;
}

/** The gradient a pass starts with: given and checked, or 1 for a tensor with one element. */
function startingGradient(
  call: string,
  output: Tensor,
  given: Tensor | null | undefined,
  createGraph: boolean,
): Tensor {
  if (given === null || given === undefined) {
    if (output.numel() !== 1) {
      throw new GradientError(
        `${call}: the gradient of a tensor ${format(output.shape)} must be given; only a tensor with one element has the implicit ` +
          "gradient 1 (sum() or mean() it first, or pass { gradient })",
      );
    }
    const one = unrecorded(() => primitives().filled(output.shape, output.dtype, 1));
    one.storage.transient = !createGraph; // the pass gives it back
    return one;
  }
  if (!isTensor(given)) throw new ArgumentError(`${call}: gradient must be a tensor, ${named("got", given)}`);
  if (!sameShape(given.shape, output.shape)) {
    throw new ShapeError(
      `${call}: the gradient must have the shape ${format(output.shape)} of the output, but it is ${format(given.shape)}`,
    );
  }
  return given.dtype === output.dtype ? given : primitives().cast(given, output.dtype);
}

/**
 * Adds the gradients of `tensors` (together) to `.grad` of the leaves they were computed from.
 * @throws {GradientError} if nothing was recorded, the graph was released by an earlier pass, or a saved tensor was changed
 */
export function backward(
  tensors: Tensor | readonly Tensor[],
  options: BackwardOptions & { gradients?: readonly (Tensor | null)[] } = {},
): void {
  checkOptions("backward", options, ["gradient", "gradients", "retainGraph", "createGraph", "inputs"]);
  const list = listed("backward: the tensor must be", tensors);
  if (options.gradients !== undefined) checkList("backward: gradients must be", options.gradients);
  const roots = list.map((t) => edgeOrThrow("backward", "the tensor", t));
  const createGraph = options.createGraph ?? false;
  const gradients = list.map((t, i) =>
    startingGradient("backward", t, options.gradients?.[i] ?? (i === 0 ? options.gradient : null), createGraph),
  );
  const retainGraph = options.retainGraph ?? createGraph;
  const inputs = options.inputs === undefined ? undefined : listed("backward: inputs must be", options.inputs);
  if (inputs !== undefined && inputs.length === 0)
    throw new ArgumentError("backward: inputs must name at least one tensor, got an empty list");
  const captures = inputs?.map((t, i) => edgeOrThrow("backward", `inputs[${i}]`, t)) ?? null;
  const captured = runBackward({ roots, gradients, retainGraph, createGraph, captures });
  inputs?.forEach((t, i) => {
    const gradient = captured[i];
    if (gradient) storeGrad(t, gradient, createGraph);
  });
  if (!retainGraph) collectAtRest(true);
}

/**
 * The gradients of `outputs` (summed) with respect to each of `inputs`. Adds nothing to `.grad`; runs only the part of
 * the graph that leads to the inputs, which need not be leaves.
 * @throws {GradientError} if an input does not require gradients, or the outputs do not depend on it (see `allowUnused`)
 */
export function grad(
  outputs: Tensor | readonly Tensor[],
  inputs: Tensor | readonly Tensor[],
  options: GradOptions & { allowUnused: true },
): (Tensor | null)[];
export function grad(
  outputs: Tensor | readonly Tensor[],
  inputs: Tensor | readonly Tensor[],
  options?: GradOptions,
): Tensor[];
export function grad(
  outputs: Tensor | readonly Tensor[],
  inputs: Tensor | readonly Tensor[],
  options: GradOptions = {},
): Gradient[] {
  checkOptions("grad", options, ["gradOutputs", "retainGraph", "createGraph", "allowUnused", "materializeGrads"]);
  const from = listed("grad: outputs must be", outputs);
  const to = listed("grad: inputs must be", inputs);
  if (options.gradOutputs !== undefined && !isTensor(options.gradOutputs))
    checkList("grad: gradOutputs must be", options.gradOutputs);
  if (to.length === 0) throw new ArgumentError("grad: inputs must name at least one tensor, got an empty list");
  const given = isTensor(options.gradOutputs) ? [options.gradOutputs] : (options.gradOutputs ?? []);
  if (given.length > from.length) {
    throw new ArgumentError(`grad: gradOutputs has ${given.length} entries for ${from.length} outputs`);
  }
  const roots = from.map((t, i) => edgeOrThrow("grad", `outputs[${i}]`, t));
  const createGraph = options.createGraph ?? false;
  const gradients = from.map((t, i) => startingGradient("grad", t, given[i], createGraph));
  const captures = to.map((t, i): Edge => {
    if (!isTensor(t)) throw new ArgumentError(`grad: inputs[${i}] must be a tensor, got ${describe(t)}`);
    const edge = edgeOf(t);
    if (edge === null) throw new GradientError(`grad: ${named(`inputs[${i}]`, t)} does not require gradients`);
    return edge;
  });
  const captured = runBackward({
    roots,
    gradients,
    retainGraph: options.retainGraph ?? createGraph,
    createGraph,
    captures,
  });
  return captured.map((gradient, i) => {
    if (gradient !== null) return gradient;
    if (options.materializeGrads) return primitives().filled(to[i]!.shape, to[i]!.dtype, 0);
    if (options.allowUnused) return null;
    throw new GradientError(
      `grad: the outputs do not depend on ${named(`inputs[${i}]`, to[i])}; pass { allowUnused: true } for null or { materializeGrads: true } for zeros`,
    );
  });
}
