// The weight gradient of a convolution with one tap and stride 1, for large images: the product of dy's and x's rows of
// pixels.
//
// The operand with more channels is read where it lies, the other one is transposed to [pixel][channel], a block of
// pixels at a time, so that both pass through the second-level cache once while the next block is prefetched. Tasks
// divide the blocks and, if those are few, the rows; each has sums of its own, which are added in the order of the
// tasks at the end.
#pragma once
#include "conv_plan.inl"
#include "gemm.inl"
#include "parallel.inl"
#include "strided_pixels.inl"
#include "sum_parts.inl"

namespace xcorr {
namespace {

XCORR_INLINE bool pointwise_weight_grad_fits(const ConvSizes& s) {
  bool same = volume(s.kernel) == 1 && s.groups == 1;
  for (int d = 0; d < kSpatial; d++) same = same && s.stride[d] == 1 && s.pad[d] == 0 && s.in[d] == s.out[d];
  const int64_t pixels = volume(s.out);
  // The sums of large weights are read and written for every image of few pixels.
  const bool few_sums = pixels >= 256 || (pixels >= 64 && s.in_channels * s.out_channels <= 65536);
  return same && few_sums && s.batch * pixels >= 1536 && s.out_channels > 0;
}

template <class T>
class PointwiseWeightGrad {
 public:
  // `strided_`: x's planes are wider, and these of their pixels count; with at least as many output channels, and
  // planes of one block.
  PointwiseWeightGrad(const ConvSizes& s, const Runtime& runtime_, void* const* operands,
                      const StridedPixels<T>* strided_ = nullptr)
      : runtime(runtime_),
        strided(strided_),
        pixels(volume(s.out)),
        swapped(s.out_channels < s.in_channels),
        m(swapped ? s.in_channels : s.out_channels),
        n(swapped ? s.out_channels : s.in_channels),
        a(static_cast<const T*>(operands[swapped ? 0 : 1])),
        b(static_cast<const T*>(operands[swapped ? 1 : 0])),
        dw(static_cast<T*>(operands[2])),
        dbias(static_cast<T*>(operands[3])),
        tiles(ceil_div(n, kColumns)),
        panels(row_panels<T>(m)),
        image_blocks(strided ? Split{pixels, 1} : split_evenly(pixels, kBlockPixels)),
        batch(s.batch) {
    // Sums of a part cost about as much as 60 pixels.
    const int64_t parts = smaller(16, larger(1, batch * pixels / 768));
    block_parts = {batch * image_blocks.parts, smaller(parts, batch * image_blocks.parts)};
    row_parts = {panels.parts, larger(1, smaller(ceil_div(16, block_parts.parts), panels.parts / 8))};
  }

  int64_t execute() {
    sums = static_cast<T*>(runtime.scratch(0, block_parts.parts * m * tiles * kColumns * int64_t(sizeof(T))));
    bias_sums =
        static_cast<T*>(runtime.scratch(1, block_parts.parts * outputs() * (1 + Wide<T>::width) * int64_t(sizeof(T))));
    if (!sums || !bias_sums) return kOutOfMemory;
    run_tasks(runtime, block_parts.parts * row_parts.parts, [&](int64_t index) { multiply(index); });
    if (failed) return kOutOfMemory;
    run_tasks(runtime, ceil_div(m, kRowsTogether), [&](int64_t index) { add(index); });
    return failed ? int64_t(kOutOfMemory) : int64_t(kOk);
  }

 private:
  static constexpr int64_t kColumns = kTileColumns<T>, kRowsTogether = 32, kBlockPixels = 224;
  const Runtime& runtime;
  const StridedPixels<T>* strided;
  int64_t pixels;
  bool swapped;  // the rows are x's channels, not dy's
  int64_t m, n;
  const T *a, *b;
  T *dw, *dbias;
  int64_t tiles;
  Split panels, image_blocks;
  int64_t batch;
  Split block_parts, row_parts;
  T* sums;       // [part of the blocks][m][tiles * kColumns]
  T* bias_sums;  // [part][output channel], then the 16 lanes of each
  bool failed = false;

  int64_t outputs() const { return swapped ? n : m; }

  // Of an operand's first channel.
  const T* at(const T* operand, int64_t channels, int64_t block) const {
    return operand + block / image_blocks.parts * channels * pixels + image_blocks.start(block % image_blocks.parts);
  }

  // The planes of a block's image.
  const T* strided_image(int64_t block) const { return b + block / image_blocks.parts * n * strided->plane(); }

