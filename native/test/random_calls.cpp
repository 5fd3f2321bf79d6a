#include "random_calls.h"

#include <string.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace xcorr {
namespace {

// A size: mostly a few, now and then 0, 1 or many.
int64_t size(Random& r, int64_t few = 9, int64_t many = 60) {
  if (r.one_in(40)) return 0;
  if (r.one_in(6)) return 1;
  return r.one_in(6) ? r.from(1, many) : r.from(1, few);
}
// Elements of a long row: up to several tasks.
int64_t length(Random& r) { return r.one_in(12) ? r.from(30000, 140000) : r.one_in(3) ? r.from(1, 2000) : size(r, 40); }

void outer_inner(Random& r, int64_t& outer, int64_t& count, int64_t& inner) {
  outer = size(r), count = size(r, 20, 300), inner = r.one_in(2) ? 1 : size(r, 30, 200);
  if (r.one_in(12)) outer = r.from(100, 400), count = r.from(50, 200), inner = r.from(1, 6);
  if (r.one_in(20)) outer = 1, count = r.from(60000, 140000), inner = 1;
}

// Strides of an operand of this shape: contiguous in some order of dimensions, with repeated (0), reversed or spread
// ones.
void strides(Random& r, int64_t rank, const int64_t* shape, int64_t* stride, bool repeat, bool reverse, bool spread) {
  int64_t order[kRank];
  for (int64_t i = 0; i < rank; i++) order[i] = i;
  if (r.one_in(2))
    for (int64_t i = rank - 1; i > 0; i--) std::swap(order[i], order[r.below(i + 1)]);
  int64_t step = spread && r.one_in(4) ? 2 : 1;
  for (int64_t i = rank - 1; i >= 0; i--) {
    const int64_t d = order[i];
    stride[d] = step;
    if (repeat && r.one_in(5)) {
      stride[d] = 0;
      continue;
    }
    step *= shape[d] > 1 ? shape[d] : 1;
    if (reverse && r.one_in(8)) stride[d] = -stride[d];
  }
}

int64_t random_shape(Random& r, int64_t* shape) {
  const int64_t rank = r.from(0, 5);
  for (int64_t i = 0; i < rank; i++) shape[i] = size(r, 6, rank < 3 ? 400 : 12);
  if (rank > 0 && r.one_in(12)) shape[r.below(rank)] = r.from(200, 400 + (60000 >> (2 * rank)));
  for (int64_t i = rank; i < kRank; i++) shape[i] = 0;
  return rank;
}

// Windows of up to three dimensions; the unused leading ones are 1.
void windows(Random& r, int64_t* in, int64_t* kernel, int64_t* stride, int64_t* dilation, int64_t* pad, int64_t* out,
             bool half_pad) {
  const int dimensions = (int)r.from(1, kSpatial);
  const bool plain = r.one_in(3);  // 3x3, stride 1, padding 1: Winograd's case
  for (int i = 0; i < kSpatial; i++) {
    in[i] = kernel[i] = stride[i] = dilation[i] = out[i] = 1;
    pad[i] = 0;
    if (i < kSpatial - dimensions) continue;
    in[i] = dimensions == 3 ? r.from(1, 9) : dimensions == 2 ? r.from(1, 26) : r.from(1, 80);
    kernel[i] = plain ? 3 : r.from(1, dimensions == 3 ? 3 : 6);
    stride[i] = plain || r.one_in(2) ? 1 : r.from(1, 4);
    dilation[i] = plain || r.one_in(2) ? 1 : r.from(1, 3);
    const int64_t reach = (kernel[i] - 1) * dilation[i];
    pad[i] = plain ? 1 : r.from(0, half_pad ? kernel[i] / 2 : reach);
    const int64_t after = r.one_in(3) ? r.from(0, pad[i] + 1) : pad[i];  // asymmetric now and then
    const int64_t room = in[i] + pad[i] + after - reach - 1;
    out[i] = room < 0 ? 0 : room / stride[i] + 1;
  }
}

void randomize(FillSizes& s, Random& r, int) { s.count = length(r), s.value = std::floor(r.symmetric() * 100) / 4; }
void randomize(UnarySizes& s, Random& r, int) {
  s.op = r.below(unary::kCodes), s.count = length(r);
  s.p0 = r.symmetric(), s.p1 = s.p0 + 1 + r.unit();
  if (s.op == unary::softplus) s.p0 = 0.5 + r.unit(), s.p1 = 20;
  if (s.op == unary::pow_scalar && r.one_in(2)) s.p0 = double(r.from(-3, 4));
}
void randomize(BinarySizes& s, Random& r, int kernel) {
  s.op = r.below(kernel == k_compare ? int64_t(compare::kCodes) : int64_t(binary::kCodes));
  s.rank = random_shape(r, s.shape);
  strides(r, s.rank, s.shape, s.a_stride, true, true, true);
  strides(r, s.rank, s.shape, s.b_stride, true, true, true);
  s.p0 = r.symmetric(), s.p1 = s.p0 + 1;
}
void randomize(WhereSizes& s, Random& r, int) {
  s.rank = random_shape(r, s.shape);
  strides(r, s.rank, s.shape, s.condition_stride, true, true, true);
  strides(r, s.rank, s.shape, s.a_stride, true, true, true);
  strides(r, s.rank, s.shape, s.b_stride, true, true, true);
}
void randomize(CopySizes& s, Random& r, int) {
  s.x_type = r.below(kTypes);
  s.rank = random_shape(r, s.shape);
  strides(r, s.rank, s.shape, s.x_stride, true, true, true);
  strides(r, s.rank, s.shape, s.y_stride, false, true, true);
}
void randomize(ReduceSizes& s, Random& r, int kernel) {
  s.op = kernel == k_arg_reduce ? r.from(reduce::max, reduce::min) : r.below(reduce::kCodes);
  outer_inner(r, s.outer, s.count, s.inner);
  if (kernel == k_arg_reduce && s.count == 0) s.count = 1;
}
void randomize(ScanSizes& s, Random& r, int) {
  s.op = r.from(reduce::sum, reduce::prod), s.reverse = r.below(2);
  outer_inner(r, s.outer, s.count, s.inner);
}
void randomize(SortSizes& s, Random& r, int) {
  s.descending = r.below(2);
  outer_inner(r, s.outer, s.count, s.inner);
}
void randomize(SoftmaxSizes& s, Random& r, int) {
  s.log = r.below(2);
  outer_inner(r, s.outer, s.count, s.inner);
}
void randomize(CrossEntropySizes& s, Random& r, int) {
  outer_inner(r, s.outer, s.classes, s.inner);
  if (s.classes == 0) s.classes = 1;
  s.ignore_index = r.one_in(2) ? -100 : r.below(s.classes), s.smoothing = r.one_in(2) ? 0 : 0.125;
}
void randomize(GemmSizes& s, Random& r, int) {
  s.batch = r.one_in(3) ? size(r, 4, 8) : 1;
  s.m = size(r, 40, 200), s.n = size(r, 60, 300), s.k = size(r, 40, 300);
  if (r.one_in(4)) (r.one_in(2) ? s.m : s.n) = 1;
  s.trans_a = r.below(2), s.trans_b = r.below(2);
  s.a_batch_stride = r.one_in(3) ? 0 : s.m * s.k, s.b_batch_stride = r.one_in(3) ? 0 : s.k * s.n;
  s.accumulate = r.below(2), s.bias_per = r.below(3), s.activation = r.below(activation::kCodes);
}
void randomize(ConvSizes& s, Random& r, int kernel) {
  s.batch = size(r, 3, 5);
  s.groups = r.one_in(3) ? r.from(1, 6) : 1;
  const bool wide = r.one_in(5);
  s.in_channels = s.groups * (wide ? r.from(16, 70) : size(r, 6, 24));
  s.out_channels = s.groups * (wide ? r.from(16, 70) : size(r, 6, 24));
  if (r.one_in(5)) {  // depthwise
    s.groups = s.in_channels = r.from(1, 40);
    s.out_channels = s.groups * r.from(1, 2);
  }
  windows(r, s.in, s.kernel, s.stride, s.dilation, s.pad, s.out, false);
  if (kernel == k_conv_max_pool || kernel == k_conv_max_pool_grad) {
    if (r.one_in(3)) s.batch = r.from(14, 70);
    s.groups = s.in[0] = s.out[0] = s.kernel[0] = 1, s.pad[0] = 0;
    for (int i = 1; i < kSpatial; i++) {
      s.stride[i] = 1;
      s.out[i] = std::max<int64_t>(0, s.in[i] + 2 * s.pad[i] - (s.kernel[i] - 1) * s.dilation[i] - r.below(2));
    }
    s.activation = r.one_in(3) ? int64_t(activation::none) : int64_t(activation::relu);
    return;
  }
  s.activation = kernel == k_conv ? r.below(activation::kCodes) : int64_t(activation::none);
}
void randomize(PoolSizes& s, Random& r, int) {
  s.planes = size(r, 6, 40);
  windows(r, s.in, s.kernel, s.stride, s.dilation, s.pad, s.out, true);
  for (int i = 1; i < kSpatial && s.out[0] == s.in[0] && s.stride[0] == 1 && s.pad[0] == 0 && s.kernel[0] == 1; i++) {
    if (i == 1 && r.one_in(2)) break;  // else windows that neither overlap nor leave the input
    s.in[i] = r.from(1, 70), s.kernel[i] = s.stride[i] = 2, s.dilation[i] = 1, s.pad[i] = 0;
    s.out[i] = (s.in[i]) / 2 - (s.in[i] > 8 && r.one_in(8));
  }
  s.count_include_pad = r.below(2), s.divisor = r.one_in(3) ? double(r.from(1, 5)) : 0;
}
void randomize(AdaptiveSizes& s, Random& r, int) {
  s.planes = size(r, 6, 40);
  for (int i = 0; i < kSpatial; i++) s.in[i] = r.from(1, 14), s.out[i] = r.from(1, 9);
  if (r.one_in(2)) s.in[0] = s.out[0] = 1;
}
void randomize(IndexSizes& s, Random& r, int) {
  s.op = r.below(scatter::kCodes);
  s.outer = size(r), s.n = size(r, 9, 100), s.m = size(r, 9, 100), s.inner = r.one_in(2) ? 1 : size(r, 30, 300);
  if (s.n == 0) s.m = 0;
}
void randomize(BatchNormSizes& s, Random& r, int) {
  s.batch = size(r, 6, 12), s.channels = size(r, 12, 70), s.inner = r.one_in(4) ? 1 : size(r, 60, 700);
  if (s.batch == 0 || s.inner == 0) s.batch = s.inner = 1;  // statistics of nothing are NaN everywhere
  s.activation = r.below(activation::kCodes), s.eps = 1e-5;
}
void randomize(LayerNormSizes& s, Random& r, int) { s.rows = size(r, 20, 300), s.count = r.from(1, 300), s.eps = 1e-5; }
void randomize(RandomSizes& s, Random& r, int) {
  s.kind = r.below(random::kCodes), s.count = length(r);
  s.seed = int64_t(r.next() >> 11), s.offset = r.one_in(3) ? int64_t(r.next() >> 12) : r.below(1000);
  s.p0 = s.kind == random::bernoulli ? r.unit() : r.symmetric(), s.p1 = s.p0 + r.unit();
}
void randomize(SgdSizes& s, Random& r, int) {
  s.count = length(r), s.step = r.from(1, 3), s.nesterov = r.below(2), s.maximize = r.below(2), s.lr = 0.1;
  s.momentum = r.one_in(3) ? 0 : 0.875, s.dampening = r.one_in(2) ? 0 : 0.25, s.weight_decay = r.one_in(2) ? 0 : 0.01;
}
void randomize(AdamSizes& s, Random& r, int) {
  s.count = length(r), s.step = r.from(1, 20), s.amsgrad = r.below(2), s.maximize = r.below(2),
  s.decoupled = r.below(2);
  s.lr = 0.01, s.beta1 = 0.9, s.beta2 = 0.999, s.eps = 1e-8, s.weight_decay = r.one_in(2) ? 0 : 0.01;
}
void randomize(RmspropSizes& s, Random& r, int) {
  s.count = length(r), s.centered = r.below(2), s.maximize = r.below(2), s.lr = 0.01, s.alpha = 0.99, s.eps = 1e-8;
  s.weight_decay = r.one_in(2) ? 0 : 0.01, s.momentum = r.one_in(2) ? 0 : 0.875;
}
void randomize(AdagradSizes& s, Random& r, int) {
  s.count = length(r), s.step = r.from(1, 20), s.maximize = r.below(2), s.lr = 0.01,
  s.lr_decay = r.one_in(2) ? 0 : 0.01;
  s.weight_decay = r.one_in(2) ? 0 : 0.01, s.eps = 1e-10;
}
void randomize(NadamSizes& s, Random& r, int) {
  s.count = length(r), s.step = r.from(1, 20), s.maximize = r.below(2), s.decoupled = r.below(2);
  s.lr = 0.002, s.beta1 = 0.9, s.beta2 = 0.999, s.eps = 1e-8, s.weight_decay = r.one_in(2) ? 0 : 0.01;
  s.mu = 0.9 * (1 - 0.5 * 0.98), s.mu_next = 0.9 * (1 - 0.5 * 0.97), s.mu_product = s.mu * 0.5;
}

// Optional operands: at random, but given where the sizes ask for them (check_given in checks.h).
template <class Sizes>
bool asked_for(const Sizes&, int, int) {
  return false;
}
bool asked_for(const GemmSizes& s, int, int) { return s.bias_per != 0; }
bool asked_for(const ConvSizes&, int kernel, int operand) { return kernel == k_conv_max_pool_grad && operand == 1; }
bool asked_for(const BatchNormSizes& s, int kernel, int operand) {
  return kernel == k_batch_norm_grad && operand == (s.activation == activation::relu6 ? 6 : 2);
}
bool asked_for(const SgdSizes& s, int, int) { return s.momentum != 0; }
bool asked_for(const AdamSizes& s, int, int) { return s.amsgrad != 0; }
bool asked_for(const RmspropSizes& s, int, int operand) { return operand == 3 ? s.centered != 0 : s.momentum != 0; }

template <class Sizes>
RandomCall make(int kernel, Random& r) {
  const Kernel& k = kKernel[kernel];
  Sizes s;
  memset(&s, 0, sizeof s);
  randomize(s, r, kernel);
  RandomCall call;
  do call.type = (int)r.below(kTypes);
  while (!k.takes(call.type));
  int64_t slots[kMostSlots];
  memcpy(slots, &s, sizeof s);
  for (int i = 0; i < k.slots; i++) {
    double number;
    memcpy(&number, slots + i, 8);
    call.sizes.push_back(i < k.integers ? (double)slots[i] : number);
  }
  for (int i = 0; i < k.parameters; i++)
    call.given.push_back(!k.parameter[i].optional() || asked_for(s, kernel, i) || r.one_in(2));
  if constexpr (__is_same(Sizes, CopySizes)) {
    const Extent e = strided(s.rank, s.shape, s.y_stride);
    call.gaps = e.high - e.low != elements(s.rank, s.shape);
  }
  return call;
}

}  // namespace

