import { spawn, spawnSync, type SpawnSyncReturns } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { nativeBuilt } from "./support/backends.js";
import { io, nn, ones, tensor, train } from "./support/xcorr.js";

/** What may go wrong around the library: full disk, sudden end, no memory, no threads. */

const library = fileURLToPath(new URL("../dist/index.js", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "xcorr-faults-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const script = (body: string): string => `import * as x from ${JSON.stringify(library)};\n${body}`;
/** Runs a program under limits set by the shell (dash knows no limit of processes). */
function limited(
  limits: string,
  body: string,
  options: { env?: Record<string, string>; uid?: number } = {},
): SpawnSyncReturns<string> {
  const { env = {}, ...rest } = options;
  return spawnSync("bash", ["-c", `${limits}; exec "$0" --input-type=module -e "$1"`, process.execPath, script(body)], {
    encoding: "utf8",
    timeout: 50_000,
    env: { ...process.env, ...env },
    ...rest,
  });
}
const root = process.platform === "linux" && process.getuid?.() === 0;

/** A file system of 1 MB, where mounting is allowed. */
function smallDisk(): string | null {
  const path = join(folder, "disk");
  mkdirSync(path);
  return root && spawnSync("mount", ["-t", "tmpfs", "-o", "size=1m", "none", path]).status === 0 ? path : null;
}
const disk = smallDisk();
afterAll(() => void (disk !== null && spawnSync("umount", [disk])));

describe("saving", () => {
  it.runIf(disk !== null)("on a full disk fails by name and leaves the file before whole", () => {
    const path = join(disk!, "model.safetensors");
    io.saveSafetensors(path, { a: tensor([1, 2, 3]) });
    expect(() => io.saveSafetensors(path, { a: ones([1000, 1000]) })).toThrow(/ENOSPC/);
    expect(() => io.saveNpy(path, ones([1000, 1000]))).toThrow(/ENOSPC/);
    const parts = { model: new nn.Linear(600, 600) };
    expect(() => train.saveCheckpoint(path, parts)).toThrow(/ENOSPC/);
    expect(io.loadSafetensors(path).a!.toArray()).toEqual([1, 2, 3]);
    expect(readdirSync(disk!)).toEqual(["model.safetensors"]); // nothing half-written stays
    io.saveSafetensors(path, { a: tensor([4]) });
    expect(io.loadSafetensors(path).a!.toArray()).toEqual([4]);
  });

  it("killed in the middle leaves a whole checkpoint", async () => {
    const path = join(folder, "killed.safetensors");
    const body = `
      const model = new x.nn.Linear(400, 400);
      for (let i = 1; ; i++) {
        x.noGrad(() => model.weight.fill_(i));
        x.train.saveCheckpoint(${JSON.stringify(path)}, { model });
        process.stdout.write(".");
      }`;
    const model = new nn.Linear(400, 400);
    for (let round = 0; round < 4; round++) {
      const child = spawn(process.execPath, ["--input-type=module", "-e", script(body)]);
      await new Promise((resolve) => child.stdout.once("data", resolve));
      await new Promise((resolve) => setTimeout(resolve, 5 + 13 * round));
      child.kill("SIGKILL");
      await new Promise((resolve) => child.once("exit", resolve));
      train.loadCheckpoint(path, { model });
      const values = new Set(model.weight.data());
      expect(values.size).toBe(1); // of one save, not a mixture
      expect(statSync(path).size).toBeGreaterThan(640_000);
    }
  });
});

describe.runIf(nativeBuilt && process.platform === "linux")("without memory or threads", () => {
  it("an allocation that the system refuses is an error, and the next call works", () => {
    const { stdout, stderr, status } = limited(
      "ulimit -v 2400000",
      `const held = [];
       try { for (;;) held.push(x.ones([32, 1024, 1024])); } catch (e) { console.log(e.name); }
       held.splice(0).forEach((t) => t.dispose());
       console.log(x.ones([1000, 1000]).sum().item());`,
    );
    expect([stdout, status], stderr).toEqual(["MemoryLimitError\n1000000\n", 0]);
  });

  it.runIf(root)("refused threads: those there are compute, and one warning says so", () => {
    const body = `
      const a = x.randn([256, 256]);
      const first = a.matmul(a).data();
      for (let i = 0; i < 20; i++) if (a.matmul(a).data()[7] !== first[7]) throw new Error("differs");
      const off = await x.runAsync(() => a.matmul(a));
      if (off.data()[7] !== first[7]) throw new Error("differs off the event loop");
      x.setNumThreads(1);
      console.log(a.matmul(a).data().every((v, i) => v === first[i]));`;
    const { stdout, stderr, status } = limited("ulimit -u 14", body, { env: { XCORR_NUM_THREADS: "64" }, uid: 54321 });
    expect([stdout, status], stderr).toEqual(["true\n", 0]);
    expect(stderr.match(/xcorr: the system refused a compute thread.*64 wanted/g)).toHaveLength(1);
  });
});
