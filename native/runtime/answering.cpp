#include "answering.h"

#if defined(__linux__)
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>

#include "clock.h"
#include "processor.h"
#endif

namespace xcorr {

#if defined(__linux__)

namespace {

constexpr int kMost = 8;
std::atomic<int> answering[kMost] = {-1, -1, -1, -1, -1, -1, -1, -1};
std::atomic<int> count{0};
thread_local bool answers = false;  // whether the calling thread is one of them
thread_local int64_t next_look = 0;

constexpr int64_t kBetweenLooks = 100000;  // ns; a look takes 1 us
constexpr int64_t kNap = 50000;            // the system adds as much
constexpr int kMostNaps = 5;
constexpr int64_t kLater = 4000000;  // after having napped and moved: now it is the system's turn

// Whether the thread runs, or wants to, on this processor. proc(5): "tid (name) state ...", the processor is field 39.
bool wants(int state, int processor) {
  char text[512];
  const ssize_t length = pread(state, text, sizeof text - 1, 0);
  if (length <= 0) return false;
  text[length] = 0;
  const char* at = strrchr(text, ')');
  if (!at || at[1] != ' ' || at[2] != 'R') return false;
  at += 2;
  for (int field = 3; field < 39; field++) {
    at = strchr(at, ' ');
    if (!at) return false;
    at++;
  }
  return atoi(at) == processor;
}

bool in_the_way() {
  const int processor = current_processor();
  if (processor < 0) return false;
  for (const std::atomic<int>& each : answering) {
    const int state = each.load(std::memory_order_relaxed);
    if (state >= 0 && wants(state, processor)) return true;
  }
  return false;
}

}  // namespace

int open_state() {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/task/%ld/stat", (long)syscall(SYS_gettid));
  return open(path, O_RDONLY | O_CLOEXEC);
}

void close_state(int state) {
  if (state >= 0) close(state);
}

void begin_answering(int state) {
  if (state < 0) return;
  for (std::atomic<int>& each : answering) {
    int none = -1;
    if (!each.compare_exchange_strong(none, state)) continue;
    answers = true;
    count.fetch_add(1, std::memory_order_relaxed);
    return;
  }
}

void end_answering(int state) {
  if (state < 0) return;
  for (std::atomic<int>& each : answering) {
    int mine = state;
    if (!each.compare_exchange_strong(mine, -1)) continue;
    answers = false;
    count.fetch_sub(1, std::memory_order_relaxed);
    return;
  }
}

void make_way(bool now) {
  if (count.load(std::memory_order_relaxed) == 0 || answers) return;
  const int64_t time = nanoseconds();
  if (!now && time < next_look) return;
  int naps = 0;
  for (; in_the_way() && naps < kMostNaps; naps++) {
    const timespec nap = {0, kNap};
    nanosleep(&nap, nullptr);
  }
  if (naps == kMostNaps) leave_processor(current_processor(), -1);
  next_look = naps == 0 ? time + kBetweenLooks : nanoseconds() + (naps == kMostNaps ? kLater : kBetweenLooks);
}

#else

int open_state() { return -1; }
void close_state(int) {}
void begin_answering(int) {}
void end_answering(int) {}
void make_way(bool) {}

#endif

}  // namespace xcorr
