// pow, fmod and remainder, in float64.
#pragma once
#include "exponential.inl"

namespace xcorr {
namespace {

// ---- pow ----

// (log((1 + s) / (1 - s)) / (2 s) - 1 - s^2 / 3) / s^4 in s^2.
constexpr double kPow[] = {0.2,
                           0.14285714285714687,
                           0.11111111110824966,
                           0.09090909168319306,
                           0.07692297419252123,
                           0.06667405513105504,
                           0.05853038057317582,
                           0.058623851502663};

XCORR_INLINE Pair<VectorF64> multiply(Pair<VectorF64> a, Pair<VectorF64> b) {
  const Pair<VectorF64> p = two_product(a.high, b.high);
  return fast_two_sum(p.high, p.low + fma(a.high, b.low, a.low * b.high));
}
XCORR_INLINE Pair<VectorF64> add(Pair<VectorF64> a, Pair<VectorF64> b) {
  const Pair<VectorF64> s = two_sum(a.high, b.high);
  return fast_two_sum(s.high, s.low + (a.low + b.low));
}

// log(x) for positive finite x to about 2^-66 of its value.
XCORR_INLINE Pair<VectorF64> log_pair(VectorF64 x) {
  using V = VectorF64;
  const Split2<V> split = split_exponent(x);
  const Pair<V> den = two_sum(set1(2.0), split.f);
  const V s = split.f / den.high;
  const Pair<V> back = two_product(s, den.high);
  const Pair<V> ratio = {s, (((split.f - back.high) - back.low) - s * den.low) / den.high};
  const Pair<V> z = multiply(ratio, ratio);
  const V tail = z.high * polynomial(z.high, kPow);
  const Pair<V> third = fast_two_sum(set1(0x1.5555555555555p-2), set1(0x1.5555555555555p-56) + tail);
  const Pair<V> correction = multiply(multiply(z, third), ratio);
  const Pair<V> log_f = add(ratio, correction);  // half of it
  const Pair<V> k = {split.k * set1(Ln2<V>::high), split.k * set1(Ln2<V>::low)};
  return add(k, {log_f.high + log_f.high, log_f.low + log_f.low});
}

XCORR_INLINE VectorF64 pow(VectorF64 x, VectorF64 y) {
  using V = VectorF64;
  const V zero = set1(0.0), one = set1(1.0), infinity = set1(kInfinity), size = abs(x);
  const Pair<V> l = log_pair(select((size > zero) & (size < infinity), size, one));
  // |y| beyond 1e300 would overflow in the products; the answer is 0, 1 or infinite long before.
  const V bounded = min(set1(1e300), max(set1(-1e300), y));
  const Pair<V> p = two_product(bounded, l.high);
  const V low = fma(bounded, l.low, p.low);
  const auto settled = abs(p.high) > set1(800.0);
  V result = exp_sum(p.high, select(settled, zero, low));
  // Base 0 and infinity.
  const V vanishing = select(y > zero, zero, infinity), growing = select(y > zero, infinity, zero);
  result = select(size == zero, vanishing, select(size == infinity, growing, result));
  // Whole and odd exponents decide the sign; from 2^53 on every number is even.
  const auto whole = trunc(y) == y;
  const V halved = y * set1(0.5);
  const auto odd = whole & (trunc(halved) != halved) & (abs(y) < set1(0x1p53));
  const auto negative = as_int(x) < 0;
  result = select(negative & odd, -result, result);
  result = select((x < zero) & ~whole & (size < infinity), set1(kNaN), result);
  result = select((x == -one) & (abs(y) == infinity), one, result);
  result = select((x == x) & (y == y), result, x + y);
  return select((y == zero) | (x == one), one, result);
}

// ---- fmod ----

// Exact for any arguments: long division of the mantissas, 11 bits of the quotient at a time.
[[gnu::noinline]] inline double fmod_exact(double x, double y) {
  const uint64_t sign_bit = 0x8000000000000000, hidden = 0x10000000000000;
  uint64_t a = __builtin_bit_cast(uint64_t, x), b = __builtin_bit_cast(uint64_t, y);
  const uint64_t sign = a & sign_bit;
  a &= ~sign_bit, b &= ~sign_bit;
  const uint64_t infinite = 0x7ff0000000000000;
  if (a >= infinite || b > infinite || b == 0) return kNaN;
  if (a < b) return x;
  int a_exponent = int(a >> 52), b_exponent = int(b >> 52);
  a &= hidden - 1, b &= hidden - 1;
  if (a_exponent)
    a |= hidden;
  else
    a_exponent = 1;
  if (b_exponent)
    b |= hidden;
  else
    b_exponent = 1;
  a %= b;
  for (int left = a_exponent - b_exponent; left > 0 && a != 0;) {
    const int step = left < 11 ? left : 11;
    a = (a << step) % b;
    left -= step;
  }
  if (a == 0) return __builtin_bit_cast(double, sign);
  const int shift = __builtin_clzll(a) - 11;
  const int lift = shift < b_exponent - 1 ? shift : b_exponent - 1;
  a <<= lift;
  const uint64_t exponent = a & hidden ? uint64_t(b_exponent - lift) << 52 : 0;
  return __builtin_bit_cast(double, sign | exponent | (a & (hidden - 1)));
}

// C's fmod: the sign of x. While the quotient is small, x - trunc(x / y) y is exact with an fma.
XCORR_INLINE VectorF64 fmod(VectorF64 x, VectorF64 y) {
  const VectorF64 size = abs(x), divisor = abs(y);
  if constexpr (kFusedMultiplyAdd) {
    const VectorF64 quotient = trunc(size / divisor);
    const auto fast = (quotient < set1(0x1p52)) & (divisor > set1(1e-290)) & (divisor < set1(kInfinity));
    if (__builtin_expect(!any(~fast), 1)) {
      const VectorF64 r = fma(-quotient, divisor, size);
      return copysign(select(r < set1(0.0), r + divisor, select(r >= divisor, r - divisor, r)), x);
    }
  }
  VectorF64 r = {};
  for (int i = 0; i < Simd<double>::lanes; i++) r[i] = fmod_exact(x[i], y[i]);
  return r;
}

// Python's %: the sign of y.
XCORR_INLINE VectorF64 remainder(VectorF64 x, VectorF64 y) {
  const VectorF64 r = fmod(x, y), zero = set1(0.0);
  return select((r != zero) & ((r < zero) != (y < zero)), r + y, r);
}

}  // namespace
}  // namespace xcorr
