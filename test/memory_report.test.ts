import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { nativeBuilt } from "./support/backends.js";
import {
  ArgumentError,
  MemoryLimitError,
  memoryReport,
  memoryStats,
  ones,
  setMemoryDebug,
  setMemoryLimit,
  type Tensor,
} from "./support/xcorr.js";

/** Who holds memory, and what happens at the limit. */

const unlimited = Number.POSITIVE_INFINITY;
const built = fileURLToPath(new URL("../dist/index.js", import.meta.url));

afterEach(() => {
  setMemoryLimit(unlimited);
  setMemoryDebug(false);
});

describe("memoryReport", () => {
  it("groups live tensors by the place that made them", () => {
    setMemoryDebug(true);
    const kept: Tensor[] = [];
    for (let i = 0; i < 5; i++) {
      kept.push(ones([300, 7])); // the leak
      ones([300, 7]).dispose();
    }
    const report = memoryReport();
    expect(report.recording).toBe(true);
    const here = report.sites.filter((s) => s.where?.includes("memory_report.test.ts"));
    const leak = here.find((s) => s.tensors === 5)!;
    expect([leak.made, leak.largest]).toEqual([5, "[300, 7] float32"]);
    expect(leak.where).toMatch(/memory_report\.test\.ts:\d+:\d+ \(ones\)$/);
    expect(leak.bytes).toBeGreaterThanOrEqual(5 * 300 * 7 * 4);
    expect(here.every((s) => s === leak || s.tensors === 0 || s.made === s.tensors)).toBe(true);
    expect(`${report}`).toMatch(/held by \d+ tensors\n.*held.*tensors.*made.*largest.*where\n/);
    expect(kept).toHaveLength(5);
  });

  it("takes arguments of the right kind only", () => {
    expect(() => setMemoryDebug(1 as never)).toThrow(ArgumentError);
    for (const wrong of [0, -1, Number.NaN, "1 GB", undefined])
      expect(() => setMemoryLimit(wrong as never)).toThrow(/setMemoryLimit: bytes must be a number above 0/);
    expect(memoryStats().limit).toBe(unlimited);
  });
});

describe("at the limit", () => {
  it("the error lists the largest live tensors and where they were made, and the process goes on", () => {
    setMemoryDebug(true);
    const big = ones([1024, 1024, 2]);
    setMemoryLimit(memoryStats().live + 1_000_000);
    let message = "";
    try {
      ones([1024, 1024]);
    } catch (error) {
      expect(error).toBeInstanceOf(MemoryLimitError);
      message = (error as Error).message;
    }
    expect(message).toMatch(/The largest live tensors:\n {2}.*\[1024, 1024, 2\] float32, 8\.4 MB, made at .*\(ones\)/);
    setMemoryLimit(unlimited);
    setMemoryDebug(false);
    big.dispose();
    expect(ones([1024, 1024]).sum().item()).toBe(1024 * 1024);
  });

  it("small tensors count as well, and those that come out of the pool", () => {
    const held: Tensor[] = [];
    for (let i = 0; i < 2000; i++) held.push(ones([16]));
    for (const t of held.splice(0)) t.dispose(); // now they wait in the pool
    memoryReport(); // collects what the tests before have lost
    setMemoryLimit(memoryStats().live + 64 * 100);
    const fill = (): void => {
      for (let i = 0; i < 2000; i++) held.push(ones([16]));
    };
    expect(fill).toThrow(MemoryLimitError);
    expect(held.length).toBeGreaterThanOrEqual(100);
    expect(memoryStats().live).toBeLessThanOrEqual(memoryStats().limit);
    for (const t of held.splice(0)) t.dispose();
    expect(ones([16]).sum().item()).toBe(16);
  });
});

describe.runIf(nativeBuilt)("XCORR_DEBUG=memory", () => {
  const script = `
    import { ones } from ${JSON.stringify(built)};
    globalThis.leak = [];
    for (let i = 0; i < 40; i++) { leak.push(ones([1000])); ones([5000]); }
  `;
  const run = (debug: string): { stderr: string; status: number | null } =>
    spawnSync(process.execPath, ["--input-type=module", "-e", script], {
      encoding: "utf8",
      env: { ...process.env, XCORR_DEBUG: debug },
    });

  it("reports at exit what is still held, by call site", () => {
    const { stderr, status } = run("memory");
    expect(status).toBe(0);
    expect(stderr).toMatch(/xcorr memory: .* held by 40 tensors/);
    expect(stderr).toMatch(/\b40\s+40\s+\[1000\] float32\s+.*:4:\d+ \(ones\)/);
    expect(stderr).not.toContain("[5000]");
  });

  it("refuses what it does not know", () => {
    const { stderr, status } = run("memroy");
    expect(status).not.toBe(0);
    expect(stderr).toMatch(/ArgumentError: XCORR_DEBUG: knows "memory", not "memroy"/);
  });
});
