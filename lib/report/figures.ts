import { ArgumentError, ShapeError } from "../core/errors.js";
import { checkInteger, checkOptions } from "../core/options.js";
import { describe, format } from "../core/shape.js";
import { isTensor, type Tensor } from "../core/tensor.js";
import { diverging, imagePicture, matrixPicture, type Picture, rangeOf, viridis } from "./picture.js";
import { draw, ink, legend, lines, palette, type Plot, quiet } from "./plot.js";

/** Figures of a run, each a whole SVG document; `toPng` makes a PNG of one. */

export interface FigureOptions {
  readonly title?: string;
  /** Pixels; default 560. */
  readonly width?: number;
}

export interface CurveOptions extends FigureOptions {
  /** Pixels; default 300. */
  readonly height?: number;
  /** Default "epoch". */
  readonly xLabel?: string;
  readonly yLabel?: string;
  /** A logarithmic vertical axis, for values above 0. */
  readonly log?: boolean;
}

/** Values over 1, 2, 3, ...; or points. */
export type Series = readonly number[] | readonly { readonly x: number; readonly y: number }[];

/** Up to seven series as lines over one axis, such as { training: losses, validation: others }. */
export async function curve(series: Readonly<Record<string, Series>>, options: CurveOptions = {}): Promise<string> {
  checkOptions("curve", options, ["title", "width", "height", "xLabel", "yLabel", "log"]);
  const names = Object.keys(Object(series) as object);
  if (names.length === 0 || names.length > palette.length)
    throw new ArgumentError(`curve: takes 1 to ${palette.length} series by name, got ${names.length}`);
  const points = names.map((name) => {
    const given = series[name]!;
    if (!Array.isArray(given))
      throw new ArgumentError(`curve: series ${JSON.stringify(name)} must be a list, got ${describe(given)}`);
    return given
      .map((p: number | { x: number; y: number }, i) => (typeof p === "number" ? { x: i + 1, y: p } : p))
      .filter(({ y }) => Number.isFinite(y) && (!options.log || y > 0));
  });
  const most = Math.max(0, ...points.map((p) => p.length));
  const whole = points.flat().every(({ x }) => Number.isInteger(x));
  const [first, last] = [Math.min(...points.flat().map((p) => p.x)), Math.max(...points.flat().map((p) => p.x))];
  return draw((plot) => ({
    width: options.width ?? 560,
    height: options.height ?? 300,
    marginLeft: 56,
    marginRight: 18,
    marginTop: names.length > 1 || options.yLabel !== undefined ? 38 : 12,
    marginBottom: 42,
    x: {
      label: options.xLabel ?? "epoch",
      labelAnchor: "center",
      labelArrow: "none",
      // Whole numbers have no ticks between them.
      ...(whole && most > 0 && last - first <= 12 ? { ticks: spaced(first, last), tickFormat: "d" } : { ticks: 8 }),
      ...(first === last ? { domain: [first - 1, last + 1] } : {}),
      insetLeft: 4,
      insetRight: 4,
    },
    y: {
      label: options.yLabel ?? null,
      labelArrow: "none",
      nice: true,
      ticks: 5,
      ...(options.log ? { type: "log" } : {}),
    },
    marks: [
      plot.gridY({ stroke: lines, strokeOpacity: 1, ticks: 5 }),
      plot.axisX({
        label: options.xLabel ?? "epoch",
        labelAnchor: "center",
        labelArrow: "none",
        tickSize: 0,
        color: quiet,
        ...(whole && last - first <= 12 ? { ticks: spaced(first, last), tickFormat: "d" } : { ticks: 8 }),
      }),
      plot.axisY({ label: null, tickSize: 0, color: quiet, ticks: 5, ...(options.log ? { tickFormat: "~g" } : {}) }),
      ...(options.yLabel === undefined || names.length > 1
        ? []
        : [plot.text([options.yLabel], { frameAnchor: "top-left", dy: -16, fill: quiet, lineAnchor: "middle" })]),
      ...points.flatMap((list, i) => [
        plot.lineY(list, { x: "x", y: "y", stroke: palette[i], strokeWidth: 2, curve: "monotone-x" }),
        ...(list.length <= 40 ? [plot.dot(list, { x: "x", y: "y", fill: palette[i], r: 2.8 })] : []),
      ]),
      ...(names.length > 1 ? legend(plot, names, palette) : []),
    ],
    ...titled(options.title),
  }));
}

