// Winograd convolution (winograd.inl) of few tiles, one or two small images, with many weights.
//
// The weights are the largest traffic, four times as large transformed (36 floats for 9, 16 in F(2x2)) as they are. So
// a task carries a panel of output channels through all steps, a block of channels at a time: it transforms the block's
// weights into the second-level cache, multiplies, and goes on with the next. Output channels are the lanes: weights
// that are kept lie packed as [panel][channel][tap][lanes], so that they are read, and fetched ahead, as one stream,
// and transformed without gathers. Rows of a product are the tiles, whose transform all tasks share.
#pragma once
#include "pointwise_tile.inl"
#include "turn_out.inl"
#include "winograd.inl"

namespace xcorr {
namespace {

// From so many on, tiles in the lanes fill them, and V is too large to be read by every panel. With few weights panels
// are too few, and all weights transformed are little traffic.
constexpr int64_t kFewTiles = 32;
XCORR_INLINE bool many_weights(int64_t weights) { return weights >= 32768; }

template <int kTile>
struct WinogradFewTiles {
  using Tiles = Winograd<kTile>;
  using V = Simd<float>::V;
  static constexpr int64_t kPoints = kTile + 2, kSquare = kPoints * kPoints, kTaps = 9;
  static constexpr int64_t kLanes = Simd<float>::lanes, kColumns = kTileColumns<float>, kPad = 16,
                           kLine = 64 / sizeof(float);
  static constexpr int64_t kBlock = 64;  // channels

  const Runtime& runtime;
  const Correlation<float>& conv;
  const Tiles& tiles;
  int64_t width;         // tiles, in whole vectors
  int64_t panels;        // of output channels
  int64_t packed_panel;  // floats
  Split blocks;          // of the channels
  Split tile_rows;       // of the products
  int64_t v_point = 0;
  bool turned;              // tiles in the order of the lanes in winograd.inl, which must all be taken
  float* v = nullptr;       // [point][channel][tile]
  float* packed = nullptr;  // weights as they are kept, or null: a task packs its own
  bool failed = false, not_finite = false;

  explicit WinogradFewTiles(const Tiles& tiles_) : runtime(tiles_.runtime), conv(tiles_.conv), tiles(tiles_) {
    width = round_up(tiles.tiles, kLanes);
    panels = ceil_div(conv.out_channels, kColumns);
    packed_panel = conv.in_channels * kTaps * kColumns;
    blocks = split_evenly(conv.in_channels, kBlock);
    tile_rows = row_panels<float>(tiles.tiles);
    v_point = conv.in_channels * width + kPad;
    turned = kTile == 4 && tiles.tiles % kLanes == 0;
  }

  // Weights of channels [from, to) of a panel as [channel][tap][lanes], zeros where there is no output channel.
  void pack(int64_t group, int64_t panel, int64_t from, int64_t to, float* out) const {
    const int64_t count = smaller(kColumns, conv.out_channels - panel * kColumns);
    const float* const w = conv.w + group * conv.w_group + panel * kColumns * conv.w_out;
    if (conv.w_in == kTaps)
      return transpose_matrix<float>(w + from * kTaps, conv.w_out, count, (to - from) * kTaps, out, kColumns, kColumns);
    for (int64_t c = from; c < to; c++, out += kTaps * kColumns)
      transpose_matrix<float>(w + c * conv.w_in, conv.w_out, count, kTaps, out, kColumns, kColumns);
  }

  // The weights that come after a block of a panel's, as they lie: rows of so many floats, `stride` apart.
  struct Weights {
    const float* first;
    int64_t rows, length, stride;
  };
  Weights weights_after(int64_t group, int64_t panel, int64_t block) const {
    if (++block == blocks.parts) {
      block = 0;
      if (++panel == panels) panel = 0, group++;
    }
    if (group == conv.groups) return {nullptr, 0, 0, 0};
    const int64_t c = blocks.start(block), depth = blocks.size(block);
    if (packed)
      return {packed + (group * panels + panel) * packed_panel + c * kTaps * kColumns, 1, depth * kTaps * kColumns, 0};
    const int64_t count = smaller(kColumns, conv.out_channels - panel * kColumns);
    const float* const w = conv.w + group * conv.w_group + panel * kColumns * conv.w_out + c * conv.w_in;
    if (conv.w_in == kTaps) return {w, count, depth * kTaps, conv.w_out};
    return {w, depth, count * kTaps, conv.w_in};
  }

