// Winograd's idea for 3x3 with stride 2, forward and input gradient: 25 products where the direct algorithm has 36.
//
// In one dimension two neighbouring outputs read five samples, and share the middle one:
//   y0 = g0 d0 + g1 d1 + g2 d2 = g0 (d0 - d2) + g1 d1 + (g0 + g2) d2
//   y1 = g0 d2 + g1 d3 + g2 d4 = g2 (d4 - d2) + g1 d3 + (g0 + g2) d2
// Five products for six, six sums of two in all, no constants: the error is that of the direct algorithm. Terms that
// enter one output only are one chain, so that there are three sums (y0's own, common, y1's own). The gradient of four
// neighbouring samples is the same with the parts exchanged:
//   x0 = g1 a, x1 = g2 (a - b) + (g0 + g2) b, x2 = g1 b, x3 = g0 (c - b) + (g0 + g2) b  for gradients a, b, c.
// Both dimensions: 25 for 36.
//
// Tiles are the lanes: the rows that a vector of tiles reads are copied side by side, with their zeros, and split by
// shuffles; where whole rows fill vectors they are read and written as they lie (tile_rows.inl). A task carries about
// 64 tiles and a part of the output channels through all steps, a block of channels at a time, so that the transformed
// samples stay in the second-level cache.
#pragma once
#include "chain_tile.inl"
#include "conv_plan.inl"
#include "gemm.inl"
#include "kept.inl"
#include "lines_to_come.inl"
#include "parallel.inl"
#include "tile_rows.inl"

namespace xcorr {
namespace {

// One sum of the one-dimensional algorithm: transformed sample v times transformed weight u, of which there are
// g0, g1, g2, g0 + g2.
struct StridedSum {
  int terms, v[2], u[2];
};

// What differs between the directions. d: the samples of a tile, then V of one dimension in their place.
template <bool kInputGrad>
struct StridedTransform;

template <>
struct StridedTransform<false> {
  static constexpr int kSamples = 5, kStep = 4, kPoints = 5, kSums = 3, kOutputs = 2, kProducts = 25;
  static constexpr StridedSum sum[kSums] = {{2, {0, 1}, {0, 1}}, {1, {2}, {3}}, {2, {4, 3}, {2, 1}}};
  static constexpr int64_t kDepth = 128;  // channels in a block: chains of up to four times as many
  template <class V>
  [[gnu::always_inline]] static inline void input(V (&d)[5]) {
    d[0] = d[0] - d[2];
    d[4] = d[4] - d[2];
  }
  template <class V>
  [[gnu::always_inline]] static inline void output(const V (&m)[3], V (&y)[2]) {
    y[0] = m[0] + m[1];
    y[1] = m[2] + m[1];
  }
};

template <>
struct StridedTransform<true> {
  static constexpr int kSamples = 3, kStep = 2, kPoints = 4, kSums = 5, kOutputs = 4, kProducts = 25;
  static constexpr StridedSum sum[kSums] = {{1, {3}, {1}}, {1, {0}, {2}}, {1, {1}, {1}}, {1, {2}, {0}}, {1, {1}, {3}}};
  static constexpr int64_t kDepth = 256;
  template <class V>
  [[gnu::always_inline]] static inline void input(V (&d)[4]) {
    d[3] = d[0];
    d[0] = d[0] - d[1];
    d[2] = d[2] - d[1];
  }
  template <class V>
  [[gnu::always_inline]] static inline void output(const V (&m)[5], V (&x)[4]) {
    x[0] = m[0];
    x[1] = m[1] + m[4];
    x[2] = m[2];
    x[3] = m[3] + m[4];
  }
};

template <bool kInputGrad>
struct StridedWinograd {
  using Way = StridedTransform<kInputGrad>;
  using V = Simd<float>::V;
  using I = Simd<float>::I;
  using Rows = TileRows<Way::kStep, Way::kSamples, Way::kOutputs>;
  static constexpr int kLanes = Simd<float>::lanes, kSamples = Way::kSamples, kStep = Way::kStep;
  static constexpr int kPoints = Way::kPoints, kSums = Way::kSums, kOutputs = Way::kOutputs, kWeights = 4;
  static constexpr int64_t kManyWeights = 4 << 20;                       // bytes
  static constexpr int64_t kColumns = kTileColumns<float>, kTiles = 32;  // tiles are shared out by so many

