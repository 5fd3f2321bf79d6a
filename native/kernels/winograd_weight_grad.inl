// The weight gradient of a 3x3 convolution of stride 1 by Winograd's F(3x3, 4x4) (or F(3x3, 2x2)): the adjoint of
// winograd.inl with respect to the weights. dw = G^T [sum over tiles of (B^T x B) . (A dy A^T)] G: one gemm per point
// whose reduction runs over the tiles, and one inverse transform at the very end.
//
// A task owns up to 64 input by 64 output channels of a slice of the tiles, with sums for all points (at most 590 KB).
// It takes about 32 tiles at a time (more of fewer channels): transposes their pixels to [pixel][channel], transforms
// them with channels in the lanes, and adds their products to the sums, so that everything transformed stays in the
// second-level cache; while it multiplies, the pixels that come next are fetched. Slices (16 or fewer, from the sizes
// alone) end as weights of their own and are added in order.
#pragma once
#include "lines_to_come.inl"
#include "sum_parts.inl"
#include "winograd.inl"

namespace xcorr {
namespace {

template <int kTile>
struct WinogradWeightGrad {
  static constexpr int kPoints = kTile + 2, kSquare = kPoints * kPoints;
  static constexpr int kLanes = Simd<float>::lanes, kColumns = kTileColumns<float>;
  static constexpr int64_t kBlockTiles = kTile == 4 ? 32 : 72;                    // the same memory
  static constexpr int64_t kSixteens = 4;                                         // channels of a task's part
  static constexpr int64_t kLine = 16;                                            // floats of a cache line
  static constexpr int kNarrowRows = kLanes == 16 ? 16 : Simd<float>::tile_rows;  // of a tile one vector wide
  using V = Simd<float>::V;

  // Tiles that are staged together: a rectangle of one image.
  struct Piece {
    int64_t image, row, rows, column, columns;
    int64_t tiles() const { return rows * columns; }
  };
  // One side of the products: the channels of x, or of dy.
  struct Side {
    const float* images;
    int64_t image_channels, group_channels, height, width, pad_h, pad_w;
    Split parts;  // of a group's channels, in sixteens
    int64_t first(int64_t part) const { return parts.start(part) * 16; }
    int64_t count(int64_t part) const { return smaller(parts.size(part) * 16, group_channels - first(part)); }
    int64_t most() const { return parts.size(0) * 16; }
  };
  // A task's memory.
  struct Own {
    float *sums, *x, *dy, *staged, *zeros, *bias;
  };

  const Runtime& runtime;
  const ConvSizes& s;
  float *dw, *dbias;
  Side x, dy;
  Split piece_rows, piece_columns;  // of the tiles of an image
  Split blocks;                     // of the pieces
  Split slices;                     // of the blocks
  int64_t block_tiles;              // of the largest block
  int64_t x_point, dy_point, sums_point;
  float *slice_dw = nullptr, *slice_dbias = nullptr;  // what the slices add up to
  bool failed = false, not_finite = false;

  WinogradWeightGrad(const ConvSizes& sizes, const Runtime& runtime_, void* const* operands)
      : runtime(runtime_), s(sizes) {
    dw = static_cast<float*>(operands[2]);
    dbias = static_cast<float*>(operands[3]);
    const int64_t channels = s.in_channels / s.groups, outputs = s.out_channels / s.groups;
    x = {static_cast<const float*>(operands[0]),         s.in_channels, channels, s.in[1], s.in[2], s.pad[1], s.pad[2],
         split_evenly(ceil_div(channels, 16), kSixteens)};
    dy = {static_cast<const float*>(operands[1]),        s.out_channels, outputs, s.out[1], s.out[2], 0, 0,
          split_evenly(ceil_div(outputs, 16), kSixteens)};
    piece_columns = split_evenly(ceil_div(s.out[2], kTile), 16);
    piece_rows = split_evenly(ceil_div(s.out[1], kTile), larger(1, kBlockTiles / piece_columns.size(0)));
    const int64_t piece_tiles = piece_rows.size(0) * piece_columns.size(0);
    blocks = split_evenly(s.batch * piece_rows.parts * piece_columns.parts, larger(1, kBlockTiles / piece_tiles));
    slices = {blocks.parts,
              smaller(ceil_div(blocks.parts, 4), ceil_div(16, s.groups * x.parts.parts * dy.parts.parts))};
    block_tiles = blocks.size(0) * piece_tiles;
    // Padded, so that points do not share cache sets.
    x_point = block_tiles * x.most() + 16;
    dy_point = block_tiles * dy.most() + 16;
    sums_point = x.most() * dy.most() + 16;
  }

