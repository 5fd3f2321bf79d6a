import { createRequire } from "node:module";
import * as v8 from "node:v8";
import * as vm from "node:vm";
import type { MemoryHooks } from "../core/memory.js";
import { type Addon, NativeBackend } from "./native.js";

/** Finds the addon: the local build, then the binary that came with the package, then the package of this platform. */

const require = createRequire(import.meta.url);

/** Where the addon may be, best first. Specifiers are static, so that bundlers can see them. */
function candidates(): { readonly where: string; readonly load: () => Addon }[] {
  const platform = `@xcorr/${process.platform}-${process.arch}`;
  const prebuilt = `../../prebuilds/${process.platform}-${process.arch}/xcorr.node`;
  return [
    {
      where: "the local build, build/Release/xcorr.node",
      load: () => require("../../build/Release/xcorr.node") as Addon,
    },
    { where: `the package's own binary, ${prebuilt.slice(6)}`, load: () => require(prebuilt) as Addon },
    { where: `the package ${platform}`, load: () => require(platform) as Addon },
  ];
}

export interface LoadResult {
  readonly backend: NativeBackend | null;
  /** One line per place that was tried, with the reason why it was not used. */
  readonly tried: readonly string[];
}

/** Loads the native backend, or says why there is none. */
export function loadNative(): LoadResult {
  const tried: string[] = [];
  for (const { where, load } of candidates()) {
    try {
      return { backend: new NativeBackend(load()), tried };
    } catch (error) {
      tried.push(`${where}: ${(error as Error).message.split("\n")[0]}`);
    }
  }
  return { backend: null, tried };
}

/** How to get the native kernels, for messages. */
export const buildAdvice =
  "build them with `npx xcorr-build` (in a checkout: `npm run build:native`), which needs a C++20 compiler such as g++ 11, make and Python 3";

/**
 * V8's collector as a function, for the memory pool: the engine offers it to contexts made while the flag is set. Node
 * documents setFlagsFromString; where an embedder forbids it, or the user with XCORR_COLLECT=0, the pool does without.
 *
 * What is set holds for the whole process, so it is little: the room for young objects keeps the size it has when the
 * library is first used. There is no gentler way: the size's limit is read once, when V8 starts, and `gc` grows nothing.
 */
export function collector(): MemoryHooks["collect"] | undefined {
  if (process.env.XCORR_COLLECT === "0") return undefined;
  try {
    v8.setFlagsFromString("--expose-gc");
    const gc = vm.runInNewContext("gc") as ((options?: { type: "minor" }) => void) | undefined;
    v8.setFlagsFromString("--no-expose-gc");
    if (typeof gc !== "function") return undefined;
    // The pool asks for a young collection before many objects have come together, so the room for young objects needs not
    // double with the survivors of every thousand steps: it would look like a leak.
    v8.setFlagsFromString("--semi-space-growth-factor=1");
    // On Node 20 only the call without options is a full collection ({ type: "major" } is a scavenge there too).
    // A young collection is small: alone it takes half a millisecond, while with V8's helpers the event loop waits until
    // the compute threads let them onto a core.
    return (all, compact = false) => {
      if (compact) v8.setFlagsFromString("--compact-on-every-full-gc"); // Node 20 to 26 have it
      if (all) gc();
      if (compact) v8.setFlagsFromString("--no-compact-on-every-full-gc");
      if (all) return;
      v8.setFlagsFromString("--no-parallel-scavenge");
      gc({ type: "minor" });
      v8.setFlagsFromString("--parallel-scavenge");
    };
  } catch {
    return undefined;
  }
}
