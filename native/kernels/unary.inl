// unary: y = f(x) element by element, on vectors of T or, where T has no form of its own, through float64.
#pragma once
#include "activation.inl"
#include "copy.inl"

namespace xcorr {
namespace {

template <class T, class F>
XCORR_INLINE void map_vectors(const T* x, T* y, int64_t count, const F& f) {
  constexpr int64_t lanes = Simd<T>::lanes;
  for (int64_t i = 0; i < count; i += lanes) {  // one place where f is inlined
    const int64_t n = count - i;
    const auto v = f(n >= lanes ? load(x + i) : load_partial(x + i, int(n)));
    if (n >= lanes)
      store(y + i, v);
    else
      store_partial(y + i, v, int(n));
  }
}

// f takes and gives VectorF64.
template <class T, class F>
XCORR_INLINE void map_float64(const T* x, T* y, int64_t count, const F& f) {
  constexpr int64_t block = 32;
  alignas(64) double wide[block];
  for (int64_t i = 0; i < count; i += block) {
    const int64_t n = count - i < block ? count - i : block;
    if (n == block) {
      for (int64_t j = 0; j < block; j++) wide[j] = (double)x[i + j];
    } else {
      for (int64_t j = 0; j < block; j++) wide[j] = j < n ? (double)x[i + j] : 0;
    }
    for (int64_t j = 0; j < n; j += Simd<double>::lanes) store(wide + j, f(load(wide + j)));
    if (n == block) {
      for (int64_t j = 0; j < block; j++) y[i + j] = convert<T>(wide[j]);
    } else {
      for (int64_t j = 0; j < n; j++) y[i + j] = convert<T>(wide[j]);
    }
  }
}

template <class T>
struct UnaryCall {
  const UnarySizes& s;
  const Runtime& runtime;
  const T* x;
  T* y;

