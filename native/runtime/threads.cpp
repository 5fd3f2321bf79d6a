#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#if defined(__linux__)
#include <sys/prctl.h>
#endif

#include <atomic>

#include "answering.h"
#include "clock.h"
#include "cpu.h"
#include "processor.h"
#include "turns.h"

// glibc 2.34 moved pthread_create into libc under a new version; the old name keeps the addon loadable from 2.28 on.
#if defined(XCORR_GLIBC_FLOOR) && defined(__GLIBC__)
#if defined(__x86_64__)
__asm__(".symver pthread_create, pthread_create@GLIBC_2.2.5");
#elif defined(__aarch64__)
__asm__(".symver pthread_create, pthread_create@GLIBC_2.17");
#endif
#endif

namespace xcorr {
namespace {

// The pool is never destroyed (no destructor here does anything): at process exit its threads sleep or are in the
// middle of a task, and both must stay valid. The addon is linked with -z nodelete for the same reason.

// How long a thread looks for work, or a caller for its helpers, before it sleeps: a few times what waking it costs
// (50 us under a hypervisor), which is also longer than the serial stretches of a training step. A worker that looks
// for work yields to whoever else wants its processor; a caller does not, as its helpers are about to leave.
constexpr int64_t kSpinNanoseconds = 200000;

// While others want the processors too, the one waited for may be off its own for milliseconds, and who yields is as
// well: then threads look for a moment only, without yielding, and sleep, which keeps their claim to the processor.
// Known from a look that was interrupted for so long, and missed what it was for.
constexpr int64_t kSpinCrowded = 20000, kInterrupted = 2000000, kCrowded = 250000000;
std::atomic<int64_t> crowded_until{0};

// One word decides who takes part: the number of the job (so that a worker takes part once), whether it is open, and
// how many workers are inside. A worker enters by a compare-and-swap on an open gate, hence after publication of the
// job; the caller closes the gate and waits for those inside only, so that a worker that never woke holds nobody up.
constexpr uint32_t kInside = 0xffff, kOpen = 1u << 16, kJob = 1u << 17;
std::atomic<uint32_t> gate{0};

// Every thread has a share of the tasks, neighbours in the order of their numbers and the same ones in every job of as
// many tasks: what a thread wrote in one kernel is still in its cache when the next kernel reads it, and two threads
// rarely write to one cache line. Its owner takes from the front; who has nothing left takes from the end of another's.
// A share is [begin, end) in the halves of one word, in units of `unit` tasks, so that taking is one compare-and-swap.
struct alignas(64) Share {
  std::atomic<uint64_t> range;
};
Share share[kMostThreads];

struct {
  int64_t tasks, unit;
  void (*task)(void*, int64_t);
  void* state;
  int shares;
} job;

std::atomic<bool> busy{false};  // the pool works for some caller
std::atomic<int> wanted{0};     // threads per job; 0: not asked yet
std::atomic<int> started{0};    // workers that live
std::atomic<int> sleepers{0};   // workers that need waking
std::atomic<int> alone{0};      // threads that compute meanwhile without the pool
std::atomic<int> alone_on{-1};  // the processor of the last of them when it began
std::atomic<int> vacated{-1};   // the processor that a worker which stands aside has left
std::atomic<int> caller_on{-1};
std::atomic<bool> caller_sleeps{false};
std::atomic<bool> failed{false}, failure_to_report{false};
bool alive[kMostThreads];  // by worker number; guarded by the mutex
pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t job_opened = PTHREAD_COND_INITIALIZER, workers_left = PTHREAD_COND_INITIALIZER;

void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// Whether condition() came true while spinning. With more threads than CPUs spinning only delays the one waited for.
template <class Condition>
bool spin_until(Condition condition, bool yields) {
  if (condition()) return true;
  static const int cpus = available_parallelism();
  if (wanted.load(std::memory_order_relaxed) > cpus) return false;
  int64_t now = nanoseconds();
  const bool crowded = now < crowded_until.load(std::memory_order_relaxed);
  const int64_t end = now + (crowded ? kSpinCrowded : kSpinNanoseconds);
  do {
    for (int i = 0; i < 16; i++) {
      pause_briefly();
      if (condition()) return true;
    }
    if (yields && !crowded) sched_yield();
    const int64_t before = now;
    now = nanoseconds();
    // Whoever takes the processor from a thread that would have gone to sleep is in nobody's way.
    if (now - before > kInterrupted && condition()) {
      crowded_until.store(now + kCrowded, std::memory_order_relaxed);
      return true;
    }
  } while (now < end);
  return false;
}

thread_local bool inside = false;  // this thread is in the middle of a task: what it calls is no caller of its own

// The first unit of a share, or the last if it is another's; -1 if none is left.
int64_t take(std::atomic<uint64_t>& range, bool own) {
  uint64_t seen = range.load(std::memory_order_relaxed);
  for (;;) {
    const uint32_t begin = (uint32_t)seen, end = (uint32_t)(seen >> 32);
    if (begin >= end) return -1;
    const uint64_t rest = own ? seen + 1 : seen - (uint64_t(1) << 32);
    if (range.compare_exchange_weak(seen, rest, std::memory_order_relaxed)) return own ? begin : end - 1;
  }
}

// Takes tasks until none is left, or until `stop()`, asked before each.
template <class Stop>
void work(int own, Stop stop) {
  inside = true;
  bool moved = false;
  for (int tried = 0; tried < job.shares && !stop();) {
    if (!moved && alone.load(std::memory_order_relaxed) > 0) {
      const int taken = alone_on.load(std::memory_order_relaxed);
      if ((moved = taken >= 0 && current_processor() == taken))
        leave_processor(taken, vacated.load(std::memory_order_relaxed));
    }
    make_way(false);
    const int64_t unit = take(share[(own + tried) % job.shares].range, tried == 0);
    if (unit < 0) {
      tried++;
      continue;
    }
    const int64_t first = unit * job.unit, left = job.tasks - first;
    for (int64_t i = 0; i < (left < job.unit ? left : job.unit); i++) job.task(job.state, first + i);
  }
  inside = false;
}

bool dismissed(int number) { return number >= wanted.load(std::memory_order_relaxed) - 1; }

// Everybody who computes alone takes the place of a worker, so that all together use no more threads than wanted.
bool displaced(int number) {
  return number >= wanted.load(std::memory_order_relaxed) - 1 - alone.load(std::memory_order_relaxed);
}

bool is_new(uint32_t seen, uint32_t last_job) { return (seen & kOpen) && seen / kJob != last_job; }

// Enters the open job unless the worker has been there; false if there is none.
bool enter(uint32_t* last_job) {
  uint32_t seen = gate.load(std::memory_order_seq_cst);
  while (is_new(seen, *last_job)) {
    if (gate.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel)) {
      *last_job = seen / kJob;
      return true;
    }
  }
  return false;
}

void leave() {
  const uint32_t before = gate.fetch_sub(1, std::memory_order_seq_cst);
  if ((before & kInside) != 1 || (before & kOpen) || !caller_sleeps.load(std::memory_order_seq_cst)) return;
  pthread_mutex_lock(&mutex);
  pthread_cond_signal(&workers_left);
  pthread_mutex_unlock(&mutex);
}

void* worker(void* argument) {
  const int number = (int)(intptr_t)argument;
#if defined(__linux__)
  prctl(PR_SET_NAME, "xcorr", 0, 0, 0);
#endif
  uint32_t last_job = ~0u;
  for (;;) {
    const bool open =
        !displaced(number) && spin_until([&] { return is_new(gate.load(std::memory_order_relaxed), last_job); }, true);
    if (!open) {
      if (displaced(number)) vacated.store(current_processor(), std::memory_order_relaxed);
      pthread_mutex_lock(&mutex);
      sleepers.fetch_add(1, std::memory_order_seq_cst);
      // Once, not until there is work: who was woken too late for a short job must not miss the next one as well.
      if (!dismissed(number) && !is_new(gate.load(std::memory_order_seq_cst), last_job))
        pthread_cond_wait(&job_opened, &mutex);
      sleepers.fetch_sub(1, std::memory_order_seq_cst);
      if (dismissed(number)) {
        alive[number] = false;
        started.fetch_sub(1);
        pthread_mutex_unlock(&mutex);
        return nullptr;
      }
      pthread_mutex_unlock(&mutex);
      leave_processor(caller_on.load(std::memory_order_relaxed), -1);
    }
    if (!dismissed(number) && enter(&last_job)) {
      work(number + 1, [number] { return displaced(number); });
      leave();
    }
  }
}

void forget_threads_in_child() {
  forget_turns();
  for (bool& each : alive) each = false;
  gate = 0;
  started = 0;
  sleepers = 0;
  alone = 0;
  caller_sleeps = false;
  busy = false;
  pthread_mutex_init(&mutex, nullptr);
  pthread_cond_init(&job_opened, nullptr);
  pthread_cond_init(&workers_left, nullptr);
}

// Called by the owner of `busy`.
void start_workers(int count) {
  static const bool registered = pthread_atfork(nullptr, nullptr, forget_threads_in_child) == 0;
  (void)registered;
  pthread_mutex_lock(&mutex);
  for (int number = 0; number < count; number++) {
    if (alive[number]) continue;
    if (!start_thread(worker, (void*)(intptr_t)number)) break;
    alive[number] = true;
    started.fetch_add(1);
  }
  pthread_mutex_unlock(&mutex);
}

void open_gate(int64_t tasks, int workers) {
  const uint32_t number = gate.load(std::memory_order_relaxed) / kJob + 1;
  gate.store(number * kJob | kOpen, std::memory_order_seq_cst);
  if (sleepers.load(std::memory_order_seq_cst) == 0) return;
  caller_on.store(current_processor(), std::memory_order_relaxed);
  pthread_mutex_lock(&mutex);
  const int64_t aside = alone.load(std::memory_order_relaxed), most = workers - aside;
  const int64_t woken = tasks - 1 < most ? tasks - 1 : most;
  if (woken == workers)
    pthread_cond_broadcast(&job_opened);
  else
    for (int64_t i = 0; i < woken; i++) pthread_cond_signal(&job_opened);
  pthread_mutex_unlock(&mutex);
}

void close_gate() {
  gate.fetch_and(~kOpen, std::memory_order_seq_cst);
  const auto all_left = [] { return (gate.load(std::memory_order_seq_cst) & kInside) == 0; };
  if (spin_until(all_left, false)) return;
  pthread_mutex_lock(&mutex);
  caller_sleeps.store(true, std::memory_order_seq_cst);
  while (!all_left()) pthread_cond_wait(&workers_left, &mutex);
  caller_sleeps.store(false, std::memory_order_seq_cst);
  pthread_mutex_unlock(&mutex);
}

}  // namespace

