#include "room.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

namespace xcorr {
namespace {

constexpr int64_t kMost = int64_t(1) << 46;

int64_t reserve_beside(int64_t bytes) { return bytes < kLarge ? kReserve : kReserveOfLarge; }

bool can_map(int64_t bytes) {
  void* found = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (found == MAP_FAILED) return false;
  munmap(found, bytes);
  return true;
}

// Pages of address space that the process has taken; 0 where the system does not say.
long pages_taken() {
  long pages = 0;
  if (FILE* file = fopen("/proc/self/statm", "r")) {
    if (fscanf(file, "%ld", &pages) != 1) pages = 0;
    fclose(file);
  }
  return pages;
}

}  // namespace

bool room_to_map(int64_t bytes) { return bytes >= 0 && bytes <= kMost && can_map(bytes + reserve_beside(bytes)); }

bool room_for(int64_t bytes) {
  if (bytes < 0 || bytes > kMost) return false;
  // Through a volatile pointer: a compiler may leave out an allocation that nobody uses.
  void* volatile memory = malloc(bytes > 0 ? bytes : 1);
  if (!memory) return false;
  const bool leaves_reserve = can_map(reserve_beside(bytes));
  free(memory);
  if (leaves_reserve) return true;
  const long before = pages_taken();
  memory = malloc(bytes > 0 ? bytes : 1);
  const bool was_there = memory && before > 0 && pages_taken() <= before;
  free(memory);
  return was_there;
}

}  // namespace xcorr
