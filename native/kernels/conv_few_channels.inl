// Direct convolution with few channels: packing panels of pixels would cost more than multiplying them. A band of rows
// of all input channels is copied once, with its zeros, split into the columns' remainders of the stride; then every
// (channel, tap) of a run of outputs is one vector load at its own offset.
//
// One channel in and out (depthwise): four rows of outputs at a time share the weights.
//
// With stride 1 and short rows the whole band is one run: the few sums between the rows are computed and left out.
#pragma once
#include "conv_direct.inl"
#include "parallel.inl"

namespace xcorr {
namespace {

// Rows of outputs waste few of 16 lanes.
XCORR_INLINE bool rows_fill_lanes(const Axis& w) { return w.count >= 24 && round_up(w.count, 16) * 20 <= w.count * 23; }

template <class T>
struct FewChannels {
  static constexpr int64_t kColumns = kTileColumns<T>;

  const Runtime& runtime;
  const Correlation<T>& conv;
  Axis h, w;
  int64_t left, lowest, rows_a_output;  // columns before the source; rows that output row 0 reads
  int64_t pitch;                        // columns of one remainder of the stride in a copied row
  int64_t terms, band;                  // of the reduction; rows of outputs in a task
  bool one_run;
  T* packed_w = nullptr;
  int64_t *offset = nullptr, *filter_position = nullptr;  // of the terms
  bool failed = false;

  FewChannels(const Runtime& runtime_, const Correlation<T>& conv_)
      : runtime(runtime_), conv(conv_), h(conv.axis[1]), w(conv.axis[2]) {
    const int64_t last_column = (w.taps - 1) * w.tap_step, last_row = (h.taps - 1) * h.tap_step;
    left = larger(0, -(w.offset + smaller(0, last_column)));
    const int64_t right = larger(0, (w.count - 1) * w.step + w.offset + larger(0, last_column) - (w.source - 1));
    lowest = h.offset + smaller(0, last_row);
    rows_a_output = (last_row < 0 ? -last_row : last_row) + 1;
    pitch = ceil_div(left + w.source + right, w.step);
    terms = conv.in_channels * conv.taps();
    // Row by row wastes the lanes beyond a row, one run those between rows.
    one_run = h.step == 1 && w.step == 1 && !(conv.dense() && rows_fill_lanes(w));
    const int64_t a_row = conv.in_channels * w.step * pitch * int64_t(sizeof(T));
    const int64_t bytes = conv.in_channels == 1 ? 24576 : conv.in_channels <= 32 ? 98304 : 524288;
    band = larger(1, smaller(h.count, (bytes / a_row - rows_a_output) / h.step + 1));
    band = split_evenly(h.count, band).size(0);
  }

  int64_t rows_copied() const { return (band - 1) * h.step + rows_a_output; }
  int64_t channel_size() const { return rows_copied() * w.step * pitch; }

  // Copied rows of one channel for outputs from row `first` on; `line` has room for one padded row.
  void copy(const T* x, int64_t first, T* line, T* to) const {
    constexpr int kLanes = Simd<T>::lanes;
    const int64_t padded = w.step * pitch;
    for (int64_t i = 0; i < padded + 2 * kLanes; i++) line[i] = 0;
    for (int64_t r = 0; r < rows_copied(); r++, to += padded) {
      const int64_t row = first * h.step + lowest + r;
      if (row < 0 || row >= h.source) {
        for (int64_t i = 0; i < padded; i++) to[i] = 0;
        continue;
      }
      T* const out = w.step == 1 ? to : line;
      copy_rows<T>(x + row * w.source, 0, 1, w.source, out + left, 0, w.source);
      if (w.step == 1) {
        for (int64_t i = 0; i < left; i++) to[i] = 0;
        for (int64_t i = left + w.source; i < padded; i++) to[i] = 0;
      } else if (w.step == 2) {
        for (int64_t i = 0; i < pitch; i += kLanes) {
          const auto a = load(line + 2 * i), b = load(line + 2 * i + kLanes);
          const int n = int(smaller(kLanes, pitch - i));
          store_partial(to + i, every_second<kLanes>(a, b, false), n);
          store_partial(to + pitch + i, every_second<kLanes>(a, b, true), n);
        }
      } else {
        for (int64_t phase = 0; phase < w.step; phase++)
          for (int64_t i = 0; i < pitch; i++) to[phase * pitch + i] = line[phase + i * w.step];
      }
    }
  }

