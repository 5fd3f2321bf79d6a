import { type RandomCode, randomCodes } from "../backend/abi.js";
import { run } from "../backend/run.js";
import type { FloatDType } from "../core/dtype.js";
import { ArgumentError, DTypeError } from "../core/errors.js";
import { checkInteger, checkNumber, checkOptions } from "../core/options.js";
import { checkShape, describe, numel, type Shape } from "../core/shape.js";
import { empty, isTensor, type Tensor } from "../core/tensor.js";
import { type CreateOptions, createOptions, finish } from "./create.js";
import { converted } from "./kernel.js";

/**
 * Random numbers come from a counter-based generator (Philox 4x32-10, Salmon et al. 2011): a number is a function of
 * the seed and its position in the stream, so the same seed gives the same numbers on any machine and thread count.
 */
export interface RandomState {
  /** Key of the stream, an integer below 2^53. */
  readonly seed: number;
  /** Position: how many counters have been used. */
  readonly offset: number;
}

/** A stream of random numbers with a seed and a position of its own. */
export class Generator {
  #seed: number;
  #offset = 0;

  constructor(seed: number = randomSeed()) {
    this.#seed = checkInteger("Generator", "seed", seed, 0, Number.MAX_SAFE_INTEGER);
  }

  /** Starts the stream of `seed` from its beginning. */
  manualSeed(seed: number): this {
    this.#seed = checkInteger("manualSeed", "seed", seed, 0, Number.MAX_SAFE_INTEGER);
    this.#offset = 0;
    return this;
  }

