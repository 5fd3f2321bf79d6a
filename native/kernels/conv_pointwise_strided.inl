// Convolution with one tap and a stride. Forward and input gradient are products whose columns are gathered from the
// pixels that count, or spread over dx with the zeros between them, chunk by chunk while they are in the cache. For
// what is too small for that, and for the weight gradient, the pixels are gathered into a dense copy once, or spread
// from one, and the rest is the convolution of stride 1.
#pragma once
#include "conv_pointwise.inl"
#include "kept.inl"
#include "parallel.inl"
#include "transpose.inl"

namespace xcorr {
namespace {

template <class T>
struct PointwiseStrided {
  static constexpr int kLanes = Simd<T>::lanes;

  const ConvSizes& s;
  const Runtime& runtime;
  ConvSizes dense;  // the convolution of the pixels that are read

  PointwiseStrided(const ConvSizes& sizes, const Runtime& runtime_) : s(sizes), runtime(runtime_), dense(sizes) {
    for (int d = 0; d < kSpatial; d++) {
      dense.in[d] = s.out[d];
      dense.stride[d] = 1;
    }
  }

  // One tap, no padding, and every output reads a pixel.
  static bool fits(const ConvSizes& s) {
    bool strided = false, inside = volume(s.kernel) == 1;
    for (int d = 0; d < kSpatial; d++) {
      strided = strided || s.stride[d] > 1;
      inside = inside && s.pad[d] == 0 && s.out[d] > 0 && (s.out[d] - 1) * s.stride[d] < s.in[d];
    }
    return strided && inside && s.batch > 0 && s.in_channels > 0 && s.out_channels > 0;
  }

  int64_t forward(void* const* operands, const char* name) const {
    if (asks_only(runtime)) return kOk;
    *runtime.algorithm = name;
    const StridedPixels<T> pixels(s);
    return pointwise_run<T>(forward_correlation<T>(dense, operands), runtime, &pixels);
  }
  int64_t input_grad(void* const* operands, const char* name) const {
    *runtime.algorithm = name;
    const StridedPixels<T> pixels(s);
    const int64_t no_phase[kSpatial] = {};
    return pointwise_run<T>(input_grad_correlation<T>(dense, operands, no_phase), runtime, nullptr, &pixels);
  }
  bool large() const { return volume(s.out) >= 16; }

  using Kernel = int64_t (*)(const ConvSizes&, const Runtime&, void* const*);
  // The forward pass and the weight gradient: operand 0 is x.
  int64_t gathered(Kernel kernel, void* const* operands, int operand_count) const {
    if (asks_only(runtime)) return kernel(dense, runtime, operands);
    T* const pixels = room();
    if (!pixels) return kOutOfMemory;
    gather(static_cast<const T*>(operands[0]), pixels);
    void* changed[5] = {pixels};
    for (int i = 1; i < operand_count; i++) changed[i] = operands[i];
    return kernel(dense, runtime, changed);
  }
  // The input gradient: operand 2 is the bias, operand 3 dx.
  int64_t spread_out(Kernel kernel, void* const* operands) const {
    T* const pixels = room();
    if (!pixels) return kOutOfMemory;
    void* const changed[] = {operands[0], operands[1], operands[2], pixels};
    const int64_t status = kernel(dense, runtime, changed);
    if (status == kOk) spread(pixels, static_cast<const T*>(operands[2]), static_cast<T*>(operands[3]));
    return status;
  }

 private:
  // The dense x. A slot of the tasks that the tasks of stride 1 leave alone: theirs and the kernel's are taken.
  T* room() const {
    return static_cast<T*>(runtime.scratch(7, s.batch * s.in_channels * volume(s.out) * int64_t(sizeof(T))));
  }

