import { Buffer } from "node:buffer";
import { execFileSync } from "node:child_process";
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32, deflateRawSync, deflateSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  data,
  FileError,
  FormatError,
  Generator,
  io,
  memoryStats,
  nn,
  ones,
  optim,
  randn,
  StateError,
  type Tensor,
  tensor,
  train,
  XcorrError,
} from "./support/xcorr.js";

/** Files that are no files, bombs, names that lead elsewhere, data sets of strangers, and states that would load half. */

const folder = mkdtempSync(join(tmpdir(), "xcorr-hostile-files-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (...names: string[]): string => join(folder, ...names);
const megabyte = 2 ** 20;

/** What `work` throws; the memory of the process must not have grown by more than `most` bytes on the way. */
function thrown(work: () => unknown, most = 96 * megabyte): Error {
  const before = process.memoryUsage().rss;
  const live = memoryStats().live;
  let error: unknown;
  try {
    work();
  } catch (caught) {
    error = caught;
  }
  expect(error).toBeInstanceOf(XcorrError);
  expect(process.memoryUsage().rss - before, (error as Error).message).toBeLessThan(most);
  expect(memoryStats().live - live).toBeLessThanOrEqual(4096);
  return error as Error;
}

/** Every call that opens a file by its path. */
const readers: Readonly<Record<string, (path: string) => unknown>> = {
  loadSafetensors: io.loadSafetensors,
  inspectSafetensors: io.inspectSafetensors,
  loadNpy: io.loadNpy,
  loadNpz: io.loadNpz,
  readIdx: data.readIdx,
  "data.npy": (path) => data.npy(path),
  "data.npz": (path) => data.npz(path, ["x"]),
  loadCheckpoint: (path) => train.loadCheckpoint(path, { model: new nn.Linear(2, 2) }),
};

describe.each(Object.keys(readers))("%s", (name) => {
  const read = readers[name]!;
  beforeAll(() => {
    execFileSync("mkfifo", [at(`pipe-${name}`)]);
    symlinkSync(
      "loop",
      at(`loop-${name}`)
        .replace(/[^/]*$/, `loop-${name}`)
        .replace(/$/, ""),
    ); // to nothing
  });
  it("names what is no regular file, and waits for none", () => {
    expect(thrown(() => read(folder)).message).toContain(`${folder} is a folder`);
    expect(thrown(() => read(at(`pipe-${name}`))).message).toMatch(/is a pipe; only regular files/);
    expect(thrown(() => read("/dev/zero")).message).toMatch(/\/dev\/zero is a device/);
    const missing = thrown(() => read(at("missing")));
    expect(missing).toBeInstanceOf(FileError);
    expect((missing as FileError).code).toBe("ENOENT");
    expect(thrown(() => read(`${folder}/a\0b`)).message).toContain("NUL");
    for (const path of [undefined, null, 3, "", {}, Buffer.from("x")])
      expect(thrown(() => read(path as string)).message).toMatch(/path must be a string/);
  });
  it("refuses an empty file and rubbish", () => {
    for (const bytes of [Buffer.alloc(0), Buffer.alloc(1), Buffer.alloc(4096), Buffer.alloc(4096, 0xff)]) {
      writeFileSync(at("rubbish"), bytes);
      const { message } = thrown(() => read(at("rubbish")));
      expect(message).toContain(at("rubbish"));
    }
  });
});

it("files are not saved in the place of what is none", () => {
  execFileSync("mkfifo", [at("taken")]);
  const model = new nn.Linear(2, 2);
  for (const [path, kind] of [
    [at("taken"), "a pipe"],
    [folder, "a folder"],
  ] as const) {
    expect(() => io.saveSafetensors(path, model.stateDict())).toThrow(`${path} is ${kind}; only regular files`);
    expect(() => train.saveCheckpoint(path, { model })).toThrow(FileError);
    expect(lstatSync(path).isFile()).toBe(false);
  }
  symlinkSync(at("taken"), at("link")); // a link is replaced
  io.saveNpy(at("link"), ones([2]));
  expect(io.loadNpy(at("link")).toArray()).toEqual([1, 1]);
});

/** Files that once went wrong somewhere, here or elsewhere, by how they end. */
const corpus = join(import.meta.dirname, "corpus");
describe("the corpus", () => {
  const kinds: readonly (readonly [string, (path: string) => unknown])[] = [
    [".safetensors", io.loadSafetensors],
    [".npy", io.loadNpy],
    [".npz", io.loadNpz],
    [".gz", data.readIdx],
  ];
  it.each(readdirSync(corpus))("%s is refused by name, at once", (name) => {
    const read = kinds.find(([end]) => name.endsWith(end))![1];
    const started = performance.now();
    expect(thrown(() => read(join(corpus, name)))).toBeInstanceOf(FormatError);
    expect(thrown(() => read(join(corpus, name))).message).toContain(name);
    expect(performance.now() - started).toBeLessThan(1000);
  });
});

// ---- Bombs ----

interface Entry {
  readonly name: string;
  readonly packed: Buffer;
  readonly size: number;
  readonly crc: number;
  readonly method: number;
  /** Where its local header begins, if not behind the entry before. */
  readonly place?: number;
}

/** A zip archive as told, true or not. */
function zip(entries: readonly Entry[]): Buffer {
  const pieces: Buffer[] = [];
  const list: Buffer[] = [];
  let end = 0;
  for (const { name, packed, size, crc, method, place } of entries) {
    const title = Buffer.from(name);
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(method, 4);
    common.writeUInt32LE(crc, 10);
    common.writeUInt32LE(packed.length, 14);
    common.writeUInt32LE(size, 18);
    common.writeUInt16LE(title.length, 22);
    const central = Buffer.concat([Buffer.from("PK\x01\x02\x14\x03"), common, Buffer.alloc(14), title]);
    central.writeUInt32LE(place ?? end, 42);
    list.push(central);
    if (place === undefined) {
      pieces.push(Buffer.from("PK\x03\x04"), common, title, packed);
      end += 30 + title.length + packed.length;
    }
  }
  const directory = Buffer.concat(list);
  const tail = Buffer.alloc(22);
  tail.write("PK\x05\x06", 0, "latin1");
  tail.writeUInt16LE(entries.length, 8);
  tail.writeUInt16LE(entries.length, 10);
  tail.writeUInt32LE(directory.length, 12);
  tail.writeUInt32LE(end, 16);
  return Buffer.concat([...pieces, directory, tail]);
}
const array = Buffer.from(io.encodeNpy(ones([4])));
const entryOf = (name: string, content = array): Entry => ({
  name,
  packed: deflateRawSync(content),
  size: content.length,
  crc: crc32(content),
  method: 8,
});

describe("archives", () => {
  it("are read as the tests write them", () => {
    expect(Object.keys(io.decodeNpz(zip([entryOf("a.npy"), entryOf("b/c.npy")])))).toEqual(["a", "b/c"]);
  });
  it("do not unpack to more than their size can justify", () => {
    const large = 2 ** 31;
    const bomb = deflateRawSync(Buffer.alloc(8 * megabyte));
    const claims: Entry = { name: "x.npy", packed: bomb, size: large, crc: 0, method: 8 };
    expect(thrown(() => io.decodeNpz(zip([claims]))).message).toMatch(/unpack to 2147483648 bytes, more than/);
    expect(thrown(() => io.decodeNpz(zip([{ ...claims, size: 128 }]))).message).toMatch(/cannot be unpacked/);
    expect(thrown(() => io.decodeNpz(zip([{ ...claims, method: 0 }]))).message).toMatch(/unpack to|stored in/);
    // Many entries over the same packed bytes.
    const first = entryOf("0.npy");
    const shared = Array.from({ length: 100 }, (_, i) => ({ ...first, name: `${i + 1}.npy`, place: 0 }));
    expect(thrown(() => io.decodeNpz(zip([first, ...shared]))).message).toMatch(/inside the entry before it/);
  });
  it("name no file outside, and none twice", () => {
    for (const name of ["../x.npy", "/etc/x.npy", "a/../../x.npy", "..\\x.npy", "C:\\x.npy", "a\0.npy", ".."])
      expect(thrown(() => io.decodeNpz(zip([entryOf(name)]))).message, name).toMatch(/leaves the folder/);
    expect(thrown(() => io.decodeNpz(zip([entryOf("a.npy"), entryOf("a")]))).message).toMatch(/comes twice/);
    const odd = io.decodeNpz(zip([entryOf("__proto__.npy"), entryOf("constructor.npy"), entryOf("toString.npy")]));
    expect(Object.keys(odd)).toEqual(["__proto__", "constructor", "toString"]);
    expect(Object.getPrototypeOf(odd)).toBeNull();
  });
});

describe("IDX", () => {
  const idx = (sizes: readonly number[], bytes: number): Buffer => {
    const head = Buffer.alloc(4 + 4 * sizes.length + bytes);
    head[2] = 8;
    head[3] = sizes.length;
    sizes.forEach((size, i) => void head.writeUInt32BE(size, 4 + 4 * i));
    return head;
  };
  it("does not unpack to more than its sizes say, or can be", () => {
    expect(data.parseIdx(gzipSync(idx([3, 4], 12))).shape).toEqual([3, 4]);
    expect(thrown(() => data.parseIdx(gzipSync(idx([4], 32 * megabyte)))).message).toMatch(
      /more than the 12 bytes of its sizes/,
    );
    expect(thrown(() => data.parseIdx(gzipSync(idx([2 ** 31], 100)))).message).toMatch(
      /more than the \d+ that \d+ packed bytes may become/,
    );
    expect(thrown(() => data.parseIdx(gzipSync(idx([2 ** 32 - 1, 2 ** 32 - 1, 0], 0)))).message).toMatch(/shape/);
    expect(thrown(() => data.parseIdx(gzipSync(idx([100], 50)))).message).toMatch(
      /take 100 bytes of data, but the file has 50/,
    );
    expect(thrown(() => data.parseIdx(gzipSync(idx([3], 3)).subarray(0, -9))).message).toMatch(/cannot be unpacked/);
  });
});

describe("safetensors", () => {
  it("no header costs more memory than its length justifies", () => {
    const header = Buffer.from(`{"a":[${"{},".repeat(3 * megabyte)}{}]}`);
    const prefix = Buffer.alloc(8);
    prefix.writeBigUInt64LE(BigInt(header.length));
    expect(thrown(() => io.decodeSafetensors(Buffer.concat([prefix, header])), 400 * megabyte).message).toMatch(
      /too many lists, objects and values/,
    );
  });
  it("gives back what it had read when a later tensor is wrong", () => {
    const count = 4000;
    const header = JSON.stringify({
      a: { dtype: "F32", shape: [count], data_offsets: [0, 4 * count] },
      b: { dtype: "I64", shape: [count], data_offsets: [4 * count, 12 * count] },
    });
    const bytes = Buffer.alloc(8 + header.length + 12 * count);
    bytes.writeBigUInt64LE(BigInt(header.length));
    bytes.write(header, 8);
    bytes.writeBigInt64LE(2n ** 40n, bytes.length - 8);
    expect(thrown(() => io.decodeSafetensors(bytes)).message).toMatch(/"b": element 3999 is 1099511627776/);
  });
  it("a file that is cut while others have it open is named", () => {
    const path = at("cut.safetensors");
    io.saveSafetensors(path, { a: ones([1000]) });
    truncateSync(path, 500);
    expect(thrown(() => io.loadSafetensors(path)).message).toMatch(/cut off/);
  });
});

// ---- Data sets ----

const record = (labels: number[]): Buffer => Buffer.concat([Buffer.from(labels), Buffer.alloc(3072, 7)]);

describe("CIFAR", () => {
  const place = at("cifar");
  mkdirSync(place);
  const ten = (bytes: Uint8Array): data.CifarDataset => {
    writeFileSync(join(place, "test_batch.bin"), bytes);
    return data.cifar10(place, { train: false });
  };
  const hundred = (bytes: Uint8Array, labels: "fine" | "coarse" = "fine"): data.CifarDataset => {
    writeFileSync(join(place, "test.bin"), bytes);
    return data.cifar100(place, { train: false, labels });
  };
  const whole = Buffer.concat([record([3]), record([9])]);
  it("is what the records say, or names the file", () => {
    fc.assert(
      fc.property(
        fc.nat(2 * 3073 + 20),
        fc.array(fc.tuple(fc.nat(2 * 3073 - 1), fc.nat(255)), { maxLength: 3 }),
        (length, changes) => {
          const bytes = Buffer.concat([whole, Buffer.alloc(20)]).subarray(0, length);
          for (const [i, value] of changes) if (i < bytes.length) bytes[i] = value;
          const fine = length > 0 && length % 3073 === 0 && bytes[0]! < 10 && (length === 3073 || bytes[3073]! < 10);
          if (!fine) expect(thrown(() => ten(bytes)).message).toContain("test_batch.bin");
          else
            expect(
              ten(bytes)
                .get(length / 3073 - 1)[1]
                .item(),
            ).toBe(bytes[length - 3073]);
        },
      ),
      {
        numRuns: 60,
        examples: [
          [3073, []],
          [6146, []],
          [6146, [[3073, 10]]],
          [0, []],
        ],
      },
    );
  });
  it("checks both labels of CIFAR-100", () => {
    expect(hundred(record([19, 99])).length).toBe(1);
    expect(thrown(() => hundred(record([20, 5]))).message).toMatch(/coarse label 20, expected 0 to 19/);
    expect(thrown(() => hundred(record([0, 100]), "coarse")).message).toMatch(/fine label 100/);
  });
  it("refuses folders and pipes in the place of files, and endless names", () => {
    rmSync(join(place, "test_batch.bin"), { force: true });
    mkdirSync(join(place, "test_batch.bin"));
    expect(thrown(() => data.cifar10(place, { train: false })).message).toMatch(/test_batch.bin is a folder/);
    rmSync(join(place, "test_batch.bin"), { recursive: true });
    symlinkSync("/dev/zero", join(place, "test_batch.bin"));
    expect(thrown(() => data.cifar10(place, { train: false })).message).toMatch(/is a device/);
    rmSync(join(place, "test_batch.bin"));
    writeFileSync(join(place, "batches.meta.txt"), Buffer.alloc(2 * megabyte, "a\n"));
    expect(thrown(() => ten(whole)).message).toMatch(/batches.meta.txt: the file has 2097152 bytes/);
    rmSync(join(place, "batches.meta.txt"));
    for (const given of [null, 3, "", "a\0b"])
      expect(thrown(() => data.cifar10(given as string)).message).toMatch(/path/);
    expect(thrown(() => data.cifar10(place, { train: "no" as never })).message).toMatch(/train must be true or false/);
  });
});

describe("image folders", () => {
  /** A PNG that says it is of this size, with so many bytes of zeros packed in it. */
  const png = (width: number, height: number, bytes: number): Buffer => {
    const chunk = (type: string, content: Buffer): Buffer => {
      const body = Buffer.concat([Buffer.from(type), content]);
      const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)];
      length.writeUInt32BE(content.length);
      check.writeUInt32BE(crc32(body));
      return Buffer.concat([length, body, check]);
    };
    const head = Buffer.alloc(13);
    head.writeUInt32BE(width, 0);
    head.writeUInt32BE(height, 4);
    head.set([8, 2, 0, 0, 0], 8);
    const parts = [
      chunk("IHDR", head),
      chunk("IDAT", deflateSync(Buffer.alloc(bytes))),
      chunk("IEND", Buffer.alloc(0)),
    ];
    return Buffer.concat([Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), ...parts]);
  };
  const small = png(2, 3, 3 * 7);
  const refused = async (image: string | Uint8Array): Promise<string> => {
    const before = process.memoryUsage().rss;
    const error = await data.decodeImage(image).then(
      () => null,
      (caught: unknown) => caught,
    );
    expect(error).toBeInstanceOf(XcorrError);
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * megabyte);
    return (error as Error).message;
  };
  it("bombs, cut and broken images are refused before they are decoded", async () => {
    expect((await data.decodeImage(small)).shape).toEqual([3, 3, 2]);
    expect(await refused(png(30_000, 30_000, megabyte))).toMatch(/30000 x 30000 pixels in \d+ bytes/);
    expect(await refused(png(2 ** 31 - 1, 2 ** 31 - 1, 10))).toMatch(/cannot be decoded/);
    for (const length of [0, 1, 8, 20, 40, small.length - 20]) await refused(small.subarray(0, length));
    await refused(Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="1e6" height="1e6"/>'));
    await refused(Buffer.from("%PDF-1.4\n"));
  });
  it("mutated images are images or refused", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(small.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        async (changes) => {
          const bytes = Buffer.from(small);
          for (const [i, value] of changes) bytes[i] = value;
          try {
            expect((await data.decodeImage(bytes)).dtype).toBe("uint8");
          } catch (error) {
            expect(error).toBeInstanceOf(FormatError);
          }
        },
      ),
      { numRuns: 60 },
    );
  });
  it("links are not followed, pipes not waited for, names taken as they are", async () => {
    const set = at("set");
    mkdirSync(join(set, "a"), { recursive: true });
    writeFileSync(join(set, "a", "x.png"), small);
    writeFileSync(join(set, "a", "y[page=3].png"), small);
    symlinkSync("/dev/zero", join(set, "a", "zero.png"));
    symlinkSync("..", join(set, "a", "up"));
    symlinkSync(".", join(set, "loop"));
    writeFileSync(at("secret.png"), small);
    symlinkSync(at("secret.png"), join(set, "a", "secret.png"));
    execFileSync("mkfifo", [join(set, "a", "pipe.png")]);
    const images = new data.ImageFolder(set);
    expect(images.classes).toEqual(["a"]);
    expect(images.files.map((file) => file.path.slice(set.length + 3))).toEqual(["x.png", "y[page=3].png"]);
    expect((await images.load()).length).toBe(2);
    // A link that takes the place of an image later.
    rmSync(join(set, "a", "x.png"));
    symlinkSync(at("secret.png"), join(set, "a", "x.png"));
    await expect(images.getAsync(0)).rejects.toThrow(FileError);
    rmSync(join(set, "a", "x.png"));
    await expect(images.getAsync(0)).rejects.toThrow(/x.png cannot be read: ENOENT/);
    for (const path of [join(set, "a", "pipe.png"), "/dev/zero", set])
      expect(await refused(path)).toMatch(/only regular files/);
    mkdirSync(at("links", "b"), { recursive: true });
    symlinkSync(at("secret.png"), at("links", "b", "s.png"));
    expect(thrown(() => new data.ImageFolder(at("links"))).message).toMatch(/1 symbolic links are not followed/);
    expect(thrown(() => new data.ImageFolder(at("secret.png"))).message).toMatch(/no folder/);
  });
});

