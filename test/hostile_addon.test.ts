import { describe, expect, it } from "vitest";
import { type KernelName, kernelNames } from "../lib/backend/abi.js";
import { loadNative } from "../lib/backend/load.js";

/** The addon by itself, without the TypeScript in front of it: it believes nothing that it is told. */

const { backend } = loadNative();
const addon = backend!.addon;
const firstId = 5000;

/** A program of one call: element type float32, operands as [block, byte offset]. */
function call(kernel: KernelName, sizes: readonly number[], operands: readonly (readonly [number, number])[]): number {
  const head = [kernelNames.indexOf(kernel), 0, sizes.length, operands.length];
  const record = [...head, ...sizes, ...operands.flat()];
  return addon.runProgramSync(Float64Array.of(record.length, ...record)).status;
}

describe("the addon", () => {
  it("takes no memory that can go away", () => {
    const detached = new Uint8Array(64);
    structuredClone(detached, { transfer: [detached.buffer] });
    const Resizable = ArrayBuffer as unknown as new (bytes: number, options: object) => ArrayBuffer;
    const resizable = new Uint8Array(new Resizable(64, { maxByteLength: 128 }));
    for (const bytes of [detached, resizable])
      expect(() => addon.registerBlock(firstId, bytes)).toThrow(/neither detached nor resizable/);
    for (const wrong of [null, 3, "x", new Float32Array(4), new ArrayBuffer(64), new DataView(new ArrayBuffer(8)), {}])
      expect(() => addon.registerBlock(firstId, wrong as never)).toThrow(TypeError);
    for (const id of [-1, 1.5, Number.NaN, 2 ** 24, "1", null])
      expect(() => addon.registerBlock(id as never, new Uint8Array(8))).toThrow(/id must be an integer/);
    expect(() => addon.attach(new Float64Array(new Resizable(64, { maxByteLength: 128 })))).toThrow(/resizable/);
    expect(() => addon.unregisterBlock(firstId)).toThrow(/there is no block/);
    addon.registerBlock(firstId, new Uint8Array(new SharedArrayBuffer(64)));
    expect(() => addon.registerBlock(firstId, new Uint8Array(8))).toThrow(/in use/);
    addon.unregisterBlock(firstId);
  });

  it("asks before every call whether memory that it took is still there", () => {
    const [block, other] = [firstId + 10, firstId + 11];
    const sizes = [0, 4, 0, 0];
    const bytes = new Uint8Array(64);
    addon.registerBlock(block, bytes);
    addon.registerBlock(other, new Uint8Array(64));
    const neg = (): number =>
      call("unary", sizes, [
        [block, 0],
        [other, 0],
      ]);
    expect(neg()).toBe(0);
    const gone = structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
    expect(gone.byteLength).toBe(64);
    expect(neg).toThrow(/unary: the buffer of operand 0 was detached/);
    const record = [kernelNames.indexOf("unary"), 0, 4, 2, ...sizes, block, 0, other, 0];
    const calls = new Float64Array(64);
    calls.set(record);
    addon.attach(calls);
    expect(() => addon.run()).toThrow(/the buffer of operand 0 was detached/);
    expect(() => addon.keeps()).toThrow(/the buffer of operand 0 was detached/);
    structuredClone(calls.buffer, { transfer: [calls.buffer] });
    expect(() => addon.run()).toThrow(/the call buffer was detached/);
    addon.unregisterBlock(block);
    addon.unregisterBlock(other);
    // A flag of the caller's own hides nothing.
    const Resizable = ArrayBuffer as unknown as new (bytes: number, options: object) => ArrayBuffer;
    const buffer = new Resizable(64, { maxByteLength: 128 });
    Object.defineProperty(buffer, "resizable", { value: false });
    if ("resizable" in ArrayBuffer.prototype)
      expect(() => addon.registerBlock(block, new Uint8Array(buffer))).toThrow(/nor resizable/);
  });

  it("refuses operands that lie across what is written, and computes in place where a kernel allows it", () => {
    const bytes = new Uint8Array(1024);
    const floats = new Float32Array(bytes.buffer);
    const index = new Uint8Array(Int32Array.of(0, 1).buffer);
    const [block, positions] = [firstId + 1, firstId + 2];
    addon.registerBlock(block, bytes);
    addon.registerBlock(positions, index);
    const unary = (to: number): number =>
      call(
        "unary",
        [0, 16, 0, 0],
        [
          [block, 0],
          [block, to],
        ],
      ); // neg
    floats.fill(1);
    expect(unary(0)).toBe(0);
    expect(floats.slice(0, 17)).toEqual(Float32Array.of(...new Array<number>(16).fill(-1), 1));
    expect(unary(64)).toBe(0);
    expect(() => unary(4)).toThrow(/unary: operand x lies in the memory of y/);
    // op, outer, n, m, inner
    const select = (to: number): number =>
      call(
        "index_select",
        [0, 1, 4, 2, 8],
        [
          [block, 0],
          [positions, 0],
          [block, to],
        ],
      );
    expect(select(128)).toBe(0);
    for (const to of [0, 4, 96, 124]) expect(() => select(to)).toThrow(/operand x lies in the memory of y/);
    const scan = (to: number): number =>
      call(
        "scan",
        [0, 0, 1, 8, 1],
        [
          [block, 0],
          [block, to],
        ],
      );
    expect(scan(32)).toBe(0);
    expect(() => scan(0)).toThrow(/lies in the memory/);
    addon.unregisterBlock(block);
    addon.unregisterBlock(positions);
  });

  it("ends at once where there is nothing to compute, however large the sizes beside it are", () => {
    const block = firstId + 3;
    addon.registerBlock(block, new Uint8Array(4096));
    const started = performance.now();
    const [huge, one, none] = [2 ** 36, [1, 1, 1], [0, 0, 0]];
    expect(
      call(
        "softmax",
        [0, huge, 0, 4],
        [
          [block, 0],
          [block, 0],
        ],
      ),
    ).toBe(0);
    expect(
      call(
        "scan",
        [0, 0, huge, 0, 1],
        [
          [block, 0],
          [block, 0],
        ],
      ),
    ).toBe(0);
    // batch, groups, in_channels, out_channels, in, kernel, stride, dilation, pad, out, activation
    const columns = [1, 1, 4, 4, ...[1, 4, 4], ...[1, 2 ** 20, 2 ** 10], ...one, ...one, ...none, ...[1, 0, 0], 0];
    expect(
      call("col2im", columns, [
        [block, 0],
        [block, 1024],
      ]),
    ).toBe(0);
    const strides = [
      1,
      1,
      4,
      4,
      ...[1, 4, 4],
      ...one,
      ...[1, 2 ** 34, 1],
      ...[1, 2 ** 30, 1],
      ...none,
      ...[1, 0, 0],
      0,
    ];
    expect(
      call("conv_input_grad", strides, [
        [block, 0],
        [block, 512],
        [-1, 0],
        [block, 1024],
      ]),
    ).toBe(0);
    expect(performance.now() - started).toBeLessThan(1000);
    addon.unregisterBlock(block);
  });
});
