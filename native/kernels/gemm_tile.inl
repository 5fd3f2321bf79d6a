// The register tile: c[rows][columns] = a[rows][depth] * b[depth][columns], every sum one chain of fma over the depth.
//
// Elements of a are broadcast, rows of b are loaded as vectors; the lanes are independent outputs, so neither the
// tile's size nor the vector's width can change a bit of the result. 14x32 on AVX-512 and 6x16 on AVX2 keep two fma
// units busy out of registers (0.95 of peak and more); every smaller number of rows exists too, so that rows are split
// into equal panels (64 = 13+13+13+13+12) and nothing is padded.
#pragma once

namespace xcorr {
namespace {

template <class T>
constexpr int kTileColumns = Simd<T>::tile_vectors * Simd<T>::lanes;

// `count` things in `parts` parts whose sizes differ by at most one, the larger ones first.
struct Split {
  int64_t count, parts;
  int64_t start(int64_t i) const {
    const int64_t rest = count % parts;
    return i * (count / parts) + (i < rest ? i : rest);
  }
  int64_t size(int64_t i) const { return count / parts + (i < count % parts); }
};
// The same with the larger parts among the others, so that as many neighbours hold as many things: what a thread owns.
struct Spread {
  int64_t count, parts;
  int64_t start(int64_t i) const { return i * count / parts; }
  int64_t size(int64_t i) const { return start(i + 1) - start(i); }
};
XCORR_INLINE int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
XCORR_INLINE int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }
XCORR_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
XCORR_INLINE int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
XCORR_INLINE Split split_evenly(int64_t count, int64_t largest) { return {count, larger(1, ceil_div(count, largest))}; }
template <class T>
XCORR_INLINE Split row_panels(int64_t rows) {
  return split_evenly(rows, Simd<T>::tile_rows);
}

// The reduction is cut into equal blocks of at most 384 terms, each a chain from zero, added in order: more exact than
// one chain, and a block of b's panel stays in the first-level cache. The same on every target: it decides the
// rounding.
XCORR_INLINE Split depth_blocks(int64_t depth) { return split_evenly(depth, 384); }

// What becomes of a finished tile: c = activation(sums [+ partial] [+ row_bias] [+ column_bias] [+ residual]).
template <class T>
struct TileEnd {
  T* c;
  int64_t c_stride;
  int64_t columns;   // how many of the tile's columns exist
  const T* partial;  // sums of the earlier blocks of the reduction, or null
  int64_t partial_stride;
  const T* row_bias = nullptr;  // one a row, or null
  const T* column_bias = nullptr;
  const T* residual = nullptr;  // laid out as c, or null
  int64_t activation = activation::none;
};

// What a caller needs next, fetched while a tile is computed, every kAheadTerms terms: into the second-level cache the
// line at `line`, `step` elements apart; every `apart` times that `burst` lines of rows that are `lines` long and
// `jump` elements apart, of which `left` are left in the first one; a row of results that will be written. Branches are
// taken evenly or not at all: one that is mispredicted costs as much as three terms. Evenly too because the core waits
// for about 16 lines at a time: the tile's own, out of the second-level cache, stand in line with those out of memory.
template <class T>
constexpr int kAheadTerms = Simd<T>::tile_rows * Simd<T>::tile_vectors >= 20 ? 2 : 4;  // 24 fma or more
template <class T>
struct Ahead {
  const T* line = nullptr;
  int64_t step = 0;
  const T* row = nullptr;  // packed tiles move it and `left` on
  int64_t left = 1, lines = 1, jump = 0, burst = 1, apart = 1;
  int64_t fetched = 0;  // by a packed tile: lines of rows
  int64_t due = 0;      // lines of all of the tile's rows
  const T* out = nullptr;
  int64_t out_stride = 0;
};

// Takes the rows of an Ahead in steps; without rows it stays at `here`, which is at hand.
template <class T>
class RowsAhead {
 public:
  XCORR_MEMBER RowsAhead(const Ahead<T>& ahead, const T* here)
      : row_(ahead.row ? ahead.row : here),
        line_(ahead.row ? kLine : 0),
        left_(ahead.left),
        lines_(ahead.lines),
        jump_(ahead.row ? ahead.jump - ahead.lines * kLine : 0),
        burst_(ahead.burst) {}
  // Now and then, when nobody foresees where a row ends.
  XCORR_MEMBER void fetch() {
    fetched_ += burst_;
    for (int64_t i = 0; i < burst_; i++) {
      __builtin_prefetch(row_, 0, 2);
      const int64_t row_ends = -int64_t(--left_ == 0);
      row_ += line_ + (jump_ & row_ends);
      left_ += lines_ & row_ends;
    }
  }
  // In every step.
  XCORR_MEMBER void fetch_often() {
    fetched_ += burst_;
    for (int64_t i = 0; i < burst_; i++) {
      __builtin_prefetch(row_, 0, 2);
      row_ += line_;
      if (--left_ > 0) continue;
      left_ = lines_;
      row_ += jump_;
    }
  }
  XCORR_MEMBER void leave(Ahead<T>& ahead) const {
    if (!ahead.row) return;
    ahead.row = row_;
    ahead.left = left_;
    ahead.fetched = fetched_;
  }

