// The input gradient of a depthwise convolution of 3x3 or 5x5 with stride 2, lanes along the rows (row_vectors.inl).
//
// dx[2q + phase] reads only the taps of one parity, so that a pair of rows and columns of dx is made from the same few
// rows and columns of dy: the even and the odd columns are summed apart and stored in turns.
//
// Every element is one chain of fma over the kernel's rows and columns, in order.
#pragma once
#include "row_vectors.inl"

namespace xcorr {
namespace {

// kOdd: the padding is odd.
template <class T, int kKernel, bool kOdd>
struct DepthwiseRowsInputGrad {
  using V = typename Simd<T>::V;
  static constexpr int N = Simd<T>::lanes, kTaps = kKernel * kKernel;

  // Pair k of rows (columns) reads dy's row k + padding / 2 + source(phase, tap) for the taps of that phase.
  static constexpr bool has(int phase, int tap) { return (phase + kOdd + tap) % 2 == 0; }
  static constexpr int source(int phase, int tap) { return (phase + kOdd - tap) / 2; }  // even before the division
  static constexpr int kHighest = kOdd, kLowest = -(kKernel - 1 - kOdd) / 2, kLoads = kHighest - kLowest + 1;
  using Row = RowVectors<T, kLoads>;

  const ConvSizes& s;
  Row row;

  // kPairs pairs of rows of dx from pair `first` on.
  template <int kPairs>
  [[gnu::noinline]] void group(const T* dy, const T* filter, T bias_, T* dx, int64_t first) const {
    const int64_t dy_pitch = s.out[2], dx_pitch = s.in[2];
    V weights[kTaps];
#pragma GCC unroll 25
    for (int t = 0; t < kTaps; t++) weights[t] = set1(filter[t]);
    const V bias = set1(bias_);
    const int64_t from_row = first + s.pad[1] / 2 + kLowest;
    constexpr int kRead = kPairs - 1 + kLoads;
    const T* from_rows[kRead];
#pragma GCC unroll 16
    for (int r = 0; r < kRead; r++)
      from_rows[r] = uint64_t(from_row + r) < uint64_t(s.out[1]) ? dy + (from_row + r) * dy_pitch : row.zeros;
    T* const to_rows = dx + 2 * first * dx_pitch;
    const int64_t rows = smaller(2 * kPairs, s.in[1] - 2 * first);
    const auto outputs = [ =, this ]<bool kEdge>(int64_t vector) __attribute__((always_inline)) {
      const int64_t from = row.source_column(vector), to = 2 * row.start(vector);
      const auto* const mask = row.masks + vector * kLoads;
      V sums[2 * kPairs][2];
#pragma GCC unroll 8
      for (int i = 0; i < 2 * kPairs; i++) sums[i][0] = sums[i][1] = splat<T>(0);
        // Taps in ascending order are rows of dy in descending order.
#pragma GCC unroll 16
      for (int r = kRead - 1; r >= 0; r--) {
        V columns[kLoads];
#pragma GCC unroll 4
        for (int l = 0; l < kLoads; l++) columns[l] = load_of_row<kEdge>(from_rows[r] + from + l, mask[l]);
        if (r < kPairs) __builtin_prefetch(dy + (first + kPairs + r + 1) * dy_pitch + from);
#pragma GCC unroll 8
        for (int i = 0; i < 2 * kPairs; i++)
#pragma GCC unroll 5
          for (int th = 0; th < kKernel; th++)
            if (has(i % 2, th) && i / 2 + source(i % 2, th) - kLowest == r) {
#pragma GCC unroll 2
              for (int phase = 0; phase < 2; phase++)
#pragma GCC unroll 5
                for (int tw = 0; tw < kKernel; tw++)
                  if (has(phase, tw))
                    sums[i][phase] =
                        fma(weights[th * kKernel + tw], columns[source(phase, tw) - kLowest], sums[i][phase]);
            }
      }
#pragma GCC unroll 8
      for (int i = 0; i < 2 * kPairs; i++) {
        if (i >= rows) break;
        const V even = sums[i][0] + bias, odd = sums[i][1] + bias;
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++) {
          const V out = in_turns<N>(even, odd, half);
          T* const at = to_rows + i * dx_pitch + to + half * N;
          const int64_t n = dx_pitch - to - half * N;
          if (!kEdge || n >= N)
            store(at, out);
          else if (n > 0)
            store_partial(at, out, int(n));
        }
      }
    };
    const int64_t vectors = row.vectors();
    for (int64_t vector = 0; vector < vectors; vector++)
      if (row.inside(vector) && 2 * (row.start(vector) + N) <= dx_pitch)
        outputs.template operator()<false>(vector);
      else
        outputs.template operator()<true>(vector);
  }

  // Pairs [begin, end) of rows, as many as a group or more: the last group overlaps the one before.
  void pairs(const T* dy, const T* filter, T bias, T* dx, int64_t begin, int64_t end) const {
    constexpr int kPairs = kStencilPairs;
    for (int64_t i = begin; i < end; i += kPairs) group<kPairs>(dy, filter, bias, dx, smaller(i, end - kPairs));
  }

  int64_t run(const Runtime& runtime, void* const* operands) {
    const T* const dy = static_cast<const T*>(operands[0]);
    const T* const w = static_cast<const T*>(operands[1]);
    const T* const bias = static_cast<const T*>(operands[2]);
    T* const dx = static_cast<T*>(operands[3]);
    row = {ceil_div(s.in[2], 2), s.out[2], 1, s.pad[2] / 2 + kLowest, 0, nullptr, nullptr};
    int column[kLoads];
    for (int l = 0; l < kLoads; l++) column[l] = l;
    if (!row.prepare(runtime, column)) return kOutOfMemory;
    const int64_t height = ceil_div(s.in[1], 2);
    for_each_plane(runtime, s.batch, s.groups, 1, volume(s.out), volume(s.in), height,
                   [&](int64_t from, int64_t to, int64_t channel, int64_t band, int64_t bands) {
                     const Split parts = {height, bands};
                     const int64_t begin = parts.start(band), end = begin + parts.size(band);
                     pairs(dy + from, w + channel * kTaps, bias ? bias[channel] : T(0), dx + to, begin, end);
                   });
    return kOk;
  }
};

XCORR_INLINE bool depthwise_rows_input_grad_fits(const ConvSizes& s) {
  const bool flat = s.in[0] == 1 && s.out[0] == 1 && s.kernel[0] == 1 && s.pad[0] == 0;
  const bool known = s.kernel[1] == s.kernel[2] && (s.kernel[2] == 3 || (s.kernel[2] == 5 && s.pad[2] % 2 == 0)) &&
                     s.stride[1] == 2 && s.stride[2] == 2 && s.dilation[1] == 1 && s.dilation[2] == 1 &&
                     s.pad[1] % 2 == s.pad[2] % 2;
  return flat && known && s.groups == s.in_channels && s.groups == s.out_channels && s.in[1] >= 8 && s.out[1] > 0 &&
         s.out[2] >= 7;
}

template <class T>
int64_t depthwise_rows_input_grad(const ConvSizes& s, const Runtime& runtime, void* const* operands) {
  if (s.kernel[2] == 5) return DepthwiseRowsInputGrad<T, 5, false>{s, {}}.run(runtime, operands);
  if (s.pad[2] % 2 != 0) return DepthwiseRowsInputGrad<T, 3, true>{s, {}}.run(runtime, operands);
  return DepthwiseRowsInputGrad<T, 3, false>{s, {}}.run(runtime, operands);
}

}  // namespace
}  // namespace xcorr
