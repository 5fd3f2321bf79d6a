// What every page of simd/ shares: the vector types and the functions that compiler vector extensions (+ - * /, < ==
// ?:, & | ^ << >>, v[i]) give on any target. A page sets kVectorBytes and the tuning numbers, includes
// this, and adds what differs. Everything has internal linkage: see the linkage rule in abi.h.
#pragma once
#include "../abi.h"

#define XCORR_MEMBER [[gnu::always_inline]] inline  // for members of structs that kernels share

namespace xcorr {
namespace {

// T is float or double. V holds `lanes` numbers, I as many signed integers of the same width: comparisons of V give an
// I of 0 and -1. The register tile of gemm and direct convolution is tile_rows by tile_vectors V.
template <class T>
struct Simd;

template <>
struct Simd<float> {
  static constexpr int lanes = kVectorBytes / 4, tile_rows = kGemmRows, tile_vectors = kGemmVectors;
  typedef float V __attribute__((vector_size(kVectorBytes)));
  typedef int32_t I __attribute__((vector_size(kVectorBytes)));
  typedef float Unaligned __attribute__((vector_size(kVectorBytes), aligned(4), may_alias));
  typedef int32_t UnalignedI __attribute__((vector_size(kVectorBytes), aligned(4), may_alias));
};

template <>
struct Simd<double> {
  static constexpr int lanes = kVectorBytes / 8, tile_rows = kGemmRows, tile_vectors = kGemmVectors;
  typedef double V __attribute__((vector_size(kVectorBytes)));
  typedef int64_t I __attribute__((vector_size(kVectorBytes)));
  typedef double Unaligned __attribute__((vector_size(kVectorBytes), aligned(8), may_alias));
  typedef int64_t UnalignedI __attribute__((vector_size(kVectorBytes), aligned(8), may_alias));
};

typedef Simd<float>::V VectorF32;
typedef Simd<double>::V VectorF64;
typedef Simd<float>::I VectorI32;
typedef Simd<double>::I VectorI64;

XCORR_INLINE VectorF32 load(const float* p) { return *reinterpret_cast<const Simd<float>::Unaligned*>(p); }
XCORR_INLINE VectorF64 load(const double* p) { return *reinterpret_cast<const Simd<double>::Unaligned*>(p); }
XCORR_INLINE VectorI32 load(const int32_t* p) { return *reinterpret_cast<const Simd<float>::UnalignedI*>(p); }
XCORR_INLINE VectorI64 load(const int64_t* p) { return *reinterpret_cast<const Simd<double>::UnalignedI*>(p); }
XCORR_INLINE void store(float* p, VectorF32 v) { *reinterpret_cast<Simd<float>::Unaligned*>(p) = v; }
XCORR_INLINE void store(double* p, VectorF64 v) { *reinterpret_cast<Simd<double>::Unaligned*>(p) = v; }
XCORR_INLINE void store(int32_t* p, VectorI32 v) { *reinterpret_cast<Simd<float>::UnalignedI*>(p) = v; }
XCORR_INLINE void store(int64_t* p, VectorI64 v) { *reinterpret_cast<Simd<double>::UnalignedI*>(p) = v; }

// The same bits as another type.
XCORR_INLINE VectorI32 as_int(VectorF32 v) { return (VectorI32)v; }
XCORR_INLINE VectorI64 as_int(VectorF64 v) { return (VectorI64)v; }
XCORR_INLINE VectorF32 as_float(VectorI32 v) { return (VectorF32)v; }
XCORR_INLINE VectorF64 as_float(VectorI64 v) { return (VectorF64)v; }

XCORR_INLINE VectorF32 select(VectorI32 mask, VectorF32 yes, VectorF32 no) { return mask ? yes : no; }
XCORR_INLINE VectorF64 select(VectorI64 mask, VectorF64 yes, VectorF64 no) { return mask ? yes : no; }
XCORR_INLINE VectorI32 select(VectorI32 mask, VectorI32 yes, VectorI32 no) { return mask ? yes : no; }
XCORR_INLINE VectorI64 select(VectorI64 mask, VectorI64 yes, VectorI64 no) { return mask ? yes : no; }

XCORR_INLINE VectorF32 abs(VectorF32 v) { return as_float(as_int(v) & 0x7fffffff); }
XCORR_INLINE VectorF64 abs(VectorF64 v) { return as_float(as_int(v) & 0x7fffffffffffffff); }
// The sign of `sign` on the magnitude of `v`.
XCORR_INLINE VectorF32 copysign(VectorF32 v, VectorF32 sign) {
  return as_float((as_int(v) & 0x7fffffff) | (as_int(sign) & (int32_t)0x80000000));
}
XCORR_INLINE VectorF64 copysign(VectorF64 v, VectorF64 sign) {
  return as_float((as_int(v) & 0x7fffffffffffffff) | (as_int(sign) & (int64_t)0x8000000000000000));
}

// 0, 1, 2, ... one per lane.
template <class T>
XCORR_INLINE typename Simd<T>::I lane_numbers() {
  typename Simd<T>::I v;
  for (int i = 0; i < Simd<T>::lanes; i++) v[i] = i;
  return v;
}

// Scalars; pages add the vector overloads. The second of equals or if either is NaN, on every target.
template <class T>
XCORR_INLINE T min(T a, T b) {
  return a < b ? a : b;
}
template <class T>
XCORR_INLINE T max(T a, T b) {
  return a > b ? a : b;
}
XCORR_INLINE float sqrt(float x) { return __builtin_sqrtf(x); }
XCORR_INLINE double sqrt(double x) { return __builtin_sqrt(x); }

}  // namespace
}  // namespace xcorr
