import { buildAdvice, collector, loadNative } from "../backend/load.js";
import type { NativeBackend } from "../backend/native.js";
import { backend, setLoader, useBackend } from "../backend/run.js";
import { ArgumentError, BackendError } from "../core/errors.js";
import { setMemoryHooks } from "../core/memory.js";
import { checkChoice } from "../core/options.js";
import { referenceBackend } from "./backend.js";

/** Which backend computes: native kernels where the addon loads, else the TypeScript reference, which says so once. */

let native: NativeBackend | null | undefined;
let tried: readonly string[] = [];

function nativeBackend(): NativeBackend | null {
  if (native === undefined) {
    const found = loadNative();
    native = found.backend;
    tried = found.tried;
    if (native !== null) setMemoryHooks(native.hooks(collector()));
  }
  return native;
}

function here(): string {
  return `${process.platform}-${process.arch}, Node ${process.versions.node}`;
}

setLoader(() => {
  const wanted = process.env.XCORR_BACKEND;
  if (wanted !== undefined && wanted !== "" && wanted !== "native" && wanted !== "reference") {
    throw new ArgumentError(`XCORR_BACKEND must be "native" or "reference", got ${JSON.stringify(wanted)}`);
  }
  if (wanted === "reference") return referenceBackend;
  const found = nativeBackend();
  if (found !== null) return found;
  if (wanted === "native") throw noNative();
  process.emitWarning(
    `xcorr: no native kernels for ${here()} (${tried.join("; ")}); computing with the slow TypeScript reference. To get them, ${buildAdvice}; ` +
      "XCORR_BACKEND=reference silences this",
  );
  return referenceBackend;
});

function noNative(): BackendError {
  return new BackendError(
    [
      `no native kernels for ${here()}. Looked in:`,
      ...tried.map((t) => `  ${t}`),
      `${buildAdvice},`,
      'or use setBackend("reference").',
    ].join("\n"),
  );
}

/**
 * Chooses what computes from now on: "native" (C++ kernels) or "reference" (plain TypeScript loops). Tensors stay valid.
 * @throws {BackendError} if the addon cannot be loaded, with every place that was tried
 */
export function setBackend(name: "native" | "reference"): void {
  checkChoice("setBackend", "name", name, ["native", "reference"]);
  if (name === "reference") {
    useBackend(referenceBackend);
    return;
  }
  const found = nativeBackend();
  if (found === null) throw noNative();
  useBackend(found);
}

/** "native" or "reference". */
export function getBackend(): "native" | "reference" {
  return backend().name;
}

function addonOrThrow(call: string): NativeBackend["addon"] {
  const found = nativeBackend();
  if (found === null) throw new BackendError(`${call}: ${noNative().message}`);
  return found.addon;
}

/** Threads that kernels use, the calling one included; default: all that the process may use. */
export function setNumThreads(count: number): void {
  if (!Number.isInteger(count) || count < 1 || count > 1024) {
    throw new ArgumentError(`setNumThreads: count must be an integer from 1 to 1024, got ${String(count)}`);
  }
  nativeBackend()?.addon.setThreads(count);
}

/** Threads that kernels use now; 1 without the addon. */
export function getNumThreads(): number {
  return nativeBackend()?.addon.threads() ?? 1;
}

/** Instruction sets this machine can run, best first; empty without the addon. */
export function targets(): string[] {
  return nativeBackend()?.addon.targets() ?? [];
}

/** The instruction set in use, or "reference". */
export function getTarget(): string {
  return getBackend() === "native" ? addonOrThrow("getTarget").target() : "reference";
}

/** Uses another instruction set from now on (XCORR_TARGET does it from the start). */
export function setTarget(name: string): void {
  const usable = targets();
  if (!usable.includes(name)) {
    throw new BackendError(
      `setTarget: ${JSON.stringify(name)} is not usable here; usable: ${usable.join(", ") || "none (no addon)"}`,
    );
  }
  addonOrThrow("setTarget").setTarget(name);
}

export type Precision = "exact" | "tight" | "default";
const precisions = ["exact", "tight", "default"] as const;
let precision: Precision = "default";

/**
 * How far convolution algorithms may trade accuracy for speed in float32: "exact" computes every product directly
 * (integers stay exact), "tight" adds Winograd F(2x2), "default" adds F(4x4), within 5e-6 of the largest output.
 */
export function setPrecision(mode: Precision): void {
  checkChoice("setPrecision", "mode", mode, precisions);
  precision = mode;
  nativeBackend()?.addon.setPrecision(precisions.indexOf(mode));
}

/** The precision mode in use; see `setPrecision`. */
export function getPrecision(): Precision {
  return precision;
}

/** Prints one line per kernel call on standard error: kernel, target, algorithm, sizes, time (XCORR_TRACE=1 from the start). */
export function setTrace(on: boolean): void {
  nativeBackend()?.addon.setTrace(on);
}

const fromEnvironment = process.env.XCORR_PRECISION;
if (fromEnvironment !== undefined && fromEnvironment !== "") {
  const mode = checkChoice("XCORR_PRECISION", "mode", fromEnvironment, precisions);
  if (mode !== "default") setPrecision(mode);
}
