// Winograd convolution F(4x4, 3x3) and F(2x2, 3x3) for stride 1: 4 and 2.25 times fewer products.
//
// A tile of 4x4 (2x2) outputs depends on 6x6 (4x4) inputs d: y = A^T [(G g G^T) . (B^T d B)] A. The products in the
// middle are one gemm per point over the channels. Tiles are the lanes: they are gathered from NCHW as it is, and the
// transforms are plain vector arithmetic. Points 0, +-3/4, +-3/2, infinity for F(4x4): the largest error is a quarter
// of that of the usual 0, +-1, +-2, and all constants of A and B are exact.
//
// Few tiles and many weights: winograd_few_tiles.inl. Up to 64 tiles: a task carries a panel of output channels through
// all steps, from its weights' transform on, because all transformed weights (36 floats for 9) would be the largest
// traffic; unless they are kept from an earlier call. Few channels: a task carries 32 tiles through all steps, V stays
// in the second-level cache. Else every step is run for up to 256 tiles by all threads, the gemms point by point. The
// numbers are the same.
//
// Outputs that are not finite are not trusted (kNotFinite in conv_plan.inl).
#pragma once
#include "gemm.inl"
#include "kept.inl"
#include "lines_to_come.inl"
#include "parallel.inl"
#include "point_tiles.inl"
#include "tile_rows.inl"
#include "winograd_transform.inl"

namespace xcorr {
namespace {

// A run of tiles of one row of tiles: adjacent pixels.
struct TileRun {
  int32_t first, rows, pixels;  // first tile in its vector; valid rows and pixels a row
  int64_t to;                   // of its first pixel, from the first channel of the panel's first image
};

template <int kTile>
struct Winograd {
  static constexpr int kPoints = kTile + 2, kLanes = Simd<float>::lanes, kColumns = kTileColumns<float>;
  static constexpr int kVectors = kColumns / kLanes, kGroup = kColumns < 32 ? 32 / kColumns : 1;  // panels of 32 tiles
  using V = Simd<float>::V;
  using I = Simd<float>::I;
  using Rows = TileRows<kTile, kPoints, kTile>;

  const Runtime& runtime;
  const Correlation<float>& conv;
  bool flipped;                // taps run backwards: the input gradient
  int64_t offset_h, offset_w;  // source of output 0's first tap
  int64_t tiles_h, tiles_w, tiles, panels;
  Split rows;            // panels of output channels
  Split depth;           // blocks of the reduction over channels
  int64_t point_stride;  // of the transformed weights: one group's, padded so that points do not share cache sets
  float *u, *v, *m;
  TileGrid grid;
  Runs by_rows;  // in which tiles are read and written
  bool failed = false, not_finite = false;

  Winograd(const Runtime& runtime_, const Correlation<float>& conv_) : runtime(runtime_), conv(conv_) {
    const Axis &h = conv.axis[1], &w = conv.axis[2];
    flipped = h.tap_step < 0;
    offset_h = flipped ? h.offset - 2 : h.offset;
    offset_w = flipped ? w.offset - 2 : w.offset;
    tiles_h = ceil_div(h.count, kTile);
    tiles_w = ceil_div(w.count, kTile);
    tiles = conv.batch * tiles_h * tiles_w;
    panels = ceil_div(tiles, kColumns);
    grid = {tiles_h, tiles_w, tiles, offset_h, h.source, w.source, conv.x_image(), h.count, w.count, conv.y_image()};
    by_rows = offset_w == -1 && w.source == w.count && w.count % kTile == 0 ? runs_of(w.count, tiles_w) : Runs::none;
    rows = row_panels<float>(conv.out_channels);
    depth = split_evenly(conv.in_channels, 256);
    point_stride = round_up(conv.out_channels * conv.in_channels, 16) + 48;
  }

