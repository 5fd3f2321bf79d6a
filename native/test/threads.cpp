// The thread pool under stress: jobs of all sizes from several threads at once while the number of threads changes,
// nested calls, and work after fork; runners that come and go, and take turns. Mostly for ThreadSanitizer.
//
//   threads [seconds]
#include "../runtime/cpu.h"
#include "../runtime/runner.h"
#include "../runtime/threads.h"
#include "../runtime/turns.h"

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

struct Sum : xcorr::Work {
  const Sum* before;
  int64_t value;
};

// A runner computes in order, what is taken back not at all, and ends with work left.
bool runner_works(unsigned seed) {
  std::atomic<int> done{0};
  xcorr::Runner runner(
      [](xcorr::Work* work, const std::atomic<bool>&) {
        Sum* sum = static_cast<Sum*>(work);
        Job job{std::vector<int>(20)};
        xcorr::parallel(20, task, &job);
        sum->value = sum->before ? sum->before->value : 0;
        for (int v : job.visits) sum->value += v;
      },
      [](void* count) { static_cast<std::atomic<int>*>(count)->fetch_add(1); }, &done);
  if (!runner.start()) return false;
  constexpr int count = 8;
  Sum sums[count];
  const bool all = seed & 1;
  bool ok = true;
  int taken = 0, fetched = 0;
  for (int i = 0; i < count; i++) {
    sums[i].before = i > 0 ? &sums[i - 1] : nullptr;
    sums[i].ticket = i;
    runner.add(&sums[i]);
    if (i == count - 1 && runner.take_back(i)) taken++;
  }
  while (all && done.load() < count - taken) sched_yield();
  while (runner.finished()) fetched++;
  for (const xcorr::Work* work = runner.end(); work; work = work->next) fetched++;
  ok = ok && fetched == count;
  for (int i = 0; all && i < count - taken; i++) ok = ok && sums[i].value == 20 * (i + 1);
  return ok && sums[count - 1].taken_back == (taken == 1);
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
    if (i % 16 == 0) ok = ok && runner_works(seed >> 20);
    (ok ? passed : failed)++;
    if (i % 64 == 0) xcorr::set_thread_count(1 + (seed >> 8) % 6);
    if (i % 1024 == 0) usleep(200);  // long enough for workers to fall asleep
  }
}

std::atomic<int> computing{0}, most_computing{0};

void compute_for_a_while() {
  for (int piece = 0; piece < 10; piece++) {
    const int now = ++computing;
    int most = most_computing;
    while (now > most && !most_computing.compare_exchange_weak(most, now)) {
    }
    usleep(1000);
    computing--;
    xcorr::pass_turn();
  }
}

// Many runners at once: no more compute than there are processors.
bool turns_hold() {
  xcorr::set_thread_count(1);
  const int processors = xcorr::available_parallelism(), count = 2 * processors + 1;
  std::atomic<int> done{0};
  std::vector<xcorr::Runner*> runners;
  std::vector<xcorr::Work> works(2 * count);
  for (int i = 0; i < count; i++) {
    runners.push_back(new xcorr::Runner([](xcorr::Work*, const std::atomic<bool>&) { compute_for_a_while(); },
                                        [](void* n) { static_cast<std::atomic<int>*>(n)->fetch_add(1); }, &done));
    if (!runners.back()->start()) return false;
    for (int j = 0; j < 2; j++) runners.back()->add(&works[2 * i + j]);
  }
  while (done < 2 * count - 1) usleep(1000);  // the last is ended in the middle
  for (xcorr::Runner* each : runners) {
    each->end();
    delete each;
  }
  if (most_computing <= processors && most_computing > 0) return true;
  fprintf(stderr, "FAILED: %d runners computed at once on %d processors\n", most_computing.load(), processors);
  return false;
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
  xcorr::set_thread_count(3);
  std::vector<std::thread> callers;
  for (unsigned i = 0; i < 3; i++) callers.emplace_back(run_jobs, i + 1, seconds);
  for (std::thread& each : callers) each.join();
  (turns_hold() ? passed : failed)++;
#if !defined(__SANITIZE_THREAD__)  // which does not follow threads made after fork
  (child_works() ? passed : failed)++;
#endif
  printf("threads: %lld passed, %lld failed\n", (long long)passed, (long long)failed);
  return failed ? 1 : 0;
}
