import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

/** Imports run downwards only. Types may be named anywhere below; nothing may be named above. */

const lib = fileURLToPath(new URL("../lib", import.meta.url));

/** Layers by folder, the lowest first; those with the same number do not import each other. */
const level: Readonly<Record<string, number>> = {
  core: 0,
  backend: 1,
  reference: 2,
  autograd: 3,
  ops: 4,
  nn: 5,
  optim: 6,
  io: 7,
  data: 8,
  train: 9,
  serve: 9,
  report: 10,
};
const top = 11;

/** Steps that the order above does not allow, each with its reason. */
const forbidden: readonly (readonly [string, string])[] = [
  // The engine knows no backend: it computes with the operations that lib/ops lends it.
  ["autograd", "reference"],
  ["autograd", "backend"],
];

const layerOf = (file: string): string => {
  const parts = relative(lib, file).split("/");
  return parts.length === 1 ? "index" : parts[0]!;
};

const files = readdirSync(lib, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts"))
  .map((name) => join(lib, name));

/** Every relative import or re-export of a file, static or dynamic. */
function importsOf(file: string): string[] {
  const text = readFileSync(file, "utf8")
    .replace(/\/\*[\s\S]*?\*\//g, "")
    .replace(/^\s*\/\/.*$/gm, "");
  return [...text.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]*)"/g)].map((m) => resolve(dirname(file), m[1]!));
}

it("every folder of lib has a place in the order", () => {
  for (const file of files) {
    const layer = layerOf(file);
    if (layer !== "index") expect(Object.keys(level), file).toContain(layer);
  }
});

it("imports run downwards only", () => {
  const wrong: string[] = [];
  let seen = 0;
  for (const file of files) {
    const layer = layerOf(file);
    const own = level[layer] ?? top;
    for (const target of importsOf(file)) {
      seen++;
      const other = layerOf(target);
      if (layer === other) continue;
      const below = level[other] ?? top;
      if (below >= own || forbidden.some(([a, b]) => a === layer && b === other)) {
        wrong.push(`${relative(lib, file)} imports ${relative(lib, target)}`);
      }
    }
  }
  expect(seen).toBeGreaterThan(100);
  expect(wrong).toEqual([]);
});

it("only lib/backend/load.ts loads the addon", () => {
  const loading = files.filter((file) => /\.node["'`]|node-gyp-build|process\.dlopen/.test(readFileSync(file, "utf8")));
  expect(loading.map((file) => relative(lib, file))).toEqual(["backend/load.ts"]);
});

it("only native/addon includes Node-API, only native/runtime/cpu reads CPUID", () => {
  const native = fileURLToPath(new URL("../native", import.meta.url));
  const sources = readdirSync(native, { recursive: true, encoding: "utf8" }).filter((n) => /\.(cpp|h|inl)$/.test(n));
  const matching = (pattern: RegExp): string[] =>
    sources.filter((name) => pattern.test(readFileSync(join(native, name), "utf8")));
  for (const name of matching(/#include\s*[<"](napi|node_api|js_native_api|node\.h|uv\.h)/))
    expect(name).toMatch(/^addon\//);
  for (const name of matching(/__get_cpuid|__cpuid|_xgetbv|cpuid\.h/)) expect(name).toMatch(/^runtime\/cpu\./);
});

it("kernels and simd pages see no C++ standard headers", () => {
  const native = fileURLToPath(new URL("../native", import.meta.url));
  for (const folder of ["kernels", "simd", "targets"]) {
    for (const name of readdirSync(join(native, folder))) {
      const headers = [...readFileSync(join(native, folder, name), "utf8").matchAll(/#include\s*<([^>]+)>/g)].map(
        (m) => m[1]!,
      );
      // C headers and the compiler's intrinsics only: anything else may emit weak symbols for this instruction set.
      for (const header of headers)
        expect(header, `${folder}/${name}`).toMatch(/^(std(int|def)\.h|.*intrin\.h|arm_neon\.h)$/);
    }
  }
});
