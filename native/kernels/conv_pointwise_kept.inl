// 1x1 convolution with weights that were packed by an earlier call (kept.inl).
//
// Two layouts of the lanes, with the same bits. Pixels in the lanes: weights are packed as panels [channel][rows] and
// broadcast; a task's first panel reads its columns of x where they lie and leaves them packed for the others. Output
// channels in the lanes, where rows of pixels leave lanes without work (49 pixels fill 77 % of four vectors): weights
// are packed as [tile][channel][columns], pixels are broadcast from x as it lies, tiles of sums are transposed on their
// way out. The latter also multiplies filters of several taps with columns of terms (conv_columns.inl), in the order of
// direct convolution.
#pragma once
#include "conv_columns.inl"
#include "kept.inl"
#include "parallel.inl"
#include "pointwise_tile.inl"
#include "turn_out.inl"

namespace xcorr {
namespace {

// Pixels of an image up to which output channels are in the lanes; of all images beyond which the blocked product,
// whose tasks share what they pack, is as fast: those of small images, and of larger ones. Tiny images stay here.
constexpr int64_t kTinyImage = 64, kSmallImage = 256, kFewSmallPixels = 1024, kFewPixels = 4096;

template <class T>
bool kept_pointwise_fits(const Correlation<T>& c) {
  return sizeof(T) == 4 && c.groups == 1 && c.in_channels >= 16 && c.out_channels >= 16 && c.pixels() >= 16 &&
         (c.pixels() <= kTinyImage ||
          c.batch * c.pixels() <= (c.pixels() <= kSmallImage ? kFewSmallPixels : kFewPixels));
}

// Weights that are too few to be kept are packed by every call at next to no cost.
template <class T>
bool packs_few_weights(const Correlation<T>& c) {
  return c.pixels() > kSmallImage && c.in_channels * c.out_channels * int64_t(sizeof(T)) < kLeastKept;
}

// Filters of several taps that leave direct convolution without lanes to fill.
template <class T>
bool kept_direct_fits(const Correlation<T>& c) {
  const int64_t pixels = c.batch * c.pixels(), taps = c.taps();
  return sizeof(T) == 4 && c.groups == 1 && c.dense() && c.in_channels >= 16 && c.out_channels >= 16 &&
         c.pixels() >= 16 && pixels <= kSmallImage && taps <= 384 && c.in_channels * taps * pixels <= 4 << 20;
}

struct KeptPointwise {
  static constexpr int64_t kRows = Simd<float>::tile_rows, kColumns = kTileColumns<float>, kLanes = Simd<float>::lanes,
                           kLine = 64 / sizeof(float), kChannels = 32;

  const Runtime& runtime;
  const Correlation<float>& conv;
  const float* source;  // [image][term][pixel]
  int64_t source_image;
  int64_t pixels, taps, depth, channels;
  bool channels_in_lanes;
  Split blocks;                   // of the source's channels
  Split panels;                   // of output channels, or of an image's pixels
  int64_t tiles;                  // of an image's pixels, or of output channels
  Split tile_parts, panel_parts;  // of a task
  const float* weights = nullptr;
  float lowest, highest;
  bool failed = false;