  const Runtime& runtime;
  const Correlation<float>& conv;
  int64_t source_h, source_w, offset_h, offset_w;  // size of what is read; the first sample of tile 0
  int64_t size_h, size_w;                          // of what is written
  int64_t tiles_h, tiles_w, tiles;
  Split rows, depth;              // panels of output channels; blocks of the reduction
  Split tile_parts, panel_parts;  // of a group's work, in tasks
  TileGrid grid;
  Runs reads, writes;  // of pixels, by rows
  float* u = nullptr;  // [group][block][panel][weight][channel][rows], or null: each task makes its own
  bool failed = false, not_finite = false;

  StridedWinograd(const Runtime& runtime_, const Correlation<float>& conv_) : runtime(runtime_), conv(conv_) {
    const Axis &h = conv.axis[1], &w = conv.axis[2];
    source_h = h.source;
    source_w = w.source;
    offset_h = kInputGrad ? 0 : h.offset;
    offset_w = kInputGrad ? 0 : w.offset;
    size_h = h.size;
    size_w = w.size;
    tiles_h = ceil_div(size_h, kOutputs);
    tiles_w = ceil_div(size_w, kOutputs);
    tiles = conv.batch * tiles_h * tiles_w;
    grid = {tiles_h, tiles_w, tiles, offset_h, source_h, source_w, conv.x_image(), size_h, size_w, conv.y_image()};
    const bool by_rows =
        offset_w == (kInputGrad ? 0 : -1) && source_w == tiles_w * kStep && size_w == tiles_w * kOutputs;
    reads = by_rows ? runs_of(source_w, tiles_w) : Runs::none;
    writes = by_rows ? runs_of(size_w, tiles_w) : Runs::none;
    rows = row_panels<float>(conv.out_channels);
    depth = split_evenly(conv.in_channels, Way::kDepth);
    const int64_t units = ceil_div(tiles, kTiles);
    tile_parts = {units, ceil_div(units, 2)};
    panel_parts = {rows.parts, smaller(rows.parts, ceil_div(8, tile_parts.parts * conv.groups))};
  }

  // Adjacent tiles of one row of tiles and one vector: where their outputs go.
  struct Piece {
    int first, height, width;  // tile in its vector; outputs that exist
    int64_t to;                // of the first output
  };
  // The samples of a vector of tiles, row by row; `next` holds what follows each piece. What lies outside is the same
  // for all channels: zeros that are written once.
  struct Lines {
    alignas(64) float sample[kSamples][kStep * kLanes + kLanes], next[kSamples][kLanes];
  };
  struct Copy {
    int64_t from;  // from the first image's first channel
    int to, count;
  };
  struct TileVector {
    Lines lines;
    alignas(64) int32_t ends[kLanes];  // -1 in the last lane of each piece
    int pieces, copies, singles;
    Piece piece[kLanes];
    Copy copy[kSamples * 2 * kLanes];  // in order: each may write zeros over what a later one fills
    Copy single[kSamples * kLanes];
    Rows rows;
  };

