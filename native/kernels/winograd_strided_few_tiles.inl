// The forward pass of winograd_strided.inl with few tiles: one image of 14x14 or 28x28 outputs.
//
// There tiles do not fill the lanes, and tasks that part the output channels would each transform all samples, which
// costs as much as multiplying them. Here the tasks share the transformed samples, and output channels are the lanes:
// weights that are kept lie packed as [panel][block][weight][channel][lanes], one stream that is fetched ahead. Tiles
// are shared out in parts whose samples stay in one core's second-level cache: tasks go part by part, in both steps,
// so that a thread multiplies what it has transformed. Sums are chains in the order of winograd_strided.inl.
#pragma once
#include "turn_out.inl"
#include "winograd_strided.inl"

namespace xcorr {
namespace {

struct StridedFewTiles {
  using All = StridedWinograd<false>;
  using Way = All::Way;
  using V = Simd<float>::V;
  static constexpr int64_t kLanes = Simd<float>::lanes, kColumns = kTileColumns<float>, kPad = 16, kTaps = 9;
  static constexpr int64_t kPoints = Way::kPoints, kSums = Way::kSums, kOutputs = Way::kOutputs;
  static constexpr int64_t kWeights = All::kWeights * All::kWeights;
  static constexpr int64_t kPartTiles = 32, kPartChannels = 32, kMostTiles = 224, kMostChannels = 256;
  // The weights g0, g1, g2, g0 + g2 in the order in which the sums want them, and where that puts each.
  static constexpr int kOrder[All::kWeights] = {0, 1, 3, 2}, kPlace[All::kWeights] = {0, 1, 3, 2};

  const All& all;
  const Runtime& runtime;
  const Correlation<float>& conv;
  int64_t unit;             // tiles that parts are multiples of: where rows fill vectors, whole vectors
  Split parts;              // of the tiles, in units
  int64_t width;            // of a part, in whole vectors
  int64_t v_point, v_part;  // floats
  int64_t panels;           // of output channels
  float* v = nullptr;       // [part][point][channel][tile]
  float* packed = nullptr;  // weights
  bool failed = false, not_finite = false;

  explicit StridedFewTiles(const All& all_) : all(all_), runtime(all_.runtime), conv(all_.conv) {
    unit = 16 % all.tiles_w == 0 ? 16 : 1;
    parts = {ceil_div(all.tiles, unit), ceil_div(all.tiles, kPartTiles)};
    width = round_up(parts.size(0) * unit, kLanes);
    v_point = conv.in_channels * width + kPad;
    v_part = kPoints * kPoints * v_point;
    panels = ceil_div(conv.out_channels, kColumns);
  }

  static bool fits(const All& all) {
    return all.tiles <= kMostTiles && all.conv.in_channels <= kMostChannels && all.conv.out_channels >= 32;
  }

  int64_t packed_panel() const { return kWeights * conv.in_channels * kColumns; }

  // A panel's weights of one block of channels.
  float* weights_of(int64_t group, int64_t panel, int64_t block) const {
    return packed + (group * panels + panel) * packed_panel() + kWeights * all.depth.start(block) * kColumns;
  }
  void transform_weights(int64_t group, int64_t panel, int64_t block) {
    const int64_t count = smaller(kColumns, conv.out_channels - panel * kColumns), channels = all.depth.size(block);
    float* const taps = static_cast<float*>(runtime.scratch(5, channels * kTaps * kColumns * int64_t(sizeof(float))));
    if (!taps) {
      failed = true;
      return;
    }
    const float* const w = conv.w + group * conv.w_group + panel * kColumns * conv.w_out;
    transpose_matrix<float>(w + all.depth.start(block) * kTaps, conv.w_out, count, channels * kTaps, taps, kColumns,
                            kColumns);
    float* const to = weights_of(group, panel, block);
    for (int64_t c = 0; c < channels; c++)
      for (int64_t lane = 0; lane < kColumns; lane += kLanes) {
        V g[3][All::kWeights];
        for (int i = 0; i < 3; i++) {
          const float* const row = taps + (c * kTaps + i * 3) * kColumns + lane;
          for (int j = 0; j < 3; j++) g[i][j] = load(row + j * kColumns);
          g[i][3] = g[i][0] + g[i][2];
        }
        for (int i = 0; i < All::kWeights; i++)
          for (int j = 0; j < All::kWeights; j++) {
            const int down = kOrder[i], along = kOrder[j];
            const V weight = down < 3 ? g[down][along] : g[0][along] + g[2][along];
            store(to + ((i * All::kWeights + j) * channels + c) * kColumns + lane, weight);
          }
      }
  }

