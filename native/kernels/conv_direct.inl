// Direct convolution of any kind as a gemm whose b is never built: panels of pixels are gathered from NCHW as it is,
// just before they are multiplied. Pixels of all images form one row, so that small images fill the panels too.
//
// The reduction runs over blocks of channels, in a block over taps, in a tap over channels: one table of positions then
// serves all channels of a tap. A block has about 384 terms; like all that decides rounding, it depends on the shape
// alone.
#pragma once
#include "conv_plan.inl"
#include "gemm.inl"
#include "kept.inl"

namespace xcorr {
namespace {

// An index of gather(), in one lane and in all.
template <class T>
struct LaneIndexOf {
  typedef int32_t Type;
};
template <>
struct LaneIndexOf<double> {
  typedef int64_t Type;
};
template <class T>
using LaneIndex = typename LaneIndexOf<T>::Type;
template <class T>
XCORR_INLINE typename Simd<T>::I lane_index(int64_t i) {
  typename Simd<T>::I all = {};
  return all - LaneIndex<T>(-i);
}

struct TermBlock {
  int64_t channel, channels, tap, taps;
  int64_t depth() const { return channels * taps; }
};

// All blocks of the reduction. Filters of more than 384 taps are cut within one channel.
struct TermBlocks {
  Split channels, taps;
  TermBlocks(int64_t channel_count, int64_t tap_count)
      : channels(split_evenly(channel_count, larger(1, 384 / larger(1, tap_count)))),
        taps(split_evenly(tap_count, 384)) {}
  int64_t count() const { return channels.parts * taps.parts; }
  int64_t deepest() const { return channels.size(0) * taps.size(0); }
  TermBlock at(int64_t i) const {
    const int64_t c = i / taps.parts, t = i % taps.parts;
    return {channels.start(c), channels.size(c), taps.start(t), taps.size(t)};
  }
  // Terms before block i: blocks of one range of channels follow each other.
  int64_t terms_before(int64_t i) const {
    const TermBlock b = at(i);
    return b.channel * taps.count + b.channels * b.tap;
  }
};

template <class T>
struct DirectTasks {
  const Runtime* runtime;
  Correlation<T> conv;
  Split pixel_parts, panel_parts;  // of all images' pixels in tile columns; of the row panels
  T* packed_w;                     // [group][block][panel][term][rows]
  T* packed_b;                     // [image][group][tile][block][term][width], or null: every task packs its own
  int64_t pixels;                  // of all images, or of one if panels do not run across images
  bool failed;
};

// Up to a vector of filters that lie as in memory, [channel][tap], to [tap][channel], `to_stride` apart: transposed in
// registers.
template <class T>
void pack_filters(const T* from, int64_t from_stride, int64_t rows, int64_t channels, int64_t taps, T* to,
                  int64_t to_stride) {
  constexpr int N = Simd<T>::lanes;
  const int64_t count = channels * taps;
  int64_t channel = 0, tap = 0;
  for (int64_t i = 0; i < count; i += N) {
    const int length = int(smaller(N, count - i));
    typename Simd<T>::V block[N];
#pragma GCC unroll 16
    for (int r = 0; r < N; r++) block[r] = r < rows ? load_partial(from + r * from_stride + i, length) : splat<T>(0);
    transpose_blocks<N, N>(block);
#pragma GCC unroll 16
    for (int e = 0; e < N; e++) {
      if (e == length) break;
      store_partial(to + (tap * channels + channel) * to_stride, block[e], int(rows));
      if (++tap < taps) continue;
      tap = 0;
      channel++;
    }
  }
}

template <class T>
void pack_weights_task(void* state, int64_t index) {
  auto& tasks = *static_cast<DirectTasks<T>*>(state);
  const Correlation<T>& conv = tasks.conv;
  const Split panels = row_panels<T>(conv.out_channels);
  const int64_t taps = conv.taps(), group = index / panels.parts, panel = index % panels.parts;
  const int64_t row = panels.start(panel), rows = panels.size(panel);
  const TermBlocks blocks(conv.in_channels, taps);
  const typename Simd<T>::I steps = lane_numbers<T>() * lane_index<T>(conv.w_out);
  const T* const w = conv.w + group * conv.w_group + row * conv.w_out;
  T* const packed = tasks.packed_w + group * conv.out_channels * conv.in_channels * taps;
  for (int64_t i = 0; i < blocks.count(); i++) {
    const TermBlock block = blocks.at(i);
    T* to = packed + conv.out_channels * blocks.terms_before(i) + row * block.depth();
    if (conv.w_in == taps && block.taps == taps) {
      for (int64_t r = 0; r < rows; r += Simd<T>::lanes)
        pack_filters(w + r * conv.w_out + block.channel * taps, conv.w_out, smaller(Simd<T>::lanes, rows - r),
                     block.channels, taps, to + r, rows);
      continue;
    }
    for (int64_t t = 0; t < block.taps; t++) {
      const T* from = w + conv.filter_position(block.tap + t) + block.channel * conv.w_in;
      for (int64_t c = 0; c < block.channels; c++, from += conv.w_in, to += rows)
        for (int64_t r = 0; r < rows; r += Simd<T>::lanes) {
          const int64_t n = rows - r;
          if (n >= Simd<T>::lanes)
            store(to + r, gather(from + r * conv.w_out, steps));
          else
            for (int64_t j = 0; j < n; j++) to[r + j] = from[(r + j) * conv.w_out];
        }
    }
  }
}

constexpr int64_t kMostShared = 16 << 20;  // bytes of pixels packed for all tasks

// A panel of consecutive pixels: where each comes from and goes to.
template <class T>
struct PixelPanel {
  static constexpr int columns = kTileColumns<T>, lanes = Simd<T>::lanes;
  alignas(64) LaneIndex<T> position[kSpatial][columns];  // of tap 0 in the source; far outside for columns not there
  alignas(64) LaneIndex<T> origin[columns];              // of tap 0 from the first image's first channel
  int64_t to[columns];                                   // place in the first image's first channel of y
  int64_t image, count;
  bool one_run;  // all of `to` adjacent

