// Whether a program has computed all that it was to, shared between it and the programs that need it.
#pragma once

#include <utility>

namespace xcorr {

struct Outcome {
  explicit Outcome(double name) : ticket(name) {}
  const double ticket;
  bool good = false;   // written by the thread that runs programs, read there, and here after it was fetched
  bool ended = false;  // on the environment's thread
  int holders = 0;
};

// A holder of an outcome; all come and go on the environment's thread. (std::shared_ptr asks the C library whether
// there are other threads, which only glibc 2.32 knows.)
class HeldOutcome {
 public:
  HeldOutcome() = default;
  explicit HeldOutcome(Outcome* outcome) : outcome_(outcome) { outcome_->holders++; }
  HeldOutcome(const HeldOutcome& other) : outcome_(other.outcome_) {
    if (outcome_) outcome_->holders++;
  }
  HeldOutcome(HeldOutcome&& other) noexcept : outcome_(std::exchange(other.outcome_, nullptr)) {}
  HeldOutcome& operator=(HeldOutcome other) noexcept {
    std::swap(outcome_, other.outcome_);
    return *this;
  }
  ~HeldOutcome() {
    if (outcome_ && --outcome_->holders == 0) delete outcome_;
  }
  Outcome* operator->() const { return outcome_; }
  explicit operator bool() const { return outcome_; }
  bool operator==(const HeldOutcome& other) const { return outcome_ == other.outcome_; }

 private:
  Outcome* outcome_ = nullptr;
};

}  // namespace xcorr
