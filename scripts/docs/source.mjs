// @ts-check
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/**
 * Reads declarations and docstrings out of lib/*.ts. TypeScript 7 offers no compiler API to scripts, and the sources are
 * formatted by biome, so top-level declarations begin in the first column and a scanner by lines is exact.
 */

const lib = new URL("../../lib/", import.meta.url);

/**
 * @typedef {object} Declaration
 * @property {string} file name below lib/, such as "ops/conv.ts"
 * @property {"function" | "const" | "class" | "interface" | "type" | "alias"} kind
 * @property {string} name
 * @property {boolean} exported
 * @property {boolean} internal whether the docstring says that it is not public
 * @property {string} doc the docstring's text, without its frame; "" if there is none
 * @property {string[]} signatures one per overload, without the body
 * @property {string[]} body the lines of an interface or type
 */

/** The text of a docstring given by its lines, frame removed. @param {string[]} lines */
export function docText(lines) {
  return lines
    .join("\n")
    .replace(/^\s*\/\*\*\s?/, "")
    .replace(/\s*\*\/\s*$/, "")
    .split("\n")
    .map((line) => line.replace(/^\s*\* ?/, "").trimEnd())
    .join("\n")
    .trim();
}

/** Open brackets minus closed ones. @param {string} text */
function depth(text) {
  const plain = text.replace(/=>/g, "").replace(/"[^"]*"/g, "");
  return (plain.match(/[([{]/g)?.length ?? 0) - (plain.match(/[)\]}]/g)?.length ?? 0);
}

/** Where a function's signature ends: before its body, or at the semicolon of an overload. @param {string[]} lines @param {number} at */
function functionSignature(lines, at) {
  let text = "";
  for (let i = at; i < lines.length; i++) {
    text += (text === "" ? "" : "\n") + lines[i];
    if (text.endsWith(";") && depth(text) === 0) return { text: text.slice(0, -1), overload: true, end: i };
    // A body opens with the only bracket that is still open, and not as the type of the result.
    if (text.endsWith(" {") && depth(text) === 1 && !/[:|] \{$/.test(text)) {
      return { text: text.slice(0, -2), overload: false, end: i };
    }
    const whole = /^([\s\S]*\)[\s\S]*?) \{.*\}$/.exec(text);
    if (whole?.[1] !== undefined && depth(text) === 0) return { text: whole[1], overload: false, end: i };
  }
  throw new Error(`no end of the function at line ${at + 1}`);
}

/** One line, as biome would write it if lines were long enough. @param {string} text */
export function oneLine(text) {
  return text
    .replace(/\/\*\*.*?\*\/\s*/g, "")
    .replace(/\s*\n\s*/g, " ")
    .replace(/([([<{]) /g, (m, b) => (b === "{" ? m : b))
    .replace(/,? ([)\]>])/g, (m, b) => (b === ">" && !m.startsWith(",") ? m : b));
}

/** @param {string} file @param {string[]} lines @returns {Declaration[]} */
function scan(file, lines) {
  /** @type {Map<string, Declaration>} */
  const found = new Map();
  /** @type {string[]} */
  let doc = [];
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i] ?? "";
    if (line.startsWith("/**")) {
      const start = i;
      while (!(lines[i] ?? "").endsWith("*/")) i++;
      doc = lines.slice(start, i + 1);
      continue;
    }
    const renamed = /^export \{ (\w+) as (\w+) \};$/.exec(line);
    if (renamed !== null) {
      const of = found.get(renamed[1] ?? "");
      if (of === undefined) throw new Error(`${file}: ${line}`);
      const name = renamed[2] ?? "";
      const signatures = of.signatures.map((s) => s.replace(of.name, name));
      found.set(name, {
        ...of,
        kind: "alias",
        name,
        signatures,
        doc: `\`${of.name}\` under its other name. ${of.doc}`,
      });
      doc = [];
      continue;
    }
    const begin =
      /^(export )?(?:declare )?(?:abstract )?(?:async )?(function\*?|const|class|interface|type) (\w+)/.exec(line);
    if (begin === null) {
      if (!line.startsWith("//")) doc = [];
      continue;
    }
    const kind = /** @type {Declaration["kind"]} */ ((begin[2] ?? "").replace("*", ""));
    const name = begin[3] ?? "";
    const text = docText(doc);
    const known = found.get(name);
    /** @type {Declaration} */
    const declaration = known ?? {
      file,
      kind,
      name,
      exported: begin[1] !== undefined,
      internal: /@internal/.test(text),
      doc: text,
      signatures: [],
      body: [],
    };
    doc = [];
    if (kind === "function") {
      const { text: signature, overload, end } = functionSignature(lines, i);
      // The implementation behind overloads is not part of the type.
      if (overload || declaration.signatures.length === 0) {
        declaration.signatures.push(oneLine(signature.replace(/^export (async )?function\*? /, "")));
      }
      i = end;
    } else if (kind === "const") {
      let head = line;
      while (!/ =( |$)/.test(head.replace(/=>/g, "")) && i < lines.length - 1) head += `\n${lines[++i]}`;
      const type = /^(?:export )?const \w+: ([\s\S]*?) =(?!>)/.exec(head.replace(/ =$/, " = "));
      declaration.signatures.push(type?.[1] === undefined ? name : `${name}: ${oneLine(type[1])}`);
    } else if (kind === "interface" || kind === "type" || kind === "class") {
      const start = i;
      let block = line;
      while (depth(block) !== 0 || !(kind === "type" ? block.endsWith(";") : block.endsWith("}")))
        block += `\n${lines[++i]}`;
      declaration.body = lines.slice(start, i + 1);
    }
    found.set(name, declaration);
  }
  return [...found.values()];
}

