// Every kernel of every usable target on random calls: against the generic target within rounding, with the same bits
// on every target that has fma, for 1 and 3 threads and for tasks in any order, with outputs and scratch memory
// poisoned by different values, inputs left alone and nothing written beyond the operands. Needs no Node: for
// sanitizers and QEMU.
//
//   parity [rounds] [seed]     rounds (default 40) times every kernel
//   parity --hash [rounds]     hashes of results of a fixed set of calls, one line a kernel and type, for comparing
//   bits
//                              between machines
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <atomic>
#include <string>

#include "../runtime/dispatch.h"
#include "../runtime/scratch.h"
#include "../runtime/threads.h"
#include "random_calls.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace xcorr {
namespace {

// ---- Operands between guards ----

constexpr int64_t kGuard = 128;

class Buffer {
 public:
  explicit Buffer(int64_t bytes) : bytes_(bytes) {
    memory_ = static_cast<unsigned char*>(aligned_alloc(64, (bytes + 2 * kGuard + 63) / 64 * 64));
    memset(memory_, 0xa5, kGuard);
    memset(memory_ + kGuard + bytes, 0xa5, kGuard);
#if defined(__SANITIZE_ADDRESS__)
    __asan_poison_memory_region(memory_, kGuard);
    __asan_poison_memory_region(memory_ + kGuard + bytes, kGuard);
#endif
  }
  Buffer(const Buffer&) = delete;
  ~Buffer() {
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(memory_, bytes_ + 2 * kGuard);
#endif
    free(memory_);
  }
  unsigned char* data() { return memory_ + kGuard; }
  const unsigned char* data() const { return memory_ + kGuard; }
  int64_t bytes() const { return bytes_; }
  bool guards_intact() const {
#if !defined(__SANITIZE_ADDRESS__)  // there writing to them is caught at once
    for (int64_t i = 0; i < kGuard; i++)
      if (memory_[i] != 0xa5 || memory_[kGuard + bytes_ + i] != 0xa5) return false;
#endif
    return true;
  }

