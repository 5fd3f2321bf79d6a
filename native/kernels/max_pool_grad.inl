// max_pool_grad: planes of zeros with every window's gradient added where its maximum was, each plane in one pass.
//
// Where windows of 2x2 do not overlap nothing is added: a row of the result is the incoming gradients where their
// index names that very place and 0 elsewhere, even and odd columns interleaved in registers.
#pragma once
#include "index.inl"
#include "max_pool_2x2.inl"

namespace xcorr {
namespace {

// The gradients of up to a vector of neighbouring windows with their indices; -1, a place of nothing, beyond `count`.
template <class T>
struct WindowGradients {
  typename Simd<T>::V dy;
  typename Simd<T>::I index;

  // `whole`: the memory behind reaches for a vector.
  XCORR_MEMBER static WindowGradients of(const T* dy, const int32_t* index, int64_t count, bool whole) {
    constexpr int N = Simd<T>::lanes;
    typedef typename Simd<T>::I I;
    typedef __typeof__(I{}[0]) Integer;
    const int n = int(smaller(N, count));
    const auto v = whole ? load(dy) : load_partial(dy, n);
    if constexpr (sizeof(Integer) == 4) {
      if (whole) {
        const I places = load(index);
        return {v, n == N ? places : select(lane_numbers<T>() < I{} + Integer(n), places, I{} - Integer(1))};
      }
    }
    alignas(64) Integer places[N];
    for (int i = 0; i < N; i++) places[i] = i < n ? index[i] : -1;
    return {v, load(places)};
  }
};

template <class T>
void max_pool_2x2_grad(const PoolSizes& s, const Runtime& runtime, const T* dy, const int32_t* index, T* dx) {
  constexpr int N = Simd<T>::lanes;
  typedef typename Simd<T>::I I;
  typedef __typeof__(I{}[0]) Integer;
  const int64_t width = s.in[2], columns = s.out[2], in = volume(s.in), out = volume(s.out);
  const T* const dy_end = dy + s.planes * out;
  const I lane_columns = lane_numbers<T>() * Integer(2);
  const auto zero = splat<T>(0);
  run_ranges(runtime, s.planes, in, 1, [&](int64_t begin, int64_t end) {
    // Vectors may reach into rows that are written later, not into another task's planes.
    T* const dx_end = dx + end * in;
    const auto write = [&](T * to, typename Simd<T>::V v, int64_t count) __attribute__((always_inline)) {
      if (dx_end - to >= N)
        store(to, v);
      else if (count > 0)
        store_partial(to, v, int(smaller(N, count)));
    };
    for (int64_t plane = begin; plane < end; plane++) {
      const T* from = dy + plane * out;
      const int32_t* at = index + plane * out;
      T* to = dx + plane * in;
      int64_t place = 0;  // in the plane, of the row that is written
      const auto gradients = [&](int64_t j) __attribute__((always_inline)) {
        return WindowGradients<T>::of(from + j, at + j, columns - j, dy_end - (from + j) >= N);
      };
      const auto row = [&](const WindowGradients<T>& g, int64_t j, T* line, int64_t start)
          __attribute__((always_inline)) {
        const I own = lane_columns + Integer(start + 2 * j);
        const auto even = select(g.index == own, g.dy, zero);
        const auto odd = select(g.index == own + Integer(1), g.dy, zero);
        const int64_t count = 2 * (columns - j);
        write(line + 2 * j, in_turns<N>(even, odd, false), count);
        if (count > N) write(line + 2 * j + N, in_turns<N>(even, odd, true), count - N);
      };
      for (int64_t depth = 0; depth < s.in[0]; depth++) {
        for (int64_t h = 0; h < s.out[1]; h++, from += columns, at += columns, to += 2 * width, place += 2 * width) {
          if (columns <= N) {
            const auto g = gradients(0);
            row(g, 0, to, place);
            if (width > 2 * columns) to[width - 1] = 0;
            row(g, 0, to + width, place + width);
          } else {
            for (int64_t j = 0; j < columns; j += N) row(gradients(j), j, to, place);
            if (width > 2 * columns) to[width - 1] = 0;
            for (int64_t j = 0; j < columns; j += N) row(gradients(j), j, to + width, place + width);
          }
          if (width > 2 * columns) to[2 * width - 1] = 0;
        }
        if (s.in[1] == 2 * s.out[1]) continue;
        for (int64_t j = 0; j < width; j += N) write(to + j, zero, width - j);
        to += width, place += width;
      }
    }
  });
}

template <class T>
int64_t max_pool_grad(const PoolSizes& s, const Runtime& runtime, void* const* operands) {
  const T* const dy = static_cast<const T*>(operands[0]);
  const int32_t* const index = static_cast<const int32_t*>(operands[1]);
  T* const dx = static_cast<T*>(operands[2]);
  const int64_t in = volume(s.in), out = volume(s.out);
  if (max_pool_2x2_fits(s) && s.in[2] - 2 * s.out[2] <= 1 && s.in[1] - 2 * s.out[1] <= 1) {
    max_pool_2x2_grad(s, runtime, dy, index, dx);  // an index decides where something is written only by comparison
    return kOk;
  }
  if (const int64_t bad = first_bad_index(index, s.planes * out, in)) return bad;
  run_ranges(runtime, s.planes, in + 2 * out, 1, [&](int64_t begin, int64_t end) {
    for (int64_t plane = begin; plane < end; plane++) {
      T* const to = dx + plane * in;
      __builtin_memset(to, 0, in * int64_t(sizeof(T)));
      for (int64_t i = plane * out; i < (plane + 1) * out; i++) to[index_at(index + i, in)] += dy[i];
    }
  });
  return kOk;
}

}  // namespace
}  // namespace xcorr
