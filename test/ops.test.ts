import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { gradcheck, gradgradcheck } from "../lib/autograd/gradcheck.js";
import { poisonMemory } from "../lib/core/memory.js";
import type { Op } from "../lib/ops/define.js";
import { computing, fastest, nativeTargets, sameBits, ways, withPrecision, withThreads } from "./support/backends.js";
import { difference, differentBits } from "./support/compare.js";
import { expanded, layouts } from "./support/layouts.js";
import {
  type AnyDefinition,
  type AnySample,
  callOp,
  compareOutcomes,
  differentiable,
  makeInputs,
  ops,
  outcome,
  titleOf,
} from "./support/samples.js";
import { isGradEnabled, type Tensor, XcorrError } from "./support/xcorr.js";

/**
 * What every op of the registry must satisfy, made from its definition alone. All memory is filled with NaN before it
 * is handed out, so an element that a kernel forgets to write shows.
 */

beforeAll(() => poisonMemory(true));
afterAll(() => poisonMemory(false));

const tolerance64 = 1e-12;
const defaultTolerance32 = 2e-5;
/** Inputs up to this many elements are differentiated entry by entry, larger ones by random projections. */
const smallEnough = 160;

const samplesOf = (op: Op): readonly AnySample[] => op.definition.samples() as readonly AnySample[];

/** Runs `work` for every sample of an op and reports all that fail, not only the first. */
function forSamples(op: Op, work: (sample: AnySample, index: number) => string | null | undefined): void {
  const definition = op.definition as AnyDefinition;
  const failures: string[] = [];
  samplesOf(op).forEach((sample, index) => {
    let line: string | null | undefined;
    try {
      line = work(sample, index);
    } catch (error) {
      line = (error as Error).stack?.split("\n").slice(0, 4).join("\n    ") ?? String(error);
    }
    if (line) failures.push(`${titleOf(definition, sample, index)}: ${line}`);
  });
  expect(failures.join("\n"), `${op.definition.name} on ${fastest}`).toBe("");
}

/** The op as a function of its differentiable inputs that are there, and those inputs. */
function asFunction(
  op: Op,
  sample: AnySample,
  seed: number,
): { fn: (...x: Tensor[]) => readonly Tensor[]; x: Tensor[] } {
  const definition = op.definition as AnyDefinition;
  const inputs = makeInputs(definition, sample, "float64", seed);
  const places = inputs
    .map((t, i) => (t !== null && t.dtype === "float64" && differentiable(definition, i) ? i : -1))
    .filter((i) => i >= 0);
  const x = places.map((i) => inputs[i]!.requiresGrad_());
  const fn = (...given: Tensor[]): readonly Tensor[] => {
    const all = [...inputs];
    places.forEach((place, k) => {
      all[place] = given[k]!;
    });
    return callOp(op, all, sample);
  };
  return { fn, x };
}

const size = (tensors: readonly Tensor[]): number => tensors.reduce((n, t) => n + t.numel(), 0);

it("registers ops", () => {
  expect(ops.length).toBeGreaterThan(30);
});

