import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as xcorr from "./support/xcorr.js";
import {
  BackendError,
  ShapeError,
  Tensor,
  XcorrError,
  conv2d,
  memoryStats,
  nn,
  ones,
  scope,
  setMemoryLimit,
  tensor,
  zeros,
} from "./support/xcorr.js";

/**
 * Calls of strangers: every public function and method with arguments that no type checker has seen. Whatever comes out is
 * a result or one of the library's own errors; the next valid call works, and no memory stays behind.
 */

/** What a hostile argument itself throws. */
class OwnError extends Error {}

const folder = join(import.meta.dirname, "../lib");
/** Names that are exported for other files of the library only. */
const internal = new Set(
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .flatMap((name) => {
      const text = readFileSync(join(folder, name), "utf8");
      const marked =
        /@internal(?:(?!\*\/)[\s\S])*\*\/\s*export (?:abstract )?(?:async )?(?:function\*?|const|class) (\w+)/g;
      const hidden = [...text.matchAll(marked)].map((match) => match[1]!);
      const shared = /@internal(?:(?!\*\/)[\s\S])*\*\/\s*export \{([^}]*)\}/g;
      for (const [, names] of text.matchAll(shared)) hidden.push(...names!.split(",").map((each) => each.trim()));
      // Classes that the library hands out and nobody else makes.
      const made = /export class (\w+)(?:(?!export class)[\s\S])*?@internal(?:(?!\*\/)[\s\S])*\*\/\s*constructor/g;
      return [...hidden, ...[...text.matchAll(made)].map((match) => match[1]!)];
    }),
);
/** Changes the process for all later calls, waits for the network of workers, or writes where it is told to. */
const left = new Set([
  "setTrace",
  "setBackend",
  "setTarget",
  "setMemoryDebug",
  "setMemoryLimit",
  "setPrecision",
  "setNumThreads",
  "setGradEnabled",
  "manualSeed",
  "LRScheduler",
  "EventWriter",
  "save",
]);

type AnyFunction = (...given: unknown[]) => unknown;
interface Target {
  readonly name: string;
  readonly call: AnyFunction;
}

function targetsOf(names: object, prefix: string): Target[] {
  return Object.entries(names).flatMap(([name, value]) => {
    if (typeof value !== "function" || left.has(name) || internal.has(name)) return [];
    if (value === XcorrError || value.prototype instanceof Error) return [];
    const isClass = /^class\b/.test(Function.prototype.toString.call(value));
    const call: AnyFunction = isClass
      ? (...given) => new (value as new (...given: unknown[]) => unknown)(...given)
      : (value as AnyFunction);
    return [{ name: prefix + name, call }];
  });
}

const methods = Object.getOwnPropertyNames(Tensor.prototype).flatMap((name) => {
  const { value } = Object.getOwnPropertyDescriptor(Tensor.prototype, name)!;
  if (typeof value !== "function" || name === "constructor" || internal.has(name)) return [];
  const call: AnyFunction = (t, ...given) => ((t as Record<string, AnyFunction>)[name] as AnyFunction).apply(t, given);
  return [{ name: `Tensor.${name}`, call }];
});
const targets: readonly Target[] = [
  ...targetsOf(xcorr, ""),
  ...["nn", "optim", "data", "io", "serve", "train", "autograd", "report"].flatMap((part) =>
    targetsOf((xcorr as unknown as Record<string, object>)[part]!, `${part}.`),
  ),
  ...["functional", "init", "utils"].flatMap((part) =>
    targetsOf((nn as unknown as Record<string, object>)[part]!, `nn.${part}.`),
  ),
  ...methods,
];

