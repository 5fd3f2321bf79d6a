/** One step of each optimiser over the elements of one parameter: PyTorch's single-tensor formulas. */

import type { KernelSizes } from "../backend/abi.js";
import type { Operand, Operands } from "../backend/contract.js";
import { view, viewIfGiven } from "./strided.js";

/** The gradient to descend: negated to maximize. */
function signOf(s: { readonly maximize: number }): number {
  return s.maximize ? -1 : 1;
}

export function sgd_step(s: KernelSizes<"sgd_step">, [param, grad, momentum_buffer]: Operands<"sgd_step">): number {
  const p = view(param, s.count);
  const gradient = view(grad, s.count);
  const buffer = viewIfGiven(momentum_buffer, s.count);
  const sign = signOf(s);
  for (let i = 0; i < s.count; i++) {
    let g = sign * gradient[i]! + s.weight_decay * p[i]!;
    if (buffer !== null) {
      const momentum = s.step === 1 ? g : s.momentum * buffer[i]! + (1 - s.dampening) * g;
      buffer[i] = momentum;
      g = s.nesterov ? g + s.momentum * momentum : momentum;
    }
    p[i]! -= s.lr * g;
  }
  return 0;
}

/** Adam; AdamW if decoupled: then the decay shrinks the parameter and stays out of the moments. */
export function adam_step(s: KernelSizes<"adam_step">, [param, grad, m, v, v_max]: Operands<"adam_step">): number {
  const p = view(param, s.count);
  const gradient = view(grad, s.count);
  const first = view(m, s.count);
  const second = view(v, s.count);
  const largest = s.amsgrad ? view(given(v_max), s.count) : null;
  const sign = signOf(s);
  const stepSize = s.lr / (1 - s.beta1 ** s.step);
  const rootCorrection = Math.sqrt(1 - s.beta2 ** s.step);
  for (let i = 0; i < s.count; i++) {
    let value = p[i]!;
    let g = sign * gradient[i]!;
    if (s.decoupled) value *= 1 - s.lr * s.weight_decay;
    else g += s.weight_decay * value;
    const mean = s.beta1 * first[i]! + (1 - s.beta1) * g;
    const meanSquare = s.beta2 * second[i]! + (1 - s.beta2) * g * g;
    first[i] = mean;
    second[i] = meanSquare;
    let scale = meanSquare;
    if (largest !== null) {
      scale = Math.max(largest[i]!, meanSquare);
      largest[i] = scale;
    }
    p[i] = value - (stepSize * mean) / (Math.sqrt(scale) / rootCorrection + s.eps);
  }
  return 0;
}

function given(v_max: Operand | null): Operand {
  if (v_max === null) throw new Error("adam_step: amsgrad needs v_max, which is null");
  return v_max;
}

export function rmsprop_step(
  s: KernelSizes<"rmsprop_step">,
  [param, grad, square_avg, grad_avg, momentum_buffer]: Operands<"rmsprop_step">,
): number {
  const p = view(param, s.count);
  const gradient = view(grad, s.count);
  const squares = view(square_avg, s.count);
  const averages = viewIfGiven(grad_avg, s.count);
  const buffer = viewIfGiven(momentum_buffer, s.count);
  const sign = signOf(s);
  if (s.centered && averages === null) throw new Error("rmsprop_step: centered needs grad_avg, which is null");
  for (let i = 0; i < s.count; i++) {
    const g = sign * gradient[i]! + s.weight_decay * p[i]!;
    const meanSquare = s.alpha * squares[i]! + (1 - s.alpha) * g * g;
    squares[i] = meanSquare;
    let scale = meanSquare;
    if (s.centered && averages !== null) {
      const mean = s.alpha * averages[i]! + (1 - s.alpha) * g;
      averages[i] = mean;
      scale -= mean * mean;
    }
    let step = g / (Math.sqrt(scale) + s.eps);
    if (buffer !== null) {
      step += s.momentum * buffer[i]!;
      buffer[i] = step;
    }
    p[i]! -= s.lr * step;
  }
  return 0;
}

export function adagrad_step(s: KernelSizes<"adagrad_step">, [param, grad, sum]: Operands<"adagrad_step">): number {
  const p = view(param, s.count);
  const gradient = view(grad, s.count);
  const squares = view(sum, s.count);
  const sign = signOf(s);
  const rate = s.lr / (1 + (s.step - 1) * s.lr_decay);
  for (let i = 0; i < s.count; i++) {
    const g = sign * gradient[i]! + s.weight_decay * p[i]!;
    const total = squares[i]! + g * g;
    squares[i] = total;
    p[i]! -= (rate * g) / (Math.sqrt(total) + s.eps);
  }
  return 0;
}

export function nadam_step(s: KernelSizes<"nadam_step">, [param, grad, m, v]: Operands<"nadam_step">): number {
  const p = view(param, s.count);
  const gradient = view(grad, s.count);
  const first = view(m, s.count);
  const second = view(v, s.count);
  const sign = signOf(s);
  const correction = 1 - s.beta2 ** s.step;
  const gradientRate = (s.lr * (1 - s.mu)) / (1 - s.mu_product);
  const meanRate = (s.lr * s.mu_next) / (1 - s.mu_product * s.mu_next);
  for (let i = 0; i < s.count; i++) {
    let value = p[i]!;
    let g = sign * gradient[i]!;
    if (s.decoupled) value *= 1 - s.lr * s.weight_decay;
    else g += s.weight_decay * value;
    const mean = s.beta1 * first[i]! + (1 - s.beta1) * g;
    const meanSquare = s.beta2 * second[i]! + (1 - s.beta2) * g * g;
    first[i] = mean;
    second[i] = meanSquare;
    p[i] = value - (gradientRate * g + meanRate * mean) / (Math.sqrt(meanSquare / correction) + s.eps);
  }
  return 0;
}
