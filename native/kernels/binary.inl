// binary, compare, where: element by element over operands with any strides, y contiguous.
//
// Dimensions are merged first. Operands that lie like y are read where they are; broadcast and strided ones are copied
// into blocks of 512 elements in the first-level cache, so that every function has one contiguous loop.
#pragma once
#include "unary.inl"

namespace xcorr {
namespace {

constexpr int64_t kBlockElements = 512;

// A part of a walk: `rows` whole rows, or one piece of a row.
template <int operands>
struct Block {
  const Walk<operands>& walk;
  int64_t rows, columns;
  Position<operands> start;
};

template <int operands>
[[gnu::noinline]] void walk_blocks_of(const Runtime& runtime, const Walk<operands>& w,
                                      Reference<const Block<operands>&> body) {
  const int64_t last = w.rank - 1, count = w.shape[last];
  const auto call_body = [&](const Block<operands>& b) __attribute__((noinline)) { body(b); };
  bool contiguous = true;
  for (int o = 0; o < operands; o++) contiguous = contiguous && w.stride[o][last] == 1;
  if (count >= 64 || w.rank == 1) {
    walk_rows(runtime, w, [&](const int64_t* offset, int64_t columns) {
      Block<operands> b = {w, 1, columns, {}};
      for (int o = 0; o < operands; o++) b.start.offset[o] = offset[o];
      if (contiguous) return call_body(b);
      for (int64_t done = 0; done < columns; done += kBlockElements) {
        b.columns = columns - done < kBlockElements ? columns - done : kBlockElements;
        call_body(b);
        for (int o = 0; o < operands; o++) b.start.offset[o] += b.columns * w.stride[o][last];
      }
    });
    return;
  }
  int64_t rows = 1;
  for (int64_t d = 0; d < last; d++) rows *= w.shape[d];
  const int64_t group = kBlockElements / count;
  run_ranges(runtime, rows, count, group, [&](int64_t first, int64_t end) {
    for (int64_t r = first; r < end; r += group) {
      const int64_t here = end - r < group ? end - r : group;
      call_body(Block<operands>{w, here, count, Position<operands>::at_row(w, r)});
    }
  });
}

// block(b) over everything; the last operand is y. Pieces of more than kBlockElements only if all rows are contiguous.
template <int operands, class Body>
XCORR_INLINE void walk_blocks(const Runtime& runtime, const Walk<operands>& w, const Body& body) {
  walk_blocks_of(runtime, w, Reference<const Block<operands>&>(body));
}

// Whether operand o lies like the last operand.
template <int operands>
XCORR_INLINE bool lies_like_last(const Walk<operands>& w, int o) {
  for (int64_t d = 0; d < w.rank; d++)
    if (w.stride[o][d] != w.stride[operands - 1][d]) return false;
  return true;
}

// The block's elements of operand o, one after another: in place or copied into `buffer`.
template <int operands, class X>
XCORR_INLINE const X* block_elements(const Block<operands>& b, int o, const X* x, bool like_last, X* buffer) {
  const int64_t stride = b.walk.stride[o][b.walk.rank - 1];
  if (like_last || (b.rows == 1 && stride == 1)) return x + b.start.offset[o];
  X* to = buffer;
  Position<operands> p = b.start;
  for (int64_t r = 0; r < b.rows; r++, to += b.columns) {
    const X* from = x + p.offset[o];
    if (stride == 0) {
      const X value = *from;
      for (int64_t i = 0; i < b.columns; i++) to[i] = value;
    } else if (stride == 1) {
      for (int64_t i = 0; i < b.columns; i++) to[i] = from[i];
    } else {
      for (int64_t i = 0; i < b.columns; i++) to[i] = from[i * stride];
    }
    if (r + 1 < b.rows) p.next_row(b.walk);
  }
  return buffer;
}

template <class Sizes>
XCORR_INLINE Walk<3> binary_walk(const Sizes& s) {
  Walk<3> w;
  w.rank = s.rank;
  for (int64_t d = 0; d < s.rank; d++) {
    w.shape[d] = s.shape[d];
    w.stride[0][d] = s.a_stride[d];
    w.stride[1][d] = s.b_stride[d];
  }
  contiguous_strides(w, 2);
  return merge_dimensions(w);
}

template <class T, class Y>
struct BinaryCall {
  const BinarySizes& s;
  const Runtime& runtime;
  const T* a;
  const T* b;
  Y* y;

