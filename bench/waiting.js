// @ts-check
/** How long a process has stood in line for a processor: other processes of this machine were at work. */
import { readdirSync, readFileSync } from "node:fs";

/**
 * Seconds that the threads of a process were ready to run and did not, so far; 0 where the system does not tell
 * (/proc/<pid>/task/<thread>/schedstat of Linux: nanoseconds run, nanoseconds waited, turns).
 * @param {number} pid
 */
export function secondsWaited(pid) {
  let nanoseconds = 0;
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      nanoseconds += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[1]);
    }
  } catch {
    return 0;
  }
  return nanoseconds * 1e-9;
}