 private:
  static constexpr int64_t kLine = 64 / sizeof(T);
  const T* row_;
  int64_t line_, left_, lines_, jump_, burst_, fetched_ = 0;
};

template <class T>
XCORR_INLINE auto activate(typename Simd<T>::V x, int64_t code) {
  if (code == activation::none) return x;
  x = max(splat<T>(0), x);  // this order keeps NaN
  return code == activation::relu6 ? min(splat<T>(6), x) : x;
}

// The epilogue of `rows` x `end.columns` sums that lie at `sums`.
template <class T>
[[gnu::noinline]] void finish_tile(const T* sums, int64_t sums_stride, int64_t rows, const TileEnd<T>& end) {
  for (int64_t m = 0; m < rows; m++) {
    const auto row_bias = end.row_bias ? set1(end.row_bias[m]) : splat<T>(0);
    for (int64_t j = 0; j < end.columns; j += Simd<T>::lanes) {
      const int64_t at = m * end.c_stride + j;
      const int n = int(smaller(Simd<T>::lanes, end.columns - j));
      const auto read = [n](const T* p) __attribute__((always_inline)) {
        return n == Simd<T>::lanes ? load(p) : load_partial(p, n);
      };
      auto x = read(sums + m * sums_stride + j);
      if (end.partial) x = read(end.partial + m * end.partial_stride + j) + x;
      if (end.row_bias) x = x + row_bias;
      if (end.column_bias) x = x + read(end.column_bias + j);
      if (end.residual) x = x + read(end.residual + at);
      x = activate<T>(x, end.activation);
      if (n == Simd<T>::lanes)
        store(end.c + at, x);
      else
        store_partial(end.c + at, x, n);
    }
  }
}

// The epilogue of a whole tile without a bias a column, in registers: the same additions as in finish_tile.
template <class T, int kRows, int kVectors>
XCORR_INLINE void finish_in_registers(const typename Simd<T>::V (&sums)[kRows][kVectors], const TileEnd<T>& end) {
  constexpr int64_t kLanes = Simd<T>::lanes;
  typename Simd<T>::V x[kRows][kVectors];
  const auto each = [&](const auto& change) __attribute__((always_inline)) {
#pragma GCC unroll 16
    for (int m = 0; m < kRows; m++)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; v++) change(m, v);
  };
  each([&](int m, int v) __attribute__((always_inline)) { x[m][v] = sums[m][v]; });
  if (end.partial)
    each([&](int m, int v) __attribute__((always_inline)) {
      x[m][v] = load(end.partial + m * end.partial_stride + v * kLanes) + x[m][v];
    });
  if (end.row_bias)
    each([&](int m, int v) __attribute__((always_inline)) { x[m][v] = x[m][v] + set1(end.row_bias[m]); });
  if (end.residual)
    each([&](int m, int v) __attribute__((always_inline)) {
      x[m][v] = x[m][v] + load(end.residual + m * end.c_stride + v * kLanes);
    });
  if (end.activation != activation::none)
    each([&](int m, int v) __attribute__((always_inline)) { x[m][v] = max(splat<T>(0), x[m][v]); });
  if (end.activation == activation::relu6)
    each([&](int m, int v) __attribute__((always_inline)) { x[m][v] = min(splat<T>(6), x[m][v]); });
  each([&](int m, int v) __attribute__((always_inline)) { store(end.c + m * end.c_stride + v * kLanes, x[m][v]); });
}

