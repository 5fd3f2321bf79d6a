// Sums with output channels in the lanes, on their way to planes.
#pragma once
#include "transpose.inl"

namespace xcorr {
namespace {

// y[channel][pixel] = activation(sums[pixel][channel] [+ bias] [+ residual]).
struct TurnOut {
  int64_t pixels, channels, plane;  // to be written; from one channel of y to the next
  const float *bias, *residual;     // of the first channel, laid out as y; or null
  float* y;
  float lowest, highest;  // what the activation lets pass
};

XCORR_INLINE float lowest_of(int64_t code) { return code == activation::none ? float(-__builtin_inff()) : 0.0f; }
XCORR_INLINE float highest_of(int64_t code) { return code == activation::relu6 ? 6.0f : float(__builtin_inff()); }

// Rows of sums are `stride` apart and end in a whole vector.
[[gnu::noinline]] void turn_out(const float* sums, int64_t stride, const TurnOut& to) {
  constexpr int64_t kLanes = Simd<float>::lanes;
  const auto low = set1(to.lowest), high = set1(to.highest);
  for (int64_t c = 0; c < to.channels; c += kLanes) {
    const int64_t count = smaller(kLanes, to.channels - c);
    const float* const bias = to.bias ? to.bias + c : nullptr;
    for (int64_t r = 0; r < to.pixels; r += kLanes) {
      const int64_t height = smaller(kLanes, to.pixels - r);
      typename Simd<float>::V block[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; i++) block[i] = i < height ? load(sums + (r + i) * stride + c) : splat<float>(0);
      transpose_blocks<kLanes, kLanes>(block);
      float* const y = to.y + c * to.plane + r;
      const float* const residual = to.residual ? to.residual + c * to.plane + r : nullptr;
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; i++) {
        if (i >= count) break;
        auto v = block[i];
        if (bias) v = v + set1(bias[i]);
        if (residual) v = v + load_partial(residual + i * to.plane, int(height));
        store_partial(y + i * to.plane, min(high, max(low, v)), int(height));
      }
    }
  }
}

}  // namespace
}  // namespace xcorr
