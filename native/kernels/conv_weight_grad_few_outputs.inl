// The weight gradient with few output channels, which would leave most lanes of conv_weight_grad.inl empty: the lanes
// lie along the rows of outputs, and a register tile is up to 4 output channels by 5 neighbouring taps of a row.
//
// Every (output channel, tap) is a sum in 16 virtual lanes over the pixels of an image, the images' sums are added in
// order, and the lanes by the fixed tree. Tasks are chunks of images, each with its own sums.
#pragma once
#include "conv_few_channels.inl"
#include "parallel.inl"

namespace xcorr {
namespace {

template <class T>
struct FewOutputsWeightGrad {
  static constexpr int kLanes = Simd<T>::lanes, kWide = Wide<T>::width, kTapsAtOnce = 5;
  static constexpr int kOutputsAtOnce = kVectorBytes == 32 ? 2 : 4;  // AVX2 has 16 registers
  using V = typename Simd<T>::V;

  const Runtime& runtime;
  const ConvSizes& s;
  const T *x, *dy;
  T *dw, *dbias;
  int64_t channels, outputs, taps;  // of one group
  Split chunks;                     // of the images
  T *sums = nullptr, *bias_sums = nullptr;
  bool failed = false;

  FewOutputsWeightGrad(const ConvSizes& sizes, const Runtime& runtime_, void* const* operands)
      : runtime(runtime_),
        s(sizes),
        x(static_cast<const T*>(operands[0])),
        dy(static_cast<const T*>(operands[1])),
        dw(static_cast<T*>(operands[2])),
        dbias(static_cast<T*>(operands[3])),
        channels(s.in_channels / s.groups),
        outputs(s.out_channels / s.groups),
        taps(volume(s.kernel)),
        chunks{s.batch, smaller(s.batch, 16)} {}

  // Where the rows of a tile lie: gradients of the first output channel, pixels of the first tap, and their sums.
  struct Tile {
    const T *dy, *x;
    int64_t dy_plane, x_row, x_tap, rows, width;
    T* sums;
    int64_t sums_stride;  // between output channels
  };
  template <int kOutputs, int kTaps>
  [[gnu::noinline]] static void tile(const Tile& at) {
    for (int lane = 0; lane < kWide; lane += kLanes) {
      V total[kOutputs][kTaps];
#pragma GCC unroll 4
      for (int k = 0; k < kOutputs; k++)
#pragma GCC unroll 5
        for (int t = 0; t < kTaps; t++) total[k][t] = splat<T>(0);
      for (int64_t q = 0; q < at.rows; q++) {
        const T *const g = at.dy + q * at.width, *const from = at.x + q * at.x_row;
        const auto add = [&](const auto& read) __attribute__((always_inline)) {
          V gradient[kOutputs];
#pragma GCC unroll 4
          for (int k = 0; k < kOutputs; k++) gradient[k] = read(g + k * at.dy_plane);
#pragma GCC unroll 5
          for (int t = 0; t < kTaps; t++) {
            const V pixels = read(from + t * at.x_tap);
#pragma GCC unroll 4
            for (int k = 0; k < kOutputs; k++) total[k][t] = fma(gradient[k], pixels, total[k][t]);
          }
        };
        int64_t column = lane;
        for (; column + kLanes <= at.width; column += kWide)
          add([column](const T* p) __attribute__((always_inline)) { return load(p + column); });
        // Both factors are zero beyond the row: a product with what lies there need not be finite.
        if (const int n = int(at.width - column); n > 0)
          add([ column, n ](const T* p) __attribute__((always_inline)) { return load_partial(p + column, n); });
      }
#pragma GCC unroll 4
      for (int k = 0; k < kOutputs; k++)
#pragma GCC unroll 5
        for (int t = 0; t < kTaps; t++) {
          T* const to = at.sums + k * at.sums_stride + t * kWide + lane;
          store(to, load(to) + total[k][t]);
        }
    }
  }
  using TileFunction = void (*)(const Tile&);
  template <int kOutputs, int kTaps>
  static TileFunction find_tile(int64_t k, int64_t t) {
    if constexpr (kOutputs > 1)
      if (k < kOutputs) return find_tile<kOutputs - 1, kTaps>(k, t);
    if constexpr (kTaps > 1)
      if (t < kTaps) return find_tile<kOutputs, kTaps - 1>(k, t);
    return tile<kOutputs, kTaps>;
  }

