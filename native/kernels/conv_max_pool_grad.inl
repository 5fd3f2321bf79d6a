// The gradients of conv_max_pool: of the weights and bias, and of x if asked for. A task goes through blocks of 16
// images; the gradients of a block's windows are spread over the convolution's outputs in memory of its own, with
// images as lanes, and multiplied there.
//
// The weights' gradient is that of conv_max_pool_chosen.inl or, where a row of taps has few terms, of
// conv_weight_grad_rows.inl, whose tile and sums these are. The gradient of x goes tap column by tap column: of every
// row it reaches as many columns as there are outputs, so no product is with a zero beyond them, and the taps above
// each other by some output channels, whose rows fit the first-level cache, are one run of terms.
#pragma once
#include "conv_max_pool.inl"
#include "conv_max_pool_chosen.inl"
#include "sum_parts.inl"

namespace xcorr {
namespace {

template <class T>
struct ConvMaxPoolGrad : PooledConv<T> {
  using Base = PooledConv<T>;
  using Rows = RowsWeightGrad<T>;
  using Base::blocks, Base::channels, Base::kLanes, Base::kPixels, Base::kRows, Base::kWide, Base::outputs,
      Base::padded_h, Base::padded_w, Base::s, Base::terms, Base::windows, Base::windows_h, Base::windows_w;
  using typename Base::I;
  using typename Base::Integer;
  using typename Base::V;

  const Runtime& runtime;
  const T *x, *w, *dy;
  const int32_t* place;
  T *dx, *dw, *dbias;
  int64_t width, height;        // of the outputs that windows cover
  Split k_panels, pair_panels;  // of the weights' gradient
  Split x_panels;               // input channels of the gradient of x
  Split x_parts;                // of its output channels, whose rows under the taps fit the first-level cache
  Split bands;                  // of rows of windows
  Split chunks;                 // of blocks
  ChosenOutputs<T> chosen;      // computes the weights' gradient where `by_choice`
  bool by_choice;
  T* packed_w = nullptr;  // [panel][part][tap column][tap row][output channel of the part][channel of the panel]
  int64_t *offset = nullptr, *dy_offset = nullptr;
  T *sums = nullptr, *bias_sums = nullptr;
  bool failed = false;

  ConvMaxPoolGrad(const ConvSizes& sizes, const Runtime& runtime_, void* const* operands)
      : Base(sizes),
        runtime(runtime_),
        x(static_cast<const T*>(operands[0])),
        w(static_cast<const T*>(operands[1])),
        dy(static_cast<const T*>(operands[3])),
        place(static_cast<const int32_t*>(operands[2])),
        dx(static_cast<T*>(operands[4])),
        dw(static_cast<T*>(operands[5])),
        dbias(static_cast<T*>(operands[6])),
        width(2 * windows_w),
        height(2 * windows_h),
        k_panels(split_evenly(outputs, Rows::panel_of(outputs))),
        pair_panels(split_evenly(terms, Rows::panel_of(outputs) > 4 ? 4 : Rows::kPairs)),
        x_panels(split_evenly(channels, kRows)),
        x_parts(split_evenly(outputs, larger(1, 28672 / larger(1, s.kernel[1] * width * kWide * int64_t(sizeof(T)))))),
        chunks{blocks, smaller(blocks, 16)},
        chosen(sizes),
        by_choice(ChosenOutputs<T>::fits(sizes)) {
    // Gradients of a panel of output channels in 28 KB of the first-level cache. Bands decide the order of the sums, so
    // they are the same on every target.
    const int64_t row = 2 * (outputs <= 6 ? outputs : 4) * width * kWide * int64_t(sizeof(T));
    bands = split_evenly(windows_h, larger(1, 28672 / larger(1, row)));
  }

  // What relu lets through of the gradients of one channel's windows, in place; their sum is added to `total`.
  void pass(T* gradients, const int32_t* at, T* total) const {
    const V zero = splat<T>(0);
    for (int lane = 0; lane < kWide; lane += kLanes) {
      V sum = zero;
      for (int64_t i = lane; i < windows * kWide; i += kWide) {
        const V g = select((load_places<T>(at + i) & Integer(-4)) == I{}, load(gradients + i), zero);
        store(gradients + i, g);
        sum = sum + g;
      }
      store(total + lane, load(total + lane) + sum);
    }
  }

