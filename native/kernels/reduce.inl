// reduce: over the middle of [outer, count, inner].
#pragma once
#include "parallel.inl"
#include "widen.inl"

namespace xcorr {
namespace {

template <bool first, class Yes, class No>
struct Choose {
  using Type = Yes;
};
template <class Yes, class No>
struct Choose<false, Yes, No> {
  using Type = No;
};

// How op folds T: in float64 for sums and products of floats, in T itself for extremes and integers.
template <class T, int64_t op>
struct Fold {
  static constexpr bool is_sum = op == reduce::sum, is_prod = op == reduce::prod, is_max = op == reduce::max;
  static constexpr bool is_integer = __is_same(T, int32_t);
  using A = typename Choose<(is_sum || is_prod) && !is_integer, double, T>::Type;

  XCORR_MEMBER static A start() {
    if constexpr (is_sum) return A(0);
    if constexpr (is_prod) return A(1);
    if constexpr (is_integer) return is_max ? A(-2147483647 - 1) : A(2147483647);
    return is_max ? A(-kInfinity) : A(kInfinity);
  }
  XCORR_MEMBER static A next(A so_far, A x) {
    if constexpr (is_integer && is_sum) return (A)((uint32_t)so_far + (uint32_t)x);
    if constexpr (is_integer && is_prod) return (A)((uint32_t)so_far * (uint32_t)x);
    if constexpr (is_sum) return so_far + x;
    if constexpr (is_prod) return so_far * x;
    return (is_max ? x > so_far : x < so_far) || x != x ? x : so_far;
  }
  template <class V>
  XCORR_MEMBER static V next_vector(V so_far, V x) {
    if constexpr (is_sum) return so_far + x;
    if constexpr (is_prod) return so_far * x;
    return select((is_max ? x > so_far : x < so_far) | (x != x), x, so_far);
  }
};

// One contiguous row of at most kTaskElements.
template <class T, int64_t op>
XCORR_INLINE auto fold_piece(const T* x, int64_t n) {
  using F = Fold<T, op>;
  using A = typename F::A;
  if constexpr (F::is_integer) {
    A total = F::start();
    for (int64_t i = 0; i < n; i++) total = F::next(total, x[i]);
    return total;
  } else {
    constexpr int chains = sizeof(A) == 8 ? 2 : 4;  // to overlap the latency of one addition with others
    Wide<A> sums[chains];
    for (int c = 0; c < chains; c++) sums[c] = Wide<A>::of(F::start());
    const auto fold = [](Wide<A> & sum, const Wide<A>& value) __attribute__((always_inline)) {
      for (int v = 0; v < Wide<A>::vectors; v++) sum.v[v] = F::next_vector(sum.v[v], value.v[v]);
    };
    int64_t i = 0;
    for (; i + 16 * chains <= n; i += 16 * chains)
      for (int c = 0; c < chains; c++) fold(sums[c], load16<A>(x + i + 16 * c));
    for (; i + 16 <= n; i += 16) fold(sums[0], load16<A>(x + i));
    if (i < n) fold(sums[1], load16_partial<A>(x + i, n - i, T(F::start())));
    for (int c = 1; c < chains; c++) fold(sums[0], sums[c]);
    A lane[16];
    sums[0].store(lane);
    for (int half = 8; half > 0; half /= 2)
      for (int j = 0; j < half; j++) lane[j] = F::next(lane[j], lane[j + half]);
    return lane[0];
  }
}

// Adds up partial results in order; sums with Neumaier's correction, so that rows of any length stay exact.
template <class F>
struct Total {
  typename F::A value = F::start(), lost = 0;
  XCORR_MEMBER void add(typename F::A x) {
    if constexpr (F::is_sum && !F::is_integer) {
      const double sum = value + x;
      const double missing = __builtin_fabs(value) >= __builtin_fabs(x) ? (value - sum) + x : (x - sum) + value;
      if (missing == missing) lost += missing;  // not where infinity or NaN came in
      value = sum;
    } else {
      value = F::next(value, x);
    }
  }
  XCORR_MEMBER typename F::A result() const {
    if constexpr (F::is_sum) return F::next(value, lost);
    return value;
  }
};

constexpr int64_t kPieceElements = 4096;

template <class T, int64_t op>
XCORR_INLINE auto fold_row(const T* x, int64_t n) {
  Total<Fold<T, op>> total;
  for (int64_t i = 0; i < n; i += kPieceElements)
    total.add(fold_piece<T, op>(x + i, n - i < kPieceElements ? n - i : kPieceElements));
  return total.result();
}

template <class T, int64_t op>
int64_t reduce_rows(const ReduceSizes& s, const Runtime& runtime, const T* x, T* y) {
  using F = Fold<T, op>;
  using A = typename F::A;
  if (s.count <= kSerialElements) {
    run_ranges(runtime, s.outer, s.count, 1, [&](int64_t first, int64_t end) {
      for (int64_t row = first; row < end; row++) y[row] = (T)fold_row<T, op>(x + row * s.count, s.count);
    });
    return kOk;
  }
  const int64_t pieces = (s.count + kTaskElements - 1) / kTaskElements;
  A* const partial = static_cast<A*>(runtime.scratch(0, s.outer * pieces * (int64_t)sizeof(A)));
  if (!partial) return kOutOfMemory;
  run_tasks(runtime, s.outer * pieces, [&](int64_t task) {
    const int64_t first = task % pieces * kTaskElements, rest = s.count - first;
    partial[task] = fold_row<T, op>(x + task / pieces * s.count + first, rest < kTaskElements ? rest : kTaskElements);
  });
  for (int64_t row = 0; row < s.outer; row++) {
    Total<F> total;
    for (int64_t i = 0; i < pieces; i++) total.add(partial[row * pieces + i]);
    y[row] = (T)total.result();
  }
  return kOk;
}

constexpr int64_t kStrip = 64;  // columns whose results are in the first-level cache while the rows go by

// Folds `rows` rows of `columns` (at most kStrip) neighbours into result; blocks of 64 rows first, then their totals.
template <class T, int64_t op>
XCORR_INLINE void fold_strip(const T* x, int64_t rows, int64_t row_stride, int64_t columns,
                             typename Fold<T, op>::A* result) {
  using F = Fold<T, op>;
  using A = typename F::A;
  for (int64_t j = 0; j < columns; j++) result[j] = F::start();
  alignas(64) A block[kStrip];
  for (int64_t first = 0; first < rows; first += 64) {
    const int64_t end = rows - first < 64 ? rows : first + 64;
    if (columns == kStrip) {
      if constexpr (F::is_integer) {
        for (int64_t j = 0; j < kStrip; j++) block[j] = F::start();
        for (int64_t i = first; i < end; i++)
          for (int64_t j = 0; j < kStrip; j++) block[j] = F::next(block[j], x[i * row_stride + j]);
      } else {
        for (int64_t j = 0; j < kStrip; j += 32) {  // two chains, to overlap the latency of an addition
          Wide<A> left = Wide<A>::of(F::start()), right = left;
          for (int64_t i = first; i < end; i++) {
            const Wide<A> a = load16<A>(x + i * row_stride + j), b = load16<A>(x + i * row_stride + j + 16);
            for (int v = 0; v < Wide<A>::vectors; v++) left.v[v] = F::next_vector(left.v[v], a.v[v]);
            for (int v = 0; v < Wide<A>::vectors; v++) right.v[v] = F::next_vector(right.v[v], b.v[v]);
          }
          left.store(block + j);
          right.store(block + j + 16);
        }
      }
    } else {
      for (int64_t j = 0; j < columns; j++) block[j] = F::start();
      for (int64_t i = first; i < end; i++)
        for (int64_t j = 0; j < columns; j++) block[j] = F::next(block[j], (A)x[i * row_stride + j]);
    }
    for (int64_t j = 0; j < columns; j++) result[j] = F::next(result[j], block[j]);
  }
}

template <class T, int64_t op>
int64_t reduce_columns(const ReduceSizes& s, const Runtime& runtime, const T* x, T* y) {
  using F = Fold<T, op>;
  using A = typename F::A;
  const int64_t strips = (s.inner + kStrip - 1) / kStrip;
  const int64_t width = s.inner < kStrip ? s.inner : kStrip;
  const int64_t rows_per_piece = kSerialElements / width / 64 * 64;
  const int64_t pieces = s.count == 0 ? 1 : (s.count + rows_per_piece - 1) / rows_per_piece;
  const int64_t blocks = s.outer * strips * pieces;
  A* partial = nullptr;
  if (pieces > 1) {
    partial = static_cast<A*>(runtime.scratch(0, blocks * kStrip * (int64_t)sizeof(A)));
    if (!partial) return kOutOfMemory;
  }
  const auto columns_of = [&](int64_t strip) {
    return s.inner - strip * kStrip < kStrip ? s.inner - strip * kStrip : kStrip;
  };
  run_ranges(runtime, blocks, (pieces > 1 ? rows_per_piece : s.count) * width, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; b++) {
      const int64_t piece = b % pieces, strip = b / pieces % strips, outer = b / pieces / strips;
      const int64_t first = piece * rows_per_piece, rest = s.count - first;
      const T* from = x + (outer * s.count + first) * s.inner + strip * kStrip;
      alignas(64) A result[kStrip];
      A* const to = partial ? partial + b * kStrip : result;
      fold_strip<T, op>(from, pieces > 1 && rest > rows_per_piece ? rows_per_piece : rest, s.inner, columns_of(strip),
                        to);
      if (!partial)
        for (int64_t j = 0; j < columns_of(strip); j++) y[outer * s.inner + strip * kStrip + j] = (T)to[j];
    }
  });
  if (!partial) return kOk;
  for (int64_t b = 0; b < s.outer * strips; b++) {
    for (int64_t j = 0; j < columns_of(b % strips); j++) {
      Total<F> total;
      for (int64_t i = 0; i < pieces; i++) total.add(partial[(b * pieces + i) * kStrip + j]);
      y[b / strips * s.inner + b % strips * kStrip + j] = (T)total.result();
    }
  }
  return kOk;
}

template <class T, int64_t op>
int64_t reduce_with(const ReduceSizes& s, const Runtime& runtime, const T* x, T* y) {
  return s.inner == 1 ? reduce_rows<T, op>(s, runtime, x, y) : reduce_columns<T, op>(s, runtime, x, y);
}

template <class T>
int64_t reduce(const ReduceSizes& s, const Runtime& runtime, void* const* operands) {
  const T* const x = static_cast<const T*>(operands[0]);
  T* const y = static_cast<T*>(operands[1]);
  if (s.outer * s.inner == 0) return kOk;
  switch (s.op) {
    case reduce::sum:
      return reduce_with<T, reduce::sum>(s, runtime, x, y);
    case reduce::prod:
      return reduce_with<T, reduce::prod>(s, runtime, x, y);
    case reduce::max:
      return reduce_with<T, reduce::max>(s, runtime, x, y);
    case reduce::min:
      return reduce_with<T, reduce::min>(s, runtime, x, y);
  }
  return kOk;
}

}  // namespace
}  // namespace xcorr
