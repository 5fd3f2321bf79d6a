// Memory of a thread for the kernels it runs: Runtime::scratch.
#pragma once

#include <stdint.h>

namespace xcorr {

constexpr int kScratchSlots = 8;

// `bytes` of the calling thread's memory under `slot`, 64-byte aligned, contents undefined; null when the system has no
// more. It grows as asked and is freed when the thread ends.
void* scratch(int slot, int64_t bytes);

}  // namespace xcorr
