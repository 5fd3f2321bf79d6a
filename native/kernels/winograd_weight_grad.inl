// The weight gradient of a 3x3 convolution of stride 1 by Winograd's F(3x3, 4x4) (or F(3x3, 2x2)): the adjoint of
// winograd.inl with respect to the weights. dw = G^T [sum over tiles of (B^T x B) . (A dy A^T)] G: one gemm per point
// whose reduction runs over the tiles, and one inverse transform at the very end.
//
// Channels are the lanes here: a band of rows of tiles is transposed to [pixel][channel] first. The sum over tiles is
// cut into blocks of whole rows of tiles, about 128 tiles each; tasks own points and output channels.
#pragma once
#include "winograd.inl"

namespace xcorr {
namespace {

template <int kTile>
struct WinogradWeightGrad {
  static constexpr int kPoints = kTile + 2, kSquare = kPoints * kPoints;
  static constexpr int kLanes = Simd<float>::lanes, kColumns = kTileColumns<float>;
  using V = Simd<float>::V;

  const Runtime& runtime;
  const ConvSizes& s;
  const float *x, *dy;
  float *dw, *dbias;
  int64_t channels, outputs;              // of one group
  int64_t tiles_w, bands, bands_a_block;  // a band is one row of tiles of one image
  int64_t chunk_first = 0, chunk_bands = 0;
  Split rows;        // panels of input channels
  int64_t k_panels;  // of output channels
  int64_t v_point, m_point, u_point;
  float *v = nullptr, *m = nullptr, *u = nullptr, *bias_sums = nullptr;
  bool failed = false;

  WinogradWeightGrad(const ConvSizes& sizes, const Runtime& runtime_, void* const* operands)
      : runtime(runtime_), s(sizes) {
    x = static_cast<const float*>(operands[0]);
    dy = static_cast<const float*>(operands[1]);
    dw = static_cast<float*>(operands[2]);
    dbias = static_cast<float*>(operands[3]);
    channels = s.in_channels / s.groups;
    outputs = s.out_channels / s.groups;
    tiles_w = ceil_div(s.out[2], kTile);
    bands = s.batch * ceil_div(s.out[1], kTile);
    bands_a_block = larger(1, 128 / tiles_w);
    rows = row_panels<float>(channels);
    k_panels = ceil_div(outputs, kColumns);
  }

  int64_t k_count(int64_t panel) const { return smaller(kColumns, outputs - panel * kColumns); }

  // Rows [top, top + height) of `count` adjacent channels as [pixel][lanes], as far as they exist.
  struct Staged {
    int64_t top, bottom, width;
    const float* pixels;
    [[gnu::always_inline]] inline V at(int64_t row, int64_t column) const {
      if (row < top || row >= bottom || uint64_t(column) >= uint64_t(width)) return set1(0.0f);
      return load(pixels + ((row - top) * width + column) * kLanes);
    }
  };
  Staged stage(const float* from, int64_t height, int64_t width, int64_t top, int64_t rows_wanted, int64_t count,
               float* to) const {
    const int64_t first = larger(top, 0), last = larger(first, smaller(top + rows_wanted, height));
    transpose_matrix<float>(from + first * width, height * width, count, (last - first) * width, to, kLanes, kLanes);
    return {first, last, width, to};
  }
  float* staging(int64_t height, int64_t width) {
    float* const to = static_cast<float*>(runtime.scratch(4, (height * width * kLanes + 1) * int64_t(sizeof(float))));
    failed = failed || !to;
    return to;
  }

