// What the elementary functions are built from: polynomials, powers of two, sums and products without loss.
#pragma once

namespace xcorr {
namespace {

template <class V>
struct VectorTraits;
template <>
struct VectorTraits<VectorF32> {
  using Element = float;
  using Integers = VectorI32;
  typedef uint32_t Unsigned __attribute__((vector_size(kVectorBytes)));
  static constexpr int mantissa = 23, bias = 127;
};
template <>
struct VectorTraits<VectorF64> {
  using Element = double;
  using Integers = VectorI64;
  typedef uint64_t Unsigned __attribute__((vector_size(kVectorBytes)));
  static constexpr int mantissa = 52, bias = 1023;
};
template <class V>
using Element = typename VectorTraits<V>::Element;
template <class T>
using Vector = typename Simd<T>::V;

constexpr double kInfinity = __builtin_inf(), kNaN = __builtin_nan("");
#if defined(__FMA__) || defined(__aarch64__)
constexpr bool kFusedMultiplyAdd = true;
#else
constexpr bool kFusedMultiplyAdd = false;
#endif

// The same number in every lane.
template <class V>
XCORR_INLINE V number(double value) {
  return set1((Element<V>)value);
}

// c[0] + c[1] x + c[2] x^2 + ... by Horner's rule.
template <class V, int n>
XCORR_INLINE V polynomial(V x, const double (&c)[n]) {
  V sum = number<V>(c[n - 1]);
#pragma GCC unroll 32
  for (int i = n - 2; i >= 0; i--) sum = fma(sum, x, number<V>(c[i]));
  return sum;
}

// 2^n for whole n with a normal result: n is added to the exponent's bias where a sum with 1.5 * 2^mantissa keeps it.
template <class V>
XCORR_INLINE V power_of_two(V n) {
  using Traits = VectorTraits<V>;
  const V biased = n + number<V>(1.5 * (double)(1LL << Traits::mantissa) + Traits::bias);
  return as_float(as_int(biased) << Traits::mantissa);
}

// x * 2^n in two steps, so that neither overflows early nor a subnormal result is lost.
template <class V>
XCORR_INLINE V scale(V x, V n) {
  const V half = round_even(n * number<V>(0.5));
  return x * power_of_two(half) * power_of_two(n - half);
}

// high + low = a + b exactly (Knuth).
template <class V>
struct Pair {
  V high, low;
};
template <class V>
XCORR_INLINE Pair<V> two_sum(V a, V b) {
  const V sum = a + b, part = sum - a;
  return {sum, (a - (sum - part)) + (b - part)};
}
// The same where |a| >= |b|.
template <class V>
XCORR_INLINE Pair<V> fast_two_sum(V a, V b) {
  const V sum = a + b;
  return {sum, b - (sum - a)};
}
// high + low = a * b exactly: one fma, or Dekker's halves of 26 bits.
XCORR_INLINE Pair<VectorF64> two_product(VectorF64 a, VectorF64 b) {
  const VectorF64 product = a * b;
  if constexpr (kFusedMultiplyAdd) return {product, fma(a, b, -product)};
  const auto high_half = [](VectorF64 x) __attribute__((always_inline)) { return as_float(as_int(x) & ~0x7ffffffLL); };
  const VectorF64 ah = high_half(a), al = a - ah, bh = high_half(b), bl = b - bh;
  return {product, ((ah * bh - product) + ah * bl + al * bh) + al * bl};
}

}  // namespace
}  // namespace xcorr
