// Convolution, the largest of 2x2 outputs, relu: in one pass over many small images, whose convolution's outputs, four
// times as many as remain, are never written.
//
// Lanes are images. The source of 16 images is transposed to [channel][row][column][image] with its zeros around it; a
// register tile is the four outputs of a window by some output channels, its maximum one comparison of vectors. What
// the gradient needs is kept as it lies: for every window which of its outputs was the first largest (0 to 3, row by
// row), 4 where relu lets no gradient through, [block of 16 images][channel][window][image].
#pragma once
#include "conv_weight_grad_rows.inl"
#include "max_pool_2x2.inl"

namespace xcorr {
namespace {

// Codes of places, one per lane.
template <class T>
XCORR_INLINE typename Simd<T>::I load_places(const int32_t* from) {
  if constexpr (sizeof(T) == 4) {
    return load(from);
  } else {
    alignas(64) int64_t each[Simd<T>::lanes];
    for (int i = 0; i < Simd<T>::lanes; i++) each[i] = from[i];
    return load(each);
  }
}
template <class T>
XCORR_INLINE void store_places(int32_t* to, typename Simd<T>::I places) {
  if constexpr (sizeof(T) == 4) {
    store(to, places);
  } else {
    alignas(64) int64_t each[Simd<T>::lanes];
    store(each, places);
    for (int i = 0; i < Simd<T>::lanes; i++) to[i] = int32_t(each[i]);
  }
}

// What forward and gradient have in common. Windows cover 2 * windows_h by 2 * windows_w outputs.
template <class T>
struct PooledConv {
  static constexpr int kLanes = Simd<T>::lanes, kWide = Wide<T>::width;
  static constexpr int kRows = kVectorBytes == 32 ? 3 : 6, kPixels = 4;  // AVX2 has 16 registers

  using V = typename Simd<T>::V;
  using I = typename Simd<T>::I;
  typedef __typeof__(I{}[0]) Integer;

  const ConvSizes& s;
  int64_t channels, outputs, terms, windows_h, windows_w, windows, padded_h, padded_w, blocks;

  explicit PooledConv(const ConvSizes& sizes)
      : s(sizes),
        channels(s.in_channels),
        outputs(s.out_channels),
        terms(channels * s.kernel[1] * s.kernel[2]),
        windows_h(s.out[1] / 2),
        windows_w(s.out[2] / 2),
        windows(windows_h * windows_w),
        padded_h(2 * windows_h + (s.kernel[1] - 1) * s.dilation[1]),
        padded_w(2 * windows_w + (s.kernel[2] - 1) * s.dilation[2]),
        blocks(ceil_div(s.batch, kWide)) {}

  int64_t images(int64_t block) const { return smaller(kWide, s.batch - block * kWide); }
  int64_t source_size() const { return channels * padded_h * padded_w * kWide; }

  void read_source(const T* x, int64_t block, T* to) const {
    const int64_t in = volume(s.in);
    for (int64_t c = 0; c < channels; c++)
      transpose_images<T>(x + (block * kWide * channels + c) * in, channels * in, images(block), s.in[1], s.in[2],
                          s.pad[1], s.pad[2], padded_h, padded_w, to + c * padded_h * padded_w * kWide);
  }

  // Offsets of the (channel, tap) pairs in the source of a block.
  void locate(int64_t* to) const {
    for (int64_t c = 0; c < channels; c++)
      for (int64_t th = 0; th < s.kernel[1]; th++)
        for (int64_t tw = 0; tw < s.kernel[2]; tw++)
          *to++ = ((c * padded_h + th * s.dilation[1]) * padded_w + tw * s.dilation[2]) * kWide;
  }

  template <class Body>
  void for_each_task(const Runtime& runtime, int64_t tasks, const Body& body) const {
    if (2.0 * double(s.batch) * double(outputs) * double(terms) * double(4 * windows) > 1e6)
      run_tasks(runtime, tasks, body);
    else
      for (int64_t i = 0; i < tasks; i++) body(i);
  }