function spaced(first: number, last: number): number[] {
  return Array.from({ length: Math.floor(last - first) + 1 }, (_, i) => first + i);
}

/** Titles are the figure's accessible name; on a page the heading beside it shows them. */
function titled(title: string | undefined): Record<string, unknown> {
  return title === undefined ? {} : { ariaLabel: title };
}

/**
 * How often class i (row) was taken for class j (column), coloured by its share of the row.
 * @param counts as train.confusionMatrix gives them
 */
export async function confusionMatrix(
  counts: readonly (readonly number[])[],
  options: FigureOptions & { readonly classes?: readonly string[] } = {},
): Promise<string> {
  checkOptions("confusionMatrix", options, ["title", "width", "classes"]);
  if (!Array.isArray(counts) || !counts.every(Array.isArray))
    throw new ShapeError(`confusionMatrix: counts must be a square list of lists, got ${describe(counts)}`);
  const n = counts.length;
  if (n === 0 || counts.some((row) => row.length !== n))
    throw new ShapeError(`confusionMatrix: counts must be a square list of lists, got ${n} rows`);
  const names = options.classes ?? counts.map((_, i) => String(i));
  if (names.length !== n) throw new ArgumentError(`confusionMatrix: there are ${names.length} classes for ${n} rows`);
  const cells = counts.flatMap((row, i) => {
    const total = row.reduce((s, c) => s + c, 0);
    return row.map((count, j) => ({ i, j, count, share: total === 0 ? 0 : count / total }));
  });
  const longest = Math.max(...names.map((name) => name.length));
  const left = 38 + Math.min(longest, 16) * 6.4;
  const width = options.width ?? Math.max(420, Math.min(760, left + 30 + n * 46));
  const side = (width - left - 12) / n;
  const numbers = side >= 20;
  const slanted = longest * 6.2 > side;
  const every = Math.ceil(11 / side);
  const shown = (i: number): string =>
    i % every === 0 ? (names[i]!.length > 16 ? `${names[i]!.slice(0, 15)}…` : names[i]!) : "";
  const top = slanted ? 34 + Math.min(longest, 16) * 4.6 : 46;
  return draw((plot) => ({
    width,
    height: top + side * n + 8,
    marginLeft: left,
    marginTop: top,
    marginRight: 12,
    marginBottom: 8,
    padding: n > 30 ? 0 : 0.04,
    x: { axis: null, domain: counts.map((_, i) => i) },
    y: { axis: null, domain: counts.map((_, i) => i) },
    // Square root, so that rare mistakes are seen.
    color: { type: "sqrt", domain: [0, 1], range: ["#f3f6f9", "#08519c"], interpolate: "rgb" },
    marks: [
      plot.cell(cells, {
        x: "j",
        y: "i",
        fill: "share",
        title: (d: (typeof cells)[number]) =>
          `${names[d.i]} taken for ${names[d.j]}: ${d.count} (${(100 * d.share).toFixed(1)} %)`,
      }),
      ...(numbers
        ? [
            plot.text(
              cells.filter((d) => d.count > 0),
              {
                x: "j",
                y: "i",
                text: (d: (typeof cells)[number]) => String(d.count),
                fill: (d: (typeof cells)[number]) => (d.share > 0.2 ? "white" : ink),
                fontSize: Math.min(12, side / 2.9),
                fontVariant: "tabular-nums",
              },
            ),
          ]
        : []),
      plot.axisX({
        anchor: "top",
        tickSize: 0,
        tickFormat: shown,
        label: null,
        color: ink,
        ...(slanted ? { tickRotate: -40 } : {}),
      }),
      plot.axisY({ tickSize: 0, tickFormat: shown, label: null, color: ink }),
      plot.text(["predicted"], { frameAnchor: "top", dy: -top + 10, fill: quiet, fontWeight: 600 }),
      plot.text(["true"], { frameAnchor: "left", dx: -left + 10, rotate: -90, fill: quiet, fontWeight: 600 }),
    ],
    ...titled(options.title),
  }));
}

