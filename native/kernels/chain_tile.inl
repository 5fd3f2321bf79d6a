// The register tile whose operands both have strides of their own, for one product or the sum of several.
#pragma once
#include "gemm_tile.inl"

namespace xcorr {
namespace {

// The sum of several products in one chain: element k of row m of a term at a[k * a_stride + m], its partners from
// b[k * b_stride] on.
struct ChainTerm {
  const float *a, *b;
};
struct Chain {
  int terms = 0;
  ChainTerm term[4];
  int64_t depth, a_stride, b_stride;  // of each term
  const float* ahead = nullptr;       // lines to fetch meanwhile, in steps of so many floats
  int64_t ahead_step = 16;
};
template <int kRows, int kVectors, bool kAhead>
[[gnu::noinline]] void chain_tile(const Chain& chain, const TileEnd<float>& end) {
  using V = Simd<float>::V;
  V sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int m = 0; m < kRows; m++)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; v++) sums[m][v] = set1(0.0f);
  const int64_t a_stride = chain.a_stride, b_stride = chain.b_stride;
  const float* ahead = chain.ahead;
  const int64_t ahead_step = chain.ahead_step;
  for (int i = 0; i < chain.terms; i++) {
    const float *a = chain.term[i].a, *b = chain.term[i].b;
    for (int64_t k = 0; k < chain.depth; k++, a += a_stride, b += b_stride) {
      if (kAhead) {
        __builtin_prefetch(ahead, 0, 2);
        ahead += ahead_step;
      }
      V row[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; v++) row[v] = load(b + v * Simd<float>::lanes);
#pragma GCC unroll 16
      for (int m = 0; m < kRows; m++) {
        const V factor = set1(a[m]);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) sums[m][v] = fma(factor, row[v], sums[m][v]);
      }
    }
  }
  end_tile<float, kRows, kVectors>(sums, end);
}
using ChainTile = void (*)(const Chain&, const TileEnd<float>&);
// The tile for so many rows; narrow: with columns for one vector.
template <bool kAhead = false, int kRows = Simd<float>::tile_rows>
ChainTile find_chain_tile(int64_t rows, bool narrow) {
  if constexpr (kRows > 1)
    if (rows < kRows) return find_chain_tile<kAhead, kRows - 1>(rows, narrow);
  return narrow ? chain_tile<kRows, 1, kAhead> : chain_tile<kRows, Simd<float>::tile_vectors, kAhead>;
}

}  // namespace
}  // namespace xcorr