  // sums[m][i] += weights[k * kCount + m] * pixel[i][offset[k]], term after term.
  template <int kCount, int kColumns>
  XCORR_MEMBER static void add_terms(V (&sums)[kCount][kColumns], int64_t terms, const T* weights,
                                     const int64_t* offset, const T* const (&pixel)[kColumns]) {
    for (int64_t k = 0; k < terms; k++, weights += kCount) {
      V pixels[kColumns];
#pragma GCC unroll 4
      for (int i = 0; i < kColumns; i++) pixels[i] = load(pixel[i] + offset[k]);
#pragma GCC unroll 6
      for (int m = 0; m < kCount; m++) {
        const V factor = set1(weights[m]);
#pragma GCC unroll 4
        for (int i = 0; i < kColumns; i++) sums[m][i] = fma(factor, pixels[i], sums[m][i]);
      }
    }
  }
};

template <class T>
struct ConvMaxPool : PooledConv<T> {
  using Base = PooledConv<T>;
  using Base::blocks, Base::kLanes, Base::kRows, Base::kWide, Base::outputs, Base::padded_w, Base::s, Base::terms,
      Base::windows, Base::windows_h, Base::windows_w;
  using typename Base::I;
  using typename Base::Integer;
  using typename Base::V;

  const Runtime& runtime;
  const T *x, *w, *bias;
  T* y;
  int32_t* place;
  Split panels;  // of output channels
  T* packed_w = nullptr;
  int64_t* offset = nullptr;
  bool failed = false;

  ConvMaxPool(const ConvSizes& sizes, const Runtime& runtime_, void* const* operands)
      : Base(sizes),
        runtime(runtime_),
        x(static_cast<const T*>(operands[0])),
        w(static_cast<const T*>(operands[1])),
        bias(static_cast<const T*>(operands[2])),
        y(static_cast<T*>(operands[3])),
        place(static_cast<int32_t*>(operands[4])),
        panels(split_evenly(outputs, kRows)) {}

  // A window of one vector of images: its source, and its results in the planes of the panel's channels.
  template <int kCount>
  [[gnu::noinline]] static void tile(const ConvMaxPool& call, const T* weights, const T* from, const T* bias, T* y,
                                     int32_t* place) {
    V sums[kCount][4];
#pragma GCC unroll 6
    for (int m = 0; m < kCount; m++)
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) sums[m][i] = bias ? set1(bias[m]) : splat<T>(0);
    const int64_t row = call.padded_w * kWide;
    const T* const pixel[4] = {from, from + kWide, from + row, from + row + kWide};
    Base::template add_terms<kCount, 4>(sums, call.terms, weights, call.offset, pixel);
    V probe = splat<T>(0);
#pragma GCC unroll 6
    for (int m = 0; m < kCount; m++) probe = probe + ((sums[m][0] + sums[m][1]) + (sums[m][2] + sums[m][3]));
    const bool relu = call.s.activation == activation::relu;
    const int64_t plane = call.windows * kWide;
    if (any(probe != probe)) [[unlikely]] {  // there may be a NaN, which would win
      V copy[kCount][4];
#pragma GCC unroll 6
      for (int m = 0; m < kCount; m++)
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) copy[m][i] = sums[m][i];
      for (int m = 0; m < kCount; m++) finish_with_nan(copy[m], relu, y + m * plane, place + m * plane);
    } else if (relu) {
#pragma GCC unroll 6
      for (int m = 0; m < kCount; m++) finish<true>(largest(sums[m]), y + m * plane, place + m * plane);
    } else {
#pragma GCC unroll 6
      for (int m = 0; m < kCount; m++) finish<false>(largest(sums[m]), y + m * plane, place + m * plane);
    }
  }
  template <bool kRelu>
  XCORR_MEMBER static void finish(const PlacedMax<T>& best, T* y, int32_t* place) {
    store(y, kRelu ? activate<T>(best.value, activation::relu) : best.value);
    store_places<T>(place, kRelu ? select(best.value > splat<T>(0), best.place, I{} + Integer(4)) : best.place);
  }
  XCORR_MEMBER static PlacedMax<T> largest(const V (&sums)[4]) {
    const auto right = sums[1] > sums[0], below_right = sums[3] > sums[2];
    const V upper = select(right, sums[1], sums[0]), lower = select(below_right, sums[3], sums[2]);
    const auto below = lower > upper;
    const I first = I{};
    const I upper_place = select(right, first + Integer(1), first);
    const I lower_place = select(below_right, first + Integer(3), first + Integer(2));
    return {select(below, lower, upper), select(below, lower_place, upper_place)};
  }
  [[gnu::noinline]] static void finish_with_nan(const V (&sums)[4], bool relu, T* y, int32_t* place) {
    PlacedMax<T> each[4];
    for (int i = 0; i < 4; i++) each[i] = {sums[i], I{} + Integer(i)};
    const auto best = each[0].or_later(each[1]).or_later(each[2].or_later(each[3]));
    relu ? finish<true>(best, y, place) : finish<false>(best, y, place);
  }
  using TileFunction = void (*)(const ConvMaxPool&, const T*, const T*, const T*, T*, int32_t*);
  template <int kCount>
  static TileFunction find_tile(int64_t rows) {
    if constexpr (kCount > 1)
      if (rows < kCount) return find_tile<kCount - 1>(rows);
    return tile<kCount>;
  }

