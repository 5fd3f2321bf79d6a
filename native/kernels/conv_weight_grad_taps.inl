// The weight gradient of a filter of several taps, directly: dw[k][c][tap] = sum over pixels of dy[k][pixel] *
// x[c][pixel * stride + offset of tap].
//
// A task owns some channels of x and of dy and takes a block of about 200 output pixels at a time. Both operands' rows
// of the block are transposed once for all taps: dy to [pixel][32 channels], the lanes of a register tile, x to
// [pixel][up to 14 channels], which are broadcast. A tap is then a distance between runs of pixels, at any stride and
// dilation, and rows and columns where it lies beside the image are left out (18 % of the products of 7x7 images). A
// panel of each fits the first-level cache, all panels of a block and its sums the second; while a block is multiplied,
// the next one is fetched.
//
// Each block is a chain from zero, blocks are added in order. Tasks that share their channels have sums of their own,
// added in the order of the tasks: like the blocks, they follow from the sizes alone.
#pragma once
#include "conv_plan.inl"
#include "gemm.inl"
#include "im2col.inl"
#include "parallel.inl"
#include "sum_parts.inl"

namespace xcorr {
namespace {

// A run of pixels of a tap: the first ones in the block's x and dy, and how many.
struct TapRun {
  int64_t x, dy, count;
};

// c[rows][columns] over some runs: a as [pixel][kRows], `a_step` elements between pixels that follow each other, b as
// [pixel][width].
template <class T, int kRows, int kVectors>
[[gnu::noinline]] void runs_tile(const TapRun* run, int64_t runs, const T* a, int64_t a_step, const T* b,
                                 Ahead<T>& ahead, const TileEnd<T>& end) {
  constexpr int64_t kWidth = kVectors * Simd<T>::lanes;
  typename Simd<T>::V sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int m = 0; m < kRows; m++)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; v++) sums[m][v] = splat<T>(0);
  RowsAhead<T> rows(ahead, a);
  for (const TapRun* const stop = run + runs; run != stop; run++) {
    const T* x = a + run->x * kRows;
    const T* dy = b + run->dy * kWidth;
    const T* const last = dy + run->count * kWidth;
    rows.fetch();
    do {
      typename Simd<T>::V row[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; v++) row[v] = load(dy + v * Simd<T>::lanes);
#pragma GCC unroll 16
      for (int m = 0; m < kRows; m++) {
        const auto factor = set1(x[m]);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) sums[m][v] = fma(factor, row[v], sums[m][v]);
      }
      x += a_step;
      dy += kWidth;
    } while (dy != last);
  }
  end_tile<T, kRows, kVectors>(sums, end);
}

template <class T>
using RunsTile = void (*)(const TapRun*, int64_t, const T*, int64_t, const T*, Ahead<T>&, const TileEnd<T>&);
template <class T, int kRows = Simd<T>::tile_rows>
RunsTile<T> find_runs_tile(int64_t rows, bool narrow) {
  if constexpr (kRows > 1)
    if (rows < kRows) return find_runs_tile<T, kRows - 1>(rows, narrow);
  return narrow ? runs_tile<T, kRows, 1> : runs_tile<T, kRows, Simd<T>::tile_vectors>;
}