  Piece piece(int64_t i) const {
    const int64_t row = i / piece_columns.parts % piece_rows.parts, column = i % piece_columns.parts;
    return {i / piece_columns.parts / piece_rows.parts, piece_rows.start(row), piece_rows.size(row),
            piece_columns.start(column), piece_columns.size(column)};
  }
  // Pixels of a piece's side: kTile (forward's kPoints) a tile.
  int64_t staged_floats() const {
    return ((piece_rows.size(0) * kTile + 2) + 1) * (piece_columns.size(0) * kTile + 2) * kLanes;
  }

  // What of a side a piece's tiles read, as far as it exists: `rows` by `columns` pixels at `image` in the part's first
  // channel. top, left: of the first tile.
  struct Region {
    const float* image;
    int64_t top, left, first_row, first_column, rows, columns;
  };
  template <int kReach>
  static Region region(const Side& side, int64_t group, int64_t part, const Piece& p) {
    const int64_t top = p.row * kTile - side.pad_h, left = p.column * kTile - side.pad_w;
    const int64_t first_row = smaller(larger(top, 0), side.height), first_column = smaller(larger(left, 0), side.width);
    const int64_t rows = larger(0, smaller(top + (p.rows - 1) * kTile + kReach, side.height) - first_row);
    const int64_t columns = larger(0, smaller(left + (p.columns - 1) * kTile + kReach, side.width) - first_column);
    const int64_t channel = p.image * side.image_channels + group * side.group_channels + side.first(part);
    return {side.images + (channel * side.height + first_row) * side.width + first_column,
            top,
            left,
            first_row,
            first_column,
            rows,
            columns};
  }
  // Whole rows of the region, of all channels.
  template <int kReach>
  static void add_region(const Side& side, int64_t group, int64_t part, const Piece& p, LinesToCome& ahead) {
    const Region r = region<kReach>(side, group, part, p);
    ahead.add(r.image - r.first_column, side.height * side.width, side.count(part), r.rows * side.width);
  }