  void task(int64_t block) {
    T* const own =
        static_cast<T*>(runtime.scratch(4, (Base::source_size() + outputs * windows * kWide) * int64_t(sizeof(T))));
    if (!own) {
      failed = true;
      return;
    }
    T* const result = own + Base::source_size();
    Base::read_source(x, block, own);
    for (int64_t panel = 0; panel < panels.parts; panel++) {
      const int64_t k = panels.start(panel);
      const auto tile_of_panel = find_tile<kRows>(panels.size(panel));
      T* to = result + k * windows * kWide;
      int32_t* at = place + (block * outputs + k) * windows * kWide;
      for (int64_t i = 0; i < windows_h; i++)
        for (int64_t j = 0; j < windows_w; j++, to += kWide, at += kWide)
          for (int lane = 0; lane < kWide; lane += kLanes)
            tile_of_panel(*this, packed_w + k * terms, own + (2 * i * padded_w + 2 * j) * kWide + lane,
                          bias ? bias + k : nullptr, to + lane, at + lane);
    }
    for (int64_t k = 0; k < outputs; k++)
      transpose_matrix<T>(result + k * windows * kWide, kWide, windows, Base::images(block),
                          y + (block * kWide * outputs + k) * windows, outputs * windows, windows);
  }

  int64_t execute() {
    if (s.batch == 0 || outputs == 0 || windows == 0) return kOk;
    packed_w = static_cast<T*>(runtime.scratch(0, larger(1, outputs * terms) * int64_t(sizeof(T))));
    offset = static_cast<int64_t*>(runtime.scratch(1, larger(1, terms) * int64_t(sizeof(int64_t))));
    if (!packed_w || !offset) return kOutOfMemory;
    Base::locate(offset);
    for (int64_t panel = 0; panel < panels.parts; panel++) {
      const int64_t rows = panels.size(panel), at = panels.start(panel) * terms;
      transpose_matrix<T>(w + at, terms, rows, terms, packed_w + at, rows, rows);
    }
    Base::for_each_task(runtime, blocks, [this](int64_t block) { task(block); });
    return failed ? int64_t(kOutOfMemory) : int64_t(kOk);
  }
};

template <class T>
int64_t conv_max_pool(const ConvSizes& s, const Runtime& runtime, void* const* operands) {
  return ConvMaxPool<T>(s, runtime, operands).execute();
}

}  // namespace
}  // namespace xcorr
