import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { nativeBuilt } from "./support/backends.js";

/** What users get: npm pack, installed into an empty project, used by a ten-line script. */

const root = fileURLToPath(new URL("..", import.meta.url));
/** Where Node's headers lie, if they came with it. */
const beside = dirname(dirname(process.execPath));
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

  it.runIf(nativeBuilt)(
    "looks for the addon in the local build, its own binaries, the platform's package, and says what it found",
    () => {
      const platform = `${process.platform}-${process.arch}`;
      const installed = join(project, "node_modules", "xcorr");
      const binary = join(project, "xcorr.node");
      copyFileSync(join(installed, "prebuilds", platform, "xcorr.node"), binary);
      const places = {
        local: join(installed, "build", "Release", "xcorr.node"),
        own: join(installed, "prebuilds", platform, "xcorr.node"),
        platform: join(project, "node_modules", "@xcorr", platform, "index.node"),
      };
      type Place = keyof typeof places;
      const source = `
      import { getBackend } from "xcorr";
      import { loadNative } from "./node_modules/xcorr/dist/backend/load.js";
      console.log(JSON.stringify([getBackend(), loadNative().tried]));`;
      const find = (
        there: readonly Place[],
        broken: readonly Place[] = [],
      ): { backend: string; tried: string[]; stderr: string } => {
        for (const [name, path] of Object.entries(places) as [Place, string][]) {
          rmSync(path, { force: true });
          mkdirSync(dirname(path), { recursive: true });
          if (broken.includes(name)) writeFileSync(path, "not a binary");
          else if (there.includes(name)) copyFileSync(binary, path);
        }
        const manifest = { name: `@xcorr/${platform}`, version: "0.0.0", main: "index.node" };
        writeFileSync(join(dirname(places.platform), "package.json"), JSON.stringify(manifest));
        const { stdout, stderr } = run({ XCORR_BACKEND: "" }, source, "find.mjs");
        const [backend, tried] = JSON.parse(stdout);
        return { backend, tried, stderr };
      };
      const why = [
        /^the local build, build.Release.xcorr.node: /,
        /^the package's own binary, prebuilds.*: /,
        /^the package @xcorr\//,
      ];
      const expectTried = (tried: string[], count: number): void => {
        expect(tried).toHaveLength(count);
        for (const [i, line] of tried.entries()) expect(line).toMatch(why[i]!);
      };
      try {
        const all = find(["local", "own", "platform"]);
        expect([all.backend, all.tried, all.stderr]).toEqual(["native", [], ""]);
        expectTried(find(["own", "platform"]).tried, 1);
        const third = find(["platform"]);
        expect(third.backend).toBe("native");
        expectTried(third.tried, 2);
        const damaged = find(["own"], ["local"]); // one that does not load is passed over, with the reason
        expect(damaged.backend).toBe("native");
        expectTried(damaged.tried, 1);
        expect(damaged.tried[0]).toMatch(/file too short|invalid ELF header|not a valid|slice is not valid/);
        const none = find([]);
        expect(none.backend).toBe("reference");
        expectTried(none.tried, 3);
        expect(none.stderr).toMatch(
          /no native kernels for .*the local build.*the package's own binary.*@xcorr.*xcorr-build/s,
        );
      } finally {
        find(["own"]);
        rmSync(join(project, "node_modules", "@xcorr"), { recursive: true });
        rmSync(join(installed, "build"), { recursive: true });
      }
    },
    60_000,
  );

  it.runIf(existsSync(join(beside, "include", "node", "node_api.h")))(
    "can be configured for a build where it is installed, without what develops it",
    () => {
      const nodeGyp = createRequire(import.meta.url).resolve("node-gyp/bin/node-gyp.js");
      const folder = join(project, "node_modules", "xcorr");
      try {
        const { status, stderr } = spawnSync("node", [nodeGyp, "configure", `--nodedir=${beside}`], {
          cwd: folder,
          encoding: "utf8",
        });
        expect(status, stderr).toBe(0);
      } finally {
        rmSync(join(folder, "build"), { recursive: true, force: true });
      }
    },
  );

  it("can be required", () => {
    const source = 'const { tensor } = require("xcorr"); console.log(tensor([1, 2]).sum().item());';
    expect(run({ XCORR_BACKEND: "reference" }, source, "use.cjs").stdout.trim()).toBe("3");
  });

  it("has no runtime dependencies", () => {
    const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
    expect(Object.keys(manifest.dependencies ?? {})).toEqual([]);
  });

  it.each([".", "bench"])("has a lockfile of what it is developed with, in %s", (folder) => {
    const read = (name: string) => JSON.parse(readFileSync(join(root, folder, name), "utf8"));
    const [manifest, lock] = [read("package.json"), read("package-lock.json")];
    expect(lock.packages[""].devDependencies).toEqual(manifest.devDependencies);
    for (const [path, entry] of Object.entries<{ integrity?: string }>(lock.packages))
      if (path !== "") expect(entry.integrity, path).toMatch(/^sha512-/);
  });

  it.runIf(nativeBuilt && process.platform === "linux")("trains, saves, loads and serves without a network", () => {
    const { status, stdout } = spawnSync(process.execPath, ["scripts/measure/network.mjs"], {
      cwd: root,
      encoding: "utf8",
    });
    expect(status, stdout).toBe(0);
    expect(stdout).toMatch(/^holds .* 16 answers, 0 attempts to reach a network/);
  });
});