  // B^T x B, or A dy A^T, of one piece's tiles and a part of the channels, as [point][tile][channels]. Sums of the
  // pixels to `bias`, if given.
  template <int kReach>
  void transform(const Side& side, int64_t group, int64_t part, const Piece& p, const Own& own, float* to,
                 int64_t point, float* bias) const {
    const int64_t width = side.most(), plane = side.height * side.width, count = side.count(part);
    const auto [image, top, left, first_row, first_column, rows, columns] = region<kReach>(side, group, part, p);
    const int64_t pitch = columns * kLanes, ring = smaller(ring_rows(columns), larger(rows, 1));
    for (int64_t c = 0; c < width; c += kLanes) {
      const int64_t there = larger(0, smaller(kLanes, count - c));
      const float* const channels = image + c * plane;
      V sum = bias ? load(bias + c) : set1(0.0f);
      int64_t staged = 0;  // rows so far; row i lies at i % ring
      float* tile = to + c;
      for (int64_t row = 0; row < p.rows; row++) {
        const int64_t above = top + row * kTile - first_row;
        for (const int64_t end = ring == rows ? rows : smaller(above + kReach, rows); staged < end;) {
          const int64_t some = smaller(end - staged, ring - staged % ring);
          float* const at = own.staged + staged % ring * pitch;
          if (columns == side.width)
            transpose_matrix<float>(channels + staged * side.width, plane, there, some * columns, at, kLanes, kLanes);
          else
            for (int64_t r = 0; r < some; r++)
              transpose_matrix<float>(channels + (staged + r) * side.width, plane, there, columns, at + r * pitch,
                                      kLanes, kLanes);
          if (bias) sum = sum + sum_pixels(at, some * columns);
          staged += some;
        }
        const float* pixels[kReach];
        for (int i = 0; i < kReach; i++)
          pixels[i] = uint64_t(above + i) < uint64_t(rows) ? own.staged + (above + i) % ring * pitch : own.zeros;
        for (int64_t column = 0; column < p.columns; column++, tile += width)
          transform_tile<kReach>(pixels, left + column * kTile - first_column, columns, tile, point);
      }
      if (bias) store(bias + c, sum);
    }
  }
  // Rows of pixels that are staged at a time: those that a row of tiles reads, or what fits 16 KB of the first-level
  // cache.
  static int64_t ring_rows(int64_t columns) { return larger(kPoints, 256 / larger(1, columns)); }
  static V sum_pixels(const float* from, int64_t count) {
    V sum[4] = {set1(0.0f), set1(0.0f), set1(0.0f), set1(0.0f)};
    int64_t i = 0;
    for (; i + 4 <= count; i += 4)
#pragma GCC unroll 4
      for (int j = 0; j < 4; j++) sum[j] = sum[j] + load(from + (i + j) * kLanes);
    for (; i < count; i++) sum[0] = sum[0] + load(from + i * kLanes);
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
  }
  template <int kReach>
  [[gnu::always_inline]] static inline void transform_tile(const float* const (&pixels)[kReach], int64_t from,
                                                           int64_t columns, float* to, int64_t point) {
    V half[kPoints][kReach];
#pragma GCC unroll 6
    for (int j = 0; j < kReach; j++) {
      V d[kReach];
      if (uint64_t(from + j) < uint64_t(columns)) {
#pragma GCC unroll 6
        for (int i = 0; i < kReach; i++) d[i] = load(pixels[i] + (from + j) * kLanes);
      } else {
#pragma GCC unroll 6
        for (int i = 0; i < kReach; i++) d[i] = set1(0.0f);
      }
      V column[kPoints];
      one_dimension(d, column);
#pragma GCC unroll 6
      for (int i = 0; i < kPoints; i++) half[i][j] = column[i];
    }
#pragma GCC unroll 6
    for (int i = 0; i < kPoints; i++) {
      V row[kPoints];
      one_dimension(half[i], row);
#pragma GCC unroll 6
      for (int j = 0; j < kPoints; j++) store(to + (i * kPoints + j) * point, row[j]);
    }
  }
  [[gnu::always_inline]] static inline void one_dimension(const V (&d)[kPoints], V (&to)[kPoints]) {
#pragma GCC unroll 6
    for (int i = 0; i < kPoints; i++) to[i] = d[i];
    Transform<kTile>::input(to);
  }
  [[gnu::always_inline]] static inline void one_dimension(const V (&y)[kTile], V (&to)[kPoints]) {
    Transform<kTile>::output_adjoint(y, to);
  }