  // The panel's tiles in the order of the lanes: lane l of a vector holds tile (l % kTile) * (lanes / kTile) +
  // l / kTile, so that transposing blocks of kTile x kTile puts neighbours side by side.
  struct Panel {
    alignas(64) int32_t origin[kColumns];  // from the first image's first channel
    alignas(64) int32_t row_inside[kPoints][kColumns], column_inside[kPoints][kColumns];  // -1 or 0
    int64_t image;
    int vectors;  // with tiles
    int runs[kVectors];
    TileRun run[kVectors][kLanes];
    bool in_rows;  // else in one of the ways below
    Rows rows[kVectors];
    // For transform_input_pieces, tiles in their own order: where the rows of samples start, the row next to it for one
    // outside; the lowest and highest of what is loaded; which vectors of samples lie together; which points are
    // masked.
    bool in_pieces;
    alignas(64) int32_t row[kPoints][kColumns];
    int64_t low, high;
    bool together[kVectors][kTile];
    bool outer_row[kVectors][kPoints], outer_column[kVectors][kPoints];
  };

  // Of a vector's tile.
  static int lane_of(int tile) { return tile % (kLanes / kTile) * kTile + tile / (kLanes / kTile); }

  // `in_order`: without runs.
  void locate(int64_t panel, Panel& p, bool in_order = false) const {
    const Axis &h = conv.axis[1], &w = conv.axis[2];
    const int64_t an_image = tiles_h * tiles_w, first = panel * kColumns;
    p.image = first / an_image;
    p.vectors = int(ceil_div(smaller(kColumns, tiles - first), kLanes));
    p.in_rows = by_rows != Runs::none && !in_order;
    if (p.in_rows) {
      for (int i = 0; i < p.vectors; i++) p.rows[i].locate(grid, by_rows, by_rows, first + i * kLanes, p.image, true);
      return;
    }
    alignas(64) int32_t top[kColumns], left[kColumns];
    int64_t n = 0, ty = first % an_image / tiles_w, tx = first % tiles_w;
    for (int i = 0; i < kColumns; i++) {
      const int vector = i / kLanes, tile = i % kLanes;
      const int at = vector * kLanes + (in_order ? tile : lane_of(tile));
      if (tile == 0) p.runs[vector] = 0;
      if (first + i >= tiles) {
        top[at] = left[at] = -(1 << 30);
        p.origin[at] = 0;
        continue;
      }
      top[at] = int32_t(ty * kTile + offset_h);
      left[at] = int32_t(tx * kTile + offset_w);
      p.origin[at] = int32_t(n * conv.x_image() + top[at] * w.source + left[at]);
      if (tile == 0 || tx == 0)
        p.run[vector][p.runs[vector]++] = {tile, int32_t(smaller(kTile, h.count - ty * kTile)), 0,
                                           n * conv.y_image() + ty * kTile * w.size + tx * kTile};
      p.run[vector][p.runs[vector] - 1].pixels += int32_t(smaller(kTile, w.count - tx * kTile));
      if (++tx < tiles_w) continue;
      tx = 0;
      if (++ty < tiles_h) continue;
      ty = 0;
      n++;
    }
    for (int point = 0; point < kPoints; point++)
      for (int i = 0; i < kColumns; i++) {
        p.row_inside[point][i] = -int32_t(uint32_t(top[i] + point) < uint32_t(h.source));
        p.column_inside[point][i] = -int32_t(uint32_t(left[i] + point) < uint32_t(w.source));
      }
    p.in_pieces = kTile == 4 && !in_order;
    if (p.in_pieces) locate_rows(top, p);
  }
  // `top`: of the lanes.
  void locate_rows(const int32_t* top, Panel& p) const {
    const int32_t height = int32_t(conv.axis[1].source), width = int32_t(conv.axis[2].source);
    p.low = int64_t(1) << 31, p.high = -p.low;
    for (int v = 0; v < p.vectors; v++) {
      for (int tile = 0; tile < kLanes; tile++) {
        const int lane = v * kLanes + lane_of(tile);
        const bool there = top[lane] > -(1 << 30);
        for (int32_t i = 0; i < kPoints; i++) {
          const int32_t inside = int32_t(smaller(larger(top[lane] + i, 0), height - 1)) - top[lane];
          int32_t& to = p.row[i][v * kLanes + tile];
          to = there ? p.origin[lane] + inside * width : p.row[i][0];
          p.low = smaller(p.low, to);
          p.high = larger(p.high, to + 2 * kTile);
        }
      }
      constexpr int kTogether = kLanes / kTile;
      for (int u = 0; u < kTile; u++) {
        p.together[v][u] = true;
        for (int i = 0; i < kPoints; i++)
          for (int t = 1; t < kTogether; t++) {
            const int32_t* const row = p.row[i] + v * kLanes + u * kTogether;
            p.together[v][u] = p.together[v][u] && row[t] == row[0] + t * kTile;
          }
      }
      for (int i = 0; i < kPoints; i++) {
        p.outer_row[v][i] = p.outer_column[v][i] = false;
        for (int lane = v * kLanes; lane < (v + 1) * kLanes; lane++) {
          p.outer_row[v][i] = p.outer_row[v][i] || !p.row_inside[i][lane];
          p.outer_column[v][i] = p.outer_column[v][i] || !p.column_inside[i][lane];
        }
      }
    }
  }

