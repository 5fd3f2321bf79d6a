#include "turns.h"

#include <pthread.h>
#include <stdint.h>

#include <atomic>

#include "clock.h"
#include "cpu.h"
#include "threads.h"

namespace xcorr {
namespace {

// As long as the system's own time slices: waking a thread and filling its caches costs some 100 us.
constexpr int64_t kTurn = 4000000;

// Whoever waits sleeps until it is given its turn: no others are woken, which would only wait for a processor.
struct Waiter {
  Waiter* next = nullptr;
  bool given = false;
  pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
};

pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
// Guarded by the mutex: those who wait, in order, and how many have a turn (read without it, too).
Waiter* first = nullptr;
Waiter** last = &first;
std::atomic<int> computing{0};
std::atomic<bool> somebody_waits{false};
thread_local bool has_turn = false;
thread_local int64_t since = 0;

// A host may want one thread for each of many kernels that run at once.
int most_computing() {
  static const int processors = available_parallelism();
  const int threads = thread_count();
  return threads > processors ? threads : processors;
}

void give_turns() {
  while (first && computing < most_computing()) {
    Waiter* const next = first;
    if (!(first = next->next)) last = &first;
    computing++;
    next->given = true;
    pthread_cond_signal(&next->changed);
  }
  somebody_waits.store(first != nullptr, std::memory_order_relaxed);
}

// With the mutex, which it leaves unlocked: in one go, as whoever is woken may take this thread's processor at once.
void wait_for_turn() {
  Waiter waiter;
  *last = &waiter;
  last = &waiter.next;
  give_turns();
  while (!waiter.given) pthread_cond_wait(&waiter.changed, &mutex);
  pthread_mutex_unlock(&mutex);
  has_turn = true;
  since = nanoseconds();
}

}  // namespace

void begin_turn() {
  pthread_mutex_lock(&mutex);
  wait_for_turn();
}

void end_turn() {
  has_turn = false;
  pthread_mutex_lock(&mutex);
  computing--;
  give_turns();
  pthread_mutex_unlock(&mutex);
}

void pass_turn() {
  if (!has_turn || !somebody_waits.load(std::memory_order_relaxed) || nanoseconds() - since < kTurn) return;
  pthread_mutex_lock(&mutex);
  computing--;
  wait_for_turn();
}

bool all_turns_taken() { return computing.load(std::memory_order_relaxed) >= most_computing(); }

void forget_turns() {
  first = nullptr;
  last = &first;
  computing = 0;
  somebody_waits = false;
  pthread_mutex_init(&mutex, nullptr);
}

}  // namespace xcorr