  KeptPointwise(const Runtime& runtime_, const Correlation<float>& conv_) : runtime(runtime_), conv(conv_) {
    source = conv.x;
    source_image = conv.x_image();
    pixels = conv.pixels();
    taps = conv.taps();
    depth = conv.in_channels * taps;
    channels = conv.out_channels;
    blocks = TermBlocks(conv.in_channels, taps).channels;
    channels_in_lanes = pixels <= kSmallImage;
    const double work = 2.0 * double(depth) * double(channels) * double(pixels);
    const int64_t wanted = larger(1, smaller(ceil_div(16, conv.batch), int64_t(work / 500e3)));
    if (channels_in_lanes) {
      panels = row_panels<float>(pixels);
      tiles = ceil_div(channels, kColumns);
      // Boundaries in units that every target has.
      const int64_t units = ceil_div(channels, kChannels);
      tile_parts = {tiles, smaller(units, wanted)};
      panel_parts = {panels.parts, larger(1, smaller(panels.parts / 4, wanted / tile_parts.parts))};
    } else {
      panels = row_panels<float>(channels);
      tiles = ceil_div(pixels, kColumns);
      const int64_t most = larger(1, (192 << 10) / (depth * kColumns));
      // Parts of the panels would each pack all columns: rather two tiles a part.
      tile_parts = {tiles, larger(ceil_div(tiles, most), smaller(wanted, ceil_div(tiles, 2)))};
      panel_parts = {panels.parts, larger(1, smaller(panels.parts / 4, wanted / tile_parts.parts))};
    }
    lowest = lowest_of(conv.activation);
    highest = highest_of(conv.activation);
  }

  int64_t packed_elements() const { return channels_in_lanes ? tiles * kColumns * depth : channels * depth; }

  // Tile `index` of filters, terms in the order of direct convolution.
  void pack_filter_tile(int64_t index, float* to) const {
    const int64_t first = index * kColumns, count = smaller(kColumns, channels - first);
    float* const out = to + first * depth;
    if (count < kColumns)
      for (int64_t i = 0; i < kColumns * depth; i++) out[i] = 0;
    for (int64_t block = 0; block < blocks.parts; block++)
      for (int64_t r = 0; r < count; r += kLanes)
        pack_filters(conv.w + (first + r) * conv.w_out + blocks.start(block) * taps, conv.w_out,
                     smaller(kLanes, count - r), blocks.size(block), taps,
                     out + blocks.start(block) * taps * kColumns + r, kColumns);
  }
  // Panel or tile `index` of the weights.
  void pack(int64_t index, float* to) const {
    if (taps > 1) return pack_filter_tile(index, to);
    const float* const w = conv.w + conv.filter_position(0);
    const Split parts = channels_in_lanes ? Split{} : panels;
    const int64_t first = channels_in_lanes ? index * kColumns : parts.start(index);
    const int64_t count = channels_in_lanes ? smaller(kColumns, channels - first) : parts.size(index);
    const int64_t width = channels_in_lanes ? kColumns : count;
    float* const out = to + first * depth;
    if (conv.w_in == 1)
      transpose_matrix<float>(w + first * conv.w_out, conv.w_out, count, depth, out, width, width);
    else
      copy_rows<float>(w + first, conv.w_in, depth, count, out, width, width);
  }

  int64_t execute() {
    // Images of different sizes want different layouts: each has a number of bytes of its own.
    const int64_t bytes = (packed_elements() + (channels_in_lanes ? 16 : 0)) * int64_t(sizeof(float));
    Keep keep(runtime, 2 * Simd<float>::tile_rows + channels_in_lanes, bytes);
    if (keep.asked) return kOk;
    if (!conv.pointwise()) {
      const ConvColumns columns = {conv, blocks};
      float* const laid_out = static_cast<float*>(runtime.scratch(1, columns.elements() * int64_t(sizeof(float))));
      if (!laid_out) return kOutOfMemory;
      columns.lay_out(runtime, laid_out);
      source = laid_out;
      source_image = depth * pixels;
    }
    float* const packed = static_cast<float*>(keep.memory ? keep.memory : runtime.scratch(0, bytes));
    if (!packed) return kOutOfMemory;
    if (!keep.ready) run_tasks(runtime, channels_in_lanes ? tiles : panels.parts, [&](int64_t i) { pack(i, packed); });
    keep.fill_done();
    weights = packed;
    const int64_t tasks = conv.batch * tile_parts.parts * panel_parts.parts;
    run_tasks(runtime, tasks, [this](int64_t index) {
      if (channels_in_lanes)
        channel_task(index);
      else
        pixel_task(index);
    });
    return failed ? int64_t(kOutOfMemory) : int64_t(kOk);
  }

