import { execFileSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

/**
 * The linkage rule: the linker may pick one weak symbol for the whole addon, and one that was compiled for avx512 would
 * crash an older CPU. So what is compiled per instruction set exports its table and nothing else, and has no weak symbols.
 */

const root = fileURLToPath(new URL("../build", import.meta.url));
const targets = ["generic", "avx2", "avx512", "neon"] as const;

/** The instruction set that an object or archive was compiled for, by the last name in its path that is one. */
function targetOf(path: string): string | undefined {
  const names = /(?<=^|[/_.-])(generic|avx2|avx512|neon)(?=[/_.-]|$)/g;
  return [...path.matchAll(names)].at(-1)?.[1];
}

/** Those below build/, but for what the sanitizers put their own symbols into. */
function builtFor(target: string): string[] {
  if (!existsSync(root)) return [];
  return readdirSync(root, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".o") && /target/.test(name) && !/^test\/[at]san/.test(name))
    .filter((name) => targetOf(name) === target)
    .map((name) => join(root, name));
}

const nm = (file: string): { address: string; kind: string; name: string }[] =>
  execFileSync("nm", [file], { encoding: "utf8", maxBuffer: 1 << 26 })
    .split("\n")
    .map((line) => /^([0-9a-f]*)\s+(\S)\s+(\S+)/.exec(line))
    .filter((m) => m !== null)
    .map((m) => ({ address: m[1]!, kind: m[2]!, name: m[3]! }));

const found = targets.flatMap((target) => builtFor(target).map((file) => [target, file] as const));

describe.runIf(found.length > 0)("per-target objects", () => {
  it.each(found)("%s: %s exports its table only", (target, file) => {
    const symbols = nm(file);
    expect(symbols.length).toBeGreaterThan(10);
    const exported = symbols.filter((s) => /[A-TV-Z]/.test(s.kind));
    expect(exported.map((s) => s.name)).toHaveLength(1);
    expect(exported[0]!.name).toContain(target);
    const weak = symbols.filter((s) => /[vVwWu]/.test(s.kind));
    expect(weak.map((s) => s.name)).toEqual([]);
  });
});
