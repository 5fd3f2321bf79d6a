// THE CONTRACT between TypeScript and numbers.
//
// A kernel call is data: a kernel's name, an element type, a flat list of sizes, the buffers it reads, the buffers
// it writes. Every kernel is declared here once; the addon's entry points and length checks, the per-target tables,
// the native parity test and (through describe()) the check against lib/backend/abi.ts are made from these lines.
//
// This header is seen by per-target objects: no C++ standard headers, every function always_inline (a weak symbol
// compiled with -mavx512f must never be picked by the linker for the whole addon).
#pragma once
// The macros below are tables, one line or column a thing, which the formatter would fill like text.
// clang-format off
#include <stdint.h>

#define XCORR_INLINE [[gnu::always_inline]] static inline

namespace xcorr {

constexpr int kSpatial = 3;  // convolution and pooling always take depth, height, width; unused ones are 1
constexpr int kRank = 8;     // most dimensions of a strided operand

// Element types, in the order of lib/core/dtype.ts.
enum Type : int { kFloat32, kFloat64, kInt32, kUint8, kBool, kTypes };
XCORR_INLINE int64_t type_bytes(int type) { return type == kFloat64 ? 8 : type == kUint8 || type == kBool ? 1 : 4; }

// What a kernel returns: kOk, kOutOfMemory, or 1 + the flat position of the first index that is out of range.
// A kernel that returns the position of an index has written nothing; one without memory may have written part of what
// it only writes, and a gemm that accumulates has added part, but nothing else that it reads has changed.
enum Status : int64_t { kOutOfMemory = -1, kOk = 0 };

// Accuracy modes: exact = direct convolution only, tight adds Winograd F(2x2), default adds F(4x4).
enum Precision : int { kExact, kTight, kDefault };

// Memory of the caller's in which a kernel keeps what it makes of constant operands (a convolution of its weights), for
// later calls with the same. kept.inl says what lies there; it begins with zeros, and calls may run at the same time.
struct Kept {
  void* memory;   // 64-byte aligned; null if the call only asks: it then computes nothing and returns kOk
  int64_t bytes;  // of it; an answer if the call asks, 0 if it would keep nothing
};

// Services of the process that a kernel may use. Kernels choose tasks, blocks and algorithms from the sizes alone,
// never from `threads`, so that any thread count gives the same bits; `threads` only sizes per-thread memory.
struct Runtime {
  int threads;
  int precision;
  // Calls task(state, index) for every index in [0, tasks), each exactly once, on the pool and the calling thread;
  // returns when all are done. Which thread takes which index is unspecified. Nested calls run inline.
  void (*parallel)(int64_t tasks, void (*task)(void* state, int64_t index), void* state);
  // Memory of the calling thread, 64-byte aligned, uninitialised, kept between calls: asking again for the same slot
  // may move it. Slots 0-3 are for the kernel's own thread (shared by its tasks by pointer), 4-7 for inside tasks.
  // Null when the system has no more memory.
  void* (*scratch)(int slot, int64_t bytes);
  // Never null: a kernel that chooses among algorithms leaves the name of its choice here, for the trace.
  const char** algorithm;
  Kept* kept = nullptr;  // null where nothing is kept; kernels that keep nothing do not look
};

// ---- Codes of the families of pointwise and reducing functions (lib/backend/abi.ts lists the same names) ----

// y = f(x; p0, p1)
#define XCORR_UNARY(U)                                                                                              \
  U(neg) U(abs) U(sign) U(square) U(sqrt) U(rsqrt) U(reciprocal) U(exp) U(expm1) U(log) U(log1p) U(log2) U(log10)   \
  U(sin) U(cos) U(tan) U(asin) U(acos) U(atan) U(sinh) U(cosh) U(tanh) U(sigmoid) U(erf) U(floor) U(ceil) U(round)  \
  U(trunc) U(relu) U(leaky_relu) U(elu) U(gelu) U(gelu_tanh) U(silu) U(softplus) U(log_sigmoid) U(clamp)            \
  U(hard_sigmoid) U(hard_swish) U(add_scalar) U(mul_scalar) U(pow_scalar) U(is_nan) U(is_finite)
// leaky_relu: p0 slope. elu: p0 alpha. softplus: p0 beta, p1 threshold. clamp: p0 lowest, p1 highest (NaN stays NaN).
// round: half to even. add_scalar, mul_scalar, pow_scalar: p0. is_nan, is_finite: 1 or 0 in T. gelu uses erf.

// y = f(a, b; p0, p1)
#define XCORR_BINARY(B)                                                                                             \
  B(add) B(sub) B(mul) B(div) B(pow) B(maximum) B(minimum) B(atan2) B(fmod) B(remainder)                            \
  B(relu_grad) B(leaky_relu_grad) B(elu_grad) B(gelu_grad) B(gelu_tanh_grad) B(silu_grad) B(sigmoid_grad)           \
  B(tanh_grad) B(softplus_grad) B(clamp_grad) B(hard_sigmoid_grad) B(hard_swish_grad) B(add_scaled)
// maximum, minimum: NaN wins. remainder has the sign of b, fmod of a. add_scaled: a + p0 * b (one fma).
// *_grad(a = dy, b): b is the output for relu, sigmoid, tanh and the input for all others; relu_grad is dy where
// b > 0, else 0 (never dy * 0, so that an infinite dy stays out of masked places); clamp_grad passes dy on
// [p0, p1], both ends included; leaky_relu, elu, softplus: p0, p1 as above; hard_swish_grad is 0 up to -3 and dy from 3
// on, hard_sigmoid_grad dy / 6 strictly between them. sign of NaN is 0.
// int32: arithmetic wraps, with scalars (p0) truncated to integers (0 if not finite); div truncates; div, fmod and
// remainder by 0 give 0; pow with a negative exponent is 1 / power, truncated, 0 for base 0. Functions without an
// integer meaning (also clamp, leaky_relu) are computed in float64, truncated and saturated, NaN gives 0.

// y (bool) = a ? b
#define XCORR_COMPARE(C) C(equal) C(not_equal) C(less) C(less_equal) C(greater) C(greater_equal)

// Over the middle of [outer, count, inner].
#define XCORR_REDUCE(R) R(sum) R(prod) R(max) R(min)  // max, min: NaN wins; of nothing: -inf, +inf, int32's own

#define XCORR_ACTIVATION(A) A(none) A(relu) A(relu6)  // epilogues of conv, gemm, batch_norm
#define XCORR_RANDOM(R) R(uniform) R(normal) R(bernoulli)
#define XCORR_SCATTER(S) S(assign) S(add)

#define XCORR_CODE(name) name,
namespace unary { enum Code : int64_t { XCORR_UNARY(XCORR_CODE) kCodes }; }
namespace binary { enum Code : int64_t { XCORR_BINARY(XCORR_CODE) kCodes }; }
namespace compare { enum Code : int64_t { XCORR_COMPARE(XCORR_CODE) kCodes }; }
namespace reduce { enum Code : int64_t { XCORR_REDUCE(XCORR_CODE) kCodes }; }
namespace activation { enum Code : int64_t { XCORR_ACTIVATION(XCORR_CODE) kCodes }; }
namespace random { enum Code : int64_t { XCORR_RANDOM(XCORR_CODE) kCodes }; }
namespace scatter { enum Code : int64_t { XCORR_SCATTER(XCORR_CODE) kCodes }; }

// ---- Sizes: I an integer, S one integer per spatial dimension, R one per rank, D a double (doubles come last) ----

#define XCORR_FILL_SIZES(I, S, R, D) I(count) D(value)
// y[i] = x[i] with any strides (in elements, also negative or 0 for x) and any two types; x_type is x's Type.
// Float to int truncates and saturates, NaN gives 0; anything to bool is x != 0.
#define XCORR_COPY_SIZES(I, S, R, D) I(x_type) I(rank) R(shape) R(x_stride) R(y_stride)
#define XCORR_UNARY_SIZES(I, S, R, D) I(op) I(count) D(p0) D(p1)
// Operands have any strides (0 broadcasts); y is contiguous, and may be an operand that lies like it.
#define XCORR_BINARY_SIZES(I, S, R, D) I(op) I(rank) R(shape) R(a_stride) R(b_stride) D(p0) D(p1)
#define XCORR_WHERE_SIZES(I, S, R, D) I(rank) R(shape) R(condition_stride) R(a_stride) R(b_stride)
#define XCORR_REDUCE_SIZES(I, S, R, D) I(op) I(outer) I(count) I(inner)
#define XCORR_SCAN_SIZES(I, S, R, D) I(op) I(reverse) I(outer) I(count) I(inner)
#define XCORR_SORT_SIZES(I, S, R, D) I(descending) I(outer) I(count) I(inner)
#define XCORR_SOFTMAX_SIZES(I, S, R, D) I(log) I(outer) I(count) I(inner)
// logits [outer, classes, inner], target [outer, inner]; rows whose target is ignore_index have loss and gradient 0.
#define XCORR_CROSS_ENTROPY_SIZES(I, S, R, D) I(outer) I(classes) I(inner) I(ignore_index) D(smoothing)
// c = activation(op(a) op(b) + bias [+ c if accumulate]); a is [m, k] ([k, m] if trans_a), b [k, n] ([n, k]), c [m, n];
// batch strides in elements (0 repeats an operand). bias_per: 0 none, 1 one per row of c, 2 one per column.
#define XCORR_GEMM_SIZES(I, S, R, D)                                                                                \
  I(batch) I(m) I(n) I(k) I(trans_a) I(trans_b) I(a_batch_stride) I(b_batch_stride) I(accumulate) I(bias_per)       \
  I(activation)
// x [batch, in_channels, in...], w [out_channels, in_channels / groups, kernel...], y [batch, out_channels, out...]:
// y[n,o,p] = bias[o] + sum_{c,t} w[o,c,t] * x[n, first channel of o's group + c, p * stride - pad + t * dilation];
// x is 0 outside. `pad` is the padding before; what comes after is whatever `out` reaches (so padding may differ).
#define XCORR_CONV_SIZES(I, S, R, D)                                                                                \
  I(batch) I(groups) I(in_channels) I(out_channels) S(in) S(kernel) S(stride) S(dilation) S(pad) S(out)             \
  I(activation)
// One plane is one channel of one image.
#define XCORR_POOL_SIZES(I, S, R, D)                                                                                \
  I(planes) S(in) S(kernel) S(stride) S(dilation) S(pad) S(out) I(count_include_pad) D(divisor)
#define XCORR_ADAPTIVE_SIZES(I, S, R, D) I(planes) S(in) S(out)
// x [outer, n, inner]; index [m] (index_select, index_add) or [outer, m, inner] (gather, scatter): values in [0, n).
#define XCORR_INDEX_SIZES(I, S, R, D) I(op) I(outer) I(n) I(m) I(inner)
// x [batch, channels, inner]; variance is biased. activation may be relu or relu6.
#define XCORR_BATCH_NORM_SIZES(I, S, R, D) I(batch) I(channels) I(inner) I(activation) D(eps)
#define XCORR_LAYER_NORM_SIZES(I, S, R, D) I(rows) I(count) D(eps)
#define XCORR_RANDOM_SIZES(I, S, R, D) I(kind) I(count) I(seed) I(offset) D(p0) D(p1)
// The optimisers' numbers, with PyTorch's names. `step` counts from 1. Booleans are 0 or 1.
#define XCORR_SGD_SIZES(I, S, R, D)                                                                                 \
  I(count) I(step) I(nesterov) I(maximize) D(lr) D(momentum) D(dampening) D(weight_decay)
#define XCORR_ADAM_SIZES(I, S, R, D)                                                                                \
  I(count) I(step) I(amsgrad) I(maximize) I(decoupled) D(lr) D(beta1) D(beta2) D(eps) D(weight_decay)
#define XCORR_RMSPROP_SIZES(I, S, R, D)                                                                             \
  I(count) I(centered) I(maximize) D(lr) D(alpha) D(eps) D(weight_decay) D(momentum)
#define XCORR_ADAGRAD_SIZES(I, S, R, D) I(count) I(step) I(maximize) D(lr) D(lr_decay) D(weight_decay) D(eps)
// mu = beta1 * (1 - 0.5 * 0.96^(step * momentum_decay)), mu_next the same for step + 1, both computed by the caller,
// mu_product after this step: PyTorch's NAdam.
#define XCORR_NADAM_SIZES(I, S, R, D)                                                                               \
  I(count) I(step) I(maximize) I(decoupled) D(lr) D(beta1) D(beta2) D(eps) D(weight_decay) D(mu) D(mu_next)         \
  D(mu_product)

#define XCORR_SIZES(X)                                                                                              \
  X(FillSizes, XCORR_FILL_SIZES) X(CopySizes, XCORR_COPY_SIZES) X(UnarySizes, XCORR_UNARY_SIZES)                    \
  X(BinarySizes, XCORR_BINARY_SIZES) X(WhereSizes, XCORR_WHERE_SIZES) X(ReduceSizes, XCORR_REDUCE_SIZES)            \
  X(ScanSizes, XCORR_SCAN_SIZES) X(SortSizes, XCORR_SORT_SIZES) X(SoftmaxSizes, XCORR_SOFTMAX_SIZES)                \
  X(CrossEntropySizes, XCORR_CROSS_ENTROPY_SIZES) X(GemmSizes, XCORR_GEMM_SIZES) X(ConvSizes, XCORR_CONV_SIZES)     \
  X(PoolSizes, XCORR_POOL_SIZES) X(AdaptiveSizes, XCORR_ADAPTIVE_SIZES) X(IndexSizes, XCORR_INDEX_SIZES)            \
  X(BatchNormSizes, XCORR_BATCH_NORM_SIZES) X(LayerNormSizes, XCORR_LAYER_NORM_SIZES)                               \
  X(RandomSizes, XCORR_RANDOM_SIZES) X(SgdSizes, XCORR_SGD_SIZES) X(AdamSizes, XCORR_ADAM_SIZES)                    \
  X(RmspropSizes, XCORR_RMSPROP_SIZES) X(AdagradSizes, XCORR_ADAGRAD_SIZES) X(NadamSizes, XCORR_NADAM_SIZES)

#define XCORR_INTEGER(name) int64_t name;
#define XCORR_SPATIAL(name) int64_t name[kSpatial];
#define XCORR_RANKED(name) int64_t name[kRank];
#define XCORR_DOUBLE(name) double name;
#define XCORR_STRUCT(Name, FIELDS) struct Name { FIELDS(XCORR_INTEGER, XCORR_SPATIAL, XCORR_RANKED, XCORR_DOUBLE) };
XCORR_SIZES(XCORR_STRUCT)

// ---- Extents: which elements of an operand a call touches, relative to its first: [low, high) ----

struct Extent { int64_t low, high; };

XCORR_INLINE int64_t volume(const int64_t* size) { return size[0] * size[1] * size[2]; }
XCORR_INLINE Extent span(int64_t count) { return {0, count}; }
XCORR_INLINE Extent strided(int64_t rank, const int64_t* shape, const int64_t* stride) {
  Extent e = {0, 1};
  for (int64_t i = 0; i < rank; i++) {
    if (shape[i] == 0) return {0, 0};
    const int64_t reach = (shape[i] - 1) * stride[i];
    if (reach < 0) e.low += reach; else e.high += reach;
  }
  return e;
}
XCORR_INLINE int64_t elements(int64_t rank, const int64_t* shape) {
  int64_t n = 1;
  for (int64_t i = 0; i < rank; i++) n *= shape[i];
  return n;
}
XCORR_INLINE Extent conv_x(const ConvSizes& s) { return span(s.batch * s.in_channels * volume(s.in)); }
XCORR_INLINE Extent conv_y(const ConvSizes& s) { return span(s.batch * s.out_channels * volume(s.out)); }
XCORR_INLINE Extent conv_w(const ConvSizes& s) {
  return span(s.out_channels * (s.in_channels / s.groups) * volume(s.kernel));
}
// Outputs of conv_max_pool, and which of each window's was the largest, in whole blocks of 16 images.
XCORR_INLINE Extent pooled_y(const ConvSizes& s) { return span(s.batch * s.out_channels * (s.out[1] / 2) * (s.out[2] / 2)); }
XCORR_INLINE Extent pooled_place(const ConvSizes& s) {
  return span((s.batch + 15) / 16 * 16 * s.out_channels * (s.out[1] / 2) * (s.out[2] / 2));
}
XCORR_INLINE Extent conv_columns(const ConvSizes& s) {
  return span(s.batch * s.in_channels * volume(s.kernel) * volume(s.out));
}
XCORR_INLINE Extent gemm_operand(int64_t batch, int64_t stride, int64_t count) {
  return span(batch == 0 || count == 0 ? 0 : (batch - 1) * stride + count);
}

// ---- The kernels: name, sizes, element types, operands ----
// Types: F float32 and float64; N those and int32; A every type (the table holds one function per type).
// Operands in the order a kernel receives them: IN reads, OPT reads if given (else null), OUT writes all of it,
// OPTOUT writes if given, INOUT reads and writes. T is the call's element type. Outputs never overlap inputs (the
// addon refuses it), except that y of unary and, laid out the same, of binary may be an input, and an optimiser's grad its
// param.
#define XCORR_KERNELS(K, IN, OPT, OUT, OPTOUT, INOUT) \
  K(fill, FillSizes, A, OUT(y, T, span(s.count))) \
  K(copy, CopySizes, A, IN(x, s.x_type, strided(s.rank, s.shape, s.x_stride)) OUT(y, T, strided(s.rank, s.shape, s.y_stride))) \
  K(unary, UnarySizes, N, IN(x, T, span(s.count)) OUT(y, T, span(s.count))) \
  K(binary, BinarySizes, N, IN(a, T, strided(s.rank, s.shape, s.a_stride)) IN(b, T, strided(s.rank, s.shape, s.b_stride)) OUT(y, T, span(elements(s.rank, s.shape)))) \
  K(compare, BinarySizes, N, IN(a, T, strided(s.rank, s.shape, s.a_stride)) IN(b, T, strided(s.rank, s.shape, s.b_stride)) OUT(y, kBool, span(elements(s.rank, s.shape)))) \
  K(where, WhereSizes, N, IN(condition, kBool, strided(s.rank, s.shape, s.condition_stride)) IN(a, T, strided(s.rank, s.shape, s.a_stride)) IN(b, T, strided(s.rank, s.shape, s.b_stride)) OUT(y, T, span(elements(s.rank, s.shape)))) \
  K(reduce, ReduceSizes, N, IN(x, T, span(s.outer * s.count * s.inner)) OUT(y, T, span(s.outer * s.inner))) \
  K(arg_reduce, ReduceSizes, N, IN(x, T, span(s.outer * s.count * s.inner)) OUT(y, T, span(s.outer * s.inner)) OUT(index, kInt32, span(s.outer * s.inner))) \
  K(scan, ScanSizes, N, IN(x, T, span(s.outer * s.count * s.inner)) OUT(y, T, span(s.outer * s.count * s.inner))) \
  K(sort, SortSizes, N, IN(x, T, span(s.outer * s.count * s.inner)) OUT(y, T, span(s.outer * s.count * s.inner)) OUT(index, kInt32, span(s.outer * s.count * s.inner))) \
  K(softmax, SoftmaxSizes, F, IN(x, T, span(s.outer * s.count * s.inner)) OUT(y, T, span(s.outer * s.count * s.inner))) \
  K(softmax_grad, SoftmaxSizes, F, IN(y, T, span(s.outer * s.count * s.inner)) IN(dy, T, span(s.outer * s.count * s.inner)) OUT(dx, T, span(s.outer * s.count * s.inner))) \
  K(cross_entropy, CrossEntropySizes, F, IN(logits, T, span(s.outer * s.classes * s.inner)) IN(target, kInt32, span(s.outer * s.inner)) OPT(weight, T, span(s.classes)) OUT(loss, T, span(s.outer * s.inner))) \
  K(cross_entropy_grad, CrossEntropySizes, F, IN(logits, T, span(s.outer * s.classes * s.inner)) IN(target, kInt32, span(s.outer * s.inner)) OPT(weight, T, span(s.classes)) IN(dy, T, span(s.outer * s.inner)) OUT(dlogits, T, span(s.outer * s.classes * s.inner))) \
  K(gemm, GemmSizes, F, IN(a, T, gemm_operand(s.batch, s.a_batch_stride, s.m * s.k)) IN(b, T, gemm_operand(s.batch, s.b_batch_stride, s.k * s.n)) OPT(bias, T, span(s.bias_per == 1 ? s.m : s.n)) INOUT(c, T, span(s.batch * s.m * s.n))) \
  K(conv, ConvSizes, F, IN(x, T, conv_x(s)) IN(w, T, conv_w(s)) OPT(bias, T, span(s.out_channels)) OPT(residual, T, conv_y(s)) OUT(y, T, conv_y(s))) \
  K(conv_input_grad, ConvSizes, F, IN(dy, T, conv_y(s)) IN(w, T, conv_w(s)) OPT(bias, T, span(s.in_channels)) OUT(dx, T, conv_x(s))) \
  K(conv_weight_grad, ConvSizes, F, IN(x, T, conv_x(s)) IN(dy, T, conv_y(s)) OUT(dw, T, conv_w(s)) OPTOUT(dbias, T, span(s.out_channels))) \
  K(conv_max_pool, ConvSizes, F, IN(x, T, conv_x(s)) IN(w, T, conv_w(s)) OPT(bias, T, span(s.out_channels)) OUT(y, T, pooled_y(s)) OUT(place, kInt32, pooled_place(s))) \
  K(conv_max_pool_grad, ConvSizes, F, IN(x, T, conv_x(s)) OPT(w, T, conv_w(s)) IN(place, kInt32, pooled_place(s)) IN(dy, T, pooled_y(s)) OPTOUT(dx, T, conv_x(s)) OUT(dw, T, conv_w(s)) OPTOUT(dbias, T, span(s.out_channels))) \
  K(im2col, ConvSizes, F, IN(x, T, conv_x(s)) OUT(y, T, conv_columns(s))) \
  K(col2im, ConvSizes, F, IN(x, T, conv_columns(s)) OUT(y, T, conv_x(s))) \
  K(max_pool, PoolSizes, F, IN(x, T, span(s.planes * volume(s.in))) OUT(y, T, span(s.planes * volume(s.out))) OUT(index, kInt32, span(s.planes * volume(s.out)))) \
  K(max_pool_grad, PoolSizes, F, IN(dy, T, span(s.planes * volume(s.out))) IN(index, kInt32, span(s.planes * volume(s.out))) OUT(dx, T, span(s.planes * volume(s.in)))) \
  K(avg_pool, PoolSizes, F, IN(x, T, span(s.planes * volume(s.in))) OUT(y, T, span(s.planes * volume(s.out)))) \
  K(avg_pool_grad, PoolSizes, F, IN(dy, T, span(s.planes * volume(s.out))) OUT(dx, T, span(s.planes * volume(s.in)))) \
  K(adaptive_max_pool, AdaptiveSizes, F, IN(x, T, span(s.planes * volume(s.in))) OUT(y, T, span(s.planes * volume(s.out))) OUT(index, kInt32, span(s.planes * volume(s.out)))) \
  K(adaptive_avg_pool, AdaptiveSizes, F, IN(x, T, span(s.planes * volume(s.in))) OUT(y, T, span(s.planes * volume(s.out)))) \
  K(adaptive_avg_pool_grad, AdaptiveSizes, F, IN(dy, T, span(s.planes * volume(s.out))) OUT(dx, T, span(s.planes * volume(s.in)))) \
  K(index_select, IndexSizes, A, IN(x, T, span(s.outer * s.n * s.inner)) IN(index, kInt32, span(s.m)) OUT(y, T, span(s.outer * s.m * s.inner))) \
  K(index_add, IndexSizes, N, IN(x, T, span(s.outer * s.m * s.inner)) IN(index, kInt32, span(s.m)) INOUT(y, T, span(s.outer * s.n * s.inner))) \
  K(gather, IndexSizes, A, IN(x, T, span(s.outer * s.n * s.inner)) IN(index, kInt32, span(s.outer * s.m * s.inner)) OUT(y, T, span(s.outer * s.m * s.inner))) \
  K(scatter, IndexSizes, N, IN(x, T, span(s.outer * s.m * s.inner)) IN(index, kInt32, span(s.outer * s.m * s.inner)) INOUT(y, T, span(s.outer * s.n * s.inner))) \
  K(batch_norm, BatchNormSizes, F, IN(x, T, span(s.batch * s.channels * s.inner)) OPT(weight, T, span(s.channels)) OPT(bias, T, span(s.channels)) OPT(residual, T, span(s.batch * s.channels * s.inner)) OUT(y, T, span(s.batch * s.channels * s.inner)) OUT(mean, T, span(s.channels)) OUT(variance, T, span(s.channels)) OPTOUT(affine, T, span(2 * s.channels))) \
  K(batch_norm_inference, BatchNormSizes, F, IN(x, T, span(s.batch * s.channels * s.inner)) OPT(weight, T, span(s.channels)) OPT(bias, T, span(s.channels)) OPT(residual, T, span(s.batch * s.channels * s.inner)) IN(mean, T, span(s.channels)) IN(variance, T, span(s.channels)) OUT(y, T, span(s.batch * s.channels * s.inner))) \
  K(batch_norm_grad, BatchNormSizes, F, IN(x, T, span(s.batch * s.channels * s.inner)) IN(dy, T, span(s.batch * s.channels * s.inner)) OPT(y, T, span(s.batch * s.channels * s.inner)) OPT(weight, T, span(s.channels)) IN(mean, T, span(s.channels)) IN(variance, T, span(s.channels)) OPT(affine, T, span(2 * s.channels)) OUT(dx, T, span(s.batch * s.channels * s.inner)) OUT(dweight, T, span(s.channels)) OUT(dbias, T, span(s.channels)) OPTOUT(dresidual, T, span(s.batch * s.channels * s.inner))) \
  K(layer_norm, LayerNormSizes, F, IN(x, T, span(s.rows * s.count)) OPT(weight, T, span(s.count)) OPT(bias, T, span(s.count)) OUT(y, T, span(s.rows * s.count)) OUT(mean, T, span(s.rows)) OUT(rstd, T, span(s.rows))) \
  K(layer_norm_grad, LayerNormSizes, F, IN(x, T, span(s.rows * s.count)) IN(dy, T, span(s.rows * s.count)) OPT(weight, T, span(s.count)) IN(mean, T, span(s.rows)) IN(rstd, T, span(s.rows)) OUT(dx, T, span(s.rows * s.count)) OUT(dweight, T, span(s.count)) OUT(dbias, T, span(s.count))) \
  K(random_fill, RandomSizes, F, OUT(y, T, span(s.count))) \
  K(sgd_step, SgdSizes, F, INOUT(param, T, span(s.count)) IN(grad, T, span(s.count)) OPT(momentum_buffer, T, span(s.count))) \
  K(adam_step, AdamSizes, F, INOUT(param, T, span(s.count)) IN(grad, T, span(s.count)) INOUT(m, T, span(s.count)) INOUT(v, T, span(s.count)) OPT(v_max, T, span(s.count))) \
  K(rmsprop_step, RmspropSizes, F, INOUT(param, T, span(s.count)) IN(grad, T, span(s.count)) INOUT(square_avg, T, span(s.count)) OPT(grad_avg, T, span(s.count)) OPT(momentum_buffer, T, span(s.count))) \
  K(adagrad_step, AdagradSizes, F, INOUT(param, T, span(s.count)) IN(grad, T, span(s.count)) INOUT(sum, T, span(s.count))) \
  K(nadam_step, NadamSizes, F, INOUT(param, T, span(s.count)) IN(grad, T, span(s.count)) INOUT(m, T, span(s.count)) INOUT(v, T, span(s.count)))
// Notes that a line cannot hold:
//   copy            an operand of its own type: x_type is read from the sizes.
//   arg_reduce      op max or min; the first of equals; a NaN is the extreme; count must be at least 1.
//   scan            op sum or prod, from the end if reverse.
//   sort            stable; NaN is the largest.
//   gemm            c is only read if accumulate.
//   conv            y = activation(conv + bias + residual). Keeps its weights as it multiplies them (Kept).
//   conv_input_grad sizes are the forward's; a transposed convolution is this kernel with a bias.
//   conv_max_pool   y = activation(the largest of 2x2 neighbouring outputs of conv), stride 2, rounded down, ties and NaN as
//                   in max_pool; two dimensions, one group, stride 1, activation none or relu. place [16 images a block,
//                   the last filled up][channel][window][image]: which of the window's four it was, row by row, 4 where
//                   relu has no gradient. In conv_max_pool_grad another number is as good as 4, and w is asked for by dx alone.
//   max_pool        padding never wins; the first maximum (row-major) on ties; NaN wins, the first of them; index is
//                   flat in the plane. A window without elements gives -inf and index 0 (avg_pool: 0).
//   max_pool_grad   index is what max_pool wrote. A gradient whose index is not of its own window is left out, added there,
//                   or, if that is outside the plane, refused before anything is written.
//   avg_pool        divisor 0 means none; else it divides the window's sum. Divides by the window clipped to input
//                   plus padding (count_include_pad) or to the input.
//   index_add       y += x at index. scatter: op assign or add. Both check all indices before writing.
//   batch_norm      training statistics; variance is the biased one. affine: the scales of all channels, then the shifts,
//                   with which y = activation((x - mean) * scale + shift + residual), bit by bit where mean is the
//                   one that was written.
//   batch_norm_grad If activation is not none, the mask comes from y (the forward's output) or, if that is not given,
//                   from affine, which is what the forward wrote without a residual. The incoming gradient after the
//                   mask is what dresidual receives.
//   random_fill     Philox 4x32-10 (Salmon et al. 2011): the same numbers for any thread count, target and type.
//                   Key = low and high 32 bits of seed; the counter of element i's block is the 64-bit offset + i / 4
//                   in the first two counter words (low, high), the other two are 0; element i takes word i % 4.
//                   u(word) = (word >> 8) * 2^-24.
//                   uniform in [p0, p1): v = float32(p0 + u * (p1 - p0)), computed in double; p0 where rounding gave v >= p1.
//                   normal, mean p0, deviation p1, Box-Muller on words (0, 1) for elements 0 and 1 and words (2, 3) for
//                   elements 2 and 3: r = sqrt(-2 ln(u(first) + 2^-24)), angle = 2 pi u(second); the even element is
//                   float32(p0 + p1 * r * cos(angle)), the odd one has sin. bernoulli: 1 where u < p0, else 0.
//                   float64 gets the float32 numbers widened. bernoulli and uniform are bit-exact in every backend.
//   sgd_step        momentum_buffer is read and written if given (step 1 sets it).
//   adam_step       decoupled: AdamW. v_max is read and written if amsgrad.
//   *_step          weight decay, maximize: as PyTorch's single-tensor formulas.

// The kernels of one instruction set: a function per kernel and type, null where a kernel does not take the type.
struct KernelTable {
  const char* target;
#define XCORR_NOTHING(...)
#define XCORR_SLOT(name, Sizes, types, ...) int64_t (*name[kTypes])(const Sizes&, const Runtime&, void* const* operands);
  XCORR_KERNELS(XCORR_SLOT, XCORR_NOTHING, XCORR_NOTHING, XCORR_NOTHING, XCORR_NOTHING, XCORR_NOTHING)
#undef XCORR_SLOT
  // No kernel, but the bench's measure of this instruction set's peak: multiplications and additions that were done in
  // `rounds` of gemm's register tile. `sink` takes 64 bytes.
  int64_t (*fma_burst)(int64_t rounds, float* sink);
};

}  // namespace xcorr