  template <class F>
  XCORR_MEMBER void vectors(const F& f) const {
    run_ranges(runtime, s.count, 1, 64,
               [&](int64_t first, int64_t end) { map_vectors(x + first, y + first, end - first, f); });
  }
  template <class F>
  XCORR_MEMBER void float64(const F& f) const {
    run_ranges(runtime, s.count, 1, 64,
               [&](int64_t first, int64_t end) { map_float64(x + first, y + first, end - first, f); });
  }
  template <class F>
  XCORR_MEMBER void scalars(const F& f) const {
    run_ranges(runtime, s.count, 1, 64, [&](int64_t first, int64_t end) {
      for (int64_t i = first; i < end; i++) y[i] = f(x[i]);
    });
  }
};

// x^exponent for the exponents that everybody writes: by products and square roots. False: not one of them.
template <class T>
bool pow_by_products(const UnaryCall<T>& call, double exponent) {
  using V = Vector<T>;
  const V one = number<V>(1);
  if (exponent == 0)
    call.vectors([=](V) { return one; });
  else if (exponent == 1)
    call.vectors([](V x) { return x; });
  else if (exponent == 2)
    call.vectors([](V x) { return x * x; });
  else if (exponent == 3)
    call.vectors([](V x) { return x * x * x; });
  else if (exponent == 0.5)
    call.vectors([](V x) { return sqrt(x); });
  else if (exponent == -0.5)
    call.vectors([=](V x) { return one / sqrt(x); });
  else if (exponent == -1)
    call.vectors([=](V x) { return one / x; });
  else if (exponent == -2)
    call.vectors([=](V x) { return one / (x * x); });
  else
    return false;
  return true;
}

// The functions that float32 computes through float64, and int32 too.
template <class T>
void unary_float64(const UnaryCall<T>& call) {
  using V = VectorF64;
  if constexpr (__is_same(T, float)) {
    if (call.s.op == unary::sin) return call.float64([](V x) { return sin_for_float32(x); });
    if (call.s.op == unary::cos) return call.float64([](V x) { return cos_for_float32(x); });
  }
  const V p0 = set1(call.s.p0), p1 = set1(call.s.p1);
  switch (call.s.op) {
    case unary::log2:
      return call.float64([](V x) { return log2(x); });
    case unary::log10:
      return call.float64([](V x) { return log10(x); });
    case unary::sin:
      return call.float64([](V x) { return sin(x); });
    case unary::cos:
      return call.float64([](V x) { return cos(x); });
    case unary::tan:
      return call.float64([](V x) { return tan(x); });
    case unary::asin:
      return call.float64([](V x) { return asin(x); });
    case unary::acos:
      return call.float64([](V x) { return acos(x); });
    case unary::atan:
      return call.float64([](V x) { return atan(x); });
    case unary::sinh:
      return call.float64([](V x) { return sinh(x); });
    case unary::cosh:
      return call.float64([](V x) { return cosh(x); });
    case unary::pow_scalar:
      return call.float64([=](V x) { return pow(x, p0); });
  }
  if constexpr (__is_same(T, int32_t)) {
    const V one = set1(1.0);
    switch (call.s.op) {
      case unary::sqrt:
        return call.float64([](V x) { return sqrt(x); });
      case unary::rsqrt:
        return call.float64([=](V x) { return one / sqrt(x); });
      case unary::exp:
        return call.float64([](V x) { return exp(x); });
      case unary::expm1:
        return call.float64([](V x) { return expm1(x); });
      case unary::log:
        return call.float64([](V x) { return log(x); });
      case unary::log1p:
        return call.float64([](V x) { return log1p(x); });
      case unary::tanh:
        return call.float64([](V x) { return tanh(x); });
      case unary::sigmoid:
        return call.float64([](V x) { return sigmoid(x); });
      case unary::erf:
        return call.float64([](V x) { return erf(x); });
      case unary::leaky_relu:
        return call.float64([=](V x) { return select(x > set1(0.0), x, x * p0); });
      case unary::elu:
        return call.float64([=](V x) { return elu(x, p0); });
      case unary::gelu:
        return call.float64([](V x) { return gelu(x); });
      case unary::gelu_tanh:
        return call.float64([](V x) { return x * gelu_tanh_gate(x); });
      case unary::silu:
        return call.float64([](V x) { return x * sigmoid(x); });
      case unary::softplus:
        return call.float64([=](V x) { return softplus(x, p0, p1); });
      case unary::log_sigmoid:
        return call.float64([](V x) { return log_sigmoid(x); });
      case unary::clamp:
        return call.float64([=](V x) { return clamp(x, p0, p1); });
      case unary::hard_sigmoid:
        return call.float64([](V x) { return hard_sigmoid(x); });
      case unary::hard_swish:
        return call.float64([](V x) { return hard_swish(x); });
    }
  }
}

template <class T>
void unary_floating(const UnaryCall<T>& call) {
  using V = Vector<T>;
  const V zero = number<V>(0), one = number<V>(1), p0 = number<V>(call.s.p0), p1 = number<V>(call.s.p1);
  switch (call.s.op) {
    case unary::neg:
      return call.vectors([](V x) { return -x; });
    case unary::abs:
      return call.vectors([](V x) { return abs(x); });
    case unary::sign:
      return call.vectors([=](V x) { return select(x > zero, one, select(x < zero, -one, zero)); });
    case unary::square:
      return call.vectors([](V x) { return x * x; });
    case unary::sqrt:
      return call.vectors([](V x) { return sqrt(x); });
    case unary::rsqrt:
      return call.vectors([=](V x) { return one / sqrt(x); });
    case unary::reciprocal:
      return call.vectors([=](V x) { return one / x; });
    case unary::exp:
      return call.vectors([](V x) { return exp(x); });
    case unary::expm1:
      return call.vectors([](V x) { return expm1(x); });
    case unary::log:
      return call.vectors([](V x) { return log(x); });
    case unary::log1p:
      return call.vectors([](V x) { return log1p(x); });
    case unary::tanh:
      return call.vectors([](V x) { return tanh(x); });
    case unary::sigmoid:
      return call.vectors([](V x) { return sigmoid(x); });
    case unary::erf:
      return call.vectors([](V x) { return erf(x); });
    case unary::floor:
      return call.vectors([](V x) { return floor(x); });
    case unary::ceil:
      return call.vectors([](V x) { return ceil(x); });
    case unary::round:
      return call.vectors([](V x) { return round_even(x); });
    case unary::trunc:
      return call.vectors([](V x) { return trunc(x); });
    case unary::relu:
      return call.vectors([](V x) { return relu(x); });
    case unary::leaky_relu:
      return call.vectors([=](V x) { return select(x > zero, x, x * p0); });
    case unary::elu:
      return call.vectors([=](V x) { return elu(x, p0); });
    case unary::gelu:
      return call.vectors([](V x) { return gelu(x); });
    case unary::gelu_tanh:
      return call.vectors([](V x) { return x * gelu_tanh_gate(x); });
    case unary::silu:
      return call.vectors([](V x) { return x * sigmoid(x); });
    case unary::softplus:
      return call.vectors([=](V x) { return softplus(x, p0, p1); });
    case unary::log_sigmoid:
      return call.vectors([](V x) { return log_sigmoid(x); });
    case unary::clamp:
      return call.vectors([=](V x) { return clamp(x, p0, p1); });
    case unary::hard_sigmoid:
      return call.vectors([](V x) { return hard_sigmoid(x); });
    case unary::hard_swish:
      return call.vectors([](V x) { return hard_swish(x); });
    case unary::add_scalar:
      return call.vectors([=](V x) { return x + p0; });
    case unary::mul_scalar:
      return call.vectors([=](V x) { return x * p0; });
    case unary::is_nan:
      return call.vectors([=](V x) { return select(x == x, zero, one); });
    case unary::is_finite:
      return call.vectors([=](V x) { return select(x - x == zero, one, zero); });
    case unary::pow_scalar:
      if (pow_by_products(call, call.s.p0)) return;
  }
  unary_float64(call);
}

// int32 arithmetic wraps; what has no integer meaning is computed in float64, cut off and saturated.
XCORR_INLINE int32_t wrap_product(int32_t a, int32_t b) { return (int32_t)((uint32_t)a * (uint32_t)b); }
XCORR_INLINE int32_t integer_power(int32_t base, int64_t exponent) {
  if (exponent < 0) return base == 1 ? 1 : base == -1 ? (exponent % 2 ? -1 : 1) : 0;
  int32_t result = 1;
  for (; exponent > 0; exponent >>= 1) {
    if (exponent & 1) result = wrap_product(result, base);
    base = wrap_product(base, base);
  }
  return result;
}
// A number of TypeScript's as an integer that wraps to 32 bits.
XCORR_INLINE int64_t whole(double p) { return p > -9e18 && p < 9e18 ? (int64_t)p : 0; }

void unary_integer(const UnaryCall<int32_t>& call) {
  const int64_t p0 = whole(call.s.p0);
  const int32_t wrapped = (int32_t)(uint32_t)(uint64_t)p0;
  switch (call.s.op) {
    case unary::neg:
      return call.scalars([](int32_t x) { return (int32_t)(0u - (uint32_t)x); });
    case unary::abs:
      return call.scalars([](int32_t x) { return x < 0 ? (int32_t)(0u - (uint32_t)x) : x; });
    case unary::sign:
      return call.scalars([](int32_t x) { return (x > 0) - (x < 0); });
    case unary::square:
      return call.scalars([](int32_t x) { return wrap_product(x, x); });
    case unary::reciprocal:
      return call.scalars([](int32_t x) { return x == 1 || x == -1 ? x : 0; });
    case unary::floor:
    case unary::ceil:
    case unary::round:
    case unary::trunc:
      return call.scalars([](int32_t x) { return x; });
    case unary::relu:
      return call.scalars([](int32_t x) { return x > 0 ? x : 0; });
    case unary::add_scalar:
      return call.scalars([=](int32_t x) { return (int32_t)((uint32_t)x + (uint32_t)wrapped); });
    case unary::mul_scalar:
      return call.scalars([=](int32_t x) { return wrap_product(x, wrapped); });
    case unary::pow_scalar:
      return call.scalars([=](int32_t x) { return integer_power(x, p0); });
    case unary::is_nan:
      return call.scalars([](int32_t) { return 0; });
    case unary::is_finite:
      return call.scalars([](int32_t) { return 1; });
  }
  unary_float64(call);
}

template <class T>
int64_t unary(const UnarySizes& s, const Runtime& runtime, void* const* operands) {
  const UnaryCall<T> call = {s, runtime, static_cast<const T*>(operands[0]), static_cast<T*>(operands[1])};
  if constexpr (__is_same(T, int32_t))
    unary_integer(call);
  else
    unary_floating(call);
  return kOk;
}

}  // namespace
}  // namespace xcorr
