// Activation functions of one vector and their derivatives, templates over the vector's type.
#pragma once
#include "math.inl"

namespace xcorr {
namespace {

template <class V>
XCORR_INLINE V relu(V x) {
  return max(number<V>(0), x);  // this order keeps NaN
}
template <class V>
XCORR_INLINE V clamp(V x, V lowest, V highest) {
  return min(highest, max(lowest, x));  // this order keeps NaN
}

template <class V>
XCORR_INLINE V elu(V x, V alpha) {
  return select(x > number<V>(0), x, alpha * expm1(x));
}
template <class V>
XCORR_INLINE V elu_slope(V x, V alpha) {
  return select(x > number<V>(0), number<V>(1), alpha * exp(x));
}

template <class V>
XCORR_INLINE V gelu(V x) {
  const V y = x * normal_distribution(x).distribution;
  return select(x == number<V>(-kInfinity), number<V>(kNaN), y);  // -inf * 0, as the formula says
}
template <class V>
XCORR_INLINE V gelu_slope(V x) {
  const Normal<V> n = normal_distribution(x);
  return fma(x * number<V>(0.3989422804014327), n.gaussian, n.distribution);  // 1 / sqrt(2 pi)
}

// (1 + tanh u) / 2 = sigmoid(2 u), without cancellation for negative u.
template <class V>
XCORR_INLINE V gelu_tanh_gate(V x) {
  const V scale = number<V>(1.5957691216057308), cubic = number<V>(1.5957691216057308 * 0.044715);  // 2 sqrt(2 / pi)
  return sigmoid(x * fma(x * x, cubic, scale));
}
template <class V>
XCORR_INLINE V gelu_tanh_slope(V x) {
  const V scale = number<V>(1.5957691216057308), cubic = number<V>(3 * 1.5957691216057308 * 0.044715);
  const V gate = gelu_tanh_gate(x);
  return fma(x * gate * (number<V>(1) - gate), fma(x * x, cubic, scale), gate);
}

template <class V>
XCORR_INLINE V silu_slope(V x) {
  const V gate = sigmoid(x);
  return gate * fma(x, number<V>(1) - gate, number<V>(1));
}

template <class V>
XCORR_INLINE V softplus(V x, V beta, V threshold) {
  const V scaled = x * beta;
  return select(scaled > threshold, x, log1p(exp(scaled)) / beta);
}
template <class V>
XCORR_INLINE V softplus_slope(V x, V beta, V threshold) {
  const V scaled = x * beta;
  return select(scaled > threshold, number<V>(1), sigmoid(scaled));
}

template <class V>
XCORR_INLINE V log_sigmoid(V x) {
  return min(number<V>(0), x) - log1p(exp(-abs(x)));
}

template <class V>
XCORR_INLINE V hard_sigmoid(V x) {
  return clamp(x + number<V>(3), number<V>(0), number<V>(6)) / number<V>(6);
}
template <class V>
XCORR_INLINE V hard_swish(V x) {
  return x * clamp(x + number<V>(3), number<V>(0), number<V>(6)) / number<V>(6);
}

}  // namespace
}  // namespace xcorr
