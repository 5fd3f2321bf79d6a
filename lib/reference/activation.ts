/** The activations that conv, gemm and batch_norm apply to what they store. */

import { type ActivationCode, activationCodes } from "../backend/abi.js";

const ceilings: Record<Exclude<ActivationCode, "none">, number> = { relu: Infinity, relu6: 6 };

/** Clamps the first `count` values in place; NaN stays NaN. */
export function activate(values: Float64Array, count: number, activation: number): void {
  const name = activationCodes[activation]!;
  if (name === "none") return;
  const ceiling = ceilings[name];
  for (let i = 0; i < count; i++) values[i] = Math.min(Math.max(values[i]!, 0), ceiling);
}

/** Whether the gradient passes where the activation's output is y. */
export function passesGradient(y: number, activation: number): boolean {
  const name = activationCodes[activation]!;
  return name === "none" || (y > 0 && (name === "relu" || y < ceilings[name]));
}
