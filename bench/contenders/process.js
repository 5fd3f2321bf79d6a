// @ts-check
/** A contender in a process of its own, kept warm: one JSON request a line, one answer. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** @import { Files, Runner, Settings, Task } from "../types.js" */

export class Rival {
  /** What it says about itself: versions, kernels. */
  about = "";
  #child;
  /** @type {((line: string | null) => void)[]} */
  #waiting = [];
  #ended = false;
  #errors = "";
  #folder = mkdtempSync(join(tmpdir(), "xcorr-bench-"));

  /**
   * @param {string} command
   * @param {string[]} parameters
   * @param {Record<string, string>} environment
   */
  constructor(command, parameters, environment) {
    this.#child = spawn(command, parameters, {
      env: { ...process.env, ...environment },
      stdio: ["pipe", "pipe", "pipe"],
    });
    this.#child.stderr.on("data", (text) => {
      this.#errors = (this.#errors + text).slice(-2000);
    });
    this.#child.stdin.on("error", () => {});
    createInterface({ input: this.#child.stdout }).on("line", (line) => this.#waiting.shift()?.(line));
    const ended = () => {
      this.#ended = true;
      for (const resolve of this.#waiting.splice(0)) resolve(null);
    };
    this.#child.on("error", (error) => {
      this.#errors += error.message;
      ended();
    });
    this.#child.on("close", ended);
  }

  /**
   * @param {Record<string, unknown>} request
   * @returns {Promise<any>}
   */
  async ask(request) {
    const line = this.#ended
      ? null
      : await new Promise((/** @type {(line: string | null) => void} */ resolve) => {
          this.#waiting.push(resolve);
          this.#child.stdin.write(`${JSON.stringify(request)}\n`);
        });
    if (line === null) throw new Error(this.#errors.trim().split("\n").at(-1) || "its process ended");
    const reply = JSON.parse(line);
    if (reply.error !== undefined) throw new Error(reply.error);
    return reply;
  }

  /** Waits until it has started. @returns {Promise<this>} */
  async start() {
    this.about = (await this.ask({ do: "hello" })).about;
    return this;
  }

  /**
   * @param {Task | Record<string, unknown>} task
   * @param {Files} files
   * @param {Settings} settings
   * @param {string} layout
   * @returns {Promise<Runner | { refused: string }>}
   */
  async prepare(task, files, settings, layout) {
    let id = 0;
    try {
      id = (await this.ask({ do: "prepare", task, files, layout, threads: settings.threads })).id;
    } catch (error) {
      return { refused: /** @type {Error} */ (error).message };
    }
    const path = join(this.#folder, "result.bin");
    return {
      pid: this.#child.pid ?? 0,
      run: async (iterations) => (await this.ask({ do: "run", id, iterations })).seconds,
      result: async (step) => {
        await this.ask({ do: "result", id, step, path });
        const bytes = readFileSync(path);
        return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
      },
      drop: async () => {
        await this.ask({ do: "drop", id });
      },
    };
  }

  stop() {
    this.#child.stdin.end();
    this.#child.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
