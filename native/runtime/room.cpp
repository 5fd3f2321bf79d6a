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

// Whether the C library holds so many free.
bool held_free(int64_t bytes) {
  const long before = pages_taken();
  // Through a volatile pointer: a compiler may leave out an allocation that nobody uses.
  void* volatile memory = malloc(bytes > 0 ? bytes : 1);
  const bool was_there = memory && before > 0 && pages_taken() <= before;
  free(memory);
  return was_there;
}

}  // namespace

bool room_to_map(int64_t bytes) { return bytes >= 0 && bytes <= kMost && can_map(bytes + reserve_beside(bytes)); }

bool room_for(int64_t bytes) { return room_to_map(bytes) || (bytes >= 0 && bytes <= kMost && held_free(bytes)); }

bool room_for_host(int64_t bytes) { return bytes >= 0 && bytes <= kMost && can_map(bytes + kReserve); }

}  // namespace xcorr
