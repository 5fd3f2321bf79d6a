// Any CPU: 16-byte compiler vectors and no instruction beyond the ABI's baseline. There is no fma here (it would be a
// library call), so that this target's bits differ from the others'.
#pragma once

namespace xcorr {
namespace {
constexpr const char* kTargetName = "generic";
constexpr int kVectorBytes = 16;
constexpr int kGemmRows = 4, kGemmVectors = 2;  // 8 of x86-64's 16 registers hold sums
constexpr int kStencilRows = 4;                 // rows of a depthwise stencil at a time
constexpr int kStencilPairs = 1;                // pairs of rows of its input gradient with stride 2: 4 sums each
}  // namespace
}  // namespace xcorr

#include "common.h"
#include "by_lane.h"

namespace xcorr {
namespace {

XCORR_INLINE VectorF32 set1(float x) { return VectorF32{x, x, x, x}; }
XCORR_INLINE VectorF64 set1(double x) { return VectorF64{x, x}; }
XCORR_INLINE void keep_in_register(VectorF32&) {}  // see the other pages
XCORR_INLINE float fma(float a, float b, float c) { return a * b + c; }
XCORR_INLINE double fma(double a, double b, double c) { return a * b + c; }
XCORR_INLINE VectorF32 fma(VectorF32 a, VectorF32 b, VectorF32 c) { return a * b + c; }
XCORR_INLINE VectorF64 fma(VectorF64 a, VectorF64 b, VectorF64 c) { return a * b + c; }
XCORR_INLINE VectorF32 min(VectorF32 a, VectorF32 b) { return a < b ? a : b; }
XCORR_INLINE VectorF64 min(VectorF64 a, VectorF64 b) { return a < b ? a : b; }
XCORR_INLINE VectorF32 max(VectorF32 a, VectorF32 b) { return a > b ? a : b; }
XCORR_INLINE VectorF64 max(VectorF64 a, VectorF64 b) { return a > b ? a : b; }

#define XCORR_BY_LANE(name, f32, f64)                                                                        \
  XCORR_INLINE VectorF32 name(VectorF32 v) { return VectorF32{f32(v[0]), f32(v[1]), f32(v[2]), f32(v[3])}; } \
  XCORR_INLINE VectorF64 name(VectorF64 v) { return VectorF64{f64(v[0]), f64(v[1])}; }
XCORR_BY_LANE(sqrt, __builtin_sqrtf, __builtin_sqrt)
XCORR_BY_LANE(floor, __builtin_floorf, __builtin_floor)
XCORR_BY_LANE(ceil, __builtin_ceilf, __builtin_ceil)
XCORR_BY_LANE(trunc, __builtin_truncf, __builtin_trunc)
XCORR_BY_LANE(round_even, __builtin_rintf, __builtin_rint)
#undef XCORR_BY_LANE

// v holds integers with |v| < 2^31 (float) or 2^51 (double): round first.
XCORR_INLINE VectorI32 to_int(VectorF32 v) { return __builtin_convertvector(v, VectorI32); }
XCORR_INLINE VectorI64 to_int(VectorF64 v) { return __builtin_convertvector(v, VectorI64); }
XCORR_INLINE VectorF32 to_float(VectorI32 v) { return __builtin_convertvector(v, VectorF32); }
XCORR_INLINE VectorF64 to_float(VectorI64 v) { return __builtin_convertvector(v, VectorF64); }  // |v| < 2^51

// Floats as doubles, and the 64-bit products of the lanes' low 32 bits, unsigned.
XCORR_INLINE VectorF64 load_float64(const float* p) { return VectorF64{p[0], p[1]}; }
XCORR_INLINE VectorI64 multiply_low(VectorI64 a, VectorI64 b) {
  return VectorI64{(int64_t)((uint64_t)(uint32_t)a[0] * (uint32_t)b[0]),
                   (int64_t)((uint64_t)(uint32_t)a[1] * (uint32_t)b[1])};
}

XCORR_INLINE bool any(VectorI32 mask) { return (mask[0] | mask[1] | mask[2] | mask[3]) != 0; }
XCORR_INLINE bool any(VectorI64 mask) { return (mask[0] | mask[1]) != 0; }

}  // namespace
}  // namespace xcorr

#include "wide.h"