  void locate(int64_t first, TileVector& vector) const {
    if (reads != Runs::none || writes != Runs::none) vector.rows.locate(grid, reads, writes, first, 0, false);
    if (reads != Runs::none && writes != Runs::none) return;
    vector.pieces = vector.copies = vector.singles = 0;
    for (int i = 0; i < kLanes; i++) vector.ends[i] = 0;
    for (int i = 0; i < kSamples; i++) {
      for (int j = 0; j < kStep * kLanes + kLanes; j++) vector.lines.sample[i][j] = 0;
      for (int j = 0; j < kLanes; j++) vector.lines.next[i][j] = 0;
    }
    for (int lane = 0; lane < kLanes && first + lane < tiles;) {
      const int64_t tile = first + lane, tx = tile % tiles_w, ty = tile / tiles_w % tiles_h;
      const int64_t image = tile / tiles_w / tiles_h, count = smaller(kLanes - lane, tiles_w - tx);
      const int64_t left = tx * kStep + offset_w, length = count * kStep;
      const int64_t low = larger(0, -left), high = smaller(length, source_w - left), next = left + length;
      vector.piece[vector.pieces++] = {lane, int(smaller(kOutputs, size_h - ty * kOutputs)),
                                       int(smaller(count * kOutputs, size_w - tx * kOutputs)),
                                       image * conv.y_image() + ty * kOutputs * size_w + tx * kOutputs};
      for (int64_t i = 0; i < kSamples; i++) {
        const int64_t row = ty * kStep + offset_h + i, from = image * conv.x_image() + row * source_w + left;
        if (row < 0 || row >= source_h) continue;
        const int64_t to = i * int64_t(sizeof vector.lines.sample[0] / sizeof(float)) + lane * kStep;
        for (int64_t j = low; j < high; j += kLanes)
          vector.copy[vector.copies++] = {from + j, int(to + j), int(smaller(kLanes, high - j))};
        if (next >= 0 && next < source_w)
          vector.single[vector.singles++] = {from + length, int(i * kLanes + lane + count - 1), 1};
      }
      lane += int(count);
      vector.ends[lane - 1] = -1;
    }
  }

  // The samples of one channel; `ahead` is the distance to what will be wanted soon.
  static void copy_lines(const float* x, int64_t ahead, TileVector& vector) {
    float* const to = vector.lines.sample[0];
    for (int k = 0; k < vector.copies; k++) {
      const Copy& c = vector.copy[k];
      __builtin_prefetch(x + c.from + ahead);
      store(to + c.to, load_partial(x + c.from, c.count));
    }
    float* const next = vector.lines.next[0];
    for (int k = 0; k < vector.singles; k++) next[vector.single[k].to] = x[vector.single[k].from];
  }

  // V of one channel of a vector of tiles; points lie `stride` apart. Its rows are at hand, or are read at x.
  template <Runs kReads>
  [[gnu::noinline]] static void transform_input(const TileVector& vector, const float* x, float* to, int64_t stride) {
    const Lines& lines = vector.lines;
    const I ends = load(kReads == Runs::none ? vector.ends : kInputGrad ? vector.rows.after : vector.rows.before);
    V d[kSamples][kPoints];
#pragma GCC unroll 5
    for (int i = 0; i < kSamples; i++) {
      const float* const line = lines.sample[i];
      V pixels[kStep];
      if constexpr (kReads == Runs::none) {
#pragma GCC unroll 4
        for (int p = 0; p < kStep; p++) pixels[p] = load(line + p * kLanes);
      } else {
        vector.rows.template read<kReads == Runs::halves>(x, i, pixels);
      }
      const V even = every_second<kLanes>(pixels[0], pixels[1], false);
      const V odd = every_second<kLanes>(pixels[0], pixels[1], true);
      if constexpr (kInputGrad) {
        d[i][0] = even;
        d[i][1] = odd;
      } else {
        // The first of five samples is a neighbour's pixel, or the last one.
        constexpr int kFirst = kReads == Runs::none ? 0 : 1;
        const V even_after = every_second<kLanes>(pixels[2], pixels[3], false);
        const V odd_after = every_second<kLanes>(pixels[2], pixels[3], true);
        d[i][kFirst] = every_second<kLanes>(even, even_after, false);
        d[i][kFirst + 1] = every_second<kLanes>(odd, odd_after, false);
        d[i][kFirst + 2] = every_second<kLanes>(even, even_after, true);
        d[i][kFirst + 3] = every_second<kLanes>(odd, odd_after, true);
      }
      if constexpr (kReads == Runs::none)
        d[i][kSamples - 1] = select(ends, load(lines.next[i]), next_lanes<kLanes>(d[i][0]));
      else if constexpr (kInputGrad)
        d[i][kSamples - 1] = as_float(as_int(next_lanes<kLanes>(d[i][0])) & ends);
      else
        d[i][0] = as_float(as_int(previous_lanes<kLanes>(d[i][kSamples - 1])) & ends);
      Way::input(d[i]);
    }
#pragma GCC unroll 5
    for (int j = 0; j < kPoints; j++) {
      V column[kPoints];
#pragma GCC unroll 5
      for (int i = 0; i < kSamples; i++) column[i] = d[i][j];
      Way::input(column);
#pragma GCC unroll 5
      for (int i = 0; i < kPoints; i++) store(to + (i * kPoints + j) * stride, column[i]);
    }
  }

