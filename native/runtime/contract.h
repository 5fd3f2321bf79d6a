// The lines of abi.h as data: names, fields and operands of every kernel.
#pragma once

#include "../abi.h"

namespace xcorr {

// A kernel's number in a call is its line in abi.h.
#define XCORR_NUMBER(name, ...) k_##name,
enum KernelNumber : int {
  XCORR_KERNELS(XCORR_NUMBER, XCORR_NOTHING, XCORR_NOTHING, XCORR_NOTHING, XCORR_NOTHING, XCORR_NOTHING) kKernels
};
#undef XCORR_NUMBER

struct Field {
  const char* name;
  char kind;  // I an integer, S kSpatial integers, R kRank integers, D a double
};
constexpr int slots_of(char kind) { return kind == 'S' ? kSpatial : kind == 'R' ? kRank : 1; }

struct Parameter {
  const char* name;
  const char* role;  // IN, OPT, OUT, OPTOUT or INOUT
  constexpr bool optional() const { return role[0] == 'O' && role[1] == 'P'; }
  constexpr bool written() const { return role[0] == 'O' ? role[1] == 'U' || role[3] == 'O' : role[2] == 'O'; }
};

constexpr int kMostFields = 12, kMostParameters = 11, kMostSlots = 40;

struct Kernel {
  const char* name;
  const char* sizes;  // the struct's name
  char types;         // F, N or A
  int fields, parameters;
  int integers, slots;  // 8-byte slots of the struct: integers come first, doubles after
  int rank_slot;        // the slot of `rank`, whose R fields then follow up to the doubles; -1 if there is none
  Field field[kMostFields];
  Parameter parameter[kMostParameters];

  bool takes(int type) const { return type >= 0 && type < (types == 'A' ? kTypes : types == 'N' ? 3 : 2); }
};

extern const Kernel kKernel[kKernels];

constexpr const char* kTypeName[kTypes] = {"float32", "float64", "int32", "uint8", "bool"};

// All of the above and the lists of codes as JSON, in the notation of lib/backend/abi.ts.
class Text;
void describe(Text& out);

}  // namespace xcorr
