// 3x3 convolution with few channels by Winograd's F(4, 3) down the columns: half of the products of the direct
// algorithm, where F(4x4) would spend more on its transforms.
//
// Four rows of outputs read six rows of samples, which become six points; a row of the filter is a shift, so that
// (channel, column of taps) pairs are the terms of six products, whose sums stay in registers until they are
// transformed to four rows and written. Lanes along the rows.
#pragma once
#include "conv_few_channels.inl"
#include "parallel.inl"
#include "row_vectors.inl"
#include "winograd.inl"

namespace xcorr {
namespace {

class WinogradColumns {
 public:
  WinogradColumns(const Runtime& runtime, const Correlation<float>& conv)
      : runtime_(runtime),
        conv_(conv),
        flipped_(conv.axis[1].tap_step < 0),
        top_(flipped_ ? conv.axis[1].offset - 2 : conv.axis[1].offset),
        left_(flipped_ ? conv.axis[2].offset - 2 : conv.axis[2].offset),
        terms_(conv.in_channels * kTaps),
        pairs_(ceil_div(conv.out_channels, kChannels)),
        bands_{ceil_div(conv.axis[1].count, kRows), ceil_div(ceil_div(conv.axis[1].count, kRows), 8)} {}

  // Few channels; rows that fill vectors, of which more would be written in too many places at a time.
  static bool fits(const ConvSizes& s, const Correlation<float>& conv) {
    const Axis &h = conv.axis[1], &w = conv.axis[2];
    return winograd_fits(s) && conv.in_channels >= 1 && conv.in_channels <= 4 && conv.out_channels >= 8 &&
           conv.out_channels <= 32 && rows_fill_lanes(w) && w.count <= 128 &&
           round_up(h.count, kRows) * 10 <= h.count * 11;
  }

  int64_t execute() {
    const int column[kTaps] = {0, 1, 2};
    vectors_ = {conv_.axis[2].count, conv_.axis[2].source, 1, left_, 0, nullptr, nullptr};
    const int64_t u_group = pairs_ * terms_ * kPoints * kChannels;
    u_ = static_cast<float*>(runtime_.scratch(1, conv_.groups * u_group * int64_t(sizeof(float))));
    if (!u_ || !vectors_.prepare(runtime_, column)) return kOutOfMemory;
    for (int64_t group = 0; group < conv_.groups; group++) transform_weights(group, u_ + group * u_group);
    run_tasks(runtime_, conv_.batch * conv_.groups * bands_.parts, [&](int64_t i) {
      const int64_t band = i % bands_.parts, group = i / bands_.parts % conv_.groups;
      task(i / bands_.parts / conv_.groups, group, u_ + group * u_group, bands_.start(band), bands_.size(band));
    });
    return status_of(failed_, not_finite_);
  }

 private:
  using V = Simd<float>::V;
  static constexpr int kLanes = Simd<float>::lanes, kRows = 4, kPoints = 6, kTaps = 3;
  static constexpr int kChannels = 2;  // of a tile
  // A tile's vectors: 24 sums of at most 28 registers, or 12 of 16.
  static constexpr int kVectors = Simd<float>::tile_rows * Simd<float>::tile_vectors >= 24 ? 2 : 1;

  // U as [pair of output channels][term][point][channel of the pair].
  void transform_weights(int64_t group, float* to) const {
    for (int64_t pair = 0; pair < pairs_; pair++)
      for (int64_t c = 0; c < conv_.in_channels; c++)
        for (int j = 0; j < kTaps; j++)
          for (int k = 0; k < kChannels; k++) {
            const int64_t channel = smaller(pair * kChannels + k, conv_.out_channels - 1);
            const float* const w = conv_.w + group * conv_.w_group + channel * conv_.w_out + c * conv_.w_in;
            V g[kTaps], u[kPoints];
            for (int i = 0; i < kTaps; i++) g[i] = set1(w[flipped_ ? 8 - (i * 3 + j) : i * 3 + j]);
            Transform<kRows>::filter(g, u);
            for (int i = 0; i < kPoints; i++)
              to[((pair * terms_ + c * kTaps + j) * kPoints + i) * kChannels + k] = u[i][0];
          }
  }

  // V of kVectors vectors of a band's columns, [term][point][vector].
  void transform_input(const float* const (&row)[kPoints], int64_t plane, int64_t first, int64_t count,
                       float* v) const {
    int64_t inside[kPoints];
    for (int i = 0; i < kPoints; i++) inside[i] = -int64_t(row[i] != vectors_.zeros);
    for (int64_t c = 0; c < conv_.in_channels; c++)
      for (int64_t n = 0; n < count; n++) {
        const int64_t from = vectors_.source_column(first + n);
        const auto* const masks = vectors_.masks + (first + n) * kTaps;
#pragma GCC unroll 3
        for (int j = 0; j < kTaps; j++) {
          V d[kPoints];
#pragma GCC unroll 6
          for (int i = 0; i < kPoints; i++) {
            d[i] = load_lanes(row[i] + (c * plane & inside[i]) + from + j, masks[j]);
          }
          Transform<kRows>::input(d);
          float* const to = v + (c * kTaps + j) * kPoints * kVectors * kLanes + n * kLanes;
#pragma GCC unroll 6
          for (int i = 0; i < kPoints; i++) store(to + i * kVectors * kLanes, d[i]);
        }
      }
  }

