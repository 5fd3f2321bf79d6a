// Convolution, its input gradient and its weight gradient: which algorithm takes which shape.
//
// The list, in order; the first whose condition holds is taken. Conditions read the shape and the precision mode, never
// the number of threads or the instruction set, so that all of them give the same bits. C and K: channels of a group.
// Winograd's results that are not finite are computed again by what follows it in the list.
//   conv, conv_input_grad
//     1. depthwise_rows.inl: C = 1 (K = 1 of the input gradient), 3x3 or 5x5, stride 1 or 2, rows of 7 outputs or more
//        (5x5: 10, with stride 2 14); the input gradient with stride 1. depthwise_rows_input_grad.inl: with stride 2.
//     2. depthwise.inl: C = K = 1, 8 planes or more, strides up to 4. Before it conv_few_channels.inl for rows of
//        outputs that fill 16 lanes (24, 28, 32, 56, ...).
//     3. conv_pointwise_strided.inl: one tap, any stride, no padding: the product of 10. with the pixels that count;
//     with
//        less than 16 outputs an image it goes on with the list at stride 1.
//        conv_input_grad_columns.inl, input gradients alone: more than one tap, C * taps >= 256, K >= 64, at most 128
//        pixels of dy; 64 where one of the next two holds too.
//     4. winograd.inl, F(4x4): 3x3, stride 1, float32, default precision, 32 tiles or more, 16 if C*K <= 65536; and
//        C*K >= 5 (C + K), or 16 channels read and 3 written, or rows of 8, 16 or 32 pixels, 5 channels read, 3
//        written and C*K >= 2.5 (C + K).
//     5. winograd.inl, F(2x2): 3x3, stride 1, float32, default or tight precision, C*K >= 6 (C + K), 32 of its smaller
//        tiles or more; 16 if C*K >= 32768. Less than 32 tiles of 4. and 5., if C*K >= 32768: winograd_few_tiles.inl.
//        winograd_columns.inl: 3x3, stride 1, float32, default precision, up to 4 channels read, 8 to 32 written, rows
//        of 24 to 128 outputs that fill 16 lanes, few rows of outputs beside the image in fours.
//     6. winograd_strided.inl: 3x3, stride 2, float32, default or tight precision, C and K >= 8, 32 tiles of 2x2 or
//        more; the input gradient with padding 1. Forward, up to 224 tiles, C <= 256, K >= 32:
//        winograd_strided_few_tiles.inl.
//     7. conv_input_grad_few_channels.inl: input gradients alone; stride 2, C * phases of the stride from 4 to 16,
//        K from 16 to 128, at least 0.7 of the windows' taps exist (7x7, 5x5).
//     8. conv_image_lanes.inl: 24 images or more, rows of less than 24 outputs, 4 <= K <= 64, two to 32 taps, small
//        images; the input gradient with stride 1.
//     9. conv_few_channels.inl: K <= 64, C <= 32, more than one tap. Before it conv_channel_lanes.inl, forward,
//        float32: stride 1, K a multiple of 16, 32 to 384 terms, rows of 7 outputs or more, an eighth shorter than
//        those that the taps reach.
//    10. conv_pointwise.inl: one tap, stride 1, no padding, images of 16 pixels or more.
//        conv_pointwise_kept.inl (forward, float32), the same bits, if weights are kept, or too few for that and an
//        image has more than 256 pixels; and if an image has up to 64 pixels, or all have together up to 1024 (4096
//        where one has more than 256).
//    11. conv_direct.inl: anything; the input gradient by phases of the stride. If weights are kept and up to
//        256 pixels are written: conv_pointwise_kept.inl (forward, float32), the same bits.
//   conv_weight_grad
//     1. depthwise.inl: as above.
//     2. conv_pointwise_strided.inl: one tap, any stride, no padding; goes on with the list at stride 1.
//     3. winograd_weight_grad.inl, F(3x3, 4x4), then F(3x3, 2x2): as above, C and K >= 16, 16 tiles or more.
//     4. winograd_strided_weight_grad.inl: as winograd_strided.inl, and at most an eighth of the tiles' outputs beside
//        the image.
//     5. winograd_columns_weight_grad.inl: 3x3, stride 1, float32, default precision, up to 3 channels, images of up to
//        4096 pixels whose rows fill 16 lanes, 64 rows of its tiles or more.
//     6. conv_weight_grad_rows.inl: up to 2560 weights and rows of outputs that fill 16 lanes, strides up to 4; shorter
//        rows with stride 1 and 16 images or more; 1x1 with up to 4608 weights, C or K <= 24, planes of 512 pixels or
//        more.
//     7. conv_pointwise_weight_grad.inl: one tap, stride 1, 1536 pixels or more in all, images of at least 256 pixels,
//        or of 64 with up to 65536 weights.
//     8. conv_weight_grad_taps.inl: more than one tap, C and K >= 8, planes with rows of up to 1024 outputs.
//     9. conv_weight_grad.inl: anything.
// Few channels, one tap and direct apply to each phase of a strided input gradient by itself, with its own taps.
#pragma once
#include "conv_channel_lanes.inl"
#include "conv_direct.inl"
#include "conv_few_channels.inl"
#include "conv_image_lanes.inl"
#include "conv_input_grad_columns.inl"
#include "conv_input_grad_few_channels.inl"
#include "conv_pointwise.inl"
#include "conv_pointwise_kept.inl"
#include "conv_pointwise_weight_grad.inl"
#include "conv_pointwise_strided.inl"
#include "conv_weight_grad.inl"
#include "conv_weight_grad_rows.inl"
#include "conv_weight_grad_taps.inl"
#include "depthwise.inl"
#include "depthwise_rows.inl"
#include "depthwise_rows_input_grad.inl"
#include "winograd_columns.inl"
#include "winograd_columns_weight_grad.inl"
#include "winograd_few_tiles.inl"
#include "winograd_strided.inl"
#include "winograd_strided_few_tiles.inl"
#include "winograd_strided_weight_grad.inl"
#include "winograd_weight_grad.inl"

