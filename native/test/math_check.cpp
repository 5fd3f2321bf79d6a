// The largest error of every elementary function of each target, in units in the last place, against the C library's
// long double, on fresh random arguments over the whole range; fails above a limit per function.
//   math_check [arguments per range] [seed] [target ...]
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

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

using Exact = long double;

// Uniform in [low, high], or in the exponent if both are positive and `logarithmic`; of either sign if `both`.
struct Range {
  double low, high;
  bool logarithmic = false, both = false;
};

struct Function {
  unary::Code op;
  const char* name;
  double limit64, limit32;  // ulp
  std::function<Exact(Exact)> exact;
  std::vector<Range> ranges64, ranges32;
};

Exact sigmoid(Exact x) { return 1 / (1 + expl(-x)); }

const Range kTiny = {1e-30, 1, true, true}, kUnit = {-1, 1}, kPositive32 = {1e-37, 1e38, true};
const Range kPositive64 = {1e-307, 1e308, true}, kNearOne = {0.5, 2};

const std::vector<Function> kFunctions = {
    {unary::exp, "exp", 1.1, 1.1, expl, {{-745, 709}, kUnit}, {{-103, 88}, kUnit}},
    {unary::expm1, "expm1", 1.6, 1.6, expm1l, {{-40, 709}, kUnit, kTiny}, {{-20, 88}, kUnit, kTiny}},
    {unary::log, "log", 1, 1, logl, {kPositive64, kNearOne}, {kPositive32, kNearOne}},
    {unary::log1p, "log1p", 1.1, 1.2, log1pl, {{-0.999, 3}, kTiny}, {{-0.999, 3}, kTiny}},
    {unary::log2, "log2", 1.1, 0.6, log2l, {kPositive64, kNearOne}, {kPositive32, kNearOne}},
    {unary::log10, "log10", 1.1, 0.6, log10l, {kPositive64, kNearOne}, {kPositive32, kNearOne}},
    {unary::sin,
     "sin",
     1,
     0.6,
     sinl,
     {{-10, 10}, {-1e5, 1e5}, {1e6, 1e17, true}},
     {{-10, 10}, {-1e5, 1e5}, {1e6, 1e17, true}}},
    {unary::cos,
     "cos",
     1,
     0.6,
     cosl,
     {{-10, 10}, {-1e5, 1e5}, {1e6, 1e17, true}},
     {{-10, 10}, {-1e5, 1e5}, {1e6, 1e17, true}}},
    {unary::tan, "tan", 2.5, 0.6, tanl, {{-10, 10}, {-1e5, 1e5}, kTiny}, {{-10, 10}, {-1e5, 1e5}, kTiny}},
    {unary::asin, "asin", 1, 0.6, asinl, {kUnit, kTiny}, {kUnit, kTiny}},
    {unary::acos, "acos", 1, 0.6, acosl, {kUnit}, {kUnit}},
    {unary::atan, "atan", 1.6, 0.6, atanl, {{-3, 3}, {1e-20, 1e20, true, true}}, {{-3, 3}, {1e-20, 1e20, true, true}}},
    {unary::sinh, "sinh", 2.2, 0.6, sinhl, {{-709, 709}, {-3, 3}, kTiny}, {{-88, 88}, {-3, 3}, kTiny}},
    {unary::cosh, "cosh", 1.5, 0.6, coshl, {{-709, 709}, {-3, 3}}, {{-88, 88}, {-3, 3}}},
    {unary::tanh, "tanh", 2.7, 2.7, tanhl, {{-20, 20}, kUnit, kTiny}, {{-10, 10}, kUnit, kTiny}},
    {unary::sigmoid, "sigmoid", 2.5, 2.5, sigmoid, {{-700, 40}, {-3, 3}}, {{-86, 20}, {-3, 3}}},
    {unary::erf, "erf", 2, 2, erfl, {{-6, 6}, kUnit, kTiny}, {{-4, 4}, kUnit, kTiny}},
    {unary::gelu,
     "gelu",
     6,
     6,
     [](Exact x) { return x * erfcl(-x / sqrtl(2)) / 2; },
     {{-37, 10}, kUnit},
     {{-12.8, 6}, kUnit}},
    {unary::silu, "silu", 3.3, 3.3, [](Exact x) { return x * sigmoid(x); }, {{-700, 40}, kUnit}, {{-80, 20}, kUnit}},
};