  void pixel_task(int64_t index) {
    const int64_t panel_part = index % panel_parts.parts;
    index /= panel_parts.parts;
    const int64_t tile_part = index % tile_parts.parts, image = index / tile_parts.parts;
    const int64_t first_tile = tile_parts.start(tile_part), tile_count = tile_parts.size(tile_part);
    const int64_t first = first_tile * kColumns, columns = smaller(tile_count * kColumns, pixels - first);
    float* const packed =
        static_cast<float*>(runtime.scratch(4, (tile_count * depth + kRows) * kColumns * int64_t(sizeof(float))));
    if (!packed) {
      failed = true;
      return;
    }
    float* const partial = packed + tile_count * depth * kColumns;
    const float* const x = source + image * source_image + first;
    // Less than a tile at the end of the image is packed with zeros behind it.
    const int64_t whole_columns = columns / kColumns * kColumns;
    if (whole_columns < columns)
      copy_rows<float>(x + whole_columns, pixels, depth, columns - whole_columns, packed + whole_columns * depth,
                       kColumns, kColumns);
    const int64_t panel_from = panel_parts.start(panel_part), panel_to = panel_from + panel_parts.size(panel_part);
    float zeros[kRows];
    for (float& zero : zeros) zero = float(-0.0);
    // The next task's columns, if they are not these.
    const bool more = panel_part == panel_parts.parts - 1 && tile_part + 1 < tile_parts.parts;
    const int64_t calls = (panel_to - panel_from) * tile_count * blocks.parts;
    const int64_t rows_a_call = ceil_div(depth, calls);
    int64_t rows_fetched = 0;
    const float* const next_x = x + columns;
    const int64_t next_lines =
        more ? ceil_div(smaller(tile_parts.size(tile_part + 1) * kColumns, pixels - first - columns), kLine) : 0;
    for (int64_t panel = panel_from; panel < panel_to; panel++) {
      const int64_t row = panels.start(panel), rows = panels.size(panel);
      const float* const a = weights + row * depth;
      const auto wide = find_pointwise_tile(rows, false), narrow = find_pointwise_tile(rows, true);
      const auto copying = find_pointwise_tile<true>(rows, false);
      float* const y = conv.y + image * conv.y_image() + row * pixels + first;
      const int64_t share = panel + 1 < panel_to ? ceil_div(panels.size(panel + 1) * depth, tile_count) : 0;
      const float* next = a + rows * depth;
      for (int64_t tile = 0; tile < tile_count; tile++) {
        const int64_t count = smaller(kColumns, columns - tile * kColumns);
        for (int64_t block = 0; block < blocks.parts; block++) {
          const int64_t k0 = blocks.start(block) * taps, terms = blocks.size(block) * taps;
          Fetches fetch;
          if (share > 0) {
            fetch.line = next + tile * share + k0 * share / depth;
            fetch.step = kAheadTerms<float> * share / depth + 1;
          }
          if (more && rows_fetched < depth) {
            fetch.row = next_x + rows_fetched * pixels;
            fetch.lines = next_lines;
            fetch.jump = pixels;
            rows_fetched += rows_a_call;
          }
          const bool last = block == blocks.parts - 1;
          if (last) {  // of the next tile
            const bool wraps = tile + 1 == tile_count;
            if (!wraps || panel + 1 < panel_to) {
              fetch.out = wraps ? y + rows * pixels : y + (tile + 1) * kColumns;
              fetch.residual = conv.residual ? conv.residual + (fetch.out - conv.y) : nullptr;
              fetch.out_rows = rows;
              fetch.out_stride = pixels;
            }
          }
          float* const to = y + tile * kColumns;
          const bool whole = count == kColumns || count == kLanes;
          const PointwiseEnd end = {partial,
                                    block == 0,
                                    last && whole,
                                    conv.bias ? conv.bias + row : zeros,
                                    conv.residual ? conv.residual + (to - conv.y) : nullptr,
                                    to,
                                    pixels,
                                    lowest,
                                    highest};
          float* const b = packed + (tile * depth + k0) * kColumns;
          if (panel == panel_from && count == kColumns) {
            fetch.copy = b;
            copying(terms, a + k0 * rows, rows, x + k0 * pixels + tile * kColumns, pixels, fetch, end);
          } else {
            (count <= kLanes ? narrow : wide)(terms, a + k0 * rows, rows, b, kColumns, fetch, end);
          }
          if (last && !whole)
            finish_tile<float>(partial, count <= kLanes ? kLanes : kColumns, rows,
                               {to, pixels, count, nullptr, 0, conv.bias ? conv.bias + row : nullptr, nullptr,
                                end.residual, conv.activation});
        }
      }
    }
  }

