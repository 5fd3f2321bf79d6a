// Rows of planes as vectors, read and written where they lie: for filters that stay within a channel.
//
// A row of outputs is covered by vectors of N lanes; the last one overlaps its predecessor instead of being shorter
// (what is computed twice has the same bits). Loads that leave the source's row go by masks that are made once a call:
// lanes beyond the row are not read and count as 0. Rows beyond the plane are read from a row of zeros.
#pragma once
#include "conv_plan.inl"
#include "parallel.inl"

namespace xcorr {
namespace {

// The vectors of a row of `count` outputs, each made from kLoads loads of the source's row: load l of the vector that
// starts at output q is of N columns from q * step + offset + column[l] on.
template <class T, int kLoads>
struct RowVectors {
  using V = typename Simd<T>::V;
  using Lanes = decltype(lanes_between(V{}, 0, 0));
  static constexpr int N = Simd<T>::lanes;

  int64_t count, source, step, offset;
  int64_t last_column;  // of the loads
  Lanes* masks;         // [vector][load]
  const T* zeros;       // a row of the source

  int64_t vectors() const { return ceil_div(count, N); }
  int64_t start(int64_t vector) const { return larger(0, smaller(vector * N, count - N)); }
  int64_t source_column(int64_t vector) const { return start(vector) * step + offset; }
  // All lanes of all loads, and of what is written, exist.
  bool inside(int64_t vector) const {
    const int64_t first = source_column(vector);
    return count >= N && first >= 0 && first + last_column + N <= source;
  }

  bool prepare(const Runtime& runtime, const int (&column)[kLoads]) {
    const int64_t mask_bytes = round_up(vectors() * kLoads * int64_t(sizeof(Lanes)), 64);
    char* const own = static_cast<char*>(runtime.scratch(0, mask_bytes + source * int64_t(sizeof(T))));
    if (!own) return false;
    masks = reinterpret_cast<Lanes*>(own);
    last_column = 0;
    for (int l = 0; l < kLoads; l++) last_column = larger(last_column, column[l]);
    for (int64_t vector = 0; vector < vectors(); vector++)
      for (int l = 0; l < kLoads; l++) {
        const int64_t first = source_column(vector) + column[l];
        const int64_t begin = smaller(N, larger(0, -first)), end = larger(begin, smaller(N, source - first));
        masks[vector * kLoads + l] = lanes_between(V{}, int(begin), int(end));
      }
    T* const row = reinterpret_cast<T*>(own + mask_bytes);
    for (int64_t i = 0; i < source; i++) row[i] = 0;
    zeros = row;
    return true;
  }
};

// A vector of a row, by mask where the row may end within it.
template <bool kEdge, class T, class Lanes>
XCORR_INLINE auto load_of_row(const T* p, Lanes lanes) {
  if constexpr (kEdge)
    return load_lanes(p, lanes);
  else
    return load(p);
}

// body(x, y, channel, band, bands) for every band of rows of every plane that is written: the first elements of its
// source and its own plane, its channel. `groups` planes of x an image, each read by `multiplier` planes of y. Large
// planes of `rows` rows are cut into bands.
template <class Body>
XCORR_INLINE void for_each_plane(const Runtime& runtime, int64_t batch, int64_t groups, int64_t multiplier,
                                 int64_t x_plane, int64_t y_plane, int64_t rows, const Body& body) {
  const int64_t channels = groups * multiplier;
  const int64_t bands = larger(1, smaller(rows / 28, larger(x_plane, y_plane) / 32768));
  run_ranges(runtime, batch * channels * bands, (x_plane + y_plane) / bands, 1, [&](int64_t first, int64_t end) {
    int64_t band = first % bands, plane = first / bands, channel = plane % channels;
    int64_t group = channel / multiplier, member = channel % multiplier, image = plane / channels;
    for (int64_t i = first; i < end; i++) {
      body((image * groups + group) * x_plane, plane * y_plane, channel, band, bands);
      if (++band < bands) continue;
      band = 0;
      plane++;
      if (++channel == channels) channel = 0;
      if (++member < multiplier) continue;
      member = 0;
      if (++group < groups) continue;
      group = 0;
      image++;
    }
  });
}

}  // namespace
}  // namespace xcorr
