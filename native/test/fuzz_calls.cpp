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
constexpr unsigned kPatience = 60;                // seconds that one call may take under the sanitizers

double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

uint64_t current_seed = 0;
char current_kernel[64] = "";
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

void mutate(Random& r, std::vector<double>* numbers) {
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

// Loops of these sizes that a change could make long without memory to go with it: the caller may ask for them, but
// they say nothing here.
bool takes_long(const Call& call) {
  int64_t work = 1;
  for (int i = 0; i < kKernel[call.kernel].integers; i++) {
    int64_t value;
    memcpy(&value, call.sizes + 8 * i, 8);
    if (value > 1) work = work > (int64_t(1) << 62) / value ? int64_t(1) << 62 : work * value;
  }
  return work > int64_t(1) << 44;
}

// Whether an operand lies across memory that the call writes, as hostile records may say: what is computed is then
// nobody's business, and memcpy's own check would end the run. Not so positions, which read_record refuses there.
bool lies_across(const Record& record) {
  const Kernel& kernel = kKernel[record.call.kernel];
  for (int i = 0; i < kernel.parameters; i++) {
    if (!record.operands[i] || !kernel.parameter[i].written()) continue;
    const Region& writes = record.call.region[i];
    const unsigned char* out = static_cast<const unsigned char*>(record.operands[i]);
    for (int j = 0; j < kernel.parameters; j++) {
      const char* name = kernel.parameter[j].name;
      if (j == i || !record.operands[j] || record.operands[j] == record.operands[i]) continue;
      if (!kernel.parameter[j].written() && (!strcmp(name, "index") || !strcmp(name, "target"))) continue;
      const Region& region = record.call.region[j];
      const unsigned char* at = static_cast<const unsigned char*>(record.operands[j]);
      if (at + region.high > out + writes.low && out + writes.high > at + region.low) return true;
    }
  }
  return false;
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
    if (takes_long(record.call) || lies_across(record)) {
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
    snprintf(current_kernel, sizeof current_kernel, "%s", kKernel[record.call.kernel].name);
    const int64_t status = run(record.call, settings, record.operands);
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
      "%lld too long or across what they write\n",
      (long long)counts.calls, (long long)counts.programs, (unsigned long long)first, (long long)counts.refused,
      (long long)counts.computed, (long long)counts.statuses, (long long)counts.skipped);
  return counts.refused > 0 && counts.computed > 0 ? 0 : 1;
}
