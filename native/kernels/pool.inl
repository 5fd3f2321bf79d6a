// max_pool, avg_pool and avg_pool_grad. A plane is one channel of one image; planes are
// independent, so they are what tasks are made of.
//
// Sliding windows: the part of an input row that a chunk of one output row needs is split into `stride` phases (phase p
// holds columns p, p + stride, ...), padding filled in, so that every tap of the window is one contiguous load.
#pragma once
#include "max_pool_2x2.inl"
#include "max_pool_3x3.inl"
#include "reduce.inl"
#include "vectors.inl"

namespace xcorr {
namespace {

// The taps of a window that lie inside the input, along one dimension: [first, end) of the kernel.
struct Taps {
  int64_t start, first, end;  // start: position of tap 0, may be negative
  XCORR_MEMBER int64_t count() const { return end - first; }
};
XCORR_INLINE Taps taps_inside(int64_t out, int64_t stride, int64_t pad, int64_t dilation, int64_t kernel, int64_t in) {
  const int64_t start = out * stride - pad;
  const int64_t first = start < 0 ? (-start + dilation - 1) / dilation : 0;
  const int64_t reach = in > start ? (in - start + dilation - 1) / dilation : 0;
  const int64_t end = kernel < reach ? kernel : reach;
  return {start, first, end > first ? end : first};
}
XCORR_INLINE Taps taps_inside(const PoolSizes& s, int d, int64_t out) {
  return taps_inside(out, s.stride[d], s.pad[d], s.dilation[d], s.kernel[d], s.in[d]);
}

// How many taps count for the average: those inside the input, or inside the input and its padding.
XCORR_INLINE int64_t counted_taps(const PoolSizes& s, int d, int64_t out) {
  if (!s.count_include_pad) return taps_inside(s, d, out).count();
  return taps_inside(out, s.stride[d], 0, s.dilation[d], s.kernel[d], s.in[d] + 2 * s.pad[d]).count();
}
constexpr int64_t kChunk = 128, kPhaseElements = 2048, kMostPhases = 16, kMostTaps = 32;

// Whether the columns that one output needs fit into the phase buffer.
XCORR_INLINE bool fits_phases(const PoolSizes& s) {
  return s.stride[2] <= kMostPhases && s.kernel[2] <= kMostTaps &&
         (s.kernel[2] - 1) * s.dilation[2] + 1 + 32 * s.stride[2] <= kPhaseElements / 2;
}

// `count` neighbouring columns of the output, for all rows of all planes: what does not depend on the row is worked out
// once. The last of a row's chunks may be shorter.
template <class T>
struct ColumnChunk {
  const PoolSizes& s;
  int64_t first, count, phase_length;
  int64_t left[kMostPhases], right[kMostPhases];  // where each phase is inside the input
  int64_t tap_offset[kMostTaps];
  int64_t begin[kChunk];               // the window's first column inside the input, -1 if there is none
  alignas(64) T counted[kChunk + 16];  // how many columns of the window count for the average
  alignas(64) T phases[kPhaseElements + 64 * kMostPhases];

