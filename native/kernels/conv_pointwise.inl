// Convolution with one tap and stride 1, and its input gradient: a product of the weights with the pixels of all images
// in one row of columns.
#pragma once
#include "conv_plan.inl"
#include "product.inl"

namespace xcorr {
namespace {

// In smaller images nearly every vector would be in parts.
template <class T>
bool pointwise_fits(const Correlation<T>& conv) {
  return conv.pointwise() && conv.pixels() >= 16;
}

// `read` and `written`: the planes that the pixels are taken from, or that they are spread over.
template <class T>
int64_t pointwise_run(const Correlation<T>& conv, const Runtime& runtime, const StridedPixels<T>* read = nullptr,
                      const StridedPixels<T>* written = nullptr) {
  const int64_t pixels = conv.pixels();
  Product<T> p = {};
  p.batch = conv.groups;
  p.m = conv.out_channels;
  p.n = conv.batch * pixels;
  p.k = conv.in_channels;
  p.a = conv.w + conv.filter_position(0);
  p.a_row = conv.w_out;
  p.a_term = conv.w_in;
  p.a_batch = conv.w_group;
  p.b = conv.x;
  p.b_term = read ? read->plane() : pixels;
  p.b_batch = conv.in_channels * p.b_term;
  p.c = conv.y;
  p.c_row = written ? written->plane() : pixels;
  p.c_batch = conv.out_channels * p.c_row;
  p.image = pixels;
  p.b_jump = conv.groups * p.b_batch;
  p.c_jump = conv.groups * p.c_batch;
  p.b_pixels = read;
  p.c_pixels = written;
  p.row_bias = conv.bias;
  p.bias_batch = conv.out_channels;
  p.residual = conv.residual;
  p.activation = conv.activation;
  return run_product<T>(p, runtime);
}

}  // namespace
}  // namespace xcorr
