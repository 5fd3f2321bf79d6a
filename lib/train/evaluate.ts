import { noGrad } from "../autograd/mode.js";
import { scope } from "../autograd/scope.js";
import { ArgumentError, ShapeError } from "../core/errors.js";
import { checkOptions } from "../core/options.js";
import { describe, format } from "../core/shape.js";
import { isTensor, type Tensor } from "../core/tensor.js";
import type { Batch } from "../data/dataset.js";
import { checkModule, type Module } from "../nn/module.js";
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
  checkModule("evaluate", model);
  if (options.loss !== undefined && typeof options.loss !== "function")
    throw new ArgumentError(
      `evaluate: loss must be a function (output, target) => tensor, got ${describe(options.loss)}`,
    );
  if (
    typeof batches !== "object" ||
    batches === null ||
    !(Symbol.asyncIterator in batches || Symbol.iterator in batches)
  )
    throw new ArgumentError(`evaluate: needs batches to iterate over, such as a DataLoader, got ${describe(batches)}`);
  const metrics = (options.metrics ?? {}) as M;
  const forward = options.forward ?? forwardOf<B>(model);
  checkMetrics("evaluate", "metrics", metrics);
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
          if (options.loss !== undefined)
            total += Number(checkLoss("evaluate", options.loss(output, batch[1]!)).item()) * size;
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

/** @internal What a loss function returned: a tensor with one element. */
export function checkLoss(call: string, loss: unknown): Tensor {
  if (!isTensor(loss))
    throw new ArgumentError(`${call}: loss must return a tensor with one element, got ${describe(loss)}`);
  if (loss.numel() !== 1) {
    throw new ShapeError(
      `${call}: loss must return a tensor with one element, such as a mean over the batch, got ${format(loss.shape)}`,
    );
  }
  return loss;
}

/** @internal Refuses what are no metrics by name. */
export function checkMetrics(call: string, option: string, metrics: unknown): void {
  if (typeof metrics !== "object" || metrics === null || Array.isArray(metrics))
    throw new ArgumentError(
      `${call}: ${option} must be metrics by name, such as { accuracy: train.accuracy() }, got ${describe(metrics)}`,
    );
  for (const [name, metric] of Object.entries(metrics)) {
    const given = Object(metric) as Partial<Metric>;
    if ([given.reset, given.update, given.value].some((method) => typeof method !== "function"))
      throw new ArgumentError(
        `${call}: ${option}.${name} must be a metric with reset, update and value, got ${describe(metric)}`,
      );
  }
}

/** @internal Number of samples of a batch. */
export function checkBatch(call: string, batch: unknown): number {
  if (!Array.isArray(batch) || !isTensor(batch[0]) || batch[0].rank === 0)
    throw new ArgumentError(
      `${call}: a batch must be a list of tensors such as [images, labels], got ${describe(batch)}`,
    );
  return batch[0].shape[0]!;
}
