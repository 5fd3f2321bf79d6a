// Time slices of threads that must answer.
#pragma once

#include <stdint.h>

namespace xcorr {

// Asks the system for short time slices of the calling thread: when it wakes it takes the processor at once from a
// thread with ordinary slices, instead of waiting for the tick after which that one's slice is over (4 ms at 250 a
// second). Its share of the processor stays what it is; threads and processes that it starts meanwhile inherit them.
// Needs no privileges. Returns what restore_slices() takes; 0 where nothing was changed: a kernel before Linux 6.12,
// another system, a thread that has its slices or its class from the user.
int64_t shorten_slices();
void restore_slices(int64_t before);

}  // namespace xcorr
