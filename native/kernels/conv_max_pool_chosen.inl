// The weights' gradient of conv_max_pool from the outputs that were chosen alone: one of four in a window, so a quarter
// of the products of conv_weight_grad_rows.inl's tile.
//
// Which output that is differs from image to image, so lanes can't be images. Pixels of an image lie as
// [row][column][channel]: a row of taps and all channels is one run in memory from wherever the chosen output begins,
// and lanes are its terms. A register tile is some rows of taps of one output channel; it goes through the windows of
// 16 images, and every sum is one chain in the order of images and windows, whatever the width of vectors.
#pragma once
#include "conv_max_pool.inl"

namespace xcorr {
namespace {

template <class T>
struct ChosenOutputs : PooledConv<T> {
  using Base = PooledConv<T>;
  using Base::channels, Base::kLanes, Base::kWide, Base::outputs, Base::padded_h, Base::padded_w, Base::s,
      Base::windows, Base::windows_h, Base::windows_w;
  using typename Base::I;
  using typename Base::Integer;
  using typename Base::V;

  static constexpr int kSums = kVectorBytes == 32 ? 12 : 20, kVectors = 4, kTapRows = 5;

  int64_t row, row_sums;     // terms of a row of taps, in memory with whole vectors
  int64_t pitch, image;      // of a row of pixels, and of an image with what vectors reach behind it
  Split vector_panels;       // of a row's vectors
  Split tap_panels;          // of the rows of taps
  int32_t* place = nullptr;  // where each window's pixels begin

  explicit ChosenOutputs(const ConvSizes& sizes)
      : Base(sizes),
        row(channels * s.kernel[2]),
        row_sums(round_up(row, kWide)),
        pitch(padded_w * channels),
        image(padded_h * pitch + kWide),
        vector_panels(split_evenly(ceil_div(row, kLanes), kVectors)),
        tap_panels(split_evenly(s.kernel[1], smaller(kTapRows, kSums / larger(1, vector_panels.size(0))))) {}

  // Rows of terms that fill lanes: with fewer, loads of half of a vector cost more than they save.
  static bool fits(const ConvSizes& s) {
    return s.dilation[2] == 1 && s.in_channels * s.kernel[2] >= 10 &&
           (s.out[1] + s.kernel[1] * s.dilation[1]) * (s.out[2] + s.kernel[2]) * s.in_channels <= 1 << 20;
  }

  int64_t sums_size() const { return outputs * s.kernel[1] * row_sums; }
  int64_t pixels_size() const { return kWide * image; }

  void locate(int32_t* to) {
    place = to;
    for (int64_t i = 0; i < windows_h; i++)
      for (int64_t j = 0; j < windows_w; j++) *to++ = int32_t(2 * i * pitch + 2 * j * channels);
  }

  // The pixels of a block's images, zeros around them; whether all of them are finite.
  bool read_pixels(const T* x, int64_t block, T* to) const {
    const int64_t plane = volume(s.in), height = s.in[1], width = s.in[2];
    const bool whole = s.pad[1] == 0 && s.pad[2] == 0 && width == padded_w && height >= padded_h;
    V probe = splat<T>(0);
    for (int64_t n = 0; n < Base::images(block); n++, to += image) {
      const T* const from = x + (block * kWide + n) * channels * plane;
      for (int64_t i = whole ? padded_h * pitch : 0; i < image; i += kLanes)
        store_partial(to + i, splat<T>(0), int(smaller(kLanes, image - i)));
      if (whole)
        transpose_matrix<T>(from, plane, channels, padded_h * padded_w, to, channels, channels);
      else
        for (int64_t r = 0; r < height && r + s.pad[1] < padded_h; r++)
          transpose_matrix<T>(from + r * width, plane, channels, larger(0, smaller(width, padded_w - s.pad[2])),
                              to + (r + s.pad[1]) * pitch + s.pad[2] * channels, channels, channels);
      for (int64_t i = 0; i + kLanes <= image; i += kLanes) probe = fma(splat<T>(0), load(to + i), probe);
    }
    return !any(probe != probe);
  }

  // Where the outputs' pixels begin that 16 images have chosen in the windows of one output channel.
  void locate_chosen(const int32_t* chosen, int32_t* to) const {
    const I first = I{}, right = first + Integer(channels), below = first + Integer(pitch);
    for (int64_t j = 0; j < windows; j++)
      for (int lane = 0; lane < kWide; lane += kLanes) {
        const I at = load_places<T>(chosen + j * kWide + lane);
        const I column = select((at & Integer(1)) != first, right, first);
        const I line = select((at & Integer(2)) != first, below, first);
        store_places<T>(to + j * kWide + lane, column + line + Integer(place[j]));
      }
  }

