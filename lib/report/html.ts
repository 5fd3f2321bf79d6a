/** The page's frame: everything in one file, nothing from the network. */

const entities: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

export function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (c) => entities[c]!);
}

export interface Section {
  readonly id: string;
  readonly title: string;
  /** A sentence under the heading. */
  readonly lead?: string;
  /** HTML. */
  readonly body: string;
}

export function figure(svg: string, caption: string, name: string): string {
  return `<figure data-figure="${escaped(name)}"><figcaption>${escaped(caption)}</figcaption><div class="drawing">${svg}</div></figure>`;
}

export function table(head: readonly string[], rows: readonly (readonly string[])[], numbersFrom: number): string {
  const cell = (tag: string, text: string, i: number): string =>
    `<${tag}${i >= numbersFrom ? ' class="number"' : ""}>${escaped(text)}</${tag}>`;
  const line = (tag: string, cells: readonly string[]): string =>
    `<tr>${cells.map((c, i) => cell(tag, c, i)).join("")}</tr>`;
  return `<div class="scroll"><table><thead>${line("th", head)}</thead><tbody>${rows.map((r) => line("td", r)).join("\n")}</tbody></table></div>`;
}

export function pairs(list: readonly (readonly [string, string])[]): string {
  return `<dl>${list.map(([k, v]) => `<div><dt>${escaped(k)}</dt><dd>${escaped(v)}</dd></div>`).join("\n")}</dl>`;
}

const style = `
:root { color-scheme: light; --ink: #1f2933; --quiet: #66727f; --line: #e4e8ec; --paper: #f6f8fa; --accent: #0072b2; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.55 Inter, "Helvetica Neue", Helvetica, Arial, "Liberation Sans", "DejaVu Sans", sans-serif; }
header, main, footer { max-width: 1240px; margin: 0 auto; padding: 0 28px; }
header { padding-top: 44px; }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 6px; letter-spacing: -0.01em; }
header p { margin: 0; color: var(--quiet); }
nav { margin: 18px 0 0; display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 14px; }
nav a { color: var(--accent); text-decoration: none; }
nav a:hover { text-decoration: underline; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 14px; margin: 26px 0 0; }
.tile { background: white; border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px; }
.tile b { display: block; font-size: 24px; font-weight: 600; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tile span { color: var(--quiet); font-size: 13px; }
section { margin: 40px 0 0; }
h2 { font-size: 20px; margin: 0 0 4px; letter-spacing: -0.01em; }
.lead { margin: 0 0 14px; color: var(--quiet); }
.figures { display: flex; flex-wrap: wrap; gap: 16px; align-items: flex-start; }
figure { margin: 0; background: white; border: 1px solid var(--line); border-radius: 10px; padding: 14px 18px 16px; max-width: 100%; }
figcaption { font-weight: 600; font-size: 14px; margin-bottom: 8px; }
.drawing { overflow-x: auto; }
.drawing svg { display: block; max-width: none; }
.scroll { overflow-x: auto; background: white; border: 1px solid var(--line); border-radius: 10px; padding: 4px 18px 8px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; color: var(--quiet); font-weight: 500; border-bottom: 1px solid var(--line); }
th, td { padding: 7px 14px 7px 0; white-space: nowrap; }
td { border-bottom: 1px solid #f0f3f5; }
tbody tr:last-child td { border-bottom: 0; }
.number { text-align: right; font-variant-numeric: tabular-nums; padding-right: 0; padding-left: 14px; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); gap: 16px; }
dl { margin: 0; background: white; border: 1px solid var(--line); border-radius: 10px; padding: 8px 18px; font-size: 14px; }
dl div { display: flex; gap: 16px; justify-content: space-between; padding: 6px 0; border-bottom: 1px solid #f0f3f5; }
dl div:last-child { border-bottom: 0; }
dt { color: var(--quiet); }
dd { margin: 0; text-align: right; overflow-wrap: anywhere; }
footer { color: var(--quiet); font-size: 13px; padding-top: 36px; padding-bottom: 44px; }
@media print { body { background: white; } figure, .tile, dl, .scroll { break-inside: avoid; } nav { display: none; } }
`;

export function page(
  title: string,
  lead: string,
  tiles: readonly (readonly [value: string, label: string])[],
  sections: readonly Section[],
  footer: string,
): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title>
<style>${style}</style>
</head>
<body>
<header>
<h1>${escaped(title)}</h1>
<p>${escaped(lead)}</p>
<nav>${sections.map((s) => `<a href="#${s.id}">${escaped(s.title)}</a>`).join("")}</nav>
<div class="tiles">${tiles.map(([v, l]) => `<div class="tile"><b>${escaped(v)}</b><span>${escaped(l)}</span></div>`).join("")}</div>
</header>
<main>
${sections
  .map(
    (s) =>
      `<section id="${s.id}">\n<h2>${escaped(s.title)}</h2>\n<p class="lead">${escaped(s.lead ?? "")}</p>\n${s.body}\n</section>`,
  )
  .join("\n")}
</main>
<footer>${escaped(footer)}</footer>
</body>
</html>
`;
}
