// The weight gradient of a 3x3 convolution of stride 1 that reads up to three channels, by Winograd's F(3, 4) down the
// columns: half the products of the direct algorithm.
//
// dw's three rows of taps are G^T of the sums over tiles of (B^T x) . (A dy), where a tile is four rows of outputs of
// one column and six rows of x; the columns of taps stay as they are. A chunk is such tiles of up to 32 columns: dy is
// transposed, so that output channels are the lanes, and everything of a chunk stays in the first-level cache. All
// (channel, column of taps) pairs of a point are sums in registers, to which x is broadcast.
//
// Tasks are ranges of rows of tiles with sums of their own, added in order. A sum is a chain over kRun chunks, which is
// added to the task's total.
#pragma once
#include "sum_parts.inl"
#include "winograd.inl"

namespace xcorr {
namespace {

struct WinogradColumnsWeightGrad {
  static constexpr int kTile = 4, kPoints = 6, kTaps = 3, kLanes = Simd<float>::lanes;
  static constexpr int64_t kWidth = 16;    // output channels of a panel
  static constexpr int64_t kColumns = 32;  // of a chunk, at most
  static constexpr int64_t kPitch = 48;    // of a row of x, with the columns on either side
  static constexpr int64_t kMostChannels = 3, kRun = 8;
  static constexpr int kAheadColumns = 9;  // three outputs a turn of the registers
  using V = Simd<float>::V;

  const Runtime& runtime;
  const ConvSizes& s;
  const float *x, *dy;
  float *dw, *dbias;
  int64_t pairs, panels, panel_sums;    // panel_sums: [point][pair][kWidth], and the bias
  Split columns;                        // of a row of outputs
  int64_t narrow_columns, wide_chunks;  // so many chunks have one column more
  int64_t tile_rows;                    // of an image
  Split parts;                          // of all images' rows of tiles
  float* part_sums = nullptr;
  bool failed = false, not_finite = false;

  static bool fits(const ConvSizes& s) {
    const int64_t outputs = s.out_channels, tiles = s.batch * ceil_div(s.out[1], kTile) * ceil_div(s.out[2], kColumns);
    return winograd_fits(s) && s.groups == 1 && s.in_channels >= 1 && s.in_channels <= kMostChannels && tiles >= 64 &&
           round_up(outputs, kWidth) * 3 <= outputs * 4 && s.out[1] >= kTile && rows_fill_lanes(forward_axis(s, 2)) &&
           volume(s.out) <= 4096;
  }

  WinogradColumnsWeightGrad(const ConvSizes& sizes, const Runtime& runtime_, void* const* operands)
      : runtime(runtime_),
        s(sizes),
        x(static_cast<const float*>(operands[0])),
        dy(static_cast<const float*>(operands[1])),
        dw(static_cast<float*>(operands[2])),
        dbias(static_cast<float*>(operands[3])),
        pairs(s.in_channels * kTaps),
        panels(ceil_div(s.out_channels, kWidth)),
        panel_sums((kPoints * pairs + 1) * kWidth),
        columns(split_evenly(s.out[2], kColumns)),
        narrow_columns(s.out[2] / columns.parts),
        wide_chunks(s.out[2] % columns.parts),
        tile_rows(ceil_div(s.out[1], kTile)),
        parts({s.batch * tile_rows, smaller(16, s.batch * tile_rows)}) {}

  // A task's memory in the first-level cache.
  struct Own {
    alignas(64) float rows[kMostChannels][kPoints][kPitch];  // of x
    alignas(64) float x[kPoints][kMostChannels][kPitch];     // B^T of them
    alignas(64) float pixels[kTile][kColumns][kWidth];       // dy
    alignas(64) float gradients[kPoints][kColumns][kWidth];  // A dy
  };

  // Six rows of x from `top` on, and the columns that `count` outputs read.
  void transform_x(const float* image, int64_t top, int64_t left, int64_t count, Own& own) const {
    const int64_t width = s.in[2], reach = count + kTaps - 1;
    const int64_t low = smaller(larger(-left, 0), reach), high = larger(low, smaller(width - left, reach));
    for (int64_t c = 0; c < s.in_channels; c++, image += s.in[1] * width) {
      for (int64_t r = 0; r < kPoints; r++) {
        float* const to = own.rows[c][r];
        if (low > 0 || high < reach || uint64_t(top + r) >= uint64_t(s.in[1]))
          for (int64_t i = 0; i < kPitch; i += kLanes) store(to + i, set1(0.0f));
        if (uint64_t(top + r) < uint64_t(s.in[1]))
          copy_rows<float>(image + (top + r) * width + left + low, 0, 1, high - low, to + low, 0, high - low);
      }
      for (int64_t i = 0; i < reach; i += kLanes) {
        V d[kPoints];
#pragma GCC unroll 6
        for (int r = 0; r < kPoints; r++) d[r] = load(own.rows[c][r] + i);
        Transform<kTile>::input(d);
#pragma GCC unroll 6
        for (int p = 0; p < kPoints; p++) store(own.x[p][c] + i, d[p]);
      }
    }
  }