const detached = (): Float32Array => {
  const array = new Float32Array(4);
  structuredClone(array, { transfer: [array.buffer] });
  return array;
};
const shrunk = (): Float32Array => {
  const buffer = new (
    ArrayBuffer as unknown as new (
      bytes: number,
      options: object,
    ) => ArrayBuffer & { resize(n: number): void }
  )(16, { maxByteLength: 32 });
  const array = new Float32Array(buffer, 8, 2);
  buffer.resize(8);
  return array;
};
const disposed = (): Tensor => {
  const t = ones([2]);
  t.dispose();
  return t;
};
const circular = (): unknown[] => {
  const list: unknown[] = [];
  list.push(list);
  return list;
};
const throwing = new Proxy(
  {},
  {
    get() {
      throw new OwnError("get");
    },
  },
);
/** Arguments that are what some function takes. */
const sensible: readonly (() => unknown)[] = [
  () => ones([3]),
  () => ones([2, 3]),
  () => ones([2, 3, 4, 4]),
  () => ones([1, 2, 5]),
  () => ones([2, 2, 3, 3, 3]),
  () => ones([2, 3], { dtype: "float64" }),
  () => tensor([1, 0, 2], { dtype: "int32" }),
  () => tensor([true, false, true]),
  () => ones([]),
  () => ones([3, 3], { requiresGrad: true }),
  () => 0,
  () => 1,
  () => 2,
  () => 0.5,
  () => [1, 2],
  () => [2, 3],
  () => ({}),
  () => ({ dim: 0 }),
  () => "mean",
  () => new Float32Array([1, 2]),
  () => [ones([2]), ones([2])],
  () => (t: unknown) => t,
  () => new nn.Linear(3, 2),
];
let turns = 0;
const hostile: readonly (() => unknown)[] = [
  () => undefined,
  () => null,
  () => Number.NaN,
  () => -0,
  () => 2 ** 53,
  () => 2 ** 31,
  () => -1,
  () => 1.5,
  () => Number.POSITIVE_INFINITY,
  () => "3",
  () => "",
  () => "__proto__",
  () => "\0",
  () => true,
  () => 10n,
  () => Symbol("s"),
  () => [],
  // biome-ignore lint/suspicious/noSparseArray: holes are the point
  () => [, 1],
  () => [Number.NaN],
  () => [[1], [2, 3]],
  () => [2 ** 53, 2],
  () => [2 ** 30, 2 ** 30],
  () => [-1, 2],
  () => ["2"],
  () => ({ unknown: 1 }),
  // biome-ignore lint/suspicious/noSparseArray: holes are the point
  () => ({ dim: [, 1] }),
  () => ({ dim: [0, 0] }),
  () => ({ dim: "0" }),
  () => JSON.parse('{"__proto__":{"dim":0}}'),
  () => ({ valueOf: () => 3 }),
  () => ({
    valueOf() {
      throw new OwnError("valueOf");
    },
  }),
  () => Object.create(null),
  () => Object.create(Tensor.prototype),
  () => () => 3,
  () => new Date(0),
  () => new Map(),
  () => new Proxy({}, {}),
  () => new Proxy([1, 2], {}),
  () => new Proxy([1, 0], { get: (list, key) => (key === "0" ? turns++ % 3 : Reflect.get(list, key)) }),
  () => throwing,
  () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    return proxy;
  },
  detached,
  shrunk,
  disposed,
  circular,
  () => new BigInt64Array(2),
  () => new ArrayBuffer(8),
  () => new SharedArrayBuffer(8),
  () => new DataView(new ArrayBuffer(8)),
  () => runInNewContext("new Float32Array([1, 2])"),
  () => runInNewContext("[1, 2]"),
  () => runInNewContext("({ dim: 0 })"),
  () => zeros([2 ** 22, 0]),
  () => zeros([3, 0, 5]),
  () => ({ shape: [2], dtype: "float32" }),
];

/** The message of an error that is not the library's own, or null. */
function complaint(error: unknown): string | null {
  // The addon is the last line: what comes to it must be right already.
  if (
    error instanceof BackendError &&
    /reaches from byte|at most 2\^53|element type|sizes together/.test(error.message)
  )
    return `only the addon noticed: ${error.message}`;
  if (error instanceof XcorrError) return error.message.length > 5 ? null : `${error.name} without a message`;
  // The engine's word for an argument that cannot even be looked at.
  if (error instanceof OwnError || /a proxy that has been revoked/.test((error as Error).message)) return null;
  return error instanceof Error
    ? `${error.name}: ${error.message}\n${error.stack?.split("\n").slice(1, 4).join("\n")}`
    : String(error);
}

