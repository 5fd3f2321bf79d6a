// A filter of one channel over rows of an image: lanes along the row, several rows of outputs at a time.
//
// Vectors that straddle cache lines cost as much as four products, so rows lie aligned and the taps beside the first
// are shifted in registers from two neighbouring vectors. With stride 2 a row lies as its even and then its odd
// columns.
#pragma once
#include "transpose.inl"

namespace xcorr {
namespace {

// Lanes kShift, kShift + 1, ... of a followed by b.
#define XCORR_SHIFTED(l) (l) + kShift
#define XCORR_SHIFT(n) \
  if constexpr (N == n) return __builtin_shufflevector(a, b, XCORR_LANES##n(XCORR_SHIFTED));
template <int N, int kShift, class V>
XCORR_INLINE V shifted(V a, V b) {
  XCORR_SHIFT(8) XCORR_SHIFT(16)
}

template <class T, int kKernel, int kStep, int kTap = 0>
XCORR_INLINE void load_taps(const T* row, int64_t phase_pitch, typename Simd<T>::V (&tap)[kKernel]) {
  if constexpr (kTap < kKernel) {
    constexpr int kShift = kTap / kStep, N = Simd<T>::lanes;
    const T* const from = row + kTap % kStep * phase_pitch;
    if constexpr (kShift == 0 || N < 8)
      tap[kTap] = load(from + kShift);
    else
      tap[kTap] = shifted<N, kShift>(load(from), load(from + N));
    load_taps<T, kKernel, kStep, kTap + 1>(row, phase_pitch, tap);
  }
}

// kRows rows of `width` outputs. x: aligned, the first pixel that output 0 reads; w: [kernel][kernel].
template <class T, int kKernel, int kStep, int kRows>
[[gnu::noinline]] void stencil_rows(const T* x, int64_t row_pitch, int64_t phase_pitch, const T* w, int64_t width, T* y,
                                    int64_t y_stride, T bias, const T* residual, int64_t activation) {
  using V = typename Simd<T>::V;
  constexpr int N = Simd<T>::lanes;
  V weights[kKernel * kKernel];
#pragma GCC unroll 25
  for (int t = 0; t < kKernel * kKernel; t++) weights[t] = set1(w[t]);
  const V biases = set1(bias);
  for (int64_t column = 0; column < width; column += N) {
    V sums[kRows];
#pragma GCC unroll 4
    for (int i = 0; i < kRows; i++) sums[i] = splat<T>(0);
#pragma GCC unroll 16
    for (int r = 0; r < (kRows - 1) * kStep + kKernel; r++) {
      V tap[kKernel];
      load_taps<T, kKernel, kStep>(x + r * row_pitch + column, phase_pitch, tap);
#pragma GCC unroll 4
      for (int i = 0; i < kRows; i++)
        if (r >= i * kStep && r - i * kStep < kKernel) {
#pragma GCC unroll 5
          for (int j = 0; j < kKernel; j++) sums[i] = fma(weights[(r - i * kStep) * kKernel + j], tap[j], sums[i]);
        }
    }
    const int n = int(smaller(N, width - column));
#pragma GCC unroll 4
    for (int i = 0; i < kRows; i++) {
      const int64_t at = i * y_stride + column;
      V out = sums[i] + biases;
      if (n == N) {
        if (residual) out = out + load(residual + at);
        store(y + at, activate<T>(out, activation));
      } else {
        if (residual) out = out + load_partial(residual + at, n);
        store_partial(y + at, activate<T>(out, activation), n);
      }
    }
  }
}

}  // namespace
}  // namespace xcorr
