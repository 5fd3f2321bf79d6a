import { noGrad } from "../autograd/mode.js";
import { scope } from "../autograd/scope.js";
import { ArgumentError } from "../core/errors.js";
import { checkOptions } from "../core/options.js";
import { describe } from "../core/shape.js";
import { isTensor, type Tensor } from "../core/tensor.js";
import type { Batch } from "../data/dataset.js";
import { Module } from "../nn/module.js";
import type { Metric } from "./metrics.js";

/** What hands out the batches of an epoch each time it is iterated: a DataLoader, or a list of batches. */
export type BatchSource<B extends Batch = Batch> = { readonly length: number } & (AsyncIterable<B> | Iterable<B>);

/** Metrics by name. */
// biome-ignore lint/suspicious/noExplicitAny: metrics of any value
export type Metrics = Readonly<Record<string, Metric<any>>>;
/** The values of metrics, by the same names. */
export type MetricValues<M extends Metrics> = { [Name in keyof M]: ReturnType<M[Name]["value"]> };

/** The loss of a batch: one number, the mean over its samples, such as crossEntropy. */
export type Loss = (output: Tensor, target: Tensor) => Tensor;
/** How a model is called on a batch; default: `model.forward(batch[0])`. */
export type Forward<B extends Batch = Batch> = (batch: B) => Tensor;

export interface EvaluateOptions<B extends Batch, M extends Metrics> {
  readonly loss?: Loss;
  readonly metrics?: M;
  readonly forward?: Forward<B>;
}

export interface Evaluation<M extends Metrics = Metrics> {
  /** Mean over all samples; NaN if no loss was given. */
  readonly loss: number;
  readonly metrics: MetricValues<M>;
  readonly samples: number;
}

/** @internal The default call of a model. */
export function forwardOf<B extends Batch>(model: Module): Forward<B> {
  return (batch) => (model.forward as (x: Tensor) => Tensor)(batch[0]!);
}

/**
 * Runs the model over all batches in evaluation mode, without gradients. Afterwards every part is in the mode in which it
 * was before, so parts that are kept in evaluation mode during training (frozen batch norms) stay so.
 */
export async function evaluate<B extends Batch, M extends Metrics = Record<never, never>>(
  model: Module,
  batches: BatchSource<B>,
  options: EvaluateOptions<B, M> = {},
): Promise<Evaluation<M>> {
  checkOptions("evaluate", options, ["loss", "metrics", "forward"]);
  if (!(model instanceof Module)) throw new ArgumentError(`evaluate: needs a module, got ${describe(model)}`);
  if (
    typeof batches !== "object" ||
    batches === null ||
    !(Symbol.asyncIterator in batches || Symbol.iterator in batches)
  )
    throw new ArgumentError(`evaluate: needs batches to iterate over, such as a DataLoader, got ${describe(batches)}`);
  const metrics = (options.metrics ?? {}) as M;
  const forward = options.forward ?? forwardOf<B>(model);
  for (const metric of Object.values(metrics)) metric.reset();
  let total = 0;
  let samples = 0;
  const modes = model.modules().map((module) => [module, module.training] as const);
  try {
    for await (const batch of batches) {
      model.eval();
      const size = checkBatch("evaluate", batch);
      scope(() =>
        noGrad(() => {
          const output = forward(batch);
          if (options.loss !== undefined) total += Number(options.loss(output, batch[1]!).item()) * size;
          for (const metric of Object.values(metrics)) metric.update(output, batch[1]!);
        }),
      );
      samples += size;
      for (const [module, training] of modes) module.training = training;
    }
  } finally {
    for (const [module, training] of modes) module.training = training;
  }
  return {
    loss: options.loss === undefined || samples === 0 ? Number.NaN : total / samples,
    metrics: valuesOf(metrics),
    samples,
  };
}

/** @internal */
export function valuesOf<M extends Metrics>(metrics: M): MetricValues<M> {
  return Object.fromEntries(Object.entries(metrics).map(([name, metric]) => [name, metric.value()])) as MetricValues<M>;
}

/** @internal Number of samples of a batch. */
export function checkBatch(call: string, batch: unknown): number {
  if (!Array.isArray(batch) || !isTensor(batch[0]) || batch[0].rank === 0)
    throw new ArgumentError(
      `${call}: a batch must be a list of tensors such as [images, labels], got ${describe(batch)}`,
    );
  return batch[0].shape[0]!;
}