  XCORR_MEMBER static int64_t length(const PoolSizes& s) {
    if (!fits_phases(s)) return kChunk;
    const int64_t room = (kPhaseElements - (s.kernel[2] - 1) * s.dilation[2] - 1) / s.stride[2] - 31;
    return room < kChunk ? room : kChunk;
  }
  XCORR_MEMBER ColumnChunk(const PoolSizes& sizes, int64_t from, int64_t n) : s(sizes), first(from), count(n) {
    const int64_t stride = s.stride[2], start = first * stride - s.pad[2];
    for (int64_t j = 0; j < count; j++) {
      const Taps width = taps_inside(s, 2, first + j);
      begin[j] = width.count() == 0 ? -1 : width.start + width.first * s.dilation[2];
      counted[j] = (T)counted_taps(s, 2, first + j);
    }
    if (!fits_phases(s)) return;
    const int64_t columns = (n - 1) * stride + (s.kernel[2] - 1) * s.dilation[2] + 1;
    phase_length = (columns + stride - 1) / stride + 16;
    for (int64_t p = 0; p < stride; p++) {
      const int64_t column = start + p, in = s.in[2];
      const int64_t inside = column < 0 ? (-column + stride - 1) / stride : 0;
      const int64_t end = in > column ? (in - column + stride - 1) / stride : 0;
      right[p] = end < phase_length ? end : phase_length;
      left[p] = inside < right[p] ? inside : right[p];
    }
    for (int64_t k = 0; k < s.kernel[2]; k++) {
      const int64_t offset = k * s.dilation[2];
      tap_offset[k] = offset % stride * phase_length + offset / stride;
    }
  }
  // Fills the phases from an input row, `outside` where the row has no column.
  XCORR_MEMBER void read_row(const T* row, T outside) {
    const int64_t stride = s.stride[2];
    for (int64_t p = 0; p < stride; p++) {
      T* const phase = phases + p * phase_length;
      const T* const from = row + first * stride - s.pad[2] + p;
      for (int64_t j = 0; j < left[p]; j++) phase[j] = outside;
      if (stride == 1) {
        for (int64_t j = left[p]; j < right[p]; j++) phase[j] = from[j];
      } else if (stride == 2) {
        for (int64_t j = left[p]; j < right[p]; j++) phase[j] = from[2 * j];
      } else {
        for (int64_t j = left[p]; j < right[p]; j++) phase[j] = from[stride * j];
      }
      for (int64_t j = right[p]; j < phase_length; j++) phase[j] = outside;
    }
  }
  XCORR_MEMBER const T* tap(int64_t k) const { return phases + tap_offset[k]; }
};

// body(chunk, plane) for all planes of each chunk of columns.
template <class T, class Body>
XCORR_INLINE void for_each_chunk(const PoolSizes& s, const Runtime& runtime, const Body& body) {
  const int64_t cost = volume(s.in) + volume(s.out) * volume(s.kernel), step = ColumnChunk<T>::length(s);
  run_ranges(runtime, s.planes, cost, 1, [&](int64_t begin, int64_t end) {
    for (int64_t w = 0; w < s.out[2]; w += step) {
      ColumnChunk<T> chunk(s, w, s.out[2] - w < step ? s.out[2] - w : step);
      for (int64_t plane = begin; plane < end; plane++) body(chunk, plane);
    }
  });
}

// row(depth, height) for every output row of a plane, in order.
template <class Row>
XCORR_INLINE void for_each_output_row(const int64_t* out, const Row& row) {
  for (int64_t d = 0; d < out[0]; d++)
    for (int64_t h = 0; h < out[1]; h++) row(d, h);
}

// ---- max_pool ----

// One output by the definition; where the windows are too wide for the phases.
template <class T>
XCORR_INLINE void max_of_window(const PoolSizes& s, const T* x, Taps depth, Taps height, Taps width, T* y,
                                int32_t* index) {
  T best = T(-kInfinity);
  int64_t at = -1;
  for (int64_t d = depth.first; d < depth.end; d++) {
    for (int64_t h = height.first; h < height.end; h++) {
      const int64_t row = ((depth.start + d * s.dilation[0]) * s.in[1] + height.start + h * s.dilation[1]) * s.in[2];
      for (int64_t w = width.first; w < width.end; w++) {
        const int64_t position = row + width.start + w * s.dilation[2];
        const T value = x[position];
        if (at < 0 || value > best || (value != value && best == best)) best = value, at = position;
      }
    }
  }
  *y = best;
  *index = (int32_t)(at < 0 ? 0 : at);
}

template <class T>
XCORR_INLINE void max_of_chunk(const T* x, Taps depth, Taps height, ColumnChunk<T>& chunk, T* y, int32_t* index) {
  using V = Vector<T>;
  using I = typename Simd<T>::I;
  constexpr int64_t lanes = Simd<T>::lanes;
  typedef __typeof__(I{}[0]) Integer;
  const PoolSizes& s = chunk.s;
  alignas(64) T best[kChunk + 16];
  alignas(64) Integer at[kChunk + 16];
  const bool no_rows = depth.count() == 0 || height.count() == 0;
  const auto row_start = [&](int64_t d, int64_t h) {
    return ((depth.start + d * s.dilation[0]) * s.in[1] + height.start + h * s.dilation[1]) * s.in[2];
  };
  const int64_t first_row = row_start(depth.first, height.first);
  for (int64_t j = 0; j < chunk.count; j++)
    at[j] = no_rows || chunk.begin[j] < 0 ? 0 : Integer(first_row + chunk.begin[j]);
  for (int64_t j = 0; j < chunk.count; j += lanes) store(best + j, number<V>(-kInfinity));
  const I lane_columns = lane_numbers<T>() * Integer(s.stride[2]);
  for (int64_t d = depth.first; d < depth.end; d++) {
    for (int64_t h = height.first; h < height.end; h++) {
      const int64_t row = row_start(d, h);
      chunk.read_row(x + row, T(-kInfinity));
      for (int64_t j = 0; j < chunk.count; j += lanes) {
        V so_far = load(best + j);
        I place = load(at + j);
        I position = lane_columns + Integer(row + (chunk.first + j) * s.stride[2] - s.pad[2]);
        for (int64_t k = 0; k < s.kernel[2]; k++, position += Integer(s.dilation[2])) {
          const V value = load(chunk.tap(k) + j);
          const I wins = (value > so_far) | ((value != value) & (so_far == so_far));
          so_far = select(wins, value, so_far);
          place = select(wins, position, place);
        }
        store(best + j, so_far);
        store(at + j, place);
      }
    }
  }
  for (int64_t j = 0; j < chunk.count; j++) y[j] = best[j];
  for (int64_t j = 0; j < chunk.count; j++) index[j] = (int32_t)at[j];
}

template <class T>
int64_t max_pool(const PoolSizes& s, const Runtime& runtime, void* const* operands) {
  const T* const x = static_cast<const T*>(operands[0]);
  T* const y = static_cast<T*>(operands[1]);
  int32_t* const index = static_cast<int32_t*>(operands[2]);
  const int64_t in = volume(s.in), out = volume(s.out);
  if (s.planes * out == 0) return kOk;
  if (max_pool_2x2_fits(s)) return max_pool_2x2(s, runtime, x, y, index);
  if (max_pool_3x3_fits(s)) return max_pool_3x3(s, runtime, x, y, index);
  const bool by_phases = fits_phases(s);
  for_each_chunk<T>(s, runtime, [&](ColumnChunk<T>& chunk, int64_t plane) {
    for_each_output_row(
        s.out, [&](int64_t d, int64_t h) __attribute__((always_inline)) {
          const Taps depth = taps_inside(s, 0, d), height = taps_inside(s, 1, h);
          const int64_t to = plane * out + (d * s.out[1] + h) * s.out[2] + chunk.first;
          if (by_phases) {
            max_of_chunk(x + plane * in, depth, height, chunk, y + to, index + to);
          } else {
            for (int64_t j = 0; j < chunk.count; j++)
              max_of_window(s, x + plane * in, depth, height, taps_inside(s, 2, chunk.first + j), y + to + j,
                            index + to + j);
          }
        });
  });
  return kOk;
}

// ---- avg_pool ----

template <class T>
XCORR_INLINE T sum_of_window(const PoolSizes& s, const T* x, Taps depth, Taps height, Taps width) {
  double sum = 0;
  for (int64_t d = depth.first; d < depth.end; d++)
    for (int64_t h = height.first; h < height.end; h++)
      for (int64_t w = width.first; w < width.end; w++)
        sum += (double)x[((depth.start + d * s.dilation[0]) * s.in[1] + height.start + h * s.dilation[1]) * s.in[2] +
                         width.start + w * s.dilation[2]];
  return (T)sum;
}

// What a chunk's sums are divided by in one output row: a number, or a number times what counts along the columns.
template <class T>
struct RowDivisor {
  const T* counted;  // null: `rows` alone
  T rows;

