import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { declarations, exportedOpFiles } from "../scripts/docs/source.mjs";
import { nativeBuilt } from "./support/backends.js";
import * as xcorr from "./support/xcorr.js";

/**
 * The docs say what is true: the pages of docs/ops are those that the generator makes, every public function is on one,
 * and every `js` block of the README, the guide and the page on serving runs against the built package as a reader would run it.
 */

const root = fileURLToPath(new URL("..", import.meta.url));
const backends = nativeBuilt ? (["native", "reference"] as const) : (["reference"] as const);
let folder = "";

beforeAll(() => {
  // Inside the package, so that `import "xcorr"` finds it by its own name.
  mkdirSync(join(root, "runs"), { recursive: true });
  folder = mkdtempSync(join(root, "runs/docs-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function read(path: string): string {
  return readFileSync(join(root, path), "utf8");
}

describe("docs/ops", () => {
  it.each(backends)("is what npm run docs makes, computed by %s", { timeout: 120_000 }, (backend) => {
    const { status, stderr } = spawnSync(process.execPath, ["scripts/docs.mjs", "--check"], {
      cwd: root,
      encoding: "utf8",
      env: { ...process.env, XCORR_BACKEND: backend },
    });
    expect(stderr).toBe("");
    expect(status).toBe(0);
  });

  it("has an entry for every public function", () => {
    const internal = new Set(
      exportedOpFiles()
        .flatMap(declarations)
        .filter((d) => d.internal)
        .map((d) => d.name),
    );
    // Declared above an export list of their own, which is marked.
    for (const name of ["checkTargets", "targetWeights"]) internal.add(name);
    const names = Object.entries(xcorr)
      .filter(([name, value]) => typeof value === "function" && !internal.has(name))
      .map(([name]) => name)
      .filter((name) => !name.endsWith("Error") && name !== "Tensor");
    expect(names.length).toBeGreaterThan(250);
    const index = read("docs/ops/README.md");
    expect(names.filter((name) => !index.includes(`| [\`${name}\`](`))).toEqual([]);
  });

  it("links lead somewhere", () => {
    for (const page of ["docs/ops/README.md", "docs/guide.md", "README.md"]) {
      for (const [, target, anchor] of read(page).matchAll(/\]\(([\w./-]*)(?:#([\w-]+))?\)/g)) {
        const file = target === "" ? page : join(page, "..", target!);
        const text = read(file.endsWith("/") ? `${file}README.md` : file);
        const anchors = [...text.matchAll(/^#+ (.*)$/gm)].map((m) =>
          m[1]!
            .toLowerCase()
            .replace(/[^\w\- ]/g, "")
            .replaceAll(" ", "-"),
        );
        if (anchor !== undefined) expect(anchors, `${page} links to ${file}#${anchor}`).toContain(anchor);
      }
    }
  });
});

/** The `js` and `text` blocks of each section (##) of a page. */
function sections(page: string): { title: string; js: string[]; text: string[] }[] {
  return read(page)
    .split(/^(?=## )/m)
    .map((section) => {
      const blocks = [...section.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)];
      const of = (language: string): string[] => blocks.filter((b) => b[1] === language).map((b) => b[2]!);
      return { title: section.split("\n")[0]!.replace(/^#+ /, ""), js: of("js"), text: of("text") };
    })
    .filter(({ js, text }) => js.length > 0 || text.length > 0);
}

/** Training on all of MNIST is not what is tested here: its place is taken by the first 256 images. */
function cut(code: string): string {
  const all = "data.mnist(data.mnistFolder())";
  return code.replaceAll(all, `new data.Subset(${all}, Array.from({ length: 256 }, (_, i) => i))`);
}

/** One space for any white space, so that layout does not matter. */
function flat(text: string): string {
  return text.replace(/\s+/g, " ").trim();
}

let number = 0;

function run(code: string, backend: string): string {
  const file = join(folder, `block${number++}.mjs`);
  writeFileSync(file, cut(code));
  const { status, stdout, stderr } = spawnSync(process.execPath, [file], {
    cwd: folder,
    encoding: "utf8",
    env: { ...process.env, XCORR_BACKEND: backend },
  });
  expect(status, `${code}\n${stderr}`).toBe(0);
  return stdout;
}

// The blocks of a section belong together: they are one module, which prints what its `text` blocks show.
const guide = sections("docs/guide.md");
const readme = sections("README.md");
/** Every block of this page is a module of its own. A line that prints ends with what it prints, if that is fixed. */
const serving = sections("docs/serving.md").flatMap((s) =>
  s.js.map((code, i) => [`${s.title}, ${i + 1}`, code] as const),
);

describe.each(backends)("on the %s backend", (backend) => {
  it.each(guide.map((s) => [s.title, s] as const))("the guide's %s runs and prints what it shows", (_, section) => {
    const printed = flat(run(section.js.join("\n"), backend));
    for (const text of section.text) expect(printed).toContain(flat(text));
  });

  it.each(serving)("serving: %s runs and prints what its comments say", (_, code) => {
    const printed = flat(run(code, backend));
    for (const [, said] of code.matchAll(/console\.log\(.*\); \/\/ (.*)$/gm)) expect(printed).toContain(flat(said!));
  });

  it.each(readme.filter((s) => s.js.length > 0).map((s) => [s.title, s] as const))(
    "the README's %s runs",
    (_, section) => {
      run(section.js.join("\n"), backend);
    },
  );
});

it("the guide and the README have blocks to run", () => {
  expect(guide.length).toBeGreaterThan(12);
  expect(readme.flatMap((s) => s.js).length).toBeGreaterThanOrEqual(2);
  expect(serving.length).toBeGreaterThanOrEqual(6);
});
