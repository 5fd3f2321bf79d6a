/** The layers as functions, under one name as in PyTorch. They are xcorr's own functions; import them from either place. */
export * from "../ops/activation.js";
export * from "../ops/adaptive_pool.js";
export * from "../ops/avg_pool.js";
export { conv1d, conv2d, conv3d } from "../ops/conv.js";
export { convTranspose1d, convTranspose2d, convTranspose3d } from "../ops/conv_transpose.js";
export { crossEntropy } from "../ops/cross_entropy.js";
export * from "../ops/dropout.js";
export { embedding, oneHot } from "../ops/embedding.js";
export * from "../ops/loss.js";
export { linear } from "../ops/matmul.js";
export * from "../ops/max_pool.js";
export { batchNorm, groupNorm, instanceNorm, layerNorm, rmsNorm } from "../ops/norm.js";
export { pad } from "../ops/pad.js";
export { channelShuffle, pixelShuffle, pixelUnshuffle } from "../ops/shuffle.js";
export { logSoftmax, softmax, softmin } from "../ops/softmax.js";
export { fold, unfold } from "../ops/unfold.js";
export * from "../ops/unpool.js";
export { interpolate, upsample } from "../ops/upsample.js";
