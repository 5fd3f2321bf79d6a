// The input gradient for few pixels and many weights (a 7x7 plane of one image): every weight meets few gradients, so
// that packing the weights, or transforming them, takes longer than the products. One product reads them once, where
// they lie: sums[pixel][channel * tap] = sum over output channels of dy[output][pixel] * w[output][channel * tap],
// pixels of all images as rows, weights in the lanes. Then every pixel of dx gathers its taps.
//
// The same number of fma as the direct algorithm without a lane to waste, for any stride and dilation.
#pragma once
#include "conv_direct.inl"
#include "parallel.inl"
#include "product_pack.inl"

namespace xcorr {
namespace {

template <class T>
struct InputGradColumns {
  static constexpr int64_t kLanes = Simd<T>::lanes, kColumns = kTileColumns<T>;
  using I = typename Simd<T>::I;

  const ConvSizes& s;
  const Runtime& runtime;
  int64_t channels, outputs, taps, pixels, width, vectors;  // of a group, of its filters; vectors of an image of dx
  Split panels, blocks;  // of the pixels of dy, of the reduction over output channels
  Split parts;           // of the channels, in tasks
  int64_t stride;        // of a task's sums, [pixel of dy][channel][tap]
  LaneIndex<T>* from;    // [tap][pixel of dx]: its place in the sums, -1 for none
  T* gradients;          // dy as [panel][output][pixel]

  InputGradColumns(const ConvSizes& sizes, const Runtime& runtime_) : s(sizes), runtime(runtime_) {
    channels = s.in_channels / s.groups;
    outputs = s.out_channels / s.groups;
    taps = volume(s.kernel);
    pixels = volume(s.out);
    width = channels * taps;
    vectors = ceil_div(volume(s.in), kLanes);
    panels = row_panels<T>(s.batch * pixels);
    blocks = depth_blocks(outputs);
    // About 288 columns a task, so that its sums stay in the second-level cache.
    parts = {channels, smaller(channels, larger(ceil_div(width, 288), smaller(8, ceil_div(width, 144))))};
    stride = round_up(parts.size(0) * taps, kColumns) + 16;
  }

  void locate() const {
    for (int64_t t = 0; t < taps; t++) {
      const int64_t tap[] = {t / s.kernel[2] / s.kernel[1], t / s.kernel[2] % s.kernel[1], t % s.kernel[2]};
      LaneIndex<T>* const to = from + t * vectors * kLanes;
      for (int64_t i = 0; i < vectors * kLanes; i++) {
        const int64_t place[] = {i / s.in[2] / s.in[1], i / s.in[2] % s.in[1], i % s.in[2]};
        int64_t pixel = 0;
        bool there = i < volume(s.in);
        for (int d = 0; d < kSpatial; d++) {
          const int64_t reach = place[d] + s.pad[d] - tap[d] * s.dilation[d], q = reach / s.stride[d];
          there = there && reach >= 0 && reach % s.stride[d] == 0 && q < s.out[d];
          pixel = pixel * s.out[d] + q;
        }
        to[i] = LaneIndex<T>(there ? pixel * stride + t : -1);
      }
    }
  }

  void gather_taps(const T* sums, const T* bias, T* dx) const {
    const I zero = {};
    typename Simd<T>::V sum;
    for (int64_t v = 0; v < vectors; v++) {
      const LaneIndex<T>* place = from + v * kLanes;
      sum = splat<T>(0);
      for (int64_t t = 0; t < taps; t++, place += vectors * kLanes) {
        const I at = load(place);
        sum = sum + gather_masked(sums, at, at >= zero);
      }
      if (bias) sum = sum + set1(*bias);
      if ((v + 1) * kLanes <= volume(s.in))
        store(dx + v * kLanes, sum);
      else
        store_partial(dx + v * kLanes, sum, int(volume(s.in) - v * kLanes));
    }
  }

  // The next tile of weights, from far away, to be fetched while the panels are multiplied by this one.
  Ahead<T> ahead(const T* next) const {
    Ahead<T> to_come;
    to_come.row = next;
    to_come.left = to_come.lines = larger(1, kColumns * int64_t(sizeof(T)) / 64);
    to_come.jump = width;
    to_come.burst = ceil_div(to_come.lines * kAheadTerms<T>, panels.parts);
    return to_come;
  }

