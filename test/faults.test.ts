import { spawn, spawnSync, type SpawnSyncReturns } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { nativeBuilt } from "./support/backends.js";
import { emptyCache, FileError, io, nn, ones, report, tensor, train } from "./support/xcorr.js";

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
    timeout: 150_000,
    env: { ...process.env, ...env },
    ...rest,
  });
}
const root = process.platform === "linux" && process.getuid?.() === 0;

const compiler = spawnSync("cc", ["--version"]).status === 0;
/** A library that lets the addon have so many threads of its own as XCORR_TEST_THREADS says; its path. */
function refusingThreads(): string {
  const [source, path] = [join(folder, "refuse.c"), join(folder, "refuse.so")];
  writeFileSync(
    source,
    `#define _GNU_SOURCE
    #include <dlfcn.h>
    #include <errno.h>
    #include <pthread.h>
    #include <stdlib.h>
    #include <string.h>
    int pthread_create(pthread_t* t, const pthread_attr_t* a, void* (*f)(void*), void* x) {
      static int made = 0;
      static int (*real)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
      Dl_info info;
      if (!real) real = (int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*))dlsym(RTLD_NEXT, "pthread_create");
      int own = dladdr((void*)f, &info) && info.dli_fname && strstr(info.dli_fname, "xcorr.node");
      int detached = 0;
      if (own && a) pthread_attr_getdetachstate(a, &detached);
      if (own && a && detached == PTHREAD_CREATE_DETACHED && __sync_fetch_and_add(&made, 1) >= atoi(getenv("XCORR_TEST_THREADS"))) return EAGAIN;
      return real(t, a, f, x);
    }`,
  );
  const { status, stderr } = spawnSync("cc", ["-shared", "-fPIC", "-o", path, source, "-ldl"], { encoding: "utf8" });
  expect(status, stderr).toBe(0);
  return path;
}

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
    expect(() => io.saveNpz(path, { a: ones([1000, 1000]) })).toThrow(/ENOSPC/);
    expect(io.loadSafetensors(path).a!.toArray()).toEqual([1, 2, 3]);
    expect(readdirSync(disk!)).toEqual(["model.safetensors"]); // nothing half-written stays
    io.saveSafetensors(path, { a: tensor([4]) });
    expect(io.loadSafetensors(path).a!.toArray()).toEqual([4]);
  });

  it.runIf(disk !== null)(
    "reports and event files on a full disk keep what was there, and only whole records",
    async () => {
      const path = join(disk!, "report.html");
      const options = { title: "run", model: new nn.Sequential(new nn.Linear(2, 2)), result: { history: [] } };
      await report.save(path, options);
      const before = readFileSync(path);
      const writer = new report.EventWriter(disk!);
      const tag = "x".repeat(100_000);
      let failed: unknown;
      for (let step = 0; failed === undefined; step++) {
        const whole = statSync(writer.path).size;
        try {
          writer.scalar(tag, 1, step);
        } catch (error) {
          failed = error;
          expect(statSync(writer.path).size).toBe(whole);
        }
      }
      expect(failed).toBeInstanceOf(FileError);
      expect((failed as FileError).code).toBe("ENOSPC");
      await expect(report.save(path, { ...options, title: tag })).rejects.toThrow(FileError);
      expect(readFileSync(path)).toEqual(before);
      writer.close();
      for (const name of readdirSync(disk!)) if (name !== "model.safetensors") rmSync(join(disk!, name));
      expect(readdirSync(disk!)).toEqual(["model.safetensors"]);
    },
  );

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
    // What the killed ones left unfinished goes with the next save; what another process is writing stays.
    const abandoned = `.killed.safetensors.${hostname()}.4194999.abc.tmp`; // no process has so high a number
    const written = `.killed.safetensors.${hostname()}.${process.ppid}.abc.tmp`;
    for (const name of [abandoned, written]) writeFileSync(join(folder, name), "half");
    train.saveCheckpoint(path, { model });
    expect(readdirSync(folder).filter((name) => name.endsWith(".tmp"))).toEqual([written]);
    rmSync(join(folder, written));
  });

  it.runIf(process.platform === "linux")("past the largest size of a file leaves the file before whole", () => {
    const path = join(folder, "limited.safetensors");
    io.saveSafetensors(path, { a: tensor([1, 2, 3]) });
    const body = `
      process.on("SIGXFSZ", () => {});
      try { x.io.saveSafetensors(${JSON.stringify(path)}, { a: x.ones([1000, 1000]) }); }
      catch (e) { console.log(e.name, e.code); }
      x.io.saveSafetensors(${JSON.stringify(path)}, { a: x.tensor([4]) });`;
    const { stdout, stderr, status } = limited("ulimit -f 100", body);
    expect([stdout, status], stderr).toEqual(["FileError EFBIG\n", 0]);
    expect(io.loadSafetensors(path).a!.toArray()).toEqual([4]);
    expect(readdirSync(folder).filter((name) => name.startsWith(".limited"))).toEqual([]);
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

  it("on every path: forward, backward, optimiser, off the main thread, loaders, files, copies, sharing", () => {
    const path = join(folder, "large.npy");
    io.saveNpy(path, ones([20, 1024, 1024]));
    const { stdout, stderr, status } = limited(
      "ulimit -v 2600000",
      `const model = new x.nn.Sequential(new x.nn.Conv2d(3, 16, 3, { padding: 1 }), new x.nn.BatchNorm2d(16), new x.nn.ReLU(),
         new x.nn.Conv2d(16, 16, 3, { padding: 1 }), new x.nn.AdaptiveAvgPool2d(1), new x.nn.Flatten(), new x.nn.Linear(16, 5));
       const optimizer = new x.optim.Adam(model.parameters());
       const batch = (n) => [x.randn([n, 3, 64, 64]), x.randint(0, 5, [n])];
       const step = ([a, b]) => {
         optimizer.zeroGrad(); const loss = x.crossEntropy(model.forward(a), b); loss.backward(); optimizer.step(); return loss.item();
       };
       const steps = x.train.trainStep(model, optimizer, x.crossEntropy);
       const doubled = async (work) => { for (let n = 8; ; n *= 2) await work(n); };
       const dataset = { length: 1e6, get: () => [x.ones([3, 512, 512])] };
       const values = x.ones([4, 1024, 1024]);
       const kept = [];
       const paths = {
         forward: () => doubled((n) => x.noGrad(() => model.forward(batch(n)[0]))),
         backward: () => doubled((n) => step(batch(n))),
         trainStep: () => doubled((n) => steps(batch(n))),
         runAsync: () => doubled((n) => { const [a] = batch(n); return x.runAsync(() => x.noGrad(() => model.forward(a))); }),
         matmul: () => doubled((n) => x.ones([128 * n, 512]).matmul(x.ones([512, 128 * n]))),
         loader: async () => { for await (const b of new x.data.DataLoader(dataset, { batchSize: 2000 })) b; },
         file: () => { for (;;) kept.push(x.io.loadNpy(${JSON.stringify(path)})); },
         bytes: () => { for (;;) kept.push(x.io.encodeNpy(values)); },
         data: () => { for (;;) kept.push(values.data()); },
         share: () => { for (;;) kept.push(x.serve.share(values)); },
       };
       step(batch(4));
       for (const [name, work] of Object.entries(paths)) {
         try { await work(); } catch (e) { console.log(name, e.name); }
         kept.length = 0;
         await new Promise((resolve) => setImmediate(resolve));
         if (!Number.isFinite(step(batch(4)))) console.log(name, "left NaN");
       }`,
    );
    const names = "forward backward trainStep runAsync matmul loader file bytes data share".split(" ");
    expect([stdout.trim().split("\n"), status], stderr).toEqual([names.map((n) => `${n} MemoryLimitError`), 0]);
  }, 160_000);

  it("in a worker: by the system, by its own limit, and by the limits of its heap, which end it alone", () => {
    const { stdout, stderr, status } = limited(
      "ulimit -v 4000000",
      `import { Worker } from "node:worker_threads";
       const run = (body, options) => new Promise((resolve) => {
         const code = "import { parentPort as port } from 'node:worker_threads'; import(" + ${JSON.stringify(JSON.stringify(library))} + ").then(async (x) => {" + body + "})";
         const worker = new Worker(code, { eval: true, ...options });
         let said = "nothing";
         worker.on("message", (m) => (said = m)).on("error", (e) => (said = e.code ?? e.message)).on("exit", () => resolve(said));
       });
       const body = \`const held = []; let name;
         try { for (;;) held.push(x.ones([4, 1024, 1024])); } catch (e) { name = e.name; }
         held.length = 0;
         port.postMessage(name + " " + x.ones([1000]).sum().item());\`;
       console.log(await run(body));
       console.log(await run("x.setMemoryLimit(50e6);" + body));
       console.log(x.memoryStats().limit);
       const heap = "const held = []; for (;;) held.push(x.ones([4]), new Array(1000).fill(0));";
       console.log(await run(heap, { resourceLimits: { maxOldGenerationSizeMb: 40, maxYoungGenerationSizeMb: 8 } }));
       const a = x.randn([64, 64]);
       console.log(a.matmul(a).shape.join());`,
    );
    const expected = [
      "MemoryLimitError 1000",
      "MemoryLimitError 1000",
      "Infinity",
      "ERR_WORKER_OUT_OF_MEMORY",
      "64,64",
    ];
    expect([stdout.trim().split("\n"), status], stderr).toEqual([expected, 0]);
  });

  it("very many small tensors: an error before V8 has no memory for their objects, and the next call works", () => {
    const { stdout, stderr, status } = limited(
      // Newer V8 have 1.3 GB of addresses as they start.
      "ulimit -v 1600000",
      `let held = [];
       try { for (;;) held.push(x.ones([2])); } catch (e) { console.log(e.name, held.length > 50_000); }
       held = null;
       console.log(x.ones([1000]).sum().item());`,
    );
    expect([stdout, status], stderr).toEqual(["MemoryLimitError true\n1000\n", 0]);
  });

  it("many small tensors are given back at once", () => {
    const held = Array.from({ length: 200_000 }, () => ones([2]));
    for (const t of held) t.dispose();
    emptyCache();
    expect(ones([2]).sum().item()).toBe(2);
  });

  it.runIf(compiler)(
    "refused threads after the first, in workers and for programs: what there is computes the same",
    () => {
      const shim = refusingThreads();
      const body = `
      import { Worker } from "node:worker_threads";
      import { readdirSync, readFileSync } from "node:fs";
      const own = () => readdirSync("/proc/self/task").filter((id) => readFileSync("/proc/self/task/" + id + "/comm", "utf8") === "xcorr\\n").length;
      x.manualSeed(3);
      const a = x.randn([256, 256]);
      const first = a.matmul(a);
      const later = await x.runAsync(() => a.matmul(a));
      const code = "import { parentPort as port } from 'node:worker_threads'; import(" + ${JSON.stringify(JSON.stringify(library))} + ").then((x) => { x.manualSeed(3); const a = x.randn([256, 256]); port.postMessage(a.matmul(a).data()); })";
      const worker = new Worker(code, { eval: true });
      const theirs = await new Promise((resolve) => worker.once("message", resolve));
      const values = first.data();
      console.log(own(), later.data().every((v, i) => v === values[i]), theirs.every((v, i) => v === values[i]), values.length);`;
      for (const allowed of [0, 1, 2]) {
        const env = { LD_PRELOAD: shim, XCORR_TEST_THREADS: String(allowed), XCORR_NUM_THREADS: "4" };
        const { stdout, stderr, status } = limited("true", body, { env });
        expect([stdout, status], stderr).toEqual([`${allowed} true true 65536\n`, 0]);
        expect(stderr.match(/xcorr: the system refused a compute thread.*4 wanted/g)).toHaveLength(1);
      }
    },
  );

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
