// index_select, index_add, gather, scatter over x [outer, n, inner]. All indices are checked before anything is
// written, and once more where they are used: another thread may change them in the meantime.
#pragma once
#include "parallel.inl"

namespace xcorr {
namespace {

// 1 + the position of the first index outside [0, n), or 0.
XCORR_INLINE int64_t first_bad_index(const int32_t* index, int64_t count, int64_t n) {
  const uint32_t limit = (uint32_t)n;
  for (int64_t first = 0; first < count; first += 1024) {
    const int64_t end = count - first < 1024 ? count : first + 1024;
    uint32_t bad = 0;
    for (int64_t i = first; i < end; i++) bad |= (uint32_t)index[i] >= limit;
    if (!bad) continue;
    for (int64_t i = first; i < end; i++)
      if ((uint32_t)index[i] >= limit) return i + 1;
  }
  return 0;
}

// The index at `place`, read once; 0 if it is no longer in [0, n), as it was when it was checked.
XCORR_INLINE int64_t index_at(const int32_t* place, int64_t n) {
  const int32_t index = __atomic_load_n(place, __ATOMIC_RELAXED);
  return (uint32_t)index < (uint32_t)n ? index : 0;
}

template <class T>
XCORR_INLINE T plus(T a, T b) {
  if constexpr (__is_same(T, int32_t)) return (T)((uint32_t)a + (uint32_t)b);
  return a + b;
}

template <class T>
int64_t index_select(const IndexSizes& s, const Runtime& runtime, void* const* operands) {
  const T* const x = static_cast<const T*>(operands[0]);
  const int32_t* const index = static_cast<const int32_t*>(operands[1]);
  T* const y = static_cast<T*>(operands[2]);
  if (const int64_t bad = first_bad_index(index, s.m, s.n)) return bad;
  run_ranges(runtime, s.outer * s.m, s.inner, 1, [&](int64_t first, int64_t end) {
    for (int64_t row = first; row < end; row++) {
      const T* const from = x + (row / s.m * s.n + index_at(index + row % s.m, s.n)) * s.inner;
      T* const to = y + row * s.inner;
      if (s.inner == 1)
        *to = *from;
      else
        __builtin_memcpy(to, from, s.inner * (int64_t)sizeof(T));
    }
  });
  return kOk;
}

// Tasks own columns of the result, so that every element's terms are added in the order of m by one thread.
template <class Body>
XCORR_INLINE void run_columns(const Runtime& runtime, const IndexSizes& s, const Body& body) {
  constexpr int64_t width = 64;
  const int64_t strips = (s.inner + width - 1) / width;
  run_ranges(runtime, s.outer * strips, s.m * (s.inner < width ? s.inner : width), 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; task++) {
      const int64_t first = task % strips * width, left = s.inner - first;
      body(task / strips, first, left < width ? left : width);
    }
  });
}

template <class T>
int64_t index_add(const IndexSizes& s, const Runtime& runtime, void* const* operands) {
  const T* const x = static_cast<const T*>(operands[0]);
  const int32_t* const index = static_cast<const int32_t*>(operands[1]);
  T* const y = static_cast<T*>(operands[2]);
  if (const int64_t bad = first_bad_index(index, s.m, s.n)) return bad;
  run_columns(runtime, s, [&](int64_t outer, int64_t first, int64_t columns) {
    for (int64_t i = 0; i < s.m; i++) {
      const T* const from = x + (outer * s.m + i) * s.inner + first;
      T* const to = y + (outer * s.n + index_at(index + i, s.n)) * s.inner + first;
      for (int64_t j = 0; j < columns; j++) to[j] = plus(to[j], from[j]);
    }
  });
  return kOk;
}

template <class T>
int64_t gather(const IndexSizes& s, const Runtime& runtime, void* const* operands) {
  const T* const x = static_cast<const T*>(operands[0]);
  const int32_t* const index = static_cast<const int32_t*>(operands[1]);
  T* const y = static_cast<T*>(operands[2]);
  if (const int64_t bad = first_bad_index(index, s.outer * s.m * s.inner, s.n)) return bad;
  run_ranges(runtime, s.outer * s.m, s.inner, 1, [&](int64_t first, int64_t end) {
    for (int64_t row = first; row < end; row++) {
      const T* const from = x + row / s.m * s.n * s.inner;
      for (int64_t j = 0; j < s.inner; j++)
        y[row * s.inner + j] = from[index_at(index + row * s.inner + j, s.n) * s.inner + j];
    }
  });
  return kOk;
}

// assign: where several meet, the last in the order of m stays.
template <class T>
int64_t scatter(const IndexSizes& s, const Runtime& runtime, void* const* operands) {
  const T* const x = static_cast<const T*>(operands[0]);
  const int32_t* const index = static_cast<const int32_t*>(operands[1]);
  T* const y = static_cast<T*>(operands[2]);
  if (const int64_t bad = first_bad_index(index, s.outer * s.m * s.inner, s.n)) return bad;
  const bool adds = s.op == scatter::add;
  run_columns(runtime, s, [&](int64_t outer, int64_t first, int64_t columns) {
    for (int64_t i = 0; i < s.m; i++) {
      const int64_t row = (outer * s.m + i) * s.inner + first;
      for (int64_t j = 0; j < columns; j++) {
        T* const to = y + (outer * s.n + index_at(index + row + j, s.n)) * s.inner + first + j;
        *to = adds ? plus(*to, x[row + j]) : x[row + j];
      }
    }
  });
  return kOk;
}

}  // namespace
}  // namespace xcorr
