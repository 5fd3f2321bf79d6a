// XCORR_TRACE: one line per kernel call on stderr.
#pragma once

#include "call.h"

namespace xcorr {

double seconds();

// "batch=8 in=1x28x28 ..."
void print_sizes(Text* out, const Call& call);

// "conv float32 avx512 winograd_f4 batch=8 ... 123.4 us 250.1 GFLOP/s"
void print_trace(const Call& call, const char* target, const char* algorithm, double seconds, int64_t status);

}  // namespace xcorr
