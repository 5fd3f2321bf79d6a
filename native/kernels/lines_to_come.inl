// What a weight gradient's products fetch from far away while they multiply: pixels of the next block, a line a step.
#pragma once

namespace xcorr {
namespace {

// A step of a short product fetches half a line, which is a line every second step: more would keep the product's own
// lines waiting, of which the core takes about 16 at a time.
constexpr int64_t kFloatsAhead = 8;

// `count` runs of `length` floats, `stride` apart, and then others.
class LinesToCome {
 public:
  void add(const float* from, int64_t stride, int64_t count, int64_t length) {
    if (count <= 0 || length <= 0 || used == kMostRuns) return;
    if (stride == length) length *= count, count = 1;
    runs[used++] = {from, stride, count, length};
  }
  int64_t floats() const {
    int64_t sum = 0;
    for (int i = 0; i < used; i++) sum += runs[i].count * runs[i].length;
    return sum;
  }
  // A place to fetch `floats` from; `otherwise` once nothing is left.
  const float* next(int64_t floats, const float* otherwise) {
    if (current == used) return otherwise;
    const Runs& r = runs[current];
    const float* const from = r.from + run * r.stride + at;
    if ((at += floats) < r.length) return from;
    at = 0;
    if (++run < r.count) return from;
    run = 0;
    current++;
    return from;
  }
  // Fetches so many lines.
  void fetch(int64_t lines) {
    for (; lines > 0 && current < used; lines--) __builtin_prefetch(next(kLine, nullptr), 0, 2);
  }

 private:
  static constexpr int64_t kLine = 64 / sizeof(float);
  static constexpr int64_t kMostRuns = 64;
  struct Runs {
    const float* from;
    int64_t stride, count, length;
  };
  Runs runs[kMostRuns];
  int used = 0, current = 0;
  int64_t run = 0, at = 0;
};

}  // namespace
}  // namespace xcorr
