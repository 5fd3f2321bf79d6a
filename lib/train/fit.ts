import { existsSync } from "node:fs";
import { ArgumentError, GradientError, StateError } from "../core/errors.js";
import { checkChoice, checkInteger, checkNumber, checkOptions, checkSignal } from "../core/options.js";
import { describe } from "../core/shape.js";
import type { Batch } from "../data/dataset.js";
import { saveSafetensors } from "../io/safetensors.js";
import { checkModule, type Module } from "../nn/module.js";
import { clipGradNorm_, clipGradValue_ } from "../nn/utils.js";
import { OneCycleLR } from "../optim/onecycle.js";
import { Optimizer } from "../optim/optimizer.js";
import { ReduceLROnPlateau } from "../optim/plateau.js";
import type { AnyOptimizer, LRScheduler } from "../optim/schedule.js";
import { mul } from "../ops/pointwise.js";
import { loadCheckpoint, type Stateful, saveCheckpoint } from "./checkpoint.js";
import {
  type BatchSource,
  checkBatch,
  evaluate,
  type Forward,
  forwardOf,
  type Loss,
  type Metrics,
  valuesOf,
  checkLoss,
  checkMetrics,
} from "./evaluate.js";
import type { EndReason, EpochEvent, EpochRecord, FitEvent, FitResult, ValidationEvent } from "./events.js";
import { progress } from "./progress.js";

export interface CheckpointOptions {
  /** File with everything that resuming needs; written whole or not at all, after every epoch. */
  readonly path: string;
  /** Also after every so many optimiser steps. */
  readonly everySteps?: number;
  /** File for the weights alone of the epoch with the best monitored value. */
  readonly best?: string;
}

/** Which value of an epoch tells how good it is. */
export interface MonitorOptions {
  /** "loss" (default) or the name of a metric: of the validation if there is one, else of training. */
  readonly monitor?: string;
  /** Whether it should fall or rise; default "min" for "loss", else "max". */
  readonly mode?: "min" | "max";
}

export interface EarlyStoppingOptions {
  /** Epochs without improvement that are borne. */
  readonly patience: number;
  /** What the value must improve by to count; default 0. */
  readonly minDelta?: number;
}

/** Called at every event, awaited before training goes on. */
export type Callback<M extends Metrics = Metrics, T extends Metrics = Metrics> = (
  event: FitEvent<M, T>,
  run: { stop(): void },
) => void | Promise<void>;

export interface FitOptions<B extends Batch, M extends Metrics, T extends Metrics> extends MonitorOptions {
  readonly train: BatchSource<B>;
  readonly validation?: BatchSource<B>;
  /** Mean loss of a batch from the model's output and batch[1]. */
  readonly loss: Loss;
  readonly optimizer: AnyOptimizer;
  readonly schedule?: LRScheduler | ReduceLROnPlateau;
  /** When the schedule steps; default "epoch", for OneCycleLR "step". */
  readonly scheduleEvery?: "step" | "epoch";
  readonly epochs: number;
  /** Measured on the validation batches. */
  readonly metrics?: M;
  /** Measured on the training batches, in training mode, as they pass. */
  readonly trainMetrics?: T;
  /** How the model is called on a batch; default model.forward(batch[0]). */
  readonly forward?: Forward<B>;
  readonly callbacks?: readonly Callback<M, T>[];
  /** Scales the gradients so that their common norm is at most this. */
  readonly clipNorm?: number;
  /** Cuts every element of the gradients off at this. */
  readonly clipValue?: number;
  /** Batches whose gradients are averaged for one optimiser step; default 1. */
  readonly accumulate?: number;
  readonly earlyStopping?: EarlyStoppingOptions;
  readonly checkpoint?: string | CheckpointOptions;
  /** Continue from the checkpoint file if it exists; else begin. */
  readonly resume?: boolean;
  /** More that is saved and resumed: an average of weights, a generator of your own. */
  readonly parts?: Readonly<Record<string, Stateful>>;
  /** Ends the run after the step it is in, with the reason "aborted"; a checkpoint is written. */
  readonly signal?: AbortSignal;
  /** A bar (or plain lines) and a line per epoch, default true. */
  readonly progress?: boolean;
  /** What a sample is called there; default "samples". */
  readonly unit?: string;
}

