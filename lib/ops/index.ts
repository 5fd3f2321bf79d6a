import "./primitives.js";

export * from "./create.js";
export * from "./inplace.js";
export * from "./matmul.js";
export * from "./methods.js";
export * from "./pointwise.js";
export * from "./random.js";
export * from "./reduce.js";
export * from "./view.js";
