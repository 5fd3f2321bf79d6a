// AVX2 with FMA and F16C: 32-byte vectors.
#pragma once
#include <immintrin.h>

namespace xcorr {
namespace {
constexpr const char* kTargetName = "avx2";
constexpr int kVectorBytes = 32;
constexpr int kGemmRows = 6, kGemmVectors = 2;  // 12 of 16 registers hold sums, 2 hold b, 1 the broadcast a
constexpr int kStencilRows = 4;                 // rows of a depthwise stencil at a time: 4 sums, 9 weights, 3 taps
constexpr int kStencilPairs = 1;                // pairs of rows of its input gradient with stride 2: 4 sums each
}  // namespace
}  // namespace xcorr

#include "common.h"

namespace xcorr {
namespace {

XCORR_INLINE __m256i first_lanes8(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
XCORR_INLINE __m256i first_lanes4(int n) {
  return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
}

XCORR_INLINE VectorF32 set1(float x) { return _mm256_set1_ps(x); }
XCORR_INLINE VectorF64 set1(double x) { return _mm256_set1_pd(x); }
XCORR_INLINE VectorF32 load_partial(const float* p, int n) { return _mm256_maskload_ps(p, first_lanes8(n)); }
XCORR_INLINE VectorF64 load_partial(const double* p, int n) { return _mm256_maskload_pd(p, first_lanes4(n)); }
XCORR_INLINE void store_partial(float* p, VectorF32 v, int n) { _mm256_maskstore_ps(p, first_lanes8(n), v); }
XCORR_INLINE void store_partial(double* p, VectorF64 v, int n) { _mm256_maskstore_pd(p, first_lanes4(n), v); }

// 16 bytes from each place.
XCORR_INLINE VectorF32 load_pieces(const float* a, const float* b) {
  return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(a)), _mm_loadu_ps(b), 1);
}
XCORR_INLINE VectorF64 load_pieces(const double* a, const double* b) {
  return _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(a)), _mm_loadu_pd(b), 1);
}

// Some lanes, and what memory has for them, 0 in the others, where nothing is read.
typedef VectorI32 LanesF32;
typedef VectorI64 LanesF64;
XCORR_INLINE LanesF32 lanes_between(VectorF32, int first, int end) {
  return (VectorI32)_mm256_andnot_si256(first_lanes8(first), first_lanes8(end));
}
XCORR_INLINE LanesF64 lanes_between(VectorF64, int first, int end) {
  return (VectorI64)_mm256_andnot_si256(first_lanes4(first), first_lanes4(end));
}
XCORR_INLINE VectorF32 load_lanes(const float* p, LanesF32 lanes) { return _mm256_maskload_ps(p, (__m256i)lanes); }
XCORR_INLINE VectorF64 load_lanes(const double* p, LanesF64 lanes) { return _mm256_maskload_pd(p, (__m256i)lanes); }

// v is loaded once and stays in a register, instead of being an operand in memory of everything that uses it.
XCORR_INLINE void keep_in_register(VectorF32& v) { __asm__("" : "+x"(v)); }

