// @ts-check
// Environments that load the addon at once and end in the middle of what they do: of loading, kernels, programs, training
// steps, loaders; while the main thread computes and must get the same bits every time. Then a process that exits in
// the middle. For the sanitizers, which end the process or its exit code says so (run.sh).
//
//   node native/test/environments.mjs PACKAGE [seconds] [seed]      PACKAGE: a folder with dist and build/Release
import { spawnSync } from "node:child_process";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";

const [folder = ".", seconds = "20", seed = "1"] = process.argv.slice(2);
const library = pathToFileURL(resolve(folder, "dist/index.js")).href;
const x = await import(library);
if (x.getBackend() !== "native") throw new Error("the addon was not loaded");
x.setNumThreads(2); // or one would have no race

let state = Number(seed) >>> 0;
/** @param {number} below */
const random = (below) => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
};
const pause = (/** @type {number} */ ms) => new Promise((done) => setTimeout(done, ms));

const network = `
  const model = new x.nn.Sequential(new x.nn.Conv2d(3, 8, 3, { padding: 1 }), new x.nn.BatchNorm2d(8), new x.nn.ReLU(),
    new x.nn.MaxPool2d(2), new x.nn.Conv2d(8, 16, 3), new x.nn.ReLU(), new x.nn.Flatten(), new x.nn.Linear(16 * 36, 10));
  const [input, labels] = [x.randn([4, 3, 16, 16]), x.randint(0, 10, [4])];`;
/** What a worker does until it is ended. @type {Record<string, string>} */
const bodies = {
  loading: "",
  kernels: "up(); const a = x.randn([96, 96]); for (;;) a.matmul(a);",
  forward: `${network} model.eval(); up(); for (;;) x.noGrad(() => model.forward(input));`,
  programs: `${network} model.eval(); up(); for (;;) await Promise.all([1, 2, 3].map(() => model.forwardAsync(input)));`,
  failing: `${network} up(); for (;;) await Promise.allSettled([1, 2, 3].map(() =>
      x.runAsync(() => x.crossEntropy(model.forward(input), labels.add(x.randint(0, 2, [4]).mul(9))))));`,
  aborted: `${network} up(); for (;;) { const c = new AbortController(); const calls = [1, 2, 3].map(() =>
      model.forwardAsync(input, { signal: c.signal })); setImmediate(() => c.abort()); await Promise.allSettled(calls); }`,
  training: `${network} const optimizer = new x.optim.Adam(model.parameters());
    const step = x.train.trainStep(model, optimizer, x.crossEntropy); up(); for (;;) await step([input, labels]);`,
  stepping: `${network} const optimizer = new x.optim.SGD(model.parameters(), { lr: 0.01, momentum: 0.9 }); up();
    for (;;) { optimizer.zeroGrad(); x.crossEntropy(model.forward(input), labels).backward(); optimizer.step(); }`,
  sharing: `up(); for (;;) { const s = x.serve.share(x.randn([64, 64])); x.serve.receive(s).sum().item(); x.emptyCache(); }`,
  settings: `up(); const a = x.randn([64, 64]); for (let i = 0; ; i++) { x.setNumThreads(1 + (i % 3)); a.matmul(a); }`,
};

/** @type {Record<string, number>} */
const counts = { checks: 0, ended: 0 };
/** @param {string} body @param {string} up */
const program = (body, up) => `import * as x from ${JSON.stringify(library)}; const up = ${up}; ${body}`;
const tellParent = `await import("node:worker_threads").then(({ parentPort: p }) => () => p.postMessage("up"))`;
/** @param {string} body */
const moduleOf = (body) => `data:text/javascript,${encodeURIComponent(`${program(body, tellParent)} up();`)}`;

/** One worker: begun, then ended at any moment. */
async function life() {
  const names = Object.keys(bodies);
  const name = /** @type {string} */ (names[random(names.length)]);
  const worker = new Worker(new URL(moduleOf(/** @type {string} */ (bodies[name]))));
  let failed;
  worker.on("error", (error) => (failed = error));
  if (name === "loading") await pause(random(400));
  else
    await Promise.race([
      new Promise((done) => worker.once("message", done)),
      new Promise((done) => worker.once("exit", done)),
    ]);
  await pause(random(40));
  await worker.terminate();
  if (failed !== undefined) throw new Error(`${name}: ${failed}`);
  counts[name] = (counts[name] ?? 0) + 1;
  counts.ended++;
}

const end = performance.now() + 1000 * Number(seconds);
const lives = Array.from({ length: 3 }, async () => {
  while (performance.now() < end) await life();
});
x.manualSeed(1);
const a = x.randn([64, 64]);
const model = new x.nn.Sequential(new x.nn.Conv2d(3, 8, 3), new x.nn.ReLU(), new x.nn.MaxPool2d(2)).eval();
const input = x.randn([2, 3, 16, 16]);
const expected = [a.matmul(a), x.noGrad(() => model.forward(input))].map((t) => t.data().join());
/** @param {any} t @param {number} i */
const check = (t, i) => {
  if (t.data().join() !== expected[i]) throw new Error(`result ${i} differs while other environments end`);
  counts.checks++;
};
const own = (async () => {
  while (performance.now() < end) {
    check(a.matmul(a), 0);
    check(await model.forwardAsync(input), 1);
    await pause(1);
  }
})();
await Promise.all([...lives, own]);

// And processes that end in the middle of it.
const exit = (/** @type {number} */ ms) => `setTimeout(() => process.exit(7), ${ms});`;
const inWorker = `import { Worker } from "node:worker_threads"; new Worker(new URL(${JSON.stringify(moduleOf(/** @type {string} */ (bodies.kernels)))}))`;
const exits = {
  programs: program(`${exit(random(60))} ${bodies.programs}`, "() => {}"),
  training: program(`${exit(random(60))} ${bodies.training}`, "() => {}"),
  "kernels of a worker": `${inWorker}.once("message", () => ${exit(random(60)).slice(0, -1)});`,
};
for (const [name, source] of Object.entries(exits)) {
  const { status, signal, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", source], {
    encoding: "utf8",
  });
  if (status !== 7) throw new Error(`a process that exits amid ${name} ended with ${status ?? signal}: ${stderr}`);
}
console.log(`environments: ${JSON.stringify(counts)}, 0 wrong`);
