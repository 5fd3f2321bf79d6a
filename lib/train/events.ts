import type { Metrics, MetricValues } from "./evaluate.js";

/** What `fit` tells while it runs. */

/** After every batch. */
export interface BatchEvent {
  readonly type: "batch";
  /** From 1. */
  readonly epoch: number;
  /** Of the epoch, from 1. */
  readonly batch: number;
  /** Optimiser steps of the whole run so far. */
  readonly step: number;
  /** Mean loss of this batch. */
  readonly loss: number;
  /** Learning rate of the first parameter group at this batch. */
  readonly lr: number;
  readonly samples: number;
  /** Norm of all gradients before clipping; only where a step was made with clipNorm. */
  readonly gradNorm?: number;
}

/** After the validation of an epoch. */
export interface ValidationEvent<M extends Metrics = Metrics> {
  readonly type: "validation";
  readonly epoch: number;
  readonly loss: number;
  readonly metrics: MetricValues<M>;
}

/** One epoch of a run: a row of the history. */
export interface EpochRecord<M extends Metrics = Metrics, T extends Metrics = Metrics> {
  readonly epoch: number;
  readonly step: number;
  /** Mean over the epoch's training samples, each at the weights of its moment. */
  readonly loss: number;
  /** Of the training batches: those named in trainMetrics. */
  readonly metrics: MetricValues<T>;
  readonly validation: { readonly loss: number; readonly metrics: MetricValues<M> } | null;
  /** Of the first parameter group at the end of the epoch. */
  readonly lr: number;
  /** Of training alone, without validation; of the part since the run was resumed. */
  readonly seconds: number;
  readonly samplesPerSecond: number;
}

/** After every epoch, validated. */
export interface EpochEvent<M extends Metrics = Metrics, T extends Metrics = Metrics> extends EpochRecord<M, T> {
  readonly type: "epoch";
  /** Whether the monitored value is the best so far. */
  readonly best: boolean;
}

/** After a file was written. */
export interface CheckpointEvent {
  readonly type: "checkpoint";
  /** Everything that resuming needs, or the best weights alone. */
  readonly kind: "run" | "best";
  readonly path: string;
  readonly epoch: number;
  readonly step: number;
}

/** Why a run ended: all epochs done, early stopping, run.stop(), the signal, or the iteration was left. */
export type EndReason = "finished" | "early stopping" | "stopped" | "aborted" | "left";

/** What a run comes to. */
export interface FitResult<M extends Metrics = Metrics, T extends Metrics = Metrics> {
  readonly reason: EndReason;
  readonly history: readonly EpochRecord<M, T>[];
  /** Epoch with the best monitored value (from 1; 0 if none) and that value. */
  readonly best: { readonly epoch: number; readonly value: number };
  readonly step: number;
}

export interface EndEvent<M extends Metrics = Metrics, T extends Metrics = Metrics> extends FitResult<M, T> {
  readonly type: "end";
}

export type FitEvent<M extends Metrics = Metrics, T extends Metrics = Metrics> =
  | BatchEvent
  | ValidationEvent<M>
  | EpochEvent<M, T>
  | CheckpointEvent
  | EndEvent<M, T>;
