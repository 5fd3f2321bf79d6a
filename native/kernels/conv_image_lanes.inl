// Direct convolution of many small images: lanes are images, so that rows of any width waste none and taps beside the
// source are left out instead of multiplied by zeros.
//
// The source of a block of images is transposed to [pixel][channel][image]: the taps of a row that find a pixel and all
// their channels are then one run, in the source and in the weights.
#pragma once
#include "conv_direct.inl"
#include "parallel.inl"

namespace xcorr {
namespace {

template <class T>
struct ImageLanes {
  static constexpr int64_t kImages = 32, kMostTaps = 32, kMostTerms = 384;

  const Runtime& runtime;
  const Correlation<T>& conv;
  Axis h, w;
  Split groups_of_taps;  // rows of taps in one chain
  T *packed_x = nullptr, *packed_w = nullptr;
  bool failed = false;

  ImageLanes(const Runtime& runtime_, const Correlation<T>& conv_)
      : runtime(runtime_),
        conv(conv_),
        h(conv.axis[1]),
        w(conv.axis[2]),
        groups_of_taps(split_evenly(h.taps, larger(1, kMostTerms / (conv.in_channels * w.taps)))) {}

  int64_t images_of(int64_t block) const { return smaller(kImages, conv.batch - block * kImages); }
  int64_t x_block() const { return conv.in_channels * conv.x_plane() * kImages; }

  // Runs of terms that lie together in the weights and in the source.
  struct Run {
    const T *weights, *pixels;
    int64_t terms;
  };
  template <int kRows, int kVectors>
  [[gnu::noinline]] static void tile(const Run* run, int64_t runs, const TileEnd<T>& end) {
    typename Simd<T>::V sums[kRows][kVectors];
#pragma GCC unroll 16
    for (int m = 0; m < kRows; m++)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; v++) sums[m][v] = splat<T>(0);
    for (int64_t i = 0; i < runs; i++) {
      const T *a = run[i].weights, *b = run[i].pixels;
      for (int64_t k = 0; k < run[i].terms; k++, a += kRows, b += kImages) {
        typename Simd<T>::V row[kVectors];
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) row[v] = load(b + v * Simd<T>::lanes);
#pragma GCC unroll 16
        for (int m = 0; m < kRows; m++) {
          const auto factor = set1(a[m]);
#pragma GCC unroll 4
          for (int v = 0; v < kVectors; v++) sums[m][v] = fma(factor, row[v], sums[m][v]);
        }
      }
    }
    end_tile<T, kRows, kVectors>(sums, end);
  }
  using TileFunction = void (*)(const Run*, int64_t, const TileEnd<T>&);
  template <int kRows>
  static TileFunction find_tile(int64_t rows) {
    if constexpr (kRows > 1)
      if (rows < kRows) return find_tile<kRows - 1>(rows);
    return tile<kRows, Simd<T>::tile_vectors>;
  }

  // Taps in the order of the pixels that they read.
  static int64_t ascending(const Axis& a, int64_t tap) { return a.tap_step > 0 ? tap : a.taps - 1 - tap; }
  static int64_t start(const Axis& a) { return a.offset + smaller(0, (a.taps - 1) * a.tap_step); }
  static int64_t step(const Axis& a) { return a.tap_step > 0 ? a.tap_step : -a.tap_step; }

  // Weights as [panel][row of taps][tap][channel][rows of the panel].
  void pack_weights() {
    const Split panels = row_panels<T>(conv.out_channels);
    T* to = packed_w;
    for (int64_t panel = 0; panel < panels.parts; panel++)
      for (int64_t th = 0; th < h.taps; th++)
        for (int64_t tw = 0; tw < w.taps; tw++) {
          const T* const from = conv.w + panels.start(panel) * conv.w_out +
                                conv.filter_position(ascending(h, th) * w.taps + ascending(w, tw));
          for (int64_t c = 0; c < conv.in_channels; c++)
            for (int64_t m = 0; m < panels.size(panel); m++) *to++ = from[m * conv.w_out + c * conv.w_in];
        }
  }

