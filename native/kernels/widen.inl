// Sums and products of float32 are kept in float64, on the 16 virtual lanes of simd/wide.h: exact enough to forget
// about, and the loads stay the limit.
#pragma once
#include "math.inl"

namespace xcorr {
namespace {

XCORR_INLINE VectorF64 load_float64(const double* p) { return load(p); }

// 16 elements as numbers of A, which is double or T.
template <class A, class T>
XCORR_INLINE Wide<A> load16(const T* p) {
  if constexpr (__is_same(A, T)) {
    return Wide<T>::load(p);
  } else {
    Wide<double> w;
    for (int i = 0; i < Wide<double>::vectors; i++) w.v[i] = load_float64(p + i * Simd<double>::lanes);
    return w;
  }
}
// n < 16 elements, `rest` in the lanes behind them.
template <class A, class T>
XCORR_INLINE Wide<A> load16_partial(const T* p, int64_t n, T rest) {
  alignas(64) T filled[16];
  for (int64_t i = 0; i < 16; i++) filled[i] = i < n ? p[i] : rest;
  return load16<A>(static_cast<const T*>(filled));
}

// Calls body(Wide<A> of element, ...) for 16 elements after another of rows of n; the last incomplete 16 are filled up
// with the `rest` of each row.
template <class A, class T, class Body>
XCORR_INLINE void for_each16(int64_t n, const T* x, T rest, const Body& body) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) body(load16<A>(x + i));
  if (i < n) body(load16_partial<A>(x + i, n - i, rest));
}

}  // namespace
}  // namespace xcorr
