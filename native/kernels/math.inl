// Elementary functions on vectors, from coefficients of our own minimax fits (Remez, 60 digits, rounded last).
//
// Every lane is computed alone by +, -, *, /, sqrt and explicit fma, so that targets with an fma give the same bits.
// Float64 is the accurate form, 1 to 2 units in the last place over the whole range; float32 has its own short forms
// where a network spends time (exp, log, tanh, sigmoid, erf) and else goes through float64 (pointwise.inl).
// Exact steps (Cody and Waite's reductions, products of split numbers) do not rely on fma, for the target without one.
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

// ---- exp ----

constexpr double kLog2E = 1.4426950408889634;
// ln 2 in two parts; products of the first with exponents are exact.
template <class V>
struct Ln2;
template <>
struct Ln2<VectorF64> {
  static constexpr double high = 0x1.62e42fefa3800p-1, low = 0x1.ef35793c76730p-45;
};
template <>
struct Ln2<VectorF32> {
  static constexpr double high = 0x1.62e4p-1, low = 0x1.7f7d1cf79abcap-20;
};

// (exp(r) - 1 - r) / r^2 on |r| <= ln 2 / 2.
constexpr double kExp64[] = {0.5,
                             0.1666666666666667,
                             0.041666666666666685,
                             0.008333333333326134,
                             0.0013888888888874398,
                             0.0001984126987482399,
                             2.480158734733946e-05,
                             2.7557255396471e-06,
                             2.7557252912472866e-07,
                             2.510521838664829e-08,
                             2.0921589370829142e-09};
constexpr double kExp32[] = {0.5, 0.166666672, 0.041666463, 0.00833328627, 0.00139336544, 0.000199075846};
XCORR_INLINE VectorF64 exp_tail(VectorF64 r) { return polynomial(r, kExp64); }
XCORR_INLINE VectorF32 exp_tail(VectorF32 r) { return polynomial(r, kExp32); }

// Beyond these, exp (and half of it) is 0 or infinite.
template <class V>
XCORR_INLINE V exp_range(V x) {
  constexpr bool is_double = sizeof(Element<V>) == 8;
  return min(number<V>(is_double ? 712 : 91), max(number<V>(is_double ? -746 : -104), x));  // this order keeps NaN
}

// exp(x + low), |low| far below 1.
template <class V>
XCORR_INLINE V exp_sum(V x, V low) {
  x = exp_range(x);
  const V n = round_even(x * number<V>(kLog2E));
  const V r = fma(n, number<V>(-Ln2<V>::high), x) + fma(n, number<V>(-Ln2<V>::low), low);
  return scale(fma(r * r, exp_tail(r), r) + number<V>(1), n);
}

// exp(x) * 2^power for a small whole power.
template <class V>
XCORR_INLINE V exp_scaled(V x, double power) {
  x = exp_range(x);
  const V n = round_even(x * number<V>(kLog2E));
  const V r = fma(n, number<V>(-Ln2<V>::low), fma(n, number<V>(-Ln2<V>::high), x));
  return scale(fma(r * r, exp_tail(r), r) + number<V>(1), n + number<V>(power));
}

template <class V>
XCORR_INLINE V exp(V x) {
  return exp_scaled(x, 0);
}

// exp(x) - 1 = 2^n (exp(r) - 1) + (2^n - 1), halved inside so that 2^1024 is never formed.
template <class V>
XCORR_INLINE V expm1(V x) {
  constexpr bool is_double = sizeof(Element<V>) == 8;
  const V bounded = min(number<V>(is_double ? 710 : 89), max(number<V>(-50), x));
  const V n = round_even(bounded * number<V>(kLog2E));
  const V first = fma(n, number<V>(-Ln2<V>::high), bounded), second = n * number<V>(-Ln2<V>::low);
  const V r = first + second, lost = (first - r) + second;
  const V p = r + fma(r * r, exp_tail(r), lost);
  const V power = power_of_two(n - number<V>(1));
  const V y = number<V>(2) * fma(power, p, power - number<V>(0.5));
  return select(abs(x) < number<V>(0x1p-60), x, y);  // keeps -0 and subnormals
}

