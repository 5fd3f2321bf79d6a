// The one-dimensional transforms of Winograd's F(4x4, 3x3) and F(2x2, 3x3) (winograd.inl).
#pragma once
#include "conv_plan.inl"

namespace xcorr {
namespace {

// Six places that lie evenly apart, from two registers more than their distance: the compiler would make an address of
// each of the 36 points ahead of every loop.
class SixPlaces {
 public:
  XCORR_MEMBER explicit SixPlaces(int64_t floats) : step_(floats * int64_t(sizeof(float))) {
    step3_ = 3 * step_;
    step5_ = 5 * step_;
    __asm__("" : "+r"(step_), "+r"(step3_), "+r"(step5_));
  }
  // Place n from p on; n is known to the compiler.
  template <class P>
  XCORR_MEMBER P* at(P* p, int n) const {
    return reinterpret_cast<P*>(uintptr_t(p) + uintptr_t(n == 3 ? step3_ : n == 5 ? step5_ : n * step_));
  }

 private:
  int64_t step_, step3_, step5_;
};

// One-dimensional transforms; each is applied to the columns, then to the rows.
template <int kTile>
struct Transform;

template <>
struct Transform<4> {
  static constexpr float a = 0.75f, b = 1.5f, a2 = a * a, b2 = b * b, a3 = a2 * a, b3 = b2 * b;
  static constexpr float scale0 = 1 / (a2 * b2), scale_a = 1 / (2 * a2 * (a2 - b2)), scale_b = 1 / (2 * b2 * (b2 - a2));
  // B^T d
  template <class V>
  [[gnu::always_inline]] static inline void input(V (&d)[6]) {
    const V even_a = fma(set1(-b2), d[2], d[4]), odd_a = fma(set1(-b2), d[1], d[3]);
    const V even_b = fma(set1(-a2), d[2], d[4]), odd_b = fma(set1(-a2), d[1], d[3]);
    d[0] = fma(set1(a2 * b2), d[0], fma(set1(-(a2 + b2)), d[2], d[4]));
    d[5] = fma(set1(a2 * b2), d[1], fma(set1(-(a2 + b2)), d[3], d[5]));
    d[1] = fma(set1(a), odd_a, even_a);
    d[2] = fma(set1(-a), odd_a, even_a);
    d[3] = fma(set1(b), odd_b, even_b);
    d[4] = fma(set1(-b), odd_b, even_b);
  }
  // A^T m
  template <class V>
  [[gnu::always_inline]] static inline void output(const V (&m)[6], V (&y)[4]) {
    const V sum_a = m[1] + m[2], difference_a = m[1] - m[2], sum_b = m[3] + m[4], difference_b = m[3] - m[4];
    y[0] = m[0] + sum_a + sum_b;
    y[1] = fma(set1(b), difference_b, set1(a) * difference_a);
    y[2] = fma(set1(b2), sum_b, set1(a2) * sum_a);
    y[3] = fma(set1(b3), difference_b, fma(set1(a3), difference_a, m[5]));
  }
  // G g
  template <class V>
  [[gnu::always_inline]] static inline void filter(const V (&g)[3], V (&u)[6]) {
    const V even_a = fma(set1(a2), g[2], g[0]), odd_a = set1(a) * g[1];
    const V even_b = fma(set1(b2), g[2], g[0]), odd_b = set1(b) * g[1];
    u[0] = set1(scale0) * g[0];
    u[1] = set1(scale_a) * (even_a + odd_a);
    u[2] = set1(scale_a) * (even_a - odd_a);
    u[3] = set1(scale_b) * (even_b + odd_b);
    u[4] = set1(scale_b) * (even_b - odd_b);
    u[5] = g[2];
  }
  // A y
  template <class V>
  [[gnu::always_inline]] static inline void output_adjoint(const V (&y)[4], V (&m)[6]) {
    const V even_a = fma(set1(a2), y[2], y[0]), odd_a = fma(set1(a3), y[3], set1(a) * y[1]);
    const V even_b = fma(set1(b2), y[2], y[0]), odd_b = fma(set1(b3), y[3], set1(b) * y[1]);
    m[0] = y[0];
    m[1] = even_a + odd_a;
    m[2] = even_a - odd_a;
    m[3] = even_b + odd_b;
    m[4] = even_b - odd_b;
    m[5] = y[3];
  }
  // G^T u
  template <class V>
  [[gnu::always_inline]] static inline void filter_adjoint(const V (&u)[6], V (&g)[3]) {
    const V sum_a = set1(scale_a) * (u[1] + u[2]), difference_a = set1(scale_a) * (u[1] - u[2]);
    const V sum_b = set1(scale_b) * (u[3] + u[4]), difference_b = set1(scale_b) * (u[3] - u[4]);
    g[0] = fma(set1(scale0), u[0], sum_a + sum_b);
    g[1] = fma(set1(b), difference_b, set1(a) * difference_a);
    g[2] = fma(set1(b2), sum_b, fma(set1(a2), sum_a, u[5]));
  }
};

// Points 0, +-1, infinity.
template <>
struct Transform<2> {
  template <class V>
  [[gnu::always_inline]] static inline void input(V (&d)[4]) {
    const V d1 = d[1];
    d[0] = d[0] - d[2];
    d[3] = d[3] - d1;
    d[1] = d1 + d[2];
    d[2] = d[2] - d1;
  }
  template <class V>
  [[gnu::always_inline]] static inline void output(const V (&m)[4], V (&y)[2]) {
    y[0] = m[0] + (m[1] + m[2]);
    y[1] = (m[1] - m[2]) + m[3];
  }
  template <class V>
  [[gnu::always_inline]] static inline void filter(const V (&g)[3], V (&u)[4]) {
    const V even = g[0] + g[2];
    u[0] = g[0];
    u[1] = set1(0.5f) * (even + g[1]);
    u[2] = set1(0.5f) * (even - g[1]);
    u[3] = g[2];
  }
  template <class V>
  [[gnu::always_inline]] static inline void output_adjoint(const V (&y)[2], V (&m)[4]) {
    m[0] = y[0];
    m[1] = y[0] + y[1];
    m[2] = y[0] - y[1];
    m[3] = y[1];
  }
  template <class V>
  [[gnu::always_inline]] static inline void filter_adjoint(const V (&u)[4], V (&g)[3]) {
    const V sum = set1(0.5f) * (u[1] + u[2]);
    g[0] = u[0] + sum;
    g[1] = set1(0.5f) * (u[1] - u[2]);
    g[2] = sum + u[3];
  }
};

// The second step of the transform of a vector of tiles, whose rows are done. Points lie `stride` apart.
template <int kTile>
XCORR_INLINE void transform_columns(const VectorF32 (&rows)[kTile + 2][kTile + 2], float* to, int64_t stride) {
  const SixPlaces down((kTile + 2) * stride);
#pragma GCC unroll 6
  for (int j = 0; j < kTile + 2; j++, to += stride) {
    __asm__("" : "+r"(to));
    VectorF32 column[kTile + 2];
#pragma GCC unroll 6
    for (int i = 0; i < kTile + 2; i++) column[i] = rows[i][j];
    Transform<kTile>::input(column);
#pragma GCC unroll 6
    for (int i = 0; i < kTile + 2; i++) store(down.at(to, i), column[i]);
  }
}

}  // namespace
}  // namespace xcorr
