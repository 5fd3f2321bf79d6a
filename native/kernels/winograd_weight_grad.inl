// The weight gradient of a 3x3 convolution of stride 1 by Winograd's F(3x3, 4x4) (or F(3x3, 2x2)): the adjoint of
// winograd.inl with respect to the weights. dw = G^T [sum over tiles of (B^T x B) . (A dy A^T)] G: one gemm per point
// whose reduction runs over the tiles, and one inverse transform at the very end.
//
// A task owns up to 64 input by 64 output channels of a slice of the tiles, with sums for all points (at most 590 KB).
// It takes about 32 tiles at a time: transposes their pixels to [pixel][channel], transforms them with channels in the
// lanes, and adds their products to the sums, so that everything transformed stays in the second-level cache. Slices
// (16 or fewer, from the sizes alone) end as weights of their own and are added in order.
#pragma once
#include "chain_tile.inl"
#include "sum_parts.inl"
#include "winograd.inl"

namespace xcorr {
namespace {

template <int kTile>
struct WinogradWeightGrad {
  static constexpr int kPoints = kTile + 2, kSquare = kPoints * kPoints;
  static constexpr int kLanes = Simd<float>::lanes, kColumns = kTileColumns<float>;
  static constexpr int64_t kBlockTiles = kTile == 4 ? 32 : 72;  // the same memory
  static constexpr int64_t kSixteens = 4;                       // channels of a task's part
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

  // B^T x B, or A dy A^T, of one piece's tiles and a part of the channels, as [point][tile][channels]. Sums of the
  // pixels to `bias`, if given.
  template <int kReach>
  void transform(const Side& side, int64_t group, int64_t part, const Piece& p, const Own& own, float* to,
                 int64_t point, float* bias) const {
    const int64_t width = side.most(), plane = side.height * side.width, count = side.count(part);
    const int64_t top = p.row * kTile - side.pad_h, left = p.column * kTile - side.pad_w;
    const int64_t first_row = smaller(larger(top, 0), side.height), first_column = smaller(larger(left, 0), side.width);
    const int64_t rows = larger(0, smaller(top + (p.rows - 1) * kTile + kReach, side.height) - first_row);
    const int64_t columns = larger(0, smaller(left + (p.columns - 1) * kTile + kReach, side.width) - first_column);
    const float* const image =
        side.images + (p.image * side.image_channels + group * side.group_channels + side.first(part)) * plane +
        first_row * side.width + first_column;
    for (int64_t c = 0; c < width; c += kLanes) {
      const int64_t there = larger(0, smaller(kLanes, count - c));
      if (columns == side.width)
        transpose_matrix<float>(image + c * plane, plane, there, rows * columns, own.staged, kLanes, kLanes);
      else
        for (int64_t r = 0; r < rows; r++)
          transpose_matrix<float>(image + c * plane + r * side.width, plane, there, columns,
                                  own.staged + r * columns * kLanes, kLanes, kLanes);
      if (bias) {
        V sum = set1(0.0f);
        for (int64_t i = 0; i < rows * columns; i++) sum = sum + load(own.staged + i * kLanes);
        store(bias + c, load(bias + c) + sum);
      }
      float* tile = to + c;
      for (int64_t row = 0; row < p.rows; row++) {
        const float* pixels[kReach];
        for (int i = 0; i < kReach; i++) {
          const int64_t at = top + row * kTile + i - first_row;
          pixels[i] = uint64_t(at) < uint64_t(rows) ? own.staged + at * columns * kLanes : own.zeros;
        }
        for (int64_t column = 0; column < p.columns; column++, tile += width)
          transform_tile<kReach>(pixels, left + column * kTile - first_column, columns, tile, point);
      }
    }
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

  // sums[point][channel][outputs] += the products of a block's tiles.
  void multiply(const Own& own, int64_t tiles, int64_t channels, bool first) const {
    const Split rows = row_panels<float>(channels);
    const int64_t a_stride = x.most(), b_stride = dy.most();
    for (int64_t point = 0; point < kSquare; point++)
      for (int64_t k = 0; k < b_stride; k += kColumns) {
        const int64_t width = smaller(kColumns, b_stride - k);
        for (int64_t r = 0; r < rows.parts; r++) {
          float* const to = own.sums + point * sums_point + rows.start(r) * b_stride + k;
          const ChainTerm term = {own.x + point * x_point + rows.start(r), own.dy + point * dy_point + k};
          find_chain_tile(rows.size(r), width <= kLanes)({1, {term}, tiles, a_stride, b_stride},
                                                         {to, b_stride, width, first ? nullptr : to, b_stride});
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
            const float* const from = own.sums + (c + i) * stride + k + r;
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
    if (!all_finite(check)) __atomic_store_n(&not_finite, true, __ATOMIC_RELAXED);
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
      multiply(own, tiles, x.count(x_part), block == slices.start(slice));
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
    if (failed) return kOutOfMemory;
    if (not_finite) return kNotFinite;
    if (slices.parts == 1) return kOk;
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