XCORR_INLINE float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
XCORR_INLINE double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
XCORR_INLINE VectorF32 fma(VectorF32 a, VectorF32 b, VectorF32 c) { return _mm256_fmadd_ps(a, b, c); }
XCORR_INLINE VectorF64 fma(VectorF64 a, VectorF64 b, VectorF64 c) { return _mm256_fmadd_pd(a, b, c); }
// The same for sums that stay in their registers: g++ lets the 12 of a register tile change places with factors, and
// spills one.
XCORR_INLINE VectorF32 add_product(VectorF32 sum, VectorF32 a, VectorF32 b) {
  __asm__("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b));
  return sum;
}
XCORR_INLINE VectorF64 add_product(VectorF64 sum, VectorF64 a, VectorF64 b) {
  __asm__("vfmadd231pd %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b));
  return sum;
}
XCORR_INLINE VectorF32 sqrt(VectorF32 v) { return _mm256_sqrt_ps(v); }
XCORR_INLINE VectorF64 sqrt(VectorF64 v) { return _mm256_sqrt_pd(v); }
XCORR_INLINE VectorF32 min(VectorF32 a, VectorF32 b) { return _mm256_min_ps(a, b); }
XCORR_INLINE VectorF64 min(VectorF64 a, VectorF64 b) { return _mm256_min_pd(a, b); }
XCORR_INLINE VectorF32 max(VectorF32 a, VectorF32 b) { return _mm256_max_ps(a, b); }
XCORR_INLINE VectorF64 max(VectorF64 a, VectorF64 b) { return _mm256_max_pd(a, b); }

#define XCORR_ROUND(name, mode)                                                                     \
  XCORR_INLINE VectorF32 name(VectorF32 v) { return _mm256_round_ps(v, mode | _MM_FROUND_NO_EXC); } \
  XCORR_INLINE VectorF64 name(VectorF64 v) { return _mm256_round_pd(v, mode | _MM_FROUND_NO_EXC); }
XCORR_ROUND(floor, _MM_FROUND_TO_NEG_INF)
XCORR_ROUND(ceil, _MM_FROUND_TO_POS_INF)
XCORR_ROUND(trunc, _MM_FROUND_TO_ZERO)
XCORR_ROUND(round_even, _MM_FROUND_TO_NEAREST_INT)
#undef XCORR_ROUND

// v holds integers with |v| < 2^31 (float) or 2^51 (double): round first. AVX2 has no 64-bit conversion, so the
// integer is read from the low bits of v + 1.5 * 2^52.
constexpr double kIntegerBias = 6755399441055744.0;
XCORR_INLINE VectorI32 to_int(VectorF32 v) { return (VectorI32)_mm256_cvttps_epi32(v); }
XCORR_INLINE VectorI64 to_int(VectorF64 v) { return as_int(v + set1(kIntegerBias)) - as_int(set1(kIntegerBias)); }
XCORR_INLINE VectorF32 to_float(VectorI32 v) { return _mm256_cvtepi32_ps((__m256i)v); }
XCORR_INLINE VectorF64 to_float(VectorI64 v) {  // |v| < 2^51
  return as_float(v + as_int(set1(kIntegerBias))) - set1(kIntegerBias);
}

// Floats as doubles, and the 64-bit products of the lanes' low 32 bits, unsigned.
XCORR_INLINE VectorF64 load_float64(const float* p) { return _mm256_cvtps_pd(_mm_loadu_ps(p)); }
XCORR_INLINE VectorI64 multiply_low(VectorI64 a, VectorI64 b) {
  return (VectorI64)_mm256_mul_epu32((__m256i)a, (__m256i)b);
}

XCORR_INLINE VectorF32 gather(const float* base, VectorI32 i) { return _mm256_i32gather_ps(base, (__m256i)i, 4); }
XCORR_INLINE VectorF64 gather(const double* base, VectorI64 i) { return _mm256_i64gather_pd(base, (__m256i)i, 8); }

// 0 where the mask is 0: nothing is read there.
XCORR_INLINE VectorF32 gather_masked(const float* base, VectorI32 i, VectorI32 mask) {
  return _mm256_mask_i32gather_ps(_mm256_setzero_ps(), base, (__m256i)i, (__m256)mask, 4);
}
XCORR_INLINE VectorF64 gather_masked(const double* base, VectorI64 i, VectorI64 mask) {
  return _mm256_mask_i64gather_pd(_mm256_setzero_pd(), base, (__m256i)i, (__m256d)mask, 8);
}

XCORR_INLINE bool any(VectorI32 mask) { return _mm256_movemask_ps((__m256)mask) != 0; }
XCORR_INLINE bool any(VectorI64 mask) { return _mm256_movemask_pd((__m256d)mask) != 0; }

}  // namespace
}  // namespace xcorr

#include "wide.h"
