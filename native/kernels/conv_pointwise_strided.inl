// Convolution with one tap and a stride. Forward and input gradient are products whose columns are gathered from the
// pixels that count, or spread over dx with the zeros between them, chunk by chunk while they are in the cache. For
// what is too small for that, and for the weight gradient, the pixels are gathered into a dense copy once, or spread
// from one, and the rest is the convolution of stride 1.
#pragma once
#include "conv_pointwise.inl"
#include "conv_pointwise_weight_grad.inl"
#include "conv_weight_grad.inl"
#include "conv_weight_grad_rows.inl"
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
  int64_t weight_grad(void* const* operands, const char* name) const {
    *runtime.algorithm = name;
    const StridedPixels<T> pixels(s);
    if (pointwise_weight_grad_fits(dense)) return PointwiseWeightGrad<T>(dense, runtime, operands, &pixels).execute();
    return direct_weight_grad<T>(dense, runtime, operands, &pixels);
  }
  // x is the operand that these transpose, in blocks that fit the second-level cache with those that come next.
  bool weight_grad_reads_pixels() const {
    return s.in_channels < s.out_channels && depth_blocks(volume(s.out)).parts == 1 && !rows_weight_grad_fit(dense);
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
  // The input gradient: operand 2 is the bias, which is added where it is spread, operand 3 dx.
  int64_t spread_out(Kernel kernel, void* const* operands) const {
    T* const pixels = room();
    if (!pixels) return kOutOfMemory;
    void* const changed[] = {operands[0], operands[1], nullptr, pixels};
    const int64_t status = kernel(dense, runtime, changed);
    if (status == kOk) spread(pixels, static_cast<const T*>(operands[2]), static_cast<T*>(operands[3]));
    return status;
  }

 private:
  // The dense x. A slot of the tasks that the tasks of stride 1 leave alone: theirs and the kernel's are taken.
  T* room() const {
    return static_cast<T*>(runtime.scratch(7, s.batch * s.in_channels * volume(s.out) * int64_t(sizeof(T))));
  }

  void gather(const T* x, T* to) const {
    const StridedPixels<T> pixels(s);
    const Split parts = split_evenly(pixels.pixels(), PixelGather<T>::kMost);
    run_ranges(runtime, s.batch * s.in_channels, volume(s.in), 1, [&](int64_t first, int64_t end) {
      alignas(64) T line[PixelGather<T>::kMost + kLanes];
      for (int64_t part = 0; part < parts.parts; part++) {
        const int64_t count = parts.size(part);
        PixelGather<T> part_of_plane(pixels);
        part_of_plane.add(pixels, parts.start(part), count, 0);
        for (int64_t plane = first; plane < end; plane++) {
          part_of_plane.gather(x + plane * pixels.plane(), line, plane + 1 < end ? pixels.plane() : 0);
          copy_rows<T>(line, 0, 1, count, to + plane * pixels.pixels() + parts.start(part), 0, count);
        }
      }
    });
  }

  void spread(const T* from, const T* bias, T* dx) const {
    const StridedPixels<T> pixels(s);
    run_ranges(runtime, s.batch * s.in_channels, volume(s.in), 1, [&](int64_t first, int64_t end) {
      for (int64_t plane = first; plane < end; plane++)
        pixels.spread(from + plane * pixels.pixels(), {0, 0, 0}, pixels.pixels(),
                      bias ? bias[plane % s.in_channels] : T(0), dx + plane * pixels.plane());
    });
  }
};

}  // namespace
}  // namespace xcorr
