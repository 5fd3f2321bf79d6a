import { Buffer } from "node:buffer";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { data, io, memoryStats, nn, ones, tensor, train, XcorrError } from "./support/xcorr.js";

/** Files of strangers: whatever is in them, a named error or a tensor; no crash, no huge allocation, no changed prototype. */

const folder = mkdtempSync(join(tmpdir(), "xcorr-hostile-"));
afterAll(() => rmSync(folder, { recursive: true }));
const runs = 300;

const sample = {
  "b.weight": tensor([
    [1, 2],
    [3, 4],
  ]),
  a: tensor([1, 2, 3], { dtype: "uint8" }),
  n: tensor([7], { dtype: "int32" }),
};
const idx = (type: number, sizes: readonly number[], content: readonly number[]): Uint8Array => {
  const head = Buffer.alloc(4 + 4 * sizes.length);
  head[2] = type;
  head[3] = sizes.length;
  sizes.forEach((s, i) => void head.writeUInt32BE(s, 4 + 4 * i));
  return new Uint8Array(Buffer.concat([head, Buffer.from(content)]));
};
io.saveNpz(join(folder, "seed.npz"), { x: ones([3]), y: ones([2]) }, { compress: true });

/** A valid file of each format, and what reads it from bytes. */
const formats: Readonly<Record<string, { readonly seed: Uint8Array; readonly read: (bytes: Uint8Array) => unknown }>> =
  {
    safetensors: { seed: io.encodeSafetensors(sample, { metadata: { k: "v" } }), read: io.decodeSafetensors },
    npy: { seed: io.encodeNpy(ones([3, 2])), read: io.decodeNpy },
    npz: { seed: await bytesOf("seed.npz"), read: io.decodeNpz },
    idx: { seed: idx(8, [2, 3], [1, 2, 3, 4, 5, 6]), read: (bytes) => data.parseIdx(bytes) },
  };

async function bytesOf(name: string): Promise<Uint8Array> {
  const { readFileSync } = await import("node:fs");
  return new Uint8Array(readFileSync(join(folder, name)));
}

/** Reads; what is thrown must be ours and say something, memory must stay small, prototypes clean. */
function survives(read: (bytes: Uint8Array) => unknown, bytes: Uint8Array): void {
  const before = memoryStats().fresh;
  try {
    read(bytes);
  } catch (error) {
    if (!(error instanceof XcorrError)) throw error;
    expect(error.message.length).toBeGreaterThan(10);
  }
  expect(memoryStats().fresh - before).toBeLessThan(64 * 1024 + 64 * bytes.length + 300_000);
  expect(Object.keys(Object.prototype)).toEqual([]);
  expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
}

/** Edits of a valid file: overwritten numbers of 1 to 8 bytes at extremes, cuts, doubled and inserted pieces. */
const extremes = [
  0n,
  1n,
  0x7fn,
  0xffn,
  0x7fffn,
  0xffffn,
  0x7fffffffn,
  0xffffffffn,
  2n ** 53n,
  2n ** 63n,
  2n ** 64n - 1n,
];
const edit = fc.record({
  kind: fc.constantFrom("byte", "number", "cut", "insert", "double"),
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  width: fc.constantFrom(1, 2, 4, 8),
  value: fc.oneof(fc.constantFrom(...extremes), fc.bigInt(0n, 2n ** 64n - 1n)),
  text: fc.constantFrom(
    '"',
    "}",
    "]",
    "-1",
    "1e309",
    "__proto__",
    "\0",
    ",",
    "99999999999999999999",
    "NaN",
    "..%2f",
    "'",
  ),
});

