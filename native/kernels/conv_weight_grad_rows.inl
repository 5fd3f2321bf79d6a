// The weight gradient with few sums: lanes are pixels of a row of outputs, and a register tile is up to 4 output
// channels by 6 (channel, tap) pairs, each pair one vector load at its own offset. Nothing is transposed; every sum is
// kept in 16 virtual lanes, in memory between the tiles, and the lanes are added at the end by the fixed tree.
//
// Taps: a band of rows of x, as many as fit the first-level cache beside their gradients, is copied with its zeros and
// split into the columns' remainders of the stride, as in conv_few_channels.inl. 1x1: a plane is one row, cut into
// parts of about 1024 pixels, and x is read where it lies. Short rows of stride 1: x is copied once for each column of
// taps, shifted and cut to the outputs' width, so that a band is one run of pixels in which no product is left out.
//
// Rows too short for that, of many images: blocks of 16 images are transposed to [channel][pixel][image], zeros around
// x, which makes them rows of 16 times the pixels, every tap a whole number of vectors away.
//
// Tasks are ranges of bands (or of blocks of images) with sums of their own, added in order.
#pragma once
#include "conv_few_channels.inl"
#include "parallel.inl"
#include "sum_parts.inl"

namespace xcorr {
namespace {

// Two dimensions, stride 1, many images whose rows would not fill vectors.
XCORR_INLINE bool weight_grad_image_lanes(const ConvSizes& s) {
  return s.stride[1] == 1 && s.stride[2] == 1 && s.batch >= 16 && round_up(s.batch, 16) * 3 <= s.batch * 4 &&
         volume(s.in) * (s.in_channels / s.groups) <= 8192 && !rows_fill_lanes(forward_axis(s, 2));
}

// 16 images' planes of one channel as [row][column][image], zeros around them and for images that are not there.
template <class T>
void transpose_images(const T* from, int64_t stride, int64_t images, int64_t height, int64_t width, int64_t top,
                      int64_t left, int64_t rows, int64_t columns, T* to) {
  if (top == 0 && left == 0 && width == columns && height >= rows)
    return transpose_matrix<T>(from, stride, images, rows * columns, to, Wide<T>::width, Wide<T>::width);
  for (int64_t i = 0; i < rows * columns * Wide<T>::width; i += Simd<T>::lanes) store(to + i, splat<T>(0));
  for (int64_t r = 0; r < height && r + top < rows; r++)
    transpose_matrix<T>(from + r * width, stride, images, larger(0, smaller(width, columns - left)),
                        to + ((r + top) * columns + left) * Wide<T>::width, Wide<T>::width, Wide<T>::width);
}

template <class T>
struct RowsWeightGrad {
  static constexpr int kLanes = Simd<T>::lanes, kWide = Wide<T>::width, kPairs = kVectorBytes == 32 ? 4 : 6;
  static constexpr int kOutputs = kVectorBytes == 32 ? 3 : 4;  // AVX2 has 16 registers

  using V = typename Simd<T>::V;

  const Runtime& runtime;
  const ConvSizes& s;
  const T* dy;
  T *dw, *dbias;
  int64_t channels, outputs, taps, terms;  // of one group
  Correlation<T> conv;
  FewChannels<T> source;  // copies bands
  bool pointwise, image_lanes, shifted;
  int64_t padded_h, padded_w;  // of a plane of 16 images
  int64_t blocks;              // images, or sixteens of them
  Split bands;                 // of the rows of outputs of an image; 1x1: of the plane's 16 pixels
  Split chunks;                // of all blocks' bands
  Split k_panels, pair_panels;
  int64_t* offset = nullptr;  // of the pairs
  T *sums = nullptr, *bias_sums = nullptr;
  bool failed = false;

  static Correlation<T> reading(const ConvSizes& s, void* const* operands) {
    void* const forward[] = {operands[0], nullptr, nullptr, nullptr, nullptr};
    return forward_correlation<T>(s, forward);
  }

