// Depthwise convolution (one input and one output channel a group): forward, input gradient, weight gradient.
//
// Planes (channels of all images in a row) are the lanes: a band of rows of a block of planes is transposed to
// [row][column][plane] with zeros beside the rows, convolved, and the result transposed back. So small planes waste no
// lanes, any kernel, stride and dilation is served alike, and the weight gradient sums along no lanes. A band and its
// outputs fit the first-level cache; rows that the next band needs again are kept.
#pragma once
#include "conv_direct.inl"
#include "parallel.inl"

namespace xcorr {
namespace {

template <class T>
struct Depthwise {
  static constexpr int kLanes = Simd<T>::lanes, kAtOnce = 8, kTapsAtOnce = 9;
  using V = typename Simd<T>::V;

  const Runtime& runtime;
  const ConvSizes& s;
  int64_t planes, taps;
  bool failed = false;

  Depthwise(const ConvSizes& sizes, const Runtime& runtime_) : runtime(runtime_), s(sizes) {
    planes = s.batch * s.in_channels;
    taps = volume(s.kernel);
  }

  int64_t blocks() const { return ceil_div(planes, kLanes); }
  int64_t block_planes(int64_t block) const { return smaller(kLanes, planes - block * kLanes); }
  template <class Body>
  void run_blocks(const Body& body) const {
    if (double(planes) * double(volume(s.out)) * double(taps) > 1e6) return run_tasks(runtime, blocks(), body);
    for (int64_t i = 0; i < blocks(); i++) body(i);
  }

  // Some rows of a block of planes as [row][left + width + right][lanes].
  struct Rows {
    const T* from;
    int64_t count, height, width, left, right;
    T *pixels, *bare;  // `bare` has room for the band without its borders
    int64_t low = 0, high = 0;

    int64_t stride() const { return (left + width + right) * kLanes; }
    // Also of rows and columns that are not there: an address to add to.
    T* at(int64_t row, int64_t column) const { return pixels + (row - low) * stride() + (left + column) * kLanes; }

    // Holds rows [first, last) as far as they exist; asked for in ascending order.
    void need(int64_t first, int64_t last) {
      first = larger(first, 0);
      last = smaller(last, height);
      if (first >= high) low = high = first;
      if (first > low) {
        const T* const kept = at(first, -left);
        for (int64_t i = 0; i < (high - first) * stride(); i += kLanes) store(pixels + i, load(kept + i));
        low = first;
      }
      if (last <= high) return;
      const int64_t plane = height * width, some = last - high;
      if (left + right == 0) {
        transpose_matrix<T>(from + high * width, plane, count, some * width, at(high, 0), kLanes, kLanes);
      } else if (width >= 12) {
        for (int64_t row = high; row < last; row++)
          transpose_matrix<T>(from + row * width, plane, count, width, at(row, 0), kLanes, kLanes);
      } else {
        transpose_matrix<T>(from + high * width, plane, count, some * width, bare, kLanes, kLanes);
        for (int64_t row = 0; row < some; row++)
          for (int64_t i = 0; i < width; i++) store(at(high + row, i), load(bare + (row * width + i) * kLanes));
      }
      for (int64_t row = high; row < last; row++) {
        for (int64_t i = -left; i < 0; i++) store(at(row, i), splat<T>(0));
        for (int64_t i = width; i < width + right; i++) store(at(row, i), splat<T>(0));
      }
      high = last;
    }
  };
  static int64_t rows_size(int64_t rows, int64_t width, int64_t left, int64_t right) {
    return rows * (left + 2 * width + right) * kLanes;
  }
  Rows rows_of(const T* x, int64_t block, const int64_t* size, int64_t rows, int64_t left, int64_t right,
               T* own) const {
    return {x + block * kLanes * size[1] * size[2],        block_planes(block), size[1], size[2], left, right, own,
            own + rows * (left + size[2] + right) * kLanes};
  }
  // Rows of outputs in a band: about 224 pixels of them, and of what they read about 400.
  static int64_t band_rows(int64_t width, int64_t read_width, int64_t step, int64_t reach) {
    return larger(1, smaller(224 / width, (400 / read_width - reach) / step + 1));
  }

