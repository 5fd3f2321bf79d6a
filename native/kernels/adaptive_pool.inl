// adaptive_max_pool, adaptive_avg_pool and the gradient of the average: output p of `out` covers
// floor(p in / out) to ceil((p + 1) in / out).
#pragma once
#include "arg_reduce.inl"
#include "pool.inl"

namespace xcorr {
namespace {

// The pool with equal windows that an adaptive one is when `out` divides `in` in every dimension.
XCORR_INLINE bool divides_evenly(const AdaptiveSizes& s) {
  for (int d = 0; d < kSpatial; d++)
    if (s.out[d] == 0 || s.in[d] % s.out[d] != 0 || s.in[d] == 0) return false;
  return true;
}
XCORR_INLINE PoolSizes even_windows(const AdaptiveSizes& s) {
  PoolSizes p = {};
  p.planes = s.planes;
  for (int d = 0; d < kSpatial; d++) {
    p.in[d] = s.in[d];
    p.out[d] = s.out[d];
    p.kernel[d] = p.stride[d] = s.in[d] / s.out[d];
    p.dilation[d] = 1;
  }
  return p;
}
XCORR_INLINE Taps adaptive_taps(const AdaptiveSizes& s, int d, int64_t out) {
  const int64_t first = out * s.in[d] / s.out[d], end = ((out + 1) * s.in[d] + s.out[d] - 1) / s.out[d];
  return {0, first, end};
}

// output(plane, position, depth, height, width) for every output.
template <class Output>
XCORR_INLINE void for_each_adaptive(const AdaptiveSizes& s, const Runtime& runtime, const Output& output) {
  run_ranges(runtime, s.planes, 2 * volume(s.in) + volume(s.out), 1, [&](int64_t begin, int64_t end) {
    for (int64_t plane = begin; plane < end; plane++) {
      int64_t position = 0;
      for_each_output_row(
          s.out, [&](int64_t d, int64_t h) __attribute__((always_inline)) {
            const Taps depth = adaptive_taps(s, 0, d), height = adaptive_taps(s, 1, h);
            for (int64_t w = 0; w < s.out[2]; w++) output(plane, position++, depth, height, adaptive_taps(s, 2, w));
          });
    }
  });
}

template <class T>
int64_t adaptive_max_pool(const AdaptiveSizes& s, const Runtime& runtime, void* const* operands) {
  const T* const x = static_cast<const T*>(operands[0]);
  T* const y = static_cast<T*>(operands[1]);
  int32_t* const index = static_cast<int32_t*>(operands[2]);
  const int64_t in = volume(s.in), out = volume(s.out);
  if (out == 1 && in > 0) {
    run_ranges(runtime, s.planes, in, 1, [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; p++) arg_row<T, reduce::max>(x + p * in, in, y + p, index + p);
    });
    return kOk;
  }
  if (divides_evenly(s)) return max_pool<T>(even_windows(s), runtime, operands);
  PoolSizes shape = {};
  for (int d = 0; d < kSpatial; d++) shape.in[d] = s.in[d], shape.dilation[d] = 1;
  for_each_adaptive(s, runtime, [&](int64_t plane, int64_t position, Taps depth, Taps height, Taps width) {
    max_of_window(shape, x + plane * in, depth, height, width, y + plane * out + position,
                  index + plane * out + position);
  });
  return kOk;
}

template <class T>
int64_t adaptive_avg_pool(const AdaptiveSizes& s, const Runtime& runtime, void* const* operands) {
  const T* const x = static_cast<const T*>(operands[0]);
  T* const y = static_cast<T*>(operands[1]);
  const int64_t in = volume(s.in), out = volume(s.out);
  if (out == 1 && in > 0) {
    run_ranges(runtime, s.planes, in, 1, [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; p++) y[p] = (T)(fold_row<T, reduce::sum>(x + p * in, in) / (double)in);
    });
    return kOk;
  }
  if (divides_evenly(s)) return avg_pool<T>(even_windows(s), runtime, operands);
  PoolSizes shape = {};
  for (int d = 0; d < kSpatial; d++) shape.in[d] = s.in[d], shape.dilation[d] = 1;
  for_each_adaptive(s, runtime, [&](int64_t plane, int64_t position, Taps depth, Taps height, Taps width) {
    const int64_t taps = depth.count() * height.count() * width.count();
    y[plane * out + position] = sum_of_window(shape, x + plane * in, depth, height, width) / (T)(taps < 1 ? 1 : taps);
  });
  return kOk;
}

template <class T>
int64_t adaptive_avg_pool_grad(const AdaptiveSizes& s, const Runtime& runtime, void* const* operands) {
  const T* const dy = static_cast<const T*>(operands[0]);
  T* const dx = static_cast<T*>(operands[1]);
  const int64_t in = volume(s.in), out = volume(s.out);
  if (out == 1 && in > 0) {  // the end of many networks: a plane of one number
    run_ranges(runtime, s.planes, in, 1, [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; p++) {
        const auto share = set1(dy[p] / (T)in);
        for_each_vector<T>(
            in, [&](int64_t i, int n) __attribute__((always_inline)) { store_first(dx + p * in + i, share, n); });
      }
    });
    return kOk;
  }
  if (divides_evenly(s)) return avg_pool_grad<T>(even_windows(s), runtime, operands);
  run_ranges(runtime, s.planes * in, 1, 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) dx[i] = 0;
  });
  for_each_adaptive(s, runtime, [&](int64_t plane, int64_t position, Taps depth, Taps height, Taps width) {
    const T share = dy[plane * out + position] / (T)(depth.count() * height.count() * width.count());
    for (int64_t d = depth.first; d < depth.end; d++)
      for (int64_t h = height.first; h < height.end; h++)
        for (int64_t w = width.first; w < width.end; w++) dx[plane * in + (d * s.in[1] + h) * s.in[2] + w] += share;
  });
  return kOk;
}

}  // namespace
}  // namespace xcorr
