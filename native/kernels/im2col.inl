// im2col and col2im: columns[n][c][tap][q] = x[n][c][q * stride - pad + tap * dilation], and its adjoint, which adds
// up, tap by tap in order, what each pixel was copied to (gathered: no two tasks write one place).
#pragma once
#include "conv_plan.inl"
#include "gemm.inl"

namespace xcorr {
namespace {

template <class T>
struct ColumnTasks {
  const ConvSizes* sizes;
  const T* from;
  T* to;
};

// Outputs [low, high) whose source q * stride + start lies in [0, size).
struct ValidOutputs {
  int64_t low, high;
};
XCORR_INLINE ValidOutputs valid_outputs(int64_t outputs, int64_t stride, int64_t start, int64_t size) {
  const int64_t low = start >= 0 ? 0 : ceil_div(-start, stride);
  const int64_t high = start >= size ? 0 : smaller(outputs, (size - 1 - start) / stride + 1);
  return {smaller(low, larger(high, 0)), larger(high, 0)};
}

// One channel of one image.
template <class T>
void im2col_task(void* state, int64_t index) {
  const auto& tasks = *static_cast<ColumnTasks<T>*>(state);
  const ConvSizes& s = *tasks.sizes;
  const T* const x = tasks.from + index * volume(s.in);
  T* row = tasks.to + index * volume(s.kernel) * volume(s.out);
  for (int64_t td = 0; td < s.kernel[0]; td++)
    for (int64_t th = 0; th < s.kernel[1]; th++)
      for (int64_t tw = 0; tw < s.kernel[2]; tw++) {
        const int64_t start = tw * s.dilation[2] - s.pad[2];
        const ValidOutputs w = valid_outputs(s.out[2], s.stride[2], start, s.in[2]);
        for (int64_t qd = 0; qd < s.out[0]; qd++)
          for (int64_t qh = 0; qh < s.out[1]; qh++, row += s.out[2]) {
            const int64_t pd = qd * s.stride[0] - s.pad[0] + td * s.dilation[0];
            const int64_t ph = qh * s.stride[1] - s.pad[1] + th * s.dilation[1];
            const bool there = pd >= 0 && pd < s.in[0] && ph >= 0 && ph < s.in[1];
            const int64_t low = there ? w.low : 0, high = there ? w.high : 0;
            const T* const from = x + (pd * s.in[1] + ph) * s.in[2] + start;
            for (int64_t q = 0; q < low; q++) row[q] = 0;
            if (s.stride[2] == 1)
              for (int64_t q = low; q < high; q++) row[q] = from[q];
            else
              for (int64_t q = low; q < high; q++) row[q] = from[q * s.stride[2]];
            for (int64_t q = high; q < s.out[2]; q++) row[q] = 0;
          }
      }
}

template <class T>
void col2im_task(void* state, int64_t index) {
  const auto& tasks = *static_cast<ColumnTasks<T>*>(state);
  const ConvSizes& s = *tasks.sizes;
  const T* row = tasks.from + index * volume(s.kernel) * volume(s.out);
  T* const x = tasks.to + index * volume(s.in);
  for (int64_t i = 0; i < volume(s.in); i++) x[i] = 0;
  for (int64_t td = 0; td < s.kernel[0]; td++)
    for (int64_t th = 0; th < s.kernel[1]; th++)
      for (int64_t tw = 0; tw < s.kernel[2]; tw++) {
        const int64_t start = tw * s.dilation[2] - s.pad[2];
        const ValidOutputs w = valid_outputs(s.out[2], s.stride[2], start, s.in[2]);
        for (int64_t qd = 0; qd < s.out[0]; qd++)
          for (int64_t qh = 0; qh < s.out[1]; qh++, row += s.out[2]) {
            const int64_t pd = qd * s.stride[0] - s.pad[0] + td * s.dilation[0];
            const int64_t ph = qh * s.stride[1] - s.pad[1] + th * s.dilation[1];
            if (pd < 0 || pd >= s.in[0] || ph < 0 || ph >= s.in[1]) continue;
            T* const to = x + (pd * s.in[1] + ph) * s.in[2] + start;
            if (s.stride[2] == 1)
              for (int64_t q = w.low; q < w.high; q++) to[q] += row[q];
            else
              for (int64_t q = w.low; q < w.high; q++) to[q * s.stride[2]] += row[q];
          }
      }
}

template <class T>
int64_t im2col(const ConvSizes& s, const Runtime& runtime, void* const* operands) {
  ColumnTasks<T> tasks = {&s, static_cast<const T*>(operands[0]), static_cast<T*>(operands[1])};
  run_tasks(runtime, conv_columns(s).high > 50000, s.batch * s.in_channels, im2col_task<T>, &tasks);
  return kOk;
}

template <class T>
int64_t col2im(const ConvSizes& s, const Runtime& runtime, void* const* operands) {
  ColumnTasks<T> tasks = {&s, static_cast<const T*>(operands[0]), static_cast<T*>(operands[1])};
  run_tasks(runtime, conv_columns(s).high > 50000, s.batch * s.in_channels, col2im_task<T>, &tasks);
  return kOk;
}

}  // namespace
}  // namespace xcorr
