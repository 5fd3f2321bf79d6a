// On which processor threads run, where one stands in another's way.
#pragma once

namespace xcorr {

// The processor that the calling thread is on; -1 where the system does not say.
int current_processor();

// Moves the calling thread off `processor`, if it is there: to `other` if the thread may run there, else (or if -1)
// to any that it may. The system itself takes a tick (4 ms at 250 a second) or more to separate two threads, and wakes
// one on the processor of its waker rather than on an idle one when a hypervisor has halted that.
void leave_processor(int processor, int other);

}  // namespace xcorr
