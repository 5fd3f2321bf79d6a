// @ts-check
/** xcorr in a process of its own, for the suite `memory`. */
import { setNumThreads } from "../library.js";
import { serve } from "./lines.js";
import { prepareTask } from "./xcorr_tasks.js";

serve({
  describe: () => "xcorr",
  prepare: (task, files, { threads }) => {
    setNumThreads(threads);
    return prepareTask(task, files);
  },
});
