// cross_entropy and its gradient over [outer, classes, inner]: softmax and loss in one pass over the logits.
#pragma once
#include "softmax.inl"
#include "transpose.inl"

namespace xcorr {
namespace {

// 1 + the position of the first target that is neither a class nor ignore_index, or 0.
XCORR_INLINE int64_t first_bad_target(const CrossEntropySizes& s, const int32_t* target) {
  for (int64_t i = 0; i < s.outer * s.inner; i++)
    if (target[i] != s.ignore_index && (target[i] < 0 || target[i] >= s.classes)) return i + 1;
  return 0;
}

// What both directions share: weights w (1 if absent) and the two factors of label smoothing.
template <class T>
struct CrossEntropy {
  const CrossEntropySizes& s;
  const int32_t* target;
  const T* weight;

  // Read once: a target that another thread changed since the check, and is no class now, is left out.
  XCORR_MEMBER int64_t label(int64_t row) const {
    const int32_t label = __atomic_load_n(target + row, __ATOMIC_RELAXED);
    return label >= 0 && label < s.classes ? label : s.ignore_index;
  }
  XCORR_MEMBER double weight_of(int64_t label) const { return weight ? (double)weight[label] : 1.0; }
  // loss = -(1 - smoothing) w[t] l[t] - smoothing / classes * sum_c w[c] l[c] with l = log_softmax(logits).
  XCORR_MEMBER T loss(int64_t label, double own, double all) const {
    const double value = -(1 - s.smoothing) * weight_of(label) * own;
    return (T)(s.smoothing == 0 ? value : value - s.smoothing / (double)s.classes * all);
  }
};

// dlogits[c] = dy ((1 - smoothing) w[t] (p[c] - [c = t]) + smoothing / classes (p[c] sum(w) - w[c])), p the softmax:
// e[c] * factor - spread * w[c] with e = exp(logits - largest), and the target's own place in float64, as p - 1
// cancels.
struct CrossEntropyFactors {
  double own, spread, weights, sum;