  // The outputs of one channel of a vector of tiles; `from` holds the sums, `stride` apart.
  void transform_output(const TileVector& vector, int64_t channel, const float* from, int64_t stride, V& check) const {
    alignas(64) float pixels[kOutputs][kOutputs * kLanes];
    const V bias = set1(conv.bias ? conv.bias[channel] : 0.0f);
    float* const y = conv.y + channel * conv.y_plane();
    const float* const residual = conv.residual ? conv.residual + channel * conv.y_plane() : nullptr;
    const bool plain = !residual && conv.activation == activation::none;
    // What is to be stored at a place, or at two in halves.
    const auto finish = [&](V out, int64_t low, int64_t high) __attribute__((always_inline)) {
      if (plain) return out;
      if (residual) out = out + load_halves<kLanes>(residual + low, residual + high);
      return activate<float>(out, conv.activation);
    };
    V half[kOutputs][kSums];
#pragma GCC unroll 5
    for (int j = 0; j < kSums; j++) {
      V column[kSums], out[kOutputs];
#pragma GCC unroll 5
      for (int i = 0; i < kSums; i++) column[i] = load(from + (i * kSums + j) * stride);
      Way::output(column, out);
#pragma GCC unroll 4
      for (int i = 0; i < kOutputs; i++) half[i][j] = out[i];
    }
#pragma GCC unroll 4
    for (int i = 0; i < kOutputs; i++) {
      V out[kOutputs];
      Way::output(half[i], out);
#pragma GCC unroll 4
      for (int j = 0; j < kOutputs; j++) remember(check, out[j]);
      V row[kOutputs];
      if constexpr (kOutputs == 4) {
        const V a = in_turns<kLanes>(out[0], out[2], false), b = in_turns<kLanes>(out[1], out[3], false);
        const V c = in_turns<kLanes>(out[0], out[2], true), d = in_turns<kLanes>(out[1], out[3], true);
        row[0] = in_turns<kLanes>(a, b, false);
        row[1] = in_turns<kLanes>(a, b, true);
        row[2] = in_turns<kLanes>(c, d, false);
        row[3] = in_turns<kLanes>(c, d, true);
      } else {
        row[0] = in_turns<kLanes>(out[0], out[1], false);
        row[1] = in_turns<kLanes>(out[0], out[1], true);
      }
#pragma GCC unroll 4
      for (int j = 0; j < kOutputs; j++) row[j] = row[j] + bias;
      if (writes != Runs::none) {
        vector.rows.write(row, i, writes, y, size_w, finish);
        continue;
      }
#pragma GCC unroll 4
      for (int j = 0; j < kOutputs; j++) store(pixels[i] + j * kLanes, row[j]);
    }
    if (writes != Runs::none) return;
    for (int k = 0; k < vector.pieces; k++) {
      const Piece& p = vector.piece[k];
      for (int i = 0; i < p.height; i++) {
        const float* const in = pixels[i] + p.first * kOutputs;
        const int64_t at = p.to + i * size_w;
        int q = 0;
        for (; q + kLanes <= p.width; q += kLanes) {
          V out = load(in + q);
          if (residual) out = out + load(residual + at + q);
          store(y + at + q, activate<float>(out, conv.activation));
        }
        if (q == p.width) continue;
        V out = load_partial(in + q, p.width - q);
        if (residual) out = out + load_partial(residual + at + q, p.width - q);
        store_partial(y + at + q, activate<float>(out, conv.activation), p.width - q);
      }
    }
  }

