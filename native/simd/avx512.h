// AVX-512 F, BW, DQ, VL: 64-byte vectors, masked tails.
#pragma once
#include <immintrin.h>

namespace xcorr {
namespace {
constexpr const char* kTargetName = "avx512";
constexpr int kVectorBytes = 64;
constexpr int kGemmRows = 14, kGemmVectors = 2;  // 28 of 32 registers hold sums, 2 hold b, 1 the broadcast a
constexpr int kStencilRows = 7;                  // rows of a depthwise stencil at a time: 7 sums, 9 weights, 3 taps
constexpr int kStencilPairs = 2;                 // pairs of rows of its input gradient with stride 2: 4 sums each
}  // namespace
}  // namespace xcorr

#include "common.h"

namespace xcorr {
namespace {

XCORR_INLINE __mmask16 first_lanes16(int n) { return (__mmask16)((1u << n) - 1); }
XCORR_INLINE __mmask8 first_lanes8(int n) { return (__mmask8)((1u << n) - 1); }

XCORR_INLINE VectorF32 set1(float x) { return _mm512_set1_ps(x); }
XCORR_INLINE VectorF64 set1(double x) { return _mm512_set1_pd(x); }
XCORR_INLINE VectorF32 load_partial(const float* p, int n) { return _mm512_maskz_loadu_ps(first_lanes16(n), p); }
XCORR_INLINE VectorF64 load_partial(const double* p, int n) { return _mm512_maskz_loadu_pd(first_lanes8(n), p); }
XCORR_INLINE void store_partial(float* p, VectorF32 v, int n) { _mm512_mask_storeu_ps(p, first_lanes16(n), v); }
XCORR_INLINE void store_partial(double* p, VectorF64 v, int n) { _mm512_mask_storeu_pd(p, first_lanes8(n), v); }

// 16 bytes from each place.
XCORR_INLINE VectorF32 load_pieces(const float* a, const float* b, const float* c, const float* d) {
  VectorF32 v = _mm512_castps128_ps512(_mm_loadu_ps(a));
  v = _mm512_mask_broadcast_f32x4(v, 0x00f0, _mm_loadu_ps(b));
  v = _mm512_mask_broadcast_f32x4(v, 0x0f00, _mm_loadu_ps(c));
  return _mm512_mask_broadcast_f32x4(v, 0xf000, _mm_loadu_ps(d));
}
XCORR_INLINE VectorF64 load_pieces(const double* a, const double* b, const double* c, const double* d) {
  VectorF64 v = _mm512_castpd128_pd512(_mm_loadu_pd(a));
  v = _mm512_mask_broadcast_f64x2(v, 0x0c, _mm_loadu_pd(b));
  v = _mm512_mask_broadcast_f64x2(v, 0x30, _mm_loadu_pd(c));
  return _mm512_mask_broadcast_f64x2(v, 0xc0, _mm_loadu_pd(d));
}

// Some lanes, and what memory has for them, 0 in the others, where nothing is read.
typedef __mmask16 LanesF32;
typedef __mmask8 LanesF64;
XCORR_INLINE LanesF32 lanes_between(VectorF32, int first, int end) { return (__mmask16)((1u << end) - (1u << first)); }
XCORR_INLINE LanesF64 lanes_between(VectorF64, int first, int end) { return (__mmask8)((1u << end) - (1u << first)); }
XCORR_INLINE VectorF32 load_lanes(const float* p, LanesF32 lanes) { return _mm512_maskz_loadu_ps(lanes, p); }
XCORR_INLINE VectorF64 load_lanes(const double* p, LanesF64 lanes) { return _mm512_maskz_loadu_pd(lanes, p); }

// v is loaded once and stays in a register, instead of being an operand in memory of everything that uses it.
XCORR_INLINE void keep_in_register(VectorF32& v) { __asm__("" : "+v"(v)); }

XCORR_INLINE float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
XCORR_INLINE double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
XCORR_INLINE VectorF32 fma(VectorF32 a, VectorF32 b, VectorF32 c) { return _mm512_fmadd_ps(a, b, c); }
XCORR_INLINE VectorF64 fma(VectorF64 a, VectorF64 b, VectorF64 c) { return _mm512_fmadd_pd(a, b, c); }
XCORR_INLINE VectorF32 sqrt(VectorF32 v) { return _mm512_sqrt_ps(v); }
XCORR_INLINE VectorF64 sqrt(VectorF64 v) { return _mm512_sqrt_pd(v); }
XCORR_INLINE VectorF32 min(VectorF32 a, VectorF32 b) { return _mm512_min_ps(a, b); }
XCORR_INLINE VectorF64 min(VectorF64 a, VectorF64 b) { return _mm512_min_pd(a, b); }
XCORR_INLINE VectorF32 max(VectorF32 a, VectorF32 b) { return _mm512_max_ps(a, b); }
XCORR_INLINE VectorF64 max(VectorF64 a, VectorF64 b) { return _mm512_max_pd(a, b); }

#define XCORR_ROUND(name, mode)                                                                          \
  XCORR_INLINE VectorF32 name(VectorF32 v) { return _mm512_roundscale_ps(v, mode | _MM_FROUND_NO_EXC); } \
  XCORR_INLINE VectorF64 name(VectorF64 v) { return _mm512_roundscale_pd(v, mode | _MM_FROUND_NO_EXC); }
XCORR_ROUND(floor, _MM_FROUND_TO_NEG_INF)
XCORR_ROUND(ceil, _MM_FROUND_TO_POS_INF)
XCORR_ROUND(trunc, _MM_FROUND_TO_ZERO)
XCORR_ROUND(round_even, _MM_FROUND_TO_NEAREST_INT)
#undef XCORR_ROUND

// v holds integers with |v| < 2^31 (float) or 2^51 (double): round first.
XCORR_INLINE VectorI32 to_int(VectorF32 v) { return (VectorI32)_mm512_cvttps_epi32(v); }
XCORR_INLINE VectorI64 to_int(VectorF64 v) { return (VectorI64)_mm512_cvttpd_epi64(v); }
XCORR_INLINE VectorF32 to_float(VectorI32 v) { return _mm512_cvtepi32_ps((__m512i)v); }
XCORR_INLINE VectorF64 to_float(VectorI64 v) { return _mm512_cvtepi64_pd((__m512i)v); }  // |v| < 2^51

// Floats as doubles, and the 64-bit products of the lanes' low 32 bits, unsigned.
XCORR_INLINE VectorF64 load_float64(const float* p) { return _mm512_cvtps_pd(_mm256_loadu_ps(p)); }
XCORR_INLINE VectorI64 multiply_low(VectorI64 a, VectorI64 b) {
  return (VectorI64)_mm512_mul_epu32((__m512i)a, (__m512i)b);
}

XCORR_INLINE VectorF32 gather(const float* base, VectorI32 i) { return _mm512_i32gather_ps((__m512i)i, base, 4); }
XCORR_INLINE VectorF64 gather(const double* base, VectorI64 i) { return _mm512_i64gather_pd((__m512i)i, base, 8); }

// 0 where the mask is 0: nothing is read there.
XCORR_INLINE VectorF32 gather_masked(const float* base, VectorI32 i, VectorI32 mask) {
  return _mm512_mask_i32gather_ps(_mm512_setzero_ps(), _mm512_movepi32_mask((__m512i)mask), (__m512i)i, base, 4);
}
XCORR_INLINE VectorF64 gather_masked(const double* base, VectorI64 i, VectorI64 mask) {
  return _mm512_mask_i64gather_pd(_mm512_setzero_pd(), _mm512_movepi64_mask((__m512i)mask), (__m512i)i, base, 8);
}

XCORR_INLINE bool any(VectorI32 mask) { return _mm512_movepi32_mask((__m512i)mask) != 0; }
XCORR_INLINE bool any(VectorI64 mask) { return _mm512_movepi64_mask((__m512i)mask) != 0; }

}  // namespace
}  // namespace xcorr

#include "wide.h"
