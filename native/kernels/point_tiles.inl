// The products of all points of a Winograd transform, for one panel of output channels and one of tiles.
//
// Few channels make short products, and what surrounds one costs as much as the product: so the points are a loop in
// here. Every step over the channels fetches a line of what comes next.
#pragma once
#include "gemm_tile.inl"
#include "lines_to_come.inl"

namespace xcorr {
namespace {

// to[point][row][columns] = a[point][depth][rows]^T * b[point][depth][columns].
struct PointProducts {
  int64_t points, depth, columns;
  const float* a;
  int64_t a_point;
  const float* b;
  int64_t b_point;
  float* to;
  int64_t to_point;
};

template <int kRows, int kVectors>
[[gnu::noinline]] void point_tiles(const PointProducts& p, LinesToCome& ahead) {
  using V = Simd<float>::V;
  constexpr int64_t kLanes = Simd<float>::lanes;
  const int64_t b_stride = p.columns, depth = p.depth;
  for (int64_t point = 0; point < p.points; point++)
    for (int64_t column = 0; column < p.columns; column += kVectors * kLanes) {
      const float *a = p.a + point * p.a_point, *b = p.b + point * p.b_point + column;
      const float* line = ahead.next(depth * kFloatsAhead, a);
      V sums[kRows][kVectors];
#pragma GCC unroll 16
      for (int m = 0; m < kRows; m++)
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) sums[m][v] = set1(0.0f);
      for (int64_t k = depth; k > 0; k--, a += kRows, b += b_stride, line += kFloatsAhead) {
        __builtin_prefetch(line, 0, 2);
        V row[kVectors];
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) row[v] = load(b + v * kLanes);
#pragma GCC unroll 16
        for (int m = 0; m < kRows; m++) {
          const V factor = set1(a[m]);
#pragma GCC unroll 4
          for (int v = 0; v < kVectors; v++) sums[m][v] = fma(factor, row[v], sums[m][v]);
        }
      }
      float* const to = p.to + point * p.to_point + column;
#pragma GCC unroll 16
      for (int m = 0; m < kRows; m++)
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) store(to + m * b_stride + v * kLanes, sums[m][v]);
    }
}

using PointTiles = void (*)(const PointProducts&, LinesToCome&);
template <int kRows, int kVectors>
PointTiles find_point_tiles(int64_t rows) {
  if constexpr (kRows > 1)
    if (rows < kRows) return find_point_tiles<kRows - 1, kVectors>(rows);
  return point_tiles<kRows, kVectors>;
}

}  // namespace
}  // namespace xcorr