/** One picture of a grid. */
interface Tile extends Picture {
  readonly caption?: readonly string[];
  readonly note?: string;
}

/** Rows of pictures of one size, with captions below and optionally a label before each row. */
async function grid(
  rows: readonly { readonly label?: string; readonly tiles: readonly Tile[] }[],
  side: number,
  title: string | undefined,
): Promise<string> {
  const tiles = rows.flatMap((row, r) => row.tiles.map((tile, c) => ({ ...tile, r, c })));
  const captionLines = Math.max(0, ...tiles.map((t) => t.caption?.length ?? 0));
  const rowHeight = side + captionLines * 14 + (captionLines > 0 ? 10 : 6);
  const labels = rows.some((row) => row.label !== undefined);
  const left = labels ? 12 + Math.max(...rows.map((row) => row.label?.length ?? 0)) * 6.2 : 4;
  const columns = Math.max(1, ...rows.map((row) => row.tiles.length));
  const columnWidth = side + (captionLines > 0 ? 18 : 6);
  const width = left + columns * columnWidth + 4;
  const height = rows.length * rowHeight + 8;
  return draw((plot: Plot) => ({
    width,
    height,
    margin: 0,
    x: { axis: null, domain: [0, width], range: [0, width] },
    y: { axis: null, domain: [0, height], range: [0, height] },
    marks: [
      plot.image(tiles, {
        x: (t: { c: number }) => left + t.c * columnWidth + side / 2,
        y: (t: { r: number }) => 4 + t.r * rowHeight + side / 2,
        src: "source",
        width: side,
        height: side,
        preserveAspectRatio: "xMidYMid meet",
        imageRendering: "pixelated",
        title: (t: Tile) => t.note ?? t.caption?.join("\n") ?? "",
      }),
      ...Array.from({ length: captionLines }, (_, line) =>
        plot.text(tiles, {
          x: (t: { c: number }) => left + t.c * columnWidth + side / 2,
          y: (t: { r: number }) => 4 + t.r * rowHeight + side + 10 + 14 * line,
          text: (t: Tile) => t.caption?.[line] ?? "",
          fill: line === 0 ? ink : quiet,
          fontWeight: line === 0 ? 600 : 400,
        }),
      ),
      ...(labels
        ? [
            plot.text(rows, {
              x: left - 10,
              y: (_: unknown, r: number) => 4 + r * rowHeight + side / 2,
              text: (row: { label?: string }) => row.label ?? "",
              textAnchor: "end",
              fill: quiet,
            }),
          ]
        : []),
    ],
    ...titled(title),
  }));
}

/** Cuts a list into rows. */
function inRows<T>(list: readonly T[], columns: number): T[][] {
  return Array.from({ length: Math.ceil(list.length / columns) }, (_, r) => list.slice(r * columns, (r + 1) * columns));
}

export interface FiltersOptions extends FigureOptions {
  /** Filters shown at most; default 32. */
  readonly limit?: number;
  /** Filters in a row; default 8 (for many input channels: channels in a row, default 12). */
  readonly columns?: number;
}

/**
 * Learned filters, weight [out, in, height, width] (or [out, in, size]). One input channel: each filter from blue (negative)
 * over white to red, on one scale; three: each in colour; more: a row for each filter, its first channels side by side.
 */