  // U of one panel of output channels as [point][channel][rows]: lanes are the rows. Points lie `stride` apart.
  void transform_weights(int64_t group, int64_t panel, int64_t channel_from, int64_t channel_to, float* u_panel,
                         int64_t stride) const {
    const int64_t row = rows.start(panel), count = rows.size(panel);
    const I steps = lane_numbers<float>() * int32_t(conv.w_out), lane = lane_numbers<float>();
    for (int64_t c = channel_from; c < channel_to; c++) {
      if (conv.w_out == 9)  // the input gradient: filters of one channel lie together, channels far apart
        for (int64_t i = 0; i < count * 9; i += 16)
          __builtin_prefetch(conv.w + group * conv.w_group + row * 9 + (c + 8) * conv.w_in + i);
      for (int64_t r = 0; r < count; r += kLanes) {
        const int n = int(smaller(kLanes, count - r));
        const float* const w = conv.w + group * conv.w_group + (row + r) * conv.w_out + c * conv.w_in;
        const I there = lane < int32_t(n) - I{};
        V half[kPoints][3];
        for (int j = 0; j < 3; j++) {
          V g[3], column[kPoints];
          for (int i = 0; i < 3; i++) {
            const int tap = flipped ? 8 - (i * 3 + j) : i * 3 + j;
            g[i] = gather_masked(w + tap, steps, there);
          }
          Transform<kTile>::filter(g, column);
          for (int i = 0; i < kPoints; i++) half[i][j] = column[i];
        }
        for (int i = 0; i < kPoints; i++) {
          V row_of_u[kPoints];
          Transform<kTile>::filter(half[i], row_of_u);
          for (int j = 0; j < kPoints; j++) {
            float* const to = u_panel + (i * kPoints + j) * stride + c * count + r;
            if (n == kLanes)
              store(to, row_of_u[j]);
            else
              store_partial(to, row_of_u[j], n);
          }
        }
      }
    }
  }
  // Where that lies in the shared [group][point][panel][channel][rows].
  float* shared_u(int64_t group, int64_t panel) const {
    return u + group * kPoints * kPoints * point_stride + rows.start(panel) * conv.in_channels;
  }

