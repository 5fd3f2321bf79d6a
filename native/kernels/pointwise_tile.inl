// The register tile of 1x1 convolution with weights that are kept packed: two strides, an epilogue straight from the
// registers, and prefetches of what comes next.
#pragma once
#include "transpose.inl"

namespace xcorr {
namespace {

// Lines that a tile fetches while it multiplies, each kind one every kAheadTerms terms.
struct Fetches {
  const float* line = nullptr;  // packed weights: `step` elements apart
  int64_t step = 0;
  const float* row = nullptr;  // rows of the source: `lines` lines each, then `jump` elements on
  int64_t lines = 1, jump = 0;
  // Results that are soon written, and what is added to them: two lines a row.
  const float *out = nullptr, *residual = nullptr;
  int64_t out_rows = 0, out_stride = 0;
  float* copy = nullptr;  // where a copying tile leaves b, a tile's columns a term
};
constexpr int64_t kTermsToCome = 24;  // how far ahead a copying tile fetches what it reads

// y = activation(sums [+ partial] + bias [+ residual]); partial sums lie as a tile does.
struct PointwiseEnd {
  float* partial;  // of the blocks before this one, and where the sums go if it is not the last
  bool first, last;
  const float* bias;      // a row, -0 if there is none, which changes no bit
  const float* residual;  // like y, or null
  float* y;
  int64_t y_stride;
  float lowest, highest;  // what the activation lets pass
};

template <int kRows, int kVectors, bool kCopy>
[[gnu::noinline]] void pointwise_tile(int64_t depth, const float* a, int64_t a_stride, const float* b, int64_t b_stride,
                                      const Fetches& fetch, const PointwiseEnd& end) {
  constexpr int kLanes = Simd<float>::lanes;
  constexpr int64_t kLine = 64 / sizeof(float);
  using V = typename Simd<float>::V;
  V sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int m = 0; m < kRows; m++)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; v++) sums[m][v] = splat<float>(0);
  float* copy = fetch.copy;
  const auto term = [&]() __attribute__((always_inline)) {
    V row[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; v++) row[v] = load(b + v * kLanes);
    if constexpr (kCopy) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; v++) {
        store(copy + v * kLanes, row[v]);
        if (v * kLanes % kLine == 0) __builtin_prefetch(b + kTermsToCome * b_stride + v * kLanes);
      }
      copy += kVectors * kLanes;
    }
#pragma GCC unroll 16
    for (int m = 0; m < kRows; m++) {
      const auto factor = set1(a[m]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; v++) sums[m][v] = fma(factor, row[v], sums[m][v]);
    }
    a += a_stride;
    b += b_stride;
  };
  const float* line = fetch.line ? fetch.line : b;
  const float* row = fetch.row ? fetch.row : b;
  const float* out = fetch.out ? fetch.out : b;
  const int64_t to_residual = fetch.residual ? fetch.residual - fetch.out : 0;
  const int64_t step = fetch.step, lines = fetch.lines, jump = fetch.jump - lines * kLine;
  const int64_t out_stride = fetch.out_stride;
  int64_t left = lines, k = depth, out_left = fetch.out_rows;
  for (; k >= kAheadTerms<float>; k -= kAheadTerms<float>) {
    __builtin_prefetch(line, 0, 2);
    line += step;
    __builtin_prefetch(row, 0, 2);
    row += kLine;
    if (--left == 0) {
      left = lines;
      row += jump;
    }
    if (out_left > 0) {
      out_left--;
      __builtin_prefetch(out, 1, 3);
      __builtin_prefetch(out + kLine, 1, 3);
      __builtin_prefetch(out + to_residual, 0, 3);
      __builtin_prefetch(out + to_residual + kLine, 0, 3);
      out += out_stride;
    }
#pragma GCC unroll 4
    for (int i = 0; i < kAheadTerms<float>; i++) term();
  }
  for (; k > 0; k--) term();
  if (!end.first)
#pragma GCC unroll 16
    for (int m = 0; m < kRows; m++)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; v++) sums[m][v] = load(end.partial + (m * kVectors + v) * kLanes) + sums[m][v];
  if (!end.last) {
#pragma GCC unroll 16
    for (int m = 0; m < kRows; m++)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; v++) store(end.partial + (m * kVectors + v) * kLanes, sums[m][v]);
    return;
  }
  const V low = set1(end.lowest), high = set1(end.highest);
  float* const y = end.y;
  const int64_t y_stride = end.y_stride;
  if (end.residual) {
    const int64_t added = end.residual - y;
#pragma GCC unroll 16
    for (int m = 0; m < kRows; m++) {
      const V bias = set1(end.bias[m]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; v++) {
        float* const to = y + m * y_stride + v * kLanes;
        store(to, min(high, max(low, sums[m][v] + bias + load(to + added))));
      }
    }
  } else {
#pragma GCC unroll 16
    for (int m = 0; m < kRows; m++) {
      const V bias = set1(end.bias[m]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; v++) store(y + m * y_stride + v * kLanes, min(high, max(low, sums[m][v] + bias)));
    }
  }
}

using PointwiseTile = void (*)(int64_t, const float*, int64_t, const float*, int64_t, const Fetches&,
                               const PointwiseEnd&);
// For panels of tile_rows / 2 rows or more.
template <bool kCopy = false, int kRows = Simd<float>::tile_rows>
PointwiseTile find_pointwise_tile(int64_t rows, bool narrow) {
  if constexpr (kRows > Simd<float>::tile_rows / 2)
    if (rows < kRows) return find_pointwise_tile<kCopy, kRows - 1>(rows, narrow);
  return narrow ? pointwise_tile<kRows, 1, kCopy> : pointwise_tile<kRows, Simd<float>::tile_vectors, kCopy>;
}

}  // namespace
}  // namespace xcorr
