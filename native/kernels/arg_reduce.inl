// arg_reduce: extremes and where they are, over the middle of [outer, count, inner].
#pragma once
#include "reduce.inl"

namespace xcorr {
namespace {

// The extreme first, then the first place that holds it (or the first NaN).
template <class T, int64_t op>
XCORR_INLINE void arg_row(const T* x, int64_t count, T* y, int32_t* index) {
  const T best = (T)fold_row<T, op>(x, count);
  int64_t at = 0;
  if (best != best) {
    while (x[at] == x[at]) at++;
  } else {
    while (!(x[at] == best)) at++;
  }
  *y = x[at];
  *index = (int32_t)at;
}

template <class T, int64_t op>
XCORR_INLINE void arg_columns(const T* x, int64_t count, int64_t stride, int64_t columns, T* y, int32_t* index) {
  for (int64_t j = 0; j < columns; j++) y[j] = x[j], index[j] = 0;
  for (int64_t i = 1; i < count; i++) {
    for (int64_t j = 0; j < columns; j++) {
      const T value = x[i * stride + j], best = y[j];
      const bool wins = op == reduce::max ? value > best : value < best;
      const bool better = (best == best) & (wins | (value != value));
      y[j] = better ? value : best;
      index[j] = better ? (int32_t)i : index[j];
    }
  }
}

template <class T, int64_t op>
void arg_with(const ReduceSizes& s, const Runtime& runtime, const T* x, T* y, int32_t* index) {
  const int64_t strips = (s.inner + kStrip - 1) / kStrip;
  run_ranges(runtime, s.outer * strips, s.count * (s.inner < kStrip ? s.inner : kStrip), 1,
             [&](int64_t first, int64_t end) {
               for (int64_t b = first; b < end; b++) {
                 const int64_t outer = b / strips, column = b % strips * kStrip, left = s.inner - column;
                 const T* const from = x + outer * s.count * s.inner + column;
                 const int64_t to = outer * s.inner + column;
                 if (s.inner == 1)
                   arg_row<T, op>(from, s.count, y + to, index + to);
                 else
                   arg_columns<T, op>(from, s.count, s.inner, left < kStrip ? left : kStrip, y + to, index + to);
               }
             });
}

template <class T>
int64_t arg_reduce(const ReduceSizes& s, const Runtime& runtime, void* const* operands) {
  const T* const x = static_cast<const T*>(operands[0]);
  T* const y = static_cast<T*>(operands[1]);
  int32_t* const index = static_cast<int32_t*>(operands[2]);
  if (s.op == reduce::max)
    arg_with<T, reduce::max>(s, runtime, x, y, index);
  else
    arg_with<T, reduce::min>(s, runtime, x, y, index);
  return kOk;
}

}  // namespace
}  // namespace xcorr
