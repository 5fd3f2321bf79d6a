import { noGrad } from "../autograd/mode.js";
import { ArgumentError, ShapeError } from "../core/errors.js";
import { checkInteger, checkOptions } from "../core/options.js";
import { describe, format } from "../core/shape.js";
import { isTensor, type Tensor } from "../core/tensor.js";
import type { AsyncDataset, Batch, Dataset } from "../data/dataset.js";
import { makeBatch } from "../data/dataset.js";
import { batchGenerator } from "../data/random.js";
import type { BatchContext } from "../data/transforms.js";
import { checkModule, type Module } from "../nn/module.js";
import { softmax } from "../ops/softmax.js";
import type { LayerOutput, Mistake } from "./figures.js";

/** Looks at a trained model: what it answers for a data set, what its layers make of an image. */

type AnyDataset = Dataset | AsyncDataset;
// biome-ignore lint/suspicious/noExplicitAny: transforms of any batch
export type AnyTransform = (batch: any, context: BatchContext) => Batch;

/** Runs `fn` with all parts in evaluation mode and without recording; the modes come back. */
async function evaluating<T>(model: Module, fn: () => Promise<T>): Promise<T> {
  checkModule("report", model);
  const modes = model.modules().map((module) => [module, module.training] as const);
  model.eval();
  try {
    return await noGrad(fn);
  } finally {
    for (const [module, training] of modes) module.training = training;
  }
}

function call(model: Module, x: Tensor): Tensor {
  return (model.forward as (x: Tensor) => Tensor)(x);
}

/** Images before the transform, to show, and after it, to compute with. */
async function take(
  dataset: AnyDataset,
  indices: Int32Array,
  transform: AnyTransform | undefined,
): Promise<{ shown: Tensor; batch: Batch }> {
  const made = await makeBatch(dataset, indices);
  const context: BatchContext = { epoch: 0, batch: 0, random: batchGenerator(0, 0, 0) };
  return { shown: made[0]!, batch: transform === undefined ? made : transform(made, context) };
}

export interface Answers {
  /** counts[true class][answer] */
  readonly confusion: number[][];
  readonly accuracy: number;
  /** The surest of the wrong answers first. */
  readonly mistakes: Mistake[];
  readonly samples: number;
}

/** What a classifier answers for all samples [image, label]. */
export async function answers(
  model: Module,
  dataset: AnyDataset,
  options: { readonly transform?: AnyTransform; readonly mistakes?: number; readonly batchSize?: number } = {},
): Promise<Answers> {
  checkOptions("answers", options, ["transform", "mistakes", "batchSize"]);
  if (!Number.isInteger((dataset as Dataset | undefined)?.length))
    throw new ArgumentError(`answers: a data set has a length and get(index), got ${describe(dataset)}`);
  const size = checkInteger("answers", "batchSize", options.batchSize ?? 250, 1);
  const most = checkInteger("answers", "mistakes", options.mistakes ?? 24, 0);
  const confusion: number[][] = [];
  let mistakes: Mistake[] = [];
  let right = 0;
  await evaluating(model, async () => {
    for (let first = 0; first < dataset.length; first += size) {
      const indices = Int32Array.from({ length: Math.min(size, dataset.length - first) }, (_, i) => first + i);
      const { shown, batch } = await take(dataset, indices, options.transform);
      const logits = call(model, batch[0]!);
      if (logits.rank !== 2 || !isTensor(batch[1]))
        throw new ShapeError(
          `report: the model must give logits [batch, classes] for samples [image, label], got ${format(logits.shape)}`,
        );
      const classes = logits.shape[1]!;
      while (confusion.length < classes) confusion.push(new Array<number>(classes).fill(0));
      const shares = softmax(logits, 1).data();
      const labels = batch[1].data();
      for (let i = 0; i < indices.length; i++) {
        let best = 0;
        for (let c = 1; c < classes; c++) if (shares[i * classes + c]! > shares[i * classes + best]!) best = c;
        const actual = labels[i]!;
        if (!(actual >= 0 && actual < classes))
          throw new ArgumentError(
            `report: label ${actual} of sample ${indices[i]} is no class of the model's ${classes}`,
          );
        confusion[actual]![best]!++;
        if (best === actual) {
          right++;
          continue;
        }
        const confidence = shares[i * classes + best]!;
        if (mistakes.length < most || confidence > mistakes.at(-1)!.confidence) {
          mistakes.push({ image: shown.select(0, i).clone(), actual, predicted: best, confidence });
          mistakes.sort((a, b) => b.confidence - a.confidence);
          mistakes = mistakes.slice(0, most);
        }
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
  });
  return { confusion, accuracy: right / dataset.length, mistakes, samples: dataset.length };
}

/** Names of the layers whose output is shown where none are named: convolutions, at most `most`, spread over the depth. */
export function convolutions(model: Module, most: number): string[] {
  const names = [...model.namedModules()]
    .filter(([, module]) => /^Conv\d?d?/.test(module.displayName))
    .map(([name]) => name);
  if (names.length <= most) return names;
  return Array.from({ length: most }, (_, i) => names[Math.round((i * (names.length - 1)) / (most - 1))]!);
}

/**
 * What the named layers give for one sample's image.
 * @throws {ArgumentError} if a layer does not exist
 */
export async function layerOutputs(model: Module, x: Tensor, names: readonly string[]): Promise<LayerOutput[]> {
  checkModule("report", model);
  if (!Array.isArray(names)) throw new ArgumentError(`report: names of layers must be a list, got ${describe(names)}`);
  const modules = new Map(model.namedModules());
  const found = new Map<string, Tensor>();
  const handles = names.map((name) => {
    const module = modules.get(name);
    if (module === undefined)
      throw new ArgumentError(
        `report: the model has no layer ${JSON.stringify(name)}; it has ${[...modules.keys()].filter((n) => n !== "").join(", ")}`,
      );
    return module.registerForwardHook((_, __, output) => {
      if (isTensor(output) && output.rank === 4 && !found.has(name)) found.set(name, output.select(0, 0).clone());
    });
  });
  try {
    await evaluating(model, async () => call(model, x));
  } finally {
    for (const handle of handles) handle.remove();
  }
  return names.flatMap((name) => {
    const output = found.get(name);
    return output === undefined ? [] : [{ name, output }];
  });
}

/** One sample, as it is shown and as the model takes it. */
export async function sample(
  dataset: AnyDataset,
  index: number,
  transform: AnyTransform | undefined,
): Promise<{ shown: Tensor; x: Tensor; label: number | null }> {
  const { shown, batch } = await take(dataset, Int32Array.of(index), transform);
  const label = batch[1]?.numel() === 1 ? Number(batch[1].item()) : null;
  return { shown: shown.select(0, 0), x: batch[0]!, label };
}
