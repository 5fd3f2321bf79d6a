/** Element types, in the order of `Type` in native/abi.h. */
export const dtypes = ["float32", "float64", "int32", "uint8", "bool"] as const;
export type DType = (typeof dtypes)[number];
export type FloatDType = "float32" | "float64";

/** The typed array that holds the values of each element type; bool is a byte, 0 or 1. */
export interface ArrayOf {
  float32: Float32Array;
  float64: Float64Array;
  int32: Int32Array;
  uint8: Uint8Array;
  bool: Uint8Array;
}
export type TypedArray = ArrayOf[DType];

const codes: Record<DType, number> = { float32: 0, float64: 1, int32: 2, uint8: 3, bool: 4 };
const bytes: Record<DType, number> = { float32: 4, float64: 8, int32: 4, uint8: 1, bool: 1 };

/** The number of an element type in native calls. */
export function typeCode(dtype: DType): number {
  return codes[dtype];
}

/** Bytes per element. */
export function bytesPerElement(dtype: DType): number {
  return bytes[dtype];
}

export function isDType(value: unknown): value is DType {
  return typeof value === "string" && Object.hasOwn(codes, value);
}

export function isFloating(dtype: DType): dtype is FloatDType {
  return dtype === "float32" || dtype === "float64";
}
