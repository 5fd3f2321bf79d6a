// @ts-check
// What may go wrong around the library, in processes of their own: a full disk at every kind of save, kill -9 at random
// moments of saving, memory that the system refuses (to tensors, kernels' working space, workers, calls off the main
// thread, loaders), threads that it refuses. Every fault must end in a named error, nothing may be half-written, and
// the next call must work.
//
//   node scripts/measure/faults.mjs [--kills 50] [--seed 1]
import { spawn, spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { io, nn, train } from "../../dist/index.js";
import { numbersFromArguments, report } from "./figures.mjs";

const { kills, seed } = numbersFromArguments({ kills: 50, seed: 1 });
const library = JSON.stringify(new URL("../../dist/index.js", import.meta.url).href);
const folder = mkdtempSync(join(tmpdir(), "xcorr-faults-"));
chmodSync(folder, 0o755); // others run there without threads
const root = process.platform === "linux" && process.getuid?.() === 0;

let state = seed >>> 0;
/** @param {number} below */
const random = (below) => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return (state / 2 ** 32) * below;
};

/** Runs a program that calls begins(what) and ended(whether it held, what came); of `before`, a shell's limits. */
function run(/** @type {string} */ name, /** @type {string} */ before, /** @type {string} */ body, options = {}) {
  const program = `import * as x from ${library};
    import { writeSync } from "node:fs";
    const say = (...what) => writeSync(1, JSON.stringify(what) + "\\n");
    const begins = (what) => say(what), ended = (held, came) => say(held, came);
    ${body}`;
  const given = ["-c", `${before} "$0" --input-type=module -e "$1"`, process.execPath, program];
  const result = spawnSync("bash", given, { encoding: "utf8", timeout: 600_000, ...options });
  const lines = result.stdout.split("\n").filter((line) => line !== "");
  const said = lines.map((line) => JSON.parse(line));
  const kinds = [];
  const wrong = [];
  for (let i = 0; i < said.length; i += 2) {
    const [what] = said[i];
    const [held, came] = said[i + 1] ?? [false, `the process ended: ${result.stderr.slice(0, 300)}`];
    kinds.push(what);
    if (!held) wrong.push(`${what}: ${came}`);
  }
  if (result.status !== 0 && wrong.length === 0) wrong.push(`ended with ${result.status ?? result.signal}`);
  report(
    name,
    wrong.length === 0 ? `${kinds.length} kinds: ${kinds.join(", ")}` : wrong.join("; "),
    "a named error each, nothing half-written, the next call works",
    wrong.length === 0 && kinds.length > 0,
  );
}

// ---- A full disk: a file system of 1 MB in a mount namespace of the process's own ----

const disk = join(folder, "disk");
const mounts = `mkdir -p ${disk} && mount -t tmpfs -o size=1m none ${disk}`;
const fullDisk = `
  import { readdirSync, readFileSync, rmSync, statSync } from "node:fs";
  const disk = ${JSON.stringify(disk)};
  const path = disk + "/file";
  const [small, large] = [x.randn([10, 10]), x.randn([700, 700])];
  const [little, big] = [new x.nn.Linear(4, 4), new x.nn.Linear(700, 700)];
  const page = (title) => ({ title, model: new x.nn.Sequential(new x.nn.Linear(2, 2)), result: { history: [] } });
  const fit = async (model, features) => x.train.fit(model, {
    train: new x.data.DataLoader(x.data.arrays(x.randn([8, features]), x.randn([8, features])), { batchSize: 4 }),
    loss: x.mseLoss, optimizer: new x.optim.SGD(model.parameters(), { lr: 0.01 }), epochs: 1, checkpoint: path, progress: false,
  });
  const kinds = {
    saveSafetensors: [() => x.io.saveSafetensors(path, { small }), () => x.io.saveSafetensors(path, { large })],
    saveNpy: [() => x.io.saveNpy(path, small), () => x.io.saveNpy(path, large)],
    saveNpz: [() => x.io.saveNpz(path, { small }), () => x.io.saveNpz(path, { large })],
    "saveNpz, packed": [() => x.io.saveNpz(path, { small }, { compress: true }), () => x.io.saveNpz(path, { large }, { compress: true })],
    saveCheckpoint: [() => x.train.saveCheckpoint(path, { model: little }), () => x.train.saveCheckpoint(path, { model: big })],
    "checkpoints of fit": [() => fit(little, 4), () => fit(big, 700)],
    "report.save": [() => x.report.save(path, page("small")), () => x.report.save(path, page("x".repeat(2e6)))],
  };
  for (const [kind, [good, bad]] of Object.entries(kinds)) {
    begins(kind);
    await good();
    const before = readFileSync(path);
    let came = "nothing was thrown";
    try { await bad(); } catch (e) { came = e.name + " " + e.code; }
    const whole = readFileSync(path).equals(before) && readdirSync(disk).length === 1;
    let next = true;
    try { await good(); } catch { next = false; }
    ended(came === "FileError ENOSPC" && whole && next, came + (whole ? "" : ", not whole") + (next ? "" : ", the next fails"));
    rmSync(path);
  }
  begins("EventWriter");
  const writer = new x.report.EventWriter(disk);
  let came = "nothing was thrown", whole = true;
  for (let step = 0; step < 100 && came === "nothing was thrown"; step++) {
    const size = statSync(writer.path).size;
    try { writer.scalar("x".repeat(50_000), 1, step); } catch (e) { came = e.name + " " + e.code; whole = statSync(writer.path).size === size; }
  }
  ended(came === "FileError ENOSPC" && whole, came);`;
