import type { OpDefinition, Op, Sample } from "../../lib/ops/define.js";
import { registry } from "../../lib/ops/define.js";
import { type Values, valuesOf } from "./compare.js";
import { TestRandom } from "./random.js";
import { type FloatDType, grad, manualSeed, type Tensor } from "./xcorr.js";

/** The registry's samples as calls that can be run, and their outcome as plain values. */

export type AnySample = Sample<string, unknown>;
export type AnyDefinition = OpDefinition<string, unknown>;

export const ops: readonly (readonly [string, Op])[] = [...registry.entries()].sort(([a], [b]) => (a < b ? -1 : 1));

/** Whether an op has a derivative with respect to input `i`. */
export function differentiable(definition: AnyDefinition, i: number): boolean {
  const name = definition.inputs[i]!;
  if (definition.gradAll !== undefined) return definition.gradAll.inputs?.includes(name) ?? true;
  return definition.grad?.[name] !== undefined;
}

const floating = (t: Tensor): boolean => t.dtype === "float32" || t.dtype === "float64";

/** The sample's inputs, the same numbers for the same seed in every element type. */
export function makeInputs(
  definition: AnyDefinition,
  sample: AnySample,
  dtype: FloatDType,
  seed: number,
): (Tensor | null)[] {
  return definition.inputs.map((name, i) => {
    const given = sample.inputs[name];
    if (given === undefined) throw new Error(`a sample of ${definition.name} does not say what input ${name} is`);
    if (given === null) return null;
    const random = new TestRandom(seed * 100 + i, dtype);
    const t = typeof given === "function" ? given(random) : random.normal(given);
    if (t.dtype !== dtype && floating(t)) throw new Error(`a sample of ${definition.name} makes ${name} as ${t.dtype}`);
    return t;
  });
}

/** Calls the op, always from the same point of the random stream. */
export function callOp(op: Op, inputs: readonly (Tensor | null)[], sample: AnySample): readonly Tensor[] {
  manualSeed(1234);
  return op.all(inputs, sample.options);
}

export interface Outcome {
  readonly outputs: readonly (Values | null)[];
  /** One per input with a derivative; null where nothing flows. */
  readonly gradients: readonly (Values | null)[];
}

/** Where a tensor of a sample may be put before the call. */
export type Arrange = (t: Tensor, role: string) => Tensor;

/** Runs a sample forward and, with random gradients of the outputs, backward. */
export function outcome(
  op: Op,
  sample: AnySample,
  dtype: FloatDType,
  seed: number,
  arrange: Arrange = (t) => t,
): Outcome {
  const definition = op.definition as AnyDefinition;
  const inputs = makeInputs(definition, sample, dtype, seed).map((t, i) =>
    t === null ? null : arrange(t, definition.inputs[i]!),
  );
  const leaves = inputs.filter((t, i): t is Tensor => t !== null && floating(t) && differentiable(definition, i));
  for (const leaf of leaves) leaf.requiresGrad_();
  const outputs = callOp(op, inputs, sample);
  const roots = outputs.filter((t) => t.requiresGrad);
  const random = new TestRandom(seed * 100 + 77, dtype);
  const gradOutputs = roots.map((t, i) => arrange(random.normal(t.shape), `gradient of output ${i}`));
  const values = outputs.map(valuesOf);
  const gradients =
    roots.length === 0 ? [] : grad(roots, leaves, { gradOutputs, allowUnused: true }).map((g) => valuesOf(g));
  return { outputs: values, gradients };
}

/** Compares two outcomes; returns a line that says what differs, or null. */
export function compareOutcomes(
  got: Outcome,
  expected: Outcome,
  compare: (a: Values | null, b: Values | null) => string | null,
): string | null {
  for (const part of ["outputs", "gradients"] as const) {
    if (got[part].length !== expected[part].length) {
      return `${got[part].length} ${part}, expected ${expected[part].length}`;
    }
    for (let i = 0; i < expected[part].length; i++) {
      const line = compare(got[part][i]!, expected[part][i]!);
      if (line !== null) return `${part}[${i}]: ${line}`;
    }
  }
  return null;
}

/** For messages: the sample's shapes and options. */
export function titleOf(definition: AnyDefinition, sample: AnySample, index: number): string {
  const inputs = definition.inputs.map((name) => {
    const given = sample.inputs[name];
    return `${name} ${typeof given === "function" ? "made" : given === null ? "absent" : `[${String(given)}]`}`;
  });
  return `sample ${index} (${inputs.join(", ")}; ${JSON.stringify(sample.options ?? {})})`;
}
