// c = activation(op(a) op(b) + bias [+ c]).
//
// Ways, chosen from the sizes alone, first match:
//   1. dot       at most 4 rows (or columns) whose reduction is contiguous in both operands: fully connected layers at
//                small batch. Reads the big operand once, sums in 16 virtual lanes.
//   2. product.inl: everything else.
#pragma once
#include "product.inl"

namespace xcorr {
namespace {

template <class T>
struct Gemm {
  int64_t m, n, k;
  bool trans_a, trans_b;
  const T *a, *b, *row_bias, *column_bias;
  T* c;
  bool accumulate;
  int64_t activation;
};

// ---- dot ----

template <class T, int kM, int kN>
[[gnu::noinline]] void dot_tile(const Gemm<T>& g, int64_t column) {
  Wide<T> sums[kM][kN];
#pragma GCC unroll 4
  for (int i = 0; i < kM; i++)
#pragma GCC unroll 4
    for (int j = 0; j < kN; j++) sums[i][j] = Wide<T>::of(0);
  const T* b = g.b + column * g.k;
  int64_t k = 0;
  for (; k + 16 <= g.k; k += 16) {
    Wide<T> row[kM];
#pragma GCC unroll 4
    for (int i = 0; i < kM; i++) row[i] = Wide<T>::load(g.a + i * g.k + k);
#pragma GCC unroll 4
    for (int j = 0; j < kN; j++) {
      const Wide<T> other = Wide<T>::load(b + j * g.k + k);
#pragma GCC unroll 4
      for (int i = 0; i < kM; i++) sums[i][j].add_product(row[i], other);
    }
  }
  if (k < g.k)
    for (int j = 0; j < kN; j++)
      for (int i = 0; i < kM; i++)
        sums[i][j].add_product(Wide<T>::load_partial(g.a + i * g.k + k, g.k - k),
                               Wide<T>::load_partial(b + j * g.k + k, g.k - k));
  for (int i = 0; i < kM; i++)
    for (int j = 0; j < kN; j++) {
      T* const c = g.c + i * g.n + column + j;
      const T sum = sums[i][j].sum();
      finish_tile<T>(&sum, 1, 1,
                     {c, 1, 1, g.accumulate ? c : nullptr, 1, g.row_bias ? g.row_bias + i : nullptr,
                      g.column_bias ? g.column_bias + column + j : nullptr, nullptr, g.activation});
    }
}

template <class T, int kM>
void dot_columns(const Gemm<T>& g, int64_t from, int64_t to) {
  for (; from + 4 <= to; from += 4) dot_tile<T, kM, 4>(g, from);
  for (; from < to; from++) dot_tile<T, kM, 1>(g, from);
}

template <class T>
void dot(const Gemm<T>& g, int64_t from, int64_t to) {
  switch (g.m) {
    case 1:
      return dot_columns<T, 1>(g, from, to);
    case 2:
      return dot_columns<T, 2>(g, from, to);
    case 3:
      return dot_columns<T, 3>(g, from, to);
    default:
      return dot_columns<T, 4>(g, from, to);
  }
}

template <class T>
struct DotTasks {
  const GemmSizes* sizes;
  Gemm<T> first;  // matrix 0 of the batch
  Split parts;    // of the columns
};

template <class T>
void dot_task(void* state, int64_t index) {
  auto& tasks = *static_cast<DotTasks<T>*>(state);
  const int64_t part = index % tasks.parts.parts, matrix = index / tasks.parts.parts;
  Gemm<T> g = tasks.first;
  g.a += matrix * tasks.sizes->a_batch_stride;
  g.b += matrix * tasks.sizes->b_batch_stride;
  g.c += matrix * g.m * g.n;
  dot<T>(g, tasks.parts.start(part), tasks.parts.start(part) + tasks.parts.size(part));
}

template <class T>
int64_t gemm(const GemmSizes& s, const Runtime& runtime, void* const* operands) {
  if (s.batch == 0 || s.m == 0 || s.n == 0) return kOk;
  const T* const bias = static_cast<const T*>(operands[2]);
  Gemm<T> g = {s.m,
               s.n,
               s.k,
               s.trans_a != 0,
               s.trans_b != 0,
               static_cast<const T*>(operands[0]),
               static_cast<const T*>(operands[1]),
               s.bias_per == 1 ? bias : nullptr,
               s.bias_per == 2 ? bias : nullptr,
               static_cast<T*>(operands[3]),
               s.accumulate != 0,
               s.activation};
  GemmSizes sizes = s;
  // A column is its own transpose: c^T = b^T a^T reads a in rows.
  if (s.n == 1 && s.m > 1) {
    sizes.a_batch_stride = s.b_batch_stride;
    sizes.b_batch_stride = s.a_batch_stride;
    g = {1, s.m, s.k, false, !g.trans_a, g.b, g.a, g.column_bias, g.row_bias, g.c, g.accumulate, g.activation};
  }
  if (g.m == 1) g.trans_a = false;
  if (g.n == 1) g.trans_b = true;
  if (g.m <= 4 && !g.trans_a && g.trans_b) {
    const double work = 2.0 * double(g.m) * double(g.n) * double(g.k);
    DotTasks<T> tasks = {&sizes, g, {g.n, larger(1, smaller(g.n / 4, int64_t(work / 250e3)))}};
    run_tasks(runtime, work * double(s.batch) > 1e6, s.batch * tasks.parts.parts, dot_task<T>, &tasks);
    return kOk;
  }
  Product<T> p = {};
  p.batch = s.batch;
  p.m = g.m;
  p.n = p.image = g.n;
  p.k = g.k;
  p.a = g.a;
  p.a_row = g.trans_a ? 1 : g.k;
  p.a_term = g.trans_a ? g.m : 1;
  p.a_batch = sizes.a_batch_stride;
  p.b = g.b;
  p.b_term = g.trans_b ? g.k : g.n;
  p.b_batch = sizes.b_batch_stride;
  p.trans_b = g.trans_b;
  p.c = g.c;
  p.c_row = g.n;
  p.c_batch = g.m * g.n;
  p.row_bias = g.row_bias;
  p.column_bias = g.column_bias;
  p.residual = g.accumulate ? g.c : nullptr;
  p.activation = g.activation;
  return run_product<T>(p, runtime);
}

}  // namespace
}  // namespace xcorr
