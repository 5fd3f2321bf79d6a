// Depthwise convolution (one input and one output channel a group): forward, input gradient, weight gradient.
//
// Planes (channels of all images in a row) are the lanes: a block of planes is transposed to [row][column][plane] with
// zeros beside the rows, convolved, and the result transposed back. So small planes waste no lanes, any kernel, stride
// and dilation is served alike, and the weight gradient sums along no lanes. All intermediates fit the second-level
// cache.
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
  bool worth() const { return double(planes) * double(volume(s.out)) * double(taps) > 1e6; }

  // Rows of a block of planes as [row][left + width + right][lanes].
  struct Staged {
    T* pixels;
    int64_t left, stride;  // columns before the first; columns of a row in all
    T* at(int64_t row, int64_t column) const { return pixels + (row * stride + left + column) * kLanes; }
  };
  static int64_t staged_size(int64_t height, int64_t width, int64_t left, int64_t right) {
    return height * (left + width + right) * kLanes;
  }
  // `pixels` may be followed by room for the planes without their borders.
  Staged stage(const T* from, int64_t block, int64_t height, int64_t width, int64_t left, int64_t right,
               T* pixels) const {
    const Staged to = {pixels, left, left + width + right};
    const int64_t plane = height * width, count = smaller(kLanes, planes - block * kLanes);
    from += block * kLanes * plane;
    if (left + right == 0 || width >= 40) {
      const int64_t rows = left + right == 0 ? 1 : height, length = plane / rows;
      for (int64_t row = 0; row < rows; row++)
        transpose_matrix<T>(from + row * length, plane, count, length, to.at(row, 0), kLanes, kLanes);
    } else {
      T* const bare = pixels + height * to.stride * kLanes;
      transpose_matrix<T>(from, plane, count, plane, bare, kLanes, kLanes);
      for (int64_t row = 0; row < height; row++)
        for (int64_t i = 0; i < width; i++) store(to.at(row, i), load(bare + (row * width + i) * kLanes));
    }
    for (int64_t row = 0; row < height; row++) {
      for (int64_t i = -left; i < 0; i++) store(to.at(row, i), splat<T>(0));
      for (int64_t i = width; i < width + right; i++) store(to.at(row, i), splat<T>(0));
    }
    return to;
  }

  // Weights of a block of planes as [tap][lanes].
  void stage_weights(const T* w, int64_t block, T* to) const {
    const int64_t first = block * kLanes % s.in_channels, count = smaller(kLanes, planes - block * kLanes);
    if (first + count <= s.in_channels)
      return transpose_matrix<T>(w + first * taps, taps, count, taps, to, kLanes, kLanes);
    for (int64_t t = 0; t < taps; t++)
      for (int64_t i = 0; i < kLanes; i++) to[t * kLanes + i] = w[(first + i) % s.in_channels * taps + t];
  }

  struct Tap {
    const T *x, *w;
  };

  // kCount adjacent outputs, the sources `step` apart.
  template <int kCount>
  [[gnu::noinline]] static void outputs(const Tap* tap, int64_t count, int64_t from, int64_t step, V bias,
                                        int64_t activation, T* to, int64_t spread) {
    V sums[kCount];
#pragma GCC unroll 8
    for (int i = 0; i < kCount; i++) sums[i] = splat<T>(0);
    for (int64_t t = 0; t < count; t++) {
      const V w = load(tap[t].w);
      const T* const x = tap[t].x + from;
#pragma GCC unroll 8
      for (int i = 0; i < kCount; i++) sums[i] = fma(w, load(x + i * step), sums[i]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < kCount; i++) store(to + i * spread, activate<T>(sums[i] + bias, activation));
  }
  static void some_outputs(int64_t n, const Tap* tap, int64_t count, int64_t from, int64_t step, V bias,
                           int64_t activation, T* to, int64_t spread) {
    switch (n) {
      case 1:
        return outputs<1>(tap, count, from, step, bias, activation, to, spread);
      case 2:
        return outputs<2>(tap, count, from, step, bias, activation, to, spread);
      case 3:
        return outputs<3>(tap, count, from, step, bias, activation, to, spread);
      case 4:
        return outputs<4>(tap, count, from, step, bias, activation, to, spread);
      case 5:
        return outputs<5>(tap, count, from, step, bias, activation, to, spread);
      case 6:
        return outputs<6>(tap, count, from, step, bias, activation, to, spread);
      case 7:
        return outputs<7>(tap, count, from, step, bias, activation, to, spread);
      default:
        return outputs<8>(tap, count, from, step, bias, activation, to, spread);
    }
  }

  // One gather (the forward pass, or a phase of the input gradient) of a staged block into [row][column][lanes].
  static void correlate(const Axis& h, const Axis& w, const Staged& x, const T* weights, V bias, int64_t activation,
                        Tap* tap, T* y) {
    const Split parts = split_evenly(w.count, kAtOnce);
    for (int64_t q = 0; q < h.count; q++) {
      int64_t count = 0;
      for (int64_t i = 0; i < h.taps; i++) {
        const int64_t row = q * h.step + h.offset + i * h.tap_step;
        if (row < 0 || row >= h.source) continue;
        for (int64_t j = 0; j < w.taps; j++)
          tap[count++] = {
              x.at(row, w.offset + j * w.tap_step),
              weights + ((h.first_tap + i * h.tap_stride) * w.kernel + w.first_tap + j * w.tap_stride) * kLanes};
      }
      T* const to = y + ((h.first + q * h.spread) * w.size + w.first) * kLanes;
      for (int64_t part = 0; part < parts.parts && w.count > 0; part++) {
        const int64_t i = parts.start(part);
        some_outputs(parts.size(part), tap, count, i * w.step * kLanes, w.step * kLanes, bias, activation,
                     to + i * w.spread * kLanes, w.spread * kLanes);
      }
    }
  }

  // Columns that taps reach beyond a row of the source.
  static int64_t reach_left(const Axis& w) {
    return w.taps == 0 || w.count == 0 ? 0 : larger(0, -(w.offset + smaller(0, (w.taps - 1) * w.tap_step)));
  }
  static int64_t reach_right(const Axis& w) {
    if (w.taps == 0 || w.count == 0) return 0;
    return larger(0, (w.count - 1) * w.step + w.offset + larger(0, (w.taps - 1) * w.tap_step) - (w.source - 1));
  }

  // x: what is read, y: what is written; axes of all phases, [phase][height, width].
  int64_t run(const T* x, const T* w, const T* bias, const T* residual, T* y, int64_t activation, const int64_t* in,
              const int64_t* out, const Axis (*axes)[2], int64_t phases) {
    int64_t left = 0, right = 0;
    for (int64_t i = 0; i < phases; i++) {
      left = larger(left, reach_left(axes[i][1]));
      right = larger(right, reach_right(axes[i][1]));
    }
    const int64_t in_size = staged_size(in[1], in[2], left, right) + volume(in) * kLanes;
    const int64_t out_size = volume(out) * kLanes, w_size = taps * kLanes;
    const int64_t bytes = (in_size + out_size + w_size) * int64_t(sizeof(T)) + taps * int64_t(sizeof(Tap));
    const auto task = [&](int64_t block) {
      T* const own = static_cast<T*>(runtime.scratch(4, bytes));
      if (!own) {
        failed = true;
        return;
      }
      T* const result = own + in_size;
      T* const weights = result + out_size;
      Tap* const tap = reinterpret_cast<Tap*>(weights + w_size);
      const int64_t first = block * kLanes, count = smaller(kLanes, planes - first);
      stage_weights(w, block, weights);
      const Staged staged = stage(x, block, in[1], in[2], left, right, own);
      V biases = splat<T>(0);
      for (int i = 0; bias && i < kLanes; i++) biases[i] = bias[(first + i) % s.in_channels];
      for (int64_t i = 0; i < phases; i++)
        correlate(axes[i][0], axes[i][1], staged, weights, biases, residual ? int64_t(activation::none) : activation,
                  tap, result);
      transpose_matrix<T>(result, kLanes, volume(out), count, y + first * volume(out), volume(out), volume(out));
      if (!residual) return;
      const TileEnd<T> end = {
          y + first * volume(out),        0,         count * volume(out), nullptr, 0, nullptr, nullptr,
          residual + first * volume(out), activation};
      finish_tile<T>(end.c, 0, 1, end);
    };
    if (worth())
      run_tasks(runtime, blocks(), task);
    else
      for (int64_t i = 0; i < blocks(); i++) task(i);
    return failed ? int64_t(kOutOfMemory) : int64_t(kOk);
  }

  int64_t forward(void* const* operands) {
    const Axis axes[1][2] = {{forward_axis(s, 1), forward_axis(s, 2)}};
    return run(static_cast<const T*>(operands[0]), static_cast<const T*>(operands[1]),
               static_cast<const T*>(operands[2]), static_cast<const T*>(operands[3]), static_cast<T*>(operands[4]),
               s.activation, s.in, s.out, axes, 1);
  }

  static constexpr int64_t kMostStride = 4;
  int64_t input_grad(void* const* operands) {
    Axis axes[kMostStride * kMostStride][2];
    int64_t phases = 0;
    for (int64_t h = 0; h < smaller(s.stride[1], s.in[1]); h++)
      for (int64_t w = 0; w < smaller(s.stride[2], s.in[2]); w++, phases++) {
        axes[phases][0] = input_grad_axis(s, 1, h);
        axes[phases][1] = input_grad_axis(s, 2, w);
      }
    return run(static_cast<const T*>(operands[0]), static_cast<const T*>(operands[1]),
               static_cast<const T*>(operands[2]), nullptr, static_cast<T*>(operands[3]), activation::none, s.out, s.in,
               axes, phases);
  }

  // sums[tap] over one row of outputs of dy * x: chains from zero that are then added to the totals.
  template <int kTaps>
  [[gnu::noinline]] static void row_of_dw(const T* const* x, int64_t step, const T* dy, int64_t count,
                                          T* const* totals) {
    V sums[kTaps];
#pragma GCC unroll 9
    for (int t = 0; t < kTaps; t++) sums[t] = splat<T>(0);
    for (int64_t i = 0; i < count; i++) {
      const V g = load(dy + i * kLanes);
#pragma GCC unroll 9
      for (int t = 0; t < kTaps; t++) sums[t] = fma(g, load(x[t] + i * step), sums[t]);
    }
#pragma GCC unroll 9
    for (int t = 0; t < kTaps; t++) store(totals[t], load(totals[t]) + sums[t]);
  }
  static void some_taps(int64_t n, const T* const* x, int64_t step, const T* dy, int64_t count, T* const* totals) {
    switch (n) {
      case 1:
        return row_of_dw<1>(x, step, dy, count, totals);
      case 2:
        return row_of_dw<2>(x, step, dy, count, totals);
      case 3:
        return row_of_dw<3>(x, step, dy, count, totals);
      case 4:
        return row_of_dw<4>(x, step, dy, count, totals);
      case 5:
        return row_of_dw<5>(x, step, dy, count, totals);
      case 6:
        return row_of_dw<6>(x, step, dy, count, totals);
      case 7:
        return row_of_dw<7>(x, step, dy, count, totals);
      case 8:
        return row_of_dw<8>(x, step, dy, count, totals);
      default:
        return row_of_dw<9>(x, step, dy, count, totals);
    }
  }

  // Every plane's gradient by itself, then the images' added in their order.
  int64_t weight_grad(void* const* operands) {
    const T* const x = static_cast<const T*>(operands[0]);
    const T* const dy = static_cast<const T*>(operands[1]);
    T* const dw = static_cast<T*>(operands[2]);
    T* const dbias = static_cast<T*>(operands[3]);
    const Axis h = forward_axis(s, 1), w = forward_axis(s, 2);
    const int64_t left = reach_left(w), right = reach_right(w);
    const int64_t in_size = staged_size(s.in[1], s.in[2], left, right) + volume(s.in) * kLanes;
    const int64_t bytes = (in_size + volume(s.out) * kLanes) * int64_t(sizeof(T));
    // [block][tap, and one for the bias][lanes]
    const int64_t a_block = (taps + 1) * kLanes;
    T* const all = static_cast<T*>(runtime.scratch(0, blocks() * a_block * int64_t(sizeof(T))));
    if (!all) return kOutOfMemory;
    const auto task = [&](int64_t block) {
      T* const own = static_cast<T*>(runtime.scratch(4, bytes));
      if (!own) {
        failed = true;
        return;
      }
      T* const staged_dy = own + in_size;
      T* const totals = all + block * a_block;
      for (int64_t t = 0; t <= taps; t++) store(totals + t * kLanes, splat<T>(0));
      const Staged staged = stage(x, block, s.in[1], s.in[2], left, right, own);
      const Staged g = stage(dy, block, s.out[1], s.out[2], 0, 0, staged_dy);
      for (int64_t q = 0; q < h.count; q++) {
        const T* from[kTapsAtOnce];
        T* to[kTapsAtOnce];
        int64_t count = 0;
        const T* const row_of_dy = g.at(q, 0);
        if (dbias) {
          V sum = splat<T>(0);
          for (int64_t i = 0; i < w.count; i++) sum = sum + load(row_of_dy + i * kLanes);
          store(totals + taps * kLanes, load(totals + taps * kLanes) + sum);
        }
        for (int64_t t = 0; t < taps; t++) {
          const int64_t row = q * h.step + h.offset + t / w.taps * h.tap_step;
          if (row >= 0 && row < h.source) {
            from[count] = staged.at(row, w.offset + t % w.taps * w.tap_step);
            to[count++] = totals + t * kLanes;
          }
          if (count == kTapsAtOnce || (t == taps - 1 && count > 0)) {
            some_taps(count, from, w.step * kLanes, row_of_dy, w.count, to);
            count = 0;
          }
        }
      }
    };
    if (worth())
      run_tasks(runtime, blocks(), task);
    else
      for (int64_t i = 0; i < blocks(); i++) task(i);
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

// One channel in and out a group, at least 8 planes, one slice deep, moderate stride.
XCORR_INLINE bool depthwise_fits(const ConvSizes& s) {
  return s.groups == s.in_channels && s.groups == s.out_channels && s.batch * s.groups >= 8 && s.kernel[0] == 1 &&
         s.in[0] == 1 && s.out[0] == 1 && s.pad[0] == 0 && s.stride[1] <= 4 && s.stride[2] <= 4 &&
         volume(s.kernel) <= 256;
}

}  // namespace
}  // namespace xcorr