  RowsWeightGrad(const ConvSizes& sizes, const Runtime& runtime_, void* const* operands)
      : runtime(runtime_),
        s(sizes),
        dy(static_cast<const T*>(operands[1])),
        dw(static_cast<T*>(operands[2])),
        dbias(static_cast<T*>(operands[3])),
        channels(s.in_channels / s.groups),
        outputs(s.out_channels / s.groups),
        taps(volume(s.kernel)),
        terms(channels * taps),
        conv(reading(sizes, operands)),
        source(runtime, conv),
        pointwise(conv.pointwise()),
        image_lanes(!pointwise && weight_grad_image_lanes(s)),
        shifted(!pointwise && !image_lanes && s.stride[1] == 1 && s.stride[2] == 1 && s.out[2] <= 64 &&
                band_rows(true) * s.out[2] >= smaller(256, volume(s.out))),
        padded_h(s.out[1] + (s.kernel[1] - 1) * s.dilation[1]),
        padded_w(s.out[2] + (s.kernel[2] - 1) * s.dilation[2]),
        blocks(image_lanes ? ceil_div(s.batch, kWide) : s.batch),
        k_panels(split_evenly(outputs, panel_of(outputs))),
        pair_panels(split_evenly(terms, panel_of(outputs) > 4 ? 4 : kPairs)) {
    if (pointwise) {
      bands = split_evenly(ceil_div(volume(s.out), kWide), 64);
    } else if (image_lanes) {
      bands = {1, 1};
    } else {
      bands = split_evenly(s.out[1], band_rows(shifted));
      source.band = bands.size(0);
    }
    chunks = {blocks * bands.parts, smaller(blocks * bands.parts, 16)};
  }

  // Rows of outputs for which those of x and of four output channels take 40 KB; twice as much where x's neighbours
  // share lines.
  int64_t band_rows(bool shift) const {
    const int64_t x_row = channels * (shift ? s.kernel[2] * s.out[2] : source.w.step * source.pitch);
    const int64_t more = source.rows_a_output - s.stride[1];
    const int64_t rows =
        ((shift ? 81920 : 40960) / int64_t(sizeof(T)) - more * x_row) / (4 * s.out[2] + s.stride[1] * x_row);
    return smaller(s.out[1], larger(1, rows));
  }

  // Gradients of the first output channel, pixels of x that the pairs' offsets count from, and sums.
  struct Tile {
    const T *dy, *x;
    const int64_t* offset;
    int64_t dy_plane, x_row, rows, width;
    T* sums;
    int64_t sums_stride;  // between output channels
    const T* ahead[2];    // rows that come next, one of which or both are fetched while the tile is multiplied
  };
  template <int kCount, int kSources>
  [[gnu::noinline]] static void tile(const Tile& at) {
    for (int lane = 0; lane < kWide; lane += kLanes) {
      V total[kCount][kSources];
#pragma GCC unroll 6
      for (int k = 0; k < kCount; k++)
#pragma GCC unroll 6
        for (int t = 0; t < kSources; t++) total[k][t] = splat<T>(0);
      // Rows of gradients follow each other: one index serves all operands, and only the pixels skip their margins.
      const T *gradients[kCount], *pixels[kSources];
#pragma GCC unroll 6
      for (int k = 0; k < kCount; k++) gradients[k] = at.dy + k * at.dy_plane;
#pragma GCC unroll 6
      for (int t = 0; t < kSources; t++) pixels[t] = at.x + at.offset[t];
      const T *const next = at.ahead[0], *const after = at.ahead[1];
      const auto add = [&](const auto& read) __attribute__((always_inline)) {
        V gradient[kCount];
#pragma GCC unroll 6
        for (int k = 0; k < kCount; k++) gradient[k] = read(gradients[k]);
#pragma GCC unroll 6
        for (int t = 0; t < kSources; t++) {
          const V pixel = read(pixels[t]);
#pragma GCC unroll 6
          for (int k = 0; k < kCount; k++) total[k][t] = fma(gradient[k], pixel, total[k][t]);
        }
      };
      const int64_t margin = at.x_row - at.width, stop = at.rows * at.width;
      for (int64_t i = lane, end = at.width; end <= stop; end += at.width) {
        for (; i + kLanes <= end; i += kWide) {
          if (lane == 0) {
            __builtin_prefetch(next + i);
            __builtin_prefetch(after + i);
          }
          add([i](const T* p) __attribute__((always_inline)) { return load(p + i); });
        }
        // Both factors are zero beyond the row: a product with what lies there need not be finite.
        if (const int n = int(end - i); n > 0)
          add([ i, n ](const T* p) __attribute__((always_inline)) { return load_partial(p + i, n); });
        i = end + lane;
#pragma GCC unroll 6
        for (int t = 0; t < kSources; t++) pixels[t] += margin;
      }
#pragma GCC unroll 6
      for (int k = 0; k < kCount; k++)
#pragma GCC unroll 6
        for (int t = 0; t < kSources; t++) {
          T* const to = at.sums + k * at.sums_stride + t * kWide + lane;
          store(to, load(to) + total[k][t]);
        }
    }
  }
  // 5 and 6 output channels are one panel, with up to 4 pairs.
  static int64_t panel_of(int64_t outputs) {
    return kOutputs == 4 && (outputs == 5 || outputs == 6) ? outputs : int64_t(kOutputs);
  }
  using TileFunction = void (*)(const Tile&);
  template <int kCount, int kSources>
  static TileFunction find_tile(int64_t k, int64_t t) {
    if constexpr (kCount == 4 && kSources == 6)
      if (k > 4) return find_tile<6, 4>(k, t);
    if constexpr (kCount > 1)
      if (k < kCount) return find_tile<kCount - 1, kSources>(k, t);
    if constexpr (kSources > 1)
      if (t < kSources) return find_tile<kCount, kSources - 1>(k, t);
    return tile<kCount, kSources>;
  }