namespace xcorr {
namespace {

// Leaves an algorithm's name for the trace.
XCORR_INLINE const Runtime& named(const Runtime& runtime, const char* algorithm) {
  *runtime.algorithm = algorithm;
  return runtime;
}

// F(4x4) is faster than what follows it in the list: the products that it saves outweigh its transforms, which are
// cheaper where every target reads tiles by rows (tile_rows.inl); and few outputs leave direct tiles half empty.
XCORR_INLINE bool winograd_pays(const ConvSizes& s, int64_t reads, int64_t writes) {
  const bool rows = s.pad[2] == 1 && s.in[2] == s.out[2] && (s.out[2] == 8 || s.out[2] == 16 || s.out[2] == 32);
  const int64_t products = reads * writes, channels = reads + writes;
  return products >= 5 * channels || (writes >= 3 && reads >= 16) ||
         (rows && writes >= 3 && reads >= 5 && 2 * products >= 5 * channels);
}

// Size of Winograd's tiles of outputs, 0 for none, if `few4` and `few2` tiles of 4x4 and 2x2 are enough.
XCORR_INLINE int winograd_tile(const ConvSizes& s, int precision, bool input_grad, int64_t few4, int64_t few2) {
  const int64_t c = s.in_channels / s.groups, k = s.out_channels / s.groups;
  const int64_t* const out = input_grad ? s.in : s.out;
  if (!winograd_fits(s)) return 0;
  if (precision >= kDefault && winograd_pays(s, input_grad ? k : c, input_grad ? c : k) &&
      s.batch * ceil_div(out[1], 4) * ceil_div(out[2], 4) >= few4)
    return 4;
  if (c * k < 6 * (c + k)) return 0;
  return precision >= kTight && s.batch * ceil_div(out[1], 2) * ceil_div(out[2], 2) >= few2 ? 2 : 0;
}

// Few tiles pay for the transform of many weights to 16 points, not to 36; of a few weights to none.
XCORR_INLINE int winograd_tile(const ConvSizes& s, int precision, bool input_grad) {
  const int64_t weights = s.in_channels / s.groups * (s.out_channels / s.groups);
  return winograd_tile(s, precision, input_grad, weights <= 65536 ? 16 : 32, many_weights(weights) ? 16 : 32);
}

template <int kTile>
int64_t winograd(const Correlation<float>& correlation, const Runtime& runtime) {
  Winograd<kTile> all(runtime, correlation);
  const bool few = all.tiles < kFewTiles && many_weights(correlation.in_channels * correlation.out_channels);
  return few ? WinogradFewTiles<kTile>(all).execute() : all.run();
}

XCORR_INLINE bool strided_winograd(const ConvSizes& s, int precision, bool input_grad) {
  const int64_t c = s.in_channels / s.groups, k = s.out_channels / s.groups;
  return precision >= kTight && strided_winograd_fits(s, input_grad) && c >= 8 && k >= 8 &&
         s.batch * ceil_div(s.out[1], 2) * ceil_div(s.out[2], 2) >= 32;
}

XCORR_INLINE int64_t run_strided_winograd(const Correlation<float>& correlation, const Runtime& runtime) {
  StridedWinograd<false> all(runtime, correlation);
  return StridedFewTiles::fits(all) ? StridedFewTiles(all).execute() : all.execute();
}

// Tiles of 2x2 outputs with few outputs beside the image.
XCORR_INLINE bool whole_strided_tiles(const ConvSizes& s) {
  return round_up(s.out[1], 2) * round_up(s.out[2], 2) * 7 <= s.out[1] * s.out[2] * 8;
}

// One channel in and out a group, and rows that fill vectors: lanes along the rows.
template <class T>
bool wide_depthwise(const Correlation<T>& c) {
  return c.in_channels == 1 && c.out_channels == 1 && c.dense() && few_channels_fit(c) && rows_fill_lanes(c.axis[2]);
}

template <class T>
int64_t conv(const ConvSizes& s, const Runtime& runtime, void* const* operands) {
  if (conv_y(s).high == 0) return kOk;
  const Correlation<T> correlation = forward_correlation<T>(s, operands);
  const bool asks = asks_only(runtime);  // what would be kept of the weights
  if (depthwise_rows_fit(correlation))
    return asks ? int64_t(kOk) : depthwise_rows(correlation, named(runtime, "depthwise rows"));
  if (wide_depthwise(correlation))
    return asks ? int64_t(kOk) : FewChannels<T>(named(runtime, "few channels"), correlation).execute();
  if (depthwise_fits(s)) return asks ? int64_t(kOk) : Depthwise<T>(s, named(runtime, "depthwise")).forward(operands);
  if (PointwiseStrided<T>::fits(s)) {
    const PointwiseStrided<T> strided(s, runtime);
    const bool keeps = runtime.kept && kept_pointwise_fits(forward_correlation<T>(strided.dense, operands));
    return strided.large() && !keeps ? strided.forward(operands, "pointwise") : strided.gathered(conv<T>, operands, 5);
  }
  if constexpr (sizeof(T) == 4) {
    const int tile = winograd_tile(s, runtime.precision, false);
    int64_t status = kNotFinite;
    if (tile == 4)
      status = winograd<4>(correlation, named(runtime, "winograd 4x4"));
    else if (tile == 2)
      status = winograd<2>(correlation, named(runtime, "winograd 2x2"));
    else if (runtime.precision >= kDefault && WinogradColumns::fits(s, correlation))
      status = asks ? int64_t(kOk) : WinogradColumns(named(runtime, "winograd columns"), correlation).execute();
    else if (strided_winograd(s, runtime.precision, false))
      status = run_strided_winograd(correlation, named(runtime, "winograd stride 2"));
    if (status != kNotFinite) return status;
  }
  if (image_lanes_fit(correlation))
    return asks ? int64_t(kOk) : ImageLanes<T>(named(runtime, "image lanes"), correlation).execute();
  if constexpr (sizeof(T) == 4)
    if (ChannelLanes::fits(correlation))
      return asks ? int64_t(kOk) : ChannelLanes(named(runtime, "channel lanes"), correlation).execute();
  if (few_channels_fit(correlation))
    return asks ? int64_t(kOk) : FewChannels<T>(named(runtime, "few channels"), correlation).execute();
  if (pointwise_fits(correlation)) {
    if constexpr (sizeof(T) == 4)
      if (kept_pointwise_fits(correlation) && (runtime.kept || packs_few_weights(correlation)))
        return KeptPointwise(named(runtime, "pointwise kept"), correlation).execute();
    return asks ? int64_t(kOk) : pointwise_run(correlation, named(runtime, "pointwise"));
  }
  if constexpr (sizeof(T) == 4)
    if (runtime.kept && kept_direct_fits(correlation))
      return KeptPointwise(named(runtime, "direct kept"), correlation).execute();
  return direct_run(correlation, named(runtime, "direct"));
}

// The input gradient, phase by phase of the stride; phases without taps receive the bias alone.
template <class T>
int64_t phased_input_grad(const ConvSizes& s, const Runtime& runtime, void* const* operands) {
  int64_t phase[kSpatial];
  for (phase[0] = 0; phase[0] < smaller(s.stride[0], s.in[0]); phase[0]++)
    for (phase[1] = 0; phase[1] < smaller(s.stride[1], s.in[1]); phase[1]++)
      for (phase[2] = 0; phase[2] < smaller(s.stride[2], s.in[2]); phase[2]++) {
        const Correlation<T> correlation = input_grad_correlation<T>(s, operands, phase);
        const int64_t status = few_channels_fit(correlation)
                                   ? FewChannels<T>(named(runtime, "few channels"), correlation).execute()
                               : pointwise_fits(correlation) ? pointwise_run(correlation, named(runtime, "pointwise"))
                                                             : direct_run(correlation, named(runtime, "direct"));
        if (status != kOk) return status;
      }
  return kOk;
}

template <class T>
int64_t conv_input_grad(const ConvSizes& s, const Runtime& runtime, void* const* operands) {
  if (conv_x(s).high == 0) return kOk;
  const int64_t no_phase[kSpatial] = {};
  const bool unit_stride = s.stride[0] == 1 && s.stride[1] == 1 && s.stride[2] == 1;
  const Correlation<T> correlation = input_grad_correlation<T>(s, operands, no_phase);
  if (unit_stride && depthwise_rows_fit(correlation))
    return depthwise_rows(correlation, named(runtime, "depthwise rows"));
  if (depthwise_rows_input_grad_fits(s))
    return depthwise_rows_input_grad<T>(s, named(runtime, "depthwise rows"), operands);
  if (unit_stride && wide_depthwise(correlation))
    return FewChannels<T>(named(runtime, "few channels"), correlation).execute();
  if (depthwise_fits(s)) return Depthwise<T>(s, named(runtime, "depthwise")).input_grad(operands);
  if (PointwiseStrided<T>::fits(s)) {
    const PointwiseStrided<T> strided(s, runtime);
    return strided.large() ? strided.input_grad(operands, "pointwise")
                           : strided.spread_out(conv_input_grad<T>, operands);
  }
  const int tile = sizeof(T) == 4 ? winograd_tile(s, runtime.precision, true) : 0;
  if (input_grad_columns_fit(s, tile > 0 ? 64 : 128))
    return InputGradColumns<T>(s, named(runtime, "columns")).execute(operands);
  if constexpr (sizeof(T) == 4) {
    int64_t status = kNotFinite;
    if (tile == 4)
      status = winograd<4>(correlation, named(runtime, "winograd 4x4"));
    else if (tile == 2)
      status = winograd<2>(correlation, named(runtime, "winograd 2x2"));
    else if (runtime.precision >= kDefault && WinogradColumns::fits(s, correlation))
      status = WinogradColumns(named(runtime, "winograd columns"), correlation).execute();
    else if (strided_winograd(s, runtime.precision, true))
      status = StridedWinograd<true>(named(runtime, "winograd stride 2"), correlation).execute();
    if (status != kNotFinite) return status;
  }
  if (unit_stride && image_lanes_fit(correlation))
    return ImageLanes<T>(named(runtime, "image lanes"), correlation).execute();
  const PhaseChannels<T> phases(s, runtime);
  if (phases.fits) {
    named(runtime, "phase channels");
    return phases.execute(operands);
  }
  return phased_input_grad<T>(s, runtime, operands);
}

// Without input channels there is no weight, but the bias still has a gradient: the sum of each output channel.
template <class T>
int64_t bias_grad_alone(const ConvSizes& s, void* const* operands) {
  const T* dy = static_cast<const T*>(operands[1]);
  T* dbias = static_cast<T*>(operands[3]);
  if (!dbias) return kOk;
  const int64_t pixels = volume(s.out);
  for (int64_t o = 0; o < s.out_channels; o++) {
    double sum = 0;
    for (int64_t n = 0; n < s.batch; n++)
      for (int64_t i = 0; i < pixels; i++) sum += dy[(n * s.out_channels + o) * pixels + i];
    dbias[o] = (T)sum;
  }
  return kOk;
}

template <class T>
int64_t conv_weight_grad(const ConvSizes& s, const Runtime& runtime, void* const* operands) {
  if (s.in_channels == 0) return bias_grad_alone<T>(s, operands);
  if (depthwise_fits(s) && conv_y(s).high > 0)
    return Depthwise<T>(s, named(runtime, "depthwise")).weight_grad(operands);
  if (PointwiseStrided<T>::fits(s)) {
    const PointwiseStrided<T> strided(s, runtime);
    return strided.weight_grad_reads_pixels() ? strided.weight_grad(operands, "pointwise")
                                              : strided.gathered(conv_weight_grad<T>, operands, 4);
  }
  if constexpr (sizeof(T) == 4) {
    const bool many = s.in_channels >= 16 * s.groups && s.out_channels >= 16 * s.groups && conv_y(s).high > 0;
    const int tile = many ? winograd_tile(s, runtime.precision, false, 16, 16) : 0;
    int64_t status = kNotFinite;
    if (tile == 4)
      status = WinogradWeightGrad<4>(s, named(runtime, "winograd 4x4"), operands).run();
    else if (tile == 2)
      status = WinogradWeightGrad<2>(s, named(runtime, "winograd 2x2"), operands).run();
    else if (strided_winograd(s, runtime.precision, false) && whole_strided_tiles(s))
      status = StridedWinogradWeightGrad(s, named(runtime, "winograd stride 2"), operands).execute();
    else if (runtime.precision >= kDefault && WinogradColumnsWeightGrad::fits(s))
      status = WinogradColumnsWeightGrad(s, named(runtime, "winograd columns"), operands).execute();
    if (status != kNotFinite) return status;
  }
  if (rows_weight_grad_fit(s)) return RowsWeightGrad<T>(s, named(runtime, "rows"), operands).execute();
  if (pointwise_weight_grad_fits(s)) return PointwiseWeightGrad<T>(s, named(runtime, "pointwise"), operands).execute();
  if (TapsWeightGrad<T>::fits(s)) return TapsWeightGrad<T>(s, named(runtime, "direct taps"), operands).execute();
  return direct_weight_grad<T>(s, named(runtime, "direct"), operands);
}

}  // namespace
}  // namespace xcorr