const optionNames = [
  "train",
  "validation",
  "loss",
  "optimizer",
  "schedule",
  "scheduleEvery",
  "epochs",
  "metrics",
  "trainMetrics",
  "forward",
  "callbacks",
  "clipNorm",
  "clipValue",
  "accumulate",
  "earlyStopping",
  "checkpoint",
  "resume",
  "parts",
  "signal",
  "progress",
  "unit",
  "monitor",
  "mode",
] as const;

/** Names of the parts of a checkpoint that `fit` fills itself. */
const ownParts = ["model", "optimizer", "schedule", "train", "fit"];

/** Where a run stands, besides its parts: all plain numbers, so that it goes on with the same bits. */
interface Position {
  /** Epochs done. */
  epoch: number;
  step: number;
  /** Of the epoch so far. */
  batch: number;
  lossSum: number;
  samples: number;
  metrics: Record<string, unknown>;
  history: EpochRecord[];
  bestEpoch: number;
  bestValue: number;
  /** Epochs since the best. */
  waited: number;
  done: EndReason | null;
}

/** A position that comes from a file. */
function checkPosition(state: unknown): Position {
  const given = Object(state) as Partial<Position>;
  const call = "fit: the checkpoint's state";
  for (const name of ["epoch", "step", "batch", "samples", "bestEpoch", "waited"] as const)
    checkInteger(call, name, given[name], 0, Number.MAX_SAFE_INTEGER);
  for (const name of ["lossSum", "bestValue"] as const) {
    if (typeof given[name] !== "number")
      // NaN is one that a run may have come to
      throw new StateError(`${call}: ${name} must be a number, got ${describe(given[name])}`);
  }
  const { metrics, history, done } = given;
  if (typeof metrics !== "object" || metrics === null || Array.isArray(metrics))
    throw new StateError(`${call}: metrics must be an object, got ${describe(metrics)}`);
  if (!Array.isArray(history) || !history.every((each) => typeof each === "object" && each !== null))
    throw new StateError(`${call}: history must be a list of epochs, got ${describe(history)}`);
  if (done !== null && typeof done !== "string")
    throw new StateError(`${call}: done must be a reason or null, got ${describe(done)}`);
  const { epoch, step, batch, lossSum, samples, bestEpoch, bestValue, waited } = given as Position;
  return { epoch, step, batch, lossSum, samples, metrics, history, bestEpoch, bestValue, waited, done };
}

