import { createRequire } from "node:module";
import { ArgumentError } from "../core/errors.js";
import { checkOptions } from "../core/options.js";

/** Progress of a run: a bar where there is a terminal (drawn by the cli-progress package, if installed), else plain lines. */

export interface Progress {
  /** `values` are shown behind the bar, for instance { loss: "0.123" }. */
  update(step: number, values?: Record<string, string | number>): void;
  /** Ends the bar and leaves it on the screen. */
  stop(): void;
}

export interface ProgressOptions {
  /** What runs, for instance "epoch 1/5". */
  readonly label: string;
  /** Steps in all. */
  readonly total: number;
  /** Items per step, for the rate; default 1. */
  readonly itemsPerStep?: number;
  /** What an item is called, default "items". */
  readonly unit?: string;
  /** Where to write; default standard error for bars, standard output for lines. */
  readonly stream?: NodeJS.WriteStream;
  /** Plain lines are at least this many seconds apart, default 5. */
  readonly everySeconds?: number;
}

/** Rate and time left, from what has been done since the start. */
class Clock {
  readonly #start = performance.now();
  readonly #total: number;
  readonly #items: number;

  constructor(total: number, items: number) {
    this.#total = total;
    this.#items = items;
  }

  get seconds(): number {
    return (performance.now() - this.#start) / 1000;
  }

  /** Items per second, as text. */
  rate(step: number): string {
    const s = this.seconds;
    return s > 0 ? Math.round((step * this.#items) / s).toLocaleString("en-US") : "-";
  }

  /** Seconds left, as text. */
  left(step: number): string {
    if (step === 0) return "-";
    const s = Math.round((this.seconds / step) * (this.#total - step));
    return s >= 60 ? `${Math.floor(s / 60)}m ${s % 60}s` : `${s}s`;
  }
}

function shown(values: Record<string, string | number>): string {
  return Object.entries(values)
    .map(([k, v]) => `${k} ${typeof v === "number" ? v.toPrecision(4) : v}`)
    .join(", ");
}

interface SingleBar {
  start(total: number, value: number, payload: object): void;
  update(value: number, payload: object): void;
  stop(): void;
}

/** cli-progress is an optional peer dependency. */
function loadBar(): { SingleBar: new (options: object) => SingleBar } | null {
  try {
    return createRequire(import.meta.url)("cli-progress") as { SingleBar: new (options: object) => SingleBar };
  } catch {
    return null;
  }
}

/** Starts showing progress. */
export function progress(options: ProgressOptions): Progress {
  checkOptions("progress", options, ["label", "total", "itemsPerStep", "unit", "stream", "everySeconds"]);
  if (options === undefined) throw new ArgumentError("progress: needs { label, total }");
  const { label, total, itemsPerStep = 1, unit = "items", stream = process.stderr, everySeconds = 5 } = options;
  const clock = new Clock(total, itemsPerStep);
  const library = stream.isTTY ? loadBar() : null;
  if (library !== null) {
    const bar = new library.SingleBar({
      format: `${label} {bar} {value}/{total} {rate} ${unit}/s, {left} left {values}`,
      stream,
      hideCursor: true,
      barsize: 24,
      fps: 10,
    });
    bar.start(total, 0, { rate: "-", left: "-", values: "" });
    return {
      update(step, values = {}) {
        const text = shown(values);
        bar.update(step, { rate: clock.rate(step), left: clock.left(step), values: text === "" ? "" : `| ${text}` });
      },
      stop: () => bar.stop(),
    };
  }
  const write = options.stream ?? process.stdout;
  let last = 0;
  return {
    update(step, values = {}) {
      if (clock.seconds - last < everySeconds && step < total) return;
      last = clock.seconds;
      const text = shown(values);
      write.write(
        `${label} ${step}/${total} ${clock.rate(step)} ${unit}/s, ${clock.left(step)} left${text === "" ? "" : `, ${text}`}\n`,
      );
    },
    stop() {},
  };
}
