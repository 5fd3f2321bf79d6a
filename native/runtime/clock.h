// The time since some moment, which never goes back.
#pragma once

#include <stdint.h>
#include <time.h>

namespace xcorr {

inline int64_t nanoseconds() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * int64_t(1000000000) + t.tv_nsec;
}

}  // namespace xcorr
