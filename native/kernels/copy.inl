// fill, copy: any strides, any two types. Rows by memcpy or conversion, transposes in square blocks.
#pragma once
#include "strided.inl"

namespace xcorr {
namespace {

// To bool: x != 0. From floating to integer: truncated, saturated, NaN gives 0. Between integers: wraps (C).
template <class Y, class X>
XCORR_INLINE Y convert(X x) {
  if constexpr (__is_same(Y, X)) {
    return x;
  } else if constexpr (__is_same(Y, bool)) {
    return x != X(0);
  } else if constexpr ((__is_same(X, float) || __is_same(X, double)) &&
                       (__is_same(Y, int32_t) || __is_same(Y, uint8_t))) {
    constexpr double low = __is_same(Y, int32_t) ? -2147483648.0 : 0.0,
                     high = __is_same(Y, int32_t) ? 2147483647.0 : 255.0;
    const double v = (double)x;
    if (!(v > low)) return v != v ? Y(0) : Y(low);
    return v >= high ? Y(high) : Y(v);
  } else {
    return (Y)x;
  }
}

template <class T>
int64_t fill(const FillSizes& s, const Runtime& runtime, void* const* operands) {
  T* const y = static_cast<T*>(operands[0]);
  const T value = convert<T>(s.value);
  run_ranges(runtime, s.count, 1, 64, [=](int64_t first, int64_t end) {
    for (int64_t i = first; i < end; i++) y[i] = value;
  });
  return kOk;
}

template <class Y, class X>
XCORR_INLINE void copy_row(const X* x, int64_t x_stride, Y* y, int64_t y_stride, int64_t count) {
  if (x_stride == 1 && y_stride == 1) {
    if constexpr (__is_same(X, Y)) {
      __builtin_memcpy(y, x, count * (int64_t)sizeof(Y));
    } else {
      for (int64_t i = 0; i < count; i++) y[i] = convert<Y>(x[i]);
    }
  } else if (x_stride == 0 && y_stride == 1) {
    const Y value = convert<Y>(*x);
    for (int64_t i = 0; i < count; i++) y[i] = value;
  } else {
    for (int64_t i = 0; i < count; i++) y[i * y_stride] = convert<Y>(x[i * x_stride]);
  }
}

// y[c] = x[c * x_stride] in a block: x runs along rows, y along columns.
template <class Y, class X>
XCORR_INLINE void transpose_block(const X* x, int64_t x_stride, Y* y, int64_t y_stride, int64_t rows, int64_t columns) {
  constexpr int64_t side = 16;
  if (rows == side && columns == side) {
    Y block[side][side];  // x's rows are read along memory, y's are written along memory
    for (int64_t c = 0; c < side; c++)
      for (int64_t r = 0; r < side; r++) block[r][c] = convert<Y>(x[c * x_stride + r]);
    for (int64_t r = 0; r < side; r++) __builtin_memcpy(y + r * y_stride, block[r], sizeof(block[r]));
    return;
  }
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < columns; c++) y[r * y_stride + c] = convert<Y>(x[c * x_stride + r]);
}

template <class Y, class X>
void copy_from(const CopySizes& s, const Runtime& runtime, const X* x, Y* y) {
  // The order of dimensions is free: the longest strides of y first.
  Walk<2> w;
  w.rank = s.rank;
  int64_t order[kRank];
  for (int64_t d = 0; d < s.rank; d++) {
    const auto size = [&](int64_t i) { return s.y_stride[i] < 0 ? -s.y_stride[i] : s.y_stride[i]; };
    int64_t at = d;
    for (; at > 0 && size(order[at - 1]) < size(d); at--) order[at] = order[at - 1];
    order[at] = d;
  }
  for (int64_t d = 0; d < s.rank; d++) {
    w.shape[d] = s.shape[order[d]];
    w.stride[0][d] = s.x_stride[order[d]];
    w.stride[1][d] = s.y_stride[order[d]];
  }
  w = merge_dimensions(w);
  const int64_t last = w.rank - 1, columns = w.shape[last];
  int64_t along = -1;  // a dimension that x runs along while y runs along the last
  if (w.stride[1][last] == 1 && w.stride[0][last] != 1 && w.stride[0][last] != 0)
    for (int64_t d = 0; d < last; d++)
      if (w.stride[0][d] == 1 && w.shape[d] >= 4) along = d;
  if (along < 0 || columns < 4) {
    const int64_t x_stride = w.stride[0][last], y_stride = w.stride[1][last];
    walk_rows(runtime, w, [=](const int64_t* offset, int64_t count) {
      copy_row(x + offset[0], x_stride, y + offset[1], y_stride, count);
    });
    return;
  }
  const int64_t rows = w.shape[along], x_stride = w.stride[0][last], y_stride = w.stride[1][along];
  Walk<2> outer = w;
  outer.shape[along] = 1;
  const int64_t planes = elements(last, outer.shape), strips = (rows + 15) / 16;
  run_ranges(runtime, planes * strips, 16 * columns, 1, [&](int64_t first, int64_t end) {
    for (int64_t i = first; i < end; i++) {
      const auto p = Position<2>::at_row(outer, i / strips);
      const int64_t row = i % strips * 16, height = rows - row < 16 ? rows - row : 16;
      const X* from = x + p.offset[0] + row;
      Y* to = y + p.offset[1] + row * y_stride;
      for (int64_t c = 0; c < columns; c += 16)
        transpose_block(from + c * x_stride, x_stride, to + c, y_stride, height, columns - c < 16 ? columns - c : 16);
    }
  });
}

template <class T>
int64_t copy(const CopySizes& s, const Runtime& runtime, void* const* operands) {
  T* const y = static_cast<T*>(operands[1]);
  if (elements(s.rank, s.shape) == 0) return kOk;
  switch (s.x_type) {
    case kFloat32:
      copy_from(s, runtime, static_cast<const float*>(operands[0]), y);
      break;
    case kFloat64:
      copy_from(s, runtime, static_cast<const double*>(operands[0]), y);
      break;
    case kInt32:
      copy_from(s, runtime, static_cast<const int32_t*>(operands[0]), y);
      break;
    case kUint8:
      copy_from(s, runtime, static_cast<const uint8_t*>(operands[0]), y);
      break;
    case kBool:
      copy_from(s, runtime, static_cast<const bool*>(operands[0]), y);
      break;
  }
  return kOk;
}

}  // namespace
}  // namespace xcorr
