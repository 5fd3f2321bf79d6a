// The input gradient of a strided convolution with few input channels (the 7x7 stem of a network): phase by phase of
// the stride it would fill 3 of a register tile's 14 rows. Here all phases of all channels are output channels of one
// convolution of stride 1: every phase reads a window of the gradients, and the windows lie within one of 4x4 (for 7x7
// with stride 2), whose taps are 0 where a phase has none. A last pass puts the phases side by side.
#pragma once
#include "conv_few_channels.inl"

namespace xcorr {
namespace {

template <class T>
struct PhaseChannels {
  static constexpr int kLanes = Simd<T>::lanes;

  const ConvSizes& s;
  const Runtime& runtime;
  ConvSizes dense;  // the convolution of stride 1
  int64_t phases;
  bool fits;

  PhaseChannels(const ConvSizes& sizes, const Runtime& runtime_) : s(sizes), runtime(runtime_), dense(sizes) {
    fits = s.groups == 1 && s.in[0] == 1 && s.out[0] == 1 && s.kernel[0] == 1 && s.pad[0] == 0 && s.stride[0] == 1 &&
           s.batch > 0 && s.out_channels >= 16 && s.out_channels <= 128;
    phases = 1;
    int64_t taps = 1;
    for (int d = 0; d < kSpatial; d++) {
      if (s.dilation[d] != 1 || s.stride[d] > 2 || s.in[d] < s.stride[d] || s.out[d] < 1) fits = false;
      if (!fits) return;
      int64_t low = 0, high = 0;
      for (int64_t phase = 0; phase < s.stride[d]; phase++) {
        const Axis axis = input_grad_axis(s, d, phase);
        if (axis.taps == 0) continue;
        low = smaller(low, axis.offset - (axis.taps - 1));
        high = larger(high, axis.offset);
      }
      phases *= s.stride[d];
      dense.in[d] = s.out[d];
      dense.kernel[d] = high - low + 1;
      dense.pad[d] = -low;
      dense.stride[d] = 1;
      dense.out[d] = ceil_div(s.in[d], s.stride[d]);
      taps *= s.kernel[d];
    }
    dense.in_channels = s.out_channels;
    dense.out_channels = s.in_channels * phases;
    dense.activation = activation::none;
    // Enough rows for a register tile, and few taps that are always 0.
    fits = phases > 1 && dense.out_channels >= 4 && dense.out_channels <= 16 &&
           taps * 10 >= 7 * phases * volume(dense.kernel);
  }

  // [input channel][phase][output channel][window], of w[output channel][input channel][tap].
  void spread_weights(const T* w, T* to) const {
    const int64_t window = volume(dense.kernel), taps = volume(s.kernel);
    for (int64_t i = 0; i < dense.out_channels * s.out_channels * window; i++) to[i] = 0;
    for (int64_t phase = 0; phase < phases; phase++) {
      const Axis h = input_grad_axis(s, 1, phase / s.stride[2]), v = input_grad_axis(s, 2, phase % s.stride[2]);
      for (int64_t c = 0; c < s.in_channels; c++)
        for (int64_t k = 0; k < s.out_channels; k++) {
          T* const there = to + ((c * phases + phase) * s.out_channels + k) * window;
          const T* const filter = w + (k * s.in_channels + c) * taps;
          for (int64_t i = 0; i < h.taps; i++)
            for (int64_t j = 0; j < v.taps; j++)
              there[(h.offset - i + dense.pad[1]) * dense.kernel[2] + v.offset - j + dense.pad[2]] =
                  filter[(h.first_tap + i * h.tap_stride) * s.kernel[2] + v.first_tap + j * v.tap_stride];
        }
    }
  }

  // The rows of dx from the rows of its phases.
  void join(const T* from, const T* bias, T* dx) const {
    const int64_t plane = volume(dense.out), width = dense.out[2];
    run_ranges(runtime, s.batch * s.in_channels, volume(s.in), 1, [&](int64_t first, int64_t end) {
      T* to = dx + first * volume(s.in);
      for (int64_t channel = first; channel < end; channel++) {
        const auto b = set1(bias ? bias[channel % s.in_channels] : T(0));
        for (int64_t h = 0; h < s.in[1]; h++, to += s.in[2]) {
          const T* const row =
              from + (channel * phases + h % s.stride[1] * s.stride[2]) * plane + h / s.stride[1] * width;
          int64_t i = 0;
          if (s.stride[2] == 1) {
            copy_rows<T>(row, 0, 1, width, to, 0, width);
          } else {
            for (; 2 * (i + kLanes) <= s.in[2]; i += kLanes) {
              const auto even = load(row + i), odd = load(row + plane + i);
              store(to + 2 * i, in_turns<kLanes>(even, odd, false) + b);
              store(to + 2 * i + kLanes, in_turns<kLanes>(even, odd, true) + b);
            }
            for (int64_t at = 2 * i; at < s.in[2]; at++) to[at] = row[at % 2 * plane + at / 2] + b[0];
            continue;
          }
          for (i = 0; bias && i < width; i++) to[i] = to[i] + b[0];
        }
      }
    });
  }

  int64_t execute(void* const* operands) const {
    // Slots of the tasks that FewChannels leaves alone.
    T* const w = static_cast<T*>(
        runtime.scratch(6, dense.out_channels * s.out_channels * volume(dense.kernel) * int64_t(sizeof(T))));
    T* const y =
        static_cast<T*>(runtime.scratch(7, s.batch * dense.out_channels * volume(dense.out) * int64_t(sizeof(T))));
    if (!w || !y) return kOutOfMemory;
    spread_weights(static_cast<const T*>(operands[1]), w);
    void* const changed[] = {operands[0], w, nullptr, nullptr, y};
    const Correlation<T> correlation = forward_correlation<T>(dense, changed);
    const int64_t status = FewChannels<T>(runtime, correlation).execute();
    if (status == kOk) join(y, static_cast<const T*>(operands[2]), static_cast<T*>(operands[3]));
    return status;
  }
};

}  // namespace
}  // namespace xcorr