  // Sums [pixel][channel] of a tile to their places.
  void turn_out_tile(const float* sums, int64_t rows, int64_t first_channel, int64_t image, int64_t first) const {
    const int64_t at = image * conv.y_image() + first_channel * pixels + first;
    turn_out(
        sums, kColumns,
        {rows, smaller(kColumns, channels - first_channel), pixels, conv.bias ? conv.bias + first_channel : nullptr,
         conv.residual ? conv.residual + at : nullptr, conv.y + at, lowest, highest});
  }

  void channel_task(int64_t index) {
    const int64_t tile_part = index % tile_parts.parts;
    index /= tile_parts.parts;
    const int64_t panel_part = index % panel_parts.parts, image = index / panel_parts.parts;
    const int64_t panel_from = panel_parts.start(panel_part), panel_to = panel_from + panel_parts.size(panel_part);
    const int64_t first = panels.start(panel_from), count = panels.start(panel_to) - first;
    const int64_t tile_from = tile_parts.start(tile_part), tile_to = tile_from + tile_parts.size(tile_part);
    float* const sums = static_cast<float*>(runtime.scratch(4, count * kColumns * int64_t(sizeof(float))));
    if (!sums) {
      failed = true;
      return;
    }
    const float* const x = source + image * source_image;
    for (int64_t tile = tile_from; tile < tile_to; tile++)
      for (int64_t block = 0; block < blocks.parts; block++) {
        const int64_t k0 = blocks.start(block) * taps, terms = blocks.size(block) * taps;
        const float* const b = weights + (tile * depth + k0) * kColumns;
        const bool last = block == blocks.parts - 1;
        const bool more = !last || tile + 1 < tiles;
        const int64_t share =
            more ? ceil_div(blocks.size(last ? 0 : block + 1) * taps * kColumns, panel_to - panel_from) : 0;
        for (int64_t panel = panel_from; panel < panel_to; panel++) {
          const int64_t at = panels.start(panel), rows = panels.size(panel);
          float* const sum = sums + (at - first) * kColumns;
          Fetches fetch;
          if (more) {
            fetch.line = b + terms * kColumns + (panel - panel_from) * share;
            fetch.step = kAheadTerms<float> * share / terms + 1;
          }
          if (last) {
            fetch.out = conv.y + image * conv.y_image() + tile * kColumns * pixels + at;
            fetch.residual = conv.residual ? conv.residual + (fetch.out - conv.y) : nullptr;
            fetch.out_rows = smaller(kColumns, channels - tile * kColumns);
            fetch.out_stride = pixels;
          }
          find_pointwise_tile(rows, false)(terms, x + k0 * pixels + at, pixels, b, kColumns, fetch,
                                           {sum, block == 0, false, nullptr, nullptr, nullptr, 0, lowest, highest});
          if (last) turn_out_tile(sum, rows, tile * kColumns, image, at);
        }
      }
  }
};

}  // namespace
}  // namespace xcorr