  XCORR_MEMBER static RowDivisor of(const PoolSizes& s, const ColumnChunk<T>& chunk, int64_t d, int64_t h) {
    if (s.divisor != 0) return {nullptr, (T)s.divisor};
    return {chunk.counted, T(counted_taps(s, 0, d) * counted_taps(s, 1, h))};
  }
  // x / divisor at column j of the chunk, where an empty window divides by 1.
  XCORR_MEMBER Vector<T> divide(Vector<T> x, int64_t j) const {
    auto divisor = set1(rows);
    if (counted) divisor = max(divisor * load(counted + j), splat<T>(1));
    return x / divisor;
  }
};

// Sums of a chunk: the taps of a row first, then the rows.
template <class T>
XCORR_INLINE void sums_of_chunk(const T* x, Taps depth, Taps height, ColumnChunk<T>& chunk, T* sums) {
  constexpr int64_t lanes = Simd<T>::lanes;
  const PoolSizes& s = chunk.s;
  for (int64_t j = 0; j < chunk.count; j += lanes) store(sums + j, splat<T>(0));
  for (int64_t d = depth.first; d < depth.end; d++) {
    for (int64_t h = height.first; h < height.end; h++) {
      chunk.read_row(x + ((depth.start + d * s.dilation[0]) * s.in[1] + height.start + h * s.dilation[1]) * s.in[2],
                     T(0));
      for (int64_t j = 0; j < chunk.count; j += lanes) {
        auto row = splat<T>(0);
        for (int64_t k = 0; k < s.kernel[2]; k++) row = row + load(chunk.tap(k) + j);
        store(sums + j, load(sums + j) + row);
      }
    }
  }
}

template <class T>
int64_t avg_pool(const PoolSizes& s, const Runtime& runtime, void* const* operands) {
  const T* const x = static_cast<const T*>(operands[0]);
  T* const y = static_cast<T*>(operands[1]);
  const int64_t in = volume(s.in), out = volume(s.out);
  if (s.planes * out == 0) return kOk;
  const bool by_phases = fits_phases(s);
  for_each_chunk<T>(s, runtime, [&](ColumnChunk<T>& chunk, int64_t plane) {
    alignas(64) T sums[kChunk + 16];
    for_each_output_row(
        s.out, [&](int64_t d, int64_t h) __attribute__((always_inline)) {
          const Taps depth = taps_inside(s, 0, d), height = taps_inside(s, 1, h);
          T* const to = y + plane * out + (d * s.out[1] + h) * s.out[2] + chunk.first;
          if (by_phases) {
            sums_of_chunk(x + plane * in, depth, height, chunk, sums);
          } else {
            for (int64_t j = 0; j < chunk.count; j++)
              sums[j] = sum_of_window(s, x + plane * in, depth, height, taps_inside(s, 2, chunk.first + j));
          }
          const auto divisor = RowDivisor<T>::of(s, chunk, d, h);
          for_each_vector<T>(
              chunk.count, [&](int64_t j, int n) __attribute__((always_inline)) {
                store_first(to + j, divisor.divide(load(sums + j), j), n);
              });
        });
  });
  return kOk;
}

// Every output's gradient over its divisor goes to the inputs of its window; a plane is one thread's, in one order.
template <class T>
int64_t avg_pool_grad(const PoolSizes& s, const Runtime& runtime, void* const* operands) {
  const T* const dy = static_cast<const T*>(operands[0]);
  T* const dx = static_cast<T*>(operands[1]);
  const int64_t in = volume(s.in), out = volume(s.out);
  run_ranges(runtime, s.planes * in, 1, 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) dx[i] = 0;
  });
  if (s.planes * out == 0) return kOk;
  for_each_chunk<T>(s, runtime, [&](ColumnChunk<T>& chunk, int64_t plane) {
    alignas(64) T share[kChunk + 16];
    const int64_t stride = s.stride[2], dilation = s.dilation[2], start = chunk.first * stride - s.pad[2];
    // Columns whose whole window is inside the input lie together.
    int64_t whole = 0, whole_end = chunk.count;
    const auto is_whole = [&](int64_t j) { return taps_inside(s, 2, chunk.first + j).count() == s.kernel[2]; };
    while (whole < whole_end && !is_whole(whole)) whole++;
    while (whole < whole_end && !is_whole(whole_end - 1)) whole_end--;
    const int64_t whole_taps =
        whole < whole_end ? s.kernel[2] : 0;  // a kernel without whole windows may be of any size
    for_each_output_row(
        s.out, [&](int64_t d, int64_t h) __attribute__((always_inline)) {
          const Taps depth = taps_inside(s, 0, d), height = taps_inside(s, 1, h);
          const T* const from = dy + plane * out + (d * s.out[1] + h) * s.out[2] + chunk.first;
          const auto divisor = RowDivisor<T>::of(s, chunk, d, h);
          for_each_vector<T>(
              chunk.count, [&](int64_t j, int n) __attribute__((always_inline)) {
                store(share + j, divisor.divide(load_first(from + j, n), j));
              });
          for (int64_t i = depth.first; i < depth.end; i++) {
            for (int64_t k = height.first; k < height.end; k++) {
              T* const row = dx + plane * in +
                             ((depth.start + i * s.dilation[0]) * s.in[1] + height.start + k * s.dilation[1]) * s.in[2];
              const auto edge = [&](int64_t j) {
                const Taps width = taps_inside(s, 2, chunk.first + j);
                for (int64_t t = width.first; t < width.end; t++) row[width.start + t * dilation] += share[j];
              };
              for (int64_t j = 0; j < whole; j++) edge(j);
              // Tap by tap: within one, all columns go to different places.
              for (int64_t t = 0; t < whole_taps; t++) {
                T* const to = row + start + t * dilation;
                if (stride == 2) {
                  for (int64_t j = whole; j < whole_end; j++) to[2 * j] += share[j];
                } else {
                  for (int64_t j = whole; j < whole_end; j++) to[stride * j] += share[j];
                }
              }
              for (int64_t j = whole_end; j < chunk.count; j++) edge(j);
            }
          }
        });
  });
  return kOk;
}

}  // namespace
}  // namespace xcorr
