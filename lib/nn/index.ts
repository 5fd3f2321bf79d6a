/** Layers, networks and their first values. Import it as `nn`. */
import "./own_layers.js";

export * from "./activation.js";
export * from "./adaptive_pool.js";
export * from "./batch_norm.js";
export type { BatchNormLayerOptions } from "./channel_norm.js";
export {
  ModuleDict,
  ModuleList,
  Sequential,
} from "./container.js";
export {
  Conv1d,
  Conv2d,
  Conv3d,
  type ConvLayerOptions,
  LazyConv1d,
  LazyConv2d,
  LazyConv3d,
} from "./conv.js";
export * from "./conv_transpose.js";
export * from "./distance.js";
export * from "./dropout.js";
export * from "./embedding.js";
export * as functional from "./functional.js";
export { fuseConvBn } from "./fuse.js";
export type { ForwardHook, ForwardPreHook, FullBackwardHook } from "./hooks.js";
export * as init from "./init.js";
export * from "./instance_norm.js";
export * from "./layer_norm.js";
export * from "./linear.js";
export { OptimizedModule, optimizeForInference } from "./inference/optimize.js";
export { LocalResponseNorm, type LocalResponseNormOptions } from "./local_response_norm.js";
export * from "./loss.js";
export * from "./lp_pool.js";
export * as models from "./models/index.js";
export { Module } from "./module.js";
export * from "./padding.js";
export { Parameter, UninitializedParameter } from "./parameter.js";
export * from "./pool.js";
export * from "./shape.js";
export type { LoadResult, StateDict } from "./state.js";
export { Summary, type SummaryRow } from "./summary.js";
export * from "./unfold.js";
export * as utils from "./utils.js";
