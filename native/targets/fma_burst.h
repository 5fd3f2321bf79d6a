// The yardstick of the bench: how fast this core multiplies and adds right now.
//
// gemm's register tile over operands that stay in the first-level cache. It loads as well as it multiplies, because a
// loop over registers alone does not notice a neighbour on the same core.
#pragma once

namespace xcorr {
namespace {

constexpr int kBurstDepth = 64;  // (14 + 32) * 64 * 4 bytes = 12 KB on the widest target

// `rounds` tiles of float32; returns how many multiplications and additions they took. The sums go to `sink`, so that
// they are not left out; it takes kVectorBytes.
int64_t fma_burst(int64_t rounds, float* sink) {
  typedef Simd<float> S;
  alignas(64) float a[kBurstDepth * S::tile_rows];
  alignas(64) float b[kBurstDepth * S::tile_vectors * S::lanes];
  for (int i = 0; i < kBurstDepth * S::tile_rows; i++) a[i] = 0.001f * float(i % 7);
  for (int i = 0; i < kBurstDepth * S::tile_vectors * S::lanes; i++) b[i] = 0.001f * float(i % 5);
  S::V total = splat<float>(0);
  for (int64_t round = 0; round < rounds; round++) {
    __asm__ volatile("" : : "r"(a), "r"(b) : "memory");  // the operands may have changed: no round is left out
    S::V sums[S::tile_rows][S::tile_vectors];
#pragma GCC unroll 16
    for (int m = 0; m < S::tile_rows; m++)
#pragma GCC unroll 4
      for (int v = 0; v < S::tile_vectors; v++) sums[m][v] = splat<float>(0);
    for (int k = 0; k < kBurstDepth; k++) {
      S::V row[S::tile_vectors];
#pragma GCC unroll 4
      for (int v = 0; v < S::tile_vectors; v++) row[v] = load(b + (k * S::tile_vectors + v) * S::lanes);
#pragma GCC unroll 16
      for (int m = 0; m < S::tile_rows; m++) {
        const S::V factor = set1(a[k * S::tile_rows + m]);
#pragma GCC unroll 4
        for (int v = 0; v < S::tile_vectors; v++) sums[m][v] = fma(factor, row[v], sums[m][v]);
      }
    }
#pragma GCC unroll 16
    for (int m = 0; m < S::tile_rows; m++)
#pragma GCC unroll 4
      for (int v = 0; v < S::tile_vectors; v++) total = total + sums[m][v];
  }
  store(sink, total);
  return rounds * 2 * kBurstDepth * S::tile_rows * S::tile_vectors * S::lanes;
}

}  // namespace
}  // namespace xcorr
