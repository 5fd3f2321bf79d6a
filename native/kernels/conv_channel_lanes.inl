// Direct convolution of a few small images with short rows: lanes are 16 output channels, so that rows of any width
// waste none. conv_few_channels.inl has pixels in the lanes, and of 10 outputs a row it computes 14.
//
// Pixels are broadcast from x where it lies, or from a copy with its zeros; a register tile is up to 14 pixels of a row
// (AVX2: 6) by 16 channels, and is transposed on its way out. The chain of every sum is that of conv_few_channels.inl:
// the same bits.
#pragma once
#include "conv_few_channels.inl"
#include "turn_out.inl"

namespace xcorr {
namespace {

struct ChannelLanes {
  using T = float;
  static constexpr int kLanes = Simd<T>::lanes, kChannels = 16, kVectors = kChannels / kLanes;
  static constexpr int kPixels = kVectors == 1 ? 14 : kVectors == 2 ? 6 : 5;
  static constexpr int64_t kMostTerms = 384, kFewImages = 8;

  const Runtime& runtime;
  const Correlation<T>& conv;
  FewChannels<T> source;  // copies images
  Axis h, w;
  int64_t terms, panels, pixels;
  bool copies;
  Split tiles;  // of a row
  T* packed_w = nullptr;
  int64_t* offset = nullptr;
  bool failed = false;

  ChannelLanes(const Runtime& runtime_, const Correlation<T>& conv_)
      : runtime(runtime_),
        conv(conv_),
        source(runtime_, conv_),
        h(conv.axis[1]),
        w(conv.axis[2]),
        terms(source.terms),
        panels(conv.out_channels / kChannels),
        pixels(conv.pixels()),
        tiles(split_evenly(w.count, kPixels)) {
    source.band = h.count;
    copies = source.left != 0 || source.pitch != w.source || source.lowest < 0 ||
             source.lowest + source.rows_copied() > h.source;
  }

  // Short rows of which the lanes of pixels would waste an eighth or more, forward.
  static bool fits(const Correlation<T>& conv) {
    const Axis &h = conv.axis[1], &w = conv.axis[2];
    return few_channels_fit(conv) && conv.dense() && conv.groups == 1 && h.step == 1 && w.step == 1 &&
           conv.w_in == conv.taps() && conv.out_channels % kChannels == 0 && conv.in_channels * conv.taps() >= 32 &&
           conv.in_channels * conv.taps() <= kMostTerms && w.count >= 7 &&
           w.count * 8 <= (w.count + (w.taps - 1) * w.tap_step) * 7 && !rows_fill_lanes(w);
  }

  template <int kCount>
  [[gnu::noinline]] static void tile(int64_t terms, const T* weights, const int64_t* offset, const T* from, T* to) {
    typename Simd<T>::V sums[kCount][kVectors];
#pragma GCC unroll 14
    for (int i = 0; i < kCount; i++)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; v++) sums[i][v] = splat<T>(0);
    for (int64_t k = 0; k < terms; k++, weights += kChannels) {
      const T* const pixel = from + offset[k];
      typename Simd<T>::V weight[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; v++) weight[v] = load(weights + v * kLanes);
#pragma GCC unroll 14
      for (int i = 0; i < kCount; i++) {
        const auto factor = set1(pixel[i]);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) sums[i][v] = fma(factor, weight[v], sums[i][v]);
      }
    }
#pragma GCC unroll 14
    for (int i = 0; i < kCount; i++)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; v++) store(to + i * kChannels + v * kLanes, sums[i][v]);
  }
  using TileFunction = void (*)(int64_t, const T*, const int64_t*, const T*, T*);
  template <int kCount>
  static TileFunction find_tile(int64_t count) {
    if constexpr (kCount > 1)
      if (count < kCount) return find_tile<kCount - 1>(count);
    return tile<kCount>;
  }

  // Some panels of 16 output channels of an image.
  void task(int64_t image, int64_t first_panel, int64_t end_panel) {
    const int64_t copied = copies ? conv.in_channels * source.channel_size() : 0, line = source.pitch + 2 * kLanes;
    T* const own = static_cast<T*>(runtime.scratch(4, (copied + line + pixels * kChannels) * int64_t(sizeof(T))));
    if (!own) {
      failed = true;
      return;
    }
    T* const sums = own + copied + line;
    const T* x = conv.x + image * conv.x_image();
    for (int64_t c = 0; copies && c < conv.in_channels; c++)
      source.copy(x + c * conv.x_plane(), 0, own + copied, own + c * source.channel_size());
    x = copies ? own : x + source.lowest * source.pitch;
    for (int64_t panel = first_panel; panel < end_panel; panel++) {
      const int64_t channel = panel * kChannels;
      for (int64_t q = 0; q < h.count; q++)
        for (int64_t i = 0; i < tiles.parts; i++)
          find_tile<kPixels>(tiles.size(i))(terms, packed_w + channel * terms, offset,
                                            x + q * source.pitch + tiles.start(i),
                                            sums + (q * w.count + tiles.start(i)) * kChannels);
      T* const y = conv.y + image * conv.y_image() + channel * pixels;
      turn_out(sums, kChannels,
               {pixels, kChannels, pixels, conv.bias ? conv.bias + channel : nullptr,
                conv.residual ? conv.residual + (y - conv.y) : nullptr, y, lowest_of(conv.activation),
                highest_of(conv.activation)});
    }
  }

  int64_t execute() {
    packed_w = static_cast<T*>(runtime.scratch(0, conv.out_channels * terms * int64_t(sizeof(T))));
    offset = static_cast<int64_t*>(runtime.scratch(1, terms * int64_t(sizeof(int64_t))));
    if (!packed_w || !offset) return kOutOfMemory;
    source.locate(offset);
    const int64_t taps = conv.taps(), more = conv.x_plane() - source.channel_size();
    for (int64_t k = taps; !copies && k < terms; k++) offset[k] += k / taps * more;
    for (int64_t panel = 0; panel < panels; panel++)
      transpose_matrix<T>(conv.w + panel * kChannels * terms, terms, kChannels, terms,
                          packed_w + panel * kChannels * terms, kChannels, kChannels);
    const int64_t parts = conv.batch < kFewImages ? panels : 1;  // of an image's panels
    const Split of_image = {panels, parts};
    const auto run = [&](int64_t i) {
      const int64_t part = i % parts;
      task(i / parts, of_image.start(part), of_image.start(part) + of_image.size(part));
    };
    if (conv.operations() > 1e6)
      run_tasks(runtime, conv.batch * parts, run);
    else
      for (int64_t i = 0; i < conv.batch * parts; i++) run(i);
    return failed ? int64_t(kOutOfMemory) : int64_t(kOk);
  }
};

}  // namespace
}  // namespace xcorr
