// Sums that tasks have made side by side, added in the order of the tasks, and those of the 16 lanes of each, so that
// neither threads nor the width of vectors change a bit.
#pragma once
#include "transpose.inl"

namespace xcorr {
namespace {

// to[i] = the sum of from[part * stride + i] over all parts.
template <class T>
void sum_parts(const T* from, int64_t stride, int64_t parts, int64_t count, T* to) {
  constexpr int kLanes = Simd<T>::lanes;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    auto sum = load(from + i);
    for (int64_t part = 1; part < parts; part++) sum = sum + load(from + part * stride + i);
    store(to + i, sum);
  }
  if (i == count) return;
  const int n = int(count - i);
  auto sum = load_partial(from + i, n);
  for (int64_t part = 1; part < parts; part++) sum = sum + load_partial(from + part * stride + i, n);
  store_partial(to + i, sum, n);
}

// to[i] = the sum of the 16 lanes at sums + 16 * i, by the tree of Wide.
template <class T>
void add_lanes(const T* sums, int64_t count, T* to) {
  constexpr int N = Simd<T>::lanes;
  for (int64_t i = 0; i < count; i += N) {
    const int n = int(smaller(N, count - i));
    typename Simd<T>::V rows[N];
#pragma GCC unroll 16
    for (int j = 0; j < N; j++) {
      Wide<T> wide = Wide<T>::load(sums + (i + (j < n ? j : 0)) * Wide<T>::width);
#pragma GCC unroll 4
      for (int half = Wide<T>::vectors / 2; half > 0; half /= 2)
#pragma GCC unroll 4
        for (int v = 0; v < half; v++) wide.v[v] = wide.v[v] + wide.v[v + half];
      rows[j] = wide.v[0];
    }
    transpose_blocks<N, N>(rows);
#pragma GCC unroll 4
    for (int half = N / 2; half > 0; half /= 2)
#pragma GCC unroll 8
      for (int j = 0; j < half; j++) rows[j] = rows[j] + rows[j + half];
    store_partial(to + i, rows[0], n);
  }
}

}  // namespace
}  // namespace xcorr
