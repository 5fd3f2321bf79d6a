/** Optimisers and learning-rate schedules. Import it as `optim`. */
export * from "./adagrad.js";
export * from "./adam.js";
export * from "./nadam.js";
export * from "./onecycle.js";
export {
  type GivenGroup,
  type GivenParameters,
  type GroupOptions,
  Optimizer,
  type OptimizerState,
  type ParameterState,
  type ParamGroup,
} from "./optimizer.js";
export * from "./plateau.js";
export * from "./rmsprop.js";
export { LRScheduler, type ScheduleState } from "./schedule.js";
export {
  ConstantLR,
  CosineAnnealingLR,
  CosineAnnealingWarmRestarts,
  ExponentialLR,
  LambdaLR,
  LinearLR,
  type LinearLROptions,
  MultiplicativeLR,
  MultiStepLR,
  PolynomialLR,
  type RateFunction,
  SequentialLR,
  StepLR,
  WarmupLR,
} from "./schedules.js";
export * from "./sgd.js";
