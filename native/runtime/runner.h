// A thread of its own that computes pieces of work one after the other, in the order in which they came.
#pragma once

#include <pthread.h>

#include <atomic>

namespace xcorr {

struct Work {
  Work* next = nullptr;
  double ticket = 0;  // its name for take_back()
  bool taken_back = false;
};

class Runner {
 public:
  // compute(work, stop) runs on the thread and should end early once `stop` is set; after it, done(receiver) does.
  Runner(void (*compute)(Work*, const std::atomic<bool>& stop), void (*done)(void* receiver), void* receiver)
      : compute_(compute), done_(done), receiver_(receiver) {}
  Runner(const Runner&) = delete;

  bool start();                   // false when the system refuses a thread; once true, it stays
  void add(Work* work);           // after start()
  bool take_back(double ticket);  // counts as finished if it had not begun
  Work* finished();               // the next that is, null if there is none
  // Ends the thread, after the piece of work that it has begun. All that were not fetched, linked.
  Work* end();

 private:
  struct Queue {
    Work* first = nullptr;
    Work** last = &first;
    void push(Work* work);
    Work* pop();
  };
  static void* loop(void* runner);
  void run();

  void (*const compute_)(Work*, const std::atomic<bool>&);
  void (*const done_)(void*);
  void* const receiver_;
  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t changed_ = PTHREAD_COND_INITIALIZER;
  std::atomic<bool> stop_{false};
  // Guarded by the mutex:
  Queue waiting_, finished_;
  bool alive_ = false;
  int giver_ = -1;  // the processor of whoever added last
};

}  // namespace xcorr
