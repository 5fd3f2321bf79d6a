// Hostile calls: numbers as the addon gets them from JavaScript, legal calls with some of them overwritten, cut or
// shuffled, and programs of such. Each must be refused with a message or computed inside its operands; for the
// sanitizers, which see every byte read or written beyond a block.
//
//   fuzz_calls [seconds] [seed [1]]     seconds (default 3); with a third number that seed alone, as printed when a
//   call
//                                       goes wrong
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <limits>

#include "../addon/record.h"
#include "../runtime/dispatch.h"
#include "../runtime/threads.h"
#include "../runtime/trace.h"
#include "random_calls.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
// Working space that the machine has not is refused, not the end.
extern "C" const char* __asan_default_options() {
  return "allocator_may_return_null=1:max_allocation_size_mb=512:detect_leaks=1";
}
#endif

namespace xcorr {
namespace {

constexpr int64_t kMostBytes = int64_t(1) << 20;  // of a block: larger legal calls are left out
constexpr unsigned kPatience = 20;                // seconds that one call may take under the sanitizers
constexpr double kMostWork = 0x1p28;              // element visits of a call that is run
constexpr double kSlowest = 2e6;                  // of them a second, at least

double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

uint64_t current_seed = 0;
char current_kernel[2048] = "";  // with its sizes
[[maybe_unused]] void say_seed() {
  fprintf(stderr, "FAILED: seed %llu, %s\n", (unsigned long long)current_seed, current_kernel);
}
void hangs(int) {
  fprintf(stderr, "FAILED: a call takes more than %u s, seed %llu, %s\n", kPatience, (unsigned long long)current_seed,
          current_kernel);
  _exit(1);
}

// Memory as JavaScript registers it: exactly so long, sometimes 1 to 7 bytes off the alignment of its elements.
struct Blocks {
  Environment environment;
  std::vector<unsigned char*> owned;

