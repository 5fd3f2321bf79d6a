// random_fill: Philox 4x32-10 and its mapping to numbers, which abi.h fixes.
//
// Nothing here uses fma: the numbers are the same on every target, also on the one that has none.
#pragma once
#include "softmax.inl"

namespace xcorr {
namespace {

constexpr int kCounters = 16;  // counters in flight: 64 numbers

// Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC 2011); constants from the paper.
// word[w][i]: word w of the block of counter `first + i`.
XCORR_INLINE void philox(uint64_t first, uint64_t key, uint32_t (&word)[4][kCounters]) {
  uint32_t c0[kCounters], c1[kCounters], c2[kCounters] = {}, c3[kCounters] = {};
  for (int i = 0; i < kCounters; i++) {
    c0[i] = (uint32_t)(first + (uint64_t)i);
    c1[i] = (uint32_t)((first + (uint64_t)i) >> 32);
  }
  uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
  for (int round = 0; round < 10; round++) {
    for (int i = 0; i < kCounters; i++) {
      const uint64_t a = (uint64_t)0xd2511f53 * c0[i], b = (uint64_t)0xcd9e8d57 * c2[i];
      c0[i] = (uint32_t)(b >> 32) ^ c1[i] ^ k0;
      c2[i] = (uint32_t)(a >> 32) ^ c3[i] ^ k1;
      c1[i] = (uint32_t)b;
      c3[i] = (uint32_t)a;
    }
    k0 += 0x9e3779b9;
    k1 += 0xbb67ae85;
  }
  for (int i = 0; i < kCounters; i++) word[0][i] = c0[i], word[1][i] = c1[i], word[2][i] = c2[i], word[3][i] = c3[i];
}

// Upper 24 bits as a number in [0, 1).
XCORR_INLINE double unit(uint32_t word) { return (double)(int32_t)(word >> 8) * 0x1p-24; }

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

// number[w][i] from word[w][i].
XCORR_INLINE void normal_numbers(const uint32_t (&word)[4][kCounters], double mean, double deviation,
                                 double (&number)[4][kCounters]) {
  for (int pair = 0; pair < 4; pair += 2) {
    alignas(64) double first[kCounters], second[kCounters];
    for (int i = 0; i < kCounters; i++) first[i] = unit(word[pair][i]) + 0x1p-24, second[i] = unit(word[pair + 1][i]);
    for (int i = 0; i < kCounters; i += Simd<double>::lanes) {
      const VectorF64 radius = set1(deviation) * normal_radius(load(first + i));
      const SinCos v = sin_cos_turns(load(second + i));
      store(&number[pair][i], set1(mean) + radius * v.cos);
      store(&number[pair + 1][i], set1(mean) + radius * v.sin);
    }
  }
}

template <class T>
int64_t random_fill(const RandomSizes& s, const Runtime& runtime, void* const* operands) {
  T* const y = static_cast<T*>(operands[0]);
  constexpr int64_t step = 4 * kCounters;
  run_ranges(runtime, (s.count + step - 1) / step, 8 * step, 1, [&](int64_t begin, int64_t end) {
    uint32_t word[4][kCounters];
    alignas(64) double number[4][kCounters];
    float ordered[step];
    for (int64_t block = begin; block < end; block++) {
      philox((uint64_t)(s.offset + block * kCounters), (uint64_t)s.seed, word);
      if (s.kind == random::normal) {
        normal_numbers(word, s.p0, s.p1, number);
      } else if (s.kind == random::bernoulli) {
        for (int w = 0; w < 4; w++)
          for (int i = 0; i < kCounters; i++) number[w][i] = unit(word[w][i]) < s.p0 ? 1.0 : 0.0;
      } else {
        for (int w = 0; w < 4; w++) {
          for (int i = 0; i < kCounters; i++) {
            const double value = (double)(float)(s.p0 + unit(word[w][i]) * (s.p1 - s.p0));
            number[w][i] = value >= s.p1 ? s.p0 : value;
          }
        }
      }
      for (int i = 0; i < kCounters; i++)
        for (int w = 0; w < 4; w++) ordered[4 * i + w] = (float)number[w][i];
      const int64_t left = s.count - block * step, n = left < step ? left : step;
      for (int64_t i = 0; i < n; i++) y[block * step + i] = (T)ordered[i];
    }
  });
  return kOk;
}

}  // namespace
}  // namespace xcorr