  int64_t first_tile(int64_t part) const { return parts.start(part) * unit; }
  int64_t tiles_of(int64_t part) const { return smaller(parts.size(part) * unit, all.tiles - first_tile(part)); }

  // V of a part of the tiles and of channels [from, to).
  void transform_samples(int64_t group, int64_t part, int64_t from, int64_t to) {
    const int64_t vectors = ceil_div(tiles_of(part), kLanes);
    auto* const vector = static_cast<All::TileVector*>(runtime.scratch(4, vectors * int64_t(sizeof(All::TileVector))));
    if (!vector) {
      failed = true;
      return;
    }
    for (int64_t i = 0; i < vectors; i++) all.locate(first_tile(part) + i * kLanes, vector[i]);
    const auto transform = all.reads == Runs::none    ? All::transform_input<Runs::none>
                           : all.reads == Runs::whole ? All::transform_input<Runs::whole>
                                                      : All::transform_input<Runs::halves>;
    const int64_t plane = conv.x_plane();
    const float* x = conv.x + (group * conv.in_channels + from) * plane;
    float* out = v + part * v_part + from * width;
    for (int64_t c = from; c < to; c++, x += plane, out += width) {
      if (all.reads == Runs::none)
        for (int64_t i = 0; i < vectors; i++) All::copy_lines(x, c + 1 < to ? plane : 0, vector[i]);
      for (int64_t i = 0; i < vectors; i++) transform(vector[i], x, out + i * kLanes, v_point);
    }
  }

  // All sums of a part and a panel, [sum][tile][lanes], of one block of channels.
  void multiply(int64_t group, int64_t part, int64_t panel, int64_t block, float* sums, int64_t m_point) const {
    const Split rows = row_panels<float>(tiles_of(part));
    const int64_t channels = all.depth.size(block), a_weight = channels * kColumns;
    const float* const weights = weights_of(group, panel, block);
    const float* const samples = v + part * v_part + all.depth.start(block) * width;
    // What this block reads of the weights, and what the next one, of this panel or another, starts with.
    const bool last_block = block + 1 == all.depth.parts, last_panel = panel + 1 == panels;
    const float* ahead = weights + 4 * a_weight;
    const float* const end = weights + kWeights * a_weight + (last_block && last_panel ? 0 : 4 * a_weight);
    for (int i = 0; i < kSums; i++)
      for (int j = 0; j < kSums; j++) {
        const StridedSum &a = Way::sum[i], &b = Way::sum[j];
        Chain chain = {0, {}, channels, width, kColumns};
        for (int k = 0; k < a.terms; k++)
          for (int l = 0; l < b.terms; l++)
            chain.term[chain.terms++] = {samples + (a.v[k] * kPoints + b.v[l]) * v_point,
                                         weights + (kPlace[a.u[k]] * All::kWeights + kPlace[b.u[l]]) * a_weight};
        float* const to = sums + (i * kSums + j) * m_point;
        for (int64_t panel_of_rows = 0; panel_of_rows < rows.parts; panel_of_rows++) {
          const int64_t row = rows.start(panel_of_rows), count = rows.size(panel_of_rows);
          Chain of_rows = chain;
          for (int k = 0; k < chain.terms; k++) of_rows.term[k].a += row;
          float* const c = to + row * kColumns;
          const TileEnd<float> tile_end = {c, kColumns, kColumns, block > 0 ? c : nullptr, kColumns};
          if (ahead < end) {
            of_rows.ahead = ahead;
            ahead += chain.terms * channels * 16;
            find_chain_tile<true>(count, false)(of_rows, tile_end);
          } else {
            find_chain_tile(count, false)(of_rows, tile_end);
          }
        }
      }
  }