  static void gather_row(const T* from, int64_t size, int64_t stride, int64_t count, T* to) {
    if (stride != 2) {
      for (int64_t i = 0; i < count; i++) to[i] = from[i * stride];
      return;
    }
    int64_t i = 0;
    for (; 2 * (i + kLanes) <= size && i + kLanes <= count; i += kLanes)
      store(to + i, every_second<kLanes>(load(from + 2 * i), load(from + 2 * i + kLanes), false));
    if (i == count) return;
    const auto read = [&](int64_t at) __attribute__((always_inline)) {
      const int64_t n = size - at;
      return n >= kLanes ? load(from + at) : n > 0 ? load_partial(from + at, int(n)) : splat<T>(0);
    };
    store_partial(to + i, every_second<kLanes>(read(2 * i), read(2 * i + kLanes), false), int(count - i));
  }

  void gather(const T* x, T* to) const {
    run_ranges(runtime, s.batch * s.in_channels, volume(s.in), 1, [&](int64_t first, int64_t end) {
      T* row = to + first * volume(s.out);
      for (int64_t plane = first; plane < end; plane++)
        for (int64_t d = 0; d < s.out[0]; d++)
          for (int64_t h = 0; h < s.out[1]; h++, row += s.out[2])
            gather_row(x + ((plane * s.in[0] + d * s.stride[0]) * s.in[1] + h * s.stride[1]) * s.in[2], s.in[2],
                       s.stride[2], s.out[2], row);
    });
  }

  static void fill(T* to, int64_t size, T value) {
    const auto all = set1(value);
    int64_t i = 0;
    for (; i + kLanes <= size; i += kLanes) store(to + i, all);
    if (i < size) store_partial(to + i, all, int(size - i));
  }

  // A row of dx from its values at every stride; `rest` between them. `beyond`: `rest` in the lanes behind the values
  // of the last vector, 0 in the others.
  static void spread_row(const T* from, int64_t count, int64_t stride, T rest, const T* beyond, T* to, int64_t size) {
    if (stride != 2) {
      for (int64_t i = 0; i < size; i++) to[i] = i % stride == 0 && i / stride < count ? from[i / stride] : rest;
      return;
    }
    const auto between = set1(rest);
    int64_t i = 0;
    for (; i + kLanes <= count && 2 * (i + kLanes) <= size; i += kLanes) {
      const auto v = load(from + i);
      store(to + 2 * i, in_turns<kLanes>(v, between, false));
      store(to + 2 * i + kLanes, in_turns<kLanes>(v, between, true));
    }
    if (i < count) {
      const auto v = i + kLanes <= count ? load(from + i) : load_partial(from + i, int(count - i)) + load(beyond);
      for (int half = 0; half < 2 && 2 * i + half * kLanes < size; half++)
        store_partial(to + 2 * i + half * kLanes, in_turns<kLanes>(v, between, half == 1),
                      int(smaller(kLanes, size - 2 * i - half * kLanes)));
      i += kLanes;
    }
    if (2 * i < size) fill(to + 2 * i, size - 2 * i, rest);
  }

  void spread(const T* from, const T* bias, T* dx) const {
    run_ranges(runtime, s.batch * s.in_channels, volume(s.in), 1, [&](int64_t first, int64_t end) {
      T* to = dx + first * volume(s.in);
      for (int64_t plane = first; plane < end; plane++) {
        const T rest = bias ? bias[plane % s.in_channels] : T(0);
        const T* const values = from + plane * volume(s.out);
        T beyond[kLanes];
        for (int lane = 0; lane < kLanes; lane++) beyond[lane] = lane < s.out[2] % kLanes ? T(0) : rest;
        for (int64_t d = 0; d < s.in[0]; d++)
          for (int64_t h = 0; h < s.in[1]; h++, to += s.in[2]) {
            const int64_t qd = d / s.stride[0], qh = h / s.stride[1];
            const bool there = d % s.stride[0] == 0 && h % s.stride[1] == 0 && qd < s.out[0] && qh < s.out[1];
            if (there)
              spread_row(values + (qd * s.out[1] + qh) * s.out[2], s.out[2], s.stride[2], rest, beyond, to, s.in[2]);
            else
              fill(to, s.in[2], rest);
          }
      }
    });
  }
};

}  // namespace
}  // namespace xcorr