  // B^T x B of one band and panel of channels, as [point][panel][tile][rows].
  void transform_x(int64_t group, int64_t band, int64_t panel) {
    const int64_t bands_an_image = bands / s.batch, image = band / bands_an_image, count = rows.size(panel);
    const int64_t top = band % bands_an_image * kTile - s.pad[1];
    float* const staged = staging(kPoints, s.in[2]);
    if (!staged) return;
    for (int64_t r = 0; r < count; r += kLanes) {
      const int n = int(smaller(kLanes, count - r));
      const float* const from = x + ((image * s.groups + group) * channels + rows.start(panel) + r) * s.in[1] * s.in[2];
      const Staged pixels = stage(from, s.in[1], s.in[2], top, kPoints, n, staged);
      float* to = v + rows.start(panel) * chunk_bands * tiles_w + (band - chunk_first) * tiles_w * count + r;
      for (int64_t tile = 0; tile < tiles_w; tile++, to += count) {
        const int64_t left = tile * kTile - s.pad[2];
        V half[kPoints][kPoints];
#pragma GCC unroll 6
        for (int j = 0; j < kPoints; j++) {
          V d[kPoints];
#pragma GCC unroll 6
          for (int i = 0; i < kPoints; i++) d[i] = pixels.at(top + i, left + j);
          Transform<kTile>::input(d);
#pragma GCC unroll 6
          for (int i = 0; i < kPoints; i++) half[i][j] = d[i];
        }
#pragma GCC unroll 6
        for (int i = 0; i < kPoints; i++) {
          Transform<kTile>::input(half[i]);
#pragma GCC unroll 6
          for (int j = 0; j < kPoints; j++) {
            if (n == kLanes)
              store(to + (i * kPoints + j) * v_point, half[i][j]);
            else
              store_partial(to + (i * kPoints + j) * v_point, half[i][j], n);
          }
        }
      }
    }
  }

  // A dy A^T of one band and panel of output channels, as [point][panel][tile][columns]; sums for the bias.
  void transform_dy(int64_t group, int64_t band, int64_t panel) {
    const int64_t bands_an_image = bands / s.batch, image = band / bands_an_image;
    const int64_t count = k_count(panel), width = panel_width<float>(count);
    const int64_t top = band % bands_an_image * kTile;
    float* const staged = staging(kTile, s.out[2]);
    if (!staged) return;
    for (int64_t r = 0; r < width; r += kLanes) {
      const float* const from =
          dy + ((image * s.groups + group) * outputs + panel * kColumns + r) * s.out[1] * s.out[2];
      const Staged pixels = stage(from, s.out[1], s.out[2], top, kTile, larger(0, smaller(kLanes, count - r)), staged);
      if (dbias) {
        V sum = set1(0.0f);
        for (int64_t p = 0; p < (pixels.bottom - pixels.top) * s.out[2]; p++) sum = sum + load(staged + p * kLanes);
        store(bias_sums + ((band * s.groups + group) * k_panels + panel) * kColumns + r, sum);
      }
      float* to = m + panel * kColumns * chunk_bands * tiles_w + (band - chunk_first) * tiles_w * width + r;
      for (int64_t tile = 0; tile < tiles_w; tile++, to += width) {
        V half[kPoints][kTile];
#pragma GCC unroll 4
        for (int j = 0; j < kTile; j++) {
          V d[kTile], column[kPoints];
#pragma GCC unroll 4
          for (int i = 0; i < kTile; i++) d[i] = pixels.at(top + i, tile * kTile + j);
          Transform<kTile>::output_adjoint(d, column);
#pragma GCC unroll 6
          for (int i = 0; i < kPoints; i++) half[i][j] = column[i];
        }
#pragma GCC unroll 6
        for (int i = 0; i < kPoints; i++) {
          V row[kPoints];
          Transform<kTile>::output_adjoint(half[i], row);
#pragma GCC unroll 6
          for (int j = 0; j < kPoints; j++) store(to + (i * kPoints + j) * m_point, row[j]);
        }
      }
    }
  }

  // u[point][panel][channel][columns] += this chunk's blocks.
  void multiply(int64_t point, int64_t panel, int64_t c_from, int64_t c_to) const {
    const int64_t count = k_count(panel), width = panel_width<float>(count), tiles = chunk_bands * tiles_w;
    for (int64_t band = chunk_first; band < chunk_first + chunk_bands; band += bands_a_block) {
      const int64_t tile = (band - chunk_first) * tiles_w;
      const int64_t depth = smaller(bands_a_block, chunk_first + chunk_bands - band) * tiles_w;
      const float* const b = m + point * m_point + panel * kColumns * tiles + tile * width;
      for (int64_t k = c_from; k < c_to; k++) {
        float* const to = u + point * u_point + (panel * channels + rows.start(k)) * kColumns;
        find_packed_tile<float>(rows.size(k), count)(
            depth, v + point * v_point + rows.start(k) * tiles + tile * rows.size(k), b, width,
            {to, kColumns, width, band > 0 ? to : nullptr, kColumns});
      }
    }
  }