function checkFit<B extends Batch, M extends Metrics, T extends Metrics>(
  model: Module,
  options: FitOptions<B, M, T>,
): void {
  if (options === undefined) throw new ArgumentError("fit: needs options such as { train, optimizer, loss }");
  checkOptions("fit", options, optionNames);
  checkSignal("fit", options.signal);
  checkModule("fit", model);
  const { train, validation, optimizer, parts } = options;
  for (const [name, source] of Object.entries({ train, validation })) {
    if (source === undefined && name === "validation") continue;
    const iterable = Object(source) as Partial<Iterable<unknown> & AsyncIterable<unknown> & { length: number }>;
    if (
      typeof iterable.length !== "number" ||
      (iterable[Symbol.iterator] === undefined && iterable[Symbol.asyncIterator] === undefined)
    )
      throw new ArgumentError(`fit: ${name} must be a DataLoader or a list of batches, got ${describe(source)}`);
  }
  if (typeof options.loss !== "function")
    throw new ArgumentError(`fit: loss must be a function (output, target) => tensor, got ${describe(options.loss)}`);
  if (!(optimizer instanceof Optimizer))
    throw new ArgumentError(`fit: optimizer must be one of optim, got ${describe(optimizer)}`);
  checkInteger("fit", "epochs", options.epochs, 0);
  for (const option of ["metrics", "trainMetrics"] as const)
    if (options[option] !== undefined) checkMetrics("fit", option, options[option]);
  if (options.accumulate !== undefined) checkInteger("fit", "accumulate", options.accumulate, 1);
  if (options.clipNorm !== undefined) checkNumber("fit", "clipNorm", options.clipNorm, 0);
  if (options.clipValue !== undefined) checkNumber("fit", "clipValue", options.clipValue, 0);
  if (options.mode !== undefined) checkChoice("fit", "mode", options.mode, ["min", "max"]);
  if (options.scheduleEvery !== undefined)
    checkChoice("fit", "scheduleEvery", options.scheduleEvery, ["step", "epoch"]);
  if (options.scheduleEvery === "step" && options.schedule instanceof ReduceLROnPlateau)
    throw new ArgumentError("fit: ReduceLROnPlateau takes the monitored value, which there is once an epoch");
  if (options.earlyStopping !== undefined) {
    checkOptions("fit: earlyStopping", options.earlyStopping, ["patience", "minDelta"]);
    checkInteger("fit", "earlyStopping.patience", options.earlyStopping.patience, 0);
  }
  if (typeof options.checkpoint === "object")
    checkOptions("fit: checkpoint", options.checkpoint, ["path", "everySteps", "best"]);
  if (options.resume && options.checkpoint === undefined)
    throw new ArgumentError("fit: resume needs checkpoint, the file to continue from");
  const known = Object.keys((validation === undefined ? options.trainMetrics : options.metrics) ?? {});
  const monitor = options.monitor ?? "loss";
  if (monitor !== "loss" && !known.includes(monitor)) {
    throw new ArgumentError(
      `fit: monitor must be one of ${["loss", ...known].map((n) => JSON.stringify(n)).join(", ")}, got ${describe(monitor)}`,
    );
  }
  for (const name of Object.keys(parts ?? {}))
    if (ownParts.includes(name))
      throw new ArgumentError(`fit: parts.${name}: fit saves a part of that name itself; take another`);
}

/**
 * A run of `fit`: await it for the result, or iterate it (`for await`) for its events. It starts by itself like any
 * asynchronous function; once it is iterated it goes on only as the events are taken.
 */
