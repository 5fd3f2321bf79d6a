import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { expected } from "./lessons/expected.js";
import { nativeBuilt } from "./support/backends.js";

/**
 * The lessons: every script runs as a learner runs it, on each backend, and prints the numbers that are known by hand
 * (test/lessons/expected.ts). Every page has its script, and what it shows is there: `js` blocks are lines of the
 * script, `text` blocks are lines that it prints.
 */

const root = fileURLToPath(new URL("..", import.meta.url));
const scripts = readdirSync(join(root, "examples/lessons"))
  .filter((name) => name.endsWith(".js"))
  .map((name) => name.slice(0, -3));
const pages = readdirSync(join(root, "docs/lessons"))
  .filter((name) => name.endsWith(".md") && name !== "README.md")
  .map((name) => name.slice(0, -3));
const backends = nativeBuilt ? (["native", "reference"] as const) : (["reference"] as const);

/** The lesson that needs the speech synthesiser espeak-ng. */
const sound = "18-spoken-digits";
const speaks = spawnSync("espeak-ng", ["--version"]).status === 0;

function pageOf(lesson: string): string {
  return readFileSync(join(root, "docs/lessons", `${lesson}.md`), "utf8");
}

/** What a lesson prints; it must end well. Scripts run the built package, as users do. */
function run(lesson: string, backend: string): string {
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [`examples/lessons/${lesson}.js`], {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, XCORR_BACKEND: backend },
    timeout: 120_000,
  });
  expect(status, `${lesson} ended with ${status ?? signal}:\n${stderr}`).toBe(0);
  expect(stderr, `${lesson} complained`).not.toMatch(/Warning/);
  return stdout;
}

/** One space for any white space, so that layout does not matter. */
function flat(text: string): string {
  return text.replace(/\s+/g, " ").trim();
}

/** The contents of a page's fenced blocks of one language. */
function blocks(page: string, language: string): string[] {
  return [...page.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].filter((m) => m[1] === language).map((m) => m[2]!);
}

beforeAll(() => {
  if (!existsSync(join(root, "dist/index.js"))) throw new Error("the lessons need dist/: npm run build:ts");
});

it("every lesson has a script, a page, expected numbers and a line in the index", () => {
  expect(pages).toEqual(scripts);
  expect(Object.keys(expected)).toEqual(scripts);
  const index = readFileSync(join(root, "docs/lessons/README.md"), "utf8");
  const listed = [...index.matchAll(/\]\(([\w-]+)\.md\)/g)].map((m) => m[1]);
  expect(listed).toEqual(scripts);
});

describe.each(backends)("on the %s backend", (backend) => {
  it.for(scripts)("%s prints the known numbers, and what its page shows", { timeout: 180_000 }, (lesson, context) => {
    context.skip(lesson === sound && !speaks, "espeak-ng is not installed");
    const lines = run(lesson, backend);
    const printed = flat(lines);
    let from = 0;
    for (const part of expected[lesson]!) {
      const rest = printed.slice(from);
      const found = typeof part === "string" ? flat(part) : (part.exec(rest)?.[0] ?? "");
      const at = found === "" ? -1 : rest.indexOf(found);
      expect(at, `${lesson} must print, behind what comes before it,\n${part}\nbut printed\n${lines}`).not.toBe(-1);
      from += at + found.length;
    }
    for (const block of blocks(pageOf(lesson), "text")) expect(printed, `${lesson}.md`).toContain(flat(block));
  });
});

it("the lesson over sound says what it needs", () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [`examples/lessons/${sound}.js`], {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, XCORR_BACKEND: "reference", PATH: "/nonexistent" },
  });
  expect(status).toBe(1);
  expect(stdout).toBe("");
  expect(stderr).toMatch(
    /^This lesson needs the speech synthesiser espeak-ng.*\nInstall it .*apt-get install espeak-ng/,
  );
});

it.each(scripts)("the page of %s shows lines of its script, its output and an exercise", (lesson) => {
  const page = pageOf(lesson);
  const script = flat(readFileSync(join(root, "examples/lessons", `${lesson}.js`), "utf8"));
  const shown = blocks(page, "js");
  expect(shown.length).toBeGreaterThan(0);
  for (const block of shown) expect(script, `${lesson}.md`).toContain(flat(block));
  expect(blocks(page, "text").length).toBeGreaterThan(0);
  expect(page).toContain(`node examples/lessons/${lesson}.js`);
  expect(page).toMatch(/^## Exercises?$/m);
});