  void multiply(int64_t index) {
    const int64_t row_part = index % row_parts.parts, part = index / row_parts.parts;
    const int64_t panel_from = row_parts.start(row_part), panel_to = panel_from + row_parts.size(row_part);
    const int64_t row_from = panels.start(panel_from), rows_here = panels.start(panel_to) - row_from;
    const int64_t block_from = block_parts.start(part), block_to = block_from + block_parts.size(part);
    T* const packed = static_cast<T*>(runtime.scratch(4, tiles * kColumns * image_blocks.size(0) * int64_t(sizeof(T))));
    if (!packed) {
      failed = true;
      return;
    }
    const bool sum_bias = dbias && (!swapped || row_part == 0);
    const int64_t bias_from = swapped ? 0 : row_from, bias_to = swapped ? n : row_from + rows_here;
    T* const lanes = bias_sums + (block_parts.parts + part * Wide<T>::width) * outputs();
    const int64_t stride = tiles * kColumns;
    for (int64_t block = block_from; block < block_to; block++) {
      const int64_t depth = image_blocks.size(block % image_blocks.parts);
      const T* const from_a = at(a, m, block);
      const T* const from_b = at(b, n, block);
      if (sum_bias) add_bias(swapped ? from_b : from_a, depth, bias_from, bias_to, block == block_from, lanes);
      for (int64_t tile = 0; tile < tiles; tile++) {
        const int64_t count = smaller(kColumns, n - tile * kColumns), width = panel_width<T>(count);
        const T* rows = from_b + tile * kColumns * pixels;
        if (strided)
          rows = gather_rows(*strided, runtime, strided_image(block) + tile * kColumns * strided->plane(), count,
                             image_blocks.start(block % image_blocks.parts), depth);
        if (!rows) {
          failed = true;
          return;
        }
        transpose_matrix<T>(rows, strided ? gathered_stride(depth) : pixels, count, depth,
                            packed + tile * kColumns * depth, width, width);
      }
      // Meanwhile rows of both operands in the next block are fetched, first a's, then b's.
      const int64_t calls = (panel_to - panel_from) * tiles;
      const int64_t calls_a = larger(1, calls * rows_here / (rows_here + n));
      int64_t call = 0;
      RowsToCome<T> rows_a, rows_b;
      if (block + 1 < (row_parts.parts == 1 ? block_parts.count : block_to)) {  // perhaps the next task's
        rows_a = {at(a, m, block + 1) + row_from * pixels, rows_here, depth, pixels, calls_a};
        if (strided)  // rows of all planes: they follow each other
          rows_b = {strided_image(block + 1), n * volume(strided->out) / strided->out[2],
                    strided->out[2] * strided->stride[2], strided->stride[1] * strided->in[2],
                    larger(1, calls - calls_a)};
        else
          rows_b = {at(b, n, block + 1), n, depth, pixels, larger(1, calls - calls_a)};
      }
      // A tile of b stays in the first-level cache.
      for (int64_t tile = 0; tile < tiles; tile++) {
        const int64_t width = panel_width<T>(smaller(kColumns, n - tile * kColumns));
        for (int64_t panel = panel_from; panel < panel_to; panel++) {
          const int64_t row = panels.start(panel), rows = panels.size(panel);
          T* const to = sums + (part * m + row) * stride + tile * kColumns;
          Ahead<T> ahead;
          (call++ < calls_a ? rows_a : rows_b).share(ahead);
          Tiles<T>::template find_rows<Simd<T>::tile_rows>(rows, width < kColumns)(
              depth, from_a + row * pixels, pixels, packed + tile * kColumns * depth, ahead,
              {to, stride, width, block > block_from ? to : nullptr, stride});
        }
      }
    }
    if (sum_bias)
      add_lanes(lanes + bias_from * Wide<T>::width, bias_to - bias_from, bias_sums + part * outputs() + bias_from);
  }

  // Sums of `depth` pixels of channels [first, end), in 16 lanes each.
  void add_bias(const T* from, int64_t depth, int64_t first, int64_t end, bool initial, T* lanes) const {
    for (int64_t k = first; k < end; k++) {
      T* const to = lanes + k * Wide<T>::width;
      Wide<T> sum = initial ? Wide<T>::of(0) : Wide<T>::load(to);
      int64_t i = 0;
      for (; i + Wide<T>::width <= depth; i += Wide<T>::width) sum.add(Wide<T>::load(from + k * pixels + i));
      if (i < depth) sum.add(Wide<T>::load_partial(from + k * pixels + i, depth - i));
      sum.store(to);
    }
  }

  // The parts' sums of some rows, and then their bias.
  void add(int64_t index) {
    const int64_t first = index * kRowsTogether, rows = smaller(kRowsTogether, m - first), stride = tiles * kColumns;
    T* const total = static_cast<T*>(runtime.scratch(4, rows * stride * int64_t(sizeof(T))));
    if (!total) {
      failed = true;
      return;
    }
    sum_parts(sums + first * stride, m * stride, block_parts.parts, rows * stride, total);
    if (swapped)
      transpose_matrix<T>(total, stride, rows, n, dw + first, m, rows);
    else
      copy_rows<T>(total, stride, rows, n, dw + first * n, n, n);
    if (dbias && index == 0) sum_parts(bias_sums, outputs(), block_parts.parts, outputs(), dbias);
  }
};

}  // namespace
}  // namespace xcorr
