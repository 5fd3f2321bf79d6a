// What a kernel makes of constant operands, kept between calls in the caller's memory (Kept in abi.h).
//
// The first cache line says what lies behind it. Of calls that run at the same time the first fills it; the others work
// as if nothing were kept until it is done.
#pragma once

namespace xcorr {
namespace {

constexpr int64_t kKeptHeader = 64;
constexpr int64_t kLeastKept = 64 << 10;  // what is smaller is made anew at next to no cost

struct KeptHeader {
  enum State : int32_t { empty, filling, filled };
  int32_t state;
  int64_t kind;
};

class Keep {
 public:
  // `kind` tells what the same operands can become apart: algorithms, panels of a target.
  Keep(const Runtime& runtime, int64_t kind, int64_t bytes) {
    Kept* const kept = runtime.kept;
    if (!kept) return;
    asked = !kept->memory;
    if (asked) kept->bytes = bytes >= kLeastKept ? kKeptHeader + bytes : 0;
    if (asked || kept->bytes < kKeptHeader + bytes) return;
    header_ = static_cast<KeptHeader*>(kept->memory);
    int32_t state = KeptHeader::empty;
    if (__atomic_compare_exchange_n(&header_->state, &state, KeptHeader::filling, false, __ATOMIC_ACQUIRE,
                                    __ATOMIC_ACQUIRE))
      header_->kind = kind;
    else if (state == KeptHeader::filling || header_->kind != kind)
      return;
    ready = state == KeptHeader::filled;
    memory = static_cast<char*>(kept->memory) + kKeptHeader;
  }
  void fill_done() {
    if (memory && !ready) __atomic_store_n(&header_->state, KeptHeader::filled, __ATOMIC_RELEASE);
  }

  bool asked = false;      // nothing is to be computed
  void* memory = nullptr;  // where it lies, or is to be put; null: the kernel uses memory of its own
  bool ready = false;      // it is there

 private:
  KeptHeader* header_ = nullptr;
};

// Whether this call only asks what would be kept; for algorithms that keep nothing.
XCORR_INLINE bool asks_only(const Runtime& runtime) { return runtime.kept && !runtime.kept->memory; }

}  // namespace
}  // namespace xcorr