RandomCall random_call(int kernel, Random& random) {
  switch (kernel) {
#define XCORR_CASE(name, Sizes, ...) \
  case k_##name:                     \
    return make<Sizes>(kernel, random);
    XCORR_KERNELS(XCORR_CASE, XCORR_NOTHING, XCORR_NOTHING, XCORR_NOTHING, XCORR_NOTHING, XCORR_NOTHING)
  }
  return {};
}

namespace {

template <class T>
T special_value(Random& r) {
  using Limits = std::numeric_limits<T>;
  switch (r.below(7)) {
    case 0:
      return Limits::quiet_NaN();
    case 1:
      return Limits::infinity();
    case 2:
      return -Limits::infinity();
    case 3:
      return T(0);
    case 4:
      return -T(0);
    case 5:
      return Limits::denorm_min() * T(r.from(1, 1000));
    default:
      return T(r.symmetric()) * (sizeof(T) == 4 ? T(1e30) : T(1e200));
  }
}

template <class T>
void floating_input(T* x, int64_t n, bool special, bool positive, Random& r) {
  for (int64_t i = 0; i < n; i++) {
    x[i] = T(r.symmetric()) * (special && r.one_in(4) ? 20 : 2);
    if (special && r.one_in(16)) x[i] = special_value<T>(r);
    if (positive) x[i] = std::fabs(x[i]) + T(0.0625);
  }
}

template <class T>
void shrink(T* x, int64_t n) {
  for (int64_t i = 0; i < n; i++) x[i] /= 16;
}

// Flat places of the planes, each of its own window (0 if that is empty): what max_pool may have written.
void window_places(const PoolSizes& s, int32_t* index, Random& r) {
  int64_t at[kSpatial], to = 0;
  for (int64_t plane = 0; plane < s.planes; plane++)
    for (at[0] = 0; at[0] < s.out[0]; at[0]++)
      for (at[1] = 0; at[1] < s.out[1]; at[1]++)
        for (at[2] = 0; at[2] < s.out[2]; at[2]++) {
          int64_t place = 0;
          bool empty = false;
          for (int d = 0; d < kSpatial; d++) {
            std::vector<int64_t> inside;
            for (int64_t k = 0; k < s.kernel[d]; k++) {
              const int64_t i = at[d] * s.stride[d] - s.pad[d] + k * s.dilation[d];
              if (i >= 0 && i < s.in[d]) inside.push_back(i);
            }
            empty = empty || inside.empty();
            place = place * s.in[d] + (inside.empty() ? 0 : inside[(size_t)r.below((int64_t)inside.size())]);
          }
          index[to++] = empty ? 0 : (int32_t)place;
        }
}

bool is_named(const Parameter& p, const char* name) { return !strcmp(p.name, name); }

}  // namespace

