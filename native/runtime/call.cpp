#include "call.h"

#include <stdlib.h>
#include <string.h>

#include <atomic>

#include "checks.h"
#include "scratch.h"
#include "threads.h"
#include "trace.h"

namespace xcorr {
namespace {

// ---- From abi.h: per kernel, which bytes its operands cover, and the call through the table ----

Region region(int type, Extent e) {
  const int bytes = (int)type_bytes(type);
  return {bytes, e.low * bytes, e.high * bytes};
}

#define XCORR_REGION(name, type, extent) *next++ = region((int)(type), extent);
#define XCORR_PLAN(name, Sizes, types, ...)                                                            \
  const char* plan_##name(void* sizes, [[maybe_unused]] int T, const bool* given, Region* next) {      \
    Sizes& s = *static_cast<Sizes*>(sizes);                                                            \
    if (const char* wrong = check(s, k_##name)) return wrong;                                          \
    if (const char* wrong = check_given(s, k_##name, given)) return wrong;                             \
    shrink(s, k_##name);                                                                               \
    __VA_ARGS__                                                                                        \
    return nullptr;                                                                                    \
  }                                                                                                    \
  int64_t invoke_##name(const KernelTable& table, int type, const void* sizes, const Runtime& runtime, \
                        void* const* operands) {                                                       \
    return table.name[type](*static_cast<const Sizes*>(sizes), runtime, operands);                     \
  }
XCORR_KERNELS(XCORR_PLAN, XCORR_REGION, XCORR_REGION, XCORR_REGION, XCORR_REGION, XCORR_REGION)

struct Functions {
  const char* (*plan)(void*, int, const bool*, Region*);
  int64_t (*invoke)(const KernelTable&, int, const void*, const Runtime&, void* const*);
};
#define XCORR_FUNCTIONS(name, ...) {plan_##name, invoke_##name},
constexpr Functions kFunctions[kKernels] = {
    XCORR_KERNELS(XCORR_FUNCTIONS, XCORR_NOTHING, XCORR_NOTHING, XCORR_NOTHING, XCORR_NOTHING, XCORR_NOTHING)};

// ---- Decoding ----

constexpr double kExactIntegers = 9007199254740992.0;  // 2^53: beyond, a double does not tell neighbours apart

// Whether `value` is an integer that a double holds exactly.
bool integer(double value, int64_t* out) {
  if (!(value >= -kExactIntegers && value <= kExactIntegers)) return false;
  *out = (int64_t)value;
  return (double)*out == value;
}

bool refuse(Text* error, const Kernel& k, const char* wrong, const Call& call) {
  error->print("%s: %s (", k.name, wrong);
  print_sizes(error, call);
  error->print(")");
  return false;
}

bool refuse_size(Text* error, const Kernel& k, int slot, double value) {
  int field = 0;
  for (int first = 0; first + slots_of(k.field[field].kind) <= slot; field++) first += slots_of(k.field[field].kind);
  error->print("%s: %s must be an integer of at most 2^53, not %g", k.name, k.field[field].name, value);
  return false;
}

}  // namespace

bool decode(double kernel, double type, const double* sizes, double slots, double parameters, const bool* given,
            Call* call, Text* error) {
  if (!(kernel >= 0 && kernel < int(kKernels)) || kernel != (int)kernel) {
    error->print("kernel %g does not exist", kernel);
    return false;
  }
  const Kernel& k = kKernel[(int)kernel];
  if (!(type >= 0 && type < int(kTypes)) || type != (int)type || !k.takes((int)type)) {
    error->print("%s does not take element type %g", k.name, type);
    return false;
  }
  if (slots != k.slots || parameters != k.parameters) {
    error->print("%s takes %d sizes and %d operands, not %g and %g", k.name, k.slots, k.parameters, slots, parameters);
    return false;
  }
  call->kernel = (int)kernel;
  call->type = (int)type;
  unsigned char* slot = call->sizes;
  int64_t largest = 0, value = 0;
  const int plain = k.rank_slot >= 0 ? k.rank_slot + 1 : k.integers;
  for (int i = 0; i < plain; i++) {
    if (!integer(sizes[i], &value)) return refuse_size(error, k, i, sizes[i]);
    memcpy(slot + 8 * i, &value, 8);
    largest |= value < 0 ? -value : value;
  }
  if (k.rank_slot >= 0) {  // `value` is the rank; of kRank entries only so many count
    const int rank = value >= 0 && value <= kRank ? (int)value : kRank;
    memset(slot + 8 * plain, 0, 8 * (k.integers - plain));
    for (int first = plain; first < k.integers; first += kRank) {
      for (int i = first; i < first + rank; i++) {
        if (!integer(sizes[i], &value)) return refuse_size(error, k, i, sizes[i]);
        memcpy(slot + 8 * i, &value, 8);
        largest |= value < 0 ? -value : value;
      }
    }
  }
  memcpy(slot + 8 * k.integers, sizes + k.integers, (k.slots - k.integers) * 8);
  // seed and offset are numbers, not sizes.
  if (largest > kMostSize && call->kernel != k_random_fill) return refuse(error, k, "a size is above 2^40", *call);
  for (int i = 0; i < k.parameters; i++) {
    if (given[i] || k.parameter[i].optional()) continue;
    error->print("%s: operand %s is missing", k.name, k.parameter[i].name);
    return false;
  }
  const char* wrong = kFunctions[call->kernel].plan(call->sizes, call->type, given, call->region);
  if (wrong) return refuse(error, k, wrong, *call);
  // Sizes of nothing may still be large ([2^40, 0]), and a kernel would count through them.
  const auto empty = [&](int i) { return !given[i] || call->region[i].high == call->region[i].low; };
  call->nothing = true;
  for (int i = 0; i < k.parameters && call->nothing; i++) call->nothing = !k.parameter[i].written() || empty(i);
  for (int i = 0; i < k.parameters && call->nothing; i++)
    call->nothing = strcmp(k.parameter[i].name, "index") || empty(i);
  return true;
}

namespace {

std::atomic<bool> trace{[] {
  const char* value = getenv("XCORR_TRACE");
  return value && *value && strcmp(value, "0") != 0;
}()};

}  // namespace

int64_t invoke(const Call& call, const KernelTable& table, const Runtime& runtime, void* const* operands) {
  return kFunctions[call.kernel].invoke(table, call.type, call.sizes, runtime, operands);
}

void set_trace(bool on) { trace.store(on, std::memory_order_relaxed); }

int64_t run(const Call& call, const Settings& settings, void* const* operands, Kept* kept) {
  if (call.nothing) [[unlikely]]
    return kOk;
  const char* algorithm = nullptr;
  const Runtime runtime = {thread_count(), settings.precision, parallel, scratch, &algorithm, kept};
  if (!trace.load(std::memory_order_relaxed) || (kept && !kept->memory)) [[likely]]
    return invoke(call, *settings.table, runtime, operands);
  const double start = seconds();
  const int64_t status = invoke(call, *settings.table, runtime, operands);
  print_trace(call, settings.table->target, algorithm, seconds() - start, status);
  return status;
}

}  // namespace xcorr