  // Four rows of `count` gradients of a panel's channels; they are added to `bias`.
  void transform_dy(const float* from, int64_t rows, int64_t count, int64_t outputs, Own& own, float* bias) const {
    const int64_t plane = s.out[1] * s.out[2], width = s.out[2];
    if (count == width && count == kColumns)  // rows follow each other on both sides
      transpose_matrix<float>(from, plane, outputs, rows * width, own.pixels[0][0], kWidth, kWidth);
    else
      for (int64_t r = 0; r < rows; r++)
        transpose_matrix<float>(from + r * width, plane, outputs, count, own.pixels[r][0], kWidth, kWidth);
    for (int64_t r = rows; r < kTile; r++)
      for (int64_t i = 0; i < count * kWidth; i += kLanes) store(own.pixels[r][0] + i, set1(0.0f));
    for (int64_t lane = 0; lane < kWidth; lane += kLanes) {
      V sum = load(bias + lane);
      for (int64_t i = 0; i < count; i++) {
        V y[kTile], m[kPoints];
#pragma GCC unroll 4
        for (int r = 0; r < kTile; r++) y[r] = load(own.pixels[r][i] + lane);
        sum = sum + ((y[0] + y[1]) + (y[2] + y[3]));
        Transform<kTile>::output_adjoint(y, m);
#pragma GCC unroll 6
        for (int p = 0; p < kPoints; p++) store(own.gradients[p][i] + lane, m[p]);
      }
      store(bias + lane, sum);
    }
  }

  // sums[channel, column of taps][kWidth] += the products of one point; lines of the gradients that come next are
  // fetched meanwhile, those of one channel after another.
  struct Ahead {
    const float* from;
    int64_t plane, row;
  };
  template <int kChannels>
  [[gnu::noinline]] static void product(const float* gradients, const float* x, int64_t count, float* sums,
                                        Ahead ahead) {
    constexpr int kPairs = kChannels * kTaps;
    for (int64_t lane = 0; lane < kWidth; lane += kLanes) {
      V sum[kPairs];
#pragma GCC unroll 9
      for (int i = 0; i < kPairs; i++) sum[i] = load(sums + i * kWidth + lane);
      // A column of x meets the gradients of the three outputs that read it, so that it is broadcast once.
      const float *from = gradients + lane, *column = x;
      V gradient[kTaps] = {set1(0.0f), set1(0.0f), set1(0.0f)};  // of the output before last, the last, this one
      const auto step = [&](bool first, bool second, bool third) __attribute__((always_inline)) {
        gradient[0] = gradient[1];
        gradient[1] = gradient[2];
        if (third) gradient[2] = load(from);
        from += kWidth;
#pragma GCC unroll 3
        for (int c = 0; c < kChannels; c++) {
          const V pixel = set1(column[c * kPitch]);
          if (third) sum[c * kTaps] = fma(pixel, gradient[2], sum[c * kTaps]);
          if (second) sum[c * kTaps + 1] = fma(pixel, gradient[1], sum[c * kTaps + 1]);
          if (first) sum[c * kTaps + 2] = fma(pixel, gradient[0], sum[c * kTaps + 2]);
        }
        column++;
      };
      step(false, false, true);
      step(false, true, true);
      int64_t left = count - 2;
      for (; left >= kAheadColumns; left -= kAheadColumns) {
#pragma GCC unroll 9
        for (int line = 0; line < kAheadColumns; line++) {
          if (lane == 0 && line < 8) __builtin_prefetch(ahead.from + line / 2 * ahead.row + line % 2 * 16);
          step(true, true, true);
        }
        ahead.from += ahead.plane;
      }
      for (; left > 0; left--) step(true, true, true);
      step(true, true, false);
      step(true, false, false);
#pragma GCC unroll 9
      for (int i = 0; i < kPairs; i++) store(sums + i * kWidth + lane, sum[i]);
    }
  }
  using Product = void (*)(const float*, const float*, int64_t, float*, Ahead);
  Product find_product() const {
    return s.in_channels == 1 ? product<1> : s.in_channels == 2 ? product<2> : product<3>;
  }

