import { execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { nativeBuilt } from "./support/backends.js";

/** The main job (examples/mnist/train.js) on a small folder of IDX files: two kinds of images, bright above or below. */

const root = fileURLToPath(new URL("..", import.meta.url));
const job = join(root, "examples/mnist/train.js");
let folder = "";

function idx(sizes: number[], bytes: Uint8Array): Uint8Array {
  const header = Buffer.alloc(4 + 4 * sizes.length);
  header.set([0, 0, 8, sizes.length]);
  for (const [i, s] of sizes.entries()) header.writeUInt32BE(s, 4 + 4 * i);
  return Buffer.concat([header, bytes]);
}

/** Images whose label's row is bright; the pixels' noise follows from their position. */
function samples(count: number): { images: Uint8Array; labels: Uint8Array } {
  const labels = Uint8Array.from({ length: count }, (_, i) => (i * 7) % 10);
  const images = new Uint8Array(count * 784);
  for (let i = 0; i < count; i++) {
    for (let p = 0; p < 784; p++) {
      const bright = Math.floor(p / 56) === labels[i]!;
      images[i * 784 + p] = (bright ? 180 : 0) + ((i * 31 + p * 17) % 64);
    }
  }
  return { images: idx([count, 28, 28], images), labels: idx([count], labels) };
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "xcorr-job-"));
  const train = samples(640);
  const test = samples(100);
  writeFileSync(join(folder, "train-images-idx3-ubyte.gz"), gzipSync(train.images));
  writeFileSync(join(folder, "train-labels-idx1-ubyte"), train.labels);
  writeFileSync(join(folder, "t10k-images-idx3-ubyte"), test.images);
  writeFileSync(join(folder, "t10k-labels-idx1-ubyte.gz"), gzipSync(test.labels));
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function runs(name: string): string {
  const path = join(folder, name);
  mkdirSync(path, { recursive: true });
  return path;
}

function run(args: string[]): string {
  return execFileSync("node", [job, "--data", folder, ...args], {
    encoding: "utf8",
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
  });
}

function weights(path: string): string {
  return readFileSync(join(path, readdirSync(path)[0]!, "lenet.safetensors")).toString("base64");
}

describe.runIf(nativeBuilt)("the MNIST job", () => {
  it("learns, prints a table and the accuracy, and saves", () => {
    const path = runs("plain");
    const out = run(["--runs", path, "--epochs", "2", "--batch-size", "16"]);
    expect(out).toMatch(/epoch 1\/2 \d+\/40 [\d,]+ images\/s, \d+s left, loss/);
    expect(out).toContain("test accuracy");
    expect(Number(/test accuracy (\d\.\d{4}) in \d+\.\d s\s*$/.exec(out)?.[1])).toBeGreaterThan(0.95);
    expect(readdirSync(join(path, readdirSync(path)[0]!)).sort()).toEqual([
      "checkpoint.safetensors",
      "lenet.safetensors",
    ]);
  });

  it("saves when it is interrupted, and resumed ends with the same bits as a run that was not", async () => {
    const whole = runs("whole");
    run(["--runs", whole, "--epochs", "3", "--batch-size", "4", "--seed", "5"]);
    const cut = runs("cut");
    const child = spawn(
      "node",
      [job, "--data", folder, "--runs", cut, "--epochs", "3", "--batch-size", "4", "--seed", "5"],
      { cwd: root },
    );
    let out = "";
    let sent = false;
    child.stdout.on("data", (text) => {
      out += text;
      // In the first epoch: the line before training has been printed.
      if (!sent && out.includes("backend")) {
        sent = true;
        setTimeout(() => child.kill("SIGINT"), 60);
      }
    });
    const status = await new Promise((resolve) => child.on("close", resolve));
    expect(status).toBe(0);
    expect(out).toContain("interrupted; saved");
    const resumed = run(["--runs", cut, "--epochs", "3", "--batch-size", "4", "--seed", "5", "--resume"]);
    expect(resumed).toContain("continuing");
    expect(weights(cut)).toBe(weights(whole));
  });

  it("explains its options, and refuses wrong ones", () => {
    expect(run(["--help"])).toContain("--resume");
    const wrong = spawnSync("node", [job, "--epochs", "none"], { encoding: "utf8", cwd: root });
    expect(wrong.status).toBe(2);
    expect(wrong.stderr).toContain("--epochs must be an integer of at least 1, got none");
    const empty = spawnSync("node", [job, "--resume", "--data", folder, "--runs", join(folder, "nothing")], {
      encoding: "utf8",
      cwd: root,
    });
    expect(empty.status).toBe(1);
    expect(empty.stderr).toContain("there is no run in");
  });
});

describe("the MNIST job on the reference backend", () => {
  it("trains", () => {
    const out = run(["--backend", "reference", "--runs", runs("reference"), "--epochs", "1", "--batch-size", "64"]);
    expect(out).toContain("reference backend");
    expect(out).toMatch(/test accuracy \d\.\d{4} in/);
  });
});