  // Sums over one band for the bias, in 16 lanes each.
  void add_bias(const Tile& at, int64_t count, T* to) const {
    for (int64_t k = 0; k < count; k++, to += kWide) {
      Wide<T> total = Wide<T>::of(0);
      for (int64_t q = 0; q < at.rows; q++) {
        const T* const from = at.dy + k * at.dy_plane + q * at.width;
        int64_t i = 0;
        for (; i + kWide <= at.width; i += kWide) total.add(Wide<T>::load(from + i));
        if (i < at.width) total.add(Wide<T>::load_partial(from + i, at.width - i));
      }
      Wide<T> sum = Wide<T>::load(to);
      sum.add(total);
      sum.store(to);
    }
  }

  // The products of one band; `at` holds all but what depends on the tile. The next band's gradients and, for 1x1,
  // pixels begin at `next_dy` and `next_x`.
  void multiply(Tile at, const T* next_dy, const T* next_x, int64_t group, T* to, T* bias) const {
    const T* const first = at.dy;
    T* const group_sums = to + group * outputs * terms * kWide;
    // The operand of fewer channels is the one that is read again and again; rows of the other are fetched ahead.
    const bool pairs_outside = pointwise && outputs <= channels;
    const Split &outer = pairs_outside ? pair_panels : k_panels, &inner = pairs_outside ? k_panels : pair_panels;
    for (int64_t i = 0; i < outer.parts; i++) {
      const bool last = i + 1 == outer.parts;
      const int64_t following = last ? 0 : outer.start(i + 1), count = outer.size(last ? 0 : i + 1);
      const T* const ahead = pairs_outside ? (last ? next_x : at.x) + following * at.dy_plane
                                           : (last ? next_dy : first) + following * at.dy_plane;
      for (int64_t j = 0; j < inner.parts; j++) {
        const int64_t panel = pairs_outside ? j : i, pairs = pairs_outside ? i : j;
        at.dy = first + k_panels.start(panel) * at.dy_plane;
        at.offset = offset + pair_panels.start(pairs);
        at.sums = group_sums + (k_panels.start(panel) * terms + pair_panels.start(pairs)) * kWide;
        at.ahead[0] = ahead + smaller(j, count - 1) * at.dy_plane;
        at.ahead[1] = ahead + smaller(j + inner.parts, count - 1) * at.dy_plane;
        find_tile<kOutputs, kPairs>(k_panels.size(panel), pair_panels.size(pairs))(at);
      }
      if (dbias && !pairs_outside)  // while the gradients are in the first-level cache
        add_bias(at, k_panels.size(i), bias + (group * outputs + k_panels.start(i)) * kWide);
    }
    at.dy = first;
    if (dbias && pairs_outside) add_bias(at, outputs, bias + group * outputs * kWide);
  }

