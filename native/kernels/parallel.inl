// Work on the pool in tasks whose number and size follow from the kernel's sizes alone.
#pragma once

namespace xcorr {
namespace {

// Up to this many element visits a kernel stays on the calling thread; above it, tasks take about half as many each.
constexpr int64_t kSerialElements = 65536, kTaskElements = 32768;

// body(index) for every index in [0, tasks).
template <class Body>
XCORR_INLINE void run_tasks(const Runtime& runtime, int64_t tasks, const Body& body) {
  if (tasks == 1) {
    body(0);
  } else if (tasks > 1) {
    const auto task = [](void* state, int64_t index) { (*static_cast<const Body*>(state))(index); };
    runtime.parallel(tasks, task, const_cast<Body*>(&body));
  }
}

// body(first, end) over [0, count) where one of `count` things visits `cost` elements. Pieces are multiples of `grain`.
template <class Body>
XCORR_INLINE void run_ranges(const Runtime& runtime, int64_t count, int64_t cost, int64_t grain, const Body& body) {
  if (count <= 0) return;
  cost = cost < 1 ? 1 : cost;
  if (count <= kSerialElements / cost) return body(0, count);
  int64_t piece = kTaskElements / cost;
  piece = piece < grain ? grain : piece / grain * grain;
  run_tasks(runtime, (count + piece - 1) / piece, [&](int64_t index) {
    const int64_t first = index * piece, end = first + piece;
    body(first, end < count ? end : count);
  });
}

}  // namespace
}  // namespace xcorr
