// Transposes in registers and the packing of gemm's operands.
#pragma once
#include "gemm_tile.inl"

namespace xcorr {
namespace {

// a and b hold rows i and i + kStep of square blocks of 2 * kStep: exchanges the blocks' off-diagonal quarters.
#define XCORR_LOW(l) ((l)&kStep ? N + (l)-kStep : (l))
#define XCORR_HIGH(l) ((l)&kStep ? N + (l) : (l) + kStep)
#define XCORR_LANES2(f) f(0), f(1)
#define XCORR_LANES4(f) XCORR_LANES2(f), f(2), f(3)
#define XCORR_LANES8(f) XCORR_LANES4(f), f(4), f(5), f(6), f(7)
#define XCORR_LANES16(f) XCORR_LANES8(f), f(8), f(9), f(10), f(11), f(12), f(13), f(14), f(15)
#define XCORR_EXCHANGE(n)                                             \
  if constexpr (N == n) {                                             \
    low = __builtin_shufflevector(a, b, XCORR_LANES##n(XCORR_LOW));   \
    high = __builtin_shufflevector(a, b, XCORR_LANES##n(XCORR_HIGH)); \
  }
template <int N, int kStep, class V>
XCORR_INLINE void exchange(V& a, V& b) {
  V low, high;
  XCORR_EXCHANGE(2) XCORR_EXCHANGE(4) XCORR_EXCHANGE(8) XCORR_EXCHANGE(16) a = low;
  b = high;
}

// Transposes the square blocks of kCount x kCount that kCount vectors hold side by side (one block if kCount = N).
template <int N, int kCount, int kStep = kCount / 2, class V>
XCORR_INLINE void transpose_blocks(V (&rows)[kCount]) {
  if constexpr (kStep > 0) {
#pragma GCC unroll 16
    for (int i = 0; i < kCount; i++)
      if ((i & kStep) == 0) exchange<N, kStep>(rows[i], rows[i + kStep]);
    transpose_blocks<N, kCount, kStep / 2>(rows);
  }
}

// 16 bytes each of every so many rows, from element `at` on.
template <class T, class Rows>
XCORR_INLINE auto load_pieces_of(const Rows& row, int r, int64_t at) {
  constexpr int N = Simd<T>::lanes, kPiece = 16 / sizeof(T);
  if constexpr (N == kPiece)
    return load(row(r) + at);
  else if constexpr (N == 2 * kPiece)
    return load_pieces(row(r) + at, row(r + kPiece) + at);
  else
    return load_pieces(row(r) + at, row(r + kPiece) + at, row(r + 2 * kPiece) + at, row(r + 3 * kPiece) + at);
}

// Columns [0, columns), N or more, of N rows of which the first `width` are wanted. Pieces of a row go where they
// belong as they are loaded, which takes half of the exchanges. The last block overlaps the one before it.
template <class T, class Rows>
XCORR_INLINE void transpose_rows(const Rows& row, int64_t columns, T* to, int64_t to_stride, int width) {
  constexpr int N = Simd<T>::lanes, kPiece = 16 / sizeof(T);
  for (int64_t next = 0; next < columns; next += N) {
    const int64_t j = smaller(next, columns - N);
#pragma GCC unroll 4
    for (int piece = 0; piece < N; piece += kPiece) {
      typename Simd<T>::V block[kPiece];
#pragma GCC unroll 4
      for (int r = 0; r < kPiece; r++) block[r] = load_pieces_of<T>(row, r, j + piece);
      transpose_blocks<N, kPiece>(block);
#pragma GCC unroll 4
      for (int r = 0; r < kPiece; r++) {
        T* const out = to + (j + piece + r) * to_stride;
        if (width == N)
          store(out, block[r]);
        else
          store_partial(out, block[r], width);
      }
    }
  }
}

// to[j * to_stride + i] = from[i * from_stride + j] for i < rows, j < columns; for rows <= i < filled rows, 0.
template <class T>
[[gnu::noinline]] void transpose_matrix(const T* from, int64_t from_stride, int64_t rows, int64_t columns, T* to,
                                        int64_t to_stride, int64_t filled_rows) {
  constexpr int N = Simd<T>::lanes;
  for (int64_t i = 0; i < filled_rows; i += N) {
    const int64_t height = smaller(N, rows - i);
    const int width = int(smaller(N, filled_rows - i));
    const T* const first = from + i * from_stride;
    if (columns >= N && width == N && height == N) {
      transpose_rows<T>(
          [&](int r) __attribute__((always_inline)) { return first + r * from_stride; }, columns, to + i, to_stride, N);
      continue;
    }
    if (columns >= N && width > 2 && height >= width) {
      int64_t offset[N];
      for (int r = 0; r < N; r++) offset[r] = smaller(r, height - 1) * from_stride;
      transpose_rows<T>(
          [&](int r) __attribute__((always_inline)) { return first + offset[r]; }, columns, to + i, to_stride, width);
      continue;
    }
    for (int64_t j = 0; j < columns; j += N) {
      const int length = int(smaller(N, columns - j));
      if (smaller(width, length) <= 2) {  // not worth the shuffles
        for (int r = 0; r < length; r++)
          for (int64_t c = 0; c < width; c++)
            to[(j + r) * to_stride + i + c] = c < height ? from[(i + c) * from_stride + j + r] : T(0);
        continue;
      }
      typename Simd<T>::V block[N];
#pragma GCC unroll 16
      for (int r = 0; r < N; r++)
        block[r] = r < height ? load_partial(from + (i + r) * from_stride + j, length) : splat<T>(0);
      transpose_blocks<N, N>(block);
#pragma GCC unroll 16
      for (int r = 0; r < N; r++)
        if (r < length) store_partial(to + (j + r) * to_stride + i, block[r], width);
    }
  }
}

// to[i] = sums[i].sum() for several sums at a time: the same tree, its steps down the columns of a transposed block.
template <class T, int kCount>
XCORR_INLINE void sum_each(const Wide<T>* sums, T* to) {
  constexpr int N = Simd<T>::lanes, kVectors = Wide<T>::vectors;
  if constexpr (kCount % N != 0) {
    for (int i = 0; i < kCount; i++) to[i] = sums[i].sum();
  } else {
    for (int group = 0; group < kCount; group += N) {
      typename Simd<T>::V block[N];
#pragma GCC unroll 16
      for (int i = 0; i < N; i++) {
        typename Simd<T>::V folded[kVectors];
        for (int v = 0; v < kVectors; v++) folded[v] = sums[group + i].v[v];
        for (int half = kVectors / 2; half > 0; half /= 2)
          for (int v = 0; v < half; v++) folded[v] = folded[v] + folded[v + half];
        block[i] = folded[0];
      }
      transpose_blocks<N, N>(block);
#pragma GCC unroll 4
      for (int half = N / 2; half > 0; half /= 2)
#pragma GCC unroll 8
        for (int i = 0; i < half; i++) block[i] = block[i] + block[i + half];
      store(to + group, block[0]);
    }
  }
}

// Every second of the lanes of a and b, from the first or the second on.
#define XCORR_EVEN(l) (2 * (l))
#define XCORR_ODD(l) (2 * (l) + 1)
#define XCORR_SECONDS(n)                                                  \
  if constexpr (N == n)                                                   \
    return odd ? __builtin_shufflevector(a, b, XCORR_LANES##n(XCORR_ODD)) \
               : __builtin_shufflevector(a, b, XCORR_LANES##n(XCORR_EVEN));
template <int N, class V>
XCORR_INLINE V every_second(V a, V b, bool odd) {
  XCORR_SECONDS(2) XCORR_SECONDS(4) XCORR_SECONDS(8) XCORR_SECONDS(16)
}

// The same in an order of lanes that in_order() undoes: on 32-byte vectors one shuffle within their halves does it, and
// what is computed lane by lane is put in order once.
template <int N, class V>
XCORR_INLINE V every_second_unordered(V a, V b, bool odd) {
  if constexpr (sizeof(V) == 32 && N == 8)
    return odd ? __builtin_shufflevector(a, b, 1, 3, 9, 11, 5, 7, 13, 15)
               : __builtin_shufflevector(a, b, 0, 2, 8, 10, 4, 6, 12, 14);
  else if constexpr (sizeof(V) == 32)
    return odd ? __builtin_shufflevector(a, b, 1, 5, 3, 7) : __builtin_shufflevector(a, b, 0, 4, 2, 6);
  else
    return every_second<N>(a, b, odd);
}
template <int N, class V>
XCORR_INLINE V in_order(V v) {
  if constexpr (sizeof(V) == 32 && N == 8)
    return __builtin_shufflevector(v, v, 0, 1, 4, 5, 2, 3, 6, 7);
  else if constexpr (sizeof(V) == 32)
    return __builtin_shufflevector(v, v, 0, 2, 1, 3);
  else
    return v;
}

// The lanes of a and b in turns: the first half or, from the middle of a and b on, the second.
#define XCORR_FIRST_HALF(l) (l) / 2 + (l) % 2 * N
#define XCORR_SECOND_HALF(l) N / 2 + (l) / 2 + (l) % 2 * N
#define XCORR_IN_TURNS(n)                                                            \
  if constexpr (N == n)                                                              \
    return second ? __builtin_shufflevector(a, b, XCORR_LANES##n(XCORR_SECOND_HALF)) \
                  : __builtin_shufflevector(a, b, XCORR_LANES##n(XCORR_FIRST_HALF));
template <int N, class V>
XCORR_INLINE V in_turns(V a, V b, bool second) {
  XCORR_IN_TURNS(2) XCORR_IN_TURNS(4) XCORR_IN_TURNS(8) XCORR_IN_TURNS(16)
}

// Half a vector from each of two places, and to them.
template <int N, class T>
XCORR_INLINE auto load_halves(const T* low, const T* high) {
  typedef T Half __attribute__((vector_size(N / 2 * sizeof(T)), aligned(sizeof(T)), may_alias));
  const Half a = *reinterpret_cast<const Half*>(low), b = *reinterpret_cast<const Half*>(high);
#define XCORR_SAME_LANE(l) (l)
#define XCORR_BOTH_HALVES(n) \
  if constexpr (N == n) return __builtin_shufflevector(a, b, XCORR_LANES##n(XCORR_SAME_LANE));
  XCORR_BOTH_HALVES(4) XCORR_BOTH_HALVES(8) XCORR_BOTH_HALVES(16)
}
#define XCORR_UPPER_LANE4(l) ((l) + 4)
#define XCORR_UPPER_LANE8(l) ((l) + 8)
template <int N, class T, class V>
XCORR_INLINE void store_halves(T* low, T* high, V v) {
  typedef T Half __attribute__((vector_size(N / 2 * sizeof(T)), aligned(sizeof(T)), may_alias));
  if constexpr (N == 4) {
    *reinterpret_cast<Half*>(low) = __builtin_shufflevector(v, v, 0, 1);
    *reinterpret_cast<Half*>(high) = __builtin_shufflevector(v, v, 2, 3);
  } else if constexpr (N == 8) {
    *reinterpret_cast<Half*>(low) = __builtin_shufflevector(v, v, XCORR_LANES4(XCORR_SAME_LANE));
    *reinterpret_cast<Half*>(high) = __builtin_shufflevector(v, v, XCORR_LANES4(XCORR_UPPER_LANE4));
  } else {
    *reinterpret_cast<Half*>(low) = __builtin_shufflevector(v, v, XCORR_LANES8(XCORR_SAME_LANE));
    *reinterpret_cast<Half*>(high) = __builtin_shufflevector(v, v, XCORR_LANES8(XCORR_UPPER_LANE8));
  }
}

// Lanes 1, 2, ... and lane 0 last.
#define XCORR_NEXT_LANE(l) (((l) + 1) % N)
#define XCORR_NEXT_LANES(n) \
  if constexpr (N == n) return __builtin_shufflevector(a, a, XCORR_LANES##n(XCORR_NEXT_LANE));
template <int N, class V>
XCORR_INLINE V next_lanes(V a) {
  XCORR_NEXT_LANES(2) XCORR_NEXT_LANES(4) XCORR_NEXT_LANES(8) XCORR_NEXT_LANES(16)
}

// The last lane first, then lanes 0, 1, ...
#define XCORR_LANE_BEFORE(l) (((l) + N - 1) % N)
#define XCORR_LANES_BEFORE(n) \
  if constexpr (N == n) return __builtin_shufflevector(a, a, XCORR_LANES##n(XCORR_LANE_BEFORE));
template <int N, class V>
XCORR_INLINE V previous_lanes(V a) {
  XCORR_LANES_BEFORE(2) XCORR_LANES_BEFORE(4) XCORR_LANES_BEFORE(8) XCORR_LANES_BEFORE(16)
}

// The same among the things that transposed blocks of kCount x kCount hold: thing i * (N / kCount) + j is in lane
// j * kCount + i.
#define XCORR_THING_AFTER(l) ((l) < N - kCount ? (l) + kCount : ((l) - (N - kCount) + 1) % kCount)
#define XCORR_THING_BEFORE(l) ((l) >= kCount ? (l)-kCount : (l) > 0 ? N - kCount - 1 + (l) : N - 1)
#define XCORR_THINGS_AFTER(n) \
  if constexpr (N == n) return __builtin_shufflevector(a, a, XCORR_LANES##n(XCORR_THING_AFTER));
#define XCORR_THINGS_BEFORE(n) \
  if constexpr (N == n) return __builtin_shufflevector(a, a, XCORR_LANES##n(XCORR_THING_BEFORE));
template <int N, int kCount, class V>
XCORR_INLINE V next_of_blocks(V a) {
  XCORR_THINGS_AFTER(4) XCORR_THINGS_AFTER(8) XCORR_THINGS_AFTER(16)
}
template <int N, int kCount, class V>
XCORR_INLINE V previous_of_blocks(V a) {
  XCORR_THINGS_BEFORE(4) XCORR_THINGS_BEFORE(8) XCORR_THINGS_BEFORE(16)
}

// to[k * to_stride + j] = from[k * from_stride + j] for j < columns, 0 for columns <= j < filled_columns.
template <class T>
XCORR_INLINE void copy_rows(const T* from, int64_t from_stride, int64_t rows, int64_t columns, T* to, int64_t to_stride,
                            int64_t filled_columns) {
  constexpr int N = Simd<T>::lanes;
  for (int64_t k = 0; k < rows; k++)
    for (int64_t j = 0; j < filled_columns; j += N) {
      const int64_t n = columns - j;
      const auto v = n >= N  ? load(from + k * from_stride + j)
                     : n > 0 ? load_partial(from + k * from_stride + j, int(n))
                             : splat<T>(0);
      const int64_t width = filled_columns - j;
      if (width >= N)
        store(to + k * to_stride + j, v);
      else
        store_partial(to + k * to_stride + j, v, int(width));
    }
}

}  // namespace
}  // namespace xcorr
