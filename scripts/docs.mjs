// @ts-check
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { registry } from "../dist/ops/define.js";
import { evaluate } from "./docs/evaluate.mjs";
import { examples } from "./docs/examples.mjs";
import { pages, withoutOps } from "./docs/pages.mjs";
import { declarations, exportedOpFiles, fields, methodNames, namedExports, oneLine, types } from "./docs/source.mjs";

/**
 * Makes docs/ops: a page per family and an index by name, from the docstrings and types in lib/, the registry and the
 * examples, which are run. `node scripts/docs.mjs` writes them, `--check` only says which differ. Needs dist/.
 */

/** @typedef {import("./docs/source.mjs").Declaration} Declaration */
/** @typedef {Declaration & { shown: string, page: import("./docs/pages.mjs").Page }} Entry */

const folder = fileURLToPath(new URL("../docs/ops/", import.meta.url));
const knownTypes = types();
const methods = methodNames();
const faults = /** @type {string[]} */ ([]);

/** The public functions of a page, in the order of its sources. @param {import("./docs/pages.mjs").Page} page @returns {Entry[]} */
function entriesOf(page) {
  const chosen = namedExports();
  return page.sources.flatMap((file) =>
    declarations(file)
      .filter((d) => d.exported && !d.internal && d.kind !== "interface" && d.kind !== "type")
      .filter((d) => file.startsWith("ops/") || chosen.some((c) => c.file === file && c.name === d.name))
      .map((d) => ({ ...d, page, shown: page.namespace === undefined ? d.name : `${page.namespace}.${d.name}` })),
  );
}

/** GitHub's anchor of a heading. @param {string} heading */
function anchor(heading) {
  return heading
    .toLowerCase()
    .replace(/[^\w\- ]/g, "")
    .replaceAll(" ", "-");
}

