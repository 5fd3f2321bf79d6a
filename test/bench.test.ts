import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { suites } from "../bench/cases/index.js";
import { Rival } from "../bench/contenders/process.js";
import { quantile } from "../bench/quantile.js";
import { race, ratios } from "../bench/race.js";
import { writeReport } from "../bench/report/markdown.js";
import { evaluate } from "../bench/report/summary.js";
import type { CaseResult, Contender } from "../bench/types.js";

test("every distinct convolution layer once, in three directions", () => {
  const cases = suites.layers!();
  expect(new Set(cases.map((each) => each.name)).size).toBe(cases.length);
  const layers = (start: string) => cases.filter((each) => each.name.startsWith(start)).length / 3;
  expect(layers("lenet5 b8 ")).toBe(2);
  expect(layers("resnet20 b128 ")).toBe(8);
  expect(layers("resnet50 b32 ")).toBe(23);
  expect(layers("vgg16 b1 ")).toBe(9);
  expect(layers("mobilenet_v2 b8 ")).toBe(30);
});

test("operations are those of the papers", () => {
  const cases = suites.layers!();
  // VGG-16's second layer: 1.85 G multiplications and as many additions (64 * 64 * 9 * 224 * 224).
  const layer = cases.find((each) => each.name === "vgg16 b1 64>64 3x3 @224 forward");
  expect(layer?.operations).toBe(2 * 64 * 64 * 9 * 224 * 224);
  const depthwise = cases.find((each) => each.name === "mobilenet_v2 b8 96>96 3x3 s2 dw @112 weight");
  expect(depthwise?.operations).toBe(2 * 8 * 96 * 9 * 56 * 56);
});

test("quantiles lie between the values", () => {
  expect(quantile([4, 1, 3, 2], 0.5)).toBe(2.5);
  expect(quantile([1, 2, 3, 4, 5], 0.9)).toBeCloseTo(4.6);
});

/** A contender whose calls take as long as it is told. */
function pretended(name: string, rival: string, secondsOf: () => number) {
  const contender: Contender = { name, rival, prepare: async () => ({ refused: "pretended" }) };
  const runner = {
    pid: 0, // no process: it never waits
    run: async (iterations: number) => secondsOf() * iterations,
    result: async () => new Float32Array(1),
    drop: async () => {},
  };
  return { contender, runner };
}

test("samples beside a weak probe are dropped; the best of a rival's contenders counts", async () => {
  // Every third turn is disturbed: its probes show half the peak, and its samples are five times as slow.
  let turn = 0;
  const disturbed = () => turn % 3 === 2;
  let probes = 0;
  const probe = {
    peak: 100,
    measure: () => {
      turn = Math.floor(probes++ / 2);
      return disturbed() ? 50 : 100;
    },
  };
  const slow = (seconds: number) => () => seconds * (probes > 0 && disturbed() ? 5 : 1);
  const lanes = await race(
    [
      pretended("xcorr", "xcorr", slow(0.01)),
      pretended("theirs one way", "theirs", slow(0.04)),
      pretended("theirs another way", "theirs", slow(0.03)),
      pretended("others", "others", slow(0.005)),
    ],
    probe,
    { leastKept: 7, mostRounds: 60, mostSeconds: 5 },
  );
  for (const { timing } of lanes) {
    expect(timing.kept).toBeGreaterThanOrEqual(7);
    expect(timing.kept).toBeLessThan(timing.total);
    expect(timing.disturbed).toBe(false);
  }
  const found = ratios(lanes, probe.peak);
  expect(found.map((each) => [each.rival, each.contender])).toEqual([
    ["theirs", "theirs another way"],
    ["others", "others"],
  ]);
  expect(found[0]!.ratio).toBeCloseTo(3);
  expect(found[1]!.ratio).toBeCloseTo(0.5);
});

function result(name: string, groups: string[], ratio: number, counts = true): CaseResult {
  const timing = { low: 1, high: 1, kept: 7, total: 8, disturbed: false };
  return {
    name,
    source: "a test",
    groups,
    threads: 2,
    target: "avx2",
    precision: "default",
    operations: 1e9,
    peak: 2e11,
    timings: [
      { contender: "xcorr", rival: "xcorr", seconds: 0.01, ...timing },
      { contender: "pytorch nchw", rival: "pytorch", seconds: 0.01 * ratio, ...timing },
    ],
    ratios: [{ rival: "pytorch", contender: "pytorch nchw", ratio, low: ratio, high: ratio, counts }],
    differences: {},
    refused: {},
  };
}

test("goals are judged by geometric means or by the worst case; what does not count is left out", () => {
  const results = [
    result("a", ["layers", "vgg16 forward"], 1),
    result("b", ["layers", "vgg16 forward"], 4),
    result("c", ["layers", "vgg16 forward"], 0.1, false),
    result("d", ["layers", "train lenet5"], 0.5),
  ];
  const rows = evaluate(results);
  expect(rows.find((row) => row.what.startsWith("VGG-16"))).toMatchObject({ met: true, cases: 2 });
  expect(rows.find((row) => row.what === "worst single layer")).toMatchObject({ met: false, cases: 3 });
  expect(rows.find((row) => row.what.startsWith("LeNet"))).toMatchObject({ met: false, cases: 1 });
});

test("the report names the machine, the commit, the command, the missing, and draws a chart", () => {
  const folder = mkdtempSync(join(tmpdir(), "xcorr-report-"));
  const results = join(folder, "results");
  try {
    writeReportOf(results, [result("a & b", ["layers", "vgg16 forward"], 0.4)]);
    const text = readFileSync(join(folder, "RESULTS.md"), "utf8");
    for (const part of [
      "a machine",
      "abc1234",
      "npm run bench -- --suite layers",
      "**missing**: tfjs: not installed",
      "**below**",
    ])
      expect(text).toContain(part);
    const drawn = readFileSync(join(results, "layers-pytorch.svg"), "utf8");
    expect(drawn).toContain("a &#38; b");
    expect(drawn).toContain("#d1603d"); // slower than the rival
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

function writeReportOf(folder: string, cases: CaseResult[]): void {
  const run = {
    suite: "layers",
    machine: "a machine",
    target: "avx2",
    commit: "abc1234",
    command: "npm run bench -- --suite layers",
    date: "2026-01-01T00:00:00Z",
    bandwidth: 1e10,
    peaks: { 2: 4e11 },
    missing: { tfjs: "not installed" },
    cases,
  };
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "layers.json"), JSON.stringify(run));
  writeReport(folder);
}

test("a rival that cannot start says why, one that fails in a task refuses it", async () => {
  await expect(new Rival("/no/such/program", [], {}).start()).rejects.toThrow(/ENOENT/);
  const broken = new Rival(process.execPath, ["-e", "console.error('no library here'); process.exit(3)"], {});
  await expect(broken.start()).rejects.toThrow("no library here");
  const picky = new Rival(
    process.execPath,
    [
      "-e",
      `require("readline").createInterface({ input: process.stdin }).on("line", (line) =>
         console.log(JSON.stringify(JSON.parse(line).do === "hello" ? { about: "picky" } : { error: "cannot do that" })))`,
    ],
    {},
  );
  try {
    expect((await picky.start()).about).toBe("picky");
    const task = { kind: "gemm", m: 1, n: 1, k: 1, transposed: false } as const;
    const runner = await picky.prepare(task, {}, { threads: 1, target: null, precision: "default" }, "nchw");
    expect(runner).toEqual({ refused: "cannot do that" });
  } finally {
    picky.stop();
  }
});