  // U of a block of channels, [point][channel][lanes], points `stride` apart. For every channel `share` floats from
  // `ahead` on are fetched.
  void transform_weights(const float* taps, int64_t channels, float* u, int64_t stride, const float* ahead,
                         int64_t share) const {
    const int64_t first = tiles.flipped ? (kTaps - 1) * kColumns : 0, step = tiles.flipped ? -kColumns : kColumns;
    for (int64_t c = 0; c < channels; c++) {
      for (int64_t i = 0; i < share; i += kLine) __builtin_prefetch(ahead + c * share + i, 0, 2);
      for (int64_t lane = 0; lane < kColumns; lane += kLanes) {
        const float* const from = taps + c * kTaps * kColumns + first + lane;
        float* const to = u + c * kColumns + lane;
        V half[kPoints][3];
#pragma GCC unroll 3
        for (int j = 0; j < 3; j++) {
          const V g[3] = {load(from + j * step), load(from + (3 + j) * step), load(from + (6 + j) * step)};
          V column[kPoints];
          Transform<kTile>::filter(g, column);
#pragma GCC unroll 6
          for (int i = 0; i < kPoints; i++) half[i][j] = column[i];
        }
#pragma GCC unroll 6
        for (int i = 0; i < kPoints; i++) {
          V row[kPoints];
          Transform<kTile>::filter(half[i], row);
#pragma GCC unroll 6
          for (int j = 0; j < kPoints; j++) store(to + (i * kPoints + j) * stride, row[j]);
        }
      }
    }
  }

  // The outputs of tile t for all lanes of a panel, to their pixels: [pixel][lanes] of an image.
  void transform_output(int64_t t, const float* sums, int64_t stride, float* image, V& check) const {
    const Axis &h = conv.axis[1], &w = conv.axis[2];
    const int64_t top = t / tiles.tiles_w % tiles.tiles_h * kTile, left = t % tiles.tiles_w * kTile;
    const int64_t height = smaller(kTile, h.count - top), length = smaller(kTile, w.count - left);
    const int64_t row = turned ? t / kLanes * kLanes + Tiles::lane_of(int(t % kLanes)) : t;
    float* const to = image + (top * w.count + left) * kColumns;
    for (int64_t lane = 0; lane < kColumns; lane += kLanes) {
      const float* const from = sums + row * kColumns + lane;
      V half[kTile][kPoints];
#pragma GCC unroll 6
      for (int j = 0; j < kPoints; j++) {
        V column[kPoints], out[kTile];
#pragma GCC unroll 6
        for (int i = 0; i < kPoints; i++) column[i] = load(from + (i * kPoints + j) * stride);
        Transform<kTile>::output(column, out);
#pragma GCC unroll 4
        for (int i = 0; i < kTile; i++) half[i][j] = out[i];
      }
#pragma GCC unroll 4
      for (int i = 0; i < kTile; i++) {
        V out[kTile];
        Transform<kTile>::output(half[i], out);
#pragma GCC unroll 4
        for (int j = 0; j < kTile; j++) {
          remember(check, out[j]);
          if (i < height && j < length) store(to + (i * w.count + j) * kColumns + lane, out[j]);
        }
      }
    }
  }