  // The first pixel of a band, in the plane of its image's first channel.
  int64_t pixel(int64_t band) const {
    const int64_t start = bands.start(band % bands.parts);
    return pointwise ? start * kWide : start * s.out[2];
  }

  void transpose_block(int64_t block, int64_t group, T* x_to, T* dy_to) const {
    const int64_t image = block * kWide, images = smaller(kWide, s.batch - image), in = volume(s.in);
    for (int64_t c = 0; c < channels; c++)
      transpose_images<T>(conv.x + (image * s.in_channels + group * channels + c) * in, s.in_channels * in, images,
                          s.in[1], s.in[2], s.pad[1], s.pad[2], padded_h, padded_w,
                          x_to + c * padded_h * padded_w * kWide);
    const int64_t out = volume(s.out);
    for (int64_t k = 0; k < outputs; k++)
      transpose_matrix<T>(dy + (image * s.out_channels + group * outputs + k) * out, s.out_channels * out, images, out,
                          dy_to + k * out * kWide, kWide, kWide);
  }

  // One channel's rows for a band from row `first` on, as [column of taps][row][output].
  int64_t shifted_size() const { return s.kernel[2] * source.rows_copied() * s.out[2]; }
  void shift(const T* x, int64_t first, T* to) const {
    const int64_t width = s.out[2], read = s.in[2], rows = source.rows_copied(), top = first - s.pad[1];
    const int64_t begin = smaller(larger(-top, 0), rows), end = larger(begin, smaller(s.in[1] - top, rows));
    const auto clear = [](T* at, int64_t count) {
      for (int64_t i = 0; i < count; i += kLanes) store_partial(at + i, splat<T>(0), int(smaller(kLanes, count - i)));
    };
    for (int64_t tap = 0; tap < s.kernel[2]; tap++, to += rows * width) {
      const int64_t start = tap * s.dilation[2] - s.pad[2];
      const int64_t low = smaller(larger(-start, 0), width), high = larger(low, smaller(read - start, width));
      clear(to, begin * width);
      clear(to + end * width, (rows - end) * width);
      const T* const from = x + (top + begin) * read + start + low;
      const int64_t count = high - low, between = width - count;
      if (read == width && count > 0 && end > begin)  // rows follow each other on both sides: one copy
        copy_rows<T>(from, 0, 1, (end - begin) * width - between, to + begin * width + low, 0,
                     (end - begin) * width - between);
      else
        copy_rows<T>(from, read, end - begin, count, to + begin * width + low, width, count);
      for (int64_t r = begin; r < end; r++) {
        clear(to + r * width, low);
        clear(to + r * width + high, width - high);
      }
    }
  }

  void task(int64_t chunk) {
    const int64_t count = s.out_channels * terms, line = source.w.step * source.pitch + 2 * kLanes;
    const int64_t in = volume(s.in), out = volume(s.out), x_block = channels * padded_h * padded_w * kWide;
    const int64_t copied = pointwise     ? 0
                           : image_lanes ? x_block + outputs * out * kWide
                           : shifted     ? channels * shifted_size()
                                         : channels * source.channel_size() + line;
    T* const own =
        static_cast<T*>(runtime.scratch(4, ((count + s.out_channels) * kWide + copied + kWide) * int64_t(sizeof(T))));
    if (!own) {
      failed = true;
      return;
    }
    T *const bias = own + count * kWide, *const copy = bias + s.out_channels * kWide;
    for (int64_t i = 0; i < (count + s.out_channels) * kWide; i += kLanes) store(own + i, splat<T>(0));
    const int64_t end = chunks.start(chunk) + chunks.size(chunk);
    for (int64_t i = chunks.start(chunk); i < end; i++) {
      const int64_t block = i / bands.parts, first = bands.start(i % bands.parts), size = bands.size(i % bands.parts);
      const int64_t next = smaller(i + 1, end - 1);
      for (int64_t group = 0; group < s.groups; group++) {
        Tile at = {};
        at.dy_plane = out;
        at.sums_stride = terms * kWide;
        if (image_lanes) {
          transpose_block(block, group, copy, copy + x_block);
          at.x = copy;
          at.dy = copy + x_block;
          at.dy_plane = out * kWide;
          at.width = s.out[2] * kWide;
          at.x_row = padded_w * kWide;
          at.rows = s.out[1];
          multiply(at, at.dy, at.x, group, own, bias);
          continue;
        }
        const T* const x = conv.x + (block * s.in_channels + group * channels) * in;
        at.dy = dy + (block * s.out_channels + group * outputs) * out + pixel(i);
        if (pointwise) {
          at.x = x + pixel(i);
          at.rows = 1;
          at.width = smaller(size * kWide, out - pixel(i));
        } else if (shifted) {
          for (int64_t c = 0; c < channels; c++) shift(x + c * in, first, copy + c * shifted_size());
          at.x = copy;
          at.width = at.x_row = size * s.out[2];
          at.rows = 1;
        } else {
          for (int64_t c = 0; c < channels; c++)
            source.copy(x + c * in, first, copy, copy + line + c * source.channel_size());
          at.x = copy + line;
          at.width = s.out[2];
          at.x_row = s.stride[1] * source.w.step * source.pitch;
          at.rows = size;
        }
        const int64_t images = next / bands.parts - block, forward = pixel(next) - pixel(i);
        multiply(at, at.dy + images * s.out_channels * out + forward, at.x + images * s.in_channels * in + forward,
                 group, own, bias);
      }
    }
    add_lanes(own, count, sums + chunk * count);
    if (dbias) add_lanes(bias, s.out_channels, bias_sums + chunk * s.out_channels);
  }