export class FitRun<M extends Metrics = Metrics, T extends Metrics = Metrics>
  implements AsyncIterable<FitEvent<M, T>>, PromiseLike<FitResult<M, T>>
{
  readonly #events: AsyncGenerator<FitEvent<M, T>, void>;
  readonly #result: Promise<FitResult<M, T>>;
  #taken = false;

  /** @internal */
  constructor(start: (settle: (result: FitResult<M, T>) => void) => AsyncGenerator<FitEvent<M, T>, void>) {
    if (typeof start !== "function") throw new ArgumentError("FitRun: is made by fit(model, options)");
    let settle!: (result: FitResult<M, T>) => void;
    let fail!: (error: unknown) => void;
    this.#result = new Promise((resolve, reject) => {
      settle = resolve;
      fail = reject;
    });
    const events = start(settle);
    // A failure reaches whoever iterates; who awaits the result too gets it there.
    this.#events = (async function* () {
      try {
        yield* events;
      } catch (error) {
        fail(error);
        throw error;
      }
    })();
    setImmediate(() => {
      if (!this.#taken) void this.#drain();
    });
  }

  async #drain(): Promise<void> {
    this.#taken = true;
    try {
      for await (const _ of this.#events);
    } catch {
      // is the result's
    }
  }

  [Symbol.asyncIterator](): AsyncIterator<FitEvent<M, T>> {
    if (this.#taken) throw new StateError("fit: the run is iterated or awaited already; its events come once");
    this.#taken = true;
    this.#result.catch(() => {}); // the iteration throws it
    return this.#events;
  }

  // biome-ignore lint/suspicious/noThenProperty: a run is awaited like the promise of its result
  then<A = FitResult<M, T>, R = never>(
    resolved?: ((result: FitResult<M, T>) => A | PromiseLike<A>) | null,
    rejected?: ((reason: unknown) => R | PromiseLike<R>) | null,
  ): Promise<A | R> {
    if (!this.#taken) void this.#drain();
    return this.#result.then(resolved, rejected);
  }

  catch<R>(rejected: (reason: unknown) => R | PromiseLike<R>): Promise<FitResult<M, T> | R> {
    return this.then(null, rejected);
  }

  finally(done: () => void): Promise<FitResult<M, T>> {
    return this.then().finally(done) as Promise<FitResult<M, T>>;
  }
}

/**
 * Trains a model: the loop one would write by hand, with progress, validation, checkpoints and what else is asked for.
 *
 *     const { history } = await train.fit(model, { train: loader, loss: crossEntropy, optimizer, epochs: 5 });
 *     for await (const event of train.fit(model, { ... })) if (event.type === "epoch") console.log(event.loss);
 *
 * Parts of the model that were set to evaluation (frozen batch norms) stay so during training; a model that is as a
 * whole in evaluation mode is set to training. With `checkpoint` and `resume`, a run that was killed at any moment goes
 * on from its last checkpoint and ends with the same bits as one that was not, provided that the loaders' transforms and
 * the model take their random numbers from the generator they are given or the default one.
 * @throws {GradientError} if a loss is not finite
 */
export function fit<
  B extends Batch,
  M extends Metrics = Record<never, never>,
  T extends Metrics = Record<never, never>,
>(model: Module, options: FitOptions<B, M, T>): FitRun<M, T> {
  checkFit(model, options);
  return new FitRun<M, T>((settle) => events(model, options, settle));
}

async function* events<B extends Batch, M extends Metrics, T extends Metrics>(
  model: Module,
  options: FitOptions<B, M, T>,
  settle: (result: FitResult<M, T>) => void,
): AsyncGenerator<FitEvent<M, T>, void> {
  const { optimizer, schedule, signal } = options;
  const accumulate = options.accumulate ?? 1;
  const metrics = (options.metrics ?? {}) as M;
  const trainMetrics = (options.trainMetrics ?? {}) as T;
  const forward = options.forward ?? forwardOf<B>(model);
  const shown = options.progress ?? true;
  const unit = options.unit ?? "samples";
  const monitor = options.monitor ?? "loss";
  const rising = (options.mode ?? (monitor === "loss" ? "min" : "max")) === "max";
  const scheduleEvery = options.scheduleEvery ?? (schedule instanceof OneCycleLR ? "step" : "epoch");
  const files: CheckpointOptions | undefined =
    typeof options.checkpoint === "string" ? { path: options.checkpoint } : options.checkpoint;
  const lr = (): number => optimizer.paramGroups[0]!.lr as number;

  const at: Position = {
    epoch: 0,
    step: 0,
    batch: 0,
    lossSum: 0,
    samples: 0,
    metrics: {},
    history: [],
    bestEpoch: 0,
    bestValue: rising ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY,
    waited: 0,
    done: null,
  };
  const own: Stateful = {
    get state(): unknown {
      at.metrics = Object.fromEntries(Object.entries(trainMetrics).map(([name, metric]) => [name, metric.state]));
      return at;
    },
    set state(state: unknown) {
      Object.assign(at, checkPosition(state));
      for (const [name, metric] of Object.entries(trainMetrics)) {
        if (Object.hasOwn(at.metrics, name)) metric.state = at.metrics[name];
        else metric.reset();
      }
    },
  };
  const source = options.train as Partial<Stateful & { state: unknown }> & BatchSource<B>;
  const parts: Record<string, Stateful> = {
    model,
    optimizer,
    ...(schedule === undefined ? {} : { schedule }),
    ...(source.state === undefined ? {} : { train: source as Stateful }),
    fit: own,
    ...options.parts,
  };

  let stopped = false;
  const run = {
    stop: () => {
      stopped = true;
    },
  };
  const told = async (event: FitEvent<M, T>): Promise<FitEvent<M, T>> => {
    for (const callback of options.callbacks ?? []) await callback(event, run);
    return event;
  };
  const result = (reason: EndReason): FitResult<M, T> => ({
    reason,
    history: at.history as EpochRecord<M, T>[],
    best: { epoch: at.bestEpoch, value: at.bestValue },
    step: at.step,
  });
  const save = async (kind: "run" | "best", path: string): Promise<FitEvent<M, T>> => {
    if (kind === "run") saveCheckpoint(path, parts);
    else saveSafetensors(path, model.stateDict());
    return told({ type: "checkpoint", kind, path, epoch: at.epoch, step: at.step });
  };

  for (const metric of Object.values(trainMetrics)) metric.reset();
  if (options.resume && files !== undefined && existsSync(files.path)) {
    loadCheckpoint(files.path, parts);
    if (at.batch > 0 && source.state === undefined) {
      throw new StateError(
        "fit: the checkpoint was taken in the middle of an epoch, but train has no state to continue from; use a DataLoader",
      );
    }
    if (at.done !== "early stopping") at.done = null;
  }
  if (!model.training) model.train();

  let reason: EndReason = at.done ?? "left";
  let failed = false;
  try {
    while (at.done === null && at.epoch < options.epochs) {
      if (signal?.aborted || stopped) {
        reason = signal?.aborted ? "aborted" : "stopped";
        break;
      }
      const batches = options.train.length;
      const first = at.batch;
      const began = performance.now();
      const samplesBefore = at.samples;
      // The rate is counted in batches; the last one may be smaller.
      const size = (options.train as { batchSize?: number }).batchSize ?? 1;
      const bar =
        shown && batches > first
          ? progress({
              label: `epoch ${at.epoch + 1}/${options.epochs}`,
              total: batches - first,
              itemsPerStep: size,
              unit: (options.train as { batchSize?: number }).batchSize === undefined ? "batches" : unit,
            })
          : null;
      const last = at.history.at(-1)?.validation?.metrics ?? {};
      const lastMetrics = Object.fromEntries(Object.entries(last).filter(([, v]) => typeof v === "number")) as Record<
        string,
        number
      >;
      let interrupted = false;
      try {
        for await (const batch of options.train) {
          const samples = checkBatch("fit", batch);
          const placeInGroup = at.batch % accumulate;
          // Batches of this group: fewer at the end of an epoch.
          const group = Math.min(accumulate, batches - (at.batch - placeInGroup));
          if (placeInGroup === 0) optimizer.zeroGrad();
          const output = forward(batch);
          const loss = checkLoss("fit", options.loss(output, batch[1]!));
          const value = Number(loss.item());
          if (!Number.isFinite(value)) {
            throw new GradientError(
              `fit: the loss is ${value} at epoch ${at.epoch + 1}, batch ${at.batch + 1}; lower the learning rate (it is ${lr()}), ` +
                "clip the gradients (clipNorm), or look for NaN in the data; autograd's detectAnomaly finds the operation",
            );
          }
          if (group === 1) loss.backward();
          else mul(loss, 1 / group).backward();
          for (const metric of Object.values(trainMetrics)) metric.update(output.detach(), batch[1]!);
          at.batch++;
          at.lossSum += value * samples;
          at.samples += samples;
          const used = lr();
          let gradNorm: number | undefined;
          const stepped = placeInGroup === group - 1;
          if (stepped) {
            const parameters = optimizer.paramGroups.flatMap((g) => g.params);
            if (options.clipValue !== undefined) clipGradValue_(parameters, options.clipValue);
            if (options.clipNorm !== undefined) gradNorm = clipGradNorm_(parameters, options.clipNorm);
            optimizer.step();
            at.step++;
            if (scheduleEvery === "step") (schedule as LRScheduler | undefined)?.step();
          }
          bar?.update(at.batch - first, { loss: at.lossSum / at.samples, ...lastMetrics });
          yield await told({
            type: "batch",
            epoch: at.epoch + 1,
            batch: at.batch,
            step: at.step,
            loss: value,
            lr: used,
            samples,
            ...(gradNorm === undefined ? {} : { gradNorm }),
          });
          // Gradients are not saved: checkpoints and interruptions wait for the end of a group.
          if (!stepped) continue;
          if (files?.everySteps !== undefined && at.step % files.everySteps === 0 && at.batch < batches)
            yield await save("run", files.path);
          if (signal?.aborted || stopped) {
            interrupted = true;
            break;
          }
        }
      } finally {
        bar?.stop();
      }
      if (interrupted) {
        reason = signal?.aborted ? "aborted" : "stopped";
        if (files !== undefined) yield await save("run", files.path);
        break;
      }
      const seconds = (performance.now() - began) / 1000;
      const passed = at.samples - samplesBefore;
      let validation: EpochRecord<M, T>["validation"] = null;
      if (options.validation !== undefined) {
        const found = await evaluate(model, options.validation, { loss: options.loss, metrics, forward });
        validation = { loss: found.loss, metrics: found.metrics };
        const event: ValidationEvent<M> = { type: "validation", epoch: at.epoch + 1, ...validation };
        yield await told(event);
      }
      const record: EpochRecord<M, T> = {
        epoch: at.epoch + 1,
        step: at.step,
        loss: at.samples === 0 ? Number.NaN : at.lossSum / at.samples,
        metrics: valuesOf(trainMetrics),
        validation,
        lr: lr(),
        seconds,
        samplesPerSecond: seconds > 0 ? passed / seconds : 0,
      };
      const value = monitored(record, monitor);
      const delta = options.earlyStopping?.minDelta ?? 0;
      const best = rising ? value > at.bestValue + delta : value < at.bestValue - delta;
      if (best) {
        at.bestValue = value;
        at.bestEpoch = record.epoch;
        at.waited = 0;
      } else {
        at.waited++;
      }
      if (schedule instanceof ReduceLROnPlateau) schedule.step(value);
      else if (scheduleEvery === "epoch") schedule?.step();
      at.history.push(record as EpochRecord);
      at.epoch++;
      at.batch = at.lossSum = at.samples = 0;
      for (const metric of Object.values(trainMetrics)) metric.reset();
      if (options.earlyStopping !== undefined && at.waited > options.earlyStopping.patience) at.done = "early stopping";
      else if (at.epoch >= options.epochs) at.done = "finished";
      if (shown) console.log(epochLine(record, options.epochs, unit));
      const event: EpochEvent<M, T> = { type: "epoch", ...record, best };
      yield await told(event);
      if (best && files?.best !== undefined) yield await save("best", files.best);
      if (files !== undefined) yield await save("run", files.path);
      reason = at.done ?? "left";
    }
    if (reason === "left" && at.epoch >= options.epochs) reason = "finished";
    yield await told({ type: "end", ...result(reason) });
  } catch (error) {
    failed = true;
    throw error;
  } finally {
    // Reached too when the iteration is left by break.
    if (!failed) settle(result(reason));
  }
}

function monitored(record: EpochRecord, monitor: string): number {
  const values = record.validation ?? record;
  const value = monitor === "loss" ? values.loss : (values.metrics as Record<string, unknown>)[monitor];
  if (typeof value !== "number")
    throw new ArgumentError(
      `fit: the monitored value ${JSON.stringify(monitor)} must be a number, got ${describe(value)}`,
    );
  return value;
}

function epochLine(record: EpochRecord, epochs: number, unit: string): string {
  const numbers = (of: Record<string, unknown>, label: string): string =>
    Object.entries(of)
      .filter(([, v]) => typeof v === "number")
      .map(([name, v]) => `, ${label}${name} ${(v as number).toFixed(4)}`)
      .join("");
  const validation =
    record.validation === null
      ? ""
      : `, validation loss ${record.validation.loss.toFixed(4)}${numbers(record.validation.metrics, "")}`;
  return (
    `epoch ${record.epoch}/${epochs}: loss ${record.loss.toFixed(4)}${numbers(record.metrics, "train ")}${validation}, ` +
    `${Math.round(record.samplesPerSecond).toLocaleString("en-US")} ${unit}/s, ${record.seconds.toFixed(1)} s`
  );
}
