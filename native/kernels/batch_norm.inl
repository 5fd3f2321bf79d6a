// batch_norm and batch_norm_inference over [batch, channels, inner].
//
// Training goes channel by channel: a channel of all images usually fits the second-level cache, so that statistics and
// normalisation cost one read of memory. Few channels with much data are cut into fixed pieces whose moments are merged
// in order. With inner = 1 the columns of a matrix are normalised, 64 neighbours at a time.
#pragma once
#include "moments.inl"
#include "reduce.inl"

namespace xcorr {
namespace {

// The elements of one channel, counted through all images, in pieces of fixed size.
struct ChannelPieces {
  const BatchNormSizes& s;
  int64_t count, length, pieces;

  XCORR_MEMBER explicit ChannelPieces(const BatchNormSizes& sizes) : s(sizes) {
    count = s.batch * s.inner;
    // Enough channels are tasks enough, as long as what backward reads twice (x and dy) stays in the second-level
    // cache.
    const bool cut = count > (s.channels < 8 ? 1 : s.channels < 32 ? 2 : 1 << 20) * kSerialElements;
    length = cut ? kSerialElements : count;
    pieces = cut ? (count + length - 1) / length : 1;
  }
  XCORR_MEMBER int64_t piece_count(int64_t piece) const {
    const int64_t rest = count - piece * length;
    return rest < length ? rest : length;
  }
  // f(offset, n) for the contiguous parts of a piece.
  template <class F>
  XCORR_MEMBER void segments(int64_t channel, int64_t piece, const F& f) const {
    int64_t at = piece * length;
    const int64_t end = at + piece_count(piece);
    while (at < end) {
      const int64_t image = at / s.inner, column = at % s.inner, left = s.inner - column;
      const int64_t n = end - at < left ? end - at : left;
      f((image * s.channels + channel) * s.inner + column, n);
      at += n;
    }
  }
};

template <class T, int64_t code>
XCORR_INLINE Vector<T> activated(Vector<T> v) {
  if constexpr (code != activation::none) v = max(number<Vector<T>>(0), v);  // this order keeps NaN
  if constexpr (code == activation::relu6) v = min(number<Vector<T>>(6), v);
  return v;
}

// Calls f with the activation as a constant: f(Constant<code>).
template <int64_t code>
struct Constant {
  static constexpr int64_t value = code;
};
template <class F>
XCORR_INLINE void with_activation(int64_t code, const F& f) {
  if (code == activation::relu) return f(Constant<activation::relu>{});
  if (code == activation::relu6) return f(Constant<activation::relu6>{});
  f(Constant<activation::none>{});
}

// y = activation((x - mean) scale + bias + residual)
template <class T>
struct Normalize {
  T mean, scale, bias;

  XCORR_MEMBER static Normalize of(double mean, double variance, double eps, const T* weight, const T* bias,
                                   int64_t channel) {
    const double scale = (weight ? (double)weight[channel] : 1.0) / __builtin_sqrt(variance + eps);
    const double rounded = (double)(T)mean;  // what the mean loses in T goes into the bias
    return {(T)mean, (T)scale, (T)((bias ? (double)bias[channel] : 0.0) - (mean - rounded) * scale)};
  }
  template <int64_t code>
  XCORR_MEMBER void apply(const T* x, const T* residual, T* y, int64_t count) const {
    const auto m = set1(mean), a = set1(scale), b = set1(bias);
    if (residual) {
      for_each_vector<T>(
          count, [&](int64_t i, int n) __attribute__((always_inline)) {
            const auto v = fma(load_first(x + i, n) - m, a, b) + load_first(residual + i, n);
            store_first(y + i, activated<T, code>(v), n);
          });
    } else {
      for_each_vector<T>(
          count, [&](int64_t i, int n) __attribute__((always_inline)) {
            store_first(y + i, activated<T, code>(fma(load_first(x + i, n) - m, a, b)), n);
          });
    }
  }
};

// inner = 1: the same over the columns of [batch, channels].
template <class T>
struct NormalizeColumns {
  alignas(64) T mean[kStrip], scale[kStrip], bias[kStrip];

