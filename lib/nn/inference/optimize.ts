import { isGradEnabled, unrecorded } from "../../autograd/mode.js";
import { operandWritten } from "../../backend/operands.js";
import { type KernelCall, Recorder } from "../../backend/recorder.js";
import { backend, withBackend } from "../../backend/run.js";
import { bytesPerElement } from "../../core/dtype.js";
import { ArgumentError, GradientError } from "../../core/errors.js";
import { unscoped } from "../../core/scope.js";
import { contiguousStrides, describe, numel } from "../../core/shape.js";
import { imagined, Storage } from "../../core/storage.js";
import { empty, isTensor, Tensor } from "../../core/tensor.js";
import { contiguous } from "../../ops/kernel.js";
import { foldNorm, type NormConstants } from "../fuse.js";
import { checkModule, isUninitialized, Module } from "../module.js";
import type { Summary } from "../summary.js";
import { fuseCalls } from "./fusions.js";
import { Plan } from "./plan.js";
import { rebuilt, tensorsOf } from "./results.js";

/** Plans kept per model, one for each kind of inputs; the one not used for the longest is forgotten. */
const planLimit = 64;

/** A tensor as it was when a plan was made from its values. */
interface Witness {
  readonly tensor: Tensor;
  readonly storage: Storage;
  readonly version: number;
}

/** What a plan's results are put back into. */
interface Prepared {
  readonly plan: Plan;
  readonly result: unknown;
}

interface Folded {
  readonly weight: Tensor;
  readonly bias: Tensor | null;
  readonly norm: NormConstants;
  readonly folded: readonly [weight: Tensor, bias: Tensor];
}

/**
 * A model as `optimizeForInference` returns it: `forward` computes the same as the model's, faster. Parameters, buffers,
 * names and state are the model's own.
 */
export class OptimizedModule<M extends Module = Module> extends Module {
  readonly #model: M;
  #modules: readonly Module[] = [];
  #witnesses: readonly Witness[] = [];
  readonly #plans = new Map<string, Prepared>();
  #folded: Folded[] = [];

  /** @internal Use `optimizeForInference`. */
  constructor(model: M) {
    super();
    checkModule("optimizeForInference", model);
    this.#model = model;
    this.training = false;
    this.#look();
  }

  /** The model that this computes, unchanged. */
  get model(): M {
    return this.#model;
  }

  /** The results of the model's forward, as constants: nothing is recorded for backward(). */
  forward(...inputs: Parameters<M["forward"]>): ReturnType<M["forward"]> {
    this.#check();
    const given = inputs as readonly unknown[];
    checkInputs(given);
    if (!this.#upToDate()) this.#look();
    const key = given.map(signature).join(";");
    let prepared = this.#plans.get(key);
    if (prepared === undefined) prepared = this.#prepare(given);
    else this.#plans.delete(key);
    this.#plans.set(key, prepared); // the latest used is the last
    if (this.#plans.size > planLimit) this.#plans.delete(this.#plans.keys().next().value!);
    const { plan, result } = prepared;
    return unrecorded(() => {
      const tensors = given.filter(isTensor);
      const ready = tensors.map(contiguous);
      try {
        return rebuilt(result, plan.run(ready)) as ReturnType<M["forward"]>;
      } finally {
        ready.forEach((t, i) => {
          if (t !== tensors[i] && !plan.returnsInput) t.dispose();
        });
      }
    });
  }

  /** Refuses modules that compute something else than the plan would. */
  #check(): void {
    for (const module of this.#modules) {
      if (module.training) {
        throw new ArgumentError(
          `optimizeForInference: ${module.displayName} is in training mode; call eval() on the model before, and train the model itself`,
        );
      }
      if (module.hooked) {
        throw new ArgumentError(
          `optimizeForInference: ${module.displayName} has hooks, which would not be called; remove them, or call the model itself`,
        );
      }
    }
  }

  #upToDate(): boolean {
    for (const { tensor, storage, version } of this.#witnesses)
      if (tensor.storage !== storage || storage.version !== version) return false;
    return true;
  }

  /** Takes the model as it is now: plans made before are forgotten. */
  #look(): void {
    const model = this.#model;
    this.#modules = model.modules();
    this.#check();
    const lazy = this.#modules.find(isUninitialized);
    if (lazy !== undefined) {
      throw new ArgumentError(
        `optimizeForInference: ${lazy.displayName} does not know its sizes yet; call the model's forward once before`,
      );
    }
    this.#witnesses = [...model.parameters(), ...model.buffers()].map((tensor) => {
      return { tensor, storage: tensor.storage, version: tensor.storage.version };
    });
    this.#plans.clear();
    this.#folded = [];
  }

  /** Records the model's kernel calls for inputs of these shapes, and rewrites them. */
  #prepare(given: readonly unknown[]): Prepared {
    const recorder = new Recorder(backend().name);
    const forward = this.#model.forward as (...inputs: unknown[]) => unknown;
    const { inputs, result } = unscoped(() =>
      imagined(() => {
        const inputs = given.map((value) => (isTensor(value) ? placeholder(value) : value));
        const result = withBackend(recorder, () => unrecorded(() => forward.apply(this.#model, inputs)));
        return { inputs, result };
      }),
    );
    const results = tensorsOf(result);
    checkCalls(recorder.calls);
    const kept = new Set(results.map((t) => t.storage));
    const calls = fuseCalls(recorder.calls, kept, (...from) => this.#fold(...from));
    // Constants that forward made live as long as the plan, whatever scope it was first called in.
    for (const { operands } of calls) for (const t of operands) if (t !== null) t.storage.kept = true;
    return { plan: new Plan(calls, inputs.filter(isTensor), results), result };
  }

  /** Plans for different shapes share their folded weights. */
  #fold(weight: Tensor, bias: Tensor | null, norm: NormConstants): readonly [Tensor, Tensor] {
    const known = this.#folded.find((f) => {
      return (
        same(f.weight, weight) &&
        same(f.bias, bias) &&
        same(f.norm.weight, norm.weight) &&
        same(f.norm.bias, norm.bias) &&
        same(f.norm.mean, norm.mean) &&
        same(f.norm.variance, norm.variance) &&
        f.norm.eps === norm.eps
      );
    });
    if (known !== undefined) return known.folded;
    const folded = unscoped(
      () => [empty(weight.shape, weight.dtype), empty([weight.shape[0]!], weight.dtype)] as const,
    );
    const perOutput = numel(weight.shape.slice(1));
    foldNorm(weight, bias, norm, (i) => Math.floor(i / perOutput), ...folded);
    this.#folded.push({ weight, bias, norm, folded });
    return folded;
  }

  // ---- It stands for the model ----

  override *members(): Iterable<readonly [string, unknown]> {
    yield* this.#model.members();
  }

  override *ownBuffers(): Iterable<readonly [string, Tensor, boolean]> {
    yield* this.#model.ownBuffers();
  }

  /** Refused with true: what it computes has no gradients. */
  override train(mode = true): this {
    if (mode) {
      throw new ArgumentError(
        "optimizeForInference: an optimized model cannot be trained; train the model it was made from, whose new values it takes over",
      );
    }
    this.#model.eval();
    return this;
  }

  override summary(...given: Parameters<Module["summary"]>): Summary {
    return this.#model.summary(...given);
  }

  override get displayName(): string {
    return `Optimized${this.#model.displayName}`;
  }

  override extraText(): string {
    return this.#model.extraText();
  }
}

