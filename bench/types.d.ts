/** What the parts of the bench hand to each other. */

export type Direction = "forward" | "input" | "weight";
export type Layout = "nchw" | "channels_last";

export interface ConvTask {
  kind: "conv";
  direction: Direction;
  batch: number;
  inChannels: number;
  outChannels: number;
  /** Height and width of the input, in pixels; all layers here are square. */
  size: number;
  kernel: number;
  stride: number;
  padding: number;
  groups: number;
}

/** Batch norm with the batch's statistics, followed by ReLU, on [batch, channels, size, size]. */
export interface BatchNormTask {
  kind: "batch_norm";
  direction: "forward" | "backward";
  batch: number;
  channels: number;
  size: number;
}

/** [m, k] times [k, n], or times the transpose of [n, k] (a fully connected layer's weight). */
export interface GemmTask {
  kind: "gemm";
  m: number;
  n: number;
  k: number;
  transposed: boolean;
}

export type Network = "lenet5" | "resnet18_cifar" | "resnet50" | "mobilenet_v2";

/** One whole step of a network: training (forward, loss, backward, SGD with momentum) or inference. */
export interface NetworkTask {
  kind: "train" | "infer";
  network: Network;
  batch: number;
  channels: number;
  size: number;
  classes: number;
}

export interface OverheadTask {
  kind: "overhead";
  what: "add" | "add_recorded" | "add_sum_backward";
}

export type Task = ConvTask | BatchNormTask | GemmTask | NetworkTask | OverheadTask;

export interface Case {
  /** Unique in its suite: what --filter is matched with. */
  name: string;
  /** Where the shape comes from. */
  source: string;
  task: Task;
  /** Multiplications and additions of the direct algorithm; 0 where memory or overhead is what counts. */
  operations: number;
  /** Rows of the goals' table that the case belongs to. */
  groups: string[];
  /** The mode ours computes in; default "default". */
  precision?: "exact" | "tight" | "default";
}

/** Tensors of a task, each in a file of raw numbers in row-major order. */
export interface TensorFile {
  path: string;
  shape: number[];
  dtype: "float32" | "int32";
}
export type Files = Record<string, TensorFile>;

/** A prepared task of one contender. */
export interface Runner {
  /** The process that computes. */
  readonly pid: number;
  /** Seconds that `iterations` calls took. */
  run(iterations: number): Promise<number>;
  /** The result's values, every `step`th in row-major order of NCHW. */
  result(step: number): Promise<Float32Array>;
  drop(): Promise<void>;
}

export interface Contender {
  /** The name in tables: "pytorch channels_last". */
  readonly name: string;
  /** Whom it belongs to, of which the best counts: "pytorch". */
  readonly rival: string;
  /** Null where it cannot do the task, with the reason. */
  prepare(task: Task, files: Files, settings: Settings): Promise<Runner | { refused: string }>;
}

export interface Settings {
  threads: number;
  target: string | null;
  precision: "exact" | "tight" | "default";
}

/** One contender's times in one race. */
export interface Timing {
  contender: string;
  rival: string;
  /** Median of the kept samples, in seconds a call. */
  seconds: number;
  /** Quartiles of the kept samples. */
  low: number;
  high: number;
  kept: number;
  total: number;
  /** Fewer kept samples than asked for: the machine was disturbed throughout. */
  disturbed: boolean;
}

export interface Ratio {
  rival: string;
  /** The contender of that rival that was fastest. */
  contender: string;
  /** Theirs / ours. */
  ratio: number;
  low: number;
  high: number;
  /** False where the rival does not run at its best, with the reason. */
  counts: boolean;
  reason?: string;
}

export interface CaseResult {
  name: string;
  source: string;
  groups: string[];
  threads: number;
  target: string;
  precision: string;
  operations: number;
  /** Peak of all threads in multiplications and additions a second, the 90th percentile of this case's probes. */
  peak: number;
  timings: Timing[];
  ratios: Ratio[];
  /** Largest difference of each contender's result from ours, relative to the largest value. */
  differences: Record<string, number>;
  refused: Record<string, string>;
}
