// Whether the system has memory left.
#pragma once

#include <stdint.h>

namespace xcorr {

// What stays free of the system's memory: the host's collector ends the process where it cannot take the few tens of
// megabytes that a collection needs, so nothing here may take the last of them. What is large leaves more, for what is
// small: after an error there is room to go on.
constexpr int64_t kLarge = int64_t(4) << 20, kReserve = int64_t(48) << 20, kReserveOfLarge = int64_t(96) << 20;

// Whether the process could take so many bytes more, by mapping them or from the C library, and leave the reserve; or
// whether the C library holds so many free. Asks by taking them, without touching them, so it sees limits of address
// space (ulimit -v) and of committed memory, not those that end processes (cgroups). A few microseconds.
bool room_to_map(int64_t bytes);
bool room_for(int64_t bytes);

}  // namespace xcorr