  int64_t padded_width() const { return s.out[2] + (s.kernel[2] - 1) * s.dilation[2]; }
  bool needs_copy() const { return s.pad[2] > 0 || padded_width() > s.in[2]; }
  // A channel's rows with the zeros beside them.
  void pad(const T* from, T* to) const {
    const int64_t width = padded_width(), low = smaller(s.pad[2], width), high = smaller(s.pad[2] + s.in[2], width);
    for (int64_t row = 0; row < s.in[1]; row++, from += s.in[2], to += width) {
      for (int64_t i = 0; i < low; i++) to[i] = 0;
      copy_rows<T>(from, 0, 1, high - low, to + low, 0, high - low);
      for (int64_t i = high; i < width; i++) to[i] = 0;
    }
  }

  void image(int64_t n, T* padded, T* to) const {
    const int64_t in = volume(s.in), out = volume(s.out);
    const Split panels = split_evenly(outputs, kOutputsAtOnce), parts = split_evenly(s.kernel[2], kTapsAtOnce);
    for (int64_t c = 0; c < s.in_channels; c++) {
      const int64_t group = c / channels;
      const T* pixels = x + (n * s.in_channels + c) * in;
      if (needs_copy()) {
        pad(pixels, padded);
        pixels = padded;
      }
      const int64_t x_row = needs_copy() ? padded_width() : s.in[2];
      for (int64_t th = 0; th < s.kernel[1]; th++) {
        const int64_t shift = th * s.dilation[1] - s.pad[1];
        const int64_t first = larger(0, -shift), last = smaller(s.out[1], s.in[1] - shift);
        if (first >= last) continue;
        for (int64_t panel = 0; panel < panels.parts; panel++)
          for (int64_t part = 0; part < parts.parts; part++) {
            const int64_t k = group * outputs + panels.start(panel), tw = parts.start(part);
            const Tile at = {dy + (n * s.out_channels + k) * out + first * s.out[2],
                             pixels + (first + shift) * x_row + tw * s.dilation[2],
                             out,
                             x_row,
                             s.dilation[2],
                             last - first,
                             s.out[2],
                             to + ((k * channels + c % channels) * taps + th * s.kernel[2] + tw) * kWide,
                             channels * taps * kWide};
            find_tile<kOutputsAtOnce, kTapsAtOnce>(panels.size(panel), parts.size(part))(at);
          }
      }
    }
    if (!dbias) return;
    for (int64_t k = 0; k < s.out_channels; k++)
      bias_sums[n * s.out_channels + k] = sum_lanes(dy + (n * s.out_channels + k) * out, out);
  }

  int64_t execute() {
    const int64_t terms = s.out_channels * channels * taps;
    sums = static_cast<T*>(runtime.scratch(0, chunks.parts * terms * kWide * int64_t(sizeof(T))));
    bias_sums = static_cast<T*>(runtime.scratch(1, s.batch * s.out_channels * int64_t(sizeof(T))));
    if (!sums || !bias_sums) return kOutOfMemory;
    run_tasks(runtime, chunks.parts, [this, terms](int64_t chunk) {
      T* const padded = static_cast<T*>(runtime.scratch(4, s.in[1] * padded_width() * int64_t(sizeof(T))));
      if (!padded) {
        failed = true;
        return;
      }
      T* const to = sums + chunk * terms * kWide;
      for (int64_t i = 0; i < terms * kWide; i += kLanes) store(to + i, splat<T>(0));
      for (int64_t i = 0; i < chunks.size(chunk); i++) image(chunks.start(chunk) + i, padded, to);
    });
    if (failed) return kOutOfMemory;
    for (int64_t i = 0; i < terms; i++) {
      Wide<T> total = Wide<T>::of(0);
      for (int64_t chunk = 0; chunk < chunks.parts; chunk++)
        total.add(Wide<T>::load(sums + (chunk * terms + i) * kWide));
      dw[i] = total.sum();
    }
    for (int64_t k = 0; dbias && k < s.out_channels; k++) {
      T sum = 0;
      for (int64_t n = 0; n < s.batch; n++) sum += bias_sums[n * s.out_channels + k];
      dbias[k] = sum;
    }
    return kOk;
  }
};

// Two dimensions, stride 1, rows that fill vectors, several images for the tasks, and sums that stay in the cache.
XCORR_INLINE bool few_outputs_fit(const ConvSizes& s) {
  return s.in[0] == 1 && s.out[0] == 1 && s.kernel[0] == 1 && s.pad[0] == 0 && s.stride[1] == 1 && s.stride[2] == 1 &&
         s.pad[1] >= 0 && s.pad[2] >= 0 && s.batch >= 8 && s.out_channels / s.groups <= 8 && volume(s.kernel) > 1 &&
         s.out_channels * (s.in_channels / s.groups) * volume(s.kernel) <= 1024 && s.out[1] > 0 &&
         rows_fill_lanes(forward_axis(s, 2));
}

}  // namespace
}  // namespace xcorr
