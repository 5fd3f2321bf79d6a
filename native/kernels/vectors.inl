// Loops over contiguous elements, a vector at a time.
#pragma once
#include "math.inl"

namespace xcorr {
namespace {

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

}  // namespace
}  // namespace xcorr
