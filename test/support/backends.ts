import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import {
  getBackend,
  getNumThreads,
  getPrecision,
  getTarget,
  setBackend,
  setNumThreads,
  setPrecision,
  setTarget,
  targets,
} from "./xcorr.js";

/**
 * Whether the addon was built; then it must load, and every test of it runs. XCORR_BACKEND=reference tests the
 * reference alone.
 */
export const nativeBuilt: boolean =
  process.env.XCORR_BACKEND !== "reference" &&
  existsSync(fileURLToPath(new URL("../../build/Release/xcorr.node", import.meta.url)));

/** Instruction sets to test: all that this machine can run; none where the addon was not built. */
export const nativeTargets: readonly string[] = nativeBuilt ? usable() : [];

function usable(): string[] {
  setBackend("native"); // throws with the reasons if the addon is there and does not load
  return targets();
}

/** Every way to compute: each usable target, and the reference. */
export const ways: readonly string[] = [...nativeTargets, "reference"];

/** Targets that must agree to the last bit: all but `generic`, which has no fused multiply-add. */
export const sameBits: readonly string[] = nativeTargets.filter((t) => t !== "generic");

/** The quickest way that is there. */
export const fastest: string = ways[0]!;

/** Computes `fn` one way (a target's name or "reference"), and goes back to what was set before. */
export function computing<T>(way: string, fn: () => T): T {
  const before = getBackend();
  if (way === "reference") {
    setBackend("reference");
    try {
      return fn();
    } finally {
      setBackend(before);
    }
  }
  setBackend("native");
  const target = getTarget();
  setTarget(way);
  try {
    return fn();
  } finally {
    setTarget(target);
    setBackend(before);
  }
}

export function withThreads<T>(count: number, fn: () => T): T {
  const before = getNumThreads();
  setNumThreads(count);
  try {
    return fn();
  } finally {
    setNumThreads(before);
  }
}

export function withPrecision<T>(mode: "exact" | "tight" | "default", fn: () => T): T {
  const before = getPrecision();
  setPrecision(mode);
  try {
    return fn();
  } finally {
    setPrecision(before);
  }
}