  // The gradients of `rows` rows of windows of one channel, spread over their outputs; their sum is added to `total`.
  template <bool kTotal>
  void spread(const T* from, const int32_t* at, int64_t rows, T* to, T* total) const {
    const V zero = splat<T>(0);
    const I first = I{};
    for (int lane = 0; lane < kWide; lane += kLanes) {
      V sum = zero;
      const T* gradient = from + lane;
      const int32_t* places = at + lane;
      T* out = to + lane;
      for (int64_t i = 0; i < rows; i++, out += width * kWide)
        for (int64_t j = 0; j < windows_w; j++, gradient += kWide, places += kWide, out += 2 * kWide) {
          const V g = load(gradient);
          const I p = load_places<T>(places);
          const V a = select(p == first, g, zero), b = select(p == first + Integer(1), g, zero);
          const V c = select(p == first + Integer(2), g, zero), d = select(p == first + Integer(3), g, zero);
          store(out, a), store(out + kWide, b);
          store(out + width * kWide, c), store(out + (width + 1) * kWide, d);
          if (kTotal) sum = sum + ((a + b) + (c + d));
        }
      if (kTotal) store(total + lane, load(total + lane) + sum);
    }
  }

  // The products of `rows` rows of outputs, whose gradients are planes of `plane` elements, with their source.
  void multiply(const T* gradients, int64_t plane, const T* source, int64_t rows, T* to) const {
    typename Rows::Tile at = {};
    at.x = source;
    at.dy_plane = plane;
    at.x_row = padded_w * kWide;
    at.rows = rows;
    at.width = width * kWide;
    at.sums_stride = terms * kWide;
    for (int64_t i = 0; i < k_panels.parts; i++)
      for (int64_t j = 0; j < pair_panels.parts; j++) {
        at.dy = gradients + k_panels.start(i) * plane;
        at.offset = offset + pair_panels.start(j);
        at.sums = to + (k_panels.start(i) * terms + pair_panels.start(j)) * kWide;
        at.ahead[0] = at.ahead[1] = at.dy;
        Rows::template find_tile<Rows::kOutputs, Rows::kPairs>(k_panels.size(i), pair_panels.size(j))(at);
      }
  }

  // Adds a run of terms to neighbouring columns of a panel of input channels.
  template <int kCount, int kColumns>
  [[gnu::noinline]] static void tile(int64_t count, const T* weights, const int64_t* offset, const T* from, T* to,
                                     int64_t plane) {
    for (int lane = 0; lane < kWide; lane += kLanes) {
      V sums[kCount][kColumns];
      const T* pixel[kColumns];
#pragma GCC unroll 4
      for (int i = 0; i < kColumns; i++) pixel[i] = from + i * kWide + lane;
#pragma GCC unroll 6
      for (int m = 0; m < kCount; m++)
#pragma GCC unroll 4
        for (int i = 0; i < kColumns; i++) sums[m][i] = load(to + m * plane + i * kWide + lane);
      const T* const(&pixels)[kColumns] = pixel;
      Base::template add_terms<kCount, kColumns>(sums, count, weights, offset, pixels);
#pragma GCC unroll 6
      for (int m = 0; m < kCount; m++)
#pragma GCC unroll 4
        for (int i = 0; i < kColumns; i++) store(to + m * plane + i * kWide + lane, sums[m][i]);
    }
  }
  using TileFunction = void (*)(int64_t, const T*, const int64_t*, const T*, T*, int64_t);
  template <int kCount, int kColumns>
  static TileFunction find_tile(int64_t rows, int64_t columns) {
    if constexpr (kCount > 1)
      if (rows < kCount) return find_tile<kCount - 1, kColumns>(rows, columns);
    if constexpr (kColumns > 1)
      if (columns < kColumns) return find_tile<kCount, kColumns - 1>(rows, columns);
    return tile<kCount, kColumns>;
  }

