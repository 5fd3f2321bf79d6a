// AArch64 Advanced SIMD: 16-byte vectors, 32 registers. The baseline of every arm64 server.
#pragma once
#include <arm_neon.h>

namespace xcorr {
namespace {
constexpr const char* kTargetName = "neon";
constexpr int kVectorBytes = 16;
constexpr int kGemmRows = 6, kGemmVectors = 4;  // 24 of 32 registers hold sums, 4 hold b, 2 the row of a
constexpr int kStencilRows = 7;                 // rows of a depthwise stencil at a time: 7 sums, 9 weights, 3 taps
constexpr int kStencilPairs = 2;                // pairs of rows of its input gradient with stride 2: 4 sums each
}  // namespace
}  // namespace xcorr

#include "common.h"
#include "by_lane.h"

namespace xcorr {
namespace {

XCORR_INLINE VectorF32 set1(float x) { return vdupq_n_f32(x); }
XCORR_INLINE VectorF64 set1(double x) { return vdupq_n_f64(x); }
// v is loaded once and stays in a register, instead of being an operand in memory of everything that uses it.
XCORR_INLINE void keep_in_register(VectorF32& v) { __asm__("" : "+w"(v)); }

XCORR_INLINE float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
XCORR_INLINE double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
XCORR_INLINE VectorF32 fma(VectorF32 a, VectorF32 b, VectorF32 c) { return vfmaq_f32(c, a, b); }
XCORR_INLINE VectorF64 fma(VectorF64 a, VectorF64 b, VectorF64 c) { return vfmaq_f64(c, a, b); }
XCORR_INLINE VectorF32 sqrt(VectorF32 v) { return vsqrtq_f32(v); }
XCORR_INLINE VectorF64 sqrt(VectorF64 v) { return vsqrtq_f64(v); }
// Not vminq and vmaxq: they let NaN win, x86 takes the second operand.
XCORR_INLINE VectorF32 min(VectorF32 a, VectorF32 b) { return a < b ? a : b; }
XCORR_INLINE VectorF64 min(VectorF64 a, VectorF64 b) { return a < b ? a : b; }
XCORR_INLINE VectorF32 max(VectorF32 a, VectorF32 b) { return a > b ? a : b; }
XCORR_INLINE VectorF64 max(VectorF64 a, VectorF64 b) { return a > b ? a : b; }

XCORR_INLINE VectorF32 floor(VectorF32 v) { return vrndmq_f32(v); }
XCORR_INLINE VectorF64 floor(VectorF64 v) { return vrndmq_f64(v); }
XCORR_INLINE VectorF32 ceil(VectorF32 v) { return vrndpq_f32(v); }
XCORR_INLINE VectorF64 ceil(VectorF64 v) { return vrndpq_f64(v); }
XCORR_INLINE VectorF32 trunc(VectorF32 v) { return vrndq_f32(v); }
XCORR_INLINE VectorF64 trunc(VectorF64 v) { return vrndq_f64(v); }
XCORR_INLINE VectorF32 round_even(VectorF32 v) { return vrndnq_f32(v); }
XCORR_INLINE VectorF64 round_even(VectorF64 v) { return vrndnq_f64(v); }

// v holds integers with |v| < 2^31 (float) or 2^51 (double): round first.
XCORR_INLINE VectorI32 to_int(VectorF32 v) { return (VectorI32)vcvtq_s32_f32(v); }
XCORR_INLINE VectorI64 to_int(VectorF64 v) { return (VectorI64)vcvtq_s64_f64(v); }
XCORR_INLINE VectorF32 to_float(VectorI32 v) { return vcvtq_f32_s32((int32x4_t)v); }
XCORR_INLINE VectorF64 to_float(VectorI64 v) { return vcvtq_f64_s64((int64x2_t)v); }  // |v| < 2^51

// Floats as doubles, and the 64-bit products of the lanes' low 32 bits, unsigned.
XCORR_INLINE VectorF64 load_float64(const float* p) { return vcvt_f64_f32(vld1_f32(p)); }
XCORR_INLINE VectorI64 multiply_low(VectorI64 a, VectorI64 b) {
  return (VectorI64)vmull_u32(vmovn_u64((uint64x2_t)a), vmovn_u64((uint64x2_t)b));
}

XCORR_INLINE bool any(VectorI32 mask) { return vmaxvq_u32((uint32x4_t)mask) != 0; }
XCORR_INLINE bool any(VectorI64 mask) { return vmaxvq_u32((uint32x4_t)mask) != 0; }

}  // namespace
}  // namespace xcorr

#include "wide.h"