  // V of one channel of one panel; points lie `stride` apart.
  [[gnu::always_inline]] static inline void transform_input(const Panel& p, const float* x, int64_t width, float* to,
                                                            int64_t stride) {
    for (int v = 0; v < p.vectors; v++, to += kLanes) {
      const I origin = load(p.origin + v * kLanes);
      V half[kPoints][kPoints];
#pragma GCC unroll 6
      for (int i = 0; i < kPoints; i++) {
        const I row = load(p.row_inside[i] + v * kLanes);
#pragma GCC unroll 6
        for (int j = 0; j < kPoints; j++)
          half[i][j] = gather_masked(x + i * width + j, origin, row & load(p.column_inside[j] + v * kLanes));
        Transform<kTile>::input(half[i]);
      }
      transform_columns<kTile>(half, to, stride);
    }
  }
  // The same of tiles read by rows.
  template <bool kHalves>
  [[gnu::noinline]] static void transform_input_rows(const Rows& tiles, const float* x, float* to, int64_t stride) {
    V rows[kPoints][kPoints];
    const I before = load(tiles.before), after = load(tiles.after);
#pragma GCC unroll 6
    for (int i = 0; i < kPoints; i++) {
      V pixels[kTile];
      tiles.template read<kHalves>(x, i, pixels);
      transpose_blocks<kLanes, kTile>(pixels);
      rows[i][0] = as_float(as_int(previous_of_blocks<kLanes, kTile>(pixels[kTile - 1])) & before);
#pragma GCC unroll 4
      for (int p = 0; p < kTile; p++) rows[i][p + 1] = pixels[p];
      rows[i][kPoints - 1] = as_float(as_int(next_of_blocks<kLanes, kTile>(pixels[0])) & after);
      Transform<kTile>::input(rows[i]);
    }
    transform_columns<kTile>(rows, to, stride);
  }
  // The same from rows of samples that are loaded as they lie, twice as fast as gathers: a vector of four pixels
  // of adjacent tiles is transposed to pixels of all tiles. `next` is the distance to what comes after, or 0.
  [[gnu::always_inline]] static inline void transform_input_pieces(const Panel& p, const float* x, int64_t next,
                                                                   float* to, int64_t stride) {
    constexpr int kTogether = kLanes / kTile;
    for (int v = 0; v < p.vectors; v++, to += kLanes) {
      V rows[kPoints][kPoints];
#pragma GCC unroll 6
      for (int i = 0; i < kPoints; i++) {
        V own[kTile], after[kTile];
#pragma GCC unroll 4
        for (int u = 0; u < kTile; u++) {
          const int32_t* const row = p.row[i] + v * kLanes + u * kTogether;
          const float* const from = x + row[0];
          if (next > 0) __builtin_prefetch(from + next);
          if (p.together[v][u]) {
            own[u] = load(from);
            after[u] = load(from + kTile);
          } else {
            const auto tile = [&](int q) __attribute__((always_inline)) { return x + row[q / kTile]; };
            own[u] = load_pieces_of<float>(tile, 0, 0);
            after[u] = load_pieces_of<float>(tile, 0, kTile);
          }
        }
        transpose_blocks<kLanes, kTile>(own);
        transpose_blocks<kLanes, kTile>(after);
        const bool outer_row = p.outer_row[v][i];
        const I row_inside = load(p.row_inside[i] + v * kLanes);
#pragma GCC unroll 6
        for (int j = 0; j < kPoints; j++) {
          rows[i][j] = j < kTile ? own[j % kTile] : after[j % kTile];
          if (outer_row) rows[i][j] = as_float(as_int(rows[i][j]) & row_inside);
          if (p.outer_column[v][j]) rows[i][j] = as_float(as_int(rows[i][j]) & load(p.column_inside[j] + v * kLanes));
        }
        Transform<kTile>::input(rows[i]);
      }
      transform_columns<kTile>(rows, to, stride);
    }
  }
  // Of channels [from, to), which lie `pitch` apart.
  void transform_inputs(const Panel& p, int64_t group, int64_t from, int64_t to, float* v_panel, int64_t stride,
                        int64_t pitch = kColumns) const {
    const int64_t plane = conv.x_plane(), width = conv.axis[2].source;
    const float* x = conv.x + p.image * conv.x_image() + (group * conv.in_channels + from) * plane;
    for (int64_t c = from; c < to; c++, x += plane) {
      float* const v_channel = v_panel + c * pitch;
      for (int i = 0; p.in_rows && by_rows == Runs::whole && i < p.vectors; i++)
        transform_input_rows<false>(p.rows[i], x, v_channel + i * kLanes, stride);
      for (int i = 0; p.in_rows && by_rows == Runs::halves && i < p.vectors; i++)
        transform_input_rows<true>(p.rows[i], x, v_channel + i * kLanes, stride);
      if (p.in_rows) continue;
      if constexpr (kTile == 4)
        if (p.in_pieces && x + p.low >= conv.x && x + p.high <= conv.x + conv.batch * conv.x_image()) {
          transform_input_pieces(p, x, c + 1 < to ? plane : 0, v_channel, stride);
          continue;
        }
      transform_input(p, x, width, v_channel, stride);
    }
  }