  void pack_weights() {
    const Split panels = row_panels<T>(conv.out_channels), blocks = depth_blocks(terms);
    const int64_t taps = conv.taps();
    for (int64_t k = 0; k < terms; k++)
      filter_position[k] = k < taps ? conv.filter_position(k) : filter_position[k - taps] + conv.w_in;
    // Terms in the order in which their weights lie: the panels are transposed filters.
    const bool in_order = conv.w_in == taps && filter_position[terms - 1] == terms - 1;
    for (int64_t group = 0; group < conv.groups; group++)
      for (int64_t block = 0; block < blocks.parts; block++)
        for (int64_t panel = 0; panel < panels.parts; panel++) {
          const int64_t row = panels.start(panel), rows = panels.size(panel), depth = blocks.size(block);
          T* to = packed_w + group * conv.out_channels * terms + conv.out_channels * blocks.start(block) + row * depth;
          const T* const from = conv.w + group * conv.w_group + row * conv.w_out;
          if (in_order) {
            transpose_matrix<T>(from + blocks.start(block), conv.w_out, rows, depth, to, rows, rows);
            continue;
          }
          for (int64_t k = blocks.start(block); k < blocks.start(block) + depth; k++)
            for (int64_t m = 0; m < rows; m++) *to++ = from[m * conv.w_out + filter_position[k]];
        }
  }

  // Offsets of the terms, (channel, tap) pairs, in the copied band.
  void locate(int64_t* to) const {
    const int64_t taps = conv.taps();
    for (int64_t k = 0; k < terms; k++) {
      if (k >= taps) {
        to[k] = to[k - taps] + channel_size();
        continue;
      }
      const int64_t th = k / w.taps, tw = k % w.taps;
      const int64_t row = h.offset + th * h.tap_step - lowest, column = w.offset + tw * w.tap_step + left;
      to[k] = (row * w.step + column % w.step) * pitch + column / w.step;
    }
  }

  void task(int64_t index) {
    const int64_t bands = ceil_div(h.count, band), first = index % bands * band;
    const int64_t group = index / bands % conv.groups, image = index / bands / conv.groups;
    const int64_t rows_here = smaller(band, h.count - first);
    const int64_t run = one_run ? (rows_here - 1) * pitch + w.count : w.count;
    const int64_t line_size = w.step * pitch + 2 * Simd<T>::lanes;
    const int64_t copied = conv.in_channels * channel_size() + kColumns, run_pitch = round_up(run, kColumns);
    const int64_t sums_size = one_run ? conv.out_channels * run_pitch : 0;
    T* const own = static_cast<T*>(runtime.scratch(4, (copied + sums_size + line_size) * int64_t(sizeof(T))));
    if (!own) {
      failed = true;
      return;
    }
    T* const sums = own + copied;
    const int64_t x_plane = conv.x_plane(), y_plane = conv.y_plane(), channel = group * conv.out_channels;
    for (int64_t c = 0; c < conv.in_channels; c++)
      copy(conv.x + image * conv.x_image() + (group * conv.in_channels + c) * x_plane, first, sums + sums_size,
           own + c * channel_size());
    const Split panels = row_panels<T>(conv.out_channels), blocks = depth_blocks(terms);
    T* const y = conv.y + image * conv.y_image() + channel * y_plane;
    const T* const residual = conv.residual ? conv.residual + (y - conv.y) : nullptr;
    const T* const bias = conv.bias ? conv.bias + channel : nullptr;
    if (filters())
      return filter_rows(own, y + first * w.size, channel, rows_here, residual ? residual + first * w.size : nullptr);
    // Panels of output channels outermost: outputs of one channel are written one after another. Blocks of the depth
    // before columns: what a block reads of a row stays in the first-level cache.
    for (int64_t panel = 0; panel < panels.parts; panel++)
      for (int64_t q = 0; q < (one_run ? 1 : rows_here); q++)
        for (int64_t block = 0; block < blocks.parts; block++) {
          const int64_t depth = blocks.size(block), k = blocks.start(block), row = panels.start(panel);
          const int64_t stride = one_run ? run_pitch : y_plane;
          const bool last = !one_run && block == blocks.parts - 1;
          for (int64_t column = 0; column < run; column += kColumns) {
            const int64_t width = smaller(kColumns, run - column);
            const T* const b = own + q * h.step * w.step * pitch + column;
            T* const c = (one_run ? sums : y + (first + q) * w.size) + row * stride + column;
            TileEnd<T> end = {c, stride, one_run ? panel_width<T>(width) : width, block > 0 ? c : nullptr, stride};
            if (last) {
              end.row_bias = bias ? bias + row : nullptr;
              end.residual = residual ? residual + (c - y) : nullptr;
              end.activation = conv.activation;
            }
            find_offset_tile<T>(panels.size(panel), width)(
                depth, packed_w + channel * terms + conv.out_channels * k + row * depth, b, offset + k, end);
          }
        }
    if (!one_run) return;
    for (int64_t q = 0; q < rows_here; q++) {
      const int64_t to = (h.first + (first + q) * h.spread) * w.size + w.first;
      if (w.spread == 1) {
        finish_tile<T>(
            sums + q * pitch, run_pitch, conv.out_channels,
            {y + to, y_plane, w.count, nullptr, 0, bias, nullptr, residual ? residual + to : nullptr, conv.activation});
        continue;
      }
      for (int64_t m = 0; m < conv.out_channels; m++)
        for (int64_t i = 0; i < w.count; i++)  // only input gradients: no residual, no activation
          y[m * y_plane + to + i * w.spread] = sums[m * run_pitch + q * pitch + i] + (bias ? bias[m] : T(0));
    }
  }