void parallel(int64_t tasks, void (*task)(void* state, int64_t index), void* state) {
  const int threads = thread_count();
  if (tasks <= 1 || threads <= 1 || inside || all_turns_taken() || busy.exchange(true, std::memory_order_acquire)) {
    const bool counts = !inside && tasks > 1 && threads > 1;
    if (counts) begin_aside();
    for (int64_t i = 0; i < tasks; i++) task(state, i);
    if (counts) end_aside();
    return;
  }
  const int workers = threads - 1;
  if (started.load(std::memory_order_relaxed) < workers && !failed.load(std::memory_order_relaxed))
    start_workers(workers);
  job.tasks = tasks;
  job.task = task;
  job.state = state;
  job.unit = tasks / (int64_t(1) << 31) + 1;
  const int64_t units = (tasks + job.unit - 1) / job.unit;
  job.shares = units < threads ? (int)units : threads;
  for (int64_t i = 0; i < job.shares; i++)
    share[i].range.store(uint64_t(units * (i + 1) / job.shares) << 32 | uint64_t(units * i / job.shares),
                         std::memory_order_relaxed);
  open_gate(tasks, workers);
  work(0, [] { return false; });
  close_gate();
  busy.store(false, std::memory_order_release);
}

void begin_aside() {
  alone_on.store(current_processor(), std::memory_order_relaxed);
  alone.fetch_add(1, std::memory_order_relaxed);
}