  // U of one panel of output channels and one block of channels.
  float* weights_of(int64_t group, int64_t block, int64_t panel) const {
    return u + kWeights * kWeights *
                   (conv.out_channels * (group * conv.in_channels + depth.start(block)) +
                    rows.start(panel) * depth.size(block));
  }
  // The 9 taps of as many filters as a vector has lanes, which follow each other and 16 floats.
  static void read_filters(const float* from, V (&tap)[9]) {
    V block[8];
#pragma GCC unroll 8
    for (int r = 0; r < 8; r++) {
      block[r] = load(from + r * 9);
      if constexpr (kLanes == 16) block[r] = select(lane_numbers<float>() < 8, block[r], load(from + (r + 8) * 9 - 8));
    }
    transpose_blocks<kLanes, 8>(block);
#pragma GCC unroll 8
    for (int t = 0; t < 8; t++) tap[t] = block[t];
    tap[8] = gather(from + 8, lane_numbers<float>() * 9);
  }
  // `to`: null if they are the task's own, which are put into its scratch memory.
  const float* transform_weights(int64_t group, int64_t block, int64_t panel, float* to) {
    const int64_t count = rows.size(panel), channels = depth.size(block), width = round_up(count, kLanes);
    const int64_t own = to ? 0 : kWeights * kWeights * channels * count + 16;
    float* const taps = static_cast<float*>(runtime.scratch(5, (channels * 9 * width + own) * int64_t(sizeof(float))));
    if (!taps) {
      failed = true;
      return nullptr;
    }
    if (!to) to = taps + channels * 9 * width;
    const float* const w =
        conv.w + group * conv.w_group + rows.start(panel) * conv.w_out + depth.start(block) * conv.w_in;
    const float* const end = conv.w + conv.groups * conv.w_group;
    if (conv.w_in == 9)
      transpose_matrix<float>(w, conv.w_out, count, channels * 9, taps, width, width);
    else
      for (int64_t c = 0; c < channels; c++) {
        const float* const from = w + c * conv.w_in;
        for (int64_t i = 0; i < count * 9; i += 16) __builtin_prefetch(from + 8 * conv.w_in + i);  // far apart
        if constexpr (kLanes >= 8)
          if (conv.w_out == 9 && end - from >= width * 9 + 16) {
            V tap[9];
            for (int64_t r = 0; r < count; r += kLanes) {
              read_filters(from + r * 9, tap);
              for (int t = 0; t < 9; t++) store(taps + (c * 9 + t) * width + r, tap[t]);
            }
            continue;
          }
        transpose_matrix<float>(from, conv.w_out, count, 9, taps + c * 9 * width, width, width);
      }
    const auto filter = [](V a, V b, V c, V * out) __attribute__((always_inline)) {
      out[0] = a;
      out[1] = b;
      out[2] = c;
      out[3] = a + c;
    };
    for (int64_t c = 0; c < channels; c++)
      for (int64_t r = 0; r < count; r += kLanes) {
        const float* const from = taps + c * 9 * width + r;
        V half[3][kWeights];
#pragma GCC unroll 3
        for (int i = 0; i < 3; i++)
          filter(load(from + i * 3 * width), load(from + (i * 3 + 1) * width), load(from + (i * 3 + 2) * width),
                 half[i]);
#pragma GCC unroll 4
        for (int j = 0; j < kWeights; j++) {
          V column[kWeights];
          filter(half[0][j], half[1][j], half[2][j], column);
#pragma GCC unroll 4
          for (int i = 0; i < kWeights; i++) {
            float* const at = to + ((i * kWeights + j) * channels + c) * count + r;
            if (count - r >= kLanes)
              store(at, column[i]);
            else
              store_partial(at, column[i], int(count - r));
          }
        }
      }
    return to;
  }