describe.each(ops)("%s", (_name, op) => {
  const definition = op.definition as AnyDefinition;
  const hasDerivative = definition.inputs.some((_, i) => differentiable(definition, i));

  it("has samples", () => {
    expect(samplesOf(op).length).toBeGreaterThan(0);
    for (const sample of samplesOf(op)) {
      expect(Object.keys(sample.inputs).sort()).toEqual([...definition.inputs].sort());
    }
  });

  it("gives the same on every target and the reference", () => {
    forSamples(op, (sample, seed) => {
      for (const dtype of ["float64", "float32"] as const) {
        const tolerance = dtype === "float64" ? tolerance64 : (sample.tolerance ?? defaultTolerance32);
        const expected = computing("reference", () => outcome(op, sample, dtype, seed));
        for (const way of ways) {
          const got = computing(way, () => outcome(op, sample, dtype, seed));
          const line = compareOutcomes(got, expected, (a, b) => difference(a, b, tolerance));
          if (line !== null) return `${way} ${dtype} ${line}`;
        }
        // The reference in float32 is held against float64: the same values, but for rounding.
        if (dtype === "float32") {
          const exact = computing("reference", () => outcome(op, sample, "float64", seed));
          const line = compareOutcomes(expected, exact, (a, b) => difference(a, b, Math.max(tolerance, 1e-5) * 10));
          if (line !== null) return `reference float32 against float64: ${line}`;
        }
      }
      return null;
    });
  });

  if (nativeTargets.length > 0)
    it("gives the same bits with 1, 2 and 3 threads", () => {
      forSamples(op, (sample, seed) => {
        for (const dtype of ["float32", "float64"] as const) {
          const run = (threads: number) =>
            computing(fastest, () => withThreads(threads, () => outcome(op, sample, dtype, seed)));
          const one = run(1);
          for (const threads of [2, 3]) {
            const line = compareOutcomes(run(threads), one, differentBits);
            if (line !== null) return `${threads} threads, ${dtype}: ${line}`;
          }
        }
        return null;
      });
    });

  if (sameBits.length > 1)
    it(`gives the same bits on ${sameBits.join(", ")}`, () => {
      forSamples(op, (sample, seed) => {
        for (const dtype of ["float32", "float64"] as const) {
          const first = computing(sameBits[0]!, () => outcome(op, sample, dtype, seed));
          for (const target of sameBits.slice(1)) {
            const line = compareOutcomes(
              computing(target, () => outcome(op, sample, dtype, seed)),
              first,
              differentBits,
            );
            if (line !== null) return `${target} and ${sameBits[0]}, ${dtype}: ${line}`;
          }
        }
        return null;
      });
    });

  it("takes inputs and gradients in any layout", () => {
    forSamples(op, (sample, seed) => {
      if (sample.skip?.includes("layouts")) return null;
      for (const way of fastest === "reference" ? ["reference"] : [fastest, "reference"]) {
        const same = (arrange: Parameters<typeof outcome>[4], expected: ReturnType<typeof outcome>, what: string) => {
          const got = computing(way, () => outcome(op, sample, "float64", seed, arrange));
          const line = compareOutcomes(got, expected, (a, b) => difference(a, b, 1e-13));
          return line === null ? null : `${way}, ${what}: ${line}`;
        };
        const plain = computing(way, () => outcome(op, sample, "float64", seed));
        for (const [what, arrange] of Object.entries(layouts)) {
          const line = same(arrange, plain, what);
          if (line !== null) return line;
        }
        // Each operand and each gradient expanded (stride 0) in turn, against a contiguous copy of the same.
        const roles = new Set<string>();
        outcome(op, sample, "float64", seed, (t, role) => {
          if (t.rank > 0 && t.numel() > 0 && t.dtype === "float64") roles.add(role);
          return t;
        });
        for (const chosen of roles) {
          const expand = (t: Tensor, role: string): Tensor => (role === chosen ? expanded(t, 0) : t);
          const copy = (t: Tensor, role: string): Tensor => (role === chosen ? expanded(t, 0).clone() : t);
          const expected = computing(way, () => outcome(op, sample, "float64", seed, copy));
          const line = same(expand, expected, `${chosen} expanded`);
          if (line !== null) return line;
        }
      }
      return null;
    });
  });

  if (hasDerivative)
    it("passes gradcheck", () => {
      forSamples(op, (sample, seed) => {
        if (sample.skip?.includes("gradcheck")) return null;
        const { fn, x } = asFunction(op, sample, seed);
        if (x.length === 0) return null;
        computing(fastest, () => withPrecision("exact", () => gradcheck(fn, x, { fastMode: size(x) > smallEnough })));
        return null;
      });
    });

  if (hasDerivative)
    it("passes gradgradcheck", () => {
      forSamples(op, (sample, seed) => {
        if (sample.skip?.includes("gradgradcheck")) return null;
        const { fn, x } = asFunction(op, sample, seed);
        if (x.length === 0) return null;
        computing(fastest, () =>
          withPrecision("exact", () => gradgradcheck(fn, x, { fastMode: size(x) + size(fn(...x)) > smallEnough })),
        );
        return null;
      });
    });

  const refusals = definition.refusals?.() ?? [];
  if (refusals.length > 0)
    it("refuses what it must, and goes on", () => {
      for (const { call, message } of refusals) {
        for (let attempt = 0; attempt < 2; attempt++) {
          let caught: unknown;
          try {
            call();
          } catch (error) {
            caught = error;
          }
          expect(caught, `${String(message)} was not refused by ${String(call)}`).toBeInstanceOf(XcorrError);
          expect((caught as Error).message).toMatch(message);
          expect(isGradEnabled()).toBe(true);
        }
      }
    });
});
