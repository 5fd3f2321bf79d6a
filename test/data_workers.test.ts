import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
// Worker threads run JavaScript: these loaders are those of the build.
import { data, MemoryLimitError, setMemoryLimit, StateError, type Tensor } from "xcorr";

describe("loaders with worker threads", () => {
  const module = pathToFileURL(join(import.meta.dirname, "jobs/digits.js"));
  const collect = async (loader: AsyncIterable<readonly Tensor[]>): Promise<string[]> => {
    const seen: string[] = [];
    for await (const batch of loader) seen.push(batch.map((t) => `${t.dtype} ${t.shape} ${t.data().join()}`).join("|"));
    return seen;
  };

  it("make the same batches in the same order", async () => {
    const set = await data.fromModule(module, { export: "digits", arguments: [50], transform: "augment" });
    const plain = await data.fromModule(module, { export: "digits", arguments: [50] });
    const { augment } = (await import(module.href)) as { augment: data.ImageTransform };
    const options = { batchSize: 8, shuffle: true, seed: 2 };
    const here = new data.DataLoader(plain as data.Dataset<[Tensor, Tensor]>, {
      ...options,
      transform: augment,
    });
    const there = new data.DataLoader(set, { ...options, workers: 2, persistentWorkers: true });
    for (let epoch = 0; epoch < 2; epoch++) expect(await collect(there)).toEqual(await collect(here));
    there.state = here.state = { epoch: 1, batch: 3 };
    const rest = await collect(there);
    expect(rest).toEqual(await collect(here));
    expect(rest.length).toBe(4);
    await there.close();
    expect(() => [...there]).toThrow(/for await/);
  });

  it("take an epoch up again after the loop was left, and end by themselves", async () => {
    const set = await data.fromModule(module, { export: "digits", arguments: [40] });
    const loader = new data.DataLoader(set, { batchSize: 4, workers: 2 });
    let count = 0;
    for await (const _ of loader) if (++count === 3) break;
    expect(loader.state).toEqual({ epoch: 0, batch: 3 });
  });

  it("bring errors to the loop, after the batches before", async () => {
    const set = await data.fromModule(module, { export: "failing", arguments: [40, 13] });
    const loader = new data.DataLoader(set, { batchSize: 4, workers: 3 });
    let count = 0;
    const loop = async (): Promise<void> => {
      for await (const _ of loader) count++;
    };
    await expect(loop()).rejects.toThrow(/sample 13 is damaged/);
    expect(count).toBe(3);
  });

  it("give batches that nothing changes later, of every size and type", async () => {
    for (const [name, ...args] of [
      ["digits", 60],
      ["uneven", 41, 7],
      ["uneven", 9, 260_001], // 8 MB a batch: copied in several turns
    ] as const) {
      const set = await data.fromModule(module, { export: name, arguments: args });
      const options = { batchSize: 4, shuffle: true };
      const expected = [...new data.DataLoader(set as data.Dataset, options)];
      const kept: (readonly Tensor[])[] = [];
      const loader = new data.DataLoader(set, { ...options, workers: 2, prefetch: 1 });
      for await (const batch of loader) kept.push(batch);
      expect(kept.length).toBe(expected.length);
      for (const [b, batch] of expected.entries()) {
        expect(kept[b]!.length).toBe(batch.length);
        for (const [p, t] of batch.entries()) {
          const got = kept[b]![p]!;
          expect([got.dtype, ...got.shape]).toEqual([t.dtype, ...t.shape]);
          expect(
            Buffer.compare(Buffer.from(got.data().buffer), Buffer.from(t.data().buffer)),
            `${name} ${b} ${p}`,
          ).toBe(0);
        }
      }
    }
  });

  it("send no more memory than there are batches ahead, epoch after epoch", async () => {
    const set = await data.fromModule(module, { export: "reused", arguments: [50] });
    const loader = new data.DataLoader(set, { batchSize: 1, workers: 2, prefetch: 3, persistentWorkers: true });
    const brought: number[] = [];
    for (let epoch = 0; epoch < 3; epoch++) for await (const [t] of loader) brought.push(t!.item());
    await loader.close();
    expect(brought.length).toBe(150);
    // The first, of each worker as many as it makes ahead, have no memory to bring.
    expect(brought.slice(6)).not.toContain(0);
    expect(brought.filter((bytes) => bytes >= 4).length).toBeGreaterThan(130);
  });

  it("go on after a thread ended, a loop was left, or there was no memory", async () => {
    const set = await data.fromModule(module, { export: "ending", arguments: [40, 13] });
    const loader = new data.DataLoader(set, { batchSize: 4, workers: 2, persistentWorkers: true });
    await expect(collect(loader)).rejects.toThrow(/worker 1 of 2 ended with code 3 before its batch was made/);
    expect(loader.state.epoch).toBe(0);
    expect(loader.state.batch).toBeLessThanOrEqual(3); // the thread may take batches that were done with it
    loader.state = { epoch: 0, batch: 4 };
    expect((await collect(loader)).length).toBe(6);
    for await (const _ of loader) break;
    loader.state = { epoch: 1, batch: 4 };
    setMemoryLimit(16);
    try {
      await expect(collect(loader)).rejects.toThrow(MemoryLimitError);
    } finally {
      setMemoryLimit(Number.POSITIVE_INFINITY);
    }
    expect((await collect(loader)).length).toBe(6);
    await loader.close();
  });

  it("end with close, also in the middle of a loop", async () => {
    const set = await data.fromModule(module, { export: "digits", arguments: [40] });
    const loader = new data.DataLoader(set, { batchSize: 4, workers: 2 });
    let count = 0;
    const loop = async (): Promise<void> => {
      for await (const _ of loader) if (++count === 2) await loader.close();
    };
    await expect(loop()).rejects.toThrow(StateError);
    expect(count).toBeLessThan(10);
    expect((await collect(loader)).length).toBe(10);
  });

  it("keep the memory of a long loop level", () => {
    // 1.6 GB go through two workers, in batches of 1 MB.
    const script = `
      import { data } from "xcorr";
      const set = await data.fromModule(${JSON.stringify(module.href)}, { export: "digits", arguments: [65536] });
      const loader = new data.DataLoader(set, { batchSize: 16384, workers: 2, persistentWorkers: true });
      const peak = () => process.resourceUsage().maxRSS;
      let [sum, early] = [0, 0];
      for (let epoch = 0; epoch < 400; epoch++) {
        if (epoch === 80) early = peak();
        for await (const [x] of loader) sum += x.shape[0];
      }
      await loader.close();
      console.log(JSON.stringify({ sum, early, late: peak() }));`;
    const { stdout, stderr, status } = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
      cwd: join(import.meta.dirname, ".."),
      encoding: "utf8",
    });
    expect(stderr).toBe("");
    expect(status).toBe(0);
    const { sum, early, late } = JSON.parse(stdout) as { sum: number; early: number; late: number };
    expect(sum).toBe(400 * 65536);
    expect(late / early).toBeLessThan(1.05);
  });

  it("refuse what cannot go to a thread", async () => {
    expect(() => new data.DataLoader(data.arrays([1, 2]), { workers: 1 })).toThrow(/data.fromModule/);
    await expect(data.fromModule(module, { export: "letters" })).rejects.toThrow(
      /no export "letters"; it has digits, failing, uneven, reused, ending, augment/,
    );
    await expect(data.fromModule(module, { export: "augment" })).rejects.toThrow();
    await expect(data.fromModule("digits.js")).rejects.toThrow(/url must be a URL/);
    await expect(data.fromModule(module, { export: "digits", arguments: [() => 1] })).rejects.toThrow(/sent to worker/);
    const set = await data.fromModule(module, { export: "digits", arguments: [4], transform: "augment" });
    expect(() => new data.DataLoader(set)).toThrow(/runs in workers, but there are none/);
  });
});
