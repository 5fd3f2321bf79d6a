import { cpus, platform, release, totalmem } from "node:os";
import { ArgumentError } from "../core/errors.js";
import { checkInteger, checkOptions } from "../core/options.js";
import { describe } from "../core/shape.js";
import type { Tensor } from "../core/tensor.js";
import type { AsyncDataset, Dataset } from "../data/dataset.js";
import { checkPath, writeWhole } from "../io/file.js";
import { checkModule, type Module } from "../nn/module.js";
import { getBackend, getNumThreads, getTarget } from "../reference/choose.js";
import type { EpochRecord, FitResult } from "../train/events.js";
import { confusionMatrix, curve, featureMaps, filters, misclassified } from "./figures.js";
import { figure, page, pairs, type Section, table } from "./html.js";
import { type AnyTransform, type Answers, answers, convolutions, layerOutputs, sample } from "./look.js";

export interface ReportOptions {
  readonly title: string;
  readonly model: Module;
  /** What `train.fit` gave. */
  readonly result: Pick<FitResult, "history"> & Partial<FitResult>;
  /** Samples [image, label] for the confusion matrix, the mistakes and the feature maps. */
  readonly validation?: Dataset | AsyncDataset;
  /** As in the loader of the validation. */
  readonly transform?: AnyTransform;
  /** Names of the classes. */
  readonly classes?: readonly string[];
  /** Layers whose output is shown; default: up to four convolutions. */
  readonly layers?: readonly string[];
  /** Samples (by number) for which it is shown; default the first two. */
  readonly images?: readonly number[];
  /** Mistakes shown, default 24. */
  readonly mistakes?: number;
  /** What to tell of the run's settings. */
  readonly settings?: Readonly<Record<string, unknown>>;
}

const optionNames = [
  "title",
  "model",
  "result",
  "validation",
  "transform",
  "classes",
  "layers",
  "images",
  "mistakes",
  "settings",
];

/** Writes the page of a run (see `render`) as one file that opens from disk. */
export async function save(path: string, options: ReportOptions): Promise<void> {
  checkPath("report", path);
  writeWhole(path, [Buffer.from(await render(options))]);
}

/**
 * The page of a run as HTML: curves, confusion matrix, mistakes, filters, feature maps, the model's table, settings and
 * machine. It holds all it needs and takes nothing from the network.
 */
export async function render(options: ReportOptions): Promise<string> {
  if (options === undefined) throw new ArgumentError("report: needs options such as { title, model, result }");
  checkOptions("report", options, optionNames);
  const { model, result, validation, transform, classes } = options;
  checkModule("report", model);
  if (!Array.isArray(result?.history))
    throw new ArgumentError(`report: result must be what train.fit gives, got ${describe(result)}`);
  const history = result.history;
  const mistakes = checkInteger("report", "mistakes", options.mistakes ?? 24, 0);
  const sections: Section[] = [];
  if (history.length > 0) sections.push(await curves(history));
  let found: Answers | null = null;
  let shape: readonly number[] | null = null;
  if (validation !== undefined && validation.length > 0) {
    found = await answers(model, validation, { mistakes, ...(transform === undefined ? {} : { transform }) });
    shape = (await sample(validation, 0, transform)).x.shape;
    sections.push(await mistaken(found, classes));
  }
  const shownFilters = await learned(model);
  if (shownFilters !== null) sections.push(shownFilters);
  if (validation !== undefined && validation.length > 0) {
    const names = options.layers ?? convolutions(model, 4);
    const maps = await outputs(model, validation, transform, names, options.images ?? [0, 1], classes);
    if (maps !== null) sections.push(maps);
  }
  if (shape !== null) sections.push(layers(model, [1, ...shape.slice(1)]));
  sections.push(circumstances(options.settings ?? {}));
  return page(
    options.title,
    `${new Date().toISOString().slice(0, 16).replace("T", " ")} UTC · ${model.displayName} · ${machine().processor}`,
    tiles(model, history, found),
    sections,
    "Made by xcorr. This page holds everything it shows.",
  );
}

function percent(share: number): string {
  return `${(100 * share).toFixed(2)} %`;
}

