// erf and the distribution of the standard normal.
#pragma once
#include "exponential.inl"

namespace xcorr {
namespace {

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

}  // namespace
}  // namespace xcorr