// Stores tiles without an epilogue and large whole ones straight from registers, all others by way of the stack.
template <class T, int kRows, int kVectors>
XCORR_INLINE void end_tile(const typename Simd<T>::V (&sums)[kRows][kVectors], const TileEnd<T>& end) {
  const bool plain = !end.row_bias && !end.column_bias && !end.residual && !end.activation;
  if (plain && !end.partial && end.columns > (kVectors - 1) * Simd<T>::lanes &&
      end.columns < kVectors * Simd<T>::lanes) {
#pragma GCC unroll 16
    for (int m = 0; m < kRows; m++) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors - 1; v++) store(end.c + m * end.c_stride + v * Simd<T>::lanes, sums[m][v]);
      store_partial(end.c + m * end.c_stride + (kVectors - 1) * Simd<T>::lanes, sums[m][kVectors - 1],
                    int(end.columns - (kVectors - 1) * Simd<T>::lanes));
    }
    return;
  }
  if (end.columns == kVectors * Simd<T>::lanes && !end.row_bias && !end.column_bias && !end.residual &&
      !end.activation) {
    if (!end.partial) {
#pragma GCC unroll 16
      for (int m = 0; m < kRows; m++)
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) store(end.c + m * end.c_stride + v * Simd<T>::lanes, sums[m][v]);
    } else {
#pragma GCC unroll 16
      for (int m = 0; m < kRows; m++)
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++)
          store(end.c + m * end.c_stride + v * Simd<T>::lanes,
                load(end.partial + m * end.partial_stride + v * Simd<T>::lanes) + sums[m][v]);
    }
    return;
  }
  if constexpr (kRows > Simd<T>::tile_rows / 2 && kVectors == Simd<T>::tile_vectors)
    if (end.columns == kVectors * Simd<T>::lanes && !end.column_bias)
      return finish_in_registers<T, kRows, kVectors>(sums, end);
  alignas(64) T spilled[kRows * kVectors * Simd<T>::lanes];
#pragma GCC unroll 16
  for (int m = 0; m < kRows; m++)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; v++) store(spilled + (m * kVectors + v) * Simd<T>::lanes, sums[m][v]);
  finish_tile<T>(spilled, kVectors * Simd<T>::lanes, kRows, end);
}

template <class V>
XCORR_INLINE V add_product(V sum, V a, V b) {
  return fma(a, b, sum);
}

// One term; kCopy: b's row goes to `copy` as well, and a row to come is fetched: rows that are far apart arrive one by
// one, as late as the second-level cache or memory has them.
constexpr int64_t kRowsToCome = 24;
template <class T, int kRows, int kVectors, bool kCopy>
XCORR_INLINE void packed_term(typename Simd<T>::V (&sums)[kRows][kVectors], const T* a, const T* b, T* copy,
                              const T* to_come) {
  constexpr int64_t kWidth = kVectors * Simd<T>::lanes, kLine = 64 / sizeof(T);
  if (kCopy)
#pragma GCC unroll 4
    for (int64_t v = 0; v < kWidth; v += kLine) __builtin_prefetch(to_come + v, 0, 3);
  typename Simd<T>::V row[kVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; v++) {
    row[v] = load(b + v * Simd<T>::lanes);
    if (kCopy) store(copy + v * Simd<T>::lanes, row[v]);
  }
#pragma GCC unroll 16
  for (int m = 0; m < kRows; m++) {
    const auto factor = set1(a[m]);
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; v++) sums[m][v] = add_product(sums[m][v], factor, row[v]);
  }
}