template <class T>
class TapsWeightGrad {
 public:
  TapsWeightGrad(const ConvSizes& s_, const Runtime& runtime_, void* const* operands)
      : runtime(runtime_),
        s(s_),
        x(static_cast<const T*>(operands[0])),
        dy(static_cast<const T*>(operands[1])),
        dw(static_cast<T*>(operands[2])),
        dbias(static_cast<T*>(operands[3])),
        channels(s.in_channels / s.groups),
        outputs(s.out_channels / s.groups),
        taps(volume(s.kernel)),
        plane(volume(s.in)),
        pixels(volume(s.out)),
        rows(s.out[0] * s.out[1]),
        c_panels(row_panels<T>(channels)),
        k_panels(ceil_div(outputs, kColumns)) {
    if (pixels <= kBlockPixels) {
      images = split_evenly(s.batch, kBlockPixels / pixels);
      bands = {rows, 1};
    } else {
      images = {s.batch, s.batch};
      bands = split_evenly(rows, larger(1, kBlockPixels / s.out[2]));
    }
    for (int64_t band = 0; band < bands.parts; band++) {
      const Lines lines = lines_of(band);
      x_pixels = larger(x_pixels, images.size(0) * lines.count * s.in[2]);
    }
    // Sums of at most 300 KB where there are 64 x 64 channels to share; a part of the blocks costs as much as 60
    // pixels.
    const int64_t most_channels = larger(8, smaller(64, 1728 / taps)), c_groups = ceil_div(channels, most_channels);
    int64_t k_groups = ceil_div(outputs, taps <= 9 ? 128 : 64);
    if (s.groups * c_groups * k_groups < kTasks) k_groups = ceil_div(outputs, 64);
    c_parts = {c_panels.parts, smaller(c_panels.parts, c_groups)};
    k_parts = {k_panels, smaller(k_panels, k_groups)};
    const int64_t wanted = ceil_div(kTasks, s.groups * c_groups * k_groups);
    block_parts = {blocks(), larger(1, smaller(smaller(wanted, s.batch * pixels / 768), blocks()))};
  }

  static bool fits(const ConvSizes& s) {
    const int64_t c = s.in_channels / s.groups, k = s.out_channels / s.groups;
    const bool plane = s.in[0] == 1 && s.kernel[0] == 1 && s.pad[0] == 0 && s.out[0] == 1;
    return plane && volume(s.kernel) > 1 && c >= 8 && k >= 8 && s.batch > 0 && volume(s.in) > 0 && volume(s.out) > 0 &&
           s.out[2] <= 1024;
  }

  int64_t execute() {
    if (block_parts.parts > 1) {
      shared_sums = static_cast<T*>(runtime.scratch(0, block_parts.parts * sums_size() * int64_t(sizeof(T))));
      if (!shared_sums) return kOutOfMemory;
    }
    if (dbias) {
      bias_sums = static_cast<T*>(runtime.scratch(1, blocks() * s.out_channels * int64_t(sizeof(T))));
      if (!bias_sums) return kOutOfMemory;
    }
    run_tasks(runtime, tasks(), [&](int64_t index) { multiply(index); });
    if (failed) return kOutOfMemory;
    if (block_parts.parts > 1)
      run_tasks(runtime, s.groups * k_panels * add_parts().parts, [&](int64_t index) { add(index); });
    if (dbias) sum_parts(bias_sums, s.out_channels, blocks(), s.out_channels, dbias);
    return failed ? int64_t(kOutOfMemory) : int64_t(kOk);
  }

 private:
  static constexpr int64_t kColumns = kTileColumns<T>, kBlockPixels = 224, kTasks = 16;
  static constexpr int64_t kMostOfARun = 64;  // pixels between two fetches
  const Runtime& runtime;
  const ConvSizes& s;
  const T *x, *dy;
  T *dw, *dbias;
  int64_t channels, outputs, taps;  // of one group
  int64_t plane, pixels, rows;      // of x; of dy, and its rows
  Split c_panels;                   // of a group, as all that follows about channels
  int64_t k_panels;
  Split images, bands;                             // a block is either several images or a band of rows of one
  int64_t x_pixels = 0;                            // of a block, at most
  Split c_parts, k_parts;                          // of the panels
  Split block_parts;                               // of the blocks
  T *shared_sums = nullptr, *bias_sums = nullptr;  // [part][group][k panel][channel][tap][kColumns]; [block][channel]
  bool failed = false;

  int64_t blocks() const { return images.parts * bands.parts; }
  int64_t tasks() const { return s.groups * c_parts.parts * k_parts.parts * block_parts.parts; }
  int64_t sums_size() const { return s.groups * k_panels * channels * taps * kColumns; }
  Split add_parts() const { return split_evenly(channels, 32); }
  int64_t k_count(int64_t k_panel) const { return smaller(kColumns, outputs - k_panel * kColumns); }

