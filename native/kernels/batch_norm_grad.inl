// batch_norm_grad: two sweeps over each channel, the second of which finds it in the second-level cache.
#pragma once
#include "batch_norm.inl"

namespace xcorr {
namespace {

// dy where the activation lets it pass, else 0 (never dy * 0).
template <class T, int64_t code>
XCORR_INLINE Vector<T> masked(Vector<T> dy, Vector<T> y) {
  const auto zero = number<Vector<T>>(0);
  if constexpr (code == activation::relu) return select(y > zero, dy, zero);
  if constexpr (code == activation::relu6) return select((y > zero) & (y < number<Vector<T>>(6)), dy, zero);
  return dy;
}

struct GradientSums {
  double gradient, product;  // sums of g and of g (x - mean)
};

// What all sweeps of one call read.
template <class T>
struct GradientOperands {
  const T *x, *dy, *y;
};

// g = dy where the activation `code` lets it pass, as y tells or, cheaper, the forward's own arithmetic on x, which has
// to be read anyhow.
template <class T, int64_t code, bool from_y>
struct ChannelGradient {
  const GradientOperands<T>& from;
  Vector<T> mean, scale, shift;

  // g of the n elements (at most a vector) at `at`.
  XCORR_MEMBER Vector<T> at(int64_t at, int n) const {
    const auto dy = load_first(from.dy + at, n);
    if constexpr (code == activation::none) return dy;
    if constexpr (from_y) return masked<T, code>(dy, load_first(from.y + at, n));
    return masked<T, code>(dy, fma(load_first(from.x + at, n) - mean, scale, shift));
  }
  // Adds up to 16 elements; those past `count` add nothing, as g is 0 there.
  template <bool whole>
  XCORR_MEMBER void add16(int64_t first, int64_t count, VectorF64 around, Wide<double>& sum,
                          Wide<double>& product) const {
    constexpr int N = Simd<T>::lanes;
    alignas(64) T x[16], g[16];
    for (int v = 0; v < 16; v += N) {
      const int64_t left = count - v;
      const int n = whole || left > N ? N : left < 0 ? 0 : int(left);
      if (n == 0) {
        store(x + v, mean), store(g + v, splat<T>(0));
        continue;
      }
      store(g + v, at(first + v, n));
      if (!whole) store(x + v, load_first(from.x + first + v, n));
    }
    const Wide<double> a = load16<double>(whole ? from.x + first : x), b = load16<double>(static_cast<const T*>(g));
    for (int v = 0; v < Wide<double>::vectors; v++) {
      sum.v[v] = sum.v[v] + b.v[v];
      product.v[v] = fma(b.v[v], a.v[v] - around, product.v[v]);
    }
  }
  XCORR_MEMBER void add(int64_t at, int64_t count, VectorF64 around, Wide<double>& sum, Wide<double>& product) const {
    int64_t i = 0;
    for (; i + 16 <= count; i += 16) add16<true>(at + i, 16, around, sum, product);
    if (i < count) add16<false>(at + i, count - i, around, sum, product);
  }
};

// dx = a g + b (x - mean) + c
template <class T>
struct GradientFactors {
  T mean, a, b, c;