  // One row of outputs of a block of images.
  void task(int64_t index) {
    const int64_t block = index / h.count, q = index % h.count, images = images_of(block), columns = kTileColumns<T>;
    const int64_t channels = conv.in_channels, taps = h.taps * w.taps, pixel = channels * kImages;
    T* const result = static_cast<T*>(runtime.scratch(4, conv.out_channels * w.count * kImages * int64_t(sizeof(T))));
    if (!result) {
      failed = true;
      return;
    }
    const T* const x = packed_x + block * x_block();
    const Split panels = row_panels<T>(conv.out_channels);
    const int64_t k_stride = w.count * kImages, row = q * h.step + start(h), h_step = step(h), w_step = step(w);
    for (int64_t panel = 0; panel < panels.parts; panel++) {
      const auto tile_of_panel = find_tile<Simd<T>::tile_rows>(panels.size(panel));
      const T* const weights = packed_w + panels.start(panel) * taps * channels;
      const int64_t tap_size = channels * panels.size(panel);
      for (int64_t i = 0; i < w.count; i++) {
        const int64_t column = i * w.step + start(w);
        int64_t first = 0, last = w.taps;
        while (first < last && column + first * w_step < 0) first++;
        while (first < last && column + (last - 1) * w_step >= w.source) last--;
        for (int64_t group = 0; group < groups_of_taps.parts; group++) {
          Run run[kMostTaps];
          int64_t runs = 0;
          for (int64_t j = 0; j < groups_of_taps.size(group) && first < last; j++) {
            const int64_t th = groups_of_taps.start(group) + j, at = row + th * h_step;
            if (at < 0 || at >= h.source) continue;
            const int64_t joined = w_step == 1 ? last - first : 1;
            for (int64_t tw = first; tw < last; tw += joined)
              run[runs++] = {weights + (th * w.taps + tw) * tap_size,
                             x + (at * w.source + column + tw * w_step) * pixel, joined * channels};
          }
          for (int64_t lane = 0; lane < images; lane += columns) {
            T* const to = result + panels.start(panel) * k_stride + i * kImages + lane;
            tile_of_panel(run, runs, {to, k_stride, columns, group > 0 ? to : nullptr, k_stride});
            for (int64_t r = 0; r < runs; r++) run[r].pixels += columns;
          }
        }
      }
    }
    for (int64_t k = 0; k < conv.out_channels; k++) {
      T* const sums = result + k * k_stride;
      if (conv.bias || conv.activation)
        for (int64_t i = 0; i < k_stride; i += Simd<T>::lanes) {
          const auto sum = conv.bias ? load(sums + i) + set1(conv.bias[k]) : load(sums + i);
          store(sums + i, conv.residual ? sum : activate<T>(sum, conv.activation));
        }
      const int64_t at = block * kImages * conv.y_image() + k * conv.y_plane() + q * w.size;
      transpose_matrix<T>(sums, kImages, w.count, images, conv.y + at, conv.y_image(), w.count);
      for (int64_t n = 0; conv.residual && n < images; n++) {
        T* const y = conv.y + at + n * conv.y_image();
        finish_tile<T>(y, 0, 1,
                       {y, 0, w.count, nullptr, 0, nullptr, nullptr, conv.residual + (y - conv.y), conv.activation});
      }
    }
  }

  int64_t execute() {
    const int64_t blocks = ceil_div(conv.batch, kImages), plane = conv.x_plane(), channels = conv.in_channels;
    packed_x = static_cast<T*>(runtime.scratch(0, blocks * x_block() * int64_t(sizeof(T))));
    packed_w = static_cast<T*>(runtime.scratch(1, conv.out_channels * channels * h.taps * w.taps * int64_t(sizeof(T))));
    if (!packed_x || !packed_w) return kOutOfMemory;
    pack_weights();
    run_tasks(runtime, blocks * channels, [&](int64_t i) {
      const int64_t block = i / channels, c = i % channels;
      transpose_matrix<T>(conv.x + block * kImages * conv.x_image() + c * plane, conv.x_image(), images_of(block),
                          plane, packed_x + block * x_block() + c * kImages, channels * kImages, kImages);
    });
    run_tasks(runtime, blocks * h.count, [this](int64_t i) { task(i); });
    return failed ? int64_t(kOutOfMemory) : int64_t(kOk);
  }
};

// Two dimensions, many images, one group, rows that do not fill vectors, and enough products for every pixel that is
// transposed.
template <class T>
XCORR_INLINE bool image_lanes_fit(const Correlation<T>& conv) {
  const Axis &d = conv.axis[0], &h = conv.axis[1], &w = conv.axis[2];
  const int64_t taps = h.taps * w.taps, c = conv.in_channels, k = conv.out_channels;
  return d.source == 1 && d.count == 1 && d.size == 1 && d.taps == 1 && d.kernel == 1 && d.offset == 0 &&
         conv.dense() && conv.groups == 1 && conv.batch >= 24 && round_up(conv.batch, 32) * 7 <= conv.batch * 8 &&
         h.count > 0 && w.count > 0 && w.count < 24 && taps > 1 && taps <= ImageLanes<T>::kMostTaps && c >= 1 &&
         c * w.taps <= ImageLanes<T>::kMostTerms && k >= 4 && k <= 64 && k * taps >= 64 && c * taps >= 64 &&
         conv.x_plane() * c <= 8192;
}

}  // namespace
}  // namespace xcorr