  // One panel of one chunk. The panels of a chunk follow each other, then the chunks of a row, rows, images.
  struct Place {
    int64_t image, tile_row, chunk, panel;
  };
  Place next(Place at) const {
    if (++at.panel < panels) return at;
    at.panel = 0;
    if (++at.chunk < columns.parts) return at;
    at.chunk = 0;
    if (++at.tile_row < tile_rows) return at;
    at.tile_row = 0;
    at.image++;
    return at;
  }
  int64_t first_column(int64_t chunk) const { return chunk * narrow_columns + smaller(chunk, wide_chunks); }
  const float* gradients(const Place& at) const {
    return dy + ((at.image * s.out_channels + at.panel * kWidth) * s.out[1] + at.tile_row * kTile) * s.out[2] +
           first_column(at.chunk);
  }

  void task(int64_t part) {
    const int64_t count = panels * panel_sums;
    float* const memory =
        static_cast<float*>(runtime.scratch(4, int64_t(sizeof(Own)) + count * int64_t(sizeof(float))));
    if (!memory) {
      failed = true;
      return;
    }
    Own& own = *reinterpret_cast<Own*>(memory);
    float *const sums = memory + sizeof(Own) / sizeof(float), *const totals = part_sums + part * count;
    const auto clear = [count](float* at) {
      for (int64_t i = 0; i < count; i += kLanes) store(at + i, set1(0.0f));
    };
    clear(sums);
    clear(totals);
    for (int64_t i = 0; i < kMostChannels * kPoints * kPitch; i += kLanes) store(own.rows[0][0] + i, set1(0.0f));
    const Product multiply = find_product();
    const int64_t first = parts.start(part), chunks = parts.size(part) * columns.parts, height = s.out[1];
    Place at = {first / tile_rows, first % tile_rows, 0, 0};
    for (int64_t chunk = 0, run = 0; chunk < chunks; chunk++) {
      const int64_t top = at.tile_row * kTile, left = first_column(at.chunk);
      const int64_t width = narrow_columns + (at.chunk < wide_chunks);
      transform_x(x + at.image * s.in_channels * s.in[1] * s.in[2], top - s.pad[1], left - s.pad[2], width, own);
      for (int64_t panel = 0; panel < panels; panel++) {
        float* const to = sums + panel * panel_sums;
        transform_dy(gradients(at), smaller(kTile, height - top), width,
                     smaller(kWidth, s.out_channels - panel * kWidth), own, to + kPoints * pairs * kWidth);
        const Place following = next(at);
        if (chunk + 1 < chunks || panel + 1 < panels) at = following;
        Ahead ahead = {gradients(at), height * s.out[2], s.out[2]};
        for (int p = 0; p < kPoints; p++) {
          multiply(own.gradients[p][0], own.x[p][0], width, to + p * pairs * kWidth, ahead);
          ahead.from += (width - 2) / kAheadColumns * ahead.plane;
        }
      }
      if (++run < kRun && chunk + 1 < chunks) continue;
      run = 0;
      for (int64_t i = 0; i < count; i += kLanes) store(totals + i, load(totals + i) + load(sums + i));
      clear(sums);
    }
  }

  // G^T of the points' sums to the weights of a panel.
  void finish(const float* sums, int64_t panel) {
    alignas(64) float taps[kMostChannels * kTaps * kTaps * kWidth];
    V check = set1(0.0f);
    for (int64_t pair = 0; pair < pairs; pair++)
      for (int64_t lane = 0; lane < kWidth; lane += kLanes) {
        V point[kPoints], g[kTaps];
        for (int p = 0; p < kPoints; p++) point[p] = load(sums + (p * pairs + pair) * kWidth + lane);
        Transform<kTile>::filter_adjoint(point, g);
        for (int t = 0; t < kTaps; t++) {
          remember(check, g[t]);
          store(taps + ((pair / kTaps * kTaps + t) * kTaps + pair % kTaps) * kWidth + lane, g[t]);
        }
      }
    const int64_t terms = pairs * kTaps, outputs = smaller(kWidth, s.out_channels - panel * kWidth);
    transpose_matrix<float>(taps, kWidth, terms, outputs, dw + panel * kWidth * terms, terms, terms);
    for (int64_t k = 0; dbias && k < outputs; k++) dbias[panel * kWidth + k] = sums[kPoints * pairs * kWidth + k];
    note_unless_finite(check, not_finite);
  }

  int64_t execute() {
    const int64_t count = panels * panel_sums;
    part_sums = static_cast<float*>(runtime.scratch(0, (parts.parts + 1) * count * int64_t(sizeof(float))));
    if (!part_sums) return kOutOfMemory;
    run_tasks(runtime, parts.parts, [this](int64_t i) { task(i); });
    if (failed) return kOutOfMemory;
    float* const sums = part_sums + parts.parts * count;
    sum_parts(part_sums, count, parts.parts, count, sums);
    for (int64_t panel = 0; panel < panels; panel++) finish(sums + panel * panel_sums, panel);
    return status_of(failed, not_finite);
  }
};

}  // namespace
}  // namespace xcorr
