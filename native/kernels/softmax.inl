// softmax, cross_entropy and their gradients over the middle of [outer, count, inner].
//
// All of them work on contiguous rows. With inner > 1, up to 16 neighbouring columns are turned into rows first, so
// that a row's result does not depend on where it lies. Sums over a row are kept in float64.
#pragma once
#include "reduce.inl"

namespace xcorr {
namespace {

constexpr int64_t kRowsOnStack = 4096;  // elements of columns turned into rows that a task keeps on its stack

// body(row, inputs, outputs) for every row of [outer, count, inner]: contiguous inputs read, outputs written back.
template <class T, int inputs, int outputs, class Body>
XCORR_INLINE int64_t for_each_row(const Runtime& runtime, int64_t outer, int64_t count, int64_t inner,
                                  const T* const (&x)[inputs], T* const (&y)[outputs < 1 ? 1 : outputs],
                                  const Body& body) {
  if (inner == 1) {
    run_ranges(runtime, outer, 8 * count, 1, [&](int64_t first, int64_t end) {  // exp costs about 8 copies
      for (int64_t row = first; row < end; row++) {
        const T* in[inputs];
        T* out[outputs < 1 ? 1 : outputs];
        for (int k = 0; k < inputs; k++) in[k] = x[k] + row * count;
        for (int k = 0; k < outputs; k++) out[k] = y[k] + row * count;
        body(row, in, out);
      }
    });
    return kOk;
  }
  int64_t width = kRowsOnStack / (count < 1 ? 1 : count);
  width = width < 1 ? 1 : width > 16 ? 16 : width;
  const int64_t strips = (inner + width - 1) / width;
  bool out_of_memory = false;
  run_ranges(runtime, outer * strips, 8 * count * width, 1, [&](int64_t first, int64_t end) {
    alignas(64) T stack[(inputs + outputs) * kRowsOnStack];
    T* memory = stack;
    if (count > kRowsOnStack) {
      memory = static_cast<T*>(runtime.scratch(4, (inputs + outputs) * count * (int64_t)sizeof(T)));
      if (!memory) {
        __atomic_store_n(&out_of_memory, true, __ATOMIC_RELAXED);
        return;
      }
    }
    for (int64_t strip = first; strip < end; strip++) {
      const int64_t column = strip % strips * width, left = inner - column, columns = left < width ? left : width;
      const int64_t base = strip / strips * count * inner + column;
      const int64_t plane = count * width;
      for (int k = 0; k < inputs; k++)
        for (int64_t i = 0; i < count; i++)
          for (int64_t j = 0; j < columns; j++) memory[k * plane + j * count + i] = x[k][base + i * inner + j];
      for (int64_t j = 0; j < columns; j++) {
        const T* in[inputs];
        T* out[outputs < 1 ? 1 : outputs];
        for (int k = 0; k < inputs; k++) in[k] = memory + k * plane + j * count;
        for (int k = 0; k < outputs; k++) out[k] = memory + (inputs + k) * plane + j * count;
        body(strip / strips * inner + column + j, in, out);
      }
      for (int k = 0; k < outputs; k++)
        for (int64_t i = 0; i < count; i++)
          for (int64_t j = 0; j < columns; j++)
            y[k][base + i * inner + j] = memory[(inputs + k) * plane + j * count + i];
    }
  });
  return out_of_memory ? kOutOfMemory : kOk;
}

// body(i, n) for vectors of n elements from i on; n is below the number of lanes only in the last.
template <class T, class Body>
XCORR_INLINE void for_each_vector(int64_t count, const Body& body) {
  constexpr int64_t lanes = Simd<T>::lanes;
  for (int64_t i = 0; i < count; i += lanes) body(i, int(count - i < lanes ? count - i : lanes));
}
template <class T>
XCORR_INLINE Vector<T> load_first(const T* p, int n) {
  return n == Simd<T>::lanes ? load(p) : load_partial(p, n);
}
template <class T>
XCORR_INLINE void store_first(T* p, Vector<T> v, int n) {
  if (n == Simd<T>::lanes)
    store(p, v);
  else
    store_partial(p, v, n);
}

XCORR_INLINE double log_scalar(double x) { return log(set1(x))[0]; }

// y = exp(x - shift); returns the sum. Without y nothing is kept.
template <class T, bool kept>
XCORR_INLINE double exp_row(const T* x, T shift, T* y, int64_t count) {
  const auto shift_vector = set1(shift);
  Wide<double> sum = Wide<double>::of(0);
  alignas(64) T block[16];
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    T* const to = kept ? y + i : block;
    for (int v = 0; v < 16; v += Simd<T>::lanes) store(to + v, exp(load(x + i + v) - shift_vector));
    sum.add(load16<double>(static_cast<const T*>(to)));
  }
  if (i < count) {
    for (int v = 0; v < 16; v++) block[v] = i + v < count ? x[i + v] : shift;
    for (int v = 0; v < 16; v += Simd<T>::lanes) store(block + v, exp(load(block + v) - shift_vector));
    if constexpr (kept) __builtin_memcpy(y + i, block, (count - i) * (int64_t)sizeof(T));
    sum.add(load16_partial<double>(static_cast<const T*>(block), count - i, T(0)));
  }
  return sum.sum();
}

// The sum of f(x, y) in float64; f(rest, 0) must be 0.
template <class T, class F>
XCORR_INLINE double sum_row(const T* x, const T* y, int64_t count, T rest, const F& f) {
  Wide<double> sum = Wide<double>::of(0);
  const auto add = [&](const Wide<double>& a, const Wide<double>& b) __attribute__((always_inline)) {
    for (int v = 0; v < Wide<double>::vectors; v++) sum.v[v] = sum.v[v] + f(a.v[v], b.v[v]);
  };
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) add(load16<double>(x + i), load16<double>(y + i));
  if (i < count) add(load16_partial<double>(x + i, count - i, rest), load16_partial<double>(y + i, count - i, T(0)));
  return sum.sum();
}

