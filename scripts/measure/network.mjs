// @ts-check
// No network at run time: trains, saves, loads and serves in a network namespace of its own that has no interface, where
// the system lets a user make one (Linux); elsewhere with Node's own ways to a network made to fail.
//
//   node scripts/measure/network.mjs [--steps 30]
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { numbersFromArguments, report } from "./figures.mjs";

const { steps } = numbersFromArguments({ steps: 30 });
const library = JSON.stringify(new URL("../../dist/index.js", import.meta.url).href);
const folder = mkdtempSync(join(tmpdir(), "xcorr-network-"));
const isolated = spawnSync("unshare", ["-rn", "true"]).status === 0;

// The server listens on a socket in the file system, as a namespace without interfaces has no address to listen at.
const program = `
  import { createServer, request } from "node:http";
  import dns from "node:dns";
  import net from "node:net";
  import { networkInterfaces } from "node:os";
  const asked = [];
  for (const [module, name] of [[net, "connect"], [net, "createConnection"], [dns, "lookup"], [globalThis, "fetch"]]) {
    const real = module[name];
    module[name] = (...given) => {
      const to = given[0]?.path ?? given[0]?.socketPath;
      if (typeof to === "string" && to.startsWith(${JSON.stringify(folder)})) return real(...given);
      asked.push(name);
      throw new Error("no network");
    };
  }
  const x = await import(${library});
  const up = Object.keys(networkInterfaces()).filter((name) => name !== "lo");
  x.manualSeed(1);
  const make = () => new x.nn.Sequential(new x.nn.Conv2d(1, 8, 3), new x.nn.ReLU(), new x.nn.Flatten(), new x.nn.Linear(8 * 36, 4));
  const model = make();
  const optimizer = new x.optim.Adam(model.parameters(), { lr: 0.01 });
  const step = x.train.trainStep(model, optimizer, x.crossEntropy);
  const [input, labels] = [x.randn([16, 1, 8, 8]), x.randint(0, 4, [16])];
  const losses = [];
  for (let i = 0; i < ${steps}; i++) losses.push(await step([input, labels]));
  const path = ${JSON.stringify(join(folder, "model.safetensors"))};
  x.train.saveCheckpoint(path, { model, optimizer });
  const served = make();
  x.train.loadCheckpoint(path, { model: served });
  served.eval();
  const predict = x.serve.microBatch(served, { maxBatch: 4, maxDelay: 1 });
  const server = createServer(async (req, res) => {
    const body = [];
    for await (const part of req) body.push(part);
    const sample = x.tensor(JSON.parse(Buffer.concat(body)));
    res.end(JSON.stringify((await predict(sample)).toArray()));
  });
  const socketPath = ${JSON.stringify(join(folder, "server"))};
  await new Promise((resolve) => server.listen(socketPath, resolve));
  const ask = (sample) => new Promise((resolve, reject) => {
    const req = request({ socketPath, method: "POST" }, async (res) => {
      const body = [];
      for await (const part of res) body.push(part);
      resolve(JSON.parse(Buffer.concat(body)));
    });
    req.on("error", reject).end(JSON.stringify(sample));
  });
  const answers = await Promise.all(input.toArray().map(ask));
  const expected = x.noGrad(() => model.eval().forward(input)).toArray();
  const right = answers.every((row, i) => row.every((v, j) => Math.abs(v - expected[i][j]) < 1e-4));
  server.close();
  await predict.close();
  console.log(JSON.stringify({ backend: x.getBackend(), up, asked, learned: losses.at(-1) < losses[0], answers: answers.length, right }));`;

const node = [process.execPath, "--input-type=module", "-e", program];
const [command, ...rest] = isolated ? ["unshare", "-rn", ...node] : node;
const { status, stdout, stderr } = spawnSync(/** @type {string} */ (command), rest, {
  encoding: "utf8",
  timeout: 120_000,
});
rmSync(folder, { recursive: true, force: true });
if (status !== 0) console.error(stderr);
const result =
  status === 0 ? JSON.parse(stdout) : { up: [], asked: ["it failed"], learned: false, answers: 0, right: false };
const where = isolated
  ? "a namespace without a network"
  : "a process whose ways to a network fail (no namespaces here)";
report(
  `training, saving, loading and serving in ${where}`,
  `${steps} steps on ${result.backend}, ${result.answers} answers, ${result.asked.length} attempts to reach a network`,
  "works, and none",
  result.learned &&
    result.right &&
    result.answers === 16 &&
    result.asked.length === 0 &&
    (!isolated || result.up.length === 0),
);