// ---- log ----

// x = 2^k (1 + f) with 1 + f between sqrt(1/2) and sqrt(2); x positive and finite.
template <class V>
struct Split2 {
  V k, f;
};
template <class V>
XCORR_INLINE Split2<V> split_exponent(V x) {
  using Traits = VectorTraits<V>;
  using Unsigned = typename Traits::Unsigned;
  constexpr bool is_double = Traits::mantissa == 52;
  const auto subnormal = x < number<V>(is_double ? 0x1p-1022 : 0x1p-126);
  x = select(subnormal, x * number<V>(is_double ? 0x1p54 : 0x1p25), x);
  const auto exponent = (typename Traits::Integers)((Unsigned)as_int(x) >> Traits::mantissa);
  const V one = number<V>(1);
  const V mantissa = as_float((as_int(x) & ((1LL << Traits::mantissa) - 1)) | as_int(one));
  const auto above = mantissa > number<V>(1.4142135623730951);
  V k = to_float(exponent) - number<V>(Traits::bias);
  k = k - select(subnormal, number<V>(is_double ? 54 : 25), number<V>(0));
  return {select(above, k + one, k), select(above, mantissa * number<V>(0.5), mantissa) - one};
}

// (log((1 + s) / (1 - s)) - 2 s) / s^3 in s^2, |s| <= 0.1716.
constexpr double kLog64[] = {0.666666666666667,   0.399999999998982,   0.28571428626510875, 0.22222211054622024,
                             0.18182894545355477, 0.15331552896669207, 0.14618416871215997};
// (log(1 + f) - f + f^2 / 2) / f^3.
constexpr double kLog32[] = {0.333333313,  -0.249999806, 0.200006887,  -0.166691512, 0.142511562,
                             -0.123966955, 0.116346516,  -0.116599582, 0.0733259022};

// log(1 + f) = f - half_square + rest; s = f / (2 + f).
struct Log1p64 {
  VectorF64 half_square, rest, s;
};
XCORR_INLINE Log1p64 log1p_parts(VectorF64 f) {
  const VectorF64 s = f / (f + set1(2.0)), z = s * s, half_square = set1(0.5) * f * f;
  return {half_square, s * fma(z, polynomial(z, kLog64), half_square), s};
}

// log(2^k (1 + f)) + low / (1 + f), low far below 1.
XCORR_INLINE VectorF64 log_of(Split2<VectorF64> x, VectorF64 low) {
  const Log1p64 p = log1p_parts(x.f);
  const VectorF64 two_s = p.s + p.s;
  low = low * fma(two_s, p.s, set1(1.0) - two_s);  // 1 / (1 + f) = (1 - s) / (1 + s) = 1 - 2s + 2s^2 - ...
  const VectorF64 small = p.rest + fma(x.k, set1(Ln2<VectorF64>::low), low);
  return fma(x.k, set1(Ln2<VectorF64>::high), x.f - (p.half_square - small));
}
XCORR_INLINE VectorF32 log_of(Split2<VectorF32> x, VectorF32 low) {
  using V = VectorF32;
  const V f = x.f, p = polynomial(f, kLog32);
  low = low * fma(f, f, number<V>(1) - f);  // 1 / (1 + f)
  const V tail = fma(f * f, fma(f, p, number<V>(-0.5)), fma(x.k, number<V>(Ln2<V>::low), low));
  return fma(x.k, number<V>(Ln2<V>::high), f + tail);
}

// log's value at 0, below 0, at infinity and NaN.
template <class V>
XCORR_INLINE V log_edges(V x, V y) {
  const V zero = number<V>(0);
  y = select(x > zero, y, select(x == zero, number<V>(-kInfinity), number<V>(kNaN)));
  return select(x < number<V>(kInfinity), y, x);
}

template <class V>
XCORR_INLINE V log(V x) {
  return log_edges(x, log_of(split_exponent(x), number<V>(0)));
}

