#include "slice.h"

#if defined(__linux__)
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace xcorr {

#if defined(__linux__) && defined(SYS_sched_getattr) && defined(SYS_sched_setattr)

namespace {

// The kernel's struct sched_attr in its first size (SCHED_ATTR_SIZE_VER0); the C library has it from 2.41 on.
struct Attributes {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;  // runtime: the slice, in nanoseconds
};
static_assert(sizeof(Attributes) == 48);

constexpr uint64_t kShort = 100000;   // the shortest that the kernel grants
constexpr uint64_t kResetOnFork = 1;  // SCHED_FLAG_RESET_ON_FORK

bool set_slice(Attributes a, uint64_t slice) {
  a.size = sizeof a;
  a.flags &= kResetOnFork;
  a.runtime = slice;
  return syscall(SYS_sched_setattr, 0, &a, 0) == 0;
}

bool attributes(Attributes* a) {
  return syscall(SYS_sched_getattr, 0, a, sizeof *a, 0) == 0 && a->policy == SCHED_OTHER;
}

}  // namespace

int64_t shorten_slices() {
  Attributes a{};
  // Kernels that take no slice report 0.
  return attributes(&a) && a.runtime > kShort && set_slice(a, kShort) ? (int64_t)a.runtime : 0;
}

void restore_slices(int64_t before) {
  Attributes a{};
  if (before > 0 && attributes(&a) && a.runtime == kShort) set_slice(a, (uint64_t)before);
}

#else

int64_t shorten_slices() { return 0; }
void restore_slices(int64_t) {}

#endif

}  // namespace xcorr
