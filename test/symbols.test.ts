import { execFileSync, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { nativeBuilt } from "./support/backends.js";

/** The binary runs wherever Node does: no symbol of a glibc after 2.28, no library beyond those that Node needs itself. */

const addon = fileURLToPath(new URL("../build/Release/xcorr.node", import.meta.url));
const readable = nativeBuilt && process.platform === "linux" && spawnSync("objdump", ["--version"]).status === 0;

describe.runIf(readable)("the addon's binary", () => {
  it("needs no glibc after 2.28", () => {
    const symbols = execFileSync("objdump", ["-T", addon], { encoding: "utf8" });
    const versions = [...symbols.matchAll(/GLIBC_2\.(\d+)/g)].map((m) => Number(m[1]));
    expect(versions.length).toBeGreaterThan(10);
    expect(Math.max(...versions)).toBeLessThanOrEqual(28);
    const compiler = [...symbols.matchAll(/GLIBCXX_3\.4\.(\d+)/g)].map((m) => Number(m[1]));
    expect(Math.max(0, ...compiler)).toBeLessThanOrEqual(25); // GCC 8, as old as glibc 2.28
  });

  it("needs the libraries that Node has loaded, and has no path of its own", () => {
    const header = execFileSync("objdump", ["-p", addon], { encoding: "utf8" });
    const needed = [...header.matchAll(/NEEDED\s+(\S+)/g)].map((m) => m[1]!);
    expect(needed.length).toBeGreaterThan(0);
    for (const name of needed)
      expect(name).toMatch(/^(libc|libm|libpthread|libdl|libgcc_s|libstdc\+\+|ld-linux.*)\.so/);
    expect(header).not.toMatch(/R(UN)?PATH/);
  });
});
