// Mean and squared deviations of float data in float64.
#pragma once
#include "vectors.inl"
#include "widen.inl"

namespace xcorr {
namespace {

// Of `count` numbers; squares is the sum of the squared deviations from the mean.
struct Moments {
  double count, mean, squares;
};

// Chan, Golub, LeVeque: the moments of two sets together.
XCORR_INLINE Moments merge(Moments a, Moments b) {
  if (a.count == 0) return b;
  if (b.count == 0) return a;
  const double count = a.count + b.count, apart = b.mean - a.mean, share = b.count / count;
  return {count, a.mean + apart * share, a.squares + b.squares + apart * apart * a.count * share};
}

// Sums of x - shift and its square over pieces of memory, on two chains of 16 lanes.
template <class T>
struct ShiftedSums {
  VectorF64 shift;
  Wide<double> sum[2], square[2];

  XCORR_MEMBER explicit ShiftedSums(double around) : shift(set1(around)) {
    for (int c = 0; c < 2; c++) sum[c] = square[c] = Wide<double>::of(0);
  }
  XCORR_MEMBER void add16(int chain, const Wide<double>& x) {
    for (int v = 0; v < Wide<double>::vectors; v++) {
      const VectorF64 apart = x.v[v] - shift;
      sum[chain].v[v] = sum[chain].v[v] + apart;
      square[chain].v[v] = fma(apart, apart, square[chain].v[v]);
    }
  }
  XCORR_MEMBER void add(const T* x, int64_t n) {
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
      add16(0, load16<double>(x + i));
      add16(1, load16<double>(x + i + 16));
    }
    if (i + 16 <= n) {
      add16(0, load16<double>(x + i));
      i += 16;
    }
    if (i < n) add16(1, load16_partial<double>(x + i, n - i, (T)shift[0]));  // shift is a T: the rest adds 0
  }
  XCORR_MEMBER Moments result(double count) {
    sum[0].add(sum[1]);
    square[0].add(square[1]);
    const double total = sum[0].sum(), mean = total / count;
    return {count, shift[0] + mean, square[0].sum() - total * mean};
  }
};

// The moments of what segments(f) passes to f(pointer, n), `count` in all, `first` one of them. One pass around `first`
// is as good as exact for float32 in float64; float64 takes a second pass around the mean.
template <class T, class Segments>
XCORR_INLINE Moments moments(double count, T first, const Segments& segments) {
  ShiftedSums<T> sums((double)first);
  segments([&](const T* x, int64_t n) __attribute__((always_inline)) { sums.add(x, n); });
  const Moments once = sums.result(count);
  if constexpr (__is_same(T, float)) return once;
  ShiftedSums<T> again(once.mean);
  segments([&](const T* x, int64_t n) __attribute__((always_inline)) { again.add(x, n); });
  return again.result(count);
}

}  // namespace
}  // namespace xcorr
