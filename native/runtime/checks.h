// What abi.h asks of sizes beyond being integers: one function per struct, null or what is wrong.
//
// They keep every product and index that a kernel computes from sizes inside 64 bits, whatever the numbers; products
// are compared as doubles, which cannot wrap. A size of 0 counts as 1, so that partial products are bounded too.
#pragma once

#include "call.h"

namespace xcorr {

constexpr int64_t kMostIndexed = 2147483647;   // positions are written as int32
constexpr double kMostPadded = (1 << 30) - 1;  // of one dimension: two positions in it, subtracted, fit int32 too

template <class... Sizes>
bool fits(Sizes... sizes) {
  return ((sizes >= 0) && ...) && (double(sizes > 1 ? sizes : 1) * ... * 1.0) <= kMostElements;
}
inline bool fits3(int64_t count, const int64_t* size) { return fits(count, size[0], size[1], size[2]); }
inline bool is_flag(int64_t value) { return value == 0 || value == 1; }
inline bool is_code(int64_t value, int64_t codes) { return value >= 0 && value < codes; }

constexpr const char* kTooLarge = "a size is negative, or the sizes together are too large";

// Elements of a shape, and the reach of strides over it.
inline const char* check_strided(int64_t rank, const int64_t* shape, const int64_t* stride) {
  if (rank < 0 || rank > kRank) return "rank must be 0 to 8";
  double count = 1, reach = 0;
  for (int64_t i = 0; i < rank; i++) {
    if (shape[i] < 0) return "shape must not be negative";
    const double size = shape[i] > 1 ? double(shape[i]) : 1;
    count *= size;
    reach += (size - 1) * (stride[i] < 0 ? -double(stride[i]) : double(stride[i]));
  }
  return count <= kMostElements && reach <= kMostElements ? nullptr : kTooLarge;
}

// Windows over space: `out` positions of `kernel` taps each.
inline const char* check_windows(int64_t count, const int64_t* in, const int64_t* kernel, const int64_t* stride,
                                 const int64_t* dilation, const int64_t* pad, const int64_t* out) {
  double padded = double(count > 1 ? count : 1);
  for (int i = 0; i < kSpatial; i++) {
    if (kernel[i] < 1) return "kernel must be at least 1";
    if (stride[i] < 1) return "stride must be at least 1";
    if (dilation[i] < 1) return "dilation must be at least 1";
    if (pad[i] < 0) return "pad must not be negative";
    if (in[i] < 0 || out[i] < 0) return "in and out must not be negative";
    const double before = double(in[i]) + double(pad[i]);
    const double reach =
        double(out[i] > 1 ? out[i] - 1 : 0) * double(stride[i]) + double(kernel[i] - 1) * double(dilation[i]) + 1;
    const double longest = before > reach ? before : reach;
    if (longest > kMostPadded) return "padding, stride and dilation reach farther than 2^30 elements of a dimension";
    padded *= longest;
  }
  return padded <= kMostElements ? nullptr : kTooLarge;
}

inline const char* check(const FillSizes& s, int) { return fits(s.count) ? nullptr : kTooLarge; }

inline const char* check(const CopySizes& s, int) {
  if (!is_code(s.x_type, kTypes)) return "x_type must be the number of an element type";
  if (const char* wrong = check_strided(s.rank, s.shape, s.x_stride)) return wrong;
  if (const char* wrong = check_strided(s.rank, s.shape, s.y_stride)) return wrong;
  for (int64_t i = 0; i < s.rank; i++)
    if (s.y_stride[i] == 0 && s.shape[i] > 1) return "y_stride must not be 0: elements of y would be written twice";
  return nullptr;
}

inline const char* check(const UnarySizes& s, int) {
  if (!is_code(s.op, unary::kCodes)) return "op must be a unary code";
  return fits(s.count) ? nullptr : kTooLarge;
}

inline const char* check(const BinarySizes& s, int kernel) {
  const int64_t codes = kernel == k_compare ? int64_t(compare::kCodes) : int64_t(binary::kCodes);
  if (!is_code(s.op, codes)) return "op must be a code of this kernel";
  if (const char* wrong = check_strided(s.rank, s.shape, s.a_stride)) return wrong;
  return check_strided(s.rank, s.shape, s.b_stride);
}

inline const char* check(const WhereSizes& s, int) {
  if (const char* wrong = check_strided(s.rank, s.shape, s.condition_stride)) return wrong;
  if (const char* wrong = check_strided(s.rank, s.shape, s.a_stride)) return wrong;
  return check_strided(s.rank, s.shape, s.b_stride);
}

inline const char* check(const ReduceSizes& s, int kernel) {
  if (!is_code(s.op, reduce::kCodes)) return "op must be a reduce code";
  if (!fits(s.outer, s.count, s.inner)) return kTooLarge;
  if (kernel != k_arg_reduce) return nullptr;
  if (s.op != reduce::max && s.op != reduce::min) return "op must be max or min";
  if (s.count < 1 && s.outer * s.inner > 0) return "count must be at least 1: nothing has no extreme";
  return s.count <= kMostIndexed ? nullptr : kTooLarge;
}

inline const char* check(const ScanSizes& s, int) {
  if (s.op != reduce::sum && s.op != reduce::prod) return "op must be sum or prod";
  if (!is_flag(s.reverse)) return "reverse must be 0 or 1";
  return fits(s.outer, s.count, s.inner) ? nullptr : kTooLarge;
}

inline const char* check(const SortSizes& s, int) {
  if (!is_flag(s.descending)) return "descending must be 0 or 1";
  return fits(s.outer, s.count, s.inner) && s.count <= kMostIndexed ? nullptr : kTooLarge;
}

inline const char* check(const SoftmaxSizes& s, int) {
  if (!is_flag(s.log)) return "log must be 0 or 1";
  return fits(s.outer, s.count, s.inner) ? nullptr : kTooLarge;
}

inline const char* check(const CrossEntropySizes& s, int) {
  if (!fits(s.outer, s.classes, s.inner) || s.classes > kMostIndexed) return kTooLarge;
  return s.classes < 1 && s.outer * s.inner > 0 ? "classes must be at least 1" : nullptr;
}

inline const char* check(const GemmSizes& s, int) {
  if (!is_flag(s.trans_a) || !is_flag(s.trans_b) || !is_flag(s.accumulate))
    return "trans_a, trans_b and accumulate must be 0 or 1";
  if (!is_code(s.bias_per, 3)) return "bias_per must be 0, 1 or 2";
  if (!is_code(s.activation, activation::kCodes)) return "activation must be an activation code";
  if (s.a_batch_stride < 0 || s.b_batch_stride < 0) return "batch strides must not be negative";
  const double batches = double(s.batch > 1 ? s.batch - 1 : 0);
  const bool reach =
      batches * double(s.a_batch_stride) <= kMostElements && batches * double(s.b_batch_stride) <= kMostElements;
  return reach && fits(s.batch, s.m, s.n) && fits(s.m, s.k) && fits(s.k, s.n) ? nullptr : kTooLarge;
}

inline const char* check(const ConvSizes& s, int kernel) {
  if (s.batch < 0 || s.in_channels < 0 || s.out_channels < 0) return "batch and channels must not be negative";
  if (s.groups < 1) return "groups must be at least 1";
  if (s.in_channels % s.groups || s.out_channels % s.groups) return "groups must divide in_channels and out_channels";
  if (!is_code(s.activation, activation::kCodes)) return "activation must be an activation code";
  if (!fits(s.batch, s.in_channels)) return kTooLarge;
  if (const char* wrong = check_windows(s.batch * s.in_channels, s.in, s.kernel, s.stride, s.dilation, s.pad, s.out))
    return wrong;
  const bool operands = fits3(s.batch * s.in_channels, s.in) && fits(s.batch, s.out_channels) &&
                        fits3(s.batch * s.out_channels, s.out) && fits(s.in_channels, s.out_channels) &&
                        fits3(s.in_channels * s.out_channels, s.kernel);
  if (kernel == k_conv_max_pool || kernel == k_conv_max_pool_grad) {
    if (s.in[0] != 1 || s.out[0] != 1 || s.kernel[0] != 1 || s.pad[0] != 0 || s.groups != 1)
      return "with pooling there are two dimensions and one group";
    if (s.stride[1] != 1 || s.stride[2] != 1) return "with pooling stride must be 1";
    if (s.activation != activation::none && s.activation != activation::relu)
      return "with pooling activation must be none or relu";
    if (!fits3(16 * s.in_channels, s.in) || !fits3(16 * s.out_channels, s.out) ||
        !fits(16, s.in_channels, s.out[1] + s.kernel[1] * s.dilation[1], s.out[2] + s.kernel[2] * s.dilation[2]))
      return kTooLarge;
  }
  const bool columns =
      operands && fits3(s.batch * s.in_channels, s.kernel) && fits3(s.batch * s.in_channels * volume(s.kernel), s.out);
  return columns ? nullptr : kTooLarge;
}

inline const char* check(const PoolSizes& s, int kernel) {
  if (s.planes < 0) return "planes must not be negative";
  if (const char* wrong = check_windows(s.planes, s.in, s.kernel, s.stride, s.dilation, s.pad, s.out)) return wrong;
  if (!is_flag(s.count_include_pad)) return "count_include_pad must be 0 or 1";
  if (!fits3(s.planes, s.in) || !fits3(s.planes, s.out) || !fits3(1, s.kernel)) return kTooLarge;
  if (kernel != k_max_pool && kernel != k_max_pool_grad) return nullptr;
  if (volume(s.in) == 0 && s.planes * volume(s.out) > 0) return "in must not be empty: nothing has no maximum";
  return volume(s.in) <= kMostIndexed ? nullptr : kTooLarge;
}

inline const char* check(const AdaptiveSizes& s, int kernel) {
  for (int i = 0; i < kSpatial; i++)
    if (!fits(s.in[i], s.out[i])) return kTooLarge;
  if (!fits3(s.planes, s.in) || !fits3(s.planes, s.out)) return kTooLarge;
  if (volume(s.in) == 0 && s.planes * volume(s.out) > 0) return "in must not be empty";
  return kernel != k_adaptive_max_pool || volume(s.in) <= kMostIndexed ? nullptr : kTooLarge;
}

inline const char* check(const IndexSizes& s, int) {
  if (!is_code(s.op, scatter::kCodes)) return "op must be a scatter code";
  return fits(s.outer, s.n, s.inner) && fits(s.outer, s.m, s.inner) ? nullptr : kTooLarge;
}

inline const char* check(const BatchNormSizes& s, int) {
  if (!is_code(s.activation, activation::kCodes)) return "activation must be an activation code";
  return fits(s.batch, s.channels, s.inner) ? nullptr : kTooLarge;
}

inline const char* check(const LayerNormSizes& s, int) { return fits(s.rows, s.count) ? nullptr : kTooLarge; }

inline const char* check(const RandomSizes& s, int) {
  if (!is_code(s.kind, random::kCodes)) return "kind must be a random code";
  if (s.seed < 0 || s.offset < 0) return "seed and offset must not be negative";
  return fits(s.count) && s.count <= kMostSize ? nullptr : kTooLarge;
}

// Optimisers: abi.h's booleans, and a step that divides nothing by 0.
inline const char* check_step(int64_t count, int64_t step, bool flags) {
  if (step < 1) return "step must be at least 1";
  if (!flags) return "booleans must be 0 or 1";
  return fits(count) ? nullptr : kTooLarge;
}
inline const char* check(const SgdSizes& s, int) {
  return check_step(s.count, s.step, is_flag(s.nesterov) && is_flag(s.maximize));
}
inline const char* check(const AdamSizes& s, int) {
  return check_step(s.count, s.step, is_flag(s.amsgrad) && is_flag(s.maximize) && is_flag(s.decoupled));
}
inline const char* check(const RmspropSizes& s, int) {
  return check_step(s.count, 1, is_flag(s.centered) && is_flag(s.maximize));
}
inline const char* check(const AdagradSizes& s, int) { return check_step(s.count, s.step, is_flag(s.maximize)); }
inline const char* check(const NadamSizes& s, int) {
  return check_step(s.count, s.step, is_flag(s.maximize) && is_flag(s.decoupled));
}

// Where a size of 0 leaves an operand without elements, the sizes beside it may still be large ([2^40, 0] needs no
// memory). Kernels would count through them; nothing depends on them, so they become 0, or 1 where 0 is not allowed.
template <class Sizes>
void shrink(Sizes&, int) {}
inline void clear(int64_t* size, int64_t value = 0) {
  for (int i = 0; i < kSpatial; i++) size[i] = value;
}
inline void shrink(ConvSizes& s, int kernel) {
  if (s.batch == 0 || s.out_channels == 0 || volume(s.out) == 0) clear(s.out);
  if (s.batch == 0 || s.in_channels == 0 || volume(s.in) == 0) clear(s.in);
  const bool columns = kernel == k_im2col || kernel == k_col2im;
  if (columns ? volume(s.out) == 0 : s.in_channels == 0 || s.out_channels == 0) clear(s.kernel, 1);
}
inline void shrink(PoolSizes& s, int) {
  if (s.planes == 0 || volume(s.out) == 0) clear(s.out);
  if (s.planes == 0 || volume(s.in) == 0) clear(s.in);
}
inline void shrink(AdaptiveSizes& s, int) {
  if (s.planes == 0 || volume(s.out) == 0) clear(s.out);
  if (s.planes == 0 || volume(s.in) == 0) clear(s.in);
}
inline void shrink(IndexSizes& s, int) {
  if (s.outer == 0 || s.inner == 0) s.outer = s.inner = 0;
}
inline void shrink(BatchNormSizes& s, int) {
  if (s.batch == 0 || s.inner == 0) s.batch = s.inner = 0;
}

// Optional operands that these sizes make necessary, by position in abi.h.
template <class Sizes>
const char* check_given(const Sizes&, int, const bool*) {
  return nullptr;
}
inline const char* check_given(const GemmSizes& s, int, const bool* given) {
  return s.bias_per == 0 || given[2] ? nullptr : "bias_per asks for a bias";
}
inline const char* check_given(const ConvSizes&, int kernel, const bool* given) {
  return kernel != k_conv_max_pool_grad || !given[4] || given[1] ? nullptr : "dx asks for w";
}
inline const char* check_given(const BatchNormSizes& s, int kernel, const bool* given) {
  if (kernel != k_batch_norm_grad || s.activation == activation::none || given[2] || given[6]) return nullptr;
  return "an activation asks for y or affine";
}
inline const char* check_given(const SgdSizes& s, int, const bool* given) {
  return s.momentum == 0 || given[2] ? nullptr : "momentum asks for momentum_buffer";
}
inline const char* check_given(const AdamSizes& s, int, const bool* given) {
  return !s.amsgrad || given[4] ? nullptr : "amsgrad asks for v_max";
}
inline const char* check_given(const RmspropSizes& s, int, const bool* given) {
  if (s.centered && !given[3]) return "centered asks for grad_avg";
  return s.momentum == 0 || given[4] ? nullptr : "momentum asks for momentum_buffer";
}

}  // namespace xcorr
