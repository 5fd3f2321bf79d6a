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

// body(index) for every index in [0, tasks).
template <class Body>
XCORR_INLINE void run_tasks(const Runtime& runtime, int64_t tasks, const Body& body) {
  if (tasks <= 0) return;
  const auto task = [](void* state, int64_t index) { (*static_cast<const Body*>(state))(index); };
  runtime.parallel(tasks, task, const_cast<Body*>(&body));
}

[[gnu::noinline]] inline void run_ranges_of(const Runtime& runtime, int64_t count, int64_t cost, int64_t grain,
                                            Reference<int64_t, int64_t> body) {
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

// body(first, end) over [0, count) where one of `count` things visits `cost` elements. Pieces are multiples of `grain`.
template <class Body>
XCORR_INLINE void run_ranges(const Runtime& runtime, int64_t count, int64_t cost, int64_t grain, const Body& body) {
  run_ranges_of(runtime, count, cost, grain, Reference<int64_t, int64_t>(body));
}

}  // namespace
}  // namespace xcorr
