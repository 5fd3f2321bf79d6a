/** Typed arrays as users bring them: of any realm (`node:vm`), over buffers that may be gone or have become smaller. */

const prototype = Object.getPrototypeOf(Uint8Array.prototype) as object;
const tagOf = Object.getOwnPropertyDescriptor(prototype, Symbol.toStringTag)!.get!;
const valuesOf = (prototype as { values: () => unknown }).values;

/** "Float32Array", ... whatever realm it comes from; undefined for what is no typed array. */
export function typedArrayName(value: unknown): string | undefined {
  return tagOf.call(value) as string | undefined;
}

/** Whether a typed array still has its memory: false if the buffer was detached, or resized below the array's end. */
export function isAttached(array: object): boolean {
  try {
    valuesOf.call(array);
    return true;
  } catch {
    return false;
  }
}
