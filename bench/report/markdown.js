// @ts-check
/** RESULTS.md and the charts, from all result files. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { chart } from "./chart.js";
import { evaluate } from "./summary.js";
import { busy, busyWarning, mib, time } from "./table.js";

/** @import { CaseResult } from "../types.js" */

/**
 * @typedef {object} Run
 * @property {string} file
 * @property {string} suite
 * @property {string} machine
 * @property {string} target
 * @property {string} commit
 * @property {string} command
 * @property {string} date
 * @property {number} bandwidth
 * @property {number} [load]
 * @property {Record<string, number>} peaks
 * @property {Record<string, string>} [about]
 * @property {Record<string, string>} [missing]
 * @property {{ contender: string, peak: number, before: number }[]} [memory]
 * @property {CaseResult[]} cases
 */

/**
 * @param {string[]} head
 * @param {string[][]} rows
 */
const table = (head, rows) => [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`);

/** @param {Run} run */
function about(run) {
  const rates = Object.entries(run.peaks).map(
    ([threads, peak]) => `${(peak / 1e9).toFixed(0)} GFLOP/s with ${threads} thread${threads === "1" ? "" : "s"}`,
  );
  return [
    `- ${run.date.slice(0, 16).replace("T", " ")} UTC, commit ${run.commit}, \`${run.command}\``,
    `- ${run.machine}, ${run.target}`,
    ...(rates.length > 0
      ? [`- FMA peak ${rates.join(", ")}; copying ${(run.bandwidth / 1e9).toFixed(1)} GB/s read and written`]
      : []),
    ...(run.load !== undefined && run.load > busy ? [`- **${busyWarning(run.load)}**`] : []),
    ...Object.values(run.about ?? {}).map((text) => `- ${text}`),
    ...Object.entries(run.missing ?? {}).map(([name, reason]) => `- **missing**: ${name}: ${reason}`),
  ];
}

/** @param {CaseResult[]} cases */
function caseTable(cases) {
  const contenders = [...new Set(cases.flatMap((each) => each.timings.map((t) => t.contender)))];
  const rivals = [...new Set(cases.flatMap((each) => each.ratios.map((r) => r.rival)))];
  const rows = cases.map((each) => {
    const mine = each.timings[0];
    const rate = each.operations > 0 && mine ? (each.operations / mine.seconds / 1e9).toFixed(0) : "";
    return [
      each.name,
      String(each.threads),
      ...contenders.map((name) => {
        const t = each.timings.find((one) => one.contender === name);
        return t ? time(t.seconds) + (t.disturbed ? " *" : "") : "";
      }),
      rate,
      ...rivals.map((rival) => {
        const r = each.ratios.find((one) => one.rival === rival);
        if (r === undefined) return "";
        const text = `${r.ratio.toFixed(2)} (${r.low.toFixed(2)} to ${r.high.toFixed(2)})`;
        return r.counts ? text : `(${text})`;
      }),
      mine ? `${mine.kept}/${mine.total}` : "",
    ];
  });
  return table(["case", "threads", ...contenders, "our GFLOP/s", ...rivals.map((r) => `${r} / xcorr`), "kept"], rows);
}

/** @param {Run[]} runs */
function memoryLines(runs) {
  const rows = runs.flatMap((run) => {
    const ours = run.memory?.find((row) => row.contender === "xcorr");
    return (run.memory ?? []).map((row) => [
      row.contender,
      mib(row.peak),
      mib(row.peak - row.before),
      ours ? (ours.peak / row.peak).toFixed(2) : "",
      ours ? ((ours.peak - ours.before) / (row.peak - row.before)).toFixed(2) : "",
    ]);
  });
  return table(
    [
      "CIFAR ResNet-18 training step, batch 32",
      "most memory held",
      "beyond the start",
      "ours / theirs",
      "ours / theirs beyond the start",
    ],
    rows,
  );
}

/** @param {string} folder Where the result files are; RESULTS.md lies beside it. */
export function writeReport(folder) {
  /** @type {Run[]} */
  const runs = readdirSync(folder)
    .filter((name) => name.endsWith(".json"))
    .sort()
    .map((file) => ({ file, ...JSON.parse(readFileSync(join(folder, file), "utf8")) }));
  const lines = [
    "# Results of the bench",
    "",
    "Written by `npm run bench`; how it measures is in [README.md](README.md). Ratios are time of theirs / time of ours: above 1 xcorr is faster.",
    "",
    "## What was set out, and what was measured",
    "",
    ...table(
      ["", "against", "set out", "measured", "", "target, threads", "cases", "of these disturbed"],
      evaluate(runs.flatMap((run) => run.cases)).map((row) => [
        row.what,
        row.rival,
        row.least,
        row.measured,
        `${row.met ? "reached" : "**below**"}${2 * row.disturbed > row.cases ? ", but disturbed" : ""}`,
        `${row.target}, ${row.threads}`,
        String(row.cases),
        String(row.disturbed),
      ]),
    ),
    "",
  ];
  const memory = runs.filter((run) => run.memory !== undefined);
  if (memory.length > 0) lines.push("## Memory", "", ...memory.flatMap(about), "", ...memoryLines(memory), "");
  for (const run of runs.filter((each) => each.memory === undefined)) {
    const name = basename(run.file, ".json");
    lines.push(`## ${name}`, "", ...about(run), "");
    for (const rival of new Set(run.cases.flatMap((each) => each.ratios.map((r) => r.rival)))) {
      const threads = Math.max(...run.cases.map((each) => each.threads));
      const drawn = chart(
        `${run.suite}, ${run.target}, ${threads} thread${threads > 1 ? "s" : ""}: ${rival} / xcorr`,
        run.cases.filter((each) => each.threads === threads),
        rival,
      );
      if (drawn === null) continue;
      writeFileSync(join(folder, `${name}-${rival}.svg`), drawn);
      lines.push(`![ratios](results/${name}-${rival}.svg)`, "");
    }
    lines.push(...caseTable(run.cases), "");
    const refused = run.cases.flatMap((each) =>
      Object.entries(each.refused).map(([who, why]) => `- ${each.name}: ${who}: ${why}`),
    );
    if (refused.length > 0) lines.push("Not raced:", "", ...new Set(refused), "");
  }
  lines.push(
    "`*`: fewer undisturbed samples than asked for. Ratios in brackets do not count: the rival is known not to run at its best there.",
    "",
  );
  writeFileSync(join(dirname(folder), "RESULTS.md"), lines.join("\n"));
}