if (spawnSync("unshare", ["-rm", "bash", "-c", mounts]).status === 0)
  run("a full disk", `exec unshare -rm bash -c '${mounts} && exec "$0" "$@"'`, fullDisk);
else console.log("a full disk: this system lets nobody mount a small one; not measured");

// ---- kill -9 while saving ----

const files = {
  checkpoint: join(folder, "c.safetensors"),
  safetensors: join(folder, "s.safetensors"),
  npy: join(folder, "a.npy"),
  npz: join(folder, "a.npz"),
};
const saves = `import * as x from ${library};
  const model = new x.nn.Linear(300, 300);
  const files = ${JSON.stringify(files)};
  for (let i = 1; ; i++) {
    x.noGrad(() => model.weight.fill_(i));
    x.train.saveCheckpoint(files.checkpoint, { model });
    x.io.saveSafetensors(files.safetensors, { weight: model.weight });
    x.io.saveNpy(files.npy, model.weight);
    x.io.saveNpz(files.npz, { weight: model.weight }, { compress: i % 2 === 0 });
    if (i === 1) process.stdout.write("up");
  }`;
/** @type {Record<string, () => ArrayLike<number>>} */
const loads = {
  checkpoint: () => {
    const model = new nn.Linear(300, 300);
    train.loadCheckpoint(files.checkpoint, { model });
    return model.weight.data();
  },
  safetensors: () => /** @type {any} */ (io.loadSafetensors(files.safetensors)).weight.data(),
  npy: () => io.loadNpy(files.npy).data(),
  npz: () => /** @type {any} */ (io.loadNpz(files.npz)).weight.data(),
};
let broken = 0;
for (let round = 0; round < kills; round++) {
  const child = spawn(process.execPath, ["--input-type=module", "-e", saves], { stdio: ["ignore", "pipe", "inherit"] });
  await new Promise((resolve) => child.stdout.once("data", resolve));
  await new Promise((resolve) => setTimeout(resolve, random(50)));
  child.kill("SIGKILL");
  await new Promise((resolve) => child.once("exit", resolve));
  for (const [kind, load] of Object.entries(loads)) {
    try {
      if (new Set(Array.from(load())).size !== 1) throw new Error("a mixture of two saves");
    } catch (error) {
      broken++;
      console.log(`after kill ${round}, ${kind}: ${error}`);
    }
  }
}
report(
  `kill -9 at ${kills} random moments of saving`,
  `${broken} of ${4 * kills} files broken`,
  "each the save before or the new one, whole",
  broken === 0,
);

// ---- Memory that the system refuses ----

