// The weight gradient of a 3x3 convolution of stride 2 with 25 products for 36: the adjoint of winograd_strided.inl.
//
// In one dimension, with the gradients a, b of two neighbouring outputs and the five samples that they read:
//   dg0 = a (d0 - d2) + (a + b) d2,  dg1 = a d1 + b d3,  dg2 = b (d4 - d2) + (a + b) d2
// Five products for six, in four sums; both dimensions: 25 products for 36, in 16 sums over all tiles, and dw at the
// very end.
//
// Channels are the lanes: a band, which is a row of tiles of one image, is transposed to [pixel][channel] first. A task
// has up to 128 channels of either side and a part of the bands, which it takes through all steps in blocks small
// enough for the second-level cache; the parts' sums are added in order at the end.
#pragma once
#include "lines_to_come.inl"
#include "winograd_strided.inl"

namespace xcorr {
namespace {

struct StridedWinogradWeightGrad {
  static constexpr int kLanes = Simd<float>::lanes, kPoints = 5, kGradients = 3, kSums = 4;
  static constexpr int64_t kColumns = kTileColumns<float>;
  // Which products of samples v and gradients u a sum has.
  static constexpr StridedSum sum[kSums] = {{1, {0}, {0}}, {2, {1, 3}, {0, 2}}, {1, {4}, {2}}, {1, {2}, {1}}};
  using V = Simd<float>::V;

  const Runtime& runtime;
  const ConvSizes& s;
  const float *x, *dy;
  float *dw, *dbias;
  int64_t channels, outputs, width;  // of one group; output channels in whole tiles
  int64_t tiles_w, bands;            // a band is one row of tiles of one image
  int64_t bands_a_block;
  Split x_parts, dy_parts, band_parts;  // of channels, of 32 output channels each, of bands
  int64_t v_stride, m_stride;           // between tiles
  int64_t v_point, m_point, u_point;    // between points, between sums
  bool room_for_more;                   // in the second-level cache: pixels of the next block, beside all of a task's
  float *u = nullptr, *bias_sums = nullptr;
  bool failed = false, not_finite = false;

  StridedWinogradWeightGrad(const ConvSizes& sizes, const Runtime& runtime_, void* const* operands)
      : runtime(runtime_), s(sizes) {
    x = static_cast<const float*>(operands[0]);
    dy = static_cast<const float*>(operands[1]);
    dw = static_cast<float*>(operands[2]);
    dbias = static_cast<float*>(operands[3]);
    channels = s.in_channels / s.groups;
    outputs = s.out_channels / s.groups;
    width = round_up(outputs, 32);
    tiles_w = ceil_div(s.out[2], 2);
    bands = s.batch * ceil_div(s.out[1], 2);
    x_parts = split_evenly(channels, 128);
    dy_parts = {width / 32, ceil_div(width, 128)};
    v_stride = stride_of(x_parts.size(0));
    m_stride = stride_of(dy_parts.size(0) * 32);
    // Blocks of 64 tiles, of 128 while they take half a megabyte; parts of the bands while their sums take 8 MB.
    const int64_t a_tile = kPoints * kPoints * v_stride + kGradients * kGradients * m_stride;
    bands_a_block = smaller(bands, larger(1, (a_tile <= 1024 ? 128 : 64) / tiles_w));
    const int64_t tile_room = bands_a_block * tiles_w;
    v_point = tile_room * v_stride + 16;
    m_point = tile_room * m_stride + 16;
    u_point = width * channels + 16;
    room_for_more = kPoints * kPoints * v_point + kGradients * kGradients * m_point +
                        kSums * kSums * x_parts.size(0) * dy_parts.size(0) * 32 <=
                    1 << 18;
    const int64_t wanted = ceil_div(16, x_parts.parts * dy_parts.parts * s.groups);
    const int64_t most = larger(1, (2 << 20) / (s.groups * kSums * kSums * u_point));
    band_parts = {bands, smaller(bands, smaller(wanted, most))};
  }

  // An odd number of cache lines, so that tiles do not share cache sets.
  static int64_t stride_of(int64_t count) { return (ceil_div(count, 16) | 1) * 16; }

