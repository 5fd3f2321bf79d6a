// c = activation(op(a) op(b) + bias [+ c]).
//
// Ways, chosen from the sizes alone, first match:
//   1. dot       at most 4 rows (or columns) whose reduction is contiguous in both operands: fully connected layers at
//                small batch. Reads the big operand once, sums in 16 virtual lanes.
//   2. blocks    everything else: tasks of rows x 384 columns, b packed by the task in panels as wide as a register
//   tile
//                (or used where it lies if it serves two panels of rows or fewer), a packed once for all tasks.
#pragma once
#include "transpose.inl"

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

// ---- blocks ----

// Rows [first, first + rows) of op(a) and depth [k0, k0 + depth) as [depth][rows].
template <class T>
void pack_a_panel(const Gemm<T>& g, int64_t first, int64_t rows, int64_t k0, int64_t depth, T* to) {
  if (g.trans_a)
    copy_rows<T>(g.a + k0 * g.m + first, g.m, depth, rows, to, rows, rows);
  else
    transpose_matrix<T>(g.a + first * g.k + k0, g.k, rows, depth, to, rows, rows);
}

// Columns [first, first + columns) of op(b) and depth [k0, k0 + depth) as [depth][width], 0 beyond the columns.
template <class T>
void pack_b_panel(const Gemm<T>& g, int64_t first, int64_t columns, int64_t k0, int64_t depth, T* to, int64_t width) {
  if (g.trans_b)
    transpose_matrix<T>(g.b + first * g.k + k0, g.k, columns, depth, to, width, width);
  else
    copy_rows<T>(g.b + k0 * g.n + first, g.n, depth, columns, to, width, width);
}

template <class T>
XCORR_INLINE int64_t panel_width(int64_t columns) {
  return columns <= Simd<T>::lanes ? Simd<T>::lanes : kTileColumns<T>;
}

// c[row panels from..to][columns first..] for the whole depth. packed_a holds all of a, or null: then panels are packed
// here, into `own`, which has room for one panel of a and then for the block of b.
template <class T>
void gemm_block(const Gemm<T>& g, const T* packed_a, int64_t panel_from, int64_t panel_to, int64_t first,
                int64_t columns, T* own) {
  const Split panels = row_panels<T>(g.m), blocks = depth_blocks(g.k);
  const int64_t tiles = ceil_div(columns, kTileColumns<T>);
  const bool pack_b = g.trans_b || panel_to - panel_from > 2;
  T* const own_b = own + Simd<T>::tile_rows * blocks.size(0);
  for (int64_t block = 0; block < blocks.parts; block++) {
    const int64_t k0 = blocks.start(block), depth = blocks.size(block);
    const bool last = block == blocks.parts - 1;
    for (int64_t tile = 0; tile < tiles; tile++) {
      const int64_t column = tile * kTileColumns<T>, width = smaller(kTileColumns<T>, columns - column);
      if (pack_b || panel_width<T>(width) != width)
        pack_b_panel<T>(g, first + column, width, k0, depth, own_b + column * depth, panel_width<T>(width));
    }
    for (int64_t panel = panel_from; panel < panel_to; panel++) {
      const int64_t row = panels.start(panel), rows = panels.size(panel);
      const T* a = own;
      if (packed_a)
        a = packed_a + g.m * k0 + row * depth;
      else
        pack_a_panel<T>(g, row, rows, k0, depth, own);
      for (int64_t tile = 0; tile < tiles; tile++) {
        const int64_t column = tile * kTileColumns<T>, width = smaller(kTileColumns<T>, columns - column);
        const bool packed = pack_b || panel_width<T>(width) != width;
        T* const c = g.c + row * g.n + first + column;
        const TileEnd<T> end = {c,
                                g.n,
                                width,
                                g.accumulate || block > 0 ? c : nullptr,
                                g.n,
                                last && g.row_bias ? g.row_bias + row : nullptr,
                                last && g.column_bias ? g.column_bias + first + column : nullptr,
                                nullptr,
                                last ? g.activation : int64_t(activation::none)};
        find_packed_tile<T>(rows, width)(depth, a, packed ? own_b + column * depth : g.b + k0 * g.n + first + column,
                                         packed ? panel_width<T>(width) : g.n, end);
      }
    }
  }
}

template <class T>
struct GemmTasks {
  const GemmSizes* sizes;
  const Runtime* runtime;
  Gemm<T> first;       // matrix 0 of the batch
  T* packed_a;         // shared, or null
  Split row_parts;     // of the row panels
  Split column_parts;  // of blocks of tile columns
  bool dot;
  bool failed;
};

template <class T>
Gemm<T> matrix_of(const GemmTasks<T>& tasks, int64_t i) {
  Gemm<T> g = tasks.first;
  g.a += i * tasks.sizes->a_batch_stride;
  g.b += i * tasks.sizes->b_batch_stride;
  g.c += i * g.m * g.n;
  return g;
}