const job = join(folder, "job.mjs");
writeFileSync(
  job,
  `import * as x from ${library};
  export const large = () => ({ length: 1000, get: (i) => [x.ones([i < 8 ? 10 : 4_000_000])] });`,
);
const memory = `
  import { Worker } from "node:worker_threads";
  const pause = () => new Promise((resolve) => setImmediate(resolve));
  const model = new x.nn.Sequential(new x.nn.Conv2d(16, 64, 3, { padding: 1 }), new x.nn.ReLU(), new x.nn.Conv2d(64, 64, 3, { padding: 1 }));
  const input = x.randn([4, 16, 32, 32]);
  const expected = x.noGrad(() => model.forward(input)).data();
  const works = async () => {
    const [now, later] = [x.noGrad(() => model.forward(input)), await model.forwardAsync(input)];
    return [now, later].every((t) => t.data().every((v, i) => v === expected[i]));
  };
  const held = [];
  /** Until the system refuses more: in large pieces, then in small ones. */
  const fill = () => { for (const size of [4e6, 4e5, 4e4]) try { for (;;) held.push(x.ones([size])); } catch {} };
  const doubled = async (work) => { for (let n = 8; ; n *= 2) await work(n); };
  const inWorker = (body) => new Promise((resolve, reject) => {
    const source = "import { parentPort as port } from 'node:worker_threads'; import * as x from " + ${JSON.stringify(library)} + "; try { " + body + " } catch (e) { port.postMessage(e.name); }";
    new Worker(new URL("data:text/javascript," + encodeURIComponent(source))).once("message", (name) => reject(Object.assign(new Error(), { name }))).once("error", reject).once("exit", resolve);
  });
  const places = { // workers first: V8 ends the process where it finds no 128 MB of addresses for another
    "a worker": () => inWorker("const held = []; for (;;) held.push(x.ones([4e6]));"),
    "a loader's workers": async () => {
      const set = await x.data.fromModule(${JSON.stringify(`file://${job}`)}, { export: "large" });
      for await (const batch of new x.data.DataLoader(set, { batchSize: 200, workers: 2 })) batch; },
    tensors: () => { for (;;) held.push(x.ones([4e6])); },
    "small tensors": () => { for (;;) held.push(x.ones([2])); },
    "working space": () => { fill(); held.length = Math.max(0, held.length - 2); for (let n = 4; ; n *= 2) { const wide = x.randn([1, n, 64, 64]); x.noGrad(() => x.conv2d(wide, x.randn([n, n, 3, 3]), { padding: 1 })); } },
    backward: () => doubled((n) => model.forward(x.randn([n, 16, 64, 64])).sum().backward()),
    forwardAsync: () => doubled((n) => model.forwardAsync(x.randn([n, 16, 64, 64]))),
    "forwardAsync with nothing left": async () => { fill(); for (;;) held.push(await model.forwardAsync(input)); },
    "a loader": async () => { const set = { length: 1e6, get: () => [x.ones([1_000_000])] };
      for await (const batch of new x.data.DataLoader(set, { batchSize: 2000 })) batch; },
    encodeSafetensors: async () => { const t = x.ones([8e6]); for (;;) held.push(x.io.encodeSafetensors({ t })); },
  };
  for (const [place, work] of Object.entries(places)) {
    begins(place);
    let came = "nothing was thrown";
    try { await work(); } catch (e) { came = e.name; }
    held.length = 0;
    model.zeroGrad();
    await pause();
    let right = "it fails";
    try { right = await works(); } catch (e) { right = e.name + ": " + e.message.slice(0, 80); }
    ended(came === "MemoryLimitError" && right === true, came + ", the next call: " + right);
  }`;
if (process.platform === "linux") {
  for (const limit of [2_000_000, 2_600_000])
    run(`memory refused by the system (ulimit -v ${limit})`, `ulimit -v ${limit}; exec`, memory);
}

// ---- Threads that the system refuses ----

const threads = `
  const a = x.randn([200, 200]);
  const first = a.matmul(a).data();
  const same = (t) => t.data().every((v, i) => v === first[i]);
  begins("kernels"); ended(same(a.matmul(a)), "other bits");
  begins("runAsync"); ended(same(await x.runAsync(() => a.matmul(a))), "other bits");
  x.setNumThreads(1);
  begins("one thread"); ended(same(a.matmul(a)), "other bits");`;
if (root) {
  const options = { uid: 54321, env: { ...process.env, XCORR_NUM_THREADS: "64" } };
  run("threads refused by the system (ulimit -u 14)", "ulimit -u 14; exec", threads, options);
} else console.log("refused threads: only root can become a user without other processes; not measured");

rmSync(folder, { recursive: true, force: true });