template <class V>
XCORR_INLINE V log1p(V x) {
  const Pair<V> u = two_sum(number<V>(1), x);
  const Split2<V> split = split_exponent(u.high);
  // What 1 + x lost; beside k > 100 it is nothing.
  const V low = u.low * power_of_two(-min(split.k, number<V>(100)));
  const V y = log_edges(u.high, log_of(split, low));
  return select(abs(x) < number<V>(0x1p-60), x, y);
}

// log2 and log10 as f - f^2 / 2 in two parts times 1 / ln 2 in two parts (fdlibm's scheme): exact at the powers.
XCORR_INLINE VectorF64 scaled_log(VectorF64 x, double k_high, double k_low, double scale_high, double scale_low) {
  const Split2<VectorF64> split = split_exponent(x);
  const Log1p64 p = log1p_parts(split.f);
  const VectorF64 high = as_float(as_int(split.f - p.half_square) & ~0xffffffffLL);
  const VectorF64 low = ((split.f - high) - p.half_square) + p.rest;
  const VectorF64 value_high = high * set1(scale_high), base = split.k * set1(k_high);
  VectorF64 value_low = fma(low, set1(scale_high), fma(low + high, set1(scale_low), split.k * set1(k_low)));
  const VectorF64 sum = base + value_high;
  value_low = value_low + ((base - sum) + value_high);
  return log_edges(x, value_low + sum);
}
XCORR_INLINE VectorF64 log2(VectorF64 x) { return scaled_log(x, 1, 0, 0x1.71547p+0, 0x1.94ae0bf85ddf4p-22); }
XCORR_INLINE VectorF64 log10(VectorF64 x) {
  return scaled_log(x, 0x1.34413509f7800p-2, 0x1.fef311f12b358p-46, 0x1.bcb7bp-2, 0x1.526e50e32a6abp-26);
}

// ---- tanh, sigmoid, sinh, cosh ----

template <class V>
XCORR_INLINE V tanh(V x) {
  const V two = number<V>(2), one = number<V>(1), size = abs(x);
  const V t = expm1(min(number<V>(44), size + size));  // beyond 22, tanh is 1
  const auto small = t < one;
  const V q = select(small, t, two) / (t + two);
  const V y = copysign(select(small, q, one - q), x);
  return select(size < number<V>(0x1p-60), x, select(x == x, y, x));
}

// 1 / (1 + exp(-x)), from exp(-|x|), which cannot overflow.
template <class V>
XCORR_INLINE V sigmoid(V x) {
  const V one = number<V>(1), e = exp(-abs(x));
  return select(x < number<V>(0), e, one) / (one + e);
}

XCORR_INLINE VectorF64 sinh(VectorF64 x) {
  const VectorF64 size = abs(x), one = set1(1.0), half = set1(0.5);
  // With t = exp(x) - 1: (t + t / (t + 1)) / 2; from 20 on exp(x) / 2.
  const VectorF64 t = expm1(min(set1(20.0), size));
  const VectorF64 near = half * (t + t / (t + one));
  const VectorF64 far = exp_scaled(size, -1);
  const VectorF64 y = copysign(select(size < set1(20.0), near, far), x);
  return select(size < set1(0x1p-30), x, select(x == x, y, x));
}
XCORR_INLINE VectorF64 cosh(VectorF64 x) {
  const VectorF64 size = abs(x);
  const VectorF64 e = exp_scaled(size, -1);
  return select(size < set1(20.0), e + set1(0.25) / e, e);
}

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

// ---- erf and relatives ----

// erf(x) / x - 1 in x^2, |x| <= 0.85; and exp(x^2) erfc(x) (x + 3) in t = (x - 3) / (x + 3), x from 1/2 to 28 (10.5).
constexpr double kErf64[] = {0.12837916709551257,     -0.37612638903183354,   0.11283791670932984,
                             -0.026866170640324077,   0.005223977571880922,   -0.0008548323538026986,
                             0.00012055191316163532,  -1.492194058243205e-05, 1.6399344415495229e-06,
                             -1.5698546115329044e-07, 1.0679626639790295e-08};