/**
 * A model for inference that computes what `model` computes in evaluation, faster: the kernel calls of its forward are
 * recorded once for each shape of inputs, batch norms are folded into the convolutions before them, sums and relu or
 * relu6 are done in the convolution's own pass, and all results in between share one piece of memory, planned beforehand.
 * It sees calls, not modules, so it works for every module, however its forward is written, with functions or layers.
 *
 *     model.eval();
 *     const fast = nn.optimizeForInference(model);
 *     const y = fast.forward(x); // within rounding of noGrad(() => model.forward(x))
 *
 * The model itself stays as it is and shares its parameters: what is loaded into it or trained later is taken over at the
 * next call (give its parts other shapes, and make a new one). Its forward must do the same for all inputs of one shape:
 * it may not read values (`item()`, `data()`), draw random numbers, or change tensors that outlive the call. Inputs are
 * tensors, numbers, strings and booleans; results are tensors, or lists and plain objects of them.
 * @throws {ArgumentError} if the model is in training mode, has hooks, or has lazy layers that have seen no input; later
 * calls throw it, too, if its forward cannot be recorded
 */
export function optimizeForInference<M extends Module>(model: M): OptimizedModule<M> {
  return model instanceof OptimizedModule ? (model as OptimizedModule<M>) : new OptimizedModule(model);
}

/** A tensor without values for the recording. */
function placeholder({ dtype, shape }: Tensor): Tensor {
  const storage = new Storage(numel(shape) * bytesPerElement(dtype));
  storage.valueless = true;
  return new Tensor(dtype, [...shape], contiguousStrides(shape), 0, storage);
}

function checkInputs(given: readonly unknown[]): void {
  for (const value of given) {
    if (isTensor(value)) {
      if (value.requiresGrad && isGradEnabled()) {
        throw new GradientError(
          "optimizeForInference: an input requires gradients, but the optimized model computes none; call it inside noGrad, or call the model itself",
        );
      }
    } else if (value !== null && ["object", "function", "symbol"].includes(typeof value)) {
      throw new ArgumentError(
        `optimizeForInference: inputs must be tensors, numbers, strings or booleans, got ${describe(value)}`,
      );
    }
  }
}

/** What a plan depends on of an input. */
function signature(value: unknown): string {
  return isTensor(value) ? `${value.dtype}[${value.shape}]` : `${typeof value} ${JSON.stringify(String(value))}`;
}

function same(a: Tensor | null, b: Tensor | null): boolean {
  if (a === null || b === null) return a === b;
  return a.storage === b.storage && a.offset === b.offset && String(a.shape) === String(b.shape);
}

/** Refuses calls that would not give the same again, or whose effect lasts. */
function checkCalls(calls: readonly KernelCall[]): void {
  for (const { kernel, operands } of calls) {
    if (kernel === "random_fill") {
      throw new ArgumentError(
        "optimizeForInference: forward draws random numbers, which would be the same in every call; call the model itself",
      );
    }
    operands.forEach((t, i) => {
      if (t === null || !operandWritten(kernel, i) || t.storage.valueless) return;
      throw new ArgumentError(
        `optimizeForInference: forward changes a tensor that outlives the call (by ${kernel}); call the model itself`,
      );
    });
  }
}
