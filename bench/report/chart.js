// @ts-check
/** A chart of ratios as SVG: one bar a case, on a logarithmic axis, so that half and double lie equally far from 1. */
import { geometricMean, ratioOf } from "./summary.js";

/** @import { CaseResult } from "../types.js" */

const row = 15;
const left = 330;
const right = 60;
const width = 900;
const top = 52;

/** @param {string} text */
const escaped = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

/**
 * @param {string} title
 * @param {CaseResult[]} results
 * @param {string} rival
 * @returns {string | null} Null if there is nothing to draw.
 */
export function chart(title, results, rival) {
  const bars = results
    .map((each) => ({ name: each.name, ratio: ratioOf(each, rival) }))
    .filter((bar) => bar.ratio !== null)
    .map(({ name, ratio }) => ({ name, ratio: /** @type {number} */ (ratio) }));
  if (bars.length === 0) return null;
  const low = Math.min(0.5, ...bars.map((bar) => bar.ratio));
  const high = Math.max(2, ...bars.map((bar) => bar.ratio));
  const scale = (width - left - right) / Math.log(high / low);
  const at = (/** @type {number} */ ratio) => left + Math.log(ratio / low) * scale;
  const height = top + bars.length * row + 24;
  const ticks = [0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 100, 300, 1000, 3000, 10000].filter((t) => t >= low && t <= high);
  const mean = geometricMean(bars.map((bar) => bar.ratio));
  const lines = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${width}" height="${height}" fill="white"/>`,
    `<text x="12" y="20" font-size="14" font-weight="bold">${escaped(title)}</text>`,
    `<text x="12" y="38" fill="#555">Time of ${escaped(rival)} / time of xcorr; right of 1 xcorr is faster. Geometric mean ${mean.toFixed(2)}.</text>`,
  ];
  for (const tick of ticks) {
    const x = at(tick).toFixed(1);
    lines.push(
      `<line x1="${x}" y1="${top - 6}" x2="${x}" y2="${height - 20}" stroke="${tick === 1 ? "#333" : "#ddd"}"/>`,
    );
    lines.push(`<text x="${x}" y="${height - 6}" text-anchor="middle" fill="#555">${tick}</text>`);
  }
  for (const [i, { name, ratio }] of bars.entries()) {
    const y = top + i * row;
    const [from, to] = ratio >= 1 ? [at(1), at(ratio)] : [at(ratio), at(1)];
    lines.push(`<text x="${left - 8}" y="${y + 10}" text-anchor="end">${escaped(name)}</text>`);
    lines.push(
      `<rect x="${from.toFixed(1)}" y="${y + 1}" width="${Math.max(1, to - from).toFixed(1)}" height="${row - 4}" fill="${ratio >= 1 ? "#2b7bba" : "#d1603d"}"/>`,
    );
    lines.push(
      `<text x="${(at(Math.max(1, ratio)) + 4).toFixed(1)}" y="${y + 10}" fill="#333">${ratio.toFixed(2)}</text>`,
    );
  }
  return `${[...lines, "</svg>"].join("\n")}\n`;
}