  void task(int64_t group, int64_t panel) {
    const int64_t u_point = blocks.size(0) * kColumns + kPad, m_point = tiles.tiles * kColumns + kPad;
    const int64_t pixels = conv.pixels(), taps = packed ? 0 : blocks.size(0) * kTaps * kColumns;
    const int64_t floats = kSquare * (u_point + m_point) + pixels * kColumns + taps;
    float* const u = static_cast<float*>(runtime.scratch(4, floats * int64_t(sizeof(float))));
    if (!u) {
      failed = true;
      return;
    }
    float* const sums = u + kSquare * u_point;
    float* const image = sums + kSquare * m_point;
    float* const own = image + pixels * kColumns;
    const int64_t first_channel = group * conv.out_channels + panel * kColumns;
    const int64_t channels = smaller(kColumns, conv.out_channels - panel * kColumns);
    const int64_t calls = kSquare * tile_rows.parts;
    for (int64_t block = 0; block < blocks.parts; block++) {
      const int64_t c = blocks.start(block), depth = blocks.size(block);
      Weights next = weights_after(group, panel, block);
      if (packed) {
        // A third of what comes next is fetched here, so that the products need not wait for the rest.
        const float* const taps = packed + (group * panels + panel) * packed_panel + c * kTaps * kColumns;
        const int64_t part = round_up(next.length / 3, kLine);
        transform_weights(taps, depth, u, u_point, next.rows > 0 ? next.first : taps, ceil_div(part, depth));
        next.first += part;
        next.length -= part;
      } else {
        pack(group, panel, c, c + depth, own);
        transform_weights(own, depth, u, u_point, own, 0);
      }
      const int64_t calls_a_row = larger(1, calls / larger(1, next.rows)), share = ceil_div(next.length, calls_a_row);
      int64_t row_of_weights = 0, part_of_row = 0;
      for (int64_t point = 0; point < kSquare; point++)
        for (int64_t part = 0; part < tile_rows.parts; part++) {
          const int64_t row = tile_rows.start(part), count = tile_rows.size(part);
          Fetches fetch;
          if (row_of_weights < next.rows) {
            fetch.line = next.first + row_of_weights * next.stride + part_of_row * share;
            fetch.step = ceil_div(kAheadTerms<float> * share, depth);
            if (++part_of_row == calls_a_row) {
              part_of_row = 0;
              row_of_weights++;
            }
          }
          find_pointwise_tile(count, false)(
              depth, v + point * v_point + c * width + row, width, u + point * u_point, kColumns, fetch,
              {sums + point * m_point + row * kColumns, block == 0, false, nullptr, nullptr, nullptr, 0, 0, 0});
        }
    }
    V check = set1(0.0f);
    const int64_t an_image = tiles.tiles_h * tiles.tiles_w;
    for (int64_t n = 0; n < conv.batch; n++) {
      for (int64_t t = n * an_image; t < (n + 1) * an_image; t++) transform_output(t, sums, m_point, image, check);
      const int64_t at = n * conv.y_image() + first_channel * pixels;
      turn_out(image, kColumns,
               {pixels, channels, pixels, conv.bias ? conv.bias + first_channel : nullptr,
                conv.residual ? conv.residual + at : nullptr, conv.y + at, lowest_of(conv.activation),
                highest_of(conv.activation)});
    }
    note_unless_finite(check, not_finite);
  }

  // V of a range of channels.
  void transform_inputs(int64_t group, const typename Tiles::Panel* panel, int64_t from, int64_t to) const {
    for (int64_t i = 0; i < tiles.panels; i++)
      tiles.transform_inputs(panel[i], group, from, to, v + i * kColumns, v_point, width);
  }

  int64_t execute() {
    const int64_t bytes = conv.groups * panels * packed_panel * int64_t(sizeof(float));
    Keep keep(runtime, int64_t(3) << 32 | tiles.flipped << 8 | Simd<float>::tile_rows, bytes);
    if (keep.asked) return kOk;
    packed = static_cast<float*>(keep.memory);
    if (packed && !keep.ready) {
      run_tasks(runtime, conv.groups * panels,
                [this](int64_t i) { pack(i / panels, i % panels, 0, conv.in_channels, packed + i * packed_panel); });
      keep.fill_done();
    }
    v = static_cast<float*>(runtime.scratch(1, kSquare * v_point * int64_t(sizeof(float))));
    auto* const panel =
        static_cast<typename Tiles::Panel*>(runtime.scratch(3, tiles.panels * int64_t(sizeof(typename Tiles::Panel))));
    if (!v || !panel) return kOutOfMemory;
    for (int64_t i = 0; i < tiles.panels; i++) tiles.locate(i, panel[i], !turned);
    const int64_t parts = ceil_div(conv.in_channels, 16);
    for (int64_t group = 0; group < conv.groups; group++) {
      run_tasks(runtime, parts,
                [&](int64_t i) { transform_inputs(group, panel, i * 16, smaller(i * 16 + 16, conv.in_channels)); });
      run_tasks(runtime, panels, [this, group](int64_t i) { task(group, i); });
    }
    return status_of(failed, not_finite);
  }
};

}  // namespace
}  // namespace xcorr
