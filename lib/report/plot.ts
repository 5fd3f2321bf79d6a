import { ArgumentError } from "../core/errors.js";

/** Figures as SVG, drawn by Observable Plot into the light DOM of linkedom; both are optional peer dependencies. */

/** What is used of Plot: plot() and its marks. */
// biome-ignore lint/suspicious/noExplicitAny: the types of an optional package must not be needed to compile against this one
export type Plot = any;

interface Drawing {
  readonly plot: Plot;
  readonly document: unknown;
}

let loaded: Promise<Drawing> | undefined;

async function load(): Promise<Drawing> {
  const [plotName, domName] = ["@observablehq/plot", "linkedom"];
  try {
    const plot = (await import(plotName)) as Plot;
    const { parseHTML } = (await import(domName)) as { parseHTML(html: string): { document: unknown } };
    return { plot, document: parseHTML("<!doctype html><html><body></body></html>").document };
  } catch (error) {
    loaded = undefined;
    throw new ArgumentError(
      `report: drawing needs two packages: npm install @observablehq/plot linkedom (${(error as Error).message.split("\n")[0]})`,
    );
  }
}

/** Ink, quiet ink, lines, and one colour per series (Okabe and Ito's order, without yellow, which white swallows). */
export const ink = "#1f2933";
export const quiet = "#66727f";
export const lines = "#e4e8ec";
export const palette: readonly string[] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#5b5b5b"];
const fonts = "Inter, 'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif";

/** Draws what `options(Plot)` describes; the result is a whole SVG document. */
export async function draw(options: (plot: Plot) => Record<string, unknown>): Promise<string> {
  loaded ??= load();
  const { plot, document } = await loaded;
  const given = options(plot);
  const svg = plot.plot({
    document,
    style: { fontFamily: fonts, fontSize: "11px", color: ink, background: "white", overflow: "visible" },
    ...given,
  }) as { setAttribute(name: string, value: string): void; outerHTML: string };
  svg.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  svg.setAttribute("xmlns:xlink", "http://www.w3.org/1999/xlink");
  svg.setAttribute("role", "img");
  return svg.outerHTML;
}

/** A legend above the frame: a dot and a name for each series, in one line. */
export function legend(plot: Plot, names: readonly string[], colours: readonly string[]): unknown[] {
  let at = 0;
  return names.flatMap((name, i) => {
    const dx = at;
    at += 26 + name.length * 6.2;
    return [
      plot.dot([0], { frameAnchor: "top-left", dx: dx + 5, dy: -16, r: 4.5, fill: colours[i] }),
      plot.text([name], { frameAnchor: "top-left", dx: dx + 14, dy: -16, fill: ink, lineAnchor: "middle" }),
    ];
  });
}
