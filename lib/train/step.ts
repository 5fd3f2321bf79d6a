import { ArgumentError, BackendError } from "../core/errors.js";
import { checkOptions } from "../core/options.js";
import { describe } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import type { Batch } from "../data/dataset.js";
import { checkModule, type Module } from "../nn/module.js";
import { Optimizer } from "../optim/optimizer.js";
import type { AnyOptimizer } from "../optim/schedule.js";
import { asyncQueueLimit, runAsync } from "../ops/run_async.js";
import { checkBatch, type Forward, forwardOf, type Loss, checkLoss } from "./evaluate.js";

export interface TrainStepOptions<B extends Batch = Batch> {
  /** How the model is called on a batch; default model.forward(batch[0]). */
  readonly forward?: Forward<B>;
}

/** One step of training on a batch, off the main thread; see `trainStep`. */
export interface TrainStep<B extends Batch = Batch> {
  /** Resolves with the loss of the batch when the parameters have been updated. The batch must not change until then. */
  (batch: B): Promise<number>;
  /** Steps that wait or compute now. */
  readonly waiting: number;
}

/**
 * A function that trains on one batch while the event loop goes on: gradients cleared, forward, loss, backward,
 * optimiser step, all computed off the main thread. The bits are those of the synchronous loop.
 *
 *     const step = train.trainStep(model, optimizer, crossEntropy);
 *     for await (const batch of loader) console.log(await step(batch));
 *
 * Steps may be called without awaiting the one before; they run in order, and more than `setAsyncQueueLimit` are refused with
 * BackendError. A model that is as a whole in evaluation mode is in training mode for the step only, so that it can
 * serve in between. A step that fails (a class out of range, say) rejects, leaves parameters and the optimiser's state as they were
 * before it, and clears the gradients; the next works.
 */
export function trainStep<B extends Batch = Batch>(
  model: Module,
  optimizer: AnyOptimizer,
  loss: Loss,
  options: TrainStepOptions<B> = {},
): TrainStep<B> {
  const call = "trainStep";
  checkOptions(call, options, ["forward"]);
  checkModule(call, model);
  if (!(optimizer instanceof Optimizer))
    throw new ArgumentError(`${call}: optimizer must be one of optim, got ${describe(optimizer)}`);
  if (typeof loss !== "function")
    throw new ArgumentError(`${call}: loss must be a function (output, target) => tensor, got ${describe(loss)}`);
  const forward = options.forward ?? forwardOf<B>(model);
  if (typeof forward !== "function")
    throw new ArgumentError(`${call}: forward must be a function of a batch, got ${describe(forward)}`);

  let waiting = 0;
  let last: Promise<unknown> = Promise.resolve();

  const record = (batch: B): Tensor => {
    optimizer.zeroGrad();
    const value = inTraining(model, () => checkLoss(call, loss(forward(batch), batch[1]!)));
    value.backward();
    optimizer.step();
    return value;
  };
  const once = async (batch: B): Promise<number> => {
    const restore = optimizer.remember();
    try {
      return Number((await runAsync(() => record(batch))).item());
    } catch (error) {
      // Buffers made and steps counted while recording were never computed.
      restore();
      optimizer.zeroGrad();
      throw error;
    }
  };
  const step = async (batch: B): Promise<number> => {
    checkBatch(call, batch);
    if (waiting >= asyncQueueLimit()) {
      throw new BackendError(
        `${call}: ${waiting} steps wait already, the limit; await earlier ones, or raise it with setAsyncQueueLimit`,
      );
    }
    waiting++;
    const run = last.then(() => once(batch));
    last = run.catch(() => {});
    try {
      return await run;
    } finally {
      waiting--;
    }
  };
  Object.defineProperty(step, "waiting", { get: () => waiting });
  return step as TrainStep<B>;
}

/** Runs `work` with the model in training mode, parts that were set to evaluation left out unless all are. */
function inTraining<T>(model: Module, work: () => T): T {
  if (model.training) return work();
  const modes = model.modules().map((module) => [module, module.training] as const);
  model.train();
  try {
    return work();
  } finally {
    for (const [module, training] of modes) module.training = training;
  }
}
