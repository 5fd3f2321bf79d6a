import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, describe, expect, it } from "vitest";
import { data, io, type Tensor, tensor } from "./support/xcorr.js";

const folder = mkdtempSync(join(tmpdir(), "xcorr-data-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function context(batch = 0, seed = 1): data.BatchContext {
  let given: data.BatchContext | undefined;
  const loader = new data.DataLoader(new data.TensorDataset(tensor(new Uint8Array(batch + 1))), {
    seed,
    transform: (b, c) => {
      given = c;
      return b;
    },
  });
  for (const _ of loader);
  return given!;
}

const images = (n: number, c: number, h: number, w: number, dtype: "uint8" | "float32" = "uint8"): Tensor =>
  tensor(
    Float64Array.from({ length: n * c * h * w }, (_, i) => 1 + ((i * 37) % 251)),
    { shape: [n, c, h, w], dtype },
  );

describe("CIFAR", () => {
  const record = (labels: number[], first: number): Uint8Array =>
    Uint8Array.from([...labels, ...Array.from({ length: 3072 }, (_, i) => (first + i) % 256)]);
  const at = join(folder, "cifar-10-batches-bin");
  mkdirSync(at);
  for (let n = 1; n <= 5; n++)
    writeFileSync(join(at, `data_batch_${n}.bin`), Buffer.concat([record([n], n), record([n + 4], 7 * n)]));
  writeFileSync(join(at, "test_batch.bin"), record([9], 200));

  it("reads the records of all files in order", () => {
    const set = data.cifar10(folder);
    expect(set.length).toBe(10);
    const [image, label] = set.get(3);
    expect(label.item()).toBe(6);
    expect(image.shape).toEqual([3, 32, 32]);
    expect(Array.from(image.data().subarray(1024, 1026))).toEqual([(14 + 1024) % 256, (15 + 1024) % 256]);
    expect(data.cifar(at, { train: false }).get(0)[1].item()).toBe(9);
    const hundred = join(folder, "hundred");
    mkdirSync(hundred);
    writeFileSync(join(hundred, "test.bin"), record([19, 99], 3));
    writeFileSync(join(hundred, "coarse_label_names.txt"), Array.from({ length: 20 }, (_, i) => `c${i}\n`).join(""));
    expect(data.cifar100(hundred, { train: false }).get(0)[1].item()).toBe(99);
    const coarse = data.cifar(hundred, { train: false, labels: "coarse" });
    expect([coarse.get(0)[1].item(), coarse.classes?.[19], coarse.classCount]).toEqual([19, "c19", 20]);
  });

  it("names what is wrong", () => {
    const bad = join(folder, "bad");
    mkdirSync(bad);
    expect(() => data.cifar10(bad)).toThrow(/has no data_batch_1.bin, data_batch_2.bin/);
    expect(() => data.cifar(bad)).toThrow(/neither test_batch.bin/);
    writeFileSync(join(bad, "test_batch.bin"), record([1], 0).subarray(0, 3000));
    expect(() => data.cifar10(bad, { train: false })).toThrow(/records have 3073 bytes, but the file has 3000 bytes/);
    writeFileSync(join(bad, "test_batch.bin"), record([1, 2], 0));
    expect(() => data.cifar10(bad, { train: false })).toThrow(/the form of CIFAR-100/);
    writeFileSync(join(bad, "test_batch.bin"), Buffer.concat([record([1], 0), record([10], 0)]));
    expect(() => data.cifar10(bad, { train: false })).toThrow(/record 1 has label 10, expected 0 to 9/);
  });
});

describe("arrays, npy and npz", () => {
  it("are data sets", () => {
    const x = tensor([
      [1, 2],
      [3, 4],
      [5, 6],
    ]);
    io.saveNpy(join(folder, "x.npy"), x);
    io.saveNpy(join(folder, "y.npy"), tensor([7, 8, 9], { dtype: "int32" }));
    io.saveNpz(join(folder, "set.npz"), { x, y: tensor([7, 8, 9], { dtype: "int32" }) });
    for (const set of [
      data.npy(join(folder, "x.npy"), join(folder, "y.npy")),
      data.npz(join(folder, "set.npz"), ["x", "y"]),
      data.arrays(
        [
          [1, 2],
          [3, 4],
          [5, 6],
        ],
        Int32Array.of(7, 8, 9),
      ),
    ]) {
      expect(set.get(1).map((t) => t.toArray())).toEqual([[3, 4], 8]);
      expect(set.get(1)[1]!.dtype).toBe("int32");
    }
    expect(() => data.npz(join(folder, "set.npz"), ["z"])).toThrow(/no array "z"; it has x, y/);
  });
});

describe("splits", () => {
  const set = data.arrays(Int32Array.from({ length: 11 }, (_, i) => i));
  const numbers = (d: data.Dataset): number[] =>
    Array.from({ length: d.length }, (_, i) => d.get(i)[0]!.item() as number);

  it("divide at random, every sample once, by seed", () => {
    const parts = data.randomSplit(set, [0.7, 0.3], { seed: 4 });
    expect(parts.map((p) => p.length)).toEqual([8, 3]);
    expect(parts.flatMap(numbers).sort((a, b) => a - b)).toEqual(numbers(set));
    expect(data.randomSplit(set, [8, 3], { seed: 4 }).map(numbers)).toEqual(parts.map(numbers));
    expect(data.randomSplit(set, [8, 3], { seed: 5 }).map(numbers)).not.toEqual(parts.map(numbers));
    expect(() => data.randomSplit(set, [8, 2])).toThrow(/add up to 10/);
  });

  it("are joined again", () => {
    const joined = new data.ConcatDataset(...data.randomSplit(set, [4, 0, 7]));
    expect(numbers(joined).sort((a, b) => a - b)).toEqual(numbers(set));
    const order = Int32Array.of(10, 0, 4, 3);
    expect(joined.batch(order)[0]!.toArray()).toEqual(Array.from(order, (i) => joined.get(i)[0]!.item()));
    expect(() => joined.get(11)).toThrow(/out of range for 11/);
  });
});

describe("DataLoader", () => {
  it("refuses data sets without a size, and functions that are none or give no batch", () => {
    const set = (length: unknown) => ({ length, get: () => [tensor([1])] }) as never;
    for (const length of [-1, Number.NaN, 0.5, 2 ** 40])
      expect(() => new data.DataLoader(set(length))).toThrow(/the dataset's length must be an integer/);
    const numbers = data.arrays([1, 2, 3]);
    for (const name of ["collate", "transform"])
      expect(() => new data.DataLoader(numbers, { [name]: 3 })).toThrow(`${name} must be a function, got 3`);
    expect(() => new data.DataLoader(numbers, { shuffle: "no" } as never)).toThrow(/shuffle must be true or false/);
    for (const wrong of [async (batch: unknown) => batch, () => {}, () => 3]) {
      expect(() => [...new data.DataLoader(numbers, { transform: wrong as never })]).toThrow(
        /transform must return a batch, a list of tensors/,
      );
      expect(() => [...new data.DataLoader(numbers, { collate: wrong as never })]).toThrow(/collate .* must return/);
    }
  });
});

describe("transforms", () => {
  it("normalise by channel, bytes as values from 0 to 1", () => {
    const x = images(2, 2, 3, 3);
    const [y, label] = data.normalize([0.5, 0.25], [0.1, 2])([x, tensor([3])], context());
    expect(label.item()).toBe(3);
    const [from, to] = [x.data(), y.data()];
    for (let i = 0; i < 36; i++) {
      const c = Math.floor(i / 9) % 2;
      expect(to[i]).toBe(Math.fround((from[i]! / 255 - [0.5, 0.25][c]!) / [0.1, 2][c]!));
    }
    const [z] = data.normalize(1, 2)([images(1, 1, 2, 2, "float32")], context());
    expect(z.data()[0]).toBe(0);
    expect(() => data.normalize([1, 2, 3], 1)([x], context())).toThrow(/mean has 3 values, but the images have 2/);
  });

  it("crop windows of the padded image", () => {
    const x = images(40, 2, 5, 6);
    const [y] = data.randomCrop([4, 5], { padding: 2, fill: 0 })([x], context());
    expect(y.shape).toEqual([40, 2, 4, 5]);
    const found = new Set<string>();
    for (let n = 0; n < 40; n++) {
      let matches = 0;
      for (let top = -2; top <= 3; top++) {
        for (let left = -2; left <= 3; left++) {
          let same = true;
          for (let i = 0; i < 40 && same; i++) {
            const [c, r, q] = [Math.floor(i / 20), top + (Math.floor(i / 5) % 4), left + (i % 5)];
            const value = r < 0 || r >= 5 || q < 0 || q >= 6 ? 0 : x.data()[((n * 2 + c) * 5 + r) * 6 + q]!;
            same = y.data()[n * 40 + i] === value;
          }
          if (same) {
            matches++;
            found.add(`${top} ${left}`);
          }
        }
      }
      expect(matches).toBe(1);
    }
    expect(found.size).toBeGreaterThan(15);
    expect(() => data.randomCrop(9)([x], context())).toThrow(/larger than the images \[5, 6\]/);
  });

  it("mirror about half of the images", () => {
    const x = images(64, 1, 2, 3);
    const [y] = data.randomHorizontalFlip()([x], context());
    const flipped = x.flip([3]).data();
    let count = 0;
    for (let n = 0; n < 64; n++) {
      const [a, b, c] = [x.data(), y.data(), flipped].map((d) => d.slice(n * 6, n * 6 + 6).join());
      expect([a, c]).toContain(b);
      if (b === c) count++;
    }
    expect(count).toBeGreaterThan(16);
    expect(count).toBeLessThan(48);
  });

  it("rotate with bilinear interpolation, the inverse of what an opposite rotation does", () => {
    // A linear ramp is reproduced exactly by bilinear interpolation inside the image.
    const ramp = tensor(
      Float64Array.from({ length: 81 }, (_, i) => 3 * (Math.floor(i / 9) - 4) + 2 * ((i % 9) - 4)),
      { shape: [1, 1, 9, 9], dtype: "float64" },
    );
    const [y] = data.randomRotation(30)([ramp], context());
    const at = (r: number, q: number): number => y.data()[(4 + r) * 9 + 4 + q]!;
    expect(at(0, 0)).toBeCloseTo(0, 12);
    const [down, right] = [at(1, 0), at(0, 1)]; // the turned gradient
    expect(Math.hypot(down, right)).toBeCloseTo(Math.hypot(3, 2), 12);
    expect(Math.abs(Math.atan2(down, right) - Math.atan2(3, 2))).toBeLessThanOrEqual(Math.PI / 6);
    expect(Math.abs(down - 3)).toBeGreaterThan(1e-3);
    for (const [r, q] of [
      [2, 1],
      [-1, 2],
      [2, -2],
    ] as const)
      expect(at(r, q)).toBeCloseTo(r * down + q * right, 10);
  });

  it("erase a rectangle of the share asked for", () => {
    const x = images(30, 3, 20, 20);
    const [y] = data.randomErasing(1, { scale: [0.1, 0.2] })([x], context());
    for (let n = 0; n < 30; n++) {
      const erased = Array.from(y.data().slice(n * 1200, n * 1200 + 400)).flatMap((v, i) => (v === 0 ? [i] : []));
      const rows = erased.map((i) => Math.floor(i / 20));
      const columns = erased.map((i) => i % 20);
      const area = (Math.max(...rows) - Math.min(...rows) + 1) * (Math.max(...columns) - Math.min(...columns) + 1);
      expect(area).toBe(erased.length);
      expect(area / 400).toBeGreaterThan(0.07);
      expect(area / 400).toBeLessThan(0.25);
    }
    expect(Array.from(x.data()).includes(0)).toBe(false);
  });

  it("follow from seed, epoch and batch alone, so that a resumed loader repeats them", () => {
    const set = new data.TensorDataset(images(20, 1, 6, 6));
    const transform = data.compose(
      data.randomCrop(6, { padding: 2 }),
      data.randomHorizontalFlip(),
      data.normalize(0, 1),
    );
    const make = () => new data.DataLoader(set, { batchSize: 4, shuffle: true, seed: 7, transform });
    const all: string[] = [];
    const whole = make();
    for (let epoch = 0; epoch < 2; epoch++) for (const [x] of whole) all.push(x.data().join());
    expect(new Set(all).size).toBe(10);
    const rest = make();
    rest.state = { epoch: 1, batch: 2 };
    expect(Array.from(rest, ([x]) => x.data().join())).toEqual(all.slice(7));
    expect(() => data.randomHorizontalFlip()([images(1, 1, 2, 2)], undefined as never)).toThrow(/\(batch, context\)/);
  });
});

describe("folders of images", () => {
  const at = join(folder, "images");
  const paint = async (name: string, width: number, height: number, colour: string): Promise<void> => {
    mkdirSync(join(at, name.split("/")[0]!), { recursive: true });
    const picture = sharp({ create: { width, height, channels: 3, background: colour } });
    writeFileSync(join(at, name), await picture.png().toBuffer());
  };

  it("give decoded images, classes sorted", async () => {
    await paint("zebra/b.png", 4, 3, "#102030");
    await paint("zebra/a.png", 8, 6, "#ff0000");
    await paint("ant/x.png", 4, 3, "#00ff00");
    writeFileSync(join(at, "ant", "notes.txt"), "no image");
    const set = new data.ImageFolder(at, { size: [3, 4] });
    expect(set.classes).toEqual(["ant", "zebra"]);
    expect(set.length).toBe(3);
    const batches: Tensor[][] = [];
    for await (const batch of new data.DataLoader(set, { batchSize: 3 })) batches.push([...batch]);
    const [x, y] = batches[0]!;
    expect([x!.shape, y!.toArray()]).toEqual([
      [3, 3, 3, 4],
      [0, 1, 1],
    ]);
    expect(x!.select(0, 2).select(1, 0).select(1, 0).toArray()).toEqual([0x10, 0x20, 0x30]);
    expect((await set.load()).get(0)[0].select(1, 0).select(1, 0).toArray()).toEqual([0, 255, 0]);
    const [grey] = await new data.ImageFolder(at, { channels: 1 }).getAsync(1);
    expect(grey.shape).toEqual([1, 6, 8]);
    expect(() => [...new data.DataLoader(set)]).toThrow(/for await/);
    const mixed = new data.DataLoader(new data.ImageFolder(at), { batchSize: 3 });
    await expect(
      (async () => {
        for await (const _ of mixed);
      })(),
    ).rejects.toThrow(/make the samples equal in size/);
  });

  it("say what is wrong", async () => {
    expect(() => new data.ImageFolder(join(folder, "none"))).toThrow(/there is no folder/);
    mkdirSync(join(folder, "hollow", "empty"), { recursive: true });
    expect(() => new data.ImageFolder(join(folder, "hollow"))).toThrow(/no .avif, .* in empty/);
    writeFileSync(join(folder, "hollow", "empty", "x.png"), "no image");
    await expect(new data.ImageFolder(join(folder, "hollow")).getAsync(0)).rejects.toThrow(
      /x.png: the image cannot be decoded/,
    );
  });
});