// ---- States ----

describe("states load all or not at all", () => {
  const values = (parts: { model: nn.Module; optimizer: optim.Adam; schedule: optim.StepLR }): string =>
    JSON.stringify([
      Object.entries(parts.model.stateDict()).map(([key, t]) => [key, t.toArray()]),
      parts.optimizer.stateDict(),
      Object.values(parts.optimizer.stateDict().state).map((state) =>
        Object.entries(state).map(([name, value]) => [name, typeof value === "number" ? value : value.toArray()]),
      ),
      parts.schedule.stateDict(),
    ]);
  const made = (): { model: nn.Module; optimizer: optim.Adam; schedule: optim.StepLR } => {
    const model = new nn.Linear(3, 2);
    const optimizer = new optim.Adam(model.parameters(), { lr: 0.1 });
    const schedule = new optim.StepLR(optimizer, 2);
    model
      .forward(randn([4, 3]))
      .sum()
      .backward();
    optimizer.step();
    schedule.step();
    return { model, optimizer, schedule };
  };

  it("of a module, with a tensor that is gone or does not fit", () => {
    const model = new nn.Sequential(new nn.Linear(2, 2), new nn.Linear(2, 2));
    const before = JSON.stringify(Object.values(model.stateDict()).map((t) => t.toArray()));
    const good = (): Record<string, Tensor> =>
      Object.fromEntries(Object.entries(model.stateDict()).map(([key, t]) => [key, t.add(1)]));
    const gone = good();
    gone["1.bias"]!.dispose();
    expect(() => model.loadStateDict(gone)).toThrow(/1\.bias has no memory any more/);
    for (const wrong of [3, null, "x", tensor([1, 2, 3]), {}])
      expect(() => model.loadStateDict({ ...good(), "1.bias": wrong as never })).toThrow(StateError);
    expect(JSON.stringify(Object.values(model.stateDict()).map((t) => t.toArray()))).toBe(before);
    // Values that show the module's own memory, exchanged.
    const own = model.stateDict();
    const [a, b] = [own["0.bias"]!.toArray(), own["1.bias"]!.toArray()];
    model.loadStateDict({ ...own, "0.bias": own["1.bias"]!, "1.bias": own["0.bias"]! });
    expect([model.stateDict()["0.bias"]!.toArray(), model.stateDict()["1.bias"]!.toArray()]).toEqual([b, a]);
  });

  it("of an optimiser and a schedule, with an option or a count that is none", () => {
    const parts = made();
    const before = values(parts);
    const { state, paramGroups } = parts.optimizer.stateDict();
    const [group] = paramGroups;
    const groups: unknown[] = [
      { lr: -1 },
      { lr: "0.1" },
      { lr: Number.NaN },
      { betas: [0.9] },
      { betas: { 0: 0.9, 1: 0.9, length: 2 } },
      { eps: null },
      { amsgrad: "yes" },
      { initialLr: "1" },
      { params: [0] },
      { params: [0, 0] },
      { params: [0, "1"] },
      { params: null },
      JSON.parse('{"__proto__":{"lr":1}}'),
    ];
    for (const change of groups) {
      const changed = Object.create(null) as Record<string, unknown>;
      for (const [name, value] of [...Object.entries(group!), ...Object.entries(change as object)])
        changed[name] = value;
      expect(
        () => parts.optimizer.loadStateDict({ state, paramGroups: [changed as never] }),
        JSON.stringify(change),
      ).toThrow(XcorrError);
    }
    const wrong: unknown[] = [
      { 0: { step: -1 } },
      { 0: { step: 1.5 } },
      { 0: { step: ones([2, 3]) } },
      { 0: { expAvg: 3 } },
      { 0: { expAvg: ones([7]) } },
      { 0: null },
      { 9: {} },
      null,
    ];
    for (const each of wrong)
      expect(() => parts.optimizer.loadStateDict({ state: each as never, paramGroups })).toThrow(XcorrError);
    for (const each of [
      null,
      [],
      { lastEpoch: "1" },
      { lastEpoch: 1.5 },
      { baseLrs: [1, 2] },
      { lastLr: [Number.NaN] },
      { gamma: null },
    ])
      expect(() => parts.schedule.loadStateDict(each as never), JSON.stringify(each)).toThrow(XcorrError);
    expect(values(parts)).toBe(before);
  });

  it("of a checkpoint of which any number, word or tensor was changed", () => {
    const path = at("checkpoint.safetensors");
    train.saveCheckpoint(path, made());
    const tensors = io.loadSafetensors(path);
    const { metadata } = io.inspectSafetensors(path);
    const text = metadata["xcorr.state"]!;
    const pieces = text.split(/(?<=[:,[{])|(?=[,\]}])/);
    const odd = fc.constantFrom(
      "null",
      "-1",
      "1e999",
      "1.5",
      '"x"',
      "[]",
      "{}",
      "true",
      '{"$tensor":"none"}',
      '{"$number":"1"}',
      "",
    );
    let refused = 0;
    fc.assert(
      fc.property(
        fc.nat(pieces.length - 1),
        odd,
        fc.constantFrom(...Object.keys(tensors), null),
        (i, value, dropped) => {
          const changed = [...pieces];
          changed[i] = value;
          const kept = Object.fromEntries(Object.entries(tensors).filter(([name]) => name !== dropped));
          writeFileSync(
            path,
            io.encodeSafetensors(kept, {
              metadata: { ...metadata, "xcorr.state": dropped === null ? changed.join("") : text },
            }),
          );
          const parts = made();
          const before = values(parts);
          try {
            train.loadCheckpoint(path, parts);
          } catch (error) {
            refused++;
            expect(error).toBeInstanceOf(XcorrError);
            expect(values(parts)).toBe(before);
          }
          expect(Object.getPrototypeOf(parts.optimizer.paramGroups[0])).toBe(Object.prototype);
          // Whatever it was, training goes on.
          (parts.model as nn.Linear)
            .forward(randn([4, 3]))
            .sum()
            .backward();
          parts.optimizer.step();
        },
      ),
      { numRuns: 150 },
    );
    expect(refused).toBeGreaterThan(75);
  });

  it("of loaders, generators and metrics", () => {
    const loader = new data.DataLoader(data.arrays([1, 2, 3, 4]), { batchSize: 2 });
    const generator = new Generator(5);
    const share = train.accuracy();
    const matrix = train.confusionMatrix(2);
    const states = [
      null,
      undefined,
      3,
      "x",
      [],
      {},
      { epoch: 1 },
      { epoch: 1, batch: 99 },
      { seed: 7 },
      { seed: 7, offset: -1 },
      [1],
      ["1", 2],
    ];
    for (const state of states) {
      for (const part of [loader, generator, share, matrix] as { state: unknown }[]) {
        const before = JSON.stringify(part.state);
        expect(() => {
          part.state = state;
        }, JSON.stringify(state)).toThrow(XcorrError);
        expect(JSON.stringify(part.state)).toBe(before);
      }
    }
  });

  it("of a part that cannot check beforehand, when a later one refuses", () => {
    const path = at("parts.safetensors");
    const counter = { state: { count: 1, w: ones([2]) as Tensor } };
    const model = new nn.Linear(2, 2);
    train.saveCheckpoint(path, { counter, model });
    counter.state = { count: 5, w: ones([2]).mul(3) };
    expect(() => train.loadCheckpoint(path, { counter, model: new nn.Linear(3, 2) })).toThrow(StateError);
    expect([counter.state.count, counter.state.w.toArray()]).toEqual([5, [3, 3]]);
    const picky = {
      get state(): unknown {
        return 1;
      },
      set state(_: unknown) {
        throw new StateError("no");
      },
    };
    train.saveCheckpoint(path, { counter, picky, model });
    counter.state = { count: 7, w: ones([2]) };
    const weight = model.weight.toArray();
    expect(() => train.loadCheckpoint(path, { counter, picky, model })).toThrow(/no/);
    expect([counter.state.count, model.weight.toArray()]).toEqual([7, weight]);
  });
});