  // The gradient of a block's x as [channel][row][column][image], from all its spread gradients.
  void multiply_x(const T* gradients, T* to) const {
    const int64_t rows = s.in[1], columns = s.in[2], taps_h = s.kernel[1], taps_w = s.kernel[2];
    const int64_t step = s.dilation[1], plane = rows * columns * kWide;
    for (int64_t i = 0; i < channels * plane; i += kLanes) store(to + i, splat<T>(0));
    for (int64_t panel = 0; panel < x_panels.parts; panel++) {
      const int64_t c = x_panels.start(panel), count = x_panels.size(panel);
      for (int64_t row = 0; row < rows; row++) {
        // Tap th joins this row with row `row + pad - th * step` of the outputs.
        int64_t first = 0, last = taps_h;
        while (first < last && row + s.pad[1] - first * step >= height) first++;
        while (first < last && row + s.pad[1] - (last - 1) * step < 0) last--;
        if (first == last) continue;
        const T* const source = gradients + (row + s.pad[1] - first * step) * width * kWide;
        for (int64_t part = 0; part < x_parts.parts; part++) {
          const int64_t k = x_parts.start(part), size = x_parts.size(part);
          const T* const weights = packed_w + taps_h * taps_w * (c * outputs + k * count) + first * size * count;
          for (int64_t tw = 0; tw < taps_w; tw++) {
            const int64_t shift = tw * s.dilation[2] - s.pad[2];  // from a column of the outputs to one of x
            const int64_t begin = larger(0, -shift), end = smaller(width, columns - shift);
            if (begin >= end) continue;
            const Split tiles = split_evenly(end - begin, kPixels);
            for (int64_t t = 0; t < tiles.parts; t++) {
              const int64_t q = begin + tiles.start(t);
              find_tile<kRows, kPixels>(count, tiles.size(t))(
                  (last - first) * size, weights + tw * taps_h * size * count, dy_offset + k * taps_h,
                  source + q * kWide, to + c * plane + (row * columns + q + shift) * kWide, plane);
            }
          }
        }
      }
    }
  }

  void task(int64_t chunk) {
    const int64_t count = outputs * terms, in = volume(s.in), window_lanes = windows * kWide;
    const int64_t rows = dx ? windows_h : bands.size(0);  // of windows, spread at a time
    const int64_t plane = 4 * rows * windows_w * kWide, dx_size = dx ? channels * in * kWide : 0;
    const bool spreads = dx || !by_choice;
    const int64_t sums_size = by_choice ? chosen.sums_size() : count * kWide;
    const int64_t source_size = by_choice ? chosen.pixels_size() + 2 * window_lanes : Base::source_size();
    const int64_t size =
        outputs * kWide + sums_size + source_size + outputs * window_lanes + (spreads ? outputs * plane : 0) + dx_size;
    T* const bias = static_cast<T*>(runtime.scratch(4, size * int64_t(sizeof(T))));
    if (!bias) {
      failed = true;
      return;
    }
    T *const own = bias + outputs * kWide, *const source = own + sums_size;
    T *const gradients = source + source_size, *const outputs_gradients = gradients + outputs * window_lanes;
    T* const x_gradients = outputs_gradients + (spreads ? outputs * plane : 0);
    T* const spare = source + chosen.pixels_size();
    for (int64_t i = 0; i < outputs * kWide + sums_size; i += kLanes) store(bias + i, splat<T>(0));
    const int64_t end = chunks.start(chunk) + chunks.size(chunk);
    for (int64_t block = chunks.start(chunk); block < end; block++) {
      const int32_t* const places = place + block * outputs * window_lanes;
      for (int64_t k = 0; k < outputs; k++) {
        T* const to = gradients + k * window_lanes;
        transpose_matrix<T>(dy + (block * kWide * outputs + k) * windows, outputs * windows, Base::images(block),
                            windows, to, kWide, kWide);
        if (by_choice) pass(to, places + k * window_lanes, bias + k * kWide);
      }
      if (by_choice) {
        const bool finite = chosen.read_pixels(x, block, source);
        chosen.add(block, finite, gradients, places, source, reinterpret_cast<int32_t*>(spare + window_lanes), spare,
                   own);
      } else {
        Base::read_source(x, block, source);
      }
      for (int64_t band = 0; spreads && band < bands.parts; band++) {
        const int64_t start = bands.start(band), within = dx ? 4 * start * windows_w * kWide : 0;
        for (int64_t k = 0; k < outputs; k++) {
          const int64_t from = k * window_lanes + start * windows_w * kWide;
          T* const to = outputs_gradients + k * plane + within;
          by_choice ? spread<false>(gradients + from, places + from, bands.size(band), to, nullptr)
                    : spread<true>(gradients + from, places + from, bands.size(band), to, bias + k * kWide);
        }
        if (terms > 0 && !by_choice)
          multiply(outputs_gradients + within, plane, source + 2 * start * padded_w * kWide, 2 * bands.size(band), own);
      }
      if (!dx) continue;
      multiply_x(outputs_gradients, x_gradients);
      for (int64_t c = 0; c < channels; c++)
        transpose_matrix<T>(x_gradients + c * in * kWide, kWide, in, Base::images(block),
                            dx + (block * kWide * channels + c) * in, channels * in, in);
    }
    by_choice ? chosen.write(own, sums + chunk * count) : add_lanes(own, count, sums + chunk * count);
    add_lanes(bias, outputs, bias_sums + chunk * outputs);
  }