  // Weights of a block of planes as [tap][lanes].
  void stage_weights(const T* w, int64_t block, T* to) const {
    const int64_t first = block * kLanes % s.in_channels, count = block_planes(block);
    if (first + count <= s.in_channels)
      return transpose_matrix<T>(w + first * taps, taps, count, taps, to, kLanes, kLanes);
    for (int64_t t = 0; t < taps; t++)
      for (int64_t i = 0; i < kLanes; i++) to[t * kLanes + i] = w[(first + i) % s.in_channels * taps + t];
  }

  struct Tap {
    int64_t x, w;  // from the first tap's pixel; from the first weight
  };

  // kCount adjacent outputs, their sources `step` apart.
  template <int kCount>
  [[gnu::noinline]] static void outputs(const Tap* tap, int64_t count, const T* x, const T* w, int64_t step, V bias,
                                        int64_t activation, T* to, int64_t spread) {
    V sums[kCount];
#pragma GCC unroll 8
    for (int i = 0; i < kCount; i++) sums[i] = splat<T>(0);
    for (int64_t t = 0; t < count; t++) {
      const V factor = load(w + tap[t].w);
      const T* const from = x + tap[t].x;
#pragma GCC unroll 8
      for (int i = 0; i < kCount; i++) sums[i] = fma(factor, load(from + i * step), sums[i]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < kCount; i++) store(to + i * spread, activate<T>(sums[i] + bias, activation));
  }
  static void some_outputs(int64_t n, const Tap* tap, int64_t count, const T* x, const T* w, int64_t step, V bias,
                           int64_t activation, T* to, int64_t spread) {
    switch (n) {
      case 1:
        return outputs<1>(tap, count, x, w, step, bias, activation, to, spread);
      case 2:
        return outputs<2>(tap, count, x, w, step, bias, activation, to, spread);
      case 3:
        return outputs<3>(tap, count, x, w, step, bias, activation, to, spread);
      case 4:
        return outputs<4>(tap, count, x, w, step, bias, activation, to, spread);
      case 5:
        return outputs<5>(tap, count, x, w, step, bias, activation, to, spread);
      case 6:
        return outputs<6>(tap, count, x, w, step, bias, activation, to, spread);
      case 7:
        return outputs<7>(tap, count, x, w, step, bias, activation, to, spread);
      default:
        return outputs<8>(tap, count, x, w, step, bias, activation, to, spread);
    }
  }

  // Taps [first, last) of an axis find output q's sources inside.
  struct Inside {
    int64_t first, last;
  };
  static Inside taps_inside(const Axis& h, int64_t q) {
    Inside range = {0, h.taps};
    const int64_t row = q * h.step + h.offset;
    const auto outside = [&](int64_t i) { return uint64_t(row + i * h.tap_step) >= uint64_t(h.source); };
    while (range.first < range.last && outside(range.first)) range.first++;
    while (range.last > range.first && outside(range.last - 1)) range.last--;
    return range;
  }
  // Columns that taps reach beyond a row of the source.
  static int64_t reach_left(const Axis& w) {
    return w.taps == 0 || w.count == 0 ? 0 : larger(0, -(w.offset + smaller(0, (w.taps - 1) * w.tap_step)));
  }
  static int64_t reach_right(const Axis& w) {
    if (w.taps == 0 || w.count == 0) return 0;
    return larger(0, (w.count - 1) * w.step + w.offset + larger(0, (w.taps - 1) * w.tap_step) - (w.source - 1));
  }

  // The forward pass (one phase an axis) or the input gradient (one a remainder of the stride): h[phases_h],
  // w[phases_w].
  int64_t run(const T* x, const T* weights, const T* bias, const T* residual, T* y, int64_t activation,
              const int64_t* in, const int64_t* out, const Axis* h, int64_t phases_h, const Axis* w, int64_t phases_w) {
    int64_t left = 0, right = 0;
    for (int64_t i = 0; i < phases_w; i++) {
      left = larger(left, reach_left(w[i]));
      right = larger(right, reach_right(w[i]));
    }
    // Source rows that output row r reads: [r / spread * step + lowest, ... + highest].
    const int64_t step = h[0].step;
    int64_t lowest = 0, highest = 0;
    for (int64_t i = 0; i < phases_h; i++) {
      const int64_t end = h[i].offset + (h[i].taps - 1) * h[i].tap_step;
      if (h[i].taps == 0) continue;
      lowest = smaller(lowest, smaller(h[i].offset, end));
      highest = larger(highest, larger(h[i].offset, end));
    }
    const int64_t read_width = left + in[2] + right;
    const int64_t band = band_rows(out[2] * phases_h, read_width, step, highest - lowest + 1) * phases_h;
    const int64_t rows_read = smaller(in[1], (band / phases_h - 1) * step + highest - lowest + 1);
    const int64_t in_size = rows_size(rows_read, in[2], left, right), out_size = band * out[2] * kLanes;
    const int64_t bytes =
        (in_size + out_size + taps * kLanes) * int64_t(sizeof(T)) + taps * int64_t(sizeof(Tap)) * phases_h * phases_w;
    run_blocks([&](int64_t block) {
      T* const own = static_cast<T*>(runtime.scratch(4, bytes));
      if (!own) {
        failed = true;
        return;
      }
      T* const result = own + in_size;
      T* const own_weights = result + out_size;
      Tap* const tap = reinterpret_cast<Tap*>(own_weights + taps * kLanes);
      const int64_t first = block * kLanes, plane = volume(out);
      stage_weights(weights, block, own_weights);
      Rows rows = rows_of(x, block, in, rows_read, left, right, own);
      for (int64_t a = 0; a < phases_h; a++)
        for (int64_t b = 0; b < phases_w; b++)
          for (int64_t i = 0; i < h[a].taps; i++)
            for (int64_t j = 0; j < w[b].taps; j++)
              tap[(a * phases_w + b) * taps + i * w[b].taps + j] = {
                  i * h[a].tap_step * rows.stride() + j * w[b].tap_step * kLanes,
                  ((h[a].first_tap + i * h[a].tap_stride) * w[b].kernel + w[b].first_tap + j * w[b].tap_stride) *
                      kLanes};
      V biases = splat<T>(0);
      for (int i = 0; bias && i < kLanes; i++) biases[i] = bias[(first + i) % s.in_channels];
      for (int64_t row = 0; row < out[1]; row += band) {
        const int64_t end = smaller(row + band, out[1]);
        rows.need(row / phases_h * step + lowest, (end - 1) / phases_h * step + highest + 1);
        for (int64_t r = row; r < end; r++) {
          const Axis& vertical = h[r % phases_h];
          const int64_t q = r / phases_h;
          const Inside range = taps_inside(vertical, q);
          for (int64_t b = 0; b < phases_w; b++) {
            const Axis& horizontal = w[b];
            const Tap* const from = tap + (r % phases_h * phases_w + b) * taps + range.first * horizontal.taps;
            const int64_t count = (range.last - range.first) * horizontal.taps;
            const T* const pixel = rows.at(q * step + vertical.offset, horizontal.offset);
            T* const to = result + ((r - row) * out[2] + horizontal.first) * kLanes;
            const Split parts = split_evenly(horizontal.count, kAtOnce);
            for (int64_t part = 0; part < parts.parts && horizontal.count > 0; part++) {
              const int64_t i = parts.start(part);
              some_outputs(parts.size(part), from, count, pixel + i * horizontal.step * kLanes, own_weights,
                           horizontal.step * kLanes, biases, residual ? int64_t(activation::none) : activation,
                           to + i * horizontal.spread * kLanes, horizontal.spread * kLanes);
            }
          }
        }
        T* const target = y + first * plane + row * out[2];
        const int64_t pixels = (end - row) * out[2], count = block_planes(block);
        transpose_matrix<T>(result, kLanes, pixels, count, target, plane, pixels);
        if (residual)
          for (int64_t i = 0; i < count; i++) {
            T* const at = target + i * plane;
            finish_tile<T>(at, 0, 1, {at, 0, pixels, nullptr, 0, nullptr, nullptr, residual + (at - y), activation});
          }
      }
    });
    return failed ? int64_t(kOutOfMemory) : int64_t(kOk);
  }

  int64_t forward(void* const* operands) {
    const Axis h = forward_axis(s, 1), w = forward_axis(s, 2);
    return run(static_cast<const T*>(operands[0]), static_cast<const T*>(operands[1]),
               static_cast<const T*>(operands[2]), static_cast<const T*>(operands[3]), static_cast<T*>(operands[4]),
               s.activation, s.in, s.out, &h, 1, &w, 1);
  }

  static constexpr int64_t kMostStride = 4;
  int64_t input_grad(void* const* operands) {
    Axis h[kMostStride], w[kMostStride];
    for (int64_t i = 0; i < s.stride[1]; i++) h[i] = input_grad_axis(s, 1, i);
    for (int64_t i = 0; i < s.stride[2]; i++) w[i] = input_grad_axis(s, 2, i);
    return run(static_cast<const T*>(operands[0]), static_cast<const T*>(operands[1]),
               static_cast<const T*>(operands[2]), nullptr, static_cast<T*>(operands[3]), activation::none, s.out, s.in,
               h, s.stride[1], w, s.stride[2]);
  }

  // sums[tap] over one row of outputs of dy * x: chains from zero that are then added to the totals.
  template <int kTaps>
  [[gnu::noinline]] static void row_of_dw(const Tap* tap, const T* x, int64_t step, const T* dy, int64_t count,
                                          T* totals) {
    V sums[kTaps];
    const T* from[kTaps];
#pragma GCC unroll 9
    for (int t = 0; t < kTaps; t++) sums[t] = splat<T>(0), from[t] = x + tap[t].x;
    for (int64_t i = 0; i < count; i++) {
      const V g = load(dy + i * kLanes);
#pragma GCC unroll 9
      for (int t = 0; t < kTaps; t++) sums[t] = fma(g, load(from[t] + i * step), sums[t]);
    }
#pragma GCC unroll 9
    for (int t = 0; t < kTaps; t++) store(totals + tap[t].w, load(totals + tap[t].w) + sums[t]);
  }
  static void some_taps(int64_t n, const Tap* tap, const T* x, int64_t step, const T* dy, int64_t count, T* totals) {
    switch (n) {
      case 1:
        return row_of_dw<1>(tap, x, step, dy, count, totals);
      case 2:
        return row_of_dw<2>(tap, x, step, dy, count, totals);
      case 3:
        return row_of_dw<3>(tap, x, step, dy, count, totals);
      case 4:
        return row_of_dw<4>(tap, x, step, dy, count, totals);
      case 5:
        return row_of_dw<5>(tap, x, step, dy, count, totals);
      case 6:
        return row_of_dw<6>(tap, x, step, dy, count, totals);
      case 7:
        return row_of_dw<7>(tap, x, step, dy, count, totals);
      case 8:
        return row_of_dw<8>(tap, x, step, dy, count, totals);
      default:
        return row_of_dw<9>(tap, x, step, dy, count, totals);
    }
  }

  // Every plane's gradient by itself, then the images' added in their order.
  int64_t weight_grad(void* const* operands) {
    const T* const x = static_cast<const T*>(operands[0]);
    const T* const dy = static_cast<const T*>(operands[1]);
    T* const dw = static_cast<T*>(operands[2]);
    T* const dbias = static_cast<T*>(operands[3]);
    const Axis h = forward_axis(s, 1), w = forward_axis(s, 2);
    const int64_t left = reach_left(w), right = reach_right(w), reach = (h.taps - 1) * h.tap_step + 1;
    const int64_t band = band_rows(s.out[2], left + s.in[2] + right, h.step, reach);
    const int64_t rows_read = smaller(s.in[1], (band - 1) * h.step + reach);
    const int64_t x_size = rows_size(rows_read, s.in[2], left, right), dy_size = rows_size(band, s.out[2], 0, 0);
    const int64_t bytes = (x_size + dy_size) * int64_t(sizeof(T)) + taps * int64_t(sizeof(Tap));
    const int64_t a_block = (taps + 1) * kLanes;  // [block][tap, and one for the bias][lanes]
    T* const all = static_cast<T*>(runtime.scratch(0, blocks() * a_block * int64_t(sizeof(T))));
    if (!all) return kOutOfMemory;
    run_blocks([&](int64_t block) {
      T* const own = static_cast<T*>(runtime.scratch(4, bytes));
      if (!own) {
        failed = true;
        return;
      }
      T* const totals = all + block * a_block;
      for (int64_t t = 0; t <= taps; t++) store(totals + t * kLanes, splat<T>(0));
      Rows rows = rows_of(x, block, s.in, rows_read, left, right, own);
      Rows gradients = rows_of(dy, block, s.out, band, 0, 0, own + x_size);
      Tap* const tap = reinterpret_cast<Tap*>(own + x_size + dy_size);
      for (int64_t t = 0; t < taps; t++)
        tap[t] = {t / w.taps * h.tap_step * rows.stride() + t % w.taps * w.tap_step * kLanes, t * kLanes};
      for (int64_t row = 0; row < s.out[1]; row += band) {
        const int64_t end = smaller(row + band, s.out[1]);
        rows.need(row * h.step + h.offset, (end - 1) * h.step + h.offset + reach);
        gradients.need(row, end);
        for (int64_t q = row; q < end; q++) {
          const T* const gradient = gradients.at(q, 0);
          if (dbias) {
            V sum = splat<T>(0);
            for (int64_t i = 0; i < w.count; i++) sum = sum + load(gradient + i * kLanes);
            store(totals + taps * kLanes, load(totals + taps * kLanes) + sum);
          }
          const Inside range = taps_inside(h, q);
          const T* const pixel = rows.at(q * h.step + h.offset, w.offset);
          for (int64_t t = range.first * w.taps; t < range.last * w.taps; t += kTapsAtOnce)
            some_taps(smaller(kTapsAtOnce, range.last * w.taps - t), tap + t, pixel, w.step * kLanes, gradient, w.count,
                      totals);
        }
      }
    });
    for (int64_t c = 0; c < s.in_channels; c++)
      for (int64_t t = 0; t <= taps; t++) {
        if (t == taps && !dbias) continue;
        T sum = 0;
        for (int64_t plane = c; plane < planes; plane += s.in_channels)
          sum += all[plane / kLanes * a_block + t * kLanes + plane % kLanes];
        if (t == taps)
          dbias[c] = sum;
        else
          dw[c * taps + t] = sum;
      }
    return failed ? int64_t(kOutOfMemory) : int64_t(kOk);
  }
};

// One channel in and out a group, at least 8 planes, one slice deep, moderate strides and kernels.
XCORR_INLINE bool depthwise_fits(const ConvSizes& s) {
  return s.groups == s.in_channels && s.groups == s.out_channels && s.batch * s.groups >= 8 && s.kernel[0] == 1 &&
         s.in[0] == 1 && s.out[0] == 1 && s.pad[0] == 0 && s.stride[1] <= 4 && s.stride[2] <= 4 &&
         volume(s.kernel) <= 256;
}

}  // namespace
}  // namespace xcorr
