// Checks gemm, convolution, im2col and col2im of each target against plain float64 loops over random shapes, and their
// bits between targets and numbers of threads. Prints the seed and the sizes of whatever differs.
//   convolution_check [cases] [seed] [target ...]
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>
#include <atomic>

#include "../abi.h"

namespace xcorr {
#ifdef __aarch64__
extern const KernelTable generic_kernels, neon_kernels;
static const KernelTable* const kTables[] = {&generic_kernels, &neon_kernels};
#else
extern const KernelTable generic_kernels, avx2_kernels, avx512_kernels;
static const KernelTable* const kTables[] = {&generic_kernels, &avx2_kernels, &avx512_kernels};
#endif
}  // namespace xcorr

using namespace xcorr;

namespace {

// ---- A runtime with plain threads ----

int thread_count = 1;
void* scratch(int slot, int64_t bytes) {
  static thread_local struct Slots {
    void* memory[8] = {};
    int64_t size[8] = {};
    ~Slots() {
      for (void* p : memory) free(p);
    }
  } slots;
  if (slots.size[slot] < bytes || !slots.memory[slot]) {
    free(slots.memory[slot]);
    slots.size[slot] = (bytes + 127) / 64 * 64;
    slots.memory[slot] = aligned_alloc(64, slots.size[slot]);
  }
  memset(slots.memory[slot], 0xff, slots.size[slot]);  // NaN
  return slots.memory[slot];
}
void parallel(int64_t tasks, void (*task)(void*, int64_t), void* state) {
  if (thread_count == 1) {
    for (int64_t i = tasks - 1; i >= 0; i--) task(state, i);
    return;
  }
  std::atomic<int64_t> next{0};
  const auto work = [&] {
    for (int64_t i; (i = next++) < tasks;) task(state, i);
  };
  std::thread other(work);
  work();
  other.join();
}

std::mt19937_64 generator;
int64_t random_in(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(generator); }
bool chance(double p) { return std::uniform_real_distribution<>(0, 1)(generator) < p; }

int failures = 0;
double before_activation = 0;  // largest sum of the case at hand: relu6 hides it
std::string described;

template <class T>
std::vector<T> random_values(int64_t count) {
  std::normal_distribution<double> normal;
  std::vector<T> v(count);
  for (T& x : v) x = T(normal(generator));
  return v;
}

// One buffer of exactly the extent, so that AddressSanitizer sees what lies outside.
template <class T>
struct Buffer {
  T* data;
  int64_t count;
  explicit Buffer(const std::vector<T>& v)
      : data(static_cast<T*>(malloc(v.size() * sizeof(T) + !v.size()))), count(v.size()) {
    if (count) memcpy(data, v.data(), count * sizeof(T));
  }
  Buffer(const Buffer&) = delete;
  ~Buffer() { free(data); }
};

bool wanted(const KernelTable& table, const std::vector<std::string>& targets) {
#ifndef __aarch64__
  if (!strcmp(table.target, "avx512") && !__builtin_cpu_supports("avx512vl")) return false;
#endif
  if (targets.empty()) return true;
  for (const auto& t : targets)
    if (t == table.target) return true;
  return false;
}

// Runs `call(table, runtime, outputs)` on every target with 1 and 2 threads; compares with `expected`, bits with the
// first.
template <class T>
void check(const char* what, const std::vector<std::string>& targets, const std::vector<std::vector<double>>& expected,
           const std::vector<std::vector<T>>& before, double tolerance, int precision,
           const std::function<int64_t(const KernelTable&, const Runtime&, std::vector<T*>)>& call) {
  std::vector<std::vector<T>> first;
  std::string first_name;
  for (const KernelTable* table : kTables) {
    if (!wanted(*table, targets)) continue;
    std::vector<std::vector<T>> one_thread;
    for (thread_count = 1; thread_count <= 2; thread_count++) {
      const char* algorithm = nullptr;
      const Runtime runtime = {thread_count, precision, parallel, scratch, &algorithm};
      std::vector<Buffer<T>*> buffers;
      std::vector<T*> pointers;
      for (const auto& b : before) {
        buffers.push_back(new Buffer<T>(b));
        pointers.push_back(buffers.back()->data);
      }
      const int64_t status = call(*table, runtime, pointers);
      std::vector<std::vector<T>> result;
      for (size_t o = 0; o < expected.size(); o++) {
        result.emplace_back(buffers[o]->data, buffers[o]->data + buffers[o]->count);
        double largest = before_activation, worst = 0;
        int64_t where = -1;
        for (double v : expected[o])
          if (std::isfinite(v)) largest = std::max(largest, std::fabs(v));
        for (size_t i = 0; i < expected[o].size(); i++) {
          const double value = double(result[o][i]), wanted = expected[o][i];
          const bool same = value == wanted || (std::isnan(value) && std::isnan(wanted));  // an infinity, or NaN
          const double distance = std::fabs(value - wanted);
          const double error = same ? 0 : std::isfinite(distance) ? distance : INFINITY;
          if (error > worst) worst = error, where = int64_t(i);
        }
        if (status != kOk || !(worst <= tolerance * (largest + 1))) {
          failures++;
          printf("WRONG %s %s float%d threads %d output %zu status %lld: error %g of %g at %lld of %zu\n  %s\n", what,
                 table->target, int(sizeof(T) * 8), thread_count, o, (long long)status, worst, largest,
                 (long long)where, expected[o].size(), described.c_str());
        }
      }
      for (auto* b : buffers) delete b;
      const auto same = [&](const std::vector<std::vector<T>>& a) {
        for (size_t o = 0; o < a.size(); o++)
          for (size_t i = 0; i < a[o].size(); i++)
            if (memcmp(&a[o][i], &result[o][i], sizeof(T)) && !(std::isnan(a[o][i]) && std::isnan(result[o][i])))
              return false;
        return true;
      };
      if (thread_count == 1)
        one_thread = result;
      else if (!same(one_thread)) {
        failures++;
        printf("BITS %s %s float%d differ between 1 and 2 threads\n  %s\n", what, table->target, int(sizeof(T) * 8),
               described.c_str());
      }
      if (strcmp(table->target, "generic") && thread_count == 1) {
        if (first.empty())
          first = result, first_name = table->target;
        else if (!same(first)) {
          failures++;
          printf("BITS %s float%d differ between %s and %s\n  %s\n", what, int(sizeof(T) * 8), first_name.c_str(),
                 table->target, described.c_str());
        }
      }
    }
  }
}

double activated(double v, int64_t code) {
  if (code == activation::none) return v;
  v = v < 0 ? 0 : v;
  return code == activation::relu6 && v > 6 ? 6 : v;
}

template <class T>
std::vector<T> poison(int64_t count) {
  return std::vector<T>(count, T(NAN));
}

template <class T>
void check_gemm(const std::vector<std::string>& targets) {
  GemmSizes s = {};
  const int64_t most = chance(0.2) ? 500 : 40;
  s.batch = chance(0.7) ? 1 : random_in(0, 4);
  s.m = random_in(chance(0.05) ? 0 : 1, chance(0.3) ? 5 : most);
  s.n = random_in(chance(0.05) ? 0 : 1, chance(0.3) ? 5 : most);
  s.k = random_in(chance(0.05) ? 0 : 1, most < 500 && chance(0.1) ? 3000 : chance(0.2) ? 900 : most);
  s.trans_a = chance(0.5);
  s.trans_b = chance(0.5);
  s.accumulate = chance(0.3);
  s.bias_per = random_in(0, 2);
  s.activation = random_in(0, 2);
  s.a_batch_stride = chance(0.3) ? 0 : s.m * s.k;
  s.b_batch_stride = chance(0.3) ? 0 : s.k * s.n;
  char text[200];
  snprintf(text, sizeof text,
           "batch %ld m %ld n %ld k %ld trans %ld %ld strides %ld %ld accumulate %ld bias %ld act %ld", long(s.batch),
           long(s.m), long(s.n), long(s.k), long(s.trans_a), long(s.trans_b), long(s.a_batch_stride),
           long(s.b_batch_stride), long(s.accumulate), long(s.bias_per), long(s.activation));
  described = text;
  const auto a = random_values<T>(gemm_operand(s.batch, s.a_batch_stride, s.m * s.k).high);
  const auto b = random_values<T>(gemm_operand(s.batch, s.b_batch_stride, s.k * s.n).high);
  const auto bias = random_values<T>(s.bias_per == 1 ? s.m : s.n);
  const auto c = s.accumulate ? random_values<T>(s.batch * s.m * s.n) : poison<T>(s.batch * s.m * s.n);
  std::vector<double> expected(c.size());
  // Rounding follows the partial sums, about sqrt(k) large, whatever they cancel to: of 2504 terms in blocks of 358 the
  // rms error is 1.7e-5 (4.5e-5 in one chain of fma), the largest of 20,000 sums 9.5e-5. Allowed are 3e-6 sqrt(k).
  before_activation = std::sqrt(double(s.k));
  for (int64_t i = 0; i < s.batch; i++)
    for (int64_t m = 0; m < s.m; m++)
      for (int64_t n = 0; n < s.n; n++) {
        const int64_t at = (i * s.m + m) * s.n + n;
        double sum = s.accumulate ? c[at] : 0;
        for (int64_t k = 0; k < s.k; k++)
          sum += double(a[i * s.a_batch_stride + (s.trans_a ? k * s.m + m : m * s.k + k)]) *
                 double(b[i * s.b_batch_stride + (s.trans_b ? n * s.k + k : k * s.n + n)]);
        if (s.bias_per) sum += bias[s.bias_per == 1 ? m : n];
        before_activation = std::max(before_activation, std::fabs(sum));
        expected[at] = activated(sum, s.activation);
      }
  Buffer<T> pa(a), pb(b), pbias(bias);
  check<T>("gemm", targets, {expected}, {c}, sizeof(T) == 4 ? 3e-6 : 1e-14, kDefault,
           [&](const KernelTable& t, const Runtime& r, std::vector<T*> out) {
             void* operands[] = {pa.data, pb.data, s.bias_per ? pbias.data : nullptr, out[0]};
             return t.gemm[sizeof(T) == 8](s, r, operands);
           });
}

ConvSizes random_conv() {
  ConvSizes s = {};
  const int kind = int(random_in(0, 9));
  s.batch = chance(0.04) ? 0 : random_in(1, 3);
  s.groups = chance(0.6) ? 1 : random_in(2, 4);
  const int64_t most = chance(0.15) ? 70 : chance(0.3) ? 33 : 9;
  s.in_channels = s.groups * random_in(1, most);
  s.out_channels = s.groups * random_in(1, most);
  if (kind == 0) s.groups = s.in_channels = random_in(1, 40), s.out_channels = s.groups * random_in(1, 2);  // depthwise
  if (chance(0.25)) s.batch = random_in(1, 9);
  const bool many = kind != 0 && chance(0.1);  // output channels
  if (many) s.out_channels = s.groups * random_in(100, 200);
  const bool images = !many && chance(0.15);  // with few channels
  if (images) {
    s.batch = random_in(8, 36);
    s.in_channels = s.groups * random_in(1, 6);
    s.out_channels = s.groups * random_in(1, 12);
  }
  const int dims = images ? 2 : chance(0.75) ? 2 : chance(0.5) ? 1 : 3;
  const int64_t square = random_in(1, 5);
  const bool plain = chance(images ? 0.8 : 0.5);
  const bool planes = kind == 5 && dims == 2 && plain && chance(0.7);  // 1x1 that reads where it lies
  for (int d = 0; d < kSpatial; d++) {
    if (d < kSpatial - dims) {
      s.in[d] = s.kernel[d] = s.stride[d] = s.dilation[d] = s.out[d] = 1;
      continue;
    }
    s.kernel[d] = kind < 5 ? 3 : kind == 5 ? 1 : kind == 6 ? square : random_in(1, 7);
    s.stride[d] = plain ? 1 : kind < 3 ? 2 : random_in(1, 4);
    s.dilation[d] = plain || kind < 3 ? 1 : random_in(1, 3);
    const int64_t reach = (s.kernel[d] - 1) * s.dilation[d] + 1;
    s.pad[d] = planes ? 0 : kind < 5 && chance(0.6) ? 1 : random_in(0, s.kernel[d]);
    const int64_t after = plain ? s.pad[d] : random_in(0, s.kernel[d]);
    const int64_t least = std::max<int64_t>(1, reach - s.pad[d] - after);
    s.in[d] = planes ? random_in(20, 40)
                     : random_in(least, std::max<int64_t>(least, dims == 3   ? 9
                                                                 : dims == 1 ? 120
                                                                 : many      ? 9
                                                                             : 30));
    if (images && d == 2 && chance(0.5))  // rows of outputs that fill vectors
      s.in[d] =
          std::max<int64_t>(least, (random_in(0, 1) ? 28 : 32) * s.stride[d] + reach - s.stride[d] - s.pad[d] - after);
    s.out[d] = (s.in[d] + s.pad[d] + after - reach) / s.stride[d] + 1;
  }
  s.activation = random_in(0, 2);
  if (chance(0.08)) {  // one tap, many channels, pixels of several images in a register tile
    const bool many_in = chance(0.5), large = chance(0.5);  // or large images
    const int64_t deep = random_in(1, large ? 70 : 1400), few = random_in(1, 70);
    s.groups = chance(0.8) ? 1 : 2;
    if (large) s.batch = random_in(5, 9);
    s.in_channels = s.groups * (many_in ? deep : few);
    s.out_channels = s.groups * (many_in ? few : deep);
    const int64_t stride = chance(0.4) ? chance(0.8) ? 2 : 3 : 1;
    for (int d = 0; d < kSpatial; d++) {
      s.kernel[d] = s.stride[d] = s.dilation[d] = 1;
      s.pad[d] = 0;
      s.in[d] = s.out[d] = d == 0 ? 1 : large ? random_in(14, 20) : random_in(1, 9);
      if (d == 0 || stride == 1) continue;
      s.stride[d] = stride;
      s.in[d] = (s.out[d] - 1) * stride + random_in(1, stride);
    }
  }
  if (chance(0.08)) {  // a few images with short rows, output channels in sixteens
    s.batch = random_in(1, 9);
    s.groups = 1;
    s.in_channels = random_in(1, 12);
    s.out_channels = 16 * random_in(1, 4);
    for (int d = 0; d < kSpatial; d++) {
      s.kernel[d] = d == 0 ? 1 : random_in(2, 6);
      s.stride[d] = 1;
      s.dilation[d] = d == 0 || chance(0.8) ? 1 : 2;
      const int64_t reach = (s.kernel[d] - 1) * s.dilation[d] + 1;
      s.pad[d] = d == 0 || chance(0.4) ? 0 : random_in(0, s.kernel[d]);
      const int64_t after = d == 0 || chance(0.4) ? 0 : random_in(0, s.kernel[d]);
      s.in[d] = d == 0 ? 1 : random_in(reach, 26);
      s.out[d] = s.in[d] + s.pad[d] + after - reach + 1;
    }
  }
  if (chance(0.08)) {  // one channel in a group, a small square filter, rows that fill vectors
    s.batch = random_in(1, 3);
    s.groups = s.in_channels = random_in(1, 20);
    s.out_channels = s.groups * random_in(1, 2);
    const int64_t kernel = chance(0.6) ? 3 : 5, stride = random_in(1, 2);
    for (int d = 0; d < kSpatial; d++) {
      s.kernel[d] = d == 0 ? 1 : kernel;
      s.stride[d] = d == 0 ? 1 : stride;
      s.dilation[d] = 1;
      s.pad[d] = d == 0 ? 0 : chance(0.6) ? kernel / 2 : random_in(0, kernel - 1);
      const int64_t after = d == 0 ? 0 : chance(0.6) ? kernel / 2 : random_in(0, kernel - 1);
      s.in[d] = d == 0 ? 1 : random_in(kernel, chance(0.2) ? 120 : 40);
      s.out[d] = (s.in[d] + s.pad[d] + after - s.kernel[d]) / s.stride[d] + 1;
    }
  }
  return s;
}

// 3x3 with strides of 1 and 2: many channels and few pixels, or some of both.
ConvSizes three_by_three() {
  ConvSizes s = {};
  s.groups = chance(0.8) ? 1 : 2;
  const bool many = chance(0.4), rows = !many && chance(0.4);
  s.batch = random_in(1, many ? 3 : 8);
  s.in_channels = s.groups * random_in(16, many ? 220 : 40);
  s.out_channels = s.groups * random_in(16, many ? 220 : 40);
  for (int d = 0; d < kSpatial; d++) {
    s.kernel[d] = d == 0 ? 1 : 3;
    s.stride[d] = d == 0 ? 1 : random_in(1, 2);
    s.dilation[d] = d == 0 || chance(0.9) ? 1 : 2;
    s.pad[d] = d == 0 ? 0 : chance(0.7) ? 1 : random_in(0, 2);
    s.in[d] = d == 0 ? 1 : random_in(5, many ? 12 : 17);
    if (rows) {  // of pixels, that fill vectors or halves of one
      s.dilation[d] = 1;
      s.pad[d] = d == 0 ? 0 : 1;
      if (d == 2) s.in[d] = int64_t(1) << random_in(2, 6);
    }
    s.out[d] = (s.in[d] + 2 * s.pad[d] - s.dilation[d] * (s.kernel[d] - 1) - 1) / s.stride[d] + 1;
  }
  if (!many && !rows && chance(0.3)) {  // few channels read, and rows that fill vectors
    const int64_t few = s.groups * random_in(1, 6), width = 24 + 4 * random_in(0, 3) + 2 * random_in(0, 1);
    (chance(0.7) ? s.in_channels : s.out_channels) = few;
    s.in[2] = (width - 1) * s.stride[2] + 2 * s.dilation[2] + 1 - 2 * s.pad[2];
    s.out[2] = width;
  }
  if (rows) s.batch = random_in(1, 3) * std::min<int64_t>(8, 64 / s.in[2]);
  s.activation = random_in(0, 2);
  return s;
}

// Infinities and NaN at random places, or one value so large that sums of it and its neighbours overflow.
template <class T>
void make_not_finite(std::vector<T>& v) {
  if (v.empty()) return;
  const auto place = [&] { return random_in(0, int64_t(v.size()) - 1); };
  if (chance(0.3)) {
    v[place()] = T(chance(0.5) ? 5e37 : -5e37);
    return;
  }
  const T infinity = T(INFINITY), values[] = {infinity, -infinity, T(NAN)};
  for (int64_t i = random_in(1, 3); i > 0; i--) v[place()] = values[random_in(0, 2)];
}

std::string describe(const ConvSizes& s) {
  std::string text = "batch " + std::to_string(s.batch) + " groups " + std::to_string(s.groups) + " channels " +
                     std::to_string(s.in_channels) + " " + std::to_string(s.out_channels);
  const auto spatial = [&](const char* name, const int64_t* v) {
    text += std::string(" ") + name;
    for (int d = 0; d < 3; d++) text += " " + std::to_string(v[d]);
  };
  spatial("in", s.in);
  spatial("kernel", s.kernel);
  spatial("stride", s.stride);
  spatial("dilation", s.dilation);
  spatial("pad", s.pad);
  spatial("out", s.out);
  return text + " activation " + std::to_string(s.activation);
}

// visit(x index, w index, y index, column index) for every product of the convolution.
template <class Visit>
void visit_conv(const ConvSizes& s, const Visit& visit) {
  const int64_t cg = s.in_channels / s.groups, kg = s.out_channels / s.groups, taps = volume(s.kernel);
  for (int64_t n = 0; n < s.batch; n++)
    for (int64_t k = 0; k < s.out_channels; k++)
      for (int64_t c = 0; c < cg; c++)
        for (int64_t t = 0; t < taps; t++)
          for (int64_t q = 0; q < volume(s.out); q++) {
            const int64_t tap[] = {t / s.kernel[2] / s.kernel[1], t / s.kernel[2] % s.kernel[1], t % s.kernel[2]};
            const int64_t out[] = {q / s.out[2] / s.out[1], q / s.out[2] % s.out[1], q % s.out[2]};
            int64_t at = 0;
            bool inside = true;
            for (int d = 0; d < 3; d++) {
              const int64_t p = out[d] * s.stride[d] - s.pad[d] + tap[d] * s.dilation[d];
              inside = inside && p >= 0 && p < s.in[d];
              at = at * s.in[d] + p;
            }
            const int64_t channel = n * s.in_channels + k / kg * cg + c;
            visit(inside ? channel * volume(s.in) + at : -1, (k * cg + c) * taps + t,
                  (n * s.out_channels + k) * volume(s.out) + q, (channel * taps + t) * volume(s.out) + q);
          }
}

template <class T>
void check_conv(const std::vector<std::string>& targets) {
  const int precision = int(random_in(0, 2));
  // What is not finite: nothing, x, dy. (Beside the image 0 times an infinite weight or gradient is NaN or left out.)
  const int64_t spoilt = chance(0.15) ? random_in(1, 2) : 0;
  const ConvSizes s = chance(spoilt > 0 ? 0.8 : 0.15) ? three_by_three() : random_conv();
  described = describe(s) + " precision " + std::to_string(precision) + " spoilt " + std::to_string(spoilt);
  auto x = random_values<T>(conv_x(s).high), dy = random_values<T>(conv_y(s).high);
  const auto w = random_values<T>(conv_w(s).high), bias = random_values<T>(std::max(s.in_channels, s.out_channels));
  const bool biased = chance(0.6), added = chance(0.4);
  if (spoilt > 0) make_not_finite(spoilt == 1 ? x : dy);
  std::vector<double> y(dy.size()), dx(x.size()), dw(w.size()), dbias(s.out_channels);
  visit_conv(s, [&](int64_t xi, int64_t wi, int64_t yi, int64_t) {
    if (xi < 0) return;
    y[yi] += double(x[xi]) * double(w[wi]);
    dx[xi] += double(dy[yi]) * double(w[wi]);
    dw[wi] += double(dy[yi]) * double(x[xi]);
  });
  for (size_t i = 0; i < dy.size(); i++) {
    const int64_t k = int64_t(i) / volume(s.out) % s.out_channels;
    if (std::isfinite(y[i])) before_activation = std::max(before_activation, std::fabs(y[i]));
    y[i] = activated(y[i] + (biased ? double(bias[k]) : 0) + (added ? double(dy[i]) : 0), s.activation);
    dbias[k] += double(dy[i]);
  }
  for (size_t i = 0; i < dx.size(); i++) dx[i] += biased ? double(bias[int64_t(i) / volume(s.in) % s.in_channels]) : 0;
  const double tolerance = sizeof(T) == 8 ? 1e-13 : precision == kDefault ? 1e-5 : 4e-6;
  Buffer<T> px(x), pw(w), pdy(dy), pbias(bias);
  constexpr int type = sizeof(T) == 8;
  check<T>("conv", targets, {y}, {poison<T>(y.size())}, tolerance, precision,
           [&](const KernelTable& t, const Runtime& r, std::vector<T*> out) {
             void* operands[] = {px.data, pw.data, biased ? pbias.data : nullptr, added ? pdy.data : nullptr, out[0]};
             return t.conv[type](s, r, operands);
           });
  before_activation = 0;
  check<T>("conv_input_grad", targets, {dx}, {poison<T>(dx.size())}, tolerance, precision,
           [&](const KernelTable& t, const Runtime& r, std::vector<T*> out) {
             void* operands[] = {pdy.data, pw.data, biased ? pbias.data : nullptr, out[0]};
             return t.conv_input_grad[type](s, r, operands);
           });
  if (spoilt == 2) return;
  // A gradient with few elements may cancel to almost nothing; its terms do not.
  before_activation = std::sqrt(double(s.batch * volume(s.out)));
  check<T>("conv_weight_grad", targets, {dw, dbias}, {poison<T>(dw.size()), poison<T>(dbias.size())}, tolerance,
           precision, [&](const KernelTable& t, const Runtime& r, std::vector<T*> out) {
             void* operands[] = {px.data, pdy.data, out[0], biased ? out[1] : nullptr};
             if (!biased)
               for (int64_t k = 0; k < s.out_channels; k++) out[1][k] = T(dbias[k]);
             return t.conv_weight_grad[type](s, r, operands);
           });
  if (s.groups > 1 || conv_columns(s).high > 300000) return;
  const auto columns = random_values<T>(conv_columns(s).high);
  std::vector<double> unfolded(columns.size()), folded(x.size());
  ConvSizes one = s;
  one.out_channels = one.groups = 1;
  visit_conv(one, [&](int64_t xi, int64_t, int64_t, int64_t ci) {
    unfolded[ci] = xi < 0 ? 0 : double(x[xi]);
    if (xi >= 0) folded[xi] += double(columns[ci]);
  });
  Buffer<T> pcolumns(columns);
  before_activation = 0;
  check<T>("im2col", targets, {unfolded}, {poison<T>(unfolded.size())}, 0, precision,
           [&](const KernelTable& t, const Runtime& r, std::vector<T*> out) {
             void* operands[] = {px.data, out[0]};
             return t.im2col[type](s, r, operands);
           });
  check<T>("col2im", targets, {folded}, {poison<T>(folded.size())}, tolerance, precision,
           [&](const KernelTable& t, const Runtime& r, std::vector<T*> out) {
             void* operands[] = {pcolumns.data, out[0]};
             return t.col2im[type](s, r, operands);
           });
}

}  // namespace

int main(int argc, char** argv) {
  const int cases = argc > 1 ? atoi(argv[1]) : 100;
  const uint64_t seed = argc > 2 ? strtoull(argv[2], nullptr, 10) : std::random_device()();
  const std::vector<std::string> targets(argv + (argc > 3 ? 3 : argc), argv + argc);
  for (int i = 0; i < cases && failures < 10; i++) {
    generator.seed(seed + uint64_t(i));
    before_activation = 0;
    const int failed_before = failures;
    if (i % 4 == 0)
      chance(0.5) ? check_gemm<float>(targets) : check_gemm<double>(targets);
    else
      chance(0.7) ? check_conv<float>(targets) : check_conv<double>(targets);
    if (failures > failed_before) printf("  (seed %llu)\n", (unsigned long long)(seed + uint64_t(i)));
  }
  printf("%d cases from seed %llu: %d failures\n", cases, (unsigned long long)seed, failures);
  return failures != 0;
}
