// Work on the pool in tasks whose number and size follow from the kernel's sizes alone.
#pragma once

namespace xcorr {
namespace {

// Up to this many element visits a kernel stays on the calling thread; above it, tasks take about half as many each.
constexpr int64_t kSerialElements = 65536, kTaskElements = 32768;

// A callable by reference: loops around a body take it in this form, so that the body is compiled once and not inlined
// again on every way that leads to it.
template <class... Arguments>
struct Reference {
  const void* body;
  void (*function)(const void* body, Arguments...);

  template <class Body>
  XCORR_MEMBER explicit Reference(const Body& b)
      : body(&b),
        function([](const void* p, Arguments... arguments) { (*static_cast<const Body*>(p))(arguments...); }) {}
  XCORR_MEMBER void operator()(Arguments... arguments) const { function(body, arguments...); }
};

// One copy of a body's code, whatever calls it.
template <class Body>
[[gnu::noinline]] void call_task(void* body, int64_t index) {
  (*static_cast<const Body*>(body))(index);
}
template <class Body>
[[gnu::noinline]] void call_range(const Body& body, int64_t first, int64_t end) {
  body(first, end);
}

// body(index) for every index in [0, tasks).
template <class Body>
XCORR_INLINE void run_tasks(const Runtime& runtime, int64_t tasks, const Body& body) {
  void* const state = const_cast<Body*>(&body);
  if (tasks == 1) call_task<Body>(state, 0);
  if (tasks > 1) runtime.parallel(tasks, call_task<Body>, state);
}

// body(first, end) over [0, count) where one of `count` things visits `cost` elements. Pieces are multiples of `grain`.
template <class Body>
XCORR_INLINE void run_ranges(const Runtime& runtime, int64_t count, int64_t cost, int64_t grain, const Body& body) {
  if (count <= 0) return;
  cost = cost < 1 ? 1 : cost;
  if (count <= kSerialElements / cost) return call_range(body, 0, count);
  int64_t piece = kTaskElements / cost;
  piece = piece < grain ? grain : piece / grain * grain;
  run_tasks(runtime, (count + piece - 1) / piece, [&](int64_t index) {
    const int64_t first = index * piece, end = first + piece;
    call_range(body, first, end < count ? end : count);
  });
}

}  // namespace
}  // namespace xcorr
