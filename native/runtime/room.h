// Whether the system has memory left.
#pragma once

#include <stdint.h>

namespace xcorr {

// What stays free of the system's memory: the host's collector ends the process where it cannot take the few tens of
// megabytes that a collection needs, so nothing here may take the last of them. What is large leaves more, for what is
// small: after an error there is room to go on. The C library, too, takes 64 MB of address space for each of the first
// threads that allocate, among them the collector's.
constexpr int64_t kLarge = int64_t(4) << 20, kReserve = int64_t(48) << 20, kReserveOfLarge = int64_t(160) << 20;

// Whether the process could take so many bytes more, by mapping them or from the C library, and leave the reserve; or
// whether the C library holds so many free. Asks by taking them, without touching them, so it sees limits of address
// space (ulimit -v) and of committed memory, not those that end processes (cgroups). A few microseconds.
bool room_to_map(int64_t bytes);
bool room_for(int64_t bytes);

// Whether the reserve of small requests and so many bytes more are there for the host's own lists and objects, which it
// maps: what the C library holds free does not help there.
bool room_for_host(int64_t bytes);

}  // namespace xcorr