  // The outputs of one channel: m holds the points' sums, `stride` apart.
  void transform_output(const Panel& p, int64_t channel, const float* from, int64_t stride, V& check) const {
    const int64_t width = conv.axis[2].size;
    float* const y = conv.y + p.image * conv.y_image() + channel * conv.y_plane();
    const float* const residual = conv.residual ? conv.residual + (y - conv.y) : nullptr;
    const V bias = set1(conv.bias ? conv.bias[channel] : 0.0f);
    const bool plain = !residual && conv.activation == activation::none;
    // What is to be stored at a place, or at two in halves.
    const auto finish = [&](V out, int64_t low, int64_t high) __attribute__((always_inline)) {
      out = out + bias;
      if (plain) return out;
      if (residual) out = out + load_halves<kLanes>(residual + low, residual + high);
      return activate<float>(out, conv.activation);
    };
    const SixPlaces down(kPoints * stride);
    for (int v = 0; v < p.vectors; v++, from += kLanes) {
      V half[kTile][kPoints];
      const float* sums = from;
#pragma GCC unroll 6
      for (int j = 0; j < kPoints; j++, sums += stride) {
        __asm__("" : "+r"(sums));
        V column[kPoints], out[kTile];
#pragma GCC unroll 6
        for (int i = 0; i < kPoints; i++) column[i] = load(down.at(sums, i));
        Transform<kTile>::output(column, out);
#pragma GCC unroll 4
        for (int i = 0; i < kTile; i++) half[i][j] = out[i];
      }
      alignas(64) float pixels[kTile][kTile * kLanes];
#pragma GCC unroll 4
      for (int i = 0; i < kTile; i++) {
        V out[kTile];
        Transform<kTile>::output(half[i], out);
#pragma GCC unroll 4
        for (int j = 0; j < kTile; j++) remember(check, out[j]);
        transpose_blocks<kLanes, kTile>(out);
        if (by_rows != Runs::none) {
          p.rows[v].write(out, i, by_rows, y, width, finish);
          continue;
        }
#pragma GCC unroll 4
        for (int j = 0; j < kTile; j++) store(pixels[i] + j * kLanes, out[j] + bias);
      }
      for (int r = 0; by_rows == Runs::none && r < p.runs[v]; r++) {
        const TileRun& run = p.run[v][r];
        for (int i = 0; i < run.rows; i++) {
          const float* const in = pixels[i] + run.first * kTile;
          const int64_t at = run.to + i * width;
          int q = 0;
          for (; q + kLanes <= run.pixels; q += kLanes) {
            V out = load(in + q);
            if (residual) out = out + load(residual + at + q);
            store(y + at + q, activate<float>(out, conv.activation));
          }
          if (q < run.pixels) {
            V out = load_partial(in + q, run.pixels - q);
            if (residual) out = out + load_partial(residual + at + q, run.pixels - q);
            store_partial(y + at + q, activate<float>(out, conv.activation), run.pixels - q);
          }
        }
      }
    }
  }

  // m[rows][columns] of one point: `weights` its [channel][rows] of a panel, `vs` its [channel][columns] of tiles p.
  void multiply(const float* weights, int64_t panel, const Panel& p, const float* vs, float* to) const {
    const int64_t count = rows.size(panel), columns = p.vectors * kLanes;
    for (int64_t block = 0; block < depth.parts; block++) {
      const int64_t c = depth.start(block);
      find_packed_tile<float>(count, columns)(depth.size(block), weights + c * count, vs + c * kColumns, kColumns,
                                              {to, kColumns, columns, block > 0 ? to : nullptr, kColumns});
    }
  }

