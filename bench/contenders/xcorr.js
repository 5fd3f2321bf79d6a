// @ts-check
/** xcorr as a contender, in the bench's own process. */
import { performance } from "node:perf_hooks";
import { setNumThreads, setPrecision } from "../library.js";
import { prepareTask } from "./xcorr_tasks.js";

/** @import { Contender } from "../types.js" */

/** @type {Contender} */
export const ours = {
  name: "xcorr",
  rival: "xcorr",
  async prepare(task, files, settings) {
    setNumThreads(settings.threads);
    setPrecision(settings.precision);
    const prepared = prepareTask(task, files);
    return {
      pid: process.pid,
      async run(iterations) {
        const start = performance.now();
        for (let i = 0; i < iterations; i++) prepared.call();
        return (performance.now() - start) / 1000;
      },
      async result(step) {
        return prepared.result(step);
      },
      async drop() {},
    };
  },
};
