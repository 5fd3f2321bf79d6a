// @ts-check
import { inspect } from "node:util";
import * as xcorr from "../../dist/index.js";
import { registry } from "../../dist/ops/define.js";

/** Runs examples, and notes which ops of the registry they call. */

/** @typedef {import("../../dist/index.js").Tensor} Tensor */

/**
 * @typedef {object} Outcome
 * @property {string} code as shown
 * @property {string} output what is printed; "" for undefined
 * @property {string[]} ops the ops that the last line called directly, in order
 * @property {string} picture matrices side by side, or ""
 */

/** Ops called by user code; those inside composite ops are not listed. @type {string[]} */
let called = [];
let inside = 0;
let listening = false;
for (const op of registry.values()) {
  const definition = /** @type {{ forward: (...given: unknown[]) => unknown }} */ (
    /** @type {unknown} */ (op.definition)
  );
  const { forward } = definition;
  definition.forward = (...given) => {
    if (listening && inside === 0 && !called.includes(op.definition.name)) called.push(op.definition.name);
    inside++;
    try {
      return forward(...given);
    } finally {
      inside--;
    }
  };
}

const names = Object.keys(xcorr).filter((name) => name !== "var");
/** @type {new (...given: string[]) => (...given: unknown[]) => Promise<Record<string, any>>} */
const AsyncFunction = /** @type {any} */ (async () => {}).constructor;

/** Statements, and the expression on the last line with the comment behind it. @param {string} code */
function parts(code) {
  const lines = code.split("\n");
  const last = (lines.pop() ?? "").replace(/\s*\/\/.*$/, "").replace(/;$/, "");
  return { statements: lines.join("\n"), expression: last };
}

/**
 * @param {import("./examples.mjs").Example} example
 * @returns {Promise<Outcome>}
 */
export async function evaluate(example) {
  const { code, picture = "" } = typeof example === "string" ? { code: example, picture: "" } : example;
  const { statements, expression } = parts(code);
  const shown = picture.split(" ").filter((word) => /^\w+$/.test(word) && word !== "result");
  const body = `"use strict";\n${statements}\nlisten();\nconst result = ${expression};\nreturn { result, ${shown.join(", ")} };`;
  const backend = xcorr.getBackend();
  const threads = xcorr.getNumThreads();
  const target = xcorr.getTarget();
  called = [];
  try {
    const run = new AsyncFunction("xcorr", "listen", ...names, body);
    const values = await run(xcorr, () => (listening = true), ...names.map((name) => /** @type {any} */ (xcorr)[name]));
    listening = false;
    const output = values.result === undefined ? "" : inspect(values.result, { depth: 6, breakLength: 100 });
    return { code, output, ops: called, picture: picture === "" ? "" : draw(picture, values) };
  } finally {
    listening = false;
    xcorr.setBackend(backend);
    xcorr.setNumThreads(threads);
    if (backend === "native") xcorr.setTarget(target);
    xcorr.setPrecision("default");
    xcorr.setMemoryLimit(Infinity);
  }
}

/** A number with at most 4 decimals. @param {number} value */
function short(value) {
  return Number.isInteger(value) ? String(value) : String(Number(value.toFixed(4)));
}

/** The rows of a tensor as text; channels one below the other. @param {Tensor} t @returns {string[]} */
function matrix(t) {
  const width = t.shape.at(-1) ?? 1;
  const height = t.rank > 1 ? (t.shape.at(-2) ?? 1) : 1;
  const cells = [...t.data()].map(short);
  const wide = Math.max(...cells.map((c) => c.length));
  const rows = [];
  for (let at = 0; at < cells.length; at += width) {
    if (at > 0 && (at / width) % height === 0) rows.push("");
    rows.push(
      cells
        .slice(at, at + width)
        .map((c) => c.padStart(wide))
        .join(" "),
    );
  }
  return rows;
}

/**
 * Matrices side by side under their names and shapes, with the signs between them at half height.
 * @param {string} picture
 * @param {Record<string, Tensor>} values
 */
function draw(picture, values) {
  const blocks = picture.split(" ").map((word) => {
    const value = values[word];
    if (value === undefined) return { head: "", rows: [word] };
    return { head: `${word} [${value.shape.join(", ")}]`, rows: matrix(value) };
  });
  const height = Math.max(...blocks.map((b) => b.rows.length));
  const lines = Array.from({ length: height + 1 }, () => "");
  for (const { head, rows } of blocks) {
    const wide = Math.max(head.length, ...rows.map((r) => r.length));
    const above = Math.floor((height - rows.length) / 2);
    for (let i = 0; i <= height; i++) {
      const text = i === 0 ? head : (rows[i - 1 - above] ?? "");
      lines[i] += `${text.padEnd(wide)}   `;
    }
  }
  return lines.map((line) => line.trimEnd()).join("\n");
}