  // All sums of a panel of output channels, [sum][row][tile].
  void multiply(const float* weights, int64_t block, int64_t panel, const float* v, int64_t v_point, int64_t width,
                float* to, int64_t m_point, LinesToCome& ahead) const {
    const int64_t count = rows.size(panel), channels = depth.size(block);
    const auto tile_of_panel = find_chain_tile<true>(count, false);
    for (int i = 0; i < kSums; i++)
      for (int j = 0; j < kSums; j++) {
        const StridedSum &a = Way::sum[i], &b = Way::sum[j];
        Chain chain = {0, {}, channels, count, width};
        for (int k = 0; k < a.terms; k++)
          for (int l = 0; l < b.terms; l++)
            chain.term[chain.terms++] = {weights + (a.u[k] * kWeights + b.u[l]) * channels * count,
                                         v + (a.v[k] * kPoints + b.v[l]) * v_point};
        float* const sums = to + (i * kSums + j) * m_point;
        chain.ahead_step = kFloatsAhead;
        for (int64_t column = 0; column < width; column += kColumns) {
          chain.ahead = ahead.next(chain.terms * channels * kFloatsAhead, weights);
          tile_of_panel(chain, {sums + column, width, kColumns, block > 0 ? sums + column : nullptr, width});
          for (int k = 0; k < chain.terms; k++) chain.term[k].b += kColumns;
        }
      }
  }

  void task(int64_t index) {
    const int64_t panel_part = index % panel_parts.parts, tile_part = index / panel_parts.parts % tile_parts.parts;
    const int64_t group = index / panel_parts.parts / tile_parts.parts;
    const int64_t first = tile_parts.start(tile_part) * kTiles;
    const int64_t width = round_up(smaller(tile_parts.size(tile_part) * kTiles, tiles - first), kColumns);
    const int64_t panel_from = panel_parts.start(panel_part), panel_to = panel_from + panel_parts.size(panel_part);
    // The sums of one panel are used at once, unless they are not complete before the last block of channels.
    const int64_t v_point = depth.size(0) * width + 16;
    const int64_t m_point = Simd<float>::tile_rows * width + 16, m_panel = kSums * kSums * m_point;
    const int64_t m_size = m_panel * (depth.parts > 1 ? panel_to - panel_from : 1);
    const int64_t vectors = width / kLanes, floats = kPoints * kPoints * v_point + m_size;
    const int64_t bytes = floats * int64_t(sizeof(float)) + vectors * int64_t(sizeof(TileVector)) + 128;
    float* const v = static_cast<float*>(runtime.scratch(4, bytes));
    if (!v) {
      failed = true;
      return;
    }
    float* const m = v + kPoints * kPoints * v_point;
    auto* const vector = reinterpret_cast<TileVector*>((uintptr_t(m + m_size) + 63) & ~uintptr_t(63));
    for (int64_t i = 0; i < vectors; i++) locate(first + i * kLanes, vector[i]);
    const int64_t plane = conv.x_plane(), channel = group * conv.out_channels;
    const auto transform = reads == Runs::none    ? transform_input<Runs::none>
                           : reads == Runs::whole ? transform_input<Runs::whole>
                                                  : transform_input<Runs::halves>;
    // What the task writes and what the next one reads; the transforms fetch what the products leave.
    LinesToCome ahead;
    if (depth.parts == 1 && panel_parts.parts == 1) {
      const int64_t end = smaller(first + tile_parts.size(tile_part) * kTiles, tiles);
      Rows::add_written(grid, first, end, conv.y + channel * conv.y_plane(), conv.out_channels, ahead);
      Rows::add_read(grid, end, smaller(end + tile_parts.size(0) * kTiles, tiles),
                     conv.x + group * conv.in_channels * plane, conv.in_channels, ahead);
    }
    const int64_t by_products = Way::kProducts * rows.parts * conv.in_channels * (width / kColumns) * kFloatsAhead;
    const int64_t burst = ceil_div(larger(0, ahead.floats() - by_products),
                                   vectors * (conv.in_channels + conv.out_channels) * (64 / int64_t(sizeof(float))));
    V check = set1(0.0f);
    for (int64_t block = 0; block < depth.parts; block++) {
      const float* x = conv.x + (group * conv.in_channels + depth.start(block)) * plane;
      for (int64_t c = 0; c < depth.size(block); c++, x += plane) {
        ahead.fetch(burst * vectors);
        if (reads == Runs::none)
          for (int64_t i = 0; i < vectors; i++) copy_lines(x, c + 1 < depth.size(block) ? plane : 0, vector[i]);
        for (int64_t i = 0; i < vectors; i++) transform(vector[i], x, v + c * width + i * kLanes, v_point);
      }
      for (int64_t panel = panel_from; panel < panel_to; panel++) {
        float* const sums = m + (depth.parts > 1 ? (panel - panel_from) * m_panel : 0);
        const float* const weights =
            u ? weights_of(group, block, panel) : transform_weights(group, block, panel, nullptr);
        if (!weights) return;
        multiply(weights, block, panel, v, v_point, width, sums, m_point, ahead);
        if (block < depth.parts - 1) continue;
        for (int64_t row = 0; row < rows.size(panel); row++) {
          ahead.fetch(burst * vectors);
          for (int64_t i = 0; i < vectors; i++)
            transform_output(vector[i], channel + rows.start(panel) + row, sums + row * width + i * kLanes, m_point,
                             check);
        }
      }
    }
    note_unless_finite(check, not_finite);
  }

