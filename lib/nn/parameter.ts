import { setRequiresGrad } from "../autograd/node.js";
import { type DType, type FloatDType, isFloating } from "../core/dtype.js";
import { ArgumentError, DTypeError } from "../core/errors.js";
import { describe } from "../core/shape.js";
import { autogradState, empty, isTensor, Tensor } from "../core/tensor.js";

/**
 * A tensor that a module learns: as a field of a module it is found by `parameters()` and `stateDict()`.
 * It shares the memory of the tensor it is made from, and requires gradients unless told otherwise.
 */
export class Parameter<D extends DType = DType> extends Tensor<D> {
  constructor(data: Tensor<D>, options: { requiresGrad?: boolean } = {}) {
    if (!isTensor(data)) throw new ArgumentError(`Parameter: data must be a tensor, got ${describe(data)}`);
    if (!isFloating(data.dtype)) {
      throw new DTypeError(
        `Parameter: data must be float32 or float64, got ${data.dtype}; register what is not learned with registerBuffer()`,
      );
    }
    super(data.dtype, data.shape, data.strides, data.offset, data.storage);
    if (options.requiresGrad ?? true) setRequiresGrad(this as unknown as Tensor, true);
  }
}

/**
 * The parameter of a lazy module before its first input: the shape is not known yet. It becomes an ordinary `Parameter`
 * (the same object, so optimisers that hold it go on) when the module is called or a state is loaded into it.
 */
export class UninitializedParameter extends Parameter {
  constructor(dtype: FloatDType = "float32") {
    super(empty([0], floatingOr(dtype)));
  }

  /** Gives the parameter memory of its own, uninitialised; the caller fills it. */
  materialize(shape: readonly number[]): void {
    this.adopt(empty([...shape], this.dtype));
  }

  /** Becomes an ordinary parameter over the memory of `value`, which nobody else holds. @internal */
  adopt(value: Tensor): void {
    replaceValue(this, value);
    Object.setPrototypeOf(this, Parameter.prototype);
  }
}

function floatingOr(dtype: unknown): FloatDType {
  if (dtype === "float32" || dtype === "float64") return dtype;
  throw new DTypeError(`dtype of a parameter must be float32 or float64, got ${describe(dtype)}`);
}

type Mutable = { -readonly [K in "dtype" | "shape" | "strides" | "offset" | "storage"]: Tensor[K] };

/**
 * @internal Makes `target` show the memory of `value` from now on, with its dtype and shape: what `Module.to(dtype)` and
 * lazy parameters need so that optimisers and users keep the same object. Its gradient and graph are dropped.
 */
export function replaceValue(target: Tensor, value: Tensor): void {
  const t = target as Mutable;
  t.dtype = value.dtype;
  t.shape = value.shape;
  t.strides = value.strides;
  t.offset = value.offset;
  t.storage = value.storage;
  if (target.autograd !== null) {
    const state = autogradState(target);
    state.grad = null;
    state.accumulator = null; // it remembers the old shape and dtype
  }
}
