// A call that arrived as numbers: decoded, checked against abi.h, and run.
#pragma once

#include "contract.h"
#include "text.h"

namespace xcorr {

// The part of an operand that a call touches, in bytes from its first element (low is at most 0).
struct Region {
  int element_bytes;
  int64_t low, high;
};

struct Call {
  int kernel, type;
  alignas(8) unsigned char sizes[kMostSlots * 8];  // the kernel's struct
  Region region[kMostParameters];
  bool nothing;  // to write, and no positions to check: the call is done before it begins
};

// Most elements of an operand, and of what a kernel may stage of it: far from where 64-bit arithmetic wraps.
constexpr double kMostElements = double(int64_t(1) << 46);
// Largest magnitude of one size.
constexpr int64_t kMostSize = int64_t(1) << 40;

// Fills `call` from numbers; false and a message if they are no call that abi.h allows. `given[i]` says whether operand
// i comes with the call. Nothing of `numbers` is trusted: kernels rely on what is checked here.
bool decode(double kernel, double type, const double* sizes, double slots, double parameters, const bool* given,
            Call* call, Text* error);

// Runs a decoded call with a given runtime; a Status.
int64_t invoke(const Call& call, const KernelTable& table, const Runtime& runtime, void* const* operands);

struct Settings {
  const KernelTable* table;
  int precision = kDefault;
};

// The same with this process's pool and memory, traced if asked for. Operands hold their regions; null where not given.
int64_t run(const Call& call, const Settings& settings, void* const* operands, Kept* kept = nullptr);

// One line per call on stderr. Initially XCORR_TRACE=1.
void set_trace(bool on);

}  // namespace xcorr