export async function filters(weight: Tensor, options: FiltersOptions = {}): Promise<string> {
  checkOptions("filters", options, ["title", "width", "limit", "columns"]);
  const limit = checkInteger("filters", "limit", options.limit ?? 32, 1);
  if (!isTensor(weight) || (weight.rank !== 4 && weight.rank !== 3) || weight.numel() === 0)
    throw new ShapeError(
      `filters: weight must be [out, in, height, width], got ${isTensor(weight) ? format(weight.shape) : describe(weight)}`,
    );
  const [out, channels] = weight.shape as [number, number];
  const [height, width] = weight.rank === 4 ? (weight.shape.slice(2) as [number, number]) : [1, weight.shape[2]!];
  const values = weight.data();
  const size = height * width;
  const { low, high } = rangeOf(values);
  const most = Math.max(Math.abs(low), Math.abs(high));
  const one = (filter: number, channel: number): Tile => {
    const first = (filter * channels + channel) * size;
    const part = values.subarray(first, first + size);
    return {
      ...matrixPicture(part, height, width, diverging, { low: -most, high: most }),
      note: `filter ${filter}, channel ${channel}`,
    };
  };
  if (channels === 1) {
    const tiles = Array.from({ length: Math.min(out, limit) }, (_, i) => one(i, 0));
    return grid(
      inRows(tiles, options.columns ?? 8).map((row) => ({ tiles: row })),
      56,
      options.title,
    );
  }
  if (channels === 3) {
    const tiles = Array.from({ length: Math.min(out, limit) }, (_, i) => ({
      ...imagePicture(weight.select(0, i).reshape([3, height, width])),
      note: `filter ${i}`,
    }));
    return grid(
      inRows(tiles, options.columns ?? 8).map((row) => ({ tiles: row })),
      56,
      options.title,
    );
  }
  const rows = Array.from({ length: Math.min(out, limit, 8) }, (_, i) => ({
    label: `filter ${i}`,
    tiles: Array.from({ length: Math.min(channels, options.columns ?? 12) }, (_, c) => one(i, c)),
  }));
  return grid(rows, 34, options.title);
}

/** A layer's output for one image. */
export interface LayerOutput {
  readonly name: string;
  /** [channels, height, width] */
  readonly output: Tensor;
}

/**
 * What layers make of an image: the image, then the first channels of each layer's output, dark (least) to light (largest)
 * by layer.
 */
export async function featureMaps(
  image: Tensor,
  layers: readonly LayerOutput[],
  options: FigureOptions & { readonly channels?: number } = {},
): Promise<string> {
  checkOptions("featureMaps", options, ["title", "width", "channels"]);
  const most = checkInteger("featureMaps", "channels", options.channels ?? 8, 1);
  if (!isTensor(image)) throw new ArgumentError(`featureMaps: image must be a tensor, got ${describe(image)}`);
  if (!Array.isArray(layers) || !layers.every((layer) => isTensor((layer as LayerOutput | undefined)?.output)))
    throw new ArgumentError(`featureMaps: layers must be a list of { name, output }, got ${describe(layers)}`);
  const rows = (layers as readonly LayerOutput[]).map(({ name, output }) => {
    if (output.rank !== 3)
      throw new ShapeError(
        `featureMaps: the output of ${name} must be [channels, height, width], got ${format(output.shape)}`,
      );
    const [channels, height, width] = output.shape as [number, number, number];
    const values = output.data();
    const range = rangeOf(values);
    const tiles = Array.from({ length: Math.min(channels, most) }, (_, c) => ({
      ...matrixPicture(values.subarray(c * height * width, (c + 1) * height * width), height, width, viridis, range),
      note: `${name}, channel ${c} of ${channels}`,
    }));
    return { label: name, tiles };
  });
  return grid([{ label: "input", tiles: [imagePicture(image)] }, ...rows], 54, options.title);
}

/** A sample that was taken for another class. */
export interface Mistake {
  readonly image: Tensor;
  readonly actual: number;
  readonly predicted: number;
  /** Probability that the model gave its answer. */
  readonly confidence: number;
}

/** Misclassified samples with what they are and what they were taken for. */
export async function misclassified(
  mistakes: readonly Mistake[],
  options: FigureOptions & { readonly classes?: readonly string[]; readonly columns?: number } = {},
): Promise<string> {
  checkOptions("misclassified", options, ["title", "width", "classes", "columns"]);
  const name = (label: number): string => options.classes?.[label] ?? String(label);
  if (!Array.isArray(mistakes) || !mistakes.every((each) => isTensor((each as Mistake | undefined)?.image)))
    throw new ArgumentError(
      `misclassified: mistakes must be a list of { image, actual, predicted, confidence }, got ${describe(mistakes)}`,
    );
  const tiles = (mistakes as readonly Mistake[]).map(({ image, actual, predicted, confidence }) => ({
    ...imagePicture(image),
    caption: [`${name(predicted)} (${(100 * confidence).toFixed(0)} %)`, `is ${name(actual)}`],
  }));
  return grid(
    inRows(tiles, options.columns ?? 8).map((row) => ({ tiles: row })),
    74,
    options.title,
  );
}