/** Text in lines of at most 118 characters, none of which begins like a list. @param {string} text @param {string} indent */
function wrap(text, indent = "") {
  const lines = [];
  let line = "";
  for (const word of text.split(/\s+/)) {
    if (line !== "" && line.length + word.length > 117 - indent.length && !/^([-+*>#=|]|\d+[.)])/.test(word)) {
      lines.push(line);
      line = "";
    }
    line += line === "" ? word : ` ${word}`;
  }
  lines.push(line);
  return lines.join(`\n${indent}`);
}

/** Markdown of a docstring: paragraphs, then shapes and errors by name. @param {string} doc */
function prose(doc) {
  const [text = "", ...tags] = doc.split(/^(?=@)/m);
  const parts = text
    .trim()
    .split(/\n\n+/)
    .map((paragraph) => {
      if (/^ {4}/.test(paragraph)) return paragraph;
      if (/\n {2,}\S/.test(paragraph)) return `\`\`\`text\n${paragraph}\n\`\`\``;
      const shapes = paragraph.startsWith("Shapes: ");
      return wrap(shapes ? `**Shapes:** ${plain(paragraph.slice(8))}` : plain(paragraph));
    });
  for (const tag of tags) {
    const [, name = "", rest = ""] = /^@(\w+) ([\s\S]*)$/.exec(tag.trim()) ?? [];
    const said = rest.replace(/\s+/g, " ").replace(/\{(\w+)\}/g, "`$1`");
    const heads = { throws: "**Errors:**", returns: "**Returns:**", param: "**Argument**" };
    const head = heads[/** @type {keyof typeof heads} */ (name)];
    if (head === undefined) throw new Error(`docstring tag @${name} is not known to the docs`);
    parts.push(wrap(`${head} ${plain(said)}`));
  }
  return parts.join("\n\n");
}

/** Signs that Markdown would take for its own. @param {string} text */
function plain(text) {
  return text
    .split(/(`[^`]*`)/)
    .map((part) => (part.startsWith("`") ? part : part.replace(/<|(?<=\S)\*|\*(?=\S)/g, (sign) => `\\${sign}`)))
    .join("");
}

/** What can be written in code: overloads, with types that only the file knows spelled out. @param {Entry} entry */
function signatures(entry) {
  return entry.signatures.map((signature) => {
    const inPlace = /^(\w+): InPlace<\[(.*)\]>$/.exec(signature);
    if (inPlace !== null) {
      const rest = inPlace[2] === "" ? "" : `, ${inPlace[2]}`;
      return `${inPlace[1]}<D extends DType>(x: Tensor<D>${rest}): Tensor<D>`;
    }
    const unary = /^(\w+): Unary$/.exec(signature);
    if (unary !== null) return `${unary[1]}<D extends DType>(x: Tensor<D>): Tensor<D>`;
    const same = /^(\w+): typeof (\w+)$/.exec(signature);
    if (same !== null) {
      const of = declarations(entry.file).find((d) => d.name === same[2]);
      return (of?.signatures[0] ?? signature).replace(same[2] ?? "", same[1] ?? "");
    }
    return signature;
  });
}

/** Types named in signatures or in other types that this page explains. @param {string[]} texts @returns {Declaration[]} */
function namedTypes(texts) {
  /** @type {Map<string, Declaration>} */
  const found = new Map();
  const common = ["Tensor", "Shape", "DType", "FloatDType", "NestedList", "Node", "Gradient"];
  const look = (/** @type {string} */ text) => {
    for (const [word] of text.matchAll(/\b[A-Z]\w+\b/g)) {
      const type = knownTypes.get(word);
      if (type === undefined || type.internal || common.includes(word) || found.has(word)) continue;
      found.set(word, type);
      look(type.body.join("\n").replace(/\/\*\*[\s\S]*?\*\//g, ""));
    }
  };
  for (const text of texts) look(text);
  return [...found.values()];
}

/** The section on one type: its fields, or what it stands for. @param {Declaration} type */
function typeSection(type) {
  const lines = [`### ${type.name}`, ""];
  if (type.doc !== "") lines.push(prose(type.doc), "");
  if (type.kind === "type") {
    lines.push("```ts", oneLine(type.body.join("\n").replace(/^export /, "")), "```", "");
    return lines.join("\n");
  }
  const parent = / extends (.+?) \{/.exec(oneLine(type.body.join("\n")))?.[1];
  if (parent !== undefined) lines.push(`Also what \`${parent}\` has.`, "");
  for (const field of fields(type)) {
    const said = field.doc === "" ? "" : `: ${plain(field.doc)}`;
    lines.push(`- ${wrap(`\`${field.name}\` (\`${field.type}\`)${said}`, "  ")}`);
  }
  if (lines.at(-1) !== "") lines.push("");
  return lines.join("\n");
}

/** What the registry says of an op. @param {string} name */
function derivesOf(name) {
  const definition = registry.get(name)?.definition;
  if (definition === undefined) throw new Error(`no op ${name}`);
  const inputs = /** @type {readonly string[]} */ (definition.inputs);
  const { gradAll, grad } = definition;
  return inputs.filter((input) =>
    gradAll === undefined ? grad !== undefined && input in grad : (gradAll.inputs?.includes(input) ?? true),
  );
}

/** @param {string[]} ops */
function opLine(ops) {
  if (ops.length === 0) return "";
  const links = ops.map((name) => `[\`${name}\`](registry.md)`);
  if (ops.length > 1) return wrap(`The example is computed by the ops ${links.join(", ")}.`);
  const derives = derivesOf(ops[0] ?? "");
  const said =
    derives.length === 0 ? "without a derivative" : `differentiable in ${derives.map((d) => `\`${d}\``).join(", ")}`;
  return `The op ${links[0]}, ${said}.`;
}

/** @param {Entry} entry */
async function section(entry) {
  const lines = [`## ${entry.shown}`, ""];
  const what = signatures(entry);
  if (entry.kind === "class") lines.push("```ts", `class ${entry.name}`, "```", "");
  else lines.push("```ts", ...what, "```", "");
  if (entry.doc === "") faults.push(`${entry.shown} (${entry.file}) has no docstring`);
  else lines.push(prose(entry.doc), "");
  const used = namedTypes(what);
  if (used.length > 0)
    lines.push(wrap(`Types: ${used.map((t) => `[\`${t.name}\`](#${anchor(t.name)})`).join(", ")}.`), "");
  if (methods.has(entry.name) && entry.page.namespace === undefined)
    lines.push(`Also a method: \`x.${entry.name}(...)\`.`, "");
  const example = examples[entry.shown];
  if (example === undefined) {
    faults.push(`${entry.shown} (${entry.file}) has no example in scripts/docs/examples.mjs`);
    return lines.join("\n");
  }
  try {
    const { code, output, ops, picture } = await evaluate(example);
    if (!withoutOps.has(entry.page.file) && opLine(ops) !== "") lines.push(opLine(ops), "");
    lines.push("```js", /\/\/.*$/.test(code) ? code : `${code};`, "```", "");
    const shown = [picture, output].filter((text) => text !== "");
    if (shown.length > 0) lines.push("```text", shown[0] ?? "", "```", "");
  } catch (error) {
    faults.push(`the example of ${entry.shown} fails: ${/** @type {Error} */ (error).stack}`);
  }
  return lines.join("\n");
}

const made = "<!-- Made by npm run docs from docstrings, registry and examples; do not edit. -->";

/** @param {import("./docs/pages.mjs").Page} page @param {Entry[]} entries */
async function pageText(page, entries) {
  const sections = [];
  for (const entry of entries) sections.push(await section(entry));
  const used = namedTypes(entries.flatMap(signatures)).sort((a, b) => (a.name < b.name ? -1 : 1));
  const list = wrap(entries.map((e) => `[\`${e.shown}\`](#${anchor(e.shown)})`).join(", "));
  const parts = [`# ${page.title}`, made, page.intro, list, ...sections.map((s) => s.trimEnd())];
  if (used.length > 0) parts.push("## Types", ...used.map((t) => typeSection(t).trimEnd()));
  return `${parts.join("\n\n")}\n`;
}

/** First sentence of a docstring, for the index. @param {string} doc */
function summary(doc) {
  const text =
    doc
      .replace(/^@[\s\S]*/m, "")
      .split(/\n\n/)[0]
      ?.replace(/\s+/g, " ")
      .trim() ?? "";
  const sentence = /^.*?[.;:](?= |$)/.exec(text)?.[0] ?? text;
  return plain(sentence.replace(/[.;:]$/, "")).replaceAll("|", "\\|");
}

/** @param {Map<import("./docs/pages.mjs").Page, Entry[]>} all */
function indexText(all) {
  const families = pages.map((p) => `- [${p.title}](${p.file}): ${all.get(p)?.length} names`);
  const rows = [...all.values()]
    .flat()
    .sort((a, b) => (a.shown.toLowerCase() < b.shown.toLowerCase() ? -1 : 1))
    .map((e) => `| [\`${e.shown}\`](${e.page.file}#${anchor(e.shown)}) | ${summary(e.doc)} |`);
  return [
    "# Ops by family and by name",
    made,
    "Every page shows types, shapes, errors and an example; outputs are computed when the page is made. Options come last, in an object; a size is one number or one per dimension. [Registry](registry.md): the ops that derivatives and tests are made of.",
    families.join("\n"),
    ["| name | what it does |", "|---|---|", ...rows].join("\n"),
  ]
    .join("\n\n")
    .concat("\n");
}

function registryText() {
  const rows = [...registry.values()]
    .map(({ definition }) => definition)
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map((d) => {
      const derives = derivesOf(d.name);
      const all = derives.length === d.inputs.length;
      const kind = d.view ? "view" : d.composite ? "composite" : "";
      const cells = [`\`${d.name}\``, d.inputs.join(", "), all ? "all" : derives.join(", ") || "none", kind];
      return `| ${[...cells, d.samples().length, d.refusals?.().length ?? 0].join(" | ")} |`;
    });
  return [
    "# Registry",
    made,
    wrap(
      "The ops that everything is made of, as `lib/ops/define.ts` knows them. Names are those of traces, of graph nodes and of error messages. Derivatives are written in ops, so all orders exist. Every sample is computed on each instruction set, compared with the reference, and checked by gradcheck and gradgradcheck; every refusal must raise its error.",
    ),
    ["| op | inputs | differentiable in | kind | samples | refusals |", "|---|---|---|---|---|---|", ...rows].join(
      "\n",
    ),
  ]
    .join("\n\n")
    .concat("\n");
}

/** @returns {Promise<Map<string, string>>} pages by file name */
async function build() {
  const listed = pages.flatMap((p) => p.sources);
  for (const file of [...exportedOpFiles(), "ops/filters.ts"]) {
    const open = declarations(file).some((d) => d.exported && !d.internal && /function|const|class/.test(d.kind));
    if (open && !listed.includes(file)) faults.push(`lib/${file} is on no page of scripts/docs/pages.mjs`);
  }
  const all = new Map(pages.map((page) => [page, entriesOf(page)]));
  const shown = new Set([...all.values()].flat().map((e) => e.shown));
  for (const name of Object.keys(examples))
    if (!shown.has(name)) faults.push(`example ${name} belongs to no public name`);
  const result = new Map([
    ["README.md", indexText(all)],
    ["registry.md", registryText()],
  ]);
  for (const [page, entries] of all) result.set(page.file, await pageText(page, entries));
  return result;
}

const result = await build();
for (const fault of faults) console.error(fault);
if (faults.length > 0) process.exit(1);

mkdirSync(folder, { recursive: true });
const present = readdirSync(folder).filter((name) => name.endsWith(".md"));
if (process.argv.includes("--check")) {
  const stale = [...result].filter(
    ([name, text]) => !present.includes(name) || readFileSync(join(folder, name), "utf8") !== text,
  );
  const extra = present.filter((name) => !result.has(name));
  for (const name of [...stale.map(([file]) => file), ...extra])
    console.error(`docs/ops/${name} is not what npm run docs makes`);
  process.exit(stale.length + extra.length > 0 ? 1 : 0);
}
for (const name of present) if (!result.has(name)) rmSync(join(folder, name));
for (const [name, text] of result) writeFileSync(join(folder, name), text);
console.log(`${result.size} pages in docs/ops`);