  int64_t execute() {
    const int64_t bytes =
        conv.groups * conv.out_channels * conv.in_channels * kWeights * kWeights * int64_t(sizeof(float));
    Keep keep(runtime, int64_t(1) << 32 | kInputGrad << 8 | Simd<float>::tile_rows, bytes);
    if (keep.asked) return kOk;
    // Many weights that one or two tasks read are not worth the way to memory.
    const bool own = !keep.memory && tile_parts.parts <= 2 && bytes >= kManyWeights;
    if (!own) {
      u = static_cast<float*>(keep.memory ? keep.memory : runtime.scratch(0, bytes));
      if (!u) return kOutOfMemory;
    }
    if (u && !keep.ready)
      run_tasks(runtime, conv.groups * depth.parts * rows.parts, [this](int64_t i) {
        const int64_t group = i / rows.parts / depth.parts, block = i / rows.parts % depth.parts;
        transform_weights(group, block, i % rows.parts, weights_of(group, block, i % rows.parts));
      });
    if (failed) return kOutOfMemory;
    keep.fill_done();
    run_tasks(runtime, conv.groups * tile_parts.parts * panel_parts.parts, [this](int64_t i) { task(i); });
    return status_of(failed, not_finite);
  }
};

// 3x3 in a plane, stride 2 both ways, no dilation; the input gradient with one row and column of padding before.
XCORR_INLINE bool strided_winograd_fits(const ConvSizes& s, bool input_grad) {
  return s.kernel[0] == 1 && s.in[0] == 1 && s.out[0] == 1 && s.pad[0] == 0 && s.kernel[1] == 3 && s.kernel[2] == 3 &&
         s.stride[1] == 2 && s.stride[2] == 2 && s.dilation[1] == 1 && s.dilation[2] == 1 &&
         (!input_grad || (s.pad[1] == 1 && s.pad[2] == 1)) && conv_x(s).high > 0 && conv_y(s).high > 0;
}

}  // namespace
}  // namespace xcorr
