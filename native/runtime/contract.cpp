#include "contract.h"

#include <stdlib.h>
#include <string.h>

#include "text.h"

namespace xcorr {
namespace {

struct Fields {
  const char* sizes;
  int count;
  Field field[kMostFields];
};

#define XCORR_I(name) {#name, 'I'},
#define XCORR_S(name) {#name, 'S'},
#define XCORR_R(name) {#name, 'R'},
#define XCORR_D(name) {#name, 'D'},
#define XCORR_ONE(name) +1
#define XCORR_FIELDS(Name, FIELDS) \
  {#Name, 0 FIELDS(XCORR_ONE, XCORR_ONE, XCORR_ONE, XCORR_ONE), {FIELDS(XCORR_I, XCORR_S, XCORR_R, XCORR_D)}},
constexpr Fields kFields[] = {XCORR_SIZES(XCORR_FIELDS)};

constexpr bool same(const char* a, const char* b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}

constexpr Kernel kernel(const char* name, const char* sizes, const char* types, int bytes,
                        const Parameter (&parameters)[kMostParameters]) {
  Kernel k = {name, sizes, types[0], 0, 0, 0, 0, -1, {}, {}};
  for (const Fields& f : kFields) {
    if (!same(f.sizes, sizes)) continue;
    k.fields = f.count;
    for (int i = 0; i < f.count; i++) {
      k.field[i] = f.field[i];
      if (same(f.field[i].name, "rank")) k.rank_slot = k.slots;
      if (k.rank_slot >= 0 && k.slots > k.rank_slot && f.field[i].kind != 'R' && f.field[i].kind != 'D') abort();
      k.slots += slots_of(f.field[i].kind);
      if (f.field[i].kind != 'D') k.integers = k.slots;
    }
  }
  for (; k.parameters < kMostParameters && parameters[k.parameters].name; k.parameters++)
    k.parameter[k.parameters] = parameters[k.parameters];
  // The flat list of a call is copied into the struct as it is.
  if (k.slots * 8 != bytes || k.slots > kMostSlots) abort();  // not a constant: the compiler stops here
  return k;
}

}  // namespace

#define XCORR_IN(name, ...) {#name, "IN"},
#define XCORR_OPT(name, ...) {#name, "OPT"},
#define XCORR_OUT(name, ...) {#name, "OUT"},
#define XCORR_OPTOUT(name, ...) {#name, "OPTOUT"},
#define XCORR_INOUT(name, ...) {#name, "INOUT"},
#define XCORR_KERNEL(name, Sizes, types, ...) kernel(#name, #Sizes, #types, sizeof(Sizes), {__VA_ARGS__}),
constinit const Kernel kKernel[kKernels] = {
    XCORR_KERNELS(XCORR_KERNEL, XCORR_IN, XCORR_OPT, XCORR_OUT, XCORR_OPTOUT, XCORR_INOUT)};

namespace {

#define XCORR_NAME(name) #name,
constexpr const char* kUnaryNames[] = {XCORR_UNARY(XCORR_NAME)};
constexpr const char* kBinaryNames[] = {XCORR_BINARY(XCORR_NAME)};
constexpr const char* kCompareNames[] = {XCORR_COMPARE(XCORR_NAME)};
constexpr const char* kReduceNames[] = {XCORR_REDUCE(XCORR_NAME)};
constexpr const char* kActivationNames[] = {XCORR_ACTIVATION(XCORR_NAME)};
constexpr const char* kRandomNames[] = {XCORR_RANDOM(XCORR_NAME)};
constexpr const char* kScatterNames[] = {XCORR_SCATTER(XCORR_NAME)};

template <int N>
void list(Text& out, const char* key, const char* const (&names)[N]) {
  out.print("\"%s\":[", key);
  for (int i = 0; i < N; i++) out.print("%s\"%s\"", i ? "," : "", names[i]);
  out.print("]");
}

void parameter(Text& out, const Parameter& p) {
  const char* before = !strcmp(p.role, "INOUT") ? "=" : p.written() ? ">" : "";
  out.print("\"%s%s%s\"", before, p.name, p.optional() ? "?" : "");
}

}  // namespace

void describe(Text& out) {
  out.print("{\"spatialRank\":%d,\"maxRank\":%d,\"types\":[", kSpatial, kRank);
  for (int i = 0; i < kTypes; i++) out.print("%s\"%s\"", i ? "," : "", kTypeName[i]);
  out.print("],\"codes\":{");
  list(out, "unary", kUnaryNames), out.print(",");
  list(out, "binary", kBinaryNames), out.print(",");
  list(out, "compare", kCompareNames), out.print(",");
  list(out, "reduce", kReduceNames), out.print(",");
  list(out, "activation", kActivationNames), out.print(",");
  list(out, "random", kRandomNames), out.print(",");
  list(out, "scatter", kScatterNames);
  out.print("},\"sizes\":{");
  for (const Fields& f : kFields) {
    out.print("%s\"%s\":[", &f == kFields ? "" : ",", f.sizes);
    for (int i = 0; i < f.count; i++) {
      const char kind = f.field[i].kind;
      out.print("%s\"%s", i ? "," : "", f.field[i].name);
      if (kind == 'S' || kind == 'R') out.print("[%d]", slots_of(kind));
      out.print("%s\"", kind == 'D' ? "." : "");
    }
    out.print("]");
  }
  out.print("},\"kernels\":{");
  for (const Kernel& k : kKernel) {
    out.print("%s\"%s\":[\"%s\",\"%c\",[", &k == kKernel ? "" : ",", k.name, k.sizes, k.types);
    for (int i = 0; i < k.parameters; i++) {
      if (i) out.print(",");
      parameter(out, k.parameter[i]);
    }
    out.print("]]");
  }
  out.print("}}");
}

}  // namespace xcorr
