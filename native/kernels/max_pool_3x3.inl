// max_pool over windows of 3x3 with stride 2, with or without one row and column of padding: the layer after the stem
// of a ResNet.
//
// The largest of a row's three neighbours first: two rows of a window are its own, the third is kept for the window
// below. In both steps the first of equals and the first NaN stay, so that the order is that of the window.
#pragma once
#include "max_pool_2x2.inl"

namespace xcorr {
namespace {

constexpr int64_t kMostRowOutputs = 512;

XCORR_INLINE bool max_pool_3x3_fits(const PoolSizes& s) {
  for (int d = 1; d < kSpatial; d++)
    if (s.kernel[d] != 3 || s.stride[d] != 2 || s.dilation[d] != 1 || s.pad[d] < 0 || s.pad[d] > 1 ||
        2 * (s.out[d] - 1) - s.pad[d] >= s.in[d])
      return false;
  return s.kernel[0] == 1 && s.in[0] == 1 && s.out[0] == 1 && s.pad[0] == 0 && s.out[2] <= kMostRowOutputs;
}

template <class T>
struct MaxPool3x3 {
  static constexpr int N = Simd<T>::lanes;
  using V = typename Simd<T>::V;
  using I = typename Simd<T>::I;
  typedef __typeof__(I{}[0]) Integer;

  const PoolSizes& s;
  const T *x, *x_end;

  // Of outputs [j, j + N) the largest in row `row` of the plane's; `plane` is its first pixel.
  XCORR_MEMBER PlacedMax<T> of_row(const T* plane, int64_t row, int64_t j) const {
    const int64_t width = s.in[2], left = 2 * j - s.pad[2];
    const T* from = plane + row * width + left;
    alignas(64) T line[2 * N + 2];
    if (from < x || x_end - from < 2 * N + 2) {
      for (int64_t i = 0; i < 2 * N + 2; i++) line[i] = left + i >= 0 && left + i < width ? from[i] : T(0);
      from = line;
    }
    const V a = load(from), b = load(from + N);
    const V third = every_second<N>(load(from + 2), load(from + 2 + N), false);
    const I column = lane_numbers<T>() * Integer(2) + Integer(left), place = column + Integer(row * width);
    const V outside = splat<T>(T(-kInfinity));
    const I begins = column >= Integer(0);
    // A window that begins beside the image has its first pixel in the second column.
    const PlacedMax<T> first = {select(begins, every_second<N>(a, b, false), outside), place - ~begins};
    const PlacedMax<T> second = {select(column < Integer(width - 1), every_second<N>(a, b, true), outside),
                                 place + Integer(1)};
    return first.or_later(second).or_later({select(column < Integer(width - 2), third, outside), place + Integer(2)});
  }

  XCORR_MEMBER void plane(const T* from, T* to, int32_t* at, const T* y_end) const {
    alignas(64) T value[kMostRowOutputs + N];
    alignas(64) Integer place[kMostRowOutputs + N];
    const int64_t rows = s.in[1], columns = s.out[2];
    for (int64_t i = 0; i < s.out[1]; i++, to += columns, at += columns) {
      const int64_t top = 2 * i - s.pad[1];
      for (int64_t j = 0; j < columns; j += N) {
        PlacedMax<T> best = i == 0 ? of_row(from, larger(0, top), j) : PlacedMax<T>{load(value + j), load(place + j)};
        if (top >= 0 && top + 1 < rows) best = best.or_later(of_row(from, top + 1, j));
        if (top + 2 < rows) {
          const PlacedMax<T> below = of_row(from, top + 2, j);
          store(value + j, below.value);
          store(place + j, below.place);
          best = best.or_later(below);
        }
        best.write(to + j, at + j, smaller(N, columns - j), y_end - (to + j) >= N);
      }
    }
  }
};

template <class T>
int64_t max_pool_3x3(const PoolSizes& s, const Runtime& runtime, const T* x, T* y, int32_t* index) {
  const int64_t in = volume(s.in), out = volume(s.out);
  const MaxPool3x3<T> pool = {s, x, x + s.planes * in};
  run_ranges(runtime, s.planes, 2 * in, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) pool.plane(x + i * in, y + i * out, index + i * out, y + end * out);
  });
  return kOk;
}

}  // namespace
}  // namespace xcorr