template <class T>
XCORR_INLINE void softmax_row(const T* x, T* y, int64_t count) {
  const T largest = fold_row<T, reduce::max>(x, count);
  const auto sum = set1((T)exp_row<T, true>(x, largest, y, count));
  for_each_vector<T>(count, [&](int64_t i, int n) { store_first(y + i, load_first(y + i, n) / sum, n); });
}

template <class T>
XCORR_INLINE void log_softmax_row(const T* x, T* y, int64_t count) {
  const T largest = fold_row<T, reduce::max>(x, count);
  const auto shift = set1(largest), log_sum = set1((T)log_scalar(exp_row<T, false>(x, largest, nullptr, count)));
  for_each_vector<T>(count, [&](int64_t i, int n) { store_first(y + i, load_first(x + i, n) - shift - log_sum, n); });
}

template <class T>
int64_t softmax(const SoftmaxSizes& s, const Runtime& runtime, void* const* operands) {
  const T* const from[] = {static_cast<const T*>(operands[0])};
  T* const to[] = {static_cast<T*>(operands[1])};
  return for_each_row<T, 1, 1>(runtime, s.outer, s.count, s.inner, from, to, [&](int64_t, const T** x, T** y) {
    if (s.log)
      log_softmax_row(x[0], y[0], s.count);
    else
      softmax_row(x[0], y[0], s.count);
  });
}

// softmax: dx = y (dy - sum(dy y)). log_softmax, whose y is the logarithm: dx = dy - exp(y) sum(dy).
template <class T>
int64_t softmax_grad(const SoftmaxSizes& s, const Runtime& runtime, void* const* operands) {
  const T* const from[] = {static_cast<const T*>(operands[0]), static_cast<const T*>(operands[1])};
  T* const to[] = {static_cast<T*>(operands[2])};
  return for_each_row<T, 2, 1>(runtime, s.outer, s.count, s.inner, from, to, [&](int64_t, const T** x, T** out) {
    const T *y = x[0], *dy = x[1];
    T* const dx = out[0];
    if (s.log) {
      const auto sum = set1((T)sum_row(dy, dy, s.count, T(0), [](VectorF64 a, VectorF64) { return a; }));
      for_each_vector<T>(s.count, [&](int64_t i, int n) {
        store_first(dx + i, fma(-exp(load_first(y + i, n)), sum, load_first(dy + i, n)), n);
      });
    } else {
      const auto sum = set1((T)sum_row(dy, y, s.count, T(0), [](VectorF64 a, VectorF64 b) { return a * b; }));
      for_each_vector<T>(s.count, [&](int64_t i, int n) {
        store_first(dx + i, load_first(y + i, n) * (load_first(dy + i, n) - sum), n);
      });
    }
  });
}