  // Adds the products of `images` images' gradients, as [window][image], with their pixels.
  template <int kRows, int kColumns>
  [[gnu::noinline]] static void tile(const ChosenOutputs& call, int64_t images, const T* gradients, const int32_t* at,
                                     const T* pixels, T* sums) {
    const int64_t step = call.s.dilation[1] * call.pitch, stride = call.row_sums;
    V total[kRows][kColumns];
#pragma GCC unroll 5
    for (int r = 0; r < kRows; r++)
#pragma GCC unroll 4
      for (int v = 0; v < kColumns; v++) total[r][v] = load(sums + r * stride + v * kLanes);
    for (int64_t n = 0; n < images; n++, pixels += call.image) {
      const T* gradient = gradients + n;
      const int32_t* from = at + n;
      for (int64_t j = call.windows; j > 0; j--, gradient += kWide, from += kWide) {
        const V g = set1(*gradient);
        const T* const run = pixels + *from;
#pragma GCC unroll 5
        for (int r = 0; r < kRows; r++)
#pragma GCC unroll 4
          for (int v = 0; v < kColumns; v++) total[r][v] = fma(g, load(run + r * step + v * kLanes), total[r][v]);
      }
    }
#pragma GCC unroll 5
    for (int r = 0; r < kRows; r++)
#pragma GCC unroll 4
      for (int v = 0; v < kColumns; v++) store(sums + r * stride + v * kLanes, total[r][v]);
  }
  using TileFunction = void (*)(const ChosenOutputs&, int64_t, const T*, const int32_t*, const T*, T*);
  template <int kRows, int kColumns>
  static TileFunction find_tile(int64_t rows, int64_t columns) {
    if constexpr (kRows > 1)
      if (rows < kRows) return find_tile<kRows - 1, kColumns>(rows, columns);
    if constexpr (kColumns > 1)
      if (columns < kColumns) return find_tile<kRows, kColumns - 1>(rows, columns);
    if constexpr (kRows * kColumns <= kSums) return tile<kRows, kColumns>;
    return nullptr;
  }

  void multiply(int64_t images, const T* gradients, const int32_t* at, const T* pixels, T* sums) const {
    for (int64_t i = 0; i < tap_panels.parts; i++)
      for (int64_t j = 0; j < vector_panels.parts; j++) {
        const int64_t row_of_taps = tap_panels.start(i), column = vector_panels.start(j) * kLanes;
        find_tile<kTapRows, kVectors>(tap_panels.size(i), vector_panels.size(j))(
            *this, images, gradients, at, pixels + row_of_taps * s.dilation[1] * pitch + column,
            sums + row_of_taps * row_sums + column);
      }
  }

  // Adds the gradient of a block, from gradients as [output channel][window][image] and what was chosen; `at` has room
  // for as many places as one channel has gradients, `spare` for as many gradients.
  void add(int64_t block, bool finite, const T* gradients, const int32_t* chosen, const T* pixels, int32_t* at,
           T* spare, T* sums) const {
    const int64_t lanes = windows * kWide;
    for (int64_t k = 0; k < outputs; k++, gradients += lanes, chosen += lanes, sums += s.kernel[1] * row_sums) {
      if (finite) {
        locate_chosen(chosen, at);
        multiply(Base::images(block), gradients, at, pixels, sums);
        continue;
      }
      // Zeros of outputs that were not chosen are multiplied, too: with an infinite pixel they make NaN.
      for (int32_t output = 0; output < 4; output++) {
        for (int64_t i = 0; i < lanes; i++) {
          spare[i] = chosen[i] == output ? gradients[i] : T(0);
          at[i] = int32_t(place[i / kWide] + (output & 1) * channels + (output >> 1) * pitch);
        }
        multiply(Base::images(block), spare, at, pixels, sums);
      }
    }
  }

  // Sums as [output channel][channel][tap].
  void write(const T* sums, T* to) const {
    const int64_t taps_h = s.kernel[1], taps_w = s.kernel[2];
    for (int64_t k = 0; k < outputs; k++)
      for (int64_t c = 0; c < channels; c++)
        for (int64_t th = 0; th < taps_h; th++)
          for (int64_t tw = 0; tw < taps_w; tw++) *to++ = sums[(k * taps_h + th) * row_sums + tw * channels + c];
  }
};

}  // namespace
}  // namespace xcorr