  int64_t execute() {
    const int64_t count = s.out_channels * terms;
    offset = static_cast<int64_t*>(runtime.scratch(0, terms * int64_t(sizeof(int64_t))));
    sums = static_cast<T*>(runtime.scratch(1, chunks.parts * (count + s.out_channels) * int64_t(sizeof(T))));
    if (!offset || !sums) return kOutOfMemory;
    bias_sums = sums + chunks.parts * count;
    for (int64_t i = 0; i < terms && image_lanes; i++) {
      const int64_t c = i / taps, th = i % taps / s.kernel[2], tw = i % s.kernel[2];
      offset[i] = ((c * padded_h + th * s.dilation[1]) * padded_w + tw * s.dilation[2]) * kWide;
    }
    for (int64_t c = 0; c < channels && pointwise; c++) offset[c] = c * volume(s.in);
    for (int64_t i = 0; i < terms && shifted; i++) {
      const int64_t c = i / taps, th = i % taps / s.kernel[2], tw = i % s.kernel[2];
      offset[i] = c * shifted_size() + (tw * source.rows_copied() + th * s.dilation[1]) * s.out[2];
    }
    if (!image_lanes && !pointwise && !shifted) source.locate(offset);
    if (2.0 * double(s.batch) * double(count) * double(volume(s.out)) > 1e6)
      run_tasks(runtime, chunks.parts, [this](int64_t i) { task(i); });
    else
      for (int64_t i = 0; i < chunks.parts; i++) task(i);
    if (failed) return kOutOfMemory;
    sum_parts(sums, count, chunks.parts, count, dw);
    if (dbias) sum_parts(bias_sums, s.out_channels, chunks.parts, s.out_channels, dbias);
    return kOk;
  }
};

// Sums that stay in the second-level cache, and rows (or blocks of images) that fill vectors: of two dimensions, or 1x1
// of any.
XCORR_INLINE bool rows_weight_grad_fit(const ConvSizes& s) {
  const int64_t c = s.in_channels / s.groups, k = s.out_channels / s.groups, taps = volume(s.kernel);
  if (s.batch == 0 || c == 0 || k == 0 || volume(s.out) == 0) return false;
  bool pointwise = taps == 1, plane = s.in[0] == 1 && s.out[0] == 1 && s.kernel[0] == 1 && s.pad[0] == 0;
  for (int d = 0; d < kSpatial; d++) {
    pointwise = pointwise && s.stride[d] == 1 && s.pad[d] == 0 && s.in[d] == s.out[d];
    plane = plane && s.pad[d] >= 0 && s.stride[d] <= 4;
  }
  if (pointwise) return volume(s.out) >= 512 && smaller(c, k) <= 24 && s.out_channels * c <= 4608;
  return plane && taps > 1 && s.out_channels * c * taps <= 2560 &&
         (rows_fill_lanes(forward_axis(s, 2)) || weight_grad_image_lanes(s));
}

}  // namespace
}  // namespace xcorr