constexpr double kErf32[] = {0.128379165, -0.376125753, 0.112827696, -0.0268045496, 0.00505422987, -0.000633235206};
constexpr double kErfc64[] = {
    1.0740069070883398,      -0.8833944531698836,     0.590228357104102,      -0.31046726190056556,
    0.11952776128728124,     -0.026827234624552027,   -0.0012124166269937768, 0.0030340620023267726,
    -0.0005483096947288679,  -0.00027677785437041764, 0.00010756151390007586, 3.0398185276651615e-05,
    -1.7470732533257862e-05, -4.749179906326745e-06,  2.7660464139508067e-06, 9.98381098979243e-07,
    -4.0959442022369526e-07, -2.319036052970907e-07,  4.8531768365586825e-08, 4.7978567360950074e-08,
    -3.1481379819151406e-09, -6.146349944599544e-09};
constexpr double kErfc32[] = {1.07400692,    -0.88339448,    0.59022826,    -0.310466528,    0.119530171,
                              -0.0268351343, -0.00123312918, 0.00306355255, -0.000471547275, -0.000303535402};
XCORR_INLINE VectorF64 erf_small(VectorF64 x) { return fma(x, polynomial(x * x, kErf64), x); }
XCORR_INLINE VectorF32 erf_small(VectorF32 x) { return fma(x, polynomial(x * x, kErf32), x); }
XCORR_INLINE VectorF64 erfc_scaled(VectorF64 t) { return polynomial(t, kErfc64); }
XCORR_INLINE VectorF32 erfc_scaled(VectorF32 t) { return polynomial(t, kErfc32); }

// What x * x loses in rounding.
XCORR_INLINE VectorF64 square_low(VectorF64 x, VectorF64) { return two_product(x, x).low; }
XCORR_INLINE VectorF32 square_low(VectorF32 x, VectorF32 square) {
  if constexpr (kFusedMultiplyAdd) return fma(x, x, -square);
  const VectorF32 high = as_float(as_int(x) & ~0xfff), low = x - high;
  return ((high * high - square) + (high + high) * low) + low * low;
}

// erfc(size) for size >= 1/2, and the gaussian exp(-size^2).
template <class V>
struct Erfc {
  V value, gaussian;
};
template <class V>
XCORR_INLINE Erfc<V> erfc_large(V size) {
  constexpr bool is_double = sizeof(Element<V>) == 8;
  size = min(number<V>(is_double ? 28 : 10.5), size);
  const V square = size * size, three = number<V>(3);
  const V gaussian = exp_sum(-square, -square_low(size, square));
  const V bounded = max(size, number<V>(0.5));
  const V q = number<V>(1) / (bounded + three);
  return {gaussian * (q * erfc_scaled((bounded - three) * q)), gaussian};
}

template <class V>
XCORR_INLINE V erf(V x) {
  const V size = abs(x), one = number<V>(1);
  const V large = one - erfc_large(size).value;
  const V y = select(size < number<V>(0.85), erf_small(size), copysign(large, one));
  return select(x == x, copysign(y, x), x);
}

// The normal distribution's Phi(x) = erfc(-x / sqrt 2) / 2, relative accuracy in both tails, and exp(-x^2 / 2).
template <class V>
struct Normal {
  V distribution, gaussian;
};
template <class V>
XCORR_INLINE Normal<V> normal_distribution(V x) {
  // x / sqrt 2 is rounded; exp(-x^2 / 2) is computed from x itself.
  const V half = number<V>(0.5), one = number<V>(1), three = number<V>(3);
  const V limit = number<V>(sizeof(Element<V>) == 8 ? 39 : 14.5), size = min(limit, abs(x));
  const V scaled = size * number<V>(0.7071067811865476), square = size * size;
  const V gaussian = exp_sum(-half * square, -half * square_low(size, square));
  const V bounded = max(scaled, half), q = one / (bounded + three);
  const V tail = half * (gaussian * (q * erfc_scaled((bounded - three) * q)));
  const V near = half * erf_small(scaled);
  const auto negative = x < number<V>(0);
  const V distribution =
      select(scaled < half, half + select(negative, -near, near), select(negative, tail, one - tail));
  return {select(x == x, distribution, x), gaussian};
}

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
  VectorF64 r;
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