void end_aside() { alone.fetch_sub(1, std::memory_order_relaxed); }

int thread_count() {
  const int count = wanted.load(std::memory_order_relaxed);
  if (count > 0) return count;
  const int available = available_parallelism();
  int unset = 0;
  wanted.compare_exchange_strong(unset, available < kMostThreads ? available : kMostThreads);
  return wanted.load(std::memory_order_relaxed);
}

void set_thread_count(int threads) {
  const int count = threads < 1 ? 1 : threads > kMostThreads ? kMostThreads : threads;
  pthread_mutex_lock(&mutex);
  wanted.store(count, std::memory_order_relaxed);
  failed = false;                       // try again: what was missing may be there now
  pthread_cond_broadcast(&job_opened);  // those that are too many leave
  pthread_mutex_unlock(&mutex);
}

bool start_thread(void* (*run)(void*), void* argument) {
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0) return false;
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  sigset_t all, old;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, &old);
  pthread_t thread;
  const bool started = pthread_create(&thread, &attributes, run, argument) == 0;
  sigprocmask(SIG_SETMASK, &old, nullptr);
  pthread_attr_destroy(&attributes);
  if (!started && !failed.exchange(true)) failure_to_report = true;
  return started;
}

bool take_thread_failure() {
  return failure_to_report.load(std::memory_order_relaxed) && failure_to_report.exchange(false);
}

}  // namespace xcorr
