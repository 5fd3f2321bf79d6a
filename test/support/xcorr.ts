/** What the tests use of the library: the public names, and the few internals that generated tests need. */
export * from "../../lib/index.js";
export type { DType, FloatDType, TypedArray } from "../../lib/core/dtype.js";
export type { Shape } from "../../lib/core/shape.js";
