/** Training. Import it as `train`. */
export * from "./checkpoint.js";
export {
  type BatchSource,
  type EvaluateOptions,
  type Evaluation,
  evaluate,
  type Forward,
  type Loss,
  type Metrics,
  type MetricValues,
} from "./evaluate.js";
export * from "./events.js";
export * from "./fit.js";
export * from "./metrics.js";
export * from "./progress.js";
export * from "./step.js";