  // Rows of x that a band of rows of dy meets.
  struct Lines {
    int64_t first, count;
  };
  Lines lines_of(int64_t band) const {
    const int64_t from = bands.start(band), to = from + bands.size(band);
    const int64_t first = larger(0, from * s.stride[1] - s.pad[1]);
    const int64_t last = (to - 1) * s.stride[1] - s.pad[1] + (s.kernel[1] - 1) * s.dilation[1];
    return {smaller(first, s.in[1] - 1), larger(1, smaller(last, s.in[1] - 1) + 1 - first)};
  }

  // What a task owns.
  struct Part {
    int64_t group, c_panel, c_panels, channel, channels, k_panel, k_panels, output, outputs, block_part;
  };
  Part part_of(int64_t index) const {
    Part p;
    p.block_part = index % block_parts.parts;
    index /= block_parts.parts;
    const int64_t c = index % c_parts.parts, k = index / c_parts.parts % k_parts.parts;
    p.group = index / c_parts.parts / k_parts.parts;
    p.c_panel = c_parts.start(c);
    p.c_panels = c_parts.size(c);
    p.channel = c_panels.start(p.c_panel);
    p.channels = c_panels.start(p.c_panel + p.c_panels) - p.channel;
    p.k_panel = k_parts.start(k);
    p.k_panels = k_parts.size(k);
    p.output = p.k_panel * kColumns;
    p.outputs = smaller(outputs, (p.k_panel + p.k_panels) * kColumns) - p.output;
    return p;
  }

  struct Block {
    int64_t image, images, row, rows;
    Lines lines;
  };
  Block block_at(int64_t index) const {
    const int64_t n = index / bands.parts, band = index % bands.parts;
    return {images.start(n), images.size(n), bands.start(band), bands.size(band), lines_of(band)};
  }
  const T* x_rows(const Part& part, const Block& block, int64_t image) const {
    return x + ((block.image + image) * s.in_channels + part.group * channels + part.channel) * plane +
           block.lines.first * s.in[2];
  }
  const T* dy_rows(const Part& part, const Block& block, int64_t image) const {
    return dy + ((block.image + image) * s.out_channels + part.group * outputs + part.output) * pixels +
           block.row * s.out[2];
  }

  // The block's runs of pixels that a tap finds inside x.
  int64_t find_runs(const Block& block, int64_t tap, TapRun* runs) const {
    const int64_t tw = tap % s.kernel[2], th = tap / s.kernel[2];
    const int64_t start = tw * s.dilation[2] - s.pad[2];
    const ValidOutputs valid = valid_outputs(s.out[2], s.stride[2], start, s.in[2]);
    int64_t count = 0;
    if (valid.low >= valid.high) return 0;
    for (int64_t image = 0; image < block.images; image++)
      for (int64_t row = 0; row < block.rows; row++) {
        const int64_t h = (block.row + row) * s.stride[1] - s.pad[1] + th * s.dilation[1];
        if (h < 0 || h >= s.in[1]) continue;
        const TapRun run = {
            (image * block.lines.count + h - block.lines.first) * s.in[2] + valid.low * s.stride[2] + start,
            (image * block.rows + row) * s.out[2] + valid.low, valid.high - valid.low};
        if (count > 0 && s.stride[2] == 1) {
          TapRun& before = runs[count - 1];
          if (before.x + before.count == run.x && before.dy + before.count == run.dy &&
              before.count + run.count <= kMostOfARun) {
            before.count += run.count;
            continue;
          }
        }
        runs[count++] = run;
      }
    return count;
  }

