import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { nativeBuilt } from "./support/backends.js";

/** What users get: npm pack, installed into an empty project, used by a ten-line script. */

const root = fileURLToPath(new URL("..", import.meta.url));
let project = "";

beforeAll(() => {
  project = mkdtempSync(join(tmpdir(), "xcorr-package-"));
  // --ignore-scripts: the build is what is tested, not made here; prepack only copies the addon.
  execFileSync("node", ["scripts/prepack.mjs"], { cwd: root });
  const packed = execFileSync("npm", ["pack", "--ignore-scripts", "--pack-destination", project], {
    cwd: root,
    encoding: "utf8",
  });
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "user", private: true, type: "module" }));
  const tarball = join(project, packed.trim().split("\n").at(-1)!);
  execFileSync("npm", ["install", "--offline", "--no-audit", "--no-fund", tarball], { cwd: project });
}, 120_000);

afterAll(() => rmSync(project, { recursive: true, force: true }));

const script = `
import { conv2d, getBackend, nn, optim, tensor } from "xcorr";
const x = tensor([[[[1, 1, 0, 0, 0, 0, 1, 1]]]]);
const y = conv2d(x, tensor([[[[1, -1]]]]));
const layer = new nn.Conv2d(1, 1, [1, 2], { bias: false });
const optimizer = new optim.SGD(layer.parameters(), { lr: 0.1 });
for (let i = 0; i < 200; i++) {
  optimizer.zeroGrad();
  layer.forward(x).sub(y).square().sum().backward();
  optimizer.step();
}
console.log(getBackend(), layer.weight.toArray()[0][0][0].map((w) => w.toFixed(3)).join(" "));
`;

function run(env: Record<string, string>, source = script, name = "train.mjs"): { stdout: string; stderr: string } {
  writeFileSync(join(project, name), source);
  const result = spawnSync("node", [name], { cwd: project, encoding: "utf8", env: { ...process.env, ...env } });
  expect(result.status, result.stderr).toBe(0);
  return result;
}

describe("the packed package", () => {
  it("trains on the reference backend", () => {
    expect(run({ XCORR_BACKEND: "reference" }).stdout.trim()).toBe("reference 1.000 -1.000");
  });

  it.runIf(nativeBuilt)("trains on the native backend, without any install script", () => {
    expect(run({ XCORR_BACKEND: "native" }).stdout.trim()).toBe("native 1.000 -1.000");
    const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
    for (const name of ["preinstall", "install", "postinstall"]) expect(scripts).not.toHaveProperty(name);
  });

  it("can be required", () => {
    const source = 'const { tensor } = require("xcorr"); console.log(tensor([1, 2]).sum().item());';
    expect(run({ XCORR_BACKEND: "reference" }, source, "use.cjs").stdout.trim()).toBe("3");
  });

  it("has no runtime dependencies", () => {
    const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
    expect(Object.keys(manifest.dependencies ?? {})).toEqual([]);
  });
});
