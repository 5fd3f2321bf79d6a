// exp, expm1, the logarithms, tanh, sigmoid, sinh, cosh.
#pragma once
#include "vector_basics.inl"

namespace xcorr {
namespace {

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

}  // namespace
}  // namespace xcorr