  // All steps for kGroup panels. While they multiply, what they will write and what comes next are fetched.
  void fused_task(int64_t index) {
    const int64_t groups_of_panels = ceil_div(panels, kGroup);
    const int64_t group = index / groups_of_panels, first = index % groups_of_panels * kGroup;
    const int64_t count = smaller(kGroup, panels - first);
    const int64_t v_point = conv.in_channels * kColumns + 16, v_panel = kPoints * kPoints * v_point;
    const int64_t m_point = Simd<float>::tile_rows * kColumns + 16;
    float* const own = static_cast<float*>(
        runtime.scratch(4, (kGroup * v_panel + kPoints * kPoints * m_point) * int64_t(sizeof(float))));
    if (!own) {
      failed = true;
      return;
    }
    float* const sums = own + kGroup * v_panel;
    Panel panel[kGroup];
    V check = set1(0.0f);
    LinesToCome ahead;
    const int64_t tile = first * kColumns, end = smaller((first + count) * kColumns, tiles);
    Rows::add_written(grid, tile, end, conv.y + group * conv.out_channels * conv.y_plane(), conv.out_channels, ahead);
    Rows::add_read(grid, end, smaller(end + kGroup * kColumns, tiles),
                   conv.x + group * conv.in_channels * conv.x_plane(), conv.in_channels, ahead);
    // What the products leave is fetched by the transforms.
    const int64_t by_products = kPoints * kPoints * rows.parts * count * conv.in_channels * kFloatsAhead;
    const int64_t burst = ceil_div(larger(0, ahead.floats() - by_products),
                                   count * (conv.in_channels + conv.out_channels) * (64 / int64_t(sizeof(float))));
    for (int64_t i = 0; i < count; i++) {
      locate(first + i, panel[i]);
      for (int64_t c = 0; c < conv.in_channels; c++) {
        ahead.fetch(burst);
        transform_inputs(panel[i], group, c, c + 1, own + i * v_panel, v_point);
      }
    }
    for (int64_t k = 0; k < rows.parts; k++) {
      const auto products = find_point_tiles<Simd<float>::tile_rows, kVectors>(rows.size(k));
      for (int64_t i = 0; i < count; i++) {
        products({kPoints * kPoints, conv.in_channels, kColumns, shared_u(group, k), point_stride, own + i * v_panel,
                  v_point, sums, m_point},
                 ahead);
        for (int64_t row = 0; row < rows.size(k); row++) {
          ahead.fetch(burst);
          transform_output(panel[i], group * conv.out_channels + rows.start(k) + row, sums + row * kColumns, m_point,
                           check);
        }
      }
    }
    note_unless_finite(check, not_finite);
  }

  // Weights of a panel, its gemms and its outputs, while V of all tiles is shared.
  void few_tiles_task(int64_t group, int64_t k, const Panel* panel, int64_t v_point) {
    constexpr int64_t kSquare = kPoints * kPoints;
    const int64_t u_point = rows.size(k) * conv.in_channels + 16, m_point = Simd<float>::tile_rows * kColumns + 16;
    float* const own = static_cast<float*>(runtime.scratch(4, kSquare * (u_point + m_point) * int64_t(sizeof(float))));
    if (!own) {
      failed = true;
      return;
    }
    float* const sums = own + kSquare * u_point;
    transform_weights(group, k, 0, conv.in_channels, own, u_point);
    V check = set1(0.0f);
    for (int64_t at = 0; at < panels; at++) {
      for (int64_t point = 0; point < kSquare; point++)
        multiply(own + point * u_point, k, panel[at], v + point * v_point + at * conv.in_channels * kColumns,
                 sums + point * m_point);
      for (int64_t row = 0; row < rows.size(k); row++)
        transform_output(panel[at], group * conv.out_channels + rows.start(k) + row, sums + row * kColumns, m_point,
                         check);
    }
    note_unless_finite(check, not_finite);
  }

  // V of panels [first, first + count).
  void transform_chunk(int64_t group, const Panel* panel, int64_t count, int64_t v_point) {
    const int64_t parts = ceil_div(conv.in_channels, 16);
    run_tasks(runtime, count * parts, [&](int64_t i) {
      const int64_t at = i / parts, c = i % parts * 16;
      transform_inputs(panel[at], group, c, smaller(c + 16, conv.in_channels), v + at * conv.in_channels * kColumns,
                       v_point);
    });
  }

  int64_t run_few_tiles() {
    const int64_t v_point = panels * conv.in_channels * kColumns + 16;
    v = static_cast<float*>(runtime.scratch(1, kPoints * kPoints * v_point * int64_t(sizeof(float))));
    Panel* const panel = static_cast<Panel*>(runtime.scratch(3, panels * int64_t(sizeof(Panel))));
    if (!v || !panel) return kOutOfMemory;
    for (int64_t i = 0; i < panels; i++) locate(i, panel[i]);
    for (int64_t group = 0; group < conv.groups; group++) {
      transform_chunk(group, panel, panels, v_point);
      run_tasks(runtime, rows.parts, [&](int64_t k) { few_tiles_task(group, k, panel, v_point); });
    }
    return status_of(failed, not_finite);
  }

