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
export * from "./adaptive_pool.js";
export { argmax, argmin, type DimOptions } from "./argmax.js";
export * from "./avg_pool.js";
export type { Activation } from "./batch_norm.js";
export * from "./clamp.js";
export * from "./compare.js";
export * from "./conv.js";
export * from "./conv_gradients.js";
export * from "./conv_matrix.js";
export * from "./conv_transpose.js";
export * from "./convolve.js";
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
export * from "./dropout.js";
export * from "./embedding.js";
export { amax, amin, max, min, type ValuesAndIndices } from "./extremes.js";
export { indexAdd, indexCopy, indexFill, indexSelect, take } from "./indexing.js";
export { add_, copy_, div_, fill_, mul_, sub_, zero_ } from "./inplace.js";
export * from "./inplace_functions.js";
export * from "./items.js";
export * from "./join.js";
export * from "./local_response_norm.js";
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
export * from "./loss_distance.js";
export * from "./lp_pool.js";
export { linear, matmul } from "./matmul.js";
export { maxPool1d, maxPool2d, maxPool3d, type MaxPoolOptions } from "./max_pool.js";
export * from "./norm.js";
export * from "./pad.js";
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
export * from "./power.js";
export * from "./products.js";
export * from "./random.js";
export { asyncQueueLength, runAsync, type RunAsyncOptions, setAsyncQueueLimit } from "./run_async.js";
export * from "./rearrange.js";
export { mean, type ReduceOptions, sum } from "./reduce.js";
export * from "./scatter.js";
export * from "./shuffle.js";
export { type DimOption, logSoftmax, softmax, softmin } from "./softmax.js";
export * from "./sort.js";
export * from "./statistics.js";
export * from "./unfold.js";
export * from "./unpool.js";
export * from "./upsample.js";
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
export * from "./where.js";
