// What targets of 16-byte vectors have no instruction for, lane by lane.
#pragma once

namespace xcorr {
namespace {

XCORR_INLINE VectorF32 load_partial(const float* p, int n) {
  VectorF32 v = {};
  for (int i = 0; i < 4 && i < n; i++) v[i] = p[i];
  return v;
}
XCORR_INLINE VectorF64 load_partial(const double* p, int n) {
  VectorF64 v = {};
  for (int i = 0; i < 2 && i < n; i++) v[i] = p[i];
  return v;
}
XCORR_INLINE void store_partial(float* p, VectorF32 v, int n) {
  for (int i = 0; i < 4 && i < n; i++) p[i] = v[i];
}
XCORR_INLINE void store_partial(double* p, VectorF64 v, int n) {
  for (int i = 0; i < 2 && i < n; i++) p[i] = v[i];
}

// Some lanes, and what memory has for them, 0 in the others, where nothing is read.
typedef VectorI32 LanesF32;
typedef VectorI64 LanesF64;
XCORR_INLINE LanesF32 lanes_between(VectorF32, int first, int end) {
  LanesF32 lanes = {};
  for (int i = first; i < end; i++) lanes[i] = -1;
  return lanes;
}
XCORR_INLINE LanesF64 lanes_between(VectorF64, int first, int end) {
  LanesF64 lanes = {};
  for (int i = first; i < end; i++) lanes[i] = -1;
  return lanes;
}
XCORR_INLINE VectorF32 load_lanes(const float* p, LanesF32 lanes) {
  VectorF32 v = {};
  for (int i = 0; i < 4; i++)
    if (lanes[i]) v[i] = p[i];
  return v;
}
XCORR_INLINE VectorF64 load_lanes(const double* p, LanesF64 lanes) {
  VectorF64 v = {};
  for (int i = 0; i < 2; i++)
    if (lanes[i]) v[i] = p[i];
  return v;
}

XCORR_INLINE VectorF32 gather(const float* base, VectorI32 i) {
  return VectorF32{base[i[0]], base[i[1]], base[i[2]], base[i[3]]};
}
XCORR_INLINE VectorF64 gather(const double* base, VectorI64 i) { return VectorF64{base[i[0]], base[i[1]]}; }

// 0 where the mask is 0: nothing is read there.
XCORR_INLINE VectorF32 gather_masked(const float* base, VectorI32 i, VectorI32 mask) {
  VectorF32 v = {};
  for (int l = 0; l < 4; l++)
    if (mask[l]) v[l] = base[i[l]];
  return v;
}
XCORR_INLINE VectorF64 gather_masked(const double* base, VectorI64 i, VectorI64 mask) {
  VectorF64 v = {};
  for (int l = 0; l < 2; l++)
    if (mask[l]) v[l] = base[i[l]];
  return v;
}

}  // namespace
}  // namespace xcorr
