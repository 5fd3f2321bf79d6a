// Convolution, its input gradient and its weight gradient: which algorithm takes which shape.
//
// The list, in order; the first whose condition holds is taken. Conditions read the shape and the precision mode, never
// the number of threads or the instruction set, so that all of them give the same bits.
//   conv, conv_input_grad   1. direct        anything                              conv_direct.inl
//   conv_weight_grad        1. direct        anything                              conv_weight_grad.inl
#pragma once
#include "conv_direct.inl"
#include "conv_weight_grad.inl"

namespace xcorr {
namespace {

template <class T>
int64_t conv(const ConvSizes& s, const Runtime& runtime, void* const* operands) {
  if (conv_y(s).high == 0) return kOk;
  return direct_forward(forward_correlation<T>(s, operands), runtime);
}

template <class T>
int64_t conv_input_grad(const ConvSizes& s, const Runtime& runtime, void* const* operands) {
  if (conv_x(s).high == 0) return kOk;
  return direct_input_grad<T>(s, runtime, operands);
}

template <class T>
int64_t conv_weight_grad(const ConvSizes& s, const Runtime& runtime, void* const* operands) {
  return direct_weight_grad<T>(s, runtime, operands);
}

}  // namespace
}  // namespace xcorr
