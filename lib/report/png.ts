import { ArgumentError } from "../core/errors.js";
import { checkOptions } from "../core/options.js";
import { describe } from "../core/shape.js";

/**
 * A figure as a PNG file, drawn by resvg (an optional peer dependency).
 * @param svg what a function of `report` gave
 */
export async function toPng(svg: string, options: { readonly scale?: number } = {}): Promise<Uint8Array> {
  checkOptions("toPng", options, ["scale"]);
  if (typeof svg !== "string")
    throw new ArgumentError(`toPng: svg must be what a function of report gave, got ${describe(svg)}`);
  const name = "@resvg/resvg-js";
  let resvg: { Resvg: new (svg: string, options: object) => { render(): { asPng(): Uint8Array } } };
  try {
    resvg = (await import(name)) as typeof resvg;
  } catch (error) {
    throw new ArgumentError(
      `toPng: needs the package @resvg/resvg-js: npm install @resvg/resvg-js (${(error as Error).message.split("\n")[0]})`,
    );
  }
  // It knows currentColor but not Plot's style rules: the colour is said on the root.
  const coloured = svg.replace("<svg ", '<svg color="#1f2933" ');
  return new resvg.Resvg(coloured, {
    fitTo: { mode: "zoom", value: options.scale ?? 2 },
    background: "white",
    font: { loadSystemFonts: true, defaultFontFamily: "Liberation Sans" },
  })
    .render()
    .asPng();
}