  // Pixels of a band as [row][column][lanes].
  struct Staged {
    float* pixels;
    int64_t width;
    [[gnu::always_inline]] inline V at(int64_t row, int64_t column) const {
      return load(pixels + (row * width + column) * kLanes);
    }
  };
  int64_t staged_floats() const { return kPoints * (tiles_w * 4 + 1) * kLanes; }
  // Rows [top, top + wanted) of `count` adjacent planes from columns `left` on to `to`, zeros outside. If `again`, the
  // first row is the last one of the call before.
  Staged stage(const float* from, int64_t height, int64_t source, int64_t top, int64_t left, int64_t wanted,
               int64_t staged_width, int64_t count, bool again, float* to) const {
    const int64_t low = smaller(larger(0, -left), staged_width);
    const int64_t high = larger(low, smaller(staged_width, source - left));
    if (again)
      copy_rows<float>(to + (wanted - 1) * staged_width * kLanes, 0, 1, staged_width * kLanes, to, 0,
                       staged_width * kLanes);
    for (int64_t i = again; i < wanted; i++) {
      float* const row = to + i * staged_width * kLanes;
      const bool there = top + i >= 0 && top + i < height;
      for (int64_t j = 0; j < (there ? low : staged_width); j++) store(row + j * kLanes, set1(0.0f));
      if (!there) continue;
      transpose_matrix<float>(from + (top + i) * source + left + low, height * source, count, high - low,
                              row + low * kLanes, kLanes, kLanes);
      for (int64_t j = high; j < staged_width; j++) store(row + j * kLanes, set1(0.0f));
    }
    return {to, staged_width};
  }

  // The samples of one band and `count` channels from r on, as [point][tile][channel]; `again`: the call before was for
  // the band before.
  void transform_x(int64_t group, int64_t band, int64_t r, int64_t count, bool again, float* staged, float* to) const {
    const int64_t bands_an_image = bands / s.batch, image = band / bands_an_image;
    const Staged pixels = stage(x + ((image * s.groups + group) * channels + r) * s.in[1] * s.in[2], s.in[1], s.in[2],
                                band % bands_an_image * 4 - s.pad[1], -s.pad[2], kPoints, tiles_w * 4 + 1, count,
                                again && band % bands_an_image > 0, staged);
    for (int64_t tile = 0; tile < tiles_w; tile++, to += v_stride) {
      V d[kPoints][kPoints];
#pragma GCC unroll 5
      for (int i = 0; i < kPoints; i++) {
#pragma GCC unroll 5
        for (int j = 0; j < kPoints; j++) d[i][j] = pixels.at(i, tile * 4 + j);
        StridedTransform<false>::input(d[i]);
      }
#pragma GCC unroll 5
      for (int j = 0; j < kPoints; j++) {
        V column[kPoints];
#pragma GCC unroll 5
        for (int i = 0; i < kPoints; i++) column[i] = d[i][j];
        StridedTransform<false>::input(column);
#pragma GCC unroll 5
        for (int i = 0; i < kPoints; i++) {
          if (count == kLanes)
            store(to + (i * kPoints + j) * v_point, column[i]);
          else
            store_partial(to + (i * kPoints + j) * v_point, column[i], int(count));
        }
      }
    }
  }

  // The gradients of one band and `kLanes` output channels from r on, as [point][tile][channel]; their sums are added
  // to `bias`, if given.
  void transform_dy(int64_t group, int64_t band, int64_t r, float* staged, float* to, float* bias) const {
    const int64_t bands_an_image = bands / s.batch, image = band / bands_an_image;
    const int64_t count = larger(0, smaller(kLanes, outputs - r));
    const Staged pixels = stage(dy + ((image * s.groups + group) * outputs + r) * s.out[1] * s.out[2], s.out[1],
                                s.out[2], band % bands_an_image * 2, 0, 2, tiles_w * 2, count, false, staged);
    if (bias) {
      V total = set1(0.0f), odd = total;
      for (int64_t p = 0; p < pixels.width; p++) {
        total = total + pixels.at(0, p);
        odd = odd + pixels.at(1, p);
      }
      store(bias, load(bias) + (total + odd));
    }
    for (int64_t tile = 0; tile < tiles_w; tile++, to += m_stride) {
      const V a = pixels.at(0, tile * 2), b = pixels.at(0, tile * 2 + 1);
      const V c = pixels.at(1, tile * 2), e = pixels.at(1, tile * 2 + 1);
      const V top[kGradients] = {a, a + b, b}, bottom[kGradients] = {c, c + e, e};
#pragma GCC unroll 3
      for (int j = 0; j < kGradients; j++) {
        store(to + j * m_point, top[j]);
        store(to + (kGradients + j) * m_point, top[j] + bottom[j]);
        store(to + (2 * kGradients + j) * m_point, bottom[j]);
      }
    }
  }

