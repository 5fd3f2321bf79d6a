import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import * as xcorr from "../lib/index.js";

/** What a user can import is what the types declare: nothing marked `@internal` is within reach at run time. */

const lib = fileURLToPath(new URL("../lib", import.meta.url));
const sources = readdirSync(lib, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts"))
  .map((name) => readFileSync(join(lib, name), "utf8"));

/** Names of exported values whose docstring says `@internal`, and those of all others. */
function exported(): { internal: Set<string>; open: Set<string> } {
  const internal = new Set<string>();
  const open = new Set<string>();
  const declaration =
    /(\/\*\*(?:(?!\*\/)[\s\S])*\*\/\s*)?^export (?:async )?(?:abstract )?(?:function\*?|class|const) (\w+)/gm;
  for (const source of sources) {
    for (const [, comment, name] of source.matchAll(declaration)) {
      (comment?.includes("@internal") ? internal : open).add(name!);
    }
  }
  return { internal, open };
}

describe("the package's names", () => {
  it("none is internal", () => {
    const { internal, open } = exported();
    expect(internal.size).toBeGreaterThan(100);
    expect(open.size).toBeGreaterThan(300);
    const hidden = (name: string): boolean => internal.has(name) && !open.has(name);
    expect(Object.keys(xcorr).filter(hidden)).toEqual([]);
    const { autograd, data, filters, io, nn, optim, report, serve, train } = xcorr;
    for (const [name, part] of Object.entries({ autograd, data, filters, io, nn, optim, report, serve, train })) {
      expect(Object.keys(part).filter(hidden), name).toEqual([]);
    }
    expect(Object.keys(nn.functional).filter(hidden)).toEqual([]);
  });
});