function edited(
  seed: Uint8Array,
  edits: readonly { kind: string; at: number; width: number; value: bigint; text: string }[],
): Uint8Array {
  let bytes: Buffer = Buffer.from(seed);
  for (const { kind, at, width, value, text } of edits) {
    const position = Math.min(bytes.length, Math.floor(at * bytes.length));
    if (kind === "cut") bytes = Buffer.from(bytes.subarray(0, position));
    else if (kind === "double")
      bytes = Buffer.concat([bytes.subarray(0, position), bytes.subarray(Math.floor(position / 2))]);
    else if (kind === "insert")
      bytes = Buffer.concat([bytes.subarray(0, position), Buffer.from(text), bytes.subarray(position)]);
    else {
      let left = value;
      for (let i = 0; i < (kind === "byte" ? 1 : width) && position + i < bytes.length; i++) {
        bytes[position + i] = Number(left & 0xffn);
        left >>= 8n;
      }
    }
  }
  return new Uint8Array(bytes);
}

describe.each(Object.keys(formats))("%s", (name) => {
  const { seed, read } = formats[name]!;
  it("is read when it is whole", () => {
    expect(read(seed)).toBeDefined();
  });
  it("refuses every beginning of a file", () => {
    for (let length = 0; length < seed.length; length++) {
      expect(() => read(seed.subarray(0, length)), `${length} bytes`).toThrow(XcorrError);
    }
  });
  it("survives edits of a valid file", () => {
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => survives(read, edited(seed, edits))),
      { numRuns: runs },
    );
  });
  it("survives rubbish, with and without the beginning of a valid file", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(60), (rubbish, kept) =>
        survives(read, new Uint8Array(Buffer.concat([seed.subarray(0, kept), rubbish]))),
      ),
      { numRuns: runs },
    );
  });
});

describe("safetensors headers", () => {
  it("any JSON as header", () => {
    const value = fc.letrec((tie) => ({
      json: fc.oneof(
        fc.constantFrom<unknown>(-1, 0, 1, 4, 2 ** 31, 2 ** 53, 1e308, null, true, "F32", "I64", "__proto__"),
        fc.array(tie("json"), { maxLength: 3 }),
        fc.dictionary(
          fc.constantFrom(
            "__proto__",
            "constructor",
            "dtype",
            "shape",
            "data_offsets",
            "__metadata__",
            "w",
            "polluted",
          ),
          tie("json"),
          { maxKeys: 4 },
        ),
      ),
    })).json;
    fc.assert(
      fc.property(
        fc.oneof(value, fc.record({ w: fc.record({ dtype: value, shape: value, data_offsets: value }) })),
        fc.nat(16),
        (header, count) => {
          const text = Buffer.from(JSON.stringify(header));
          const prefix = Buffer.alloc(8);
          prefix.writeBigUInt64LE(BigInt(text.length));
          survives(io.decodeSafetensors, new Uint8Array(Buffer.concat([prefix, text, Buffer.alloc(count)])));
        },
      ),
      { numRuns: 2 * runs },
    );
  });
});

describe("checkpoints", () => {
  const parts = (): Record<string, nn.Module> => ({ model: new nn.Linear(2, 2) });
  it("whose state is not what it should be are refused, and change nothing", () => {
    const path = join(folder, "checkpoint.safetensors");
    const states = fc.oneof(
      fc.constantFrom(
        "",
        "{",
        "[]",
        "null",
        "1",
        '{"__proto__":{"polluted":1}}',
        '{"model":{"$tensor":"x"},"$random":{}}',
      ),
      fc.json({ maxDepth: 3 }),
      fc.json({ maxDepth: 2 }).map((inside) => `{"model":${inside},"$random":${inside}}`),
    );
    fc.assert(
      fc.property(states, fc.constantFrom("1", "2", ""), (state, version) => {
        writeFileSync(
          path,
          io.encodeSafetensors(sample, { metadata: { "xcorr.checkpoint": version, "xcorr.state": state } }),
        );
        const given = parts();
        const before = given.model!.stateDict().weight!.toArray();
        expect(() => train.loadCheckpoint(path, given)).toThrow(XcorrError);
        expect(given.model!.stateDict().weight!.toArray()).toEqual(before);
        survives(() => train.loadCheckpoint(path, given), new Uint8Array(0));
      }),
      { numRuns: runs },
    );
  });
});