// Some terms at a time, prefetching.
template <class T, int kRows, int kVectors, bool kAhead, bool kCopy>
XCORR_INLINE void packed_terms(int64_t depth, const T* a, const T* b, int64_t b_stride, T* copy, Ahead<T>& ahead,
                               const TileEnd<T>& end) {
  constexpr int64_t kWidth = kVectors * Simd<T>::lanes, kLine = 64 / sizeof(T);
  typename Simd<T>::V sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int m = 0; m < kRows; m++)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; v++) sums[m][v] = splat<T>(0);
  int64_t steps = depth / kAheadTerms<T>;
  const T* const last = b + (depth - 1) * b_stride;
  const T* to_come = depth > kRowsToCome ? b + kRowsToCome * b_stride : last;
  const auto term = [&]() __attribute__((always_inline)) {
    packed_term<T, kRows, kVectors, kCopy>(sums, a, b, copy, to_come);
    if (kCopy) to_come = to_come == last ? last : to_come + b_stride;
    a += kRows;
    b += b_stride;
    if (kCopy) copy += kWidth;
  };
  const auto terms = [&]() __attribute__((always_inline)) {
#pragma GCC unroll 4
    for (int i = 0; i < kAheadTerms<T>; i++) term();
  };
  if constexpr (kAhead) {
    const T* line = ahead.line ? ahead.line : a;
    const T* out = ahead.out ? ahead.out : a;
    RowsAhead<T> rows(ahead, a);
    const int64_t line_step = ahead.step, out_stride = ahead.out_stride;
    const auto fetch_out = [&]() __attribute__((always_inline)) {
      __builtin_prefetch(out, 1, 3);
      if (kWidth > kLine) __builtin_prefetch(out + kLine, 1, 3);
      out += out_stride;
    };
    // So many lines at once, or a row in each of the first steps.
    constexpr bool kAtOnce = kRows * kWidth <= 12 * kLine;
    int64_t out_rows = kRows;
    if constexpr (kAtOnce) {
#pragma GCC unroll 16
      for (; out_rows > 0; out_rows--) fetch_out();
    }
    for (; out_rows > steps; out_rows--) fetch_out();
    const auto fetching_terms = [&]() __attribute__((always_inline)) {
      __builtin_prefetch(line, 0, 2);
      line += line_step;
      terms();
    };
    steps -= out_rows;
    const int64_t apart = ahead.apart;
    if (apart == 1) {
      for (; out_rows > 0; out_rows--) {
        fetch_out();
        rows.fetch_often();
        fetching_terms();
      }
      for (; steps > 0; steps--) {
        rows.fetch_often();
        fetching_terms();
      }
    } else {  // there is time enough for other rows after the results
      for (; out_rows > 0; out_rows--) {
        fetch_out();
        fetching_terms();
      }
      for (int64_t wait = apart; steps > 0; steps--) {
        if (--wait == 0) {
          wait = apart;
          rows.fetch();
        }
        fetching_terms();
      }
    }
    rows.leave(ahead);
  } else {
    for (; steps > 0; steps--) terms();
  }
  for (int64_t k = depth % kAheadTerms<T>; k > 0; k--) term();
  end_tile<T, kRows, kVectors>(sums, end);
}

// a packed as [depth][rows]; row k of b at b + k * b_stride.
template <class T, int kRows, int kVectors>
[[gnu::noinline]] void packed_tile(int64_t depth, const T* a, const T* b, int64_t b_stride, const TileEnd<T>& end) {
  Ahead<T> nothing;
  packed_terms<T, kRows, kVectors, false, false>(depth, a, b, b_stride, nullptr, nothing, end);
}
template <class T, int kRows, int kVectors>
[[gnu::noinline]] void prefetching_tile(int64_t depth, const T* a, const T* b, int64_t b_stride, Ahead<T>& ahead,
                                        const TileEnd<T>& end) {
  packed_terms<T, kRows, kVectors, true, false>(depth, a, b, b_stride, nullptr, ahead, end);
}
// Writes b as [depth][width] to `copy`: the first row panel of a product packs b as it goes by.
template <class T, int kRows>
[[gnu::noinline]] void copying_tile(int64_t depth, const T* a, const T* b, int64_t b_stride, T* copy, Ahead<T>& ahead,
                                    const TileEnd<T>& end) {
  packed_terms<T, kRows, Simd<T>::tile_vectors, true, true>(depth, a, b, b_stride, copy, ahead, end);
}

