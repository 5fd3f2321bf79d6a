/** softmax and cross_entropy with their gradients: over the middle of [outer, count, inner]. */

import type { KernelSizes } from "../backend/abi.js";
import type { Operand, Operands } from "../backend/contract.js";

/**
 * Log-probabilities of the `count` logits from `first` on, `step` apart, into `into`: x - max - log(sum exp(x - max)),
 * which cannot overflow. NaN in gives NaN out, as do only -inf and any +inf.
 */
function logSoftmax(x: Operand, first: number, step: number, count: number, into: Float64Array): void {
  let largest = -Infinity;
  for (let i = 0; i < count; i++) largest = Math.max(largest, x.array[first + i * step]!);
  let sum = 0;
  for (let i = 0; i < count; i++) sum += Math.exp(x.array[first + i * step]! - largest);
  const logSum = Math.log(sum);
  for (let i = 0; i < count; i++) into[i] = x.array[first + i * step]! - largest - logSum;
}

export function softmax(s: KernelSizes<"softmax">, [x, y]: Operands<"softmax">): number {
  const logProbability = new Float64Array(s.count);
  for (let outer = 0; outer < s.outer; outer++) {
    for (let inner = 0; inner < s.inner; inner++) {
      const first = outer * s.count * s.inner + inner;
      logSoftmax(x, x.offset + first, s.inner, s.count, logProbability);
      for (let i = 0; i < s.count; i++) {
        const value = logProbability[i]!;
        y.array[y.offset + first + i * s.inner] = s.log ? value : Math.exp(value);
      }
    }
  }
  return 0;
}

/** softmax: dx = y (dy - sum(dy y)). log_softmax, whose output y is the logarithm: dx = dy - exp(y) sum(dy). */
export function softmax_grad(s: KernelSizes<"softmax_grad">, [y, dy, dx]: Operands<"softmax_grad">): number {
  for (let outer = 0; outer < s.outer; outer++) {
    for (let inner = 0; inner < s.inner; inner++) {
      const first = outer * s.count * s.inner + inner;
      let sum = 0;
      for (let i = 0; i < s.count; i++) {
        const at = first + i * s.inner;
        sum += s.log ? dy.array[dy.offset + at]! : dy.array[dy.offset + at]! * y.array[y.offset + at]!;
      }
      for (let i = 0; i < s.count; i++) {
        const at = first + i * s.inner;
        const value = y.array[y.offset + at]!;
        const gradient = dy.array[dy.offset + at]!;
        dx.array[dx.offset + at] = s.log ? gradient - Math.exp(value) * sum : value * (gradient - sum);
      }
    }
  }
  return 0;
}

/** 0, or 1 + the position of the first target that is neither a class nor ignore_index. */
function firstBadTarget(s: KernelSizes<"cross_entropy">, target: Operand): number {
  for (let i = 0; i < s.outer * s.inner; i++) {
    const label = target.array[target.offset + i]!;
    if (label !== s.ignore_index && (label < 0 || label >= s.classes)) return i + 1;
  }
  return 0;
}

/**
 * With log-probabilities l and class weights w (1 if absent):
 * loss = (1 - smoothing) (-w_target l_target) + smoothing / classes * sum_c(-w_c l_c), PyTorch's label smoothing.
 */
export function cross_entropy(
  s: KernelSizes<"cross_entropy">,
  [logits, target, weight, loss]: Operands<"cross_entropy">,
): number {
  const bad = firstBadTarget(s, target);
  if (bad !== 0) return bad;
  const logProbability = new Float64Array(s.classes);
  const weights = classWeights(s, weight);
  for (let outer = 0; outer < s.outer; outer++) {
    for (let inner = 0; inner < s.inner; inner++) {
      const at = outer * s.inner + inner;
      const label = target.array[target.offset + at]!;
      let value = 0;
      if (label !== s.ignore_index) {
        logSoftmax(logits, logits.offset + outer * s.classes * s.inner + inner, s.inner, s.classes, logProbability);
        value = -(1 - s.smoothing) * weights[label]! * logProbability[label]!;
        if (s.smoothing !== 0) {
          let sum = 0;
          for (let c = 0; c < s.classes; c++) sum += weights[c]! * logProbability[c]!;
          value -= (s.smoothing / s.classes) * sum;
        }
      }
      loss.array[loss.offset + at] = value;
    }
  }
  return 0;
}

/** With probabilities p: dlogits_c = dy ((1 - smoothing) w_target (p_c - [c = target]) + smoothing / classes (p_c sum(w) - w_c)). */
export function cross_entropy_grad(
  s: KernelSizes<"cross_entropy_grad">,
  [logits, target, weight, dy, dlogits]: Operands<"cross_entropy_grad">,
): number {
  const bad = firstBadTarget(s, target);
  if (bad !== 0) return bad;
  const logProbability = new Float64Array(s.classes);
  const weights = classWeights(s, weight);
  let weightSum = 0;
  for (let c = 0; c < s.classes; c++) weightSum += weights[c]!;
  const smoothed = s.smoothing / s.classes;
  for (let outer = 0; outer < s.outer; outer++) {
    for (let inner = 0; inner < s.inner; inner++) {
      const at = outer * s.inner + inner;
      const first = outer * s.classes * s.inner + inner;
      const label = target.array[target.offset + at]!;
      const ignored = label === s.ignore_index;
      if (!ignored) logSoftmax(logits, logits.offset + first, s.inner, s.classes, logProbability);
      const labelWeight = ignored ? 0 : (1 - s.smoothing) * weights[label]!;
      for (let c = 0; c < s.classes; c++) {
        let gradient = 0;
        if (!ignored) {
          const probability = Math.exp(logProbability[c]!);
          gradient = labelWeight * (probability - (c === label ? 1 : 0));
          gradient += smoothed * (probability * weightSum - weights[c]!);
          gradient *= dy.array[dy.offset + at]!;
        }
        dlogits.array[dlogits.offset + first + c * s.inner] = gradient;
      }
    }
  }
  return 0;
}

function classWeights(s: KernelSizes<"cross_entropy">, weight: Operand | null): Float64Array {
  const weights = new Float64Array(s.classes).fill(1);
  if (weight !== null) weights.set(weight.array.subarray(weight.offset, weight.offset + s.classes));
  return weights;
}