  // G^T u G of `count` channels and a panel of output channels to dw.
  void transform_dw(int64_t group, int64_t panel, int64_t channel, int64_t count) const {
    alignas(64) float taps[16 * 9 * kColumns];
    const int64_t width = panel_width<float>(k_count(panel));
    for (int64_t c = 0; c < count; c++)
      for (int64_t r = 0; r < width; r += kLanes) {
        const float* const from = u + (panel * channels + channel + c) * kColumns + r;
        V half[3][kPoints];
        for (int j = 0; j < kPoints; j++) {
          V column[kPoints], g[3];
          for (int i = 0; i < kPoints; i++) column[i] = load(from + (i * kPoints + j) * u_point);
          Transform<kTile>::filter_adjoint(column, g);
          for (int i = 0; i < 3; i++) half[i][j] = g[i];
        }
        for (int i = 0; i < 3; i++) {
          V g[3];
          Transform<kTile>::filter_adjoint(half[i], g);
          for (int j = 0; j < 3; j++) store(taps + ((c * 3 + i) * 3 + j) * kColumns + r, g[j]);
        }
      }
    transpose_matrix<float>(taps, kColumns, count * 9, k_count(panel),
                            dw + (group * outputs + panel * kColumns) * channels * 9 + channel * 9, channels * 9,
                            count * 9);
  }

  int64_t run() {
    const int64_t a_band = kSquare * tiles_w * (channels + k_panels * kColumns) * int64_t(sizeof(float));
    const int64_t blocks = larger(1, (12 << 20) / (a_band * bands_a_block));
    const int64_t most = smaller(bands, blocks * bands_a_block);
    v_point = most * tiles_w * channels + 48;
    m_point = most * tiles_w * k_panels * kColumns + 16;
    u_point = k_panels * kColumns * channels + 16;
    v = static_cast<float*>(runtime.scratch(0, kSquare * v_point * int64_t(sizeof(float))));
    m = static_cast<float*>(runtime.scratch(1, kSquare * m_point * int64_t(sizeof(float))));
    u = static_cast<float*>(runtime.scratch(2, kSquare * u_point * int64_t(sizeof(float))));
    bias_sums =
        static_cast<float*>(runtime.scratch(3, bands * s.groups * k_panels * kColumns * int64_t(sizeof(float))));
    if (!v || !m || !u || !bias_sums) return kOutOfMemory;
    for (int64_t group = 0; group < s.groups; group++) {
      for (chunk_first = 0; chunk_first < bands; chunk_first += most) {
        chunk_bands = smaller(most, bands - chunk_first);
        const int64_t panels = rows.parts + k_panels;
        run_tasks(runtime, panels * chunk_bands, [&](int64_t i) {
          const int64_t panel = i / chunk_bands, band = chunk_first + i % chunk_bands;
          if (panel < rows.parts)
            transform_x(group, band, panel);
          else
            transform_dy(group, band, panel - rows.parts);
        });
        const int64_t parts = ceil_div(rows.parts, 10);
        run_tasks(runtime, kSquare * k_panels * parts, [&](int64_t i) {
          const int64_t first = i % parts * 10;
          multiply(i / parts / k_panels, i / parts % k_panels, first, smaller(first + 10, rows.parts));
        });
      }
      const int64_t parts = ceil_div(channels, 16);
      run_tasks(runtime, k_panels * parts, [&](int64_t i) {
        const int64_t c = i % parts * 16;
        transform_dw(group, i / parts, c, smaller(16, channels - c));
      });
    }
    for (int64_t k = 0; dbias && k < s.out_channels; k++) {
      float sum = 0;
      const int64_t at = k / outputs * k_panels * kColumns + k % outputs;
      for (int64_t band = 0; band < bands; band++) sum += bias_sums[band * s.groups * k_panels * kColumns + at];
      dbias[k] = sum;
    }
    return failed ? int64_t(kOutOfMemory) : int64_t(kOk);
  }
};

}  // namespace
}  // namespace xcorr
