// The weight gradient, directly: dw[k][c][tap] = sum over pixels of dy[k][pixel] * x[c][pixel * stride + offset of
// tap].
//
// dy is transposed to [pixel][output channel], so that output channels are the lanes; x is broadcast from its rows as
// it lies, at any stride and dilation. A register tile is up to 14 channels of one tap, with the rows and columns
// clipped to where the tap stays inside; with fewer than 8 channels it is any 14 (channel, tap) pairs of a padded copy
// of x. The sum runs over blocks of about 1024 pixels, each a chain from zero. Tasks own parts of dw: nothing is
// reduced between threads.
#pragma once
#include "gemm.inl"
#include "im2col.inl"
#include "parallel.inl"
#include "strided_pixels.inl"

namespace xcorr {
namespace {

template <class T>
struct WeightGrad {
  const Runtime* runtime;
  const ConvSizes* sizes;
  const T *x, *dy;
  T *dw, *dbias;
  int64_t channels, outputs, taps;    // of one group
  int64_t k_panels;                   // of one group
  Split parts;                        // of a row of outputs (one, unless rows are very long)
  int64_t rows, rows_per_block;       // all images' rows of outputs (times parts)
  Split unit_parts;                   // of the register tiles of a panel of output channels
  int64_t chunk_first, chunk_blocks;  // blocks [chunk_first, + chunk_blocks) are packed
  bool padded, packed;                // the ways to read x: a padded copy, packed tiles, or (neither) as it lies
  bool swapped;                       // x and dy have changed places: sums are those of dw transposed
  int64_t padded_size[kSpatial], first_image;  // of the padded copy
  const StridedPixels<T>* strided;             // of the operand that is transposed, or null: it is dense
  T *packed_dy, *padded_x, *sums, *bias_sums;
  bool failed;

