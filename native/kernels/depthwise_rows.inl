// Depthwise convolution with the lanes along the rows: kernels of 3x3 and 5x5, stride 1 and 2, the input gradient with
// stride 1, any multiple of output channels. The tensors are read and written once, where they lie (row_vectors.inl).
//
// Neighbouring taps are loads one element apart; with stride 2 two vectors are split into their even and odd columns.
// Several rows of outputs are in registers at a time, so that a row of the source is loaded once for all of them. The
// next rows are fetched meanwhile: hardware prefetchers stop at the ends of rows and pages.
//
// Every output is one chain of fma over the kernel's rows and columns, in order.
#pragma once
#include "row_vectors.inl"
#include "vector_basics.inl"

namespace xcorr {
namespace {

// Where one plane of outputs comes from and goes to.
template <class T>
struct DepthwisePlane {
  const T* x;
  const T* weights;  // in ascending order of the source's rows and columns
  T bias;
  T* y;
  const T* residual;  // or null
};

// kOdd: with stride 2, output 0's first tap is on an odd column.
template <class T, int kKernel, int kStride, bool kOdd>
struct DepthwiseRows {
  using V = typename Simd<T>::V;
  static constexpr int N = Simd<T>::lanes, kTaps = kKernel * kKernel;
  static constexpr int kBefore = kOdd ? 1 : 0;  // even columns before the first tap
  // With stride 1 a load a tap; with stride 2 two for each pair of an even and an odd column.
  static constexpr int kLoads = kStride == 1 ? kKernel : 2 * ((kKernel + kBefore + 1) / 2);
  using Row = RowVectors<T, kLoads>;
  static constexpr int column_of(int load) { return kStride == 1 ? load : load / 2 * 2 + load % 2 * N; }

  Axis h;
  Row row;
  int64_t top;  // the first row that output row 0 reads
  int64_t activation;

  template <bool kEdge, int kLoad>
  XCORR_MEMBER static V part(const T* from, const typename Row::Lanes* mask) {
    return load_of_row<kEdge>(from + column_of(kLoad), mask[kLoad]);
  }
  template <bool kEdge, int kTap = 0>
  XCORR_MEMBER static void load_taps(const T* from, const typename Row::Lanes* mask, V (&tap)[kKernel]) {
    if constexpr (kStride == 1) {
      if constexpr (kTap < kKernel) {
        tap[kTap] = part<kEdge, kTap>(from, mask);
        load_taps<kEdge, kTap + 1>(from, mask, tap);
      }
    } else if constexpr (kTap < kKernel + kBefore) {
      const V low = part<kEdge, kTap>(from, mask), high = part<kEdge, kTap + 1>(from, mask);
      constexpr int kEven = kTap - kBefore;
      if constexpr (kEven >= 0) tap[kEven] = every_second_unordered<N>(low, high, false);
      if constexpr (kEven + 1 < kKernel) tap[kEven + 1] = every_second_unordered<N>(low, high, true);
      load_taps<kEdge, kTap + 2>(from, mask, tap);
    }
  }

  // Rows [begin, end) of outputs, kRows or more of them, by kRows at a time: the last group overlaps the one before.
  template <int kRows>
  [[gnu::noinline]] void rows(const DepthwisePlane<T>& plane, int64_t begin, int64_t end) const {
    constexpr int kRead = (kRows - 1) * kStride + kKernel;
    const int64_t x_pitch = row.source, y_pitch = row.count, n = smaller(N, row.count), vectors = row.vectors();
    V weights[kTaps];
#pragma GCC unroll 25
    for (int t = 0; t < kTaps; t++) weights[t] = set1(plane.weights[t]);
    const V bias = set1(plane.bias);
    const bool plain = !plane.residual && activation == activation::none;
    for (int64_t next = begin; next < end; next += kRows) {
      const int64_t first = smaller(next, end - kRows), from_row = first * kStride + top;
      const T* const x = plane.x + from_row * x_pitch;
      const T* source[kRead];
#pragma GCC unroll 32
      for (int r = 0; r < kRead; r++) {
        const bool certain = r >= kKernel - 1 && r <= (kRows - 1) * kStride;  // depthwise_rows_fit
        source[r] = certain || uint64_t(from_row + r) < uint64_t(h.source) ? x + r * x_pitch : row.zeros;
      }
      T* const y = plane.y + first * y_pitch;
      const auto outputs = [&]<bool kEdge>(int64_t vector) __attribute__((always_inline)) {
        const int64_t from = row.source_column(vector), to = row.start(vector);
        const auto* const mask = row.masks + vector * kLoads;
        V sums[kRows];
#pragma GCC unroll 8
        for (int i = 0; i < kRows; i++) sums[i] = splat<T>(0);
#pragma GCC unroll 32
        for (int r = 0; r < kRead; r++) {
          V tap[kKernel];
          load_taps<kEdge>(source[r] + from, mask, tap);
          if (r < kRows * kStride)
            for (int i = 0; i < kStride; i++)
              __builtin_prefetch(x + (kRows * kStride + r + kKernel / 2) * x_pitch + from + i * N);
#pragma GCC unroll 8
          for (int i = 0; i < kRows; i++)
            if (r >= i * kStride && r - i * kStride < kKernel) {
#pragma GCC unroll 5
              for (int j = 0; j < kKernel; j++)
                sums[i] = fma(weights[(r - i * kStride) * kKernel + j], tap[j], sums[i]);
            }
        }
#pragma GCC unroll 8
        for (int i = 0; i < kRows; i++) sums[i] = (kStride == 2 ? in_order<N>(sums[i]) : sums[i]) + bias;
        if (!plain) {
          const V lowest = splat<T>(activation == activation::none ? T(-kInfinity) : T(0));
          const V highest = splat<T>(activation == activation::relu6 ? T(6) : T(kInfinity));
#pragma GCC unroll 8
          for (int i = 0; i < kRows; i++) {
            const T* const added = plane.residual + (first + i) * y_pitch + to;
            if (plane.residual) sums[i] = sums[i] + (kEdge && n < N ? load_partial(added, int(n)) : load(added));
            sums[i] = min(highest, max(lowest, sums[i]));  // this order keeps NaN
          }
        }
#pragma GCC unroll 8
        for (int i = 0; i < kRows; i++) {
          if (kEdge && n < N)
            store_partial(y + to + i * y_pitch, sums[i], int(n));
          else
            store(y + to + i * y_pitch, sums[i]);
        }
      };
      for (int64_t vector = 0; vector < vectors; vector++)
        if (row.inside(vector))
          outputs.template operator()<false>(vector);
        else
          outputs.template operator()<true>(vector);
    }
  }

