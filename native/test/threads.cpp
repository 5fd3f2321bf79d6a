// The thread pool under stress: jobs of all sizes from several threads at once while the number of threads changes,
// nested calls, and work after fork; memory lent to threads in turn. Mostly for ThreadSanitizer.
//
//   threads [seconds]
#include "../runtime/scratch.h"
#include "../runtime/threads.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

namespace {

std::atomic<int64_t> passed{0}, failed{0};

struct Job {
  std::vector<int> visits;
};

void visit(void* state, int64_t index) { static_cast<Job*>(state)->visits[index]++; }

void task(void* state, int64_t index) {
  Job& job = *static_cast<Job*>(state);
  job.visits[index]++;  // not atomic: two visits would be a race
  if (index % 7 == 3) {
    Job inner{std::vector<int>(5)};
    xcorr::parallel(5, visit, &inner);
    for (int v : inner.visits) job.visits[index] += v == 1 ? 0 : 100;
  }
}

// Memory that is lent belongs to one thread at a time.
bool lent_is_own(unsigned seed) {
  constexpr int words = 1000;
  const xcorr::LentScratch lent;
  volatile unsigned* memory = static_cast<unsigned*>(xcorr::scratch(int(seed % xcorr::kScratchSlots), words * 4));
  if (!memory) return false;
  for (int i = 0; i < words; i++) memory[i] = seed + i;
  sched_yield();
  for (int i = 0; i < words; i++)
    if (memory[i] != seed + i) return false;
  return true;
}

// Threads that take turns share it: what was lent last is lent next.
bool turns_share() {
  const void* found[8];
  for (const void*& each : found)
    std::thread([&] {
      const xcorr::LentScratch lent;
      each = xcorr::scratch(0, 1 << 20);
    }).join();
  for (const void* each : found)
    if (!each || each != found[0]) return false;
  return true;
}

void run_jobs(unsigned seed, double seconds) {
  const time_t start = time(nullptr);
  for (int64_t i = 0; difftime(time(nullptr), start) < seconds; i++) {
    seed = seed * 1664525 + 1013904223;
    const int64_t tasks = (seed >> 16) % 40;
    Job job{std::vector<int>(tasks)};
    xcorr::parallel(tasks, task, &job);
    bool ok = true;
    for (int v : job.visits) ok = ok && v == 1;
    if (i % 16 == 0) ok = ok && lent_is_own(seed);
    (ok ? passed : failed)++;
    if (i % 64 == 0) xcorr::set_thread_count(1 + (seed >> 8) % 6);
    if (i % 1024 == 0) usleep(200);  // long enough for workers to fall asleep
  }
}

[[maybe_unused]] bool child_works() {
  const pid_t pid = fork();
  if (pid == 0) {
    alarm(20);  // a job that waits for the parent's threads would never end
    Job job{std::vector<int>(100)};
    xcorr::set_thread_count(3);
    xcorr::parallel(100, task, &job);
    for (int v : job.visits)
      if (v != 1) _exit(1);
    _exit(0);
  }
  int status = 1;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

int main(int count, char** arguments) {
  const double seconds = count > 1 ? atof(arguments[1]) : 3;
  (turns_share() ? passed : failed)++;
  xcorr::set_thread_count(3);
  std::vector<std::thread> callers;
  for (unsigned i = 0; i < 3; i++) callers.emplace_back(run_jobs, i + 1, seconds);
  for (std::thread& each : callers) each.join();
#if !defined(__SANITIZE_THREAD__)  // which does not follow threads made after fork
  (child_works() ? passed : failed)++;
#endif
  printf("threads: %lld passed, %lld failed\n", (long long)passed, (long long)failed);
  return failed ? 1 : 0;
}
