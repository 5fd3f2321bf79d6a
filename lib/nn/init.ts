import { unrecorded } from "../autograd/mode.js";
import type { RandomCode } from "../backend/abi.js";
import type { DType, FloatDType } from "../core/dtype.js";
import { ArgumentError, ShapeError } from "../core/errors.js";
import { checkChoice, checkInteger, checkNumber, checkOptions } from "../core/options.js";
import { checkShape, describe, format, numel, type Shape } from "../core/shape.js";
import { empty, isTensor, type Tensor } from "../core/tensor.js";
import { fill_ } from "../ops/inplace.js";
import { copyInto, floating } from "../ops/kernel.js";
import { defaultGenerator, type Generator } from "../ops/random.js";

/**
 * First values of parameters: each function overwrites a tensor in place, without recording, and returns it. Random ones
 * take the numbers of the generator that `manualSeed` seeds, or of `generator`.
 *
 * Sources: Glorot and Bengio 2010 (xavier), He et al. 2015 (kaiming), Saxe et al. 2013 (orthogonal).
 */

export interface InitOptions {
  /** Default: the one that `manualSeed` seeds. */
  readonly generator?: Generator;
}

export type Nonlinearity =
  | "linear"
  | "conv1d"
  | "conv2d"
  | "conv3d"
  | "convTranspose1d"
  | "convTranspose2d"
  | "convTranspose3d"
  | "sigmoid"
  | "tanh"
  | "relu"
  | "leakyRelu"
  | "selu";

const gains: Record<Nonlinearity, number> = {
  linear: 1,
  conv1d: 1,
  conv2d: 1,
  conv3d: 1,
  convTranspose1d: 1,
  convTranspose2d: 1,
  convTranspose3d: 1,
  sigmoid: 1,
  tanh: 5 / 3,
  relu: Math.SQRT2,
  leakyRelu: 0, // depends on the slope
  selu: 3 / 4,
};

/** The factor by which a nonlinearity asks for larger weights; `slope` is that of leakyRelu, default 0.01. */
export function calculateGain(nonlinearity: Nonlinearity, slope = 0.01): number {
  checkChoice("calculateGain", "nonlinearity", nonlinearity, Object.keys(gains) as Nonlinearity[]);
  if (nonlinearity !== "leakyRelu") return gains[nonlinearity];
  return Math.sqrt(2 / (1 + checkNumber("calculateGain", "slope", slope) ** 2));
}

/** Inputs that feed an output, and outputs that an input feeds: of a weight [out, in, kernel...]. */
export function calculateFan(weight: Tensor | Shape): { fanIn: number; fanOut: number } {
  const shape = isTensor(weight) ? weight.shape : checkShape("calculateFan", weight);
  if (shape.length < 2) {
    throw new ShapeError(
      `calculateFan: a weight needs at least 2 dimensions [out, in, ...], but it is ${format(shape)}`,
    );
  }
  const kernel = numel(shape.slice(2));
  return { fanIn: shape[1]! * kernel, fanOut: shape[0]! * kernel };
}

function checkTarget(call: string, t: unknown): asserts t is Tensor<FloatDType> {
  if (!isTensor(t)) throw new ArgumentError(`${call}: needs a tensor, got ${describe(t)}`);
  floating(call, "the tensor", t);
}

/** Gives `t` the values that `write` puts into row-major memory. */
function overwrite<T extends Tensor>(t: T, write: (memory: Tensor<FloatDType>) => void): T {
  if (t.isContiguous()) {
    write(t as unknown as Tensor<FloatDType>);
  } else {
    const memory = empty(t.shape, t.dtype) as Tensor<FloatDType>;
    write(memory);
    copyInto(t, memory);
    memory.dispose();
  }
  t.storage.version++;
  return t;
}

function random<T extends Tensor>(
  call: string,
  kind: RandomCode,
  t: T,
  p0: number,
  p1: number,
  options: InitOptions,
  known: readonly string[] = [],
): T {
  checkTarget(call, t);
  checkOptions(call, options, ["generator", ...known]);
  return overwrite(t, (memory) => (options.generator ?? defaultGenerator).fill(kind, memory, p0, p1));
}

/** Uniform numbers in [low, high). */
export function uniform_<T extends Tensor>(t: T, low = 0, high = 1, options: InitOptions = {}): T {
  checkNumber("uniform_", "low", low);
  checkNumber("uniform_", "high", high, low);
  return random("uniform_", "uniform", t, low, high, options);
}

/** Normal numbers. */
export function normal_<T extends Tensor>(t: T, mean = 0, deviation = 1, options: InitOptions = {}): T {
  checkNumber("normal_", "mean", mean);
  checkNumber("normal_", "deviation", deviation, 0);
  return random("normal_", "normal", t, mean, deviation, options);
}

/** All elements `value`. */
export function constant_<T extends Tensor>(t: T, value: number): T {
  checkTarget("constant_", t);
  checkNumber("constant_", "value", value);
  unrecorded(() => fill_(t, value));
  return t;
}