void serial(int64_t tasks, void (*task)(void*, int64_t), void* state) {
  for (int64_t i = 0; i < tasks; i++) task(state, i);
}
void* no_scratch(int, int64_t) { return nullptr; }

template <class T>
std::vector<T> arguments(const std::vector<Range>& ranges, int count, std::mt19937_64& random) {
  std::vector<T> x;
  for (const Range& r : ranges) {
    std::uniform_real_distribution<double> uniform(r.logarithmic ? std::log(r.low) : r.low,
                                                   r.logarithmic ? std::log(r.high) : r.high);
    for (int i = 0; i < count; i++) {
      const double value = r.logarithmic ? std::exp(uniform(random)) : uniform(random);
      x.push_back(T(r.both && random() % 2 ? -value : value));
    }
  }
  return x;
}

// The largest error in ulp of the exact result; a wrong infinity or NaN counts as 1e9.
template <class T>
double largest_error(const KernelTable& table, const Function& f, const std::vector<T>& x, T* worst) {
  std::vector<T> y(x.size(), std::numeric_limits<T>::quiet_NaN());
  const char* algorithm = nullptr;
  const Runtime runtime = {1, kExact, serial, no_scratch, &algorithm};
  const UnarySizes sizes = {f.op, int64_t(x.size()), 0, 0};
  void* operands[] = {const_cast<T*>(x.data()), y.data()};
  table.unary[sizeof(T) == 4 ? kFloat32 : kFloat64](sizes, runtime, operands);
  double largest = 0;
  for (size_t i = 0; i < x.size(); i++) {
    const Exact exact = f.exact(x[i]);
    const int lowest = std::numeric_limits<T>::min_exponent - 1;
    const int exponent = exact == 0 ? lowest : std::max(lowest, int(ilogbl(exact)));
    const Exact unit = ldexpl(1, exponent - (std::numeric_limits<T>::digits - 1));
    const Exact apart = fabsl(Exact(y[i]) - exact) / unit;
    const double error = apart < 1e9L ? double(apart) : 1e9;  // NaN too
    if (error > largest) largest = error, *worst = x[i];
  }
  return largest;
}

}  // namespace

int main(int count, char** words) {
  const int arguments_each = count > 1 ? atoi(words[1]) : 20000;
  const unsigned long seed = count > 2 ? strtoul(words[2], nullptr, 10) : std::random_device{}();
  int failed = 0;
  for (const KernelTable* table : kTables) {
    bool wanted = count <= 3;
    for (int i = 3; i < count; i++) wanted = wanted || !strcmp(words[i], table->target);
    if (!wanted) continue;
    std::mt19937_64 random(seed);
    printf("%s, seed %lu: largest error in ulp, float64 and float32\n", table->target, seed);
    for (const Function& f : kFunctions) {
      double at64 = 0;
      float at32 = 0;
      const double error64 = largest_error(*table, f, arguments<double>(f.ranges64, arguments_each, random), &at64);
      const double error32 = largest_error(*table, f, arguments<float>(f.ranges32, arguments_each, random), &at32);
      const bool bad = !(error64 <= f.limit64) || !(error32 <= f.limit32);
      failed += bad;
      printf("  %-8s %6.3f at %-14.7g %6.3f at %-14.7g%s\n", f.name, error64, at64, error32, at32,
             bad ? "  FAILED" : "");
    }
  }
  return failed != 0;
}
