// Direct convolution of many small images: lanes are images, so that rows of any width waste none and taps beside the
// source are left out instead of multiplied by zeros.
//
// The source of a block of images is transposed to [pixel][channel][image]: the taps of a row that find a pixel and all
// their channels are then one run, in the source and in the weights. A task does that for its own block and writes all
// outputs of its images, so that what it touches stays in the caches of one core.
#pragma once
#include "conv_direct.inl"
#include "parallel.inl"

namespace xcorr {
namespace {

template <class T>
struct ImageLanes {
  static constexpr int64_t kMostTaps = 32, kMostTerms = 384;
  // A register tile is 16 images (fewer on NEON, if registers do not suffice) by as many output channels as fit. Where
  // 16 images are one vector and output channels are few, it is two vectors, for sums enough to hide the latency.
  static constexpr int kLanes = Simd<T>::lanes;
  static constexpr int kTileVectors = kLanes < 16 ? (kLanes < 8 ? 4 : 16 / kLanes) : 1;
  static constexpr int kSums = Simd<T>::tile_rows * Simd<T>::tile_vectors;
  static constexpr int kTileRows = kTileVectors == 1 ? 16 : kSums / kTileVectors;

  const Runtime& runtime;
  const Correlation<T>& conv;
  Axis h, w;
  Split groups_of_taps;  // rows of taps in one chain
  Split panels;          // of output channels
  int64_t block_images;  // 16 or 32
  T* packed_w = nullptr;
  bool failed = false;

  ImageLanes(const Runtime& runtime_, const Correlation<T>& conv_)
      : runtime(runtime_),
        conv(conv_),
        h(conv.axis[1]),
        w(conv.axis[2]),
        groups_of_taps(split_evenly(h.taps, larger(1, kMostTerms / (conv.in_channels * w.taps)))),
        panels(split_evenly(conv.out_channels, kTileRows)),
        block_images(images_a_block(conv)) {}

  static int64_t images_a_block(const Correlation<T>& conv) {
    return conv.out_channels < 12 && conv.batch > 32 ? 32 : 16;
  }

