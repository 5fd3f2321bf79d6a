// sin, cos, tan and their inverses, in float64.
#pragma once
#include "vector_basics.inl"

namespace xcorr {
namespace {

// ---- sin, cos, tan ----

// x - n pi / 2 as high + low with n = round(x 2 / pi), by pi / 2 in pieces of 33 bits: n times a piece is exact up to
// n = 2^20.
struct Reduced {
  VectorF64 high, low;
  VectorI64 quadrant;
};
constexpr double kLargestReducible = 1e6;

// 2 / pi: 1280 bits after the point.
constexpr uint64_t kTwoOverPi[] = {0xa2f9836e4e441529, 0xfc2757d1f534ddc0, 0xdb6295993c439041, 0xfe5163abdebbc561,
                                   0xb7246e3a424dd2e0, 0x06492eea09d1921c, 0xfe1deb1cb129a73e, 0xe88235f52ebb4484,
                                   0xe99c7026b45f7e41, 0x3991d639835339f4, 0x9c845f8bbdf9283b, 0x1ff897ffde05980f,
                                   0xef2f118b5a0a6d1f, 0x6d367ecf27cb09b7, 0x4f463f669e5fea2d, 0x7527bac7ebe5f17b,
                                   0x3d0739f78a5292ea, 0x6bfb5fb11f8d5d08, 0x56033046fc7b6bab, 0xf0cfbc209af4361d};

// Payne and Hanek: the fraction of x 2 / pi from the bits of 2 / pi that matter, in integers. |x| > 1, finite.
[[gnu::noinline]] inline double reduce_large(double x, double* low, int64_t* quadrant) {
  uint64_t bits;
  __builtin_memcpy(&bits, &x, 8);
  const bool negative = bits >> 63;
  const int exponent = int((bits >> 52) & 0x7ff) - 1075;  // |x| = mantissa * 2^exponent
  const uint64_t mantissa = (bits & 0xfffffffffffff) | 0x10000000000000;
  // Bits of weight 4 and more in x 2 / pi drop out: skip those of 2 / pi above 2^(2 - exponent).
  const int skip = exponent - 2 > 0 ? exponent - 2 : 0, lift = exponent - 2 - skip;
  const int word = skip / 64, shift = skip % 64;
  uint64_t piece[3];
  for (int i = 0; i < 3; i++)
    piece[i] =
        shift == 0 ? kTwoOverPi[word + i] : kTwoOverPi[word + i] << shift | kTwoOverPi[word + i + 1] >> (64 - shift);
  // mantissa * piece modulo 1, 192 bits after the point, then times 2^(exponent - skip) = 4 * 2^lift.
  const unsigned __int128 a = (unsigned __int128)mantissa * piece[2], b = (unsigned __int128)mantissa * piece[1];
  const uint64_t c = mantissa * piece[0];
  const unsigned __int128 middle = b + (uint64_t)(a >> 64);
  uint64_t word0 = c + (uint64_t)(middle >> 64), word1 = (uint64_t)middle, word2 = (uint64_t)a;
  if (lift < 0) {
    // |x| < 2^55: the product has whole parts below 2^(53 - lift) that must not be cut yet.
    const uint64_t whole = (uint64_t)((unsigned __int128)mantissa * piece[0] >> 64) + (word0 < c);
    const int right = -lift;
    word2 = word2 >> right | word1 << (64 - right);
    word1 = word1 >> right | word0 << (64 - right);
    word0 = word0 >> right | whole << (64 - right);
  }
  // word0's two highest bits are the quadrant, the rest the fraction; to the nearest quadrant.
  int64_t q = word0 >> 62;
  uint64_t f0 = word0 << 2 | word1 >> 62, f1 = word1 << 2 | word2 >> 62, f2 = word2 << 2;
  bool below = false;
  if (f0 >> 63) {
    q++;
    below = true;
    f0 = ~f0, f1 = ~f1, f2 = ~f2;  // 1 - fraction, less 2^-190
  }
  int zeros = f0 ? __builtin_clzll(f0) : 64 + (f1 ? __builtin_clzll(f1) : 63);
  if (zeros >= 64) f0 = f1, f1 = f2, f2 = 0;
  const int left = zeros % 64;
  if (left) f0 = f0 << left | f1 >> (64 - left), f1 = f1 << left | f2 >> (64 - left);
  // fraction = (f0, f1) * 2^(-64 - zeros), times pi / 2 in two parts.
  const double unit = __builtin_bit_cast(double, (uint64_t)(1023 - 53 - zeros) << 52);
  const double top = (double)(f0 >> 11) * unit;
  const double rest = (double)((f0 << 53) | (f1 >> 11)) * unit * 0x1p-64;
  const double pi2_high = 0x1.921fb54442d18p+0, pi2_low = 0x1.1a62633145c07p-54;
  const auto half = [](double v) {
    const uint64_t kept = __builtin_bit_cast(uint64_t, v) & ~0x7ffffffULL;
    return __builtin_bit_cast(double, kept);
  };
  const double product = top * pi2_high, th = half(top), tl = top - th, ph = half(pi2_high), pl = pi2_high - ph;
  double error = ((th * ph - product) + th * pl + tl * ph) + tl * pl;
  error = error + (top * pi2_low + rest * pi2_high);
  double high = product + error, low_part = error - (high - product);
  if (below) high = -high, low_part = -low_part;
  if (negative) high = -high, low_part = -low_part, q = -q;
  *low = low_part;
  *quadrant = q & 3;
  return high;
}

XCORR_INLINE Reduced reduce_angle(VectorF64 x) {
  const auto large = abs(x) > set1(kLargestReducible);
  const VectorF64 bounded = select(large, set1(0.0), x);
  const VectorF64 n = round_even(bounded * set1(0.6366197723675814));
  const VectorF64 first = bounded - n * set1(0x1.921fb544p+0);
  const Pair<VectorF64> second = two_sum(first, -(n * set1(0x1.0b4611a6p-34)));
  const Pair<VectorF64> third = two_sum(second.high, -(n * set1(0x1.3198a2ep-69)));
  const VectorF64 tail = third.low + (second.low - n * set1(0x1.b839a252049c1p-104));
  const Pair<VectorF64> sum = fast_two_sum(third.high, tail);
  Reduced r = {select(n == set1(0.0), x, sum.high), sum.low, to_int(n) & 3};
  if (__builtin_expect(any(large), 0)) {
    for (int i = 0; i < Simd<double>::lanes; i++) {
      if (!large[i]) continue;
      double low = 0;
      int64_t quadrant = 0;
      const double value = x[i];
      r.high[i] = value - value == 0 ? reduce_large(value, &low, &quadrant) : kNaN;
      r.low[i] = low;
      r.quadrant[i] = quadrant;
    }
  }
  return r;
}

// (sin r - r) / r^3 and (cos r - 1 + r^2 / 2) / r^4 in r^2, |r| <= pi / 4.
constexpr double kSin[] = {-0.16666666666666666,   0.00833333333333095,     -0.00019841269836759208,
                           2.7557316102723463e-06, -2.5051131855038404e-08, 1.591812854191806e-10};
constexpr double kCos[] = {0.041666666666666664,  -0.0013888888888887398, 2.4801587298765916e-05,
                           -2.75573172717598e-07, 2.087614626041983e-09,  -1.1382631029830746e-11};

struct SinCos {
  VectorF64 sin, cos;
};
// Of the reduced angle, |high| <= pi / 4.
XCORR_INLINE SinCos sin_cos_reduced(VectorF64 r, VectorF64 low) {
  const VectorF64 one = set1(1.0), half = set1(0.5), z = r * r, hz = half * z;
  const VectorF64 s = fma(z * r, polynomial(z, kSin), low * (one - hz));
  const VectorF64 w = one - hz, lost = (one - w) - hz;
  const VectorF64 c = fma(z * z, polynomial(z, kCos), fma(-r, low, lost));
  return {r + s, w + c};
}
XCORR_INLINE VectorF64 sin_quadrant(SinCos v, VectorI64 quadrant) {
  const VectorF64 y = select((quadrant & 1) == 0, v.sin, v.cos);
  return as_float(as_int(y) ^ ((quadrant & 2) << 62));
}
XCORR_INLINE VectorF64 sin(VectorF64 x) {
  const Reduced r = reduce_angle(x);
  return select(abs(x) < set1(0x1p-30), x, sin_quadrant(sin_cos_reduced(r.high, r.low), r.quadrant));
}
XCORR_INLINE VectorF64 cos(VectorF64 x) {
  const Reduced r = reduce_angle(x);
  return sin_quadrant(sin_cos_reduced(r.high, r.low), r.quadrant + 1);
}
XCORR_INLINE VectorF64 tan(VectorF64 x) {
  const Reduced r = reduce_angle(x);
  const SinCos v = sin_cos_reduced(r.high, r.low);
  const VectorI64 odd = (r.quadrant & 1) != 0;
  const VectorF64 y = select(odd, -v.cos, v.sin) / select(odd, v.sin, v.cos);
  return select(abs(x) < set1(0x1p-30), x, y);
}

// sin and cos for results that are rounded to float32, of arguments up to kLargestReducible: pi / 2 in two pieces, no
// low part, one term less.
template <bool cosine>
XCORR_INLINE VectorF64 sin_cos_short(VectorF64 x) {
  const VectorF64 n = round_even(x * set1(0.6366197723675814));
  const VectorF64 r = fma(n, set1(-0x1.0b4611a626331p-34), fma(n, set1(-0x1.921fb544p+0), x));
  const VectorF64 z = r * r;
  const double sine[] = {kSin[0], kSin[1], kSin[2], kSin[3], kSin[4]};
  const double cosines[] = {-0.5, kCos[0], kCos[1], kCos[2], kCos[3], kCos[4]};
  const SinCos v = {fma(z * r, polynomial(z, sine), r), fma(z, polynomial(z, cosines), set1(1.0))};
  return sin_quadrant(v, to_int(n) + (cosine ? 1 : 0));
}
XCORR_INLINE VectorF64 sin_for_float32(VectorF64 x) {
  if (__builtin_expect(any(~(abs(x) < set1(kLargestReducible))), 0)) return sin(x);
  return select(abs(x) < set1(0x1p-30), x, sin_cos_short<false>(x));
}
XCORR_INLINE VectorF64 cos_for_float32(VectorF64 x) {
  if (__builtin_expect(any(~(abs(x) < set1(kLargestReducible))), 0)) return cos(x);
  return sin_cos_short<true>(x);
}

// ---- asin, acos, atan, atan2 ----

// (asin x - x) / x^3 in x^2 <= 1/4.
constexpr double kAsin[] = {0.16666666666666669,  0.07499999999998246,  0.04464285714671502,  0.030381944111486255,
                            0.022372173991937087, 0.017352368698808223, 0.013971561192651324, 0.011475856595829429,
                            0.010343929955748742, 0.005368862248790659, 0.017636788516383315, -0.015212438127253425,
                            0.028998874125483222};
constexpr double kHalfPi = 0x1.921fb54442d18p+0, kHalfPiLow = 0x1.1a62633145c07p-54;

// asin|x| = pi / 2 - 2 asin(sqrt((1 - |x|) / 2)) from 1/2 on; root + root_low is that root.
struct Arcsine {
  VectorI64 small;
  VectorF64 root, root_low, rest;  // asin(root) = root + rest
};
XCORR_INLINE Arcsine arcsine(VectorF64 size) {
  const VectorI64 small = size < set1(0.5);
  const VectorF64 z = select(small, size * size, set1(0.5) - set1(0.5) * size);
  const VectorF64 root = select(small, size, sqrt(z));
  const VectorF64 cut = as_float(as_int(root) & ~0xffffffffLL);
  const VectorF64 low = (z - cut * cut) / (root + cut);
  return {small, select(small, root, cut), select(small | (root == set1(0.0)), set1(0.0), low),
          root * z * polynomial(z, kAsin)};
}
XCORR_INLINE VectorF64 asin(VectorF64 x) {
  const VectorF64 size = abs(x);
  const Arcsine a = arcsine(size);
  const VectorF64 two = set1(2.0);
  // pi/4 - 2 root is exact enough to carry the rest.
  const VectorF64 quarter = set1(kHalfPi / 2);
  const VectorF64 small_terms = two * a.rest - (set1(kHalfPiLow) - two * a.root_low);
  const VectorF64 large = quarter - (small_terms - (quarter - two * a.root));
  return copysign(select(a.small, a.root + a.rest, select(size == set1(1.0), set1(kHalfPi), large)), x);
}
XCORR_INLINE VectorF64 acos(VectorF64 x) {
  const Arcsine a = arcsine(abs(x));
  const VectorF64 two = set1(2.0), rest = a.rest + a.root_low;
  const VectorF64 near_zero = set1(kHalfPi) - (x - (set1(kHalfPiLow) - copysign(a.rest, x)));
  const VectorF64 positive = two * (a.root + rest);
  const VectorF64 negative = set1(2 * kHalfPi) - two * (a.root + (rest - set1(kHalfPiLow)));
  return select(a.small, near_zero, select(x < set1(0.0), negative, positive));
}

// (atan x - x) / x^3 in x^2 <= 1.
constexpr double kAtan[] = {-0.3333333333333333,    0.1999999999999966,     -0.14285714285662274,
                            0.11111111107961197,    -0.09090908989699323,   0.07692305696225195,
                            -0.06666640294483393,   0.05882105663620744,    -0.05261444511596005,
                            0.047528685373512965,   -0.043107341402344075,  0.038794057991855264,
                            -0.033886443149551956,  0.027781997902729567,   -0.02049955156767295,
                            0.013000147385240985,   -0.006747395319311454,  0.002710914715722303,
                            -0.0007827635889542088, 0.00014354269751993637, -1.2498171622732583e-05};
// atan(num / den) for 0 <= num, 0 < den: the smaller over the larger, whose rounding error (the remainder) is added.
XCORR_INLINE VectorF64 atan_ratio(VectorF64 num, VectorF64 den) {
  const auto swap = num > den;
  const VectorF64 t = select(swap, den, num) / select(swap, num, den);
  const VectorF64 z = t * t, rest = t * z * polynomial(z, kAtan);
  return select(swap, set1(kHalfPi) - (t - (set1(kHalfPiLow) - rest)), t + rest);
}
XCORR_INLINE VectorF64 atan(VectorF64 x) { return copysign(atan_ratio(abs(x), set1(1.0)), x); }
XCORR_INLINE VectorF64 atan2(VectorF64 y, VectorF64 x) {
  const VectorF64 zero = set1(0.0), one = set1(1.0), infinity = set1(kInfinity);
  VectorF64 num = abs(y), den = abs(x);
  const auto both_infinite = (num == infinity) & (den == infinity);
  const auto both_zero = (num == zero) & (den == zero);
  num = select(both_infinite, one, num);
  den = select(both_infinite | both_zero, one, den);
  const VectorF64 angle = atan_ratio(num, den);
  const auto left = as_int(x) < 0;
  return select(x == x, copysign(select(left, set1(2 * kHalfPi) - (angle - set1(2 * kHalfPiLow)), angle), y), x);
}

}  // namespace
}  // namespace xcorr