  get state(): RandomState {
    return { seed: this.#seed, offset: this.#offset };
  }

  set state(state: RandomState) {
    const given = Object(state) as Partial<RandomState>;
    const seed = checkInteger("Generator.state", "seed", given.seed, 0, Number.MAX_SAFE_INTEGER);
    this.#offset = checkInteger("Generator.state", "offset", given.offset, 0, Number.MAX_SAFE_INTEGER);
    this.#seed = seed;
  }

  /** Fills memory with the next numbers of the stream. @internal */
  fill(kind: RandomCode, t: Tensor<FloatDType>, p0: number, p1: number): void {
    const count = numel(t.shape);
    run("random_fill", t.dtype, [randomCodes.indexOf(kind), count, this.#seed, this.#offset, p0, p1], [t]);
    this.#offset += Math.ceil(count / 4);
  }

  /** One number in [0, 1). */
  next(): number {
    const t = empty([1], "float64");
    this.fill("uniform", t, 0, 1);
    const value = t.item();
    t.dispose();
    return value;
  }

  /** The integers 0 to n - 1 in random order (Fisher-Yates). */
  permutation(n: number): Int32Array {
    const order = Int32Array.from({ length: n }, (_, i) => i);
    if (n < 2) return order;
    const t = empty([n], "float64");
    this.fill("uniform", t, 0, 1);
    const u = t.storage.array("float64");
    for (let i = n - 1; i > 0; i--) {
      const j = Math.floor(u[i]! * (i + 1));
      const held = order[i]!;
      order[i] = order[j]!;
      order[j] = held;
    }
    t.dispose();
    return order;
  }
}

function randomSeed(): number {
  return Math.floor(Math.random() * 2 ** 53);
}

/** The generator used where none is given. */
export const defaultGenerator: Generator = new Generator();

/** Seeds the default generator: initialisation, dropout, shuffling and random tensors repeat. */
export function manualSeed(seed: number): void {
  defaultGenerator.manualSeed(seed);
}

/** Create options of random tensors. */
export interface RandomOptions<D extends FloatDType = FloatDType> extends CreateOptions<D> {
  /** Default: the one that `manualSeed` seeds. */
  readonly generator?: Generator;
}

function random<D extends FloatDType>(
  call: string,
  kind: RandomCode,
  shape: Shape,
  p0: number,
  p1: number,
  options: RandomOptions<D>,
): Tensor<D> {
  const dtype = createOptions<D>(call, options, "float32", ["generator"]);
  if (dtype !== "float32" && dtype !== "float64")
    throw new DTypeError(`${call}: dtype must be float32 or float64, got ${dtype}`);
  const { generator = defaultGenerator } = options;
  if (!(generator instanceof Generator))
    throw new ArgumentError(`${call}: generator must be a Generator, got ${describe(generator)}`);
  const t = empty(checkShape(call, shape), dtype);
  generator.fill(kind, t, p0, p1);
  return finish(t, options) as Tensor<D>;
}

/** Uniform numbers in [low, high), default [0, 1). */
export function rand<D extends FloatDType = "float32">(shape: Shape, options: RandomOptions<D> = {}): Tensor<D> {
  return random("rand", "uniform", shape, 0, 1, options);
}

/** Uniform numbers in [low, high). */
export function uniform<D extends FloatDType = "float32">(
  shape: Shape,
  low: number,
  high: number,
  options: RandomOptions<D> = {},
): Tensor<D> {
  checkNumber("uniform", "low", low);
  checkNumber("uniform", "high", high);
  if (low > high) throw new ArgumentError(`uniform: low must not be above high, got ${low} and ${high}`);
  return random("uniform", "uniform", shape, low, high, options);
}

/** Normal numbers with mean 0 and standard deviation 1. */
export function randn<D extends FloatDType = "float32">(shape: Shape, options: RandomOptions<D> = {}): Tensor<D> {
  return random("randn", "normal", shape, 0, 1, options);
}

/** Normal numbers with the given mean and standard deviation. */
export function normal<D extends FloatDType = "float32">(
  shape: Shape,
  mean: number,
  deviation: number,
  options: RandomOptions<D> = {},
): Tensor<D> {
  checkNumber("normal", "mean", mean);
  checkNumber("normal", "deviation", deviation, 0);
  return random("normal", "normal", shape, mean, deviation, options);
}

/** 1 with probability `p`, else 0. */
export function bernoulli<D extends FloatDType = "float32">(
  shape: Shape,
  p: number,
  options: RandomOptions<D> = {},
): Tensor<D> {
  checkNumber("bernoulli", "p", p, 0, 1);
  return random("bernoulli", "bernoulli", shape, p, 0, options);
}

/** Integers in [low, high), int32. */
export function randint(
  low: number,
  high: number,
  shape: Shape,
  options: { generator?: Generator } = {},
): Tensor<"int32"> {
  checkInteger("randint", "low", low, -(2 ** 31));
  checkInteger("randint", "high", high, low + 1);
  const t = random("randint", "uniform", shape, low, high, { ...options, dtype: "float64" });
  const array = t.storage.array("float64");
  for (let i = 0; i < t.numel(); i++) array[i] = Math.min(Math.floor(array[i]!), high - 1);
  const y = converted(t, "int32");
  t.dispose();
  return y;
}

/** The integers 0 to n - 1 in random order. */
export function randperm(n: number, options: { generator?: Generator } = {}): Tensor<"int32"> {
  checkOptions("randperm", options, ["generator"]);
  const order = (options.generator ?? defaultGenerator).permutation(checkInteger("randperm", "n", n, 0));
  const t = empty([n], "int32");
  t.storage.array("int32").set(order);
  return t;
}

function checkLike(call: string, t: unknown, options: unknown): void {
  if (!isTensor(t)) throw new ArgumentError(`${call}: needs a tensor, got ${describe(t)}`);
  checkOptions(call, options, ["dtype", "requiresGrad", "generator"]);
}

/** Normal numbers (mean 0, standard deviation 1) with the shape and dtype of `t`. */
export function randnLike<D extends FloatDType>(t: Tensor<D>, options: RandomOptions<D> = {}): Tensor<D> {
  checkLike("randnLike", t, options);
  return randn(t.shape, { ...options, dtype: options.dtype ?? t.dtype });
}

/** Uniform numbers in [0, 1) with the shape and dtype of `t`. */
export function randLike<D extends FloatDType>(t: Tensor<D>, options: RandomOptions<D> = {}): Tensor<D> {
  checkLike("randLike", t, options);
  return rand(t.shape, { ...options, dtype: options.dtype ?? t.dtype });
}
