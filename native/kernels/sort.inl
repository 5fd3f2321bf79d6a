// sort: every row of the middle of [outer, count, inner], stable, NaN the largest, with the order as indices.
//
// A row becomes items of an unsigned key that orders as the values do and the place it came from: such items are all
// different, so that a plain merge sort of them is stable in both directions.
#pragma once
#include "parallel.inl"

namespace xcorr {
namespace {

struct Key32 {
  uint64_t packed;  // key above place
  XCORR_MEMBER static Key32 of(uint32_t key, int64_t place) { return {(uint64_t)key << 32 | (uint64_t)place}; }
  XCORR_MEMBER bool before(const Key32& other) const { return packed < other.packed; }
  XCORR_MEMBER int32_t place() const { return (int32_t)(uint32_t)packed; }
};
struct Key64 {
  uint64_t key;
  int64_t at;
  XCORR_MEMBER static Key64 of(uint64_t key, int64_t place) { return {key, place}; }
  XCORR_MEMBER bool before(const Key64& other) const { return key != other.key ? key < other.key : at < other.at; }
  XCORR_MEMBER int32_t place() const { return (int32_t)at; }
};

XCORR_INLINE uint32_t sort_key(int32_t x) { return (uint32_t)x ^ 0x80000000u; }
// Negative numbers have all bits turned, the others the sign; -0 counts as 0, every NaN as the largest.
XCORR_INLINE uint32_t sort_key(float x) {
  if (x != x) return 0xffffffffu;
  const uint32_t bits = __builtin_bit_cast(uint32_t, x + 0.0f);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}
XCORR_INLINE uint64_t sort_key(double x) {
  if (x != x) return 0xffffffffffffffffu;
  const uint64_t bits = __builtin_bit_cast(uint64_t, x + 0.0);
  return bits >> 63 ? ~bits : bits | 0x8000000000000000u;
}

template <class T>
struct SortItem {
  using Type = Key32;
};
template <>
struct SortItem<double> {
  using Type = Key64;
};

// Sorts items; `other` has room for as many. The result is in the one that is returned.
template <class Item>
Item* merge_sort(Item* items, Item* other, int64_t count) {
  constexpr int64_t run = 16;
  for (int64_t first = 0; first < count; first += run) {
    const int64_t end = count - first < run ? count : first + run;
    for (int64_t i = first + 1; i < end; i++) {
      const Item item = items[i];
      int64_t at = i;
      for (; at > first && item.before(items[at - 1]); at--) items[at] = items[at - 1];
      items[at] = item;
    }
  }
  for (int64_t width = run; width < count; width *= 2) {
    for (int64_t first = 0; first < count; first += 2 * width) {
      const int64_t middle = count - first < width ? count : first + width;
      const int64_t end = count - first < 2 * width ? count : first + 2 * width;
      int64_t left = first, right = middle;
      for (int64_t at = first; at < end; at++) {
        const bool take_right = left == middle || (right < end && items[right].before(items[left]));
        other[at] = items[take_right ? right : left];
        right += take_right;
        left += !take_right;
      }
    }
    Item* const sorted = other;
    other = items;
    items = sorted;
  }
  return items;
}

template <class T>
int64_t sort(const SortSizes& s, const Runtime& runtime, void* const* operands) {
  using Item = typename SortItem<T>::Type;
  const T* const x = static_cast<const T*>(operands[0]);
  T* const y = static_cast<T*>(operands[1]);
  int32_t* const index = static_cast<int32_t*>(operands[2]);
  const int64_t rows = s.outer * s.inner;
  if (rows * s.count == 0) return kOk;
  // Rows are dealt to at most 32 tasks, each with its own memory, less for very long rows: taken once, before writing.
  int64_t tasks = rows * s.count <= kSerialElements / 4 ? 1 : rows < 32 ? rows : 32;
  const int64_t affordable = (1 << 22) / s.count;
  if (tasks > affordable) tasks = affordable < 1 ? 1 : affordable;
  Item* const memory = static_cast<Item*>(runtime.scratch(0, tasks * 2 * s.count * (int64_t)sizeof(Item)));
  if (!memory) return kOutOfMemory;
  run_tasks(runtime, tasks, [&](int64_t task) {
    Item* const items = memory + task * 2 * s.count;
    for (int64_t row = rows * task / tasks; row < rows * (task + 1) / tasks; row++) {
      const int64_t base = row / s.inner * s.count * s.inner + row % s.inner;
      for (int64_t i = 0; i < s.count; i++) {
        const auto key = sort_key(x[base + i * s.inner]);
        items[i] = Item::of(s.descending ? ~key : key, i);
      }
      const Item* const sorted = merge_sort(items, items + s.count, s.count);
      for (int64_t i = 0; i < s.count; i++) {
        const int32_t place = sorted[i].place();
        y[base + i * s.inner] = x[base + place * s.inner];
        index[base + i * s.inner] = place;
      }
    }
  });
  return kOk;
}

}  // namespace
}  // namespace xcorr