  ~Blocks() {
    for (Block* block : environment.blocks) delete block;
    for (unsigned char* memory : owned) free(memory);
  }
  // Its id, or -1 where the machine has no such memory.
  double add(int64_t bytes, int64_t shift) {
    unsigned char* memory = static_cast<unsigned char*>(malloc(bytes + shift));
    if (!memory) return -1;
    memset(memory, 0, bytes + shift);
    owned.push_back(memory);
    environment.blocks.push_back(new Block{nullptr, memory + shift, bytes, 1});
    return (double)environment.blocks.size() - 1;
  }
};

double any_number(Random& r) {
  static const double kExtremes[] = {0,
                                     -0.0,
                                     1,
                                     -1,
                                     2,
                                     3,
                                     7,
                                     -2,
                                     0.5,
                                     15,
                                     16,
                                     17,
                                     255,
                                     4096,
                                     65536,
                                     0x1p24,
                                     2147483647,
                                     -2147483648.0,
                                     2147483648,
                                     4294967295,
                                     4294967296,
                                     0x1p40,
                                     0x1p40 + 1,
                                     0x1p46,
                                     9007199254740992.0,
                                     -9007199254740992.0,
                                     9223372036854775807.0,
                                     -9223372036854775808.0,
                                     18446744073709551616.0,
                                     1e300,
                                     -1e300,
                                     4.9e-324,
                                     std::numeric_limits<double>::infinity(),
                                     -std::numeric_limits<double>::infinity(),
                                     std::numeric_limits<double>::quiet_NaN()};
  if (r.one_in(8)) {  // any bits
    const uint64_t bits = r.next();
    double value;
    memcpy(&value, &bits, 8);
    return value;
  }
  if (r.one_in(3)) return (double)r.from(-3, 70);
  return kExtremes[r.below(sizeof kExtremes / sizeof *kExtremes)];
}

// A legal call over blocks of its own; empty if its operands would be too large.
std::vector<double> legal_record(Random& r, Blocks* blocks) {
  const int kernel = (int)r.below(kKernels);
  const RandomCall random = random_call(kernel, r);
  const Kernel& k = kKernel[kernel];
  bool given[kMostParameters] = {};
  for (int i = 0; i < k.parameters; i++) given[i] = random.given[i];
  Call call;
  Text error;
  if (!decode(kernel, random.type, random.sizes.data(), k.slots, k.parameters, given, &call, &error)) return {};
  std::vector<double> numbers = {(double)kernel, (double)random.type, (double)k.slots, (double)k.parameters};
  numbers.insert(numbers.end(), random.sizes.begin(), random.sizes.end());
  for (int i = 0; i < k.parameters; i++) {
    const Region& region = call.region[i];
    const int64_t bytes = region.high - region.low;
    if (!given[i]) {
      numbers.insert(numbers.end(), {-1, 0});
      continue;
    }
    if (bytes > kMostBytes) return {};
    const bool inside = r.one_in(4);  // not at the start of its block, and with room behind
    const int64_t before = inside ? 8 * r.below(9) : 0;
    const double id = blocks->add(before + bytes + (inside ? r.below(40) : 0), r.one_in(60) ? r.from(1, 7) : 0);
    if (id < 0) return {};
    const Block& block = *blocks->environment.blocks[(size_t)id];
    const int64_t elements = bytes / region.element_bytes;
    std::vector<double> input((size_t)elements);  // aligned, and wide enough for every type
    random_input(call, i, input.data(), elements, r.one_in(8), r);
    if (bytes > 0) memcpy(block.data + before, input.data(), (size_t)bytes);
    numbers.insert(numbers.end(), {id, (double)(before - region.low)});
  }
  return numbers;
}

// How many sizes a record says it has.
int64_t slots_of(const std::vector<double>& numbers) {
  const double slots = numbers[2];
  return slots >= 0 && slots <= kMostSlots ? (int64_t)slots : 0;
}

// A size of 0 where another is huge: memory that is empty, and loops that are not.
void empty_but_large(Random& r, std::vector<double>* numbers) {
  if (numbers->size() < kHeader + 2) return;
  const int64_t slots = std::min(slots_of(*numbers), (int64_t)numbers->size() - kHeader);
  if (slots < 1) return;
  (*numbers)[(size_t)(kHeader + r.below(slots))] = 0;
  for (int64_t times = r.from(1, 3); times > 0; times--)
    (*numbers)[(size_t)(kHeader + r.below(slots))] = (double)(int64_t(1) << r.from(16, 40));
}

// Two operands in one block, at the same place or across each other.
void overlapping(Random& r, std::vector<double>* numbers) {
  if (numbers->size() < kHeader + 2) return;
  const size_t first = kHeader + (size_t)slots_of(*numbers);
  if (first + 4 > numbers->size()) return;
  const int64_t operands = (int64_t)(numbers->size() - first) / 2;
  const size_t from = first + 2 * (size_t)r.below(operands), to = first + 2 * (size_t)r.below(operands);
  (*numbers)[to] = (*numbers)[from];
  (*numbers)[to + 1] = (*numbers)[from + 1] + (r.one_in(2) ? 0.0 : (double)(4 * r.from(-8, 8)));
}

void mutate(Random& r, std::vector<double>* numbers) {
  if (r.one_in(6)) empty_but_large(r, numbers);
  if (r.one_in(6)) overlapping(r, numbers);
  for (int64_t times = r.from(0, 4); times > 0 && !numbers->empty(); times--) {
    const size_t at = (size_t)r.below((int64_t)numbers->size());
    switch (r.below(8)) {
      case 0:
        (*numbers)[at] += (double)r.from(-2, 2);
        break;
      case 1:
        (*numbers)[at] *= 2;
        break;
      case 2:
        (*numbers)[at] = -(*numbers)[at];
        break;
      case 3:
        std::swap((*numbers)[at], (*numbers)[(size_t)r.below((int64_t)numbers->size())]);
        break;
      case 4:
        if (r.one_in(3)) numbers->resize(at);
        break;
      case 5:
        if (r.one_in(3)) numbers->insert(numbers->begin() + (int64_t)at, any_number(r));
        break;
      default:
        (*numbers)[at] = any_number(r);
    }
  }
}

template <class Sizes>
Sizes sizes_of(const Call& call) {
  Sizes s;
  memcpy(&s, call.sizes, sizeof s);
  return s;
}

double taps(const int64_t* kernel, const int64_t* in) {
  double n = 1;
  for (int i = 0; i < kSpatial; i++) n *= (double)std::min(kernel[i], in[i]);
  return n;
}

// How many element visits a call may take: its memory, and what its formula has of multiplications or taps inside the
// input. Nothing may take longer, however large the sizes are that meet a size of 0.
double work_of(const Call& call) {
  const Kernel& k = kKernel[call.kernel];
  double bytes = 0;
  for (int i = 0; i < k.parameters; i++) bytes += (double)(call.region[i].high - call.region[i].low);
  if (!strcmp(k.sizes, "ConvSizes") && call.kernel != k_im2col && call.kernel != k_col2im) {
    const auto s = sizes_of<ConvSizes>(call);
    const double columns = (double)s.batch * (double)(s.in_channels / s.groups) * (double)volume(s.kernel);
    return bytes + columns * (double)s.out_channels * (double)volume(s.out);
  }
  if (!strcmp(k.sizes, "GemmSizes")) {
    const auto s = sizes_of<GemmSizes>(call);
    return bytes + (double)s.batch * (double)s.m * (double)s.n * (double)s.k;
  }
  if (!strcmp(k.sizes, "PoolSizes")) {
    const auto s = sizes_of<PoolSizes>(call);
    return bytes + (double)s.planes * (double)volume(s.out) * taps(s.kernel, s.in);
  }
  if (!strcmp(k.sizes, "AdaptiveSizes")) {
    const auto s = sizes_of<AdaptiveSizes>(call);
    double window = 1;  // at most one more than the input divided by the output, at both ends
    for (int i = 0; i < kSpatial; i++)
      window *= (double)std::min(s.in[i], s.in[i] / std::max<int64_t>(s.out[i], 1) + 2);
    return bytes + (double)s.planes * (double)volume(s.out) * window;
  }
  return bytes;
}

struct Counts {
  int64_t calls = 0, refused = 0, computed = 0, statuses = 0, skipped = 0, programs = 0;
};

void one(uint64_t seed, Counts* counts) {
  Random r(seed);
  Blocks blocks;
  const std::vector<const KernelTable*>& tables = usable_targets();
  const Settings settings = {tables[(size_t)r.below((int64_t)tables.size())], (int)r.from(kExact, kDefault)};
  const bool program = r.one_in(5);
  std::vector<double> numbers;
  for (int64_t n = program ? r.from(1, 4) : 1; n > 0; n--) {
    std::vector<double> record = legal_record(r, &blocks);
    if (!program || r.one_in(2)) mutate(r, &record);
    if (program) numbers.push_back(r.one_in(12) ? any_number(r) : (double)record.size());
    numbers.insert(numbers.end(), record.begin(), record.end());
  }
  if (program && r.one_in(2)) mutate(r, &numbers);
  for (Block*& block : blocks.environment.blocks)  // as after unregisterBlock
    if (r.one_in(50)) delete block, block = nullptr;
  if (r.one_in(40)) numbers.assign((size_t)r.below(80), 0);
  if (r.one_in(40))
    for (double& each : numbers) each = any_number(r);

  // Exactly as long as announced, so that reading beyond is seen.
  double* exact = static_cast<double*>(malloc(numbers.size() * 8 + 1));
  if (!numbers.empty()) memcpy(exact, numbers.data(), numbers.size() * 8);
  std::vector<Record> records;
  Text error;
  const int64_t length = (int64_t)numbers.size();
  bool fine;
  if (program) {
    counts->programs++;
    fine = read_records(blocks.environment, exact, length, &records, &error);
  } else {
    records.emplace_back();
    fine = read_record(blocks.environment, exact, length, &records[0], &error) > 0;
  }
  free(exact);
  counts->calls++;
  if (!fine) {
    counts->refused++;
    if (error.size() < 10)
      fprintf(stderr, "FAILED: refused without a message, seed %llu\n", (unsigned long long)seed), exit(1);
    return;
  }
  if (error.size() > 0)
    fprintf(stderr, "FAILED: message without refusal, seed %llu\n", (unsigned long long)seed), exit(1);
  for (const Record& record : records) {
    const double work = work_of(record.call);
    if (work > kMostWork) {
      counts->skipped++;
      return;
    }
    // Bytes that are read as bool are 0 or 1, as TypeScript keeps them: the one rule that the addon does not check.
    for (int i = 0; i < kKernel[record.call.kernel].parameters; i++) {
      const Region& region = record.call.region[i];
      if (!record.operands[i] || region.element_bytes != 1) continue;
      unsigned char* first = static_cast<unsigned char*>(record.operands[i]);
      for (int64_t at = region.low; at < region.high; at++) first[at] &= 1;
    }
    Text sizes;
    print_sizes(&sizes, record.call);
    snprintf(current_kernel, sizeof current_kernel, "%s %s (%s)", kKernel[record.call.kernel].name,
             kTypeName[record.call.type], sizes.c_str());
    const double start = now();
    const int64_t status = run(record.call, settings, record.operands);
    const double took = now() - start;
    if (took > 1 + work / kSlowest) {
      fprintf(stderr, "FAILED: %s took %.1f s for %.3g visits, seed %llu\n", current_kernel, took, work,
              (unsigned long long)seed);
      exit(1);
    }
    if (status != kOk) {
      counts->statuses++;
      return;
    }
  }
  counts->computed++;
}

}  // namespace
}  // namespace xcorr

int main(int argc, char** argv) {
  using namespace xcorr;
  const double seconds = argc > 1 ? atof(argv[1]) : 3;
  const uint64_t first = argc > 2 ? strtoull(argv[2], nullptr, 10) : 1;
  set_thread_count(2);  // one would have no races
  signal(SIGALRM, hangs);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_set_death_callback(say_seed);
#endif
  Counts counts;
  const double end = now() + seconds;
  for (uint64_t seed = first; now() < end || seed == first; seed++) {
    current_seed = seed;
    alarm(kPatience);
    one(seed, &counts);
    if (argc > 3) break;  // a third argument: this seed alone
  }
  printf(
      "hostile calls: %lld (%lld programs), seeds from %llu: %lld refused, %lld computed, %lld ended with a status, "
      "%lld left out as too long\n",
      (long long)counts.calls, (long long)counts.programs, (unsigned long long)first, (long long)counts.refused,
      (long long)counts.computed, (long long)counts.statuses, (long long)counts.skipped);
  return counts.refused > 0 && counts.computed > 0 ? 0 : 1;
}
