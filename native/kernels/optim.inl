// One pass of an optimiser over a parameter: PyTorch's single-tensor formulas in the element type.
#pragma once
#include "parallel.inl"
#include "vectors.inl"

namespace xcorr {
namespace {

// step(i, n) for vectors of n elements from i on.
template <class T, class Step>
XCORR_INLINE int64_t for_each_parameter(const Runtime& runtime, int64_t count, const Step& step) {
  run_ranges(runtime, count, 4, 64, [&](int64_t first, int64_t end) {
    for_each_vector<T>(
        end - first, [&](int64_t i, int n) __attribute__((always_inline)) { step(first + i, n); });
  });
  return kOk;
}

// base^exponent for a step number, by squaring.
XCORR_INLINE double power_of_step(double base, int64_t exponent) {
  double result = 1;
  for (; exponent > 0; exponent >>= 1) {
    if (exponent & 1) result *= base;
    base *= base;
  }
  return result;
}

template <class T>
int64_t sgd_step(const SgdSizes& s, const Runtime& runtime, void* const* operands) {
  T* const param = static_cast<T*>(operands[0]);
  const T* const grad = static_cast<const T*>(operands[1]);
  T* const buffer = static_cast<T*>(operands[2]);
  using V = Vector<T>;
  const V sign = number<V>(s.maximize ? -1 : 1), decay = number<V>(s.weight_decay), momentum = number<V>(s.momentum);
  const V fresh = number<V>(1 - s.dampening), minus_lr = number<V>(-s.lr);
  const bool first = s.step == 1;
  return for_each_parameter<T>(
      runtime, s.count, [&](int64_t i, int n) __attribute__((always_inline)) {
        const V p = load_first(param + i, n);
        V g = fma(decay, p, sign * load_first(grad + i, n));
        if (buffer) {
          const V kept = first ? g : fma(momentum, load_first(buffer + i, n), fresh * g);
          store_first(buffer + i, kept, n);
          g = s.nesterov ? fma(momentum, kept, g) : kept;
        }
        store_first(param + i, fma(minus_lr, g, p), n);
      });
}

// Adam; AdamW if decoupled: then the decay shrinks the parameter and stays out of the moments.
template <class T>
int64_t adam_step(const AdamSizes& s, const Runtime& runtime, void* const* operands) {
  T* const param = static_cast<T*>(operands[0]);
  const T* const grad = static_cast<const T*>(operands[1]);
  T* const mean = static_cast<T*>(operands[2]);
  T* const square = static_cast<T*>(operands[3]);
  T* const largest = s.amsgrad ? static_cast<T*>(operands[4]) : nullptr;
  using V = Vector<T>;
  const V sign = number<V>(s.maximize ? -1 : 1), decay = number<V>(s.decoupled ? 0 : s.weight_decay);
  const V shrink = number<V>(s.decoupled ? 1 - s.lr * s.weight_decay : 1);
  const V beta1 = number<V>(s.beta1), beta2 = number<V>(s.beta2), rest1 = number<V>(1 - s.beta1),
          rest2 = number<V>(1 - s.beta2);
  const V minus_step = number<V>(-s.lr / (1 - power_of_step(s.beta1, s.step)));
  const V root_correction = number<V>(__builtin_sqrt(1 - power_of_step(s.beta2, s.step))), eps = number<V>(s.eps);
  return for_each_parameter<T>(
      runtime, s.count, [&](int64_t i, int n) __attribute__((always_inline)) {
        const V p = load_first(param + i, n) * shrink;
        const V g = fma(decay, p, sign * load_first(grad + i, n));
        const V m = fma(beta1, load_first(mean + i, n), rest1 * g);
        V v = fma(beta2, load_first(square + i, n), rest2 * g * g);
        store_first(mean + i, m, n);
        store_first(square + i, v, n);
        if (largest) {
          const V before = load_first(largest + i, n);
          v = select(before == before, max(before, v), before);  // NaN wins
          store_first(largest + i, v, n);
        }
        store_first(param + i, fma(minus_step, m / (sqrt(v) / root_correction + eps), p), n);
      });
}

template <class T>
int64_t rmsprop_step(const RmspropSizes& s, const Runtime& runtime, void* const* operands) {
  T* const param = static_cast<T*>(operands[0]);
  const T* const grad = static_cast<const T*>(operands[1]);
  T* const square = static_cast<T*>(operands[2]);
  T* const average = s.centered ? static_cast<T*>(operands[3]) : nullptr;
  T* const buffer = static_cast<T*>(operands[4]);
  using V = Vector<T>;
  const V sign = number<V>(s.maximize ? -1 : 1), decay = number<V>(s.weight_decay), alpha = number<V>(s.alpha);
  const V rest = number<V>(1 - s.alpha), eps = number<V>(s.eps), momentum = number<V>(s.momentum),
          minus_lr = number<V>(-s.lr);
  return for_each_parameter<T>(
      runtime, s.count, [&](int64_t i, int n) __attribute__((always_inline)) {
        const V p = load_first(param + i, n);
        const V g = fma(decay, p, sign * load_first(grad + i, n));
        V v = fma(alpha, load_first(square + i, n), rest * g * g);
        store_first(square + i, v, n);
        if (average) {
          const V m = fma(alpha, load_first(average + i, n), rest * g);
          store_first(average + i, m, n);
          v = fma(-m, m, v);
        }
        V update = g / (sqrt(v) + eps);
        if (buffer) {
          update = fma(momentum, load_first(buffer + i, n), update);
          store_first(buffer + i, update, n);
        }
        store_first(param + i, fma(minus_lr, update, p), n);
      });
}

template <class T>
int64_t adagrad_step(const AdagradSizes& s, const Runtime& runtime, void* const* operands) {
  T* const param = static_cast<T*>(operands[0]);
  const T* const grad = static_cast<const T*>(operands[1]);
  T* const sum = static_cast<T*>(operands[2]);
  using V = Vector<T>;
  const V sign = number<V>(s.maximize ? -1 : 1), decay = number<V>(s.weight_decay), eps = number<V>(s.eps);
  const V minus_rate = number<V>(-s.lr / (1 + (double)(s.step - 1) * s.lr_decay));
  return for_each_parameter<T>(
      runtime, s.count, [&](int64_t i, int n) __attribute__((always_inline)) {
        const V p = load_first(param + i, n);
        const V g = fma(decay, p, sign * load_first(grad + i, n));
        const V total = fma(g, g, load_first(sum + i, n));
        store_first(sum + i, total, n);
        store_first(param + i, fma(minus_rate, g / (sqrt(total) + eps), p), n);
      });
}

template <class T>
int64_t nadam_step(const NadamSizes& s, const Runtime& runtime, void* const* operands) {
  T* const param = static_cast<T*>(operands[0]);
  const T* const grad = static_cast<const T*>(operands[1]);
  T* const mean = static_cast<T*>(operands[2]);
  T* const square = static_cast<T*>(operands[3]);
  using V = Vector<T>;
  const V sign = number<V>(s.maximize ? -1 : 1), decay = number<V>(s.decoupled ? 0 : s.weight_decay);
  const V shrink = number<V>(s.decoupled ? 1 - s.lr * s.weight_decay : 1), eps = number<V>(s.eps);
  const V beta1 = number<V>(s.beta1), beta2 = number<V>(s.beta2), rest1 = number<V>(1 - s.beta1),
          rest2 = number<V>(1 - s.beta2);
  const V correction = number<V>(1 - power_of_step(s.beta2, s.step));
  const V gradient_rate = number<V>(-s.lr * (1 - s.mu) / (1 - s.mu_product));
  const V mean_rate = number<V>(-s.lr * s.mu_next / (1 - s.mu_product * s.mu_next));
  return for_each_parameter<T>(
      runtime, s.count, [&](int64_t i, int n) __attribute__((always_inline)) {
        const V p = load_first(param + i, n) * shrink;
        const V g = fma(decay, p, sign * load_first(grad + i, n));
        const V m = fma(beta1, load_first(mean + i, n), rest1 * g);
        const V v = fma(beta2, load_first(square + i, n), rest2 * g * g);
        store_first(mean + i, m, n);
        store_first(square + i, v, n);
        const V divisor = sqrt(v / correction) + eps;
        store_first(param + i, fma(mean_rate, m / divisor, fma(gradient_rate, g / divisor, p)), n);
      });
}

}  // namespace
}  // namespace xcorr
