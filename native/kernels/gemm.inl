// c = activation(op(a) op(b) + bias [+ c]).
//
// Ways, chosen from the sizes alone, first match:
//   1. dot: at most 8 rows (or one column) whose reduction is contiguous in both operands, as in fully connected layers
//      at small batch. Reads the big operand once, sums in 16 virtual lanes.
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

constexpr int64_t kDotRows = 8;  // at most
// Columns whose sums wait for the epilogue together: for four it takes as long as their products.
constexpr int64_t kDotStrip = 64;

template <class T, int kM, int kN>
[[gnu::noinline]] void dot_tile(const Gemm<T>& g, int64_t row, int64_t column, T* strip) {
  Wide<T> sums[kM][kN];
#pragma GCC unroll 4
  for (int i = 0; i < kM; i++)
#pragma GCC unroll 4
    for (int j = 0; j < kN; j++) sums[i][j] = Wide<T>::of(0);
  const T* const a = g.a + row * g.k;
  const T* const b = g.b + column * g.k;
  int64_t k = 0;
  for (; k + 16 <= g.k; k += 16) {
    Wide<T> left[kM];
#pragma GCC unroll 4
    for (int i = 0; i < kM; i++) left[i] = Wide<T>::load(a + i * g.k + k);
#pragma GCC unroll 4
    for (int j = 0; j < kN; j++) {
      const Wide<T> right = Wide<T>::load(b + j * g.k + k);
#pragma GCC unroll 4
      for (int i = 0; i < kM; i++) sums[i][j].add_product(left[i], right);
    }
  }
  if (k < g.k) {
#pragma GCC unroll 4
    for (int j = 0; j < kN; j++) {
      const Wide<T> right = Wide<T>::load_partial(b + j * g.k + k, g.k - k);
#pragma GCC unroll 4
      for (int i = 0; i < kM; i++) sums[i][j].add_product(Wide<T>::load_partial(a + i * g.k + k, g.k - k), right);
    }
  }
  T totals[kM * kN];
  sum_each<T, kM * kN>(sums[0], totals);
#pragma GCC unroll 4
  for (int i = 0; i < kM; i++)
#pragma GCC unroll 4
    for (int j = 0; j < kN; j++) strip[(row + i) * kDotStrip + j] = totals[i * kN + j];
}

template <class T, int kN>
void dot_rows(const Gemm<T>& g, int64_t column, T* strip) {
  int64_t row = 0;
  for (; row + 4 <= g.m; row += 4) dot_tile<T, 4, kN>(g, row, column, strip);
  switch (g.m - row) {
    case 1:
      return dot_tile<T, 1, kN>(g, row, column, strip);
    case 2:
      return dot_tile<T, 2, kN>(g, row, column, strip);
    case 3:
      return dot_tile<T, 3, kN>(g, row, column, strip);
  }
}

// Columns outermost: what is large, b, is read once.
template <class T>
void dot(const Gemm<T>& g, int64_t from, int64_t to) {
  alignas(64) T strip[kDotRows * kDotStrip];
  for (int64_t columns; from < to; from += columns) {
    columns = smaller(kDotStrip, to - from);
    int64_t j = 0;
    for (; j + 4 <= columns; j += 4) dot_rows<T, 4>(g, from + j, strip + j);
    for (; j < columns; j++) dot_rows<T, 1>(g, from + j, strip + j);
    T* const c = g.c + from;
    finish_tile<T>(strip, kDotStrip, g.m,
                   {c, g.n, columns, g.accumulate ? c : nullptr, g.n, g.row_bias,
                    g.column_bias ? g.column_bias + from : nullptr, nullptr, g.activation});
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
  if (g.m <= kDotRows && !g.trans_a && g.trans_b) {
    const double work = 2.0 * double(g.m) * double(g.n) * double(g.k);
    DotTasks<T> tasks = {&sizes, g, {g.n, larger(1, smaller(g.n / 4, int64_t(work / 250e3)))}};
    run_tasks(runtime, work * double(s.batch) > 1e6, s.batch * tasks.parts.parts, dot_task<T>, &tasks);
    return kOk;
  }
  // Few rows of a and many of b, both contiguous along the reduction: c^T = b a^T reads b, which is large, as it lies.
  const bool turned = !g.trans_a && g.trans_b && g.m <= 256 && g.m < g.n && g.m * g.n <= 512 << 10;
  Product<T> p = {};
  p.batch = s.batch;
  p.k = g.k;
  p.c = g.c;
  p.c_row = g.n;
  p.c_batch = g.m * g.n;
  p.turned = turned;
  p.m = turned ? g.n : g.m;
  p.n = p.image = turned ? g.m : g.n;
  p.a = turned ? g.b : g.a;
  p.b = turned ? g.a : g.b;
  p.a_row = g.trans_a ? 1 : g.k;
  p.a_term = g.trans_a ? g.m : 1;
  p.a_batch = turned ? sizes.b_batch_stride : sizes.a_batch_stride;
  p.b_term = g.trans_b ? g.k : g.n;
  p.b_batch = turned ? sizes.a_batch_stride : sizes.b_batch_stride;
  p.trans_b = g.trans_b;
  p.row_bias = turned ? g.column_bias : g.row_bias;
  p.column_bias = turned ? g.row_bias : g.column_bias;
  p.residual = g.accumulate ? g.c : nullptr;
  p.activation = g.activation;
  return run_product<T>(p, runtime);
}

}  // namespace
}  // namespace xcorr