template <class T>
void gemm_task(void* state, int64_t index) {
  auto& tasks = *static_cast<GemmTasks<T>*>(state);
  const int64_t column_part = index % tasks.column_parts.parts;
  index /= tasks.column_parts.parts;
  const int64_t row_part = index % tasks.row_parts.parts;
  const Gemm<T> g = matrix_of(tasks, index / tasks.row_parts.parts);
  if (tasks.dot) {
    const int64_t from = tasks.column_parts.start(column_part);
    return dot<T>(g, from, from + tasks.column_parts.size(column_part));
  }
  const int64_t from = tasks.column_parts.start(column_part) * kTileColumns<T>;
  const int64_t columns = smaller(tasks.column_parts.size(column_part) * kTileColumns<T>, g.n - from);
  const int64_t depth = depth_blocks(g.k).size(0);
  T* const own = static_cast<T*>(tasks.runtime->scratch(
      4, (Simd<T>::tile_rows + round_up(columns, kTileColumns<T>)) * depth * int64_t(sizeof(T))));
  if (!own) {
    tasks.failed = true;
    return;
  }
  const int64_t panel = tasks.row_parts.start(row_part);
  gemm_block<T>(g, tasks.packed_a, panel, panel + tasks.row_parts.size(row_part), from, columns, own);
}

template <class T>
void pack_a_task(void* state, int64_t panel) {
  auto& tasks = *static_cast<GemmTasks<T>*>(state);
  const Gemm<T>& g = tasks.first;
  const Split panels = row_panels<T>(g.m), blocks = depth_blocks(g.k);
  for (int64_t block = 0; block < blocks.parts; block++)
    pack_a_panel<T>(g, panels.start(panel), panels.size(panel), blocks.start(block), blocks.size(block),
                    tasks.packed_a + g.m * blocks.start(block) + panels.start(panel) * blocks.size(block));
}

// Runs the tasks on the pool if they are worth waking it (about 2 million operations), else here.
XCORR_INLINE void run_tasks(const Runtime& runtime, bool worth, int64_t count, void (*task)(void*, int64_t),
                            void* state) {
  if (worth && count > 1)
    runtime.parallel(count, task, state);
  else
    for (int64_t i = 0; i < count; i++) task(state, i);
}

template <class T>
int64_t gemm(const GemmSizes& s, const Runtime& runtime, void* const* operands) {
  const T* const bias = static_cast<const T*>(operands[2]);
  GemmTasks<T> tasks = {};
  tasks.sizes = &s;
  tasks.runtime = &runtime;
  Gemm<T>& g = tasks.first;
  GemmSizes swapped = s;
  g = {s.m,
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
  if (s.batch == 0 || s.m == 0 || s.n == 0) return kOk;
  // A column is its own transpose: c^T = b^T a^T reads a in rows.
  if (s.n == 1 && s.m > 1) {
    swapped.a_batch_stride = s.b_batch_stride;
    swapped.b_batch_stride = s.a_batch_stride;
    tasks.sizes = &swapped;
    g = {1, s.m, s.k, false, !g.trans_a, g.b, g.a, g.column_bias, g.row_bias, g.c, g.accumulate, g.activation};
  }
  if (g.m == 1) g.trans_a = false;
  if (g.n == 1) g.trans_b = true;
  const double work = 2.0 * double(s.batch) * double(g.m) * double(g.n) * double(g.k);
  const bool worth = work > 1e6;
  if (g.m <= 4 && g.n >= 1 && !g.trans_a && g.trans_b) {
    tasks.dot = true;
    tasks.row_parts = {1, 1};
    tasks.column_parts = {g.n, larger(1, smaller(g.n / 4, int64_t(work / double(s.batch) / 250e3)))};
  } else {
    const Split panels = row_panels<T>(g.m);
    const int64_t tiles = ceil_div(g.n, kTileColumns<T>);
    // About 384 columns a task; fewer, and rows split too, while there are less than 16 tasks of 250,000 operations.
    const int64_t wanted = larger(1, smaller(ceil_div(16, s.batch), int64_t(work / double(s.batch) / 250e3)));
    const int64_t columns = smaller(tiles, larger(ceil_div(g.n, 384), smaller(wanted, ceil_div(g.n, 96))));
    tasks.column_parts = {tiles, columns};
    tasks.row_parts = {panels.parts, larger(1, smaller(ceil_div(wanted, columns), panels.parts / 2))};
    const int64_t bytes = g.m * g.k * int64_t(sizeof(T));
    if ((s.batch == 1 || tasks.sizes->a_batch_stride == 0) && s.batch * tiles > 2 && bytes <= (64 << 20)) {
      tasks.packed_a = static_cast<T*>(runtime.scratch(0, bytes));
      if (!tasks.packed_a) return kOutOfMemory;
      run_tasks(runtime, bytes > 65536, panels.parts, pack_a_task<T>, &tasks);
    }
  }
  run_tasks(runtime, worth, s.batch * tasks.row_parts.parts * tasks.column_parts.parts, gemm_task<T>, &tasks);
  return tasks.failed ? int64_t(kOutOfMemory) : int64_t(kOk);
}

}  // namespace
}  // namespace xcorr