function run(target: Target, given: readonly unknown[]): string | null {
  try {
    const result = target.call(...given);
    // What is asynchronous fails later, in the same way.
    if (result instanceof Promise || typeof (result as PromiseLike<unknown> | null)?.then === "function") {
      void Promise.resolve(result as PromiseLike<unknown>).catch((error) => {
        const line = complaint(error);
        if (line !== null) late.push(`${target.name}: ${line}`);
      });
    }
    return null;
  } catch (error) {
    return complaint(error);
  }
}
const late: string[] = [];

it("sizes of nothing cost nothing: they are refused where JavaScript or a kernel would count through them", () => {
  expect(() => zeros([2 ** 40, 0])).toThrow(ShapeError);
  const wide = zeros([2 ** 27, 0]);
  expect(() => wide.toArray()).toThrow(/empty lists/);
  expect(() => wide.unbind()).toThrow(/would make 134217728 tensors/);
  expect(() => wide.chunk(2 ** 30, 1)).toThrow(/would make/);
  expect(wide.softmax(0).sum().item()).toBe(0);
  expect(wide.add(1).mul(wide).permute([1, 0]).sort(1).values.shape).toEqual([0, 2 ** 27]);
  const started = performance.now();
  expect(conv2d(zeros([1, 0, 5, 5]), zeros([2, 0, 2 ** 13, 2 ** 13]), { padding: 2 ** 12 }).shape).toEqual([
    1, 2, 6, 6,
  ]);
  expect(performance.now() - started).toBeLessThan(2000);
});

it("models refuse plans that are none", () => {
  const { BasicBlock, ResNet, VGG } = nn.models;
  for (const wrong of [undefined, null, 3, {}]) {
    expect(() => new VGG(wrong as never)).toThrow(/VGG: plan must be a list/);
    expect(() => new ResNet(BasicBlock, wrong as never)).toThrow(/ResNet: blocks must be a list/);
    expect(() => new ResNet(wrong as never, [1, 1, 1])).toThrow(/ResNet: block must be a class such as/);
  }
});

describe("hostile arguments", () => {
  it("finds what it is to call", () => {
    expect(targets.length).toBeGreaterThan(600);
    expect(targets.map((t) => t.name)).toEqual(
      expect.arrayContaining(["conv2d", "nn.Conv2d", "optim.Adam", "Tensor.sum"]),
    );
  });

  it("end in a result or a named error, and leave nothing behind", async () => {
    const nothing = (): number => {
      (globalThis as { gc?: () => void }).gc?.();
      return memoryStats().live;
    };
    // Sizes of gigabytes are legal, and since Node 22 such arrays exist: what would take minutes to fill is refused.
    setMemoryLimit(2 ** 30);
    const argument = fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom(...sensible) },
      { weight: 5, arbitrary: fc.constantFrom(...hostile) },
    );
    const found = new Map<string, string>();
    let worked = 0;
    for (const [i, target] of targets.entries()) {
      const method = target.name.startsWith("Tensor.");
      const lists = fc.sample(fc.array(argument, { maxLength: 4 }), { numRuns: 40, seed: i + 200000 + 100000 + 0 });
      for (const list of lists) {
        const given = list.map((make) => make());
        if (method) given.unshift(sensible[given.length % 9]!());
        let line: string | null = null;
        scope(() => {
          line = run(target, given);
        });
        if (line === null) worked++;
        else found.set(target.name, line);
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
    setMemoryLimit(Number.POSITIVE_INFINITY);
    expect([...found, ...late].map((each) => String(each)).join("\n")).toBe("");
    expect(worked).toBeGreaterThan(1000);
    expect(Object.keys(Object.prototype)).toEqual([]);
    expect(ones([2, 3]).add(1).sum().item()).toBe(12);
    expect(nothing()).toBeLessThan(64 * 2 ** 20);
  });
});
