import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
// Worker threads run JavaScript: these loaders are those of the build.
import { data, type Tensor } from "xcorr";

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

  it("refuse what cannot go to a thread", async () => {
    expect(() => new data.DataLoader(data.arrays([1, 2]), { workers: 1 })).toThrow(/data.fromModule/);
    await expect(data.fromModule(module, { export: "letters" })).rejects.toThrow(
      /no export "letters"; it has digits, failing, augment/,
    );
    await expect(data.fromModule(module, { export: "augment" })).rejects.toThrow();
    await expect(data.fromModule("digits.js")).rejects.toThrow(/url must be a URL/);
    await expect(data.fromModule(module, { export: "digits", arguments: [() => 1] })).rejects.toThrow(/sent to worker/);
    const set = await data.fromModule(module, { export: "digits", arguments: [4], transform: "augment" });
    expect(() => new data.DataLoader(set)).toThrow(/runs in workers, but there are none/);
  });
});