// a's rows where they lie, `a_row` elements apart and contiguous along the depth; b packed as [depth][width]. Rows are
// addressed from two pointers by multiples of a_row, which the address itself doubles: with a pointer a row the
// compiler moves some of them through vector registers, at the expense of the fma units.
template <class T, int kRows, int kVectors>
[[gnu::noinline]] void rows_tile(int64_t depth, const T* a, int64_t a_row, const T* b, const Ahead<T>& ahead,
                                 const TileEnd<T>& end) {
  constexpr int64_t kLine = 64 / sizeof(T), kTerms = 16;
  constexpr int kHalf = 7;
  typename Simd<T>::V sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int m = 0; m < kRows; m++)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; v++) sums[m][v] = splat<T>(0);
  // The lines that are due, evenly over the depth, and no more: what waits for memory keeps nearer lines waiting.
  const T* ahead_row = ahead.row;
  const int64_t lines = ahead.lines, jump = ahead.jump - lines * kLine;
  int64_t left = ahead.left, due = ahead.row ? ahead.due : 0;
  const int64_t burst = ceil_div(due, larger(1, depth / kTerms));
  int64_t row3 = 3 * a_row, row5 = 5 * a_row;
  __asm__("" : "+r"(row3), "+r"(row5));
  const T* second = a + kHalf * a_row;
  const T* const b_end = b + depth * kVectors * Simd<T>::lanes;
  while (b != b_end) {
    for (int64_t i = smaller(burst, due); i > 0; i--) {
      __builtin_prefetch(ahead_row, 0, 2);
      ahead_row += kLine;
      if (--left > 0) continue;
      left = lines;
      ahead_row += jump;
    }
    due -= burst;
    const T* const stop =
        b_end - b < kTerms * kVectors * Simd<T>::lanes ? b_end : b + kTerms * kVectors * Simd<T>::lanes;
    do {
      __asm__("" : "+r"(a), "+r"(second));
      typename Simd<T>::V row[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; v++) row[v] = load(b + v * Simd<T>::lanes);
#pragma GCC unroll 16
      for (int m = 0; m < kRows; m++) {
        const T* const half = m < kHalf ? a : second;
        const int n = m % kHalf;
        const auto factor = set1(n == 3 ? half[row3] : n == 5 ? half[row5] : n == 6 ? half[2 * row3] : half[n * a_row]);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) sums[m][v] = fma(factor, row[v], sums[m][v]);
      }
      a++;
      second++;
      b += kVectors * Simd<T>::lanes;
    } while (b != stop);
  }
  end_tile<T, kRows, kVectors>(sums, end);
}

// The same with row k of b at b + offset[k].
template <class T, int kRows, int kVectors>
[[gnu::noinline]] void offset_tile(int64_t depth, const T* a, const T* b, const int64_t* offset,
                                   const TileEnd<T>& end) {
  typename Simd<T>::V sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int m = 0; m < kRows; m++)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; v++) sums[m][v] = splat<T>(0);
  for (int64_t k = 0; k < depth; k++) {
    typename Simd<T>::V row[kVectors];
    const T* const from = b + offset[k];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; v++) row[v] = load(from + v * Simd<T>::lanes);
#pragma GCC unroll 16
    for (int m = 0; m < kRows; m++) {
      const auto factor = set1(a[m]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; v++) sums[m][v] = fma(factor, row[v], sums[m][v]);
    }
    a += kRows;
  }
  end_tile<T, kRows, kVectors>(sums, end);
}

// One row of a, kRows rows of b that start b_stride apart: a filter of one channel over several rows of an image.
template <class T, int kRows, int kVectors>
[[gnu::noinline]] void filter_tile(int64_t depth, const T* a, const T* b, int64_t b_stride, const int64_t* offset,
                                   const TileEnd<T>& end) {
  typename Simd<T>::V sums[kRows][kVectors];
#pragma GCC unroll 4
  for (int m = 0; m < kRows; m++)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; v++) sums[m][v] = splat<T>(0);
  for (int64_t k = 0; k < depth; k++) {
    const auto factor = set1(a[k]);
    const T* const from = b + offset[k];
#pragma GCC unroll 4
    for (int m = 0; m < kRows; m++)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; v++)
        sums[m][v] = fma(factor, load(from + m * b_stride + v * Simd<T>::lanes), sums[m][v]);
  }
  end_tile<T, kRows, kVectors>(sums, end);
}

