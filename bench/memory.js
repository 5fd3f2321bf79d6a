// @ts-check
/** The most memory a process ever held for a few training steps: fresh processes, read from the kernel's VmHWM. */
import { memoryTask } from "./cases/networks.js";
import { startPyTorch, startXcorr } from "./contenders/rivals.js";
import { makeInputs } from "./inputs.js";

/** @import { Settings } from "./types.js" */

const steps = 5;

/**
 * @param {string[]} rivals
 * @param {Settings} settings
 * @param {string} target
 */
export async function measureMemory(rivals, settings, target) {
  const inputs = makeInputs(memoryTask, 1);
  /** @type {{ contender: string, peak: number, before: number }[]} */
  const rows = [];
  /** @type {Record<string, string>} */
  const missing = {};
  const wanted = [{ name: "xcorr", layout: "nchw", start: () => startXcorr(target) }];
  for (const rival of rivals) {
    if (rival !== "pytorch") {
      missing[rival] = "memory is compared with pytorch only";
      continue;
    }
    for (const layout of ["nchw", "channels_last"]) {
      wanted.push({ name: `pytorch ${layout}`, layout, start: () => startPyTorch(target, false) });
    }
  }
  try {
    for (const { name, layout, start } of wanted) {
      try {
        const rival = await start();
        const before = (await rival.ask({ do: "memory" })).now;
        const runner = await rival.prepare(memoryTask, inputs.files, settings, layout);
        if ("refused" in runner) throw new Error(runner.refused);
        await runner.run(steps);
        rows.push({ contender: name, peak: (await rival.ask({ do: "memory" })).peak, before });
        rival.stop();
      } catch (error) {
        missing[name] = /** @type {Error} */ (error).message;
      }
    }
  } finally {
    inputs.remove();
  }
  return { rows, missing };
}