/** Fills with 0; returns t. */
export function zeros_<T extends Tensor>(t: T): T {
  return constant_(t, 0);
}

/** Fills with 1; returns t. */
export function ones_<T extends Tensor>(t: T): T {
  return constant_(t, 1);
}

/** The identity matrix: ones on the diagonal of a tensor of two dimensions. */
export function eye_<T extends Tensor>(t: T): T {
  checkTarget("eye_", t);
  if (t.rank !== 2) throw new ShapeError(`eye_: needs a matrix, but the tensor is ${format(t.shape)}`);
  const [rows, columns] = t.shape as [number, number];
  return overwrite(t, (memory) => {
    const array = values(memory).fill(0);
    for (let i = 0; i < Math.min(rows, columns); i++) array[i * columns + i] = 1;
  });
}

/**
 * A convolution's weight [out, in / groups, kernel...] that hands its input channels through: in each group, output i
 * copies input i, by a 1 in the middle of the kernel.
 */
export function dirac_<T extends Tensor>(t: T, groups = 1): T {
  checkTarget("dirac_", t);
  if (t.rank < 3 || t.rank > 5)
    throw new ShapeError(
      `dirac_: needs a convolution's weight of 3 to 5 dimensions, but the tensor is ${format(t.shape)}`,
    );
  checkInteger("dirac_", "groups", groups, 1);
  const [out, channels] = t.shape as [number, number];
  if (out % groups !== 0) throw new ShapeError(`dirac_: ${out} output channels do not divide into ${groups} groups`);
  const kernel = t.shape.slice(2);
  const taps = numel(kernel);
  const middle = kernel.reduce((at, size) => at * size + Math.floor(size / 2), 0);
  return overwrite(t, (memory) => {
    const array = values(memory).fill(0);
    const perGroup = out / groups;
    for (let g = 0; g < groups; g++) {
      for (let i = 0; i < Math.min(perGroup, channels); i++) {
        array[((g * perGroup + i) * channels + i) * taps + middle] = 1;
      }
    }
  });
}

/** The elements of a row-major tensor, to be written. */
function values(t: Tensor<FloatDType>): Float32Array | Float64Array {
  return t.storage.array(t.dtype).subarray(t.offset, t.offset + t.numel()) as Float32Array | Float64Array;
}

/** Uniform in [-b, b), b = gain * sqrt(6 / (fanIn + fanOut)). */
export function xavierUniform_<T extends Tensor>(t: T, gain = 1, options: InitOptions = {}): T {
  checkTarget("xavierUniform_", t);
  const { fanIn, fanOut } = calculateFan(t);
  if (t.numel() === 0) return t;
  const bound = checkNumber("xavierUniform_", "gain", gain) * Math.sqrt(6 / (fanIn + fanOut));
  return random("xavierUniform_", "uniform", t, -bound, bound, options);
}

/** Normal with deviation gain * sqrt(2 / (fanIn + fanOut)). */
export function xavierNormal_<T extends Tensor>(t: T, gain = 1, options: InitOptions = {}): T {
  checkTarget("xavierNormal_", t);
  const { fanIn, fanOut } = calculateFan(t);
  if (t.numel() === 0) return t;
  const deviation = checkNumber("xavierNormal_", "gain", gain) * Math.sqrt(2 / (fanIn + fanOut));
  return random("xavierNormal_", "normal", t, 0, deviation, options);
}

export interface KaimingOptions extends InitOptions {
  /** Keeps the variance forward ("fanIn", the default) or backward ("fanOut"). */
  readonly mode?: "fanIn" | "fanOut";
  /** What follows the layer; default leakyRelu. */
  readonly nonlinearity?: Nonlinearity;
  /** The slope of leakyRelu; default 0. */
  readonly a?: number;
}

/** gain / sqrt(fan): the deviation that Kaiming initialisation aims at; 0 for a tensor without elements. */
function kaimingDeviation(call: string, t: Tensor, options: KaimingOptions): number {
  checkTarget(call, t);
  checkOptions(call, options, ["generator", "mode", "nonlinearity", "a"]);
  const mode = checkChoice(call, "mode", options.mode ?? "fanIn", ["fanIn", "fanOut"]);
  const fan = calculateFan(t)[mode];
  return t.numel() === 0 ? 0 : calculateGain(options.nonlinearity ?? "leakyRelu", options.a ?? 0) / Math.sqrt(fan);
}

/** Uniform in [-b, b), b = gain * sqrt(3 / fan). */
export function kaimingUniform_<T extends Tensor>(t: T, options: KaimingOptions = {}): T {
  const bound = Math.sqrt(3) * kaimingDeviation("kaimingUniform_", t, options);
  return t.numel() === 0
    ? t
    : random("kaimingUniform_", "uniform", t, -bound, bound, options, ["mode", "nonlinearity", "a"]);
}

