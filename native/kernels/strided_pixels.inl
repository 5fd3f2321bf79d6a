// The pixels that a convolution with one tap and a stride reads, and its input gradient writes: one of so many columns
// and rows of a plane, seen as a dense plane of their own. They are gathered, or spread with what lies between them, in
// ranges that stay in the cache, by the kernel that multiplies them.
#pragma once
#include "transpose.inl"

namespace xcorr {
namespace {

template <class T>
struct StridedPixels {
  static constexpr int kLanes = Simd<T>::lanes;

  int64_t in[kSpatial], out[kSpatial], stride[kSpatial];  // of the plane, of its dense pixels

  explicit StridedPixels(const ConvSizes& s) {
    for (int d = 0; d < kSpatial; d++) {
      in[d] = s.in[d];
      out[d] = s.out[d];
      stride[d] = s.stride[d];
    }
  }
  int64_t plane() const { return volume(in); }
  int64_t pixels() const { return volume(out); }

  // Rows of pixels in order, from one of their columns on.
  struct Row {
    int64_t d, h, w;
  };
  Row row_of(int64_t pixel) const { return {pixel / out[2] / out[1], pixel / out[2] % out[1], pixel % out[2]}; }
  XCORR_MEMBER void next(Row& row) const {
    row.w = 0;
    if (++row.h < out[1]) return;
    row.h = 0;
    row.d++;
  }

  XCORR_MEMBER int64_t place(const Row& row) const {
    return ((row.d * stride[0] * in[1]) + row.h * stride[1]) * in[2] + row.w * stride[2];
  }
  // Where what the pixel after `count` from `first` on owns begins, or the plane ends.
  int64_t end_of(int64_t first, int64_t count) const {
    const Row row = row_of(first + count);
    return row.d == out[0] ? plane() : place(row);
  }
  // A pixel owns what lies between it and the next one. Writes what `count` pixels from `row` on own: their values,
  // which are followed by `rest`, and `rest` is added to all.
  void spread(const T* values, Row row, int64_t count, T rest, T* plane) const {
    const auto between = set1(rest);
    T* const stop = plane + end_of((row.d * out[1] + row.h) * out[2] + row.w, count);
    const auto write = [stop](T * to, auto vector) __attribute__((always_inline)) {
      if (stop - to >= kLanes)  // what is too much, a later vector overwrites
        store(to, vector);
      else if (stop > to)
        store_partial(to, vector, int(stop - to));
    };
    for (int64_t length; count > 0; count -= length, values += length) {
      length = smaller(count, out[2] - row.w);
      T* to = plane + place(row);
      next(row);
      T* const end = length == count ? stop : plane + place(row);
      if (stride[2] == 2) {
        for (int64_t i = 0; i < length; i += kLanes, to += 2 * kLanes) {
          const auto v =
              (length - i >= kLanes ? load(values + i) : load_partial(values + i, int(length - i))) + between;
          write(to, in_turns<kLanes>(v, between, false));
          write(to + kLanes, in_turns<kLanes>(v, between, true));
        }
      } else {
        for (int64_t i = 0; i < length; i++)
          for (int64_t j = 0; j < stride[2] && to < end; j++) *to++ = j == 0 ? values[i] + rest : rest;
      }
      for (; to < end; to += kLanes) write(to, between);
    }
  }
};

// How up to kMost adjacent pixels are gathered, the same for all channels: vector by vector, each of which may write
// over what a later one fills.
template <class T>
struct PixelGather {
  static constexpr int kLanes = Simd<T>::lanes;
  static constexpr int64_t kMost = 512;

  struct Piece {
    int64_t from;
    int to, count, room;  // room: of the plane from there on, at most two vectors
  };
  int64_t stride, count = 0, pieces = 0;
  Piece piece[kMost];

  explicit PixelGather(const StridedPixels<T>& pixels) : stride(pixels.stride[2]) {}

  // More pixels, of a plane that lies `offset` behind the one that gather() is given.
  void add(const StridedPixels<T>& pixels, int64_t first, int64_t more, int64_t offset) {
    auto row = pixels.row_of(first);
    for (const int64_t end = count + more; count < end; pixels.next(row)) {
      const int64_t length = smaller(end - count, pixels.out[2] - row.w), place = pixels.place(row);
      for (int64_t i = 0; i < length; i += kLanes) {
        const int64_t from = place + i * stride;
        piece[pieces++] = {offset + from, int(count + i), int(smaller(kLanes, length - i)),
                           int(smaller(2 * kLanes, pixels.plane() - from))};
      }
      count += length;
    }
  }

  // A vector behind the last pixel is written too. `ahead`: the distance to what will be wanted soon.
  void gather(const T* plane, T* to, int64_t ahead) const {
    if (stride != 2) {
      for (const Piece* p = piece; p < piece + pieces; p++)
        for (int i = 0; i < p->count; i++) to[p->to + i] = plane[p->from + i * stride];
      return;
    }
    for (const Piece* p = piece; p < piece + pieces; p++) {
      const T* const from = plane + p->from;
      __builtin_prefetch(from + ahead);
      if (2 * p->count <= kLanes && p->room >= kLanes) {  // what lies behind may be a row that nobody wants
        store(to + p->to, every_second<kLanes>(load(from), splat<T>(0), false));
        continue;
      }
      __builtin_prefetch(from + ahead + kLanes);
      if (p->room == 2 * kLanes)
        store(to + p->to, every_second<kLanes>(load(from), load(from + kLanes), false));
      else if (p->room > kLanes)
        store(to + p->to, every_second<kLanes>(load(from), load_partial(from + kLanes, p->room - kLanes), false));
      else
        store(to + p->to, every_second<kLanes>(load_partial(from, p->room), splat<T>(0), false));
    }
  }
};

// Pixels [first, first + count) of adjacent planes as dense rows in the thread's scratch memory; null if there is none.
XCORR_INLINE int64_t gathered_stride(int64_t count) { return ((ceil_div(count, 16) + 1) | 1) * 16; }
template <class T>
T* gather_rows(const StridedPixels<T>& pixels, const Runtime& runtime, const T* from, int64_t planes, int64_t first,
               int64_t count) {
  const int64_t stride = gathered_stride(count);
  T* const rows = static_cast<T*>(runtime.scratch(5, planes * stride * int64_t(sizeof(T))));
  if (!rows) return nullptr;
  PixelGather<T> gather(pixels);
  gather.add(pixels, first, count, 0);
  for (int64_t i = 0; i < planes; i++)
    gather.gather(from + i * pixels.plane(), rows + i * stride, i + 1 < planes ? pixels.plane() : 0);
  return rows;
}

}  // namespace
}  // namespace xcorr