/** All declarations of one file below lib/. @param {string} file @returns {Declaration[]} */
export function declarations(file) {
  return scan(file, readFileSync(new URL(file, lib), "utf8").split("\n"));
}

/** The files that lib/ops/index.ts exports, as names such as "ops/conv.ts". @returns {string[]} */
export function exportedOpFiles() {
  const index = readFileSync(new URL("ops/index.ts", lib), "utf8");
  return [...index.matchAll(/^export (?:\*|\{[^}]*\}) from "\.\/(\w+)\.js";$/gm)].map((m) => `ops/${m[1]}.ts`);
}

/** The names that lib/index.ts exports from a file of its own choice, types left out. @returns {{ file: string, name: string }[]} */
export function namedExports() {
  const index = readFileSync(new URL("index.ts", lib), "utf8");
  return [...index.matchAll(/^export \{([^}]*)\} from "\.\/([\w/]+)\.js";$/gm)].flatMap((m) =>
    (m[1] ?? "")
      .split(",")
      .map((name) => name.trim())
      .filter((name) => name !== "" && !name.startsWith("type "))
      .map((name) => ({ file: `${m[2]}.ts`, name })),
  );
}

/** Every declaration of a type in lib/ops and lib/reference, by name, for the tables of options. @returns {Map<string, Declaration>} */
export function types() {
  const files = ["ops", "autograd", "reference", "core"].flatMap((folder) =>
    readdirSync(fileURLToPath(new URL(folder, lib)))
      .filter((name) => name.endsWith(".ts"))
      .map((name) => `${folder}/${name}`),
  );
  return new Map(
    files
      .flatMap(declarations)
      .filter((d) => d.kind === "interface" || d.kind === "type")
      .map((d) => [d.name, d]),
  );
}

/** Names that `interface Tensor` is given in lib/ops: what is a method too. @returns {Set<string>} */
export function methodNames() {
  /** @type {Set<string>} */
  const names = new Set();
  for (const name of readdirSync(fileURLToPath(new URL("ops", lib)))) {
    if (!name.endsWith(".ts")) continue;
    const text = readFileSync(new URL(`ops/${name}`, lib), "utf8");
    for (const block of text.matchAll(/^ {2}interface Tensor<[\s\S]*?^ {2}\}$/gm)) {
      for (const method of block[0].matchAll(/^ {4}(\w+)[(<]/gm)) names.add(method[1] ?? "");
    }
  }
  return names;
}

/**
 * The fields of an interface with their docstrings.
 * @param {Declaration} declaration
 * @returns {{ name: string, type: string, doc: string }[]}
 */
export function fields(declaration) {
  const text = declaration.body.slice(1).join("\n");
  const result = [];
  for (const m of text.matchAll(
    /(\/\*\*[\s\S]*?\*\/)?\s*^ {2}(?:readonly )?(\w+)(\?)?(?:: ([^;]*)|(\([\s\S]*?));$/gm,
  )) {
    result.push({
      name: `${m[2]}${m[3] ?? ""}`,
      type: oneLine(m[4] ?? m[5] ?? ""),
      doc: docText([m[1] ?? ""]).replace(/\s+/g, " "),
    });
  }
  return result;
}