  void pack_weights() {
    const int64_t taps_h = s.kernel[1], taps_w = s.kernel[2];
    T* to = packed_w;
    int64_t* at = dy_offset;
    for (int64_t panel = 0; panel < x_panels.parts; panel++)
      for (int64_t part = 0; part < x_parts.parts; part++)
        for (int64_t tw = 0; tw < taps_w; tw++)
          for (int64_t th = 0; th < taps_h; th++)
            for (int64_t k = x_parts.start(part); k < x_parts.start(part) + x_parts.size(part); k++)
              for (int64_t m = 0; m < x_panels.size(panel); m++)
                *to++ = w[((k * channels + x_panels.start(panel) + m) * taps_h + th) * taps_w + tw];
    for (int64_t part = 0; part < x_parts.parts; part++)
      for (int64_t th = 0; th < taps_h; th++)
        for (int64_t k = x_parts.start(part); k < x_parts.start(part) + x_parts.size(part); k++)
          *at++ = (k * height - th * s.dilation[1]) * width * kWide;
  }

  int64_t execute() {
    const int64_t count = outputs * terms;
    if (s.batch == 0 || outputs == 0 || windows == 0) {
      for (int64_t i = 0; i < count; i++) dw[i] = 0;
      for (int64_t i = 0; dbias && i < outputs; i++) dbias[i] = 0;
      for (int64_t i = 0; dx && i < s.batch * channels * volume(s.in); i++) dx[i] = 0;
      return kOk;
    }
    const int64_t places = by_choice ? windows : 0;
    offset = static_cast<int64_t*>(
        runtime.scratch(0, larger(1, terms + s.kernel[1] * outputs + places) * int64_t(sizeof(int64_t))));
    sums = static_cast<T*>(runtime.scratch(1, chunks.parts * (count + outputs) * int64_t(sizeof(T))));
    packed_w = static_cast<T*>(runtime.scratch(2, larger(1, count) * int64_t(sizeof(T))));
    if (!offset || !sums || !packed_w) return kOutOfMemory;
    dy_offset = offset + terms;
    bias_sums = sums + chunks.parts * count;
    Base::locate(offset);
    if (by_choice) chosen.locate(reinterpret_cast<int32_t*>(dy_offset + s.kernel[1] * outputs));
    if (channels == 0) dx = nullptr;  // nothing to write
    if (dx) pack_weights();
    Base::for_each_task(runtime, chunks.parts, [this](int64_t chunk) { task(chunk); });
    if (failed) return kOutOfMemory;
    sum_parts(sums, count, chunks.parts, count, dw);
    if (dbias) sum_parts(bias_sums, outputs, chunks.parts, outputs, dbias);
    return kOk;
  }
};

template <class T>
int64_t conv_max_pool_grad(const ConvSizes& s, const Runtime& runtime, void* const* operands) {
  return ConvMaxPoolGrad<T>(s, runtime, operands).execute();
}

}  // namespace
}  // namespace xcorr
