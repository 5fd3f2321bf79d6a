// A convolution as a gather: y[q] = sum over channels and taps of w[tap] * x[q * step + offset + tap * tap_step].
//
// The forward pass is one such gather. The input gradient is one for every phase of the stride: dx[phase + stride * q]
// needs only the taps t with (phase + pad - t * dilation) divisible by the stride, and they again lie in a regular
// progression. So nothing is ever scattered or zero-inserted, and every direct algorithm serves both directions.
#pragma once
#include "transpose.inl"

namespace xcorr {
namespace {

// One spatial dimension. Output q (written at first + q * spread) reads source q * step + offset + i * tap_step for
// i < taps, with the weight of tap first_tap + i * tap_stride.
struct Axis {
  int64_t count, size, first, spread;  // outputs of this gather; size of the dimension that they lie in
  int64_t source, step, offset;        // size of the dimension that is read
  int64_t taps, tap_step;
  int64_t first_tap, tap_stride, kernel;
};

XCORR_INLINE Axis forward_axis(const ConvSizes& s, int d) {
  return {s.out[d], s.out[d], 0, 1, s.in[d], s.stride[d], -s.pad[d], s.kernel[d], s.dilation[d], 0, 1, s.kernel[d]};
}

// The input gradient at positions phase, phase + stride, ...
XCORR_INLINE Axis input_grad_axis(const ConvSizes& s, int d, int64_t phase) {
  const int64_t stride = s.stride[d], dilation = s.dilation[d], reach = phase + s.pad[d];
  Axis axis = {ceil_div(s.in[d] - phase, stride), s.in[d], phase, stride, s.out[d], 1, 0, 0, 0, 0, 1, s.kernel[d]};
  int64_t a = stride, b = dilation;
  while (b != 0) {
    const int64_t rest = a % b;
    a = b;
    b = rest;
  }
  axis.tap_stride = stride / a;  // every so many taps the remainder comes back
  axis.tap_step = -(dilation / a);
  const int64_t last = axis.tap_stride < s.kernel[d] ? axis.tap_stride : s.kernel[d];
  int64_t tap = 0;
  while (tap < last && (reach - tap * dilation) % stride != 0) tap++;
  if (tap < last) {
    axis.first_tap = tap;
    axis.taps = ceil_div(s.kernel[d] - tap, axis.tap_stride);
    axis.offset = (reach - tap * dilation) / stride;
  }
  return axis;
}

// What an algorithm that adds neighbouring values before it multiplies returns if one of its results is not finite: an
// infinity, or a sum beyond the largest float, has become NaN in its neighbours. The rest of the list then computes
// everything again.
constexpr int64_t kNotFinite = -2;

// Remembers in `check`, 0 at first, whether a value was infinite or NaN: it becomes NaN. One fma a value; a plain sum
// might overflow, on one target and not on another.
template <class V>
XCORR_INLINE void remember(V& check, V value) {
  check = fma(value, set1(0.0f), check);
}
// What a task has seen, for all of them.
template <class V>
XCORR_INLINE void note_unless_finite(V check, bool& not_finite) {
  if (any(check != check)) __atomic_store_n(&not_finite, true, __ATOMIC_RELAXED);
}
XCORR_INLINE int64_t status_of(bool failed, bool not_finite) {
  return failed ? int64_t(kOutOfMemory) : not_finite ? kNotFinite : int64_t(kOk);
}

template <class T>
struct Correlation {
  int64_t batch, groups, in_channels, out_channels;  // channels of one group, of what is read and what is written
  Axis axis[kSpatial];
  const T* x;
  const T* w;
  int64_t w_out, w_in, w_group;  // strides of the weights: of an output channel, an input channel, a group
  const T* bias;
  const T* residual;
  T* y;
  int64_t activation;

  int64_t taps() const { return axis[0].taps * axis[1].taps * axis[2].taps; }
  int64_t pixels() const { return axis[0].count * axis[1].count * axis[2].count; }
  int64_t x_plane() const { return axis[0].source * axis[1].source * axis[2].source; }
  int64_t y_plane() const { return axis[0].size * axis[1].size * axis[2].size; }
  int64_t x_image() const { return groups * in_channels * x_plane(); }
  int64_t y_image() const { return groups * out_channels * y_plane(); }
  bool dense() const { return axis[0].spread == 1 && axis[1].spread == 1 && axis[2].spread == 1; }
  // Every output reads the pixel at its own place.
  bool pointwise() const {
    bool same = taps() == 1;
    for (const Axis& a : axis) same = same && a.step == 1 && a.offset == 0 && a.spread == 1 && a.source == a.count;
    return same;
  }
  double operations() const {
    return 2.0 * double(batch) * double(groups) * double(in_channels) * double(out_channels) * double(taps()) *
           double(pixels());
  }
  // Where the weight of a tap lies in its filter.
  int64_t filter_position(int64_t tap) const {
    const int64_t w_tap = tap % axis[2].taps, rest = tap / axis[2].taps;
    const int64_t h_tap = rest % axis[1].taps, d_tap = rest / axis[1].taps;
    return ((axis[0].first_tap + d_tap * axis[0].tap_stride) * axis[1].kernel + axis[1].first_tap +
            h_tap * axis[1].tap_stride) *
               axis[2].kernel +
           axis[2].first_tap + w_tap * axis[2].tap_stride;
  }
};

template <class T>
Correlation<T> forward_correlation(const ConvSizes& s, void* const* operands) {
  Correlation<T> c = {};
  const int64_t taps = volume(s.kernel);
  c.batch = s.batch;
  c.groups = s.groups;
  c.in_channels = s.in_channels / s.groups;
  c.out_channels = s.out_channels / s.groups;
  for (int d = 0; d < kSpatial; d++) c.axis[d] = forward_axis(s, d);
  c.x = static_cast<const T*>(operands[0]);
  c.w = static_cast<const T*>(operands[1]);
  c.bias = static_cast<const T*>(operands[2]);
  c.residual = static_cast<const T*>(operands[3]);
  c.y = static_cast<T*>(operands[4]);
  c.w_in = taps;
  c.w_out = c.in_channels * taps;
  c.w_group = c.out_channels * c.w_out;
  c.activation = s.activation;
  return c;
}

template <class T>
Correlation<T> input_grad_correlation(const ConvSizes& s, void* const* operands, const int64_t* phase) {
  Correlation<T> c = {};
  const int64_t taps = volume(s.kernel);
  c.batch = s.batch;
  c.groups = s.groups;
  c.in_channels = s.out_channels / s.groups;
  c.out_channels = s.in_channels / s.groups;
  for (int d = 0; d < kSpatial; d++) c.axis[d] = input_grad_axis(s, d, phase[d]);
  c.x = static_cast<const T*>(operands[0]);
  c.w = static_cast<const T*>(operands[1]);
  c.bias = static_cast<const T*>(operands[2]);
  c.y = static_cast<T*>(operands[3]);
  c.w_out = taps;
  c.w_in = c.out_channels * taps;
  c.w_group = c.in_channels * c.w_in;
  return c;
}

}  // namespace
}  // namespace xcorr
