import { ArgumentError } from "../core/errors.js";
import { checkOptions } from "../core/options.js";
import { describe } from "../core/shape.js";
import type { AsyncDataset, Batch, Dataset } from "./dataset.js";
import type { BatchContext } from "./transforms.js";

/** Data sets that a worker thread can make again: by the module that exports them. */

export interface ModuleOptions {
  /** The export that is the data set, or a function (asynchronous or not) that makes it; default "default". */
  readonly export?: string;
  /** What the function is called with; must be cloneable (numbers, strings, lists, plain objects). */
  readonly arguments?: readonly unknown[];
  /** An export that is a transform (batch, context) => batch, which the workers then call. */
  readonly transform?: string;
}

/** @internal What a worker is told. */
export interface ModuleSource {
  readonly url: string;
  readonly export: string;
  readonly arguments: readonly unknown[];
  readonly transform: string | null;
}

const sources = new WeakMap<object, ModuleSource>();

/** @internal How a data set was made, if by `fromModule`. */
export function sourceOf(dataset: object): ModuleSource | undefined {
  return sources.get(dataset);
}

/** @internal */
export type LoadedTransform = (batch: Batch, context: BatchContext) => Batch | Promise<Batch>;

/** @internal Imports the module and takes what the source names. */
export async function loadSource(
  source: ModuleSource,
): Promise<{ dataset: Dataset | AsyncDataset; transform: LoadedTransform | null }> {
  const call = `fromModule(${source.url})`;
  const module = (await import(source.url)) as Record<string, unknown>;
  const exported = module[source.export];
  if (exported === undefined) {
    throw new ArgumentError(
      `${call}: the module has no export ${JSON.stringify(source.export)}; it has ${Object.keys(module).join(", ") || "none"}`,
    );
  }
  const dataset = (typeof exported === "function" ? await exported(...source.arguments) : exported) as Dataset;
  if (typeof dataset?.length !== "number" || !("get" in dataset || "getAsync" in dataset)) {
    throw new ArgumentError(
      `${call}: ${source.export} must be a data set (length and get or getAsync) or a function that makes one, got ${describe(dataset)}`,
    );
  }
  const transform = source.transform === null ? null : module[source.transform];
  if (transform !== null && typeof transform !== "function") {
    throw new ArgumentError(
      `${call}: transform ${JSON.stringify(source.transform)} must be a function, got ${describe(transform)}`,
    );
  }
  return { dataset, transform: transform as LoadedTransform | null };
}

/**
 * A data set by the module that exports it, so that worker threads can make their own of it: what a DataLoader with
 * `workers` needs.
 *
 *     const digits = await data.fromModule(new URL("./digits.js", import.meta.url), { export: "digits", arguments: [folder] });
 *     const loader = new data.DataLoader(digits, { batchSize: 64, workers: 2 });
 */
export async function fromModule<B extends Batch = Batch>(
  url: URL | string,
  options: ModuleOptions = {},
): Promise<Dataset<B> | AsyncDataset<B>> {
  checkOptions("fromModule", options, ["export", "arguments", "transform"]);
  const source: ModuleSource = {
    url: checkUrl(url),
    export: options.export ?? "default",
    arguments: options.arguments ?? [],
    transform: options.transform ?? null,
  };
  try {
    structuredClone(source.arguments);
  } catch (error) {
    throw new ArgumentError(`fromModule: arguments are sent to worker threads, but ${(error as Error).message}`);
  }
  const { dataset } = await loadSource(source);
  sources.set(dataset, source);
  return dataset as Dataset<B> | AsyncDataset<B>;
}

function checkUrl(url: URL | string): string {
  try {
    return new URL(url).href;
  } catch {
    throw new ArgumentError(
      `fromModule: url must be a URL such as new URL("./digits.js", import.meta.url), got ${describe(url)}`,
    );
  }
}
