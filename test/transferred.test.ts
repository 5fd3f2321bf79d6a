import { describe, expect, it } from "vitest";
import { memoryStats } from "../lib/core/memory.js";
import { add, BackendError, emptyCache, io, nn, noGrad, ones, runAsync, serve, type Tensor } from "../lib/index.js";

/** Memory of a tensor that somebody has dug out and given away: an error, no crash, no wrong answer, and all else goes on. */

type Transferring = ArrayBuffer & { transfer?: () => ArrayBuffer };

/** Takes the memory away by `transfer`, which only Node 22 has and cannot be forbidden; elsewhere makes it look as if. */
function takeAway(t: Tensor): void {
  const { block } = t.storage;
  const buffer = block.bytes.buffer as Transferring;
  try {
    buffer.transfer?.();
  } catch (error) {
    expect((error as Error).message).toMatch(/not detachable/); // Node 24 and later
  }
  if (!block.detached) Object.defineProperty(block, "detached", { value: true });
  else expect(process.version).toMatch(/^v2[123]\./);
}

describe("memory of a tensor", () => {
  it("is in nothing that users are given", () => {
    const t = ones([64, 64]);
    const buffer = t.storage.block.bytes.buffer;
    const given = [
      t.data(),
      t.narrow(0, 0, 2).data(),
      t.t().data(),
      io.encodeNpy(t),
      io.encodeSafetensors({ t }),
      serve.share(t).buffer,
    ];
    for (const each of given) {
      const theirs = ArrayBuffer.isView(each) ? each.buffer : each;
      expect(theirs).not.toBe(buffer);
    }
    expect(JSON.stringify(structuredClone({ ...t }.shape))).toBe("[64,64]");
  });

  it("cannot be sent away", () => {
    for (const t of [ones([4]), ones([512, 512])]) {
      const buffer = t.storage.block.bytes.buffer as ArrayBuffer;
      try {
        structuredClone(buffer, { transfer: [buffer] });
      } catch (error) {
        expect((error as Error).name).toBe("DataCloneError"); // before Node 21 a copy is sent instead
      }
      expect(t.sum().item()).toBe(t.numel());
    }
  });

  it("is missed by every call when it is gone", async () => {
    const t = ones([512, 512]);
    const other = ones([512, 512]);
    takeAway(t);
    const uses: (() => unknown)[] = [
      () => t.data(),
      () => t.item,
      () => add(t, other),
      () => noGrad(() => other.add_(t)),
      () => noGrad(() => t.fill_(1)),
      () => t.toArray(),
      () => t.narrow(0, 0, 1).sum(),
      () => io.encodeNpy(t),
      () => serve.share(t),
    ];
    for (const [i, use] of uses.entries()) if (i !== 1) expect(use, String(use)).toThrow(BackendError);
    await expect(runAsync(() => t.matmul(t))).rejects.toThrow(/transferred away/);
    expect(other.sum().item()).toBe(512 * 512);
    const before = memoryStats().pooled;
    t.dispose(); // and nobody gets it again
    expect(memoryStats().pooled).toBe(before);
    emptyCache();
    expect(ones([512, 512]).sum().item()).toBe(512 * 512);
  });

  it("of weights that are written down for many runs, too", () => {
    const model = new nn.Sequential(
      new nn.Conv2d(3, 64, 3),
      new nn.ReLU(),
      new nn.Flatten(),
      new nn.Linear(64 * 36, 128),
    ).eval();
    const fast = nn.optimizeForInference(model);
    const x = ones([8, 3, 8, 8]); // with a buffer of its own: smaller ones share it with others
    for (let i = 0; i < 3; i++) fast.forward(x);
    takeAway(x);
    expect(() => fast.forward(x)).toThrow(BackendError);
    expect((fast.forward(ones([8, 3, 8, 8])) as Tensor).shape).toEqual([8, 128]);
  });
});