// 1 + the position of the first target that is neither a class nor ignore_index, or 0.
XCORR_INLINE int64_t first_bad_target(const CrossEntropySizes& s, const int32_t* target) {
  for (int64_t i = 0; i < s.outer * s.inner; i++)
    if (target[i] != s.ignore_index && (target[i] < 0 || target[i] >= s.classes)) return i + 1;
  return 0;
}

// loss = -(1 - smoothing) w[t] l[t] - smoothing / classes * sum_c w[c] l[c] with l = log_softmax(logits), w = 1 if
// absent.
template <class T>
int64_t cross_entropy(const CrossEntropySizes& s, const Runtime& runtime, void* const* operands) {
  const T* const from[] = {static_cast<const T*>(operands[0])};
  const int32_t* const target = static_cast<const int32_t*>(operands[1]);
  const T* const weight = static_cast<const T*>(operands[2]);
  T* const loss = static_cast<T*>(operands[3]);
  T* const none[] = {nullptr};
  if (const int64_t bad = first_bad_target(s, target)) return bad;
  return for_each_row<T, 1, 0>(runtime, s.outer, s.classes, s.inner, from, none, [&](int64_t row, const T** in, T**) {
    const T* const x = in[0];
    const int32_t label = target[row];
    if (label == s.ignore_index) {
      loss[row] = 0;
      return;
    }
    const T largest = fold_row<T, reduce::max>(x, s.classes);
    const double log_sum = log_scalar(exp_row<T, false>(x, largest, nullptr, s.classes));
    const double own = ((double)x[label] - (double)largest) - log_sum;
    double value = -(1 - s.smoothing) * (weight ? (double)weight[label] : 1) * own;
    if (s.smoothing != 0) {
      const auto shift = set1((double)largest), logarithm = set1(log_sum);
      const double sum = weight ? sum_row(x, weight, s.classes, largest,
                                          [=](VectorF64 a, VectorF64 w) { return w * ((a - shift) - logarithm); })
                                : sum_row(x, x, s.classes, largest, [=](VectorF64 a, VectorF64) { return a - shift; }) -
                                      (double)s.classes * log_sum;
      value -= s.smoothing / (double)s.classes * sum;
    }
    loss[row] = (T)value;
  });
}

// With probabilities p: dlogits[c] = dy ((1 - smoothing) w[t] (p[c] - [c = t]) + smoothing / classes (p[c] sum(w) -
// w[c])).
template <class T>
int64_t cross_entropy_grad(const CrossEntropySizes& s, const Runtime& runtime, void* const* operands) {
  const T* const from[] = {static_cast<const T*>(operands[0])};
  const int32_t* const target = static_cast<const int32_t*>(operands[1]);
  const T* const weight = static_cast<const T*>(operands[2]);
  const T* const dy = static_cast<const T*>(operands[3]);
  T* const to[] = {static_cast<T*>(operands[4])};
  if (const int64_t bad = first_bad_target(s, target)) return bad;
  const double smoothed = s.smoothing / (double)s.classes;
  const double weights = weight ? fold_row<T, reduce::sum>(weight, s.classes) : (double)s.classes;
  return for_each_row<T, 1, 1>(runtime, s.outer, s.classes, s.inner, from, to, [&](int64_t row, const T** in, T** out) {
    const int32_t label = target[row];
    T* const dx = out[0];
    if (label == s.ignore_index) {
      for (int64_t c = 0; c < s.classes; c++) dx[c] = 0;
      return;
    }
    const T largest = fold_row<T, reduce::max>(in[0], s.classes);
    const double sum = exp_row<T, true>(in[0], largest, dx, s.classes);
    const double own = (double)dy[row] * (1 - s.smoothing) * (weight ? (double)weight[label] : 1);
    const double spread = (double)dy[row] * smoothed;
    const T own_exp = dx[label];
    const auto factor = set1((T)((own + spread * weights) / sum)), minus = set1((T)-spread);
    for_each_vector<T>(s.classes, [&](int64_t i, int n) {
      const auto w = weight ? load_first(weight + i, n) : splat<T>(1);
      store_first(dx + i, fma(load_first(dx + i, n), factor, minus * w), n);
    });
    // The target's own place again in float64: p - 1 cancels.
    const double p = (double)own_exp / sum, w = weight ? (double)weight[label] : 1;
    dx[label] = (T)(own * (p - 1) + spread * (p * weights - w));
  });
}

}  // namespace
}  // namespace xcorr
