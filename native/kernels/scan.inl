// scan: running totals over the middle of [outer, count, inner].
#pragma once
#include "reduce.inl"

namespace xcorr {
namespace {

// Running totals of up to kStrip neighbouring columns.
template <class T, int64_t op>
void scan_with(const ScanSizes& s, const Runtime& runtime, const T* x, T* y) {
  using F = Fold<T, op>;
  using A = typename F::A;
  const int64_t strips = (s.inner + kStrip - 1) / kStrip;
  run_ranges(
      runtime, s.outer * strips, s.count * (s.inner < kStrip ? s.inner : kStrip), 1, [&](int64_t first, int64_t end) {
        for (int64_t b = first; b < end; b++) {
          const int64_t column = b % strips * kStrip, left = s.inner - column, columns = left < kStrip ? left : kStrip;
          const int64_t base = b / strips * s.count * s.inner + column;
          A total[kStrip];
          for (int64_t j = 0; j < columns; j++) total[j] = F::start();
          for (int64_t i = 0; i < s.count; i++) {
            const int64_t row = base + (s.reverse ? s.count - 1 - i : i) * s.inner;
            for (int64_t j = 0; j < columns; j++) {
              total[j] = F::next(total[j], (A)x[row + j]);
              y[row + j] = (T)total[j];
            }
          }
        }
      });
}

template <class T>
int64_t scan(const ScanSizes& s, const Runtime& runtime, void* const* operands) {
  const T* const x = static_cast<const T*>(operands[0]);
  T* const y = static_cast<T*>(operands[1]);
  switch (s.op) {
    case reduce::sum:
      scan_with<T, reduce::sum>(s, runtime, x, y);
      break;
    case reduce::prod:
      scan_with<T, reduce::prod>(s, runtime, x, y);
      break;
    case reduce::max:
      scan_with<T, reduce::max>(s, runtime, x, y);
      break;
    case reduce::min:
      scan_with<T, reduce::min>(s, runtime, x, y);
      break;
  }
  return kOk;
}

}  // namespace
}  // namespace xcorr