  void rows(const DepthwisePlane<T>& plane, int64_t begin, int64_t end) const {
    constexpr int kMost = sizeof(T) == 4 ? kStencilRows : 4;
    if (kMost > 4 && (end - begin) % kMost == 0)
      rows<kMost>(plane, begin, end);
    else
      rows<4>(plane, begin, end);
  }

  int64_t run(const Correlation<T>& conv, const Runtime& runtime) {
    const Axis& w = conv.axis[2];
    const bool flipped = w.tap_step < 0;
    const int64_t reach = flipped ? kKernel - 1 : 0;
    h = conv.axis[1];
    top = h.offset - reach;
    activation = conv.activation;
    row = {w.count, w.source, kStride, w.offset - reach - kBefore, 0, nullptr, nullptr};
    int column[kLoads];
    for (int l = 0; l < kLoads; l++) column[l] = column_of(l);
    if (!row.prepare(runtime, column)) return kOutOfMemory;
    for_each_plane(runtime, conv.batch, conv.groups, conv.out_channels, conv.x_plane(), conv.y_plane(), h.count,
                   [&](int64_t x, int64_t y, int64_t channel, int64_t band, int64_t bands) {
                     T weights[kTaps];
                     for (int t = 0; t < kTaps; t++)
                       weights[t] = conv.w[channel * kTaps + (flipped ? kTaps - 1 - t : t)];
                     const DepthwisePlane<T> plane = {conv.x + x, weights, conv.bias ? conv.bias[channel] : T(0),
                                                      conv.y + y, conv.residual ? conv.residual + y : nullptr};
                     if (bands == 1) return rows(plane, 0, h.count);
                     const Split parts = {h.count, bands};
                     rows(plane, parts.start(band), parts.start(band) + parts.size(band));
                   });
    return kOk;
  }
};

// Narrower planes leave too many lanes unused: depthwise.inl has planes in the lanes.
template <class T>
XCORR_INLINE bool depthwise_rows_fit(const Correlation<T>& c) {
  const Axis &d = c.axis[0], &h = c.axis[1], &w = c.axis[2];
  const bool flat = d.source == 1 && d.count == 1 && d.taps == 1 && d.kernel == 1 && d.offset == 0;
  const bool square = h.taps == w.taps && h.step == w.step && h.tap_step == w.tap_step;
  const bool known = (w.taps == 3 || (w.taps == 5 && (w.step == 1 || w.offset % 2 == 0))) && w.step <= 2 &&
                     (w.tap_step == 1 || w.tap_step == -1);
  if (c.in_channels != 1 || (c.groups == 1 && c.out_channels > 1)) return false;
  if (!flat || !square || !known || !c.dense()) return false;
  // No output lies in the padding alone: the rows of a group but the first and last taps' are inside.
  const int64_t first = h.offset + smaller(0, (h.taps - 1) * h.tap_step);
  if (first <= -h.taps || (h.count - 1) * h.step + first >= h.source) return false;
  return h.count >= 4 && h.source > 0 && w.source > 0 && w.count >= (w.taps == 3 ? 7 : w.step == 1 ? 10 : 14);
}

template <class T>
int64_t depthwise_rows(const Correlation<T>& conv, const Runtime& runtime) {
  const Axis& w = conv.axis[2];
  if (w.taps == 5)
    return w.step == 1 ? DepthwiseRows<T, 5, 1, false>().run(conv, runtime)
                       : DepthwiseRows<T, 5, 2, false>().run(conv, runtime);
  if (w.step == 1) return DepthwiseRows<T, 3, 1, false>().run(conv, runtime);
  return w.offset % 2 != 0 ? DepthwiseRows<T, 3, 2, true>().run(conv, runtime)
                           : DepthwiseRows<T, 3, 2, false>().run(conv, runtime);
}

}  // namespace
}  // namespace xcorr
