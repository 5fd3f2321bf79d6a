// max_pool over windows of 2x2 that neither overlap nor leave the input: two rows are loaded as they lie and split into
// their even and odd columns in registers.
//
// Rows are often shorter than a vector. So whole vectors are loaded and stored wherever that stays inside the input and
// inside the planes of the task: what is written beyond a row is overwritten by the next.
#pragma once
#include "parallel.inl"
#include "transpose.inl"

namespace xcorr {
namespace {

XCORR_INLINE bool max_pool_2x2_fits(const PoolSizes& s) {
  for (int d = 1; d < kSpatial; d++)
    if (s.kernel[d] != 2 || s.stride[d] != 2 || s.dilation[d] != 1 || s.pad[d] != 0 || 2 * s.out[d] > s.in[d])
      return false;
  return s.kernel[0] == 1 && s.stride[0] == 1 && s.pad[0] == 0 && s.out[0] == s.in[0];
}

// The larger of two neighbours and where it lies; the first of equals, the first NaN.
template <class T>
struct PlacedMax {
  typename Simd<T>::V value;
  typename Simd<T>::I place;
  XCORR_MEMBER PlacedMax or_later(const PlacedMax& other) const {
    const auto wins = (other.value > value) | ((other.value != other.value) & (value == value));
    return {select(wins, other.value, value), select(wins, other.place, place)};
  }
  // To `count` outputs; with room for a whole vector what follows them may be overwritten.
  XCORR_MEMBER void write(T* to, int32_t* at, int64_t count, bool room) const {
    constexpr int N = Simd<T>::lanes;
    typedef __typeof__(place[0]) Integer;
    if (room)
      store(to, value);
    else
      store_partial(to, value, int(count));
    if constexpr (sizeof(Integer) == 4) {
      if (room) return store(at, place);
    }
    alignas(64) Integer places[N];
    store(places, place);
    for (int64_t i = 0; i < count; i++) at[i] = int32_t(places[i]);
  }
};

template <class T>
int64_t max_pool_2x2(const PoolSizes& s, const Runtime& runtime, const T* x, T* y, int32_t* index) {
  constexpr int N = Simd<T>::lanes;
  typedef typename Simd<T>::V V;
  typedef typename Simd<T>::I I;
  typedef __typeof__(I{}[0]) Integer;
  const int64_t width = s.in[2], columns = s.out[2], in = volume(s.in), out = volume(s.out);
  const T* const x_end = x + s.planes * in;
  const I lane_columns = lane_numbers<T>() * Integer(2);
  run_ranges(runtime, s.planes, in, 1, [&](int64_t begin, int64_t end) {
    const T* const y_end = y + end * out;
    for (int64_t plane = begin; plane < end; plane++) {
      T* to = y + plane * out;
      int32_t* at = index + plane * out;
      for (int64_t row = 0; row < s.out[0] * s.out[1]; row++, to += columns, at += columns) {
        const int64_t first = (row / s.out[1] * s.in[1] + row % s.out[1] * 2) * width;
        for (int64_t j = 0; j < columns; j += N) {
          const T* const upper = x + plane * in + first + 2 * j;
          V pixels[4];
          if (x_end - (upper + width) >= 2 * N) {
            for (int i = 0; i < 2; i++) pixels[i] = load(upper + i * N), pixels[2 + i] = load(upper + width + i * N);
          } else {
            const int64_t count = 2 * smaller(N, columns - j);
            for (int i = 0; i < 2; i++) {
              const int n = int(larger(0, smaller(N, count - i * N)));
              pixels[i] = load_partial(upper + i * N, n);
              pixels[2 + i] = load_partial(upper + width + i * N, n);
            }
          }
          const I place = lane_columns + Integer(first + 2 * j), below = place + Integer(width);
          const PlacedMax<T> a = {every_second<N>(pixels[0], pixels[1], false), place};
          const PlacedMax<T> b = {every_second<N>(pixels[0], pixels[1], true), place + Integer(1)};
          const PlacedMax<T> c = {every_second<N>(pixels[2], pixels[3], false), below};
          const PlacedMax<T> d = {every_second<N>(pixels[2], pixels[3], true), below + Integer(1)};
          const PlacedMax<T> best = a.or_later(b).or_later(c.or_later(d));
          best.write(to + j, at + j, smaller(N, columns - j), y_end - (to + j) >= N);
        }
      }
    }
  });
  return kOk;
}

}  // namespace
}  // namespace xcorr
