#include "cpu.h"

#include <unistd.h>
#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace xcorr {
namespace {

#if defined(__x86_64__)
struct Registers {
  unsigned a, b, c, d;
};

Registers cpuid(unsigned leaf) {
  Registers r = {};
  __get_cpuid_count(leaf, 0, &r.a, &r.b, &r.c, &r.d);
  return r;
}

// XCR0: which register states the operating system saves at a context switch.
unsigned saved_states() {
  constexpr unsigned kOsxsave = 1u << 27;
  if (!(cpuid(1).c & kOsxsave)) return 0;
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

bool saves(unsigned states) { return (saved_states() & states) == states; }
#endif

}  // namespace

// Bit numbers: Intel SDM volume 2A, CPUID leaves 1 and 7; volume 1, 13.3 for XCR0.
bool cpu_has_avx2() {
#if defined(__x86_64__)
  constexpr unsigned kFma = 1u << 12, kAvx = 1u << 28, kF16c = 1u << 29, kAvx2 = 1u << 5;
  constexpr unsigned kSseAndAvx = 0x6;
  const unsigned wanted = kFma | kAvx | kF16c;
  return saves(kSseAndAvx) && (cpuid(1).c & wanted) == wanted && (cpuid(7).b & kAvx2);
#else
  return false;
#endif
}

bool cpu_has_avx512() {
#if defined(__x86_64__)
  constexpr unsigned kF = 1u << 16, kDq = 1u << 17, kBw = 1u << 30, kVl = 1u << 31;
  constexpr unsigned kSseAvxAndAvx512 = 0xe6;  // and the mask registers
  const unsigned wanted = kF | kDq | kBw | kVl;
  return saves(kSseAvxAndAvx512) && cpu_has_avx2() && (cpuid(7).b & wanted) == wanted;
#else
  return false;
#endif
}

int available_parallelism() {
#if defined(__linux__)
  // A mask of 1024 CPUs is too small for some machines; the call then fails with EINVAL.
  for (int cpus = 1024; cpus <= 1 << 18; cpus *= 4) {
    cpu_set_t* set = CPU_ALLOC(cpus);
    if (!set) break;
    const size_t bytes = CPU_ALLOC_SIZE(cpus);
    const int count = sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (count > 0) return count;
  }
#endif
  const long online = sysconf(_SC_NPROCESSORS_ONLN);
  return online > 0 ? (int)online : 1;
}

}  // namespace xcorr