  // sums[sum][channel][output channel] += those of `depth` tiles, for the task's channels.
  void multiply(const float* v, const float* m, int64_t depth, int64_t x_count, int64_t dy_count, bool first,
                float* sums, LinesToCome& ahead) const {
    const Split rows = row_panels<float>(x_count);
    for (int64_t index = 0; index < kSums * kSums; index++) {
      const StridedSum &a = sum[index / kSums], &b = sum[index % kSums];
      for (int64_t panel = 0; panel < rows.parts; panel++) {
        const auto tile_of_panel =
            room_for_more ? find_chain_tile<true>(rows.size(panel), false) : find_chain_tile(rows.size(panel), false);
        for (int64_t column = 0; column < dy_count; column += kColumns) {
          Chain chain = {0, {}, depth, v_stride, m_stride};
          for (int k = 0; k < a.terms; k++)
            for (int l = 0; l < b.terms; l++)
              chain.term[chain.terms++] = {v + (a.v[k] * kPoints + b.v[l]) * v_point + rows.start(panel),
                                           m + (a.u[k] * kGradients + b.u[l]) * m_point + column};
          chain.ahead = ahead.next(chain.terms * depth * 16, v);
          float* const to = sums + index * u_point + rows.start(panel) * width + column;
          tile_of_panel(chain, {to, width, kColumns, first ? nullptr : to, width});
        }
      }
    }
  }

  // The rows that bands [from, to) read first, image by image.
  void add_bands(int64_t group, int64_t from, int64_t to, int64_t channel, int64_t x_count, int64_t output,
                 int64_t dy_count, LinesToCome& ahead) const {
    const int64_t bands_an_image = bands / s.batch, x_plane = s.in[1] * s.in[2], dy_plane = s.out[1] * s.out[2];
    for (int64_t band = from, end; band < to; band = end) {
      const int64_t image = band / bands_an_image, row = band % bands_an_image;
      end = smaller(to, (image + 1) * bands_an_image);
      const int64_t x_row = smaller(row * 4, s.in[1]), x_rows = smaller((end - band) * 4, s.in[1] - x_row);
      ahead.add(x + ((image * s.groups + group) * channels + channel) * x_plane + x_row * s.in[2], x_plane, x_count,
                x_rows * s.in[2]);
      const int64_t dy_row = row * 2, dy_rows = smaller((end - band) * 2, s.out[1] - dy_row);
      ahead.add(dy + ((image * s.groups + group) * outputs + output) * dy_plane + dy_row * s.out[2], dy_plane,
                smaller(dy_count, outputs - output), dy_rows * s.out[2]);
    }
  }

