// The pixels that a convolution reads as a matrix [image][term][pixel of the output], zeros for the padding; terms in
// the order of direct convolution: blocks of channels, in a block taps, in a tap channels.
#pragma once
#include "conv_direct.inl"
#include "parallel.inl"

namespace xcorr {
namespace {

struct ConvColumns {
  using V = Simd<float>::V;
  static constexpr int64_t kLanes = Simd<float>::lanes;

  const Correlation<float>& conv;
  Split blocks;  // of the channels

  int64_t elements() const { return conv.batch * conv.in_channels * conv.taps() * conv.pixels(); }

  void lay_out(const Runtime& runtime, float* to) const {
    run_tasks(runtime, conv.batch * blocks.parts, [this, to](int64_t index) {
      const int64_t image = index / blocks.parts, first = blocks.start(index % blocks.parts);
      const int64_t channels = blocks.size(index % blocks.parts), taps = conv.taps(), pixels = conv.pixels();
      const float* const x = conv.x + image * conv.x_image() + first * conv.x_plane();
      float* const out = to + (image * conv.in_channels + first) * taps * pixels;
      for (int64_t tap = 0; tap < taps; tap++) lay_out_tap(tap, x, channels, out + tap * channels * pixels);
    });
  }

 private:
  // Of an axis: the source of output 0 for a tap, and the outputs whose source lies inside.
  struct Reach {
    int64_t shift, from, to;
    Reach(const Axis& a, int64_t tap) {
      shift = a.offset + tap * a.tap_step;
      from = smaller(a.count, shift < 0 ? ceil_div(-shift, a.step) : 0);
      to = larger(from, smaller(a.count, shift < a.source ? ceil_div(a.source - shift, a.step) : 0));
    }
    bool has(int64_t output) const { return output >= from && output < to; }
  };

  void lay_out_tap(int64_t tap, const float* x, int64_t channels, float* out) const {
    const Axis &d = conv.axis[0], &h = conv.axis[1], &w = conv.axis[2];
    const int64_t plane = conv.x_plane(), pixels = conv.pixels();
    const Reach reach_d(d, tap / w.taps / h.taps), reach_h(h, tap / w.taps % h.taps), reach_w(w, tap % w.taps);
    for (int64_t qd = 0; qd < d.count; qd++)
      for (int64_t qh = 0; qh < h.count; qh++) {
        float* const row = out + (qd * h.count + qh) * w.count;
        const int64_t pd = qd * d.step + reach_d.shift, ph = qh * h.step + reach_h.shift;
        const bool there = reach_d.has(qd) && reach_h.has(qh);
        const float* const from = x + (there ? (pd * h.source + ph) * w.source : 0);
        for (int64_t q = 0; q < w.count; q += kLanes) {
          const int count = int(smaller(kLanes, w.count - q));
          const int first = int(larger(0, smaller(count, reach_w.from - q)));
          const int end = there ? int(larger(first, smaller(count, reach_w.to - q))) : first;
          lay_out_piece(from + q * w.step + reach_w.shift, plane, channels, first, end, row + q, pixels, count);
        }
      }
  }

  // Outputs [first, end) of `count` from `from` on, the others 0, channel by channel.
  void lay_out_piece(const float* from, int64_t plane, int64_t channels, int first, int end, float* to, int64_t pixels,
                     int count) const {
    const int64_t step = conv.axis[2].step;
    if (step == 2) return lay_out_every_second(from, plane, channels, first, end, to, pixels, count);
    const auto lanes = lanes_between(V{}, first, end);
    for (int64_t c = 0; c < channels; c++, from += plane, to += pixels) {
      V v;
      if (step == 1) {
        v = load_lanes(from, lanes);
      } else {
        alignas(64) float values[kLanes] = {};
        for (int i = first; i < end; i++) values[i] = from[i * step];
        v = load(values);
      }
      store_partial(to, v, count);
    }
  }
  // The same with stride 2, where values that are put together in memory would be waited for.
  static void lay_out_every_second(const float* from, int64_t plane, int64_t channels, int first, int end, float* to,
                                   int64_t pixels, int count) {
    const int n = end - first, read = 2 * n - 1, low = int(smaller(read, kLanes)), high = int(larger(0, read - kLanes));
    from += 2 * first;
    for (int64_t c = 0; c < channels; c++, from += plane, to += pixels) {
      if (n < count) store_partial(to, splat<float>(0), count);
      if (n == 0) continue;
      const V a = load_partial(from, low), b = high > 0 ? load_partial(from + kLanes, high) : splat<float>(0);
      store_partial(to + first, every_second<kLanes>(a, b, false), n);
    }
  }
};

}  // namespace
}  // namespace xcorr
