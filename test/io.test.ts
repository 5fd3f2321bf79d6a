import { Buffer } from "node:buffer";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { FormatError, io, nn, randn, type Tensor, tensor, zeros } from "./support/xcorr.js";

const folder = mkdtempSync(join(tmpdir(), "xcorr-io-"));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);

/** A safetensors file from its header and data. */
function file(header: string | object, data: readonly number[] | Uint8Array = [], length?: bigint): Uint8Array {
  const text = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(length ?? BigInt(text.length));
  return new Uint8Array(Buffer.concat([prefix, text, Uint8Array.from(data)]));
}

const entry = (dtype: string, shape: readonly number[], begin: number, end: number): object => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});

describe("safetensors", () => {
  // Written by safetensors 0.8 (Python) from { "b.w": [[1, 2], [3, 4.5]] f32, "n.num_batches_tracked": 7 i64, "a": [0.1] f64,
  // "t": [True, False], "u": [1, 2, 3] u8, "é": -5 i32, "empty": f32 of shape (0, 3) }, metadata { "format": "pt" }.
  const fromPython = Buffer.from(
    "wAEAAAAAAAB7Il9fbWV0YWRhdGFfXyI6eyJmb3JtYXQiOiJwdCJ9LCJuLm51bV9iYXRjaGVzX3RyYWNrZWQiOnsiZHR5cGUiOiJJNjQiLCJzaGFwZSI6W10sImRhdGFfb2Zmc2V0cyI6WzAsOF19LCJhIjp7ImR0eXBlIjoiRjY0Iiwic2hhcGUiOlsxXSwiZGF0YV9vZmZzZXRzIjpbOCwxNl19LCJiLnciOnsiZHR5cGUiOiJGMzIiLCJzaGFwZSI6WzIsMl0sImRhdGFfb2Zmc2V0cyI6WzE2LDMyXX0sImVtcHR5Ijp7ImR0eXBlIjoiRjMyIiwic2hhcGUiOlswLDNdLCJkYXRhX29mZnNldHMiOlszMiwzMl19LCLDqSI6eyJkdHlwZSI6IkkzMiIsInNoYXBlIjpbXSwiZGF0YV9vZmZzZXRzIjpbMzIsMzZdfSwidSI6eyJkdHlwZSI6IlU4Iiwic2hhcGUiOlszXSwiZGF0YV9vZmZzZXRzIjpbMzYsMzldfSwidCI6eyJkdHlwZSI6IkJPT0wiLCJzaGFwZSI6WzJdLCJkYXRhX29mZnNldHMiOlszOSw0MV19fSAgICAgBwAAAAAAAACamZmZmZm5PwAAgD8AAABAAABAQAAAkED7////AQIDAQA=",
    "base64",
  );
  const tensors: Record<string, Tensor> = {
    "b.w": tensor([
      [1, 2],
      [3, 4.5],
    ]),
    "n.num_batches_tracked": tensor(7, { dtype: "int32" }),
    a: tensor([0.1], { dtype: "float64" }),
    t: tensor([true, false]),
    u: tensor([1, 2, 3], { dtype: "uint8" }),
    é: tensor(-5, { dtype: "int32" }),
    empty: zeros([0, 3]),
  };

  it("writes the bytes that Python's library writes", () => {
    const bytes = io.encodeSafetensors(tensors, { metadata: { format: "pt" } });
    expect(Buffer.from(bytes).equals(fromPython)).toBe(true);
  });

  it("reads what Python's library has written", () => {
    writeFileSync(at("python.safetensors"), fromPython);
    const dict = io.loadSafetensors(at("python.safetensors"));
    expect(Object.keys(dict).sort()).toEqual(Object.keys(tensors).sort());
    for (const [name, t] of Object.entries(tensors)) {
      expect([name, dict[name]!.dtype, dict[name]!.shape]).toEqual([name, t.dtype, t.shape]);
      expect(dict[name]!.toArray()).toEqual(t.toArray());
    }
    const info = io.inspectSafetensors(at("python.safetensors"));
    expect({ ...info.metadata }).toEqual({ format: "pt" });
    expect(info.tensors[0]).toEqual({ name: "n.num_batches_tracked", dtype: "I64", shape: [] });
  });

  it("carries a model to another one, views and all", () => {
    const [from, to] = [new nn.models.LeNet5(), new nn.models.LeNet5()];
    io.saveSafetensors(at("lenet.safetensors"), from.stateDict());
    to.loadStateDict(io.loadSafetensors(at("lenet.safetensors")));
    const x = randn([2, 1, 28, 28]);
    expect(to.forward(x).toArray()).toEqual(from.forward(x).toArray());
    const view = randn([3, 4]).t().slice(0, 1, 3);
    expect(io.decodeSafetensors(io.encodeSafetensors({ view })).view!.toArray()).toEqual(view.toArray());
    expect(() => io.encodeSafetensors(new nn.LazyLinear(3).stateDict())).toThrow(/weight belongs to a lazy layer/);
    expect(() => io.encodeSafetensors({ __metadata__: view })).toThrow(/cannot be named/);
  });

  it("replaces a file whole or not at all", () => {
    const path = at("whole.safetensors");
    io.saveSafetensors(path, { a: tensor([1]) });
    expect(() => io.saveSafetensors(path, { a: tensor([2]), b: 3 as never })).toThrow(/b must be a tensor/);
    const gone = tensor([1]);
    gone.dispose();
    expect(() => io.saveSafetensors(path, { a: tensor([2]), b: gone })).toThrow(/given back/); // in the middle of writing
    expect(io.loadSafetensors(path).a!.toArray()).toEqual([1]);
    io.saveSafetensors(path, { a: tensor([2]) });
    expect(io.loadSafetensors(path).a!.toArray()).toEqual([2]);
    expect(readdirSync(folder).filter((name) => name.endsWith(".tmp"))).toEqual([]);
    expect(() => io.saveSafetensors(join(folder, "none", "x.safetensors"), {})).toThrow(/ENOENT/);
  });

  it("converts the types that tensors do not have", () => {
    const bytes = new Uint8Array(Buffer.from("003e00c0ff7b007c0080010000fc", "hex")); // 1.5 -2 65504 inf -0 2^-24 -inf
    const half = io.decodeSafetensors(file({ h: entry("F16", [7], 0, 14) }, bytes)).h!;
    expect([...half.data()]).toEqual([
      1.5,
      -2,
      65504,
      Number.POSITIVE_INFINITY,
      -0,
      2 ** -24,
      Number.NEGATIVE_INFINITY,
    ]);
    const brain = io.decodeSafetensors(file({ b: entry("BF16", [2], 0, 4) }, [0xc0, 0x3f, 0x80, 0xff])).b!;
    expect([...brain.data()]).toEqual([1.5, Number.NEGATIVE_INFINITY]);
    const wide = (...values: bigint[]): Uint8Array => new Uint8Array(BigInt64Array.from(values).buffer);
    const header = { i: entry("I64", [2], 0, 16) };
    expect([...io.decodeSafetensors(file(header, wide(-(2n ** 31n), 5n))).i!.data()]).toEqual([-(2 ** 31), 5]);
    expect(() => io.decodeSafetensors(file(header, wide(0n, 2n ** 31n)))).toThrow(/"i": element 1 is 2147483648/);
    expect(io.decodeSafetensors(file({ s: entry("I16", [1], 0, 2) }, [0xff, 0xff])).s!.toArray()).toEqual([-1]);
  });

  const f32 = (begin: number, end: number, shape = [(end - begin) / 4]): object => entry("F32", shape, begin, end);
  const refused: readonly (readonly [string, Uint8Array, RegExp])[] = [
    ["too short", new Uint8Array(5), /has 5 bytes, but a safetensors file begins with 8/],
    ["header past the end", file("{}", [], 100n), /the header's length is 100, but only 2 bytes follow/],
    ["header too long", file("{}", [], 100_000_001n), /100000001, more than 100000000/],
    ["length overflow", file("{}", [], 2n ** 64n - 1n), /18446744073709551615, more than/],
    ["no object", file("[]"), /must begin with \{/],
    ["leading space", file(" {}"), /must begin with \{/],
    ["not UTF-8", file('{"a"', [0xff, 0xfe], 6n), /not valid UTF-8/],
    ["broken JSON", file('{"a":'), /header: expected a value, found the end/],
    ["rubbish behind", file('{}{"a":1}'), /expected the end/],
    [
      "a key twice",
      file(`{"a":${JSON.stringify(f32(0, 4))},"a":${JSON.stringify(f32(4, 8))}}`, Array(8).fill(0)),
      /"a" comes twice/,
    ],
    ["a field twice", file('{"a":{"dtype":"F32","dtype":"F32"}}'), /"dtype" comes twice/],
    [
      "unknown dtype",
      file({ a: entry("F8_E5M2", [4], 0, 4) }, [0, 0, 0, 0]),
      /dtype of tensor "a" is "F8_E5M2", which cannot be read/,
    ],
    ["dtype of a prototype", file({ a: entry("constructor", [1], 0, 1) }, [0]), /dtype of tensor "a" is "constructor"/],
    [
      "no shape",
      file({ a: { dtype: "F32", data_offsets: [0, 4] } }, Array(4).fill(0)),
      /shape of tensor "a" must be a list/,
    ],
    ["negative size", file({ a: entry("F32", [-1], 0, 4) }, Array(4).fill(0)), /shape of tensor "a"/],
    ["fraction", file({ a: entry("F32", [0.5], 0, 2) }, [0, 0]), /shape of tensor "a"/],
    ["sizes that overflow", file({ a: entry("F32", [2 ** 31, 2 ** 31, 0], 0, 0) }), /too many elements|more than/],
    [
      "offsets too few",
      file({ a: { dtype: "F32", shape: [1], data_offsets: [0] } }),
      /data_offsets of tensor "a" must be two/,
    ],
    [
      "offsets reversed",
      file({ a: entry("F32", [1], 4, 0) }, Array(4).fill(0)),
      /data_offsets of tensor "a" span -4 bytes/,
    ],
    ["wrong length", file({ a: entry("F32", [2], 0, 4) }, Array(4).fill(0)), /span 4 bytes, but F32 \[2\] takes 8/],
    ["overlap", file({ a: f32(0, 8), b: f32(4, 12) }, Array(12).fill(0)), /"b" begin at 4 instead of 8: it overlaps/],
    ["hole", file({ a: f32(0, 4), b: f32(8, 12) }, Array(12).fill(0)), /"b" begin at 8 instead of 4: it leaves a hole/],
    ["hole at the start", file({ a: f32(4, 8) }, Array(8).fill(0)), /begin at 4 instead of 0/],
    ["cut off", file({ a: f32(0, 8) }, Array(7).fill(0)), /take 8 bytes, but only 7 follow the header/],
    ["rubbish at the end", file({ a: f32(0, 4) }, Array(5).fill(0)), /take 4 bytes, but 5 follow/],
    ["metadata of numbers", file({ __metadata__: { a: 1 } }), /__metadata__\.a must be a string/],
    ["entry that is no object", file({ a: 1 }), /the entry of tensor "a" must be an object/],
    ["too deep", file(`{"a":${"[".repeat(1000)}`), /more than 3 levels/],
    [
      "too many dimensions",
      file({ a: entry("F32", [1, 1, 1, 1, 1, 1, 1, 1, 1], 0, 4) }, Array(4).fill(0)),
      /9 dimensions/,
    ],
  ];

  it.each(refused)("refuses a file with %s, naming the field", (_, bytes, message) => {
    expect(() => io.decodeSafetensors(bytes)).toThrow(message);
    expect(() => io.decodeSafetensors(bytes)).toThrow(FormatError);
    writeFileSync(at("bad.safetensors"), bytes);
    expect(() => io.loadSafetensors(at("bad.safetensors"))).toThrow(message);
  });

  it("names never reach a prototype", () => {
    const bytes = file(
      `{"__proto__":${JSON.stringify(f32(0, 4))},"toString":${JSON.stringify(f32(4, 8))}}`,
      Array(8).fill(0),
    );
    const dict = io.decodeSafetensors(bytes);
    expect(Object.getPrototypeOf(dict)).toBeNull();
    expect(Object.keys(dict)).toEqual(["__proto__", "toString"]);
    expect(({} as { dtype?: unknown }).dtype).toBeUndefined();
    expect(Buffer.from(io.encodeSafetensors(dict)).length).toBeGreaterThan(16);
  });

  it("does not take a header for a pickle, whatever its length is", () => {
    for (let spare = 0; spare < 1500; spare += 8) {
      const metadata = { note: "x".repeat(spare) };
      const bytes = io.encodeSafetensors({ w: tensor([1, 2]) }, { metadata });
      expect(io.decodeSafetensors(bytes).w!.toArray(), `${bytes[0]} ${bytes[1]}`).toEqual([1, 2]);
    }
  });

  it("refuses PyTorch's pickles with the way to convert them", () => {
    writeFileSync(at("net.pt"), Buffer.concat([Buffer.from("PK\x03\x04"), Buffer.alloc(60)]));
    expect(() => io.loadSafetensors(at("net.pt"))).toThrow(/PyTorch pickle.*python3 -c '.*save_file.*net\.safetensors/);
    writeFileSync(at("old.pth"), Buffer.from([0x80, 2, 0x8a, 10, 0, 0, 0, 0, 0, 0]));
    expect(() => io.loadSafetensors(at("old.pth"))).toThrow(/PyTorch pickle/);
    io.saveNpy(at("a.npy"), zeros([1]));
    expect(() => io.loadSafetensors(at("a.npy"))).toThrow(/loadNpy/);
    io.saveNpz(at("a.npz"), { a: zeros([1]) });
    expect(() => io.loadSafetensors(at("a.npz"))).toThrow(/loadNpz/);
    expect(() => io.loadSafetensors(at("none.safetensors"))).toThrow(/ENOENT/);
    expect(existsSync(at("net.safetensors"))).toBe(false);
  });
});

/** An .npy file from its header's dict and data. */
function npy(dict: string, data: readonly number[], version = 1): Uint8Array {
  const text = Buffer.from(`${dict}\n`, "latin1");
  const head = Buffer.alloc(version === 1 ? 10 : 12);
  head.write("\x93NUMPY", "latin1");
  head[6] = version;
  if (version === 1) head.writeUInt16LE(text.length, 8);
  else head.writeUInt32LE(text.length, 8);
  return new Uint8Array(Buffer.concat([head, text, Uint8Array.from(data)]));
}

describe("npy and npz", () => {
  it("writes what NumPy writes, and reads it", () => {
    // numpy.save of numpy.array([[1.5, -2]], dtype="<f4"), NumPy 1.24
    const header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }";
    const expected = npy(header.padEnd(117), [0, 0, 0xc0, 0x3f, 0, 0, 0, 0xc0]);
    const bytes = io.encodeNpy(tensor([[1.5, -2]]));
    expect(Buffer.from(bytes).equals(Buffer.from(expected))).toBe(true);
    expect((bytes.length - 8) % 64).toBe(0);
    for (const t of [
      randn([2, 3, 4]),
      tensor(2.5, { dtype: "float64" }),
      tensor([1, 2], { dtype: "int32" }),
      tensor([[true]]),
      zeros([0, 3]),
    ]) {
      io.saveNpy(at("t.npy"), t as Tensor);
      const back = io.loadNpy(at("t.npy"));
      expect([back.dtype, back.shape, back.toArray()]).toEqual([t.dtype, t.shape, t.toArray()]);
    }
  });

  it("reads the other byte order, column-major arrays, later versions and wider integers", () => {
    const dict = (descr: string, shape: string, fortran = "False"): string =>
      `{'descr': '${descr}', 'fortran_order': ${fortran}, 'shape': ${shape}, }`;
    expect(io.decodeNpy(npy(dict(">i2", "(2,)"), [1, 2, 0xff, 0xfe])).toArray()).toEqual([258, -2]);
    expect(io.decodeNpy(npy(dict("|u1", "(2, 3)", "True"), [1, 2, 3, 4, 5, 6])).toArray()).toEqual([
      [1, 3, 5],
      [2, 4, 6],
    ]);
    expect(io.decodeNpy(npy(dict("<i8", "()"), [9, 0, 0, 0, 0, 0, 0, 0], 2)).item()).toBe(9);
    const refused: readonly (readonly [Uint8Array, RegExp])[] = [
      [npy(dict("<i8", "(1,)"), [0, 0, 0, 0, 1, 0, 0, 0]), /element 0 is 4294967296/],
      [npy(dict("<f4", "(2,)"), [0, 0, 0, 0]), /\[2\] takes 8 bytes, but 4 follow/],
      [npy(dict("<U1", "(1,)"), [0, 0, 0, 0]), /descr is "<U1"/],
      [npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", []), /arrays of records/],
      [npy(dict("<f4", "(-1,)"), []), /must be a tuple of integers/],
      [npy(dict("<f4", "(9999999999, 9999999999)"), []), /more than 2\^40 elements/],
      [npy("{}", []), /has no descr/],
      [new Uint8Array(20), /magic word/],
    ];
    for (const [bytes, message] of refused) expect(() => io.decodeNpy(bytes)).toThrow(message);
  });

  it("keeps arrays in an archive, stored or deflated", () => {
    const arrays = { x: randn([3, 4]).t(), "a/b": tensor([1, 2, 3], { dtype: "uint8" }), zeros: zeros([64, 64]) };
    for (const compress of [false, true]) {
      io.saveNpz(at("all.npz"), arrays as Record<string, Tensor>, { compress });
      const back = io.loadNpz(at("all.npz"));
      for (const [name, t] of Object.entries(arrays)) expect(back[name]!.toArray()).toEqual(t.toArray());
    }
    const bytes = readFileSync(at("all.npz"));
    expect(bytes.length).toBeLessThan(2000);
    const damaged = new Uint8Array(bytes);
    damaged[45]! ^= 0xff;
    expect(() => io.decodeNpz(damaged)).toThrow(FormatError);
    expect(() => io.decodeNpz(bytes.subarray(0, bytes.length - 30))).toThrow(/no zip archive/);
  });

  it("is not fooled by an entry that unpacks to more than it says", () => {
    io.saveNpz(at("bomb.npz"), { a: zeros([1000]) }, { compress: true });
    const bytes = Buffer.from(readFileSync(at("bomb.npz")));
    const list = bytes.indexOf(Buffer.from([0x50, 0x4b, 1, 2]));
    bytes.writeUInt32LE(100, list + 24);
    expect(() => io.decodeNpz(bytes)).toThrow(/cannot be unpacked|instead of 100/);
  });
});