// a where it lies: element k of a segment of row m at a + segment.a + row_offset[m] + k * a_stride, its partner of b at
// b + segment.b + k * b_stride. Segments are the rows of an image, the taps of a filter, or a single one.
struct Segment {
  int64_t a, b, depth;
};
struct Strided {
  int64_t segments;
  const Segment* segment;
  const int64_t* row_offset;
  int64_t a_stride;
};
template <class T, int kRows, int kVectors>
[[gnu::noinline]] void strided_tile(const Strided& from, const T* a, const T* b, int64_t b_stride,
                                    const TileEnd<T>& end) {
  typename Simd<T>::V sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int m = 0; m < kRows; m++)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; v++) sums[m][v] = splat<T>(0);
  const int64_t a_stride = from.a_stride;
  for (int64_t s = 0; s < from.segments; s++) {
    const Segment segment = from.segment[s];
    const T* rows[kRows];
#pragma GCC unroll 16
    for (int m = 0; m < kRows; m++) rows[m] = a + segment.a + from.row_offset[m];
    const T* p = b + segment.b;
    const T* const stop = p + segment.depth * b_stride;
    for (int64_t i = 0; p != stop; i += a_stride, p += b_stride) {
      typename Simd<T>::V row[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; v++) row[v] = load(p + v * Simd<T>::lanes);
#pragma GCC unroll 16
      for (int m = 0; m < kRows; m++) {
        const auto factor = set1(rows[m][i]);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) sums[m][v] = fma(factor, row[v], sums[m][v]);
      }
    }
  }
  end_tile<T, kRows, kVectors>(sums, end);
}

// The tiles by the number of rows; one vector wide where that is enough.
template <class T>
struct Tiles {
  using Packed = void (*)(int64_t, const T*, const T*, int64_t, const TileEnd<T>&);
  using Unpacked = void (*)(const Strided&, const T*, const T*, int64_t, const TileEnd<T>&);
  template <int kRows>
  static Packed find_packed(int64_t rows, bool narrow) {
    if constexpr (kRows > 1)
      if (rows < kRows) return find_packed<kRows - 1>(rows, narrow);
    return narrow ? packed_tile<T, kRows, 1> : packed_tile<T, kRows, Simd<T>::tile_vectors>;
  }
  using Prefetching = void (*)(int64_t, const T*, const T*, int64_t, Ahead<T>&, const TileEnd<T>&);
  template <int kRows>
  static Prefetching find_prefetching(int64_t rows, bool narrow) {
    if constexpr (kRows > 1)
      if (rows < kRows) return find_prefetching<kRows - 1>(rows, narrow);
    return narrow ? prefetching_tile<T, kRows, 1> : prefetching_tile<T, kRows, Simd<T>::tile_vectors>;
  }
  using Copying = void (*)(int64_t, const T*, const T*, int64_t, T*, Ahead<T>&, const TileEnd<T>&);
  template <int kRows>
  static Copying find_copying(int64_t rows) {
    if constexpr (kRows > 1)
      if (rows < kRows) return find_copying<kRows - 1>(rows);
    return copying_tile<T, kRows>;
  }
  using Rows = void (*)(int64_t, const T*, int64_t, const T*, const Ahead<T>&, const TileEnd<T>&);
  template <int kRows>
  static Rows find_rows(int64_t rows, bool narrow) {
    if constexpr (kRows > 1)
      if (rows < kRows) return find_rows<kRows - 1>(rows, narrow);
    return narrow ? rows_tile<T, kRows, 1> : rows_tile<T, kRows, Simd<T>::tile_vectors>;
  }
  using Offset = void (*)(int64_t, const T*, const T*, const int64_t*, const TileEnd<T>&);
  template <int kRows>
  static Offset find_offset(int64_t rows, bool narrow) {
    if constexpr (kRows > 1)
      if (rows < kRows) return find_offset<kRows - 1>(rows, narrow);
    return narrow ? offset_tile<T, kRows, 1> : offset_tile<T, kRows, Simd<T>::tile_vectors>;
  }
  template <int kRows>
  static Unpacked find_strided(int64_t rows, bool narrow) {
    if constexpr (kRows > 1)
      if (rows < kRows) return find_strided<kRows - 1>(rows, narrow);
    return narrow ? strided_tile<T, kRows, 1> : strided_tile<T, kRows, Simd<T>::tile_vectors>;
  }
};
template <class T>
typename Tiles<T>::Packed find_packed_tile(int64_t rows, int64_t columns) {
  return Tiles<T>::template find_packed<Simd<T>::tile_rows>(rows, columns <= Simd<T>::lanes);
}
template <class T>
typename Tiles<T>::Offset find_offset_tile(int64_t rows, int64_t columns) {
  return Tiles<T>::template find_offset<Simd<T>::tile_rows>(rows, columns <= Simd<T>::lanes);
}
template <class T>
typename Tiles<T>::Unpacked find_strided_tile(int64_t rows, int64_t columns) {
  return Tiles<T>::template find_strided<Simd<T>::tile_rows>(rows, columns <= Simd<T>::lanes);
}

}  // namespace
}  // namespace xcorr
