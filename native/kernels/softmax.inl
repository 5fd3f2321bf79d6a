// softmax, log_softmax and their gradient over the middle of [outer, count, inner]. Sums are kept in float64.
//
// inner = 1: rows, each a few vectors long. Otherwise 16 neighbouring columns at a time, a column to a lane.
#pragma once
#include "reduce.inl"
#include "vectors.inl"

namespace xcorr {
namespace {

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

// 16 (or the last `count`) columns next to each other, `stride` elements from one row to the next.
struct ColumnStrip {
  int64_t count, stride;

  template <class T>
  XCORR_MEMBER Wide<T> load(const T* p) const {
    return count == 16 ? Wide<T>::load(p) : Wide<T>::load_partial(p, count);
  }
  template <class T>
  XCORR_MEMBER void store(T* p, const Wide<T>& w) const {
    if (count == 16) return w.store(p);
    alignas(64) T lane[16];
    w.store(lane);
    for (int64_t j = 0; j < count; j++) p[j] = lane[j];
  }
};

// body(strip, first element) for every strip of [outer, count, inner].
template <class Body>
XCORR_INLINE void for_each_strip16(const Runtime& runtime, int64_t outer, int64_t count, int64_t inner,
                                   const Body& body) {
  const int64_t strips = (inner + 15) / 16;
  run_ranges(runtime, outer * strips, 8 * 16 * count, 1, [&](int64_t first, int64_t end) {
    for (int64_t i = first; i < end; i++) {
      const int64_t column = i % strips * 16, left = inner - column;
      body(ColumnStrip{left < 16 ? left : 16, inner}, i / strips, column);
    }
  });
}

template <class T>
XCORR_INLINE Wide<double> widened(const Wide<T>& w) {
  if constexpr (__is_same(T, double)) return w;
  alignas(64) T lane[16];
  w.store(lane);
  return load16<double>(static_cast<const T*>(lane));
}
// f on the vectors of a and b.
template <class T, class F>
XCORR_INLINE Wide<T> combined(const Wide<T>& a, const Wide<T>& b, const F& f) {
  Wide<T> w;
  for (int v = 0; v < Wide<T>::vectors; v++) w.v[v] = f(a.v[v], b.v[v]);
  return w;
}

// The largest of each column, and the sum of exp(x - largest); with y, the exponentials are kept there.
template <class T>
struct ColumnSums {
  Wide<T> largest;
  Wide<double> sum;