  // Where the outputs of a tile go.
  struct Outputs {
    float* y;  // of the first channel, first row, first vector
    const float* residual;
    int64_t channels, plane, rows, width, vectors, next_vector;
    const float* bias;
    int64_t activation;
  };
  // The outputs of two channels.
  [[gnu::noinline]] static void multiply(int64_t terms, const float* u, const float* v, const Outputs& to, V& check) {
    V sums[kChannels][kVectors][kPoints];
#pragma GCC unroll 2
    for (int k = 0; k < kChannels; k++)
#pragma GCC unroll 2
      for (int n = 0; n < kVectors; n++)
#pragma GCC unroll 6
        for (int i = 0; i < kPoints; i++) sums[k][n][i] = set1(0.0f);
    for (; terms > 0; terms--, u += kPoints * kChannels, v += kPoints * kVectors * kLanes)
#pragma GCC unroll 6
      for (int i = 0; i < kPoints; i++) {
        const V a = set1(u[i * kChannels]), b = set1(u[i * kChannels + 1]);
#pragma GCC unroll 2
        for (int n = 0; n < kVectors; n++) {
          V x = load(v + (i * kVectors + n) * kLanes);
          keep_in_register(x);
          sums[0][n][i] = fma(a, x, sums[0][n][i]);
          sums[1][n][i] = fma(b, x, sums[1][n][i]);
        }
      }
    const bool plain = !to.residual && to.activation == activation::none;
    V seen = check;
#pragma GCC unroll 2
    for (int k = 0; k < kChannels; k++)
#pragma GCC unroll 2
      for (int n = 0; n < kVectors; n++) {
        if (k >= to.channels || n >= to.vectors) continue;
        const V bias = set1(to.bias ? to.bias[k] : 0.0f);
        V y[kRows];
        Transform<kRows>::output(sums[k][n], y);
        int64_t at = k * to.plane + n * to.next_vector;
#pragma GCC unroll 4
        for (int i = 0; i < kRows; i++, at += to.width) {
          remember(seen, y[i]);
          if (i >= to.rows) continue;
          V out = y[i] + bias;
          if (!plain) {
            if (to.residual) out = out + load(to.residual + at);
            out = activate<float>(out, to.activation);
          }
          store(to.y + at, out);
        }
      }
    check = seen;
  }

  void task(int64_t image, int64_t group, const float* u, int64_t first_band, int64_t bands) {
    const Axis &h = conv_.axis[1], &w = conv_.axis[2];
    float* const own =
        static_cast<float*>(runtime_.scratch(4, terms_ * kPoints * kVectors * kLanes * int64_t(sizeof(float))));
    if (!own) {
      failed_ = true;
      return;
    }
    const int64_t plane = conv_.x_plane(), y_plane = conv_.y_plane();
    const float* const x = conv_.x + image * conv_.x_image() + group * conv_.in_channels * plane;
    V check = set1(0.0f);
    for (int64_t band = first_band; band < first_band + bands; band++) {
      const float* row[kPoints];
      for (int i = 0; i < kPoints; i++) {
        const int64_t at = band * kRows + top_ + i;
        row[i] = at >= 0 && at < h.source ? x + at * w.source : vectors_.zeros;
      }
      for (int64_t vector = 0; vector < vectors_.vectors(); vector += kVectors) {
        const int64_t count = smaller(kVectors, vectors_.vectors() - vector);
        transform_input(row, plane, vector, count, own);
        for (int64_t pair = 0; pair < pairs_; pair++) {
          const int64_t channel = group * conv_.out_channels + pair * kChannels;
          const int64_t at =
              image * conv_.y_image() + channel * y_plane + band * kRows * w.size + vectors_.start(vector);
          multiply(terms_, u + pair * terms_ * kPoints * kChannels, own,
                   {conv_.y + at, conv_.residual ? conv_.residual + at : nullptr,
                    smaller(kChannels, conv_.out_channels - pair * kChannels), y_plane,
                    smaller(kRows, h.count - band * kRows), w.size, count,
                    count > 1 ? vectors_.start(vector + 1) - vectors_.start(vector) : 0,
                    conv_.bias ? conv_.bias + channel : nullptr, conv_.activation},
                   check);
        }
      }
    }
    note_unless_finite(check, not_finite_);
  }

  const Runtime& runtime_;
  const Correlation<float>& conv_;
  const bool flipped_;
  const int64_t top_, left_;  // source of output 0's first tap
  const int64_t terms_, pairs_;
  const Split bands_;  // of four rows of outputs, in tasks
  RowVectors<float, kTaps> vectors_;
  float* u_ = nullptr;
  bool failed_ = false, not_finite_ = false;
};

}  // namespace
}  // namespace xcorr
