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

  // The rest of the plane belongs to the pixels before it: writes what belongs to `count` pixels from `row` on. The
  // pixels' values, which may be read a vector too far, and `rest` between them are given `rest` as a summand.
  void spread(const T* values, Row row, int64_t count, T rest, T* plane) const {
    while (count > 0) {
      const int64_t length = smaller(count, out[2] - row.w), end = row.w + length;
      const int64_t size = (end == out[2] ? in[2] : end * stride[2]) - row.w * stride[2];
      const int64_t depth = row.d + 1 == out[0] ? in[0] - row.d * stride[0] : stride[0];
      const int64_t height = row.h + 1 == out[1] ? in[1] - row.h * stride[1] : stride[1];
      T* const to = plane + place(row);
      for (int64_t i = 0; i < depth; i++)
        for (int64_t j = 0; j < height; j++)
          if (i == 0 && j == 0)
            spread_row(values, length, rest, to, size);
          else
            fill(to + (i * in[1] + j) * in[2], size, rest);
      values += length;
      count -= length;
      next(row);
    }
  }

 private:
  static void fill(T* to, int64_t size, T value) {
    const auto all = set1(value);
    int64_t i = 0;
    for (; i + kLanes <= size; i += kLanes) store(to + i, all);
    if (i < size) store_partial(to + i, all, int(size - i));
  }
  void spread_row(const T* values, int64_t count, T rest, T* to, int64_t size) const {
    if (stride[2] != 2) {
      for (int64_t i = 0; i < size; i++)
        to[i] = i % stride[2] == 0 && i / stride[2] < count ? values[i / stride[2]] + rest : rest;
      return;
    }
    const auto between = set1(rest);
    const int64_t covered = smaller(size, 2 * count);
    for (int64_t i = 0; 2 * i < covered; i += kLanes) {
      const auto v = load(values + i) + between;
      const auto first = in_turns<kLanes>(v, between, false), second = in_turns<kLanes>(v, between, true);
      const int64_t left = covered - 2 * i;
      if (left >= 2 * kLanes) {
        store(to + 2 * i, first);
        store(to + 2 * i + kLanes, second);
      } else if (left > kLanes) {
        store(to + 2 * i, first);
        store_partial(to + 2 * i + kLanes, second, int(left - kLanes));
      } else {
        store_partial(to + 2 * i, first, int(left));
      }
    }
    if (covered < size) fill(to + covered, size - covered, rest);
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

  // A vector behind the last pixel is written too.
  void gather(const T* plane, T* to) const {
    if (stride != 2) {
      for (const Piece* p = piece; p < piece + pieces; p++)
        for (int i = 0; i < p->count; i++) to[p->to + i] = plane[p->from + i * stride];
      return;
    }
    for (const Piece* p = piece; p < piece + pieces; p++) {
      const T* const from = plane + p->from;
      if (p->room == 2 * kLanes)
        store(to + p->to, every_second<kLanes>(load(from), load(from + kLanes), false));
      else if (p->room > kLanes)
        store(to + p->to, every_second<kLanes>(load(from), load_partial(from + kLanes, p->room - kLanes), false));
      else
        store(to + p->to, every_second<kLanes>(load_partial(from, p->room), splat<T>(0), false));
    }
  }
};

}  // namespace
}  // namespace xcorr
