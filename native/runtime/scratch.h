// Memory of a thread for the kernels it runs: Runtime::scratch.
#pragma once

#include <stdint.h>

namespace xcorr {

constexpr int kScratchSlots = 8;

// `bytes` of the calling thread's memory under `slot`, 64-byte aligned, contents undefined; null when the system has no
// more. It grows as asked and is freed when the thread ends.
void* scratch(int slot, int64_t bytes);

// While it lives, scratch() of the calling thread uses memory of the process instead of the thread's own. For threads
// of the host's that compute in turn: as many such memories stay as were ever in use at once, the last one used comes
// first.
class LentScratch {
 public:
  LentScratch();
  ~LentScratch();
  LentScratch(const LentScratch&) = delete;
  LentScratch& operator=(const LentScratch&) = delete;
};

}  // namespace xcorr
