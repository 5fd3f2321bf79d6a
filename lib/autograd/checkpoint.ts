import { ArgumentError, GradientError } from "../core/errors.js";
import { unscoped } from "../core/scope.js";
import { describe, format, sameShape, type Shape } from "../core/shape.js";
import { isTensor, type Tensor } from "../core/tensor.js";
import { isGradEnabled, recording } from "./mode.js";
import { primitives } from "./primitives.js";
import { SavedTensor, type SavedTensorHooks, savedTensorHooks } from "./saved.js";

/**
 * One checkpointed call: instead of the tensors that its operations save, the graph holds their numbers in the order of
 * saving. The first that backward asks for makes the function run again, which saves the same tensors in the same order.
 */
class Frame<A extends readonly unknown[]> implements SavedTensorHooks<number> {
  readonly #fn: (...inputs: A) => unknown;
  // Inputs are saved like an operation's: checked against in-place changes, and put away by a checkpoint around this one.
  readonly #inputs: readonly unknown[];
  readonly #randomState: unknown;
  readonly #saved: { readonly shape: Shape; readonly dtype: string }[] = [];
  #again: (Tensor | null)[] | null = null;
  #waiting = 0;

  constructor(fn: (...inputs: A) => unknown, inputs: A) {
    this.#fn = fn;
    this.#inputs = inputs.map((input) => (isTensor(input) ? new SavedTensor(input) : input));
    this.#randomState = primitives().randomState();
  }

  readonly pack = (t: Tensor): number => {
    this.#waiting++;
    return this.#saved.push({ shape: t.shape, dtype: t.dtype }) - 1;
  };

  readonly unpack = (number: number): Tensor => {
    this.#again ??= this.#runAgain();
    const t = this.#again[number];
    if (!t) throw new GradientError("checkpoint: a tensor was asked for after it had been released");
    return t;
  };

  readonly drop = (number: number): void => {
    if (this.#again !== null) this.#again[number] = null;
    if (--this.#waiting === 0) for (const input of this.#inputs) if (input instanceof SavedTensor) input.drop();
  };

  #runAgain(): Tensor[] {
    const again: Tensor[] = [];
    const collecting: SavedTensorHooks<number> = {
      pack: (t) => again.push(t) - 1,
      unpack: (number) => again[number]!,
    };
    const inputs = this.#inputs.map((input, i) =>
      input instanceof SavedTensor ? input.get("a checkpoint", `its input ${i}`) : input,
    ) as unknown as A;
    const { randomState, setRandomState } = primitives();
    const before = randomState();
    setRandomState(this.#randomState);
    try {
      unscoped(() => recording(true, () => savedTensorHooks(collecting, () => this.#fn(...inputs))));
    } finally {
      setRandomState(before);
    }
    this.#compare(again);
    return again;
  }

  #compare(again: readonly Tensor[]): void {
    const advice = "the function must do the same each time it is called";
    if (again.length !== this.#saved.length) {
      throw new GradientError(
        `checkpoint: running the function again saved ${again.length} tensors instead of ${this.#saved.length}; ${advice}`,
      );
    }
    this.#saved.forEach(({ shape, dtype }, i) => {
      const t = again[i]!;
      if (!sameShape(t.shape, shape) || t.dtype !== dtype) {
        throw new GradientError(
          `checkpoint: running the function again saved tensor ${i} as ${t.dtype} ${format(t.shape)} instead of ${dtype} ${format(shape)}; ${advice}`,
        );
      }
    });
  }
}

/**
 * Calls `fn(...inputs)` without keeping what its derivatives need: backward runs `fn` again. Memory for time.
 *
 * Gradients reach the inputs and everything else that `fn` uses (parameters in its closure); the default random
 * generator stands in the second run where it stood in the first, so dropout drops the same. May be nested.
 * @param fn a synchronous function that does the same each time
 * @throws {GradientError} from backward, if the second run does not save the same tensors or an input was changed in place
 */
export function checkpoint<A extends readonly unknown[], R>(fn: (...inputs: A) => R, ...inputs: A): R {
  if (typeof fn !== "function")
    throw new ArgumentError(`checkpoint: the first argument must be a function, got ${describe(fn)}`);
  if (!isGradEnabled()) return fn(...inputs);
  const result = savedTensorHooks(new Frame(fn, inputs), () => fn(...inputs));
  if (result instanceof Promise)
    throw new ArgumentError("checkpoint: the function must be synchronous, but it returned a Promise");
  return result;
}