  // loop(a, b, y, count) on contiguous elements.
  template <class Loop>
  XCORR_MEMBER void blocks(const Loop& loop) const {
    blocks_of(Reference<const T*, const T*, Y*, int64_t>(loop));
  }
  [[gnu::noinline]] void blocks_of(Reference<const T*, const T*, Y*, int64_t> loop) const {
    if (elements(s.rank, s.shape) == 0) return;
    const Walk<3> w = binary_walk(s);
    const bool a_like = lies_like_last(w, 0), b_like = lies_like_last(w, 1);
    walk_blocks(runtime, w, [&](const Block<3>& block) {
      alignas(64) T a_buffer[kBlockElements], b_buffer[kBlockElements];
      loop(block_elements(block, 0, a, a_like, a_buffer), block_elements(block, 1, b, b_like, b_buffer),
           y + block.start.offset[2], block.rows * block.columns);
    });
  }
  template <class F>
  XCORR_MEMBER void vectors(const F& f) const {
    blocks([&](const T* from_a, const T* from_b, Y* to, int64_t count) {
      constexpr int64_t lanes = Simd<T>::lanes;
      for (int64_t i = 0; i < count; i += lanes) {  // one place where f is inlined
        const int64_t n = count - i;
        const bool full = n >= lanes;
        const auto v = f(full ? load(from_a + i) : load_partial(from_a + i, int(n)),
                         full ? load(from_b + i) : load_partial(from_b + i, int(n)));
        if (full)
          store(to + i, v);
        else
          store_partial(to + i, v, int(n));
      }
    });
  }
  template <class F>
  XCORR_MEMBER void float64(const F& f) const {
    blocks([&](const T* from_a, const T* from_b, Y* to, int64_t count) {
      constexpr int64_t size = 32;
      alignas(64) double wide_a[size], wide_b[size];
      for (int64_t i = 0; i < count; i += size) {
        const int64_t n = count - i < size ? count - i : size;
        for (int64_t j = 0; j < size; j++) {
          wide_a[j] = j < n ? (double)from_a[i + j] : 1;
          wide_b[j] = j < n ? (double)from_b[i + j] : 1;
        }
        for (int64_t j = 0; j < n; j += Simd<double>::lanes) store(wide_a + j, f(load(wide_a + j), load(wide_b + j)));
        for (int64_t j = 0; j < n; j++) to[i + j] = convert<Y>(wide_a[j]);
      }
    });
  }
  template <class F>
  XCORR_MEMBER void scalars(const F& f) const {
    blocks([&](const T* from_a, const T* from_b, Y* to, int64_t count) {
      for (int64_t i = 0; i < count; i++) to[i] = f(from_a[i], from_b[i]);
    });
  }
};

// In float64 also for float32 and int32.
template <class T>
void binary_float64(const BinaryCall<T, T>& call) {
  using V = VectorF64;
  const V p0 = set1(call.s.p0), p1 = set1(call.s.p1), zero = set1(0.0), one = set1(1.0);
  switch (call.s.op) {
    case binary::pow:
      return call.float64([](V a, V b) { return pow(a, b); });
    case binary::atan2:
      return call.float64([](V a, V b) { return atan2(a, b); });
    case binary::fmod:
      return call.float64([](V a, V b) { return fmod(a, b); });
    case binary::remainder:
      return call.float64([](V a, V b) { return remainder(a, b); });
  }
  if constexpr (__is_same(T, int32_t)) {
    switch (call.s.op) {
      case binary::leaky_relu_grad:
        return call.float64([=](V dy, V x) { return select(x > zero, dy, dy * p0); });
      case binary::elu_grad:
        return call.float64([=](V dy, V x) { return dy * elu_slope(x, p0); });
      case binary::gelu_grad:
        return call.float64([](V dy, V x) { return dy * gelu_slope(x); });
      case binary::gelu_tanh_grad:
        return call.float64([](V dy, V x) { return dy * gelu_tanh_slope(x); });
      case binary::silu_grad:
        return call.float64([](V dy, V x) { return dy * silu_slope(x); });
      case binary::sigmoid_grad:
        return call.float64([=](V dy, V y) { return dy * (y * (one - y)); });
      case binary::tanh_grad:
        return call.float64([=](V dy, V y) { return dy * (one - y * y); });
      case binary::softplus_grad:
        return call.float64([=](V dy, V x) { return dy * softplus_slope(x, p0, p1); });
      case binary::clamp_grad:
        return call.float64([=](V dy, V x) { return select((x >= p0) & (x <= p1), dy, zero); });
      case binary::hard_sigmoid_grad:
        return call.float64([=](V dy, V x) { return select(abs(x) < set1(3.0), dy / set1(6.0), zero); });
      case binary::hard_swish_grad:
        return call.float64([=](V dy, V x) {
          const V middle = dy * (x / set1(3.0) + set1(0.5));
          return select(x < set1(-3.0), zero, select(x <= set1(3.0), middle, dy));
        });
    }
  }
}

template <class T>
void binary_floating(const BinaryCall<T, T>& call) {
  using V = Vector<T>;
  const V zero = number<V>(0), one = number<V>(1), three = number<V>(3);
  const V p0 = number<V>(call.s.p0), p1 = number<V>(call.s.p1);
  switch (call.s.op) {
    case binary::add:
      return call.vectors([](V a, V b) { return a + b; });
    case binary::sub:
      return call.vectors([](V a, V b) { return a - b; });
    case binary::mul:
      return call.vectors([](V a, V b) { return a * b; });
    case binary::div:
      return call.vectors([](V a, V b) { return a / b; });
    case binary::maximum:
      return call.vectors([](V a, V b) { return select(a == a, max(a, b), a); });
    case binary::minimum:
      return call.vectors([](V a, V b) { return select(a == a, min(a, b), a); });
    case binary::relu_grad:
      return call.vectors([=](V dy, V y) { return select(y > zero, dy, zero); });
    case binary::leaky_relu_grad:
      return call.vectors([=](V dy, V x) { return select(x > zero, dy, dy * p0); });
    case binary::elu_grad:
      return call.vectors([=](V dy, V x) { return dy * elu_slope(x, p0); });
    case binary::gelu_grad:
      return call.vectors([](V dy, V x) { return dy * gelu_slope(x); });
    case binary::gelu_tanh_grad:
      return call.vectors([](V dy, V x) { return dy * gelu_tanh_slope(x); });
    case binary::silu_grad:
      return call.vectors([](V dy, V x) { return dy * silu_slope(x); });
    case binary::sigmoid_grad:
      return call.vectors([=](V dy, V y) { return dy * (y * (one - y)); });
    case binary::tanh_grad:
      return call.vectors([=](V dy, V y) { return dy * (one - y * y); });
    case binary::softplus_grad:
      return call.vectors([=](V dy, V x) { return dy * softplus_slope(x, p0, p1); });
    case binary::clamp_grad:
      return call.vectors([=](V dy, V x) { return select((x >= p0) & (x <= p1), dy, zero); });
    case binary::hard_sigmoid_grad:
      return call.vectors([=](V dy, V x) { return select(abs(x) < three, dy / number<V>(6), zero); });
    case binary::hard_swish_grad:
      return call.vectors([=](V dy, V x) {
        const V middle = dy * (x / three + number<V>(0.5));
        return select(x < -three, zero, select(x <= three, middle, dy));
      });
    case binary::add_scaled:
      return call.vectors([=](V a, V b) { return fma(p0, b, a); });
  }
  binary_float64(call);
}

// Division truncates; by 0 it gives 0, as do the remainders.
void binary_integer(const BinaryCall<int32_t, int32_t>& call) {
  const int32_t p0 = (int32_t)(uint32_t)(uint64_t)whole(call.s.p0);
  using I = int32_t;
  const auto sum = [](I a, I b) { return (I)((uint32_t)a + (uint32_t)b); };
  const auto negative = [](I a) { return (I)(0u - (uint32_t)a); };
  const auto rest = [](I a, I b) { return b == 0 || b == -1 ? 0 : a % b; };
  switch (call.s.op) {
    case binary::add:
      return call.scalars(sum);
    case binary::sub:
      return call.scalars([](I a, I b) { return (I)((uint32_t)a - (uint32_t)b); });
    case binary::mul:
      return call.scalars(wrap_product);
    case binary::div:
      return call.scalars([=](I a, I b) { return b == 0 ? 0 : b == -1 ? negative(a) : a / b; });
    case binary::pow:
      return call.scalars([](I a, I b) { return integer_power(a, b); });
    case binary::maximum:
      return call.scalars([](I a, I b) { return a > b ? a : b; });
    case binary::minimum:
      return call.scalars([](I a, I b) { return a < b ? a : b; });
    case binary::fmod:
      return call.scalars(rest);
    case binary::remainder:
      return call.scalars([=](I a, I b) {
        const I r = rest(a, b);
        return r != 0 && (r < 0) != (b < 0) ? r + b : r;
      });
    case binary::relu_grad:
      return call.scalars([](I dy, I y) { return y > 0 ? dy : 0; });
    case binary::add_scaled:
      return call.scalars([=](I a, I b) { return sum(a, wrap_product(p0, b)); });
  }
  binary_float64(call);
}

template <class T>
int64_t binary(const BinarySizes& s, const Runtime& runtime, void* const* operands) {
  const BinaryCall<T, T> call = {s, runtime, static_cast<const T*>(operands[0]), static_cast<const T*>(operands[1]),
                                 static_cast<T*>(operands[2])};
  if constexpr (__is_same(T, int32_t))
    binary_integer(call);
  else
    binary_floating(call);
  return kOk;
}

template <class T>
int64_t compare(const BinarySizes& s, const Runtime& runtime, void* const* operands) {
  const BinaryCall<T, uint8_t> call = {s, runtime, static_cast<const T*>(operands[0]),
                                       static_cast<const T*>(operands[1]), static_cast<uint8_t*>(operands[2])};
  switch (s.op) {
    case compare::equal:
      call.scalars([](T a, T b) { return a == b; });
      break;
    case compare::not_equal:
      call.scalars([](T a, T b) { return a != b; });
      break;
    case compare::less:
      call.scalars([](T a, T b) { return a < b; });
      break;
    case compare::less_equal:
      call.scalars([](T a, T b) { return a <= b; });
      break;
    case compare::greater:
      call.scalars([](T a, T b) { return a > b; });
      break;
    case compare::greater_equal:
      call.scalars([](T a, T b) { return a >= b; });
      break;
  }
  return kOk;
}

template <class T>
int64_t where(const WhereSizes& s, const Runtime& runtime, void* const* operands) {
  const auto* condition = static_cast<const uint8_t*>(operands[0]);
  const auto* a = static_cast<const T*>(operands[1]);
  const auto* b = static_cast<const T*>(operands[2]);
  auto* y = static_cast<T*>(operands[3]);
  if (elements(s.rank, s.shape) == 0) return kOk;
  Walk<4> w;
  w.rank = s.rank;
  for (int64_t d = 0; d < s.rank; d++) {
    w.shape[d] = s.shape[d];
    w.stride[0][d] = s.condition_stride[d];
    w.stride[1][d] = s.a_stride[d];
    w.stride[2][d] = s.b_stride[d];
  }
  contiguous_strides(w, 3);
  w = merge_dimensions(w);
  const bool condition_like = lies_like_last(w, 0), a_like = lies_like_last(w, 1), b_like = lies_like_last(w, 2);
  walk_blocks(runtime, w, [&](const Block<4>& block) {
    alignas(64) uint8_t condition_buffer[kBlockElements];
    alignas(64) T a_buffer[kBlockElements], b_buffer[kBlockElements];
    const uint8_t* mask = block_elements(block, 0, condition, condition_like, condition_buffer);
    const T* yes = block_elements(block, 1, a, a_like, a_buffer);
    const T* no = block_elements(block, 2, b, b_like, b_buffer);
    T* to = y + block.start.offset[3];
    const int64_t count = block.rows * block.columns;
    for (int64_t i = 0; i < count; i++) {
      const T from_yes = yes[i], from_no = no[i];  // both are read, so that the loop becomes a blend
      to[i] = mask[i] ? from_yes : from_no;
    }
  });
  return kOk;
}

}  // namespace
}  // namespace xcorr
