/** The layers as functions, under one name as in PyTorch. They are xcorr's own functions; import them from either place. */
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
} from "../ops/activation.js";
export * from "../ops/adaptive_pool.js";
export * from "../ops/avg_pool.js";
export { conv1d, conv2d, conv3d } from "../ops/conv.js";
export { convTranspose1d, convTranspose2d, convTranspose3d } from "../ops/conv_transpose.js";
export { crossEntropy } from "../ops/cross_entropy.js";
export * from "../ops/dropout.js";
export { embedding, oneHot } from "../ops/embedding.js";
export { localResponseNorm } from "../ops/local_response_norm.js";
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
} from "../ops/loss.js";
export * from "../ops/loss_distance.js";
export { lpPool1d, lpPool2d, lpPool3d } from "../ops/lp_pool.js";
export { linear } from "../ops/matmul.js";
export { maxPool1d, maxPool2d, maxPool3d, type MaxPoolOptions } from "../ops/max_pool.js";
export { batchNorm, groupNorm, instanceNorm, layerNorm, rmsNorm } from "../ops/norm.js";
export { pad } from "../ops/pad.js";
export { channelShuffle, pixelShuffle, pixelUnshuffle } from "../ops/shuffle.js";
export { logSoftmax, softmax, softmin } from "../ops/softmax.js";
export { fold, unfold } from "../ops/unfold.js";
export * from "../ops/unpool.js";
export { interpolate, upsample } from "../ops/upsample.js";