function duration(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60
    ? `${minutes} min ${Math.round(seconds % 60)} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function tiles(model: Module, history: readonly EpochRecord[], found: Answers | null): [string, string][] {
  const list: [string, string][] = [];
  if (found !== null) list.push([percent(found.accuracy), `of ${found.samples.toLocaleString("en-US")} samples right`]);
  const last = history.at(-1);
  if (last !== undefined) {
    list.push([(last.validation?.loss ?? last.loss).toFixed(4), last.validation ? "validation loss" : "training loss"]);
    list.push([String(last.epoch), `epochs, ${last.step.toLocaleString("en-US")} steps`]);
    list.push([duration(history.reduce((s, e) => s + e.seconds, 0)), "of training"]);
    list.push([Math.round(last.samplesPerSecond).toLocaleString("en-US"), "samples per second"]);
  }
  const parameters = model.parameters().reduce((n, p) => n + p.numel(), 0);
  list.push([parameters.toLocaleString("en-US"), "parameters"]);
  return list;
}

/** The metrics of epochs that are numbers, by name, for training and validation. */
function metricSeries(history: readonly EpochRecord[]): Map<string, Record<string, { x: number; y: number }[]>> {
  const byName = new Map<string, Record<string, { x: number; y: number }[]>>();
  for (const epoch of history) {
    for (const [kind, values] of [
      ["training", epoch.metrics],
      ["validation", epoch.validation?.metrics ?? {}],
    ] as const) {
      for (const [name, value] of Object.entries(values as Record<string, unknown>)) {
        if (typeof value !== "number") continue;
        const series = byName.get(name) ?? {};
        byName.set(name, series);
        (series[kind] ??= []).push({ x: epoch.epoch, y: value });
      }
    }
  }
  return byName;
}

async function curves(history: readonly EpochRecord[]): Promise<Section> {
  const points = (of: (e: EpochRecord) => number | undefined): { x: number; y: number }[] =>
    history.flatMap((e) => {
      const y = of(e);
      return y === undefined ? [] : [{ x: e.epoch, y }];
    });
  const validated = points((e) => e.validation?.loss);
  const losses = { training: points((e) => e.loss), ...(validated.length > 0 ? { validation: validated } : {}) };
  const metrics = metricSeries(history);
  const size = metrics.size > 0 ? { width: 336, height: 240 } : { width: 520, height: 280 };
  const figures = [figure(await curve(losses, { ...size, title: "Loss" }), "Loss", "loss")];
  for (const [name, series] of metrics)
    figures.push(figure(await curve(series, { ...size, title: name }), capital(name), name));
  const rates = points((e) => e.lr);
  figures.push(
    figure(await curve({ rate: rates }, { ...size, title: "Learning rate" }), "Learning rate", "learning-rate"),
  );
  return {
    id: "curves",
    title: "Curves",
    lead: "Training values are means over an epoch while the weights change; validation comes at its end.",
    body: `<div class="figures">${figures.join("\n")}</div>`,
  };
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

async function mistaken(found: Answers, classes: readonly string[] | undefined): Promise<Section> {
  const named = classes === undefined ? {} : { classes };
  const matrix = await confusionMatrix(found.confusion, { ...named, title: "Confusion matrix" });
  const figures = [figure(matrix, "Confusion matrix", "confusion-matrix")];
  const rows = found.confusion.map((row, i) => {
    const total = row.reduce((s, n) => s + n, 0);
    const answered = found.confusion.reduce((s, other) => s + other[i]!, 0);
    const share = (n: number, of: number): string => (of === 0 ? "–" : percent(n / of));
    return [classes?.[i] ?? String(i), total.toLocaleString("en-US"), share(row[i]!, total), share(row[i]!, answered)];
  });
  figures.push(`<div>${table(["class", "samples", "recall", "precision"], rows.slice(0, 100), 1)}</div>`);
  let below = "";
  if (found.mistakes.length > 0) {
    const svg = await misclassified(found.mistakes, { ...named, title: "Misclassified", columns: 12 });
    below = `<div class="figures" style="margin-top:16px">${figure(svg, "Misclassified samples, the surest answers first", "misclassified")}</div>`;
  }
  const wrong = found.samples - found.confusion.reduce((s, row, i) => s + row[i]!, 0);
  return {
    id: "mistakes",
    title: "Answers and mistakes",
    lead: `${wrong.toLocaleString("en-US")} of ${found.samples.toLocaleString("en-US")} validation samples are classified wrongly.`,
    body: `<div class="figures">${figures.join("\n")}</div>${below}`,
  };
}

async function learned(model: Module): Promise<Section | null> {
  const weights = new Map(model.namedParameters());
  const figures: string[] = [];
  for (const name of convolutions(model, 2)) {
    const weight: Tensor | undefined = weights.get(name === "" ? "weight" : `${name}.weight`);
    if (weight === undefined || (weight.rank !== 4 && weight.rank !== 3)) continue;
    if (weight.shape.slice(2).every((s) => s === 1)) continue; // single numbers show nothing
    const svg = await filters(weight, { title: `Filters of ${name}` });
    const shape = `${weight.shape.join(" × ")}`;
    figures.push(figure(svg, `Layer ${name === "" ? model.displayName : name}, weight ${shape}`, `filters-${name}`));
  }
  if (figures.length === 0) return null;
  return {
    id: "filters",
    title: "Learned filters",
    lead: "Blue is negative, white zero, red positive, on one scale for each layer; filters over three channels are in colour.",
    body: `<div class="figures">${figures.join("\n")}</div>`,
  };
}

async function outputs(
  model: Module,
  dataset: Dataset | AsyncDataset,
  transform: AnyTransform | undefined,
  names: readonly string[],
  images: readonly number[],
  classes: readonly string[] | undefined,
): Promise<Section | null> {
  const figures: string[] = [];
  for (const index of images) {
    if (index >= dataset.length) continue;
    const { shown, x, label } = await sample(dataset, index, transform);
    const layers = await layerOutputs(model, x, names);
    if (layers.length === 0) continue;
    const svg = await featureMaps(shown, layers, { title: `Feature maps of sample ${index}` });
    const caption = `Sample ${index}${label === null ? "" : `, ${classes?.[label] ?? `class ${label}`}`}`;
    figures.push(figure(svg, caption, `feature-maps-${index}`));
  }
  if (figures.length === 0) return null;
  return {
    id: "feature-maps",
    title: "Feature maps",
    lead: "What layers make of an image: their first channels, from dark (least) to light (largest) in each layer.",
    body: `<div class="figures">${figures.join("\n")}</div>`,
  };
}

function layers(model: Module, inputShape: readonly number[]): Section {
  const summary = model.summary(inputShape);
  const count = (n: number): string => n.toLocaleString("en-US");
  const rows = summary.rows.map((row) => [
    row.name,
    row.layer,
    row.outputShape.join(" × "),
    count(row.parameters),
    count(row.flops),
  ]);
  return {
    id: "model",
    title: "Model",
    lead:
      `Input ${inputShape.join(" × ")}; ${count(summary.parameters)} parameters` +
      `${summary.trainable < summary.parameters ? `, ${count(summary.trainable)} of them trained` : ""}; ` +
      `${count(summary.flops)} floating-point operations for a forward pass (a multiply-add counts two).`,
    body: table(["layer", "kind", "output", "parameters", "operations"], rows, 3),
  };
}

function machine(): { processor: string; list: [string, string][] } {
  const processor = cpus()[0]?.model.trim() ?? process.arch;
  return {
    processor,
    list: [
      ["processor", processor],
      ["cores", String(cpus().length)],
      ["memory", `${(totalmem() / 2 ** 30).toFixed(1)} GiB`],
      ["system", `${platform()} ${release()} ${process.arch}`],
      ["Node.js", process.version],
      ["backend", getBackend() === "native" ? `native, ${getTarget()}` : getBackend()],
      ["threads", String(getNumThreads())],
    ],
  };
}

function circumstances(settings: Readonly<Record<string, unknown>>): Section {
  const given = Object.entries(settings).map(
    ([name, value]) => [name, typeof value === "string" ? value : (JSON.stringify(value) ?? String(value))] as const,
  );
  return {
    id: "settings",
    title: "Settings and machine",
    body: `<div class="columns">${given.length > 0 ? pairs(given) : ""}${pairs(machine().list)}</div>`,
  };
}