  // What is fetched while a block is multiplied: the next block's rows of x and dy, image by image, then the weights.
  struct ToCome {
    const TapsWeightGrad& grad;
    Part part;
    Block block;
    int64_t pieces, calls_a_piece, piece = 0, call = 0;
    bool blocks, weights;
    Part own;
    RowsToCome<T> rows_ahead;
    ToCome(const TapsWeightGrad& g, const Part& own_, const Part& part_, const Block& block_, bool blocks_,
           bool weights_, int64_t calls)
        : grad(g), part(part_), block(block_), blocks(blocks_), weights(weights_), own(own_) {
      pieces = (blocks ? 2 * block.images : 0) + weights;
      calls_a_piece = larger(1, calls / larger(1, pieces));
      call = calls_a_piece;
      piece = -1;
    }
    void share(Ahead<T>& ahead, int64_t runs) {
      if (call == calls_a_piece) {
        call = 0;
        rows_ahead = {};
        if (++piece < pieces) next_piece();
      }
      call++;
      ahead = {};
      if (rows_ahead.rows <= 0) return;
      rows_ahead.share(ahead);
      ahead.burst = ceil_div(rows_ahead.rows_a_tile * rows_ahead.lines, larger(1, runs));
    }
    void next_piece() {
      if (blocks && piece < 2 * block.images) {
        if (piece % 2 == 0)
          rows_ahead = {grad.x_rows(part, block, piece / 2), part.channels, block.lines.count * grad.s.in[2],
                        grad.plane, calls_a_piece};
        else
          rows_ahead = {grad.dy_rows(part, block, piece / 2), part.outputs, block.rows * grad.s.out[2], grad.pixels,
                        calls_a_piece};
      } else {
        rows_ahead = {
            grad.dw + (own.group * grad.outputs + own.output) * grad.channels * grad.taps + own.channel * grad.taps,
            own.outputs, own.channels * grad.taps, grad.channels * grad.taps, calls_a_piece};
      }
    }
  };

  void multiply(int64_t index) {
    const Part part = part_of(index);
    const int64_t block_from = block_parts.start(part.block_part);
    const int64_t block_to = block_from + block_parts.size(part.block_part);
    const int64_t dy_pixels = images.size(0) * bands.size(0) * s.out[2];
    const int64_t x_size = x_pixels * part.channels + 64, dy_size = part.k_panels * dy_pixels * kColumns;
    const int64_t own = shared_sums ? 0 : part.k_panels * part.channels * taps * kColumns;
    const int64_t runs_of_tap = images.size(0) * bands.size(0);
    T* const packed_x = static_cast<T*>(runtime.scratch(4, (round_up(x_size, 64) + dy_size + own) * int64_t(sizeof(T)) +
                                                               taps * (runs_of_tap * int64_t(sizeof(TapRun)) + 8)));
    if (!packed_x) {
      failed = true;
      return;
    }
    T* const packed_dy = packed_x + round_up(x_size, 64);
    T* const own_sums = packed_dy + dy_size;
    auto* const runs = reinterpret_cast<TapRun*>(own_sums + own);
    auto* const run_count = reinterpret_cast<int64_t*>(runs + taps * runs_of_tap);
    // Of the part's first channel and panel.
    const int64_t k_panel_sums = (shared_sums ? channels : part.channels) * taps * kColumns;
    T* const sums = shared_sums
                        ? shared_sums + part.block_part * sums_size() +
                              ((part.group * k_panels + part.k_panel) * channels + part.channel) * taps * kColumns
                        : own_sums;
    for (int64_t at = block_from; at < block_to; at++) {
      const Block block = block_at(at);
      pack(part, block, at, packed_x, packed_dy);
      for (int64_t tap = 0; tap < taps; tap++) run_count[tap] = find_runs(block, tap, runs + tap * runs_of_tap);
      const bool last = at + 1 == block_to, more = !last || index + 1 < tasks();
      const Part next_part = last && more ? part_of(index + 1) : part;
      ToCome to_come(*this, part, next_part,
                     more ? block_at(last ? block_parts.start(next_part.block_part) : at + 1) : block, more,
                     last && !shared_sums, part.k_panels * part.c_panels * taps);
      for (int64_t k = 0; k < part.k_panels; k++) {
        const int64_t width = panel_width<T>(k_count(part.k_panel + k));
        const T* const b = packed_dy + k * dy_pixels * kColumns;
        for (int64_t panel = part.c_panel; panel < part.c_panel + part.c_panels; panel++) {
          const int64_t panel_rows = c_panels.size(panel), first = c_panels.start(panel) - part.channel;
          const auto tile = find_runs_tile<T>(panel_rows, width < kColumns);
          const int64_t stride = taps * kColumns;
          for (int64_t tap = 0; tap < taps; tap++) {
            T* const to = sums + k * k_panel_sums + (first * taps + tap) * kColumns;
            Ahead<T> ahead;
            to_come.share(ahead, run_count[tap]);
            tile(runs + tap * runs_of_tap, run_count[tap], packed_x + first * x_pixels, panel_rows * s.stride[2], b,
                 ahead, {to, stride, width, at > block_from ? to : nullptr, stride});
          }
        }
      }
    }
    if (shared_sums) return;
    for (int64_t k = 0; k < part.k_panels; k++)
      store_dw(part.group, part.k_panel + k, part.channel, part.channels, own_sums + k * k_panel_sums);
  }

