import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { describe, expect, it } from "vitest";
import { codes, kernelNames, kernels, sizesFields } from "../lib/backend/abi.js";
import { decodeSizes } from "../lib/backend/contract.js";
import type { Addon } from "../lib/backend/native.js";
import { nativeBuilt } from "./support/backends.js";

/** native/abi.h and lib/backend/abi.ts are one contract. */

interface Description {
  kernels: Record<string, readonly [sizes: string, types: string, operands: string[]]>;
  sizes: Record<string, string[]>;
  codes: Record<string, string[]>;
}

describe("abi.h as text", () => {
  const header = readFileSync(new URL("../native/abi.h", import.meta.url), "utf8");
  /** The names listed by a macro such as `#define XCORR_UNARY(U) U(neg) U(abs) ...`. */
  const listed = (macro: string): string[] => {
    const body = new RegExp(`#define ${macro}\\((\\w)\\)((?:[^\\n]*\\\\\\n)*[^\\n]*)`).exec(header);
    return [...body![2]!.matchAll(new RegExp(`\\b${body![1]!}\\((\\w+)`, "g"))].map((m) => m[1]!);
  };

  it.each(Object.entries(codes))("lists the same %s codes in the same order", (name, ours) => {
    expect(listed(`XCORR_${name.toUpperCase()}`)).toEqual([...ours]);
  });

  it("names every kernel", () => {
    for (const name of kernelNames) expect(header).toMatch(new RegExp(`\\b${name}\\b`));
  });
});

describe.runIf(nativeBuilt)("the addon's own description", () => {
  // Read when the tests run: without a built addon there is nothing to load.
  const read = (): Description =>
    JSON.parse((createRequire(import.meta.url)("../build/Release/xcorr.node") as Addon).describe()) as Description;

  it("has the same kernels in the same order", () => {
    const built = read();
    expect(Object.keys(built.kernels)).toEqual([...kernelNames]);
    for (const [name, kernel] of Object.entries(kernels)) expect(built.kernels[name], name).toEqual(kernel);
  });

  it("has the same sizes", () => {
    const built = read();
    expect(Object.keys(built.sizes).sort()).toEqual(Object.keys(sizesFields).sort());
    for (const [name, fields] of Object.entries(sizesFields)) expect(built.sizes[name], name).toEqual([...fields]);
  });

  it("has the same codes", () => {
    const built = read();
    for (const [name, list] of Object.entries(built.codes)) {
      expect(codes[name], name).toEqual(list);
    }
    expect(Object.keys(built.codes)).toEqual(expect.arrayContaining(["unary", "binary", "compare", "reduce"]));
  });
});

it("a call's flat sizes are named as declared, and a wrong count is refused", () => {
  expect(decodeSizes("reduce", [1, 2, 3, 4])).toEqual({ op: 1, outer: 2, count: 3, inner: 4 });
  expect(() => decodeSizes("reduce", [1, 2, 3])).toThrow(/ReduceSizes has 4 numbers/);
});