void random_input(const Call& call, int operand, void* data, int64_t count, bool special, Random& r) {
  const Kernel& k = kKernel[call.kernel];
  const Parameter& p = k.parameter[operand];
  const int bytes = call.region[operand].element_bytes;
  if (call.kernel == k_max_pool_grad && is_named(p, "index")) {
    PoolSizes s;
    memcpy(&s, call.sizes, sizeof s);
    window_places(s, static_cast<int32_t*>(data), r);
    return;
  }
  if (is_named(p, "place")) {
    for (int64_t i = 0; i < count; i++) static_cast<int32_t*>(data)[i] = (int32_t)r.below(5);
    return;
  }
  if (is_named(p, "index") || is_named(p, "target")) {
    int64_t limit = 0, ignored = 0;
    if (is_named(p, "target")) {
      CrossEntropySizes s;
      memcpy(&s, call.sizes, sizeof s);
      limit = s.classes, ignored = s.ignore_index;
    } else {
      IndexSizes s;
      memcpy(&s, call.sizes, sizeof s);
      limit = s.n;
    }
    int32_t* x = static_cast<int32_t*>(data);
    const bool wrong = special && r.one_in(3);
    for (int64_t i = 0; i < count; i++) {
      x[i] = (int32_t)r.below(limit > 0 ? limit : 1);
      if (is_named(p, "target") && r.one_in(10)) x[i] = (int32_t)ignored;
      if (wrong && r.one_in(20)) x[i] = (int32_t)(r.one_in(2) ? limit : -1 - r.below(5));
    }
    return;
  }
  int type = call.type;
  if (is_named(p, "condition")) type = kBool;
  if (call.kernel == k_copy && operand == 0) {
    CopySizes s;
    memcpy(&s, call.sizes, sizeof s);
    type = (int)s.x_type;
  }
  const bool positive = is_named(p, "variance") || is_named(p, "rstd") || is_named(p, "v") || is_named(p, "v_max") ||
                        is_named(p, "sum") || is_named(p, "square_avg") ||
                        (is_named(p, "weight") && k.sizes[0] == 'C');  // class weights
  if (type == kFloat32) {
    floating_input(static_cast<float*>(data), count, special, positive, r);
    // An average of gradients is no more than the root of that of their squares: near it nothing is left of the
    // difference.
    if (is_named(p, "grad_avg")) shrink(static_cast<float*>(data), count);
  } else if (type == kFloat64) {
    floating_input(static_cast<double*>(data), count, special, positive, r);
    if (is_named(p, "grad_avg")) shrink(static_cast<double*>(data), count);
  } else if (type == kInt32) {
    int32_t* x = static_cast<int32_t*>(data);
    for (int64_t i = 0; i < count; i++) x[i] = special && r.one_in(16) ? (int32_t)r.next() : (int32_t)r.from(-20, 20);
  } else {
    uint8_t* x = static_cast<uint8_t*>(data);
    for (int64_t i = 0; i < count; i++) x[i] = (uint8_t)r.below(type == kBool ? 2 : 256);
  }
  (void)bytes;
}

}  // namespace xcorr