  XCORR_MEMBER static GradientFactors of(GradientSums sums, double mean, double rstd, double weight, double count) {
    const double a = weight * rstd;
    return {(T)mean, (T)a, (T)(-a * rstd * rstd * sums.product / count), (T)(-a * sums.gradient / count)};
  }
  template <class Gradient>
  XCORR_MEMBER void apply(const Gradient& gradient, int64_t at, int64_t count, T* dx, T* dresidual) const {
    const auto m = set1(mean), va = set1(a), vb = set1(b), vc = set1(c);
    for_each_vector<T>(
        count, [&](int64_t i, int n) __attribute__((always_inline)) {
          const auto g = gradient.at(at + i, n);
          store_first(dx + at + i, fma(va, g, fma(vb, load_first(gradient.from.x + at + i, n) - m, vc)), n);
          if (dresidual) store_first(dresidual + at + i, g, n);
        });
  }
};

template <class T, int64_t code, bool from_y>
int64_t batch_norm_grad_of(const BatchNormSizes& s, const Runtime& runtime, void* const* operands) {
  const GradientOperands<T> from = {static_cast<const T*>(operands[0]), static_cast<const T*>(operands[1]),
                                    static_cast<const T*>(operands[2])};
  const T* const weight = static_cast<const T*>(operands[3]);
  const T* const mean = static_cast<const T*>(operands[4]);
  const T* const variance = static_cast<const T*>(operands[5]);
  const T* const scale = static_cast<const T*>(operands[6]);  // null only where the mask does not come from it
  T* const dx = static_cast<T*>(operands[7]);
  T* const dweight = static_cast<T*>(operands[8]);
  T* const dbias = static_cast<T*>(operands[9]);
  T* const dresidual = static_cast<T*>(operands[10]);
  const double count = (double)(s.batch * s.inner);
  const auto finish = [&](int64_t channel, GradientSums sums) {
    const double rstd = 1 / __builtin_sqrt((double)variance[channel] + s.eps);
    dweight[channel] = (T)(sums.product * rstd);
    dbias[channel] = (T)sums.gradient;
    return GradientFactors<T>::of(sums, (double)mean[channel], rstd, weight ? (double)weight[channel] : 1.0, count);
  };
  typedef ChannelGradient<T, code, from_y> Gradient;
  if (s.inner == 1) {
    for_each_strip(runtime, s.batch, s.channels, [&](int64_t first, int64_t columns) {
      double sum[kStrip] = {}, product[kStrip] = {};
      alignas(64) T g[kStrip];
      const auto gradient_of = [&](int64_t i, int n) __attribute__((always_inline)) {
        const auto zero = splat<T>(0);
        if constexpr (from_y) return Gradient{from, zero, zero, zero};
        return Gradient{from, load_first(mean + first + i, n), load_first(scale + first + i, n),
                        load_first(scale + s.channels + first + i, n)};
      };
      for (int64_t row = 0; row < s.batch; row++) {
        const int64_t at = row * s.channels + first;
        for_each_vector<T>(columns, [&](int64_t i, int n) { store_first(g + i, gradient_of(i, n).at(at + i, n), n); });
        for (int64_t j = 0; j < columns; j++) {
          sum[j] += (double)g[j];
          product[j] += (double)g[j] * ((double)from.x[at + j] - (double)mean[first + j]);
        }
      }
      alignas(64) T m[kStrip] = {}, a[kStrip] = {}, b[kStrip] = {}, c[kStrip] = {};
      for (int64_t j = 0; j < columns; j++) {
        const GradientFactors<T> f = finish(first + j, {sum[j], product[j]});
        m[j] = f.mean, a[j] = f.a, b[j] = f.b, c[j] = f.c;
      }
      for (int64_t row = 0; row < s.batch; row++) {
        const int64_t at = row * s.channels + first;
        for_each_vector<T>(columns, [&](int64_t i, int n) {
          const auto g_here = gradient_of(i, n).at(at + i, n);
          const auto apart = load_first(from.x + at + i, n) - load(m + i);
          store_first(dx + at + i, fma(load(a + i), g_here, fma(load(b + i), apart, load(c + i))), n);
          if (dresidual) store_first(dresidual + at + i, g_here, n);
        });
      }
    });
    return kOk;
  }
  const ChannelPieces parts(s);
  const auto gradient_of = [&](int64_t channel) __attribute__((always_inline)) {
    const auto zero = splat<T>(0), around = splat<T>(mean[channel]);
    if constexpr (from_y) return Gradient{from, around, zero, zero};
    return Gradient{from, around, splat<T>(scale[channel]), splat<T>(scale[s.channels + channel])};
  };
  const auto sums_of = [&](int64_t channel, int64_t piece) __attribute__((always_inline)) {
    Wide<double> sum = Wide<double>::of(0), product = Wide<double>::of(0);
    const VectorF64 around = set1((double)mean[channel]);
    const Gradient gradient = gradient_of(channel);
    parts.segments(
        channel, piece, [&](int64_t at, int64_t n) __attribute__((always_inline)) {
          gradient.add(at, n, around, sum, product);
        });
    return GradientSums{sum.sum(), product.sum()};
  };
  const auto apply = [&](const GradientFactors<T>& factors, int64_t channel, int64_t piece)
      __attribute__((always_inline)) {
    const Gradient gradient = gradient_of(channel);
    parts.segments(
        channel, piece, [&](int64_t at, int64_t n) __attribute__((always_inline)) {
          factors.apply(gradient, at, n, dx, dresidual);
        });
  };
  if (parts.pieces == 1) {
    run_ranges(runtime, s.channels, 3 * parts.count, 1, [&](int64_t first, int64_t end) {
      for (int64_t c = first; c < end; c++) apply(finish(c, sums_of(c, 0)), c, 0);
    });
    return kOk;
  }
  const int64_t tasks = s.channels * parts.pieces;
  GradientSums* const partial = static_cast<GradientSums*>(runtime.scratch(0, tasks * (int64_t)sizeof(GradientSums)));
  auto* const factors =
      static_cast<GradientFactors<T>*>(runtime.scratch(1, s.channels * (int64_t)sizeof(GradientFactors<T>)));
  if (!partial || !factors) return kOutOfMemory;
  run_tasks(runtime, tasks, [&](int64_t task) { partial[task] = sums_of(task / parts.pieces, task % parts.pieces); });
  for (int64_t c = 0; c < s.channels; c++) {
    GradientSums all = {0, 0};
    for (int64_t p = 0; p < parts.pieces; p++) {
      all.gradient += partial[c * parts.pieces + p].gradient;
      all.product += partial[c * parts.pieces + p].product;
    }
    factors[c] = finish(c, all);
  }
  run_tasks(runtime, tasks,
            [&](int64_t task) { apply(factors[task / parts.pieces], task / parts.pieces, task % parts.pieces); });
  return kOk;
}

template <class T>
int64_t batch_norm_grad(const BatchNormSizes& s, const Runtime& runtime, void* const* operands) {
  int64_t status = kOk;
  with_activation(s.activation, [&](auto constant) {
    constexpr int64_t code = decltype(constant)::value;
    if (code == activation::none || operands[2])
      status = batch_norm_grad_of<T, code, true>(s, runtime, operands);
    else
      status = batch_norm_grad_of<T, code, false>(s, runtime, operands);
  });
  return status;
}

}  // namespace
}  // namespace xcorr
