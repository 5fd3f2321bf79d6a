#include "scratch.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "room.h"

namespace xcorr {
namespace {

constexpr int64_t kHugePage = int64_t(2) << 20;
constexpr int64_t kMapped = int64_t(4) << 20;  // from here on mapped by huge pages: fewer TLB misses and page faults

struct Arena {
  char* memory = nullptr;
  int64_t bytes = 0;
  bool mapped = false;

  Arena() = default;
  Arena(const Arena&) = delete;
  ~Arena() { release(); }

  void release() {
    if (mapped)
      munmap(memory, bytes);
    else
      free(memory);
    memory = nullptr;
    bytes = 0;
  }

  bool allocate(int64_t wanted) {
#if defined(__SANITIZE_ADDRESS__)
    const bool map = false;  // so that reads and writes beyond `wanted` are caught
#else
    const bool map = wanted >= kMapped;
    wanted = (wanted + 4095) & ~int64_t(4095);
#endif
    if (!(map ? room_to_map(wanted) : room_for(wanted))) return false;
    if (map) {
      wanted = (wanted + kHugePage - 1) & -kHugePage;
      void* found = mmap(nullptr, wanted + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (found == MAP_FAILED) return false;
      char* start = static_cast<char*>(found);
      char* aligned = reinterpret_cast<char*>((reinterpret_cast<intptr_t>(start) + kHugePage - 1) & -kHugePage);
      if (aligned > start) munmap(start, aligned - start);
      const int64_t rest = (start + wanted + kHugePage) - (aligned + wanted);
      if (rest > 0) munmap(aligned + wanted, rest);
#if defined(MADV_HUGEPAGE)
      madvise(aligned, wanted, MADV_HUGEPAGE);  // an optimisation: refusal does not matter
#endif
      memory = aligned;
    } else {
      void* found = nullptr;
      if (posix_memalign(&found, 64, wanted) != 0) return false;
      memory = static_cast<char*>(found);
    }
    bytes = wanted;
    mapped = map;
    return true;
  }
};

thread_local Arena own[kScratchSlots];

}  // namespace

void* scratch(int slot, int64_t bytes) {
  if (slot < 0 || slot >= kScratchSlots || bytes < 0 || bytes > (int64_t(1) << 46)) return nullptr;
  Arena& arena = own[slot];
  const int64_t wanted = bytes > 0 ? bytes : 1;
#if defined(__SANITIZE_ADDRESS__)
  const bool fits = arena.bytes == wanted;
#else
  const bool fits = arena.bytes >= wanted;
#endif
  if (!fits) {
    arena.release();
    if (!arena.allocate(wanted)) return nullptr;
  }
  return arena.memory;
}

}  // namespace xcorr