  int64_t blocks() const { return ceil_div(rows, rows_per_block); }
  int64_t row_of_block(int64_t block) const { return smaller(block * rows_per_block, rows); }
  // Pixels of all images in a row before this row of outputs.
  int64_t pixel(int64_t row) const {
    return row / parts.parts * sizes->out[2] + (row % parts.parts ? parts.start(row % parts.parts) : 0);
  }
  int64_t chunk_pixels() const {
    return pixel(row_of_block(chunk_first + chunk_blocks)) - pixel(row_of_block(chunk_first));
  }
  const T* dy_panel(int64_t group, int64_t k_panel) const {
    return packed_dy + (group * k_panels + k_panel) * chunk_pixels() * kTileColumns<T>;
  }
  int64_t k_count(int64_t k_panel) const { return smaller(kTileColumns<T>, outputs - k_panel * kTileColumns<T>); }
};

// Where a row of outputs lies; rows in order need no divisions.
struct RowCursor {
  int64_t parts, rows_h, rows_d;
  int64_t part, qh, qd, image;
  RowCursor(int64_t row, const ConvSizes& s, int64_t parts_) : parts(parts_), rows_h(s.out[1]), rows_d(s.out[0]) {
    part = row % parts;
    qh = row / parts % rows_h;
    qd = row / parts / rows_h % rows_d;
    image = row / parts / rows_h / rows_d;
  }
  void next() {
    if (++part < parts) return;
    part = 0;
    if (++qh < rows_h) return;
    qh = 0;
    if (++qd < rows_d) return;
    qd = 0;
    image++;
  }
};

// One panel of output channels in one block: transposed, and summed for the bias.
template <class T>
void pack_dy_task(void* state, int64_t index) {
  auto& grad = *static_cast<WeightGrad<T>*>(state);
  const ConvSizes& s = *grad.sizes;
  const int64_t block = grad.chunk_first + index % grad.chunk_blocks;
  const int64_t k_panel = index / grad.chunk_blocks % grad.k_panels;
  const int64_t group = index / grad.chunk_blocks / grad.k_panels;
  const int64_t pixels = volume(s.out), count = grad.k_count(k_panel), width = panel_width<T>(count);
  const int64_t channel = group * grad.outputs + k_panel * kTileColumns<T>;
  const int64_t chunk_from = grad.pixel(grad.row_of_block(grad.chunk_first));
  const int64_t from = grad.pixel(grad.row_of_block(block)), to = grad.pixel(grad.row_of_block(block + 1));
  T* const packed = const_cast<T*>(grad.dy_panel(group, k_panel)) - chunk_from * width;
  for (int64_t p = from; p < to;) {
    const int64_t image = p / pixels, length = smaller(to, (image + 1) * pixels) - p;
    if (grad.strided) {
      T* const rows =
          gather_rows(*grad.strided, *grad.runtime,
                      grad.dy + (image * s.out_channels + channel) * grad.strided->plane(), count, p % pixels, length);
      grad.failed = grad.failed || !rows;
      if (!rows) return;
      transpose_matrix<T>(rows, gathered_stride(length), count, length, packed + p * width, width, width);
      p += length;
      continue;
    }
    transpose_matrix<T>(grad.dy + (image * s.out_channels + channel) * pixels + p % pixels, pixels, count, length,
                        packed + p * width, width, width);
    p += length;
  }
  if (!grad.dbias) return;
  for (int64_t v = 0; v < width; v += Simd<T>::lanes) {
    auto sum = splat<T>(0);
    for (int64_t p = from; p < to; p++) sum = sum + load(packed + p * width + v);
    store(grad.bias_sums + (block * s.groups + group) * grad.k_panels * kTileColumns<T> + k_panel * kTileColumns<T> + v,
          sum);
  }
}

// One channel of one image, with zeros around it.
template <class T>
void pad_task(void* state, int64_t index) {
  auto& grad = *static_cast<WeightGrad<T>*>(state);
  const ConvSizes& s = *grad.sizes;
  const T* const x = grad.x + (grad.first_image * s.in_channels + index) * volume(s.in);
  T* to = grad.padded_x + index * volume(grad.padded_size);
  for (int64_t d = 0; d < grad.padded_size[0]; d++)
    for (int64_t h = 0; h < grad.padded_size[1]; h++, to += grad.padded_size[2]) {
      const int64_t pd = d - s.pad[0], ph = h - s.pad[1], width = grad.padded_size[2];
      const bool there = pd >= 0 && pd < s.in[0] && ph >= 0 && ph < s.in[1];
      const int64_t low = there ? smaller(larger(s.pad[2], 0), width) : width;
      const int64_t high = there ? smaller(s.pad[2] + s.in[2], width) : width;
      const T* const from = x + (pd * s.in[1] + ph) * s.in[2] - s.pad[2];
      for (int64_t w = 0; w < low; w++) to[w] = 0;
      for (int64_t w = low; w < high; w++) to[w] = from[w];
      for (int64_t w = larger(low, high); w < width; w++) to[w] = 0;
    }
}

// One tap of one panel of input channels, packed as [pixel][rows], with all panels of output channels.
template <class T>
void packed_weight_grad_task(void* state, int64_t index) {
  auto& grad = *static_cast<WeightGrad<T>*>(state);
  const ConvSizes& s = *grad.sizes;
  constexpr int kLanes = Simd<T>::lanes;
  const Split tile_rows = row_panels<T>(grad.channels);
  const int64_t tap = index / tile_rows.parts % grad.taps, group = index / tile_rows.parts / grad.taps;
  const int64_t first = tile_rows.start(index % tile_rows.parts), rows = tile_rows.size(index % tile_rows.parts);
  const int64_t tw = tap % s.kernel[2], th = tap / s.kernel[2] % s.kernel[1], td = tap / s.kernel[2] / s.kernel[1];
  const int64_t plane = volume(s.in), start = tw * s.dilation[2] - s.pad[2];
  const ValidOutputs valid = valid_outputs(s.out[2], s.stride[2], start, s.in[2]);
  T* const packed =
      static_cast<T*>(grad.runtime->scratch(4, grad.rows_per_block * grad.parts.size(0) * rows * int64_t(sizeof(T))));
  if (!packed) {
    grad.failed = true;
    return;
  }
  const typename Simd<T>::I steps = lane_numbers<T>() * lane_index<T>(plane);
  const int64_t chunk_pixel = grad.pixel(grad.row_of_block(grad.chunk_first));
  for (int64_t block = grad.chunk_first; block < grad.chunk_first + grad.chunk_blocks; block++) {
    T* to = packed;
    RowCursor at(grad.row_of_block(block), s, grad.parts.parts);
    for (int64_t row = grad.row_of_block(block); row < grad.row_of_block(block + 1); row++, at.next()) {
      const int64_t part = at.part, qh = at.qh, qd = at.qd, image = at.image;
      const int64_t pd = qd * s.stride[0] - s.pad[0] + td * s.dilation[0];
      const int64_t ph = qh * s.stride[1] - s.pad[1] + th * s.dilation[1];
      const bool there = pd >= 0 && pd < s.in[0] && ph >= 0 && ph < s.in[1];
      const int64_t begin = grad.parts.start(part), end = begin + grad.parts.size(part);
      const int64_t low = there ? smaller(larger(valid.low, begin), end) : end;
      const int64_t high = there ? larger(smaller(valid.high, end), low) : end;
      const T* const x =
          grad.x + ((image * s.groups + group) * grad.channels + first) * plane + (pd * s.in[1] + ph) * s.in[2] + start;
      for (int64_t i = 0; i < (low - begin) * rows; i++) to[i] = 0;
      to += (low - begin) * rows;
      if (s.stride[2] == 1) {
        transpose_matrix<T>(x + low, plane, rows, high - low, to, rows, rows);
        to += (high - low) * rows;
      } else {
        for (int64_t q = low; q < high; q++, to += rows)
          for (int64_t r = 0; r < rows; r += kLanes) {
            const T* const from = x + q * s.stride[2] + r * plane;
            if (rows - r >= kLanes)
              store(to + r, gather(from, steps));
            else
              store_partial(to + r, gather_masked(from, steps, lane_numbers<T>() < lane_index<T>(rows - r)),
                            int(rows - r));
          }
      }
      for (int64_t i = 0; i < (end - high) * rows; i++) to[i] = 0;
      to += (end - high) * rows;
    }
    const int64_t pixel = grad.pixel(grad.row_of_block(block)),
                  depth = grad.pixel(grad.row_of_block(block + 1)) - pixel;
    for (int64_t k_panel = 0; k_panel < grad.k_panels; k_panel++) {
      const int64_t count = grad.k_count(k_panel), width = panel_width<T>(count);
      T* const sums =
          grad.sums + (((group * grad.k_panels + k_panel) * grad.channels + first) * grad.taps + tap) * kTileColumns<T>;
      const int64_t stride = grad.taps * kTileColumns<T>;
      find_packed_tile<T>(rows, count)(depth, packed, grad.dy_panel(group, k_panel) + (pixel - chunk_pixel) * width,
                                       width, {sums, stride, width, block > 0 ? sums : nullptr, stride});
    }
  }
}

// A part of the register tiles of one panel of output channels, over all blocks of the chunk.
template <class T>
void weight_grad_task(void* state, int64_t index) {
  auto& grad = *static_cast<WeightGrad<T>*>(state);
  const ConvSizes& s = *grad.sizes;
  const int64_t unit_part = index % grad.unit_parts.parts;
  const int64_t k_panel = index / grad.unit_parts.parts % grad.k_panels;
  const int64_t group = index / grad.unit_parts.parts / grad.k_panels;
  const int64_t count = grad.k_count(k_panel), width = panel_width<T>(count);
  const int64_t unit_from = grad.unit_parts.start(unit_part), unit_to = unit_from + grad.unit_parts.size(unit_part);
  const Split tile_rows = row_panels<T>(grad.padded ? grad.channels * grad.taps : grad.channels);
  Segment* const segments =
      static_cast<Segment*>(grad.runtime->scratch(4, grad.rows_per_block * int64_t(sizeof(Segment))));
  if (!segments) {
    grad.failed = true;
    return;
  }
  const int64_t* const size = grad.padded ? grad.padded_size : s.in;
  const int64_t plane = volume(size), x_image = s.in_channels * plane;
  const T* const x = grad.padded ? grad.padded_x - grad.first_image * x_image : grad.x;
  const T* const channel = x + group * grad.channels * plane;
  T* const sums = grad.sums + (group * grad.k_panels + k_panel) * grad.channels * grad.taps * kTileColumns<T>;
  const int64_t chunk_pixel = grad.pixel(grad.row_of_block(grad.chunk_first));
  const T* const dy = grad.dy_panel(group, k_panel);
  for (int64_t block = grad.chunk_first; block < grad.chunk_first + grad.chunk_blocks; block++) {
    int64_t known_tap = -1, known = 0;
    for (int64_t unit = unit_from; unit < unit_to; unit++) {
      const int64_t tap = grad.padded ? 0 : unit / tile_rows.parts, panel = grad.padded ? unit : unit % tile_rows.parts;
      if (tap != known_tap) {
        // The rows of this block that the tap finds inside x.
        known_tap = tap;
        known = 0;
        const int64_t tw = tap % s.kernel[2], th = tap / s.kernel[2] % s.kernel[1],
                      td = tap / s.kernel[2] / s.kernel[1];
        const int64_t pad_d = grad.padded ? 0 : s.pad[0], pad_h = grad.padded ? 0 : s.pad[1];
        const int64_t start = grad.padded ? 0 : tw * s.dilation[2] - s.pad[2];
        const ValidOutputs valid = valid_outputs(s.out[2], s.stride[2], start, size[2]);
        RowCursor at(grad.row_of_block(block), s, grad.parts.parts);
        int64_t line_pixel = grad.pixel(grad.row_of_block(block) - at.part) - chunk_pixel;
        for (int64_t row = grad.row_of_block(block); row < grad.row_of_block(block + 1); row++, at.next()) {
          const int64_t part = at.part, qh = at.qh, qd = at.qd, image = at.image;
          if (part == 0 && row > grad.row_of_block(block)) line_pixel += s.out[2];
          const int64_t pd = qd * s.stride[0] - pad_d + td * s.dilation[0];
          const int64_t ph = qh * s.stride[1] - pad_h + th * s.dilation[1];
          if (pd < 0 || pd >= size[0] || ph < 0 || ph >= size[1]) continue;
          const int64_t low = larger(valid.low, grad.parts.start(part));
          const int64_t high = smaller(valid.high, grad.parts.start(part) + grad.parts.size(part));
          if (low >= high) continue;
          segments[known++] = {image * x_image + (pd * size[1] + ph) * size[2] + low * s.stride[2] + start,
                               (line_pixel + low) * width, high - low};
        }
      }
      const int64_t first = tile_rows.start(panel), rows = tile_rows.size(panel);
      int64_t row_offset[Simd<T>::tile_rows];
      for (int64_t m = 0; m < rows; m++) {
        const int64_t c = grad.padded ? (first + m) / grad.taps : first + m;
        row_offset[m] = c * plane;
        if (grad.padded) {
          const int64_t t = (first + m) % grad.taps;
          row_offset[m] += (t / s.kernel[2] / s.kernel[1] * s.dilation[0] * size[1] +
                            t / s.kernel[2] % s.kernel[1] * s.dilation[1]) *
                               size[2] +
                           t % s.kernel[2] * s.dilation[2];
        }
      }
      T* const to = sums + (grad.padded ? first : first * grad.taps + tap) * kTileColumns<T>;
      const int64_t stride = (grad.padded ? 1 : grad.taps) * kTileColumns<T>;
      const TileEnd<T> end = {to, stride, width, block > 0 ? to : nullptr, stride};
      find_strided_tile<T>(rows, count)({known, segments, row_offset, s.stride[2]}, channel, dy, width, end);
    }
  }
}

// Sums of one panel of output channels to their place in dw; dbias.
template <class T>
void store_dw_task(void* state, int64_t index) {
  auto& grad = *static_cast<WeightGrad<T>*>(state);
  const int64_t k_panel = index % grad.k_panels, group = index / grad.k_panels;
  const int64_t first = group * grad.outputs + k_panel * kTileColumns<T>, terms = grad.channels * grad.taps;
  const T* const sums = grad.sums + index * terms * kTileColumns<T>;
  if (grad.swapped) {
    const int64_t column = k_panel * kTileColumns<T>, count = grad.k_count(k_panel);
    copy_rows<T>(sums, kTileColumns<T>, terms, count, grad.dw + group * terms * grad.outputs + column, grad.outputs,
                 count);
    return;
  }
  transpose_matrix<T>(sums, kTileColumns<T>, terms, grad.k_count(k_panel), grad.dw + first * terms, terms, terms);
  if (!grad.dbias) return;
  for (int64_t k = 0; k < grad.k_count(k_panel); k++) {
    T sum = 0;
    for (int64_t block = 0; block < grad.blocks(); block++)
      sum += grad.bias_sums[(block * grad.sizes->groups * grad.k_panels + index) * kTileColumns<T> + k];
    grad.dbias[first + k] = sum;
  }
}

// `strided`: x's planes are wider, and these of their pixels count; one tap, stride 1, more output channels than input
// channels.
template <class T>
int64_t direct_weight_grad(const ConvSizes& sizes, const Runtime& runtime, void* const* operands,
                           const StridedPixels<T>* strided = nullptr) {
  ConvSizes s = sizes;
  WeightGrad<T> grad = {};
  grad.runtime = &runtime;
  grad.sizes = &s;
  grad.strided = strided;
  grad.x = static_cast<const T*>(operands[0]);
  grad.dy = static_cast<const T*>(operands[1]);
  grad.dw = static_cast<T*>(operands[2]);
  grad.dbias = static_cast<T*>(operands[3]);
  bool pointwise = volume(s.kernel) == 1;
  for (int d = 0; d < kSpatial; d++) pointwise = pointwise && s.stride[d] == 1 && s.pad[d] == 0 && s.in[d] == s.out[d];
  T* const separate_dbias = pointwise && s.in_channels < s.out_channels ? grad.dbias : nullptr;
  if (pointwise) {
    s.in[2] = s.out[2] = volume(s.in);
    s.in[0] = s.in[1] = s.out[0] = s.out[1] = 1;
    if (s.in_channels < s.out_channels) {
      grad.swapped = true;
      grad.dbias = nullptr;
      s.in_channels = sizes.out_channels;
      s.out_channels = sizes.in_channels;
      grad.x = static_cast<const T*>(operands[1]);
      grad.dy = static_cast<const T*>(operands[0]);
    }
  }
  grad.channels = s.in_channels / s.groups;
  grad.outputs = s.out_channels / s.groups;
  grad.taps = volume(s.kernel);
  const int64_t pixels = s.batch * volume(s.out), terms = grad.channels * grad.taps;
  if (pixels == 0) {
    T* const dbias = static_cast<T*>(operands[3]);
    for (int64_t i = 0; i < s.out_channels * terms; i++) grad.dw[i] = 0;
    for (int64_t i = 0; dbias && i < sizes.out_channels; i++) dbias[i] = 0;
    return kOk;
  }
  if (s.out_channels * terms == 0) return kOk;
  grad.k_panels = ceil_div(grad.outputs, kTileColumns<T>);
  grad.parts = split_evenly(s.out[2], 512);
  grad.rows = pixels / s.out[2] * grad.parts.parts;
  grad.rows_per_block = larger(1, 512 / grad.parts.size(0));
  grad.padded = grad.outputs < 128 && grad.taps > 1;
  grad.packed = grad.outputs >= 128;
  int64_t padded_plane = 0;
  for (int d = 0; d < kSpatial; d++)
    grad.padded_size[d] = (s.out[d] - 1) * s.stride[d] + (s.kernel[d] - 1) * s.dilation[d] + 1;
  if (grad.padded) padded_plane = volume(grad.padded_size);
  const int64_t units = grad.padded ? row_panels<T>(terms).parts : row_panels<T>(grad.channels).parts * grad.taps;
  grad.unit_parts = {units, smaller(units, ceil_div(16, s.groups * grad.k_panels))};

  // Chunks of blocks whose transposed gradients take about 1 MB, so that they are read from the cache.
  const int64_t block_pixels = grad.rows_per_block * grad.parts.size(0);
  const int64_t k_padded = s.groups * grad.k_panels * kTileColumns<T>;
  const int64_t rows_an_image = grad.rows / s.batch;
  const int64_t blocks_an_image = ceil_div(rows_an_image, grad.rows_per_block);
  int64_t chunk = smaller(grad.blocks(), larger(1, (256 << 10) / (block_pixels * s.out_channels)));
  if (grad.padded && chunk < blocks_an_image) chunk = split_evenly(blocks_an_image, chunk).size(0);
  const int64_t images = smaller(s.batch, ceil_div(chunk * grad.rows_per_block, rows_an_image) + 1);
  grad.packed_dy = static_cast<T*>(runtime.scratch(0, smaller(chunk * block_pixels, pixels) * k_padded * sizeof(T)));
  grad.padded_x = static_cast<T*>(runtime.scratch(1, larger(1, images * s.in_channels * padded_plane) * sizeof(T)));
  grad.sums = static_cast<T*>(runtime.scratch(2, k_padded * terms * sizeof(T)));
  grad.bias_sums = static_cast<T*>(runtime.scratch(3, grad.blocks() * k_padded * sizeof(T)));
  if (!grad.packed_dy || !grad.padded_x || !grad.sums || !grad.bias_sums) return kOutOfMemory;
  const bool worth = 2.0 * double(pixels) * double(s.out_channels) * double(terms) > 1e6;
  int64_t padded_end = 0;  // the copied images end here
  for (grad.chunk_first = 0; grad.chunk_first < grad.blocks(); grad.chunk_first += chunk) {
    grad.chunk_blocks = smaller(chunk, grad.blocks() - grad.chunk_first);
    run_tasks(runtime, worth, s.groups * grad.k_panels * grad.chunk_blocks, pack_dy_task<T>, &grad);
    if (grad.padded) {
      const int64_t first_before = grad.first_image;
      grad.first_image = grad.row_of_block(grad.chunk_first) / rows_an_image;
      const int64_t last_image = (grad.row_of_block(grad.chunk_first + grad.chunk_blocks) - 1) / rows_an_image;
      if (padded_end <= last_image || grad.first_image > first_before)
        run_tasks(runtime, worth, (last_image - grad.first_image + 1) * s.in_channels, pad_task<T>, &grad);
      padded_end = last_image + 1;
    }
    if (grad.packed)
      run_tasks(runtime, worth, s.groups * units, packed_weight_grad_task<T>, &grad);
    else
      run_tasks(runtime, worth, s.groups * grad.k_panels * grad.unit_parts.parts, weight_grad_task<T>, &grad);
  }
  run_tasks(runtime, worth, s.groups * grad.k_panels, store_dw_task<T>, &grad);
  if (separate_dbias)
    run_tasks(runtime, sizes.out_channels, [&](int64_t k) {
      T sum = 0;
      for (int64_t n = 0; n < s.batch; n++) sum += sum_lanes(grad.x + (n * sizes.out_channels + k) * s.in[2], s.in[2]);
      separate_dbias[k] = sum;
    });
  return grad.failed ? int64_t(kOutOfMemory) : int64_t(kOk);
}

}  // namespace
}  // namespace xcorr
