// batch_norm_grad: two sweeps over each channel, the mask of the activation taken from y.
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

  // g of the n elements (at most a vector) at `at`.
  template <int64_t code>
  XCORR_MEMBER Vector<T> gradient(int64_t at, int n) const {
    if constexpr (code == activation::none) return load_first(dy + at, n);
    return masked<T, code>(load_first(dy + at, n), load_first(y + at, n));
  }
  template <int64_t code>
  XCORR_MEMBER void add(int64_t at, int64_t count, VectorF64 mean, Wide<double>& sum, Wide<double>& product) const {
    alignas(64) T g[16];
    const auto add16 = [&](const T* from, const T* gradients) __attribute__((always_inline)) {
      const Wide<double> a = load16<double>(from), b = load16<double>(gradients);
      for (int v = 0; v < Wide<double>::vectors; v++) {
        sum.v[v] = sum.v[v] + b.v[v];
        product.v[v] = fma(b.v[v], a.v[v] - mean, product.v[v]);
      }
    };
    int64_t i = 0;
    for (; i + 16 <= count; i += 16) {
      for (int v = 0; v < 16; v += Simd<T>::lanes) store(g + v, gradient<code>(at + i + v, Simd<T>::lanes));
      add16(x + at + i, g);
    }
    if (i == count) return;
    alignas(64) T rest[16];
    for (int v = 0; v < 16; v++) rest[v] = i + v < count ? x[at + i + v] : T(0), g[v] = 0;
    for (int v = 0; v < 16 && i + v < count; v += Simd<T>::lanes) {
      const int64_t left = count - i - v;
      const int n = left < Simd<T>::lanes ? (int)left : Simd<T>::lanes;
      store_first(g + v, gradient<code>(at + i + v, n), n);
    }
    add16(rest, g);
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
  template <int64_t code>
  XCORR_MEMBER void apply(const GradientOperands<T>& from, int64_t at, int64_t count, T* dx, T* dresidual) const {
    const auto m = set1(mean), va = set1(a), vb = set1(b), vc = set1(c);
    for_each_vector<T>(
        count, [&](int64_t i, int n) __attribute__((always_inline)) {
          const auto g = from.template gradient<code>(at + i, n);
          store_first(dx + at + i, fma(va, g, fma(vb, load_first(from.x + at + i, n) - m, vc)), n);
          if (dresidual) store_first(dresidual + at + i, g, n);
        });
  }
};

template <class T>
int64_t batch_norm_grad(const BatchNormSizes& s, const Runtime& runtime, void* const* operands) {
  const GradientOperands<T> from = {static_cast<const T*>(operands[0]), static_cast<const T*>(operands[1]),
                                    static_cast<const T*>(operands[2])};
  const T* const weight = static_cast<const T*>(operands[3]);
  const T* const mean = static_cast<const T*>(operands[4]);
  const T* const variance = static_cast<const T*>(operands[5]);
  T* const dx = static_cast<T*>(operands[6]);
  T* const dweight = static_cast<T*>(operands[7]);
  T* const dbias = static_cast<T*>(operands[8]);
  T* const dresidual = static_cast<T*>(operands[9]);
  const double count = (double)(s.batch * s.inner);
  const auto finish = [&](int64_t channel, GradientSums sums) {
    const double rstd = 1 / __builtin_sqrt((double)variance[channel] + s.eps);
    dweight[channel] = (T)(sums.product * rstd);
    dbias[channel] = (T)sums.gradient;
    return GradientFactors<T>::of(sums, (double)mean[channel], rstd, weight ? (double)weight[channel] : 1.0, count);
  };
  int64_t status = kOk;
  with_activation(s.activation, [&](auto constant) {
    constexpr int64_t code = decltype(constant)::value;
    if (s.inner == 1) {
      for_each_strip(runtime, s.batch, s.channels, [&](int64_t first, int64_t columns) {
        double gradient[kStrip] = {}, product[kStrip] = {};
        alignas(64) T g[kStrip];
        const auto row_gradient = [&](int64_t at) {
          for_each_vector<T>(columns,
                             [&](int64_t i, int n) { store_first(g + i, from.template gradient<code>(at + i, n), n); });
        };
        for (int64_t n = 0; n < s.batch; n++) {
          const int64_t at = n * s.channels + first;
          row_gradient(at);
          for (int64_t j = 0; j < columns; j++) {
            gradient[j] += (double)g[j];
            product[j] += (double)g[j] * ((double)from.x[at + j] - (double)mean[first + j]);
          }
        }
        alignas(64) T m[kStrip] = {}, a[kStrip] = {}, b[kStrip] = {}, c[kStrip] = {};
        for (int64_t j = 0; j < columns; j++) {
          const GradientFactors<T> f = finish(first + j, {gradient[j], product[j]});
          m[j] = f.mean, a[j] = f.a, b[j] = f.b, c[j] = f.c;
        }
        for (int64_t row = 0; row < s.batch; row++) {
          const int64_t at = row * s.channels + first;
          for_each_vector<T>(columns, [&](int64_t i, int n) {
            const auto g_here = from.template gradient<code>(at + i, n);
            const auto apart = load_first(from.x + at + i, n) - load(m + i);
            store_first(dx + at + i, fma(load(a + i), g_here, fma(load(b + i), apart, load(c + i))), n);
            if (dresidual) store_first(dresidual + at + i, g_here, n);
          });
        }
      });
      return;
    }
    const ChannelPieces parts(s);
    const auto sums_of = [&](int64_t channel, int64_t piece) __attribute__((always_inline)) {
      Wide<double> sum = Wide<double>::of(0), product = Wide<double>::of(0);
      const VectorF64 around = set1((double)mean[channel]);
      parts.segments(
          channel, piece, [&](int64_t at, int64_t n) __attribute__((always_inline)) {
            from.template add<code>(at, n, around, sum, product);
          });
      return GradientSums{sum.sum(), product.sum()};
    };
    const auto apply = [&](const GradientFactors<T>& factors, int64_t channel, int64_t piece)
        __attribute__((always_inline)) {
      parts.segments(
          channel, piece, [&](int64_t at, int64_t n) __attribute__((always_inline)) {
            factors.template apply<code>(from, at, n, dx, dresidual);
          });
    };
    if (parts.pieces == 1) {
      run_ranges(runtime, s.channels, 3 * parts.count, 1, [&](int64_t first, int64_t end) {
        for (int64_t c = first; c < end; c++) apply(finish(c, sums_of(c, 0)), c, 0);
      });
      return;
    }
    const int64_t tasks = s.channels * parts.pieces;
    GradientSums* const partial = static_cast<GradientSums*>(runtime.scratch(0, tasks * (int64_t)sizeof(GradientSums)));
    auto* const factors =
        static_cast<GradientFactors<T>*>(runtime.scratch(1, s.channels * (int64_t)sizeof(GradientFactors<T>)));
    if (!partial || !factors) {
      status = kOutOfMemory;
      return;
    }
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
  });
  return status;
}

}  // namespace
}  // namespace xcorr
