// Written once over the pages: splat<T>, and sums whose order does not depend on the vector width.
#pragma once
#include "common.h"

namespace xcorr {
namespace {

template <class T>
XCORR_INLINE typename Simd<T>::V splat(T value) {
  return set1(value);
}

// 16 virtual lanes of partial sums in 16 / lanes vectors: element i of a row goes to lane i % 16, and sum() adds the
// lanes by one fixed tree (i with i + 8, + 4, + 2, + 1), so that every vector width gives the same bits.
template <class T>
struct Wide {
  using V = typename Simd<T>::V;
  static constexpr int width = 16, vectors = width / Simd<T>::lanes;
  V v[vectors];

  XCORR_MEMBER static Wide of(T value) {
    Wide w;
    for (int i = 0; i < vectors; i++) w.v[i] = set1(value);
    return w;
  }
  XCORR_MEMBER static Wide load(const T* p) {
    Wide w;
    for (int i = 0; i < vectors; i++) w.v[i] = xcorr::load(p + i * Simd<T>::lanes);
    return w;
  }
  // The first n (0 to 16) of 16 elements, 0 in the other lanes.
  XCORR_MEMBER static Wide load_partial(const T* p, int64_t n) {
    Wide w;
    for (int i = 0; i < vectors; i++) {
      const int64_t rest = n - i * Simd<T>::lanes;
      const int64_t count = rest < 0 ? 0 : rest > Simd<T>::lanes ? Simd<T>::lanes : rest;
      w.v[i] = count == 0 ? set1(T(0)) : xcorr::load_partial(p + i * Simd<T>::lanes, (int)count);
    }
    return w;
  }
  XCORR_MEMBER void store(T* p) const {
    for (int i = 0; i < vectors; i++) xcorr::store(p + i * Simd<T>::lanes, v[i]);
  }
  XCORR_MEMBER void add(const Wide& x) {
    for (int i = 0; i < vectors; i++) v[i] = v[i] + x.v[i];
  }
  // this += x * y, one fma a lane.
  XCORR_MEMBER void add_product(const Wide& x, const Wide& y) {
    for (int i = 0; i < vectors; i++) v[i] = fma(x.v[i], y.v[i], v[i]);
  }
  XCORR_MEMBER T sum() const {
    T lane[width];
    store(lane);
    for (int half = width / 2; half > 0; half /= 2)
      for (int i = 0; i < half; i++) lane[i] = lane[i] + lane[i + half];
    return lane[0];
  }
};

// The sum of n elements in the order of Wide.
template <class T>
XCORR_INLINE T sum_lanes(const T* x, int64_t n) {
  Wide<T> total = Wide<T>::of(0);
  int64_t i = 0;
  for (; i + Wide<T>::width <= n; i += Wide<T>::width) total.add(Wide<T>::load(x + i));
  if (i < n) total.add(Wide<T>::load_partial(x + i, n - i));
  return total.sum();
}

}  // namespace
}  // namespace xcorr