  XCORR_MEMBER void set(int64_t j, const Normalize<T>& n) { mean[j] = n.mean, scale[j] = n.scale, bias[j] = n.bias; }
  template <int64_t code>
  XCORR_MEMBER void apply(const T* x, const T* residual, T* y, int64_t columns) const {
    for_each_vector<T>(
        columns, [&](int64_t i, int n) __attribute__((always_inline)) {
          auto v = fma(load_first(x + i, n) - load(mean + i), load(scale + i), load(bias + i));
          if (residual) v = v + load_first(residual + i, n);
          store_first(y + i, activated<T, code>(v), n);
        });
  }
};

// body(first column, columns) for strips of kStrip columns of [rows, channels].
template <class Body>
XCORR_INLINE void for_each_strip(const Runtime& runtime, int64_t rows, int64_t channels, const Body& body) {
  run_ranges(runtime, (channels + kStrip - 1) / kStrip, rows * kStrip, 1, [&](int64_t first, int64_t end) {
    for (int64_t strip = first; strip < end; strip++) {
      const int64_t left = channels - strip * kStrip;
      body(strip * kStrip, left < kStrip ? left : kStrip);
    }
  });
}

// The scale and shift of a channel for the backward pass, if it asks for them.
template <class T>
XCORR_INLINE void keep_affine(const BatchNormSizes& s, T* affine, int64_t channel, const Normalize<T>& n) {
  if (affine) affine[channel] = n.scale, affine[s.channels + channel] = n.bias;
}

template <class T>
void batch_norm_columns(const BatchNormSizes& s, const Runtime& runtime, const T* x, const T* weight, const T* bias,
                        const T* residual, T* y, T* mean, T* variance, T* affine) {
  for_each_strip(runtime, s.batch, s.channels, [&](int64_t first, int64_t columns) {
    double sums[kStrip], squares[kStrip];
    fold_strip<T, reduce::sum>(x + first, s.batch, s.channels, columns, sums);
    for (int64_t j = 0; j < columns; j++) sums[j] /= (double)s.batch, squares[j] = 0;
    for (int64_t n = 0; n < s.batch; n++)
      for (int64_t j = 0; j < columns; j++) {
        const double apart = (double)x[n * s.channels + first + j] - sums[j];
        squares[j] += apart * apart;
      }
    NormalizeColumns<T> normalize = {};
    for (int64_t j = 0; j < columns; j++) {
      const double spread = squares[j] / (double)s.batch;
      mean[first + j] = (T)sums[j];
      variance[first + j] = (T)spread;
      const auto of_channel = Normalize<T>::of(sums[j], spread, s.eps, weight, bias, first + j);
      normalize.set(j, of_channel);
      keep_affine(s, affine, first + j, of_channel);
    }
    with_activation(s.activation, [&](auto code) {
      for (int64_t n = 0; n < s.batch; n++) {
        const int64_t at = n * s.channels + first;
        normalize.template apply<code.value>(x + at, residual ? residual + at : nullptr, y + at, columns);
      }
    });
  });
}

template <class T>
int64_t batch_norm(const BatchNormSizes& s, const Runtime& runtime, void* const* operands) {
  const T* const x = static_cast<const T*>(operands[0]);
  const T* const weight = static_cast<const T*>(operands[1]);
  const T* const bias = static_cast<const T*>(operands[2]);
  const T* const residual = static_cast<const T*>(operands[3]);
  T* const y = static_cast<T*>(operands[4]);
  T* const mean = static_cast<T*>(operands[5]);
  T* const variance = static_cast<T*>(operands[6]);
  T* const affine = static_cast<T*>(operands[7]);
  if (s.inner == 1 && s.batch > 0) {
    batch_norm_columns(s, runtime, x, weight, bias, residual, y, mean, variance, affine);
    return kOk;
  }
  const ChannelPieces parts(s);
  const auto moments_of = [&](int64_t channel, int64_t piece) __attribute__((always_inline)) {
    const double count = (double)parts.piece_count(piece);
    T first = 0;
    if (count > 0)
      first = x[(piece * parts.length / s.inner * s.channels + channel) * s.inner + piece * parts.length % s.inner];
    return moments(
        count, first, [&](const auto& f) __attribute__((always_inline)) {
          parts.segments(
              channel, piece, [&](int64_t at, int64_t n) __attribute__((always_inline)) { f(x + at, n); });
        });
  };
  const auto finish = [&](int64_t channel, const Moments& m) {
    mean[channel] = (T)m.mean;
    variance[channel] = (T)(m.squares / m.count);
    const auto normalize = Normalize<T>::of(m.mean, m.squares / m.count, s.eps, weight, bias, channel);
    keep_affine(s, affine, channel, normalize);
    return normalize;
  };
  const auto apply = [&](const Normalize<T>& normalize, int64_t channel, int64_t piece) {
    with_activation(s.activation, [&](auto code) {
      parts.segments(channel, piece, [&](int64_t at, int64_t n) {
        normalize.template apply<code.value>(x + at, residual ? residual + at : nullptr, y + at, n);
      });
    });
  };
  if (parts.pieces == 1) {
    run_ranges(runtime, s.channels, 2 * parts.count, 1, [&](int64_t first, int64_t end) {
      for (int64_t c = first; c < end; c++) apply(finish(c, moments_of(c, 0)), c, 0);
    });
    return kOk;
  }
  const int64_t tasks = s.channels * parts.pieces;
  Moments* const partial = static_cast<Moments*>(runtime.scratch(0, tasks * (int64_t)sizeof(Moments)));
  Normalize<T>* const normalize =
      static_cast<Normalize<T>*>(runtime.scratch(1, s.channels * (int64_t)sizeof(Normalize<T>)));
  if (!partial || !normalize) return kOutOfMemory;
  run_tasks(runtime, tasks,
            [&](int64_t task) { partial[task] = moments_of(task / parts.pieces, task % parts.pieces); });
  for (int64_t c = 0; c < s.channels; c++) {
    Moments all = {0, 0, 0};
    for (int64_t p = 0; p < parts.pieces; p++) all = merge(all, partial[c * parts.pieces + p]);
    normalize[c] = finish(c, all);
  }
  run_tasks(runtime, tasks,
            [&](int64_t task) { apply(normalize[task / parts.pieces], task / parts.pieces, task % parts.pieces); });
  return kOk;
}

template <class T>
int64_t batch_norm_inference(const BatchNormSizes& s, const Runtime& runtime, void* const* operands) {
  const T* const x = static_cast<const T*>(operands[0]);
  const T* const weight = static_cast<const T*>(operands[1]);
  const T* const bias = static_cast<const T*>(operands[2]);
  const T* const residual = static_cast<const T*>(operands[3]);
  const T* const mean = static_cast<const T*>(operands[4]);
  const T* const variance = static_cast<const T*>(operands[5]);
  T* const y = static_cast<T*>(operands[6]);
  const auto normalize_of = [&](int64_t c) {
    return Normalize<T>::of((double)mean[c], (double)variance[c], s.eps, weight, bias, c);
  };
  with_activation(s.activation, [&](auto code) {
    if (s.inner == 1) {
      for_each_strip(runtime, s.batch, s.channels, [&](int64_t first, int64_t columns) {
        NormalizeColumns<T> normalize = {};
        for (int64_t j = 0; j < columns; j++) normalize.set(j, normalize_of(first + j));
        for (int64_t n = 0; n < s.batch; n++) {
          const int64_t at = n * s.channels + first;
          normalize.template apply<code.value>(x + at, residual ? residual + at : nullptr, y + at, columns);
        }
      });
      return;
    }
    run_ranges(runtime, s.batch * s.channels, s.inner, 1, [&](int64_t first, int64_t end) {
      for (int64_t plane = first; plane < end; plane++) {
        const int64_t at = plane * s.inner;
        normalize_of(plane % s.channels)
            .template apply<code.value>(x + at, residual ? residual + at : nullptr, y + at, s.inner);
      }
    });
  });
  return kOk;
}

}  // namespace
}  // namespace xcorr
