// Random calls of every kernel: sizes that abi.h allows, small and large enough for several tasks, and operands to go
// with them. Everything comes from one number, by integer arithmetic alone, so that every machine makes the same calls.
#pragma once

#include <vector>

#include "../runtime/call.h"

namespace xcorr {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {  // SplitMix64
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  int64_t below(int64_t n) { return int64_t(next() % uint64_t(n)); }
  int64_t from(int64_t low, int64_t high) { return low + below(high - low + 1); }
  bool one_in(int64_t n) { return below(n) == 0; }
  double unit() { return double(next() >> 40) * 0x1p-24; }  // [0, 1), exact in float32
  double symmetric() { return unit() * 2 - 1; }

 private:
  uint64_t state_;
};

struct RandomCall {
  int type;
  std::vector<double> sizes;
  std::vector<char> given;  // by operand
  bool gaps = false;        // y has elements between those that are written
};

RandomCall random_call(int kernel, Random& random);

// Fills operand i of a call with input: finite numbers of a size that suits the kernel, now and then (if `special`)
// NaN, infinities, zeros and denormals; positions in range, now and then one that is not.
void random_input(const Call& call, int operand, void* data, int64_t elements, bool special, Random& random);

}  // namespace xcorr