  // Runs of terms that lie together in the weights and in the source.
  struct Run {
    const T *weights, *pixels;
    int64_t terms;
  };
  template <int kRows, int kVectors>
  [[gnu::noinline]] static void tile(const Run* run, int64_t runs, int64_t stride, const TileEnd<T>& end) {
    typename Simd<T>::V sums[kRows][kVectors];
#pragma GCC unroll 16
    for (int m = 0; m < kRows; m++)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; v++) sums[m][v] = splat<T>(0);
    for (int64_t i = 0; i < runs; i++) {
      const T *a = run[i].weights, *b = run[i].pixels;
      for (int64_t k = 0; k < run[i].terms; k++, a += kRows, b += stride) {
        typename Simd<T>::V row[kVectors];
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) row[v] = load(b + v * kLanes);
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
  using TileFunction = void (*)(const Run*, int64_t, int64_t, const TileEnd<T>&);
  template <int kRows>
  static TileFunction find_tile(int64_t rows, bool twice) {
    if constexpr (kRows > 1)
      if (rows < kRows) return find_tile<kRows - 1>(rows, twice);
    if constexpr (kRows < 12 && kTileVectors == 1)
      if (twice) return tile<kRows, 2>;
    return tile<kRows, kTileVectors>;
  }

  // Taps in the order of the pixels that they read.
  static int64_t ascending(const Axis& a, int64_t tap) { return a.tap_step > 0 ? tap : a.taps - 1 - tap; }
  static int64_t start(const Axis& a) { return a.offset + smaller(0, (a.taps - 1) * a.tap_step); }
  static int64_t step(const Axis& a) { return a.tap_step > 0 ? a.tap_step : -a.tap_step; }

  // Weights as [panel][row of taps][tap][channel][rows of the panel].
  void pack_weights() {
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

  // A block of images.
  void task(int64_t block) {
    const int64_t images = smaller(block_images, conv.batch - block * block_images), plane = conv.x_plane();
    const int64_t channels = conv.in_channels, k_stride = h.count * w.count * block_images;
    T* const x = static_cast<T*>(
        runtime.scratch(4, (channels * plane * block_images + panels.size(0) * k_stride) * int64_t(sizeof(T))));
    if (!x) {
      failed = true;
      return;
    }
    T* const result = x + channels * plane * block_images;
    for (int64_t c = 0; c < channels; c++)
      transpose_matrix<T>(conv.x + block * block_images * conv.x_image() + c * plane, conv.x_image(), images, plane,
                          x + c * block_images, channels * block_images, block_images);
    for (int64_t panel = 0; panel < panels.parts; panel++) {
      for (int64_t q = 0; q < h.count; q++)
        multiply(x, panel, q, images, result + q * w.count * block_images, k_stride);
      for (int64_t m = 0; m < panels.size(panel); m++)
        finish(block * block_images, images, panels.start(panel) + m, result + m * k_stride);
    }
  }

  // Row q of outputs of one panel of output channels.
  void multiply(const T* x, int64_t panel, int64_t q, int64_t images, T* result, int64_t k_stride) const {
    const int64_t channels = conv.in_channels, pixel = channels * block_images;
    const bool twice = kTileVectors == 1 && block_images > kLanes;
    const int64_t columns = (twice ? 2 : kTileVectors) * kLanes;
    const auto tile_of_panel = find_tile<kTileRows>(panels.size(panel), twice);
    const T* const weights = packed_w + panels.start(panel) * h.taps * w.taps * channels;
    const int64_t tap_size = channels * panels.size(panel), h_step = step(h), w_step = step(w);
    const int64_t row = q * h.step + start(h);
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
            run[runs++] = {weights + (th * w.taps + tw) * tap_size, x + (at * w.source + column + tw * w_step) * pixel,
                           joined * channels};
        }
        for (int64_t lane = 0; lane < images; lane += columns) {
          T* const to = result + i * block_images + lane;
          tile_of_panel(run, runs, block_images, {to, k_stride, columns, group > 0 ? to : nullptr, k_stride});
          for (int64_t r = 0; r < runs; r++) run[r].pixels += columns;
        }
      }
    }
  }

  // Sums of one output channel, [pixel][image], to their place in y.
  void finish(int64_t image, int64_t images, int64_t k, T* sums) const {
    const int64_t pixels = h.count * w.count;
    if (conv.bias || conv.activation)
      for (int64_t i = 0; i < pixels * block_images; i += kLanes) {
        const auto sum = conv.bias ? load(sums + i) + set1(conv.bias[k]) : load(sums + i);
        store(sums + i, conv.residual ? sum : activate<T>(sum, conv.activation));
      }
    T* const to = conv.y + image * conv.y_image() + k * conv.y_plane();
    transpose_matrix<T>(sums, block_images, pixels, images, to, conv.y_image(), pixels);
    for (int64_t n = 0; conv.residual && n < images; n++) {
      T* const y = to + n * conv.y_image();
      finish_tile<T>(y, 0, 1,
                     {y, 0, pixels, nullptr, 0, nullptr, nullptr, conv.residual + (y - conv.y), conv.activation});
    }
  }

  int64_t execute() {
    packed_w = static_cast<T*>(
        runtime.scratch(1, conv.out_channels * conv.in_channels * h.taps * w.taps * int64_t(sizeof(T))));
    if (!packed_w) return kOutOfMemory;
    pack_weights();
    run_tasks(runtime, ceil_div(conv.batch, block_images), [this](int64_t i) { task(i); });
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
         conv.dense() && conv.groups == 1 && conv.batch >= 24 &&
         round_up(conv.batch, ImageLanes<T>::images_a_block(conv)) * 3 <= conv.batch * 4 && h.count > 0 &&
         w.count > 0 && w.count < 24 && taps > 1 && taps <= ImageLanes<T>::kMostTaps && c >= 1 &&
         c * w.taps <= ImageLanes<T>::kMostTerms && k >= 4 && k <= 64 && k * taps >= 64 && c * taps >= 64 &&
         conv.x_plane() * c <= 8192;
}

}  // namespace
}  // namespace xcorr
