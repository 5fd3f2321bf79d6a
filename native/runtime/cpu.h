// What this CPU can run, and with how many of its cores.
#pragma once

namespace xcorr {

bool cpu_has_avx2();    // with FMA and F16C, and the system saves the 32-byte registers
bool cpu_has_avx512();  // F, BW, DQ and VL, and the system saves the 64-byte registers

// CPUs that this process may be scheduled on, at least 1.
int available_parallelism();

}  // namespace xcorr
