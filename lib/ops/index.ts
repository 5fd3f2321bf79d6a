import "./primitives.js";

export * from "./adaptive_pool.js";
export * from "./avg_pool.js";
export * from "./conv.js";
export * from "./conv_gradients.js";
export * from "./conv_transpose.js";
export * from "./convolve.js";
export * from "./create.js";
export * from "./inplace.js";
export * from "./matmul.js";
export * from "./max_pool.js";
export * from "./methods.js";
export * from "./pad.js";
export * from "./pointwise.js";
export * from "./random.js";
export * from "./reduce.js";
export * from "./unpool.js";
export * from "./view.js";