  void task(int64_t index) {
    const int64_t x_part = index % x_parts.parts, dy_part = index / x_parts.parts % dy_parts.parts;
    const int64_t part = index / x_parts.parts / dy_parts.parts % band_parts.parts;
    const int64_t group = index / x_parts.parts / dy_parts.parts / band_parts.parts;
    const int64_t channel = x_parts.start(x_part), x_count = x_parts.size(x_part);
    const int64_t output = dy_parts.start(dy_part) * 32, dy_count = dy_parts.size(dy_part) * 32;
    const int64_t floats = kPoints * kPoints * v_point + kGradients * kGradients * m_point;
    float* const v = static_cast<float*>(runtime.scratch(4, (floats + staged_floats()) * int64_t(sizeof(float))));
    failed = failed || !v;
    if (!v) return;
    float *const m = v + kPoints * kPoints * v_point, *const staged = v + floats;
    float* const sums = u + (part * s.groups + group) * kSums * kSums * u_point + channel * width + output;
    float* const bias = dbias && x_part == 0 ? bias_sums + (part * s.groups + group) * width + output : nullptr;
    for (int64_t k = 0; bias && k < dy_count; k++) bias[k] = 0;
    const int64_t from = band_parts.start(part), to = from + band_parts.size(part);
    for (int64_t first = from; first < to; first += bands_a_block) {
      const int64_t count = smaller(bands_a_block, to - first);
      for (int64_t c = 0; c < x_count; c += kLanes)
        for (int64_t i = 0; i < count; i++)
          transform_x(group, first + i, channel + c, smaller(kLanes, x_count - c), i > 0, staged,
                      v + i * tiles_w * v_stride + c);
      for (int64_t k = 0; k < dy_count; k += kLanes)
        for (int64_t i = 0; i < count; i++)
          transform_dy(group, first + i, output + k, staged, m + i * tiles_w * m_stride + k, bias ? bias + k : nullptr);
      LinesToCome ahead;
      if (room_for_more)
        add_bands(group, first + count, smaller(first + count + bands_a_block, to), channel, x_count, output, dy_count,
                  ahead);
      multiply(v, m, count * tiles_w, x_count, dy_count, first == from, sums, ahead);
    }
  }

  // The sums of `count` channels and a panel of output channels to dw.
  void transform_dw(int64_t group, int64_t column, int64_t channel, int64_t count) {
    alignas(64) float taps[16 * 9 * kColumns];
    V check = set1(0.0f);
    for (int64_t c = 0; c < count; c++)
      for (int64_t r = 0; r < kColumns; r += kLanes) {
        const float* const from = u + group * kSums * kSums * u_point + (channel + c) * width + column + r;
        V total[kSums][kSums], half[3][kSums];
        for (int i = 0; i < kSums * kSums; i++) {
          V of_parts = load(from + i * u_point);
          for (int64_t part = 1; part < band_parts.parts; part++)
            of_parts = of_parts + load(from + (part * s.groups * kSums * kSums + i) * u_point);
          total[i / kSums][i % kSums] = of_parts;
        }
        for (int j = 0; j < kSums; j++) {
          half[0][j] = total[0][j] + total[3][j];
          half[1][j] = total[1][j];
          half[2][j] = total[2][j] + total[3][j];
        }
        for (int i = 0; i < 3; i++) {
          float* const to = taps + (c * 9 + i * 3) * kColumns + r;
          const V g[3] = {half[i][0] + half[i][3], half[i][1], half[i][2] + half[i][3]};
          for (int j = 0; j < 3; j++) {
            remember(check, g[j]);
            store(to + j * kColumns, g[j]);
          }
        }
      }
    transpose_matrix<float>(taps, kColumns, count * 9, smaller(kColumns, outputs - column),
                            dw + (group * outputs + column) * channels * 9 + channel * 9, channels * 9, count * 9);
    note_unless_finite(check, not_finite);
  }

  int64_t execute() {
    u = static_cast<float*>(
        runtime.scratch(0, band_parts.parts * s.groups * kSums * kSums * u_point * int64_t(sizeof(float))));
    bias_sums = static_cast<float*>(runtime.scratch(1, band_parts.parts * s.groups * width * int64_t(sizeof(float))));
    if (!u || !bias_sums) return kOutOfMemory;
    run_tasks(runtime, s.groups * band_parts.parts * dy_parts.parts * x_parts.parts, [this](int64_t i) { task(i); });
    const int64_t parts = ceil_div(channels, 16), panels = ceil_div(outputs, kColumns);
    run_tasks(runtime, s.groups * panels * parts, [&](int64_t i) {
      const int64_t c = i % parts * 16;
      transform_dw(i / parts / panels, i / parts % panels * kColumns, c, smaller(16, channels - c));
    });
    for (int64_t k = 0; dbias && k < s.out_channels; k++) {
      float total = 0;
      for (int64_t part = 0; part < band_parts.parts; part++)
        total += bias_sums[(part * s.groups + k / outputs) * width + k % outputs];
      dbias[k] = total;
    }
    return status_of(failed, not_finite);
  }
};

}  // namespace
}  // namespace xcorr
