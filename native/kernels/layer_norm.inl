// layer_norm and its gradient over the rows of [rows, count].
#pragma once
#include "moments.inl"
#include "parallel.inl"

namespace xcorr {
namespace {

template <class T>
int64_t layer_norm(const LayerNormSizes& s, const Runtime& runtime, void* const* operands) {
  const T* const x = static_cast<const T*>(operands[0]);
  const T* const weight = static_cast<const T*>(operands[1]);
  const T* const bias = static_cast<const T*>(operands[2]);
  T* const y = static_cast<T*>(operands[3]);
  T* const mean = static_cast<T*>(operands[4]);
  T* const rstd = static_cast<T*>(operands[5]);
  run_ranges(runtime, s.rows, 2 * s.count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) {
      const T* const from = x + row * s.count;
      T* const to = y + row * s.count;
      const Moments m = moments((double)s.count, s.count ? *from : T(0), [&](const auto& f) { f(from, s.count); });
      const double scale = 1 / __builtin_sqrt(m.squares / m.count + s.eps);
      mean[row] = (T)m.mean;
      rstd[row] = (T)scale;
      // (x - mean) scale with what the mean loses in T put back.
      const auto around = set1((T)m.mean), factor = set1((T)scale),
                 lost = set1((T)((double)(T)m.mean * scale - m.mean * scale));
      for_each_vector<T>(
          s.count, [&](int64_t i, int n) __attribute__((always_inline)) {
            auto v = fma(load_first(from + i, n) - around, factor, lost);
            if (weight) v = v * load_first(weight + i, n);
            if (bias) v = v + load_first(bias + i, n);
            store_first(to + i, v, n);
          });
    }
  });
  return kOk;
}

// With g = dy weight and normal = (x - mean) rstd: dx = rstd (g - mean(g) - normal mean(g normal)),
// dweight = sum over rows of dy normal, dbias of dy. The column sums are kept in float64, by blocks of rows added in
// order.
template <class T>
int64_t layer_norm_grad(const LayerNormSizes& s, const Runtime& runtime, void* const* operands) {
  const T* const x = static_cast<const T*>(operands[0]);
  const T* const dy = static_cast<const T*>(operands[1]);
  const T* const weight = static_cast<const T*>(operands[2]);
  const T* const mean = static_cast<const T*>(operands[3]);
  const T* const rstd = static_cast<const T*>(operands[4]);
  T* const dx = static_cast<T*>(operands[5]);
  T* const dweight = static_cast<T*>(operands[6]);
  T* const dbias = static_cast<T*>(operands[7]);
  const int64_t count = s.count;
  if (count == 0) return kOk;
  int64_t blocks = s.rows * count <= kSerialElements ? 1 : s.rows * count / kTaskElements;
  if (blocks > 32) blocks = 32;
  if (blocks > s.rows) blocks = s.rows;
  if (blocks > (1 << 22) / count) blocks = (1 << 22) / count;
  if (blocks < 1) blocks = 1;
  double* const sums = static_cast<double*>(runtime.scratch(0, blocks * 2 * count * (int64_t)sizeof(double)));
  if (!sums) return kOutOfMemory;
  run_tasks(runtime, blocks, [&](int64_t block) {
    double* const weight_sum = sums + block * 2 * count;
    double* const bias_sum = weight_sum + count;
    for (int64_t i = 0; i < 2 * count; i++) weight_sum[i] = 0;
    for (int64_t row = s.rows * block / blocks; row < s.rows * (block + 1) / blocks; row++) {
      const T* const from = x + row * count;
      const T* const incoming = dy + row * count;
      const double around = (double)mean[row], scale = (double)rstd[row];
      Wide<double> gradient = Wide<double>::of(0), product = Wide<double>::of(0);
      const auto add16 = [&](const Wide<double>& a, const Wide<double>& g, const Wide<double>& w)
          __attribute__((always_inline)) {
        for (int v = 0; v < Wide<double>::vectors; v++) {
          const VectorF64 weighted = g.v[v] * w.v[v];
          gradient.v[v] = gradient.v[v] + weighted;
          product.v[v] = fma(weighted, (a.v[v] - set1(around)) * set1(scale), product.v[v]);
        }
      };
      const Wide<double> ones = Wide<double>::of(1);
      int64_t i = 0;
      for (; i + 16 <= count; i += 16)
        add16(load16<double>(from + i), load16<double>(incoming + i), weight ? load16<double>(weight + i) : ones);
      if (i < count) {
        const int64_t n = count - i;
        add16(load16_partial<double>(from + i, n, mean[row]), load16_partial<double>(incoming + i, n, T(0)),
              weight ? load16_partial<double>(weight + i, n, T(0)) : ones);
      }
      const double mean_gradient = gradient.sum() / (double)count, mean_product = product.sum() / (double)count;
      const auto a = set1((T)scale), b = set1((T)(-scale * scale * mean_product)),
                 c = set1((T)(-scale * mean_gradient));
      const auto m = set1(mean[row]);
      for_each_vector<T>(
          count, [&](int64_t j, int n) __attribute__((always_inline)) {
            auto g = load_first(incoming + j, n);
            if (weight) g = g * load_first(weight + j, n);
            store_first(dx + row * count + j, fma(a, g, fma(b, load_first(from + j, n) - m, c)), n);
          });
      for (int64_t j = 0; j < count; j++) {
        weight_sum[j] += (double)incoming[j] * (((double)from[j] - around) * scale);
        bias_sum[j] += (double)incoming[j];
      }
    }
  });
  for (int64_t i = 0; i < count; i++) {
    double weight_total = 0, bias_total = 0;
    for (int64_t block = 0; block < blocks; block++) {
      weight_total += sums[block * 2 * count + i];
      bias_total += sums[block * 2 * count + count + i];
    }
    dweight[i] = (T)weight_total;
    dbias[i] = (T)bias_total;
  }
  return kOk;
}

}  // namespace
}  // namespace xcorr
