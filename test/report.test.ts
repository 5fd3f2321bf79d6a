import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { pathToFileURL } from "node:url";
import { inflateSync } from "node:zlib";
import { parseHTML } from "linkedom";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { crc32, crc32c } from "../lib/report/crc.js";
import { encodePng } from "../lib/report/picture.js";
import { crossEntropy, data, manualSeed, nn, optim, report, tensor, train } from "./support/xcorr.js";
import { TestRandom } from "./support/random.js";

const folder = mkdtempSync(join(tmpdir(), "xcorr-report-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Without the embedded pictures, whose letters mean nothing. */
function plain(text: string): string {
  return text.replaceAll(/data:image\/png;base64,[\w+/=]+/g, "data:");
}

/** A figure's document; fails where it is no SVG. */
function parsed(svg: string): Element {
  const { document } = parseHTML(`<body>${svg}</body>`);
  const root = document.querySelector("svg");
  expect(root).not.toBeNull();
  expect(plain(svg)).not.toMatch(/NaN|undefined|null/);
  return root as unknown as Element;
}

type Element = {
  querySelectorAll(
    selector: string,
  ): ArrayLike<{ getAttribute(name: string): string | null; textContent: string | null }>;
};

function texts(root: Element): string[] {
  return Array.from(root.querySelectorAll("text"), (t) => t.textContent ?? "");
}

/** Pixels of an embedded PNG, read by its own chunks. */
function decodePng(bytes: Buffer): { width: number; height: number; pixel(x: number, y: number): number[] } {
  let at = 8;
  let width = 0;
  let height = 0;
  const parts: Buffer[] = [];
  while (at < bytes.length) {
    const length = bytes.readUInt32BE(at);
    const kind = bytes.toString("latin1", at + 4, at + 8);
    const content = bytes.subarray(at + 8, at + 8 + length);
    expect(bytes.readUInt32BE(at + 8 + length)).toBe(crc32(bytes.subarray(at + 4, at + 8 + length)));
    if (kind === "IHDR") [width, height] = [content.readUInt32BE(0), content.readUInt32BE(4)];
    if (kind === "IDAT") parts.push(content);
    at += 12 + length;
  }
  const rows = inflateSync(Buffer.concat(parts));
  return {
    width,
    height,
    pixel: (x, y) => [...rows.subarray(y * (1 + 3 * width) + 1 + 3 * x, y * (1 + 3 * width) + 4 + 3 * x)],
  };
}

describe("figures", () => {
  it("checks agree with published values", () => {
    const digits = Buffer.from("123456789");
    expect(crc32(digits)).toBe(0xcbf43926);
    expect(crc32c(digits)).toBe(0xe3069283);
  });

  it("write PNG that others read", async () => {
    const png = encodePng(3, 2, (x, y) => [x * 100, y * 200, 7], 2);
    const { data: pixels, info } = await sharp(png).raw().toBuffer({ resolveWithObject: true });
    expect([info.width, info.height, info.channels]).toEqual([6, 4, 3]);
    for (let y = 0; y < 4; y++) {
      for (let x = 0; x < 6; x++) {
        const at = 3 * (y * 6 + x);
        expect([...pixels.subarray(at, at + 3)]).toEqual([Math.floor(x / 2) * 100, Math.floor(y / 2) * 200, 7]);
      }
    }
  });

  it("curve draws a line for each series", async () => {
    const svg = await report.curve({ training: [3, 2, 1], validation: [4, 3, 2.5] }, { title: "Loss", yLabel: "loss" });
    const root = parsed(svg);
    const lines = Array.from(root.querySelectorAll('[aria-label="line"] path'), (p) => p.getAttribute("d")!);
    expect(lines.length).toBe(2);
    const ends = lines.map((d) => d.match(/-?[\d.]+/g)!.map(Number));
    // Falling values go down: SVG's y grows downwards.
    for (const numbers of ends) expect(numbers.at(-1)!).toBeGreaterThan(numbers[1]!);
    expect(ends[1]![1]).toBeLessThan(ends[0]![1]!);
    expect(texts(root)).toEqual(expect.arrayContaining(["training", "validation", "1", "2", "3", "epoch"]));
    await expect(report.curve({})).rejects.toThrow(/1 to 7 series/);
    parsed(await report.curve({ one: [5] }));
    parsed(await report.curve({ holes: [1, Number.NaN, 3] }, { log: true }));
  });

  it("confusionMatrix draws every cell and count", async () => {
    const root = parsed(
      await report.confusionMatrix(
        [
          [5, 1, 0],
          [0, 3, 0],
          [2, 0, 7],
        ],
        { classes: ["a", "bee", "<c>"] },
      ),
    );
    expect(root.querySelectorAll('[aria-label="cell"] rect').length).toBe(9);
    expect(texts(root)).toEqual(expect.arrayContaining(["5", "1", "3", "2", "7", "bee", "<c>", "predicted", "true"]));
    parsed(await report.confusionMatrix(Array.from({ length: 100 }, () => new Array<number>(100).fill(1))));
    await expect(report.confusionMatrix([[1, 2]])).rejects.toThrow(/square/);
  });

  it("filters colours negative blue and positive red on one scale", async () => {
    const svg = await report.filters(tensor([-2, 0, 1, 2], { shape: [1, 1, 2, 2] }));
    const [image] = Array.from(parsed(svg).querySelectorAll("image"));
    const source = image!.getAttribute("href") ?? image!.getAttribute("xlink:href")!;
    const png = decodePng(Buffer.from(source.split(",")[1]!, "base64"));
    const corner = (x: number, y: number): number[] => png.pixel(x * (png.width - 1), y * (png.height - 1));
    expect(corner(0, 0)).toEqual([33, 102, 172]);
    expect(corner(1, 0)).toEqual([247, 247, 247]);
    expect(corner(1, 1)).toEqual([178, 24, 43]);
    const random = new TestRandom(3, "float32");
    expect(parsed(await report.filters(random.normal([40, 3, 5, 5]))).querySelectorAll("image").length).toBe(32);
    expect(parsed(await report.filters(random.normal([4, 6, 3, 3]))).querySelectorAll("image").length).toBe(24);
    await expect(report.filters(random.normal([4, 4]))).rejects.toThrow(/must be \[out, in, height, width\]/);
  });

  it("toPng draws what the SVG says", async () => {
    const png = await report.toPng(
      await report.confusionMatrix([
        [9, 0],
        [0, 9],
      ]),
      { scale: 1 },
    );
    const { info, data: pixels } = await sharp(png).removeAlpha().raw().toBuffer({ resolveWithObject: true });
    const blue = Array.from(
      { length: info.width * info.height },
      (_, i) => pixels[3 * i]! < 40 && pixels[3 * i + 2]! > 120,
    );
    expect(blue.filter(Boolean).length / blue.length).toBeGreaterThan(0.2);
  });
});

describe("event files", () => {
  /** TFRecords and the fields of their events, read by the formats' descriptions. */
  function read(path: string): { step: number; tag?: string; value?: number; version?: string }[] {
    const bytes = readFileSync(path);
    const mask = (part: Buffer): number => {
      const crc = crc32c(part);
      return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
    };
    const fields = function* (part: Buffer): Generator<[number, number | Buffer]> {
      let at = 0;
      const varint = (): number => {
        let value = 0;
        for (let scale = 1; ; scale *= 128) {
          const byte = part[at++]!;
          value += (byte & 127) * scale;
          if (byte < 128) return value;
        }
      };
      while (at < part.length) {
        const key = varint();
        if (key % 8 === 0) yield [key >> 3, varint()];
        else if (key % 8 === 1) yield [key >> 3, part.readDoubleLE((at += 8) - 8)];
        else if (key % 8 === 5) yield [key >> 3, part.readFloatLE((at += 4) - 4)];
        else {
          const length = varint();
          yield [key >> 3, part.subarray(at, (at += length))];
        }
      }
    };
    const events = [];
    for (let at = 0; at < bytes.length; ) {
      const length = Number(bytes.readBigUInt64LE(at));
      expect(bytes.readUInt32LE(at + 8)).toBe(mask(bytes.subarray(at, at + 8)));
      const content = bytes.subarray(at + 12, at + 12 + length);
      expect(bytes.readUInt32LE(at + 12 + length)).toBe(mask(content));
      const event = Object.fromEntries(fields(content));
      const one: { step: number; tag?: string; value?: number; version?: string } = { step: event[2] as number };
      if (event[3]) one.version = String(event[3]);
      if (event[5]) {
        const value = Object.fromEntries(fields(Object.fromEntries(fields(event[5] as Buffer))[1] as Buffer));
        one.tag = String(value[1]);
        one.value = value[2] as number;
      }
      events.push(one);
      at += 16 + length;
    }
    return events;
  }

  it("hold the scalars of a run", () => {
    const writer = new report.EventWriter(folder);
    writer.scalar("loss/å", 0.25, 3);
    writer.scalar("loss", -1.5, 70_000_000_000);
    writer.close();
    expect(() => writer.scalar("loss", 1, 1)).toThrow(/closed/);
    expect(read(writer.path)).toEqual([
      { step: 0, version: "brain.Event:2" },
      { step: 3, tag: "loss/å", value: 0.25 },
      { step: 70_000_000_000, tag: "loss", value: -1.5 },
    ]);
  });
});

/** Debian's and others' names of the browser. */
const chromium = ["chromium", "chromium-browser", "google-chrome"]
  .flatMap((name) => (process.env.PATH ?? "").split(delimiter).map((at) => join(at, name)))
  .find((path) => existsSync(path));

describe("the page of a run", () => {
  const path = join(folder, "report.html");
  let html = "";

  beforeAll(async () => {
    manualSeed(2);
    const random = new TestRandom(8);
    // Bright above or below, with noise; some labels wrong, so that there are mistakes.
    const count = 80;
    const images = random.make([count, 1, 10, 10], "uint8", (i) => {
      const [n, row] = [Math.floor(i / 100), Math.floor((i % 100) / 10)];
      return (n % 2 === 0) === row < 5 ? 120 + 100 * random.next() : 90 * random.next();
    });
    const labels = tensor(Int32Array.from({ length: count }, (_, n) => (n % 2) + (n % 10 === 0 ? 1 : 0)));
    const set = new data.TensorDataset(images, labels);
    const transform = data.normalize(0.4, 0.3);
    const model = new nn.Sequential(
      new nn.Conv2d(1, 4, 3),
      new nn.ReLU(),
      new nn.Conv2d(4, 5, 3),
      new nn.AdaptiveAvgPool2d(2),
      new nn.Flatten(),
      new nn.Linear(20, 2),
    );
    const writer = new report.EventWriter(folder);
    const result = await train.fit(model, {
      train: new data.DataLoader(set, { batchSize: 16, shuffle: true, transform }),
      validation: new data.DataLoader(set, { batchSize: 40, transform }),
      loss: crossEntropy,
      optimizer: new optim.Adam(model.parameters(), { lr: 0.01 }),
      epochs: 3,
      metrics: { accuracy: train.accuracy() },
      progress: false,
      callbacks: [writer.callback()],
    });
    await report.save(path, {
      title: "Bright <above> or below",
      model,
      result,
      validation: set,
      transform,
      classes: ["above", "below"],
      images: [0, 1],
      settings: { lr: 0.01, note: "a & b" },
    });
    html = readFileSync(path, "utf8");
  });

  it("draws every figure, and takes nothing from elsewhere", () => {
    const { document } = parseHTML(html);
    const figures = Array.from(
      document.querySelectorAll("figure"),
      (f) => f as unknown as Element & { getAttribute(n: string): string },
    );
    const names = figures.map((f) => f.getAttribute("data-figure"));
    expect(names).toEqual([
      "loss",
      "accuracy",
      "learning-rate",
      "confusion-matrix",
      "misclassified",
      "filters-0",
      "filters-2",
      "feature-maps-0",
      "feature-maps-1",
    ]);
    const shapes = Object.fromEntries(
      figures.map((f, i) => [names[i]!, f.querySelectorAll("path, rect, image, circle").length]),
    );
    for (const count of Object.values(shapes)) expect(count).toBeGreaterThan(1);
    expect(shapes["filters-0"]).toBe(4);
    expect(shapes["filters-2"]).toBe(5 * 4);
    expect(shapes["feature-maps-0"]).toBe(1 + 4 + 5);
    expect(plain(html)).not.toMatch(/(?:src|href)="(?!data:|#)|url\(\s*["']?(?!data:)|<script|@import/);
    expect(plain(html)).not.toMatch(/NaN|undefined/);
    expect(document.querySelector("h1")!.textContent).toBe("Bright <above> or below");
    expect(html).toContain("a &amp; b");
    expect(document.querySelectorAll("#model tbody tr").length).toBe(6);
  });

  it.runIf(chromium !== undefined)("is drawn by a real browser", async () => {
    const shot = join(folder, "page.png");
    const flags = [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--hide-scrollbars",
      `--user-data-dir=${join(folder, "profile")}`,
    ];
    execFileSync(chromium!, [...flags, "--window-size=1300,2600", `--screenshot=${shot}`, pathToFileURL(path).href], {
      stdio: "ignore",
      timeout: 50_000,
    });
    const { data: pixels, info } = await sharp(shot).removeAlpha().raw().toBuffer({ resolveWithObject: true });
    expect(info.width).toBe(1300);
    const share = (is: (r: number, g: number, b: number) => boolean): number => {
      let count = 0;
      for (let i = 0; i < pixels.length; i += 3) if (is(pixels[i]!, pixels[i + 1]!, pixels[i + 2]!)) count++;
      return count / (pixels.length / 3);
    };
    // The matrix's blue, the line's blue, viridis' greens of the feature maps: pictures are there, not only their frames.
    expect(share((r, g, b) => r < 40 && g < 110 && b > 120)).toBeGreaterThan(0.01);
    expect(share((r, g, b) => r === 0 && g === 114 && b === 178)).toBeGreaterThan(0.00005);
    expect(share((r, g, b) => g > 120 && g - r > 60 && g - b > 0)).toBeGreaterThan(0.002);
  });

  it("names a layer that does not exist", async () => {
    const model = new nn.Sequential(new nn.Flatten(), new nn.Linear(4, 2));
    const validation = new data.TensorDataset(
      tensor([1, 2, 3, 4], { shape: [1, 1, 2, 2] }),
      tensor([0], { dtype: "int32" }),
    );
    const options = { title: "x", model, result: { history: [] }, validation };
    await expect(report.render({ ...options, layers: ["conv"] })).rejects.toThrow(/no layer "conv"; it has 0, 1/);
    expect(await report.render(options)).toContain("</html>");
  });
});
