import "./primitives.js";
import "./methods.js"; // for their types, which only it declares

export * as filters from "./filters.js";
export {
  celu,
  elu,
  gelu,
  glu,
  hardshrink,
  hardsigmoid,
  hardswish,
  hardtanh,
  leakyRelu,
  logSigmoid,
  mish,
  prelu,
  relu,
  relu6,
  selu,
  sigmoid,
  silu,
  softplus,
  softshrink,
  softsign,
  tanh,
  tanhshrink,
  threshold,
} from "./activation.js";
export {
  adaptiveAvgPool1d,
  adaptiveAvgPool2d,
  adaptiveAvgPool3d,
  adaptiveMaxPool1d,
  adaptiveMaxPool2d,
  adaptiveMaxPool3d,
  type AdaptiveMaxPoolOptions,
  type OutputSize,
} from "./adaptive_pool.js";
export { argmax, argmin, type DimOptions } from "./argmax.js";
export { avgPool1d, avgPool2d, avgPool3d, type AvgPoolOptions } from "./avg_pool.js";
export type { Activation } from "./batch_norm.js";
export { clamp, type ClampOptions } from "./clamp.js";
export {
  allclose,
  type CloseOptions,
  eq,
  equal,
  ge,
  gt,
  isclose,
  isfinite,
  isinf,
  isnan,
  le,
  logicalAnd,
  logicalNot,
  logicalOr,
  logicalXor,
  lt,
  ne,
} from "./compare.js";
export { conv1d, conv2d, conv3d, type ConvOptions, type ConvPadding } from "./conv.js";
export {
  conv1dInput,
  conv1dWeight,
  conv2dInput,
  conv2dWeight,
  conv3dInput,
  conv3dWeight,
  type ConvGradientOptions,
} from "./conv_gradients.js";
export { convMatrix, type ConvMatrixOptions, type SparseMatrix } from "./conv_matrix.js";
export { convTranspose1d, convTranspose2d, convTranspose3d, type ConvTransposeOptions } from "./conv_transpose.js";
export { convolve, type ConvolveOptions, corr1d, corr2d, corr3d, correlate } from "./convolve.js";
export {
  arange,
  type CreateOptions,
  eye,
  fromShared,
  full,
  fullLike,
  linspace,
  ones,
  onesLike,
  tensor,
  type TensorOptions,
  zeros,
  zerosLike,
} from "./create.js";
export { crossEntropy, type CrossEntropyLossOptions, type Reduction } from "./cross_entropy.js";
export { alphaDropout, dropout, dropout1d, dropout2d, dropout3d, type DropoutOptions } from "./dropout.js";
export { bincount, embedding, oneHot } from "./embedding.js";
export { amax, amin, max, min, type ValuesAndIndices } from "./extremes.js";
export { indexAdd, indexCopy, indexFill, indexSelect, take } from "./indexing.js";
export { add_, copy_, div_, fill_, mul_, sub_, zero_ } from "./inplace.js";
export {
  abs_,
  addcdiv_,
  addcmul_,
  ceil_,
  clamp_,
  cos_,
  exp_,
  floor_,
  fmod_,
  indexAdd_,
  indexCopy_,
  indexFill_,
  lerp_,
  log_,
  maskedFill_,
  maskedScatter_,
  neg_,
  pow_,
  reciprocal_,
  relu_,
  remainder_,
  round_,
  rsqrt_,
  scatter_,
  scatterAdd_,
  sigmoid_,
  sin_,
  sqrt_,
  square_,
  tanh_,
  where_,
} from "./inplace_functions.js";
export { getItem, type IndexItem, maskedScatter, maskedSelect, nonzero, setItem, type SetOptions } from "./items.js";
export { cartesianProd, cat, chunk, meshgrid, repeat, repeatInterleave, split, stack, tile, unbind } from "./join.js";
export { localResponseNorm } from "./local_response_norm.js";
export {
  binaryCrossEntropy,
  binaryCrossEntropyWithLogits,
  gaussianNllLoss,
  hingeEmbeddingLoss,
  huberLoss,
  klDiv,
  l1Loss,
  type LossOptions,
  marginRankingLoss,
  mseLoss,
  multiLabelSoftMarginLoss,
  poissonNllLoss,
  smoothL1Loss,
  softMarginLoss,
  xlogy,
} from "./loss.js";
export {
  cosineEmbeddingLoss,
  cosineSimilarity,
  multiLabelMarginLoss,
  multiMarginLoss,
  nllLoss,
  pairwiseDistance,
  tripletMarginLoss,
  type TripletOptions,
} from "./loss_distance.js";
export { lpPool1d, lpPool2d, lpPool3d, type LpPoolOptions } from "./lp_pool.js";
export { linear, matmul } from "./matmul.js";
export { maxPool1d, maxPool2d, maxPool3d, type MaxPoolOptions } from "./max_pool.js";
export { batchNorm, type BatchNormOptions, groupNorm, instanceNorm, layerNorm, rmsNorm } from "./norm.js";
export { pad, type PadCallOptions } from "./pad.js";
export type { PaddingMode } from "./padding.js";
export {
  abs,
  acos,
  add,
  type AlphaOptions,
  asin,
  atan,
  ceil,
  cos,
  cosh,
  div,
  erf,
  exp,
  expm1,
  floor,
  log,
  log10,
  log1p,
  log2,
  mul,
  neg,
  type Operand,
  reciprocal,
  round,
  rsqrt,
  sign,
  sin,
  sinh,
  sqrt,
  square,
  sub,
  tan,
  trunc,
} from "./pointwise.js";
export {
  addcdiv,
  addcmul,
  atan2,
  exp2,
  floorDivide,
  fmod,
  frac,
  hypot,
  lerp,
  logaddexp,
  logit,
  maximum,
  minimum,
  pow,
  remainder,
} from "./power.js";
export { addmm, addmv, baddbmm, bmm, dot, einsum, mm, mv, outer, tensordot } from "./products.js";
export {
  bernoulli,
  defaultGenerator,
  Generator,
  manualSeed,
  normal,
  rand,
  randint,
  randLike,
  randn,
  randnLike,
  type RandomOptions,
  type RandomState,
  randperm,
  uniform,
} from "./random.js";
export { asyncQueueLength, runAsync, type RunAsyncOptions, setAsyncQueueLimit } from "./run_async.js";
export {
  broadcastTo,
  diag,
  diagEmbed,
  diagonal,
  flip,
  movedim,
  roll,
  swapaxes,
  trace,
  tril,
  triu,
} from "./rearrange.js";
export { mean, type ReduceOptions, sum } from "./reduce.js";
export { gather, scatter, scatterAdd, takeAlongDim } from "./scatter.js";
export { channelShuffle, pixelShuffle, pixelUnshuffle } from "./shuffle.js";
export { type DimOption, logSoftmax, softmax, softmin } from "./softmax.js";
export { argsort, cumprod, cumsum, kthvalue, median, nanmedian, sort, type SortOptions, topk, unique } from "./sort.js";
export {
  all,
  any,
  countNonzero,
  nanmean,
  nansum,
  prod,
  std,
  stdMean,
  var,
  variance,
  type VarianceOptions,
  varMean,
} from "./statistics.js";
export { col2im, fold, im2col, slidingWindows, unfold, type UnfoldOptions } from "./unfold.js";
export { maxUnpool1d, maxUnpool2d, maxUnpool3d, type MaxUnpoolOptions } from "./unpool.js";
export { interpolate, type InterpolateMode, type InterpolateOptions, upsample } from "./upsample.js";
export { logsumexp, norm, normalize, type NormOptions } from "./vector_norm.js";
export {
  cast,
  clone,
  detach,
  expand,
  flatten,
  narrow,
  permute,
  reshape,
  select,
  slice,
  squeeze,
  toContiguous,
  transpose,
  unflatten,
  unsqueeze,
  view,
} from "./view.js";
export { maskedFill, nanToNum, type NanToNumOptions, where } from "./where.js";
