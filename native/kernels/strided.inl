// Walking operands with different strides together, as few and as long rows as the strides allow.
#pragma once
#include "parallel.inl"

namespace xcorr {
namespace {

// The same shape seen through the strides (in elements) of `operands` operands. rank is at least 1.
template <int operands>
struct Walk {
  int64_t rank, shape[kRank], stride[operands][kRank];
};

// Drops dimensions of size 1 and merges neighbours that every operand passes through with one stride.
template <int operands>
XCORR_INLINE Walk<operands> merge_dimensions(const Walk<operands>& w) {
  Walk<operands> out;
  int64_t rank = 0;
  for (int64_t d = 0; d < w.rank; d++) {
    if (w.shape[d] == 1) continue;
    bool joined = rank > 0;
    for (int o = 0; joined && o < operands; o++) joined = out.stride[o][rank - 1] == w.stride[o][d] * w.shape[d];
    const int64_t at = joined ? rank - 1 : rank;
    out.shape[at] = joined ? out.shape[at] * w.shape[d] : w.shape[d];
    for (int o = 0; o < operands; o++) out.stride[o][at] = w.stride[o][d];
    rank = at + 1;
  }
  if (rank == 0) {
    out.shape[0] = 1;
    for (int o = 0; o < operands; o++) out.stride[o][0] = 0;
    rank = 1;
  }
  out.rank = rank;
  return out;
}

template <int operands>
XCORR_INLINE void contiguous_strides(Walk<operands>& w, int operand) {
  int64_t step = 1;
  for (int64_t d = w.rank - 1; d >= 0; d--) {
    w.stride[operand][d] = step;
    step *= w.shape[d];
  }
}

// Where an odometer over all but the last dimension stands: the index in each and every operand's offset.
template <int operands>
struct Position {
  int64_t index[kRank], offset[operands];

  XCORR_MEMBER static Position at_row(const Walk<operands>& w, int64_t row) {
    Position p;
    for (int o = 0; o < operands; o++) p.offset[o] = 0;
    for (int64_t d = w.rank - 2; d >= 0; d--) {
      p.index[d] = row % w.shape[d];
      row /= w.shape[d];
      for (int o = 0; o < operands; o++) p.offset[o] += p.index[d] * w.stride[o][d];
    }
    return p;
  }
  XCORR_MEMBER void next_row(const Walk<operands>& w) {
    for (int64_t d = w.rank - 2; d >= 0; d--) {
      for (int o = 0; o < operands; o++) offset[o] += w.stride[o][d];
      if (++index[d] < w.shape[d]) return;
      for (int o = 0; o < operands; o++) offset[o] -= w.shape[d] * w.stride[o][d];
      index[d] = 0;
    }
  }
};

template <int operands>
[[gnu::noinline]] void walk_rows_of(const Runtime& runtime, const Walk<operands>& w,
                                    Reference<const int64_t*, int64_t> row) {
  const int64_t count = w.shape[w.rank - 1];
  int64_t rows = 1;
  for (int64_t d = 0; d + 1 < w.rank; d++) rows *= w.shape[d];
  if (count == 0 || rows == 0) return;
  if (count > kSerialElements) {
    const int64_t pieces = (count + kTaskElements - 1) / kTaskElements;
    run_tasks(runtime, rows * pieces, [&](int64_t task) {
      auto p = Position<operands>::at_row(w, task / pieces);
      const int64_t first = task % pieces * kTaskElements, rest = count - first;
      for (int o = 0; o < operands; o++) p.offset[o] += first * w.stride[o][w.rank - 1];
      row(p.offset, rest < kTaskElements ? rest : kTaskElements);
    });
    return;
  }
  run_ranges(runtime, rows, count, 1, [&](int64_t first, int64_t end) {
    auto p = Position<operands>::at_row(w, first);
    for (int64_t r = first; r < end; r++, p.next_row(w)) row(p.offset, count);
  });
}

// row(offsets, count) over all rows (the last dimension); long rows come in pieces, offsets pointing at their start.
template <int operands, class Row>
XCORR_INLINE void walk_rows(const Runtime& runtime, const Walk<operands>& w, const Row& row) {
  walk_rows_of(runtime, w, Reference<const int64_t*, int64_t>(row));
}

}  // namespace
}  // namespace xcorr
