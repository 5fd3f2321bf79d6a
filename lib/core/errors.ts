/**
 * Every error that xcorr raises on purpose. A message says which call, which argument, what was expected, what came,
 * and where it helps what to do, with the numbers put into the formula.
 */
export class XcorrError extends Error {
  override get name(): string {
    return this.constructor.name;
  }
}

/** Sizes that do not fit each other. */
export class ShapeError extends XcorrError {}
/** An element type that an operation does not take, or two that differ. */
export class DTypeError extends XcorrError {}
/** An argument or option that is not what it must be: wrong kind, out of range, or a name that does not exist. */
export class ArgumentError extends XcorrError {}
/** An index outside its dimension. */
export class IndexError extends XcorrError {}
/** A misuse of the recorded graph: backward twice, in-place change of what a derivative needs, no graph at all. */
export class GradientError extends XcorrError {}
/** The memory limit was reached, or the system has no more memory. */
export class MemoryLimitError extends XcorrError {}
/** A tensor was used after its memory was given back with `dispose()` or by the end of a `scope`. */
export class DisposedError extends XcorrError {}
/** No backend, an unusable instruction set, or a kernel that a backend refuses. */
export class BackendError extends XcorrError {}
/** A file that is not what it should be; the message says which field is wrong. */
export class FormatError extends XcorrError {}
/** A file that cannot be opened or read: missing, no permission, a folder, a pipe or a device. */
export class FileError extends XcorrError {
  /** The system's word for it, such as ENOENT. */
  readonly code: string;

  constructor(message: string, code: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}
/** A state dictionary that does not fit the module it is loaded into. */
export class StateError extends XcorrError {}