  XCORR_MEMBER static ColumnSums of(const ColumnStrip& strip, const T* x, T* y, int64_t count) {
    using V = Vector<T>;
    ColumnSums c = {Wide<T>::of(T(-kInfinity)), Wide<double>::of(0)};
    for (int64_t i = 0; i < count; i++)
      c.largest = combined(
          c.largest, strip.load(x + i * strip.stride),
          [](V a, V b) __attribute__((always_inline)) { return select((b > a) | (b != b), b, a); });
    for (int64_t i = 0; i < count; i++) {
      const Wide<T> e = combined(
          strip.load(x + i * strip.stride), c.largest,
          [](V a, V b) __attribute__((always_inline)) { return exp(a - b); });
      if (y) strip.store(y + i * strip.stride, e);
      c.sum.add(widened(e));
    }
    return c;
  }
  // log(sum), and that or the sum itself as T.
  XCORR_MEMBER Wide<double> log_sum() const {
    return combined(
        sum, sum, [](VectorF64 a, VectorF64) __attribute__((always_inline)) { return log(a); });
  }
};

template <class T>
XCORR_INLINE Wide<T> narrowed(const Wide<double>& w) {
  if constexpr (__is_same(T, double)) return w;
  alignas(64) double wide[16];
  alignas(64) T lane[16];
  w.store(wide);
  for (int j = 0; j < 16; j++) lane[j] = (T)wide[j];
  return Wide<T>::load(lane);
}

template <class T>
XCORR_INLINE void softmax_columns(const SoftmaxSizes& s, const ColumnStrip& strip, const T* x, T* y) {
  using V = Vector<T>;
  const auto sums = ColumnSums<T>::of(strip, x, s.log ? nullptr : y, s.count);
  const Wide<T> last = narrowed<T>(s.log ? sums.log_sum() : sums.sum);
  for (int64_t i = 0; i < s.count; i++) {
    const int64_t at = i * strip.stride;
    if (s.log) {
      const auto apart = combined(strip.load(x + at), sums.largest, [](V a, V b) { return a - b; });
      strip.store(y + at, combined(apart, last, [](V a, V b) { return a - b; }));
    } else {
      strip.store(y + at, combined(strip.load(static_cast<const T*>(y + at)), last, [](V a, V b) { return a / b; }));
    }
  }
}

template <class T>
int64_t softmax(const SoftmaxSizes& s, const Runtime& runtime, void* const* operands) {
  const T* const x = static_cast<const T*>(operands[0]);
  T* const y = static_cast<T*>(operands[1]);
  if (s.inner == 1) {
    run_ranges(runtime, s.outer, 8 * s.count, 1, [&](int64_t first, int64_t end) {  // exp costs about 8 copies
      for (int64_t at = first * s.count; at < end * s.count; at += s.count) {
        if (s.log)
          log_softmax_row(x + at, y + at, s.count);
        else
          softmax_row(x + at, y + at, s.count);
      }
    });
  } else {
    for_each_strip16(runtime, s.outer, s.count, s.inner, [&](ColumnStrip strip, int64_t outer, int64_t column) {
      const int64_t at = outer * s.count * s.inner + column;
      softmax_columns(s, strip, x + at, y + at);
    });
  }
  return kOk;
}

// softmax: dx = y (dy - sum(dy y)). log_softmax, whose y is the logarithm: dx = dy - exp(y) sum(dy).
template <class T>
XCORR_INLINE void softmax_grad_row(const SoftmaxSizes& s, const T* y, const T* dy, T* dx) {
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
}
template <class T>
XCORR_INLINE void softmax_grad_columns(const SoftmaxSizes& s, const ColumnStrip& strip, const T* y, const T* dy,
                                       T* dx) {
  using V = Vector<T>;
  Wide<double> sum = Wide<double>::of(0);
  for (int64_t i = 0; i < s.count; i++) {
    const Wide<double> g = widened(strip.load(dy + i * strip.stride));
    if (s.log)
      sum.add(g);
    else
      sum.add_product(g, widened(strip.load(y + i * strip.stride)));
  }
  const Wide<T> total = narrowed<T>(sum);
  for (int64_t i = 0; i < s.count; i++) {
    const int64_t at = i * strip.stride;
    const Wide<T> g = strip.load(dy + at), value = strip.load(y + at);
    if (s.log) {
      const auto share = combined(value, total, [](V a, V b) { return exp(a) * b; });
      strip.store(dx + at, combined(g, share, [](V a, V b) { return a - b; }));
    } else {
      const auto apart = combined(g, total, [](V a, V b) { return a - b; });
      strip.store(dx + at, combined(value, apart, [](V a, V b) { return a * b; }));
    }
  }
}

template <class T>
int64_t softmax_grad(const SoftmaxSizes& s, const Runtime& runtime, void* const* operands) {
  const T* const y = static_cast<const T*>(operands[0]);
  const T* const dy = static_cast<const T*>(operands[1]);
  T* const dx = static_cast<T*>(operands[2]);
  if (s.inner == 1) {
    run_ranges(runtime, s.outer, 8 * s.count, 1, [&](int64_t first, int64_t end) {
      for (int64_t at = first * s.count; at < end * s.count; at += s.count)
        softmax_grad_row(s, y + at, dy + at, dx + at);
    });
  } else {
    for_each_strip16(runtime, s.outer, s.count, s.inner, [&](ColumnStrip strip, int64_t outer, int64_t column) {
      const int64_t at = outer * s.count * s.inner + column;
      softmax_grad_columns(s, strip, y + at, dy + at, dx + at);
    });
  }
  return kOk;
}

}  // namespace
}  // namespace xcorr
