// One pool of compute threads per process: Runtime::parallel.
#pragma once

#include <stdint.h>

namespace xcorr {

// Calls task(state, index) for every index in [0, tasks), each exactly once, on the pool and the calling thread, and
// returns when all are done. One job at a time: nested calls, and calls while the pool works for another thread
// (another worker_thread's job), run on the caller alone; for that time one worker of the pool stands aside.
void parallel(int64_t tasks, void (*task)(void* state, int64_t index), void* state);

// Between begin_aside() and end_aside() a thread of the process computes beside the pool without it (JavaScript that
// must get on with its work, say): one worker of the pool stands aside, and the others leave the processor of whoever
// began last.
void begin_aside();
void end_aside();

// Threads that work on a job, the caller included. Initially XCORR_NUM_THREADS, or the CPUs that the process may use.
int thread_count();
void set_thread_count(int threads);  // at least 1; takes effect with the next job
constexpr int kMostThreads = 1024;

// A detached thread that takes none of the host's signals; false if the system refuses it, which is then reported, and
// the pool makes no more before the number of threads is set.
bool start_thread(void* (*run)(void*), void* argument);

// Whether the system once refused a thread: work is done on those that could be had. Reports each refusal once.
bool take_thread_failure();

}  // namespace xcorr
