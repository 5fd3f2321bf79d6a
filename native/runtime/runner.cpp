#include "runner.h"

#if defined(__linux__)
#include <sys/prctl.h>
#endif

#include "answering.h"
#include "processor.h"
#include "threads.h"
#include "turns.h"

namespace xcorr {

void Runner::Queue::push(Work* work) {
  work->next = nullptr;
  *last = work;
  last = &work->next;
}

Work* Runner::Queue::pop() {
  Work* work = first;
  if (!work) return nullptr;
  first = work->next;
  if (!first) last = &first;
  return work;
}

bool Runner::start() {
  if (!alive_) alive_ = start_thread(loop, this);
  return alive_;
}

void Runner::add(Work* work) {
  pthread_mutex_lock(&mutex_);
  giver_ = current_processor();
  waiting_.push(work);
  pthread_cond_signal(&changed_);
  pthread_mutex_unlock(&mutex_);
}

bool Runner::take_back(double ticket) {
  pthread_mutex_lock(&mutex_);
  Queue rest;
  bool found = false;
  while (Work* work = waiting_.pop()) {
    const bool is_it = !found && work->ticket == ticket;
    (is_it ? finished_ : rest).push(work);
    work->taken_back = is_it;
    found = found || is_it;
  }
  while (Work* work = rest.pop()) waiting_.push(work);
  pthread_mutex_unlock(&mutex_);
  return found;
}

Work* Runner::finished() {
  pthread_mutex_lock(&mutex_);
  Work* work = finished_.pop();
  pthread_mutex_unlock(&mutex_);
  return work;
}

Work* Runner::end() {
  pthread_mutex_lock(&mutex_);
  stop_ = true;
  pthread_cond_broadcast(&changed_);
  while (alive_) pthread_cond_wait(&changed_, &mutex_);
  while (Work* work = waiting_.pop()) finished_.push(work);
  pthread_mutex_unlock(&mutex_);
  return finished_.first;
}

void* Runner::loop(void* runner) {
  static_cast<Runner*>(runner)->run();
  return nullptr;
}

void Runner::run() {
#if defined(__linux__)
  prctl(PR_SET_NAME, "xcorr programs", 0, 0, 0);
#endif
  int giver = -1;
  pthread_mutex_lock(&mutex_);
  while (!stop_) {
    if (!waiting_.first) {
      pthread_cond_wait(&changed_, &mutex_);
      giver = giver_;
      continue;
    }
    Work* work = waiting_.pop();
    pthread_mutex_unlock(&mutex_);
    begin_turn();
    leave_processor(giver, -1);  // who gave the work has more to do than wait for its end
    giver = -1;
    compute_(work, stop_);
    pthread_mutex_lock(&mutex_);
    finished_.push(work);
    pthread_mutex_unlock(&mutex_);
    done_(receiver_);
    end_turn();                              // as the last, so that the next one finds this processor free
    if (!all_turns_taken()) make_way(true);  // who is told wakes, maybe here
    pthread_mutex_lock(&mutex_);
  }
  alive_ = false;
  pthread_cond_broadcast(&changed_);
  pthread_mutex_unlock(&mutex_);
}

}  // namespace xcorr