  // The outputs of a tile for the lanes of a panel: [row][pixel][lanes], rows `pitch` apart.
  void transform_output(const float* sums, int64_t m_point, float* to, int64_t pitch, V& check) const {
    for (int64_t lane = 0; lane < kColumns; lane += kLanes) {
      V half[kOutputs][kSums];
#pragma GCC unroll 3
      for (int j = 0; j < kSums; j++) {
        V column[kSums], out[kOutputs];
#pragma GCC unroll 3
        for (int i = 0; i < kSums; i++) column[i] = load(sums + (i * kSums + j) * m_point + lane);
        Way::output(column, out);
#pragma GCC unroll 2
        for (int i = 0; i < kOutputs; i++) half[i][j] = out[i];
      }
#pragma GCC unroll 2
      for (int i = 0; i < kOutputs; i++) {
        V out[kOutputs];
        Way::output(half[i], out);
#pragma GCC unroll 2
        for (int j = 0; j < kOutputs; j++) {
          remember(check, out[j]);
          store(to + i * pitch + j * kColumns + lane, out[j]);
        }
      }
    }
  }

  void task(int64_t group, int64_t part, int64_t panel) {
    const int64_t tiles = tiles_of(part), m_point = tiles * kColumns + kPad, pitch = kOutputs * tiles * kColumns;
    const int64_t floats = kSums * kSums * m_point + kOutputs * pitch;
    float* const sums = static_cast<float*>(runtime.scratch(4, floats * int64_t(sizeof(float))));
    if (!sums) {
      failed = true;
      return;
    }
    float* const image = sums + kSums * kSums * m_point;
    for (int64_t block = 0; block < all.depth.parts; block++) multiply(group, part, panel, block, sums, m_point);
    const int64_t channel = group * conv.out_channels + panel * kColumns;
    V check = set1(0.0f);
    for (int64_t t = 0; t < tiles;) {  // runs of tiles of one row
      const int64_t tile = first_tile(part) + t, tx = tile % all.tiles_w, ty = tile / all.tiles_w % all.tiles_h;
      const int64_t count = smaller(tiles - t, all.tiles_w - tx);
      for (int64_t i = 0; i < count; i++)
        transform_output(sums + (t + i) * kColumns, m_point, image + i * kOutputs * kColumns, pitch, check);
      const int64_t left = tx * kOutputs, length = smaller(count * kOutputs, all.size_w - left);
      for (int64_t i = 0; i < smaller(kOutputs, all.size_h - ty * kOutputs); i++) {
        const int64_t at = tile / all.tiles_w / all.tiles_h * conv.y_image() + channel * conv.y_plane() +
                           (ty * kOutputs + i) * all.size_w + left;
        turn_out(image + i * pitch, kColumns,
                 {length, smaller(kColumns, conv.out_channels - panel * kColumns), conv.y_plane(),
                  conv.bias ? conv.bias + channel : nullptr, conv.residual ? conv.residual + at : nullptr, conv.y + at,
                  lowest_of(conv.activation), highest_of(conv.activation)});
      }
      t += count;
    }
    note_unless_finite(check, not_finite);
  }

  int64_t execute() {
    const int64_t bytes = conv.groups * panels * packed_panel() * int64_t(sizeof(float));
    Keep keep(runtime, int64_t(4) << 32 | Simd<float>::tile_rows, bytes);
    if (keep.asked) return kOk;
    packed = static_cast<float*>(keep.memory ? keep.memory : runtime.scratch(0, bytes));
    v = static_cast<float*>(runtime.scratch(1, parts.parts * v_part * int64_t(sizeof(float))));
    if (!packed || !v) return kOutOfMemory;
    if (!keep.ready)
      run_tasks(runtime, conv.groups * panels * all.depth.parts, [this](int64_t i) {
        transform_weights(i / all.depth.parts / panels, i / all.depth.parts % panels, i % all.depth.parts);
      });
    if (failed) return kOutOfMemory;
    keep.fill_done();
    const int64_t channel_parts = ceil_div(conv.in_channels, kPartChannels);
    for (int64_t group = 0; group < conv.groups; group++) {
      run_tasks(runtime, parts.parts * channel_parts, [this, group, channel_parts](int64_t i) {
        const int64_t c = i % channel_parts * kPartChannels;
        transform_samples(group, i / channel_parts, c, smaller(c + kPartChannels, conv.in_channels));
      });
      run_tasks(runtime, parts.parts * panels, [this, group](int64_t i) { task(group, i / panels, i % panels); });
    }
    return status_of(failed, not_finite);
  }
};

}  // namespace
}  // namespace xcorr
