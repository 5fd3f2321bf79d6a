#include "trace.h"

#include <string.h>

#include "clock.h"

namespace xcorr {
namespace {

// Multiplications and additions of the direct algorithm; 0 for kernels that are not bound by them.
double operations(const Call& call) {
  if (call.kernel == k_gemm) {
    GemmSizes s;
    memcpy(&s, call.sizes, sizeof s);
    return 2.0 * double(s.batch) * double(s.m) * double(s.n) * double(s.k);
  }
  if (call.kernel == k_conv || call.kernel == k_conv_input_grad || call.kernel == k_conv_weight_grad) {
    ConvSizes s;
    memcpy(&s, call.sizes, sizeof s);
    return 2.0 * double(s.batch) * double(s.out_channels) * double(s.in_channels / s.groups) *
           double(volume(s.kernel)) * double(volume(s.out));
  }
  return 0;
}

}  // namespace

double seconds() { return 1e-9 * double(nanoseconds()); }

void print_sizes(Text* out, const Call& call) {
  const Kernel& k = kKernel[call.kernel];
  const unsigned char* slot = call.sizes;
  int64_t rank = kRank;
  for (int i = 0; i < k.fields; i++) {
    const Field& f = k.field[i];
    out->print("%s%s=", i ? " " : "", f.name);
    int64_t values[kRank];
    double number;
    memcpy(values, slot, slots_of(f.kind) * 8);
    memcpy(&number, slot, 8);
    slot += slots_of(f.kind) * 8;
    if (f.kind == 'D') {
      out->print("%g", number);
      continue;
    }
    if (!strcmp(f.name, "rank") && values[0] >= 0 && values[0] <= kRank) rank = values[0];
    const int64_t count = f.kind == 'R' ? rank : slots_of(f.kind);
    for (int64_t j = 0; j < count; j++) out->print("%s%lld", j ? "x" : "", (long long)values[j]);
  }
}

void print_trace(const Call& call, const char* target, const char* algorithm, double seconds, int64_t status) {
  Text line;
  line.print("%s %s %s %s ", kKernel[call.kernel].name, kTypeName[call.type], target, algorithm ? algorithm : "-");
  print_sizes(&line, call);
  line.print(" %.1f us", seconds * 1e6);
  if (const double count = operations(call)) line.print(" %.1f GFLOP/s", count / seconds * 1e-9);
  if (status != kOk) line.print(" status %lld", (long long)status);
  fprintf(stderr, "xcorr: %s\n", line.c_str());
}

}  // namespace xcorr