  // sums[row][columns] = or += the products of a block's tiles; `ahead` is fetched meanwhile, a line a tile.
  struct Product {
    const float *x, *dy;
    int64_t tiles, x_stride, dy_stride;
    float* sums;
    bool first;
    const float* ahead;
    int64_t next_x, next_dy;  // from x and dy to those of the next point
  };
  template <int kRows, int kVectors>
  [[gnu::noinline]] static void product(const Product& p) {
    constexpr int kLanesALine = kLine / kLanes;
#pragma GCC unroll 16
    for (int i = 0; i < kRows * kVectors; i += larger(1, kLanesALine)) __builtin_prefetch(p.sums + i * kLanes);
    V sums[kRows][kVectors];
#pragma GCC unroll 16
    for (int m = 0; m < kRows; m++)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; v++) sums[m][v] = set1(0.0f);
    const float *a = p.x, *b = p.dy, *ahead = p.ahead;
    const int64_t a_stride = p.x_stride, b_stride = p.dy_stride;
    for (int64_t k = p.tiles; k > 0; k--, a += a_stride, b += b_stride, ahead += kLine) {
      __builtin_prefetch(ahead, 0, 2);
      if (kVectors == 1) {  // few products a line: the second-level cache is felt
        __builtin_prefetch(a + p.next_x);
        __builtin_prefetch(b + p.next_dy);
      }
      V row[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; v++) row[v] = load(b + v * kLanes);
#pragma GCC unroll 16
      for (int m = 0; m < kRows; m++) {
        const V factor = set1(a[m]);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) sums[m][v] = fma(factor, row[v], sums[m][v]);
      }
    }
    const bool first = p.first;
#pragma GCC unroll 16
    for (int m = 0; m < kRows; m++)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; v++) {
        float* const to = p.sums + (m * kVectors + v) * kLanes;
        store(to, first ? sums[m][v] : load(to) + sums[m][v]);
      }
  }
  using ProductFunction = void (*)(const Product&);
  template <int kRows, int kVectors>
  static ProductFunction find_product(int64_t rows) {
    if constexpr (kRows > 1)
      if (rows < kRows) return find_product<kRows - 1, kVectors>(rows);
    return product<kRows, kVectors>;
  }

  // sums[point][panel of outputs][channel][output] += the products of a block's tiles.
  void multiply(const Own& own, int64_t tiles, int64_t channels, bool first, LinesToCome& ahead) const {
    const int64_t x_stride = x.most(), dy_stride = dy.most();
    for (int64_t point = 0; point < kSquare; point++)
      for (int64_t k = 0; k < dy_stride; k += kColumns) {
        const bool narrow = dy_stride - k <= kLanes;
        const Split rows = split_evenly(channels, narrow ? kNarrowRows : Simd<float>::tile_rows);
        for (int64_t r = 0; r < rows.parts; r++) {
          const auto function = narrow ? find_product<kNarrowRows, 1>(rows.size(r))
                                       : find_product<Simd<float>::tile_rows, kColumns / kLanes>(rows.size(r));
          function({own.x + point * x_point + rows.start(r), own.dy + point * dy_point + k, tiles, x_stride, dy_stride,
                    own.sums + point * sums_point + k * x_stride + rows.start(r) * smaller(kColumns, dy_stride - k),
                    first, ahead.next(tiles * kLine, own.x), x_point, dy_point});
        }
      }
  }

  // G^T sums G to the slice's dw.
  void finish(const Own& own, int64_t group, int64_t channel, int64_t channels, int64_t output, int64_t outputs,
              float* to) {
    constexpr int64_t kAtOnce = 16;
    alignas(64) float taps[kAtOnce * 9 * kColumns];
    const int64_t stride = dy.most(), filter = x.group_channels * 9;
    V check = set1(0.0f);
    for (int64_t k = 0; k < outputs; k += kColumns)
      for (int64_t c = 0; c < channels; c += kAtOnce) {
        const int64_t count = smaller(kAtOnce, channels - c);
        for (int64_t i = 0; i < count; i++)
          for (int64_t r = 0; r < smaller(kColumns, stride - k); r += kLanes) {
            const float* const from = own.sums + k * x.most() + (c + i) * smaller(kColumns, stride - k) + r;
            V half[3][kPoints];
            for (int j = 0; j < kPoints; j++) {
              V column[kPoints], g[3];
              for (int p = 0; p < kPoints; p++) column[p] = load(from + (p * kPoints + j) * sums_point);
              Transform<kTile>::filter_adjoint(column, g);
              for (int p = 0; p < 3; p++) half[p][j] = g[p];
            }
            for (int p = 0; p < 3; p++) {
              V g[3];
              Transform<kTile>::filter_adjoint(half[p], g);
              for (int j = 0; j < 3; j++) {
                remember(check, g[j]);
                store(taps + ((i * 3 + p) * 3 + j) * kColumns + r, g[j]);
              }
            }
          }
        transpose_matrix<float>(taps, kColumns, count * 9, smaller(kColumns, outputs - k),
                                to + (group * dy.group_channels + output + k) * filter + (channel + c) * 9, filter,
                                count * 9);
      }
    note_unless_finite(check, not_finite);
  }

  void task(int64_t index) {
    const int64_t x_part = index % x.parts.parts, dy_part = index / x.parts.parts % dy.parts.parts;
    const int64_t rest = index / x.parts.parts / dy.parts.parts, group = rest % s.groups, slice = rest / s.groups;
    const int64_t staged = staged_floats(), zeros = (piece_columns.size(0) * kTile + 2) * kLanes;
    float* const memory = static_cast<float*>(runtime.scratch(
        4, (kSquare * (sums_point + x_point + dy_point) + staged + zeros + dy.most()) * int64_t(sizeof(float))));
    if (!memory) {
      failed = true;
      return;
    }
    Own own;
    own.sums = memory;
    own.x = own.sums + kSquare * sums_point;
    own.dy = own.x + kSquare * x_point;
    own.staged = own.dy + kSquare * dy_point;
    own.zeros = own.staged + staged;
    own.bias = own.zeros + zeros;
    for (int64_t i = 0; i < zeros + dy.most(); i++) own.zeros[i] = 0;
    const bool biased = dbias && x_part == 0;
    for (int64_t block = slices.start(slice); block < slices.start(slice) + slices.size(slice); block++) {
      int64_t tiles = 0;
      for (int64_t i = blocks.start(block); i < blocks.start(block) + blocks.size(block); i++) {
        const Piece p = piece(i);
        transform<kPoints>(x, group, x_part, p, own, own.x + tiles * x.most(), x_point, nullptr);
        transform<kTile>(dy, group, dy_part, p, own, own.dy + tiles * dy.most(), dy_point, biased ? own.bias : nullptr);
        tiles += p.tiles();
      }
      LinesToCome ahead;
      if (block + 1 < slices.start(slice) + slices.size(slice))
        for (int64_t i = blocks.start(block + 1); i < blocks.start(block + 1) + blocks.size(block + 1); i++) {
          add_region<kPoints>(x, group, x_part, piece(i), ahead);
          add_region<kTile>(dy, group, dy_part, piece(i), ahead);
        }
      multiply(own, tiles, x.count(x_part), block == slices.start(slice), ahead);
    }
    finish(own, group, x.first(x_part), x.count(x_part), dy.first(dy_part), dy.count(dy_part),
           slice_dw + slice * conv_w(s).high);
    for (int64_t k = 0; biased && k < dy.count(dy_part); k++)
      slice_dbias[slice * s.out_channels + group * dy.group_channels + dy.first(dy_part) + k] = own.bias[k];
  }

  int64_t run() {
    const int64_t weights = conv_w(s).high;
    slice_dw = dw;
    slice_dbias = dbias;
    if (slices.parts > 1) {
      slice_dw =
          static_cast<float*>(runtime.scratch(0, slices.parts * (weights + s.out_channels) * int64_t(sizeof(float))));
      if (!slice_dw) return kOutOfMemory;
      if (dbias) slice_dbias = slice_dw + slices.parts * weights;
    }
    run_tasks(runtime, slices.parts * s.groups * x.parts.parts * dy.parts.parts, [this](int64_t i) { task(i); });
    const int64_t status = status_of(failed, not_finite);
    if (status != kOk || slices.parts == 1) return status;
    add_slices(slice_dw, weights, dw);
    if (dbias) add_slices(slice_dbias, s.out_channels, dbias);
    return kOk;
  }
  void add_slices(const float* from, int64_t count, float* to) const {
    run_ranges(runtime, count, slices.parts, kLanes, [=, this](int64_t first, int64_t end) {
      sum_parts(from + first, count, slices.parts, end - first, to + first);
    });
  }
};

}  // namespace
}  // namespace xcorr