/** Normal with deviation gain / sqrt(fan). */
export function kaimingNormal_<T extends Tensor>(t: T, options: KaimingOptions = {}): T {
  const deviation = kaimingDeviation("kaimingNormal_", t, options);
  return t.numel() === 0
    ? t
    : random("kaimingNormal_", "normal", t, 0, deviation, options, ["mode", "nonlinearity", "a"]);
}

export interface TruncNormalOptions extends InitOptions {
  readonly mean?: number;
  readonly deviation?: number;
  /** Bounds of the values; default -2 and 2. */
  readonly low?: number;
  readonly high?: number;
}

/** Normal numbers that fall into [low, high]; others are drawn again. */
export function truncNormal_<T extends Tensor>(t: T, options: TruncNormalOptions = {}): T {
  checkTarget("truncNormal_", t);
  checkOptions("truncNormal_", options, ["generator", "mean", "deviation", "low", "high"]);
  const mean = checkNumber("truncNormal_", "mean", options.mean ?? 0);
  const deviation = checkNumber("truncNormal_", "deviation", options.deviation ?? 1, 0);
  const low = checkNumber("truncNormal_", "low", options.low ?? -2);
  const high = checkNumber("truncNormal_", "high", options.high ?? 2, low);
  if (deviation === 0 || low === high) return constant_(t, Math.min(Math.max(mean, low), high));
  const a = (low - mean) / deviation;
  const b = (high - mean) / deviation;
  const draw = drawer(options.generator ?? defaultGenerator);
  // Normal proposals where they often fall inside; uniform ones, accepted by their density, where the bounds are narrow
  // or in a tail (Robert 1995).
  const narrow = b - a < 1 || a > 1 || b < -1;
  const nearest = Math.min(Math.max(0, a), b);
  return overwrite(t, (memory) => {
    const array = values(memory);
    for (let i = 0; i < array.length; i++) {
      for (;;) {
        const z = narrow ? a + (b - a) * draw("uniform") : draw("normal");
        const accepted = narrow ? draw("uniform") < Math.exp((nearest * nearest - z * z) / 2) : z >= a && z <= b;
        if (!accepted) continue;
        array[i] = Math.min(Math.max(mean + deviation * z, low), high);
        break;
      }
    }
  });
}

/** Numbers of a generator one at a time, taken in blocks. */
function drawer(generator: Generator): (kind: "uniform" | "normal") => number {
  const blocks: Record<string, { array: Float64Array; at: number }> = {};
  return (kind) => {
    let block = blocks[kind];
    if (block === undefined || block.at === block.array.length) {
      const t = empty([1024], "float64");
      generator.fill(kind, t, 0, 1);
      block = { array: t.data(), at: 0 };
      t.dispose();
      blocks[kind] = block;
    }
    return block.array[block.at++]!;
  };
}

/** A random matrix with orthonormal rows or columns (whichever are fewer), times `gain`; trailing dimensions are columns. */
export function orthogonal_<T extends Tensor>(t: T, gain = 1, options: InitOptions = {}): T {
  checkTarget("orthogonal_", t);
  checkOptions("orthogonal_", options, ["generator"]);
  checkNumber("orthogonal_", "gain", gain);
  if (t.rank < 2)
    throw new ShapeError(`orthogonal_: needs at least 2 dimensions, but the tensor is ${format(t.shape)}`);
  if (t.numel() === 0) return t;
  const rows = t.shape[0]!;
  const columns = t.numel() / rows;
  const [count, length] = rows < columns ? [rows, columns] : [columns, rows];
  const draw = drawer(options.generator ?? defaultGenerator);
  const basis: Float64Array[] = [];
  while (basis.length < count) {
    const v = Float64Array.from({ length }, () => draw("normal"));
    // Gram-Schmidt twice: once leaves errors of the size of the condition number.
    for (let pass = 0; pass < 2; pass++) {
      for (const b of basis) {
        const along = dot(v, b);
        for (let i = 0; i < length; i++) v[i]! -= along * b[i]!;
      }
    }
    const norm = Math.sqrt(dot(v, v));
    if (norm < 1e-9) continue; // almost in the span of the others: draw again
    basis.push(v.map((x) => x / norm));
  }
  return overwrite(t, (memory) => {
    const array = values(memory);
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < columns; c++)
        array[r * columns + c] = gain * (rows < columns ? basis[r]![c]! : basis[c]![r]!);
    }
  });
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

/**
 * @internal PyTorch's default for linear and convolution layers: weight and bias uniform in [-b, b), b = 1 / sqrt(fanIn)
 * (which is kaimingUniform_ with a = sqrt(5)). With fanIn 0 the bias is set to zero.
 */
export function layerDefault(weight: Tensor, bias: Tensor<DType> | null): void {
  checkTarget("layerDefault", weight);
  if (bias !== null) checkTarget("layerDefault", bias as Tensor);
  const { fanIn } = calculateFan(weight);
  const bound = fanIn > 0 ? 1 / Math.sqrt(fanIn) : 0;
  if (weight.numel() > 0) uniform_(weight, -bound, bound);
  if (bias !== null && bias.numel() > 0) uniform_(bias, -bound, bound);
}
