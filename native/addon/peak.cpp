#include <atomic>

#include "../runtime/threads.h"
#include "../runtime/trace.h"
#include "values.h"

namespace xcorr {
namespace {

constexpr int64_t kMostRounds = int64_t(1) << 40;
constexpr int kPadding = 64;  // a cache line each, so that threads do not write to each other's

struct Burst {
  const KernelTable* table;
  int64_t rounds;
  int tasks;
  std::atomic<int> started{0};
  struct alignas(kPadding) Rate {
    float sink[16];
    double value;
  } rate[kMostThreads];
};

void burst(void* state, int64_t index) {
  Burst& b = *static_cast<Burst*>(state);
  // Waits until every thread has its burst, so that none takes two; not for ever, the system may have refused a thread.
  b.started.fetch_add(1);
  const double patience = seconds() + 300e-6;
  while (b.started.load() < b.tasks && seconds() < patience) {
  }
  const double start = seconds();
  const int64_t operations = b.table->fma_burst(b.rounds, b.rate[index].sink);
  b.rate[index].value = double(operations) / (seconds() - start);
}

}  // namespace

// fmaPeak(rounds): number, float32 multiplications and additions a second of all threads now, taken as the slowest
// thread's rate times the threads
napi_value fma_peak(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  int64_t rounds;
  if (!integer_argument(env, arguments.value[0], "fmaPeak: rounds", 1, double(kMostRounds), &rounds)) return nullptr;
  static thread_local Burst b;
  b.table = arguments.environment->settings.table;
  b.rounds = rounds;
  b.tasks = thread_count();
  b.started = 0;
  parallel(b.tasks, burst, &b);
  double slowest = b.rate[0].value;
  for (int i = 1; i < b.tasks; i++)
    if (b.rate[i].value < slowest) slowest = b.rate[i].value;
  return number(env, slowest * b.tasks);
}

}  // namespace xcorr
