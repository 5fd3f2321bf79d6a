// Sums that tasks have made side by side, added in the order of the tasks, so that threads do not change a bit.
#pragma once

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

}  // namespace
}  // namespace xcorr