  int64_t run() {
    constexpr int64_t kSquare = kPoints * kPoints;
    const int64_t bytes = conv.groups * kSquare * point_stride * int64_t(sizeof(float));
    Keep keep(runtime, kSquare << 16 | flipped << 8 | Simd<float>::tile_rows, bytes);
    if (keep.asked) return kOk;
    if (tiles <= 64 && !keep.memory) return run_few_tiles();
    u = static_cast<float*>(keep.memory ? keep.memory : runtime.scratch(0, bytes));
    if (!u) return kOutOfMemory;
    const int64_t parts = ceil_div(conv.in_channels, 64);
    if (!keep.ready)
      run_tasks(runtime, conv.groups * rows.parts * parts, [this, parts](int64_t i) {
        const int64_t c = i % parts * 64;
        const int64_t group = i / parts / rows.parts, panel = i / parts % rows.parts;
        transform_weights(group, panel, c, smaller(c + 64, conv.in_channels), shared_u(group, panel), point_stride);
      });
    keep.fill_done();
    if (conv.in_channels <= 160 && tiles >= 128) {
      run_tasks(runtime, conv.groups * ceil_div(panels, kGroup), [this](int64_t i) { fused_task(i); });
      return status_of(failed, not_finite);
    }
    // Step by step for a chunk of panels: V and the sums take at most about 32 MB.
    const int64_t a_panel = kSquare * (conv.in_channels + conv.out_channels) * kColumns * int64_t(sizeof(float));
    const int64_t chunk = smaller(panels, larger(1, smaller(256 / kColumns, (32 << 20) / a_panel)));
    const int64_t v_point = chunk * conv.in_channels * kColumns + 16,
                  m_point = chunk * conv.out_channels * kColumns + 16;
    v = static_cast<float*>(runtime.scratch(1, kSquare * v_point * int64_t(sizeof(float))));
    m = static_cast<float*>(runtime.scratch(2, kSquare * m_point * int64_t(sizeof(float))));
    Panel* const panel = static_cast<Panel*>(runtime.scratch(3, chunk * int64_t(sizeof(Panel))));
    if (!v || !m || !panel) return kOutOfMemory;
    for (int64_t group = 0; group < conv.groups; group++)
      for (int64_t first = 0; first < panels; first += chunk) {
        const int64_t count = smaller(chunk, panels - first);
        for (int64_t i = 0; i < count; i++) locate(first + i, panel[i]);
        transform_chunk(group, panel, count, v_point);
        const int64_t out_parts = ceil_div(rows.parts, 8);
        run_tasks(runtime, kSquare * out_parts, [&](int64_t i) {
          const int64_t point = i / out_parts, from = i % out_parts * 8, to = smaller(from + 8, rows.parts);
          for (int64_t at = 0; at < count; at++)
            for (int64_t k = from; k < to; k++)
              multiply(shared_u(group, k) + point * point_stride, k, panel[at],
                       v + point * v_point + at * conv.in_channels * kColumns,
                       m + point * m_point + (at * conv.out_channels + rows.start(k)) * kColumns);
        });
        run_tasks(runtime, count * rows.parts, [&](int64_t i) {
          const int64_t at = i / rows.parts, k = i % rows.parts;
          V check = set1(0.0f);
          for (int64_t row = rows.start(k); row < rows.start(k) + rows.size(k); row++)
            transform_output(panel[at], group * conv.out_channels + row, m + (at * conv.out_channels + row) * kColumns,
                             m_point, check);
          note_unless_finite(check, not_finite);
        });
      }
    return status_of(failed, not_finite);
  }
};

// 3x3, stride 1, no dilation, one slice deep; positions of a panel fit 32 bits.
XCORR_INLINE bool winograd_fits(const ConvSizes& s) {
  return s.kernel[0] == 1 && s.in[0] == 1 && s.out[0] == 1 && s.pad[0] == 0 && s.kernel[1] == 3 && s.kernel[2] == 3 &&
         s.stride[1] == 1 && s.stride[2] == 1 && s.dilation[1] == 1 && s.dilation[2] == 1 &&
         larger(s.in_channels * volume(s.in), s.out_channels * volume(s.out)) < (int64_t(1) << 24);
}

}  // namespace
}  // namespace xcorr
