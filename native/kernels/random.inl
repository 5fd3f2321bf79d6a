// random_fill: Philox 4x32-10 and its mapping to numbers, which abi.h fixes.
//
// Nothing here uses fma: the numbers are the same on every target, also on the one that has none.
#pragma once
#include "math.inl"
#include "parallel.inl"

namespace xcorr {
namespace {

constexpr int kCounters = 16;  // counters in flight: 64 numbers

// Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC 2011); constants from the paper.
// unit[w][i]: the upper 24 bits of word w of the block of counter first + i as a number in [0, 1).
XCORR_INLINE void philox(uint64_t first, uint64_t key, double (&unit)[4][kCounters]) {
  using Unsigned = VectorTraits<VectorF64>::Unsigned;
  const auto splat64 = [](uint64_t value) __attribute__((always_inline)) {
    return (Unsigned)(VectorI64{} + (int64_t)value);
  };
  const auto product = [](Unsigned a, Unsigned b) __attribute__((always_inline)) {
    return (Unsigned)multiply_low((VectorI64)a, (VectorI64)b);
  };
  const Unsigned low = splat64(0xffffffff), multiplier0 = splat64(0xd2511f53), multiplier1 = splat64(0xcd9e8d57);
  for (int i = 0; i < kCounters; i += Simd<double>::lanes) {
    const Unsigned counter = (Unsigned)lane_numbers<double>() + splat64(first + (uint64_t)i);
    Unsigned c0 = counter & low, c1 = counter >> 32, c2 = splat64(0), c3 = splat64(0);
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
      const Unsigned a = product(multiplier0, c0), b = product(multiplier1, c2);
      c0 = (b >> 32) ^ c1 ^ splat64(k0);
      c2 = (a >> 32) ^ c3 ^ splat64(k1);
      c1 = b & low;
      c3 = a & low;
      k0 += 0x9e3779b9;
      k1 += 0xbb67ae85;
    }
    const Unsigned word[4] = {c0, c1, c2, c3};
    for (int w = 0; w < 4; w++) store(&unit[w][i], to_float((VectorI64)(word[w] >> 8)) * set1(0x1p-24));
  }
}

template <int n>
XCORR_INLINE VectorF64 plain_polynomial(VectorF64 x, const double (&c)[n]) {
  VectorF64 sum = set1(c[n - 1]);
#pragma GCC unroll 16
  for (int i = n - 2; i >= 0; i--) sum = sum * x + set1(c[i]);
  return sum;
}

// sqrt(-2 ln u) for u in (0, 1].
XCORR_INLINE VectorF64 normal_radius(VectorF64 u) {
  const Split2<VectorF64> split = split_exponent(u);
  const VectorF64 s = split.f / (split.f + set1(2.0)), z = s * s;
  const VectorF64 log_f = s * (set1(2.0) + z * plain_polynomial(z, kLog64));
  return sqrt(set1(-2.0) * (split.k * set1(0x1.62e42fefa39efp-1) + log_f));
}

// sin and cos of 2 pi u, u in [0, 1): the quarter turn is exact.
XCORR_INLINE SinCos sin_cos_turns(VectorF64 u) {
  const VectorF64 quarters = set1(4.0) * u, nearest = round_even(quarters);
  const VectorF64 r = (quarters - nearest) * set1(kHalfPi), z = r * r;
  const SinCos v = {r + r * z * plain_polynomial(z, kSin),
                    set1(1.0) - set1(0.5) * z + z * z * plain_polynomial(z, kCos)};
  const VectorI64 quadrant = to_int(nearest);
  return {sin_quadrant(v, quadrant), sin_quadrant(v, quadrant + 1)};
}

// Standard normal numbers in place of the uniform ones, scaled.
XCORR_INLINE void normal_numbers(double mean, double deviation, double (&number)[4][kCounters]) {
  for (int pair = 0; pair < 4; pair += 2) {
    for (int i = 0; i < kCounters; i += Simd<double>::lanes) {
      const VectorF64 radius = set1(deviation) * normal_radius(load(&number[pair][i]) + set1(0x1p-24));
      const SinCos v = sin_cos_turns(load(&number[pair + 1][i]));
      store(&number[pair][i], set1(mean) + radius * v.cos);
      store(&number[pair + 1][i], set1(mean) + radius * v.sin);
    }
  }
}

template <class T>
int64_t random_fill(const RandomSizes& s, const Runtime& runtime, void* const* operands) {
  T* const y = static_cast<T*>(operands[0]);
  constexpr int64_t step = 4 * kCounters;
  run_ranges(runtime, (s.count + step - 1) / step, 4 * step, 1, [&](int64_t begin, int64_t end) {
    alignas(64) double number[4][kCounters];
    alignas(64) float ordered[step];
    for (int64_t block = begin; block < end; block++) {
      philox((uint64_t)(s.offset + block * kCounters), (uint64_t)s.seed, number);
      if (s.kind == random::normal) {
        normal_numbers(s.p0, s.p1, number);
      } else if (s.kind == random::bernoulli) {
        for (auto& word : number)
          for (double& v : word) v = v < s.p0 ? 1.0 : 0.0;
      } else {
        for (auto& word : number) {
          for (double& v : word) {
            const double value = (double)(float)(s.p0 + v * (s.p1 - s.p0));
            v = value >= s.p1 ? s.p0 : value;
          }
        }
      }
      for (int i = 0; i < kCounters; i++)
        for (int w = 0; w < 4; w++) ordered[4 * i + w] = (float)number[w][i];
      const int64_t left = s.count - block * step;
      T* const to = y + block * step;
      if (left >= step) {
        for (int64_t i = 0; i < step; i++) to[i] = (T)ordered[i];
      } else {
        for (int64_t i = 0; i < left; i++) to[i] = (T)ordered[i];
      }
    }
  });
  return kOk;
}

}  // namespace
}  // namespace xcorr