  int64_t width() const { return panel_width<T>(count); }

  // Pixels [first, first + count_) of all images' outputs in a row.
  void locate(const Correlation<T>& conv, int64_t first, int64_t count_) {
    const Axis &d = conv.axis[0], &h = conv.axis[1], &w = conv.axis[2];
    const int64_t pixels = conv.pixels(), x_image = conv.x_image(), y_image = conv.y_image();
    count = count_;
    image = first / pixels;
    int64_t n = 0, rest = first % pixels;
    int64_t qw = rest % w.count, qh = rest / w.count % h.count, qd = rest / w.count / h.count;
    one_run = conv.dense() && rest + count <= pixels;
    for (int64_t i = 0; i < columns; i++) {
      if (i >= count) {
        for (int axis = 0; axis < kSpatial; axis++) position[axis][i] = LaneIndex<T>(-1) << 30;
        origin[i] = 0;
        continue;
      }
      const int64_t pd = qd * d.step + d.offset, ph = qh * h.step + h.offset, pw = qw * w.step + w.offset;
      position[0][i] = LaneIndex<T>(pd);
      position[1][i] = LaneIndex<T>(ph);
      position[2][i] = LaneIndex<T>(pw);
      origin[i] = LaneIndex<T>(n * x_image + (pd * h.source + ph) * w.source + pw);
      to[i] = n * y_image + ((d.first + qd * d.spread) * h.size + h.first + qh * h.spread) * w.size + w.first +
              qw * w.spread;
      if (++qw < w.count) continue;
      qw = 0;
      if (++qh < h.count) continue;
      qh = 0;
      if (++qd < d.count) continue;
      qd = 0;
      n++;
    }
  }