  // A block's rows of both operands, transposed; dy's sums for the bias.
  void pack(const Part& part, const Block& block, int64_t at, T* packed_x, T* packed_dy) const {
    const int64_t x_count = block.lines.count * s.in[2], dy_count = block.rows * s.out[2];
    for (int64_t image = 0; image < block.images; image++)
      for (int64_t panel = part.c_panel; panel < part.c_panel + part.c_panels; panel++) {
        const int64_t first = c_panels.start(panel) - part.channel, panel_rows = c_panels.size(panel);
        transpose_matrix<T>(x_rows(part, block, image) + first * plane, plane, panel_rows, x_count,
                            packed_x + first * x_pixels + image * x_count * panel_rows, panel_rows, panel_rows);
      }
    const int64_t dy_pixels = images.size(0) * bands.size(0) * s.out[2];
    for (int64_t k = 0; k < part.k_panels; k++) {
      const int64_t count = k_count(part.k_panel + k), width = panel_width<T>(count);
      T* const to = packed_dy + k * dy_pixels * kColumns;
      for (int64_t image = 0; image < block.images; image++)
        transpose_matrix<T>(dy_rows(part, block, image) + k * kColumns * pixels, pixels, count, dy_count,
                            to + image * dy_count * width, width, width);
      if (!dbias || part.channel > 0) continue;
      T* const bias = bias_sums + at * s.out_channels + part.group * outputs + (part.k_panel + k) * kColumns;
      for (int64_t v = 0; v < count; v += Simd<T>::lanes) {
        auto sum = splat<T>(0);
        for (int64_t p = 0; p < block.images * dy_count; p++) sum = sum + load(to + p * width + v);
        store_partial(bias + v, sum, int(smaller(Simd<T>::lanes, count - v)));
      }
    }
  }

  // Sums of some channels and one panel of output channels to their places in dw.
  void store_dw(int64_t group, int64_t k_panel, int64_t channel, int64_t count, const T* sums) const {
    const int64_t terms = channels * taps;
    transpose_matrix<T>(sums, kColumns, count * taps, k_count(k_panel),
                        dw + (group * outputs + k_panel * kColumns) * terms + channel * taps, terms, count * taps);
  }

  // Some channels of one panel of output channels, of all parts of the blocks.
  void add(int64_t index) {
    const Split parts = add_parts();
    const int64_t c = index % parts.parts, k_panel = index / parts.parts % k_panels;
    const int64_t group = index / parts.parts / k_panels, size = parts.size(c) * taps * kColumns;
    T* const total = static_cast<T*>(runtime.scratch(4, size * int64_t(sizeof(T))));
    if (!total) {
      failed = true;
      return;
    }
    sum_parts(shared_sums + ((group * k_panels + k_panel) * channels + parts.start(c)) * taps * kColumns, sums_size(),
              block_parts.parts, size, total);
    store_dw(group, k_panel, parts.start(c), parts.size(c), total);
  }
};

}  // namespace
}  // namespace xcorr
