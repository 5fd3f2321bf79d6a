import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { data, io, manualSeed, nn, softmax, tensor } from "./support/xcorr.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "xcorr-examples-"));
const weights = join(folder, "lenet.safetensors");
const model = new nn.models.LeNet5();
const pixels = Uint8Array.from({ length: 784 }, (_, i) => (i * 37) % 256);

beforeAll(() => {
  manualSeed(21);
  for (const p of model.parameters()) nn.init.normal_(p, 0, 0.1);
  io.saveSafetensors(weights, model.stateDict());
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("examples/serve.js", () => {
  let server: ChildProcess;
  let url = "";

  beforeAll(async () => {
    const args = ["examples/serve.js", "--weights", weights, "--port", "0", "--top", "10"];
    server = spawn("node", args, { cwd: root, stdio: ["ignore", "pipe", "inherit"] });
    url = await new Promise((resolve, reject) => {
      server.stdout!.on("data", (text: Buffer) => {
        const found = /http:\/\/localhost:\d+/.exec(text.toString());
        if (found !== null) resolve(found[0]);
      });
      server.on("exit", (code) => reject(new Error(`the server ended with ${code}`)));
    });
  });
  afterAll(() => {
    server.kill();
  });

  const post = (body: Uint8Array<ArrayBuffer>, type: string): Promise<Response> =>
    fetch(`${url}/predict`, { method: "POST", body, headers: { "Content-Type": type } });

  /** Probabilities in the order of the classes. */
  async function probabilities(response: Response): Promise<number[]> {
    expect(response.status).toBe(200);
    const { predictions } = (await response.json()) as { predictions: { label: number; probability: number }[] };
    for (let i = 1; i < 10; i++)
      expect(predictions[i]!.probability).toBeLessThanOrEqual(predictions[i - 1]!.probability);
    return predictions.sort((a, b) => a.label - b.label).map((p) => p.probability);
  }

  it("answers raw pixels and PNG with the model's probabilities", async () => {
    const [x] = data.normalize(0.1307, 0.3081)([tensor(pixels, { shape: [1, 1, 28, 28] })], undefined as never);
    const expected = Array.from(softmax(model.forward(x), 1).data());
    expect(Math.max(...expected) - Math.min(...expected)).toBeGreaterThan(0.01);
    const png = await sharp(pixels, { raw: { width: 28, height: 28, channels: 1 } })
      .png()
      .toBuffer();
    const answers = [
      await probabilities(await post(pixels, "application/octet-stream")),
      await probabilities(await post(new Uint8Array(png), "image/png")),
    ];
    for (const answer of answers) for (const [i, p] of answer.entries()) expect(p).toBeCloseTo(expected[i]!, 5);
  });

  it("computes requests that come together in batches", async () => {
    const all = await Promise.all(Array.from({ length: 40 }, () => post(pixels, "application/octet-stream")));
    const first = await probabilities(all[0]!);
    // Alike but for the last bits: how a product is computed follows from its sizes, the batch's among them.
    for (const response of all.slice(1))
      for (const [i, p] of (await probabilities(response)).entries()) expect(p).toBeCloseTo(first[i]!, 6);
    const health = (await (await fetch(`${url}/health`)).json()) as { served: number; batches: number };
    expect(health.served).toBeGreaterThanOrEqual(40);
    expect(health.batches).toBeLessThan(health.served);
  });

  it("says what is wrong with a request, and lives on", async () => {
    const said = async (response: Response): Promise<[number, string]> => [
      response.status,
      ((await response.json()) as { error: string }).error,
    ];
    expect(await said(await post(pixels.slice(1), "application/octet-stream"))).toEqual([
      400,
      "raw pixels [1, 28, 28] are 784 bytes, but 783 came",
    ]);
    expect((await said(await post(pixels, "image/png")))[0]).toBe(400);
    expect((await said(await post(pixels, "text/plain")))[0]).toBe(415);
    expect((await said(await fetch(`${url}/predict`)))[0]).toBe(405);
    expect((await said(await fetch(`${url}/elsewhere`)))[0]).toBe(404);
    expect((await post(pixels, "application/octet-stream")).status).toBe(200);
  });
});

describe("examples/finetune.js", () => {
  it("trains a new head, then all layers, on a folder of images", async () => {
    const photos = join(folder, "photos");
    for (const [name, bright] of [
      ["dark", 40],
      ["light", 200],
    ] as const) {
      mkdirSync(join(photos, name), { recursive: true });
      for (let i = 0; i < 12; i++) {
        const grey = Uint8Array.from({ length: 900 }, (_, p) => bright + ((p * 7 + i * 13) % 50));
        await sharp(grey, { raw: { width: 30, height: 30, channels: 1 } })
          .png()
          .toFile(join(photos, name, `${i}.png`));
      }
    }
    const run = join(folder, "run");
    const args = ["--weights", weights, "--model", "LeNet5", "--data", photos, "--epochs", "8", "--batch-size", "4"];
    const out = execFileSync("node", ["examples/finetune.js", ...args, "--run", run, "--lr", "0.01"], {
      cwd: root,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "inherit"],
    });
    expect(out).toContain("decoding 24 images of dark, light");
    expect(out).toContain("a new head for 2 classes");
    expect(Number(/best validation accuracy ([\d.]+)/.exec(out)?.[1])).toBeGreaterThan(0.9);
    const tuned = io.loadSafetensors(join(run, "best.safetensors"));
    expect(tuned["fc3.weight"]!.shape).toEqual([2, 84]);
    expect(readFileSync(join(run, "report.html"), "utf8")).toContain("LeNet5, fine-tuned");
  });
});

describe("the other scripts", () => {
  it.each(["cifar/train.js", "fashion_mnist/train.js", "mnist/modern.js", "finetune.js", "serve.js"])(
    "%s explains its flags and refuses unknown ones",
    (script) => {
      const run = (...args: string[]): string =>
        execFileSync("node", [join("examples", script), ...args], { cwd: root, encoding: "utf8", stdio: "pipe" });
      expect(run("--help")).toContain("--threads N");
      expect(() => run("--epoch-count", "3")).toThrow(/Unknown option/);
      expect(() => run("--threads", "many")).toThrow(/--threads must be a number, got many/);
    },
  );
});
