#include "processor.h"

#if defined(__linux__)
#include <sched.h>
#endif

namespace xcorr {

#if defined(__linux__)

int current_processor() { return sched_getcpu(); }

void leave_processor(int processor, int other) {
  if (processor < 0 || processor >= CPU_SETSIZE || sched_getcpu() != processor) return;
  cpu_set_t own;
  if (sched_getaffinity(0, sizeof own, &own) != 0) return;
  cpu_set_t wanted = own;
  CPU_CLR(processor, &wanted);
  if (CPU_COUNT(&wanted) == 0) return;
  if (other >= 0 && other < CPU_SETSIZE && CPU_ISSET(other, &wanted)) {
    CPU_ZERO(&wanted);
    CPU_SET(other, &wanted);
  }
  if (sched_setaffinity(0, sizeof wanted, &wanted) == 0) sched_setaffinity(0, sizeof own, &own);
}

#else

int current_processor() { return -1; }
void leave_processor(int, int) {}

#endif

}  // namespace xcorr