 private:
  unsigned char* memory_;
  int64_t bytes_;
};

using Operands = std::vector<Buffer*>;

struct Result {
  int64_t status;
  std::vector<std::vector<unsigned char>> bytes;  // of every operand after the call
};

// ---- Runtimes ----

unsigned char scratch_poison = 0xff;
std::atomic<int64_t> scratch_requests{0};
int64_t refused_from = INT64_MAX, refused_to = INT64_MAX;  // requests of this call, counted from 0, that get nothing
void* poisoned_scratch(int slot, int64_t bytes) {
  const int64_t request = scratch_requests++;
  if (request >= refused_from && request < refused_to) return nullptr;
  void* memory = scratch(slot, bytes);
  if (memory) memset(memory, scratch_poison, bytes);
  return memory;
}

void backwards(int64_t tasks, void (*task)(void*, int64_t), void* state) {
  for (int64_t i = tasks - 1; i >= 0; i--) task(state, i);
}
void in_order(int64_t tasks, void (*task)(void*, int64_t), void* state) {
  for (int64_t i = 0; i < tasks; i++) task(state, i);
}

struct Way {
  const char* name;
  int threads;
  void (*parallel)(int64_t, void (*)(void*, int64_t), void*);
  unsigned char poison;  // what outputs and scratch hold before: NaN or a number
};
constexpr Way kWays[] = {
    {"1 thread", 1, in_order, 0xff},
    {"3 threads", 3, parallel, 0x3c},
    {"tasks backwards", 2, backwards, 0xff},
};

// ---- One call ----

struct Case {
  RandomCall random;
  Call call;
  int precision;
  std::vector<std::vector<unsigned char>> inputs;  // contents before the call; empty where nothing is read
};

bool is_state(const Case& c, int operand) {  // an optional operand that a kernel may write: optimiser state
  const Kernel& k = kKernel[c.call.kernel];
  return strstr(k.name, "_step") && k.parameter[operand].optional();
}
bool is_read(const Case& c, int operand) {
  const char* role = kKernel[c.call.kernel].parameter[operand].role;
  return !strcmp(role, "IN") || !strcmp(role, "OPT") || !strcmp(role, "INOUT");
}
bool is_written(const Case& c, int operand) {
  return kKernel[c.call.kernel].parameter[operand].written() || is_state(c, operand);
}

Result run_way(const Case& c, const KernelTable& table, const Way& way, Kept* kept = nullptr) {
  const Kernel& k = kKernel[c.call.kernel];
  Operands operands;
  void* pointers[kMostParameters];
  for (int i = 0; i < k.parameters; i++) {
    const Region& region = c.call.region[i];
    Buffer* buffer = c.random.given[i] ? new Buffer(region.high - region.low) : nullptr;
    operands.push_back(buffer);
    pointers[i] = buffer ? buffer->data() - region.low : nullptr;
    if (!buffer || buffer->bytes() == 0) continue;
    if (is_read(c, i))
      memcpy(buffer->data(), c.inputs[i].data(), buffer->bytes());
    else
      memset(buffer->data(), way.poison, buffer->bytes());
  }
  scratch_poison = way.poison;
  const char* algorithm = nullptr;
  scratch_requests = 0;
  const Runtime runtime = {way.threads, c.precision, way.parallel, poisoned_scratch, &algorithm, kept};
  Result result;
  result.status = invoke(c.call, table, runtime, pointers);
  for (int i = 0; i < k.parameters; i++) {
    std::vector<unsigned char> bytes;
    if (operands[i]) {
      bytes.assign(operands[i]->data(), operands[i]->data() + operands[i]->bytes());
      if (!operands[i]->guards_intact()) result.status = -1000 - i;
    }
    result.bytes.push_back(bytes);
    delete operands[i];
  }
  return result;
}

// ---- Comparisons ----

bool floating(const Case& c, int operand) {
  const Kernel& k = kKernel[c.call.kernel];
  return c.call.type <= kFloat64 && c.call.region[operand].element_bytes == type_bytes(c.call.type) &&
         strcmp(k.parameter[operand].name, "index") && strcmp(k.parameter[operand].name, "target");
}

template <class T>
bool same_numbers(const std::vector<unsigned char>& a, const std::vector<unsigned char>& b) {
  for (size_t i = 0; i + sizeof(T) <= a.size(); i += sizeof(T)) {
    T x, y;
    memcpy(&x, &a[i], sizeof x), memcpy(&y, &b[i], sizeof y);
    if (memcmp(&x, &y, sizeof x) && !(x != x && y != y)) return false;
  }
  return true;
}

// Equal bits, all NaN being equal (their sign and payload differ between x86 and ARM).
bool same_bits(const Case& c, int operand, const Result& a, const Result& b) {
  const auto &x = a.bytes[operand], &y = b.bytes[operand];
  if (x.size() != y.size()) return false;
  if (x.empty() || !memcmp(x.data(), y.data(), x.size())) return true;
  if (!floating(c, operand)) return false;
  return c.call.type == kFloat32 ? same_numbers<float>(x, y) : same_numbers<double>(x, y);
}

template <class T>
double largest_difference(const std::vector<unsigned char>& a, const std::vector<unsigned char>& b) {
  double largest = 0, scale = 1e-30;
  for (int pass = 0; pass < 2; pass++) {
    for (size_t i = 0; i + sizeof(T) <= a.size(); i += sizeof(T)) {
      T x, y;
      memcpy(&x, &a[i], sizeof x), memcpy(&y, &b[i], sizeof y);
      if (pass == 0) {
        if (isfinite(y) && fabs((double)y) > scale) scale = fabs((double)y);
      } else if (isfinite(x) && isfinite(y)) {
        const double d = fabs((double)x - (double)y) / (fabs((double)y) + 0.1 * scale);
        if (d > largest) largest = d;
      }
    }
  }
  return largest;
}

int passed = 0, failed = 0, refusals = 0;

void check(bool ok, const Case& c, const std::string& what) {
  if (ok) {
    passed++;
    return;
  }
  if (failed++ >= 40) return;
  std::string sizes;
  for (double s : c.random.sizes) {
    char text[40];
    snprintf(text, sizeof text, " %.17g", s);
    sizes += text;
  }
  printf("FAILED %s %s: %s; precision %d, sizes%s; given ", kKernel[c.call.kernel].name, kTypeName[c.call.type],
         what.c_str(), c.precision, sizes.c_str());
  for (char g : c.random.given) printf("%d", g);
  printf("\n");
}

bool make_case(int kernel, Random& random, Case* c) {
  const Kernel& k = kKernel[kernel];
  c->random = random_call(kernel, random);
  c->precision = (int)random.below(3);
  Text error;
  bool given[kMostParameters];
  for (int i = 0; i < k.parameters; i++) given[i] = c->random.given[i];
  if (!decode(kernel, c->random.type, c->random.sizes.data(), k.slots, k.parameters, given, &c->call, &error)) {
    printf("FAILED to make a call: %s\n", error.c_str());
    failed++;
    return false;
  }
  // NaN, infinities and large numbers where nothing is summed: elsewhere they only hide differences.
  const bool elementwise = kernel <= k_scan || kernel == k_sort || kernel == k_max_pool || kernel == k_max_pool_grad ||
                           kernel == k_adaptive_max_pool || (kernel >= k_index_select && kernel <= k_scatter) ||
                           kernel == k_cross_entropy || kernel == k_cross_entropy_grad;
  const bool special = elementwise && random.one_in(3);
  c->inputs.clear();
  for (int i = 0; i < k.parameters; i++) {
    const Region& region = c->call.region[i];
    std::vector<unsigned char> bytes(c->random.given[i] && is_read(*c, i) ? region.high - region.low : 0);
    if (!bytes.empty())
      random_input(c->call, i, bytes.data(), (int64_t)bytes.size() / region.element_bytes, special, random);
    c->inputs.push_back(bytes);
  }
  return true;
}

// How far fma and its absence may drive results apart, as a part of the value plus a tenth of the largest one.
double tolerance(const Case& c) {
  if (c.call.type != kFloat32) return 1e-11;
  return c.call.kernel >= k_conv && c.call.kernel <= k_conv_max_pool_grad ? 3e-4 : 5e-5;
}

void compare_within_rounding(const Case& c, const Result& result, const Result& expected, const std::string& name) {
  check(result.status == expected.status, c, name + " and generic return different statuses");
  for (int i = 0; i < kKernel[c.call.kernel].parameters; i++) {
    if (!is_written(c, i) || !floating(c, i) || c.call.type > kFloat64 || result.bytes[i].empty()) continue;
    const double d = c.call.type == kFloat32 ? largest_difference<float>(result.bytes[i], expected.bytes[i])
                                             : largest_difference<double>(result.bytes[i], expected.bytes[i]);
    check(d <= tolerance(c), c,
          name + ": " + kKernel[c.call.kernel].parameter[i].name + " differs from generic by " + std::to_string(d));
  }
}

// The system has no more memory for a while: one request of the call gets none, or that and all after it. The call says
// so (or needs it not, and is right), and the next is right, also with what the refused one has kept of its weights.
void test_refusals(const Case& c, const KernelTable& table, const Result& right, int64_t requests, Random& random) {
  const Kernel& k = kKernel[c.call.kernel];
  const std::string here = std::string(table.target) + ", memory refused";
  Kept kept = {nullptr, 0};
  if (c.call.kernel == k_conv && right.status == kOk) run_way(c, table, kWays[0], &kept);
  Buffer memory(kept.bytes);
  memset(memory.data(), 0, (size_t)kept.bytes);
  kept.memory = memory.data();
  Kept* const keeps = kept.bytes > 0 ? &kept : nullptr;
  const auto same = [&](const Result& result, const std::string& when) {
    check(result.status == right.status, c, here + when + ": another status");
    for (int i = 0; i < k.parameters && result.status == kOk; i++)
      check(same_bits(c, i, result, right), c, here + when + ": other bits in " + k.parameter[i].name);
  };
  refused_from = random.below(requests);
  refused_to = random.one_in(2) ? refused_from + 1 : INT64_MAX;
  const Result refused = run_way(c, table, kWays[random.below(3)], keeps);
  refused_from = INT64_MAX;
  check(refused.status > -1000, c, here + ": wrote beyond an operand");
  for (int i = 0; i < k.parameters; i++)
    if (c.random.given[i] && is_read(c, i) &&
        (refused.status == kOutOfMemory ? c.call.kernel != k_gemm || !is_written(c, i) : !is_written(c, i)))
      check(refused.bytes[i] == c.inputs[i], c, here + ": changed its input " + k.parameter[i].name);
  if (refused.status == kOutOfMemory)
    refusals++;
  else
    same(refused, "");
  same(run_way(c, table, kWays[0], keeps), ", the next call");
}

void test_call(const Case& c, Random& random) {
  const Kernel& k = kKernel[c.call.kernel];
  const auto& targets = usable_targets();  // generic is the last
  Result generic, with_fma;
  bool have_fma = false;
  for (size_t t = targets.size(); t-- > 0;) {
    const KernelTable& table = *targets[t];
    const std::string name = table.target;
    const bool is_generic = t + 1 == targets.size();
    Result first;
    for (const Way& way : kWays) {
      if (c.random.gaps && way.poison != 0xff) continue;  // elements between those written keep the poison
      const Result result = run_way(c, table, way);
      const std::string here = name + ", " + way.name;
      check(result.status > -1000, c, here + ": wrote beyond an operand");
      for (int i = 0; i < k.parameters; i++) {
        if (!c.random.given[i]) continue;
        if (!is_written(c, i))
          check(result.bytes[i] == c.inputs[i], c, here + ": changed its input " + k.parameter[i].name);
        if (result.status != kOk && is_read(c, i))
          check(result.bytes[i] == c.inputs[i], c, here + ": failed but wrote " + k.parameter[i].name);
      }
      if (&way == kWays) {
        first = result;
        if (const int64_t requests = scratch_requests; requests > 0 && !c.random.gaps)
          test_refusals(c, table, first, requests, random);
        continue;
      }
      check(result.status == first.status, c, here + ": another status than with 1 thread");
      if (result.status != kOk) continue;
      for (int i = 0; i < k.parameters; i++)
        check(same_bits(c, i, result, first), c, here + ": other bits than with 1 thread in " + k.parameter[i].name);
    }
    if (is_generic) {
      generic = first;
      continue;
    }
    if (first.status == kOk && generic.status == kOk) compare_within_rounding(c, first, generic, name);
    check(first.status == generic.status, c, name + ": another status than generic");
    if (have_fma && first.status == kOk)
      for (int i = 0; i < k.parameters; i++)
        check(same_bits(c, i, first, with_fma), c, name + ": other bits than avx2 in " + k.parameter[i].name);
    if (!have_fma) with_fma = first, have_fma = true;
  }
}

// FNV-1a over the numbers of all written operands, NaN as one value.
template <class T>
void hash_numbers(uint64_t* hash, const std::vector<unsigned char>& bytes) {
  for (size_t i = 0; i + sizeof(T) <= bytes.size(); i += sizeof(T)) {
    T x;
    memcpy(&x, &bytes[i], sizeof x);
    if (x != x) x = T(NAN);
    unsigned char raw[sizeof(T)];
    memcpy(raw, &x, sizeof x);
    if (x != x) raw[sizeof(T) - 1] = 0x7f;
    for (unsigned char byte : raw) *hash = (*hash ^ byte) * 0x100000001b3u;
  }
}

int print_hashes(int rounds) {
  const KernelTable& table = *usable_targets()[usable_targets().size() - 2];  // the first with fma, before generic
  if (usable_targets().size() < 2) {
    printf("no target with fma is usable here\n");
    return 1;
  }
  fprintf(stderr, "target %s\n", table.target);
  for (int kernel = 0; kernel < kKernels; kernel++) {
    uint64_t hash[kTypes];
    int calls[kTypes] = {};
    for (uint64_t& h : hash) h = 0xcbf29ce484222325u;
    for (int round = 0; round < rounds; round++) {
      Random random(uint64_t(kernel) * 100003 + round);
      Case c;
      if (!make_case(kernel, random, &c)) return 1;
      const Result result = run_way(c, table, kWays[0]);
      uint64_t& h = hash[c.call.type];
      h = (h ^ uint64_t(result.status)) * 0x100000001b3u;
      calls[c.call.type]++;
      if (result.status != kOk) continue;
      for (int i = 0; i < kKernel[kernel].parameters; i++) {
        if (!is_written(c, i)) continue;
        if (!floating(c, i))
          hash_numbers<unsigned char>(&h, result.bytes[i]);
        else if (c.call.type == kFloat32)
          hash_numbers<float>(&h, result.bytes[i]);
        else
          hash_numbers<double>(&h, result.bytes[i]);
      }
    }
    for (int type = 0; type < kTypes; type++)
      if (calls[type])
        printf("%s %s %d calls %016llx\n", kKernel[kernel].name, kTypeName[type], calls[type],
               (unsigned long long)hash[type]);
  }
  return 0;
}

}  // namespace
}  // namespace xcorr

int main(int count, char** arguments) {
  using namespace xcorr;
  set_thread_count(3);
  if (count > 1 && !strcmp(arguments[1], "--hash")) return print_hashes(count > 2 ? atoi(arguments[2]) : 30);
  const int rounds = count > 1 ? atoi(arguments[1]) : 40;
  const uint64_t seed = count > 2 ? strtoull(arguments[2], nullptr, 10) : 1;
  std::string names;
  for (const KernelTable* table : usable_targets()) names += std::string(" ") + table->target;
  printf("targets%s, %d rounds, seed %llu\n", names.c_str(), rounds, (unsigned long long)seed);
  for (int round = 0; round < rounds; round++) {
    for (int kernel = 0; kernel < kKernels; kernel++) {
      Random random(seed * 1000003 + uint64_t(round) * kKernels + kernel);
      Case c;
      if (make_case(kernel, random, &c)) test_call(c, random);
    }
  }
  printf("%d passed, %d failed; %d calls ended for lack of memory\n", passed, failed, refusals);
  return failed || !refusals ? 1 : 0;
}