  bool filters() const { return conv.out_channels == 1 && !one_run && terms <= 384; }

  template <int kRows>
  void filter_row(const T* b, T* y, int64_t channel, const T* residual) const {
    const int64_t b_row = h.step * w.step * pitch;
    const T bias = conv.bias ? conv.bias[channel] : T(0);
    const T* const weights = packed_w + channel * terms;
    T biases[kRows];
    for (int m = 0; m < kRows; m++) biases[m] = bias;
    for (int64_t column = 0; column < w.count; column += kColumns) {
      TileEnd<T> end = {y + column, w.size, smaller(kColumns, w.count - column), nullptr, 0};
      end.row_bias = conv.bias ? biases : nullptr;
      end.residual = residual ? residual + column : nullptr;
      end.activation = conv.activation;
      if (end.columns <= Simd<T>::lanes)
        filter_tile<T, kRows, 1>(terms, weights, b + column, b_row, offset, end);
      else
        filter_tile<T, kRows, Simd<T>::tile_vectors>(terms, weights, b + column, b_row, offset, end);
    }
  }

  void filter_rows(const T* b, T* y, int64_t channel, int64_t rows, const T* residual) const {
    const int64_t b_row = h.step * w.step * pitch;
    int64_t q = 0;
    for (; q + 4 <= rows; q += 4)
      filter_row<4>(b + q * b_row, y + q * w.size, channel, residual ? residual + q * w.size : nullptr);
    for (; q < rows; q++)
      filter_row<1>(b + q * b_row, y + q * w.size, channel, residual ? residual + q * w.size : nullptr);
  }

  int64_t execute() {
    packed_w =
        static_cast<T*>(runtime.scratch(0, larger(1, conv.groups * conv.out_channels * terms) * int64_t(sizeof(T))));
    offset = static_cast<int64_t*>(runtime.scratch(1, larger(1, 2 * terms) * int64_t(sizeof(int64_t))));
    if (!packed_w || !offset) return kOutOfMemory;
    filter_position = offset + terms;
    locate(offset);
    pack_weights();
    const int64_t tasks = conv.batch * conv.groups * ceil_div(h.count, band);
    if (conv.operations() > 1e6)
      run_tasks(runtime, tasks, [this](int64_t i) { task(i); });
    else
      for (int64_t i = 0; i < tasks; i++) task(i);
    return failed ? int64_t(kOutOfMemory) : int64_t(kOk);
  }
};

// Few enough output channels that packing is felt, few enough input channels that the copy stays in the cache.
template <class T>
XCORR_INLINE bool few_channels_fit(const Correlation<T>& conv) {
  const Axis &d = conv.axis[0], &h = conv.axis[1], &w = conv.axis[2];
  return d.source == 1 && d.count == 1 && d.size == 1 && d.taps == 1 && d.kernel == 1 && d.offset == 0 && h.taps > 0 &&
         w.taps > 0 && h.count > 0 && w.count > 0 && (conv.dense() || (h.step == 1 && w.step == 1)) && w.step <= 4 &&
         h.taps * w.taps > 1 && conv.out_channels <= 64 && conv.in_channels >= 1 && conv.in_channels <= 32 &&
         conv.w_group <= 65536;
}

}  // namespace
}  // namespace xcorr
