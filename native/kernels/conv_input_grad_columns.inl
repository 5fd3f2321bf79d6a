// The input gradient for few pixels and many weights (a 7x7 plane of one image): every weight meets few gradients, so
// that packing the weights, or transforming them, takes longer than the products. One product reads them once, where
// they lie: columns[pixel][channel * tap] = sum over output channels of dy[output][pixel] * w[output][channel * tap],
// pixels of all images as rows, weights in the lanes. Then every pixel of dx gathers its taps.
//
// The same number of fma as the direct algorithm without a lane to waste, for any stride and dilation.
#pragma once
#include "conv_direct.inl"
#include "parallel.inl"

namespace xcorr {
namespace {

template <class T>
struct InputGradColumns {
  static constexpr int64_t kLanes = Simd<T>::lanes, kChannels = 16;  // of a task that gathers
  using I = typename Simd<T>::I;

  const ConvSizes& s;
  const Runtime& runtime;
  int64_t channels, outputs, taps, pixels, width, vectors;  // of a group, of its filters; vectors of an image of dx
  LaneIndex<T>* from;                                       // [tap][pixel of dx]: its place in columns, -1 for none

  InputGradColumns(const ConvSizes& sizes, const Runtime& runtime_) : s(sizes), runtime(runtime_) {
    channels = s.in_channels / s.groups;
    outputs = s.out_channels / s.groups;
    taps = volume(s.kernel);
    pixels = volume(s.out);
    width = channels * taps;
    vectors = ceil_div(volume(s.in), kLanes);
  }

  void locate() const {
    for (int64_t t = 0; t < taps; t++) {
      const int64_t tap[] = {t / s.kernel[2] / s.kernel[1], t / s.kernel[2] % s.kernel[1], t % s.kernel[2]};
      LaneIndex<T>* const to = from + t * vectors * kLanes;
      for (int64_t i = 0; i < vectors * kLanes; i++) {
        const int64_t place[] = {i / s.in[2] / s.in[1], i / s.in[2] % s.in[1], i % s.in[2]};
        int64_t pixel = 0;
        bool there = i < volume(s.in);
        for (int d = 0; d < kSpatial; d++) {
          const int64_t reach = place[d] + s.pad[d] - tap[d] * s.dilation[d], q = reach / s.stride[d];
          there = there && reach >= 0 && reach % s.stride[d] == 0 && q < s.out[d];
          pixel = pixel * s.out[d] + q;
        }
        to[i] = LaneIndex<T>(there ? pixel * width + t : -1);
      }
    }
  }

  void gather_taps(const T* columns, const T* bias, T* dx) const {
    const I zero = {};
    typename Simd<T>::V sum;
    for (int64_t v = 0; v < vectors; v++) {
      const LaneIndex<T>* place = from + v * kLanes;
      sum = splat<T>(0);
      for (int64_t t = 0; t < taps; t++, place += vectors * kLanes) {
        const I at = load(place);
        sum = sum + gather_masked(columns, at, at >= zero);
      }
      if (bias) sum = sum + set1(*bias);
      if ((v + 1) * kLanes <= volume(s.in))
        store(dx + v * kLanes, sum);
      else
        store_partial(dx + v * kLanes, sum, int(volume(s.in) - v * kLanes));
    }
  }

  int64_t execute(void* const* operands) {
    const T* const dy = static_cast<const T*>(operands[0]);
    const T* const bias = static_cast<const T*>(operands[2]);
    T* const columns = static_cast<T*>(runtime.scratch(2, s.batch * pixels * width * int64_t(sizeof(T))));
    // Several images' pixels side by side, behind the places.
    const int64_t places = taps * vectors * kLanes, together = s.batch > 1 ? s.batch * pixels * outputs : 0;
    from = static_cast<LaneIndex<T>*>(
        runtime.scratch(3, places * int64_t(sizeof(LaneIndex<T>)) + together * int64_t(sizeof(T))));
    if (!columns || !from) return kOutOfMemory;
    T* const rows = reinterpret_cast<T*>(from + places);
    locate();
    for (int64_t group = 0; group < s.groups; group++) {
      const T* const first = dy + group * outputs * pixels;
      if (s.batch > 1)
        run_ranges(runtime, outputs, s.batch * pixels, 1, [&](int64_t k, int64_t end) {
          for (; k < end; k++)
            for (int64_t n = 0; n < s.batch; n++)
              copy_rows<T>(first + (n * s.out_channels + k) * pixels, 0, 1, pixels, rows + (k * s.batch + n) * pixels,
                           0, pixels);
        });
      Product<T> p = {};
      p.batch = 1;
      p.m = s.batch * pixels;
      p.n = p.image = width;
      p.k = outputs;
      p.a = s.batch > 1 ? rows : first;
      p.a_row = 1;
      p.a_term = p.m;
      p.b = static_cast<const T*>(operands[1]) + group * outputs * width;
      p.b_term = width;
      p.c = columns;
      p.c_row = width;
      const int64_t status = run_product<T>(p, runtime);
      if (status != kOk) return status;
      const int64_t parts = ceil_div(channels, kChannels);
      run_tasks(runtime, s.batch * parts, [&](int64_t i) {
        const int64_t n = i / parts, c = i % parts * kChannels;
        for (int64_t channel = c; channel < smaller(channels, c + kChannels); channel++)
          gather_taps(columns + n * pixels * width + channel * taps, bias ? bias + group * channels + channel : nullptr,
                      static_cast<T*>(operands[3]) + ((n * s.groups + group) * channels + channel) * volume(s.in));
      });
    }
    return kOk;
  }
};

// Many weights, for at most so many pixels of dy; places of an image fit 32 bits.
XCORR_INLINE bool input_grad_columns_fit(const ConvSizes& s, int64_t most_pixels) {
  const int64_t channels = s.in_channels / s.groups, outputs = s.out_channels / s.groups, taps = volume(s.kernel);
  return taps > 1 && channels * taps >= 256 && outputs >= 64 && conv_x(s).high > 0 && volume(s.out) > 0 &&
         s.batch * volume(s.out) <= most_pixels && volume(s.in) <= 4 * most_pixels &&
         most_pixels * channels * taps < (int64_t(1) << 30);
}

}  // namespace
}  // namespace xcorr