  XCORR_MEMBER double factor() const { return (own + spread * weights) / sum; }
  XCORR_MEMBER double at_target(double e, double weight) const {
    const double p = e / sum;
    return own * (p - 1) + spread * (p * weights - weight);
  }
};

template <class T>
XCORR_INLINE T cross_entropy_row(const CrossEntropy<T>& c, const T* x, int64_t label) {
  const int64_t classes = c.s.classes;
  if (label == c.s.ignore_index) return 0;
  const T largest = fold_row<T, reduce::max>(x, classes);
  const double log_sum = log_scalar(exp_row<T, false>(x, largest, nullptr, classes));
  const auto shift = set1((double)largest), logarithm = set1(log_sum);
  double all = 0;
  if (c.s.smoothing != 0 && c.weight) {
    all =
        sum_row(x, c.weight, classes, largest, [=](VectorF64 a, VectorF64 w) { return w * ((a - shift) - logarithm); });
  } else if (c.s.smoothing != 0) {
    all =
        sum_row(x, x, classes, largest, [=](VectorF64 a, VectorF64) { return a - shift; }) - (double)classes * log_sum;
  }
  return c.loss(label, ((double)x[label] - (double)largest) - log_sum, all);
}

template <class T>
XCORR_INLINE void cross_entropy_columns(const CrossEntropy<T>& c, const ColumnStrip& strip, const T* x, int64_t first,
                                        T* loss) {
  const auto sums = ColumnSums<T>::of(strip, x, nullptr, c.s.classes);
  const Wide<double> logarithm = sums.log_sum(), largest = widened(sums.largest);
  Wide<double> all = Wide<double>::of(0);
  for (int64_t i = 0; i < (c.s.smoothing != 0 ? c.s.classes : 0); i++) {
    const Wide<double> value = widened(strip.load(x + i * strip.stride));
    const VectorF64 w = set1(c.weight_of(i));
    for (int v = 0; v < Wide<double>::vectors; v++)
      all.v[v] = all.v[v] + w * ((value.v[v] - largest.v[v]) - logarithm.v[v]);
  }
  alignas(64) double lane_log[16], lane_largest[16], lane_all[16];
  logarithm.store(lane_log);
  largest.store(lane_largest);
  all.store(lane_all);
  for (int64_t j = 0; j < strip.count; j++) {
    const int64_t label = c.label(first + j);
    loss[j] = label == c.s.ignore_index
                  ? T(0)
                  : c.loss(label, ((double)x[label * strip.stride + j] - lane_largest[j]) - lane_log[j], lane_all[j]);
  }
}

// Many rows of few classes: 16 rows at a time are transposed, and then are columns.
constexpr int64_t kMostTransposed = 64;
XCORR_INLINE bool rows_as_columns(const CrossEntropySizes& s) {
  return s.inner == 1 && s.classes <= kMostTransposed && s.outer >= 8;
}
// body(strip, first row) for every 16 rows.
template <class Body>
XCORR_INLINE void for_each_rows16(const Runtime& runtime, const CrossEntropySizes& s, const Body& body) {
  run_ranges(runtime, (s.outer + 15) / 16, 8 * 16 * s.classes, 1, [&](int64_t first, int64_t end) {
    for (int64_t row = 16 * first; row < 16 * end && row < s.outer; row += 16)
      body(ColumnStrip{s.outer - row < 16 ? s.outer - row : 16, 16}, row);
  });
}

template <class T>
int64_t cross_entropy(const CrossEntropySizes& s, const Runtime& runtime, void* const* operands) {
  const T* const x = static_cast<const T*>(operands[0]);
  const CrossEntropy<T> c = {s, static_cast<const int32_t*>(operands[1]), static_cast<const T*>(operands[2])};
  T* const loss = static_cast<T*>(operands[3]);
  if (const int64_t bad = first_bad_target(s, c.target)) return bad;
  if (rows_as_columns(s)) {
    for_each_rows16(runtime, s, [&](ColumnStrip strip, int64_t row) {
      alignas(64) T columns[kMostTransposed * 16];
      transpose_matrix<T>(x + row * s.classes, s.classes, strip.count, s.classes, columns, 16, 16);
      cross_entropy_columns(c, strip, static_cast<const T*>(columns), row, loss + row);
    });
  } else if (s.inner == 1) {
    run_ranges(runtime, s.outer, 8 * s.classes, 1, [&](int64_t first, int64_t end) {
      for (int64_t row = first; row < end; row++) loss[row] = cross_entropy_row(c, x + row * s.classes, c.label(row));
    });
  } else {
    for_each_strip16(runtime, s.outer, s.classes, s.inner, [&](ColumnStrip strip, int64_t outer, int64_t column) {
      const int64_t at = outer * s.inner + column;
      cross_entropy_columns(c, strip, x + outer * s.classes * s.inner + column, at, loss + at);
    });
  }
  return kOk;
}

template <class T>
XCORR_INLINE CrossEntropyFactors factors_of(const CrossEntropy<T>& c, int64_t label, T dy, double weights, double sum) {
  if (label == c.s.ignore_index) return {0, 0, weights, sum};
  return {(double)dy * (1 - c.s.smoothing) * c.weight_of(label), (double)dy * (c.s.smoothing / (double)c.s.classes),
          weights, sum};
}

template <class T>
XCORR_INLINE void cross_entropy_grad_row(const CrossEntropy<T>& c, const T* x, int64_t label, T dy, double weights,
                                         T* dx) {
  const int64_t classes = c.s.classes;
  if (label == c.s.ignore_index) {
    for (int64_t i = 0; i < classes; i++) dx[i] = 0;
    return;
  }
  const double sum = exp_row<T, true>(x, fold_row<T, reduce::max>(x, classes), dx, classes);
  const CrossEntropyFactors f = factors_of(c, label, dy, weights, sum);
  const T own = (T)f.at_target((double)dx[label], c.weight_of(label));
  const auto factor = set1((T)f.factor()), minus = set1((T)-f.spread);
  for_each_vector<T>(classes, [&](int64_t i, int n) {
    const auto w = c.weight ? load_first(c.weight + i, n) : splat<T>(1);
    store_first(dx + i, fma(load_first(dx + i, n), factor, minus * w), n);
  });
  dx[label] = own;
}

template <class T>
XCORR_INLINE void cross_entropy_grad_columns(const CrossEntropy<T>& c, const ColumnStrip& strip, const T* x,
                                             int64_t first, const T* dy, double weights, T* dx) {
  const auto sums = ColumnSums<T>::of(strip, x, dx, c.s.classes);
  int64_t label[16];
  alignas(64) double sum[16];
  alignas(64) T own[16], factor[16] = {}, minus[16] = {};
  sums.sum.store(sum);
  for (int64_t j = 0; j < strip.count; j++) {
    label[j] = c.label(first + j);
    const CrossEntropyFactors f = factors_of(c, label[j], dy[j], weights, sum[j]);
    factor[j] = (T)f.factor();
    minus[j] = (T)-f.spread;
    if (label[j] != c.s.ignore_index)
      own[j] = (T)f.at_target((double)dx[label[j] * strip.stride + j], c.weight_of(label[j]));
  }
  for (int64_t i = 0; i < c.s.classes; i++) {
    T* const row = dx + i * strip.stride;
    const auto w = set1((T)c.weight_of(i));
    Wide<T> e = strip.load(static_cast<const T*>(row));
    for (int v = 0; v < Wide<T>::vectors; v++) {
      const int at = v * Simd<T>::lanes;
      e.v[v] = fma(e.v[v], load(factor + at), load(minus + at) * w);
    }
    strip.store(row, e);
  }
  for (int64_t j = 0; j < strip.count; j++) {
    if (label[j] != c.s.ignore_index) {
      dx[label[j] * strip.stride + j] = own[j];
    } else {
      for (int64_t i = 0; i < c.s.classes; i++) dx[i * strip.stride + j] = 0;
    }
  }
}

template <class T>
int64_t cross_entropy_grad(const CrossEntropySizes& s, const Runtime& runtime, void* const* operands) {
  const T* const x = static_cast<const T*>(operands[0]);
  const CrossEntropy<T> c = {s, static_cast<const int32_t*>(operands[1]), static_cast<const T*>(operands[2])};
  const T* const dy = static_cast<const T*>(operands[3]);
  T* const dx = static_cast<T*>(operands[4]);
  if (const int64_t bad = first_bad_target(s, c.target)) return bad;
  const double weights = c.weight ? fold_row<T, reduce::sum>(c.weight, s.classes) : (double)s.classes;
  if (rows_as_columns(s)) {
    for_each_rows16(runtime, s, [&](ColumnStrip strip, int64_t row) {
      alignas(64) T columns[kMostTransposed * 16], gradients[kMostTransposed * 16];
      transpose_matrix<T>(x + row * s.classes, s.classes, strip.count, s.classes, columns, 16, 16);
      cross_entropy_grad_columns(c, strip, static_cast<const T*>(columns), row, dy + row, weights, gradients);
      transpose_matrix<T>(gradients, 16, s.classes, strip.count, dx + row * s.classes, s.classes, s.classes);
    });
  } else if (s.inner == 1) {
    run_ranges(runtime, s.outer, 8 * s.classes, 1, [&](int64_t first, int64_t end) {
      for (int64_t row = first; row < end; row++) {
        const int64_t at = row * s.classes;
        cross_entropy_grad_row(c, x + at, c.label(row), dy[row], weights, dx + at);
      }
    });
  } else {
    for_each_strip16(runtime, s.outer, s.classes, s.inner, [&](ColumnStrip strip, int64_t outer, int64_t column) {
      const int64_t row = outer * s.inner + column, at = outer * s.classes * s.inner + column;
      cross_entropy_grad_columns(c, strip, x + at, row, dy + row, weights, dx + at);
    });
  }
  return kOk;
}

}  // namespace
}  // namespace xcorr
