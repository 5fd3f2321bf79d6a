import "./primitives.js";

export * from "./avgPool.js";
export * from "./conv.js";
export * from "./create.js";
export * from "./inplace.js";
export * from "./matmul.js";
export * from "./maxPool.js";
export * from "./methods.js";
export * from "./pad.js";
export * from "./pointwise.js";
export * from "./random.js";
export * from "./reduce.js";
export * from "./view.js";
