// The blocked product behind gemm and the convolutions with one tap:
//   c[m][n] = activation(sum over k of a[m][k] * b[k][n] [+ bias] [+ residual]).
//
// Columns may lie in images (column j at j / image * jump + j % image), so that pixels of all images are one row of
// columns: 49 pixels an image would fill 77 % of two register tiles.
//
// Nothing waits for memory that is far away: a task takes its columns of b in chunks that stay in the second-level
// cache, packed in panels as wide as a register tile by the first panel of rows as it multiplies them; panels of a,
// packed once for all tasks, come by in order. What comes next, of a and of b, is prefetched by the tiles. Between
// blocks of the depth the sums stay in a strip of one row panel, so c is written once (depths beyond kProductDepth: the
// strip is of all rows of the task).
#pragma once
#include "product_task.inl"

namespace xcorr {
namespace {

// Elements of b that a task keeps at hand (1 MB of float32), and the depth of one pass over them.
constexpr int64_t kProductBlock = 256 << 10, kProductDepth = 1152;
// Elements of a that stay in the second-level cache (1 MB of float32) next to small chunks of b.
constexpr int64_t kNear = 256 << 10;
// Tiles that are packed together at most; bytes beyond which an operand is packed by each task for itself.
constexpr int64_t kPackedTiles = 16, kMostPacked = 64 << 20;
// Few tiles (or panels of columns) are still packed by about so many tasks.
constexpr int64_t kPackingTasks = 6;

template <class T>
void product_task(void* state, int64_t index) {
  auto& tasks = *static_cast<ProductTasks<T>*>(state);
  ProductTask<T> task(tasks, index);
  if (task.allocate())
    task.run();
  else
    tasks.failed = true;
}

template <class T>
void product_pack_task(void* state, int64_t index) {
  auto& tasks = *static_cast<ProductTasks<T>*>(state);
  const Product<T>& p = tasks.product;
  const Split blocks = depth_blocks(p.k);
  const int64_t block = index % blocks.parts, k0 = blocks.start(block), depth = blocks.size(block);
  index /= blocks.parts;
  if (index < tasks.a_parts.parts)
    return pack_a_panels<T>(p, tasks.a_parts.start(index), tasks.a_parts.size(index), k0, depth, tasks.packed_a, p.k);
  index -= tasks.a_parts.parts;
  const int64_t tiles = tasks.b_parts.count, first = tasks.b_parts.start(index), count = tasks.b_parts.size(index);
  TileColumns columns[kPackedTiles];
  for (int64_t i = 0; i < count; i++) columns[i] = TileColumns::of(p, first + i);
  pack_b_tiles<T>(p, columns, first, count, k0, depth,
                  tasks.packed_b + k0 * tiles * kTileColumns<T> + first * kTileColumns<T> * depth);
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
int64_t run_product(const Product<T>& p, const Runtime& runtime) {
  if (p.batch == 0 || p.m == 0 || p.n == 0) return kOk;
  ProductTasks<T> tasks = {};
  tasks.product = p;
  tasks.runtime = &runtime;
  const Split panels = row_panels<T>(p.m), blocks = depth_blocks(p.k);
  const int64_t tiles = ceil_div(p.n, kTileColumns<T>);
  const double work = 2.0 * double(p.batch) * double(p.m) * double(p.n) * double(p.k);
  const int64_t most_blocks = larger(1, kProductDepth / larger(1, blocks.size(0)));
  tasks.group_blocks = ceil_div(blocks.parts, ceil_div(blocks.parts, most_blocks));
  const int64_t deep = larger(1, tasks.group_blocks * blocks.size(0));
  // At least 16 tasks if each has 250,000 operations: by fewer columns, then by fewer rows.
  // If all of a stays at hand, b comes in small chunks, the next one prefetched meanwhile. If panels of a come from far
  // away, 192 columns or more hide that; 96 if rows of several images need not be split then, for which their pixels
  // are packed before they are multiplied.
  const bool near = p.m * p.k <= kNear;
  const int64_t wanted = larger(1, smaller(ceil_div(16, p.batch), int64_t(work / double(p.batch) / 250e3)));
  const bool whole_rows = p.image != p.n && p.n / 192 < wanted && p.n / 96 >= wanted;
  const int64_t least = near || whole_rows ? 96 : 192;
  const int64_t columns =
      near ? smaller(256, larger(least, kProductBlock / 4 / deep)) : smaller(512, larger(least, kProductBlock / deep));
  int64_t parts = larger(ceil_div(p.n, near ? 8 * columns : columns), smaller(wanted, p.n / least));
  // Threads get as many each: 25 tasks take two of them as long as 26.
  if (parts > 16) parts = round_up(parts, p.n / round_up(parts, 16) >= least ? 16 : 4);
  // Few columns that one task holds are not worth reading many rows twice.
  if (!near && p.n <= columns && panels.parts / 2 >= wanted) parts = 1;
  tasks.column_parts = {tiles, larger(1, smaller(tiles, parts))};
  // A task has two panels of rows at least, so that it packs the ends of b's rows for more than one; unless there are
  // few.
  const int64_t most_rows = panels.parts < 8 && p.n % kTileColumns<T> == 0 ? panels.parts : panels.parts / 2;
  tasks.row_parts = {panels.parts, larger(1, smaller(ceil_div(wanted, tasks.column_parts.parts), most_rows))};
  const int64_t a_bytes = p.m * p.k * int64_t(sizeof(T));
  const int64_t b_bytes = tiles * kTileColumns<T> * p.k * int64_t(sizeof(T));
  // Packing a for all is worth it if more than one task or chunk reads it; else a chunk is all that a task has.
  const bool pack_a = (p.batch == 1 || p.a_batch == 0) && p.batch * p.n > columns && a_bytes <= kMostPacked;
  tasks.a_as_it_lies =
      !pack_a && p.a_term == 1 && !p.c_pixels && (p.turned || p.m * p.k > kNear || (p.trans_b && tiles <= 4));
  tasks.chunk_tiles = larger(1, (pack_a ? columns : larger(columns, 512)) / kTileColumns<T>);
  const bool pack_b =
      (p.batch == 1 || p.b_batch == 0) && p.batch * tasks.row_parts.parts > 1 && b_bytes <= kMostPacked &&
      (tasks.a_as_it_lies || p.trans_b || p.image != p.n || ceil_div(panels.parts, tasks.row_parts.parts) > 2);
  if (pack_a) {
    tasks.packed_a = static_cast<T*>(runtime.scratch(0, a_bytes));
    if (!tasks.packed_a) return kOutOfMemory;
    tasks.a_parts = split_evenly(panels.parts, p.a_row == 1 ? smaller(16, ceil_div(panels.parts, kPackingTasks)) : 1);
  }
  if (pack_b) {
    tasks.packed_b = static_cast<T*>(runtime.scratch(1, b_bytes));
    if (!tasks.packed_b) return kOutOfMemory;
    tasks.b_parts = split_evenly(tiles, smaller(kPackedTiles, larger(2, ceil_div(tiles, kPackingTasks))));
  }
  const double packed = double(pack_a ? a_bytes : 0) + double(pack_b ? b_bytes : 0);
  if (packed > 0)
    run_tasks(runtime, packed > 16384, (tasks.a_parts.parts + tasks.b_parts.parts) * blocks.parts, product_pack_task<T>,
              &tasks);
  run_tasks(runtime, work > 1e6, p.batch * tasks.row_parts.parts * tasks.column_parts.parts, product_task<T>, &tasks);
  return tasks.failed ? int64_t(kOutOfMemory) : int64_t(kOk);
}

}  // namespace
}  // namespace xcorr
