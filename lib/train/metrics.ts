import { ArgumentError, ShapeError, StateError } from "../core/errors.js";
import { checkInteger } from "../core/options.js";
import { describe, format } from "../core/shape.js";
import { named, type Tensor } from "../core/tensor.js";
import { checkLoss } from "./evaluate.js";

/** What is measured over all batches of an epoch. Give fresh ones to every run: they count as they go. */
export interface Metric<Value = number> {
  /** Forgets all batches. */
  reset(): void;
  /** Takes a batch: the model's output [batch, classes, ...] and the targets int32 [batch, ...]. */
  update(output: Tensor, target: Tensor): void;
  /** Over all batches since the last reset. */
  value(): Value;
  /** What has been counted so far, as plain numbers and lists, so that a run can go on in the middle of an epoch. */
  state: unknown;
}

/** Calls `take` with every position's offset of class 0, step between classes, and target. */
function eachTarget(
  call: string,
  output: Tensor,
  target: Tensor,
  take: (logits: ArrayLike<number>, first: number, step: number, classes: number, target: number) => void,
): void {
  const [batch, classes] = output.shape;
  const rest = output.shape.slice(2);
  if (output.rank < 2 || format(target.shape) !== format([batch!, ...rest])) {
    throw new ShapeError(
      `${call}: needs an output [batch, classes, ...] and a target [batch, ...], got ${format(output.shape)} and ${format(target.shape)}`,
    );
  }
  if (target.dtype !== "int32" && target.dtype !== "uint8")
    throw new ArgumentError(`${call}: targets are class numbers, int32 or uint8, got ${named("target", target)}`);
  const logits = output.data();
  const targets = target.data();
  const size = rest.reduce((n, s) => n * s, 1);
  for (let i = 0; i < targets.length; i++) {
    const expected = targets[i]!;
    if (expected < 0 || expected >= classes!)
      throw new ArgumentError(`${call}: target ${expected} is no class of an output with ${classes} classes`);
    const at = Math.floor(i / size) * classes! * size + (i % size);
    take(logits, at, size, classes!, expected);
  }
}

/** The class with the largest value; the first of equals; NaN counts as largest, as in argmax. */
function largest(logits: ArrayLike<number>, first: number, step: number, classes: number): number {
  let best = 0;
  for (let c = 0; c < classes; c++) {
    const value = logits[first + c * step]!;
    if (Number.isNaN(value)) return c;
    if (value > logits[first + best * step]!) best = c;
  }
  return best;
}

type IsRight = (logits: ArrayLike<number>, first: number, step: number, classes: number, target: number) => boolean;

/** The share of positions that satisfy a condition. */
class Share implements Metric {
  #right = 0;
  #count = 0;
  readonly #call: string;
  readonly #isRight: IsRight;

  constructor(call: string, isRight: IsRight) {
    this.#call = call;
    this.#isRight = isRight;
  }

  reset(): void {
    this.#right = this.#count = 0;
  }

  update(output: Tensor, target: Tensor): void {
    eachTarget(this.#call, output, target, (...position) => {
      this.#count++;
      if (this.#isRight(...position)) this.#right++;
    });
  }

  value(): number {
    return this.#count === 0 ? Number.NaN : this.#right / this.#count;
  }

  get state(): unknown {
    return [this.#right, this.#count];
  }

  set state(state: unknown) {
    [this.#right, this.#count] = numbersOf(this.#call, state, 2) as [number, number];
  }
}

/** Counts and sums of a state that comes from a file. */
function numbersOf(call: string, state: unknown, count: number): number[] {
  if (!Array.isArray(state) || state.length !== count || !Array.from(state).every((n) => typeof n === "number"))
    throw new StateError(`${call}: the state must be a list of ${count} numbers, got ${describe(state)}`);
  return [...(state as number[])];
}

/** The share of targets to which the output gives the largest value. */
export function accuracy(): Metric {
  return new Share(
    "accuracy",
    (logits, first, step, classes, target) => largest(logits, first, step, classes) === target,
  );
}

/** The share of targets among the `k` largest values of the output; of equal values the lower class goes before. */
export function topK(k: number): Metric {
  checkInteger("topK", "k", k, 1);
  return new Share("topK", (logits, first, step, classes, target) => {
    const own = logits[first + target * step]!;
    let before = 0;
    for (let c = 0; c < classes; c++) {
      const value = logits[first + c * step]!;
      if (value > own || (value === own && c < target) || (Number.isNaN(value) && c !== target)) before++;
    }
    return before < k && !Number.isNaN(own);
  });
}

/** The mean of a loss over all samples: `loss` is the mean over a batch, weighted by the batch's size. */
export function meanLoss(loss: (output: Tensor, target: Tensor) => Tensor): Metric {
  let total = 0;
  let count = 0;
  return {
    reset() {
      total = count = 0;
    },
    update(output, target) {
      const size = output.shape[0] ?? 1;
      total += Number(checkLoss("meanLoss", loss(output, target)).item()) * size;
      count += size;
    },
    value: () => (count === 0 ? Number.NaN : total / count),
    get state(): unknown {
      return [total, count];
    },
    set state(state: unknown) {
      [total, count] = numbersOf("meanLoss", state, 2) as [number, number];
    },
  };
}

/** How often class i (row) was taken for class j (column). */
export function confusionMatrix(classes: number): Metric<number[][]> {
  checkInteger("confusionMatrix", "classes", classes, 1, 8192);
  const zeros = (): number[][] => Array.from({ length: classes }, () => new Array<number>(classes).fill(0));
  let counts = zeros();
  return {
    reset() {
      counts = zeros();
    },
    update(output, target) {
      if (output.shape[1] !== classes) {
        throw new ShapeError(
          `confusionMatrix: made for ${classes} classes, but the output ${format(output.shape)} has ${output.shape[1]}`,
        );
      }
      eachTarget("confusionMatrix", output, target, (logits, first, step, n, t) => {
        counts[t]![largest(logits, first, step, n)]!++;
      });
    },
    value: () => counts.map((row) => [...row]),
    get state(): unknown {
      return counts.map((row) => [...row]);
    },
    set state(state: unknown) {
      if (!Array.isArray(state) || state.length !== classes)
        throw new StateError(`confusionMatrix: the state must be ${classes} rows, got ${describe(state)}`);
      counts = Array.from(state, (row) => numbersOf("confusionMatrix", row, classes));
    },
  };
}