  // All products of a part of the channels, block by block of the depth; a tile's weights are packed in passing.
  bool task(int64_t group, int64_t part, const T* w, const T* bias, T* dx) const {
    const int64_t channel = parts.start(part), columns = parts.size(part) * taps, tiles = ceil_div(columns, kColumns);
    T* const sums =
        static_cast<T*>(runtime.scratch(4, (panels.count * stride + blocks.size(0) * kColumns) * int64_t(sizeof(T))));
    if (!sums) return false;
    T* const packed = sums + panels.count * stride;
    const T* const first = w + group * outputs * width + channel * taps;
    for (int64_t block = 0; block < blocks.parts; block++) {
      const int64_t k0 = blocks.start(block), depth = blocks.size(block);
      for (int64_t tile = 0; tile < tiles; tile++) {
        const T* const there = first + k0 * width + tile * kColumns;
        const T* next = tile + 1 < tiles ? there + kColumns : nullptr;
        if (!next && block + 1 < blocks.parts) next = first + (k0 + depth) * width;
        if (!next && part + 1 < parts.parts) next = first + columns;
        const int64_t count = smaller(kColumns, columns - tile * kColumns);
        if (count < kColumns) copy_rows<T>(there, width, depth, count, packed, kColumns, kColumns);
        Ahead<T> to_come = ahead(next);
        for (int64_t panel = 0; panel < panels.parts; panel++) {
          const int64_t row = panels.start(panel), rows = panels.size(panel);
          const T* const a = gradients + row * outputs + k0 * rows;
          T* const to = sums + row * stride + tile * kColumns;
          const TileEnd<T> end = {to, stride, panel_width<T>(count), block > 0 ? to : nullptr, stride};
          if (panel == 0 && count == kColumns)
            Tiles<T>::template find_copying<Simd<T>::tile_rows>(rows)(depth, a, there, width, packed, to_come, end);
          else
            Tiles<T>::template find_prefetching<Simd<T>::tile_rows>(rows, count <= kLanes)(depth, a, packed, kColumns,
                                                                                           to_come, end);
        }
      }
    }
    for (int64_t n = 0; n < s.batch; n++)
      for (int64_t c = 0; c < parts.size(part); c++) {
        const int64_t at = group * channels + channel + c;
        gather_taps(sums + n * pixels * stride + c * taps, bias ? bias + at : nullptr,
                    dx + (n * s.in_channels + at) * volume(s.in));
      }
    return true;
  }

  int64_t execute(void* const* operands) {
    const int64_t places = taps * vectors * kLanes, all = s.batch * pixels * outputs;
    gradients = static_cast<T*>(runtime.scratch(0, all * int64_t(sizeof(T))));
    T* const together = static_cast<T*>(runtime.scratch(1, all * int64_t(sizeof(T))));
    from = static_cast<LaneIndex<T>*>(runtime.scratch(3, places * int64_t(sizeof(LaneIndex<T>))));
    if (!gradients || !together || !from) return kOutOfMemory;
    locate();
    bool failed = false;
    for (int64_t group = 0; group < s.groups; group++) {
      const T* const dy = static_cast<const T*>(operands[0]) + group * outputs * pixels;
      for (int64_t k = 0; k < outputs && s.batch > 1; k++)
        for (int64_t n = 0; n < s.batch; n++)
          copy_rows<T>(dy + (n * s.out_channels + k) * pixels, 0, 1, pixels, together + (k * s.batch + n) * pixels, 0,
                       pixels);
      Product<T> p = {};
      p.m = p.a_term = panels.count;
      p.a = s.batch > 1 ? together : dy;
      p.a_row = 1;
      pack_a_panels<T>(p, 0, panels.parts, 0, outputs, gradients, outputs);
      run_tasks(runtime, parts.parts, [&](int64_t part) {
        if (!task(group, part, static_cast<const T*>(operands[1]), static_cast<const T*>(operands[2]),
                  static_cast<T*>(operands[3])))
          __atomic_store_n(&failed, true, __ATOMIC_RELAXED);
      });
    }
    return failed ? int64_t(kOutOfMemory) : int64_t(kOk);
  }
};

// Many weights, for at most so many pixels of dy; places of an image fit 32 bits.
XCORR_INLINE bool input_grad_columns_fit(const ConvSizes& s, int64_t most_pixels) {
  const int64_t channels = s.in_channels / s.groups, outputs = s.out_channels / s.groups, taps = volume(s.kernel);
  return taps > 1 && taps <= 256 && channels * taps >= 256 && outputs >= 64 && conv_x(s).high > 0 &&
         volume(s.out) > 0 && s.batch * volume(s.out) <= most_pixels && volume(s.in) <= 4 * most_pixels &&
         most_pixels * channels * taps < (int64_t(1) << 30);
}

}  // namespace
}  // namespace xcorr
