// @ts-check
/** A contender's process in JavaScript: as lines.py, reads one JSON request a line, answers each with one JSON line. */
import { readFileSync, writeFileSync } from "node:fs";
import { performance } from "node:perf_hooks";
import { createInterface } from "node:readline";

/** @import { Files, TensorFile } from "../types.js" */

/**
 * @typedef {object} Prepared
 * @property {() => unknown} call Computes once; may give a promise.
 * @property {(step: number) => Float32Array | Promise<Float32Array>} result
 * @property {() => void} [drop]
 */

/** @param {TensorFile} file */
export function readTensor(file) {
  const bytes = readFileSync(file.path);
  const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  return file.dtype === "int32" ? new Int32Array(buffer) : new Float32Array(buffer);
}

/**
 * Every `step`th value.
 * @param {ArrayLike<number>} values
 * @param {number} step
 */
export function sampled(values, step) {
  const out = new Float32Array(Math.ceil(values.length / step));
  for (let i = 0; i < out.length; i++) out[i] = /** @type {number} */ (values[i * step]);
  return out;
}

/** VmHWM (the most memory ever held) or VmRSS of this process, in bytes. @param {string} name */
function memory(name) {
  const line = new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(readFileSync("/proc/self/status", "utf8"));
  if (line === null) throw new Error(`no ${name} in /proc/self/status`);
  return Number(line[1]) * 1024;
}

/**
 * @param {object} contender
 * @param {() => string} contender.describe
 * @param {(task: any, files: Files, settings: any) => Prepared | Promise<Prepared>} contender.prepare
 */
export function serve({ describe, prepare }) {
  /** @type {(Prepared | undefined)[]} */
  const prepared = [];
  /** @param {any} request */
  const answer = async (request) => {
    const each = /** @type {Prepared} */ (prepared[request.id]);
    switch (request.do) {
      case "hello":
        return { about: describe() };
      case "prepare":
        return { id: prepared.push(await prepare(request.task, request.files, request)) - 1 };
      case "run": {
        const start = performance.now();
        for (let i = 0; i < request.iterations; i++) {
          const result = each.call();
          if (result instanceof Promise) await result;
        }
        return { seconds: (performance.now() - start) / 1000 };
      }
      case "result":
        writeFileSync(request.path, await each.result(request.step));
        return {};
      case "drop":
        each.drop?.();
        prepared[request.id] = undefined;
        return {};
      case "memory":
        return { peak: memory("VmHWM"), now: memory("VmRSS") };
      default:
        throw new Error(`unknown request ${request.do}`);
    }
  };
  const lines = createInterface({ input: process.stdin });
  let last = Promise.resolve();
  lines.on("line", (line) => {
    last = last.then(async () => {
      let reply;
      try {
        reply = await answer(JSON.parse(line));
      } catch (error) {
        reply = { error: String(error).split("\n")[0] };
      }
      process.stdout.write(`${JSON.stringify(reply)}\n`);
    });
  });
}