  // The block's terms of these pixels as [tap][channel][width].
  void pack(const Correlation<T>& conv, int64_t group, const TermBlock& block, T* to_panel) const {
    using I = typename Simd<T>::I;
    const Axis &d = conv.axis[0], &h = conv.axis[1], &w = conv.axis[2];
    const int64_t plane = conv.x_plane();
    const T* const x = conv.x + image * conv.x_image() + (group * conv.in_channels + block.channel) * plane;
    const int vectors = int(width() / lanes);
    const I zero = {}, lane = lane_numbers<T>();
    for (int64_t t = block.tap; t < block.tap + block.taps; t++) {
      const int64_t step_d = t / w.taps / h.taps * d.tap_step, step_h = t / w.taps % h.taps * h.tap_step;
      const int64_t step_w = t % w.taps * w.tap_step;
      const int64_t shift = (step_d * h.source + step_h) * w.source + step_w;
      I from[kTileColumns<T> / lanes], inside[kTileColumns<T> / lanes];
      bool adjacent[kTileColumns<T> / lanes];
      for (int v = 0; v < vectors; v++) {
        const I pd = load(position[0] + v * lanes) + lane_index<T>(step_d);
        const I ph = load(position[1] + v * lanes) + lane_index<T>(step_h);
        const I pw = load(position[2] + v * lanes) + lane_index<T>(step_w);
        inside[v] = (pd >= zero) & (pd < lane_index<T>(d.source)) & (ph >= zero) & (ph < lane_index<T>(h.source)) &
                    (pw >= zero) & (pw < lane_index<T>(w.source));
        from[v] = (load(origin + v * lanes) + lane_index<T>(shift)) & inside[v];
        adjacent[v] = !any((from[v] - lane != lane_index<T>(from[v][0])) | ~inside[v]);
      }
      for (int v = 0; v < vectors; v++) {
        const T* channel = x;
        T* out = to_panel + v * lanes;
        if (adjacent[v]) {
          channel += from[v][0];
          for (int64_t c = 0; c < block.channels; c++, channel += plane, out += vectors * lanes)
            store(out, load(channel));
        } else {
          for (int64_t c = 0; c < block.channels; c++, channel += plane, out += vectors * lanes)
            store(out, gather_masked(channel, from[v], inside[v]));
        }
      }
      to_panel += block.channels * vectors * lanes;
    }
  }
};

// The same for panels that lie in one run each, with one tap: channel by channel through all of them, because short
// pieces of many channels would be read at a fraction of the speed. Other panels are left out.
template <class T>
void pack_runs(const Correlation<T>& conv, int64_t group, const TermBlock& block, const PixelPanel<T>* panels,
               int64_t count, T* to, int64_t to_panel) {
  constexpr int64_t kColumns = kTileColumns<T>, kLanes = Simd<T>::lanes;
  const int64_t plane = conv.x_plane();
  for (int64_t c = 0; c < block.channels; c++) {
    const int64_t channel = (group * conv.in_channels + block.channel + c) * plane;
    for (int64_t i = 0; i < count; i++) {
      if (!panels[i].one_run || panels[i].count != kColumns) continue;
      const T* const from = conv.x + panels[i].image * conv.x_image() + channel + panels[i].origin[0];
      for (int64_t v = 0; v < kColumns; v += kLanes) store(to + i * to_panel + c * kColumns + v, load(from + v));
    }
  }
}

// Moves `rows` x `panel.count` values between a tile and their places, which need not be adjacent.
template <class T>
void scatter_tile(const PixelPanel<T>& panel, const T* tile, int64_t rows, T* y, int64_t plane) {
  for (int64_t m = 0; m < rows; m++)
    for (int64_t i = 0; i < panel.count; i++) y[m * plane + panel.to[i]] = tile[m * PixelPanel<T>::columns + i];
}
template <class T>
void gather_tile(const PixelPanel<T>& panel, T* tile, int64_t rows, const T* y, int64_t plane) {
  for (int64_t m = 0; m < rows; m++)
    for (int64_t i = 0; i < panel.count; i++) tile[m * PixelPanel<T>::columns + i] = y[m * plane + panel.to[i]];
}

// One block of one panel of pixels, for all tasks that share it.
template <class T>
void pack_pixels_task(void* state, int64_t index) {
  auto& tasks = *static_cast<DirectTasks<T>*>(state);
  const Correlation<T>& conv = tasks.conv;
  constexpr int64_t kColumns = kTileColumns<T>;
  const TermBlocks blocks(conv.in_channels, conv.taps());
  const int64_t block = index % blocks.count(), panel = index / blocks.count();
  const int64_t tile = panel % tasks.pixel_parts.count, rest = panel / tasks.pixel_parts.count;
  PixelPanel<T> pixels;
  pixels.locate(conv, rest / conv.groups * tasks.pixels + tile * kColumns,
                smaller(kColumns, tasks.pixels - tile * kColumns));
  pixels.pack(
      conv, rest % conv.groups, blocks.at(block),
      tasks.packed_b + panel * kColumns * conv.in_channels * conv.taps() + blocks.terms_before(block) * pixels.width());
}

template <class T>
void direct_task(void* state, int64_t index) {
  auto& tasks = *static_cast<DirectTasks<T>*>(state);
  const Correlation<T>& conv = tasks.conv;
  constexpr int64_t kColumns = kTileColumns<T>;
  const int64_t panel_part = index % tasks.panel_parts.parts;
  index /= tasks.panel_parts.parts;
  const int64_t pixel_part = index % tasks.pixel_parts.parts;
  index /= tasks.pixel_parts.parts;
  const int64_t group = index % conv.groups, image = index / conv.groups;  // image 0 if panels run across images
  const int64_t total = tasks.pixels, tiles = tasks.pixel_parts.size(pixel_part);
  const int64_t first_tile = tasks.pixel_parts.start(pixel_part);
  const Split panels = row_panels<T>(conv.out_channels);
  const int64_t panel_from = tasks.panel_parts.start(panel_part);
  const int64_t panel_to = panel_from + tasks.panel_parts.size(panel_part);
  const int64_t row_from = panels.start(panel_from), row_count = panels.start(panel_to) - row_from;
  const TermBlocks blocks(conv.in_channels, conv.taps());
  const int64_t b_size = tasks.packed_b ? 0 : tiles * kColumns * blocks.deepest();
  const int64_t sums_size = blocks.count() > 1 ? tiles * kColumns * row_count : 0;
  const int64_t bytes = (b_size + sums_size) * int64_t(sizeof(T)) + tiles * int64_t(sizeof(PixelPanel<T>)) + 64;
  T* const b = static_cast<T*>(tasks.runtime->scratch(4, bytes));
  if (!b) {
    tasks.failed = true;
    return;
  }
  T* const sums = b + b_size;
  auto* const pixels = reinterpret_cast<PixelPanel<T>*>((uintptr_t(sums + sums_size) + 63) & ~uintptr_t(63));
  for (int64_t tile = 0; tile < tiles; tile++) {
    const int64_t first = (first_tile + tile) * kColumns;
    pixels[tile].locate(conv, image * total + first, smaller(kColumns, total - first));
  }
  const int64_t plane = conv.y_plane(), channel = group * conv.out_channels;
  const int64_t terms = conv.in_channels * conv.taps();
  const T* const w = tasks.packed_w + channel * terms;
  const T* const shared_b =
      tasks.packed_b + ((image * conv.groups + group) * tasks.pixel_parts.count + first_tile) * kColumns * terms;
  for (int64_t i = 0; i < blocks.count(); i++) {
    const TermBlock block = blocks.at(i);
    const int64_t depth = block.depth();
    const bool last = i == blocks.count() - 1;
    if (conv.pointwise() && !tasks.packed_b)
      pack_runs(conv, group, block, pixels, tiles, b, kColumns * blocks.deepest());
    for (int64_t tile = 0; tile < tiles && !tasks.packed_b; tile++)
      if (!conv.pointwise() || !pixels[tile].one_run || pixels[tile].count != kColumns)
        pixels[tile].pack(conv, group, block, b + tile * kColumns * blocks.deepest());
    for (int64_t panel = panel_from; panel < panel_to; panel++) {
      const int64_t row = panels.start(panel), rows = panels.size(panel);
      const T* const a = w + conv.out_channels * blocks.terms_before(i) + row * depth;
      for (int64_t tile = 0; tile < tiles; tile++) {
        const PixelPanel<T>& at = pixels[tile];
        T* const partial = sums + (row - row_from) * tiles * kColumns + tile * rows * kColumns;
        alignas(64) T buffer[Simd<T>::tile_rows * kColumns], added[Simd<T>::tile_rows * kColumns];
        TileEnd<T> end = {partial, kColumns, at.width(), i > 0 ? partial : nullptr, kColumns};
        if (last) {
          T* const y = conv.y + at.image * conv.y_image() + (channel + row) * plane;
          const T* const residual = conv.residual ? conv.residual + (y - conv.y) : nullptr;
          end.columns = at.count;
          end.row_bias = conv.bias ? conv.bias + channel + row : nullptr;
          end.activation = conv.activation;
          if (at.one_run) {
            end.c = y + at.to[0];
            end.c_stride = plane;
            end.residual = residual ? residual + at.to[0] : nullptr;
          } else {
            end.c = buffer;
            if (residual) {
              gather_tile(at, added, rows, residual, plane);
              end.residual = added;
            }
          }
        }
        const T* const packed = tasks.packed_b
                                    ? shared_b + tile * kColumns * terms + blocks.terms_before(i) * at.width()
                                    : b + tile * kColumns * blocks.deepest();
        find_packed_tile<T>(rows, at.count)(depth, a, packed, at.width(), end);
        if (last && !at.one_run)
          scatter_tile(at, buffer, rows, conv.y + at.image * conv.y_image() + (channel + row) * plane, plane);
      }
    }
  }
}

template <class T>
int64_t direct_run(const Correlation<T>& conv, const Runtime& runtime) {
  if (conv.batch == 0 || conv.pixels() == 0) return kOk;
  DirectTasks<T> tasks = {};
  tasks.runtime = &runtime;
  tasks.conv = conv;
  const Split panels = row_panels<T>(conv.out_channels);
  const int64_t terms = conv.in_channels * conv.taps();
  const int64_t weights = conv.groups * conv.out_channels * terms;
  const int64_t bytes = larger(1, weights) * int64_t(sizeof(T));
  Keep keep(runtime, int64_t(sizeof(T)) << 8 | Simd<T>::tile_rows, bytes);
  if (keep.asked) return kOk;
  tasks.packed_w = static_cast<T*>(keep.memory ? keep.memory : runtime.scratch(0, bytes));
  if (!tasks.packed_w) return kOutOfMemory;
  if (!keep.ready) {
    run_tasks(runtime, weights > 16384, conv.groups * panels.parts, pack_weights_task<T>, &tasks);
    keep.fill_done();
  }
  const double work = conv.operations() + double(conv.batch) * double(conv.y_image());
  // Panels run across images unless positions could overflow.
  const bool across = conv.x_image() < (int64_t(1) << 30) / kTileColumns<T>;
  tasks.pixels = across ? conv.batch * conv.pixels() : conv.pixels();
  const int64_t images = across ? 1 : conv.batch, tiles = ceil_div(tasks.pixels, kTileColumns<T>);
  // About 384 pixels a task; fewer, and output channels split too, while there are less than 16 tasks.
  const int64_t wanted =
      larger(1, smaller(ceil_div(16, conv.groups * images), int64_t(work / double(conv.groups * images) / 250e3)));
  const int64_t parts = smaller(tiles, larger(ceil_div(tasks.pixels, 384), smaller(wanted, tasks.pixels / 96)));
  tasks.pixel_parts = {tiles, larger(1, parts)};
  tasks.panel_parts = {panels.parts, larger(1, smaller(panels.parts, ceil_div(wanted, tasks.pixel_parts.parts)))};
  // Tasks that differ in their output channels alone would all pack the same pixels.
  const int64_t b_bytes = images * conv.groups * tiles * kTileColumns<T> * terms * int64_t(sizeof(T));
  if (tasks.panel_parts.parts > 1 && terms > 0 && b_bytes <= kMostShared) {
    tasks.packed_b = static_cast<T*>(runtime.scratch(1, b_bytes));
    if (!tasks.packed_b) return kOutOfMemory;
    run_tasks(runtime, work > 1e6, images * conv.groups * tiles * TermBlocks(conv.in_channels, conv.taps()).count(),
              pack_pixels_task<T>, &tasks);
  }
  run_tasks(runtime, work > 1e6, images * conv.groups * tasks.pixel_parts.parts * tasks.panel_parts.parts,
            direct_task<T>, &tasks);
  return tasks.failed ? int64_t(kOutOfMemory) : int64_t(kOk);
}

}  // namespace
}  // namespace xcorr
